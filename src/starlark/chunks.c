/* starlark/chunks.c: `starlark --test`: files of programs separated by "---" lines, in which "### pattern" at
 * the end of a line says that the chunk fails there with a message that matches.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"
#include "tool_int.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct expectation {
    int line;
    struct str pattern;
    bool met;
};

struct chunk_run {
    struct tool tool;
    const char *path;
    VEC(struct expectation) wants;
    int failures;
    int catching;       /* nested assert_fails */
    struct star_run *run;
};

static void report(struct chunk_run *c, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void report(struct chunk_run *c, int line, const char *fmt, ...)
{
    va_list ap;
    c->failures++;
    fflush(stdout);
    fprintf(stderr, "%s:%d: ", c->path, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* ---- patterns ---- */

/* POSIX has no \d; everything else that such files use means the same there. */
static char *posix_pattern(struct arena *a, struct str p)
{
    scoped_buf b = BUF_INIT(65536);
    for (size_t i = 0; i < p.len; i++) {
        if (p.ptr[i] == '\\' && i + 1 < p.len) {
            char c = p.ptr[++i];
            if (c == 'd') {
                buf_add_z(&b, "[0-9]");
            } else if (c == '"' || c == '\'' || c == '`') {
                buf_add_char(&b, c);
            } else {
                buf_add_char(&b, '\\');
                buf_add_char(&b, c);
            }
        } else {
            buf_add_char(&b, p.ptr[i]);
        }
    }
    return str_z(a, buf_str(&b));
}

/* A regular expression found in the text, or the pattern itself found there. */
static bool matches(struct arena *a, struct str pattern, struct str text)
{
    regex_t re;
    bool ok = str_find(text, pattern) != STR_NPOS;
    if (ok || pattern.len > 4096)
        return ok;
    int flags = REG_EXTENDED | REG_NOSUB;
    if (str_starts(pattern, STR("(?i)"))) {
        pattern = str_from_off(pattern, 4);
        flags |= REG_ICASE;
    }
    if (regcomp(&re, posix_pattern(a, pattern), flags) == 0) {
        ok = regexec(&re, str_z(a, text), 0, NULL, 0) == 0;
        regfree(&re);
    }
    return ok;
}

/* The inside of a pattern written as a quoted string; with backquotes nothing is an escape. */
static struct str unquote_pattern(struct arena *a, struct str p)
{
    p = str_trim(p);
    if (p.len < 2 || (p.ptr[0] != '"' && p.ptr[0] != '`') || p.ptr[p.len - 1] != p.ptr[0])
        return p;
    struct str in = str_slice(p, 1, p.len - 1);
    if (p.ptr[0] == '`')
        return in;
    scoped_buf b = BUF_INIT(65536);
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '\\' && i + 1 < in.len) {
            c = in.ptr[++i];
            if (c == 'n' || c == 't')
                c = c == 'n' ? '\n' : '\t';
        }
        buf_add_char(&b, c);
    }
    return str_dup(a, buf_str(&b));
}

static void got_error(struct chunk_run *c, int line, struct str msg)
{
    vec_foreach(w, &c->wants) {
        if (w->line != line || w->met)
            continue;
        w->met = true;
        if (!matches(c->tool.arena, w->pattern, msg))
            report(c, line, "error \"" STR_FMT "\" does not match pattern \"" STR_FMT "\"", STR_ARG(msg), STR_ARG(w->pattern));
        return;
    }
    report(c, line, "unexpected error: " STR_FMT, STR_ARG(msg));
}

/* ---- what chunks may use ---- */

static struct chunk_run *chunk_of(struct star_run *run)
{
    return star_run_user(run);
}

static int current_line(struct star_run *run)
{
    for (uint32_t i = run->n_frames; i-- > 0;) {
        const struct frame *f = &run->frames[i];
        const struct proto *p = f->kind == FRAME_CODE ? f->fn->proto : NULL;
        if (p && !str_eq(p->program->file, STR("assert.star")) && f->pc > p->code)
            return (int)p->pos[f->pc - p->code - 1].line;
    }
    return 0;
}

/* Reports and goes on, as Go's test framework does. */
static enum star_ret soft(struct star_run *run, star_v *out, const char *fmt, ...) PRINTF_LIKE(3, 4);
static enum star_ret soft(struct star_run *run, star_v *out, const char *fmt, ...)
{
    scoped_buf b = BUF_INIT(8192);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    report(chunk_of(run), current_line(run), "%s", buf_z(&b));
    *out = STAR_NONE;
    return STAR_OK;
}

static bool near_enough(star_v x, star_v y)
{
    double a, b;
    if ((!is_float(x) && !is_float(y)) || !star_to_double(x, &a) || !star_to_double(y, &b))
        return false;
    if (a != a && b != b)
        return true;
    double d = a > b ? a - b : b - a, m = a > 0 ? a : -a;
    return d <= m * 2.3e-16;
}

static enum star_ret check(struct star_run *run, star_v *out, bool ok, bool hard, const char *text)
{
    *out = STAR_NONE;
    if (ok)
        return STAR_OK;
    return hard ? star_fail(run, "%s", text) : soft(run, out, "%s", text);
}

static enum star_ret eq_impl(struct star_run *run, const struct star_call *call, star_v *out, bool want, bool hard)
{
    star_v a[2];
    char text[4096];
    if (!star_unpack_pos(run, call, 2, 2, a))
        return STAR_FAIL;
    int eq = value_equal(a[0], a[1], 0);
    if (eq == CMP_FAIL)
        return star_fail(run, "comparison exceeded maximum recursion depth");
    bool same = eq == 1 || (want && near_enough(a[0], a[1]));
    if (same != want)
        snprintf(text, sizeof text, "%.1900s %s %.1900s", msg_repr(run, a[0]), want ? "!=" : "==", msg_repr(run, a[1]));
    return check(run, out, same == want, hard, text);
}
static enum star_ret assert_eq(struct star_run *run, const struct star_call *call, star_v *out)
{
    return eq_impl(run, call, out, true, call->data != NULL);
}
static enum star_ret assert_ne(struct star_run *run, const struct star_call *call, star_v *out)
{
    return eq_impl(run, call, out, false, call->data != NULL);
}
static enum star_ret assert_true(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {{"cond", STAR_ANY, 0}, {"msg", STAR_ANY, STAR_OPTIONAL}};
    star_v a[2] = {STAR_NULL, STAR_NULL};
    if (!star_unpack(run, call, params, 2, a))
        return STAR_FAIL;
    bool ok = star_truth(a[0]);
    return check(run, out, ok, call->data != NULL, ok ? "" : star_is_null(a[1]) ? "assertion failed" : msg_str(run, a[1]));
}
static enum star_ret assert_lt(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    bool lt;
    char text[4096];
    if (!star_unpack_pos(run, call, 2, 2, a) || !value_compare(run, OP_LT, a[0], a[1], &lt))
        return STAR_FAIL;
    if (!lt)
        snprintf(text, sizeof text, "%.1900s is not less than %.1900s", msg_str(run, a[0]), msg_str(run, a[1]));
    return check(run, out, lt, false, text);
}
static enum star_ret assert_contains(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    bool in;
    char text[4096];
    if (!star_unpack_pos(run, call, 2, 2, a) || !op_in(run, a[1], a[0], &in))
        return STAR_FAIL;
    if (!in)
        snprintf(text, sizeof text, "%.1900s does not contain %.1900s", msg_str(run, a[0]), msg_str(run, a[1]));
    return check(run, out, in, false, text);
}
static enum star_ret assert_fail(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    return soft(run, out, "%s", msg_str(run, a[0]));
}

/* The message with which f() fails in a run of its own, or an empty slice. False: nested too deep. */
static bool catch_failure(struct star_run *run, star_v f, struct str *msg)
{
    enum { MAX_CATCH = 20 };
    struct chunk_run *c = chunk_of(run);
    *msg = (struct str){0};
    if (c->catching >= MAX_CATCH)
        return FAIL_FALSE(run, "assert_fails is nested too deep");
    struct star_limits limits = {.steps = 50000000};
    struct star_run *inner = star_run_new(run->arena, &limits);
    if (!inner)
        return memory_fail(run), false;
    tool_setup(inner, &c->tool);
    star_run_set_user(inner, c);
    star_run_call(inner, f, NULL, 0);
    c->catching++;
    enum star_state s = star_run_to_end(inner);
    c->catching--;
    if (s == STAR_ERROR)
        *msg = star_run_error(inner)->msg;
    return true;
}

static enum star_ret assert_fails(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {{"f", STAR_CALLABLE, 0}, {"pattern", STAR_STR, 0}};
    star_v a[2] = {STAR_NULL, STAR_NULL};
    struct str msg, pattern;
    char text[4096];
    if (!star_unpack(run, call, params, 2, a) || !catch_failure(run, a[0], &msg))
        return STAR_FAIL;
    star_to_str(a[1], &pattern);
    bool ok = msg.ptr && matches(run->arena, pattern, msg);
    if (!msg.ptr)
        snprintf(text, sizeof text, "evaluation succeeded unexpectedly (want error matching \"%.*s\")", (int)MIN(pattern.len, 1900u), pattern.ptr);
    else if (!ok)
        snprintf(text, sizeof text, "regular expression (%.*s) did not match error (%.*s)", (int)MIN(pattern.len, 1900u),
                 pattern.ptr, (int)MIN(msg.len, 1900u), msg.ptr);
    return check(run, out, ok, call->data != NULL, text);
}

static enum star_ret freeze_builtin(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    star_freeze(a[0]);
    *out = a[0];
    return STAR_OK;
}

/* ---- test objects that published test files expect ---- */

/* An object with any fields. */
static enum star_ret fields_attr(struct star_run *run, void *self, struct str name, star_v *out)
{
    (void)run;
    *out = star_dict_get_str(*(star_v *)self, name);
    return star_is_null(*out) ? STAR_MISSING : STAR_OK;
}
static size_t fields_names(void *self, struct str *names, size_t max)
{
    size_t at = 0, n = 0;
    star_v k, v;
    while (n < max && star_dict_next(*(star_v *)self, &at, &k, &v))
        star_to_str(k, &names[n++]);
    return n;
}
static enum star_ret fields_set(struct star_run *run, void *self, struct str name, star_v value)
{
    star_v d = *(star_v *)self;
    if (DICT_OBJ(d)->h.frozen)
        return star_fail(run, "cannot set field on a frozen hasfields");
    if (str_starts(name, STR("no"))) {
        struct str names[64];
        const char *hint = spell_nearest(run->arena, name, names, fields_names(self, names, ARRAY_LEN(names)));
        return star_fail(run, "no ." STR_FMT " field%s%s%s", STR_ARG(name), hint ? " (did you mean ." : "", hint ? hint : "",
                         hint ? "?)" : "");
    }
    return star_dict_set(run->arena, d, star_string(run->arena, name), value) ? STAR_OK : STAR_FAIL;
}
static enum star_ret fields_binary(struct star_run *run, enum star_op op, void *self, star_v other, bool left, star_v *out)
{
    (void)run, (void)self, (void)left;
    if (op != STAR_OP_ADD || star_kind(other) != STAR_KIND_LIST)
        return STAR_MISSING;
    *out = small_int(42);
    return STAR_OK;
}
static bool fields_hash(void *self, uint64_t *out)
{
    (void)self;
    *out = 42;
    return true;
}
static bool fields_repr(void *self, struct buf *out)
{
    (void)self;
    return buf_add_z(out, "hasfields");
}
static void fields_freeze(void *self)
{
    star_freeze(*(star_v *)self);
}
static const struct star_host_type fields_type = {
    .name = "hasfields", .attr = fields_attr, .attr_names = fields_names, .set_attr = fields_set, .binary = fields_binary,
    .hash = fields_hash, .repr = fields_repr, .freeze = fields_freeze,
};
static enum star_ret make_fields(struct star_run *run, const struct star_call *call, star_v *out)
{
    (void)call;
    star_v *self = arena_new(run->arena, star_v);
    *self = star_dict(run->arena, 0);
    *out = star_host(run->arena, &fields_type, self);
    return STAR_OK;
}

/* 0, 1, 1, 2, 3, 5 ... without end: an iterable of no known length. */
struct fib {
    int64_t x, y;
};
static enum star_ret fib_begin(struct star_run *run, void *self, void **cursor)
{
    (void)self;
    struct fib *f = arena_new(run->arena, struct fib);
    f->y = 1;
    *cursor = f;
    return STAR_OK;
}
static enum star_ret fib_next(struct star_run *run, void *self, void **cursor, star_v *out)
{
    (void)self;
    struct fib *f = *cursor;
    *out = star_int(run->arena, f->x);
    int64_t sum = (int64_t)((uint64_t)f->x + (uint64_t)f->y);
    f->x = f->y;
    f->y = sum;
    return STAR_OK;
}
static const struct star_host_type fib_type = {.name = "fibonacci", .iter_begin = fib_begin, .iter_next = fib_next};

/* assert.star: a module whose functions report and go on. */
static struct star_module *assert_module(struct arena *a)
{
    static const struct {
        const char *name;
        star_fn fn;
    } members[] = {
        {"eq", assert_eq}, {"ne", assert_ne}, {"true", assert_true}, {"lt", assert_lt}, {"contains", assert_contains},
        {"fails", assert_fails}, {"fail", assert_fail},
    };
    const char *names[ARRAY_LEN(members)];
    star_v values[ARRAY_LEN(members)];
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        names[i] = members[i].name;
        values[i] = star_builtin(a, members[i].name, members[i].fn, NULL);
    }
    star_v assert_v = star_struct(a, "assert", names, values, ARRAY_LEN(members));
    obj_of(assert_v)->flags = STRUCT_IS_MODULE;
    struct star_binding b[] = {
        {"assert", assert_v},
        {"freeze", star_builtin(a, "freeze", freeze_builtin, NULL)},
    };
    return star_module_from(a, STR("assert.star"), b, ARRAY_LEN(b));
}

