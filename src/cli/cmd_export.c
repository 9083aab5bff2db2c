/* cli/cmd_export.c: `openrun export`: apps as a file. `openrun fmt`: files in their layout, without a server.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "starlark.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 16 << 20, MODE_NEW = 0644 };

/* ---- where the text goes ---- */

static bool is_stdout(struct str path)
{
    return path.len == 0 || str_eq(path, STR("-"));
}

/* Absolute, from the folder that the user is in: calls to the server are made in another one. */
static bool resolve_path(struct cli *c, struct str text, struct str *out, struct err *err)
{
    scoped_free char *cwd = getcwd(NULL, 0);
    if (!cwd)
        return err_set_errno(err, errno, "finding out the current directory");
    *out = path_is_abs(text) ? path_clean(c->arena, text) : path_join(c->arena, str_from(cwd), text);
    return true;
}

/* A file is replaced as a whole, behind its links, and keeps its mode; a pipe or a device is written to. */
static bool write_file(struct cli *c, struct str path, struct str text, struct err *err)
{
    struct stat st;
    bool exists = stat(str_z(c->arena, path), &st) == 0;
    if (exists && !S_ISREG(st.st_mode)) {
        scoped_fd int fd = fs_open(path, O_WRONLY, 0, err);
        return fd >= 0 && fs_write_fd(fd, text, err);
    }
    if (exists && !fs_real_path(c->arena, path, &path, err))
        return false;
    return fs_write_atomic(path, text, exists ? st.st_mode & 07777 : MODE_NEW, err) ||
           err_wrap(err, "writing " STR_FMT, STR_ARG(path));
}

/* ---- export ---- */

static bool run_export(struct cli *c, struct err *err)
{
    struct str output = args_text(c->args, "output");
    bool to_stdout = is_stdout(output);
    size_t n = c->args->words.len;
    if (n > 1)
        return err_set(err, ERR_INVALID, "expected at most one argument: [<appPathGlob>]");
    if (!to_stdout && !resolve_path(c, output, &output, err))
        return false;
    struct call call = {.method = "GET", .path = "/export"};
    call_text(c, &call, "appPathGlob", n == 1 ? arg_word(c, 0) : STR("all"));
    call_text(c, &call, "serviceRef", args_text(c->args, "service-ref"));
    call_text(c, &call, "gitAuthRef", args_text(c->args, "git-auth"));
    call_bool(c, &call, "exactCommit", args_is_on(c->args, "exact-commit"));
    call_bool(c, &call, "excludeDeclarative", args_is_on(c->args, "exclude-declarative"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    struct str text = json_get_str(reply, "config", (struct str){0});
    if (!to_stdout)
        return write_file(c, output, text, err);
    say(c->out, STR_FMT, STR_ARG(text));
    return true;
}

static const struct flag export_flags[] = {
    {"service-ref", "s", FLAG_STR, "default", "how services are named: default or exact"},
    {"git-auth", "g", FLAG_STR, "default", "how git_auth entries are named: default or exact"},
    {"exact-commit", "c", FLAG_BOOL, NULL, "pin the commit each app is at"},
    {"exclude-declarative", "x", FLAG_BOOL, NULL, "leave out apps that an apply file manages"},
    {"output", "o", FLAG_STR, NULL, "write to this file"},
    FLAG_END,
};

const struct command cmd_export = {
    .name = "export",
    .words = "[<appPathGlob>]",
    .summary = "write apps as a declarative file",
    .about = "   What cannot be declared, and values that look like secrets, are told in comments at the head of the file.\n",
    .flags = export_flags,
    .exec = run_export,
};

/* ---- fmt ---- */

static bool read_input(struct cli *c, struct str name, struct str *text, struct err *err)
{
    if (str_eq(name, STR("-")))
        return fs_read_fd(c->arena, STDIN_FILENO, FILE_BYTES_MAX, text, err) || err_wrap(err, "reading standard input");
    if (is_remote_source(name))
        return err_set(err, ERR_INVALID, STR_FMT ": only local files can be formatted", STR_ARG(name));
    if (fs_is_dir(name))
        return err_set(err, ERR_INVALID, STR_FMT " is a folder: name the files in it", STR_ARG(name));
    return fs_read_all(c->arena, name, FILE_BYTES_MAX, text, err);
}

static bool format_file(struct cli *c, struct str name, struct str output, struct err *err)
{
    struct str before, after;
    if (!read_input(c, name, &before, err) || !star_fmt(c->arena, name, before, &after, err))
        return false;
    bool is_same = str_eq(before, after);
    if (args_is_on(c->args, "check")) {
        if (!is_same) {
            say(c->out, STR_FMT "\n", STR_ARG(name));
            c->exit_code = 1;
        }
        return true;
    }
    if (args_is_on(c->args, "write"))
        return is_same || write_file(c, name, after, err);
    if (!is_stdout(output))
        return write_file(c, output, after, err);
    return fwrite(after.ptr, 1, after.len, c->out) == after.len || err_set_errno(err, errno, "writing the output");
}

static bool run_format(struct cli *c, struct err *err)
{
    struct str output = args_text(c->args, "output");
    bool writes = args_is_on(c->args, "write"), checks = args_is_on(c->args, "check"), ok = true;
    size_t n = c->args->words.len;
    if (n == 0)
        return err_set(err, ERR_INVALID, "expected one argument: <filePath>");
    if (writes && output.len > 0)
        return err_set(err, ERR_INVALID, "cannot use both --write and --output");
    if (checks && (writes || output.len > 0))
        return err_set(err, ERR_INVALID, "--check writes nothing: it cannot be used with --%s", writes ? "write" : "output");
    if (n > 1 && !writes && !checks)
        return err_set(err, ERR_INVALID, "several files can only be formatted with --write or --check");
    for (size_t i = 0; i < n; i++) { /* one bad file does not stop the others */
        scoped_err own = {0};
        if (writes && str_eq(arg_word(c, i), STR("-")))
            err_set(&own, ERR_INVALID, "standard input cannot be written to");
        else if (format_file(c, arg_word(c, i), output, &own))
            continue;
        if (!ok)
            say_error(c, err);
        ok = err_move(err, &own);
    }
    return ok;
}

static const struct flag format_flags[] = {
    {"output", "o", FLAG_STR, NULL, "write to this file"},
    {"write", "w", FLAG_BOOL, NULL, "write back to the files"},
    {"check", NULL, FLAG_BOOL, NULL, "list files that are not formatted, and exit with 1 if there are any"},
    FLAG_END,
};

const struct command cmd_pretty_print = {
    .name = "pretty-print",
    .aliases = "fmt",
    .words = "<filePath> ...",
    .summary = "format app files and declarative files",
    .about = "   Comments stay, and so does the meaning. Needs no server; - is standard input.\n",
    .flags = format_flags,
    .exec = run_format,
    .needs_no_config = true,
};
