/* starlark/operators.c: what the VM does not do inline: operators on all types, indexing, slices, attributes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <math.h>
#include <stdlib.h>

const char *op_text(enum opcode op)
{
    switch (op) {
    case OP_ADD: return "+";
    case OP_SUB: return "-";
    case OP_MUL: return "*";
    case OP_DIV: return "/";
    case OP_FLOORDIV: return "//";
    case OP_MOD: return "%";
    case OP_AND: return "&";
    case OP_OR: return "|";
    case OP_XOR: return "^";
    case OP_LSH: return "<<";
    case OP_RSH: return ">>";
    case OP_IN: return "in";
    case OP_EQ: return "==";
    case OP_NE: return "!=";
    case OP_LT: return "<";
    case OP_LE: return "<=";
    case OP_GT: return ">";
    case OP_GE: return ">=";
    case OP_NEG: return "-";
    case OP_POS: return "+";
    case OP_INV: return "~";
    default: return "?";
    }
}

/* Counts and indices are 32-bit ints, as in the Go implementation. */
static bool small_index(star_v v, int64_t *out)
{
    return star_to_i64(v, out) && *out >= INT32_MIN && *out <= INT32_MAX;
}

bool as_i32(struct star_run *run, star_v v, int64_t *out)
{
    if (!is_any_int(v))
        return FAIL_FALSE(run, "got %s, want int", star_type_name(v));
    if (!small_index(v, out))
        return FAIL_FALSE(run, "%s out of range", msg_repr(run, v));
    return true;
}

/* ---- numbers ---- */

static bool finite_float(struct star_run *run, star_v v, double *out)
{
    star_to_double(v, out);
    if (is_any_int(v) && isinf(*out))
        return FAIL_FALSE(run, "int too large to convert to float");
    return true;
}

static double floor_mod_float(double x, double y)
{
    double r = fmod(x, y);
    if (r != 0 && (r < 0) != (y < 0))
        r += y;
    return r;
}

static star_v float_binary(struct star_run *run, enum opcode op, star_v x, star_v y, bool *handled)
{
    double a, b, r;
    if (!finite_float(run, x, &a) || !finite_float(run, y, &b))
        return STAR_NULL;
    switch (op) {
    case OP_ADD: r = a + b; break;
    case OP_SUB: r = a - b; break;
    case OP_MUL: r = a * b; break;
    case OP_DIV:
        if (b == 0)
            return FAIL_NULL(run, "floating-point division by zero");
        r = a / b;
        break;
    case OP_FLOORDIV:
        if (b == 0)
            return FAIL_NULL(run, "floored division by zero");
        r = floor(a / b);
        break;
    case OP_MOD:
        if (b == 0)
            return FAIL_NULL(run, "floating-point modulo by zero");
        r = floor_mod_float(a, b);
        break;
    default:
        *handled = false;
        return STAR_NULL;
    }
    return float_v(run->arena, r);
}

/* ---- repetition ---- */

enum { MAX_REPEAT = 1 << 30 };

static bool repeat_count(struct star_run *run, star_v n, size_t len, int64_t *count)
{
    *count = 0;
    if (len == 0)
        return true;
    if (!small_index(n, count))
        return FAIL_FALSE(run, "repeat count %s too large", msg_repr(run, n));
    if (*count < 1) {
        *count = 0;
        return true;
    }
    uint64_t total;
    if (__builtin_mul_overflow((uint64_t)len, (uint64_t)*count, &total) || total >= MAX_REPEAT)
        return FAIL_FALSE(run, "excessive repeat (%zu * %lld elements)", len, (long long)*count);
    return star_charge(run, total / 256 + 1);
}

/* Fills `total` bytes with copies of what the first `unit` bytes are. */
static void fill_repeat(char *p, size_t unit, size_t total)
{
    for (size_t done = unit; done < total; done *= 2)
        memcpy(p + done, p, MIN(done, total - done));
}

