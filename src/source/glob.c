/* source/glob.c: path patterns, compiled to a small nondeterministic automaton.
 *
 *     pattern  = item*
 *     item     = "**" | "*" | "?" | class | "{" pattern ("," pattern)* "}" | "\" char | char
 *     class    = "[" ["^" | "!"] (char ["-" char])+ "]"
 *
 * The automaton is run over all its states at once, so a match costs at most states times characters
 * whatever the pattern; backtracking would be exponential.
 *
 * Pattern and text are both matched with one "/" put behind them. Then every segment ends in "/", and a
 * whole-segment "**" together with the "/" after it is an optional "anything, then /" wherever it stands:
 * that "/a/ **" (without the space) matches "/a" needs no rule of its own.
 *
 * Invariants:
 * 1. State 0 fails; a state's `next` and `alt` are numbers of states.
 * 2. After a whole-segment "**" the next character of the pattern is "/", perhaps outside of braces that
 *    close first, perhaps the one that was put behind. Exits that have taken this "/" are `pending`.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

enum {
    STATES_MAX = 4 * SRC_GLOB_MAX, /* at most 4 states for a byte of pattern, see compile_* */
    DEPTH_MAX = 32,                /* of braces */
};

enum op {
    OP_FAIL,  /* no way on */
    OP_CHAR,  /* the character `ch` */
    OP_ANY,   /* a character other than '/' */
    OP_ALL,   /* a character */
    OP_CLASS, /* a character that `class` takes, never '/' */
    OP_SPLIT, /* goes to `next` and to `alt` */
    OP_END,   /* matches at the end of the text */
};

struct range {
    uint32_t lo, hi;
};

struct class
{
    VEC(struct range) ranges;
    bool is_negated;
};

struct state {
    enum op op;
    uint16_t next, alt;
    uint32_t ch;
    const struct class *class;
};

struct src_glob {
    struct state *states;
    size_t len;
};

/* A state whose `alt` (else `next`) waits for its target. */
struct exit_ref {
    uint16_t state;
    bool is_alt;
};
struct exits {
    struct exit_ref *items;
    size_t len, cap;
};

struct compiler {
    struct arena *a;
    struct str pattern;
    size_t pos;
    VEC(struct state) states;
    struct exits pending;  /* inv. 2 */
    bool is_segment_start; /* nothing since the last '/' */
    const char *fault;
};

/* One character of UTF-8 at *pos; a byte that starts none counts as one, above the range of Unicode. */
static uint32_t next_char(struct str s, size_t *pos)
{
    const unsigned char *p = (const unsigned char *)s.ptr + *pos;
    size_t left = s.len - *pos, n = 1;
    uint32_t ch = p[0];
    if (ch >= 0xf0 && ch < 0xf8)
        n = 4, ch &= 7;
    else if (ch >= 0xe0 && ch < 0xf0)
        n = 3, ch &= 15;
    else if (ch >= 0xc2 && ch < 0xe0)
        n = 2, ch &= 31;
    for (size_t i = 1; i < n; i++) {
        if (i >= left || (p[i] & 0xc0) != 0x80) {
            n = 1;
            break;
        }
        ch = ch << 6 | (p[i] & 63);
    }
    if (n == 1 && p[0] >= 0x80)
        ch = 0x200000u + p[0];
    *pos += n;
    return ch;
}

static uint16_t here(const struct compiler *c)
{
    return (uint16_t)c->states.len;
}

/* Adds a state that goes to the one after it. */
static uint16_t emit(struct compiler *c, enum op op)
{
    uint16_t at = here(c);
    struct state *s = vec_push(c->a, &c->states);
    *s = (struct state){.op = op, .next = (uint16_t)(at + 1)};
    return at;
}

static void exit_add(struct compiler *c, struct exits *e, uint16_t state, bool is_alt)
{
    *vec_push(c->a, e) = (struct exit_ref){state, is_alt};
}

/* All of `e` go to the next state that will be emitted. */
static void exits_land(struct compiler *c, struct exits *e)
{
    for (size_t i = 0; i < e->len; i++) {
        struct state *s = &c->states.items[e->items[i].state];
        *(e->items[i].is_alt ? &s->alt : &s->next) = here(c);
    }
    e->len = 0;
}

