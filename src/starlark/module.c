/* starlark/module.c: from source to program, from program to module; the cache of modules.
 * SPDX-License-Identifier: Apache-2.0 */
#include "syntax.h"

#include <setjmp.h>
#include <stdlib.h>

/* ---- "did you mean" ---- */

enum { MAX_SPELL = 64 };

/* Lower case, without underscores; false when too long to be worth it. */
static bool fold(struct str s, char out[MAX_SPELL], size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '_')
            continue;
        if (*n == MAX_SPELL)
            return false;
        out[(*n)++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return true;
}

static int edit_distance(const char *x, size_t nx, const char *y, size_t ny)
{
    int row[MAX_SPELL + 1];
    for (size_t k = 0; k <= ny; k++)
        row[k] = (int)k;
    for (size_t i = 1; i <= nx; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t k = 1; k <= ny; k++) {
            int best = diagonal + (x[i - 1] != y[k - 1]);
            best = MIN(best, MIN(row[k - 1], row[k]) + 1);
            diagonal = row[k];
            row[k] = best;
        }
    }
    return row[ny];
}

/* The nearest name, if fewer than half of the letters differ; as NUL-terminated text in `a`. */
const char *spell_nearest(struct arena *a, struct str x, const struct str *names, size_t n)
{
    char fx[MAX_SPELL], fy[MAX_SPELL];
    size_t nx, ny;
    if (!fold(x, fx, &nx))
        return NULL;
    int best = (int)(nx + 1) / 2;
    const struct str *found = NULL;
    for (size_t i = 0; i < n && i < 5000; i++) {
        if (!fold(names[i], fy, &ny))
            continue;
        int d = edit_distance(fx, nx, fy, ny);
        if (d < best) {
            best = d;
            found = &names[i];
        }
    }
    if (!found)
        return NULL;
    char *z = star_alloc(a, found->len + 1);
    if (!z)
        return NULL;
    memcpy(z, found->ptr, found->len);
    z[found->len] = 0;
    return z;
}

/* ---- compiling ---- */

static int by_position(const void *x, const void *y)
{
    const struct star_error_item *a = x, *b = y;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->col < b->col ? -1 : a->col > b->col;
}

struct compilation {
    struct arena *out, *tmp;
    struct str file, text;
    const struct star_options *opts;
    const struct star_env *env;
    struct star_error_list *errors;
    bool check_only;
};

/* The part that may be left by longjmp: it has no state of its own to lose. */
static struct star_program *compile_or_fail(const struct compilation *c)
{
    struct source *s = arena_new(c->tmp, struct source);
    struct fscope *top = arena_new(c->tmp, struct fscope);
    jmp_buf fail;
    if (setjmp(fail) != 0)
        return NULL;
    source_init(s, c->out, c->tmp, c->file, c->text, c->opts, c->env, c->errors);
    s->fail = &fail;
    if (c->text.len > INT32_MAX)
        source_fail(s, (struct pos){1, 1}, "file is too large");
    struct node_list stmts = parse_file(s);
    resolve_file(s, stmts, top);
    return c->errors->len == 0 && !c->check_only ? compile_file(s, stmts, top) : NULL;
}

/* NULL with errors in the list when the source is wrong. */
static struct star_program *compile(struct arena *a, struct str file, struct str text, const struct star_options *opts,
                                    const struct star_env *env, struct star_error_list *errors, bool check_only)
{
    scoped_arena tmp = {0};
    struct compilation c = {a, &tmp, file, text, opts, env, errors, check_only};
    struct star_program *p = compile_or_fail(&c);
    if (errors->len > 1)
        qsort(errors->items, errors->len, sizeof *errors->items, by_position);
    return p;
}

struct star_program *star_compile(struct arena *a, struct str file, struct str source, const struct star_options *opts,
                                  const struct star_env *env, struct err *err)
{
    struct star_error_list errors = {0};
    struct star_program *p = compile(a, file, source, opts, env, &errors, false);
    if (!p) {
        const struct star_error_item *e = &errors.items[0];
        err_set(err, ERR_INVALID, STR_FMT ":%d:%d: " STR_FMT, STR_ARG(file), e->line, e->col, STR_ARG(e->msg));
    }
    return p;
}

