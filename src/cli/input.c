/* cli/input.c: what the user gives: words, sources, pairs, passwords.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

bool want_words(const struct cli *c, size_t n, const char *message, struct err *err)
{
    return c->args->words.len == n || err_set(err, ERR_INVALID, "%s", message);
}

struct str arg_word(const struct cli *c, size_t i)
{
    assert(i < c->args->words.len);
    return c->args->words.items[i];
}

/* ---- sources ---- */

/* "scheme://", whatever git or a proxy can use. */
static bool has_scheme(struct str s)
{
    size_t at = str_find(s, STR("://"));
    if (at == STR_NPOS || at == 0)
        return false;
    for (size_t i = 0; i < at; i++) {
        char ch = s.ptr[i];
        bool is_letter = (ch | 0x20) >= 'a' && (ch | 0x20) <= 'z';
        if (!is_letter && (i == 0 || !strchr("0123456789+-.", ch)))
            return false;
    }
    return true;
}

bool is_remote_source(struct str s)
{
    if (s.len == 0 || strchr("/.~", s.ptr[0]))
        return false;
    if (has_scheme(s) || str_starts(s, STR("git@")))
        return true;
    struct str host, rest;
    if (!str_cut(s, '/', &host, &rest))
        return false;
    return str_chr(host, '.') != STR_NPOS && str_chr(rest, '/') != STR_NPOS;
}

/* The part of a local source that is a path: without the folder at the end, "#sub" of any source or "//sub"
 * of a bare repository ("x.git//sub"). A '#' may also be part of a name. */
static struct str path_part(struct str source)
{
    size_t repo = str_find(source, STR(".git//"));
    if (repo != STR_NPOS)
        return str_slice(source, 0, repo + 4);
    size_t base = str_chr(source, '#');
    if (base == STR_NPOS || fs_exists(source))
        return source;
    return str_slice(source, 0, base);
}

bool resolve_source(struct cli *c, struct str text, struct str *out, struct err *err)
{
    if (str_eq(text, STR("-")) || is_remote_source(text)) {
        *out = text;
        return true;
    }
    struct str path = path_part(text), folder = str_from_off(text, path.len);
    if (!path_is_abs(path)) {
        scoped_free char *cwd = getcwd(NULL, 0);
        if (!cwd)
            return err_set_errno(err, errno, "finding out the current directory");
        path = path_join(c->arena, str_from(cwd), path);
    } else {
        path = path_clean(c->arena, path);
    }
    struct stat st;
    bool may_be_elsewhere = c->config.is_tcp; /* then the server will tell */
    if (!may_be_elsewhere && stat(str_z(c->arena, path), &st) != 0)
        return err_set(err, ERR_NOT_FOUND, "path does not exist " STR_FMT ": %s", STR_ARG(path), cli_errno_text(errno));
    *out = str_cat(c->arena, path, folder);
    return true;
}

/* ---- other values ---- */

bool split_pair(struct str text, struct str *key, struct str *value)
{
    bool has = str_cut(text, '=', key, value);
    *key = str_trim(*key);
    return has;
}

bool check_volumes(const struct str *items, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (str_starts(str_trim(items[i]), STR("--")))
            return err_set(err, ERR_INVALID,
                           "invalid container volume value \"" STR_FMT "\" for --cvol: values cannot start with --; "
                           "did you forget to provide a value for --cvol?",
                           STR_ARG(items[i]));
    return true;
}

/* ---- passwords ---- */

/* Static, since a signal handler has nothing else to look at. */
static struct termios terminal_before;
static volatile sig_atomic_t is_echo_off;

static void restore_and_end(int signum)
{
    if (is_echo_off)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
    _exit(128 + signum);
}

static void set_echo(bool is_on)
{
    if (is_on) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal_before);
        is_echo_off = 0;
        return;
    }
    struct termios quiet = terminal_before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = restore_and_end};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &action, NULL);
    is_echo_off = 1;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
}

/* A line of standard input, trimmed, read bytewise so that nothing after it is taken. */
static bool read_line(struct cli *c, struct str *out, struct err *err)
{
    char line[LINE_MAX_BYTES];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "reading the password");
        if (n == 0 || line[len] == '\n')
            break;
        if (++len == sizeof line)
            return err_set(err, ERR_INVALID, "the password is too long");
    }
    *out = str_dup(c->arena, str_trim(str_of(line, len)));
    explicit_bzero(line, sizeof line);
    return true;
}

static bool ask(struct cli *c, const char *prompt, struct str *out, struct err *err)
{
    fputs(prompt, c->err);
    fflush(c->err);
    bool ok = read_line(c, out, err);
    fputc('\n', c->err);
    return ok;
}

bool prompt_password(struct cli *c, struct str *out, struct err *err)
{
    bool is_terminal = isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &terminal_before) == 0;
    struct str first = {0}, second = {0};
    if (is_terminal)
        set_echo(false);
    bool ok = ask(c, "Enter password: ", &first, err) && ask(c, "Confirm password: ", &second, err);
    if (is_terminal)
        set_echo(true);
    if (!ok)
        return false;
    if (!str_eq(first, second))
        return err_set(err, ERR_INVALID, "passwords do not match");
    *out = first;
    return true;
}
