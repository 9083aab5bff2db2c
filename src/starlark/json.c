/* starlark/json.c: JSON (RFC 8259) out of values and into values. Both directions are loops over an explicit
 * stack: depth costs memory with a bound, never the C stack.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_DEPTH = 10000, APP_DEPTH = 100 };

/* ---- encoding ---- */

/* One container being written; `i` is the next entry. */
struct level {
    star_v v;
    uint32_t i;
    bool first;
    bool is_map;        /* dict or struct */
    uint32_t *order;    /* keys in sorted order, or NULL */
    struct iter it;     /* of iterables that are neither list nor tuple nor set */
};

struct encoder {
    struct arena *arena;
    struct star_run *run;
    struct buf *out;
    int flags;
    struct err *err;
    struct level *levels;
    size_t n, cap;
};

static bool add_text(struct encoder *e, struct str s)
{
    static const uint8_t plain[256] = {
        [0x20 ... 0x21] = 1, [0x23 ... 0x5B] = 1, [0x5D ... 0x7F] = 1,
    };
    struct buf *b = e->out;
    if (!buf_reserve(b, s.len + 2)) {
        b->is_full = true;
        return false;
    }
    b->ptr[b->len++] = '"';
    size_t i = 0;
    while (i < s.len && plain[(unsigned char)s.ptr[i]])
        i++;
    memcpy(b->ptr + b->len, s.ptr, i);
    b->len += i;
    if (i < s.len) {
        struct str rest = str_from_off(s, i);
        if ((e->flags & STAR_JSON_APP) && !str_is_utf8(rest))
            return err_set(e->err, ERR_INVALID, "string is not valid UTF-8");
        buf_add_json(b, rest);
    }
    return buf_add_char(b, '"');
}

static bool add_base64(struct buf *b, struct str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_add_char(b, '"');
    for (size_t i = 0; i < s.len; i += 3) {
        uint32_t n = (uint32_t)(unsigned char)s.ptr[i] << 16;
        if (i + 1 < s.len)
            n |= (uint32_t)(unsigned char)s.ptr[i + 1] << 8;
        if (i + 2 < s.len)
            n |= (unsigned char)s.ptr[i + 2];
        char four[4] = {digits[n >> 18], digits[n >> 12 & 63], i + 1 < s.len ? digits[n >> 6 & 63] : '=',
                        i + 2 < s.len ? digits[n & 63] : '='};
        buf_add(b, four, 4);
    }
    return buf_add_char(b, '"');
}

static bool add_float(struct encoder *e, double d)
{
    if (!isfinite(d)) {
        scoped_buf b = BUF_INIT(64);
        float_repr(&b, d);
        return err_set(e->err, ERR_INVALID, "cannot encode non-finite float %s", buf_z(&b));
    }
    if (!(e->flags & STAR_JSON_APP))
        return float_repr(e->out, d);
    return float_json(e->out, d);
}

static bool push(struct encoder *e, star_v v)
{
    size_t max = e->flags & STAR_JSON_APP ? APP_DEPTH : MAX_DEPTH;
    if (e->n >= max)
        return err_set(e->err, ERR_INVALID, e->flags & STAR_JSON_APP ? "value nesting exceeds max depth" : "nesting depth limit exceeded");
    if (!(e->flags & STAR_JSON_APP) && (is_type(v, O_LIST) || is_type(v, O_DICT) || is_type(v, O_TUPLE)))
        for (size_t i = 0; i < e->n; i++)
            if (e->levels[i].v.bits == v.bits)
                return err_set(e->err, ERR_INVALID, "cycle in JSON structure");
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->levels = xrealloc(e->levels, e->cap * sizeof *e->levels);
    }
    e->levels[e->n++] = (struct level){.v = v, .first = true};
    return true;
}

static star_v map_key(star_v map, uint32_t i)
{
    return is_type(map, O_STRUCT) ? STRUCT_OBJ(map)->shape->names[i] : DICT_OBJ(map)->entries[i].key;
}
static star_v map_value(star_v map, uint32_t i)
{
    return is_type(map, O_STRUCT) ? STRUCT_OBJ(map)->values[i] : DICT_OBJ(map)->entries[i].value;
}

static __thread star_v sort_map;
static int by_key(const void *x, const void *y)
{
    return str_cmp(str_of_v(map_key(sort_map, *(const uint32_t *)x)), str_of_v(map_key(sort_map, *(const uint32_t *)y)));
}

