/* starlark/resolve.c: says of every identifier which variable it means, and refuses what the dialect does.
 *
 * Names bound anywhere in a block are visible in all of it, so each block is walked twice: `collect` binds
 * its names, then the walk proper resolves uses at once. While a block is open its variables are on top of
 * their names' stacks (name->top), so a look-up is one pointer. A use of an enclosing function's variable
 * turns that into a cell and adds a free variable to each function in between.
 * SPDX-License-Identifier: Apache-2.0 */
#include "syntax.h"

struct resolver {
    struct source *s;
    struct fscope *fn;          /* innermost function, or the file */
    struct binding *block;      /* variables of the innermost block, by next_in_block */
    uint32_t block_id, last_block_id;
    uint32_t calls;
    int loops, ifs;
    bool at_file;               /* innermost block is the file's */
};

static void expr(struct resolver *r, struct node *n);
static void stmts(struct resolver *r, struct node_list l);

/* ---- blocks ---- */

struct saved_block {
    struct binding *block;
    uint32_t block_id;
    bool at_file;
};

static struct saved_block block_open(struct resolver *r)
{
    struct saved_block old = {r->block, r->block_id, r->at_file};
    r->block = NULL;
    r->block_id = ++r->last_block_id;
    r->at_file = false;
    return old;
}

static void block_close(struct resolver *r, struct saved_block old)
{
    for (struct binding *b = r->block; b; b = b->next_in_block)
        b->name->top = b->outer;
    r->block = old.block;
    r->block_id = old.block_id;
    r->at_file = old.at_file;
}

static struct binding *binding_new(struct resolver *r, struct node *id, enum scope scope)
{
    struct binding *b = arena_new(r->s->tmp, struct binding);
    b->name = id->name;
    b->scope = (uint8_t)scope;
    b->pos = id->pos;
    b->owner = r->fn;
    b->block = r->block_id;
    b->outer = id->name->top;
    b->next_in_block = r->block;
    r->block = b;
    id->name->top = b;
    return b;
}

/* Binds a local of the innermost block; true if it was bound there already. */
static bool bind_local(struct resolver *r, struct node *id)
{
    struct binding *b = id->name->top;
    if (b && b->block == r->block_id) {
        id->bind = b;
        return true;
    }
    b = binding_new(r, id, SCOPE_LOCAL);
    b->index = (uint32_t)r->fn->locals.len;
    *vec_push(r->s->tmp, &r->fn->locals) = b;
    id->bind = b;
    return false;
}

static void bind_global(struct resolver *r, struct node *id)
{
    struct binding *b = id->name->top;
    if (!b) {
        b = binding_new(r, id, SCOPE_GLOBAL);
        b->index = (uint32_t)r->s->globals.len;
        *vec_push(r->s->tmp, &r->s->globals) = b;
    } else if (!r->s->opts->global_reassign) {
        source_error(r->s, id->pos, "cannot reassign %s " STR_FMT " declared at " STR_FMT ":%u:%u",
                     b->is_load ? "local" : "global", STR_ARG(id->name->s), STR_ARG(r->s->file), b->pos.line, b->pos.col);
    }
    id->bind = b;
}

static void bind(struct resolver *r, struct node *id)
{
    if (r->at_file)
        bind_global(r, id);
    else
        bind_local(r, id);
}

/* ---- first walk: which names does this block bind? ---- */

static void collect_target(struct resolver *r, struct node *n)
{
    while (n->kind == N_PAREN)
        n = n->x;
    if (n->kind == N_IDENT)
        bind(r, n);
    else if (n->kind == N_TUPLE || n->kind == N_LIST)
        for (uint32_t i = 0; i < n->list.len; i++)
            collect_target(r, n->list.items[i]);
}

static void collect_load(struct resolver *r, struct node *n)
{
    for (uint32_t i = 0; i < n->list.len; i++) {
        struct node *to = n->list.items[i];
        struct node *from = n->list2.items[i];
        struct str name = from->name->s;
        if (name.len == 0) {
            source_error(r->s, from->pos, "load: empty identifier");
            continue;
        }
        if (name.ptr[0] == '_')
            source_error(r->s, from->pos, "load: names with leading underscores are not exported: " STR_FMT, STR_ARG(name));
        if (!r->at_file)
            continue;   /* refused by the second walk */
        if (r->s->opts->load_binds_globally) {
            bind_global(r, to);
        } else if (to->name->top && !r->s->opts->global_reassign) {
            source_error(r->s, to->pos, "cannot reassign top-level " STR_FMT, STR_ARG(to->name->s));
        } else if (to->name->top) {
            to->bind = to->name->top;
        } else {
            bind_global(r, to);
            to->bind->is_load = true;
        }
    }
}

