/* starlark/lib_int.h: how the modules json, math and time are made.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STARLARK_LIB_INT_H
#define STARLARK_LIB_INT_H

#include "starlark_int.h"

#include <pthread.h>

/* A module of static functions and a few constants, built when first asked for; immortal and frozen. */
struct lib {
    const char *name;
    struct builtin_obj *functions;
    size_t n;
    size_t prefix;              /* of the functions' names, not part of the members' */
    struct star_binding *constants;
    size_t n_constants;
    void (*fill)(struct arena *a, struct lib *lib); /* sets the constants' values */
    star_v value;
    bool is_made;
};
star_v lib_get(struct lib *lib);

#endif
