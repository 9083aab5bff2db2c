/* starlark/string.c: the methods of string and bytes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <ctype.h>

#define NAME(call) STR_ARG((call)->name)

static struct str self(const struct star_call *call)
{
    return str_of_v(call->recv);
}

bool arg_str(struct star_run *run, const struct star_call *call, star_v v, size_t i, struct str *out)
{
    if (star_to_str(v, out))
        return true;
    return FAIL_FALSE(run, STR_FMT ": for parameter %zu: got %s, want string", NAME(call), i + 1, star_type_name(v));
}

bool arg_int(struct star_run *run, const struct star_call *call, star_v v, size_t i, int64_t *out)
{
    if (!is_any_int(v))
        return FAIL_FALSE(run, STR_FMT ": for parameter %zu: got %s, want int", NAME(call), i + 1, star_type_name(v));
    if (!star_to_i64(v, out))
        return FAIL_FALSE(run, STR_FMT ": for parameter %zu: %s out of range (want value in signed 64-bit range)", NAME(call),
                          i + 1, msg_repr(run, v));
    return true;
}

/* Puts "name: " before the message of the failure just raised. */
static enum star_ret named_failure(struct star_run *run, const struct star_call *call)
{
    scoped_buf b = BUF_INIT(8192);
    buf_printf(&b, STR_FMT ": " STR_FMT, NAME(call), STR_ARG(run->msg));
    run->has_msg = false;
    return star_fail_str(run, buf_str(&b));
}

static enum star_ret result(star_v v, star_v *out)
{
    *out = v;
    return STAR_OK;
}

static enum star_ret from_buf(struct star_run *run, const struct buf *b, star_v *out)
{
    if (b->is_full)
        return memory_fail(run);
    return result(star_string(run->arena, buf_str(b)), out);
}

/* Buffers never outgrow what the arena may still take. */
size_t text_max(const struct star_run *run)
{
    const struct arena *a = run->arena;
    size_t max = INT32_MAX;
    if (a->limit)
        max = MIN(max, a->limit > a->used ? a->limit - a->used + (size_t)(a->end - a->cur) : (size_t)(a->end - a->cur));
    return max;
}

/* ---- search ---- */

static size_t find_last(struct str s, struct str sub)
{
    if (sub.len > s.len)
        return STR_NPOS;
    for (size_t i = s.len - sub.len + 1; i-- > 0;)
        if (memcmp(s.ptr + i, sub.ptr, sub.len) == 0)
            return i;
    return STR_NPOS;
}

static size_t find_first(struct str s, struct str sub)
{
    if (sub.len == 0)
        return 0;
    if (sub.len > s.len)
        return STR_NPOS;
    const char *p = memmem(s.ptr, s.len, sub.ptr, sub.len);
    return p ? (size_t)(p - s.ptr) : STR_NPOS;
}

/* sub, and the part of the receiver that optional start and end leave. */
static bool sub_and_range(struct star_run *run, const struct star_call *call, struct str *sub, struct str *part, int64_t *from)
{
    star_v a[3];
    int64_t to;
    if (!star_unpack_pos(run, call, 1, 3, a) || !arg_str(run, call, a[0], 0, sub))
        return false;
    struct str s = self(call);
    if (!index_range(run, a[1], a[2], (int64_t)s.len, from, &to))
        return named_failure(run, call), false;
    *part = *from < to ? str_of(s.ptr + *from, (size_t)(to - *from)) : STR("");
    return star_charge(run, part->len / 256);
}

static enum star_ret find_impl(struct star_run *run, const struct star_call *call, star_v *out, bool last, bool must)
{
    struct str sub, part;
    int64_t from;
    if (!sub_and_range(run, call, &sub, &part, &from))
        return STAR_FAIL;
    size_t i = last ? find_last(part, sub) : find_first(part, sub);
    if (i != STR_NPOS)
        return result(small_int((int64_t)i + from), out);
    if (must)
        return star_fail(run, STR_FMT ": substring not found", NAME(call));
    return result(small_int(-1), out);
}

