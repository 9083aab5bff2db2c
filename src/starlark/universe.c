/* starlark/universe.c: the functions that every program has.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

#define NAME(call) STR_ARG((call)->name)

static enum star_ret result(star_v v, star_v *out)
{
    *out = v;
    return STAR_OK;
}

/* The argument checks of the functions that have their own wording. */
static bool no_keywords(struct star_run *run, const struct star_call *call)
{
    return call->nkw == 0 || FAIL_FALSE(run, STR_FMT " does not accept keyword arguments", NAME(call));
}
static bool exactly_one(struct star_run *run, const struct star_call *call, const char *want)
{
    return no_keywords(run, call) &&
           (call->npos == 1 || FAIL_FALSE(run, STR_FMT ": got %zu arguments, want %s", NAME(call), call->npos, want));
}
static bool want_iterable(struct star_run *run, const struct star_call *call, star_v v)
{
    return star_is_iterable(v) || FAIL_FALSE(run, STR_FMT ": for parameter 1: got %s, want iterable", NAME(call), star_type_name(v));
}

static enum star_ret printed(struct star_run *run, star_v v, int flags, star_v *out)
{
    const char *why;
    scoped_buf b = BUF_INIT(text_max(run));
    if (!value_print(&b, v, flags, &why))
        return why ? star_fail(run, "%s", why) : memory_fail(run);
    if (!star_charge(run, b.len / 64))
        return STAR_FAIL;
    return result(star_string(run->arena, buf_str(&b)), out);
}

static enum star_ret f_abs(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    if (is_any_int(a[0]))
        return result(int_sign(a[0]) < 0 ? int_neg(run->arena, a[0]) : a[0], out);
    if (is_float(a[0]))
        return result(float_v(run->arena, fabs(float_of(a[0]))), out);
    return star_fail(run, "got %s, want int or float", star_type_name(a[0]));
}

static enum star_ret any_all(struct star_run *run, const struct star_call *call, star_v *out, bool stop)
{
    star_v a[1], x;
    struct iter it;
    if (!star_unpack_pos(run, call, 1, 1, a) || !want_iterable(run, call, a[0]) || !iter_begin(run, &it, a[0]))
        return STAR_FAIL;
    *out = star_bool(!stop);
    bool ok = true;
    for (size_t i = 0; ok && iter_next(run, &it, &x); i++) {
        if (star_truth(x) == stop) {
            *out = star_bool(stop);
            break;
        }
        ok = (i & 255) != 0 || star_charge(run, 8);
    }
    iter_end(&it);
    return ok && !run->has_msg ? STAR_OK : STAR_FAIL;
}
static enum star_ret f_any(struct star_run *run, const struct star_call *call, star_v *out)
{
    return any_all(run, call, out, true);
}
static enum star_ret f_all(struct star_run *run, const struct star_call *call, star_v *out)
{
    return any_all(run, call, out, false);
}

static enum star_ret f_bool(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 0, 1, a))
        return STAR_FAIL;
    return result(star_bool(!star_is_null(a[0]) && star_truth(a[0])), out);
}

/* Bytes that are no UTF-8 become U+FFFD. */
static bool transcode(struct buf *b, struct str s)
{
    if (str_is_utf8(s))
        return buf_add_str(b, s);
    for (size_t i = 0, w; i < s.len; i += w) {
        char text[4];
        buf_add(b, text, utf8_encode(utf8_decode(str_of(s.ptr + i, s.len - i), &w), text));
    }
    return !b->is_full;
}

static enum star_ret bytes_of_ints(struct star_run *run, star_v v, star_v *out)
{
    scoped_buf b = BUF_INIT(text_max(run));
    struct iter it;
    star_v x;
    bool ok = true;
    if (!iter_begin(run, &it, v))
        return STAR_FAIL;
    for (size_t i = 0; ok && iter_next(run, &it, &x); i++) {
        int64_t n;
        if (!is_any_int(x))
            ok = FAIL_FALSE(run, "bytes: at index %zu, got %s, want int", i, star_type_name(x));
        else if (!star_to_i64(x, &n) || n < 0 || n > 255)
            ok = FAIL_FALSE(run, "bytes: at index %zu, %s out of range (want value in unsigned 8-bit range)", i, msg_repr(run, x));
        else
            ok = buf_add_char(&b, (char)n) && ((i & 255) || star_charge(run, 8));
    }
    iter_end(&it);
    if (!ok || run->has_msg)
        return run->has_msg ? STAR_FAIL : memory_fail(run);
    return result(star_bytes(run->arena, buf_str(&b)), out);
}

