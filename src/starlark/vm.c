/* starlark/vm.c: the interpreter loop.
 *
 * `pc` points at the instruction being executed, `R` at the running frame's registers, `K` at the program's
 * constants. A frame's own pc is stale while it runs; SAVE() writes it where the VM stops or calls. After
 * anything that may push frames or move the stack, LOAD() reads all of them again.
 *
 * A frame that waits for a call has its pc behind the call. An instruction that runs out of fuel has not
 * begun, so it is simply executed again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

/* Distinct jumps at the end of each instruction predict better; merging them is what these options stop. */
#pragma GCC optimize("no-gcse", "no-crossjumping")

#define SAVE() (f->pc = pc)
#define LOAD()                                   \
    do {                                         \
        f = &run->frames[run->n_frames - 1];     \
        fn = f->fn;                              \
        pc = f->pc;                              \
        R = run->stack + f->base;                \
        K = fn->proto->program->consts;          \
    } while (0)
#define NEXT       goto *labels[pc->op]
#define STEP(n)    do { pc += (n); NEXT; } while (0)
#define CASE(name) L_##name
#define JUMP1()    do { pc += 1 + pc->d; NEXT; } while (0)
#define JUMP2()    do { pc += 2 + pc[1].d; NEXT; } while (0)
#define FUEL()                                   \
    do {                                         \
        if (UNLIKELY(--run->fuel < 0))           \
            goto out_of_fuel;                    \
    } while (0)

/* The slow way of R[a] = x op y. */
#define SLOW_BINARY(op, x, y)                    \
    do {                                         \
        star_v slow = op_binary(run, op, x, y);  \
        if (UNLIKELY(star_is_null(slow)))        \
            goto fail;                           \
        R[pc->a] = slow;                         \
        STEP(1);                                 \
    } while (0)