static enum star_ret string_find(struct star_run *run, const struct star_call *call, star_v *out)
{
    return find_impl(run, call, out, false, false);
}
static enum star_ret string_rfind(struct star_run *run, const struct star_call *call, star_v *out)
{
    return find_impl(run, call, out, true, false);
}
static enum star_ret string_index(struct star_run *run, const struct star_call *call, star_v *out)
{
    return find_impl(run, call, out, false, true);
}
static enum star_ret string_rindex(struct star_run *run, const struct star_call *call, star_v *out)
{
    return find_impl(run, call, out, true, true);
}

static enum star_ret string_count(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct str sub, part;
    int64_t from, n = 0;
    if (!sub_and_range(run, call, &sub, &part, &from))
        return STAR_FAIL;
    if (sub.len == 0)
        return result(small_int((int64_t)utf8_count(part) + 1), out);
    for (size_t i; (i = find_first(part, sub)) != STR_NPOS; n++)
        part = str_from_off(part, i + sub.len);
    return result(small_int(n), out);
}

static bool has_fix(struct str s, struct str fix, bool end)
{
    return end ? str_ends(s, fix) : str_starts(s, fix);
}

static enum star_ret starts_impl(struct star_run *run, const struct star_call *call, star_v *out, bool end)
{
    star_v a[3];
    int64_t from, to;
    if (!star_unpack_pos(run, call, 1, 3, a))
        return STAR_FAIL;
    struct str s = self(call), fix;
    if (!index_range(run, a[1], a[2], (int64_t)s.len, &from, &to))
        return named_failure(run, call);
    s = from < to ? str_of(s.ptr + from, (size_t)(to - from)) : STR("");
    if (star_to_str(a[0], &fix))
        return result(star_bool(has_fix(s, fix, end)), out);
    if (!is_type(a[0], O_TUPLE))
        return star_fail(run, STR_FMT ": got %s, want string or tuple of string", NAME(call), star_type_name(a[0]));
    *out = STAR_FALSE;
    for (uint32_t i = 0; i < TUPLE_OBJ(a[0])->h.aux; i++) {
        star_v x = TUPLE_OBJ(a[0])->items[i];
        if (!star_to_str(x, &fix))
            return star_fail(run, STR_FMT ": want string, got %s, for element %u", NAME(call), star_type_name(x), i);
        if (has_fix(s, fix, end))
            return result(STAR_TRUE, out);
    }
    return STAR_OK;
}
static enum star_ret string_startswith(struct star_run *run, const struct star_call *call, star_v *out)
{
    return starts_impl(run, call, out, false);
}
static enum star_ret string_endswith(struct star_run *run, const struct star_call *call, star_v *out)
{
    return starts_impl(run, call, out, true);
}
static star_v fast_startswith(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return n == 1 && is_string(args[0]) ? star_bool(str_starts(str_of_v(recv), str_of_v(args[0]))) : STAR_NULL;
}
static star_v fast_endswith(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return n == 1 && is_string(args[0]) ? star_bool(str_ends(str_of_v(recv), str_of_v(args[0]))) : STAR_NULL;
}

/* ---- case and classes ---- */

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    return true;
}

static bool no_args(struct star_run *run, const struct star_call *call)
{
    return star_unpack_pos(run, call, 0, 0, NULL);
}

enum case_op { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITALIZE };

static uint32_t map_rune(enum case_op op, uint32_t r, bool first, bool prev_cased)
{
    switch (op) {
    case CASE_UPPER: return uni_to_upper(r);
    case CASE_LOWER: return uni_to_lower(r);
    case CASE_TITLE: return prev_cased ? uni_to_lower(r) : uni_to_title(r);
    default: return first ? uni_to_title(r) : uni_to_lower(r);
    }
}

static star_v map_case(struct star_run *run, star_v v, enum case_op op)
{
    struct str s = str_of_v(v);
    if (!star_charge(run, s.len / 128))
        return STAR_NULL;
    if (op <= CASE_LOWER && is_ascii(s)) {
        if (s.len == 0)
            return v;
        char *p;
        struct str_obj *o = string_new(run->arena, s.len, &p);
        if (!o)
            return STAR_NULL;
        int lo = op == CASE_UPPER ? 'a' : 'A';
        for (size_t i = 0; i < s.len; i++)
            p[i] = (char)(s.ptr[i] ^ (((unsigned char)(s.ptr[i] - lo) < 26) << 5));
        return obj_v(o);
    }
    scoped_buf b = BUF_INIT(text_max(run));
    bool prev = false;
    for (size_t i = 0, w; i < s.len; i += w) {
        uint32_t r = utf8_decode(str_of(s.ptr + i, s.len - i), &w);
        uint32_t m = map_rune(op, r, i == 0, prev);
        char text[4];
        prev = uni_is_cased(m);
        buf_add(&b, text, utf8_encode(m, text));
    }
    return b.is_full ? STAR_NULL : star_string(run->arena, buf_str(&b));
}

