/* app/router.c: path patterns of an app (spec starlark-apps.md 5): a trie of segments, searched with backtracking.
 *
 * A segment is a literal, a pattern with {name} or {name:regex}, or `*` (the rest, only at the end). At each
 * node literals win over regexes, those over plain parameters, those over `*`, whatever the order of
 * declaration. Depth of the search is bounded by the pattern's segments.
 * SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "app_int.h"

#include <pcre2.h>

enum {
    SEGMENTS_MAX = 32,
    MATCH_LIMIT = 100000,
};

struct node;

/* A segment with parameters: the whole segment must match `re`. */
struct pattern {
    struct str text;                    /* as written */
    pcre2_code *re;
    struct str names[ROUTE_PARAMS_MAX];
    size_t n_names;
    bool has_regex;                     /* among them an explicit one */
    struct node *next;
};

struct endpoint {
    struct str method;
    const void *target;
};

struct node {
    struct map literals;                /* segment -> struct node * */
    VEC(struct pattern *) patterns;     /* those with a regex first */
    struct node *rest;                  /* after `*` */
    VEC(struct endpoint) endpoints;
};

struct router {
    struct arena *arena;
    struct node *root;
};

static struct node *node_new(struct arena *a)
{
    struct node *n = arena_new(a, struct node);
    map_init(&n->literals, a);
    return n;
}

struct router *router_new(struct arena *a)
{
    struct router *r = arena_new(a, struct router);
    r->arena = a;
    r->root = node_new(a);
    return r;
}

/* --- compiling a pattern --------------------------------------------------------------------------------- */

static void re_release(void *re)
{
    pcre2_code_free(re);
}

/* `{name}` or `{name:regex}` starting at `*at`; braces in the regex may nest. */
static bool read_param(struct str segment, size_t *at, struct str *name, struct str *regex, struct err *err)
{
    size_t start = ++*at;
    int depth = 1;
    while (*at < segment.len && depth > 0) {
        depth += segment.ptr[*at] == '{';
        depth -= segment.ptr[*at] == '}';
        ++*at;
    }
    if (depth > 0)
        return err_set(err, ERR_INVALID, "'{' is not closed");
    struct str inner = str_slice(segment, start, *at - 1);
    str_cut(inner, ':', name, regex);
    if (str_is_empty(*name))
        return err_set(err, ERR_INVALID, "a parameter needs a name");
    return true;
}

static void add_quoted(struct buf *b, char c)
{
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
        buf_add_char(b, '\\');
    buf_add_char(b, c);
}

static struct pattern *pattern_compile(struct arena *a, struct str segment, struct err *err)
{
    struct pattern *p = arena_new(a, struct pattern);
    scoped_buf re = BUF_INIT(4096);
    p->text = segment;
    for (size_t i = 0; i < segment.len;) {
        struct str name, regex = {0};
        if (segment.ptr[i] != '{') {
            add_quoted(&re, segment.ptr[i++]);
            continue;
        }
        if (!read_param(segment, &i, &name, &regex, err))
            return NULL;
        if (p->n_names == ROUTE_PARAMS_MAX) {
            err_set(err, ERR_INVALID, "more than %d parameters", ROUTE_PARAMS_MAX);
            return NULL;
        }
        p->names[p->n_names++] = name;
        p->has_regex |= !str_is_empty(regex);
        /* Groups of the regex itself must not shift ours: each parameter is a named group p<N>. */
        buf_printf(&re, "(?<p%zu>" STR_FMT ")", p->n_names - 1, STR_ARG(str_is_empty(regex) ? STR("[^/]+") : regex));
    }
    int code;
    PCRE2_SIZE offset;
    p->re = pcre2_compile((PCRE2_SPTR)buf_z(&re), re.len, PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C, &code,
                          &offset, NULL);
    if (!p->re) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(code, text, sizeof text);
        err_set(err, ERR_INVALID, "bad regular expression: %s", text);
        return NULL;
    }
    arena_defer(a, re_release, p->re);
    return p;
}

static struct node *descend_pattern(struct router *r, struct node *n, struct str segment, struct err *err)
{
    vec_foreach (p, &n->patterns)
        if (str_eq((*p)->text, segment))
            return (*p)->next;
    struct pattern *p = pattern_compile(r->arena, segment, err);
    if (!p)
        return NULL;
    p->next = node_new(r->arena);
    *vec_push(r->arena, &n->patterns) = p;
    for (size_t i = n->patterns.len - 1; i > 0 && p->has_regex && !n->patterns.items[i - 1]->has_regex; i--) {
        n->patterns.items[i] = n->patterns.items[i - 1];
        n->patterns.items[i - 1] = p;
    }
    return p->next;
}

static struct node *descend(struct router *r, struct node *n, struct str segment, bool is_last, struct err *err)
{
    if (str_eq(segment, STR("*"))) {
        if (!is_last) {
            err_set(err, ERR_INVALID, "'*' must be the last character");
            return NULL;
        }
        if (!n->rest)
            n->rest = node_new(r->arena);
        return n->rest;
    }
    if (str_chr(segment, '*') != STR_NPOS && str_chr(segment, '{') == STR_NPOS) {
        err_set(err, ERR_INVALID, "'*' must stand alone after a '/'");
        return NULL;
    }
    if (str_chr(segment, '{') != STR_NPOS)
        return descend_pattern(r, n, segment, err);
    struct node *next = map_get(&n->literals, segment);
    if (!next) {
        next = node_new(r->arena);
        map_set(&n->literals, segment, next);
    }
    return next;
}

