/* starlark/methods.c: which built-in type has which method, by number.
 *
 * Each method name gets a number at start-up; the compiler puts it into the instruction, so finding the
 * method of a value is one load from a table of types by numbers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

enum { MAX_METHODS = 96 };

static const struct method *const tables[N_OBJ_TYPES] = {
    [O_STRING] = string_methods, [O_BYTES] = bytes_methods, [O_LIST] = list_methods, [O_DICT] = dict_methods,
    [O_SET] = set_methods,
};

const struct builtin_obj *method_table[N_OBJ_TYPES][MAX_METHODS];
static struct str numbered[MAX_METHODS];
static size_t n_numbered = 1;   /* 0 is no method */
static _Alignas(16) struct builtin_obj objects[MAX_METHODS];

__attribute__((constructor)) static void number_methods(void)
{
    size_t n = 0;
    for (int t = 0; t < N_OBJ_TYPES; t++) {
        for (const struct method *m = tables[t]; m && m->name; m++) {
            struct str name = str_from(m->name);
            size_t i = 1;
            while (i < n_numbered && !str_eq(numbered[i], name))
                i++;
            assert(i < MAX_METHODS && n < MAX_METHODS);
            if (i == n_numbered)
                numbered[n_numbered++] = name;
            objects[n] = (struct builtin_obj){
                .h = {.type = O_BUILTIN, .frozen = 1}, .fn = m->fn, .fast = m->fast, .recv = STAR_NULL, .name = name,
            };
            method_table[t][i] = &objects[n++];
        }
    }
}

uint16_t method_number(struct str name)
{
    for (size_t i = 1; i < n_numbered; i++)
        if (str_eq(numbered[i], name))
            return (uint16_t)i;
    return 0;
}

const struct builtin_obj *method_find(enum obj_type t, struct str name)
{
    return tables[t] ? method_table[t][method_number(name)] : NULL;
}

size_t method_names(enum obj_type t, struct str *names, size_t max)
{
    size_t n = 0;
    for (const struct method *m = tables[t]; m && m->name && n < max; m++)
        names[n++] = str_from(m->name);
    return n;
}
