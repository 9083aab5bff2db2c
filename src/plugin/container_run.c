/* plugin/container_run.c: container.run: a single command in a container made from the app's image
 * (spec plugins.md 5.1, 5.3).
 *
 * Where its output goes: to memory, up to a ceiling (the rest is read and dropped, so that a command that writes much ends by
 * itself); to a file; or, as a stream, to the client, whose reading then is the command's pace.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

#include <fcntl.h>
#include <unistd.h>

enum {
    ERROR_TEXT_MAX = 4 << 10,    /* of stderr, in a message */
    ARGS_MAX = 1000,
    TIMEOUT_S = 600,
    TIMEOUT_MAX_S = 24 * 3600,
};

enum form { LINES, JSON, JSON_LINES };

struct command {
    struct plugin_command run;
    enum form form;
    bool is_partial_fine;
    struct buf out, said;
    bool is_cut;                       /* `out` is not all of it */
    struct str path;                   /* of the file that takes the output instead; empty: none */
    int fd;                            /* of it, while the command runs */
    bool has_output;                   /* in the file, or the stream */
    struct err failed;                 /* why the output could not be taken */
    struct plugin_stream *stream;
    struct plugin_command_end end;
};

static void take(struct buf *b, struct str chunk)
{
    buf_add_str(b, str_slice(chunk, 0, b->max - b->len));
}

static bool take_output(void *arg, bool is_stderr, struct str chunk)
{
    struct command *c = arg;
    if (is_stderr && !c->run.merges) {
        take(&c->said, chunk);
        return true;
    }
    if (c->stream || !str_is_empty(c->path))
        c->has_output |= chunk.len > 0;
    if (c->stream) {
        bool is_too_long = false;
        if (plugin_stream_feed(c->stream, chunk, &is_too_long))
            return true;
        if (is_too_long)
            err_set(&c->failed, ERR_TOO_LARGE, "a line of the output is too long for a stream");
        return false;
    }
    if (!str_is_empty(c->path))
        return fs_write_fd(c->fd, chunk, &c->failed) || err_wrap(&c->failed, "writing the command's output");
    c->is_cut |= chunk.len > c->out.max - c->out.len;
    take(&c->out, chunk);
    return true;
}

static bool run_it(struct plugin_wait *w, struct err *err)
{
    struct command *c = w->data;
    bool ok = w->ctx->run_command(w->ctx->run_command_app, &c->run, &c->end, err);
    return err_is_set(&c->failed) ? err_move(err, &c->failed) : ok;
}

static bool work(struct plugin_wait *w, struct err *err)
{
    struct command *c = w->data;
    if (str_is_empty(c->path))
        return run_it(w, err);
    if (!fs_mkdir_p(w->ctx->output_dir, 0700, err))
        return err_wrap(err, "run: a file for the output");
    c->fd = fs_open(c->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, err);
    if (c->fd < 0)
        return err_wrap(err, "run: a file for the output");
    bool ok = run_it(w, err);
    close(c->fd);
    return ok;
}

static void release(struct plugin_wait *w)
{
    struct command *c = w->data;
    buf_release(&c->out);
    buf_release(&c->said);
    err_release(&c->failed);
}

/* --- the result ----------------------------------------------------------------------------------- */

/* A last newline ends the last line; it does not begin another. The lines share `text`. */
static star_v lines_of(struct arena *a, struct str text)
{
    star_v list = star_list(a, NULL, 0);
    while (text.len > 0) {
        struct str line, rest;
        str_cut(text, '\n', &line, &rest);
        if (!star_list_append(a, list, star_string_borrow(a, str_trim_right(line, '\r'))))
            return STAR_NULL;
        text = rest;
    }
    return list;
}

static bool object_of(struct arena *a, struct str text, star_v *out, struct err *err)
{
    star_v v;
    if (!star_json_decode(a, text, &v, err))
        return err_wrap(err, "the command's output is not JSON");
    if (star_kind(v) != STAR_KIND_DICT)
        return err_set(err, ERR_INVALID, "the command's output is JSON, but no object");
    *out = v;
    return true;
}

static bool add_json(struct arena *a, star_v list, struct str text, struct err *err)
{
    star_v v;
    if (!object_of(a, text, &v, err))
        return false;
    return star_list_append(a, list, v) || err_set(err, ERR_TOO_LARGE, "the command's output is too large");
}

