/* starlark/parse.c: recursive descent from tokens to a syntax tree. Pure: nothing is looked up here.
 *
 * Recursion is bounded by MAX_NESTING (enter/leave); chains that lean to the left (a + b + c, x.f().g())
 * are loops, here and in the passes that follow.
 * SPDX-License-Identifier: Apache-2.0 */
#include "syntax.h"

enum { MAX_NESTING = 500 };

static struct node *parse_test(struct source *s);
static struct node *parse_expr(struct source *s, bool in_parens);
static struct node *parse_binary(struct source *s, int prec);
static struct node *parse_suffixed(struct source *s);
static void parse_stmt(struct source *s);

enum { PREC_ANY = 1, PREC_NOT = 3, PREC_COMPARE = 4 };

static void enter(struct source *s)
{
    if (++s->nesting > MAX_NESTING)
        source_fail(s, source_here(s), "excessive nesting");
}
static void leave(struct source *s)
{
    s->nesting--;
}

static struct pos next(struct source *s)
{
    struct pos p = s->val.pos;
    s->tok = scan_token(s, &s->val);
    return p;
}

static struct pos consume(struct source *s, enum token t)
{
    if (s->tok != t)
        source_fail(s, source_here(s), "got %s, want %s", token_quoted(s->tok), token_quoted(t));
    return next(s);
}

static struct node *node(struct source *s, enum node_kind kind, struct pos pos)
{
    /* See struct node: fields that a kind does not have are not there. */
    enum { LEAF = offsetof(struct node, op_pos), OPERATOR = offsetof(struct node, list), LIST = offsetof(struct node, z) };
    static const uint8_t sizes[] = {
        [N_IDENT] = LEAF, [N_LITERAL] = LEAF, [N_BRANCH] = LEAF, [N_PAREN] = OPERATOR, [N_ENTRY] = OPERATOR,
        [N_DOT] = OPERATOR, [N_UNARY] = OPERATOR, [N_BINARY] = OPERATOR, [N_EXPR] = OPERATOR, [N_ASSIGN] = OPERATOR,
        [N_RETURN] = OPERATOR, [N_TUPLE] = LIST, [N_LIST] = LIST, [N_DICT] = LIST, [N_CALL] = LIST, [N_COMP] = LIST,
        [N_LAMBDA] = LIST,
    };
    size_t size = kind < ARRAY_LEN(sizes) && sizes[kind] ? sizes[kind] : sizeof(struct node);
    uint64_t *words = star_alloc(s->tmp, size);
    if (!words)
        source_fail(s, pos, "out of memory");
    for (size_t i = 0; i < size / sizeof *words; i++)
        words[i] = 0;
    struct node *n = (struct node *)words;
    n->kind = (uint8_t)kind;
    n->pos = pos;
    if (size > LEAF)
        n->op_pos = pos;
    return n;
}

/* Lists are gathered on a stack: push items, then take all above a mark. */
static void push(struct source *s, struct node *n)
{
    if (s->n_stack == s->cap_stack) {
        size_t cap = s->cap_stack ? s->cap_stack * 2 : 64;
        struct node **bigger = arena_array(s->tmp, struct node *, cap);
        if (s->n_stack > 0)
            memcpy(bigger, s->stack, s->n_stack * sizeof *bigger);
        s->stack = bigger;
        s->cap_stack = cap;
    }
    s->stack[s->n_stack++] = n;
}
static struct node_list take(struct source *s, size_t mark)
{
    struct node_list l = {NULL, (uint32_t)(s->n_stack - mark)};
    if (l.len > 0)
        l.items = arena_memdup(s->tmp, s->stack + mark, l.len * sizeof *l.items);
    s->n_stack = mark;
    return l;
}

static struct node *parse_ident(struct source *s)
{
    if (s->tok != TOK_IDENT)
        source_fail(s, source_here(s), "not an identifier");
    struct node *n = node(s, N_IDENT, s->val.pos);
    n->name = s->val.name;
    next(s);
    return n;
}

static bool ends_expr_list(enum token t)
{
    switch (t) {
    case TOK_EOF: case TOK_NEWLINE: case TOK_EQ: case TOK_RBRACE: case TOK_RBRACK: case TOK_RPAREN: case TOK_SEMI:
        return true;
    default:
        return false;
    }
}

