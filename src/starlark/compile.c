/* starlark/compile.c: from the resolved tree to register code.
 *
 * A function's locals are its first registers; temporaries are a stack above them (`top`). An expression is
 * compiled to a given register (`to`) or to wherever it is cheapest (`any`: a local is its own register).
 * `to` writes its target only after it has read everything, so a local may be the target of an expression
 * that mentions it; forms that cannot promise that go through a temporary.
 *
 * Locals that are surely assigned at a use need no check there: `assigned` is the set of them on the
 * current path. The others get a CHECK, once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "syntax.h"

enum { MAX_REGS = 60000, LIST_BATCH = 64 };

struct buffers;

struct label {
    VEC(uint32_t) uses;     /* words whose d is to be the distance to the label */
};

struct loop {
    struct loop *outer;
    struct label *brk, *cont;
    uint32_t reg;           /* of the iteration; NO_REG for while */
};
#define NO_REG UINT32_MAX

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

/* Buffers for a function's code, kept for the next function at the same depth. */
struct buffers {
    struct buffers *next;
    VEC(struct insn) code;
    VEC(struct code_pos) pos;
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

static void to(struct compiler *c, struct node *n, uint32_t dst);
static uint32_t any(struct compiler *c, struct node *n);
static bool stmts(struct compiler *c, struct node_list l);
static void function_value(struct compiler *c, struct node *n, uint32_t dst);

/* ---- emitting ---- */

static uint32_t here(struct compiler *c)
{
    return (uint32_t)c->f->code.len;
}

static void emit_insn(struct compiler *c, struct insn i)
{
    struct fn *f = c->f;
    if (UNLIKELY(f->code.len == f->code.cap)) {
        vec_push(c->tmp, &f->code);
        f->code.len--;
    }
    if (UNLIKELY(f->pos.len == f->pos.cap)) {
        vec_push(c->tmp, &f->pos);
        f->pos.len--;
    }
    f->code.items[f->code.len++] = i;
    f->pos.items[f->pos.len++] = (struct code_pos){f->at.line, f->at.col};
}
static void emit(struct compiler *c, enum opcode op, uint32_t a, uint32_t b, uint32_t x)
{
    emit_insn(c, (struct insn){.op = (uint16_t)op, .a = (uint16_t)a, .b = (uint16_t)b, .c = (uint16_t)x});
}
static void emit_d(struct compiler *c, enum opcode op, uint32_t a, int32_t d)
{
    emit_insn(c, (struct insn){.op = (uint16_t)op, .a = (uint16_t)a, .d = d});
}
/* The second word of an instruction. */
static void emit_w(struct compiler *c, uint32_t w)
{
    emit_insn(c, (struct insn){.d = (int32_t)w});
}

static void use_label(struct compiler *c, struct label *l)
{
    *vec_push(c->tmp, &l->uses) = here(c) - 1;
}
static void jump(struct compiler *c, enum opcode op, uint32_t a, struct label *l)
{
    emit_d(c, op, a, 0);
    use_label(c, l);
}
/* A jump of two words. */
static void jump2(struct compiler *c, enum opcode op, uint32_t a, uint32_t b, struct label *l)
{
    emit(c, op, a, b, 0);
    emit_w(c, 0);
    use_label(c, l);
}
static void place(struct compiler *c, struct label *l, uint32_t target)
{
    for (size_t i = 0; i < l->uses.len; i++) {
        uint32_t w = l->uses.items[i];
        c->f->code.items[w].d = (int32_t)(target - (w + 1));
    }
    l->uses.len = 0;
}
static void place_here(struct compiler *c, struct label *l)
{
    place(c, l, here(c));
}

static void at(struct compiler *c, struct pos p)
{
    c->f->at = p;
}

/* ---- registers ---- */

static uint32_t temps(struct compiler *c, uint32_t n)
{
    struct fn *f = c->f;
    uint32_t r = f->top;
    if (n > MAX_REGS || r + n > MAX_REGS)
        source_fail(c->s, f->at, "function is too large: it needs more than %d registers", MAX_REGS);
    f->top += n;
    if (f->top > f->max)
        f->max = f->top;
    return r;
}
static uint32_t temp(struct compiler *c)
{
    return temps(c, 1);
}

static bool is_local_reg(struct compiler *c, uint32_t r)
{
    return r < c->f->scope->locals.len;
}

/* ---- constants ---- */

static uint32_t constant(struct compiler *c, star_v v)
{
    *vec_push(c->tmp, &c->consts) = v;
    return (uint32_t)c->consts.len - 1;
}
static uint32_t name_constant(struct compiler *c, struct name *n)
{
    if (n->const_index == 0)
        n->const_index = constant(c, n->value) + 1;
    return n->const_index - 1;
}
static uint32_t attr_ref(struct compiler *c, struct name *n)
{
    if (n->attr_method == 0)
        n->attr_method = method_number(n->s) + 1u;
    *vec_push(c->tmp, &c->attrs) = (struct attr_ref){.name = n->value, .method = (uint16_t)(n->attr_method - 1)};
    return (uint32_t)c->attrs.len - 1;
}

static void load_value(struct compiler *c, star_v v, uint32_t dst)
{
    if (is_int(v) && int_of(v) >= INT32_MIN && int_of(v) <= INT32_MAX)
        emit_d(c, OP_LOADI, dst, (int32_t)int_of(v));
    else if ((v.bits & 3) == 3)
        emit_d(c, OP_LOADIMM, dst, (int32_t)v.bits);
    else
        emit_d(c, OP_LOADK, dst, (int32_t)constant(c, v));
}

/* ---- definite assignment ---- */

static bool is_assigned(struct compiler *c, uint32_t local)
{
    return c->f->assigned[local / 64] >> (local % 64) & 1;
}
static void set_assigned(struct compiler *c, uint32_t local)
{
    c->f->assigned[local / 64] |= UINT64_C(1) << (local % 64);
}
static uint64_t *save_assigned(struct compiler *c)
{
    return arena_memdup(c->tmp, c->f->assigned, c->f->words * sizeof(uint64_t));
}
static void restore_assigned(struct compiler *c, const uint64_t *saved)
{
    memcpy(c->f->assigned, saved, c->f->words * sizeof(uint64_t));
}

/* ---- names ---- */

/* Makes sure that the local in register b->index is set when it is read here. */
static void check_local(struct compiler *c, struct binding *b)
{
    if (is_assigned(c, b->index))
        return;
    emit_d(c, OP_CHECK, b->index, (int32_t)name_constant(c, b->name));
    c->f->p->clear_locals = true;
    set_assigned(c, b->index);
}

static void get_name(struct compiler *c, struct node *n, uint32_t dst)
{
    struct binding *b = n->bind;
    at(c, n->pos);
    switch (b->scope) {
    case SCOPE_LOCAL:
        check_local(c, b);
        if (dst != b->index)
            emit(c, OP_MOVE, dst, b->index, 0);
        break;
    case SCOPE_CELL: {
        uint32_t k = name_constant(c, b->name);
        emit(c, OP_GETCELL, dst, b->index, 0);
        emit_w(c, k);
        break;
    }
    case SCOPE_FREE:
        emit_d(c, OP_GETFREE, dst, (int32_t)b->index);
        break;
    case SCOPE_GLOBAL:
        emit_d(c, OP_GETGLOBAL, dst, (int32_t)b->index);
        break;
    case SCOPE_PREDECLARED:
        emit_d(c, OP_GETPRE, dst, (int32_t)b->index);
        break;
    default:
        load_value(c, b->value, dst);
    }
}

static void set_name(struct compiler *c, struct node *n, uint32_t src)
{
    struct binding *b = n->bind;
    at(c, n->pos);
    switch (b->scope) {
    case SCOPE_LOCAL:
        if (src != b->index)
            emit(c, OP_MOVE, b->index, src, 0);
        set_assigned(c, b->index);
        break;
    case SCOPE_CELL:
        emit(c, OP_SETCELL, b->index, src, 0);
        break;
    case SCOPE_GLOBAL:
        emit_d(c, OP_SETGLOBAL, src, (int32_t)b->index);
        break;
    default:
        BUG("compile: assignment to scope %d", b->scope);
    }
}

static struct node *strip(struct node *n)
{
    while (n->kind == N_PAREN)
        n = n->x;
    return n;
}

/* ---- operators ---- */

static enum opcode binary_op(enum token t)
{
    switch (t) {
    case TOK_PLUS: case TOK_PLUS_EQ: return OP_ADD;
    case TOK_MINUS: case TOK_MINUS_EQ: return OP_SUB;
    case TOK_STAR: case TOK_STAR_EQ: return OP_MUL;
    case TOK_SLASH: case TOK_SLASH_EQ: return OP_DIV;
    case TOK_SLASHSLASH: case TOK_SLASHSLASH_EQ: return OP_FLOORDIV;
    case TOK_PERCENT: case TOK_PERCENT_EQ: return OP_MOD;
    case TOK_AMP: case TOK_AMP_EQ: return OP_AND;
    case TOK_PIPE: case TOK_PIPE_EQ: return OP_OR;
    case TOK_CIRCUMFLEX: case TOK_CIRCUMFLEX_EQ: return OP_XOR;
    case TOK_LTLT: case TOK_LTLT_EQ: return OP_LSH;
    case TOK_GTGT: case TOK_GTGT_EQ: return OP_RSH;
    case TOK_IN: return OP_IN;
    case TOK_NOT_IN: return OP_NOTIN;
    case TOK_EQL: return OP_EQ;
    case TOK_NEQ: return OP_NE;
    case TOK_LT: return OP_LT;
    case TOK_LE: return OP_LE;
    case TOK_GT: return OP_GT;
    case TOK_GE: return OP_GE;
    default: BUG("compile: operator %s", token_text[t]);
    }
}

/* The literal int of n when it fits an instruction. */
static bool small_literal(struct node *n, int32_t *out)
{
    n = strip(n);
    bool neg = false;
    if (n->kind == N_UNARY && n->op == TOK_MINUS) {
        neg = true;
        n = strip(n->x);
    }
    if (n->kind != N_LITERAL || !is_int(n->value))
        return false;
    int64_t i = int_of(n->value);
    if (i > 32767)
        return false;
    *out = neg ? -(int32_t)i : (int32_t)i;
    return true;
}

static bool immediate_op(enum opcode op, int32_t i, enum opcode *imm)
{
    switch (op) {
    case OP_ADD: *imm = OP_ADDI; return true;
    case OP_SUB: *imm = OP_SUBI; return true;
    case OP_MUL: *imm = OP_MULI; return true;
    case OP_FLOORDIV: *imm = OP_FLOORDIVI; return i > 0;
    case OP_MOD: *imm = OP_MODI; return i > 0;
    case OP_AND: *imm = OP_ANDI; return true;
    default: return false;
    }
}

/* dst = x op n->y, with x in a register. */
static void binary_right(struct compiler *c, struct node *n, uint32_t x, uint32_t dst)
{
    enum opcode op = binary_op(n->op), imm;
    int32_t i;
    if (small_literal(n->y, &i) && immediate_op(op, i, &imm)) {
        at(c, n->op_pos);
        emit(c, imm, dst, x, (uint32_t)i);
        return;
    }
    uint32_t y = any(c, n->y);
    at(c, n->op_pos);
    emit(c, op, dst, x, y);
}

/* ---- calls ---- */

static bool is_plain_call(struct node *n)
{
    for (uint32_t i = 0; i < n->list.len; i++) {
        struct node *a = n->list.items[i];
        if ((a->kind == N_UNARY && (a->op == TOK_STAR || a->op == TOK_STARSTAR)) || (a->kind == N_BINARY && a->op == TOK_EQ))
            return false;
    }
    return true;
}

/* Arguments to the registers above base, which holds the callee and is the topmost temporary. */
static void args_and_call(struct compiler *c, struct node *n, uint32_t base, struct node *method, uint32_t dst)
{
    if (is_plain_call(n)) {
        for (uint32_t i = 0; i < n->list.len; i++) {
            uint32_t r = temp(c);
            to(c, n->list.items[i], r);
        }
        temp(c);    /* room for a receiver pushed below the arguments */
        at(c, n->op_pos);
        if (method) {
            uint32_t ref = attr_ref(c, method->name);
            at(c, method->op_pos);  /* the look-up points at the dot, the call at its bracket */
            emit(c, OP_CALLM, base, n->list.len, dst);
            at(c, n->op_pos);
            emit_w(c, ref);
        } else {
            emit(c, OP_CALL, base, n->list.len, dst);
        }
        return;
    }
    if (method) {
        uint32_t ref = attr_ref(c, method->name);
        at(c, method->op_pos);
        emit(c, OP_ATTR, base, base, 0);
        emit_w(c, ref);
    }
    struct call_shape shape = {0};
    shape.names = arena_alloc(c->out, (n->list.len + 1) * sizeof(star_v));
    uint32_t n_pos = 0;
    for (uint32_t i = 0; i < n->list.len; i++) {
        struct node *a = n->list.items[i];
        if (a->kind == N_UNARY && a->op == TOK_STAR) {
            shape.has_args = true;
            a = a->x;
        } else if (a->kind == N_UNARY && a->op == TOK_STARSTAR) {
            shape.has_kwargs = true;
            a = a->x;
        } else if (a->kind == N_BINARY && a->op == TOK_EQ) {
            shape.names[shape.n_named++] = a->x->name->value;
            a = a->y;
        } else {
            n_pos++;
        }
        uint32_t r = temp(c);
        to(c, a, r);
    }
    *vec_push(c->tmp, &c->shapes) = shape;
    at(c, n->op_pos);
    emit(c, OP_CALLX, base, n_pos, dst);
    emit_w(c, (uint32_t)c->shapes.len - 1);
}

/* ---- spines: chains that lean to the left ---- */

static bool is_spine(struct node *n)
{
    switch (n->kind) {
    case N_BINARY: return n->op != TOK_AND && n->op != TOK_OR;
    case N_DOT: case N_CALL: case N_INDEX: case N_SLICE: return true;
    default: return false;
    }
}

static void slice_right(struct compiler *c, struct node *n, uint32_t x, uint32_t dst)
{
    uint32_t base = temps(c, 4);
    struct node *parts[3] = {n->y, n->z, n->w};
    if (x != base)
        emit(c, OP_MOVE, base, x, 0);
    for (uint32_t i = 0; i < 3; i++) {
        if (parts[i])
            to(c, parts[i], base + 1 + i);
        else
            emit_d(c, OP_LOADIMM, base + 1 + i, (int32_t)STAR_NONE.bits);
    }
    at(c, n->op_pos);
    emit(c, OP_SLICE, dst, base, 0);
}

/* Applies the chain's nodes from the innermost out; x is always the value so far, t the topmost temporary. */
static void spine(struct compiler *c, struct node *n, uint32_t dst)
{
    struct fn *f = c->f;
    VEC(struct node *) chain = {0};
    for (; is_spine(n); n = strip(n->x))
        *vec_push(c->tmp, &chain) = n;
    uint32_t saved = f->top, t = temp(c), x;
    struct node *first = chain.items[chain.len - 1];
    bool call_first = first->kind == N_CALL ||
                      (first->kind == N_DOT && chain.len >= 2 && chain.items[chain.len - 2]->kind == N_CALL);
    if (call_first) {
        to(c, n, t);
        x = t;
    } else {
        f->top = saved;     /* t is free unless the leaf takes it */
        x = any(c, n);
        f->top = t + 1;
    }
    for (size_t i = chain.len; i-- > 0;) {
        struct node *op = chain.items[i];
        struct node *method = NULL;
        if (op->kind == N_DOT && i > 0 && chain.items[i - 1]->kind == N_CALL) {
            method = op;
            op = chain.items[--i];
        }
        uint32_t into = i == 0 ? dst : t;
        if (op->kind == N_CALL && x != t) {
            emit(c, OP_MOVE, t, x, 0);
            x = t;
        }
        switch (op->kind) {
        case N_BINARY:
            binary_right(c, op, x, into);
            break;
        case N_CALL:
            args_and_call(c, op, x, method, into);
            break;
        case N_DOT: {
            uint32_t ref = attr_ref(c, op->name);
            at(c, op->op_pos);
            emit(c, OP_ATTR, into, x, 0);
            emit_w(c, ref);
            break;
        }
        case N_INDEX: {
            uint32_t y = any(c, op->y);
            at(c, op->op_pos);
            emit(c, OP_INDEX, into, x, y);
            break;
        }
        default:
            slice_right(c, op, x, into);
        }
        x = into;
        f->top = t + 1;
    }
    f->top = saved;
}

/* ---- conditions ---- */

static void gather_logical(struct compiler *c, struct node *n, enum token op, struct node_list *out)
{
    VEC(struct node *) rev = {0};
    while (n->kind == N_BINARY && n->op == op) {
        *vec_push(c->tmp, &rev) = n->y;
        n = n->x;
    }
    *vec_push(c->tmp, &rev) = n;
    out->items = arena_array(c->tmp, struct node *, rev.len);
    out->len = (uint32_t)rev.len;
    for (size_t i = 0; i < rev.len; i++)
        out->items[i] = rev.items[rev.len - 1 - i];
}

static bool fused_compare(enum token t, bool sense, enum opcode *op)
{
    static const struct {
        uint8_t token;
        uint8_t yes, no;
    } table[] = {
        {TOK_EQL, OP_JEQ, OP_JNE}, {TOK_NEQ, OP_JNE, OP_JEQ}, {TOK_LT, OP_JLT, OP_JNLT}, {TOK_LE, OP_JLE, OP_JNLE},
        {TOK_GT, OP_JGT, OP_JNGT}, {TOK_GE, OP_JGE, OP_JNGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].token == t) {
            *op = sense ? table[i].yes : table[i].no;
            return true;
        }
    }
    return false;
}