/* Starts an object. Keys must be strings (ints too for apps). */
static bool begin_map(struct encoder *e, star_v v)
{
    if (!push(e, v))
        return false;
    struct level *l = &e->levels[e->n - 1];
    l->is_map = true;
    uint32_t n = is_type(v, O_STRUCT) ? STRUCT_OBJ(v)->shape->n : DICT_OBJ(v)->len;
    if (is_type(v, O_DICT) && !(e->flags & STAR_JSON_APP))
        for (uint32_t i = 0; i < n; i++)
            if (!star_is_null(map_key(v, i)) && !is_string(map_key(v, i)))
                return err_set(e->err, ERR_INVALID, "dict has %s key, want string", star_type_name(map_key(v, i)));
    if (e->flags & STAR_JSON_SORT) {
        l->order = xmalloc((n + 1) * sizeof *l->order);
        uint32_t k = 0;
        for (uint32_t i = 0; i < n; i++)
            if (!star_is_null(map_key(v, i)))
                l->order[k++] = i;
        sort_map = v;
        qsort(l->order, k, sizeof *l->order, by_key);
        l->order[k] = UINT32_MAX;
    }
    return buf_add_char(e->out, '{');
}

static bool refuse(struct encoder *e, star_v v)
{
    if (e->flags & STAR_JSON_APP)
        return err_set(e->err, ERR_INVALID, "unrecognized starlark type: %s", star_type_name(v));
    return err_set(e->err, ERR_INVALID, "cannot encode %s as JSON", star_type_name(v));
}

static bool begin_value(struct encoder *e, star_v v)
{
    if (is_int(v) || is_type(v, O_BIGINT)) {
        int64_t i;
        if ((e->flags & STAR_JSON_APP) && !star_to_i64(v, &i))
            return err_set(e->err, ERR_INVALID, "int is too large for JSON: it has more than 64 bits");
        return int_format(e->out, v, 10, false);
    }
    if (is_float(v))
        return add_float(e, float_of(v));
    if (!is_obj(v))
        return buf_add_z(e->out, star_is_none(v) ? "null" : v.bits == STAR_TRUE.bits ? "true" : "false");
    bool app = e->flags & STAR_JSON_APP;
    switch (obj_of(v)->type) {
    case O_STRING:
        return add_text(e, str_of_v(v));
    case O_BYTES:
        return app ? add_base64(e->out, str_of_v(v)) : refuse(e, v);
    case O_DICT:
        return begin_map(e, v);
    case O_STRUCT:
        return app ? refuse(e, v) : begin_map(e, v);
    case O_LIST: case O_TUPLE: case O_SET:
        return push(e, v) && buf_add_char(e->out, '[');
    case O_RANGE: case O_ELEMS:
        if (app || !push(e, v))
            return app ? refuse(e, v) : false;
        e->levels[e->n - 1].it.r[0] = v;
        e->levels[e->n - 1].it.r[1] = small_int(0);
        return buf_add_char(e->out, '[');
    case O_HOST: {
        const struct star_host_type *t = HOST_OBJ(v)->type;
        star_v p = t->plain ? t->plain(e->arena, HOST_OBJ(v)->self) : STAR_NULL;
        if (star_is_null(p) || is_type(p, O_HOST))
            return refuse(e, v);
        return begin_value(e, p);
    }
    default:
        return refuse(e, v);
    }
}

/* The next entry of the innermost container: 1 with *v set, 0 at its end, -1 failed. */
static int next_entry(struct encoder *e, struct level *l, star_v *v)
{
    if (l->is_map) {
        uint32_t n = is_type(l->v, O_STRUCT) ? STRUCT_OBJ(l->v)->shape->n : DICT_OBJ(l->v)->len, at;
        if (l->order) {
            at = l->order[l->i];
            if (at == UINT32_MAX)
                return 0;
        } else {
            while (l->i < n && star_is_null(map_key(l->v, l->i)))
                l->i++;
            at = l->i;
            if (at >= n)
                return 0;
        }
        l->i++;
        star_v key = map_key(l->v, at);
        if (!l->first)
            buf_add_char(e->out, ',');
        l->first = false;
        if (is_string(key)) {
            if (!add_text(e, str_of_v(key)))
                return -1;
        } else {
            buf_add_char(e->out, '"');
            if (!value_print(e->out, key, PRINT_STR, NULL))
                return -1;
            buf_add_char(e->out, '"');
        }
        buf_add_char(e->out, ':');
        *v = map_value(l->v, at);
        return 1;
    }
    const star_v *items;
    size_t n;
    if (seq_items(l->v, &items, &n)) {
        if (l->i >= n)
            return 0;
        *v = items[l->i++];
    } else if (is_type(l->v, O_SET)) {
        size_t at = l->i;
        if (!star_set_next(l->v, &at, v))
            return 0;
        l->i = (uint32_t)at;
    } else {
        struct star_run fake = {.arena = e->arena};
        int got = loop_next(&fake, l->it.r, v);
        if (got != 1)
            return got == 0 ? 0 : -1;
    }
    if (!l->first)
        buf_add_char(e->out, ',');
    l->first = false;
    return 1;
}

