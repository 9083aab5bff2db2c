/* starlark/compile_expr.c: expressions, to a given register or to any.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compile_int.h"

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
    uint32_t y = expr_any(c, n->y);
    at(c, n->op_pos);
    emit(c, op, dst, x, y);
}

void expr_augmented(struct compiler *c, struct node *n, uint32_t x, uint32_t dst)
{
    if (n->op == TOK_PLUS_EQ || n->op == TOK_PIPE_EQ) {
        int32_t i;
        if (n->op == TOK_PLUS_EQ && small_literal(n->y, &i)) {
            at(c, n->op_pos);
            emit(c, OP_ADDI, dst, x, (uint32_t)i);
            return;
        }
        uint32_t y = expr_any(c, n->y);
        at(c, n->op_pos);
        emit(c, n->op == TOK_PLUS_EQ ? OP_IADD : OP_IOR, dst, x, y);
    } else {
        binary_right(c, n, x, dst);
    }
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
            uint32_t r = reg_temp(c);
            expr_to(c, n->list.items[i], r);
        }
        reg_temp(c);    /* room for a receiver pushed below the arguments */
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
        uint32_t r = reg_temp(c);
        expr_to(c, a, r);
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
    uint32_t base = reg_take(c, 4);
    struct node *parts[3] = {n->y, n->z, n->w};
    if (x != base)
        emit(c, OP_MOVE, base, x, 0);
    for (uint32_t i = 0; i < 3; i++) {
        if (parts[i])
            expr_to(c, parts[i], base + 1 + i);
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
    uint32_t saved = f->top, t = reg_temp(c), x;
    struct node *first = chain.items[chain.len - 1];
    bool call_first = first->kind == N_CALL ||
                      (first->kind == N_DOT && chain.len >= 2 && chain.items[chain.len - 2]->kind == N_CALL);
    if (call_first) {
        expr_to(c, n, t);
        x = t;
    } else {
        f->top = saved;     /* t is free unless the leaf takes it */
        x = expr_any(c, n);
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
            uint32_t y = expr_any(c, op->y);
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

static bool is_local_reg(struct compiler *c, uint32_t r)
{
    return r < c->f->scope->locals.len;
}

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

void expr_jump(struct compiler *c, struct node *n, bool sense, struct label *l)
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
            expr_jump(c, parts.items[i], early, early == sense ? l : &skip);
            if (i == 0)
                state = assigned_save(c);
        }
        expr_jump(c, parts.items[parts.len - 1], sense, l);
        label_place_here(c, &skip);
        assigned_restore(c, state); /* operands after the first may be skipped, and their checks with them */
    } else if (n->kind == N_BINARY && fused_compare(n->op, sense, &op)) {
        uint32_t x = expr_any(c, n->x);
        int32_t i;
        if (small_literal(n->y, &i)) {
            at(c, n->op_pos);
            emit_jump2(c, (enum opcode)(op + (OP_JEQI - OP_JEQ)), x, (uint32_t)i, l);
        } else {
            uint32_t y = expr_any(c, n->y);
            at(c, n->op_pos);
            emit_jump2(c, op, x, y, l);
        }
    } else {
        uint32_t x = expr_any(c, n);
        at(c, n->pos);
        emit_jump(c, sense ? OP_JT : OP_JF, x, l);
    }
    f->top = saved;
}

static void logical(struct compiler *c, struct node *n, uint32_t dst)
{
    struct node_list parts;
    struct label end = {0};
    uint32_t saved = c->f->top;
    uint32_t t = is_local_reg(c, dst) ? reg_temp(c) : dst;
    gather_logical(c, n, n->op, &parts);
    expr_to(c, parts.items[0], t);
    uint64_t *state = assigned_save(c);
    for (uint32_t i = 1; i < parts.len; i++) {
        emit_jump(c, n->op == TOK_OR ? OP_JT : OP_JF, t, &end);
        expr_to(c, parts.items[i], t);
    }
    assigned_restore(c, state);
    label_place_here(c, &end);
    if (t != dst)
        emit(c, OP_MOVE, dst, t, 0);
    c->f->top = saved;
}

static void conditional(struct compiler *c, struct node *n, uint32_t dst)
{
    struct label no = {0}, end = {0};
    expr_jump(c, n->y, false, &no);
    uint64_t *state = assigned_save(c);
    expr_to(c, n->x, dst);
    emit_jump(c, OP_JMP, 0, &end);
    label_place_here(c, &no);
    assigned_restore(c, state);
    expr_to(c, n->z, dst);
    assigned_restore(c, state);
    label_place_here(c, &end);
}

/* ---- displays and comprehensions ---- */

