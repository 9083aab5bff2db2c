/* starlark/int.c: integers beyond 62 bits: sign and magnitude, limbs in the arena, arithmetic by GMP's mpn
 * layer, so the memory cap holds. The rarer operations go through mpz temporaries of bounded size.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <gmp.h>
#include <math.h>
#include <stdlib.h>

static_assert(sizeof(mp_limb_t) == sizeof(uint64_t) && GMP_NUMB_BITS == 64, "limbs are words");

/* Either kind of int as sign and magnitude. */
struct mag {
    const mp_limb_t *p;
    size_t n;
    bool neg;
    mp_limb_t small;
};

static void mag_init(struct mag *m, star_v v)
{
    if (is_int(v)) {
        int64_t i = int_of(v);
        m->neg = i < 0;
        m->small = i < 0 ? -(uint64_t)i : (uint64_t)i;
        m->p = &m->small;
        m->n = i != 0;
    } else {
        const struct bigint_obj *b = BIG_OBJ(v);
        m->neg = b->h.aux;
        m->p = (const mp_limb_t *)b->limbs;
        m->n = b->n;
    }
}

static struct bigint_obj *big_new(struct arena *a, size_t limbs)
{
    return limbs < (size_t)1 << 32 ? new_obj(a, sizeof(struct bigint_obj) + limbs * sizeof(uint64_t), O_BIGINT) : NULL;
}

/* The value of a filled object: small when it fits (invariant 1). */
static star_v big_norm(struct bigint_obj *b, size_t n, bool neg)
{
    while (n > 0 && b->limbs[n - 1] == 0)
        n--;
    if (n == 0)
        return small_int(0);
    if (n == 1) {
        uint64_t limb = b->limbs[0];
        if (!neg && limb <= (uint64_t)SMALL_MAX)
            return small_int((int64_t)limb);
        if (neg && limb <= (uint64_t)SMALL_MAX + 1)
            return small_int(-(int64_t)limb);
    }
    b->n = n;
    b->h.aux = neg;
    return obj_v(b);
}

star_v int_norm(struct arena *a, bool negative, const uint64_t *limbs, size_t n)
{
    struct bigint_obj *b = big_new(a, n);
    if (!b)
        return STAR_NULL;
    memcpy(b->limbs, limbs, n * sizeof *limbs);
    return big_norm(b, n, negative);
}

static star_v add_signed(struct arena *a, const struct mag *x, const struct mag *y, bool y_neg)
{
    if (x->n < y->n || (x->n == y->n && x->neg != y_neg && mpn_cmp(x->p, y->p, (mp_size_t)x->n) < 0)) {
        const struct mag *t = x;
        struct mag xx = *y;
        if (y->p == &y->small)
            xx.p = &xx.small;
        xx.neg = y_neg;
        return add_signed(a, &xx, t, t->neg);
    }
    struct bigint_obj *b = big_new(a, x->n + 1);
    if (!b)
        return STAR_NULL;
    mp_limb_t *out = (mp_limb_t *)b->limbs;
    if (y->n == 0) {
        if (x->n > 0)
            mpn_copyi(out, x->p, (mp_size_t)x->n);
        out[x->n] = 0;
    } else if (x->neg == y_neg) {
        out[x->n] = mpn_add(out, x->p, (mp_size_t)x->n, y->p, (mp_size_t)y->n);
    } else {
        mpn_sub(out, x->p, (mp_size_t)x->n, y->p, (mp_size_t)y->n);
        out[x->n] = 0;
    }
    return big_norm(b, x->n + 1, x->neg);
}

static star_v mul(struct arena *a, const struct mag *x, const struct mag *y)
{
    if (x->n == 0 || y->n == 0)
        return small_int(0);
    struct bigint_obj *b = big_new(a, x->n + y->n);
    if (!b)
        return STAR_NULL;
    mp_limb_t *out = (mp_limb_t *)b->limbs;
    if (y->n == 1)
        out[x->n] = mpn_mul_1(out, x->p, (mp_size_t)x->n, y->p[0]);
    else if (x->n >= y->n)
        mpn_mul(out, x->p, (mp_size_t)x->n, y->p, (mp_size_t)y->n);
    else
        mpn_mul(out, y->p, (mp_size_t)y->n, x->p, (mp_size_t)x->n);
    return big_norm(b, x->n + y->n, x->neg != y->neg);
}