/* The index after the class that starts at `pos`, or STR_NPOS. */
static size_t class_end(struct str p, size_t pos)
{
    for (size_t i = pos + 1; i < p.len; i++) {
        if (p.ptr[i] == '\\')
            i++;
        else if (p.ptr[i] == ']')
            return i + 1;
    }
    return STR_NPOS;
}

/* From inside braces: the index after the "}" that closes them, or STR_NPOS. */
static size_t brace_end(struct str p, size_t pos)
{
    size_t depth = 1;
    while (pos < p.len) {
        char ch = p.ptr[pos];
        if (ch == '\\') {
            pos += 2;
            continue;
        }
        if (ch == '[') {
            pos = class_end(p, pos);
            continue;
        }
        depth += ch == '{';
        depth -= ch == '}';
        pos++;
        if (depth == 0)
            return pos;
    }
    return STR_NPOS;
}

/* True if a segment ends at `pos`, `depth` braces deep. */
static bool is_segment_end(struct str p, size_t pos, size_t depth)
{
    while (pos < p.len) {
        if (p.ptr[pos] == '/')
            return true;
        if (depth == 0 || (p.ptr[pos] != ',' && p.ptr[pos] != '}'))
            return false;
        pos = brace_end(p, pos);
        depth--;
    }
    return true;
}

/* Optionally anything and a '/'; its exits have taken the '/' that follows in the pattern. */
static void emit_segments(struct compiler *c)
{
    uint16_t maybe = emit(c, OP_SPLIT);
    exit_add(c, &c->pending, maybe, true);
    uint16_t more = emit(c, OP_SPLIT);
    uint16_t all = emit(c, OP_ALL);
    c->states.items[all].next = more;
    c->states.items[more].alt = here(c);
    uint16_t slash = emit(c, OP_CHAR);
    c->states.items[slash].ch = '/';
    exit_add(c, &c->pending, slash, false);
}

static void compile_stars(struct compiler *c, size_t depth)
{
    size_t start = c->pos;
    while (c->pos < c->pattern.len && c->pattern.ptr[c->pos] == '*')
        c->pos++;
    bool is_whole = c->pos - start == 2 && c->is_segment_start && is_segment_end(c->pattern, c->pos, depth);
    c->is_segment_start = false;
    if (is_whole) {
        emit_segments(c);
        return;
    }
    uint16_t more = emit(c, OP_SPLIT);
    uint16_t any = emit(c, OP_ANY);
    c->states.items[any].next = more;
    c->states.items[more].alt = here(c);
}

static void emit_slash(struct compiler *c)
{
    uint16_t slash = emit(c, OP_CHAR);
    c->states.items[slash].ch = '/';
    exits_land(c, &c->pending);
    c->is_segment_start = true;
}

static bool fail(struct compiler *c, const char *fault)
{
    c->fault = fault;
    return false;
}

/* The next character, a "\" before it taken off. */
static bool literal(struct compiler *c, uint32_t *ch)
{
    if (c->pattern.ptr[c->pos] == '\\' && ++c->pos == c->pattern.len)
        return fail(c, "nothing follows the \"\\\" at its end");
    *ch = next_char(c->pattern, &c->pos);
    return true;
}

static bool compile_class(struct compiler *c)
{
    struct str p = c->pattern;
    struct class *class = arena_new(c->a, struct class);
    c->pos++;
    if (c->pos < p.len && (p.ptr[c->pos] == '^' || p.ptr[c->pos] == '!')) {
        class->is_negated = true;
        c->pos++;
    }
    while (c->pos < p.len && p.ptr[c->pos] != ']') {
        struct range r;
        if (!literal(c, &r.lo))
            return false;
        r.hi = r.lo;
        if (c->pos + 1 < p.len && p.ptr[c->pos] == '-' && p.ptr[c->pos + 1] != ']') {
            c->pos++;
            if (!literal(c, &r.hi))
                return false;
            if (r.hi < r.lo)
                return fail(c, "a range in \"[...]\" runs backwards");
        }
        *vec_push(c->a, &class->ranges) = r;
    }
    if (c->pos == p.len)
        return fail(c, "a \"[\" has no \"]\"");
    if (class->ranges.len == 0)
        return fail(c, "a \"[...]\" is empty");
    c->pos++;
    uint16_t at = emit(c, OP_CLASS);
    c->states.items[at].class = class;
    c->is_segment_start = false;
    return true;
}