static star_v repeat(struct star_run *run, star_v v, star_v n)
{
    struct arena *a = run->arena;
    int64_t count;
    struct obj *o = obj_of(v);
    if (o->type == O_STRING || o->type == O_BYTES) {
        struct str s = str_of_v(v);
        if (!repeat_count(run, n, s.len, &count))
            return STAR_NULL;
        if (count == 0)
            return o->type == O_STRING ? obj_v(&empty_string) : star_bytes(a, (struct str){0});
        char *p;
        struct str_obj *r = string_new(a, s.len * (size_t)count, &p);
        if (!r)
            return STAR_NULL;
        memcpy(p, s.ptr, s.len);
        fill_repeat(p, s.len, r->len);
        r->h.type = o->type;
        return obj_v(r);
    }
    const star_v *items;
    size_t len;
    seq_items(v, &items, &len);
    if (!repeat_count(run, n, len, &count))
        return STAR_NULL;
    size_t total = len * (size_t)count;
    star_v *out;
    star_v result;
    if (o->type == O_LIST) {
        struct list_obj *l = list_new(a, total);
        if (!l)
            return STAR_NULL;
        l->len = (uint32_t)total;
        out = l->items;
        result = obj_v(l);
    } else {
        struct tuple_obj *t = tuple_new(a, total);
        if (!t)
            return STAR_NULL;
        out = t->items;
        result = obj_v(t);
    }
    if (total > 0) {
        memcpy(out, items, len * sizeof *out);
        fill_repeat((char *)out, len * sizeof *out, total * sizeof *out);
    }
    return result;
}

static bool is_repeatable(star_v v)
{
    return is_obj(v) && (obj_of(v)->type == O_STRING || obj_of(v)->type == O_BYTES || obj_of(v)->type == O_LIST ||
                         obj_of(v)->type == O_TUPLE);
}

/* ---- containers ---- */

static star_v join_seqs(struct star_run *run, star_v x, star_v y)
{
    const star_v *a, *b;
    size_t n, m;
    seq_items(x, &a, &n);
    seq_items(y, &b, &m);
    if (!star_charge(run, (n + m) / 64))
        return STAR_NULL;
    star_v *out, result;
    if (is_type(x, O_LIST)) {
        struct list_obj *l = list_new(run->arena, n + m);
        if (!l)
            return STAR_NULL;
        l->len = (uint32_t)(n + m);
        out = l->items;
        result = obj_v(l);
    } else {
        struct tuple_obj *t = tuple_new(run->arena, n + m);
        if (!t)
            return STAR_NULL;
        out = t->items;
        result = obj_v(t);
    }
    if (n > 0)
        memcpy(out, a, n * sizeof *out);
    if (m > 0)
        memcpy(out + n, b, m * sizeof *out);
    return result;
}

bool dict_add_all(struct star_run *run, struct dict_obj *d, const struct dict_obj *from)
{
    for (uint32_t i = 0; i < from->len; i++) {
        const struct dict_entry *e = &from->entries[i];
        if (star_is_null(e->key))
            continue;
        if (!dict_put(run->arena, d, e->key, e->hash, e->value, NULL))
            return memory_fail(run), false;
    }
    return star_charge(run, from->len / 8);
}

static star_v dict_union(struct star_run *run, const struct dict_obj *x, const struct dict_obj *y)
{
    struct dict_obj *d = dict_new(run->arena, x->live, (enum obj_type)x->h.type);
    return d && dict_add_all(run, d, x) && dict_add_all(run, d, y) ? obj_v(d) : STAR_NULL;
}