static bool json_of(struct arena *a, struct str text, enum form form, star_v *out, struct err *err)
{
    star_v list = star_list(a, NULL, 0);
    struct str line;
    if (form == JSON) {
        if (!add_json(a, list, text, err))
            return false;
    } else {
        while (text.len > 0 && str_next(&text, '\n', &line))
            if (!str_is_empty(str_trim(line)) && !add_json(a, list, str_trim(line), err))
                return false;
    }
    *out = list;
    return true;
}

static bool check_end(struct plugin_wait *w, const struct command *c, struct err *err)
{
    if (c->end.cancelled)
        return err_set(err, ERR_CANCELLED, "the command was cancelled");
    if (c->end.timed_out)
        return err_set(err, ERR_TIMEOUT, "the command was ended after %lld s (timeout)",
                       (long long)c->run.timeout_ms / 1000);
    w->error_code = c->end.exit_code;
    if (c->end.exit_code == 0 || (c->is_partial_fine && (c->out.len > 0 || c->has_output)))
        return true;
    struct str said = str_trim(buf_str(&c->said));
    return err_set(err, ERR_UPSTREAM, "exit status %d%s" STR_FMT, c->end.exit_code, said.len > 0 ? ": " : "",
                   STR_ARG(said));
}

static bool finish(struct plugin_wait *w, struct star_run *run, star_v *value, struct err *err)
{
    struct command *c = w->data;
    struct arena *a = star_run_arena(run);
    if (!check_end(w, c, err))
        return false;
    if (!str_is_empty(c->path)) {
        *value = star_string(a, c->path);
        return !star_is_null(*value) || err_set(err, ERR_TOO_LARGE, "out of memory");
    }
    if (c->form != LINES && c->is_cut)
        return err_set(err, ERR_TOO_LARGE, "the command's output is too large to parse: %zu bytes are kept", c->out.max);
    if (c->form != LINES)
        return json_of(a, buf_str(&c->out), c->form, value, err);
    if (c->is_cut && c->out.max < PLUGIN_KEPT_MAX)
        return err_set(err, ERR_TOO_LARGE, "the commands of this request have more than %d MB of output: use stdout_file",
                       PLUGIN_KEPT_MAX >> 20);
    struct str text = buf_str(&c->out);
    plugin_keep_buf(star_run_user(run), &c->out);
    *value = lines_of(a, text);
    return !star_is_null(*value) || err_set(err, ERR_TOO_LARGE, "the command's output needs too much memory");
}

/* --- streams */

static bool work_stream(struct plugin_wait *w, struct err *err)
{
    struct command *c = w->data;
    c->stream = w->stream;
    return run_it(w, err) && check_end(w, c, err);
}

static bool line_item(struct plugin_wait *w, struct arena *a, struct str line, star_v *item, struct err *err)
{
    const struct command *c = w->data;
    if (c->form == JSON_LINES && str_is_empty(str_trim(line))) {
        *item = STAR_NULL;
        return true;
    }
    if (c->form == JSON_LINES)
        return object_of(a, line, item, err);
    *item = star_string(a, line);
    return !star_is_null(*item) || err_set(err, ERR_TOO_LARGE, "out of memory");
}

/* --- the call ------------------------------------------------------------------------------------- */

static bool read_list(struct arena *a, star_v list, const char *what, struct str_list *out, struct err *err)
{
    if (star_len(list) > ARGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "run: %s has more than %d entries", what, ARGS_MAX);
    for (size_t i = 0; i < star_len(list); i++) {
        struct str s;
        if (!star_to_str(star_item(list, i), &s))
            return err_set(err, ERR_INVALID, "run: %s must hold strings, not %s", what,
                           star_type_name(star_item(list, i)));
        if (str_chr(s, '\0') != STR_NPOS)
            return err_set(err, ERR_INVALID, "run: an entry of %s has a NUL character in it", what);
        str_list_add(a, out, str_dup(a, s));
    }
    return true;
}

static bool read_env(struct arena *a, star_v list, struct str_list *out, struct err *err)
{
    if (!read_list(a, list, "env", out, err))
        return false;
    vec_foreach(e, out)
    {
        size_t at = str_chr(*e, '=');
        if (at == 0 || at == STR_NPOS)
            return err_set(err, ERR_INVALID, "run: env must hold entries like \"NAME=value\", not \"" STR_FMT "\"",
                           STR_ARG(str_slice(*e, 0, 40)));
    }
    return true;
}

