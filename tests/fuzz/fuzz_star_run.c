/* tests/fuzz/fuzz_star_run.c: compiles and runs any program with tiny budgets, a few steps per slice.
 * links: starlark
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

static void no_print(struct star_run *run, void *ctx, struct str line)
{
    (void)run, (void)ctx, (void)line;
}

static enum star_ret wait_builtin(struct star_run *run, const struct star_call *call, star_v *out)
{
    (void)run, (void)call, (void)out;
    return STAR_BLOCK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct star_options all = {
        .while_loops = true, .recursion = true, .sets = true, .toplevel_control = true, .global_reassign = true,
    };
    scoped_arena prog = {0}, a = {0};
    scoped_err err = {0};
    struct star_binding b[] = {
        {"json", star_lib_json()}, {"math", star_lib_math()}, {"time", star_lib_time()}, {"struct", star_lib_struct()},
        {"wait", star_builtin(&prog, "wait", wait_builtin, NULL)},
    };
    struct star_env env = {b, ARRAY_LEN(b)};
    struct star_program *p = star_compile(&prog, STR("f.star"), str_of(data, size), &all, &env, &err);
    if (!p)
        return 0;
    arena_init(&a, 1 << 20);
    struct star_limits limits = {.steps = 5000, .slice_steps = 7, .depth = 100};
    struct star_run *run = star_run_new(&a, &limits);
    star_run_set_print(run, no_print, NULL);
    star_run_exec(run, p, &env);
    for (;;) {
        enum star_state s = star_run_resume(run);
        if (s == STAR_SUSPENDED)
            star_run_complete(run, size % 3 ? star_int(&a, 1) : STAR_NULL);
        else if (s != STAR_YIELD)
            break;
    }
    return 0;
}
