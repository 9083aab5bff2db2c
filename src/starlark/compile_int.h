/* starlark/compile_int.h: the compiler, from the resolved tree to register code.
 *
 * A function's locals are its first registers; temporaries are a stack above them (`top`). An expression is
 * compiled to a given register (`expr_to`) or to wherever it is cheapest (`expr_any`: a local is its own register).
 * `expr_to` writes its target only after it has read everything, so a local may be the target of an expression
 * that mentions it; forms that cannot promise that go through a temporary.
 *
 * Locals that are surely assigned at a use need no check there: `assigned` is the set of them on the
 * current path. The others get a CHECK, once.
 *
 *     compile.c        functions and the program
 *     compile_stmt.c   statements
 *     compile_expr.c   expressions
 *     compile_emit.c   instructions, registers, constants, variables
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STARLARK_COMPILE_INT_H
#define STARLARK_COMPILE_INT_H

#include "syntax.h"

enum { MAX_REGS = 60000, LIST_BATCH = 64 };

struct buffers;
struct loop;

struct label {
    VEC(uint32_t) uses;     /* words whose d is to be the distance to the label */
};

struct fn {
    struct fn *outer;
    struct fscope *scope;
    struct proto *p;
    VEC(struct insn) code;
    VEC(struct code_pos) pos;
    VEC(struct loop_range) ranges;
    struct buffers *buffers;
    uint32_t top, max;
    uint64_t *assigned;     /* [words] */
    size_t words;
    struct loop *loop;
    struct pos at;          /* position for the next instructions */
};

struct compiler {
    struct source *s;
    struct buffers *spare;
    struct arena *tmp, *out;
    struct star_program *prog;
    struct fn *f;
    VEC(star_v) consts;
    VEC(struct attr_ref) attrs;
    VEC(struct call_shape) shapes;
    VEC(struct load_site) sites;
    VEC(struct proto *) protos;
};

/* ---- compile_emit.c ---- */

void emit_insn(struct compiler *c, struct insn i);
static inline void emit(struct compiler *c, enum opcode op, uint32_t a, uint32_t b, uint32_t x)
{
    emit_insn(c, (struct insn){.op = (uint16_t)op, .a = (uint16_t)a, .b = (uint16_t)b, .c = (uint16_t)x});
}
static inline void emit_d(struct compiler *c, enum opcode op, uint32_t a, int32_t d)
{
    emit_insn(c, (struct insn){.op = (uint16_t)op, .a = (uint16_t)a, .d = d});
}
/* The second word of an instruction. */
static inline void emit_w(struct compiler *c, uint32_t w)
{
    emit_insn(c, (struct insn){.d = (int32_t)w});
}

/* The number of the next instruction. */
static inline uint32_t here(struct compiler *c)
{
    return (uint32_t)c->f->code.len;
}
/* Where in the source the next instructions come from. */
static inline void at(struct compiler *c, struct pos p)
{
    c->f->at = p;
}

void emit_jump(struct compiler *c, enum opcode op, uint32_t a, struct label *l);
/* A jump of two words. */
void emit_jump2(struct compiler *c, enum opcode op, uint32_t a, uint32_t b, struct label *l);
/* Jumps to `l` so far go to `target`. */
void label_place(struct compiler *c, struct label *l, uint32_t target);
static inline void label_place_here(struct compiler *c, struct label *l)
{
    label_place(c, l, here(c));
}

/* The next `n` temporaries: the first of them. Given back by setting `top`. */
uint32_t reg_take(struct compiler *c, uint32_t n);
static inline uint32_t reg_temp(struct compiler *c)
{
    return reg_take(c, 1);
}

uint32_t name_constant(struct compiler *c, struct name *n);
uint32_t attr_ref(struct compiler *c, struct name *n);
void emit_value(struct compiler *c, star_v v, uint32_t dst);

static inline void set_assigned(struct compiler *c, uint32_t local)
{
    c->f->assigned[local / 64] |= UINT64_C(1) << (local % 64);
}
uint64_t *assigned_save(struct compiler *c);
void assigned_restore(struct compiler *c, const uint64_t *saved);
/* Makes sure that the local in register b->index is set when it is read here. */
void var_check(struct compiler *c, struct binding *b);

void var_get(struct compiler *c, struct node *n, uint32_t dst);
void var_set(struct compiler *c, struct node *n, uint32_t src);

/* ---- compile_expr.c ---- */

static inline struct node *strip(struct node *n)
{
    while (n->kind == N_PAREN)
        n = n->x;
    return n;
}

/* The value of `n` to register `dst`. */
void expr_to(struct compiler *c, struct node *n, uint32_t dst);
/* The register of its value: a new temporary, or the local that it is. */
uint32_t expr_any(struct compiler *c, struct node *n);
/* Jumps to `l` when the truth of `n` is `sense`. */
void expr_jump(struct compiler *c, struct node *n, bool sense, struct label *l);
/* dst = x op n->y of an assignment `op=`, with x in a register. */
void expr_augmented(struct compiler *c, struct node *n, uint32_t x, uint32_t dst);

/* ---- compile_stmt.c ---- */

/* False when control never reaches the end. */
bool stmt_list(struct compiler *c, struct node_list l);
/* The value in register `src` to a name, an element, an attribute or a sequence of such. */
void assign_to(struct compiler *c, struct node *target, uint32_t src);

struct for_state {
    uint32_t reg;       /* of the iteration: three registers */
    uint32_t item;      /* register of the item */
    struct label next;
    uint32_t body, from;
};
/* Starts `for target in iterable`; the body follows. */
void for_begin(struct compiler *c, struct node *target, struct node *iterable, struct pos pos, struct for_state *fs);
void for_end(struct compiler *c, struct pos pos, struct label *brk, struct for_state *fs);

/* ---- compile.c ---- */

/* The function of a DEF or LAMBDA to register `dst`. */
void function_to(struct compiler *c, struct node *n, uint32_t dst);

#endif