/* Jumps to l when the truth of n is `sense`. */
static void cond_jump(struct compiler *c, struct node *n, bool sense, struct label *l)
{
    struct fn *f = c->f;
    uint32_t saved = f->top;
    n = strip(n);
    while (n->kind == N_UNARY && n->op == TOK_NOT) {
        sense = !sense;
        n = strip(n->x);
    }
    enum opcode op;
    if (n->kind == N_BINARY && (n->op == TOK_AND || n->op == TOK_OR)) {
        struct node_list parts;
        struct label skip = {0};
        gather_logical(c, n, n->op, &parts);
        bool early = n->op == TOK_OR;   /* the truth that decides at once */
        uint64_t *state = NULL;
        for (uint32_t i = 0; i + 1 < parts.len; i++) {
            cond_jump(c, parts.items[i], early, early == sense ? l : &skip);
            if (i == 0)
                state = save_assigned(c);
        }
        cond_jump(c, parts.items[parts.len - 1], sense, l);
        place_here(c, &skip);
        restore_assigned(c, state); /* operands after the first may be skipped, and their checks with them */
    } else if (n->kind == N_BINARY && fused_compare(n->op, sense, &op)) {
        uint32_t x = any(c, n->x);
        int32_t i;
        if (small_literal(n->y, &i)) {
            at(c, n->op_pos);
            jump2(c, (enum opcode)(op + (OP_JEQI - OP_JEQ)), x, (uint32_t)i, l);
        } else {
            uint32_t y = any(c, n->y);
            at(c, n->op_pos);
            jump2(c, op, x, y, l);
        }
    } else {
        uint32_t x = any(c, n);
        at(c, n->pos);
        jump(c, sense ? OP_JT : OP_JF, x, l);
    }
    f->top = saved;
}