static struct star_module *chunk_load(void *ctx, struct star_run *run, struct str name, struct err *err)
{
    struct chunk_run *c = ctx;
    if (str_eq(name, STR("assert.star")))
        return assert_module(c->tool.arena);
    return tool_load(&c->tool, run, name, err);
}

/* ---- chunks ---- */

/* "# option:NAME" anywhere in a comment of the chunk. */
static bool has_option(struct str text, const char *name)
{
    char want[64];
    snprintf(want, sizeof want, "option:%s", name);
    struct str w = str_from(want);
    for (size_t i; (i = str_find(text, w)) != STR_NPOS; text = str_from_off(text, i + w.len)) {
        struct str rest = str_from_off(text, i + w.len);
        bool ends = rest.len == 0 || !((rest.ptr[0] | 0x20) >= 'a' && (rest.ptr[0] | 0x20) <= 'z');
        size_t line = i;
        while (line > 0 && text.ptr[line - 1] != '\n' && text.ptr[line - 1] != '#')
            line--;
        if (ends && line > 0 && text.ptr[line - 1] == '#')
            return true;
    }
    return false;
}

static struct star_options chunk_options(const struct star_options *base, struct str text)
{
    struct star_options o = *base;
    o.sets = o.sets || has_option(text, "set");
    o.while_loops = o.while_loops || has_option(text, "while");
    o.recursion = o.recursion || has_option(text, "recursion");
    o.toplevel_control = o.toplevel_control || has_option(text, "toplevelcontrol");
    o.load_binds_globally = o.load_binds_globally || has_option(text, "loadbindsglobally");
    if (has_option(text, "globalreassign"))
        o.global_reassign = o.toplevel_control = o.while_loops = true;
    return o;
}