/* Entries of x that are (or are not) in y; with `both`, also those of y that are not in x. */
star_v set_select(struct star_run *run, const struct dict_obj *x, const struct dict_obj *y, bool in_y, bool both)
{
    struct dict_obj *d = dict_new(run->arena, 0, O_SET);
    if (!d)
        return STAR_NULL;
    for (uint32_t i = 0; i < x->len; i++) {
        const struct dict_entry *e = &x->entries[i];
        if (star_is_null(e->key) || (dict_find(y, e->key, e->hash) != NULL) != in_y)
            continue;
        if (!dict_put(run->arena, d, e->key, e->hash, STAR_NONE, NULL))
            return STAR_NULL;
    }
    for (uint32_t i = 0; both && i < y->len; i++) {
        const struct dict_entry *e = &y->entries[i];
        if (star_is_null(e->key) || dict_find(x, e->key, e->hash))
            continue;
        if (!dict_put(run->arena, d, e->key, e->hash, STAR_NONE, NULL))
            return STAR_NULL;
    }
    return star_charge(run, x->len / 8) ? obj_v(d) : STAR_NULL;
}

static star_v set_binary(struct star_run *run, enum opcode op, star_v x, star_v y, bool *handled)
{
    switch (op) {
    case OP_OR: return dict_union(run, DICT_OBJ(x), DICT_OBJ(y));
    case OP_AND: return set_select(run, DICT_OBJ(x), DICT_OBJ(y), true, false);
    case OP_SUB: return set_select(run, DICT_OBJ(x), DICT_OBJ(y), false, false);
    case OP_XOR: return set_select(run, DICT_OBJ(x), DICT_OBJ(y), false, true);
    default:
        *handled = false;
        return STAR_NULL;
    }
}

static star_v host_binary(struct star_run *run, enum opcode op, star_v x, star_v y, bool *handled)
{
    enum star_op o = op == OP_IN ? STAR_OP_IN : (enum star_op)(op - OP_ADD);
    star_v operands[2] = {x, y};
    for (int side = 0; side < 2; side++) {
        star_v v = operands[side], out = STAR_NULL;
        if (!is_type(v, O_HOST) || !HOST_OBJ(v)->type->binary)
            continue;
        enum star_ret r = HOST_OBJ(v)->type->binary(run, o, HOST_OBJ(v)->self, operands[!side], side == 0, &out);
        if (r == STAR_MISSING)
            continue;
        return r == STAR_OK ? out : STAR_NULL;
    }
    *handled = false;
    return STAR_NULL;
}

star_v op_binary(struct star_run *run, enum opcode op, star_v x, star_v y)
{
    bool handled = true;
    star_v v = STAR_NULL;
    bool xi = is_any_int(x), yi = is_any_int(y), xf = is_float(x), yf = is_float(y);
    if (xi && yi && op != OP_DIV) {
        return int_binary(run, op, x, y);
    } else if ((xi || xf) && (yi || yf)) {
        v = float_binary(run, op, x, y, &handled);
        if (!handled && xi && (op == OP_LSH || op == OP_RSH))
            return int_binary(run, op, x, y);
    } else if (xi && (op == OP_LSH || op == OP_RSH)) {
        return int_binary(run, op, x, y);
    } else if (op == OP_MUL && xi && is_repeatable(y)) {
        return repeat(run, y, x);
    } else if (op == OP_MUL && yi && is_repeatable(x)) {
        return repeat(run, x, y);
    } else if (op == OP_MOD && is_string(x)) {
        return string_interpolate(run, x, y);
    } else if (is_obj(x) && is_obj(y) && obj_of(x)->type == obj_of(y)->type) {
        enum obj_type t = (enum obj_type)obj_of(x)->type;
        if ((t == O_STRING || t == O_BYTES) && op == OP_ADD) {
            if (!star_charge(run, STR_OBJ(y)->len / 256))
                return STAR_NULL;
            return string_concat(run->arena, x, y);
        }
        if ((t == O_LIST || t == O_TUPLE) && op == OP_ADD)
            return join_seqs(run, x, y);
        if (t == O_DICT && op == OP_OR)
            return dict_union(run, DICT_OBJ(x), DICT_OBJ(y));
        if (t == O_SET)
            v = set_binary(run, op, x, y, &handled);
        else
            handled = false;
    } else {
        handled = false;
    }
    if (!handled)
        v = (handled = true, host_binary(run, op, x, y, &handled));
    if (!handled)
        return FAIL_NULL(run, "unknown binary op: %s %s %s", star_type_name(x), op_text(op), star_type_name(y));
    return v;
}