static enum star_ret case_impl(struct star_run *run, const struct star_call *call, star_v *out, enum case_op op)
{
    if (!no_args(run, call))
        return STAR_FAIL;
    *out = map_case(run, call->recv, op);
    return STAR_OK;
}
static enum star_ret string_upper(struct star_run *run, const struct star_call *call, star_v *out)
{
    return case_impl(run, call, out, CASE_UPPER);
}
static enum star_ret string_lower(struct star_run *run, const struct star_call *call, star_v *out)
{
    return case_impl(run, call, out, CASE_LOWER);
}
static enum star_ret string_title(struct star_run *run, const struct star_call *call, star_v *out)
{
    return case_impl(run, call, out, CASE_TITLE);
}
static enum star_ret string_capitalize(struct star_run *run, const struct star_call *call, star_v *out)
{
    return case_impl(run, call, out, CASE_CAPITALIZE);
}
static star_v fast_upper(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return n == 0 ? map_case(run, recv, CASE_UPPER) : STAR_NULL;
}
static star_v fast_lower(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    return n == 0 ? map_case(run, recv, CASE_LOWER) : STAR_NULL;
}

static enum star_ret all_runes(struct star_run *run, const struct star_call *call, star_v *out, bool (*is)(uint32_t))
{
    if (!no_args(run, call))
        return STAR_FAIL;
    struct str s = self(call);
    *out = star_bool(s.len > 0);
    for (size_t i = 0, w; i < s.len; i += w)
        if (!is(utf8_decode(str_of(s.ptr + i, s.len - i), &w)))
            return result(STAR_FALSE, out);
    return STAR_OK;
}
static bool is_alnum(uint32_t r)
{
    return uni_is_letter(r) || uni_is_digit(r);
}
static enum star_ret string_isalnum(struct star_run *run, const struct star_call *call, star_v *out)
{
    return all_runes(run, call, out, is_alnum);
}
static enum star_ret string_isalpha(struct star_run *run, const struct star_call *call, star_v *out)
{
    return all_runes(run, call, out, uni_is_letter);
}
static enum star_ret string_isdigit(struct star_run *run, const struct star_call *call, star_v *out)
{
    return all_runes(run, call, out, uni_is_digit);
}
static enum star_ret string_isspace(struct star_run *run, const struct star_call *call, star_v *out)
{
    return all_runes(run, call, out, uni_is_space);
}

static enum star_ret is_case(struct star_run *run, const struct star_call *call, star_v *out, uint32_t (*map)(uint32_t))
{
    if (!no_args(run, call))
        return STAR_FAIL;
    struct str s = self(call);
    bool cased = false;
    for (size_t i = 0, w; i < s.len; i += w) {
        uint32_t r = utf8_decode(str_of(s.ptr + i, s.len - i), &w);
        cased = cased || uni_is_cased(r);
        if (map(r) != r)
            return result(STAR_FALSE, out);
    }
    return result(star_bool(cased), out);
}
static enum star_ret string_islower(struct star_run *run, const struct star_call *call, star_v *out)
{
    return is_case(run, call, out, uni_to_lower);
}
static enum star_ret string_isupper(struct star_run *run, const struct star_call *call, star_v *out)
{
    return is_case(run, call, out, uni_to_upper);
}

