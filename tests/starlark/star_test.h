/* tests/starlark/star_test.h: shared by the tests of the engine.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STAR_TEST_H
#define STAR_TEST_H

#include "starlark.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct star_options all_options = {
    .while_loops = true, .recursion = true, .sets = true, .toplevel_control = true, .global_reassign = true,
};

static inline struct star_program *must_compile(struct arena *a, const char *src, const struct star_env *env)
{
    scoped_err err = {0};
    struct star_program *p = star_compile(a, STR("test.star"), str_from(src), &all_options, env, &err);
    if (!p)
        fail_msg("%s", err_msg(&err));
    return p;
}

static inline struct star_module *must_exec(struct arena *a, const char *src, const struct star_env *env)
{
    scoped_err err = {0};
    struct star_module *m = star_exec(a, must_compile(a, src, env), env, NULL, NULL, NULL, &err);
    if (!m)
        fail_msg("%s", err_msg(&err));
    return m;
}

static inline const char *repr_z(struct arena *a, star_v v)
{
    scoped_buf b = BUF_INIT(1 << 20);
    star_repr(&b, v);
    return str_z(a, buf_str(&b));
}

#endif