static enum star_ret f_bytes(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!exactly_one(run, call, "exactly 1"))
        return STAR_FAIL;
    star_v x = call->pos[0];
    if (is_type(x, O_BYTES))
        return result(x, out);
    if (is_string(x)) {
        scoped_buf b = BUF_INIT(text_max(run));
        if (!transcode(&b, str_of_v(x)))
            return memory_fail(run);
        return result(star_bytes(run->arena, buf_str(&b)), out);
    }
    if (star_is_iterable(x))
        return bytes_of_ints(run, x, out);
    return star_fail(run, "bytes: got %s, want string, bytes, or iterable of ints", star_type_name(x));
}

static enum star_ret f_chr(struct star_run *run, const struct star_call *call, star_v *out)
{
    int64_t i;
    char text[4];
    if (!exactly_one(run, call, "1"))
        return STAR_FAIL;
    if (!is_any_int(call->pos[0]))
        return star_fail(run, "chr: got %s, want int", star_type_name(call->pos[0]));
    if (!star_to_i64(call->pos[0], &i))
        return star_fail(run, "chr: %s out of range", msg_repr(run, call->pos[0]));
    if (i < 0)
        return star_fail(run, "chr: Unicode code point %lld out of range (<0)", (long long)i);
    if (i > 0x10FFFF)
        return star_fail(run, "chr: Unicode code point U+%llX out of range (>0x10FFFF)", (unsigned long long)i);
    return result(star_string(run->arena, str_of(text, utf8_encode((uint32_t)i, text))), out);
}

static enum star_ret f_dict(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (call->npos > 1)
        return star_fail(run, "dict: got %zu arguments, want at most 1", call->npos);
    struct dict_obj *d = dict_new(run->arena, call->nkw, O_DICT);
    if (!d)
        return memory_fail(run);
    if (!dict_update_args(run, d, call))
        return prefix_failure(run, call->name);
    return result(obj_v(d), out);
}

static enum star_ret f_dir(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct str names[256];
    if (!exactly_one(run, call, "1"))
        return STAR_FAIL;
    size_t n = attr_names(call->pos[0], names, ARRAY_LEN(names));
    str_sort(names, n);
    struct list_obj *l = list_new(run->arena, n);
    for (size_t i = 0; l && i < n; i++) {
        star_v s = star_string(run->arena, names[i]);
        if (star_is_null(s))
            return memory_fail(run);
        l->items[l->len++] = s;
    }
    return result(obj_or_null(l), out);
}

static enum star_ret f_enumerate(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2], *items;
    size_t n;
    int64_t start = 0;
    if (!star_unpack_pos(run, call, 1, 2, a) || !want_iterable(run, call, a[0]) ||
        (!star_is_null(a[1]) && !arg_int(run, call, a[1], 1, &start)) || !iter_collect(run, a[0], &items, &n))
        return STAR_FAIL;
    /* The pairs replace the items in the array that is the result's own. */
    for (size_t i = 0; i < n; i++) {
        struct tuple_obj *t = tuple_new(run->arena, 2);
        if (!t)
            return memory_fail(run);
        t->items[0] = int_v(run->arena, start + (int64_t)i);
        t->items[1] = items[i];
        items[i] = obj_v(t);
    }
    return result(list_adopt(run, items, n), out);
}

star_v list_adopt(struct star_run *run, star_v *items, size_t n)
{
    struct list_obj *l = list_new(run->arena, 0);
    if (!l)
        return STAR_NULL;
    l->items = items;
    l->len = l->cap = (uint32_t)n;
    return obj_v(l);
}

