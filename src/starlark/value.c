/* starlark/value.c: making and reading values.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <stdlib.h>

#define BYTE_STRING(c) {.h = {.type = O_STRING, .frozen = 1}, .len = 1, .ptr = &byte_text[2 * (c)]}
#define B4(c)          BYTE_STRING(c), BYTE_STRING((c) + 1), BYTE_STRING((c) + 2), BYTE_STRING((c) + 3)
#define B16(c)         B4(c), B4((c) + 4), B4((c) + 8), B4((c) + 12)
#define B64(c)         B16(c), B16((c) + 16), B16((c) + 32), B16((c) + 48)
#define T4(c)          (char)(c), 0, (char)((c) + 1), 0, (char)((c) + 2), 0, (char)((c) + 3), 0
#define T16(c)         T4(c), T4((c) + 4), T4((c) + 8), T4((c) + 12)
#define T64(c)         T16(c), T16((c) + 16), T16((c) + 32), T16((c) + 48)
static const char byte_text[512] = {T64(0), T64(64), T64(128), T64(192)};
struct str_obj byte_strings[256] __attribute__((aligned(16))) = {B64(0), B64(64), B64(128), B64(192)};
struct str_obj empty_string __attribute__((aligned(16))) = {.h = {.type = O_STRING, .frozen = 1}, .ptr = ""};
static struct str_obj empty_bytes __attribute__((aligned(16))) = {.h = {.type = O_BYTES, .frozen = 1}, .ptr = ""};
static struct tuple_obj empty_tuple __attribute__((aligned(16))) = {.h = {.type = O_TUPLE, .frozen = 1}};

const char *const obj_type_names[N_OBJ_TYPES] = {
    [O_STRING] = "string", [O_BYTES] = "bytes", [O_LIST] = "list", [O_TUPLE] = "tuple", [O_DICT] = "dict",
    [O_SET] = "set", [O_RANGE] = "range", [O_FUNCTION] = "function", [O_BUILTIN] = "builtin_function_or_method",
    [O_STRUCT] = "struct", [O_BIGINT] = "int", [O_FLOAT] = "float",
};

enum star_kind star_kind(star_v v)
{
    static const uint8_t kinds[N_OBJ_TYPES] = {
        [O_STRING] = STAR_KIND_STRING, [O_BYTES] = STAR_KIND_BYTES, [O_LIST] = STAR_KIND_LIST,
        [O_TUPLE] = STAR_KIND_TUPLE, [O_DICT] = STAR_KIND_DICT, [O_SET] = STAR_KIND_SET, [O_RANGE] = STAR_KIND_RANGE,
        [O_FUNCTION] = STAR_KIND_FUNCTION, [O_BUILTIN] = STAR_KIND_BUILTIN, [O_STRUCT] = STAR_KIND_STRUCT,
        [O_HOST] = STAR_KIND_HOST, [O_BIGINT] = STAR_KIND_INT, [O_FLOAT] = STAR_KIND_FLOAT, [O_ELEMS] = STAR_KIND_OTHER,
    };
    if (is_int(v))
        return STAR_KIND_INT;
    if (is_imm_float(v))
        return STAR_KIND_FLOAT;
    if (is_obj(v))
        return (enum star_kind)kinds[obj_of(v)->type];
    return star_is_none(v) ? STAR_KIND_NONE : is_bool(v) ? STAR_KIND_BOOL : STAR_KIND_NULL;
}

const char *star_type_name(star_v v)
{
    static const char *const elems[] = {
        [ELEMS_BYTES_STR] = "string.elems", [ELEMS_BYTES_ORD] = "string.elems", [ELEMS_CODEPOINTS] = "string.codepoints",
        [ELEMS_CODEPOINT_ORDS] = "string.codepoints", [ELEMS_OF_BYTES] = "bytes.elems",
    };
    if (is_int(v))
        return "int";
    if (is_imm_float(v))
        return "float";
    if (!is_obj(v))
        return star_is_none(v) ? "NoneType" : is_bool(v) ? "bool" : "null";
    const struct obj *o = obj_of(v);
    if (o->type == O_HOST)
        return HOST_OBJ(v)->type->name;
    if (o->type == O_ELEMS)
        return elems[o->flags];
    if (o->type == O_STRUCT && o->flags == STRUCT_IS_MODULE)
        return "module";
    return obj_type_names[o->type];
}

bool star_truth(star_v v)
{
    if (is_int(v))
        return v.bits != 0;
    if (is_imm_float(v))
        return true;
    if (!is_obj(v))
        return v.bits == STAR_TRUE.bits;
    switch (obj_of(v)->type) {
    case O_STRING: case O_BYTES: return STR_OBJ(v)->len > 0;
    case O_LIST: return LIST_OBJ(v)->len > 0;
    case O_TUPLE: return TUPLE_OBJ(v)->h.aux > 0;
    case O_DICT: case O_SET: return DICT_OBJ(v)->live > 0;
    case O_RANGE: return RANGE_OBJ(v)->len > 0;
    case O_FLOAT: return float_of(v) != 0;
    case O_HOST: {
        const struct star_host_type *t = HOST_OBJ(v)->type;
        return t->truth ? t->truth(HOST_OBJ(v)->self) : true;
    }
    default: return true;
    }
}

bool star_is_callable(star_v v)
{
    return is_type(v, O_FUNCTION) || is_type(v, O_BUILTIN) || (is_type(v, O_HOST) && HOST_OBJ(v)->type->call);
}

bool star_is_iterable(star_v v)
{
    if (!is_obj(v))
        return false;
    switch (obj_of(v)->type) {
    case O_LIST: case O_TUPLE: case O_DICT: case O_SET: case O_RANGE: case O_ELEMS: return true;
    case O_HOST: return HOST_OBJ(v)->type->iter_next != NULL;
    default: return false;
    }
}

/* ---- numbers ---- */