bool star_check(struct arena *a, struct str file, struct str source, const struct star_options *opts,
                const struct star_env *env, struct star_error_list *errors)
{
    compile(a, file, source, opts, env, errors, true);
    return errors->len == 0;
}

size_t star_program_loads(const struct star_program *p, const struct star_load **loads)
{
    *loads = p->loads;
    return p->n_loads;
}

struct str star_program_file(const struct star_program *p)
{
    return p->file;
}

/* ---- modules ---- */

star_v star_module_get(const struct star_module *m, struct str name)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (str_eq(str_of_v(m->names[i]), name))
            return m->hidden && m->hidden[i] ? STAR_NULL : m->globals[i];
    return STAR_NULL;
}

bool star_module_next(const struct star_module *m, size_t *at, struct str *name, star_v *value)
{
    while (*at < m->n && ((m->hidden && m->hidden[*at]) || star_is_null(m->globals[*at])))
        ++*at;
    if (*at >= m->n)
        return false;
    *name = str_of_v(m->names[*at]);
    *value = m->globals[*at];
    ++*at;
    return true;
}

struct str star_module_name(const struct star_module *m)
{
    return m->name;
}

struct star_module *star_module_from(struct arena *a, struct str name, const struct star_binding *items, size_t n)
{
    struct star_module *m = arena_new(a, struct star_module);
    m->name = str_dup(a, name);
    m->names = arena_array(a, star_v, n);
    m->globals = arena_array(a, star_v, n);
    m->n = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        m->names[i] = star_string_z(a, items[i].name);
        m->globals[i] = items[i].value;
        freeze_value(m->names[i]);
        freeze_value(m->globals[i]);
    }
    return m;
}

struct star_module *star_exec(struct arena *a, const struct star_program *p, const struct star_env *env,
                              const struct star_limits *limits, void (*setup)(struct star_run *, void *), void *ctx,
                              struct err *err)
{
    struct star_run *run = star_run_new(a, limits);
    if (!run) {
        err_set(err, ERR_INTERNAL, "memory limit exceeded");
        return NULL;
    }
    if (setup)
        setup(run, ctx);
    star_run_exec(run, p, env);
    if (star_run_to_end(run) != STAR_DONE) {
        star_run_err(run, err);
        return NULL;
    }
    return star_run_module(run);
}

/* ---- the cache ---- */

enum { MAX_LOAD_DEPTH = 64 };   /* loading recurses on the C stack */

struct cache_entry {
    struct star_module *module; /* NULL: being loaded, or failed */
    struct str failure;         /* empty unless failed */
    bool is_loading;
};

struct star_cache {
    struct arena *arena;
    struct map entries;
    int depth;
};

struct star_cache *star_cache_new(struct arena *a)
{
    struct star_cache *c = arena_new(a, struct star_cache);
    c->arena = a;
    map_init(&c->entries, a);
    return c;
}

enum star_cache_state star_cache_begin(struct star_cache *c, struct str name, struct star_module **m, struct err *err)
{
    struct cache_entry *e = map_get(&c->entries, name);
    if (e && e->module) {
        *m = e->module;
        return STAR_CACHE_HIT;
    }
    if (e && e->is_loading) {
        err_set(err, ERR_INVALID, "cycle in starlark load graph during load of " STR_FMT, STR_ARG(name));
        return STAR_CACHE_FAIL;
    }
    if (e) {
        err_set(err, ERR_INVALID, STR_FMT, STR_ARG(e->failure));
        return STAR_CACHE_FAIL;
    }
    if (c->depth >= MAX_LOAD_DEPTH) {
        err_set(err, ERR_INVALID, "load of " STR_FMT ": loads are nested more than %d deep", STR_ARG(name), MAX_LOAD_DEPTH);
        return STAR_CACHE_FAIL;
    }
    e = arena_new(c->arena, struct cache_entry);
    e->is_loading = true;
    map_set(&c->entries, str_dup(c->arena, name), e);
    c->depth++;
    return STAR_CACHE_NEW;
}

void star_cache_end(struct star_cache *c, struct str name, struct star_module *m, const struct err *err)
{
    struct cache_entry *e = map_get(&c->entries, name);
    if (!e || !e->is_loading)
        return;
    e->is_loading = false;
    e->module = m;
    if (!m)
        e->failure = str_dup(c->arena, str_from(err ? err_msg(err) : "load failed"));
    c->depth--;
}