static void collect(struct resolver *r, struct node_list l)
{
    for (uint32_t i = 0; i < l.len; i++) {
        struct node *n = l.items[i];
        switch (n->kind) {
        case N_ASSIGN:
            collect_target(r, n->x);
            break;
        case N_DEF:
            bind(r, n->x);
            break;
        case N_FOR:
            collect_target(r, n->x);
            collect(r, n->list);
            break;
        case N_WHILE:
            collect(r, n->list);
            break;
        case N_IF:
            for (;;) { /* elif chains are long, not deep */
                collect(r, n->list);
                if (n->list2.len != 1 || n->list2.items[0]->kind != N_IF)
                    break;
                n = n->list2.items[0];
            }
            collect(r, n->list2);
            break;
        case N_LOAD:
            collect_load(r, n);
            break;
        default:
            break;
        }
    }
}

/* ---- uses ---- */

static struct binding *free_binding(struct resolver *r, struct fscope *fn, struct binding *b)
{
    if (b->owner == fn)
        return b;
    struct binding *outer = free_binding(r, fn->outer, b);
    if (outer->scope == SCOPE_LOCAL)
        outer->scope = SCOPE_CELL;
    for (size_t i = 0; i < fn->frees.len; i++)
        if (fn->frees.items[i]->captured == outer)
            return fn->frees.items[i];
    struct binding *f = arena_new(r->s->tmp, struct binding);
    f->name = b->name;
    f->scope = SCOPE_FREE;
    f->owner = fn;
    f->captured = outer;
    f->index = (uint32_t)fn->frees.len;
    f->pos = b->pos;
    *vec_push(r->s->tmp, &fn->frees) = f;
    return f;
}

static const char *undefined_hint(struct resolver *r, struct str name)
{
    struct source *s = r->s;
    struct str *names = arena_array(s->tmp, struct str, s->cap_names + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->cap_names; i++)
        if (s->names[i] && s->names[i]->top)
            names[n++] = s->names[i]->s;
    /* Sorting makes the choice among equals independent of the hash. */
    str_sort(names, n);
    const char *best = spell_nearest(s->tmp, name, names, n);
    if (best)
        return best;
    size_t n_env = s->env ? s->env->n : 0;
    struct str *more = arena_array(s->tmp, struct str, n_env + 64);
    n = 0;
    for (size_t i = 0; i < n_env; i++)
        more[n++] = str_from(s->env->items[i].name);
    n += universe_names(more + n, 64);
    return spell_nearest(s->tmp, name, more, n);
}

static struct binding *beyond_globals(struct resolver *r, struct node *id)
{
    struct source *s = r->s;
    struct name *name = id->name;
    if (name->universe)
        return name->universe;
    struct binding *b = arena_new(s->tmp, struct binding);
    b->name = name;
    for (size_t i = 0; s->env && i < s->env->n; i++) {
        if (!str_eq_z(name->s, s->env->items[i].name))
            continue;
        b->scope = SCOPE_PREDECLARED;
        b->index = (uint32_t)s->predeclared.len;
        *vec_push(s->tmp, &s->predeclared) = b;
        return name->universe = b;
    }
    b->value = universe_get(name->s);
    if (star_is_null(b->value)) {
        const char *hint = undefined_hint(r, name->s);
        source_error(s, id->pos, "undefined: " STR_FMT "%s%s%s", STR_ARG(name->s), hint ? " (did you mean " : "",
                     hint ? hint : "", hint ? "?)" : "");
        b->scope = SCOPE_UNDEFINED;
        return b;
    }
    if (!s->opts->sets && str_eq(name->s, STR("set")))
        source_error(s, id->pos, "this Starlark dialect does not support sets");
    b->scope = SCOPE_UNIVERSAL;
    return name->universe = b;
}