bool list_extend(struct star_run *run, struct list_obj *l, star_v y)
{
    const star_v *items;
    size_t n;
    if (!seq_items(y, &items, &n)) {
        star_v *fresh;
        if (!iter_collect(run, y, &fresh, &n))
            return false;
        items = fresh;
    }
    if (!list_reserve(run->arena, l, n))
        return memory_fail(run), false;
    seq_items(y, &items, &n);   /* x += x moves its own items */
    if (n > 0)
        memmove(l->items + l->len, items, n * sizeof *items);
    l->len += (uint32_t)n;
    return star_charge(run, n / 64);
}

star_v op_iadd(struct star_run *run, star_v x, star_v y)
{
    if (!is_type(x, O_LIST) || !star_is_iterable(y))
        return op_binary(run, OP_ADD, x, y);
    if (!list_mutable(run, LIST_OBJ(x), "apply += to") || !list_extend(run, LIST_OBJ(x), y))
        return STAR_NULL;
    return x;
}

star_v op_ior(struct star_run *run, star_v x, star_v y)
{
    if (!is_type(x, O_DICT) || !is_type(y, O_DICT))
        return op_binary(run, OP_OR, x, y);
    if (!dict_mutable(run, DICT_OBJ(x), "apply |= to") || !dict_add_all(run, DICT_OBJ(x), DICT_OBJ(y)))
        return STAR_NULL;
    return x;
}

star_v op_unary(struct star_run *run, enum opcode op, star_v x)
{
    if (is_any_int(x))
        return op == OP_NEG ? int_neg(run->arena, x) : op == OP_POS ? x : int_inv(run->arena, x);
    if (is_float(x) && op != OP_INV)
        return op == OP_NEG ? float_v(run->arena, -float_of(x)) : x;
    return FAIL_NULL(run, "unknown unary op: %s %s", op_text(op), star_type_name(x));
}

/* ---- in ---- */

static bool in_sequence(struct star_run *run, star_v x, star_v y, bool *out)
{
    const star_v *items;
    size_t n;
    seq_items(y, &items, &n);
    *out = false;
    for (size_t i = 0; i < n; i++) {
        int eq = value_equal(items[i], x, 0);
        if (eq == CMP_FAIL)
            return FAIL_FALSE(run, "comparison exceeded maximum recursion depth");
        if (eq) {
            *out = true;
            break;
        }
    }
    return star_charge(run, n / 32);
}

bool op_in(struct star_run *run, star_v x, star_v y, bool *out)
{
    if (!is_obj(y))
        goto unknown;
    switch (obj_of(y)->type) {
    case O_STRING:
        if (!is_string(x))
            return FAIL_FALSE(run, "'in <string>' requires string as left operand, not %s", star_type_name(x));
        *out = str_find(str_of_v(y), str_of_v(x)) != STR_NPOS;
        return star_charge(run, STR_OBJ(y)->len / 256);
    case O_BYTES:
        if (is_type(x, O_BYTES)) {
            *out = str_find(str_of_v(y), str_of_v(x)) != STR_NPOS;
            return true;
        }
        if (is_any_int(x)) {
            int64_t b;
            if (!star_to_i64(x, &b) || b < 0 || b > 255)
                return FAIL_FALSE(run, "int in bytes: %s out of range", msg_repr(run, x));
            *out = memchr(STR_OBJ(y)->ptr, (int)b, STR_OBJ(y)->len) != NULL;
            return true;
        }
        return FAIL_FALSE(run, "'in bytes' requires bytes or int as left operand, not %s", star_type_name(x));
    case O_LIST: case O_TUPLE:
        return in_sequence(run, x, y, out);
    case O_DICT: {
        uint32_t h;
        const char *why;
        *out = value_hash(x, &h, &why) && dict_find(DICT_OBJ(y), x, h);
        return true;
    }
    case O_SET: {
        uint32_t h;
        if (!key_hash(run, x, &h))
            return false;
        *out = dict_find(DICT_OBJ(y), x, h) != NULL;
        return true;
    }
    case O_RANGE: {
        const struct range_obj *r = RANGE_OBJ(y);
        int64_t i;
        if (is_float(x) && float_of(x) == floor(float_of(x)) && fabs(float_of(x)) < 0x1p60)
            x = small_int((int64_t)float_of(x));
        if (!is_any_int(x) && !is_float(x))
            return FAIL_FALSE(run, "'in <range>' requires integer as left operand, not %s", star_type_name(x));
        *out = is_any_int(x) && star_to_i64(x, &i) && r->len > 0 &&
               (r->step > 0 ? i >= r->start && i < r->stop : i <= r->start && i > r->stop) && (int64_t)((uint64_t)i - (uint64_t)r->start) % r->step == 0;
        return true;
    }
    default:
        break;
    }
unknown:;
    bool handled = true;
    star_v v = host_binary(run, OP_IN, x, y, &handled);
    if (!handled)
        return FAIL_FALSE(run, "unknown binary op: %s in %s", star_type_name(x), star_type_name(y));
    *out = star_truth(v);
    return !star_is_null(v);
}