/* Arguments of print and fail, joined by sep. */
static bool join_args(struct star_run *run, const struct star_call *call, struct buf *b)
{
    static const struct star_param params[] = {{"sep", STAR_STR, STAR_OPTIONAL}};
    struct star_call kw = *call;
    star_v sep = STAR_NULL;
    struct str between = STR(" ");
    kw.npos = 0;
    if (!star_unpack(run, &kw, params, 1, &sep))
        return false;
    star_to_str(sep, &between);
    for (size_t i = 0; i < call->npos; i++) {
        const char *why = NULL;
        if (i > 0)
            buf_add_str(b, between);
        if (is_type(call->pos[i], O_BYTES) && str_eq(call->name, STR("print")))
            buf_add_str(b, str_of_v(call->pos[i]));
        else if (!value_print(b, call->pos[i], PRINT_STR, &why) && why)
            return FAIL_FALSE(run, "%s", why);
    }
    return !b->is_full || (memory_fail(run), false);
}

static enum star_ret f_fail(struct star_run *run, const struct star_call *call, star_v *out)
{
    (void)out;
    scoped_buf b = BUF_INIT(text_max(run));
    buf_add_z(&b, "fail: ");
    if (!join_args(run, call, &b))
        return STAR_FAIL;
    return star_fail_str(run, buf_str(&b));
}

static enum star_ret f_print(struct star_run *run, const struct star_call *call, star_v *out)
{
    scoped_buf b = BUF_INIT(text_max(run));
    if (!join_args(run, call, &b) || !star_charge(run, b.len / 64))
        return STAR_FAIL;
    if (run->print)
        run->print(run, run->print_ctx, buf_str(&b));
    else
        fprintf(stderr, STR_FMT "\n", STR_ARG(buf_str(&b)));
    return result(STAR_NONE, out);
}

static bool is_word(struct str s, const char *word)
{
    if (s.len > 0 && (s.ptr[0] == '+' || s.ptr[0] == '-'))
        s = str_from_off(s, 1);
    return str_eq_nocase(s, str_from(word));
}

static enum star_ret float_of_string(struct star_run *run, struct str s, star_v *out)
{
    double d;
    bool neg = s.len > 0 && s.ptr[0] == '-';
    if (s.len == 0)
        return star_fail(run, "float: empty string");
    if (is_word(s, "inf") || is_word(s, "infinity"))
        return result(float_v(run->arena, neg ? -INFINITY : INFINITY), out);
    if (is_word(s, "nan"))
        return result(float_v(run->arena, NAN), out);
    if (!float_parse(s, &d))
        return star_fail(run, "invalid float literal: " STR_FMT, STR_ARG(s));
    if (isinf(d))
        return star_fail(run, "floating-point number too large");
    return result(float_v(run->arena, d), out);
}

static enum star_ret f_float(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!no_keywords(run, call))
        return STAR_FAIL;
    if (call->npos == 0)
        return result(float_v(run->arena, 0.0), out);
    if (call->npos != 1)
        return star_fail(run, "float got %zu arguments, wants 1", call->npos);
    star_v x = call->pos[0];
    if (is_bool(x))
        return result(float_v(run->arena, x.bits == STAR_TRUE.bits), out);
    if (is_float(x))
        return result(x, out);
    if (is_any_int(x)) {
        double d = int_to_double(x);
        if (isinf(d))
            return star_fail(run, "int too large to convert to float");
        return result(float_v(run->arena, d), out);
    }
    if (is_string(x))
        return float_of_string(run, str_of_v(x), out);
    return star_fail(run, "float got %s, want number or string", star_type_name(x));
}

static enum star_ret f_getattr(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[3];
    struct str name;
    if (!star_unpack_pos(run, call, 2, 3, a) || !arg_str(run, call, a[1], 1, &name))
        return STAR_FAIL;
    enum star_ret r = get_attr(run, a[0], name, out);
    if (r == STAR_OK)
        return STAR_OK;
    if (!star_is_null(a[2]) && run->why == STAR_ERR_RAISED) {
        run->has_msg = false;
        return result(a[2], out);
    }
    if (r == STAR_FAIL)
        return prefix_failure(run, call->name);
    if (is_type(a[0], O_HOST) && HOST_OBJ(a[0])->type->no_attr) {
        HOST_OBJ(a[0])->type->no_attr(run, HOST_OBJ(a[0])->self, name);
        return prefix_failure(run, call->name);
    }
    return star_fail(run, "getattr: %s has no ." STR_FMT " %s", star_type_name(a[0]), STR_ARG(name),
                     is_type(a[0], O_STRUCT) ? "attribute" : "field or method");
}

