/* starlark/repl.c: `starlark` on a terminal: reads a statement, runs it, prints the value of an expression.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tool_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_GLOBALS = 4096, MAX_INPUT = 1 << 20 };

struct repl {
    struct arena arena;
    struct tool tool;
    struct star_binding *globals;   /* what earlier statements defined, over the libraries */
    size_t n;
};

static void define(struct repl *r, struct str name, star_v v)
{
    for (size_t i = 0; i < r->n; i++) {
        if (str_eq_z(name, r->globals[i].name)) {
            r->globals[i].value = v;
            return;
        }
    }
    if (r->n < MAX_GLOBALS)
        r->globals[r->n++] = (struct star_binding){str_z(&r->arena, name), v};
}

/* A compound statement ends at a blank line; brackets and triple quotes that are open go on. */
static bool needs_more(struct repl *r, struct str text)
{
    struct star_error_list errors = {0};
    struct star_env env = {r->globals, r->n};
    if (star_check(&r->arena, STR("<stdin>"), text, &r->tool.opts, &env, &errors))
        return false;
    struct str m = errors.items[0].msg;
    return str_find(m, STR("got end of file")) != STR_NPOS || str_eq(m, STR("unexpected EOF in string")) ||
           str_find(m, STR("got newline, want ")) != STR_NPOS;
}

static bool is_expression(struct repl *r, struct str text)
{
    struct star_error_list errors = {0};
    struct star_env env = {r->globals, r->n};
    struct str wrapped = str_printf(&r->arena, "_ = (" STR_FMT "\n)", STR_ARG(text));
    return star_check(&r->arena, STR("<stdin>"), wrapped, &r->tool.opts, &env, &errors);
}

static void evaluate(struct repl *r, struct str text)
{
    scoped_err err = {0};
    struct star_env env = {r->globals, r->n};
    bool show = is_expression(r, text);
    if (show)
        text = str_printf(&r->arena, "_ = (" STR_FMT "\n)", STR_ARG(text));
    struct star_program *p = star_compile(&r->arena, STR("<stdin>"), text, &r->tool.opts, &env, &err);
    if (!p) {
        fprintf(stderr, "%s\n", err_msg(&err));
        return;
    }
    struct star_run *run = star_run_new(&r->arena, &r->tool.limits);
    if (!run) {
        fprintf(stderr, "memory limit exceeded\n");
        return;
    }
    tool_setup(run, &r->tool);
    star_run_exec(run, p, &env);
    if (star_run_to_end(run) != STAR_DONE) {
        fprintf(stderr, STR_FMT "\n", STR_ARG(star_run_error(run)->backtrace));
        return;
    }
    size_t at = 0;
    struct str name;
    star_v v;
    while (star_module_next(star_run_module(run), &at, &name, &v)) {
        define(r, name, v);
        if (show && !star_is_none(v)) {
            scoped_buf b = BUF_INIT(1 << 20);
            star_repr(&b, v);
            printf("%s\n", buf_z(&b));
        }
    }
}

int tool_repl(const struct tool *base)
{
    struct repl r = {0};
    scoped_buf input = BUF_INIT(MAX_INPUT);
    char line[65536];
    tool_init(&r.tool, &r.arena);
    r.tool.opts = base->opts;
    r.tool.opts.global_reassign = r.tool.opts.toplevel_control = true;
    r.tool.limits = base->limits;
    r.globals = arena_array(&r.arena, struct star_binding, MAX_GLOBALS);
    for (size_t i = 0; i < r.tool.env.n; i++)
        r.globals[r.n++] = r.tool.env.items[i];
    printf("Starlark; end with Ctrl-D\n");
    for (;;) {
        fputs(input.len == 0 ? ">>> " : "... ", stdout);
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin))
            break;
        bool blank = line[strspn(line, " \t\r\n")] == 0;
        if (blank && input.len == 0)
            continue;
        if (!buf_add_z(&input, line)) {
            fprintf(stderr, "input is too long\n");
            buf_clear(&input);
            continue;
        }
        struct str first;
        str_cut(buf_str(&input), '\n', &first, NULL);
        bool block = str_ends(str_trim(first), STR(":"));
        if (!blank && (block || needs_more(&r, buf_str(&input))))
            continue;
        evaluate(&r, str_dup(&r.arena, buf_str(&input)));
        buf_clear(&input);
    }
    putchar('\n');
    arena_release(&r.arena);
    return 0;
}