/* ---- parameters, arguments ---- */

/* params = [param {',' param} [',']];  param = IDENT ['=' test] | '*' [IDENT] | '**' IDENT
 * A parameter is IDENT, BINARY with op '=', or UNARY with op '*' or '**' and x an IDENT or NULL. */
static struct node_list parse_params(struct source *s)
{
    size_t mark = s->n_stack;
    while (s->tok != TOK_RPAREN && s->tok != TOK_COLON && s->tok != TOK_EOF) {
        if (s->n_stack > mark)
            consume(s, TOK_COMMA);
        if (s->tok == TOK_RPAREN)
            break;
        if (s->tok == TOK_STAR || s->tok == TOK_STARSTAR) {
            enum token op = s->tok;
            struct node *star = node(s, N_UNARY, next(s));
            star->op = (uint8_t)op;
            if (op == TOK_STARSTAR || s->tok == TOK_IDENT)
                star->x = parse_ident(s);
            push(s, star);
            continue;
        }
        struct node *id = parse_ident(s);
        if (s->tok == TOK_EQ) {
            struct node *dflt = node(s, N_BINARY, id->pos);
            dflt->op = TOK_EQ;
            dflt->op_pos = next(s);
            dflt->x = id;
            dflt->y = parse_test(s);
            id = dflt;
        }
        push(s, id);
    }
    return take(s, mark);
}

/* args = [arg {',' arg} [',']];  arg = [IDENT '='] test | '*' test | '**' test */
static struct node_list parse_args(struct source *s)
{
    size_t mark = s->n_stack;
    while (s->tok != TOK_RPAREN && s->tok != TOK_EOF) {
        if (s->n_stack > mark)
            consume(s, TOK_COMMA);
        if (s->tok == TOK_RPAREN)
            break;
        if (s->tok == TOK_STAR || s->tok == TOK_STARSTAR) {
            enum token op = s->tok;
            struct node *star = node(s, N_UNARY, next(s));
            star->op = (uint8_t)op;
            star->x = parse_test(s);
            push(s, star);
            continue;
        }
        struct node *x = parse_test(s);
        if (s->tok == TOK_EQ) {
            if (x->kind != N_IDENT)
                source_fail(s, source_here(s), "keyword argument must have form name=expr");
            struct node *named = node(s, N_BINARY, x->pos);
            named->op = TOK_EQ;
            named->op_pos = next(s);
            named->x = x;
            named->y = parse_test(s);
            x = named;
        }
        push(s, x);
    }
    return take(s, mark);
}

/* ---- primaries ---- */

/* loop_variables = suffixed {',' suffixed} [','] */
static struct node *parse_loop_vars(struct source *s)
{
    struct node *v = parse_suffixed(s);
    if (s->tok != TOK_COMMA)
        return v;
    size_t mark = s->n_stack;
    push(s, v);
    while (s->tok == TOK_COMMA) {
        next(s);
        if (ends_expr_list(s->tok) || s->tok == TOK_IN)
            break;
        push(s, parse_suffixed(s));
    }
    struct node *t = node(s, N_TUPLE, v->pos);
    t->list = take(s, mark);
    return t;
}

/* comp_suffix = 'for' loop_variables 'in' expr comp_suffix | 'if' expr comp_suffix | closing bracket */
static struct node *parse_comp(struct source *s, struct pos start, struct node *body, enum token close)
{
    size_t mark = s->n_stack;
    while (s->tok != close) {
        if (s->tok == TOK_FOR) {
            struct node *c = node(s, N_FOR_CLAUSE, next(s));
            c->x = parse_loop_vars(s);
            consume(s, TOK_IN);
            c->y = parse_binary(s, PREC_ANY);
            push(s, c);
        } else if (s->tok == TOK_IF) {
            struct node *c = node(s, N_IF_CLAUSE, next(s));
            if (s->tok == TOK_LAMBDA) {
                enter(s);
                struct node *l = node(s, N_LAMBDA, next(s));
                l->list = s->tok == TOK_COLON ? (struct node_list){0} : parse_params(s);
                consume(s, TOK_COLON);
                l->x = parse_binary(s, PREC_ANY);
                leave(s);
                c->x = l;
            } else {
                c->x = parse_binary(s, PREC_ANY);
            }
            push(s, c);
        } else {
            source_fail(s, source_here(s), "got %s, want '%s', for, or if", token_quoted(s->tok), token_text[close]);
        }
    }
    struct node *n = node(s, N_COMP, start);
    n->list = take(s, mark);
    n->x = body;
    n->is_curly = close == TOK_RBRACE;
    next(s);
    return n;
}