static void logical(struct compiler *c, struct node *n, uint32_t dst)
{
    struct node_list parts;
    struct label end = {0};
    uint32_t saved = c->f->top;
    uint32_t t = is_local_reg(c, dst) ? temp(c) : dst;
    gather_logical(c, n, n->op, &parts);
    to(c, parts.items[0], t);
    uint64_t *state = save_assigned(c);
    for (uint32_t i = 1; i < parts.len; i++) {
        jump(c, n->op == TOK_OR ? OP_JT : OP_JF, t, &end);
        to(c, parts.items[i], t);
    }
    restore_assigned(c, state);
    place_here(c, &end);
    if (t != dst)
        emit(c, OP_MOVE, dst, t, 0);
    c->f->top = saved;
}

static void conditional(struct compiler *c, struct node *n, uint32_t dst)
{
    struct label no = {0}, end = {0};
    cond_jump(c, n->y, false, &no);
    uint64_t *state = save_assigned(c);
    to(c, n->x, dst);
    jump(c, OP_JMP, 0, &end);
    place_here(c, &no);
    restore_assigned(c, state);
    to(c, n->z, dst);
    restore_assigned(c, state);
    place_here(c, &end);
}

/* ---- displays and comprehensions ---- */

static void sequence(struct compiler *c, struct node *n, uint32_t dst)
{
    uint32_t saved = c->f->top;
    bool is_list = n->kind == N_LIST;
    uint32_t len = n->list.len;
    if (len <= (is_list ? LIST_BATCH : 10000)) {
        uint32_t base = temps(c, 0);
        for (uint32_t i = 0; i < len; i++) {
            uint32_t r = temp(c);
            to(c, n->list.items[i], r);
        }
        at(c, n->pos);
        emit(c, is_list ? OP_NEWLIST : OP_NEWTUPLE, dst, base, len);
    } else {
        uint32_t t = temp(c);
        emit(c, OP_NEWLIST, t, t, 0);
        for (uint32_t i = 0; i < len; i += LIST_BATCH) {
            uint32_t here_n = MIN(len - i, (uint32_t)LIST_BATCH), base = c->f->top;
            for (uint32_t k = 0; k < here_n; k++) {
                uint32_t r = temp(c);
                to(c, n->list.items[i + k], r);
            }
            emit(c, OP_APPENDN, t, base, here_n);
            c->f->top = base;
        }
        emit(c, is_list ? OP_MOVE : OP_TUPLEOF, dst, t, 0);
    }
    c->f->top = saved;
}

