/* starlark/syntax.h: tokens, syntax tree and bindings, shared by scanner, parser, resolver and compiler.
 *
 * A compilation has two arenas: `out`, where the program goes, and `tmp`, which dies with the compilation.
 * Names are interned in `out`, so equal identifiers are equal pointers and their string values are the
 * ones that the program uses at run time.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STARLARK_SYNTAX_H
#define STARLARK_SYNTAX_H

#include "starlark_int.h"

struct pos {
    uint32_t line, col; /* 1-based; columns count code points; 0 is unknown */
};

/* TOK(name, text). Order: '+'..'**' are the ones quoted in messages; augmented assignments keep the order
 * of their operators. */
#define TOKENS(TOK)                                                                                     \
    TOK(ILLEGAL, "illegal token") TOK(EOF, "end of file") TOK(NEWLINE, "newline")                       \
    TOK(INDENT, "indent") TOK(OUTDENT, "outdent") TOK(IDENT, "identifier") TOK(INT, "int literal")      \
    TOK(FLOAT, "float literal") TOK(STRING, "string literal") TOK(BYTES, "bytes literal")               \
    TOK(PLUS, "+") TOK(MINUS, "-") TOK(STAR, "*") TOK(SLASH, "/") TOK(SLASHSLASH, "//")                 \
    TOK(PERCENT, "%") TOK(AMP, "&") TOK(PIPE, "|") TOK(CIRCUMFLEX, "^") TOK(LTLT, "<<")                 \
    TOK(GTGT, ">>") TOK(TILDE, "~") TOK(DOT, ".") TOK(COMMA, ",") TOK(EQ, "=") TOK(SEMI, ";")           \
    TOK(COLON, ":") TOK(LPAREN, "(") TOK(RPAREN, ")") TOK(LBRACK, "[") TOK(RBRACK, "]")                 \
    TOK(LBRACE, "{") TOK(RBRACE, "}") TOK(LT, "<") TOK(GT, ">") TOK(GE, ">=") TOK(LE, "<=")             \
    TOK(EQL, "==") TOK(NEQ, "!=") TOK(PLUS_EQ, "+=") TOK(MINUS_EQ, "-=") TOK(STAR_EQ, "*=")             \
    TOK(SLASH_EQ, "/=") TOK(SLASHSLASH_EQ, "//=") TOK(PERCENT_EQ, "%=") TOK(AMP_EQ, "&=")               \
    TOK(PIPE_EQ, "|=") TOK(CIRCUMFLEX_EQ, "^=") TOK(LTLT_EQ, "<<=") TOK(GTGT_EQ, ">>=")                 \
    TOK(STARSTAR, "**") TOK(AND, "and") TOK(BREAK, "break") TOK(CONTINUE, "continue") TOK(DEF, "def")   \
    TOK(ELIF, "elif") TOK(ELSE, "else") TOK(FOR, "for") TOK(IF, "if") TOK(IN, "in")                     \
    TOK(LAMBDA, "lambda") TOK(LOAD, "load") TOK(NOT, "not") TOK(NOT_IN, "not in") TOK(OR, "or")         \
    TOK(PASS, "pass") TOK(RETURN, "return") TOK(WHILE, "while")                                         \
    /* reserved, unused */                                                                              \
    TOK(AS, "as") TOK(ASYNC, "async") TOK(AWAIT, "await") TOK(CLASS, "class") TOK(DEL, "del")           \
    TOK(EXCEPT, "except") TOK(FINALLY, "finally") TOK(FROM, "from") TOK(GLOBAL, "global")               \
    TOK(IMPORT, "import") TOK(IS, "is") TOK(NONLOCAL, "nonlocal") TOK(RAISE, "raise") TOK(TRY, "try")   \
    TOK(WITH, "with") TOK(YIELD, "yield")

enum token {
#define TOK(name, text) TOK_##name,
    TOKENS(TOK)
#undef TOK
    N_TOKENS
};
extern const char *const token_text[N_TOKENS];
/* The token for a message: punctuation in quotes. */
const char *token_quoted(enum token t);

enum scope { SCOPE_UNDEFINED, SCOPE_LOCAL, SCOPE_CELL, SCOPE_FREE, SCOPE_GLOBAL, SCOPE_PREDECLARED, SCOPE_UNIVERSAL };

struct fscope;

/* One variable. Shared by all identifiers that mean it (a free one is per function). */
struct binding {
    struct name *name;
    struct binding *outer;      /* the variable of this name that it hides while its block is open */
    struct binding *next_in_block;
    struct fscope *owner;       /* function whose local or free variable it is; NULL at top level */
    struct binding *captured;   /* SCOPE_FREE: the enclosing function's variable */
    uint32_t index;             /* local slot, free slot, global slot, predeclared slot */
    uint32_t block;             /* number of the block that it is in */
    star_v value;               /* SCOPE_UNIVERSAL */
    uint8_t scope;
    bool is_load;               /* bound by load: file-local, not exported */
    bool is_declared;           /* passed by the resolver in program order */
    bool in_comp;               /* of a comprehension: always assigned before use */
    struct pos pos;             /* of its first binding */
};

