/* starlark/scan.c: turns source text into tokens, indentation included.
 *
 * Positions count code points. "\r\n" and "\r" are read as "\n". Errors use the positions of the Go
 * implementation: most at the current place of the scanner, those of literals at their start.
 * SPDX-License-Identifier: Apache-2.0 */
#include "syntax.h"

#include <setjmp.h>
#include <stdlib.h>

enum { MAX_BRACKETS = 1000, TAB = 8 };

const char *const token_text[N_TOKENS] = {
#define TOK(name, text) [TOK_##name] = text,
    TOKENS(TOK)
#undef TOK
};

const char *token_quoted(enum token t)
{
    static const char *const quoted[N_TOKENS] = {
#define TOK(name, text) [TOK_##name] = "'" text "'",
        TOKENS(TOK)
#undef TOK
    };
    return t >= TOK_PLUS && t <= TOK_STARSTAR ? quoted[t] : token_text[t];
}

/* ---- names ---- */

static void names_grow(struct source *s)
{
    size_t cap = s->cap_names ? s->cap_names * 2 : 256;
    struct name **bigger = arena_array(s->tmp, struct name *, cap);
    for (size_t i = 0; i < s->cap_names; i++) {
        struct name *n = s->names[i];
        if (!n)
            continue;
        size_t at = n->hash & (cap - 1);
        while (bigger[at])
            at = (at + 1) & (cap - 1);
        bigger[at] = n;
    }
    s->names = bigger;
    s->cap_names = cap;
}

/* A string of no or one byte is one object that all threads share: it is frozen already, and never written. */
static void freeze_constant(star_v v)
{
    if (!obj_of(v)->frozen)
        obj_of(v)->frozen = 1;
    if (obj_of(v)->type == O_STRING)
        string_hash(v);
}

struct name *name_intern(struct source *s, struct str text)
{
    uint32_t hash = bytes_hash(text.ptr, text.len);
    if (s->n_names * 2 >= s->cap_names)
        names_grow(s);
    size_t at = hash & (s->cap_names - 1);
    for (struct name *n; (n = s->names[at]); at = (at + 1) & (s->cap_names - 1))
        if (n->hash == hash && str_eq(n->s, text))
            return n;
    struct name *n = arena_new(s->tmp, struct name);
    n->value = star_string(s->out, text);
    if (star_is_null(n->value))
        source_fail(s, (struct pos){0}, "out of memory");
    freeze_constant(n->value);
    n->s = str_of_v(n->value);
    n->hash = hash;
    n->token = TOK_IDENT;
    s->names[at] = n;
    s->n_names++;
    return n;
}

void source_init(struct source *s, struct arena *out, struct arena *tmp, struct str file, struct str text,
                 const struct star_options *opts, const struct star_env *env, struct star_error_list *errors)
{
    *s = (struct source){
        .out = out, .tmp = tmp, .file = file, .cur = text.ptr, .start = text.ptr, .line_ptr = text.ptr,
        .end = text.ptr + text.len, .line = 1, .line_start = true, .opts = opts, .env = env, .errors = errors,
    };
    if (!text.ptr)
        s->cur = s->start = s->line_ptr = s->end = "";
    s->cap_indents = 16;
    s->indents = arena_array(tmp, int, s->cap_indents);
    s->n_indents = 1;
    for (int t = TOK_AND; t < N_TOKENS; t++)
        if (t != TOK_NOT_IN)
            name_intern(s, str_from(token_text[t]))->token = (uint8_t)t;
}

/* ---- errors ---- */

static void add_error(struct source *s, struct pos pos, const char *fmt, va_list ap)
{
    if (s->errors->len >= 1000)
        return;
    struct star_error_item *e = vec_push(s->out, s->errors);
    e->file = s->file;
    e->line = (int)pos.line;
    e->col = (int)pos.col;
    e->msg = str_vprintf(s->out, fmt, ap);
}

void source_error(struct source *s, struct pos pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_error(s, pos, fmt, ap);
    va_end(ap);
}