static void use(struct resolver *r, struct node *id)
{
    struct binding *b = id->name->top;
    /* With global_reassign a use at top level means what is bound so far. */
    if (b && b->scope == SCOPE_GLOBAL && r->at_file && !b->is_declared && r->s->opts->global_reassign)
        b = NULL;
    if (!b)
        b = beyond_globals(r, id);
    else if (b->scope != SCOPE_GLOBAL)
        b = free_binding(r, r->fn, b);
    id->bind = b;
}

/* ---- targets ---- */

static const char *kind_name(const struct node *n)
{
    static const char *const names[] = {
        [N_IDENT] = "ident", [N_LITERAL] = "literal", [N_PAREN] = "parenexpr", [N_TUPLE] = "tupleexpr",
        [N_LIST] = "listexpr", [N_DICT] = "dictexpr", [N_ENTRY] = "dictentry", [N_COND] = "condexpr",
        [N_INDEX] = "indexexpr", [N_SLICE] = "sliceexpr", [N_DOT] = "dotexpr", [N_CALL] = "callexpr",
        [N_UNARY] = "unaryexpr", [N_BINARY] = "binaryexpr", [N_LAMBDA] = "lambdaexpr", [N_COMP] = "comprehension",
    };
    return n->kind < ARRAY_LEN(names) && names[n->kind] ? names[n->kind] : "expression";
}

static void assign(struct resolver *r, struct node *n, bool augmented)
{
    while (n->kind == N_PAREN)
        n = n->x;
    switch (n->kind) {
    case N_IDENT:
        /* Bound by collect; a second binding in a REPL-like file goes to the same variable. */
        if (!n->bind)
            use(r, n);
        n->bind->is_declared = true;
        break;
    case N_INDEX:
        expr(r, n->x);
        expr(r, n->y);
        break;
    case N_DOT:
        expr(r, n->x);
        break;
    case N_TUPLE:
    case N_LIST:
        if (augmented)
            source_error(r->s, n->pos, "can't use %s expression in augmented assignment", n->kind == N_TUPLE ? "tuple" : "list");
        for (uint32_t i = 0; i < n->list.len; i++)
            assign(r, n->list.items[i], augmented);
        break;
    default:
        source_error(r->s, n->pos, "can't assign to %s", kind_name(n));
    }
}

/* ---- functions ---- */

struct param_state {
    bool seen_optional;
    struct node *star, *star_star;
};

static void bind_param(struct resolver *r, struct node *id, struct pos pos)
{
    if (bind_local(r, id))
        source_error(r->s, pos, "duplicate parameter: " STR_FMT, STR_ARG(id->name->s));
    else
        id->bind->is_declared = true;
}

static void param(struct resolver *r, struct param_state *ps, struct node *p)
{
    struct source *s = r->s;
    bool is_star = p->kind == N_UNARY && p->op == TOK_STAR;
    if (ps->star_star && !(p->kind == N_UNARY && p->op == TOK_STARSTAR)) {
        struct str kw = ps->star_star->name->s;
        source_error(s, p->kind == N_IDENT ? p->pos : p->op_pos, "%s parameter may not follow **" STR_FMT,
                     p->kind == N_IDENT ? "required" : is_star ? "*" : "optional", STR_ARG(kw));
    }
    if (p->kind == N_IDENT) {
        if (ps->star)
            r->fn->n_kwonly++;
        else if (!ps->star_star && ps->seen_optional)
            source_error(s, p->pos, "required parameter may not follow optional");
        bind_param(r, p, p->pos);
    } else if (p->kind == N_BINARY) {
        if (ps->star)
            r->fn->n_kwonly++;
        bind_param(r, p->x, p->op_pos);
        ps->seen_optional = true;
    } else if (is_star) {
        if (ps->star && !ps->star_star)
            source_error(s, p->op_pos, "multiple * parameters not allowed");
        else
            ps->star = p;
    } else {
        if (ps->star_star)
            source_error(s, p->op_pos, "multiple ** parameters not allowed");
        ps->star_star = p->x;
    }
}

static void params(struct resolver *r, struct node_list l)
{
    struct param_state ps = {0};
    for (uint32_t i = 0; i < l.len; i++)
        param(r, &ps, l.items[i]);
    /* Last, so that the named parameters have the first slots. */
    if (ps.star && ps.star->x) {
        bind_param(r, ps.star->x, ps.star->x->pos);
        r->fn->has_varargs = true;
    } else if (ps.star && r->fn->n_kwonly == 0) {
        source_error(r->s, ps.star->op_pos, "bare * must be followed by keyword-only parameters");
    }
    if (ps.star_star) {
        bind_param(r, ps.star_star, ps.star_star->pos);
        r->fn->has_kwargs = true;
    }
    r->fn->n_params = (uint32_t)r->fn->locals.len;
}