star_v star_int(struct arena *a, int64_t i)
{
    if (fits_small(i))
        return small_int(i);
    uint64_t limb = i < 0 ? -(uint64_t)i : (uint64_t)i;
    return int_norm(a, i < 0, &limb, 1);
}

star_v star_uint(struct arena *a, uint64_t u)
{
    return u <= SMALL_MAX ? small_int((int64_t)u) : int_norm(a, false, &u, 1);
}

star_v star_int_parse(struct arena *a, struct str s)
{
    bool neg = s.len > 0 && s.ptr[0] == '-';
    if (neg || (s.len > 0 && s.ptr[0] == '+'))
        s = str_from_off(s, 1);
    return int_parse(a, s, 10, neg);
}

bool star_to_i64(star_v v, int64_t *out)
{
    if (is_int(v)) {
        *out = int_of(v);
        return true;
    }
    if (!is_type(v, O_BIGINT) || BIG_OBJ(v)->n != 1)
        return false;
    uint64_t limb = BIG_OBJ(v)->limbs[0];
    bool neg = BIG_OBJ(v)->h.aux;
    if (limb > (uint64_t)INT64_MAX + neg)
        return false;
    *out = neg ? (int64_t)-limb : (int64_t)limb;
    return true;
}

star_v float_box(struct arena *a, double d)
{
    static struct float_obj zero __attribute__((aligned(16))) = {.h = {.type = O_FLOAT, .frozen = 1}, .d = 0.0};
    static struct float_obj minus_zero __attribute__((aligned(16))) = {.h = {.type = O_FLOAT, .frozen = 1}, .d = -0.0};
    if (d == 0)
        return obj_v(__builtin_signbit(d) ? &minus_zero : &zero);
    struct float_obj *f = new_obj(a, sizeof *f, O_FLOAT);
    if (!f)
        return STAR_NULL;
    f->d = d;
    return obj_v(f);
}

star_v star_float(struct arena *a, double d)
{
    return float_v(a, d);
}

bool star_to_double(star_v v, double *out)
{
    if (is_float(v))
        *out = float_of(v);
    else if (is_any_int(v))
        *out = int_to_double(v);
    else
        return false;
    return true;
}

/* ---- strings ---- */

struct str_obj *string_new(struct arena *a, size_t len, char **bytes)
{
    if (len > INT32_MAX)
        return NULL;
    struct str_obj *s = new_obj(a, sizeof *s + len + 1, O_STRING);
    if (!s)
        return NULL;
    char *p = (char *)(s + 1);
    p[len] = 0;
    s->len = (uint32_t)len;
    s->ptr = p;
    *bytes = p;
    return s;
}