static void sequence(struct compiler *c, struct node *n, uint32_t dst)
{
    uint32_t saved = c->f->top;
    bool is_list = n->kind == N_LIST;
    uint32_t len = n->list.len;
    if (len <= (is_list ? LIST_BATCH : 10000)) {
        uint32_t base = reg_take(c, 0);
        for (uint32_t i = 0; i < len; i++) {
            uint32_t r = reg_temp(c);
            expr_to(c, n->list.items[i], r);
        }
        at(c, n->pos);
        emit(c, is_list ? OP_NEWLIST : OP_NEWTUPLE, dst, base, len);
    } else {
        uint32_t t = reg_temp(c);
        emit(c, OP_NEWLIST, t, t, 0);
        for (uint32_t i = 0; i < len; i += LIST_BATCH) {
            uint32_t here_n = MIN(len - i, (uint32_t)LIST_BATCH), base = c->f->top;
            for (uint32_t k = 0; k < here_n; k++) {
                uint32_t r = reg_temp(c);
                expr_to(c, n->list.items[i + k], r);
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
    uint32_t t = n->list.len > 0 && is_local_reg(c, dst) ? reg_temp(c) : dst;
    at(c, n->pos);
    emit_d(c, OP_NEWDICT, t, (int32_t)n->list.len);
    for (uint32_t i = 0; i < n->list.len; i++) {
        struct node *e = n->list.items[i];
        uint32_t inner = c->f->top;
        uint32_t k = expr_any(c, e->x), v = expr_any(c, e->y);
        at(c, e->op_pos);
        emit(c, OP_PUTNEW, t, k, v);
        c->f->top = inner;
    }
    if (t != dst)
        emit(c, OP_MOVE, dst, t, 0);
    c->f->top = saved;
}

/* Clauses [i..] and then the body, inside out. Depth is bounded: each `for` clause nests. */
static void comp_clauses(struct compiler *c, struct node *n, uint32_t i, uint32_t acc)
{
    struct label skip = {0};
    for (; i < n->list.len && n->list.items[i]->kind == N_IF_CLAUSE; i++)
        expr_jump(c, n->list.items[i]->x, false, &skip);
    if (i == n->list.len) {
        uint32_t saved = c->f->top;
        if (n->is_curly) {
            uint32_t k = expr_any(c, n->x->x), v = expr_any(c, n->x->y);
            at(c, n->x->op_pos);
            emit(c, OP_PUT, acc, k, v);
        } else {
            uint32_t v = expr_any(c, n->x);
            at(c, n->pos);
            emit(c, OP_APPEND, acc, v, 0);
        }
        c->f->top = saved;
    } else {
        struct node *clause = n->list.items[i];
        struct for_state fs;
        uint32_t saved = c->f->top;
        uint64_t *state = assigned_save(c);
        for_begin(c, clause->x, clause->y, clause->pos, &fs);
        comp_clauses(c, n, i + 1, acc);
        for_end(c, clause->pos, NULL, &fs);
        assigned_restore(c, state);
        c->f->top = saved;
    }
    label_place_here(c, &skip);
}

static void comprehension(struct compiler *c, struct node *n, uint32_t dst)
{
    uint32_t saved = c->f->top, acc = reg_temp(c);
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

/* ---- any expression ---- */

static void unary(struct compiler *c, struct node *n, uint32_t dst)
{
    struct node *x = strip(n->x);
    if (n->op == TOK_MINUS && x->kind == N_LITERAL && is_int(x->value) && int_of(x->value) <= INT32_MAX) {
        emit_d(c, OP_LOADI, dst, -(int32_t)int_of(x->value));
        return;
    }
    uint32_t saved = c->f->top, r = expr_any(c, x);
    at(c, n->op_pos);
    emit(c, n->op == TOK_MINUS ? OP_NEG : n->op == TOK_PLUS ? OP_POS : n->op == TOK_TILDE ? OP_INV : OP_NOT, dst, r, 0);
    c->f->top = saved;
}

void expr_to(struct compiler *c, struct node *n, uint32_t dst)
{
    n = strip(n);
    if (is_spine(n)) {
        spine(c, n, dst);
        return;
    }
    switch (n->kind) {
    case N_IDENT:
        var_get(c, n, dst);
        break;
    case N_LITERAL:
        at(c, n->pos);
        if (is_string(n->value) && STR_OBJ(n->value)->len <= 40)
            emit_d(c, OP_LOADK, dst, (int32_t)name_constant(c, name_intern(c->s, str_of_v(n->value))));
        else
            emit_value(c, n->value, dst);
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
        function_to(c, n, dst);
        break;
    case N_COMP:
        comprehension(c, n, dst);
        break;
    default:
        BUG("compile: expression kind %d", n->kind);
    }
}

uint32_t expr_any(struct compiler *c, struct node *n)
{
    n = strip(n);
    if (n->kind == N_IDENT && n->bind->scope == SCOPE_LOCAL) {
        at(c, n->pos);
        var_check(c, n->bind);
        return n->bind->index;
    }
    uint32_t r = reg_temp(c);
    expr_to(c, n, r);
    return r;
}