/* ---- x[y] ---- */

static bool out_of_range(struct star_run *run, int64_t i, int64_t n, star_v x)
{
    if (n == 0)
        return FAIL_FALSE(run, "index %lld out of range: empty %s", (long long)i, star_type_name(x));
    return FAIL_FALSE(run, "%s index %lld out of range [%lld:%lld]", star_type_name(x), (long long)i, (long long)-n,
                      (long long)n - 1);
}

static bool sequence_index(struct star_run *run, star_v x, star_v y, int64_t n, bool name_type, int64_t *out)
{
    int64_t i;
    if (!is_any_int(y))
        return FAIL_FALSE(run, "%s%sgot %s, want int", name_type ? star_type_name(x) : "", name_type ? " index: " : "",
                          star_type_name(y));
    if (!small_index(y, &i))
        return FAIL_FALSE(run, "%s%s%s out of range", name_type ? star_type_name(x) : "", name_type ? " index: " : "",
                          msg_repr(run, y));
    *out = i < 0 ? i + n : i;
    return *out >= 0 && *out < n ? true : out_of_range(run, i, n, x);
}

star_v op_index(struct star_run *run, star_v x, star_v y)
{
    int64_t i;
    if (!is_obj(x))
        goto unhandled;
    switch (obj_of(x)->type) {
    case O_DICT: {
        uint32_t h;
        if (!key_hash(run, y, &h))
            return STAR_NULL;
        const struct dict_entry *e = dict_find(DICT_OBJ(x), y, h);
        return e ? e->value : FAIL_NULL(run, "key %s not in dict", msg_repr(run, y));
    }
    case O_STRING:
        if (!sequence_index(run, x, y, STR_OBJ(x)->len, true, &i))
            return STAR_NULL;
        return obj_v(&byte_strings[(unsigned char)STR_OBJ(x)->ptr[i]]);
    case O_BYTES:
        if (!sequence_index(run, x, y, STR_OBJ(x)->len, true, &i))
            return STAR_NULL;
        return star_bytes(run->arena, str_of(STR_OBJ(x)->ptr + i, 1));
    case O_LIST:
        return sequence_index(run, x, y, LIST_OBJ(x)->len, true, &i) ? LIST_OBJ(x)->items[i] : STAR_NULL;
    case O_TUPLE:
        return sequence_index(run, x, y, TUPLE_OBJ(x)->h.aux, true, &i) ? TUPLE_OBJ(x)->items[i] : STAR_NULL;
    case O_RANGE: {
        const struct range_obj *r = RANGE_OBJ(x);
        return sequence_index(run, x, y, r->len, true, &i) ? range_item(run->arena, r, (uint64_t)i) : STAR_NULL;
    }
    case O_ELEMS: {
        const struct elems_obj *e = ELEMS_OBJ(x);
        if (e->h.flags != ELEMS_BYTES_STR && e->h.flags != ELEMS_BYTES_ORD)
            break;
        if (!sequence_index(run, x, y, STR_OBJ(e->str)->len, true, &i))
            return STAR_NULL;
        unsigned char c = (unsigned char)STR_OBJ(e->str)->ptr[i];
        return e->h.flags == ELEMS_BYTES_ORD ? small_int(c) : obj_v(&byte_strings[c]);
    }
    case O_HOST:
        if (HOST_OBJ(x)->type->index) {
            star_v out = STAR_NULL;
            enum star_ret r = HOST_OBJ(x)->type->index(run, HOST_OBJ(x)->self, y, &out);
            if (r == STAR_MISSING)
                return FAIL_NULL(run, "key %s not in %s", msg_repr(run, y), star_type_name(x));
            return r == STAR_OK ? out : STAR_NULL;
        }
        break;
    default:
        break;
    }
unhandled:
    return FAIL_NULL(run, "unhandled index operation %s[%s]", star_type_name(x), star_type_name(y));
}