/* Upper case may only follow what has no case, lower case only what has. */
static enum star_ret string_istitle(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!no_args(run, call))
        return STAR_FAIL;
    struct str s = self(call);
    bool cased = false, prev = false;
    for (size_t i = 0, w; i < s.len; i += w) {
        uint32_t r = utf8_decode(str_of(s.ptr + i, s.len - i), &w);
        bool title = (r >= 'A' && r <= 'Z') || uni_is_title(r), lower = !title && uni_is_lower(r);
        if ((title && prev) || (lower && !prev) || (!title && !lower && uni_is_upper(r)))
            return result(STAR_FALSE, out);
        prev = title || lower;
        cased = cased || prev;
    }
    return result(star_bool(cased), out);
}

/* ---- strip, prefixes ---- */

static bool in_set(struct str set, uint32_t r)
{
    for (size_t i = 0, w; i < set.len; i += w)
        if (utf8_decode(str_of(set.ptr + i, set.len - i), &w) == r)
            return true;
    return false;
}

static uint32_t last_rune(struct str s, size_t *w)
{
    for (size_t back = 1; back <= 4 && back <= s.len; back++) {
        if (((unsigned char)s.ptr[s.len - back] & 0xC0) == 0x80)
            continue;
        size_t got;
        uint32_t r = utf8_decode(str_of(s.ptr + s.len - back, back), &got);
        if (got == back) {
            *w = back;
            return r;
        }
        break;
    }
    *w = 1;
    return 0xFFFD;
}

static enum star_ret strip_impl(struct star_run *run, const struct star_call *call, star_v *out, bool left, bool right)
{
    star_v a[1];
    struct str set = STR(""), s = self(call);
    if (!star_unpack_pos(run, call, 0, 1, a) || (!star_is_null(a[0]) && !arg_str(run, call, a[0], 0, &set)))
        return STAR_FAIL;
    size_t from = 0, to = s.len, w;
    while (left && from < to) {
        uint32_t r = utf8_decode(str_of(s.ptr + from, to - from), &w);
        if (!(set.len ? in_set(set, r) : uni_is_space(r)))
            break;
        from += w;
    }
    while (right && to > from) {
        uint32_t r = last_rune(str_of(s.ptr + from, to - from), &w);
        if (!(set.len ? in_set(set, r) : uni_is_space(r)))
            break;
        to -= w;
    }
    return result(string_slice(run->arena, call->recv, from, to, O_STRING), out);
}
static enum star_ret string_strip(struct star_run *run, const struct star_call *call, star_v *out)
{
    return strip_impl(run, call, out, true, true);
}
static enum star_ret string_lstrip(struct star_run *run, const struct star_call *call, star_v *out)
{
    return strip_impl(run, call, out, true, false);
}
static enum star_ret string_rstrip(struct star_run *run, const struct star_call *call, star_v *out)
{
    return strip_impl(run, call, out, false, true);
}

static enum star_ret removefix(struct star_run *run, const struct star_call *call, star_v *out, bool end)
{
    star_v a[1];
    struct str fix, s = self(call);
    if (!star_unpack_pos(run, call, 1, 1, a) || !arg_str(run, call, a[0], 0, &fix))
        return STAR_FAIL;
    if (!has_fix(s, fix, end))
        return result(call->recv, out);
    return result(string_slice(run->arena, call->recv, end ? 0 : fix.len, end ? s.len - fix.len : s.len, O_STRING), out);
}
static enum star_ret string_removeprefix(struct star_run *run, const struct star_call *call, star_v *out)
{
    return removefix(run, call, out, false);
}
static enum star_ret string_removesuffix(struct star_run *run, const struct star_call *call, star_v *out)
{
    return removefix(run, call, out, true);
}

/* ---- cutting and joining ---- */

static enum star_ret partition_impl(struct star_run *run, const struct star_call *call, star_v *out, bool last)
{
    star_v a[1], parts[3];
    struct str sep, s = self(call);
    if (!star_unpack_pos(run, call, 1, 1, a) || !arg_str(run, call, a[0], 0, &sep))
        return STAR_FAIL;
    if (sep.len == 0)
        return star_fail(run, STR_FMT ": empty separator", NAME(call));
    size_t i = last ? find_last(s, sep) : find_first(s, sep);
    parts[0] = parts[1] = parts[2] = obj_v(&empty_string);
    if (i == STR_NPOS) {
        parts[last ? 2 : 0] = call->recv;
    } else {
        parts[0] = string_slice(run->arena, call->recv, 0, i, O_STRING);
        parts[1] = a[0];
        parts[2] = string_slice(run->arena, call->recv, i + sep.len, s.len, O_STRING);
    }
    return result(star_tuple(run->arena, parts, 3), out);
}
static enum star_ret string_partition(struct star_run *run, const struct star_call *call, star_v *out)
{
    return partition_impl(run, call, out, false);
}
static enum star_ret string_rpartition(struct star_run *run, const struct star_call *call, star_v *out)
{
    return partition_impl(run, call, out, true);
}