static bool compile_pattern(struct compiler *c, size_t depth);

static bool compile_braces(struct compiler *c, size_t depth)
{
    if (depth == DEPTH_MAX)
        return fail(c, "braces are nested too deep");
    if (brace_end(c->pattern, c->pos + 1) == STR_NPOS)
        return fail(c, "a \"{\" has no \"}\"");
    bool starts = c->is_segment_start, all_start = true, is_last = false;
    struct exits done = {0}, pending = {0};
    while (!is_last) {
        c->pos++; /* the "{" or "," */
        uint16_t choice = emit(c, OP_SPLIT);
        c->is_segment_start = starts;
        c->pending = (struct exits){0};
        if (!compile_pattern(c, depth + 1))
            return false;
        all_start = all_start && c->is_segment_start;
        for (size_t i = 0; i < c->pending.len; i++)
            *vec_push(c->a, &pending) = c->pending.items[i];
        uint16_t jump = emit(c, OP_SPLIT);
        exit_add(c, &done, jump, false);
        is_last = c->pattern.ptr[c->pos] == '}';
        c->states.items[choice].alt = is_last ? 0 : here(c);
    }
    c->pos++;
    exits_land(c, &done);
    c->pending = pending;
    c->is_segment_start = all_start;
    return true;
}

/* Up to the end, or the "," or "}" of the braces around. */
static bool compile_pattern(struct compiler *c, size_t depth)
{
    while (c->pos < c->pattern.len) {
        switch (c->pattern.ptr[c->pos]) {
        case '*': compile_stars(c, depth); continue;
        case '?':
            emit(c, OP_ANY);
            c->is_segment_start = false;
            c->pos++;
            continue;
        case '/':
            emit_slash(c);
            c->pos++;
            continue;
        case '[':
            if (!compile_class(c))
                return false;
            continue;
        case '{':
            if (!compile_braces(c, depth))
                return false;
            continue;
        case '}':
            if (depth == 0)
                return fail(c, "a \"}\" has no \"{\"");
            return true;
        case ',':
            if (depth > 0)
                return true;
            break;
        default: break;
        }
        uint32_t ch;
        if (!literal(c, &ch))
            return false;
        if (ch == '/') {
            emit_slash(c);
            continue;
        }
        uint16_t at = emit(c, OP_CHAR); /* may move the states */
        c->states.items[at].ch = ch;
        c->is_segment_start = false;
    }
    return true;
}

struct src_glob *src_glob_compile(struct arena *a, struct str pattern, struct err *err)
{
    struct compiler c = {.a = a, .pattern = pattern, .is_segment_start = true};
    bool ok = pattern.len <= SRC_GLOB_MAX || fail(&c, "it is too long");
    if (ok) {
        emit(&c, OP_FAIL); /* inv. 1 */
        ok = compile_pattern(&c, 0);
    }
    if (!ok) {
        err_set(err, ERR_INVALID, "invalid pattern \"" STR_FMT "\": %s", (int)MIN(pattern.len, SRC_GLOB_MAX),
                pattern.ptr, c.fault);
        return NULL;
    }
    emit_slash(&c);
    emit(&c, OP_END);
    assert(c.states.len <= STATES_MAX && c.pending.len == 0);
    struct src_glob *g = arena_new(a, struct src_glob);
    g->states = c.states.items;
    g->len = c.states.len;
    return g;
}

/* A set of states that take a character (or end), with the closure over splits. */
struct run {
    const struct src_glob *g;
    uint32_t step;              /* marks of this step */
    uint32_t marks[STATES_MAX]; /* the last step at which a state was added */
    uint16_t stack[STATES_MAX];
};