static void dict_display(struct compiler *c, struct node *n, uint32_t dst)
{
    uint32_t saved = c->f->top;
    uint32_t t = n->list.len > 0 && is_local_reg(c, dst) ? temp(c) : dst;
    at(c, n->pos);
    emit_d(c, OP_NEWDICT, t, (int32_t)n->list.len);
    for (uint32_t i = 0; i < n->list.len; i++) {
        struct node *e = n->list.items[i];
        uint32_t inner = c->f->top;
        uint32_t k = any(c, e->x), v = any(c, e->y);
        at(c, e->op_pos);
        emit(c, OP_PUTNEW, t, k, v);
        c->f->top = inner;
    }
    if (t != dst)
        emit(c, OP_MOVE, dst, t, 0);
    c->f->top = saved;
}

static void assign(struct compiler *c, struct node *target, uint32_t src);

/* The register of a plain local target, else NO_REG. */
static uint32_t target_reg(struct node *n)
{
    n = strip(n);
    return n->kind == N_IDENT && n->bind->scope == SCOPE_LOCAL ? n->bind->index : NO_REG;
}

struct for_state {
    uint32_t reg;       /* of the iteration: three registers */
    uint32_t item;      /* register of the item */
    struct label next;
    uint32_t body, from;
};

/* Starts `for target in iterable`; the body follows. */
static void for_begin(struct compiler *c, struct node *target, struct node *iterable, struct pos pos,
                      struct for_state *fs)
{
    *fs = (struct for_state){.reg = temps(c, 3)};
    to(c, iterable, fs->reg);
    uint32_t r = target_reg(target);
    fs->item = r != NO_REG ? r : temp(c);
    at(c, pos);
    jump(c, OP_FORPREP, fs->reg, &fs->next);
    fs->from = fs->body = here(c);
    if (r != NO_REG)
        set_assigned(c, r);
    else
        assign(c, target, fs->item);
}