/* Floor division and its remainder. */
static star_v div_mod(struct arena *a, const struct mag *x, const struct mag *y, bool want_mod)
{
    bool differ = x->neg != y->neg;
    size_t nq = x->n >= y->n ? x->n - y->n + 1 : 0;
    struct bigint_obj *q = big_new(a, nq + 1), *r = big_new(a, y->n + 1);
    if (!q || !r)
        return STAR_NULL;
    mp_limb_t *qp = (mp_limb_t *)q->limbs, *rp = (mp_limb_t *)r->limbs;
    if (nq > 0) {
        mpn_tdiv_qr(qp, rp, 0, x->p, (mp_size_t)x->n, y->p, (mp_size_t)y->n);
    } else {
        mpn_zero(rp, (mp_size_t)y->n);
        if (x->n > 0)
            mpn_copyi(rp, x->p, (mp_size_t)x->n);
    }
    qp[nq] = 0;
    rp[y->n] = 0;
    bool inexact = !mpn_zero_p(rp, (mp_size_t)y->n);
    if (differ && inexact) {    /* towards minus infinity */
        mpn_add_1(qp, qp, (mp_size_t)nq + 1, 1);
        mpn_sub_n(rp, y->p, rp, (mp_size_t)y->n);
    }
    return want_mod ? big_norm(r, y->n + 1, y->neg) : big_norm(q, nq + 1, differ);
}

static void view(mpz_t z, const struct mag *m)
{
    mpz_roinit_n(z, m->p, m->neg ? -(mp_size_t)m->n : (mp_size_t)m->n);
}

static star_v from_mpz(struct arena *a, const mpz_t z)
{
    size_t n = mpz_size(z);
    return n == 0 ? small_int(0) : int_norm(a, mpz_sgn(z) < 0, (const uint64_t *)mpz_limbs_read(z), n);
}

static star_v bitwise(struct arena *a, enum opcode op, const struct mag *x, const struct mag *y)
{
    mpz_t p, q, r;
    view(p, x);
    view(q, y);
    mpz_init(r);
    if (op == OP_AND)
        mpz_and(r, p, q);
    else if (op == OP_OR)
        mpz_ior(r, p, q);
    else
        mpz_xor(r, p, q);
    star_v v = from_mpz(a, r);
    mpz_clear(r);
    return v;
}

static star_v shift(struct star_run *run, enum opcode op, star_v x, star_v y)
{
    int64_t n;
    if (!as_i32(run, y, &n))
        return STAR_NULL;
    if (n < 0)
        return FAIL_NULL(run, "negative shift count: %lld", (long long)n);
    if (op == OP_LSH && n >= 512)
        return FAIL_NULL(run, "shift count too large: %lld", (long long)n);
    struct mag m;
    mag_init(&m, x);
    mpz_t p, r;
    view(p, &m);
    mpz_init(r);
    if (op == OP_LSH)
        mpz_mul_2exp(r, p, (mp_bitcnt_t)n);
    else
        mpz_fdiv_q_2exp(r, p, (mp_bitcnt_t)n);
    star_v v = from_mpz(run->arena, r);
    mpz_clear(r);
    return v;
}

star_v int_binary(struct star_run *run, enum opcode op, star_v x, star_v y)
{
    struct mag m, n;
    if (op == OP_LSH || op == OP_RSH)
        return shift(run, op, x, y);
    mag_init(&m, x);
    mag_init(&n, y);
    if (m.n > 64 && !star_charge(run, op == OP_ADD || op == OP_SUB ? m.n / 64 : m.n / 64 * (n.n / 8 + 1)))
        return STAR_NULL;
    switch (op) {
    case OP_ADD: return add_signed(run->arena, &m, &n, n.neg);
    case OP_SUB: return add_signed(run->arena, &m, &n, !n.neg);
    case OP_MUL: return mul(run->arena, &m, &n);
    case OP_FLOORDIV:
        if (n.n == 0)
            return FAIL_NULL(run, "floored division by zero");
        return div_mod(run->arena, &m, &n, false);
    case OP_MOD:
        if (n.n == 0)
            return FAIL_NULL(run, "integer modulo by zero");
        return div_mod(run->arena, &m, &n, true);
    default: return bitwise(run->arena, op, &m, &n);
    }
}

star_v int_neg(struct arena *a, star_v x)
{
    if (is_int(x))
        return star_int(a, -int_of(x));
    return int_norm(a, !BIG_OBJ(x)->h.aux, BIG_OBJ(x)->limbs, BIG_OBJ(x)->n);
}

star_v int_inv(struct arena *a, star_v x)
{
    if (is_int(x))
        return small_int(~int_of(x));
    struct mag m, one;
    mag_init(&m, x);
    mag_init(&one, small_int(1));
    m.neg = !m.neg;
    return add_signed(a, &m, &one, true);
}

