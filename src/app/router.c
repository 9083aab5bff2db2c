/* app/router.c: path patterns of an app (spec starlark-apps.md 5): a trie of segments, searched with
 * backtracking.
 *
 * A segment is a literal, a pattern with {name} or {name:regex}, or `*` (the rest, only at the end). At each
 * node literals win over regexes, those over plain parameters, those over `*`, whatever the order of
 * declaration. Nodes know shapes, not names ("/{a}/x" and "/{b}/y" share a node): an endpoint has its own
 * names, so that "/{a}" and "/{b}" are seen to be the same. A search visits each node at most once.
 * SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "app_int.h"

#include <pcre2.h>
#include <stdio.h>

enum {
    SEGMENTS_MAX = 32,
    SEGMENT_TEXT_MAX = 4096,
    MATCH_LIMIT = 100000,
};

/* Lower ones are tried first. */
enum rank { RANK_REGEX, RANK_MIXED, RANK_PLAIN };

/* A segment with parameters. */
struct pattern {
    struct str shape; /* the segment without names: "{}.json", "{:[0-9]+}" */
    enum rank rank;
    pcre2_code *re;                    /* the whole segment must match; NULL: "{}", any segment */
    uint32_t groups[ROUTE_PARAMS_MAX]; /* [n_params] of `re` */
    size_t n_params;
    struct node *next;
};

static const struct str methods[] = {
    STR_INIT("CONNECT"), STR_INIT("DELETE"), STR_INIT("GET"), STR_INIT("HEAD"),  STR_INIT("OPTIONS"),
    STR_INIT("PATCH"),   STR_INIT("POST"),   STR_INIT("PUT"), STR_INIT("QUERY"), STR_INIT("TRACE"),
};
enum { METHOD_GET = 2, METHOD_HEAD = 3, METHOD_ANY = 30, METHOD_NONE = 31 };

struct endpoint {
    int method; /* index in methods[], or METHOD_ANY */
    const void *target;
    struct str *names; /* of the parameters on the way here */
};

struct node {
    struct map literals;            /* segment -> struct node * */
    VEC(struct pattern *) patterns; /* by rank */
    struct node *rest;              /* after `*` */
    VEC(struct endpoint) endpoints;
};

struct router {
    struct arena *arena;
    struct node *root;
    size_t len;
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

size_t router_len(const struct router *r)
{
    return r->len;
}

/* --- adding --------------------------------------------------------------------------------------------- */

/* A pattern on its way into the trie. */
struct adding {
    struct router *r;
    struct str names[ROUTE_PARAMS_MAX];
    size_t n_names;
};

static bool add_name(struct adding *x, struct str name, struct err *err)
{
    if (str_is_empty(name))
        return err_set(err, ERR_INVALID, "a parameter needs a name");
    for (size_t i = 0; i < x->n_names; i++)
        if (str_eq(x->names[i], name))
            return err_set(err, ERR_INVALID, "two parameters are named \"" STR_FMT "\"", STR_ARG(name));
    if (x->n_names == ROUTE_PARAMS_MAX)
        return err_set(err, ERR_INVALID, "more than %d parameters", ROUTE_PARAMS_MAX);
    x->names[x->n_names++] = name;
    return true;
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
    str_cut(str_slice(segment, start, *at - 1), ':', name, regex);
    return true;
}

static void add_quoted(struct buf *b, char c)
{
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80)))
        buf_add_char(b, '\\');
    buf_add_char(b, c);
}

static void re_release(void *re)
{
    pcre2_code_free(re);
}

static bool re_compile(struct arena *a, struct pattern *p, struct buf *text, struct err *err)
{
    int code;
    PCRE2_SIZE offset;
    if (text->is_full)
        return err_set(err, ERR_INVALID, "a segment has more than %d bytes", SEGMENT_TEXT_MAX);
    uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF;
    p->re = pcre2_compile((PCRE2_SPTR)buf_z(text), text->len, options, &code, &offset, NULL);
    if (!p->re) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(err, ERR_INVALID, "bad regular expression: %s", why);
    }
    arena_defer(a, re_release, p->re);
    for (size_t i = 0; i < p->n_params; i++) {
        char name[24];
        snprintf(name, sizeof name, "p%zu", i);
        int group = pcre2_substring_number_from_name(p->re, (PCRE2_SPTR)name);
        if (group <= 0)
            return err_set(err, ERR_INVALID, "bad regular expression: its parentheses do not match");
        p->groups[i] = (uint32_t)group;
    }
    return true;
}

/* Reads a segment into shape, names and regular expression; the latter is compiled only if the shape is new.
 */