/* Continues a list of expressions at a comma. */
static void parse_more(struct source *s, bool allow_trailing)
{
    while (s->tok == TOK_COMMA) {
        struct pos comma = next(s);
        if (ends_expr_list(s->tok)) {
            if (!allow_trailing)
                source_fail(s, comma, "unparenthesized tuple with trailing comma");
            break;
        }
        push(s, parse_test(s));
    }
}

static struct node *parse_list(struct source *s)
{
    struct pos start = next(s);
    struct node *n = node(s, N_LIST, start);
    if (s->tok == TOK_RBRACK) {
        next(s);
        return n;
    }
    struct node *x = parse_test(s);
    if (s->tok == TOK_FOR)
        return parse_comp(s, start, x, TOK_RBRACK);
    size_t mark = s->n_stack;
    push(s, x);
    parse_more(s, true);
    n->list = take(s, mark);
    consume(s, TOK_RBRACK);
    return n;
}

static struct node *parse_entry(struct source *s)
{
    struct node *key = parse_test(s);
    struct node *n = node(s, N_ENTRY, key->pos);
    n->x = key;
    n->op_pos = consume(s, TOK_COLON);
    n->y = parse_test(s);
    return n;
}

static struct node *parse_dict(struct source *s)
{
    struct pos start = next(s);
    struct node *n = node(s, N_DICT, start);
    if (s->tok == TOK_RBRACE) {
        next(s);
        return n;
    }
    struct node *x = parse_entry(s);
    if (s->tok == TOK_FOR)
        return parse_comp(s, start, x, TOK_RBRACE);
    size_t mark = s->n_stack;
    push(s, x);
    while (s->tok == TOK_COMMA) {
        next(s);
        if (s->tok == TOK_RBRACE)
            break;
        push(s, parse_entry(s));
    }
    n->list = take(s, mark);
    consume(s, TOK_RBRACE);
    return n;
}

static struct node *parse_paren(struct source *s)
{
    struct pos start = next(s);
    if (s->tok == TOK_RPAREN) {
        next(s);
        return node(s, N_TUPLE, start);
    }
    struct node *n = node(s, N_PAREN, start);
    n->x = parse_expr(s, true);
    consume(s, TOK_RPAREN);
    return n;
}

/* primary = IDENT | literal | list | dict | paren | ('-'|'+'|'~') suffixed */
static struct node *parse_primary(struct source *s)
{
    struct node *n;
    enter(s);
    switch (s->tok) {
    case TOK_IDENT:
        n = parse_ident(s);
        break;
    case TOK_INT: case TOK_FLOAT: case TOK_STRING: case TOK_BYTES:
        n = node(s, N_LITERAL, s->val.pos);
        n->op = (uint8_t)s->tok;
        n->value = s->val.value;
        next(s);
        break;
    case TOK_LBRACK:
        n = parse_list(s);
        break;
    case TOK_LBRACE:
        n = parse_dict(s);
        break;
    case TOK_LPAREN:
        n = parse_paren(s);
        break;
    case TOK_MINUS: case TOK_PLUS: case TOK_TILDE: {
        enum token op = s->tok;
        n = node(s, N_UNARY, next(s));
        n->op = (uint8_t)op;
        n->x = parse_suffixed(s);
        break;
    }
    default:
        source_fail(s, s->val.pos, "got %s, want primary expression", token_quoted(s->tok));
    }
    leave(s);
    return n;
}

