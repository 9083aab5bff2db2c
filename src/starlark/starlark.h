/* starlark/starlark.h: the Starlark language, to be embedded: compile, run in slices, exchange values.
 *
 * A source file becomes a `star_program` (star_compile), executing it gives a `star_module` whose globals
 * are deeply frozen. Everything happens inside a `star_run`: one thread of Starlark execution that keeps
 * its frames on its own heap stack, so it can be stopped and resumed anywhere:
 *
 *     struct star_run *run = star_run_new(&arena, &limits);
 *     star_run_call(run, handler, &request, 1);
 *     switch (star_run_resume(run)) {
 *     case STAR_DONE:      use(star_run_result(run)); break;
 *     case STAR_ERROR:     report(star_run_error(run)); break;
 *     case STAR_YIELD:     its time slice is over: resume it later, after others
 *     case STAR_SUSPENDED: a builtin waits: star_run_complete() or star_run_complete_error(), then resume
 *     }
 *
 * Memory. Values live in an arena and go with it; there is no reference counting and no collector. The
 * arena's limit is the program's memory cap. A function that makes a value returns the null value when
 * the cap is reached; null may be passed on to any function here (which then fails or returns null), and
 * a builtin that returns null has failed with the memory error, so it need not be checked at each step.
 *
 * Threads. A run and its arena belong to one thread at a time. Programs, modules and frozen values may be
 * used by any number of threads at once, as long as their arena lives: nothing writes to them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STARLARK_H
#define STARLARK_H

#include "base.h"

/* ---- values ---- */

/* One word, passed by value. Typedef'd against the house rule: it is a scalar to everybody. */
typedef struct star_value {
    uint64_t bits;
} star_v;

struct star_run;
struct star_program;
struct star_module;

enum star_kind {
    STAR_KIND_NULL,     /* no value: absent argument, or memory cap reached */
    STAR_KIND_NONE,
    STAR_KIND_BOOL,
    STAR_KIND_INT,
    STAR_KIND_FLOAT,
    STAR_KIND_STRING,
    STAR_KIND_BYTES,
    STAR_KIND_LIST,
    STAR_KIND_TUPLE,
    STAR_KIND_DICT,
    STAR_KIND_SET,
    STAR_KIND_RANGE,
    STAR_KIND_FUNCTION, /* def or lambda */
    STAR_KIND_BUILTIN,
    STAR_KIND_STRUCT,
    STAR_KIND_HOST,     /* an embedder's object: star_host_type */
    STAR_KIND_OTHER,    /* internal iterables such as the result of s.elems() */
};

#define STAR_NULL  ((star_v){0x03})
#define STAR_NONE  ((star_v){0x07})
#define STAR_FALSE ((star_v){0x0b})
#define STAR_TRUE  ((star_v){0x0f})

static inline bool star_is_null(star_v v)
{
    return v.bits == STAR_NULL.bits;
}
static inline bool star_is_none(star_v v)
{
    return v.bits == STAR_NONE.bits;
}
static inline star_v star_bool(bool b)
{
    return b ? STAR_TRUE : STAR_FALSE;
}
enum star_kind star_kind(star_v v);
const char *star_type_name(star_v v);   /* as type(v): "NoneType", "int", "string", ... */
bool star_truth(star_v v);
bool star_is_callable(star_v v);
bool star_is_iterable(star_v v);

star_v star_int(struct arena *a, int64_t i);
star_v star_uint(struct arena *a, uint64_t u);
star_v star_int_parse(struct arena *a, struct str decimal);     /* any size; null if not an integer */
bool star_to_i64(star_v v, int64_t *out);                       /* an int that fits; not bool, not float */
star_v star_float(struct arena *a, double d);
bool star_to_double(star_v v, double *out);                     /* int or float */
star_v star_string(struct arena *a, struct str s);              /* copies the bytes */
star_v star_string_borrow(struct arena *a, struct str s);       /* shares them: they live as long as `a` */
star_v star_string_z(struct arena *a, const char *z);           /* copies */
bool star_to_str(star_v v, struct str *out);                    /* the bytes of a string (not of `bytes`) */
struct str star_text(star_v v);                                 /* the same; empty for what is no string */
star_v star_bytes(struct arena *a, struct str s);
bool star_to_bytes(star_v v, struct str *out);

star_v star_list(struct arena *a, const star_v *items, size_t n);
star_v star_tuple(struct arena *a, const star_v *items, size_t n);
/* Fails on null, a frozen list, a list being iterated, and at the memory cap. */
bool star_list_append(struct arena *a, star_v list, star_v item);
size_t star_len(star_v v);                   /* bytes of a string, items of a container; 0 for others */
star_v star_item(star_v list_or_tuple, size_t i);               /* null when out of range */