static void collect_wants(struct chunk_run *c, struct str chunk, int line)
{
    struct str rest = chunk, text;
    for (; str_next(&rest, '\n', &text); line++) {
        size_t i = str_find(text, STR("###"));
        if (i == STR_NPOS)
            continue;
        struct str p = unquote_pattern(c->tool.arena, str_from_off(text, i + 3));
        *vec_push(c->tool.arena, &c->wants) = (struct expectation){.line = line, .pattern = p};
    }
}

static void runtime_error(struct chunk_run *c, struct star_run *run)
{
    const struct star_error *e = star_run_error(run);
    for (size_t i = e->n_frames; i-- > 0;) {
        if (e->frames[i].line > 0 && str_eq_z(e->frames[i].file, c->path)) {
            got_error(c, e->frames[i].line, e->msg);
            return;
        }
    }
    report(c, 0, "unexpected error: " STR_FMT, STR_ARG(e->msg));
}

static void run_chunk(struct chunk_run *c, struct str text)
{
    struct arena *a = c->tool.arena;
    struct star_error_list errors = {0};
    scoped_err err = {0};
    struct str file = str_from(c->path);
    if (!star_check(a, file, text, &c->tool.opts, &c->tool.env, &errors)) {
        for (size_t i = 0; i < errors.len; i++)
            got_error(c, errors.items[i].line, errors.items[i].msg);
        return;
    }
    struct star_program *p = star_compile(a, file, text, &c->tool.opts, &c->tool.env, &err);
    if (!p) {
        report(c, 0, "%s", err_msg(&err));
        return;
    }
    struct star_run *run = star_run_new(a, &c->tool.limits);
    tool_setup(run, &c->tool);
    star_run_set_loader(run, chunk_load, c);
    star_run_set_user(run, c);
    star_run_exec(run, p, &c->tool.env);
    if (star_run_to_end(run) == STAR_ERROR)
        runtime_error(c, run);
}