/* slice_suffix = '[' [expr] [':' [test] [':' [test]]] ']' */
static struct node *parse_subscript(struct source *s, struct node *x)
{
    struct node *n = node(s, N_SLICE, x->pos);
    n->op_pos = next(s);
    n->x = x;
    if (s->tok != TOK_COLON) {
        n->y = parse_expr(s, false);
        if (s->tok == TOK_RBRACK) {
            next(s);
            n->kind = N_INDEX;
            return n;
        }
    }
    if (s->tok == TOK_COLON) {
        next(s);
        if (s->tok != TOK_COLON && s->tok != TOK_RBRACK)
            n->z = parse_test(s);
    }
    if (s->tok == TOK_COLON) {
        next(s);
        if (s->tok != TOK_RBRACK)
            n->w = parse_test(s);
    }
    consume(s, TOK_RBRACK);
    return n;
}

/* suffixed = primary {'.' IDENT | subscript | '(' args ')'} */
static struct node *parse_suffixed(struct source *s)
{
    struct node *x = parse_primary(s);
    for (;;) {
        if (s->tok == TOK_DOT) {
            struct node *n = node(s, N_DOT, x->pos);
            n->op_pos = next(s);
            n->x = x;
            if (s->tok != TOK_IDENT)
                source_fail(s, source_here(s), "not an identifier");
            n->name = s->val.name;
            next(s);
            x = n;
        } else if (s->tok == TOK_LBRACK) {
            x = parse_subscript(s, x);
        } else if (s->tok == TOK_LPAREN) {
            struct node *n = node(s, N_CALL, x->pos);
            n->op_pos = next(s);
            n->x = x;
            n->list = parse_args(s);
            consume(s, TOK_RPAREN);
            x = n;
        } else {
            return x;
        }
    }
}

/* ---- operators ---- */

/* Binding strength of a binary operator, 0 for other tokens. Comparisons do not associate, all others
 * associate to the left. */
static const int8_t precedence[N_TOKENS] = {
    [TOK_OR] = 1, [TOK_AND] = 2,
    [TOK_EQL] = 4, [TOK_NEQ] = 4, [TOK_LT] = 4, [TOK_GT] = 4, [TOK_LE] = 4, [TOK_GE] = 4, [TOK_IN] = 4, [TOK_NOT_IN] = 4,
    [TOK_PIPE] = 5, [TOK_CIRCUMFLEX] = 6, [TOK_AMP] = 7, [TOK_LTLT] = 8, [TOK_GTGT] = 8,
    [TOK_MINUS] = 9, [TOK_PLUS] = 9, [TOK_STAR] = 10, [TOK_PERCENT] = 10, [TOK_SLASH] = 10, [TOK_SLASHSLASH] = 10,
};

static struct node *parse_unary_not(struct source *s)
{
    enter(s);
    struct node *n = node(s, N_UNARY, next(s));
    n->op = TOK_NOT;
    n->x = parse_binary(s, PREC_NOT);
    leave(s);
    return n;
}

/* binary(prec) = operand {OP binary(prec of OP + 1)} for operators that bind at least as tightly as prec */
static struct node *parse_binary(struct source *s, int prec)
{
    struct node *x;
    if (s->tok == TOK_NOT && prec <= PREC_NOT)
        x = parse_unary_not(s);
    else
        x = parse_suffixed(s);
    enum token last_compare = TOK_ILLEGAL;
    for (;;) {
        if (s->tok == TOK_NOT) {
            next(s);
            if (s->tok != TOK_IN)
                source_fail(s, source_here(s), "got %s, want in", token_quoted(s->tok));
            s->tok = TOK_NOT_IN;
        }
        int p = precedence[s->tok];
        if (p < prec)
            return x;
        if (p == PREC_COMPARE) {
            if (last_compare != TOK_ILLEGAL)
                source_fail(s, source_here(s), "%s does not associate with %s (use parens)", token_text[last_compare],
                            token_text[s->tok]);
            last_compare = s->tok;
        } else if (p < PREC_COMPARE) {
            last_compare = TOK_ILLEGAL;
        }
        struct node *n = node(s, N_BINARY, x->pos);
        n->op = (uint8_t)s->tok;
        n->op_pos = next(s);
        n->x = x;
        n->y = parse_binary(s, p + 1);
        x = n;
    }
}

static struct node *parse_lambda(struct source *s)
{
    struct node *n = node(s, N_LAMBDA, next(s));
    if (s->tok != TOK_COLON)
        n->list = parse_params(s);
    consume(s, TOK_COLON);
    n->x = parse_test(s);
    return n;
}