star_v star_string(struct arena *a, struct str s)
{
    if (s.len <= 1)
        return obj_v(s.len == 0 ? &empty_string : &byte_strings[(unsigned char)s.ptr[0]]);
    char *p;
    struct str_obj *o = string_new(a, s.len, &p);
    if (!o)
        return STAR_NULL;
    memcpy(p, s.ptr, s.len);
    return obj_v(o);
}

star_v star_string_borrow(struct arena *a, struct str s)
{
    if (s.len <= 1)
        return star_string(a, s);
    struct str_obj *o = s.len <= INT32_MAX ? new_obj(a, sizeof *o, O_STRING) : NULL;
    if (!o)
        return STAR_NULL;
    o->len = (uint32_t)s.len;
    o->ptr = s.ptr;
    return obj_v(o);
}

star_v star_string_z(struct arena *a, const char *z)
{
    return star_string(a, str_from(z));
}

star_v star_bytes(struct arena *a, struct str s)
{
    if (s.len == 0)
        return obj_v(&empty_bytes);
    char *p;
    struct str_obj *o = string_new(a, s.len, &p);
    if (!o)
        return STAR_NULL;
    memcpy(p, s.ptr, s.len);
    o->h.type = O_BYTES;
    return obj_v(o);
}

bool star_to_str(star_v v, struct str *out)
{
    if (!is_string(v))
        return false;
    *out = str_of_v(v);
    return true;
}

struct str star_text(star_v v)
{
    struct str s = {0};
    star_to_str(v, &s);
    return s;
}

bool star_to_bytes(star_v v, struct str *out)
{
    if (!is_type(v, O_BYTES))
        return false;
    *out = str_of_v(v);
    return true;
}

/* Long slices share the bytes, short ones are copied: a header costs as much. */
star_v string_slice(struct arena *a, star_v v, size_t from, size_t to, enum obj_type type)
{
    const struct str_obj *s = STR_OBJ(v);
    if (from == 0 && to == s->len)
        return v;
    struct str part = str_of(s->ptr + from, to - from);
    if (type == O_BYTES && part.len < 32)
        return star_bytes(a, part);
    if (part.len < 32)
        return star_string(a, part);
    struct str_obj *o = new_obj(a, sizeof *o, type);
    if (!o)
        return STAR_NULL;
    o->len = (uint32_t)part.len;
    o->ptr = part.ptr;
    return obj_v(o);
}

/* x + y. The bytes of a long result stay in a buffer with room behind, so a string built by repeated
 * appending is copied a constant number of times; a short or first one is plain. */
star_v string_concat(struct arena *a, star_v x, star_v y)
{
    const struct str_obj *s = STR_OBJ(x), *t = STR_OBJ(y);
    size_t len = (size_t)s->len + t->len;
    if (t->len == 0)
        return x;
    if (s->len == 0)
        return y;
    enum { GROW_FROM = 64 };
    if (len < GROW_FROM) {
        char *p;
        struct str_obj *o = string_new(a, len, &p);
        if (!o)
            return STAR_NULL;
        memcpy(p, s->ptr, s->len);
        memcpy(p + s->len, t->ptr, t->len);
        o->h.type = s->h.type;
        return obj_v(o);
    }
    if (len > INT32_MAX)
        return STAR_NULL;
    struct str_obj *o = new_obj(a, sizeof *o, (enum obj_type)s->h.type);
    if (!o)
        return STAR_NULL;
    if ((s->h.flags & STRING_GROWS) && !s->h.frozen) {
        struct grow_buf *b = (struct grow_buf *)(s->ptr - sizeof *b);
        if (b->used == s->len && b->cap - b->used >= t->len) {
            memcpy(b->bytes + b->used, t->ptr, t->len);
            b->used = len;
            o->ptr = s->ptr;
            goto done;
        }
    }
    size_t cap = len < 256 * 1024 ? len * 2 : len + len / 4;
    struct grow_buf *b = star_alloc(a, sizeof *b + cap);
    if (!b) {
        cap = len;
        b = star_alloc(a, sizeof *b + cap);
    }
    if (!b)
        return STAR_NULL;
    b->cap = cap;
    b->used = len;
    memcpy(b->bytes, s->ptr, s->len);
    memcpy(b->bytes + s->len, t->ptr, t->len);
    o->ptr = b->bytes;
done:
    o->len = (uint32_t)len;
    o->h.flags = STRING_GROWS;
    return obj_v(o);
}

