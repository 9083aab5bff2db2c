/* starlark/starlark_int.h: how values, functions and runs are laid out; shared inside the engine.
 *
 * A value is one word. Its low two bits tell:
 *
 *   ..00  int, 62 bits, as bits >> 2: adding two tagged ints adds the ints
 *   ..01  pointer to an object, plus one
 *   ..10  float whose exponent is within +-2^8 of 1.0 (see float_box); others are boxed
 *   ..11  immediate: null 0x03, None 0x07, False 0x0b, True 0x0f, mandatory 0x13
 *
 * Invariants
 * 1. An int that fits 62 bits is never a bigint object; a float that can be immediate is never boxed.
 * 2. Objects never move and are never freed before their arena.
 * 3. A frozen object is never written, except hashes of strings, stored relaxed and always the same.
 * 4. Static objects are born frozen.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STARLARK_INT_H
#define STARLARK_INT_H

#include "starlark.h"

enum obj_type {
    O_STRING = 1,
    O_BYTES,
    O_LIST,
    O_TUPLE,
    O_DICT,
    O_SET,
    O_RANGE,
    O_FUNCTION,
    O_BUILTIN,
    O_STRUCT,
    O_HOST,
    O_BIGINT,
    O_FLOAT,
    O_ELEMS,    /* s.elems() and the like */
    N_OBJ_TYPES
};

struct obj {
    uint8_t type;
    uint8_t frozen;
    uint16_t flags;
    uint32_t aux;   /* string: hash or 0; list, dict, set: iterations under way; tuple, struct: length */
};

enum { STRING_GROWS = 1 /* ptr is the start of a buffer that may have room behind (struct grow_buf) */ };
struct str_obj {
    struct obj h;
    uint32_t len;
    uint32_t pad;
    const char *ptr;
};
/* Before the bytes of a string made by `+`: the next `+` to its end needs no copy. */
struct grow_buf {
    uint64_t used, cap;
    char bytes[];
};

struct list_obj {
    struct obj h;
    uint32_t len, cap;
    star_v *items;
};

struct tuple_obj {
    struct obj h;
    star_v items[];
};

struct dict_entry {
    star_v key;     /* null: deleted */
    star_v value;
    uint32_t hash;
    uint32_t pad;
};
/* Entries in insertion order; an open-addressing index of entry numbers + 1 when there are more than
 * DICT_SMALL. Sets are dicts whose values are None. */
enum { DICT_SMALL = 8 };
struct dict_obj {
    struct obj h;
    uint32_t len;       /* entries in use, deleted ones included */
    uint32_t live;
    uint32_t cap;
    uint32_t mask;      /* of the index; 0: no index */
    struct dict_entry *entries;
    uint32_t *index;
};

struct range_obj {
    struct obj h;
    int64_t start, stop, step, len;
};

struct shape {
    star_v ctor;        /* string, or null */
    uint32_t n;
    star_v names[];     /* strings */
};
enum { STRUCT_IS_MODULE = 1 /* type() is "module" */ };
struct struct_obj {
    struct obj h;
    struct shape *shape;
    star_v values[];
};

struct host_obj {
    struct obj h;
    const struct star_host_type *type;
    void *self;
};

struct bigint_obj {
    struct obj h;       /* aux: 1 when negative */
    uint64_t n;         /* limbs, the highest not zero */
    uint64_t limbs[];
};

struct float_obj {
    struct obj h;
    double d;
};

enum elems_kind { ELEMS_BYTES_STR, ELEMS_BYTES_ORD, ELEMS_CODEPOINTS, ELEMS_CODEPOINT_ORDS, ELEMS_OF_BYTES };
struct elems_obj {
    struct obj h;       /* flags: elems_kind */
    star_v str;
};

/* For the common argument counts: gives the result, or null to have the general function decide. */
typedef star_v (*fast_fn)(struct star_run *run, star_v recv, const star_v *args, size_t n);