/* test = lambda | binary ['if' binary 'else' test] */
static struct node *parse_test(struct source *s)
{
    struct node *x;
    enter(s);
    if (s->tok == TOK_LAMBDA) {
        x = parse_lambda(s);
    } else {
        x = parse_binary(s, PREC_ANY);
        if (s->tok == TOK_IF) {
            struct node *n = node(s, N_COND, x->pos);
            n->op_pos = next(s);
            n->x = x;
            n->y = parse_binary(s, PREC_ANY);
            if (s->tok != TOK_ELSE)
                source_fail(s, n->op_pos, "conditional expression without else clause");
            next(s);
            n->z = parse_test(s);
            x = n;
        }
    }
    leave(s);
    return x;
}

/* expr = test {',' test} [',']; several make a tuple */
static struct node *parse_expr(struct source *s, bool in_parens)
{
    struct node *x = parse_test(s);
    if (s->tok != TOK_COMMA)
        return x;
    size_t mark = s->n_stack;
    push(s, x);
    parse_more(s, in_parens);
    struct node *t = node(s, N_TUPLE, x->pos);
    t->list = take(s, mark);
    return t;
}

/* ---- statements ---- */

static struct node *parse_quoted_name(struct source *s)
{
    struct node *n = node(s, N_IDENT, s->val.pos);
    n->pos.col++;   /* behind the quote */
    struct str text = str_of_v(s->val.value);
    n->name = name_intern(s, text);
    next(s);
    return n;
}

/* load = 'load' '(' STRING {',' [IDENT '='] STRING} [','] ')' */
static struct node *parse_load(struct source *s)
{
    struct node *n = node(s, N_LOAD, next(s));
    struct pos lparen = consume(s, TOK_LPAREN);
    if (s->tok != TOK_STRING)
        source_fail(s, source_here(s), "first operand of load statement must be a string literal");
    n->x = parse_primary(s);
    size_t mark = s->n_stack;
    while (s->tok != TOK_RPAREN && s->tok != TOK_EOF) {
        consume(s, TOK_COMMA);
        if (s->tok == TOK_RPAREN)
            break;
        if (s->tok == TOK_STRING) {
            struct node *id = parse_quoted_name(s);
            push(s, id);
            push(s, id);
        } else if (s->tok == TOK_IDENT) {
            struct node *id = parse_ident(s);
            if (s->tok != TOK_EQ)
                source_fail(s, source_here(s),
                            "load operand must be \"" STR_FMT "\" or " STR_FMT "=\"originalname\" (want '=' after " STR_FMT ")",
                            STR_ARG(id->name->s), STR_ARG(id->name->s), STR_ARG(id->name->s));
            next(s);
            if (s->tok != TOK_STRING)
                source_fail(s, source_here(s), "original name of loaded symbol must be quoted: " STR_FMT "=\"originalname\"",
                            STR_ARG(id->name->s));
            push(s, id);
            push(s, parse_quoted_name(s));
        } else {
            source_fail(s, source_here(s), "load operand must be \"name\" or localname=\"name\" (got %s)",
                        token_quoted(s->tok));
        }
    }
    struct node_list both = take(s, mark);
    consume(s, TOK_RPAREN);
    if (both.len == 0)
        source_fail(s, lparen, "load statement must import at least 1 symbol");
    for (uint32_t i = 0; i < both.len; i += 2)
        push(s, both.items[i]);
    n->list = take(s, mark);
    for (uint32_t i = 1; i < both.len; i += 2)
        push(s, both.items[i]);
    n->list2 = take(s, mark);
    return n;
}

