/* plugin/container_run.c: container.run: a single command in a container made from the app's image
 * (spec plugins.md 5.1, 5.3).
 *
 * The output is kept up to a ceiling and the rest is read and dropped, so that a command that writes much ends by itself.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

enum {
    OUTPUT_MAX = 16 << 20,       /* kept */
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
    struct plugin_command_end end;
};

static bool take_output(void *arg, bool is_stderr, struct str chunk)
{
    struct command *c = arg;
    struct buf *b = is_stderr && !c->run.merges ? &c->said : &c->out;
    buf_add_str(b, str_slice(chunk, 0, b->max - b->len));
    return true;
}

static bool work(struct plugin_wait *w, struct err *err)
{
    struct command *c = w->data;
    return w->ctx->run_command(w->ctx->run_command_app, &c->run, &c->end, err);
}

static void release(struct plugin_wait *w)
{
    struct command *c = w->data;
    buf_release(&c->out);
    buf_release(&c->said);
}

/* --- the result
 * ---------------------------------------------------------------------------------------------- */

/* A last newline ends the last line; it does not begin another. */
static star_v lines_of(struct arena *a, struct str text)
{
    star_v list = star_list(a, NULL, 0);
    while (text.len > 0) {
        struct str line, rest;
        str_cut(text, '\n', &line, &rest);
        if (!star_list_append(a, list, star_string(a, str_trim_right(line, '\r'))))
            return STAR_NULL;
        text = rest;
    }
    return list;
}

static bool add_json(struct arena *a, star_v list, struct str text, struct err *err)
{
    star_v v;
    if (!star_json_decode(a, text, &v, err))
        return err_wrap(err, "the command's output is not JSON");
    if (star_kind(v) != STAR_KIND_DICT)
        return err_set(err, ERR_INVALID, "the command's output is JSON, but no object");
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
    if (c->end.exit_code == 0 || (c->is_partial_fine && c->out.len > 0))
        return true;
    struct str said = str_trim(buf_str(&c->said));
    w->error_code = c->end.exit_code;
    return err_set(err, ERR_UPSTREAM, "exit status %d%s" STR_FMT, c->end.exit_code, said.len > 0 ? ": " : "",
                   STR_ARG(said));
}

static bool finish(struct plugin_wait *w, struct star_run *run, star_v *value, struct err *err)
{
    struct command *c = w->data;
    struct arena *a = star_run_arena(run);
    if (!check_end(w, c, err))
        return false;
    if (c->form != LINES)
        return json_of(a, buf_str(&c->out), c->form, value, err);
    *value = lines_of(a, buf_str(&c->out));
    return !star_is_null(*value) || err_set(err, ERR_TOO_LARGE, "the command's output needs too much memory");
}

/* --- the call
 * ------------------------------------------------------------------------------------------------ */

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

static bool read_form(struct str parse, bool is_stream, enum form *out, struct err *err)
{
    if (is_stream)
        return err_set(err, ERR_UNSUPPORTED, "run: stream is not available in this version");
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
        {"timeout", STAR_INT, star_int(ra, TIMEOUT_S)},
    };
    star_v v[ARRAY_LEN(params)];
    int64_t timeout_s;
    struct command *c = arena_new(&w->arena, struct command);
    buf_init(&c->out, OUTPUT_MAX);
    buf_init(&c->said, ERROR_TEXT_MAX);
    if (!plugin_bind(run, call, params, ARRAY_LEN(params), v, err))
        return false;
    if (!w->ctx->run_command)
        return err_set(err, ERR_INVALID, "container config not initialized: set container=container.config(...) in "
                                         "ace.app");
    str_list_add(&w->arena, &c->run.argv, str_dup(&w->arena, text_of(v[0])));
    if (str_is_empty(text_of(v[0])) || str_chr(text_of(v[0]), '\0') != STR_NPOS)
        return err_set(err, ERR_INVALID, "run: path must name a program");
    if (star_truth(v[4]))
        return err_set(err, ERR_UNSUPPORTED, "run: stdout_file is not available in this version");
    if (!star_to_i64(v[9], &timeout_s) || timeout_s < 1 || timeout_s > TIMEOUT_MAX_S)
        return err_set(err, ERR_INVALID, "run: timeout must be between 1 and %d seconds", TIMEOUT_MAX_S);
    if (!read_list(&w->arena, v[1], "args", &c->run.argv, err) || !read_env(&w->arena, v[2], &c->run.env, err) ||
        !read_form(text_of(v[5]), star_truth(v[6]), &c->form, err))
        return false;
    c->run.cwd = str_dup(&w->arena, text_of(v[8]));
    if (!str_is_empty(c->run.cwd) && !path_is_abs(c->run.cwd))
        return err_set(err, ERR_INVALID, "run: cwd must be an absolute path in the container");
    c->is_partial_fine = star_truth(v[3]);
    c->run.merges = star_truth(v[7]);
    c->run.timeout_ms = timeout_s * 1000;
    c->run.cancel = &w->cancel;
    c->run.on_output = take_output;
    c->run.arg = c;
    w->data = c;
    w->work = work;
    w->finish = finish;
    w->release = release;
    return true;
}