static void for_end(struct compiler *c, struct pos pos, struct label *brk, struct for_state *fs)
{
    place_here(c, &fs->next);
    at(c, pos);
    struct label body = {0};
    jump2(c, OP_FORNEXT, fs->reg, fs->item, &body);
    place(c, &body, fs->body);
    if (brk)
        place_here(c, brk);
    *vec_push(c->tmp, &c->f->ranges) = (struct loop_range){fs->from, here(c), fs->reg};
    emit(c, OP_FOREND, fs->reg, 0, 0);
}

/* Clauses [i..] and then the body, inside out. Depth is bounded: each `for` clause nests. */
static void comp_clauses(struct compiler *c, struct node *n, uint32_t i, uint32_t acc)
{
    struct label skip = {0};
    for (; i < n->list.len && n->list.items[i]->kind == N_IF_CLAUSE; i++)
        cond_jump(c, n->list.items[i]->x, false, &skip);
    if (i == n->list.len) {
        uint32_t saved = c->f->top;
        if (n->is_curly) {
            uint32_t k = any(c, n->x->x), v = any(c, n->x->y);
            at(c, n->x->op_pos);
            emit(c, OP_PUT, acc, k, v);
        } else {
            uint32_t v = any(c, n->x);
            at(c, n->pos);
            emit(c, OP_APPEND, acc, v, 0);
        }
        c->f->top = saved;
    } else {
        struct node *clause = n->list.items[i];
        struct for_state fs;
        uint32_t saved = c->f->top;
        uint64_t *state = save_assigned(c);
        for_begin(c, clause->x, clause->y, clause->pos, &fs);
        comp_clauses(c, n, i + 1, acc);
        for_end(c, clause->pos, NULL, &fs);
        restore_assigned(c, state);
        c->f->top = saved;
    }
    place_here(c, &skip);
}

static void comprehension(struct compiler *c, struct node *n, uint32_t dst)
{
    uint32_t saved = c->f->top, acc = temp(c);
    enum { MAX_CLAUSES = 200 };
    if (n->list.len > MAX_CLAUSES)
        source_fail(c->s, n->pos, "excessive nesting");
    at(c, n->pos);
    if (n->is_curly)
        emit_d(c, OP_NEWDICT, acc, 0);
    else
        emit(c, OP_NEWLIST, acc, acc, 0);
    comp_clauses(c, n, 0, acc);
    emit(c, OP_MOVE, dst, acc, 0);
    c->f->top = saved;
}

/* ---- expressions ---- */

static void unary(struct compiler *c, struct node *n, uint32_t dst)
{
    struct node *x = strip(n->x);
    if (n->op == TOK_MINUS && x->kind == N_LITERAL && is_int(x->value) && int_of(x->value) <= INT32_MAX) {
        emit_d(c, OP_LOADI, dst, -(int32_t)int_of(x->value));
        return;
    }
    uint32_t saved = c->f->top, r = any(c, x);
    at(c, n->op_pos);
    emit(c, n->op == TOK_MINUS ? OP_NEG : n->op == TOK_PLUS ? OP_POS : n->op == TOK_TILDE ? OP_INV : OP_NOT, dst, r, 0);
    c->f->top = saved;
}

static void to(struct compiler *c, struct node *n, uint32_t dst)
{
    n = strip(n);
    if (is_spine(n)) {
        spine(c, n, dst);
        return;
    }
    switch (n->kind) {
    case N_IDENT:
        get_name(c, n, dst);
        break;
    case N_LITERAL:
        at(c, n->pos);
        if (is_string(n->value) && STR_OBJ(n->value)->len <= 40)
            emit_d(c, OP_LOADK, dst, (int32_t)name_constant(c, name_intern(c->s, str_of_v(n->value))));
        else
            load_value(c, n->value, dst);
        break;
    case N_TUPLE:
    case N_LIST:
        sequence(c, n, dst);
        break;
    case N_DICT:
        dict_display(c, n, dst);
        break;
    case N_COND:
        conditional(c, n, dst);
        break;
    case N_UNARY:
        unary(c, n, dst);
        break;
    case N_BINARY:
        logical(c, n, dst);
        break;
    case N_LAMBDA:
        function_value(c, n, dst);
        break;
    case N_COMP:
        comprehension(c, n, dst);
        break;
    default:
        BUG("compile: expression kind %d", n->kind);
    }
}