void source_fail(struct source *s, struct pos pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_error(s, pos, fmt, ap);
    va_end(ap);
    longjmp(*(jmp_buf *)s->fail, 1);
}

/* ---- characters ---- */

static inline struct pos here(const struct source *s)
{
    return (struct pos){s->line, (uint32_t)(s->cur - s->line_ptr) + 1 - s->extra};
}
struct pos source_here(const struct source *s)
{
    return here(s);
}

/* The byte at the cursor, '\n' for any line end, 0 at the end of input (see at_end). */
static inline int peek(const struct source *s)
{
    if (s->cur >= s->end)
        return 0;
    unsigned char c = (unsigned char)*s->cur;
    return c == '\r' ? '\n' : c;
}
static inline int peek_at(const struct source *s, size_t n)
{
    return (size_t)(s->end - s->cur) > n ? (unsigned char)s->cur[n] : 0;
}

static void newline(struct source *s)
{
    if (*s->cur == '\r' && s->cur + 1 < s->end && s->cur[1] == '\n')
        s->cur++;
    s->cur++;
    s->line++;
    s->line_ptr = s->cur;
    s->extra = 0;
}

/* Consumes one code point that is not a line end. */
static uint32_t advance_rune(struct source *s)
{
    if ((unsigned char)*s->cur < 0x80)
        return (unsigned char)*s->cur++;
    size_t w;
    uint32_t r = utf8_decode(str_of(s->cur, (size_t)(s->end - s->cur)), &w);
    s->cur += w;
    s->extra += (uint32_t)w - 1;
    return r;
}
static uint32_t peek_rune(const struct source *s)
{
    if (s->cur >= s->end)
        return 0;
    if ((unsigned char)*s->cur < 0x80)
        return (unsigned char)*s->cur;
    size_t w;
    return utf8_decode(str_of(s->cur, (size_t)(s->end - s->cur)), &w);
}

enum { C_START = 1, C_DIGIT = 2, C_HEX = 4 };
static const uint8_t classes[128] = {
    ['0' ... '9'] = C_DIGIT | C_HEX, ['a' ... 'f'] = C_START | C_HEX, ['A' ... 'F'] = C_START | C_HEX,
    ['g' ... 'z'] = C_START, ['G' ... 'Z'] = C_START, ['_'] = C_START,
};
static inline bool is_class(int c, int cls)
{
    return c < 128 && (classes[c] & cls);
}

/* ---- strings ---- */

struct unquoter {
    struct source *s;
    struct pos pos;     /* of the literal, for errors */
    char *out;
    bool is_bytes;
};

static int64_t hex_digits(const char *p, size_t n)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        int h = hex_digit(p[i]);
        if (h < 0)
            return -1;
        v = v * 16 + h;
    }
    return v;
}

/* \xXX, \uXXXX, \UXXXXXXXX at p; returns the position behind. */
static const char *unquote_hex(struct unquoter *u, const char *p, const char *end)
{
    size_t n = p[1] == 'x' ? 2 : p[1] == 'u' ? 4 : 8;
    if ((size_t)(end - p) < n + 2)
        source_fail(u->s, u->pos, "truncated escape sequence %.*s", (int)(end - p), p);
    int64_t v = hex_digits(p + 2, n);
    int len = (int)n + 2;
    if (v < 0)
        source_fail(u->s, u->pos, "invalid escape sequence %.*s", len, p);
    if (n == 2) {
        if (!u->is_bytes && v > 127)
            source_fail(u->s, u->pos, "non-ASCII hex escape %.*s (use \\u%04X for the UTF-8 encoding of U+%04X)",
                        len, p, (unsigned)v, (unsigned)v);
        *u->out++ = (char)v;
        return p + len;
    }
    if (v > 0x10FFFF)
        source_fail(u->s, u->pos, "code point out of range: %.*s (max \\U%08x)", len, p, 0x10FFFF);
    if (v >= 0xD800 && v < 0xE000)
        source_fail(u->s, u->pos, "invalid Unicode code point U+%04X", (unsigned)v);
    u->out += utf8_encode((uint32_t)v, u->out);
    return p + len;
}