static bool add_part(struct star_run *run, struct list_obj *l, star_v s, size_t from, size_t to)
{
    star_v part = string_slice(run->arena, s, from, to, O_STRING);
    return !star_is_null(part) && list_push(run->arena, l, part);
}

static bool split_sep(struct star_run *run, struct list_obj *l, star_v v, struct str sep, int64_t max)
{
    struct str s = str_of_v(v);
    size_t from = 0;
    for (; max != 0; max--) {
        size_t i = sep.len == 1 ? STR_NPOS : find_first(str_from_off(s, from), sep);
        if (sep.len == 1) {
            const char *p = from < s.len ? memchr(s.ptr + from, sep.ptr[0], s.len - from) : NULL;
            i = p ? (size_t)(p - s.ptr) - from : STR_NPOS;
        }
        if (i == STR_NPOS)
            break;
        if (!add_part(run, l, v, from, from + i))
            return false;
        from += i + sep.len;
    }
    return add_part(run, l, v, from, s.len);
}

static void reverse(struct list_obj *l)
{
    for (uint32_t i = 0, k = l->len; i + 1 < k; i++) {
        star_v t = l->items[i];
        l->items[i] = l->items[--k];
        l->items[k] = t;
    }
}

static bool rsplit_sep(struct star_run *run, struct list_obj *l, star_v v, struct str sep, int64_t max)
{
    struct str s = str_of_v(v);
    for (; max != 0; max--) {
        size_t i = find_last(s, sep);
        if (i == STR_NPOS)
            break;
        if (!add_part(run, l, v, i + sep.len, s.len))
            return false;
        s.len = i;
    }
    bool ok = add_part(run, l, v, 0, s.len);
    reverse(l);
    return ok;
}

static bool split_space(struct star_run *run, struct list_obj *l, star_v v, int64_t max)
{
    struct str s = str_of_v(v);
    size_t i = 0, w;
    for (;;) {
        while (i < s.len && uni_is_space(utf8_decode(str_of(s.ptr + i, s.len - i), &w)))
            i += w;
        if (i >= s.len)
            return true;
        if (max >= 0 && l->len == (uint64_t)max)
            return add_part(run, l, v, i, s.len);
        size_t from = i;
        while (i < s.len && !uni_is_space(utf8_decode(str_of(s.ptr + i, s.len - i), &w)))
            i += w;
        if (!add_part(run, l, v, from, i))
            return false;
    }
}

static bool rsplit_space(struct star_run *run, struct list_obj *l, star_v v, int64_t max)
{
    struct str s = str_of_v(v);
    size_t w;
    bool ok = true;
    while (ok) {
        while (s.len > 0 && uni_is_space(last_rune(s, &w)))
            s.len -= w;
        if (s.len == 0)
            break;
        if (l->len == (uint64_t)max) {
            ok = add_part(run, l, v, 0, s.len);
            break;
        }
        size_t to = s.len;
        while (s.len > 0 && !uni_is_space(last_rune(s, &w)))
            s.len -= w;
        ok = add_part(run, l, v, s.len, to);
    }
    reverse(l);
    return ok;
}

