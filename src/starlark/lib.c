/* starlark/lib.c: modules of native functions; the struct function.
 * SPDX-License-Identifier: Apache-2.0 */
#include "lib_int.h"

#include <stdlib.h>

static pthread_mutex_t lib_lock = PTHREAD_MUTEX_INITIALIZER;    /* making modules; never on a hot path */
static struct arena lib_arena;

static void make(struct lib *lib)
{
    size_t n = lib->n + lib->n_constants;
    if (lib->fill)
        lib->fill(&lib_arena, lib);
    struct str *names = arena_array(&lib_arena, struct str, n);
    star_v *values = arena_array(&lib_arena, star_v, n);
    for (size_t i = 0; i < lib->n; i++) {
        names[i] = str_from_off(lib->functions[i].name, lib->prefix);
        values[i] = obj_v(&lib->functions[i]);
    }
    for (size_t i = 0; i < lib->n_constants; i++) {
        names[lib->n + i] = str_from(lib->constants[i].name);
        values[lib->n + i] = lib->constants[i].value;
    }
    lib->value = star_struct_str(&lib_arena, str_from(lib->name), names, values, n);
    obj_of(lib->value)->flags = STRUCT_IS_MODULE;
    freeze_value(lib->value);
}

star_v lib_get(struct lib *lib)
{
    pthread_mutex_lock(&lib_lock);
    if (!lib->is_made) {
        make(lib);
        lib->is_made = true;
    }
    pthread_mutex_unlock(&lib_lock);
    return lib->value;
}

/* ---- struct(**fields) ---- */

static void sort_names(star_v *names, star_v *values, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        star_v name = names[i], value = values[i];
        size_t k = i;
        for (; k > 0 && str_cmp(str_of_v(names[k - 1]), str_of_v(name)) > 0; k--) {
            names[k] = names[k - 1];
            values[k] = values[k - 1];
        }
        names[k] = name;
        values[k] = value;
    }
}

static enum star_ret make_struct(struct star_run *run, const struct star_call *call, star_v *out)
{
    static struct str_obj ctor __attribute__((aligned(16))) = {.h = {.type = O_STRING, .frozen = 1}, .len = 6, .ptr = "struct"};
    if (call->npos > 0)
        return star_fail(run, "struct: unexpected positional arguments");
    star_v few[32], *names = few;
    if (call->nkw > 2000)
        return star_fail(run, "struct: too many fields");
    if (call->nkw > 16 && !(names = star_alloc(run->arena, 2 * call->nkw * sizeof *names)))
        return memory_fail(run);
    star_v *values = names + call->nkw;
    if (call->nkw > 0) {
        memcpy(names, call->kwnames, call->nkw * sizeof *names);
        memcpy(values, call->kwvals, call->nkw * sizeof *values);
    }
    sort_names(names, values, call->nkw);
    for (size_t i = 1; i < call->nkw; i++)
        if (string_equal(names[i - 1], names[i]))
            return star_fail(run, "struct: duplicate field " STR_FMT, STR_ARG(str_of_v(names[i])));
    *out = struct_from_pairs(run, obj_v(&ctor), names, values, call->nkw);
    return STAR_OK;
}

_Alignas(16) static struct builtin_obj struct_function = BUILTIN_INIT("struct", make_struct, NULL);

star_v star_lib_struct(void)
{
    return obj_v(&struct_function);
}
