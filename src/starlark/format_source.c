/* starlark/format_source.c: source text in its canonical layout, comments kept.
 *
 *     parse -> read_tokens (with the comments and line ends between them) -> print_file -> is_same_program
 *
 * Only blanks, line ends, commas before a closing bracket and the quotes of strings are changed. Decisions
 * depend on nothing that the layout changes, so formatting what was formatted gives the same text:
 *
 *   - a bracket goes on one line if it fits, unless it has a comment or the source breaks the line behind the
 *     opening bracket of a list, dict, tuple or call: then each element has its line
 *   - a call of app, ace.app or binding has its first argument on its line and each other one on a line of
 * its own
 *   - a statement keeps its lines and its place; lines that end in a backslash stay
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "syntax.h"

#include <setjmp.h>

enum {
    WIDTH = 100,
    STEP = 4,
    OUTPUT_MAX = 64 << 20,
    BLANKS_TOP = 2, /* empty lines that stay between statements of the file, */
    BLANKS_IN = 1,  /* and in blocks and brackets */
    TAB_STOP = 8,
};

enum bracket { B_NONE, B_CALL, B_INDEX, B_LIST, B_DICT, B_TUPLE, B_PAREN, B_COMP };

struct comment {
    struct str text;
    uint32_t col, blanks; /* empty lines before it */
};

struct tok {
    enum token kind;
    struct str text;
    star_v value;        /* STRING, BYTES */
    struct str trailing; /* the comment behind it on its line */
    uint32_t from, to;   /* comments on lines of their own before it */
    uint32_t blanks;     /* empty lines between those, or the last token, and it */
    uint32_t match;      /* of a bracket: the other one */
    uint32_t width;      /* columns; of an opening bracket: of all to the closing one, on one line */
    uint32_t col;        /* INDENT: of the block in the source */
    uint8_t bracket;     /* of an opening bracket */
    bool has_space;      /* before it */
    bool is_tight;       /* no blank behind it: a sign, the '=' of an argument, the ':' of a slice */
    bool has_newline;    /* before it in the source */
    bool is_continued;   /* by a backslash before it */
    bool is_forced;      /* opening bracket: cannot be on one line */
    bool is_multiline;   /* a string of several lines, or a bracket with one: `width` is of the first line */
};

struct layout {
    struct arena *a;
    VEC(struct tok) toks;
    VEC(struct comment) comments; /* on lines of their own */
    struct str_list said;         /* all comments */
    struct buf *out;
    size_t counted; /* bytes of `out` that `col` is behind; never before the last line */
    uint32_t col;
    uint32_t indent; /* of the last line */
};

/* ---- reading ---- */

static bool is_value(enum token t)
{
    return t == TOK_IDENT || t == TOK_INT || t == TOK_FLOAT || t == TOK_STRING || t == TOK_BYTES ||
           t == TOK_RPAREN || t == TOK_RBRACK || t == TOK_RBRACE;
}
static bool is_open(enum token t)
{
    return t == TOK_LPAREN || t == TOK_LBRACK || t == TOK_LBRACE;
}
static bool is_close(enum token t)
{
    return t == TOK_RPAREN || t == TOK_RBRACK || t == TOK_RBRACE;
}