static bool read_form(struct str parse, enum form *out, struct err *err)
{
    if (str_is_empty(parse))
        *out = LINES;
    else if (str_eq(parse, STR("json")))
        *out = JSON;
    else if (str_eq(parse, STR("jsonlines")))
        *out = JSON_LINES;
    else
        return err_set(err, ERR_INVALID, "unsupported format: " STR_FMT, STR_ARG(parse));
    return true;
}

static struct str text_of(star_v v)
{
    struct str s = {0};
    star_to_str(v, &s);
    return s;
}

/* Where the output goes: at most one of stream, stdout_file and parse="json", but for streams of JSON lines. */
static bool choose_output(struct star_run *run, struct plugin_wait *w, struct command *c, bool is_stream, bool is_file,
                          struct err *err)
{
    buf_init(&c->said, ERROR_TEXT_MAX);
    if (is_stream && c->form == JSON)
        return err_set(err, ERR_INVALID, "run: parse=\"json\" needs all of the output: with stream use \"jsonlines\"");
    if (is_stream && is_file)
        return err_set(err, ERR_INVALID, "run: stream and stdout_file exclude each other");
    if (is_file && c->form != LINES)
        return err_set(err, ERR_INVALID, "run: parse and stdout_file exclude each other");
    w->work = is_stream ? work_stream : work;
    w->item = is_stream ? line_item : NULL;
    if (is_file)
        return plugin_keep_file(star_run_user(run), &w->arena, w->ctx->output_dir, &c->path, err);
    buf_init(&c->out, is_stream ? 0 : plugin_keep_room(star_run_user(run)));
    return true;
}

/* Without a deadline of its own a stream lasts as long as its client. */
static bool read_timeout(star_v v, bool is_stream, int64_t *out_ms, struct err *err)
{
    int64_t secs = is_stream ? 0 : TIMEOUT_S;
    if (!star_is_none(v) && (!star_to_i64(v, &secs) || secs < 1 || secs > TIMEOUT_MAX_S))
        return err_set(err, ERR_INVALID, "run: timeout must be between 1 and %d seconds", TIMEOUT_MAX_S);
    *out_ms = secs * 1000;
    return true;
}

bool container_run(struct star_run *run, const struct star_call *call, struct plugin_wait *w, struct err *err)
{
    struct arena *ra = star_run_arena(run);
    const struct plugin_param params[] = {
        {"path", STAR_STR, STAR_NULL},
        {"args", STAR_LIST, star_list(ra, NULL, 0)},
        {"env", STAR_LIST, star_list(ra, NULL, 0)},
        {"process_partial", STAR_BOOL, STAR_FALSE},
        {"stdout_file", STAR_BOOL, STAR_FALSE},
        {"parse", STAR_STR, star_string_z(ra, "")},
        {"stream", STAR_BOOL, STAR_FALSE},
        {"include_stderr", STAR_BOOL, STAR_TRUE},
        {"cwd", STAR_STR, star_string_z(ra, "")},
        {"timeout", STAR_ANY, STAR_NONE},
    };
    star_v v[ARRAY_LEN(params)];
    struct command *c = arena_new(&w->arena, struct command);
    w->data = c;
    w->release = release;
    w->finish = finish;
    if (!plugin_bind(run, call, params, ARRAY_LEN(params), v, err))
        return false;
    bool is_stream = star_truth(v[6]);
    if (!w->ctx->run_command)
        return err_set(err, ERR_INVALID, "container config not initialized: set container=container.config(...) in "
                                         "ace.app");
    str_list_add(&w->arena, &c->run.argv, str_dup(&w->arena, text_of(v[0])));
    if (str_is_empty(text_of(v[0])) || str_chr(text_of(v[0]), '\0') != STR_NPOS)
        return err_set(err, ERR_INVALID, "run: path must name a program");
    if (!read_list(&w->arena, v[1], "args", &c->run.argv, err) || !read_env(&w->arena, v[2], &c->run.env, err) ||
        !read_form(text_of(v[5]), &c->form, err) || !read_timeout(v[9], is_stream, &c->run.timeout_ms, err))
        return false;
    c->run.cwd = str_dup(&w->arena, text_of(v[8]));
    if (!str_is_empty(c->run.cwd) && !path_is_abs(c->run.cwd))
        return err_set(err, ERR_INVALID, "run: cwd must be an absolute path in the container");
    c->is_partial_fine = star_truth(v[3]);
    c->run.merges = star_truth(v[7]);
    c->run.cancel = &w->cancel;
    c->run.on_output = take_output;
    c->run.arg = c;
    return choose_output(run, w, c, is_stream, star_truth(v[4]), err);
}