struct builtin_obj {
    struct obj h;
    star_fn fn;
    fast_fn fast;
    void *data;
    star_v recv;
    struct str name;
};
#define BUILTIN_INIT(nm, function, fast_function)                                                       \
    {.h = {.type = O_BUILTIN, .frozen = 1}, .fn = (function), .fast = (fast_function), .recv = {0x03}, \
     .name = {(nm), sizeof(nm) - 1}}

struct cell {
    star_v v;
};

struct insn {
    uint16_t op, a;
    union {
        struct {
            uint16_t b, c;
        };
        int32_t d;
    };
};
static_assert(sizeof(struct insn) == 8, "one word");

enum opcode {
#define OP(name, words, form, meaning) OP_##name,
#include "opcodes.h"
    N_OPCODES
};

struct capture {
    bool is_free;       /* of the enclosing function's free cells, else a register holding a cell */
    uint32_t index;
};
/* A loop's extent in the code, so that an error can end its iteration. */
struct loop_range {
    uint32_t from, to;  /* instructions [from, to) */
    uint32_t reg;
};
struct code_pos {
    uint32_t line, col;
};

/* What a def or lambda compiles to. */
struct proto {
    struct star_program *program;
    struct insn *code;
    struct code_pos *pos;       /* one per instruction */
    uint32_t n_code;
    uint32_t n_regs;
    uint32_t n_params;          /* named ones: positional, then keyword-only */
    uint32_t n_kwonly;
    uint32_t n_defaults;        /* for the last ones; mandatory where there is none */
    bool has_varargs, has_kwargs;
    bool is_simple;             /* positional parameters only */
    bool no_recursion;
    bool clear_locals;          /* locals may be read before assignment: clear registers at entry */
    uint32_t n_locals;
    uint32_t n_free;
    star_v *param_names;        /* strings */
    struct capture *captures;   /* [n_free] */
    star_v *free_names;
    struct loop_range *loops;
    uint32_t n_loops;
    struct str name;
    struct code_pos def_pos;
};

struct attr_ref {
    star_v name;                /* string */
    uint16_t method;            /* its number if some built-in type has such a method, else 0 */
    uint32_t hint;              /* field number seen last; accessed relaxed by all threads */
};
/* How the arguments of a CALLX are laid out after the callee. */
struct call_shape {
    uint32_t n_named;
    bool has_args, has_kwargs;
    star_v *names;              /* [n_named] */
};

struct star_program {
    struct str file;
    const struct star_options *opts;
    struct proto *top;
    struct proto **protos;
    star_v *consts;
    struct attr_ref *attrs;
    struct call_shape *shapes;
    struct star_load *loads;
    struct load_site *sites;    /* [n_loads] */
    size_t n_loads;
    star_v *global_names;
    bool *global_hidden;        /* bound by load: not exported */
    uint32_t n_globals;
    star_v *pre_names;
    uint32_t n_pre;
};
struct load_site {
    star_v module;
    uint32_t n;
    star_v *names;
};

struct star_module {
    struct str name;
    const struct star_program *program; /* NULL when made of values */
    star_v *names;
    star_v *globals;
    const bool *hidden;
    uint32_t n;
    star_v *predeclared;
};

struct func_obj {
    struct obj h;
    struct proto *proto;
    struct star_module *module;
    struct cell **free;
    star_v *defaults;
};

enum frame_kind { FRAME_CODE, FRAME_NATIVE, FRAME_ROOT };
struct frame {
    uint8_t kind;
    uint8_t freed;              /* iterations were ended (unwinding) */
    uint16_t dst;               /* caller's register for the result */
    uint32_t base;              /* of its registers, in run->stack */
    union {
        struct {
            struct func_obj *fn;
            const struct insn *pc;  /* next instruction; kept in the VM loop while it runs */
        };
        struct {
            star_then_fn then;
            void *state;
        };
    };
    const struct builtin_obj *builtin;  /* FRAME_NATIVE: whose continuation, for the call stack */
};

struct shape_cache {
    struct shape *slots[16];
};