bool op_setindex(struct star_run *run, star_v x, star_v y, star_v z)
{
    int64_t i;
    if (is_type(x, O_DICT))
        return dict_set_checked(run, DICT_OBJ(x), y, z);
    if (is_type(x, O_LIST)) {
        struct list_obj *l = LIST_OBJ(x);
        if (!sequence_index(run, x, y, l->len, false, &i) || !list_mutable(run, l, "assign to element of"))
            return false;
        l->items[i] = z;
        return true;
    }
    return FAIL_FALSE(run, "%s value does not support item assignment", star_type_name(x));
}

/* ---- slices ---- */

static bool slice_index(struct star_run *run, star_v v, int64_t len, const char *what, int64_t *out)
{
    if (star_is_none(v) || star_is_null(v))
        return true;
    if (!is_any_int(v))
        return FAIL_FALSE(run, "invalid %s index: got %s, want int", what, star_type_name(v));
    if (!small_index(v, out))
        return FAIL_FALSE(run, "invalid %s index: %s out of range", what, msg_repr(run, v));
    if (*out < 0)
        *out += len;
    return true;
}

static int64_t clamp(int64_t i, int64_t lo, int64_t hi)
{
    return i < lo ? lo : i > hi ? hi : i;
}

bool index_range(struct star_run *run, star_v lo, star_v hi, int64_t len, int64_t *from, int64_t *to)
{
    *from = 0;
    *to = len;
    if (!slice_index(run, lo, len, "start", from) || !slice_index(run, hi, len, "end", to))
        return false;
    *from = clamp(*from, 0, len);
    *to = clamp(*to, 0, len);
    return true;
}

static bool slice_bounds(struct star_run *run, star_v lo, star_v hi, star_v step_v, int64_t n, int64_t *from, int64_t *to,
                         int64_t *step)
{
    *step = 1;
    if (!star_is_none(step_v)) {
        if (!is_any_int(step_v))
            return FAIL_FALSE(run, "invalid slice step: got %s, want int", star_type_name(step_v));
        if (!small_index(step_v, step))
            return FAIL_FALSE(run, "invalid slice step: %s out of range", msg_repr(run, step_v));
        if (*step == 0)
            return FAIL_FALSE(run, "zero is not a valid slice step");
    }
    if (*step > 0) {
        if (!index_range(run, lo, hi, n, from, to))
            return false;
        *to = MAX(*to, *from);
        return true;
    }
    *from = n - 1;
    *to = -1;
    if (!slice_index(run, lo, n, "start", from) || !slice_index(run, hi, n, "end", to))
        return false;
    *from = clamp(*from, -1, n - 1);
    *to = clamp(*to, -1, n - 1);
    *from = MAX(*from, *to);
    return true;
}