/* small_stmt = 'return' [expr] | 'pass' | 'break' | 'continue' | load | expr [assign_op expr] */
static struct node *parse_small(struct source *s)
{
    struct node *n;
    switch (s->tok) {
    case TOK_RETURN:
        n = node(s, N_RETURN, next(s));
        if (s->tok != TOK_EOF && s->tok != TOK_NEWLINE && s->tok != TOK_SEMI)
            n->x = parse_expr(s, false);
        return n;
    case TOK_BREAK: case TOK_CONTINUE: case TOK_PASS: {
        enum token op = s->tok;
        n = node(s, N_BRANCH, next(s));
        n->op = (uint8_t)op;
        return n;
    }
    case TOK_LOAD:
        return parse_load(s);
    default:
        break;
    }
    struct node *x = parse_expr(s, false);
    if (s->tok == TOK_EQ || (s->tok >= TOK_PLUS_EQ && s->tok <= TOK_GTGT_EQ)) {
        n = node(s, N_ASSIGN, x->pos);
        n->op = (uint8_t)s->tok;
        n->op_pos = next(s);
        n->x = x;
        n->y = parse_expr(s, false);
        return n;
    }
    n = node(s, N_EXPR, x->pos);
    n->x = x;
    return n;
}

/* simple_stmt = small_stmt {';' small_stmt} [';'] NEWLINE */
static void parse_simple(struct source *s)
{
    for (;;) {
        push(s, parse_small(s));
        if (s->tok != TOK_SEMI)
            break;
        next(s);
        if (s->tok == TOK_NEWLINE || s->tok == TOK_EOF)
            break;
    }
    if (s->tok != TOK_EOF)
        consume(s, TOK_NEWLINE);
}

/* suite = simple_stmt | NEWLINE INDENT stmt {stmt} OUTDENT */
static struct node_list parse_suite(struct source *s)
{
    size_t mark = s->n_stack;
    enter(s);
    if (s->tok == TOK_NEWLINE) {
        next(s);
        consume(s, TOK_INDENT);
        while (s->tok != TOK_OUTDENT && s->tok != TOK_EOF)
            parse_stmt(s);
        consume(s, TOK_OUTDENT);
    } else {
        parse_simple(s);
    }
    leave(s);
    return take(s, mark);
}

/* 'if' test ':' suite {'elif' test ':' suite} ['else' ':' suite]; an elif is an IF alone in list2 */
static struct node *parse_if(struct source *s)
{
    struct node *first = node(s, N_IF, next(s)), *last = first;
    for (;;) {
        last->x = parse_test(s);
        consume(s, TOK_COLON);
        last->list = parse_suite(s);
        if (s->tok != TOK_ELIF)
            break;
        struct node *elif = node(s, N_IF, next(s));
        size_t mark = s->n_stack;
        push(s, elif);
        last->list2 = take(s, mark);
        last = elif;
    }
    if (s->tok == TOK_ELSE) {
        next(s);
        consume(s, TOK_COLON);
        last->list2 = parse_suite(s);
    }
    return first;
}

static struct node *parse_def(struct source *s)
{
    struct node *n = node(s, N_DEF, next(s));
    n->x = parse_ident(s);
    n->name = n->x->name;
    consume(s, TOK_LPAREN);
    n->list = parse_params(s);
    consume(s, TOK_RPAREN);
    consume(s, TOK_COLON);
    n->list2 = parse_suite(s);
    return n;
}

static void parse_stmt(struct source *s)
{
    struct node *n;
    switch (s->tok) {
    case TOK_DEF:
        n = parse_def(s);
        break;
    case TOK_IF:
        n = parse_if(s);
        break;
    case TOK_FOR:
        n = node(s, N_FOR, next(s));
        n->x = parse_loop_vars(s);
        consume(s, TOK_IN);
        n->y = parse_expr(s, false);
        consume(s, TOK_COLON);
        n->list = parse_suite(s);
        break;
    case TOK_WHILE:
        n = node(s, N_WHILE, next(s));
        n->x = parse_test(s);
        consume(s, TOK_COLON);
        n->list = parse_suite(s);
        break;
    default:
        parse_simple(s);
        return;
    }
    push(s, n);
}

struct node_list parse_file(struct source *s)
{
    size_t mark = s->n_stack;
    next(s);
    while (s->tok != TOK_EOF) {
        if (s->tok == TOK_NEWLINE)
            next(s);
        else
            parse_stmt(s);
    }
    return take(s, mark);
}

struct node *parse_expression(struct source *s)
{
    next(s);
    struct node *x = parse_expr(s, false);
    if (s->tok == TOK_NEWLINE)
        next(s);
    if (s->tok != TOK_EOF)
        source_fail(s, source_here(s), "got %s after expression, want EOF", token_quoted(s->tok));
    return x;
}
