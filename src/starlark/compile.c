/* starlark/compile.c: functions, and the program that they make.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compile_int.h"

/* Buffers for a function's code, kept for the next function at the same depth. */
struct buffers {
    struct buffers *next;
    VEC(struct insn) code;
    VEC(struct code_pos) pos;
};

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
    reg_take(c, (uint32_t)scope->locals.len);
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

void function_to(struct compiler *c, struct node *n, uint32_t dst)
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
        uint32_t r = reg_temp(c);
        if (p->kind == N_BINARY)
            expr_to(c, p->y, r);
        else
            emit_d(c, OP_LOADIMM, r, (int32_t)MANDATORY.bits);
        n_defaults++;
    }
    struct fn f;
    fn_begin(c, &f, n->fn, n->kind == N_DEF ? n->name->s : STR("lambda"), n->pos);
    if (n->kind == N_DEF) {
        stmt_list(c, n->list2);
    } else {
        uint32_t r = expr_any(c, n->x);
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
    stmt_list(&c, list);
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