/* "in dict key "a": at list index 3: ..." as the Go implementation reports. */
static void explain_path(struct encoder *e)
{
    enum { MAX_PATH = 20 };
    for (size_t i = e->n; i-- > 0;) {
        struct level *l = &e->levels[i];
        if (l->first || i >= MAX_PATH)
            continue;
        uint32_t at = l->i - 1;
        if (l->is_map) {
            if (l->order)
                at = l->order[at];
            star_v key = map_key(l->v, at);
            scoped_buf b = BUF_INIT(200);
            if (is_type(l->v, O_STRUCT)) {
                err_wrap(e->err, "in field ." STR_FMT, STR_ARG(str_of_v(key)));
            } else {
                value_print(&b, key, 0, NULL);
                err_wrap(e->err, "in %s key %s", star_type_name(l->v), buf_z(&b));
            }
        } else {
            err_wrap(e->err, "at %s index %u", star_type_name(l->v), at);
        }
    }
}

bool star_json_encode(struct arena *a, struct buf *out, star_v v, int flags, struct err *err)
{
    struct encoder e = {.arena = a, .out = out, .flags = flags, .err = err};
    scoped_err own = {0};
    e.err = &own;
    bool ok = !star_is_null(v) && begin_value(&e, v);
    while (ok && e.n > 0) {
        struct level *l = &e.levels[e.n - 1];
        star_v x;
        int got = next_entry(&e, l, &x);
        if (got == 1) {
            ok = begin_value(&e, x);
        } else if (got == 0) {
            buf_add_char(out, l->is_map ? '}' : ']');
            free(l->order);
            e.n--;
        } else {
            ok = false;
        }
        ok = ok && !out->is_full;
    }
    if (!ok) {
        if (!err_is_set(&own))
            err_set(&own, ERR_TOO_LARGE, out->is_full ? "memory limit exceeded" : "cannot encode value as JSON");
        else if (!(flags & STAR_JSON_APP))
            explain_path(&e);
        err_move(err, &own);
        while (e.n > 0)
            free(e.levels[--e.n].order);
    }
    free(e.levels);
    return ok;
}

/* ---- decoding ---- */

struct decoder {
    struct arena *arena;
    const char *start, *p, *end;
    struct err *err;
    star_v *stack;      /* containers being read, and a dict's pending key above it */
    size_t n, cap;
};

static bool bad(struct decoder *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool bad(struct decoder *d, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(d->err, ERR_INVALID, "at offset %zu, %s", (size_t)(d->p - d->start), text);
}

static bool no_memory(struct decoder *d)
{
    return err_set(d->err, ERR_TOO_LARGE, "memory limit exceeded");
}

static int peek(struct decoder *d)
{
    while (d->p < d->end && (*d->p == ' ' || *d->p == '\t' || *d->p == '\n' || *d->p == '\r'))
        d->p++;
    return d->p < d->end ? (unsigned char)*d->p : -1;
}

static const char *show(int c)
{
    static __thread char text[16];
    if (c < 0)
        return "end of file";
    if (c >= 0x20 && c < 0x7f)
        snprintf(text, sizeof text, c == '\'' || c == '\\' ? "'\\%c'" : "'%c'", c);
    else if (c < 0x80)
        snprintf(text, sizeof text, "'\\x%02x'", c);
    else
        snprintf(text, sizeof text, "'\\u%04x'", c);
    return text;
}

static int32_t hex4(const char *p, const char *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int h = hex_digit(p[i]);
        if (h < 0)
            return -1;
        v = v * 16 + h;
    }
    return v;
}