/* ---- lists and tuples ---- */

struct list_obj *list_new(struct arena *a, size_t cap)
{
    struct list_obj *l = new_obj(a, sizeof *l, O_LIST);
    if (!l)
        return NULL;
    l->len = l->cap = 0;
    l->items = NULL;
    if (cap > 0 && !list_reserve(a, l, cap))
        return NULL;
    return l;
}

bool list_reserve(struct arena *a, struct list_obj *l, size_t more)
{
    size_t need = l->len + more;
    if (need <= l->cap)
        return true;
    if (need > UINT32_MAX / 2)
        return false;
    size_t cap = l->cap == 0 ? MAX(need, (size_t)4) : MAX(need, (size_t)l->cap * 2);
    cap = (cap + 1) & ~(size_t)1;
#if !defined(__SANITIZE_ADDRESS__)
    /* The newest block of the arena grows where it is. */
    if (l->cap > 0 && (char *)(l->items + l->cap) == a->cur && (size_t)(a->end - a->cur) >= (cap - l->cap) * sizeof(star_v)) {
        a->cur += (cap - l->cap) * sizeof(star_v);
        l->cap = (uint32_t)cap;
        return true;
    }
#endif
    star_v *items = star_alloc(a, cap * sizeof *items);
    if (!items)
        return false;
    if (l->len > 0)
        memcpy(items, l->items, l->len * sizeof *items);
    l->items = items;
    l->cap = (uint32_t)cap;
    return true;
}

star_v star_list(struct arena *a, const star_v *items, size_t n)
{
    struct list_obj *l = list_new(a, n);
    if (!l)
        return STAR_NULL;
    for (size_t i = 0; i < n; i++) {
        if (star_is_null(items[i]))
            return STAR_NULL;
        l->items[i] = items[i];
    }
    l->len = (uint32_t)n;
    return obj_v(l);
}

struct tuple_obj *tuple_new(struct arena *a, size_t n)
{
    if (n == 0)
        return &empty_tuple;
    if (n > UINT32_MAX / 2)
        return NULL;
    struct tuple_obj *t = new_obj(a, sizeof *t + n * sizeof(star_v), O_TUPLE);
    if (t)
        t->h.aux = (uint32_t)n;
    return t;
}

star_v star_tuple(struct arena *a, const star_v *items, size_t n)
{
    struct tuple_obj *t = tuple_new(a, n);
    if (!t)
        return STAR_NULL;
    for (size_t i = 0; i < n; i++) {
        if (star_is_null(items[i]))
            return STAR_NULL;
        t->items[i] = items[i];
    }
    return obj_v(t);
}

bool star_list_append(struct arena *a, star_v list, star_v item)
{
    if (!is_type(list, O_LIST) || star_is_null(item))
        return false;
    struct list_obj *l = LIST_OBJ(list);
    return !l->h.frozen && l->h.aux == 0 && list_push(a, l, item);
}

bool seq_items(star_v v, const star_v **items, size_t *n)
{
    if (is_type(v, O_LIST)) {
        *items = LIST_OBJ(v)->items;
        *n = LIST_OBJ(v)->len;
        return true;
    }
    if (is_type(v, O_TUPLE)) {
        *items = TUPLE_OBJ(v)->items;
        *n = TUPLE_OBJ(v)->h.aux;
        return true;
    }
    return false;
}

size_t star_len(star_v v)
{
    int64_t n = value_len(v);
    return n > 0 ? (size_t)n : 0;
}

star_v star_item(star_v v, size_t i)
{
    const star_v *items;
    size_t n;
    return seq_items(v, &items, &n) && i < n ? items[i] : STAR_NULL;
}

/* ---- structs ---- */

static star_v struct_new(struct arena *a, struct shape *shape, const star_v *values)
{
    struct struct_obj *s = shape ? new_obj(a, sizeof *s + shape->n * sizeof(star_v), O_STRUCT) : NULL;
    if (!s)
        return STAR_NULL;
    s->h.aux = shape->n;
    s->shape = shape;
    for (uint32_t i = 0; i < shape->n; i++) {
        if (star_is_null(values[i]))
            return STAR_NULL;
        s->values[i] = values[i];
    }
    return obj_v(s);
}