struct star_run {
    int64_t fuel;               /* steps until the next look at limits and cancellation */
    star_v *stack;
    uint32_t stack_cap;
    uint32_t n_frames, cap_frames;
    struct frame *frames;
    struct arena *arena;
    uint32_t depth_limit;
    uint8_t state;
    bool is_exec;
    bool out_of_steps;
    uint8_t why;                /* of the error being raised */
    int64_t fuel_given;
    uint64_t steps_used, steps_limit;
    uint64_t slice, slice_left;
    const int *cancel;
    void *user;
    star_print_fn print;
    void *print_ctx;
    star_loader_fn loader;
    void *loader_ctx;
    star_v result;
    struct star_module *module;
    struct str msg;             /* of the error being raised */
    struct star_error error;
    const struct builtin_obj *failed_builtin;
    /* star_then() request, valid when a builtin returns STAR_CALL */
    star_v then_callee;
    const star_v *then_args;
    size_t then_n;
    star_then_fn then_fn;
    void *then_state;
    /* what a suspended builtin's result goes to */
    enum { WAIT_NONE, WAIT_CALL, WAIT_ITER, WAIT_ITER_DONE } waiting;
    uint16_t pending_dst;
    bool is_completed, is_failed;
    star_v pending;
    bool has_msg;
    enum { RUN_IDLE, RUN_READY, RUN_CODE, RUN_WAITING } phase;
    struct cell **top_free;
    struct shape_cache shapes;
};

/* ---- tags ---- */

#define MANDATORY ((star_v){0x13})
#define V(b)      ((star_v){(uint64_t)(b)})

static inline bool is_int(star_v v)
{
    return (v.bits & 3) == 0;
}
static inline bool is_obj(star_v v)
{
    return (v.bits & 3) == 1;
}
static inline bool is_imm_float(star_v v)
{
    return (v.bits & 3) == 2;
}
static inline bool both_int(star_v x, star_v y)
{
    return ((x.bits | y.bits) & 3) == 0;
}
static inline int64_t int_of(star_v v)
{
    return (int64_t)v.bits >> 2;
}
static inline struct obj *obj_of(star_v v)
{
    return (struct obj *)(v.bits - 1);
}
static inline bool is_type(star_v v, enum obj_type t)
{
    return is_obj(v) && obj_of(v)->type == t;
}
static inline star_v obj_v(const void *o)
{
    return (star_v){(uint64_t)(uintptr_t)o + 1};
}
static inline star_v obj_or_null(const void *o)
{
    return o ? obj_v(o) : STAR_NULL;
}
#define SMALL_MAX ((INT64_C(1) << 61) - 1)
#define SMALL_MIN (-(INT64_C(1) << 61))
static inline bool fits_small(int64_t i)
{
    return i >= SMALL_MIN && i <= SMALL_MAX;
}
static inline star_v small_int(int64_t i)
{
    return (star_v){(uint64_t)i << 2};
}
#define STR_OBJ(v)    ((struct str_obj *)obj_of(v))
#define LIST_OBJ(v)   ((struct list_obj *)obj_of(v))
#define TUPLE_OBJ(v)  ((struct tuple_obj *)obj_of(v))
#define DICT_OBJ(v)   ((struct dict_obj *)obj_of(v))
#define RANGE_OBJ(v)  ((struct range_obj *)obj_of(v))
#define STRUCT_OBJ(v) ((struct struct_obj *)obj_of(v))
#define HOST_OBJ(v)   ((struct host_obj *)obj_of(v))
#define BIG_OBJ(v)    ((struct bigint_obj *)obj_of(v))
#define FUNC_OBJ(v)   ((struct func_obj *)obj_of(v))
#define BUILTIN_OBJ(v) ((struct builtin_obj *)obj_of(v))
#define ELEMS_OBJ(v)  ((struct elems_obj *)obj_of(v))

