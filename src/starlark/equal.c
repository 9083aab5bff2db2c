/* starlark/equal.c: hashing, equality and order of values. Depth is bounded: data may be cyclic or deep.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <math.h>

/* ---- hashes ---- */

static uint64_t hash_seed[2];

__attribute__((constructor)) static void seed_hashes(void)
{
    random_bytes(hash_seed, sizeof hash_seed);
    hash_seed[0] |= 1;
}

static inline uint64_t mix(uint64_t x, uint64_t y)
{
    __uint128_t m = (__uint128_t)x * y;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t load32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Multiply-fold over 16 bytes at a time, keyed by a secret drawn at start, so that keys chosen by a client
 * do not collide at will. */
uint32_t bytes_hash(const void *ptr, size_t len)
{
    const unsigned char *p = ptr;
    uint64_t h = hash_seed[0] ^ len, a, b;
    size_t n = len;
    for (; n > 16; n -= 16, p += 16)
        h = mix(load64(p) ^ hash_seed[1], load64(p + 8) ^ h);
    if (n >= 8) {
        a = load64(p);
        b = load64(p + n - 8);
    } else if (n >= 4) {
        a = load32(p);
        b = load32(p + n - 4);
    } else if (n > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[n / 2] << 8 | p[n - 1];
        b = n;
    } else {
        a = b = 0;
    }
    h = mix(a ^ hash_seed[1], b ^ h);
    h = mix(h ^ len, UINT64_C(0x9E3779B97F4A7C15));
    uint32_t r = (uint32_t)(h ^ h >> 32);
    return r ? r : 1;
}

uint32_t string_hash(star_v v)
{
    struct str_obj *s = STR_OBJ(v);
    uint32_t h = __atomic_load_n(&s->h.aux, __ATOMIC_RELAXED);
    if (LIKELY(h != 0))
        return h;
    h = bytes_hash(s->ptr, s->len);
    /* Threads that share the string store the same. */
    __atomic_store_n(&s->h.aux, h, __ATOMIC_RELAXED);
    return h;
}

static inline uint32_t word_hash(uint64_t x)
{
    return (uint32_t)(mix(x ^ hash_seed[1], hash_seed[0]) >> 7);
}

uint32_t int_hash(star_v v)
{
    if (is_int(v))
        return word_hash(v.bits);
    const struct bigint_obj *b = BIG_OBJ(v);
    uint64_t h = b->h.aux;
    for (uint64_t i = 0; i < b->n; i++)
        h = mix(h ^ b->limbs[i], hash_seed[0]);
    return (uint32_t)h;
}

static uint32_t float_hash(double d)
{
    if (d == 0)
        return word_hash(0);
    if (d - d != 0)
        return isnan(d) ? 77 : d > 0 ? 78 : 79;
    if (d == floor(d)) {    /* equal to an int: the same hash */
        if (fabs(d) < 0x1p61)
            return int_hash(small_int((int64_t)d));
        int exp;
        double m = frexp(fabs(d), &exp);    /* the limbs that int_hash would see, without making them */
        uint64_t mant = (uint64_t)(m * 0x1p53);
        int shift = exp - 53;
        uint64_t h = d < 0;
        for (int i = 0; i < shift / 64; i++)
            h = mix(h ^ 0, hash_seed[0]);
        h = mix(h ^ (mant << shift % 64), hash_seed[0]);
        if (shift % 64 > 11)
            h = mix(h ^ (mant >> (64 - shift % 64)), hash_seed[0]);
        return (uint32_t)h;
    }
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return word_hash(u ^ UINT64_C(0x5bd1e995));
}

const char hash_too_deep[] = "hash exceeded maximum recursion depth";

static bool hash_depth(star_v v, uint32_t *out, const char **why, int depth)
{
    if (is_int(v)) {
        *out = word_hash(v.bits);
        return true;
    }
    if (is_imm_float(v)) {
        *out = float_hash(float_of(v));
        return true;
    }
    if (!is_obj(v)) {
        *out = word_hash(v.bits);
        return true;
    }
    const struct obj *o = obj_of(v);
    switch (o->type) {
    case O_STRING:
        *out = string_hash(v);
        return true;
    case O_BYTES:
        *out = bytes_hash(STR_OBJ(v)->ptr, STR_OBJ(v)->len) ^ 0x55;
        return true;
    case O_BIGINT:
        *out = int_hash(v);
        return true;
    case O_FLOAT:
        *out = float_hash(float_of(v));
        return true;
    case O_TUPLE:
    case O_STRUCT: {
        if (o->type == O_STRUCT && o->flags == STRUCT_IS_MODULE)
            break;
        if (depth >= COMPARE_DEPTH) {
            *why = hash_too_deep;
            return false;
        }
        if (!charge_current(1 + o->aux / 16)) {
            *why = hash_too_deep;
            return false;
        }
        const star_v *items = o->type == O_TUPLE ? TUPLE_OBJ(v)->items : STRUCT_OBJ(v)->values;
        uint64_t h = hash_seed[1] ^ o->aux;
        for (uint32_t i = 0; i < o->aux; i++) {
            uint32_t x;
            if (!hash_depth(items[i], &x, why, depth + 1))
                return false;
            h = mix(h ^ x, hash_seed[0] + i);
        }
        *out = (uint32_t)(h ^ h >> 32);
        return true;
    }
    case O_HOST: {
        const struct star_host_type *t = HOST_OBJ(v)->type;
        uint64_t h;
        if (t->hash && t->hash(HOST_OBJ(v)->self, &h)) {
            *out = word_hash(h);
            return true;
        }
        break;
    }
    case O_FUNCTION:
    case O_BUILTIN:
        *out = word_hash(v.bits);
        return true;
    default:
        break;
    }
    *why = star_type_name(v);
    return false;
}

bool value_hash(star_v v, uint32_t *out, const char **why)
{
    return hash_depth(v, out, why, 0);
}

/* ---- equality ---- */

/* NaN is greater than all and equal to itself as in the Go implementation. */
static int float_cmp(double x, double y)
{
    if (x > y)
        return 1;
    if (x < y)
        return -1;
    if (x == y)
        return 0;
    if (x == x)
        return -1;
    return y == y ? 1 : 0;
}

static int items_equal(const star_v *x, const star_v *y, uint32_t n, int depth)
{
    for (uint32_t i = 0; i < n; i++) {
        if (UNLIKELY((i & 255) == 255) && !charge_current(8))
            return CMP_FAIL;
        int r = value_equal(x[i], y[i], depth);
        if (r != 1)
            return r;
    }
    return 1;
}

static int dicts_equal(const struct dict_obj *x, const struct dict_obj *y, int depth)
{
    if (x->live != y->live)
        return 0;
    for (uint32_t i = 0; i < x->len; i++) {
        const struct dict_entry *e = &x->entries[i], *other;
        if (star_is_null(e->key))
            continue;
        other = dict_find(y, e->key, e->hash);
        if (!other)
            return 0;
        int r = value_equal(e->value, other->value, depth);
        if (r != 1)
            return r;
    }
    return 1;
}

static int structs_equal(const struct struct_obj *x, const struct struct_obj *y, int depth)
{
    if (x->shape->n != y->shape->n || !string_equal(x->shape->ctor, y->shape->ctor))
        return 0;
    for (uint32_t i = 0; i < x->shape->n; i++) {
        star_v name = x->shape->names[i];
        uint32_t k = i;
        if (!string_equal(name, y->shape->names[i]))
            for (k = 0; k < y->shape->n && !string_equal(name, y->shape->names[k]); k++)
                ;
        if (k == y->shape->n)
            return 0;
        int r = value_equal(x->values[i], y->values[k], depth);
        if (r != 1)
            return r;
    }
    return 1;
}

static int numbers_equal(star_v x, star_v y)
{
    if (is_float(x) && is_float(y))
        return float_cmp(float_of(x), float_of(y)) == 0;
    if (is_float(x)) {
        star_v t = x;
        x = y;
        y = t;
    }
    if (is_float(y)) {
        double d = float_of(y);
        return d == d && int_cmp_double(x, d) == 0;
    }
    return int_cmp(x, y) == 0;
}

static bool is_number(star_v v)
{
    return is_any_int(v) || is_float(v);
}

int value_equal(star_v x, star_v y, int depth)
{
    if (is_number(x) && is_number(y))
        return x.bits == y.bits ? 1 : numbers_equal(x, y);
    if (!is_obj(x) || !is_obj(y))
        return x.bits == y.bits;
    const struct obj *o = obj_of(x), *p = obj_of(y);
    if (o->type != p->type)
        return 0;
    if (depth >= COMPARE_DEPTH)
        return CMP_FAIL;
    switch (o->type) {
    case O_STRING: case O_BYTES:
        return string_equal(x, y);
    default:
        break;
    }
    /* Data that share parts may be exponentially larger than its memory. */
    if (!charge_current(1))
        return CMP_FAIL;
    switch (o->type) {
    case O_LIST:
        return LIST_OBJ(x)->len == LIST_OBJ(y)->len ? items_equal(LIST_OBJ(x)->items, LIST_OBJ(y)->items, LIST_OBJ(x)->len, depth + 1) : 0;
    case O_TUPLE:
        return o->aux == p->aux ? items_equal(TUPLE_OBJ(x)->items, TUPLE_OBJ(y)->items, o->aux, depth + 1) : 0;
    case O_DICT:
        return dicts_equal(DICT_OBJ(x), DICT_OBJ(y), depth + 1);
    case O_SET:
        return dicts_equal(DICT_OBJ(x), DICT_OBJ(y), depth + 1);
    case O_STRUCT:
        return structs_equal(STRUCT_OBJ(x), STRUCT_OBJ(y), depth + 1);
    case O_RANGE: {
        const struct range_obj *r = RANGE_OBJ(x), *q = RANGE_OBJ(y);
        return r->len == q->len && (r->len == 0 || (r->start == q->start && (r->len == 1 || r->step == q->step)));
    }
    case O_HOST:
        if (x.bits == y.bits)
            return 1;
        return HOST_OBJ(x)->type == HOST_OBJ(y)->type && HOST_OBJ(x)->type->equal &&
               HOST_OBJ(x)->type->equal(HOST_OBJ(x)->self, HOST_OBJ(y)->self);
    default:
        return x.bits == y.bits;
    }
}

bool star_equal(star_v x, star_v y)
{
    return value_equal(x, y, 0) == 1;
}

/* ---- order ---- */

static bool by_sign(enum opcode op, int cmp)
{
    switch (op) {
    case OP_LT: return cmp < 0;
    case OP_LE: return cmp <= 0;
    case OP_GT: return cmp > 0;
    case OP_GE: return cmp >= 0;
    case OP_EQ: return cmp == 0;
    default: return cmp != 0;
    }
}

static int string_cmp(star_v x, star_v y)
{
    return str_cmp(str_of_v(x), str_of_v(y));
}

static bool too_deep(struct star_run *run)
{
    return FAIL_FALSE(run, "comparison exceeded maximum recursion depth");
}

static bool is_subset(const struct dict_obj *x, const struct dict_obj *y)
{
    for (uint32_t i = 0; i < x->len; i++)
        if (!star_is_null(x->entries[i].key) && !dict_find(y, x->entries[i].key, x->entries[i].hash))
            return false;
    return true;
}

static bool compare_depth(struct star_run *run, enum opcode op, star_v x, star_v y, bool *out, int depth);

static bool items_compare(struct star_run *run, enum opcode op, const star_v *x, uint32_t nx, const star_v *y, uint32_t ny,
                          bool *out, int depth)
{
    for (uint32_t i = 0; i < nx && i < ny; i++) {
        int eq = value_equal(x[i], y[i], depth);
        if (eq == CMP_FAIL)
            return too_deep(run);
        if (!eq)
            return compare_depth(run, op, x[i], y[i], out, depth);
    }
    *out = by_sign(op, nx < ny ? -1 : nx > ny);
    return true;
}

static bool sets_compare(enum opcode op, star_v x, star_v y)
{
    const struct dict_obj *a = DICT_OBJ(x), *b = DICT_OBJ(y);
    switch (op) {
    case OP_LE: return a->live <= b->live && is_subset(a, b);
    case OP_LT: return a->live < b->live && is_subset(a, b);
    case OP_GE: return a->live >= b->live && is_subset(b, a);
    default: return a->live > b->live && is_subset(b, a);
    }
}

static bool compare_depth(struct star_run *run, enum opcode op, star_v x, star_v y, bool *out, int depth)
{
    if (op == OP_EQ || op == OP_NE) {
        int eq = value_equal(x, y, depth);
        if (eq == CMP_FAIL)
            return too_deep(run);
        *out = (eq == 1) == (op == OP_EQ);
        return true;
    }
    if (is_number(x) && is_number(y)) {
        int c;
        if (is_float(x) && is_float(y))
            c = float_cmp(float_of(x), float_of(y));
        else if (is_float(y))
            c = isnan(float_of(y)) ? -1 : int_cmp_double(x, float_of(y));
        else if (is_float(x))
            c = isnan(float_of(x)) ? 1 : -int_cmp_double(y, float_of(x));
        else
            c = int_cmp(x, y);
        *out = by_sign(op, c);
        return true;
    }
    if (is_bool(x) && is_bool(y)) {
        *out = by_sign(op, (x.bits == STAR_TRUE.bits) - (y.bits == STAR_TRUE.bits));
        return true;
    }
    if (is_obj(x) && is_obj(y) && obj_of(x)->type == obj_of(y)->type) {
        if (depth >= COMPARE_DEPTH)
            return too_deep(run);
        switch (obj_of(x)->type) {
        case O_STRING: case O_BYTES:
            *out = by_sign(op, string_cmp(x, y));
            return true;
        case O_LIST: case O_TUPLE: {
            const star_v *a, *b;
            size_t n, m;
            seq_items(x, &a, &n);
            seq_items(y, &b, &m);
            return items_compare(run, op, a, (uint32_t)n, b, (uint32_t)m, out, depth + 1);
        }
        case O_SET:
            *out = sets_compare(op, x, y);
            return true;
        case O_HOST: {
            const struct star_host_type *t = HOST_OBJ(x)->type;
            int c = 0;
            if (t == HOST_OBJ(y)->type && t->compare) {
                if (t->compare(run, HOST_OBJ(x)->self, HOST_OBJ(y)->self, &c) != STAR_OK)
                    return false;
                *out = by_sign(op, c);
                return true;
            }
            break;
        }
        default:
            break;
        }
    }
    return FAIL_FALSE(run, "%s %s %s not implemented", star_type_name(x), op_text(op), star_type_name(y));
}

bool value_compare(struct star_run *run, enum opcode op, star_v x, star_v y, bool *out)
{
    return compare_depth(run, op, x, y, out, 0);
}