star_v star_dict(struct arena *a, size_t expected);
/* Fails on an unhashable key, a frozen dict, a dict being iterated, and at the memory cap. */
bool star_dict_set(struct arena *a, star_v dict, star_v key, star_v value);
bool star_dict_set_z(struct arena *a, star_v dict, const char *key, star_v value);
star_v star_dict_get(star_v dict, star_v key);                  /* null when absent */
star_v star_dict_get_str(star_v dict, struct str key);          /* null when absent */
/* In insertion order: `size_t at = 0; while (star_dict_next(d, &at, &k, &v)) ...` */
bool star_dict_next(star_v dict, size_t *at, star_v *key, star_v *value);

star_v star_set(struct arena *a, size_t expected);
bool star_set_add(struct arena *a, star_v set, star_v item);
bool star_set_next(star_v set, size_t *at, star_v *item);

/* A struct: immutable named fields. `ctor` names it in repr ("struct(a = 1)") and star_struct_ctor();
 * type() gives "struct" for all. Fields keep the order given here. */
star_v star_struct(struct arena *a, const char *ctor, const char *const *names, const star_v *values, size_t n);
star_v star_struct_str(struct arena *a, struct str ctor, const struct str *names, const star_v *values, size_t n);
star_v star_struct_get(star_v s, struct str name);              /* null when absent, or not a struct */
struct str star_struct_ctor(star_v s);                          /* empty when not a struct */
bool star_struct_next(star_v s, size_t *at, struct str *name, star_v *value);

/* Freezes deeply. Needed only for values made outside a module that threads are going to share. */
void star_freeze(star_v v);

/* str(v) and repr(v), appended. False when the buffer is full or the value too deep. */
bool star_str(struct buf *out, star_v v);
bool star_repr(struct buf *out, star_v v);
/* `==`; false also when the values are too deep to compare. */
bool star_equal(star_v x, star_v y);

/* ---- builtins ---- */

enum star_ret {
    STAR_OK,        /* the result is in *out */
    STAR_FAIL,      /* star_fail() was called */
    STAR_BLOCK,     /* suspend: the embedder will star_run_complete() */
    STAR_CALL,      /* star_then() was called: run that function first, then the continuation */
    STAR_MISSING,   /* host objects: no such attribute; iteration: no more items */
};

/* The arguments of one call; valid until the builtin returns. */
struct star_call {
    struct str name;        /* the builtin's, for messages */
    void *data;             /* as given to star_builtin() */
    star_v recv;            /* receiver of a bound method, else null */
    const star_v *pos;      /* [npos] */
    size_t npos;
    const star_v *kwnames;  /* [nkw], strings, distinct */
    const star_v *kwvals;   /* [nkw] */
    size_t nkw;
};

typedef enum star_ret (*star_fn)(struct star_run *run, const struct star_call *call, star_v *out);

/* A function value. `name` and `data` are borrowed. */
star_v star_builtin(struct arena *a, const char *name, star_fn fn, void *data);
/* The same with a receiver, delivered as call->recv; frozen with the function. */
star_v star_builtin_bound(struct arena *a, const char *name, star_fn fn, void *data, star_v recv);
/* The data of a builtin made with `fn`; NULL for anything else. */
void *star_builtin_data(star_v v, star_fn fn);
struct str star_function_name(star_v callable);
/* Position "file:line:col" of a def or lambda; empty for others. Allocated in `a`. */
struct str star_function_pos(struct arena *a, star_v function);
size_t star_function_arity(star_v function);    /* declared positional parameters; 0 for others */