static inline bool is_string(star_v v)
{
    return is_type(v, O_STRING);
}
static inline struct str str_of_v(star_v v) /* of a string or bytes */
{
    return (struct str){STR_OBJ(v)->ptr, STR_OBJ(v)->len};
}
static inline bool is_any_int(star_v v)
{
    return is_int(v) || is_type(v, O_BIGINT);
}
static inline bool is_float(star_v v)
{
    return is_imm_float(v) || is_type(v, O_FLOAT);
}
static inline bool is_bool(star_v v)
{
    return v.bits == STAR_TRUE.bits || v.bits == STAR_FALSE.bits;
}

/* Immediate floats: subtracting this from the bits puts the exponents of 2^-255 .. 2^256 at zero, so after
 * a rotation by three the two tag bits are free. */
#define FLOAT_BIAS UINT64_C(0x3000000000000000)
static inline uint64_t rotl64(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}
star_v float_box(struct arena *a, double d);
static inline star_v float_v(struct arena *a, double d)
{
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    uint64_t t = rotl64(u - FLOAT_BIAS, 3);
    if (LIKELY((t & 3) == 0))
        return V(t | 2);
    return float_box(a, d);
}
static inline double float_of(star_v v)
{
    if (LIKELY(is_imm_float(v))) {
        uint64_t u = rotl64(v.bits ^ 2, 61) + FLOAT_BIAS;
        double d;
        memcpy(&d, &u, sizeof d);
        return d;
    }
    return ((struct float_obj *)obj_of(v))->d;
}

/* ---- memory ---- */

/* NULL at the cap. */
static inline void *star_alloc(struct arena *a, size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
    return arena_try_alloc(a, size);
#else
    if (LIKELY(size <= (size_t)1 << 40)) {
        size_t n = (size + 15) & ~(size_t)15;
        if (LIKELY(n <= (size_t)(a->end - a->cur))) {
            void *p = a->cur;
            a->cur += n;
            return p;
        }
    }
    return arena_try_alloc(a, size);
#endif
}
static inline void *new_obj(struct arena *a, size_t size, enum obj_type type)
{
    struct obj *o = star_alloc(a, size);
    if (LIKELY(o != NULL))
        *o = (struct obj){.type = (uint8_t)type};
    return o;
}

/* ---- value.c ---- */
extern struct str_obj byte_strings[256];    /* one-byte strings, static */
extern struct str_obj empty_string;
struct tuple_obj *tuple_new(struct arena *a, size_t n);     /* items not set */
struct list_obj *list_new(struct arena *a, size_t cap);
bool list_reserve(struct arena *a, struct list_obj *l, size_t more);
static inline bool list_push(struct arena *a, struct list_obj *l, star_v v)
{
    if (UNLIKELY(l->len == l->cap) && !list_reserve(a, l, 1))
        return false;
    l->items[l->len++] = v;
    return true;
}
struct str_obj *string_new(struct arena *a, size_t len, char **bytes);  /* bytes to be filled in; NULL at the cap */
star_v string_slice(struct arena *a, star_v s, size_t from, size_t to, enum obj_type type);
uint32_t string_hash(star_v v);
uint32_t bytes_hash(const void *ptr, size_t len);
/* Equal bytes, equal kind. */
static inline bool string_equal(star_v x, star_v y)
{
    if (x.bits == y.bits)
        return true;
    const struct str_obj *a = STR_OBJ(x), *b = STR_OBJ(y);
    return a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
}
star_v string_concat(struct arena *a, star_v x, star_v y);
extern const char *const obj_type_names[N_OBJ_TYPES];
bool seq_items(star_v v, const star_v **items, size_t *n);  /* of a list or tuple */