static uint32_t any(struct compiler *c, struct node *n)
{
    n = strip(n);
    if (n->kind == N_IDENT && n->bind->scope == SCOPE_LOCAL) {
        at(c, n->pos);
        check_local(c, n->bind);
        return n->bind->index;
    }
    uint32_t r = temp(c);
    to(c, n, r);
    return r;
}

/* ---- assignment ---- */

static void assign_sequence(struct compiler *c, struct node *n, uint32_t src)
{
    uint32_t saved = c->f->top, len = n->list.len;
    /* Locals declared together have neighbouring registers: unpack straight into them. */
    uint32_t base = len > 0 ? target_reg(n->list.items[0]) : NO_REG;
    for (uint32_t i = 1; i < len && base != NO_REG; i++)
        if (target_reg(n->list.items[i]) != base + i)
            base = NO_REG;
    bool direct = base != NO_REG;
    if (!direct)
        base = temps(c, len);
    at(c, n->pos);
    emit(c, OP_UNPACK, src, base, len);
    for (uint32_t i = 0; i < len; i++) {
        if (direct)
            set_assigned(c, base + i);
        else
            assign(c, n->list.items[i], base + i);
    }
    c->f->top = saved;
}

static void assign(struct compiler *c, struct node *n, uint32_t src)
{
    uint32_t saved = c->f->top;
    n = strip(n);
    switch (n->kind) {
    case N_IDENT:
        set_name(c, n, src);
        break;
    case N_TUPLE:
    case N_LIST:
        assign_sequence(c, n, src);
        break;
    case N_INDEX: {
        uint32_t x = any(c, n->x), y = any(c, n->y);
        at(c, n->op_pos);
        emit(c, OP_SETINDEX, x, y, src);
        break;
    }
    case N_DOT: {
        uint32_t x = any(c, n->x), ref = attr_ref(c, n->name);
        at(c, n->op_pos);
        emit(c, OP_SETATTR, x, src, 0);
        emit_w(c, ref);
        break;
    }
    default:
        BUG("compile: target kind %d", n->kind);
    }
    c->f->top = saved;
}

static void augmented_op(struct compiler *c, struct node *n, uint32_t x, uint32_t dst)
{
    if (n->op == TOK_PLUS_EQ || n->op == TOK_PIPE_EQ) {
        int32_t i;
        if (n->op == TOK_PLUS_EQ && small_literal(n->y, &i)) {
            at(c, n->op_pos);
            emit(c, OP_ADDI, dst, x, (uint32_t)i);
            return;
        }
        uint32_t y = any(c, n->y);
        at(c, n->op_pos);
        emit(c, n->op == TOK_PLUS_EQ ? OP_IADD : OP_IOR, dst, x, y);
    } else {
        binary_right(c, n, x, dst);
    }
}

static void augmented(struct compiler *c, struct node *n)
{
    struct node *t = strip(n->x);
    uint32_t saved = c->f->top;
    if (t->kind == N_IDENT) {
        uint32_t x = any(c, t);
        uint32_t dst = target_reg(t) != NO_REG ? target_reg(t) : temp(c);
        augmented_op(c, n, x, dst);
        set_name(c, t, dst);
    } else if (t->kind == N_INDEX) {
        uint32_t x = any(c, t->x), y = any(c, t->y), v = temp(c);
        at(c, t->op_pos);
        emit(c, OP_INDEX, v, x, y);
        augmented_op(c, n, v, v);
        at(c, t->op_pos);
        emit(c, OP_SETINDEX, x, y, v);
    } else {
        uint32_t x = any(c, t->x), v = temp(c), ref = attr_ref(c, t->name);
        at(c, t->op_pos);
        emit(c, OP_ATTR, v, x, 0);
        emit_w(c, ref);
        augmented_op(c, n, v, v);
        at(c, t->op_pos);
        emit(c, OP_SETATTR, x, v, 0);
        emit_w(c, ref);
    }
    c->f->top = saved;
}

static void assignment(struct compiler *c, struct node *n)
{
    uint32_t saved = c->f->top;
    if (n->op != TOK_EQ) {
        augmented(c, n);
        return;
    }
    uint32_t r = target_reg(n->x);
    if (r != NO_REG) {
        to(c, n->y, r);
        set_assigned(c, r);
    } else {
        struct node *t = strip(n->x), *v = strip(n->y);
        /* a, b = x, y without making a tuple: all values first, then all targets. */
        if ((t->kind == N_TUPLE || t->kind == N_LIST) && v->kind == N_TUPLE && t->list.len == v->list.len &&
            t->list.len > 0 && t->list.len <= LIST_BATCH) {
            uint32_t base = c->f->top;
            for (uint32_t i = 0; i < v->list.len; i++) {
                uint32_t x = temp(c);
                to(c, v->list.items[i], x);
            }
            for (uint32_t i = 0; i < t->list.len; i++)
                assign(c, t->list.items[i], base + i);
        } else {
            assign(c, t, any(c, v));
        }
    }
    c->f->top = saved;
}

/* ---- statements ---- */

static bool if_stmt(struct compiler *c, struct node *n)
{
    struct label end = {0};
    uint64_t *merged = NULL;    /* intersection over the branches that fall through */
    size_t words = c->f->words;
    for (;;) {
        struct label no = {0};
        cond_jump(c, n->x, false, &no);
        uint64_t *state = save_assigned(c);
        if (stmts(c, n->list)) {
            if (!merged)
                merged = save_assigned(c);
            else
                for (size_t i = 0; i < words; i++)
                    merged[i] &= c->f->assigned[i];
            if (n->list2.len > 0)
                jump(c, OP_JMP, 0, &end);
        }
        place_here(c, &no);
        restore_assigned(c, state);
        if (n->list2.len != 1 || n->list2.items[0]->kind != N_IF)
            break;
        n = n->list2.items[0];
    }
    if (stmts(c, n->list2)) {
        if (merged)
            for (size_t i = 0; i < words; i++)
                c->f->assigned[i] &= merged[i];
        place_here(c, &end);
        return true;
    }
    place_here(c, &end);
    if (merged)
        restore_assigned(c, merged);
    return merged != NULL;
}