static enum star_ret split_impl(struct star_run *run, const struct star_call *call, star_v *out, bool right)
{
    star_v a[2];
    int64_t max = -1;
    struct str sep;
    if (!star_unpack_pos(run, call, 0, 2, a) || (!star_is_null(a[1]) && !arg_int(run, call, a[1], 1, &max)))
        return STAR_FAIL;
    struct list_obj *l = list_new(run->arena, 0);
    if (!l || !star_charge(run, STR_OBJ(call->recv)->len / 64))
        return STAR_FAIL;
    bool ok;
    if (star_is_null(a[0]) || star_is_none(a[0])) {
        ok = right && max >= 0 ? rsplit_space(run, l, call->recv, max) : split_space(run, l, call->recv, max);
    } else if (star_to_str(a[0], &sep)) {
        if (sep.len == 0)
            return star_fail(run, "split: empty separator");
        ok = right && max >= 0 ? rsplit_sep(run, l, call->recv, sep, max) : split_sep(run, l, call->recv, sep, max);
    } else {
        return star_fail(run, "split: got %s for separator, want string", star_type_name(a[0]));
    }
    return ok ? result(obj_v(l), out) : memory_fail(run);
}
static enum star_ret string_split(struct star_run *run, const struct star_call *call, star_v *out)
{
    return split_impl(run, call, out, false);
}
static enum star_ret string_rsplit(struct star_run *run, const struct star_call *call, star_v *out)
{
    return split_impl(run, call, out, true);
}

static enum star_ret string_splitlines(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 0, 1, a))
        return STAR_FAIL;
    if (!star_is_null(a[0]) && !is_bool(a[0]))
        return star_fail(run, STR_FMT ": for parameter 1: got %s, want bool", NAME(call), star_type_name(a[0]));
    bool keep = a[0].bits == STAR_TRUE.bits;
    struct str s = self(call);
    struct list_obj *l = list_new(run->arena, 0);
    if (!l || !star_charge(run, s.len / 64))
        return STAR_FAIL;
    for (size_t from = 0; from < s.len;) {
        const char *nl = memchr(s.ptr + from, '\n', s.len - from);
        size_t end = nl ? (size_t)(nl - s.ptr) : s.len;
        if (!add_part(run, l, call->recv, from, nl && keep ? end + 1 : end))
            return memory_fail(run);
        from = end + 1;
    }
    return result(obj_v(l), out);
}

static enum star_ret join_items(struct star_run *run, struct str sep, const star_v *items, size_t n, star_v *out)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_string(items[i]))
            return star_fail(run, "join: in list, want string, got %s", star_type_name(items[i]));
        total += STR_OBJ(items[i])->len + (i > 0 ? sep.len : 0);
    }
    if (n == 1)
        return result(items[0], out);
    if (!star_charge(run, n / 16 + total / 256))
        return STAR_FAIL;
    if (total == 0)
        return result(obj_v(&empty_string), out);
    char *p;
    struct str_obj *o = string_new(run->arena, total, &p);
    if (!o)
        return memory_fail(run);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && sep.len > 0) {
            memcpy(p, sep.ptr, sep.len);
            p += sep.len;
        }
        struct str s = str_of_v(items[i]);
        memcpy(p, s.ptr, s.len);
        p += s.len;
    }
    return result(obj_v(o), out);
}

static enum star_ret string_join(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    const star_v *items;
    size_t n;
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    if (!seq_items(a[0], &items, &n)) {
        if (!star_is_iterable(a[0]))
            return star_fail(run, "join: for parameter 1: got %s, want iterable", star_type_name(a[0]));
        star_v *fresh;
        if (!iter_collect(run, a[0], &fresh, &n))
            return STAR_FAIL;
        items = fresh;
    }
    return join_items(run, self(call), items, n, out);
}

/* With an empty `from`, `to` goes before each code point and at the end. */
static enum star_ret replace_empty(struct star_run *run, struct str s, struct str to, int64_t max, star_v *out)
{
    scoped_buf b = BUF_INIT(text_max(run));
    size_t i = 0, w;
    for (; i <= s.len && max != 0; max--) {
        buf_add_str(&b, to);
        if (i == s.len)
            break;
        utf8_decode(str_of(s.ptr + i, s.len - i), &w);
        buf_add(&b, s.ptr + i, w);
        i += w;
    }
    if (i < s.len)
        buf_add(&b, s.ptr + i, s.len - i);
    return from_buf(run, &b, out);
}