/* The chunk's text on the lines it has in the file: what comes before is blank lines. */
static struct str padded(struct arena *a, struct str chunk, int first_line)
{
    size_t pad = (size_t)first_line - 1;
    char *p = arena_alloc(a, pad + chunk.len + 1);
    memset(p, '\n', pad);
    if (chunk.len > 0)
        memcpy(p + pad, chunk.ptr, chunk.len);
    return str_of(p, pad + chunk.len);
}

static int do_chunk(const struct tool *base, const char *path, struct str chunk, int line)
{
    scoped_arena a = {0};
    struct chunk_run c = {.path = path};
    arena_init(&a, (size_t)4 << 30);
    tool_init(&c.tool, &a);
    static int yes;
    struct star_binding env[] = {
        {"assert_", star_builtin(&a, "assert_", assert_true, &yes)}, {"assert_eq", star_builtin(&a, "assert_eq", assert_eq, &yes)},
        {"assert_ne", star_builtin(&a, "assert_ne", assert_ne, &yes)},
        {"assert_fails", star_builtin(&a, "assert_fails", assert_fails, &yes)},
        {"struct", star_lib_struct()}, {"freeze", star_builtin(&a, "freeze", freeze_builtin, NULL)},
        {"hasfields", star_builtin(&a, "hasfields", make_fields, NULL)}, {"fibonacci", star_host(&a, &fib_type, NULL)},
    };
    c.tool.env = (struct star_env){env, ARRAY_LEN(env)};
    c.tool.opts = chunk_options(&base->opts, chunk);
    c.tool.limits = base->limits;
    collect_wants(&c, chunk, line);
    run_chunk(&c, padded(&a, chunk, line));
    vec_foreach(w, &c.wants)
        if (!w->met)
            report(&c, w->line, "expected error matching \"" STR_FMT "\"", STR_ARG(w->pattern));
    return c.failures;
}