int int_sign(star_v x)
{
    if (is_int(x))
        return (int_of(x) > 0) - (int_of(x) < 0);
    return BIG_OBJ(x)->h.aux ? -1 : 1;
}

int int_cmp(star_v x, star_v y)
{
    if (both_int(x, y))
        return ((int64_t)x.bits > (int64_t)y.bits) - ((int64_t)x.bits < (int64_t)y.bits);
    struct mag m, n;
    mpz_t p, q;
    mag_init(&m, x);
    mag_init(&n, y);
    view(p, &m);
    view(q, &n);
    return mpz_cmp(p, q);
}

/* Rounds to nearest, ties to even, as the conversion of a decimal literal does. */
double int_to_double(star_v x)
{
    if (is_int(x))
        return (double)int_of(x);
    const struct bigint_obj *b = BIG_OBJ(x);
    size_t n = b->n;
    unsigned lead = (unsigned)__builtin_clzll(b->limbs[n - 1]);
    uint64_t top = b->limbs[n - 1] << lead;
    uint64_t next = n > 1 ? b->limbs[n - 2] : 0;
    if (lead > 0)
        top |= next >> (64 - lead);
    bool sticky = n > 1 && (next << lead) != 0;
    for (size_t i = 0; i + 2 < n && !sticky; i++)
        sticky = b->limbs[i] != 0;
    if (n > 1024 / 64 + 1)
        return b->h.aux ? -INFINITY : INFINITY;
    double d = ldexp((double)(top | sticky), (int)((n - 1) * 64 - lead));
    return b->h.aux ? -d : d;
}

int int_cmp_double(star_v x, double d)
{
    if (is_int(x) && int_of(x) <= (INT64_C(1) << 53) && int_of(x) >= -(INT64_C(1) << 53)) {
        double i = (double)int_of(x);
        return (i > d) - (i < d);
    }
    if (isinf(d))
        return d > 0 ? -1 : 1;
    struct mag m;
    mpz_t p;
    mag_init(&m, x);
    view(p, &m);
    return mpz_cmp_d(p, d);
}

star_v int_from_double(struct arena *a, double d)
{
    if (fabs(d) < 0x1p60)
        return small_int((int64_t)d);
    mpz_t z;
    mpz_init_set_d(z, d);
    star_v v = from_mpz(a, z);
    mpz_clear(z);
    return v;
}

/* ---- text ---- */

static int digit_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 99;
}

star_v int_parse(struct arena *a, struct str s, int base, bool negative)
{
    if (s.len == 0)
        return STAR_NULL;
    uint64_t v = 0;
    bool small = true;
    for (size_t i = 0; i < s.len; i++) {
        int d = digit_value(s.ptr[i]);
        if (d >= base)
            return STAR_NULL;
        if (small && (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v)))
            small = false;
    }
    if (small)
        return v <= SMALL_MAX ? small_int(negative ? -(int64_t)v : (int64_t)v) : int_norm(a, negative, &v, 1);
    struct str t = s;
    while (t.len > 1 && t.ptr[0] == '0')
        t = str_from_off(t, 1);
    /* log2(base) <= 5.17 bits a digit */
    struct bigint_obj *b = big_new(a, t.len * 6 / 64 + 2);
    if (!b)
        return STAR_NULL;
    unsigned char *digits = malloc(t.len);
    if (!digits)
        return STAR_NULL;
    for (size_t i = 0; i < t.len; i++)
        digits[i] = (unsigned char)digit_value(t.ptr[i]);
    mp_size_t n = mpn_set_str((mp_limb_t *)b->limbs, digits, t.len, base);
    free(digits);
    return big_norm(b, (size_t)n, negative);
}

bool int_format(struct buf *out, star_v x, int base, bool upper)
{
    if (is_int(x)) {
        char text[70];
        size_t at = sizeof text;
        int64_t i = int_of(x);
        uint64_t u = i < 0 ? -(uint64_t)i : (uint64_t)i;
        if (base == 10) {
            do
                text[--at] = (char)('0' + u % 10);
            while ((u /= 10) > 0);
        } else {
            const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
            do
                text[--at] = digits[u % (unsigned)base];
            while ((u /= (unsigned)base) > 0);
        }
        if (i < 0)
            text[--at] = '-';
        return buf_add(out, text + at, sizeof text - at);
    }
    struct mag m;
    mpz_t z;
    mag_init(&m, x);
    view(z, &m);
    size_t size = mpz_sizeinbase(z, base) + 2;
    if (!buf_reserve(out, size))
        return false;
    /* mpz_get_str takes -base for upper case. */
    mpz_get_str(out->ptr + out->len, upper ? -base : base, z);
    out->len += strlen(out->ptr + out->len);
    return true;
}