/* Fails the running builtin. The position and call stack are added by the VM. Returns STAR_FAIL. */
enum star_ret star_fail(struct star_run *run, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((nonnull(2)));
enum star_ret star_fail_err(struct star_run *run, const struct err *err);

enum star_want {
    STAR_ANY,
    STAR_STR,       /* string */
    STAR_BOOL,
    STAR_INT,       /* int within 64 bits */
    STAR_BIGINT,    /* int */
    STAR_NUMBER,    /* int or float */
    STAR_LIST,
    STAR_TUPLE,
    STAR_DICT,
    STAR_BYTES,
    STAR_STRUCT,
    STAR_CALLABLE,
    STAR_ITERABLE,
};
enum {
    STAR_OPTIONAL = 1,  /* may be absent: out[i] is left as it was */
    STAR_OR_NONE = 2,   /* optional, and None means absent */
};
struct star_param {
    const char *name;
    enum star_want want;
    int flags;
};
/* Distributes the call's arguments over `params`, positional or keyword in that order, and checks their
 * types, with the messages of the Go implementation ("html: for parameter handler: got NoneType, want
 * callable"). out[i] of an absent optional parameter keeps its value: preset it with a default or null.
 * Fails through star_fail(). */
bool star_unpack(struct star_run *run, const struct star_call *call, const struct star_param *params, size_t n,
                 star_v *out);
/* No keyword arguments and between `min` and `max` positional ones. */
bool star_unpack_pos(struct star_run *run, const struct star_call *call, size_t min, size_t max, star_v *out);

/* A builtin that needs a Starlark function called: sets up the call and returns STAR_CALL, which the
 * builtin returns. When `fn` has returned, `then(run, state, result, out)` is called and decides as a
 * builtin does; it may ask for the next call in turn. `state` lives in the run's arena. The arguments are
 * copied. */
typedef enum star_ret (*star_then_fn)(struct star_run *run, void *state, star_v result, star_v *out);
enum star_ret star_then(struct star_run *run, star_v fn, const star_v *args, size_t n, star_then_fn then, void *state);

/* Charges `n` steps for work done natively; false when the budget is used up or the run cancelled (the
 * error is set: return STAR_FAIL). Builtins that loop over data call it every few hundred items. */
bool star_charge(struct star_run *run, uint64_t n);

/* ---- host objects ---- */

enum star_op { STAR_OP_ADD, STAR_OP_SUB, STAR_OP_MUL, STAR_OP_DIV, STAR_OP_FLOORDIV, STAR_OP_MOD,
               STAR_OP_AND, STAR_OP_OR, STAR_OP_XOR, STAR_OP_LSH, STAR_OP_RSH, STAR_OP_IN };

/* The behaviour of a kind of embedder object. Every hook but `name` may be NULL. `self` is the object's
 * data. Hooks that take a run report failure through star_fail(). */
struct star_host_type {
    const char *name;                       /* type(x) */
    /* x.name: STAR_OK, STAR_MISSING or STAR_FAIL. */
    enum star_ret (*attr)(struct star_run *run, void *self, struct str name, star_v *out);
    /* Names for dir() and for "did you mean": fills up to `max`, returns how many there are. */
    size_t (*attr_names)(void *self, struct str *names, size_t max);
    enum star_ret (*set_attr)(struct star_run *run, void *self, struct str name, star_v value);
    /* Attribute missing: the whole message; without it "<type> has no .x field or method". */
    enum star_ret (*no_attr)(struct star_run *run, void *self, struct str name);
    bool (*truth)(void *self);
    enum star_ret (*index)(struct star_run *run, void *self, star_v key, star_v *out);     /* x[key] */
    enum star_ret (*call)(struct star_run *run, const struct star_call *call, star_v *out);/* data is self */
    /* `for _ in x`: begin may refuse; next gives items until STAR_MISSING, and may STAR_BLOCK (complete
     * with null for "no more"); end is called exactly once, also after break, return and errors. */
    enum star_ret (*iter_begin)(struct star_run *run, void *self, void **cursor);
    enum star_ret (*iter_next)(struct star_run *run, void *self, void **cursor, star_v *out);
    void (*iter_end)(void *self, void **cursor);
    size_t (*len)(void *self);              /* len(x) */
    bool (*repr)(void *self, struct buf *out);
    bool (*hash)(void *self, uint64_t *out);/* hashable when it is there and true */
    bool (*equal)(void *self, void *other); /* same type; without it identity */
    /* <0, 0, >0 in *cmp for two of this type; without it values are unordered. */
    enum star_ret (*compare)(struct star_run *run, void *self, void *other, int *cmp);
    /* x op y (self_is_left) or y op x; STAR_MISSING when not supported. */
    enum star_ret (*binary)(struct star_run *run, enum star_op op, void *self, star_v other, bool self_is_left,
                            star_v *out);
    void (*freeze)(void *self);             /* freeze what it holds; called once per freeze walk */
    /* A plain value standing for it in JSON; without it encoding fails. */
    star_v (*plain)(struct arena *a, void *self);
};
star_v star_host(struct arena *a, const struct star_host_type *type, void *self);
/* The data of a host object of this type, else NULL. */
void *star_host_data(star_v v, const struct star_host_type *type);
const struct star_host_type *star_host_type_of(star_v v);       /* NULL when not a host object */
void *star_host_self(star_v v);                                 /* of any type; NULL when not a host object */

/* ---- programs ---- */

struct star_options {
    bool while_loops;       /* `while` statements */
    bool recursion;         /* functions may call themselves */
    bool sets;              /* the `set` builtin */
    bool toplevel_control;  /* if, for, while outside a function */
    bool global_reassign;   /* implies toplevel_control, as in the Go implementation */
    bool no_load;           /* `load` is refused */
    bool load_binds_globally;
};
extern const struct star_options star_options_app;      /* app.star and what it loads */
extern const struct star_options star_options_config;   /* params.star, schema.star, apply files */

struct star_binding {
    const char *name;
    star_v value;
};
/* What a program may use besides the universe. Borrowed: it lives as long as programs using it. */
struct star_env {
    const struct star_binding *items;
    size_t n;
};

struct star_load {
    struct str module;      /* the string after load( */
    const struct str *names;/* the names it takes from there (not the local ones) */
    size_t n_names;
    int line, col;          /* of the module string; 1-based */
};

struct star_error_item {
    struct str file, msg;
    int line, col;          /* 1-based, col counts bytes; 0 when unknown */
};
struct star_error_list {
    struct star_error_item *items;
    size_t len, cap;
};

/* Compiles `source`, which may not be kept. The program lives in `a`. `env` gives the predeclared names
 * (values are not looked at); NULL is none. On failure *err has the first error as "file:line:col: msg". */
struct star_program *star_compile(struct arena *a, struct str file, struct str source, const struct star_options *opts,
                                  const struct star_env *env, struct err *err);
/* Only parses and resolves, and collects every error it finds, in order of position. True if none. */
bool star_check(struct arena *a, struct str file, struct str source, const struct star_options *opts,
                const struct star_env *env, struct star_error_list *errors);
/* The text of a file in its canonical layout, in `a`: comments kept, meaning unchanged, the same for a text that was
 * formatted already. Only syntax is looked at. Fails as star_compile() does. */
bool star_fmt(struct arena *a, struct str file, struct str source, struct str *out, struct err *err);
/* The program's load statements in order of appearance. */
size_t star_program_loads(const struct star_program *p, const struct star_load **loads);
struct str star_program_file(const struct star_program *p);

/* ---- runs ---- */

struct star_limits {
    uint64_t steps;         /* calls, loop turns and charged work in all; 0 is no limit */
    uint32_t slice_steps;   /* after so many steps star_run_resume gives STAR_YIELD; 0 is never */
    uint32_t depth;         /* of Starlark calls; 0 is 100,000 */
};

enum star_state {
    STAR_DONE,
    STAR_ERROR,
    STAR_YIELD,
    STAR_SUSPENDED,
};

struct star_frame_info {
    struct str function;    /* "<toplevel>" for module code */
    struct str file;        /* "<builtin>" for a native function */
    int line, col;
};
struct star_error {
    struct str msg;         /* without position */
    struct str backtrace;   /* "Traceback (most recent call last):\n  file:line:col: in f\n...Error[ in builtin]: msg" */
    const struct star_frame_info *frames;   /* outermost first */
    size_t n_frames;
    enum { STAR_ERR_RAISED, STAR_ERR_STEPS, STAR_ERR_MEMORY, STAR_ERR_CANCELLED, STAR_ERR_DEPTH } why;
};

/* A run whose values, stack and results live in `a`; `a`'s limit is the memory cap. NULL only if the
 * arena is full. Costs well under a microsecond; make one per request. */
struct star_run *star_run_new(struct arena *a, const struct star_limits *limits);

void star_run_set_user(struct star_run *run, void *user);       /* for builtins, to find their request */
void *star_run_user(const struct star_run *run);
struct arena *star_run_arena(const struct star_run *run);
/* When *flag becomes non-zero (another thread may write it, atomically) the run fails soon. */
void star_run_set_cancel(struct star_run *run, const int *flag);
/* Where print() goes: one line, without its newline. Default is standard error, as in Go. */
typedef void (*star_print_fn)(struct star_run *run, void *ctx, struct str line);
void star_run_set_print(struct star_run *run, star_print_fn fn, void *ctx);
/* load() of the module code executed by this run: gives a module that lives at least as long as this
 * run's arena, or fails. Without a loader, load fails. */
typedef struct star_module *(*star_loader_fn)(void *ctx, struct star_run *run, struct str module, struct err *err);
void star_run_set_loader(struct star_run *run, star_loader_fn fn, void *ctx);

/* Prepares a call; star_run_resume() does the work. A run that is DONE or in ERROR may be used again:
 * steps go on counting, values made before stay valid. */
void star_run_call(struct star_run *run, star_v fn, const star_v *args, size_t n);
void star_run_call_kw(struct star_run *run, star_v fn, const star_v *args, size_t n, const struct star_binding *kw,
                      size_t nkw);
/* Prepares the execution of a program's top level with the values of its predeclared names. When it is
 * done its module is complete and frozen: star_run_module(). */
void star_run_exec(struct star_run *run, const struct star_program *p, const struct star_env *env);
enum star_state star_run_resume(struct star_run *run);
/* Resumes as often as it yields. For blocking code only: a suspended builtin is an error here. */
enum star_state star_run_to_end(struct star_run *run);

star_v star_run_result(const struct star_run *run);             /* after STAR_DONE */
struct star_module *star_run_module(const struct star_run *run);/* after STAR_DONE of star_run_exec() */
const struct star_error *star_run_error(struct star_run *run);  /* after STAR_ERROR */
/* The error as a struct err: "file:line:col: message" of the innermost Starlark frame. Returns false. */
bool star_run_err(struct star_run *run, struct err *err);

/* Ends the wait of a suspended run with the blocked builtin's result, or with a failure. Call it on the
 * thread that owns the run, then resume. */
void star_run_complete(struct star_run *run, star_v result);
void star_run_complete_error(struct star_run *run, const char *fmt, ...) PRINTF_LIKE(2, 3);

uint64_t star_run_steps(const struct star_run *run);            /* used so far */

/* ---- modules ---- */

/* A global (exported or not); null when absent. */
star_v star_module_get(const struct star_module *m, struct str name);
/* Globals in order of definition. */
bool star_module_next(const struct star_module *m, size_t *at, struct str *name, star_v *value);
struct str star_module_name(const struct star_module *m);
/* A module made of given values (frozen here), for loaders: names and values are copied to `a`. */
struct star_module *star_module_from(struct arena *a, struct str name, const struct star_binding *items, size_t n);
/* Executes a program to its end on the calling thread: compile → run → module, for loaders and tests.
 * `setup` (may be NULL) is called with the new run before it starts. Fails with the backtrace's message. */
struct star_module *star_exec(struct arena *a, const struct star_program *p, const struct star_env *env,
                              const struct star_limits *limits, void (*setup)(struct star_run *, void *), void *ctx,
                              struct err *err);

/* Remembers modules by name and notices cycles:
 *
 *     struct star_module *m;
 *     switch (star_cache_begin(c, name, &m, err)) {
 *     case STAR_CACHE_HIT:  return m;
 *     case STAR_CACHE_FAIL: return NULL;      a cycle, too deep, or failed before: err says so
 *     case STAR_CACHE_NEW:  m = compile and run ...; star_cache_end(c, name, m or NULL, err); return m;
 *     } */
struct star_cache;
enum star_cache_state { STAR_CACHE_HIT, STAR_CACHE_FAIL, STAR_CACHE_NEW };
struct star_cache *star_cache_new(struct arena *a);
enum star_cache_state star_cache_begin(struct star_cache *c, struct str name, struct star_module **m, struct err *err);
void star_cache_end(struct star_cache *c, struct str name, struct star_module *m, const struct err *err);

/* Ready-made modules; values are immortal. Each is a struct-like module value (json.encode ...). */
star_v star_lib_json(void);
star_v star_lib_math(void);
star_v star_lib_time(void);
/* struct(**fields), for embedders that offer it. */
star_v star_lib_struct(void);

/* ---- JSON ---- */

enum {
    STAR_JSON_APP = 1,  /* the conversion of app responses: integral floats as integers, bytes as base64,
                         * depth at most 100, structs and functions refused ("unrecognized starlark type: t") */
    STAR_JSON_SORT = 2, /* keys of dicts and fields of structs in order of their names */
};
/* Appends `v` as JSON. Dicts and structs keep their order. Fails on what JSON cannot say, invalid UTF-8,
 * cycles (depth) and a full buffer. `a` is for host objects' plain(). */
bool star_json_encode(struct arena *a, struct buf *out, star_v v, int flags, struct err *err);
/* Parses one JSON text into values in `a`: exact integers, floats, lists, dicts. */
bool star_json_decode(struct arena *a, struct str text, star_v *out, struct err *err);

/* ---- time zones ---- */

/* A zone of the system's database by name; "" and "UTC", and "Local". NULL: unknown. Immortal, for any thread. */
const void *star_zone_find(struct str name);
/* Seconds east of UTC in force at `unix_s`. */
int32_t star_zone_offset(const void *zone, int64_t unix_s);

/* ---- the command-line tool ---- */

/* `openrun starlark ...`: argv[0] is the command's name. Returns the exit status. */
int star_tool_main(int argc, char **argv);

#endif