/* ---- hash and equality: equal.c ---- */
/* Why not: hash_too_deep, or the name of the unhashable type. */
extern const char hash_too_deep[];
bool value_hash(star_v v, uint32_t *out, const char **why);
enum { CMP_FAIL = -2 };
/* 1 equal, 0 not, CMP_FAIL too deep. */
int value_equal(star_v x, star_v y, int depth);
static inline bool same_bits_equal(star_v x) /* x == x without looking inside: everything but NaN holders */
{
    return !is_float(x);
}
/* Ordered comparison with the operator's token text for messages; fails through star_fail. */
bool value_compare(struct star_run *run, enum opcode op, star_v x, star_v y, bool *out);
enum { COMPARE_DEPTH = 500, REPR_DEPTH = 500 };

/* ---- dict.c ---- */
struct dict_obj *dict_new(struct arena *a, size_t expected, enum obj_type type);
/* The entry, or NULL. */
struct dict_entry *dict_find(const struct dict_obj *d, star_v key, uint32_t hash);
struct dict_entry *dict_find_str(const struct dict_obj *d, struct str key, uint32_t hash);
/* Adds or replaces; false at the cap. The caller has checked that it may be changed. *added may be NULL. */
bool dict_put(struct arena *a, struct dict_obj *d, star_v key, uint32_t hash, star_v value, bool *added);
star_v dict_remove(struct dict_obj *d, struct dict_entry *e);   /* its value */
void dict_clear(struct dict_obj *d);
/* "cannot insert into frozen hash table" and the like; fails through star_fail. */
bool dict_mutable(struct star_run *run, const struct dict_obj *d, const char *verb);
bool list_mutable(struct star_run *run, const struct list_obj *l, const char *verb);
/* With the language's checks and errors. */
bool dict_set_checked(struct star_run *run, struct dict_obj *d, star_v key, star_v value);
bool key_hash(struct star_run *run, star_v key, uint32_t *hash);

/* ---- int.c ---- */
star_v int_norm(struct arena *a, bool negative, const uint64_t *limbs, size_t n);
star_v int_binary(struct star_run *run, enum opcode op, star_v x, star_v y);    /* null: failed, or the cap */
star_v int_neg(struct arena *a, star_v x);
star_v int_inv(struct arena *a, star_v x);
int int_cmp(star_v x, star_v y);
int int_sign(star_v x);
double int_to_double(star_v x);             /* may be infinite */
int int_cmp_double(star_v x, double d);     /* d not NaN */
star_v int_from_double(struct arena *a, double d);  /* truncates; d finite */
uint32_t int_hash(star_v x);
/* Digits of a base after an optional sign has been dealt with; null when there is another character. */
star_v int_parse(struct arena *a, struct str digits, int base, bool negative);
bool int_format(struct buf *out, star_v x, int base, bool upper);
static inline star_v int_v(struct arena *a, int64_t i)
{
    return LIKELY(fits_small(i)) ? small_int(i) : star_int(a, i);
}

/* ---- float.c ---- */
bool float_repr(struct buf *out, double d);             /* as str(): %g-like, shortest */
bool float_json(struct buf *out, double d);
bool float_format(struct buf *out, double d, char conv);/* %e %f %g */
bool float_parse(struct str s, double *out);            /* decimal literal, whole string; may give inf */

/* ---- print.c ---- */
enum { PRINT_STR = 1 };
/* Why it failed: NULL when the buffer is full. */
bool value_print(struct buf *out, star_v v, int flags, const char **why);
bool quote_string(struct buf *out, struct str s, bool is_bytes);

/* ---- unicode.c ---- */
/* Decodes one code point; invalid bytes give U+FFFD and a width of 1. */
uint32_t utf8_decode(struct str s, size_t *width);
size_t utf8_encode(uint32_t r, char out[4]);
size_t utf8_count(struct str s);
bool uni_is_letter(uint32_t r);
bool uni_is_digit(uint32_t r);
bool uni_is_upper(uint32_t r);
bool uni_is_lower(uint32_t r);
bool uni_is_title(uint32_t r);
bool uni_is_space(uint32_t r);
bool uni_is_print(uint32_t r);
bool uni_is_cased(uint32_t r);
uint32_t uni_to_upper(uint32_t r);
uint32_t uni_to_lower(uint32_t r);
uint32_t uni_to_title(uint32_t r);