/* One escape at p (after the backslash) to *to; NULL when invalid. Lone surrogates become U+FFFD. */
static const char *unescape(const char *p, const char *end, char **to)
{
    static const char from[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    const char *at = p < end && *p ? strchr(from, *p) : NULL;
    if (at) {
        *(*to)++ = plain[at - from];
        return p + 1;
    }
    if (p >= end || *p != 'u')
        return NULL;
    int32_t r = hex4(p + 1, end);
    if (r < 0)
        return NULL;
    p += 5;
    if (r >= 0xD800 && r < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        int32_t low = hex4(p + 2, end);
        if (low >= 0xDC00 && low < 0xE000) {
            r = 0x10000 + ((r - 0xD800) << 10) + (low - 0xDC00);
            p += 6;
        }
    }
    *to += utf8_encode((uint32_t)r, *to);
    return p;
}

/* The slow way: escapes, or bytes that are no UTF-8 (read as U+FFFD). */
static bool unquote(struct decoder *d, const char *from, const char *to, star_v *out)
{
    char *text = malloc((size_t)(to - from) * 3 + 1), *t = text;
    if (!text)
        return no_memory(d);
    while (from < to) {
        unsigned char c = (unsigned char)*from;
        if (c < 0x20) {
            free(text);
            return bad(d, "invalid character '\\x%02x' in string literal", c);
        }
        if (c == '\\') {
            from = unescape(from + 1, to, &t);
            if (!from) {
                free(text);
                return bad(d, "invalid escape in string literal");
            }
        } else if (c < 0x80) {
            *t++ = *from++;
        } else {
            size_t w;
            t += utf8_encode(utf8_decode(str_of(from, (size_t)(to - from)), &w), t);
            from += w;
        }
    }
    *out = star_string(d->arena, str_of(text, (size_t)(t - text)));
    free(text);
    return !star_is_null(*out) || no_memory(d);
}

static bool read_string(struct decoder *d, star_v *out)
{
    const char *from = d->p + 1, *p = from;
    bool plain = true;
    for (; p < d->end && *p != '"'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\\') {
            plain = false;
            p++;
        } else if (c < 0x20 || c >= 0x80) {
            plain = false;
        }
    }
    if (p >= d->end)
        return bad(d, "unclosed string literal");
    const char *start = d->p;
    if (plain) {
        *out = star_string(d->arena, str_of(from, (size_t)(p - from)));
        if (star_is_null(*out))
            return no_memory(d);
    } else if (!unquote(d, from, p, out)) {
        d->p = start;
        return false;
    }
    d->p = p + 1;
    return true;
}

static bool read_number(struct decoder *d, star_v *out)
{
    const char *from = d->p, *p = from + 1;
    bool is_float = false;
    for (; p < d->end; p++) {
        if (*p == '.' || *p == 'e' || *p == 'E' || *p == '+' || *p == '-')
            is_float = true;
        else if (*p < '0' || *p > '9')
            break;
    }
    struct str s = str_of(from, (size_t)(p - from)), digits = *from == '-' ? str_from_off(s, 1) : s;
    d->p = p;
    double f;
    bool leading_zero = digits.len > 1 && digits.ptr[0] == '0' && digits.ptr[1] >= '0' && digits.ptr[1] <= '9';
    if (digits.len == 0 || leading_zero)
        return bad(d, "invalid number: %.*s", (int)MIN(s.len, 100u), s.ptr);
    if (is_float) {
        if (digits.ptr[0] < '0' || digits.ptr[0] > '9' || !float_parse(s, &f) || !isfinite(f))
            return bad(d, "invalid number: %.*s", (int)MIN(s.len, 100u), s.ptr);
        *out = float_v(d->arena, f);
    } else {
        *out = int_parse(d->arena, digits, 10, *from == '-');
    }
    return !star_is_null(*out) || no_memory(d);
}

static bool read_word(struct decoder *d, const char *word, star_v v, star_v *out)
{
    size_t n = strlen(word);
    if ((size_t)(d->end - d->p) < n || memcmp(d->p, word, n) != 0)
        return bad(d, "unexpected character %s", show((unsigned char)*d->p));
    d->p += n;
    *out = v;
    return true;
}