static void function(struct resolver *r, struct node *n)
{
    for (uint32_t i = 0; i < n->list.len; i++)
        if (n->list.items[i]->kind == N_BINARY)
            expr(r, n->list.items[i]->y);
    struct fscope *fn = arena_new(r->s->tmp, struct fscope);
    fn->outer = r->fn;
    fn->node = n;
    n->fn = fn;
    int loops = r->loops, ifs = r->ifs;
    r->fn = fn;
    r->loops = r->ifs = 0;
    struct saved_block old = block_open(r);
    params(r, n->list);
    if (n->kind == N_DEF) {
        collect(r, n->list2);
        stmts(r, n->list2);
    } else {
        expr(r, n->x);
    }
    block_close(r, old);
    r->fn = fn->outer;
    r->loops = loops;
    r->ifs = ifs;
}

/* ---- expressions ---- */

static void comprehension(struct resolver *r, struct node *n)
{
    /* The first operand of `in` belongs to the enclosing block: [x for x in x]. */
    expr(r, n->list.items[0]->y);
    struct saved_block old = block_open(r);
    for (uint32_t i = 0; i < n->list.len; i++)
        if (n->list.items[i]->kind == N_FOR_CLAUSE)
            collect_target(r, n->list.items[i]->x);
    for (struct binding *b = r->block; b; b = b->next_in_block)
        b->in_comp = true;
    for (uint32_t i = 0; i < n->list.len; i++) {
        struct node *c = n->list.items[i];
        if (c->kind == N_IF_CLAUSE) {
            expr(r, c->x);
            continue;
        }
        assign(r, c->x, false);
        if (i > 0)
            expr(r, c->y);
    }
    expr(r, n->x);
    block_close(r, old);
}

static void call_args(struct resolver *r, struct node *call)
{
    struct source *s = r->s;
    bool seen_args = false, seen_kwargs = false, seen_named = false;
    uint32_t id = ++r->calls;
    for (uint32_t i = 0; i < call->list.len; i++) {
        struct node *a = call->list.items[i];
        if (a->kind == N_UNARY && a->op == TOK_STARSTAR) {
            if (seen_kwargs)
                source_error(s, a->pos, "multiple **kwargs not allowed");
            seen_kwargs = true;
        } else if (a->kind == N_UNARY && a->op == TOK_STAR) {
            if (seen_kwargs)
                source_error(s, a->pos, "*args may not follow **kwargs");
            else if (seen_args)
                source_error(s, a->pos, "multiple *args not allowed");
            seen_args = true;
        } else if (a->kind == N_BINARY && a->op == TOK_EQ) {
            if (seen_kwargs)
                source_error(s, a->pos, "keyword argument may not follow **kwargs");
            else if (seen_args)
                source_error(s, a->pos, "keyword argument may not follow *args");
            if (a->x->name->mark == id)
                source_error(s, a->x->pos, "keyword argument \"" STR_FMT "\" is repeated", STR_ARG(a->x->name->s));
            a->x->name->mark = id;
            seen_named = true;
        } else if (seen_args) {
            source_error(s, a->pos, "positional argument may not follow *args");
        } else if (seen_kwargs) {
            source_error(s, a->pos, "positional argument may not follow **kwargs");
        } else if (seen_named) {
            source_error(s, a->pos, "positional argument may not follow named");
        }
    }
    for (uint32_t i = 0; i < call->list.len; i++) {
        struct node *a = call->list.items[i];
        bool is_named = a->kind == N_BINARY && a->op == TOK_EQ;
        expr(r, is_named ? a->y : a);
    }
}

/* Right operands recurse, the left one is the loop: chains that lean left are long, not deep. Errors are
 * sorted by position in the end. */
