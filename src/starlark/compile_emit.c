/* starlark/compile_emit.c: instructions, jumps, registers, constants and variables of the function being compiled.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compile_int.h"

/* ---- instructions ---- */

void emit_insn(struct compiler *c, struct insn i)
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

static void use_label(struct compiler *c, struct label *l)
{
    *vec_push(c->tmp, &l->uses) = here(c) - 1;
}

void emit_jump(struct compiler *c, enum opcode op, uint32_t a, struct label *l)
{
    emit_d(c, op, a, 0);
    use_label(c, l);
}

void emit_jump2(struct compiler *c, enum opcode op, uint32_t a, uint32_t b, struct label *l)
{
    emit(c, op, a, b, 0);
    emit_w(c, 0);
    use_label(c, l);
}

void label_place(struct compiler *c, struct label *l, uint32_t target)
{
    for (size_t i = 0; i < l->uses.len; i++) {
        uint32_t w = l->uses.items[i];
        c->f->code.items[w].d = (int32_t)(target - (w + 1));
    }
    l->uses.len = 0;
}

/* ---- registers and constants ---- */

uint32_t reg_take(struct compiler *c, uint32_t n)
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

static uint32_t constant(struct compiler *c, star_v v)
{
    *vec_push(c->tmp, &c->consts) = v;
    return (uint32_t)c->consts.len - 1;
}

uint32_t name_constant(struct compiler *c, struct name *n)
{
    if (n->const_index == 0)
        n->const_index = constant(c, n->value) + 1;
    return n->const_index - 1;
}

uint32_t attr_ref(struct compiler *c, struct name *n)
{
    if (n->attr_method == 0)
        n->attr_method = method_number(n->s) + 1u;
    *vec_push(c->tmp, &c->attrs) = (struct attr_ref){.name = n->value, .method = (uint16_t)(n->attr_method - 1)};
    return (uint32_t)c->attrs.len - 1;
}

void emit_value(struct compiler *c, star_v v, uint32_t dst)
{
    if (is_int(v) && int_of(v) >= INT32_MIN && int_of(v) <= INT32_MAX)
        emit_d(c, OP_LOADI, dst, (int32_t)int_of(v));
    else if ((v.bits & 3) == 3)
        emit_d(c, OP_LOADIMM, dst, (int32_t)v.bits);
    else
        emit_d(c, OP_LOADK, dst, (int32_t)constant(c, v));
}

/* ---- variables ---- */

static bool is_assigned(struct compiler *c, uint32_t local)
{
    return c->f->assigned[local / 64] >> (local % 64) & 1;
}

uint64_t *assigned_save(struct compiler *c)
{
    return arena_memdup(c->tmp, c->f->assigned, c->f->words * sizeof(uint64_t));
}

void assigned_restore(struct compiler *c, const uint64_t *saved)
{
    memcpy(c->f->assigned, saved, c->f->words * sizeof(uint64_t));
}

void var_check(struct compiler *c, struct binding *b)
{
    if (is_assigned(c, b->index))
        return;
    emit_d(c, OP_CHECK, b->index, (int32_t)name_constant(c, b->name));
    c->f->p->clear_locals = true;
    set_assigned(c, b->index);
}

void var_get(struct compiler *c, struct node *n, uint32_t dst)
{
    struct binding *b = n->bind;
    at(c, n->pos);
    switch (b->scope) {
    case SCOPE_LOCAL:
        var_check(c, b);
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
        emit_value(c, b->value, dst);
    }
}

void var_set(struct compiler *c, struct node *n, uint32_t src)
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