static bool read_scalar(struct decoder *d, int c, star_v *out)
{
    switch (c) {
    case -1: return bad(d, "unexpected end of file");
    case '"': return read_string(d, out);
    case 'n': return read_word(d, "null", STAR_NONE, out);
    case 't': return read_word(d, "true", STAR_TRUE, out);
    case 'f': return read_word(d, "false", STAR_FALSE, out);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return read_number(d, out);
        return bad(d, "unexpected character %s", show(c));
    }
}

static bool open_container(struct decoder *d, star_v v)
{
    if (star_is_null(v))
        return no_memory(d);
    if (d->n + 2 > 2 * (size_t)MAX_DEPTH)
        return bad(d, "nesting depth limit exceeded");
    if (d->n + 2 > d->cap) {
        d->cap = d->cap ? d->cap * 2 : 32;
        d->stack = xrealloc(d->stack, d->cap * sizeof *d->stack);
    }
    d->stack[d->n++] = v;
    return true;
}

/* The key before a dict's next value; it waits on the stack. */
static bool read_key(struct decoder *d)
{
    star_v key;
    int c = peek(d);
    if (c != '"') {
        const char *type = c == '{' ? "dict" : c == '[' ? "list" : c == 'n' ? "NoneType" : c == 't' || c == 'f' ? "bool" : c == '-' || (c >= '0' && c <= '9') ? "int" : NULL;
        if (c < 0)
            return bad(d, "unexpected end of file");
        return type ? bad(d, "got %s for object key, want string", type) : bad(d, "unexpected character %s", show(c));
    }
    if (!read_string(d, &key))
        return false;
    c = peek(d);
    if (c < 0)
        return bad(d, "unexpected end of file");
    if (c != ':')
        return bad(d, "after object key, got %s, want ':' ", show(c));
    d->p++;
    d->stack[d->n++] = key;
    return true;
}

/* A complete value goes to the innermost container; then what follows it may close containers. True in *done
 * when the outermost value is complete. */
static bool place(struct decoder *d, star_v v, bool *done)
{
    for (;;) {
        if (d->n == 0) {
            d->stack = d->stack ? d->stack : xmalloc(sizeof *d->stack);
            d->stack[0] = v;
            *done = true;
            return true;
        }
        bool in_list = is_type(d->stack[d->n - 1], O_LIST);
        star_v box = in_list ? d->stack[d->n - 1] : d->stack[d->n - 2];
        if (in_list) {
            if (!list_push(d->arena, LIST_OBJ(box), v))
                return no_memory(d);
        } else {
            star_v key = d->stack[--d->n];
            if (!dict_put(d->arena, DICT_OBJ(box), key, string_hash(key), v, NULL))
                return no_memory(d);
        }
        int c = peek(d);
        if (c < 0)
            return bad(d, "unexpected end of file");
        if (c == ',') {
            d->p++;
            return in_list || read_key(d);
        }
        if (c != (in_list ? ']' : '}'))
            return in_list ? bad(d, "got %s, want ',' or ']'", show(c)) : bad(d, "in object, got %s, want ',' or '}'", show(c));
        d->p++;
        v = d->stack[--d->n];
    }
}

static bool decode(struct decoder *d)
{
    bool done = false;
    while (!done) {
        star_v v;
        int c = peek(d);
        if (c == '[' || c == '{') {
            v = c == '[' ? obj_or_null(list_new(d->arena, 0)) : obj_or_null(dict_new(d->arena, 0, O_DICT));
            d->p++;
            if (peek(d) == (c == '[' ? ']' : '}')) {
                d->p++;
                if (star_is_null(v))
                    return no_memory(d);
            } else {
                if (!open_container(d, v) || (c == '{' && !read_key(d)))
                    return false;
                continue;
            }
        } else if (!read_scalar(d, c, &v)) {
            return false;
        }
        if (!place(d, v, &done))
            return false;
    }
    int c = peek(d);
    return c < 0 || bad(d, "unexpected character %s after value", show(c));
}

bool star_json_decode(struct arena *a, struct str text, star_v *out, struct err *err)
{
    struct decoder d = {.arena = a, .start = text.ptr, .p = text.ptr, .end = text.ptr + text.len, .err = err};
    if (!text.ptr)
        d.start = d.p = d.end = "";
    bool ok = decode(&d);
    if (ok)
        *out = d.stack[0];
    free(d.stack);
    return ok;
}