/* Splits off the text up to a line "---". */
static bool next_chunk(struct str *rest, struct str *chunk, int *lines)
{
    if (!rest->ptr)
        return false;
    size_t at = 0;
    *lines = 1;
    while (at <= rest->len) {
        size_t nl = str_chr(str_from_off(*rest, at), '\n');
        struct str line = str_slice(*rest, at, nl == STR_NPOS ? rest->len : at + nl);
        if (str_eq(str_trim_right(line, '\r'), STR("---"))) {
            *chunk = str_slice(*rest, 0, at > 0 ? at - 1 : 0);
            *rest = nl == STR_NPOS ? str_of(rest->ptr + rest->len, 0) : str_from_off(*rest, at + nl + 1);
            return true;
        }
        if (nl == STR_NPOS)
            break;
        at += nl + 1;
        ++*lines;
    }
    *chunk = *rest;
    rest->ptr = NULL;
    return true;
}

bool tool_test_file(const struct tool *base, const char *path)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str text, chunk;
    if (!tool_read(&a, path, &text, &err)) {
        fprintf(stderr, "starlark: %s\n", err_msg(&err));
        return false;
    }
    int line = 1, lines, failures = 0, n = 0;
    if (!text.ptr)
        text = STR("");
    for (struct str rest = text; next_chunk(&rest, &chunk, &lines); line += lines, n++)
        failures += do_chunk(base, path, chunk, line);
    if (failures > 0)
        fprintf(stderr, "%s: %d failure%s in %d chunk%s\n", path, failures, failures == 1 ? "" : "s", n, n == 1 ? "" : "s");
    return failures == 0;
}