static void expr(struct resolver *r, struct node *n)
{
    for (;;) {
        switch (n->kind) {
        case N_IDENT:
            use(r, n);
            return;
        case N_LITERAL:
            return;
        case N_PAREN:
        case N_DOT:
        case N_UNARY:
            n = n->x;
            continue;
        case N_BINARY:
        case N_INDEX:
        case N_ENTRY:
            expr(r, n->y);
            n = n->x;
            continue;
        case N_SLICE:
            if (n->y)
                expr(r, n->y);
            if (n->z)
                expr(r, n->z);
            if (n->w)
                expr(r, n->w);
            n = n->x;
            continue;
        case N_CALL:
            call_args(r, n);
            n = n->x;
            continue;
        case N_COND:
            expr(r, n->x);
            expr(r, n->y);
            n = n->z;
            continue;
        case N_TUPLE:
        case N_LIST:
        case N_DICT:
            for (uint32_t i = 0; i < n->list.len; i++)
                expr(r, n->list.items[i]);
            return;
        case N_COMP:
            comprehension(r, n);
            return;
        case N_LAMBDA:
            function(r, n);
            return;
        default:
            BUG("resolve: expression kind %d", n->kind);
        }
    }
}

/* ---- statements ---- */

static void need_function(struct resolver *r, struct pos pos, const char *what)
{
    const struct star_options *o = r->s->opts;
    if (!r->fn->outer && !o->toplevel_control && !o->global_reassign)
        source_error(r->s, pos, "%s not within a function", what);
}

static void if_stmt(struct resolver *r, struct node *n)
{
    r->ifs++;
    for (;;) {
        need_function(r, n->pos, "if statement");
        expr(r, n->x);
        stmts(r, n->list);
        if (n->list2.len != 1 || n->list2.items[0]->kind != N_IF)
            break;
        n = n->list2.items[0];
    }
    stmts(r, n->list2);
    r->ifs--;
}

static void load_stmt(struct resolver *r, struct node *n)
{
    struct source *s = r->s;
    if (s->opts->no_load)
        source_error(s, n->pos, "this Starlark dialect does not support load statements");
    if (r->fn->outer)
        source_error(s, n->pos, "load statement within a function");
    else if (r->loops > 0)
        source_error(s, n->pos, "load statement within a loop");
    else if (r->ifs > 0)
        source_error(s, n->pos, "load statement within a conditional");
    struct str *names = arena_array(s->out, struct str, n->list2.len);
    for (uint32_t i = 0; i < n->list.len; i++) {
        names[i] = n->list2.items[i]->name->s;
        if (n->list.items[i]->bind)
            n->list.items[i]->bind->is_declared = true;
    }
    *vec_push(s->out, &s->loads) = (struct star_load){
        .module = str_of_v(n->x->value), .names = names, .n_names = n->list2.len,
        .line = (int)n->x->pos.line, .col = (int)n->x->pos.col,
    };
}

static void stmt(struct resolver *r, struct node *n)
{
    switch (n->kind) {
    case N_EXPR:
        expr(r, n->x);
        break;
    case N_BRANCH:
        if (r->loops == 0 && n->op != TOK_PASS)
            source_error(r->s, n->pos, "%s not in a loop", token_text[n->op]);
        break;
    case N_IF:
        if_stmt(r, n);
        break;
    case N_ASSIGN:
        expr(r, n->y);
        assign(r, n->x, n->op != TOK_EQ);
        break;
    case N_DEF:
        n->x->bind->is_declared = true;
        function(r, n);
        break;
    case N_FOR:
        need_function(r, n->pos, "for loop");
        expr(r, n->y);
        assign(r, n->x, false);
        r->loops++;
        stmts(r, n->list);
        r->loops--;
        break;
    case N_WHILE:
        if (!r->s->opts->while_loops)
            source_error(r->s, n->pos, "this Starlark dialect does not support while loops");
        need_function(r, n->pos, "while loop");
        expr(r, n->x);
        r->loops++;
        stmts(r, n->list);
        r->loops--;
        break;
    case N_RETURN:
        if (!r->fn->outer)
            source_error(r->s, n->pos, "return statement not within a function");
        if (n->x)
            expr(r, n->x);
        break;
    case N_LOAD:
        load_stmt(r, n);
        break;
    default:
        BUG("resolve: statement kind %d", n->kind);
    }
}

static void stmts(struct resolver *r, struct node_list l)
{
    for (uint32_t i = 0; i < l.len; i++)
        stmt(r, l.items[i]);
}

void resolve_file(struct source *s, struct node_list list, struct fscope *top)
{
    struct resolver r = {.s = s, .fn = top, .at_file = true};
    collect(&r, list);
    stmts(&r, list);
}
