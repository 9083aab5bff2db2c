/* starlark/compile_stmt.c: assignments, loops and the other statements.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compile_int.h"

#define NO_REG UINT32_MAX

/* What break, continue and return have to leave. */
struct loop {
    struct loop *outer;
    struct label *brk, *cont;
    uint32_t reg;           /* of the iteration; NO_REG for while */
};

/* ---- assignment ---- */

/* The register of a plain local target, else NO_REG. */
static uint32_t target_reg(struct node *n)
{
    n = strip(n);
    return n->kind == N_IDENT && n->bind->scope == SCOPE_LOCAL ? n->bind->index : NO_REG;
}

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
        base = reg_take(c, len);
    at(c, n->pos);
    emit(c, OP_UNPACK, src, base, len);
    for (uint32_t i = 0; i < len; i++) {
        if (direct)
            set_assigned(c, base + i);
        else
            assign_to(c, n->list.items[i], base + i);
    }
    c->f->top = saved;
}

void assign_to(struct compiler *c, struct node *n, uint32_t src)
{
    uint32_t saved = c->f->top;
    n = strip(n);
    switch (n->kind) {
    case N_IDENT:
        var_set(c, n, src);
        break;
    case N_TUPLE:
    case N_LIST:
        assign_sequence(c, n, src);
        break;
    case N_INDEX: {
        uint32_t x = expr_any(c, n->x), y = expr_any(c, n->y);
        at(c, n->op_pos);
        emit(c, OP_SETINDEX, x, y, src);
        break;
    }
    case N_DOT: {
        uint32_t x = expr_any(c, n->x), ref = attr_ref(c, n->name);
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

static void augmented(struct compiler *c, struct node *n)
{
    struct node *t = strip(n->x);
    uint32_t saved = c->f->top;
    if (t->kind == N_IDENT) {
        uint32_t x = expr_any(c, t);
        uint32_t dst = target_reg(t) != NO_REG ? target_reg(t) : reg_temp(c);
        expr_augmented(c, n, x, dst);
        var_set(c, t, dst);
    } else if (t->kind == N_INDEX) {
        uint32_t x = expr_any(c, t->x), y = expr_any(c, t->y), v = reg_temp(c);
        at(c, t->op_pos);
        emit(c, OP_INDEX, v, x, y);
        expr_augmented(c, n, v, v);
        at(c, t->op_pos);
        emit(c, OP_SETINDEX, x, y, v);
    } else {
        uint32_t x = expr_any(c, t->x), v = reg_temp(c), ref = attr_ref(c, t->name);
        at(c, t->op_pos);
        emit(c, OP_ATTR, v, x, 0);
        emit_w(c, ref);
        expr_augmented(c, n, v, v);
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
        expr_to(c, n->y, r);
        set_assigned(c, r);
    } else {
        struct node *t = strip(n->x), *v = strip(n->y);
        /* a, b = x, y without making a tuple: all values first, then all targets. */
        if ((t->kind == N_TUPLE || t->kind == N_LIST) && v->kind == N_TUPLE && t->list.len == v->list.len &&
            t->list.len > 0 && t->list.len <= LIST_BATCH) {
            uint32_t base = c->f->top;
            for (uint32_t i = 0; i < v->list.len; i++) {
                uint32_t x = reg_temp(c);
                expr_to(c, v->list.items[i], x);
            }
            for (uint32_t i = 0; i < t->list.len; i++)
                assign_to(c, t->list.items[i], base + i);
        } else {
            assign_to(c, t, expr_any(c, v));
        }
    }
    c->f->top = saved;
}

/* ---- loops ---- */

void for_begin(struct compiler *c, struct node *target, struct node *iterable, struct pos pos, struct for_state *fs)
{
    *fs = (struct for_state){.reg = reg_take(c, 3)};
    expr_to(c, iterable, fs->reg);
    uint32_t r = target_reg(target);
    fs->item = r != NO_REG ? r : reg_temp(c);
    at(c, pos);
    emit_jump(c, OP_FORPREP, fs->reg, &fs->next);
    fs->from = fs->body = here(c);
    if (r != NO_REG)
        set_assigned(c, r);
    else
        assign_to(c, target, fs->item);
}

void for_end(struct compiler *c, struct pos pos, struct label *brk, struct for_state *fs)
{
    label_place_here(c, &fs->next);
    at(c, pos);
    struct label body = {0};
    emit_jump2(c, OP_FORNEXT, fs->reg, fs->item, &body);
    label_place(c, &body, fs->body);
    if (brk)
        label_place_here(c, brk);
    *vec_push(c->tmp, &c->f->ranges) = (struct loop_range){fs->from, here(c), fs->reg};
    emit(c, OP_FOREND, fs->reg, 0, 0);
}

static void for_stmt(struct compiler *c, struct node *n)
{
    struct fn *f = c->f;
    uint32_t saved = f->top;
    struct label brk = {0};
    struct for_state fs;
    uint64_t *state = assigned_save(c);
    for_begin(c, n->x, n->y, n->pos, &fs);
    struct loop loop = {f->loop, &brk, &fs.next, fs.reg};
    f->loop = &loop;
    stmt_list(c, n->list);
    f->loop = loop.outer;
    for_end(c, n->pos, &brk, &fs);
    assigned_restore(c, state);
    f->top = saved;
}

/* The condition is at the end, so a turn is one jump. */
static void while_stmt(struct compiler *c, struct node *n)
{
    struct fn *f = c->f;
    struct label brk = {0}, cont = {0};
    expr_jump(c, n->x, false, &brk);
    uint64_t *state = assigned_save(c);
    uint32_t start = here(c);
    struct loop loop = {f->loop, &brk, &cont, NO_REG};
    f->loop = &loop;
    stmt_list(c, n->list);
    f->loop = loop.outer;
    label_place_here(c, &cont);
    at(c, n->pos);
    struct label again = {0};
    assigned_restore(c, state);
    expr_jump(c, n->x, false, &brk);
    at(c, n->pos);
    emit_jump(c, OP_LOOP, 0, &again);
    label_place(c, &again, start);
    label_place_here(c, &brk);
    assigned_restore(c, state);
}

/* ---- other statements ---- */

static bool if_stmt(struct compiler *c, struct node *n)
{
    struct label end = {0};
    uint64_t *merged = NULL;    /* intersection over the branches that fall through */
    size_t words = c->f->words;
    for (;;) {
        struct label no = {0};
        expr_jump(c, n->x, false, &no);
        uint64_t *state = assigned_save(c);
        if (stmt_list(c, n->list)) {
            if (!merged)
                merged = assigned_save(c);
            else
                for (size_t i = 0; i < words; i++)
                    merged[i] &= c->f->assigned[i];
            if (n->list2.len > 0)
                emit_jump(c, OP_JMP, 0, &end);
        }
        label_place_here(c, &no);
        assigned_restore(c, state);
        if (n->list2.len != 1 || n->list2.items[0]->kind != N_IF)
            break;
        n = n->list2.items[0];
    }
    if (stmt_list(c, n->list2)) {
        if (merged)
            for (size_t i = 0; i < words; i++)
                c->f->assigned[i] &= merged[i];
        label_place_here(c, &end);
        return true;
    }
    label_place_here(c, &end);
    if (merged)
        assigned_restore(c, merged);
    return merged != NULL;
}

static void return_stmt(struct compiler *c, struct node *n)
{
    struct fn *f = c->f;
    uint32_t saved = f->top;
    uint32_t r = n->x ? expr_any(c, n->x) : NO_REG;
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
    uint32_t saved = c->f->top, len = n->list.len, base = reg_take(c, len);
    struct load_site site = {.module = n->x->value, .n = len};
    site.names = arena_alloc(c->out, len * sizeof(star_v));
    for (uint32_t i = 0; i < len; i++)
        site.names[i] = n->list2.items[i]->name->value;
    *vec_push(c->tmp, &c->sites) = site;
    at(c, n->pos);
    emit_d(c, OP_IMPORT, base, (int32_t)c->sites.len - 1);
    for (uint32_t i = 0; i < len; i++)
        var_set(c, n->list.items[i], base + i);
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
            expr_any(c, n->x);
        break;
    case N_BRANCH:
        if (n->op == TOK_BREAK)
            emit_jump(c, OP_JMP, 0, f->loop->brk);
        else if (n->op == TOK_CONTINUE)
            emit_jump(c, OP_JMP, 0, f->loop->cont);
        return n->op == TOK_PASS;
    case N_IF:
        return if_stmt(c, n);
    case N_ASSIGN:
        assignment(c, n);
        break;
    case N_DEF: {
        uint32_t r = target_reg(n->x);
        uint32_t dst = r != NO_REG ? r : reg_temp(c);
        function_to(c, n, dst);
        var_set(c, n->x, dst);
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

bool stmt_list(struct compiler *c, struct node_list l)
{
    bool falls = true;
    for (uint32_t i = 0; i < l.len; i++)
        if (!stmt(c, l.items[i]))
            falls = false;
    return falls;
}