static struct shape *shape_new(struct arena *a, star_v ctor, size_t n)
{
    struct shape *shape = star_alloc(a, sizeof *shape + n * sizeof(star_v));
    if (!shape)
        return NULL;
    shape->ctor = ctor;
    shape->n = (uint32_t)n;
    return shape;
}

star_v star_struct_str(struct arena *a, struct str ctor, const struct str *names, const star_v *values, size_t n)
{
    struct shape *shape = shape_new(a, star_string(a, ctor), n);
    if (!shape || star_is_null(shape->ctor))
        return STAR_NULL;
    for (size_t i = 0; i < n; i++) {
        shape->names[i] = star_string(a, names[i]);
        if (star_is_null(shape->names[i]))
            return STAR_NULL;
    }
    return struct_new(a, shape, values);
}

star_v star_struct(struct arena *a, const char *ctor, const char *const *names, const star_v *values, size_t n)
{
    struct shape *shape = shape_new(a, star_string_z(a, ctor), n);
    if (!shape || star_is_null(shape->ctor))
        return STAR_NULL;
    for (size_t i = 0; i < n; i++) {
        shape->names[i] = star_string_z(a, names[i]);
        if (star_is_null(shape->names[i]))
            return STAR_NULL;
    }
    return struct_new(a, shape, values);
}

static bool shape_fits(const struct shape *s, star_v ctor, const star_v *names, size_t n)
{
    if (s->n != n || s->ctor.bits != ctor.bits)
        return false;
    for (size_t i = 0; i < n; i++)
        if (s->names[i].bits != names[i].bits)
            return false;
    return true;
}

/* Structs made by the same call have the same names: their shape is shared through a small cache. */
star_v struct_from_pairs(struct star_run *run, star_v ctor, const star_v *names, const star_v *values, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ names[i].bits) * UINT64_C(0x9E3779B97F4A7C15);
    struct shape **slot = &run->shapes.slots[h >> 60];
    if (!*slot || !shape_fits(*slot, ctor, names, n)) {
        struct shape *s = shape_new(run->arena, ctor, n);
        if (!s)
            return STAR_NULL;
        if (n > 0)
            memcpy(s->names, names, n * sizeof *names);
        *slot = s;
    }
    return struct_new(run->arena, *slot, values);
}

star_v star_struct_get(star_v v, struct str name)
{
    if (!is_type(v, O_STRUCT))
        return STAR_NULL;
    const struct struct_obj *s = STRUCT_OBJ(v);
    for (uint32_t i = 0; i < s->shape->n; i++)
        if (str_eq(str_of_v(s->shape->names[i]), name))
            return s->values[i];
    return STAR_NULL;
}

struct str star_struct_ctor(star_v v)
{
    if (!is_type(v, O_STRUCT))
        return (struct str){0};
    return str_of_v(STRUCT_OBJ(v)->shape->ctor);
}

bool star_struct_next(star_v v, size_t *at, struct str *name, star_v *value)
{
    if (!is_type(v, O_STRUCT) || *at >= STRUCT_OBJ(v)->shape->n)
        return false;
    *name = str_of_v(STRUCT_OBJ(v)->shape->names[*at]);
    *value = STRUCT_OBJ(v)->values[*at];
    ++*at;
    return true;
}

/* ---- functions and host objects ---- */

star_v star_builtin_bound(struct arena *a, const char *name, star_fn fn, void *data, star_v recv)
{
    struct builtin_obj *b = new_obj(a, sizeof *b, O_BUILTIN);
    if (!b)
        return STAR_NULL;
    b->fn = fn;
    b->fast = NULL;
    b->data = data;
    b->recv = recv;
    b->name = str_from(name);
    return obj_v(b);
}

star_v star_builtin(struct arena *a, const char *name, star_fn fn, void *data)
{
    return star_builtin_bound(a, name, fn, data, STAR_NULL);
}

star_v bind_method(struct arena *a, const struct builtin_obj *m, star_v recv)
{
    struct builtin_obj *b = new_obj(a, sizeof *b, O_BUILTIN);
    if (!b)
        return STAR_NULL;
    struct obj h = b->h;
    *b = *m;
    b->h = h;
    b->recv = recv;
    return obj_v(b);
}

void *star_builtin_data(star_v v, star_fn fn)
{
    return is_type(v, O_BUILTIN) && BUILTIN_OBJ(v)->fn == fn ? BUILTIN_OBJ(v)->data : NULL;
}