static enum star_ret f_hasattr(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2], v = STAR_NULL;
    struct str name, names[256];
    if (!star_unpack_pos(run, call, 2, 2, a) || !arg_str(run, call, a[1], 1, &name))
        return STAR_FAIL;
    enum star_ret r = get_attr(run, a[0], name, &v);
    bool has = r == STAR_OK;
    if (r == STAR_FAIL && run->why == STAR_ERR_RAISED) {
        /* It may be there and have failed to compute. */
        run->has_msg = false;
        size_t n = attr_names(a[0], names, ARRAY_LEN(names));
        for (size_t i = 0; i < n; i++)
            has = has || str_eq(names[i], name);
    }
    return result(star_bool(has), out);
}

/* The same on every run, so not the hash of dicts: Java's for strings, FNV-1a for bytes. */
static enum star_ret f_hash(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    if (is_string(a[0])) {
        struct str s = str_of_v(a[0]);
        uint32_t h = 0;
        for (size_t i = 0, w; i < s.len; i += w)
            h = 31 * h + utf8_decode(str_of(s.ptr + i, s.len - i), &w);
        return star_charge(run, s.len / 128) ? result(small_int((int32_t)h), out) : STAR_FAIL;
    }
    if (is_type(a[0], O_BYTES)) {
        struct str s = str_of_v(a[0]);
        uint32_t h = 2166136261u;
        for (size_t i = 0; i < s.len; i++)
            h = (h ^ (unsigned char)s.ptr[i]) * 16777619u;
        return star_charge(run, s.len / 128) ? result(small_int(h), out) : STAR_FAIL;
    }
    return star_fail(run, "hash: got %s, want string or bytes", star_type_name(a[0]));
}

/* int(s, base): sign, optional prefix of the base, digits. Null: invalid. */
static star_v parse_int(struct arena *a, struct str s, int base)
{
    bool neg = s.len > 0 && s.ptr[0] == '-';
    if (neg || (s.len > 0 && s.ptr[0] == '+'))
        s = str_from_off(s, 1);
    if (s.len > 1 && s.ptr[0] == '0') {
        int letter = s.len > 2 ? s.ptr[1] | 0x20 : 0;
        int prefix = letter == 'o' ? 8 : letter == 'x' ? 16 : letter == 'b' ? 2 : 0;
        if (prefix != 0 && (base == 0 || base == prefix)) {
            base = prefix;
            s = str_from_off(s, 2);
        } else if (prefix == 0 && base == 0) {
            for (size_t i = 0; i < s.len; i++)
                if (s.ptr[i] != '0')
                    return STAR_NULL;
        }
    }
    return int_parse(a, s, base ? base : 10, neg);
}

static enum star_ret f_int(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {{"x", STAR_ANY, 0}, {"base", STAR_ANY, STAR_OPTIONAL}};
    star_v a[2] = {small_int(0), STAR_NULL};
    int64_t base = 10;
    if (!star_unpack(run, call, params, 2, a))
        return STAR_FAIL;
    if (is_string(a[0])) {
        if (!star_is_null(a[1])) {
            if (!star_to_i64(a[1], &base))
                return star_fail(run, "int: for base, got %s, want int", star_type_name(a[1]));
            if (base != 0 && (base < 2 || base > 36))
                return star_fail(run, "int: base must be an integer >= 2 && <= 36");
        }
        struct str s = str_of_v(a[0]);
        if (!star_charge(run, s.len / 16))
            return STAR_FAIL;
        *out = parse_int(run->arena, s, (int)base);
        if (star_is_null(*out))
            return star_fail(run, "int: invalid literal with base %lld: %.*s", (long long)base, (int)MIN(s.len, 1000u), s.ptr);
        return STAR_OK;
    }
    if (!star_is_null(a[1]))
        return star_fail(run, "int: can't convert non-string with explicit base");
    if (is_bool(a[0]))
        return result(small_int(a[0].bits == STAR_TRUE.bits), out);
    if (is_any_int(a[0]))
        return result(a[0], out);
    if (!is_float(a[0]))
        return star_fail(run, "int: cannot convert %s to int", star_type_name(a[0]));
    double d = float_of(a[0]);
    if (!isfinite(d))
        return star_fail(run, "int: cannot convert float %s to integer", isnan(d) ? "NaN" : "infinity");
    return result(int_from_double(run->arena, d), out);
}