static void for_stmt(struct compiler *c, struct node *n)
{
    struct fn *f = c->f;
    uint32_t saved = f->top;
    struct label brk = {0};
    struct for_state fs;
    uint64_t *state = save_assigned(c);
    for_begin(c, n->x, n->y, n->pos, &fs);
    struct loop loop = {f->loop, &brk, &fs.next, fs.reg};
    f->loop = &loop;
    stmts(c, n->list);
    f->loop = loop.outer;
    for_end(c, n->pos, &brk, &fs);
    restore_assigned(c, state);
    f->top = saved;
}

/* The condition is at the end, so a turn is one jump. */
static void while_stmt(struct compiler *c, struct node *n)
{
    struct fn *f = c->f;
    struct label brk = {0}, cont = {0}, body = {0};
    cond_jump(c, n->x, false, &brk);
    uint64_t *state = save_assigned(c);
    uint32_t start = here(c);
    struct loop loop = {f->loop, &brk, &cont, NO_REG};
    f->loop = &loop;
    stmts(c, n->list);
    f->loop = loop.outer;
    place_here(c, &cont);
    at(c, n->pos);
    struct label again = {0};
    restore_assigned(c, state);
    cond_jump(c, n->x, false, &brk);
    at(c, n->pos);
    jump(c, OP_LOOP, 0, &again);
    place(c, &again, start);
    place(c, &body, start);
    place_here(c, &brk);
    restore_assigned(c, state);
}

static void return_stmt(struct compiler *c, struct node *n)
{
    struct fn *f = c->f;
    uint32_t saved = f->top;
    uint32_t r = n->x ? any(c, n->x) : NO_REG;
    at(c, n->pos);
    for (struct loop *l = f->loop; l; l = l->outer)
        if (l->reg != NO_REG)
            emit(c, OP_FOREND, l->reg, 0, 0);
    if (r != NO_REG)
        emit(c, OP_RETURN, r, 0, 0);
    else
        emit(c, OP_RETNONE, 0, 0, 0);
    f->top = saved;
}

static void load_stmt(struct compiler *c, struct node *n)
{
    uint32_t saved = c->f->top, len = n->list.len, base = temps(c, len);
    struct load_site site = {.module = n->x->value, .n = len};
    site.names = arena_alloc(c->out, len * sizeof(star_v));
    for (uint32_t i = 0; i < len; i++)
        site.names[i] = n->list2.items[i]->name->value;
    *vec_push(c->tmp, &c->sites) = site;
    at(c, n->pos);
    emit_d(c, OP_IMPORT, base, (int32_t)c->sites.len - 1);
    for (uint32_t i = 0; i < len; i++)
        set_name(c, n->list.items[i], base + i);
    c->f->top = saved;
}

/* False when control never reaches the end. */
static bool stmt(struct compiler *c, struct node *n)
{
    struct fn *f = c->f;
    uint32_t saved = f->top;
    at(c, n->pos);
    switch (n->kind) {
    case N_EXPR:
        if (strip(n->x)->kind != N_LITERAL)
            any(c, n->x);
        break;
    case N_BRANCH:
        if (n->op == TOK_BREAK)
            jump(c, OP_JMP, 0, f->loop->brk);
        else if (n->op == TOK_CONTINUE)
            jump(c, OP_JMP, 0, f->loop->cont);
        return n->op == TOK_PASS;
    case N_IF:
        return if_stmt(c, n);
    case N_ASSIGN:
        assignment(c, n);
        break;
    case N_DEF: {
        uint32_t r = target_reg(n->x);
        uint32_t dst = r != NO_REG ? r : temp(c);
        function_value(c, n, dst);
        set_name(c, n->x, dst);
        break;
    }
    case N_FOR:
        for_stmt(c, n);
        break;
    case N_WHILE:
        while_stmt(c, n);
        break;
    case N_RETURN:
        return_stmt(c, n);
        return false;
    case N_LOAD:
        load_stmt(c, n);
        break;
    default:
        BUG("compile: statement kind %d", n->kind);
    }
    f->top = saved;
    return true;
}

static bool stmts(struct compiler *c, struct node_list l)
{
    bool falls = true;
    for (uint32_t i = 0; i < l.len; i++)
        if (!stmt(c, l.items[i]))
            falls = false;
    return falls;
}

/* ---- functions ---- */

static void fn_begin(struct compiler *c, struct fn *f, struct fscope *scope, struct str name, struct pos pos)
{
    *f = (struct fn){.outer = c->f, .scope = scope, .at = pos};
    struct buffers *b = c->spare;
    if (b)
        c->spare = b->next;
    else
        b = arena_new(c->tmp, struct buffers);
    f->buffers = b;
    memcpy(&f->code, &b->code, sizeof f->code);
    memcpy(&f->pos, &b->pos, sizeof f->pos);
    f->p = arena_new(c->out, struct proto);
    f->p->program = c->prog;
    f->p->name = name;
    f->p->def_pos = (struct code_pos){pos.line, pos.col};
    f->words = scope->locals.len / 64 + 1;
    f->assigned = arena_array(c->tmp, uint64_t, f->words);
    c->f = f;
    temps(c, (uint32_t)scope->locals.len);
    for (uint32_t i = 0; i < scope->n_params; i++)
        set_assigned(c, i);
    for (uint32_t i = 0; i < scope->locals.len; i++) {
        if (scope->locals.items[i]->scope != SCOPE_CELL)
            continue;
        if (i >= scope->n_params)
            emit_d(c, OP_LOADIMM, i, (int32_t)STAR_NULL.bits);
        emit(c, OP_MKCELL, i, 0, 0);
    }
}