/* Cuts at '/' outside of braces. */
static bool next_segment(struct str *rest, struct str *segment)
{
    if (!rest->ptr)
        return false;
    int depth = 0;
    for (size_t i = 0; i < rest->len; i++) {
        depth += rest->ptr[i] == '{';
        depth -= rest->ptr[i] == '}';
        if (rest->ptr[i] == '/' && depth == 0) {
            *segment = str_slice(*rest, 0, i);
            *rest = str_from_off(*rest, i + 1);
            return true;
        }
    }
    *segment = *rest;
    *rest = (struct str){0};
    return true;
}

static bool add(struct router *r, struct str method, struct str pattern, const void *target, struct err *err)
{
    static const struct str methods[] = {STR_INIT("CONNECT"), STR_INIT("DELETE"), STR_INIT("GET"), STR_INIT("HEAD"),
                                         STR_INIT("OPTIONS"), STR_INIT("PATCH"), STR_INIT("POST"), STR_INIT("PUT"),
                                         STR_INIT("QUERY"), STR_INIT("TRACE")};
    struct str canonical = {0};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_eq_nocase(method, methods[i]))
            canonical = methods[i];
    if (str_is_empty(canonical))
        return err_set(err, ERR_INVALID, "unknown method \"" STR_FMT "\"", STR_ARG(method));
    if (str_is_empty(pattern) || pattern.ptr[0] != '/')
        return err_set(err, ERR_INVALID, "the path must start with \"/\"");
    struct str rest = str_trim_right(str_from_off(pattern, 1), '/'), segment;
    struct node *n = r->root;
    int depth = 0;
    while (!str_is_empty(rest) && next_segment(&rest, &segment)) {
        if (++depth > SEGMENTS_MAX)
            return err_set(err, ERR_INVALID, "more than %d segments", SEGMENTS_MAX);
        n = descend(r, n, segment, !rest.ptr, err);
        if (!n)
            return false;
    }
    vec_foreach (e, &n->endpoints)
        if (str_eq(e->method, canonical))
            return err_set(err, ERR_INVALID, "declared twice");
    *vec_push(r->arena, &n->endpoints) = (struct endpoint){canonical, target};
    return true;
}

bool router_add(struct router *r, struct str method, struct str pattern, const void *target, struct err *err)
{
    pattern = str_dup(r->arena, pattern);
    return add(r, method, pattern, target, err) ||
           err_wrap(err, "route " STR_FMT " \"" STR_FMT "\"", STR_ARG(method), STR_ARG(pattern));
}

/* --- matching ------------------------------------------------------------------------------------------------ */

struct matching {
    struct arena *a;
    struct str method;
    struct route_match *out;
};

static bool pattern_match(const struct pattern *p, struct str segment, struct route_match *out)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->re, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!data || !limits)
        BUG("out of memory");
    pcre2_set_match_limit(limits, MATCH_LIMIT);
    bool ok = pcre2_match(p->re, (PCRE2_SPTR)segment.ptr, segment.len, 0, 0, data, limits) > 0 &&
              out->n_params + p->n_names <= ROUTE_PARAMS_MAX;
    for (size_t i = 0; ok && i < p->n_names; i++) {
        char name[8] = {'p', (char)('0' + i / 10), (char)('0' + i % 10), 0};
        if (i < 10)
            name[1] = (char)('0' + i), name[2] = '\0';
        int group = pcre2_substring_number_from_name(p->re, (PCRE2_SPTR)name);
        PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
        struct str value = group > 0 && at[2 * group] != PCRE2_UNSET
                               ? str_slice(segment, at[2 * group], at[2 * group + 1])
                               : (struct str){0};
        out->params[out->n_params++] = (struct route_param){p->names[i], value};
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    return ok;
}

/* The endpoint of a node for the method; HEAD is served by GET. Remembers what is allowed. */
static bool choose(struct matching *m, const struct node *n)
{
    const struct endpoint *get = NULL;
    vec_foreach (e, &n->endpoints) {
        if (str_eq(e->method, m->method)) {
            m->out->target = e->target;
            return true;
        }
        if (str_eq(e->method, STR("GET")))
            get = e;
    }
    if (get && str_eq(m->method, STR("HEAD"))) {
        m->out->target = get->target;
        return true;
    }
    vec_foreach (e, &n->endpoints)
        m->out->allow = str_is_empty(m->out->allow)
                            ? e->method
                            : str_printf(m->a, STR_FMT ", " STR_FMT, STR_ARG(m->out->allow), STR_ARG(e->method));
    return false;
}

static bool search(struct matching *m, const struct node *n, struct str rest, int depth)
{
    size_t had = m->out->n_params;
    struct str segment, tail = rest;
    if (depth > SEGMENTS_MAX)
        return false;
    if (str_is_empty(rest)) {
        if (choose(m, n))
            return true;
    } else {
        str_cut(rest, '/', &segment, &tail);
        const struct node *next = map_get(&n->literals, segment);
        if (next && search(m, next, tail, depth + 1))
            return true;
        vec_foreach (p, &n->patterns) {
            m->out->n_params = had;
            if (pattern_match(*p, segment, m->out) && search(m, (*p)->next, tail, depth + 1))
                return true;
        }
    }
    m->out->n_params = had;
    if (!n->rest || had == ROUTE_PARAMS_MAX)
        return false;
    m->out->params[m->out->n_params++] = (struct route_param){STR("*"), rest};
    if (choose(m, n->rest))
        return true;
    m->out->n_params = had;
    return false;
}

void router_match(const struct router *r, struct arena *a, struct str method, struct str path, struct route_match *out)
{
    *out = (struct route_match){0};
    struct matching m = {a, method, out};
    search(&m, r->root, str_from_off(path, 1), 0);
}