struct str star_function_name(star_v v)
{
    if (is_type(v, O_FUNCTION))
        return FUNC_OBJ(v)->proto->name;
    if (is_type(v, O_BUILTIN))
        return BUILTIN_OBJ(v)->name;
    return (struct str){0};
}

struct str star_function_pos(struct arena *a, star_v v)
{
    if (!is_type(v, O_FUNCTION))
        return (struct str){0};
    const struct proto *p = FUNC_OBJ(v)->proto;
    return str_printf(a, STR_FMT ":%u:%u", STR_ARG(p->program->file), p->def_pos.line, p->def_pos.col);
}

size_t star_function_arity(star_v v)
{
    return is_type(v, O_FUNCTION) ? FUNC_OBJ(v)->proto->n_params - FUNC_OBJ(v)->proto->n_kwonly : 0;
}

star_v star_host(struct arena *a, const struct star_host_type *type, void *self)
{
    struct host_obj *h = new_obj(a, sizeof *h, O_HOST);
    if (!h)
        return STAR_NULL;
    h->type = type;
    h->self = self;
    return obj_v(h);
}

void *star_host_data(star_v v, const struct star_host_type *type)
{
    return is_type(v, O_HOST) && HOST_OBJ(v)->type == type ? HOST_OBJ(v)->self : NULL;
}

const struct star_host_type *star_host_type_of(star_v v)
{
    return is_type(v, O_HOST) ? HOST_OBJ(v)->type : NULL;
}

void *star_host_self(star_v v)
{
    return is_type(v, O_HOST) ? HOST_OBJ(v)->self : NULL;
}

/* ---- freezing: a list of work, since data may be deeper than the C stack ---- */

struct work {
    star_v *items;
    size_t n, cap;
};

static void add_work(struct work *w, star_v v)
{
    if (!is_obj(v) || obj_of(v)->frozen)
        return;
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 256;
        w->items = xrealloc(w->items, w->cap * sizeof *w->items);
    }
    w->items[w->n++] = v;
}

static void freeze_one(struct work *w, star_v v)
{
    struct obj *o = obj_of(v);
    if (o->frozen)
        return;
    o->frozen = 1;
    switch (o->type) {
    case O_STRING:
        string_hash(v);
        break;
    case O_LIST:
        o->aux = 0;
        for (uint32_t i = 0; i < LIST_OBJ(v)->len; i++)
            add_work(w, LIST_OBJ(v)->items[i]);
        break;
    case O_TUPLE:
        for (uint32_t i = 0; i < o->aux; i++)
            add_work(w, TUPLE_OBJ(v)->items[i]);
        break;
    case O_DICT: case O_SET:
        o->aux = 0;
        for (uint32_t i = 0; i < DICT_OBJ(v)->len; i++) {
            add_work(w, DICT_OBJ(v)->entries[i].key);
            add_work(w, DICT_OBJ(v)->entries[i].value);
        }
        break;
    case O_STRUCT:
        for (uint32_t i = 0; i < STRUCT_OBJ(v)->shape->n; i++) {
            add_work(w, STRUCT_OBJ(v)->values[i]);
            add_work(w, STRUCT_OBJ(v)->shape->names[i]);
        }
        break;
    case O_FUNCTION: {
        struct func_obj *f = FUNC_OBJ(v);
        for (uint32_t i = 0; i < f->proto->n_defaults; i++)
            add_work(w, f->defaults[i]);
        for (uint32_t i = 0; i < f->proto->n_free; i++)
            add_work(w, f->free[i]->v);
        break;
    }
    case O_BUILTIN:
        add_work(w, BUILTIN_OBJ(v)->recv);
        break;
    case O_ELEMS:
        add_work(w, ELEMS_OBJ(v)->str);
        break;
    case O_HOST:
        if (HOST_OBJ(v)->type->freeze)
            HOST_OBJ(v)->type->freeze(HOST_OBJ(v)->self);
        break;
    default:
        break;
    }
}

void freeze_value(star_v v)
{
    struct work w = {0};
    add_work(&w, v);
    while (w.n > 0)
        freeze_one(&w, w.items[--w.n]);
    free(w.items);
}

void star_freeze(star_v v)
{
    freeze_value(v);
}