static const char *unquote_octal(struct unquoter *u, const char *p, const char *end)
{
    int v = p[1] - '0';
    p += 2;
    for (int i = 1; i < 3 && p < end && *p >= '0' && *p <= '7'; i++)
        v = v * 8 + (*p++ - '0');
    if (!u->is_bytes && v > 127)
        source_fail(u->s, u->pos, "non-ASCII octal escape \\%o (use \\u%04X for the UTF-8 encoding of U+%04X)",
                    (unsigned)v, (unsigned)v, (unsigned)v);
    if (v >= 256)
        source_fail(u->s, u->pos, "invalid escape sequence \\%03o", (unsigned)v);
    *u->out++ = (char)v;
    return p;
}

static const char *unquote_escape(struct unquoter *u, const char *p, const char *end)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    if (end - p < 2)
        source_fail(u->s, u->pos, "truncated escape sequence \\");
    char c = p[1];
    if (c == '\n')
        return p + 2;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        *u->out++ = to[simple - from];
        return p + 2;
    }
    if (c >= '0' && c <= '7')
        return unquote_octal(u, p, end);
    if (c == 'x' || c == 'u' || c == 'U')
        return unquote_hex(u, p, end);
    /* As the Go implementation does, a byte that is not ASCII is shown as the code point of its value. */
    char text[5] = {0};
    utf8_encode((unsigned char)c, text);
    source_fail(u->s, u->pos, "invalid escape sequence \\%s", text);
}

static star_v unquote(struct source *s, struct pos pos, const char *p, const char *end, bool raw, bool is_bytes)
{
    char *buf = arena_alloc(s->tmp, (size_t)(end - p) + 1);
    struct unquoter u = {s, pos, buf, is_bytes};
    while (p < end) {
        if (*p == '\r') {
            *u.out++ = '\n';
            p += p + 1 < end && p[1] == '\n' ? 2 : 1;
        } else if (*p == '\\' && !raw) {
            if (end - p >= 2 && p[1] == '\r') /* an escaped line end of any form */
                p += end - p >= 3 && p[2] == '\n' ? 3 : 2;
            else
                p = unquote_escape(&u, p, end);
        } else {
            *u.out++ = *p++;
        }
    }
    struct str text = str_of(buf, (size_t)(u.out - buf));
    return is_bytes ? star_bytes(s->out, text) : star_string(s->out, text);
}

static enum token scan_string(struct source *s, struct token_value *val, bool raw, bool is_bytes)
{
    struct pos start = here(s);     /* of the quote */
    char quote = *s->cur;
    bool triple = peek_at(s, 1) == quote && peek_at(s, 2) == quote;
    s->cur += triple ? 3 : 1;
    const char *body = s->cur;
    bool plain = true;
    int quotes = 0;
    for (;;) {
        if (s->cur >= s->end)
            source_fail(s, val->pos, "unexpected EOF in string");
        const char *p = s->cur;
        while (p < s->end && (unsigned char)*p < 0x80 && *p != quote && *p != '\\' && *p != '\n' && *p != '\r')
            p++;
        if (p > s->cur) {
            quotes = 0;
            s->cur = p;
            continue;
        }
        unsigned char c = (unsigned char)*p;
        if (c == quote) {
            s->cur++;
            if (!triple || ++quotes == 3)
                break;
            continue;
        }
        quotes = 0;
        if (c == '\n' || c == '\r') {
            if (!triple)
                source_fail(s, val->pos, "unexpected newline in string");
            plain = plain && c == '\n';
            newline(s);
        } else if (c == '\\') {
            plain = false;
            s->cur++;
            if (s->cur >= s->end)
                source_fail(s, val->pos, "unexpected EOF in string");
            if (*s->cur == '\n' || *s->cur == '\r')
                newline(s);
            else
                advance_rune(s);
        } else if (c < 0x80) {
            s->cur++;
        } else {
            advance_rune(s);
        }
    }
    const char *end = s->cur - (triple ? 3 : 1);
    struct str text = str_of(body, (size_t)(end - body));
    if (!plain)
        val->value = unquote(s, start, body, end, raw, is_bytes);
    else if (is_bytes)
        val->value = star_bytes(s->out, text);
    else if (text.len <= 40)
        val->value = name_intern(s, text)->value;
    else
        val->value = star_string(s->out, text);
    if (star_is_null(val->value))
        source_fail(s, start, "out of memory");
    freeze_constant(val->value);
    return is_bytes ? TOK_BYTES : TOK_STRING;
}