static star_v fast_len(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    int64_t len = n == 1 ? value_len(args[0]) : -1;
    return len >= 0 ? int_v(run->arena, len) : STAR_NULL;
}
static enum star_ret f_len(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    int64_t n = value_len(a[0]);
    if (n < 0)
        return star_fail(run, "len: value of type %s has no len", star_type_name(a[0]));
    return result(star_int(run->arena, n), out);
}

static enum star_ret f_list(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1], *items = NULL;
    size_t n = 0;
    if (!star_unpack_pos(run, call, 0, 1, a) ||
        (!star_is_null(a[0]) && (!want_iterable(run, call, a[0]) || !iter_collect(run, a[0], &items, &n))))
        return STAR_FAIL;
    return result(list_adopt(run, items, n), out);
}

static enum star_ret f_tuple(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1], *items = NULL;
    size_t n = 0;
    if (!star_unpack_pos(run, call, 0, 1, a))
        return STAR_FAIL;
    if (is_type(a[0], O_TUPLE))
        return result(a[0], out);
    if (!star_is_null(a[0]) && (!want_iterable(run, call, a[0]) || !iter_collect(run, a[0], &items, &n)))
        return STAR_FAIL;
    return result(star_tuple(run->arena, items, n), out);
}

static enum star_ret f_reversed(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1], *items;
    size_t n;
    if (!star_unpack_pos(run, call, 1, 1, a) || !want_iterable(run, call, a[0]) || !iter_collect(run, a[0], &items, &n))
        return STAR_FAIL;
    for (size_t i = 0; i < n / 2; i++) {
        star_v t = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = t;
    }
    return result(list_adopt(run, items, n), out);
}

static enum star_ret f_set(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 0, 1, a) || (!star_is_null(a[0]) && !want_iterable(run, call, a[0])))
        return STAR_FAIL;
    struct dict_obj *s = dict_new(run->arena, 0, O_SET);
    if (!s)
        return memory_fail(run);
    if (!star_is_null(a[0]) && !set_add_items(run, s, a[0]))
        return prefix_failure(run, call->name);
    return result(obj_v(s), out);
}

static enum star_ret f_ord(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!exactly_one(run, call, "1"))
        return STAR_FAIL;
    star_v x = call->pos[0];
    if (is_string(x)) {
        struct str s = str_of_v(x);
        size_t w = 0;
        uint32_t r = s.len > 0 ? utf8_decode(s, &w) : 0;
        if (w == 0 || w != s.len)
            return star_fail(run, "ord: string encodes %zu Unicode code points, want 1", utf8_count(s));
        return result(small_int(r), out);
    }
    if (is_type(x, O_BYTES)) {
        if (STR_OBJ(x)->len != 1)
            return star_fail(run, "ord: bytes has length %u, want 1", STR_OBJ(x)->len);
        return result(small_int((unsigned char)STR_OBJ(x)->ptr[0]), out);
    }
    return star_fail(run, "ord: got %s, want string or bytes", star_type_name(x));
}

static star_v fast_range(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    if (n == 1 && is_int(args[0]))
        return range_new(run->arena, 0, int_of(args[0]), 1);
    if (n == 2 && both_int(args[0], args[1]))
        return range_new(run->arena, int_of(args[0]), int_of(args[1]), 1);
    return STAR_NULL;
}
static enum star_ret f_range(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[3];
    int64_t i[3] = {0, 0, 1};
    if (!star_unpack_pos(run, call, 1, 3, a))
        return STAR_FAIL;
    for (size_t k = 0; k < call->npos; k++)
        if (!arg_int(run, call, a[k], k, &i[k]))
            return STAR_FAIL;
    if (call->npos == 1) {
        i[1] = i[0];
        i[0] = 0;
    }
    if (i[2] == 0)
        return star_fail(run, "range: step argument must not be zero");
    return result(range_new(run->arena, i[0], i[1], i[2]), out);
}