static uint32_t columns(struct str s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s.len && s.ptr[i] != '\n'; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

/* What stands between tokens, as far as it has been read. */
struct gap {
    struct layout *l;
    const char *start;    /* of the file */
    struct str *trailing; /* of the last token, NULL at the start of a line */
    uint32_t from;        /* comments that no token has yet */
    uint32_t blanks;
    bool has_newline, is_continued;
};

static uint32_t column_of(const char *start, const char *p)
{
    const char *line = p;
    uint32_t col = 0;
    while (line > start && line[-1] != '\n' && line[-1] != '\r')
        line--;
    for (; line < p; line++)
        col += *line == '\t' ? TAB_STOP - col % TAB_STOP : 1;
    return col;
}

static const char *read_comment(struct gap *g, const char *p, const char *end)
{
    const char *from = p;
    while (p < end && *p != '\n' && *p != '\r')
        p++;
    struct str text = str_trim(str_of(from, (size_t)(p - from)));
    str_list_add(g->l->a, &g->l->said, text);
    if (g->trailing) {
        *g->trailing = text;
    } else {
        *vec_push(g->l->a, &g->l->comments) = (struct comment){text, column_of(g->start, from), g->blanks};
        g->blanks = 0;
    }
    return p;
}

/* Reads blanks, line ends and comments; returns where they end. */
static const char *read_gap(struct gap *g, const char *p, const char *end)
{
    bool is_empty = !g->trailing; /* nothing on this line so far */
    for (; p < end; p++) {
        if (*p == '#') {
            p = read_comment(g, p, end) - 1;
            is_empty = false;
        } else if (*p == '\n' || *p == '\r') {
            if (*p == '\r' && p + 1 < end && p[1] == '\n')
                p++;
            g->blanks += is_empty;
            is_empty = true;
            g->trailing = NULL;
            g->has_newline = true;
        } else if (*p == '\\') {
            p += end - p > 2 && p[1] == '\r' && p[2] == '\n' ? 2 : 1;
            g->is_continued = true;
        } else if (*p != ' ' && *p != '\t') {
            break;
        }
    }
    return p;
}

/* The text of a string with double quotes, where that needs no escape, and with plain line ends. */
static struct str string_text(struct arena *a, struct str text)
{
    size_t prefix = 0;
    while (text.ptr[prefix] != '"' && text.ptr[prefix] != '\'')
        prefix++;
    char quote = text.ptr[prefix];
    bool is_raw = text.ptr[0] == 'r',
         is_triple = text.len >= prefix + 6 && text.ptr[prefix + 1] == quote && text.ptr[prefix + 2] == quote;
    size_t n = is_triple ? 3 : 1;
    struct str body = str_slice(text, prefix + n, text.len - n);
    bool swaps =
        quote == '\'' && str_chr(body, '"') == STR_NPOS && !(is_raw && str_chr(body, '\\') != STR_NPOS);
    char *out = arena_alloc(a, text.len), *p = out;
    memcpy(p, text.ptr, prefix);
    p += prefix;
    for (size_t i = 0; i < n; i++)
        *p++ = swaps ? '"' : quote;
    for (size_t i = 0; i < body.len; i++) {
        char c = body.ptr[i];
        if (c == '\r') {
            i += i + 1 < body.len && body.ptr[i + 1] == '\n';
            c = '\n';
        } else if (c == '\\' && i + 1 < body.len && !is_raw && body.ptr[i + 1] != '\r') {
            char next = body.ptr[++i];
            if (!(swaps && next == '\''))
                *p++ = c;
            c = next;
        }
        *p++ = c;
    }
    for (size_t i = 0; i < n; i++)
        *p++ = swaps ? '"' : quote;
    return str_of(out, (size_t)(p - out));
}

static void add_token(struct layout *l, struct gap *g, enum token kind, struct str text, star_v value)
{
    struct tok *t = vec_push(l->a, &l->toks);
    *t = (struct tok){.kind = kind,
                      .text = text,
                      .value = value,
                      .from = g->from,
                      .to = (uint32_t)l->comments.len,
                      .blanks = g->blanks,
                      .has_newline = g->has_newline,
                      .is_continued = g->is_continued};
    if (kind == TOK_STRING || kind == TOK_BYTES)
        t->text = string_text(l->a, text);
    t->width = columns(t->text);
    t->is_multiline = str_chr(t->text, '\n') != STR_NPOS;
    g->from = t->to;
    g->blanks = 0;
    g->has_newline = g->is_continued = false;
}

/* Scans the whole of a source that parses. */
static void read_tokens(struct source *s, struct layout *l)
{
    struct gap g = {.l = l, .start = s->start};
    enum token kind;
    do {
        const char *end = s->cur;
        struct token_value val = {0};
        kind = scan_token(s, &val);
        g.trailing = l->toks.len > 0 && l->toks.items[l->toks.len - 1].kind > TOK_OUTDENT
                         ? &l->toks.items[l->toks.len - 1].trailing
                         : NULL;
        const char *start = read_gap(&g, end, s->cur);
        if (kind == TOK_INDENT || kind == TOK_OUTDENT || kind == TOK_NEWLINE) {
            /* What was read belongs to the next statement. */
            *vec_push(l->a, &l->toks) =
                (struct tok){.kind = kind,
                             .from = g.from,
                             .to = g.from,
                             .col = kind == TOK_INDENT ? (uint32_t)s->indents[s->n_indents - 1] : 0};
            g.has_newline = g.is_continued = false;
        } else {
            add_token(l, &g, kind, str_of(start, (size_t)(s->cur - start)), val.value);
        }
    } while (kind != TOK_EOF);
}

/* ---- what tokens are to each other ---- */

struct open {
    uint32_t at, width, commas, lambdas;
    bool is_forced, is_multiline, has_for;
};

static enum bracket bracket_kind(const struct open *o, const struct tok *t, enum token before)
{
    if (t->kind == TOK_LPAREN && (is_value(before) || before == TOK_LOAD))
        return B_CALL;
    if (t->kind == TOK_LBRACK && is_value(before))
        return B_INDEX;
    if (t->kind == TOK_LPAREN)
        return o->commas > 0 ? B_TUPLE : B_PAREN;
    return o->has_for ? B_COMP : t->kind == TOK_LBRACK ? B_LIST : B_DICT;
}

static bool wants_space(const struct tok *p, const struct tok *t)
{
    if (!p || is_open(p->kind) || p->is_tight || p->kind == TOK_DOT)
        return false;
    if (is_close(t->kind) || t->kind == TOK_COMMA || t->kind == TOK_SEMI || t->kind == TOK_COLON)
        return false;
    if (t->kind == TOK_DOT) /* "1.x" would be a float */
        return p->kind == TOK_INT || p->kind == TOK_FLOAT;
    if (t->kind == TOK_LPAREN)
        return !is_value(p->kind) && p->kind != TOK_LOAD;
    if (t->kind == TOK_LBRACK)
        return !is_value(p->kind);
    return !(t->kind == TOK_EQ && t->is_tight);
}

static void judge_token(struct tok *t, const struct tok *p, struct open *o, bool is_index)
{
    bool is_first = !p || !is_value(p->kind);
    switch (t->kind) {
    case TOK_PLUS:
    case TOK_MINUS:
    case TOK_STAR: t->is_tight = is_first; break;
    case TOK_TILDE:
    case TOK_STARSTAR: t->is_tight = true; break;
    case TOK_EQ: t->is_tight = o->at != UINT32_MAX || o->lambdas > 0; break;
    case TOK_LAMBDA: o->lambdas++; break;
    case TOK_FOR: o->has_for = true; break;
    case TOK_COMMA: o->commas++; break;
    case TOK_COLON:
        if (o->lambdas > 0)
            o->lambdas--;
        else
            t->is_tight = is_index;
        break;
    default: break;
    }
    t->has_space = wants_space(p, t);
}

static void add_width(struct open *o, const struct tok *t)
{
    if (o->is_multiline)
        return;
    o->width += t->width + t->has_space;
    o->is_multiline = t->is_multiline;
}

/* A line break behind these, as the author has it, stays. */
static bool keeps_break(enum bracket b)
{
    return b == B_CALL || b == B_LIST || b == B_DICT || b == B_TUPLE;
}

static void close_bracket(struct layout *l, struct open *o, uint32_t close, enum token before)
{
    struct tok *open = &l->toks.items[o->at], *end = &l->toks.items[close];
    open->bracket = (uint8_t)bracket_kind(o, open, before);
    if (end[-1].kind == TOK_COMMA && !(open->bracket == B_TUPLE && o->commas == 1))
        o->width -= !o->is_multiline; /* it goes when all is on one line */
    add_width(o, end);
    open->match = close;
    end->match = o->at;
    open->width = o->width;
    open->is_multiline = o->is_multiline;
    open->is_forced = o->is_forced || (keeps_break((enum bracket)open->bracket) && o->at + 1 < close &&
                                       l->toks.items[o->at + 1].has_newline);
}

/* Pairs brackets, and decides on blanks and widths. Nesting is bounded by the parser. */
static void judge_tokens(struct layout *l)
{
    VEC(struct open) stack = {0};
    *vec_push(l->a, &stack) = (struct open){.at = UINT32_MAX};
    for (uint32_t i = 0; i < l->toks.len; i++) {
        struct tok *t = &l->toks.items[i];
        struct open *o = &stack.items[stack.len - 1];
        const struct tok *p = i > 0 && l->toks.items[i - 1].kind > TOK_OUTDENT ? &l->toks.items[i - 1] : NULL;
        if (t->kind <= TOK_OUTDENT) {
            *o = (struct open){.at = UINT32_MAX};
            continue;
        }
        bool is_index = o->at != UINT32_MAX && l->toks.items[o->at].kind == TOK_LBRACK && o->at > 0 &&
                        is_value(l->toks.items[o->at - 1].kind);
        judge_token(t, p, o, is_index);
        o->is_forced = o->is_forced || t->to > t->from;
        if (is_open(t->kind)) {
            *vec_push(l->a, &stack) =
                (struct open){.at = i, .width = t->width, .is_forced = t->trailing.len > 0};
            continue;
        }
        if (is_close(t->kind)) {
            uint32_t at = o->at;
            close_bracket(l, o, i, at > 0 ? l->toks.items[at - 1].kind : TOK_NEWLINE);
            stack.len--;
            o = &stack.items[stack.len - 1];
            o->is_forced = o->is_forced || l->toks.items[at].is_forced;
            add_width(o, &l->toks.items[at]);
        } else {
            add_width(o, t);
        }
        o->is_forced = o->is_forced || t->trailing.len > 0;
    }
}

/* ---- printing ---- */

/* The column behind the text so far. Counts each byte once, however long the line. */
static uint32_t here(struct layout *l)
{
    l->col += columns(str_from_off(buf_str(l->out), l->counted));
    l->counted = l->out->len;
    return l->col;
}

static void start_line(struct layout *l, size_t at)
{
    l->counted = at;
    l->col = 0;
}

static void add_text(struct layout *l, struct str text)
{
    buf_add_str(l->out, text);
    size_t at = str_rchr(text, '\n');
    if (at != STR_NPOS && !l->out->is_full)
        start_line(l, l->out->len - (text.len - at - 1));
}

static void new_line(struct layout *l, uint32_t indent)
{
    static const char spaces[] = "                                                                ";
    if (l->out->len > 0)
        buf_add_char(l->out, '\n');
    start_line(l, l->out->len);
    l->indent = indent;
    for (uint32_t left = indent; left > 0; left -= MIN(left, (uint32_t)sizeof spaces - 1))
        buf_add(l->out, spaces, MIN(left, (uint32_t)sizeof spaces - 1));
}

static void add_blanks(struct layout *l, uint32_t n, uint32_t max)
{
    for (n = MIN(n, max); n > 0 && l->out->len > 0; n--)
        buf_add_char(l->out, '\n');
}

static void add_trailing(struct layout *l, struct str comment)
{
    if (comment.len == 0)
        return;
    buf_add_z(l->out, "  ");
    buf_add_str(l->out, comment);
}

/* The comments before a token, each on its line. The first of a bracket has no empty line before it. */
static void add_comments(struct layout *l, const struct tok *t, uint32_t indent, bool is_first)
{
    for (uint32_t i = t->from; i < t->to; i++) {
        const struct comment *c = &l->comments.items[i];
        add_blanks(l, is_first && i == t->from ? 0 : c->blanks, BLANKS_IN);
        new_line(l, indent);
        buf_add_str(l->out, c->text);
    }
}

/* What stays of a sequence of tokens on its line. */
struct seq {
    uint32_t from, to;
    uint32_t cont;   /* indent of lines that continue it */
    uint32_t suffix; /* columns of what comes behind it on the same line */
    bool is_flat;
    bool keeps_breaks; /* of the source */
    bool is_comp;      /* a comprehension: each clause has its line */
    bool is_statement; /* calls of app() and its like have their layout */
};

static void print_bracket(struct layout *l, uint32_t open, uint32_t tail, bool no_flat);
static bool print_app(struct layout *l, uint32_t open);

/* Columns from `at` on up to the next bracket, that included. */
static uint32_t tail_width(const struct layout *l, const struct seq *q, uint32_t at)
{
    uint32_t w = 0;
    for (; at < q->to; at++) {
        const struct tok *t = &l->toks.items[at];
        w += t->has_space;
        if (is_open(t->kind))
            return w + 1;
        w += t->width;
        if (t->is_multiline || t->trailing.len > 0)
            return w;
    }
    return w + q->suffix;
}

static uint32_t flat_width(const struct layout *l, uint32_t from, uint32_t to, bool *has_forced)
{
    uint32_t w = 0;
    for (uint32_t i = from; i < to; i++) {
        const struct tok *t = &l->toks.items[i];
        w += t->width + (i > from && t->has_space);
        *has_forced = *has_forced || (i > from && t->to > t->from) || (is_open(t->kind) && t->is_forced) ||
                      t->is_multiline || (i + 1 < to && t->trailing.len > 0);
        if (is_open(t->kind))
            i = t->match;
    }
    return w;
}

static void print_flat_bracket(struct layout *l, uint32_t open);

/* Prints tokens without the comments before the first and behind the last one. */
static void print_seq(struct layout *l, const struct seq *q)
{
    bool breaks = false, has_clause = false;
    for (uint32_t i = q->from; i < q->to; i++) {
        const struct tok *t = &l->toks.items[i];
        bool is_clause = q->is_comp && (t->kind == TOK_FOR || (t->kind == TOK_IF && has_clause));
        has_clause = has_clause || is_clause;
        if (i > q->from && t->to > t->from) {
            add_comments(l, t, q->cont, true);
            new_line(l, q->cont);
        } else if (i > q->from && (breaks || is_clause || (q->keeps_breaks && t->has_newline))) {
            new_line(l, q->cont);
        } else if (i > q->from && t->is_continued && q->is_statement) {
            buf_add_z(l->out, " \\");
            new_line(l, q->cont);
        } else if (i > q->from && t->has_space) {
            buf_add_char(l->out, ' ');
        }
        if (!is_open(t->kind)) {
            add_text(l, t->text);
        } else {
            uint32_t open = i;
            i = t->match;
            if (q->is_flat)
                print_flat_bracket(l, open);
            else if (!(q->is_statement && print_app(l, open)))
                print_bracket(l, open, tail_width(l, q, i + 1), false);
        }
        breaks = i + 1 < q->to && l->toks.items[i].trailing.len > 0;
        if (breaks)
            add_trailing(l, l->toks.items[i].trailing);
    }
}

/* The end of the content of a bracket without a comma at its end that means nothing. */
static uint32_t content_end(const struct layout *l, uint32_t open)
{
    uint32_t end = l->toks.items[open].match;
    return end > open + 1 && l->toks.items[end - 1].kind == TOK_COMMA ? end - 1 : end;
}

static bool is_single_tuple(const struct layout *l, uint32_t open)
{
    const struct tok *t = l->toks.items;
    if (t[open].bracket != B_TUPLE)
        return false;
    for (uint32_t i = open + 1; i < t[open].match; i = is_open(t[i].kind) ? t[i].match + 1 : i + 1)
        if (t[i].kind == TOK_COMMA)
            return i + 1 == t[open].match;
    return false;
}

static void print_flat_bracket(struct layout *l, uint32_t open)
{
    const struct tok *t = &l->toks.items[open];
    uint32_t end = is_single_tuple(l, open) ? t->match : content_end(l, open);
    add_text(l, t->text);
    print_seq(l, &(struct seq){.from = open + 1, .to = end, .is_flat = true});
    add_text(l, l->toks.items[t->match].text);
}

/* ---- a bracket over several lines ---- */

struct item {
    uint32_t from, to;
    uint32_t comma; /* 0: none follows */
};

static bool is_split(enum bracket b)
{
    return keeps_break(b);
}

/* The element that starts at `from`; false at the end of the bracket. */
static bool next_item(const struct layout *l, uint32_t open, uint32_t from, struct item *out)
{
    const struct tok *t = l->toks.items;
    uint32_t end = t[open].match, i = from;
    if (from >= end)
        return false;
    while (i < end && !(t[i].kind == TOK_COMMA && is_split((enum bracket)t[open].bracket)))
        i = is_open(t[i].kind) ? t[i].match + 1 : i + 1;
    *out = (struct item){from, i, i < end ? i : 0};
    return true;
}

static uint32_t behind(const struct item *it)
{
    return it->comma ? it->comma + 1 : it->to;
}

static void print_item(struct layout *l, enum bracket b, const struct item *it, uint32_t indent,
                       uint32_t suffix)
{
    struct seq q = {.from = it->from, .to = it->to, .suffix = suffix, .is_comp = b == B_COMP};
    bool ignored = false;
    q.cont = b == B_PAREN || b == B_COMP ? indent : indent + STEP;
    q.keeps_breaks = here(l) + flat_width(l, it->from, it->to, &ignored) + suffix > WIDTH;
    print_seq(l, &q);
}

/* Behind an element on its line; what does not fit there on the lines after it. */
static void add_item_comments(struct layout *l, const struct item *it, uint32_t indent)
{
    const struct tok *last = &l->toks.items[it->to - 1],
                     *comma = it->comma ? &l->toks.items[it->comma] : NULL;
    add_trailing(l, last->trailing);
    if (comma && comma->to > comma->from)
        add_comments(l, comma, indent, true);
    if (!comma || comma->trailing.len == 0)
        return;
    if (last->trailing.len > 0 || comma->to > comma->from) {
        new_line(l, indent);
        buf_add_str(l->out, comma->trailing);
    } else {
        add_trailing(l, comma->trailing);
    }
}

/* A comma at the end is fine, but for a lone '*' of parameters. */
static bool takes_comma(const struct layout *l, enum bracket b, const struct item *it)
{
    return is_split(b) && !(it->to == it->from + 1 && l->toks.items[it->from].kind == TOK_STAR);
}

static void print_exploded(struct layout *l, uint32_t open)
{
    const struct tok *t = &l->toks.items[open], *end = &l->toks.items[t->match];
    enum bracket b = (enum bracket)t->bracket;
    uint32_t outer = l->indent, indent = outer + STEP;
    struct item it;
    add_text(l, t->text);
    add_trailing(l, t->trailing);
    for (uint32_t at = open + 1; next_item(l, open, at, &it); at = behind(&it)) {
        const struct tok *first = &l->toks.items[it.from];
        add_comments(l, first, indent, at == open + 1);
        add_blanks(l, at == open + 1 && first->from == first->to ? 0 : first->blanks, BLANKS_IN);
        new_line(l, indent);
        bool has_comma = behind(&it) < t->match || takes_comma(l, b, &it);
        print_item(l, b, &it, indent, has_comma);
        if (has_comma)
            buf_add_char(l->out, ',');
        add_item_comments(l, &it, indent);
    }
    add_comments(l, end, indent, open + 1 == t->match);
    new_line(l, outer);
    add_text(l, end->text);
}

/* The bracket that a call ends with, if the call is to be opened there alone: f(a, {...}), f(g(...)). 0: no.
 */
static uint32_t hugged(struct layout *l, uint32_t open)
{
    const struct tok *t = l->toks.items;
    uint32_t end = content_end(l, open);
    struct item it, last = {0};
    uint32_t n = 0;
    if (t[open].bracket != B_CALL || t[open].trailing.len > 0 || t[open + 1].has_newline ||
        !is_close(t[end - 1].kind) || t[t[open].match].to > t[t[open].match].from ||
        t[end - 1].trailing.len > 0 ||
        (end < t[open].match && (t[end].trailing.len > 0 || t[end].to > t[end].from)))
        return 0;
    for (uint32_t at = open + 1; next_item(l, open, at, &it); at = behind(&it), n++)
        last = it;
    uint32_t g = t[end - 1].match, at = last.from;
    if (at + 1 < g && t[at].kind == TOK_IDENT && t[at + 1].kind == TOK_EQ)
        at += 2;
    bool is_literal = t[g].bracket == B_LIST || t[g].bracket == B_DICT || t[g].bracket == B_COMP;
    if (n == 1 && t[g].bracket == B_CALL)
        while (at < g && (t[at].kind == TOK_IDENT || t[at].kind == TOK_DOT))
            at++;
    bool has_forced = t[open + 1].to > t[open + 1].from || t[g].to > t[g].from || t[g - 1].trailing.len > 0;
    uint32_t width = flat_width(l, open + 1, g, &has_forced);
    return at == g && g + 1 < end && (is_literal || n == 1) && !has_forced && here(l) + width + 3 <= WIDTH
               ? g
               : 0;
}

static void print_bracket(struct layout *l, uint32_t open, uint32_t tail, bool no_flat)
{
    const struct tok *t = &l->toks.items[open];
    if (!t->is_forced && (!no_flat || open + 1 == t->match) &&
        here(l) + t->width + (t->is_multiline ? 0 : tail) <= WIDTH) {
        print_flat_bracket(l, open);
        return;
    }
    uint32_t g = hugged(l, open);
    if (open + 1 == t->match && !t->is_forced) {
        print_flat_bracket(l, open);
    } else if (g) {
        add_text(l, t->text);
        print_seq(l, &(struct seq){.from = open + 1, .to = g, .is_flat = true});
        if (g > open + 1 && l->toks.items[g].has_space)
            buf_add_char(l->out, ' ');
        print_bracket(l, g, 1, true);
        add_text(l, l->toks.items[t->match].text);
    } else {
        print_exploded(l, open);
    }
}

/* ---- app(...) ---- */

static bool is_name(const struct tok *t, const char *name)
{
    return t->kind == TOK_IDENT && str_eq_z(t->text, name);
}

static bool is_app_call(const struct layout *l, uint32_t open)
{
    const struct tok *t = l->toks.items;
    if (t[open].bracket != B_CALL || open == 0)
        return false;
    bool has_dot = open > 1 && t[open - 2].kind == TOK_DOT;
    if (!has_dot)
        return (is_name(&t[open - 1], "app") || is_name(&t[open - 1], "binding")) &&
               !(open > 1 && t[open - 2].kind == TOK_DEF);
    return is_name(&t[open - 1], "app") && open > 2 && is_name(&t[open - 3], "ace") &&
           !(open > 3 && t[open - 4].kind == TOK_DOT);
}

static bool print_app(struct layout *l, uint32_t open)
{
    const struct tok *t = l->toks.items, *first = &t[open + 1], *end = &t[t[open].match];
    uint32_t outer = l->indent, n = 0;
    struct item it, last = {0};
    if (!is_app_call(l, open))
        return false;
    for (uint32_t at = open + 1; next_item(l, open, at, &it); at = behind(&it), n++)
        last = it;
    if (n < 2 || t[open].trailing.len > 0 || first->to > first->from || end->to > end->from ||
        t[last.to - 1].trailing.len > 0 ||
        (last.comma && (t[last.comma].trailing.len > 0 || t[last.comma].to > t[last.comma].from)))
        return false;
    add_text(l, t[open].text);
    for (uint32_t at = open + 1; next_item(l, open, at, &it); at = behind(&it)) {
        if (at > open + 1) {
            add_comments(l, &t[it.from], outer + STEP, false);
            add_blanks(l, t[it.from].blanks, BLANKS_IN);
            new_line(l, outer + STEP);
        }
        print_item(l, B_CALL, &it, outer + STEP, 1);
        if (it.from == last.from)
            break;
        buf_add_char(l->out, ',');
        add_item_comments(l, &it, outer + STEP);
    }
    add_text(l, end->text);
    l->indent = outer;
    return true;
}

/* ---- statements ---- */

struct block {
    uint32_t col; /* in the source */
};

struct lines {
    struct layout *l;
    VEC(struct block) blocks; /* open ones, the file first */
    size_t level; /* of the statement to come; blocks that have just ended are still in `blocks` */
    enum { KIND_NONE, KIND_OTHER, KIND_DEF, KIND_APP } last; /* statement of the file */
    bool is_block_start;
};

/* How deep a comment before a statement is: in the blocks that end there by its column. */
static size_t comment_level(const struct lines *s, const struct comment *c, size_t max)
{
    size_t level = max;
    while (level > s->level && s->blocks.items[level].col > c->col)
        level--;
    return level;
}

static bool wants_blank(const struct lines *s, int kind)
{
    if (s->level > 0 || s->last == KIND_NONE)
        return false;
    return kind == KIND_DEF || s->last == KIND_DEF || (kind == KIND_APP && s->last == KIND_APP);
}

static uint32_t blanks_allowed(const struct lines *s, size_t level)
{
    return level > 0 ? BLANKS_IN : BLANKS_TOP;
}

/* The comments before a statement, and empty lines. */
static void print_comments(struct lines *s, const struct tok *t, int kind)
{
    struct layout *l = s->l;
    size_t level = s->blocks.len - 1;
    /* The run of comments right above the statement: what it needs of empty space goes before those. */
    uint32_t run = t->to;
    size_t max = level;
    VEC(size_t) levels = {0};
    for (uint32_t i = t->from; i < t->to; i++) {
        max = comment_level(s, &l->comments.items[i], max);
        *vec_push(l->a, &levels) = max;
    }
    bool is_near = t->blanks == 0 || t->kind == TOK_EOF;
    while (is_near && run > t->from && levels.items[run - 1 - t->from] == s->level &&
           (run == t->to || l->comments.items[run].blanks == 0))
        run--;
    bool is_start = s->is_block_start;
    for (uint32_t i = t->from; i < t->to; i++) {
        uint32_t blanks = is_start ? 0 : l->comments.items[i].blanks;
        size_t at = levels.items[i - t->from];
        if (i == run && wants_blank(s, kind))
            blanks = MAX(blanks, 1);
        add_blanks(l, blanks, blanks_allowed(s, at));
        new_line(l, (uint32_t)at * STEP);
        buf_add_str(l->out, l->comments.items[i].text);
        is_start = false;
    }
    if (t->kind == TOK_EOF)
        return;
    uint32_t blanks = is_start ? 0 : t->blanks;
    if (run == t->to && wants_blank(s, kind))
        blanks = MAX(blanks, 1);
    add_blanks(l, blanks, blanks_allowed(s, s->level));
}

static int statement_kind(const struct layout *l, uint32_t i)
{
    const struct tok *t = l->toks.items;
    if (t[i].kind == TOK_DEF)
        return KIND_DEF;
    bool is_call = t[i].kind == TOK_IDENT && is_open(t[i + 1].kind) && is_app_call(l, i + 1);
    return is_call ? KIND_APP : KIND_OTHER;
}

/* One logical line; returns the index behind it. */
static uint32_t print_line(struct lines *s, uint32_t from)
{
    struct layout *l = s->l;
    uint32_t to = from;
    int kind = statement_kind(l, from);
    while (l->toks.items[to].kind > TOK_OUTDENT)
        to++;
    print_comments(s, &l->toks.items[from], kind);
    s->blocks.len = s->level + 1;
    new_line(l, (uint32_t)s->level * STEP);
    print_seq(l, &(struct seq){.from = from, .to = to, .cont = l->indent + STEP, .is_statement = true});
    add_trailing(l, l->toks.items[to - 1].trailing);
    s->is_block_start = false;
    if (s->level == 0)
        s->last = (typeof(s->last))kind;
    return to;
}

static void print_file(struct layout *l)
{
    struct lines s = {.l = l};
    *vec_push(l->a, &s.blocks) = (struct block){0};
    for (uint32_t i = 0; i < l->toks.len;) {
        const struct tok *t = &l->toks.items[i];
        switch (t->kind) {
        case TOK_NEWLINE: i++; break;
        case TOK_INDENT:
            s.blocks.len = ++s.level;
            *vec_push(l->a, &s.blocks) = (struct block){t->col};
            s.is_block_start = true;
            i++;
            break;
        case TOK_OUTDENT:
            s.level--;
            i++;
            break;
        case TOK_EOF:
            print_comments(&s, t, KIND_OTHER);
            i++;
            break;
        default: i = print_line(&s, i);
        }
    }
    if (l->out->len > 0)
        buf_add_char(l->out, '\n');
}

/* ---- the whole ---- */

/* A comma that ends a bracket and is layout. */
static bool is_layout_comma(const struct layout *l, uint32_t i)
{
    const struct tok *t = l->toks.items;
    return t[i].kind == TOK_COMMA && is_close(t[i + 1].kind) &&
           is_split((enum bracket)t[t[i + 1].match].bracket) && !is_single_tuple(l, t[i + 1].match);
}

static bool is_same_token(const struct tok *x, const struct tok *y)
{
    if (x->kind != y->kind)
        return false;
    if (x->kind == TOK_STRING || x->kind == TOK_BYTES)
        return star_equal(x->value, y->value);
    return str_eq(x->text, y->text);
}

static uint32_t next_significant(const struct layout *l, uint32_t i)
{
    while (is_layout_comma(l, i) ||
           (l->toks.items[i].kind == TOK_NEWLINE && (i == 0 || l->toks.items[i - 1].kind <= TOK_OUTDENT)))
        i++;
    return i;
}

/* Whether both have the same tokens, layout aside, and the same comments. Both end with EOF. */
static bool is_same_program(const struct layout *x, const struct layout *y)
{
    if (!str_list_eq(&x->said, &y->said))
        return false;
    uint32_t i = next_significant(x, 0), k = next_significant(y, 0);
    for (;; i = next_significant(x, i + 1), k = next_significant(y, k + 1)) {
        /* The end of the last line, which the source may lack. */
        if (x->toks.items[i].kind == TOK_EOF && y->toks.items[k].kind == TOK_NEWLINE)
            k = next_significant(y, k + 1);
        if (!is_same_token(&x->toks.items[i], &y->toks.items[k]))
            return false;
        if (x->toks.items[i].kind == TOK_EOF)
            return true;
    }
}

struct reading {
    struct arena *tmp;
    struct str file, text;
    struct star_error_list *errors;
    struct layout *layout;
};

/* Parses, then reads the tokens. Left by longjmp on a syntax error. */
static bool read_or_fail(const struct reading *r)
{
    struct source *s = arena_new(r->tmp, struct source);
    jmp_buf fail;
    if (setjmp(fail) != 0)
        return false;
    struct str text = r->text.ptr ? r->text : STR("");
    source_init(s, r->tmp, r->tmp, r->file, text, &star_options_config, NULL, r->errors);
    s->fail = &fail;
    parse_file(s);
    source_init(s, r->tmp, r->tmp, r->file, text, &star_options_config, NULL, r->errors);
    s->fail = &fail;
    read_tokens(s, r->layout);
    judge_tokens(r->layout);
    return true;
}

bool star_fmt(struct arena *a, struct str file, struct str source, struct str *out, struct err *err)
{
    scoped_arena tmp = {0};
    scoped_buf text = BUF_INIT(OUTPUT_MAX);
    struct star_error_list errors = {0};
    struct layout before = {.a = &tmp, .out = &text}, after = {.a = &tmp};
    if (source.len > OUTPUT_MAX / 4)
        return err_set(err, ERR_TOO_LARGE, STR_FMT ": file is too large to be formatted", STR_ARG(file));
    if (!read_or_fail(&(struct reading){&tmp, file, source, &errors, &before})) {
        const struct star_error_item *e = &errors.items[0];
        return err_set(err, ERR_INVALID, STR_FMT ":%d:%d: " STR_FMT, STR_ARG(file), e->line, e->col,
                       STR_ARG(e->msg));
    }
    print_file(&before);
    if (text.is_full)
        return err_set(err, ERR_TOO_LARGE, STR_FMT ": too large once formatted", STR_ARG(file));
    /* Never a file that says something else, whatever was overlooked here. */
    if (!read_or_fail(&(struct reading){&tmp, file, buf_str(&text), &errors, &after}) ||
        !is_same_program(&before, &after))
        return err_set(err, ERR_INTERNAL,
                       STR_FMT ": formatting it would change its meaning; please report this file",
                       STR_ARG(file));
    *out = str_dup(a, buf_str(&text));
    return true;
}