static enum star_ret string_replace(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[3];
    struct str from, to, s = self(call);
    int64_t max = -1;
    if (!star_unpack_pos(run, call, 2, 3, a) || !arg_str(run, call, a[0], 0, &from) || !arg_str(run, call, a[1], 1, &to) ||
        (!star_is_null(a[2]) && !arg_int(run, call, a[2], 2, &max)) || !star_charge(run, s.len / 64))
        return STAR_FAIL;
    if (from.len == 0)
        return replace_empty(run, s, to, max, out);
    size_t n = 0, i;
    for (struct str rest = s; (max < 0 || n < (uint64_t)max) && (i = find_first(rest, from)) != STR_NPOS; n++)
        rest = str_from_off(rest, i + from.len);
    if (n == 0)
        return result(call->recv, out);
    size_t total = s.len - n * from.len;
    if (to.len > 0 && n > (INT32_MAX - total) / to.len)
        return memory_fail(run);
    total += n * to.len;
    if (total == 0)
        return result(obj_v(&empty_string), out);
    char *p;
    struct str_obj *o = string_new(run->arena, total, &p);
    if (!o)
        return memory_fail(run);
    for (; n > 0; n--) {
        i = find_first(s, from);
        memcpy(p, s.ptr, i);
        p += i;
        memcpy(p, to.ptr, to.len);
        p += to.len;
        s = str_from_off(s, i + from.len);
    }
    memcpy(p, s.ptr, s.len);
    return result(obj_v(o), out);
}

/* ---- elems ---- */

static enum star_ret elems_impl(struct star_run *run, const struct star_call *call, star_v *out, enum elems_kind kind)
{
    if (!no_args(run, call))
        return STAR_FAIL;
    struct elems_obj *e = new_obj(run->arena, sizeof *e, O_ELEMS);
    if (!e)
        return memory_fail(run);
    e->h.flags = (uint16_t)kind;
    e->str = call->recv;
    return result(obj_v(e), out);
}
static enum star_ret string_elems(struct star_run *run, const struct star_call *call, star_v *out)
{
    return elems_impl(run, call, out, ELEMS_BYTES_STR);
}
static enum star_ret string_elem_ords(struct star_run *run, const struct star_call *call, star_v *out)
{
    return elems_impl(run, call, out, ELEMS_BYTES_ORD);
}
static enum star_ret string_codepoints(struct star_run *run, const struct star_call *call, star_v *out)
{
    return elems_impl(run, call, out, ELEMS_CODEPOINTS);
}
static enum star_ret string_codepoint_ords(struct star_run *run, const struct star_call *call, star_v *out)
{
    return elems_impl(run, call, out, ELEMS_CODEPOINT_ORDS);
}
static enum star_ret bytes_elems(struct star_run *run, const struct star_call *call, star_v *out)
{
    return elems_impl(run, call, out, ELEMS_OF_BYTES);
}

const struct method string_methods[] = {
    {"capitalize", string_capitalize, NULL}, {"codepoint_ords", string_codepoint_ords, NULL},
    {"codepoints", string_codepoints, NULL}, {"count", string_count, NULL}, {"elem_ords", string_elem_ords, NULL},
    {"elems", string_elems, NULL}, {"endswith", string_endswith, fast_endswith}, {"find", string_find, NULL},
    {"format", string_format, NULL}, {"index", string_index, NULL}, {"isalnum", string_isalnum, NULL},
    {"isalpha", string_isalpha, NULL}, {"isdigit", string_isdigit, NULL}, {"islower", string_islower, NULL},
    {"isspace", string_isspace, NULL}, {"istitle", string_istitle, NULL}, {"isupper", string_isupper, NULL},
    {"join", string_join, NULL}, {"lower", string_lower, fast_lower}, {"lstrip", string_lstrip, NULL},
    {"partition", string_partition, NULL}, {"removeprefix", string_removeprefix, NULL},
    {"removesuffix", string_removesuffix, NULL}, {"replace", string_replace, NULL}, {"rfind", string_rfind, NULL},
    {"rindex", string_rindex, NULL}, {"rpartition", string_rpartition, NULL}, {"rsplit", string_rsplit, NULL},
    {"rstrip", string_rstrip, NULL}, {"split", string_split, NULL}, {"splitlines", string_splitlines, NULL},
    {"startswith", string_startswith, fast_startswith}, {"strip", string_strip, NULL}, {"title", string_title, NULL},
    {"upper", string_upper, fast_upper}, {0},
};
const struct method bytes_methods[] = {{"elems", bytes_elems, NULL}, {0}};