/* ---- operators.c: slow paths of the VM; null or false when failed through star_fail (or the cap) ---- */
star_v op_binary(struct star_run *run, enum opcode op, star_v x, star_v y);
star_v op_iadd(struct star_run *run, star_v x, star_v y);
star_v op_ior(struct star_run *run, star_v x, star_v y);
star_v op_unary(struct star_run *run, enum opcode op, star_v x);
star_v op_index(struct star_run *run, star_v x, star_v y);
bool op_setindex(struct star_run *run, star_v x, star_v y, star_v z);
star_v range_new(struct arena *a, int64_t start, int64_t stop, int64_t step);
/* Item i; sums wrap around at 64 bits, as in the Go implementation. */
static inline star_v range_item(struct arena *a, const struct range_obj *r, uint64_t i)
{
    return int_v(a, (int64_t)((uint64_t)r->start + i * (uint64_t)r->step));
}
int64_t range_count(int64_t start, int64_t stop, int64_t step);
bool list_extend(struct star_run *run, struct list_obj *l, star_v y);
bool dict_add_all(struct star_run *run, struct dict_obj *d, const struct dict_obj *from);
star_v set_select(struct star_run *run, const struct dict_obj *x, const struct dict_obj *y, bool in_y, bool both);
star_v string_interpolate(struct star_run *run, star_v format, star_v arg);
star_v op_slice(struct star_run *run, const star_v *xlhs);
star_v op_attr(struct star_run *run, star_v x, struct attr_ref *ref);
/* STAR_OK, STAR_MISSING or STAR_FAIL, no message for a missing one. */
enum star_ret get_attr(struct star_run *run, star_v x, struct str name, star_v *out);
enum star_ret attr_missing(struct star_run *run, star_v x, struct str name);
size_t attr_names(star_v x, struct str *names, size_t max);
bool op_setattr(struct star_run *run, star_v x, struct str name, star_v v);
bool op_in(struct star_run *run, star_v x, star_v y, bool *out);
bool as_i32(struct star_run *run, star_v v, int64_t *out);  /* Go's AsInt32, on 64-bit machines: an int64 */
bool index_range(struct star_run *run, star_v lo, star_v hi, int64_t len, int64_t *from, int64_t *to);
const char *op_text(enum opcode op);

/* ---- iter.c: iteration from C ---- */
struct iter {
    star_v r[3];
    struct star_run *run;
    bool is_active;
};
/* Fails with a message when v is not iterable. End with iter_end, also after failures. */
bool iter_begin(struct star_run *run, struct iter *it, star_v v);
bool iter_next(struct star_run *run, struct iter *it, star_v *out); /* false at the end or on failure */
void iter_end(struct iter *it);
int64_t value_len(star_v v);                /* as len(); -1 when it has none */
/* Items of any iterable as a fresh array in the run's arena. */
bool iter_collect(struct star_run *run, star_v v, star_v **items, size_t *n);

/* ---- methods ---- */
struct method {
    const char *name;
    star_fn fn;
    fast_fn fast;
};
extern const struct method string_methods[], bytes_methods[], list_methods[], dict_methods[], set_methods[];
enum star_ret string_format(struct star_run *run, const struct star_call *call, star_v *out);
size_t text_max(const struct star_run *run);
bool arg_str(struct star_run *run, const struct star_call *call, star_v v, size_t i, struct str *out);
bool arg_int(struct star_run *run, const struct star_call *call, star_v v, size_t i, int64_t *out);
/* The method of a built-in type, NULL when there is none. */
const struct builtin_obj *method_find(enum obj_type t, struct str name);
uint16_t method_number(struct str name);    /* 0: no type has it */
extern const struct builtin_obj *method_table[N_OBJ_TYPES][96];
size_t method_names(enum obj_type t, struct str *names, size_t max);
void methods_init(void);
star_v bind_method(struct arena *a, const struct builtin_obj *m, star_v recv);