/* An interned identifier or string constant. */
struct name {
    struct str s;
    uint32_t hash;
    uint8_t token;              /* its keyword, or TOK_IDENT */
    star_v value;               /* the string */
    struct binding *top;        /* innermost variable of this name that is visible now */
    struct binding *universe;   /* cached predeclared or universal binding */
    uint32_t const_index;       /* in the program's constants, + 1; 0 none yet */
    uint32_t mark;              /* number of the last call that has it as a keyword */
    uint32_t attr_method;       /* method number + 1; 0 not looked up yet */
};

/* What a function (or the file) accumulates while it is resolved. */
struct fscope {
    struct fscope *outer;       /* NULL for the file */
    struct node *node;          /* DEF or LAMBDA; NULL for the file */
    VEC(struct binding *) locals;
    VEC(struct binding *) frees;
    uint32_t n_params;          /* with *args and **kwargs */
    uint32_t n_kwonly;
    bool has_varargs, has_kwargs;
};

enum node_kind {
    /* expressions */
    N_IDENT, N_LITERAL, N_PAREN, N_TUPLE, N_LIST, N_DICT, N_ENTRY, N_COND, N_INDEX, N_SLICE, N_DOT, N_CALL,
    N_UNARY, N_BINARY, N_LAMBDA, N_COMP, N_FOR_CLAUSE, N_IF_CLAUSE,
    /* statements */
    N_EXPR, N_BRANCH, N_IF, N_ASSIGN, N_DEF, N_FOR, N_WHILE, N_RETURN, N_LOAD,
};

struct node_list {
    struct node **items;
    uint32_t len;
};

/* x, y, z by kind:
 *   PAREN x; COND x if y else z; INDEX x[y]; SLICE x[y:z:w]; DOT x.name; CALL x(list); UNARY op x;
 *   BINARY x op y; ENTRY x: y; LAMBDA params=list, body x; COMP body x, clauses list, op = closing bracket;
 *   FOR_CLAUSE for x in y; IF_CLAUSE if x; EXPR x; BRANCH op; IF x: list else: list2;
 *   ASSIGN x op y; DEF name params=list body=list2; FOR for x in y: list; WHILE x: list; RETURN x;
 *   LOAD literal x, local names list, original names list2. */
struct node {
    uint8_t kind, op;
    bool is_curly;              /* COMP: a dict comprehension */
    struct pos pos;             /* where it starts */
    struct name *name;          /* IDENT, DOT, DEF */
    union {
        star_v value;           /* LITERAL */
        struct binding *bind;   /* IDENT */
        struct fscope *fn;      /* DEF, LAMBDA */
    };
    /* IDENT and LITERAL end here, in memory too: half of all nodes are leaves. */
    struct pos op_pos;          /* its operator, bracket or dot: what run-time errors point at */
    struct node *x, *y;
    /* Operators end here. */
    struct node_list list;
    /* Most others end here. */
    struct node *z, *w;
    struct node_list list2;
};

struct token_value {
    struct pos pos;
    struct name *name;          /* IDENT */
    star_v value;               /* INT, FLOAT, STRING, BYTES */
};

/* Everything one compilation shares. Errors leave by longjmp to `fail`: the first syntax error ends it. */
struct source {
    struct arena *out, *tmp;
    struct str file;
    const char *cur, *end, *start;
    /* scanner */
    uint32_t line;
    const char *line_ptr;       /* where the line starts */
    uint32_t extra;             /* bytes of this line, before cur, that start no code point */
    int depth;                  /* of open brackets */
    int *indents;               /* stack of columns */
    size_t n_indents, cap_indents;
    int dents;                  /* INDENT (>0) or OUTDENT (<0) tokens to give */
    bool line_start;
    /* parser */
    enum token tok;
    struct token_value val;
    int nesting;
    struct node **stack;        /* children of the lists being parsed */
    size_t n_stack, cap_stack;
    /* names */
    struct name **names;        /* open addressing */
    size_t n_names, cap_names;
    const struct star_options *opts;
    const struct star_env *env;
    struct star_error_list *errors;
    void *fail;                 /* jmp_buf */
    /* resolver results */
    VEC(struct binding *) globals;
    VEC(struct binding *) predeclared;
    VEC(struct star_load) loads;
};

void source_init(struct source *s, struct arena *out, struct arena *tmp, struct str file, struct str text,
                 const struct star_options *opts, const struct star_env *env, struct star_error_list *errors);
struct name *name_intern(struct source *s, struct str text);
/* Records an error. */
void source_error(struct source *s, struct pos pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Records an error and leaves the compilation. */
void source_fail(struct source *s, struct pos pos, const char *fmt, ...) PRINTF_LIKE(3, 4) __attribute__((noreturn));

/* Where the scanner is. */
struct pos source_here(const struct source *s);
enum token scan_token(struct source *s, struct token_value *val);
/* file = {NEWLINE | stmt} EOF */
struct node_list parse_file(struct source *s);
/* One expression, then the end of input. */
struct node *parse_expression(struct source *s);
void resolve_file(struct source *s, struct node_list stmts, struct fscope *top);
struct star_program *compile_file(struct source *s, struct node_list stmts, struct fscope *top);

#endif