/* ---- numbers ---- */

static void skip_digits(struct source *s)
{
    while (is_class(peek(s), C_DIGIT))
        s->cur++;
}

static star_v int_literal(struct source *s, const char *from, int base, struct pos start)
{
    star_v v = int_parse(s->out, str_of(from, (size_t)(s->cur - from)), base, false);
    if (star_is_null(v))
        source_fail(s, start, "invalid int literal");
    return v;
}

/* 0x1f, 0o17, 0b11; the cursor is at the letter. */
static enum token scan_radix(struct source *s, struct token_value *val, int letter)
{
    int base = letter == 'x' ? 16 : letter == 'o' ? 8 : 2;
    s->cur++;
    const char *from = s->cur;
    while (base == 16 ? is_class(peek(s), C_HEX) : peek(s) >= '0' && peek(s) < '0' + base)
        s->cur++;
    if (s->cur == from)
        source_fail(s, base == 16 ? val->pos : here(s), "invalid %s literal",
                    base == 16 ? "hex" : base == 8 ? "octal" : "binary");
    val->value = int_literal(s, from, base, val->pos);
    return TOK_INT;
}

static enum token scan_number(struct source *s, struct token_value *val)
{
    const char *from = s->cur;
    bool is_float = false;
    if (*s->cur == '0' && s->cur + 1 < s->end) {
        int letter = s->cur[1] | 0x20;
        if (letter == 'x' || letter == 'o' || letter == 'b') {
            s->cur++;
            return scan_radix(s, val, letter);
        }
    }
    skip_digits(s);
    const char *digits_end = s->cur;
    if (peek(s) == '.') {
        is_float = true;
        s->cur++;
        skip_digits(s);
    }
    if ((peek(s) | 0x20) == 'e') {
        is_float = true;
        s->cur++;
        if (peek(s) == '+' || peek(s) == '-') {
            s->cur++;
            if (!is_class(peek(s), C_DIGIT))
                source_fail(s, here(s), "invalid float literal");
        }
        skip_digits(s);
    }
    if (is_float) {
        double d;
        if (!float_parse(str_of(from, (size_t)(s->cur - from)), &d) || d - d != 0)
            source_fail(s, here(s), "invalid float literal");
        val->value = float_v(s->out, d);
        return TOK_FLOAT;
    }
    if (*from == '0' && digits_end - from > 1) {
        bool zeros = true, octal = true;
        for (const char *p = from; p < digits_end; p++) {
            zeros = zeros && *p == '0';
            octal = octal && *p <= '7';
        }
        if (octal && !zeros)
            source_fail(s, here(s), "obsolete form of octal literal; use 0o%.*s", (int)(digits_end - from - 1),
                        from + 1);
        if (!zeros)
            source_fail(s, val->pos, "invalid int literal");
    }
    val->value = int_literal(s, from, 10, val->pos);
    return TOK_INT;
}

/* ---- indentation and tokens ---- */

static void push_indent(struct source *s, int col)
{
    if (s->n_indents == s->cap_indents) {
        int *bigger = arena_array(s->tmp, int, s->cap_indents * 2);
        memcpy(bigger, s->indents, s->n_indents * sizeof *bigger);
        s->indents = bigger;
        s->cap_indents *= 2;
    }
    s->indents[s->n_indents++] = col;
}