static enum star_ret f_repr(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    return star_unpack_pos(run, call, 1, 1, a) ? printed(run, a[0], 0, out) : STAR_FAIL;
}

static star_v fast_str(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    if (n != 1)
        return STAR_NULL;
    if (is_string(args[0]))
        return args[0];
    if (!is_int(args[0]))
        return STAR_NULL;
    char text[24];
    size_t at = sizeof text;
    int64_t i = int_of(args[0]);
    uint64_t u = i < 0 ? -(uint64_t)i : (uint64_t)i;
    do
        text[--at] = (char)('0' + u % 10);
    while ((u /= 10) > 0);
    if (i < 0)
        text[--at] = '-';
    return star_string(run->arena, str_of(text + at, sizeof text - at));
}
static enum star_ret f_str(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!exactly_one(run, call, "exactly 1"))
        return STAR_FAIL;
    star_v x = call->pos[0];
    if (is_string(x))
        return result(x, out);
    if (is_type(x, O_BYTES)) {
        scoped_buf b = BUF_INIT(text_max(run));
        if (!transcode(&b, str_of_v(x)))
            return memory_fail(run);
        return result(star_string(run->arena, buf_str(&b)), out);
    }
    return printed(run, x, PRINT_STR, out);
}

/* type() of what is built in needs no memory: the names are static strings, by kind. */
static struct str_obj kind_names[STAR_KIND_OTHER] __attribute__((aligned(16)));

__attribute__((constructor)) static void make_kind_names(void)
{
    static const char *const names[STAR_KIND_OTHER] = {
        [STAR_KIND_NONE] = "NoneType", [STAR_KIND_BOOL] = "bool", [STAR_KIND_INT] = "int", [STAR_KIND_FLOAT] = "float",
        [STAR_KIND_STRING] = "string", [STAR_KIND_BYTES] = "bytes", [STAR_KIND_LIST] = "list", [STAR_KIND_TUPLE] = "tuple",
        [STAR_KIND_DICT] = "dict", [STAR_KIND_SET] = "set", [STAR_KIND_RANGE] = "range", [STAR_KIND_FUNCTION] = "function",
        [STAR_KIND_BUILTIN] = "builtin_function_or_method",
    };
    for (int i = 0; i < STAR_KIND_OTHER; i++)
        if (names[i])
            kind_names[i] = (struct str_obj){.h = {.type = O_STRING, .frozen = 1}, .len = (uint32_t)strlen(names[i]), .ptr = names[i]};
}

static star_v type_of(struct star_run *run, star_v v)
{
    enum star_kind k = star_kind(v);
    if (k < STAR_KIND_OTHER && kind_names[k].ptr)
        return obj_v(&kind_names[k]);
    return star_string_borrow(run->arena, str_from(star_type_name(v)));
}

static enum star_ret f_type(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!exactly_one(run, call, "exactly 1"))
        return STAR_FAIL;
    return result(type_of(run, call->pos[0]), out);
}
static star_v fast_type(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return n == 1 ? type_of(run, args[0]) : STAR_NULL;
}

/* ---- the commonest arguments of common functions ---- */

static star_v fast_abs(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    if (n != 1 || !is_int(args[0]))
        return STAR_NULL;
    int64_t i = int_of(args[0]);
    return int_v(run->arena, i < 0 ? -i : i);
}
static star_v fast_bool(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return n == 1 ? star_bool(star_truth(args[0])) : STAR_NULL;
}
static star_v fast_ord(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    if (n != 1 || !is_string(args[0]) || STR_OBJ(args[0])->len != 1 || (unsigned char)STR_OBJ(args[0])->ptr[0] >= 0x80)
        return STAR_NULL;
    return small_int((unsigned char)STR_OBJ(args[0])->ptr[0]);
}
static star_v fast_int(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    if (n != 1)
        return STAR_NULL;
    if (is_int(args[0]))
        return args[0];
    if (!is_string(args[0]))
        return STAR_NULL;
    struct str s = str_of_v(args[0]);
    if (s.len == 0 || s.len > 17)
        return STAR_NULL;
    int64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return STAR_NULL;
        v = v * 10 + (s.ptr[i] - '0');
    }
    return small_int(v);
}
static star_v fast_min(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return fast_minmax(run, args, n, false);
}
static star_v fast_max(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return fast_minmax(run, args, n, true);
}