static struct pattern *find_pattern(struct adding *x, const struct node *n, struct str segment,
                                    struct err *err)
{
    struct arena *a = x->r->arena;
    scoped_buf re = BUF_INIT(SEGMENT_TEXT_MAX), shape = BUF_INIT(SEGMENT_TEXT_MAX);
    struct pattern p = {.rank = RANK_PLAIN};
    for (size_t i = 0; i < segment.len;) {
        struct str name, regex = {0};
        if (segment.ptr[i] != '{') {
            p.rank = MIN(p.rank, RANK_MIXED);
            buf_add_char(&shape, segment.ptr[i]);
            add_quoted(&re, segment.ptr[i++]);
            continue;
        }
        if (!read_param(segment, &i, &name, &regex, err) || !add_name(x, name, err))
            return NULL;
        if (!str_is_empty(regex))
            p.rank = RANK_REGEX;
        else if (p.n_params > 0)
            p.rank = MIN(p.rank, RANK_MIXED);
        /* Groups of the regex itself must not shift ours: each parameter is a named group p<N>. */
        buf_printf(&re, "(?<p%zu>" STR_FMT ")", p.n_params++,
                   STR_ARG(str_is_empty(regex) ? STR("[^/]+") : regex));
        buf_printf(&shape, "{%s" STR_FMT "}", str_is_empty(regex) ? "" : ":", STR_ARG(regex));
    }
    vec_foreach(had, &n->patterns) if (str_eq((*had)->shape, buf_str(&shape))) return *had;
    if (p.rank != RANK_PLAIN && !re_compile(a, &p, &re, err))
        return NULL;
    p.shape = str_dup(a, buf_str(&shape));
    return arena_memdup(a, &p, sizeof p);
}

static struct node *descend_pattern(struct adding *x, struct node *n, struct str segment, struct err *err)
{
    struct pattern *p = find_pattern(x, n, segment, err);
    if (!p || p->next)
        return p ? p->next : NULL;
    p->next = node_new(x->r->arena);
    *vec_push(x->r->arena, &n->patterns) = p;
    for (size_t i = n->patterns.len - 1; i > 0 && p->rank < n->patterns.items[i - 1]->rank; i--) {
        n->patterns.items[i] = n->patterns.items[i - 1];
        n->patterns.items[i - 1] = p;
    }
    return p->next;
}

static struct node *descend(struct adding *x, struct node *n, struct str segment, bool is_last,
                            struct err *err)
{
    struct arena *a = x->r->arena;
    if (str_eq(segment, STR("*"))) {
        if (!is_last) {
            err_set(err, ERR_INVALID, "'*' must be the last character");
            return NULL;
        }
        if (!add_name(x, STR("*"), err))
            return NULL;
        if (!n->rest)
            n->rest = node_new(a);
        return n->rest;
    }
    if (str_chr(segment, '{') != STR_NPOS)
        return descend_pattern(x, n, segment, err);
    if (str_chr(segment, '*') != STR_NPOS) {
        err_set(err, ERR_INVALID, "'*' must stand alone after a '/'");
        return NULL;
    }
    struct node *next = map_get(&n->literals, segment);
    if (!next) {
        next = node_new(a);
        map_set(&n->literals, segment, next);
    }
    return next;
}

/* Cuts at '/' outside of braces; false at the end. Empty segments are skipped. */
static bool next_segment(struct str *rest, struct str *segment)
{
    int depth = 0;
    while (rest->len > 0 && rest->ptr[0] == '/')
        *rest = str_from_off(*rest, 1);
    if (rest->len == 0)
        return false;
    size_t i = 0;
    for (; i < rest->len; i++) {
        depth += rest->ptr[i] == '{';
        depth -= rest->ptr[i] == '}' && depth > 0;
        if (rest->ptr[i] == '/' && depth == 0)
            break;
    }
    *segment = str_slice(*rest, 0, i);
    *rest = str_from_off(*rest, i);
    return true;
}

static bool find_method(struct str method, int *out)
{
    *out = METHOD_ANY;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_eq_nocase(method, methods[i]))
            *out = (int)i;
    return *out != METHOD_ANY || str_is_empty(method);
}

static bool add(struct router *r, struct str method, struct str pattern, const void *target, struct err *err)
{
    struct adding x = {.r = r};
    int index;
    if (!find_method(method, &index))
        return err_set(err, ERR_INVALID, "unknown method \"" STR_FMT "\"", STR_ARG(method));
    if (str_is_empty(pattern) || pattern.ptr[0] != '/')
        return err_set(err, ERR_INVALID, "the path must start with \"/\"");
    struct str rest = pattern, segment;
    struct node *n = r->root;
    for (int depth = 0; next_segment(&rest, &segment); depth++) {
        if (depth == SEGMENTS_MAX)
            return err_set(err, ERR_INVALID, "more than %d segments", SEGMENTS_MAX);
        n = descend(&x, n, segment, str_is_empty(rest), err);
        if (!n)
            return false;
    }
    vec_foreach(e, &n->endpoints) if (e->method == index) return err_set(err, ERR_INVALID, "declared twice");
    struct str *names = arena_memdup(r->arena, x.names, sizeof x.names[0] * x.n_names);
    *vec_push(r->arena, &n->endpoints) = (struct endpoint){index, target, names};
    r->len++;
    return true;
}