static int64_t slice_count(int64_t from, int64_t to, int64_t step)
{
    if (step > 0)
        return to > from ? (int64_t)(((uint64_t)(to - from) - 1) / (uint64_t)step + 1) : 0;
    return from > to ? (int64_t)(((uint64_t)(from - to) - 1) / -(uint64_t)step + 1) : 0;
}

int64_t range_count(int64_t start, int64_t stop, int64_t step)
{
    if (step > 0)
        return stop > start ? (int64_t)MIN(((uint64_t)stop - (uint64_t)start - 1) / (uint64_t)step + 1, (uint64_t)INT64_MAX) : 0;
    return start > stop ? (int64_t)MIN(((uint64_t)start - (uint64_t)stop - 1) / -(uint64_t)step + 1, (uint64_t)INT64_MAX) : 0;
}

static star_v slice_string(struct star_run *run, star_v x, int64_t from, int64_t to, int64_t step)
{
    enum obj_type type = (enum obj_type)obj_of(x)->type;
    if (step == 1)
        return string_slice(run->arena, x, (size_t)from, (size_t)to, type);
    int64_t n = slice_count(from, to, step);
    char *p;
    struct str_obj *s = string_new(run->arena, (size_t)n, &p);
    if (!s)
        return STAR_NULL;
    for (int64_t i = 0; i < n; i++)
        p[i] = STR_OBJ(x)->ptr[from + i * step];
    s->h.type = (uint8_t)type;
    return obj_v(s);
}

star_v op_slice(struct star_run *run, const star_v *r)
{
    star_v x = r[0];
    int64_t n = value_len(x), from, to, step;
    bool ok = is_type(x, O_STRING) || is_type(x, O_BYTES) || is_type(x, O_LIST) || is_type(x, O_TUPLE) || is_type(x, O_RANGE);
    if (!ok)
        return FAIL_NULL(run, "invalid slice operand %s", star_type_name(x));
    if (!slice_bounds(run, r[1], r[2], r[3], n, &from, &to, &step))
        return STAR_NULL;
    if (is_type(x, O_STRING) || is_type(x, O_BYTES))
        return slice_string(run, x, from, to, step);
    if (is_type(x, O_RANGE)) {
        const struct range_obj *g = RANGE_OBJ(x);
        int64_t f = (int64_t)((uint64_t)g->start + (uint64_t)g->step * (uint64_t)from);
        int64_t t = (int64_t)((uint64_t)g->start + (uint64_t)g->step * (uint64_t)to);
        return range_new(run->arena, f, t, (int64_t)((uint64_t)g->step * (uint64_t)step));
    }
    int64_t count = slice_count(from, to, step);
    if (!star_charge(run, (uint64_t)count / 64))
        return STAR_NULL;
    const star_v *items;
    size_t len;
    seq_items(x, &items, &len);
    star_v *out, result;
    if (is_type(x, O_LIST)) {
        struct list_obj *l = list_new(run->arena, (size_t)count);
        if (!l)
            return STAR_NULL;
        l->len = (uint32_t)count;
        out = l->items;
        result = obj_v(l);
    } else {
        if (count == n && step == 1)
            return x;
        struct tuple_obj *t = tuple_new(run->arena, (size_t)count);
        if (!t)
            return STAR_NULL;
        out = t->items;
        result = obj_v(t);
    }
    for (int64_t i = 0; i < count; i++)
        out[i] = items[from + i * step];
    return result;
}

star_v range_new(struct arena *a, int64_t start, int64_t stop, int64_t step)
{
    struct range_obj *r = new_obj(a, sizeof *r, O_RANGE);
    if (!r)
        return STAR_NULL;
    r->start = start;
    r->stop = stop;
    r->step = step;
    r->len = range_count(start, stop, step);
    return obj_v(r);
}

/* ---- attributes ---- */