/* At the start of a line: reads its blanks and notes INDENTs and OUTDENTs. True if the line is blank. */
static bool scan_indent(struct source *s)
{
    const char *p = s->cur;
    while (p < s->end && *p == ' ')
        p++;
    int col = (int)(p - s->cur);
    s->cur = p;
    for (; s->cur < s->end && (*s->cur == ' ' || *s->cur == '\t'); s->cur++)
        col += *s->cur == ' ' ? 1 : TAB - (int)((here(s).col - 1) % TAB);
    int c = peek(s);
    if (c == '#' || c == '\n' || s->cur >= s->end)
        return true;
    if (s->depth > 0)
        return false;
    if (col > s->indents[s->n_indents - 1]) {
        s->dents++;
        push_indent(s, col);
    } else {
        while (s->n_indents > 0 && col < s->indents[s->n_indents - 1]) {
            s->dents--;
            s->n_indents--;
        }
        if (col != s->indents[s->n_indents - 1])
            source_fail(s, here(s), "unindent does not match any outer indentation level");
    }
    return false;
}

static enum token punctuation(struct source *s, enum token plain, enum token with_eq)
{
    s->cur++;
    if (peek(s) == '=') {
        s->cur++;
        return with_eq;
    }
    return plain;
}

/* c, c=, cc, cc= */
static enum token doubled(struct source *s, enum token plain, enum token eq, enum token twice, enum token twice_eq)
{
    char c = *s->cur;
    if (peek_at(s, 1) == c) {
        s->cur++;
        return punctuation(s, twice, twice_eq);
    }
    return punctuation(s, plain, eq);
}

static void __attribute__((noreturn)) bad_character(struct source *s)
{
    uint32_t r = peek_rune(s);
    if (uni_is_print(r)) {
        char text[5] = {0};
        utf8_encode(r, text);
        source_fail(s, here(s), "unexpected input character '%s'", text);
    }
    if (r < 0x80)
        source_fail(s, here(s), "unexpected input character '\\x%02x'", r);
    source_fail(s, here(s), r < 0x10000 ? "unexpected input character '\\u%04x'" : "unexpected input character '\\U%08x'", r);
}

static enum token open_bracket(struct source *s, enum token t)
{
    if (++s->depth > MAX_BRACKETS)
        source_fail(s, here(s), "excessive nesting");
    s->cur++;
    return t;
}
static enum token close_bracket(struct source *s, enum token t)
{
    if (s->depth == 0)
        source_fail(s, here(s), "unexpected '%c'", *s->cur);
    s->depth--;
    s->cur++;
    return t;
}

static enum token scan_operator(struct source *s, struct token_value *val)
{
    switch (*s->cur) {
    case ',': s->cur++; return TOK_COMMA;
    case ':': s->cur++; return TOK_COLON;
    case ';': s->cur++; return TOK_SEMI;
    case '~': s->cur++; return TOK_TILDE;
    case '(': return open_bracket(s, TOK_LPAREN);
    case '[': return open_bracket(s, TOK_LBRACK);
    case '{': return open_bracket(s, TOK_LBRACE);
    case ')': return close_bracket(s, TOK_RPAREN);
    case ']': return close_bracket(s, TOK_RBRACK);
    case '}': return close_bracket(s, TOK_RBRACE);
    case '=': return punctuation(s, TOK_EQ, TOK_EQL);
    case '+': return punctuation(s, TOK_PLUS, TOK_PLUS_EQ);
    case '-': return punctuation(s, TOK_MINUS, TOK_MINUS_EQ);
    case '%': return punctuation(s, TOK_PERCENT, TOK_PERCENT_EQ);
    case '&': return punctuation(s, TOK_AMP, TOK_AMP_EQ);
    case '|': return punctuation(s, TOK_PIPE, TOK_PIPE_EQ);
    case '^': return punctuation(s, TOK_CIRCUMFLEX, TOK_CIRCUMFLEX_EQ);
    case '/': return doubled(s, TOK_SLASH, TOK_SLASH_EQ, TOK_SLASHSLASH, TOK_SLASHSLASH_EQ);
    case '<': return doubled(s, TOK_LT, TOK_LE, TOK_LTLT, TOK_LTLT_EQ);
    case '>': return doubled(s, TOK_GT, TOK_GE, TOK_GTGT, TOK_GTGT_EQ);
    case '*':
        if (peek_at(s, 1) == '*') {
            s->cur += 2;
            return TOK_STARSTAR;
        }
        return punctuation(s, TOK_STAR, TOK_STAR_EQ);
    case '!':
        if (peek_at(s, 1) == '=') {
            s->cur += 2;
            return TOK_NEQ;
        }
        source_fail(s, here(s), "unexpected input character '!'");
    case '.':
        if (is_class(peek_at(s, 1), C_DIGIT))
            return scan_number(s, val);
        s->cur++;
        return TOK_DOT;
    default:
        bad_character(s);
    }
}