static enum star_ret f_zip(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!no_keywords(run, call))
        return STAR_FAIL;
    size_t cols = call->npos, rows = SIZE_MAX;
    star_v **items = star_alloc(run->arena, (cols + 1) * sizeof *items);
    if (!items)
        return memory_fail(run);
    for (size_t c = 0; c < cols; c++)
        if (!star_is_iterable(call->pos[c]))
            return star_fail(run, "zip: argument #%zu is not iterable: %s", c + 1, star_type_name(call->pos[c]));
    for (size_t c = 0; c < cols; c++) {
        size_t n;
        if (!iter_collect(run, call->pos[c], &items[c], &n))
            return STAR_FAIL;
        rows = MIN(rows, n);
    }
    if (cols == 0)
        rows = 0;
    struct list_obj *l = list_new(run->arena, rows);
    if (!l || !star_charge(run, rows / 8 * cols))
        return STAR_FAIL;
    for (size_t r = 0; r < rows; r++) {
        struct tuple_obj *t = tuple_new(run->arena, cols);
        if (!t)
            return memory_fail(run);
        for (size_t c = 0; c < cols; c++)
            t->items[c] = items[c][r];
        l->items[l->len++] = obj_v(t);
    }
    return result(obj_v(l), out);
}

_Alignas(16) static struct builtin_obj builtins[] = {
    BUILTIN_INIT("abs", f_abs, fast_abs), BUILTIN_INIT("all", f_all, NULL), BUILTIN_INIT("any", f_any, NULL),
    BUILTIN_INIT("bool", f_bool, fast_bool), BUILTIN_INIT("bytes", f_bytes, NULL), BUILTIN_INIT("chr", f_chr, NULL),
    BUILTIN_INIT("dict", f_dict, NULL), BUILTIN_INIT("dir", f_dir, NULL), BUILTIN_INIT("enumerate", f_enumerate, NULL),
    BUILTIN_INIT("fail", f_fail, NULL), BUILTIN_INIT("float", f_float, NULL), BUILTIN_INIT("getattr", f_getattr, NULL),
    BUILTIN_INIT("hasattr", f_hasattr, NULL), BUILTIN_INIT("hash", f_hash, NULL), BUILTIN_INIT("int", f_int, fast_int),
    BUILTIN_INIT("len", f_len, fast_len), BUILTIN_INIT("list", f_list, NULL), BUILTIN_INIT("max", star_minmax, fast_max),
    BUILTIN_INIT("min", star_minmax, fast_min), BUILTIN_INIT("ord", f_ord, fast_ord), BUILTIN_INIT("print", f_print, NULL),
    BUILTIN_INIT("range", f_range, fast_range), BUILTIN_INIT("repr", f_repr, NULL),
    BUILTIN_INIT("reversed", f_reversed, NULL), BUILTIN_INIT("set", f_set, NULL), BUILTIN_INIT("sorted", star_sorted, NULL),
    BUILTIN_INIT("str", f_str, fast_str), BUILTIN_INIT("tuple", f_tuple, NULL), BUILTIN_INIT("type", f_type, fast_type),
    BUILTIN_INIT("zip", f_zip, NULL),
};
static const struct {
    struct str name;
    star_v value;
} constants[] = {{STR_INIT("None"), {0x07}}, {STR_INIT("False"), {0x0b}}, {STR_INIT("True"), {0x0f}}};

star_v universe_get(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(constants); i++)
        if (str_eq(constants[i].name, name))
            return constants[i].value;
    for (size_t i = 0; i < ARRAY_LEN(builtins); i++)
        if (str_eq(builtins[i].name, name))
            return obj_v(&builtins[i]);
    return STAR_NULL;
}

size_t universe_names(struct str *names, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(constants) && n < max; i++)
        names[n++] = constants[i].name;
    for (size_t i = 0; i < ARRAY_LEN(builtins) && n < max; i++)
        names[n++] = builtins[i].name;
    return n;
}