enum star_ret get_attr(struct star_run *run, star_v x, struct str name, star_v *out)
{
    if (!is_obj(x))
        return STAR_MISSING;
    struct obj *o = obj_of(x);
    if (o->type == O_HOST) {
        const struct star_host_type *t = HOST_OBJ(x)->type;
        return t->attr ? t->attr(run, HOST_OBJ(x)->self, name, out) : STAR_MISSING;
    }
    if (o->type == O_STRUCT) {
        *out = star_struct_get(x, name);
        return star_is_null(*out) ? STAR_MISSING : STAR_OK;
    }
    const struct builtin_obj *m = method_find((enum obj_type)o->type, name);
    if (!m)
        return STAR_MISSING;
    *out = bind_method(run->arena, m, x);
    return star_is_null(*out) ? memory_fail(run) : STAR_OK;
}

size_t attr_names(star_v x, struct str *names, size_t max)
{
    if (!is_obj(x))
        return 0;
    struct obj *o = obj_of(x);
    if (o->type == O_HOST) {
        const struct star_host_type *t = HOST_OBJ(x)->type;
        return t->attr_names ? MIN(t->attr_names(HOST_OBJ(x)->self, names, max), max) : 0;
    }
    if (o->type == O_STRUCT) {
        size_t n = MIN(max, (size_t)STRUCT_OBJ(x)->shape->n);
        for (size_t i = 0; i < n; i++)
            names[i] = str_of_v(STRUCT_OBJ(x)->shape->names[i]);
        return n;
    }
    return method_names((enum obj_type)o->type, names, max);
}

enum star_ret attr_missing(struct star_run *run, star_v x, struct str name)
{
    if (is_type(x, O_HOST) && HOST_OBJ(x)->type->no_attr)
        return HOST_OBJ(x)->type->no_attr(run, HOST_OBJ(x)->self, name);
    struct str names[256];
    size_t n = attr_names(x, names, ARRAY_LEN(names));
    const char *hint = spell_nearest(run->arena, name, names, n);
    const char *before = hint ? " (did you mean ." : "", *after = hint ? "?)" : "";
    if (is_type(x, O_STRUCT) && obj_of(x)->flags != STRUCT_IS_MODULE) {
        struct str ctor = star_struct_ctor(x);
        return star_fail(run, STR_FMT "%s has no ." STR_FMT " attribute%s%s%s", STR_ARG(ctor), str_eq(ctor, STR("struct")) ? "" : " struct",
                         STR_ARG(name), before, hint ? hint : "", after);
    }
    return star_fail(run, "%s has no ." STR_FMT " field or method%s%s%s", star_type_name(x), STR_ARG(name), before,
                     hint ? hint : "", after);
}

star_v op_attr(struct star_run *run, star_v x, struct attr_ref *ref)
{
    if (is_type(x, O_STRUCT)) {
        const struct struct_obj *s = STRUCT_OBJ(x);
        for (uint32_t i = 0; i < s->shape->n; i++) {
            if (string_equal(s->shape->names[i], ref->name)) {
                __atomic_store_n(&ref->hint, i, __ATOMIC_RELAXED);
                return s->values[i];
            }
        }
    }
    star_v out = STAR_NULL;
    switch (get_attr(run, x, str_of_v(ref->name), &out)) {
    case STAR_OK:
        return out;
    case STAR_MISSING:
        attr_missing(run, x, str_of_v(ref->name));
        return STAR_NULL;
    default:
        if (!run->has_msg)
            star_fail(run, "cannot read ." STR_FMT " of %s", STR_ARG(str_of_v(ref->name)), star_type_name(x));
        return STAR_NULL;
    }
}

bool op_setattr(struct star_run *run, star_v x, struct str name, star_v v)
{
    const struct star_host_type *t = is_type(x, O_HOST) ? HOST_OBJ(x)->type : NULL;
    if (!t || !t->set_attr)
        return FAIL_FALSE(run, "can't assign to ." STR_FMT " field of %s", STR_ARG(name), star_type_name(x));
    enum star_ret r = t->set_attr(run, HOST_OBJ(x)->self, name, v);
    if (r == STAR_MISSING)
        attr_missing(run, x, name);
    else if (r != STAR_OK && !run->has_msg)
        memory_fail(run);
    return r == STAR_OK;
}