static size_t add_state(struct run *r, uint16_t *set, size_t len, uint16_t state)
{
    size_t depth = 0;
    r->stack[depth++] = state;
    while (depth > 0) {
        uint16_t at = r->stack[--depth];
        if (r->marks[at] == r->step)
            continue;
        r->marks[at] = r->step;
        const struct state *s = &r->g->states[at];
        if (s->op != OP_SPLIT) {
            set[len++] = at;
            continue;
        }
        /* A split is taken apart once and leaves at most one entry more than before: no overflow. */
        r->stack[depth++] = s->next;
        if (s->alt != 0)
            r->stack[depth++] = s->alt;
    }
    return len;
}

static bool class_takes(const struct class *class, uint32_t ch)
{
    bool is_in = false;
    for (size_t i = 0; i < class->ranges.len && !is_in; i++)
        is_in = ch >= class->ranges.items[i].lo && ch <= class->ranges.items[i].hi;
    return is_in != class->is_negated;
}

static bool takes(const struct state *s, uint32_t ch)
{
    switch (s->op) {
    case OP_CHAR: return s->ch == ch;
    case OP_ANY: return ch != '/';
    case OP_ALL: return true;
    case OP_CLASS: return ch != '/' && class_takes(s->class, ch);
    default: return false;
    }
}

bool src_glob_match(const struct src_glob *g, struct str text)
{
    struct run r;
    uint16_t sets[2][STATES_MAX];
    memset(r.marks, 0, g->len * sizeof r.marks[0]);
    r.g = g;
    r.step = 1;
    size_t len = add_state(&r, sets[0], 0, 1), pos = 0;
    for (unsigned turn = 0; len > 0; turn ^= 1) {
        bool is_done = pos > text.len;
        if (is_done) {
            for (size_t i = 0; i < len; i++)
                if (g->states[sets[turn][i]].op == OP_END)
                    return true;
            return false;
        }
        uint32_t ch = '/'; /* the one behind the text */
        if (pos < text.len)
            ch = next_char(text, &pos);
        else
            pos++;
        r.step++;
        size_t next_len = 0;
        for (size_t i = 0; i < len; i++) {
            const struct state *s = &g->states[sets[turn][i]];
            if (takes(s, ch))
                next_len = add_state(&r, sets[turn ^ 1], next_len, s->next);
        }
        len = next_len;
    }
    return false;
}

bool src_glob_match_once(struct str pattern, struct str text)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct src_glob *g = src_glob_compile(&a, pattern, &err);
    return g && src_glob_match(g, text);
}

bool src_appglob_compile(struct arena *a, struct str text, struct src_appglob *out, struct err *err)
{
    struct src_appglob g = {0};
    if (str_is_empty(text) || str_eq_nocase(text, STR("all")) || str_eq(text, STR("*:**"))) {
        *out = (struct src_appglob){.is_all = true};
        return true;
    }
    struct str domain = STR(""), path = text;
    if (str_cut(text, ':', &domain, &path)) {
        if (str_chr(path, ':') != STR_NPOS)
            return err_set(err, ERR_INVALID,
                           "path glob has to be in the format of domain:path, got \"" STR_FMT "\"",
                           STR_ARG(text));
    } else {
        domain = STR("");
        path = text;
    }
    if (str_eq(path, STR("*")))
        path = STR("/*");
    else if (str_is_empty(path))
        path = STR("/");
    g.is_domain_empty = str_is_empty(domain);
    g.path = src_glob_compile(a, path, err);
    if (!g.path)
        return err_wrap(err, "invalid path glob app value " STR_FMT, STR_ARG(text));
    if (!g.is_domain_empty) {
        g.domain = src_glob_compile(a, str_cat(a, STR("/"), domain), err);
        if (!g.domain)
            return err_wrap(err, "invalid path glob domain value " STR_FMT, STR_ARG(text));
    }
    *out = g;
    return true;
}

bool src_appglob_match(const struct src_appglob *g, const struct src_apppath *p)
{
    if (g->is_all)
        return true;
    if (!src_glob_match(g->path, p->path))
        return false;
    if (g->is_domain_empty)
        return str_is_empty(p->domain);
    scoped_arena scratch = {0};
    return src_glob_match(g->domain, str_cat(&scratch, STR("/"), p->domain));
}
