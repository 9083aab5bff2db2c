/* cli/live.c: a few lines at the bottom of a terminal that show where a long call is, written over as it goes on.
 *
 *     building the image  12 s
 *       #5 1.317 compiling ...        the last lines of progress, cut to the width
 *
 * A phase begins with a line that has CTR_PHASE_MARK; its time is kept for the summary. Not locked: the caller's.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "live.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 80 };

#define PHASE_MARK "==> "
#define DIM "\033[2m"
#define PLAIN "\033[0m"

/* Rows on the terminal that are ours; read by a signal handler. */
static atomic_int rows_shown;

static void end_phase(struct live *l, int64_t now)
{
    int64_t took = now - l->phase_ms;
    if (l->phase[0] == '\0')
        return;
    for (int i = 0; i < l->n_done; i++) {
        if (strcmp(l->done[i].name, l->phase) == 0) {
            l->done[i].took_ms += took;
            return;
        }
    }
    if (l->n_done == LIVE_PHASES_MAX)
        return;
    memcpy(l->done[l->n_done].name, l->phase, sizeof l->phase);
    l->done[l->n_done++].took_ms = took;
}

static size_t keep(char to[LIVE_LINE_MAX], struct str line)
{
    size_t n = MIN(line.len, (size_t)LIVE_LINE_MAX - 1);
    for (size_t i = 0; i < n; i++)
        to[i] = (unsigned char)line.ptr[i] < 0x20 || line.ptr[i] == 0x7f ? ' ' : line.ptr[i];
    to[n] = '\0';
    return n;
}

void live_line(struct live *l, struct str line, int64_t now)
{
    line = str_trim_right(line, ' ');
    if (str_trim(line).len == 0)
        return;
    l->is_new = true;
    if (str_starts(line, STR(PHASE_MARK))) {
        end_phase(l, now);
        keep(l->phase, str_from_off(line, strlen(PHASE_MARK)));
        l->phase_ms = now;
        l->n_lines = 0;
        return;
    }
    if (l->n_lines == LIVE_LINES) {
        memmove(l->lines, l->lines + 1, sizeof l->lines - sizeof l->lines[0]);
        l->n_lines--;
    }
    keep(l->lines[l->n_lines++], line);
}

static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : WIDTH_DEFAULT;
}

/* To the first of our rows, and clears from there on. */
static size_t clear_text(char out[16])
{
    int rows = atomic_load(&rows_shown);
    size_t n = 0;
    if (rows == 0)
        return 0;
    out[n++] = '\r';
    if (rows > 1) {
        out[n++] = '\033';
        out[n++] = '[';
        out[n++] = (char)('0' + rows - 1);
        out[n++] = 'A';
    }
    memcpy(out + n, "\033[J", 3);
    return n + 3;
}

void live_draw(struct live *l, int64_t start, int64_t now)
{
    scoped_arena a = {0};
    char clear[16];
    size_t n = clear_text(clear), width = terminal_width() - 1;
    const char *what = l->phase[0] ? l->phase : "waiting for the server";
    fwrite(clear, 1, n, stderr);
    struct str head = str_printf(&a, "%s  %lld s", what, (long long)(now - start) / 1000);
    say(stderr, STR_FMT, STR_ARG(cut_chars(head, width)));
    for (int i = 0; i < l->n_lines; i++) { /* what say() is given loses its control characters: colours go beside it */
        fputs(l->has_colour ? "\n" DIM "  " : "\n  ", stderr);
        say(stderr, STR_FMT, STR_ARG(cut_chars(str_utf8(&a, str_from(l->lines[i])), width > 2 ? width - 2 : 0)));
        fputs(l->has_colour ? PLAIN : "", stderr);
    }
    fflush(stderr);
    atomic_store(&rows_shown, 1 + l->n_lines);
    l->is_new = false;
}

void live_clear(void)
{
    char clear[16];
    size_t n = clear_text(clear);
    if (n == 0)
        return;
    fwrite(clear, 1, n, stderr);
    fflush(stderr);
    atomic_store(&rows_shown, 0);
}

void live_clear_now(void)
{
    char clear[16];
    size_t n = clear_text(clear);
    if (n > 0 && write(STDERR_FILENO, clear, n) < 0)
        return;
}

void live_summary(struct live *l, int64_t start, int64_t now)
{
    bool is_first = true;
    end_phase(l, now);
    if (l->n_done == 0)
        return;
    fprintf(stderr, "%lld.%lld s", (long long)(now - start) / 1000, (long long)(now - start) % 1000 / 100);
    for (int i = 0; i < l->n_done; i++) {
        if (l->done[i].took_ms < LIVE_WORTH_MS)
            continue;
        say(stderr, "%s%s %lld.%lld s", is_first ? ": " : ", ", l->done[i].name, (long long)l->done[i].took_ms / 1000,
            (long long)l->done[i].took_ms % 1000 / 100);
        is_first = false;
    }
    fputc('\n', stderr);
}