static struct proto *fn_end(struct compiler *c)
{
    struct fn *f = c->f;
    struct proto *p = f->p;
    struct fscope *s = f->scope;
    emit(c, OP_RETNONE, 0, 0, 0);
    p->n_code = (uint32_t)f->code.len;
    p->code = arena_memdup(c->out, f->code.items, f->code.len * sizeof *f->code.items);
    p->pos = arena_memdup(c->out, f->pos.items, f->pos.len * sizeof *f->pos.items);
    p->n_regs = f->max + 1;
    p->n_locals = (uint32_t)s->locals.len;
    p->n_loops = (uint32_t)f->ranges.len;
    p->loops = arena_memdup(c->out, f->ranges.items, f->ranges.len * sizeof *f->ranges.items);
    p->has_varargs = s->has_varargs;
    p->has_kwargs = s->has_kwargs;
    p->n_params = s->n_params - s->has_varargs - s->has_kwargs;
    p->n_kwonly = s->n_kwonly;
    p->no_recursion = !c->s->opts->recursion;
    p->is_simple = !s->has_varargs && !s->has_kwargs && s->n_kwonly == 0;
    p->param_names = arena_alloc(c->out, (s->n_params + 1) * sizeof(star_v));
    for (uint32_t i = 0; i < s->n_params; i++)
        p->param_names[i] = s->locals.items[i]->name->value;
    p->n_free = (uint32_t)s->frees.len;
    p->captures = arena_array(c->out, struct capture, p->n_free);
    p->free_names = arena_array(c->out, star_v, p->n_free);
    for (uint32_t i = 0; i < p->n_free; i++) {
        struct binding *b = s->frees.items[i];
        p->captures[i] = (struct capture){b->captured->scope == SCOPE_FREE, b->captured->index};
        p->free_names[i] = b->name->value;
    }
    f->code.len = f->pos.len = 0;
    memcpy(&f->buffers->code, &f->code, sizeof f->code);
    memcpy(&f->buffers->pos, &f->pos, sizeof f->pos);
    f->buffers->next = c->spare;
    c->spare = f->buffers;
    c->f = f->outer;
    *vec_push(c->tmp, &c->protos) = p;
    return p;
}

static void function_value(struct compiler *c, struct node *n, uint32_t dst)
{
    uint32_t saved = c->f->top, base = c->f->top, n_defaults = 0;
    bool seen_star = false;
    for (uint32_t i = 0; i < n->list.len; i++) {
        struct node *p = n->list.items[i];
        if (p->kind == N_UNARY) {
            seen_star = seen_star || p->op == TOK_STAR;
            continue;
        }
        if (p->kind == N_IDENT && !seen_star && n_defaults == 0)
            continue;
        uint32_t r = temp(c);
        if (p->kind == N_BINARY)
            to(c, p->y, r);
        else
            emit_d(c, OP_LOADIMM, r, (int32_t)MANDATORY.bits);
        n_defaults++;
    }
    struct fn f;
    fn_begin(c, &f, n->fn, n->kind == N_DEF ? n->name->s : STR("lambda"), n->pos);
    if (n->kind == N_DEF) {
        stmts(c, n->list2);
    } else {
        uint32_t r = any(c, n->x);
        emit(c, OP_RETURN, r, 0, 0);
    }
    struct proto *p = fn_end(c);
    p->n_defaults = n_defaults;
    at(c, n->pos);
    emit(c, OP_MKFUNC, dst, base, 0);
    emit_w(c, (uint32_t)c->protos.len - 1);
    c->f->top = saved;
}

#define KEEP(vec) arena_memdup(c.out, (vec).items, (vec).len * sizeof *(vec).items)

struct star_program *compile_file(struct source *s, struct node_list list, struct fscope *top)
{
    struct compiler c = {.s = s, .tmp = s->tmp, .out = s->out};
    struct star_program *prog = c.prog = arena_new(s->out, struct star_program);
    struct star_options *opts = arena_new(s->out, struct star_options);
    *opts = *s->opts;
    prog->opts = opts;
    prog->file = str_dup(s->out, s->file);
    struct fn f;
    fn_begin(&c, &f, top, STR("<toplevel>"), list.len > 0 ? list.items[0]->pos : (struct pos){1, 1});
    stmts(&c, list);
    prog->top = fn_end(&c);
    prog->consts = KEEP(c.consts);
    prog->attrs = KEEP(c.attrs);
    prog->shapes = KEEP(c.shapes);
    prog->sites = KEEP(c.sites);
    prog->protos = KEEP(c.protos);
    prog->loads = s->loads.items;
    prog->n_loads = s->loads.len;
    prog->n_globals = (uint32_t)s->globals.len;
    prog->global_names = arena_array(s->out, star_v, s->globals.len);
    prog->global_hidden = arena_array(s->out, bool, s->globals.len);
    for (size_t i = 0; i < s->globals.len; i++) {
        prog->global_names[i] = s->globals.items[i]->name->value;
        prog->global_hidden[i] = s->globals.items[i]->is_load;
    }
    prog->n_pre = (uint32_t)s->predeclared.len;
    prog->pre_names = arena_array(s->out, star_v, s->predeclared.len);
    for (size_t i = 0; i < s->predeclared.len; i++)
        prog->pre_names[i] = s->predeclared.items[i]->name->value;
    return prog;
}