bool router_add(struct router *r, struct str method, struct str pattern, const void *target, struct err *err)
{
    pattern = str_dup(r->arena, pattern);
    return add(r, method, pattern, target, err) ||
           err_wrap(err, "route " STR_FMT "%s\"" STR_FMT "\"", STR_ARG(method),
                    str_is_empty(method) ? "" : " ", STR_ARG(pattern));
}

/* --- matching ------------------------------------------------------------------------------------- */

struct matching {
    int method;
    uint32_t allowed; /* bits of methods[] that the path has */
    struct str values[ROUTE_PARAMS_MAX];
    size_t n_values;
    struct route_match *out;
};

static bool pattern_match(const struct pattern *p, struct str segment, struct matching *m)
{
    if (m->n_values + p->n_params > ROUTE_PARAMS_MAX)
        return false;
    if (!p->re) {
        m->values[m->n_values++] = segment;
        return true;
    }
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->re, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!data || !limits)
        BUG("out of memory");
    pcre2_set_match_limit(limits, MATCH_LIMIT);
    bool ok = pcre2_match(p->re, (PCRE2_SPTR)segment.ptr, segment.len, 0, 0, data, limits) > 0;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    for (size_t i = 0; ok && i < p->n_params; i++) {
        size_t g = 2 * (size_t)p->groups[i];
        bool is_set = at[g] != PCRE2_UNSET;
        m->values[m->n_values++] = is_set ? str_slice(segment, at[g], at[g + 1]) : (struct str){0};
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    return ok;
}

static bool take(struct matching *m, const struct endpoint *e)
{
    for (size_t i = 0; i < m->n_values; i++)
        m->out->params[i] = (struct route_param){e->names[i], m->values[i]};
    m->out->n_params = m->n_values;
    m->out->target = e->target;
    return true;
}

/* The endpoint of a node for the method: its own, for HEAD that of GET, or one for all. */
static bool choose(struct matching *m, const struct node *n)
{
    const struct endpoint *get = NULL, *any = NULL;
    vec_foreach(e, &n->endpoints)
    {
        if (e->method == m->method)
            return take(m, e);
        if (e->method == METHOD_GET)
            get = e;
        if (e->method == METHOD_ANY)
            any = e;
        else
            m->allowed |= 1u << e->method;
    }
    if (get && m->method == METHOD_HEAD)
        return take(m, get);
    return any && take(m, any);
}

static bool search(struct matching *m, const struct node *n, struct str rest, int depth)
{
    size_t had = m->n_values;
    if (str_is_empty(rest)) {
        if (choose(m, n))
            return true;
    } else if (depth < SEGMENTS_MAX) {
        struct str segment, tail;
        str_cut(rest, '/', &segment, &tail);
        const struct node *next = map_get(&n->literals, segment);
        if (next && search(m, next, tail, depth + 1))
            return true;
        vec_foreach(p, &n->patterns)
        {
            m->n_values = had;
            if (pattern_match(*p, segment, m) && search(m, (*p)->next, tail, depth + 1))
                return true;
        }
    }
    m->n_values = had;
    if (!n->rest || had == ROUTE_PARAMS_MAX)
        return false;
    m->values[m->n_values++] = rest;
    if (choose(m, n->rest))
        return true;
    m->n_values = had;
    return false;
}

static struct str allow_text(struct arena *a, uint32_t allowed)
{
    scoped_buf b = BUF_INIT(256);
    if (allowed & 1u << METHOD_GET)
        allowed |= 1u << METHOD_HEAD;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (allowed & 1u << i)
            buf_printf(&b, "%s" STR_FMT, b.len > 0 ? ", " : "", STR_ARG(methods[i]));
    return str_dup(a, buf_str(&b));
}

void router_match(const struct router *r, struct arena *a, struct str method, struct str path,
                  struct route_match *out)
{
    struct matching m = {.method = METHOD_NONE, .out = out};
    out->target = NULL;
    out->n_params = 0;
    out->allow = (struct str){0};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_eq(method, methods[i]))
            m.method = (int)i;
    if (!search(&m, r->root, str_from_off(path, 1), 0) && m.allowed)
        out->allow = allow_text(a, m.allowed);
}
