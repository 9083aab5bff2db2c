/* starlark/tool.c: `openrun starlark`: runs files, checks them, runs chunked tests, talks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tool_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SOURCE = 64 << 20 };

static const char usage[] =
    "usage: starlark [flags] FILE...      run files\n"
    "       starlark [flags] -c CODE      run code given here\n"
    "       starlark [flags] -            run standard input\n"
    "       starlark [flags]              talk (on a terminal)\n"
    "       starlark --check FILE...      parse and resolve only, report all errors\n"
    "       starlark --test FILE...       run chunked test files\n"
    "\n"
    "flags: -set -while -recursion -globalreassign -loadbindsglobally\n"
    "       -steps N    fail after N steps\n"
    "       -memory N   fail beyond N MiB\n";

bool tool_read(struct arena *a, const char *path, struct str *out, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    scoped_fd int fd = is_stdin ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is a directory", path);
    scoped_buf b = BUF_INIT(MAX_SOURCE);
    char chunk[16384];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        if (!buf_add(&b, chunk, (size_t)n))
            return err_set(err, ERR_TOO_LARGE, "%s is larger than %d bytes", path, MAX_SOURCE);
    if (n < 0)
        return err_set_errno(err, errno, "reading %s", path);
    *out = str_dup(a, buf_str(&b));
    return true;
}

static void print_line(struct star_run *run, void *ctx, struct str line)
{
    (void)run;
    (void)ctx;
    fwrite(line.ptr, 1, line.len, stdout);
    fputc('\n', stdout);
}

/* ---- loading ---- */

static struct star_module *library(struct arena *a, struct str name)
{
    struct star_binding b[1];
    if (str_eq(name, STR("json.star")))
        b[0] = (struct star_binding){"json", star_lib_json()};
    else if (str_eq(name, STR("math.star")))
        b[0] = (struct star_binding){"math", star_lib_math()};
    else if (str_eq(name, STR("time.star")))
        b[0] = (struct star_binding){"time", star_lib_time()};
    else
        return NULL;
    return star_module_from(a, name, b, 1);
}

struct star_module *tool_load(void *ctx, struct star_run *run, struct str name, struct err *err)
{
    struct tool *t = ctx;
    struct star_module *m = library(t->arena, name);
    (void)run;
    if (m)
        return m;
    switch (star_cache_begin(t->cache, name, &m, err)) {
    case STAR_CACHE_HIT: return m;
    case STAR_CACHE_FAIL: return NULL;
    case STAR_CACHE_NEW: break;
    }
    struct str text;
    m = NULL;
    if (tool_read(t->arena, str_z(t->arena, name), &text, err)) {
        struct star_program *p = star_compile(t->arena, name, text, &t->opts, &t->env, err);
        m = p ? star_exec(t->arena, p, &t->env, &t->limits, tool_setup, t, err) : NULL;
    }
    star_cache_end(t->cache, name, m, err);
    return m;
}

void tool_setup(struct star_run *run, void *ctx)
{
    struct tool *t = ctx;
    star_run_set_print(run, t->print ? t->print : print_line, t->print_ctx);
    star_run_set_loader(run, tool_load, t);
}

void tool_init(struct tool *t, struct arena *a)
{
    static struct star_binding libs[3];
    libs[0] = (struct star_binding){"json", star_lib_json()};
    libs[1] = (struct star_binding){"math", star_lib_math()};
    libs[2] = (struct star_binding){"time", star_lib_time()};
    *t = (struct tool){.arena = a, .cache = star_cache_new(a), .env = {libs, 3}};
}

/* ---- running ---- */

static bool run_source(struct tool *t, struct str file, struct str text)
{
    scoped_err err = {0};
    struct star_program *p = star_compile(t->arena, file, text, &t->opts, &t->env, &err);
    if (!p) {
        fflush(stdout);
        fprintf(stderr, "%s\n", err_msg(&err));
        return false;
    }
    struct star_run *run = star_run_new(t->arena, &t->limits);
    if (!run) {
        fprintf(stderr, "starlark: memory limit exceeded\n");
        return false;
    }
    tool_setup(run, t);
    star_run_exec(run, p, &t->env);
    enum star_state s = star_run_to_end(run);
    fflush(stdout);
    if (s == STAR_DONE)
        return true;
    fprintf(stderr, STR_FMT "\n", STR_ARG(star_run_error(run)->backtrace));
    return false;
}

