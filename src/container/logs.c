/* container/logs.c: what a container has written: its newest part, whole lines as far as the engine tells them.
 *
 * Podman before 4.7 mixes lines up in `--tail` (its issue 19545): a line that was written in parts, as Python's last words
 * are, gets attached to the line before it, or is lost. All of the log has it right. So the tail counts only where it cannot
 * have gone wrong: it has as many lines as were asked for, and none is blank, as the end of such a line is. A short log is
 * read again for nothing; a long one that has such lines costs a second for 100 MiB.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "log.h"
#include "timefmt.h"

enum { TAIL_MIN = 200, TIME_LEN = 29 /* 2006-01-02T15:04:05.000000000, and the zone */ };

void ctr_log_keep(struct buf *out, struct str s)
{
    if (s.len > CTR_LOG_MAX)
        s = str_from_off(s, s.len - CTR_LOG_MAX);
    if (out->len + s.len > 2 * CTR_LOG_MAX) /* not at each piece: it moves all that stays */
        buf_drop(out, out->len - (CTR_LOG_MAX - s.len));
    buf_add_str(out, s);
}

struct str ctr_log_kept(const struct buf *out)
{
    struct str s = buf_str(out);
    return str_from_off(s, s.len - MIN(s.len, (size_t)CTR_LOG_MAX));
}

/* A time at the beginning of `s`, with a blank after it, which it takes away. */
static bool cut_time(struct str *s, int64_t *ns)
{
    struct str time, rest = {0};
    str_cut(*s, ' ', &time, &rest);
    if (!time_parse(time, ns))
        return false;
    *s = rest;
    return true;
}

static bool is_blank(struct str line, bool with_times)
{
    int64_t ns;
    if (with_times)
        cut_time(&line, &ns);
    return str_trim(line).len == 0;
}

static bool may_be_wrong(struct str text, int asked, bool with_times)
{
    struct str line;
    bool is_cut = text.len >= CTR_LOG_MAX, is_first = true;
    int n = 0;
    while (text.len > 0 && str_next(&text, '\n', &line)) {
        if (is_blank(line, with_times) && !(is_first && is_cut))
            return true;
        is_first = false;
        n++;
    }
    return n < asked && !is_cut;
}

static struct str last_lines(struct str text, int lines)
{
    size_t from = text.len;
    int n = 0;
    if (from > 0 && text.ptr[from - 1] == '\n')
        from--;
    while (from > 0 && !(text.ptr[from - 1] == '\n' && ++n >= lines))
        from--;
    return str_from_off(text, from);
}

bool ctr_logs_of_podman(const struct ctr_backend *ops, void *ctx, struct arena *a, struct str name, int lines, bool with_times,
                        struct str *out, struct err *err)
{
    struct str text, all;
    scoped_err e = {0};
    int asked = MAX(lines, TAIL_MIN);
    if (!ops->logs(ctx, a, name, asked, 0, with_times, &text, err))
        return false;
    if (may_be_wrong(text, asked, with_times)) {
        if (ops->logs(ctx, a, name, 0, 0, with_times, &all, &e))
            text = all;
        else
            log_debug("reading a container's whole log", LOG_STR("container", name), LOG_ERR(&e));
    }
    *out = last_lines(text, lines);
    return true;
}

/* Where a later part of the line begins, which Podman tells with a time of its own, or the line's end. */
static size_t find_part(struct str line, int64_t begin_ns)
{
    for (size_t i = 0; i + TIME_LEN < line.len; i++) {
        int64_t ns;
        struct str rest = str_from_off(line, i);
        if (rest.ptr[4] == '-' && rest.ptr[10] == 'T' && rest.ptr[19] == '.' && cut_time(&rest, &ns) && ns >= begin_ns &&
            rest.ptr - (line.ptr + i) > TIME_LEN)
            return i;
    }
    return line.len;
}

struct str ctr_logs_strip(struct arena *a, struct str text, bool has_parts, int64_t since_ns, int64_t *newest)
{
    char *out = arena_alloc(a, text.len + 1);
    size_t n = 0;
    struct str line;
    text = str_trim_right(text, '\n');
    while (text.len > 0 && str_next(&text, '\n', &line)) {
        int64_t ns = 0, begin_ns = 0;
        bool is_timed = cut_time(&line, &ns); /* a line that is cut at its beginning has none */
        begin_ns = ns;
        bool is_old = is_timed && begin_ns < since_ns;
        do {
            *newest = MAX(*newest, ns);
            size_t end = is_timed && has_parts ? find_part(line, begin_ns) : line.len;
            if (end > 0 && !is_old) {
                memcpy(out + n, line.ptr, end);
                n += end;
            }
            line = str_from_off(line, end);
        } while (line.len > 0 && cut_time(&line, &ns));
        if (!is_old)
            out[n++] = '\n';
    }
    return str_of(out, n);
}