static enum token scan_name(struct source *s, struct token_value *val)
{
    const char *from = s->cur;
    for (;;) {
        const char *p = s->cur;
        while (p < s->end && (unsigned char)*p < 128 && (classes[(unsigned char)*p] & (C_START | C_DIGIT)))
            p++;
        s->cur = p;
        if (p == s->end || (unsigned char)*p < 128 || !uni_is_letter(peek_rune(s)))
            break;
        advance_rune(s);
    }
    val->name = name_intern(s, str_of(from, (size_t)(s->cur - from)));
    return val->name->token;
}

static bool is_quote(int c)
{
    return c == '"' || c == '\'';
}

static enum token scan_word(struct source *s, struct token_value *val)
{
    int c = (unsigned char)*s->cur;
    if (is_quote(c))
        return scan_string(s, val, false, false);
    if ((c == 'r' || c == 'b') && is_quote(peek_at(s, 1))) {
        s->cur++;
        return scan_string(s, val, c == 'r', c == 'b');
    }
    if (c == 'r' && peek_at(s, 1) == 'b' && is_quote(peek_at(s, 2))) {
        s->cur += 2;
        return scan_string(s, val, true, true);
    }
    if (is_class(c, C_START) || (c >= 128 && uni_is_letter(peek_rune(s))))
        return scan_name(s, val);
    if (is_class(c, C_DIGIT))
        return scan_number(s, val);
    return scan_operator(s, val);
}

/* End of input: a NEWLINE for an unfinished line inside blocks, the OUTDENTs, then EOF for ever. */
static bool scan_end(struct source *s, bool at_line_start, enum token *t)
{
    if (s->n_indents <= 1) {
        *t = TOK_EOF;
        return true;
    }
    if (!at_line_start) {
        s->line_start = true;
        *t = TOK_NEWLINE;
        return true;
    }
    s->dents = 1 - (int)s->n_indents;
    s->n_indents = 1;
    return false;
}

enum token scan_token(struct source *s, struct token_value *val)
{
    for (;;) {
        bool blank = false, at_line_start = s->line_start;
        if (s->line_start) {
            s->line_start = false;
            blank = scan_indent(s);
        }
        if (s->dents != 0) {
            val->pos = here(s);
            if (s->dents < 0) {
                s->dents++;
                return TOK_OUTDENT;
            }
            s->dents--;
            return TOK_INDENT;
        }
        while (s->cur < s->end && (*s->cur == ' ' || *s->cur == '\t'))
            s->cur++;
        if (peek(s) == '#')
            while (s->cur < s->end && peek(s) != '\n')
                advance_rune(s);
        if (s->cur >= s->end) {
            enum token t;
            val->pos = here(s);
            if (scan_end(s, at_line_start, &t))
                return t;
            continue;
        }
        int c = peek(s);
        if (c == '\n') {
            s->line_start = true;
            val->pos = here(s);
            newline(s);
            if (s->depth > 0 || blank)
                continue;
            return TOK_NEWLINE;
        }
        if (c == '\\') {
            s->cur++;
            if (peek(s) != '\n')
                source_fail(s, here(s), "stray backslash in program");
            newline(s);
            continue;
        }
        val->pos = here(s);
        return scan_word(s, val);
    }
}