static bool run_file(struct tool *base, const char *path)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct tool t;
    struct str text;
    arena_init(&a, base->memory);
    tool_init(&t, &a);
    t.opts = base->opts;
    t.limits = base->limits;
    if (!tool_read(&a, path, &text, &err)) {
        fprintf(stderr, "starlark: %s\n", err_msg(&err));
        return false;
    }
    struct star_module *m;
    /* A file that loads itself is a cycle. */
    star_cache_begin(t.cache, str_from(path), &m, &err);
    return run_source(&t, strcmp(path, "-") == 0 ? STR("<stdin>") : str_from(path), text);
}

static bool check_file(struct tool *base, const char *path)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct tool t;
    struct str text;
    struct star_error_list errors = {0};
    tool_init(&t, &a);
    if (!tool_read(&a, path, &text, &err)) {
        fprintf(stderr, "starlark: %s\n", err_msg(&err));
        return false;
    }
    if (star_check(&a, str_from(path), text, &base->opts, &t.env, &errors))
        return true;
    for (size_t i = 0; i < errors.len; i++)
        fprintf(stderr, "%s:%d:%d: " STR_FMT "\n", path, errors.items[i].line, errors.items[i].col, STR_ARG(errors.items[i].msg));
    return false;
}

/* ---- flags ---- */

struct flags {
    struct tool base;
    const char *code;
    bool check, test, help;
    int first;  /* operand */
};

static bool option_flag(struct star_options *o, const char *name)
{
    if (strcmp(name, "set") == 0)
        o->sets = true;
    else if (strcmp(name, "while") == 0)
        o->while_loops = true;
    else if (strcmp(name, "recursion") == 0)
        o->recursion = true;
    else if (strcmp(name, "globalreassign") == 0)
        o->global_reassign = o->toplevel_control = o->while_loops = true;
    else if (strcmp(name, "loadbindsglobally") == 0)
        o->load_binds_globally = true;
    else
        return false;
    return true;
}

static bool number_flag(int argc, char **argv, int *i, uint64_t *out)
{
    if (*i + 1 >= argc || !str_to_u64(str_from(argv[*i + 1]), out)) {
        fprintf(stderr, "starlark: %s needs a number\n", argv[*i]);
        return false;
    }
    ++*i;
    return true;
}

static bool parse_flags(int argc, char **argv, struct flags *f)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
        uint64_t n;
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (option_flag(&f->base.opts, name)) {
            continue;
        } else if (strcmp(name, "c") == 0 && i + 1 < argc) {
            f->code = argv[++i];
        } else if (strcmp(name, "check") == 0) {
            f->check = true;
        } else if (strcmp(name, "test") == 0) {
            f->test = true;
        } else if (strcmp(name, "steps") == 0) {
            if (!number_flag(argc, argv, &i, &f->base.limits.steps))
                return false;
        } else if (strcmp(name, "memory") == 0) {
            if (!number_flag(argc, argv, &i, &n))
                return false;
            f->base.memory = (size_t)n << 20;
        } else if (strcmp(name, "h") == 0 || strcmp(name, "help") == 0) {
            f->help = true;
        } else {
            fprintf(stderr, "starlark: unknown flag %s\n%s", argv[i], usage);
            return false;
        }
    }
    f->first = i;
    return true;
}

int star_tool_main(int argc, char **argv)
{
    struct flags f = {0};
    bool ok = true;
    if (!parse_flags(argc, argv, &f))
        return 2;
    if (f.help) {
        fputs(usage, stdout);
        return 0;
    }
    if (f.code) {
        scoped_arena a = {0};
        struct tool t;
        arena_init(&a, f.base.memory);
        tool_init(&t, &a);
        t.opts = f.base.opts;
        t.limits = f.base.limits;
        return run_source(&t, STR("cmdline"), str_from(f.code)) ? 0 : 1;
    }
    if (f.first >= argc) {
        if (f.check || f.test) {
            fputs(usage, stderr);
            return 2;
        }
        if (isatty(0))
            return tool_repl(&f.base);
        return run_file(&f.base, "-") ? 0 : 1;
    }
    for (int i = f.first; i < argc; i++)
        ok = (f.check ? check_file(&f.base, argv[i]) : f.test ? tool_test_file(&f.base, argv[i]) : run_file(&f.base, argv[i])) && ok;
    return ok ? 0 : 1;
}