#define ARITH(name, builtin, float_op)                                          \
    CASE(name) : {                                                              \
        star_v x = R[pc->b], y = R[pc->c];                                      \
        int64_t z;                                                              \
        if (LIKELY(both_int(x, y) &&                                            \
                   !builtin((int64_t)x.bits, (int64_t)y.bits, &z))) {           \
            R[pc->a] = V(z);                                                    \
            STEP(1);                                                            \
        }                                                                       \
        if (is_imm_float(x) && is_imm_float(y)) {                               \
            star_v z2 = float_v(run->arena, float_of(x) float_op float_of(y));  \
            if (UNLIKELY(star_is_null(z2)))                                     \
                goto fail;                                                      \
            R[pc->a] = z2;                                                      \
            STEP(1);                                                            \
        }                                                                       \
        SLOW_BINARY(OP_##name, x, y);                                           \
    }

#define ARITH_IMM(name, plain, builtin)                                         \
    CASE(name) : {                                                              \
        star_v x = R[pc->b];                                                    \
        int64_t z, i = (int16_t)pc->c;                                          \
        if (LIKELY(is_int(x) && !builtin((int64_t)x.bits, i * 4, &z))) {        \
            R[pc->a] = V(z);                                                    \
            STEP(1);                                                            \
        }                                                                       \
        SLOW_BINARY(plain, x, small_int(i));                                    \
    }

#define BITWISE(name, op)                                                       \
    CASE(name) : {                                                              \
        star_v x = R[pc->b], y = R[pc->c];                                      \
        if (LIKELY(both_int(x, y))) {                                           \
            R[pc->a] = V(x.bits op y.bits);                                     \
            STEP(1);                                                            \
        }                                                                       \
        SLOW_BINARY(OP_##name, x, y);                                           \
    }

#define COMPARE(name, op)                                                       \
    CASE(name) : {                                                              \
        star_v x = R[pc->b], y = R[pc->c];                                      \
        bool r;                                                                 \
        if (LIKELY(both_int(x, y)))                                             \
            r = (int64_t)x.bits op (int64_t)y.bits;                             \
        else if (UNLIKELY(!value_compare(run, OP_##name, x, y, &r)))            \
            goto fail;                                                          \
        R[pc->a] = star_bool(r);                                                \
        STEP(1);                                                                \
    }

#define JUMP_COMPARE(name, cmp, op, neg)                                        \
    CASE(name) : {                                                              \
        star_v x = R[pc->a], y = R[pc->b];                                      \
        bool r;                                                                 \
        if (LIKELY(both_int(x, y)))                                             \
            r = (int64_t)x.bits op (int64_t)y.bits;                             \
        else if (UNLIKELY(!value_compare(run, cmp, x, y, &r)))                  \
            goto fail;                                                          \
        if (neg r)                                                              \
            JUMP2();                                                            \
        STEP(2);                                                                \
    }                                                                           \
    CASE(name##I) : {                                                           \
        star_v x = R[pc->a];                                                    \
        int64_t i = (int64_t)(int16_t)pc->b * 4;                                \
        bool r;                                                                 \
        if (LIKELY(is_int(x)))                                                  \
            r = (int64_t)x.bits op i;                                           \
        else if (UNLIKELY(!value_compare(run, cmp, x, V(i), &r)))               \
            goto fail;                                                          \
        if (neg r)                                                              \
            JUMP2();                                                            \
        STEP(2);                                                                \
    }

static inline bool sub_overflow(int64_t x, int64_t y, int64_t *z)
{
    return __builtin_sub_overflow(x, y, z);
}
static inline bool add_overflow(int64_t x, int64_t y, int64_t *z)
{
    return __builtin_add_overflow(x, y, z);
}
/* One operand carries the tag's factor of four, the other is a plain number. */
static inline bool mul_overflow(int64_t x, int64_t y, int64_t *z)
{
    return __builtin_mul_overflow(x >> 2, y, z);
}

static inline bool truth(star_v v)
{
    if (LIKELY((v.bits & 3) == 3))
        return v.bits == STAR_TRUE.bits;
    return star_truth(v);
}

/* Floor division and remainder by a positive constant. */
static inline int64_t floor_div(int64_t x, int64_t y)
{
    int64_t q = x / y;
    return q - ((x % y != 0) & ((x ^ y) < 0));
}
static inline int64_t floor_mod(int64_t x, int64_t y)
{
    int64_t r = x % y;
    return r + (r != 0 && (r ^ y) < 0 ? y : 0);
}

/* The field of a struct, by the place where it was seen last. */
static inline star_v struct_field(star_v x, struct attr_ref *ref)
{
    const struct struct_obj *s = STRUCT_OBJ(x);
    uint32_t hint = __atomic_load_n(&ref->hint, __ATOMIC_RELAXED);
    if (LIKELY(hint < s->shape->n)) {
        star_v name = s->shape->names[hint];
        if (LIKELY(name.bits == ref->name.bits || string_equal(name, ref->name)))
            return s->values[hint];
    }
    return STAR_NULL;
}

static const char *text_z(star_v s)
{
    return STR_OBJ(s)->ptr;     /* names are stored NUL-terminated */
}

enum vm_end vm_run(struct star_run *run)
{
    static const void *const labels[] = {
#define OP(name, words, form, meaning) &&L_##name,
#include "opcodes.h"
    };
    struct frame *f;
    struct func_obj *fn;
    const struct insn *pc;
    star_v *R;
    const star_v *K;
    size_t npos, nkw;
    const star_v *kwnames;
    uint32_t call_base;
    unsigned call_words = 1;
    star_v call_recv = STAR_NULL;

    LOAD();
    NEXT;

    CASE(MOVE) :
        R[pc->a] = R[pc->b];
        STEP(1);
    CASE(LOADK) :
        R[pc->a] = K[pc->d];
        STEP(1);
    CASE(LOADI) :
        R[pc->a] = small_int(pc->d);
        STEP(1);
    CASE(LOADIMM) :
        R[pc->a] = V((uint32_t)pc->d);
        STEP(1);
    CASE(GETGLOBAL) : {
        star_v v = fn->module->globals[pc->d];
        if (UNLIKELY(star_is_null(v))) {
            star_fail(run, "%s variable %s referenced before assignment", fn->module->hidden[pc->d] ? "local" : "global",
                      text_z(fn->module->names[pc->d]));
            goto fail;
        }
        R[pc->a] = v;
        STEP(1);
    }
    CASE(SETGLOBAL) :
        fn->module->globals[pc->d] = R[pc->a];
        STEP(1);
    CASE(GETPRE) :
        R[pc->a] = fn->module->predeclared[pc->d];
        STEP(1);
    CASE(GETCELL) : {
        star_v v = ((struct cell *)R[pc->b].bits)->v;
        if (UNLIKELY(star_is_null(v))) {
            star_fail(run, "local variable %s referenced before assignment", text_z(K[pc[1].d]));
            goto fail;
        }
        R[pc->a] = v;
        STEP(2);
    }
    CASE(SETCELL) :
        ((struct cell *)R[pc->a].bits)->v = R[pc->b];
        STEP(1);
    CASE(GETFREE) : {
        star_v v = fn->free[pc->d]->v;
        if (UNLIKELY(star_is_null(v))) {
            star_fail(run, "local variable %s referenced before assignment", text_z(fn->proto->free_names[pc->d]));
            goto fail;
        }
        R[pc->a] = v;
        STEP(1);
    }
    CASE(MKCELL) : {
        struct cell *c = star_alloc(run->arena, sizeof *c);
        if (UNLIKELY(!c))
            goto fail;
        c->v = R[pc->a];
        R[pc->a] = V((uintptr_t)c);
        STEP(1);
    }
    CASE(CHECK) :
        if (UNLIKELY(star_is_null(R[pc->a]))) {
            star_fail(run, "local variable %s referenced before assignment", text_z(K[pc->d]));
            goto fail;
        }
        STEP(1);

    ARITH(ADD, add_overflow, +)
    ARITH(SUB, sub_overflow, -)
    ARITH(MUL, mul_overflow, *)
    CASE(DIV) : {
        star_v x = R[pc->b], y = R[pc->c];
        if (is_imm_float(x) && is_imm_float(y)) {   /* immediate floats are never zero */
            star_v z = float_v(run->arena, float_of(x) / float_of(y));
            if (UNLIKELY(star_is_null(z)))
                goto fail;
            R[pc->a] = z;
            STEP(1);
        }
        SLOW_BINARY(OP_DIV, x, y);
    }
    CASE(FLOORDIV) : {
        star_v x = R[pc->b], y = R[pc->c];
        if (LIKELY(both_int(x, y) && y.bits != 0 && int_of(y) != -1)) {
            R[pc->a] = small_int(floor_div(int_of(x), int_of(y)));
            STEP(1);
        }
        SLOW_BINARY(OP_FLOORDIV, x, y);
    }
    CASE(MOD) : {
        star_v x = R[pc->b], y = R[pc->c];
        if (LIKELY(both_int(x, y) && y.bits != 0 && int_of(y) != -1)) {
            R[pc->a] = small_int(floor_mod(int_of(x), int_of(y)));
            STEP(1);
        }
        SLOW_BINARY(OP_MOD, x, y);
    }
    BITWISE(AND, &)
    BITWISE(OR, |)
    BITWISE(XOR, ^)
    CASE(LSH) : {
        star_v x = R[pc->b], y = R[pc->c];
        if (LIKELY(both_int(x, y) && y.bits < 61 * 4)) {
            int64_t i = int_of(x), n = int_of(y), z = (int64_t)((uint64_t)i << n);
            if (z >> n == i && fits_small(z)) {
                R[pc->a] = small_int(z);
                STEP(1);
            }
        }
        SLOW_BINARY(OP_LSH, x, y);
    }
    CASE(RSH) : {
        star_v x = R[pc->b], y = R[pc->c];
        if (LIKELY(both_int(x, y) && y.bits < 61 * 4)) {
            R[pc->a] = small_int(int_of(x) >> int_of(y));
            STEP(1);
        }
        SLOW_BINARY(OP_RSH, x, y);
    }
    CASE(IN) : {
        bool r;
        if (UNLIKELY(!op_in(run, R[pc->b], R[pc->c], &r)))
            goto fail;
        R[pc->a] = star_bool(r);
        STEP(1);
    }
    CASE(NOTIN) : {
        bool r;
        if (UNLIKELY(!op_in(run, R[pc->b], R[pc->c], &r)))
            goto fail;
        R[pc->a] = star_bool(!r);
        STEP(1);
    }
    ARITH_IMM(ADDI, OP_ADD, add_overflow)
    ARITH_IMM(SUBI, OP_SUB, sub_overflow)
    CASE(MULI) : {
        star_v x = R[pc->b];
        int64_t z, i = (int16_t)pc->c;
        if (LIKELY(is_int(x) && !__builtin_mul_overflow((int64_t)x.bits, i, &z))) {
            R[pc->a] = V(z);
            STEP(1);
        }
        SLOW_BINARY(OP_MUL, x, small_int(i));
    }
    CASE(FLOORDIVI) : {
        star_v x = R[pc->b];
        int64_t i = (int16_t)pc->c;
        if (LIKELY(is_int(x))) {
            R[pc->a] = small_int(floor_div(int_of(x), i));
            STEP(1);
        }
        SLOW_BINARY(OP_FLOORDIV, x, small_int(i));
    }
    CASE(MODI) : {
        star_v x = R[pc->b];
        int64_t i = (int16_t)pc->c;
        if (LIKELY(is_int(x))) {
            int64_t v = int_of(x), r;
            if (LIKELY((uint64_t)v <= UINT32_MAX))  /* a 32-bit division takes half the time */
                r = (uint32_t)v % (uint32_t)i;
            else
                r = floor_mod(v, i);
            R[pc->a] = small_int(r);
            STEP(1);
        }
        SLOW_BINARY(OP_MOD, x, small_int(i));
    }
    CASE(ANDI) : {
        star_v x = R[pc->b];
        int64_t i = (int64_t)(int16_t)pc->c * 4;
        if (LIKELY(is_int(x))) {
            R[pc->a] = V(x.bits & (uint64_t)i);
            STEP(1);
        }
        SLOW_BINARY(OP_AND, x, V(i));
    }
    CASE(IADD) : {
        star_v x = R[pc->b], y = R[pc->c];
        int64_t z;
        if (LIKELY(both_int(x, y) && !add_overflow((int64_t)x.bits, (int64_t)y.bits, &z))) {
            R[pc->a] = V(z);
            STEP(1);
        }
        star_v v = op_iadd(run, x, y);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(IOR) : {
        star_v v = op_ior(run, R[pc->b], R[pc->c]);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    COMPARE(EQ, ==)
    COMPARE(NE, !=)
    COMPARE(LT, <)
    COMPARE(LE, <=)
    COMPARE(GT, >)
    COMPARE(GE, >=)
    CASE(NEG) : {
        star_v x = R[pc->b];
        int64_t z;
        if (LIKELY(is_int(x) && !__builtin_sub_overflow(0, (int64_t)x.bits, &z))) {
            R[pc->a] = V(z);
            STEP(1);
        }
        goto slow_unary;
    }
    CASE(POS) :
    CASE(INV) :
    slow_unary : {
        star_v v = op_unary(run, (enum opcode)pc->op, R[pc->b]);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(NOT) :
        R[pc->a] = star_bool(!truth(R[pc->b]));
        STEP(1);
    CASE(JMP) :
        JUMP1();
    CASE(LOOP) :
        FUEL();
        JUMP1();
    CASE(JT) :
        if (truth(R[pc->a]))
            JUMP1();
        STEP(1);
    CASE(JF) :
        if (!truth(R[pc->a]))
            JUMP1();
        STEP(1);
    JUMP_COMPARE(JEQ, OP_EQ, ==, )
    JUMP_COMPARE(JNE, OP_NE, !=, )
    JUMP_COMPARE(JLT, OP_LT, <, )
    JUMP_COMPARE(JLE, OP_LE, <=, )
    JUMP_COMPARE(JGT, OP_GT, >, )
    JUMP_COMPARE(JGE, OP_GE, >=, )
    JUMP_COMPARE(JNLT, OP_LT, <, !)
    JUMP_COMPARE(JNLE, OP_LE, <=, !)
    JUMP_COMPARE(JNGT, OP_GT, >, !)
    JUMP_COMPARE(JNGE, OP_GE, >=, !)

    /* R[a] tells the kind of iteration: an int is what is left of a range (R[a+1] the next item, R[a+2] the
     * step), otherwise it is the iterable itself and R[a+1] says how far we are. */
    CASE(FORPREP) : {
        star_v *r = R + pc->a;
        if (is_type(r[0], O_RANGE)) {
            const struct range_obj *g = RANGE_OBJ(r[0]);
            if (LIKELY(fits_small(g->start) && fits_small(g->step) && fits_small(g->len) && fits_small(g->stop))) {
                r[1] = small_int(g->start);
                r[2] = small_int(g->step);
                r[0] = small_int(g->len);
                JUMP1();
            }
        }
        if (LIKELY(is_type(r[0], O_LIST))) {
            struct list_obj *l = LIST_OBJ(r[0]);
            if (!l->h.frozen)
                l->h.aux++;
            r[1] = small_int(0);
            JUMP1();
        }
        if (UNLIKELY(!loop_begin(run, r)))
            goto fail;
        JUMP1();
    }
    CASE(FORNEXT) : {
        FUEL();
        star_v *r = R + pc->a;
        if (is_int(r[0])) {
            if (r[0].bits == 0)
                STEP(2);
            star_v v = r[1];
            r[0].bits -= 4;
            r[1].bits += r[2].bits;
            R[pc->b] = v;
            JUMP2();
        }
        if (LIKELY(is_type(r[0], O_LIST))) {
            const struct list_obj *l = LIST_OBJ(r[0]);
            uint64_t i = r[1].bits / 4;
            if (i >= l->len)
                STEP(2);
            r[1].bits += 4;
            R[pc->b] = l->items[i];
            JUMP2();
        }
        star_v v;
        int got = loop_next(run, r, &v);
        if (LIKELY(got == 1)) {
            R[pc->b] = v;
            JUMP2();
        }
        if (got == 0)
            STEP(2);
        if (got == -2) {
            SAVE();
            return VM_BLOCK;
        }
        goto fail;
    }
    CASE(FOREND) : {
        star_v *r = R + pc->a;
        if (!is_int(r[0]))
            loop_end(r);
        STEP(1);
    }
    CASE(UNPACK) : {
        star_v x = R[pc->a];
        if (LIKELY(is_type(x, O_TUPLE) && TUPLE_OBJ(x)->h.aux == pc->c)) {
            const star_v *items = TUPLE_OBJ(x)->items;
            for (unsigned i = 0, n = pc->c; i < n; i++)
                R[pc->b + i] = items[i];
            STEP(1);
        }
        if (UNLIKELY(!unpack(run, x, R + pc->b, pc->c)))
            goto fail;
        STEP(1);
    }
    CASE(INDEX) : {
        star_v x = R[pc->b], y = R[pc->c];
        if (is_obj(x)) {
            const struct obj *o = obj_of(x);
            if (o->type == O_LIST && is_int(y)) {
                const struct list_obj *l = LIST_OBJ(x);
                uint64_t i = y.bits / 4;    /* a negative one is huge */
                if (LIKELY(i < l->len)) {
                    R[pc->a] = l->items[i];
                    STEP(1);
                }
            } else if (o->type == O_DICT && is_string(y)) {
                const struct dict_entry *e = dict_find(DICT_OBJ(x), y, string_hash(y));
                if (LIKELY(e != NULL)) {
                    R[pc->a] = e->value;
                    STEP(1);
                }
            } else if (o->type == O_TUPLE && is_int(y)) {
                uint64_t i = y.bits / 4;
                if (LIKELY(i < o->aux)) {
                    R[pc->a] = TUPLE_OBJ(x)->items[i];
                    STEP(1);
                }
            }
        }
        star_v v = op_index(run, x, y);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(SETINDEX) : {
        star_v x = R[pc->a], y = R[pc->b];
        if (is_type(x, O_LIST) && is_int(y)) {
            struct list_obj *l = LIST_OBJ(x);
            uint64_t i = y.bits / 4;
            if (LIKELY(i < l->len && !l->h.frozen && l->h.aux == 0)) {
                l->items[i] = R[pc->c];
                STEP(1);
            }
        }
        if (UNLIKELY(!op_setindex(run, x, y, R[pc->c])))
            goto fail;
        STEP(1);
    }
    CASE(SLICE) : {
        star_v v = op_slice(run, R + pc->b);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(ATTR) : {
        star_v x = R[pc->b], v = STAR_NULL;
        struct attr_ref *ref = &fn->proto->program->attrs[pc[1].d];
        if (is_type(x, O_STRUCT))
            v = struct_field(x, ref);
        if (UNLIKELY(star_is_null(v))) {
            v = op_attr(run, x, ref);
            if (UNLIKELY(star_is_null(v)))
                goto fail;
        }
        R[pc->a] = v;
        STEP(2);
    }
    CASE(SETATTR) :
        if (!op_setattr(run, R[pc->a], str_of_v(fn->proto->program->attrs[pc[1].d].name), R[pc->b]))
            goto fail;
        STEP(2);

    CASE(CALLM) : {
        star_v *base = R + pc->a;
        star_v recv = call_recv = base[0];
        struct attr_ref *ref = &fn->proto->program->attrs[pc[1].d];
        if (is_obj(recv)) {
            const struct builtin_obj *m = ref->method ? method_table[obj_of(recv)->type][ref->method] : NULL;
            if (LIKELY(m != NULL)) {
                FUEL();
                star_v v = STAR_NULL;
                if (m->fast)
                    v = m->fast(run, recv, base + 1, pc->b);
                if (UNLIKELY(star_is_null(v))) {
                    if (run->has_msg)
                        goto fail_second;
                    struct star_call call = {
                        .name = m->name, .data = m->data, .recv = recv, .pos = base + 1, .npos = pc->b,
                    };
                    enum star_ret ret = m->fn(run, &call, &v);
                    if (UNLIKELY(ret != STAR_OK || star_is_null(v))) {
                        run->failed_builtin = m;
                        goto fail_second;
                    }
                }
                R[pc->c] = v;
                STEP(2);
            }
            star_v v = STAR_NULL;
            if (obj_of(recv)->type == O_STRUCT)
                v = struct_field(recv, ref);
            if (UNLIKELY(star_is_null(v)))
                v = op_attr(run, recv, ref);
            if (UNLIKELY(star_is_null(v)))
                goto fail;
            base[0] = v;
        } else {
            star_v v = op_attr(run, recv, ref);
            if (UNLIKELY(star_is_null(v)))
                goto fail;
            base[0] = v;
        }
        call_words = 2;
        goto call;
    }
    CASE(CALL) :
        call_words = 1;
    call : {
        if (UNLIKELY(--run->fuel < 0)) {
            if (call_words == 2)
                R[pc->a] = call_recv;   /* the instruction begins again */
            goto out_of_fuel;
        }
        star_v *base = R + pc->a;
        star_v callee = base[0];
        if (LIKELY(is_obj(callee))) {
            if (obj_of(callee)->type == O_FUNCTION) {
                struct func_obj *g = FUNC_OBJ(callee);
                const struct proto *p = g->proto;
                if (LIKELY(p->is_simple && pc->b == p->n_params)) {
                    uint32_t new_base = f->base + pc->a + 1;
                    if (UNLIKELY(new_base + p->n_regs > run->stack_cap || run->n_frames >= run->cap_frames ||
                                 run->n_frames > run->depth_limit || p->no_recursion))
                        goto general_call;
                    f->pc = pc + call_words;
                    f = &run->frames[run->n_frames++];
                    f->kind = FRAME_CODE;
                    f->freed = 0;
                    f->dst = pc->c;
                    f->base = new_base;
                    f->fn = fn = g;
                    R = base + 1;
                    if (p->clear_locals)
                        for (uint32_t i = p->n_params; i < p->n_locals; i++)
                            R[i] = STAR_NULL;
                    K = p->program->consts;
                    pc = p->code;
                    NEXT;
                }
            } else if (obj_of(callee)->type == O_BUILTIN) {
                const struct builtin_obj *b = BUILTIN_OBJ(callee);
                if (b->fast) {
                    star_v v = b->fast(run, b->recv, base + 1, pc->b);
                    if (LIKELY(!star_is_null(v))) {
                        R[pc->c] = v;
                        pc += call_words;
                        NEXT;
                    }
                    if (UNLIKELY(run->has_msg)) {
                        run->failed_builtin = b;
                        goto fail_call;
                    }
                }
            }
        }
    general_call:
        npos = pc->b;
        nkw = 0;
        kwnames = NULL;
        call_base = f->base + pc->a;
        goto do_call;
    }
    CASE(CALLX) : {
        FUEL();
        const struct call_shape *shape = &fn->proto->program->shapes[pc[1].d];
        call_base = f->base + pc->a;
        call_words = 2;
        if (!shape->has_args && !shape->has_kwargs) {
            npos = pc->b;
            nkw = shape->n_named;
            kwnames = shape->names;
        } else {
            bool ok = spread_args(run, call_base, pc->b, shape, &npos, &nkw, &kwnames);
            R = run->stack + f->base;
            if (UNLIKELY(!ok))
                goto fail;
        }
    }
    do_call : {
        uint16_t dst = pc->c;
        f->pc = pc + call_words;
        switch (call_any(run, call_base, npos, nkw, kwnames, dst)) {
        case CALLED_VALUE:
        case CALLED_CODE:
            LOAD();
            NEXT;
        case CALLED_BLOCK:
            return VM_BLOCK;
        case CALLED_DONE:
            return VM_DONE;
        case CALLED_FAIL:
            /* Frames pushed meanwhile are part of the call stack. */
            unwind(run, true);
            return VM_FAIL;
        }
        __builtin_unreachable();
    }
    CASE(MKFUNC) : {
        star_v v = make_function(run, fn, fn->proto->program->protos[pc[1].d], R, pc->b);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(2);
    }
    CASE(NEWLIST) : {
        star_v v = star_list(run->arena, R + pc->b, pc->c);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(NEWTUPLE) : {
        star_v v = star_tuple(run->arena, R + pc->b, pc->c);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(TUPLEOF) : {
        star_v v = star_tuple(run->arena, LIST_OBJ(R[pc->b])->items, LIST_OBJ(R[pc->b])->len);
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(NEWDICT) : {
        star_v v = obj_or_null(dict_new(run->arena, (size_t)pc->d, O_DICT));
        if (UNLIKELY(star_is_null(v)))
            goto fail;
        R[pc->a] = v;
        STEP(1);
    }
    CASE(APPEND) :
        if (UNLIKELY(!list_push(run->arena, LIST_OBJ(R[pc->a]), R[pc->b])))
            goto fail;
        STEP(1);
    CASE(APPENDN) : {
        struct list_obj *l = LIST_OBJ(R[pc->a]);
        if (UNLIKELY(!list_reserve(run->arena, l, pc->c)))
            goto fail;
        memcpy(l->items + l->len, R + pc->b, pc->c * sizeof(star_v));
        l->len += pc->c;
        STEP(1);
    }
    CASE(PUT) : {
        uint32_t hash;
        if (UNLIKELY(!key_hash(run, R[pc->b], &hash) ||
                     !dict_put(run->arena, DICT_OBJ(R[pc->a]), R[pc->b], hash, R[pc->c], NULL)))
            goto fail;
        STEP(1);
    }
    CASE(PUTNEW) : {
        uint32_t hash;
        bool added;
        if (UNLIKELY(!key_hash(run, R[pc->b], &hash) ||
                     !dict_put(run->arena, DICT_OBJ(R[pc->a]), R[pc->b], hash, R[pc->c], &added)))
            goto fail;
        if (UNLIKELY(!added)) {
            star_fail(run, "duplicate key: %s", msg_repr(run, R[pc->b]));
            goto fail;
        }
        STEP(1);
    }
    CASE(IMPORT) : {
        SAVE();
        bool ok = import_names(run, fn->module, &fn->proto->program->sites[pc->d], R + pc->a);
        if (!ok)
            goto fail;
        STEP(1);
    }
    CASE(RETNONE) : {
        star_v v = STAR_NONE;
        uint16_t dst = f->dst;
        run->n_frames--;
        f--;
        if (UNLIKELY(f->kind != FRAME_CODE))
            goto return_native;
        fn = f->fn;
        pc = f->pc;
        R = run->stack + f->base;
        K = fn->proto->program->consts;
        R[dst] = v;
        NEXT;
    return_native:
        switch (deliver(run, v, dst)) {
        case CALLED_VALUE:
        case CALLED_CODE:
            LOAD();
            NEXT;
        case CALLED_DONE:
            return VM_DONE;
        case CALLED_BLOCK:
            return VM_BLOCK;
        case CALLED_FAIL:
            unwind(run, true);
            return VM_FAIL;
        }
        __builtin_unreachable();
    CASE(RETURN) :
        v = R[pc->a];
        dst = f->dst;
        run->n_frames--;
        f--;
        if (UNLIKELY(f->kind != FRAME_CODE))
            goto return_native;
        fn = f->fn;
        pc = f->pc;
        R = run->stack + f->base;
        K = fn->proto->program->consts;
        R[dst] = v;
        NEXT;
    }

out_of_fuel:
    switch (refuel(run)) {
    case FUEL_OK:
        NEXT;
    case FUEL_YIELD:
        SAVE();
        return VM_YIELD;
    case FUEL_FAIL:
        goto fail;
    }
fail_call:
    if (call_words == 2)
        goto fail_second;
    goto fail;
fail_second:
    pc++;
fail:
    SAVE();
    unwind(run, false);
    return VM_FAIL;
}