enum star_ret prefix_failure(struct star_run *run, struct str name);
bool dict_update_args(struct star_run *run, struct dict_obj *d, const struct star_call *call);
bool set_add_items(struct star_run *run, struct dict_obj *s, star_v v);
star_v list_adopt(struct star_run *run, star_v *items, size_t n);
enum star_ret star_sorted(struct star_run *run, const struct star_call *call, star_v *out);
star_v fast_minmax(struct star_run *run, const star_v *args, size_t n, bool max);
enum star_ret star_minmax(struct star_run *run, const struct star_call *call, star_v *out);

/* ---- universe.c ---- */
star_v universe_get(struct str name);       /* null when absent */
size_t universe_names(struct str *names, size_t max);

/* ---- vm.c, run.c ---- */
enum star_ret star_fail_str(struct star_run *run, struct str msg);
enum star_ret memory_fail(struct star_run *run);
/* star_charge for the run that this thread is executing, for functions that do not know it. */
bool charge_current(uint64_t n);
const char *spell_nearest(struct arena *a, struct str x, const struct str *names, size_t n);
void freeze_value(star_v v);
enum fuel { FUEL_OK, FUEL_YIELD, FUEL_FAIL };
/* Called when the fuel is used up: looks at cancellation, limits and the slice, and fills up again. */
enum fuel refuel(struct star_run *run);
enum called {
    CALLED_CODE,    /* a frame was pushed: run it */
    CALLED_VALUE,   /* the result is in the top frame's register */
    CALLED_DONE,    /* the root call has returned: run->result */
    CALLED_FAIL,
    CALLED_BLOCK,
};
/* Calls stack[base] with npos + nkw arguments above it; the result goes to register dst of the top frame. */
enum called call_any(struct star_run *run, uint32_t base, size_t npos, size_t nkw, const star_v *kwnames, uint16_t dst);
/* A call's result reaches the top frame: native frames go on, code frames get it in dst. */
enum called deliver(struct star_run *run, star_v v, uint16_t dst);
enum vm_end { VM_DONE, VM_FAIL, VM_YIELD, VM_BLOCK };
enum vm_end vm_run(struct star_run *run);
bool stack_reserve(struct star_run *run, size_t slots);
struct frame *frame_push(struct star_run *run);     /* NULL: failed */
/* Binds arguments at `base` (npos values, then nkw values) to fn's parameters in place. */
bool bind_args(struct star_run *run, struct func_obj *fn, uint32_t base, size_t npos, size_t nkw, const star_v *kwnames);
bool is_running(const struct star_run *run, const struct proto *p);
/* Arguments of CALLX: *args and **kwargs spread out above the callee. */
bool spread_args(struct star_run *run, uint32_t base, uint32_t n_pos, const struct call_shape *shape, size_t *npos,
                 size_t *nkw, const star_v **kwnames);
star_v make_function(struct star_run *run, struct func_obj *in, struct proto *p, const star_v *R, uint32_t defaults);
bool import_names(struct star_run *run, struct star_module *m, const struct load_site *site, star_v *out);
void loop_end(star_v *r);   /* FOREND */
/* FORPREP for what is not a range or list; false: failed. */
bool loop_begin(struct star_run *run, star_v *r);
/* FORNEXT for the same: 1 item in *out, 0 at the end, -1 failed, -2 blocked. */
int loop_next(struct star_run *run, star_v *r, star_v *out);
bool unpack(struct star_run *run, star_v v, star_v *out, size_t n);
void unwind(struct star_run *run, bool top_is_after);
/* The value as text for a message, cut at a sane length. */
const char *msg_repr(struct star_run *run, star_v v);
const char *msg_str(struct star_run *run, star_v v);
star_v struct_from_pairs(struct star_run *run, star_v ctor, const star_v *names, const star_v *values, size_t n);

#define FAIL_NULL(...) (star_fail(__VA_ARGS__), STAR_NULL)
#define FAIL_FALSE(...) (star_fail(__VA_ARGS__), false)

#endif
