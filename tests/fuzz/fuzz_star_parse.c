/* tests/fuzz/fuzz_star_parse.c: the scanner, parser and resolver of Starlark on any bytes.
 * links: starlark
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct star_options all = {
        .while_loops = true, .recursion = true, .sets = true, .toplevel_control = true, .global_reassign = true,
    };
    scoped_arena a = {0};
    struct star_error_list errors = {0};
    star_check(&a, STR("f.star"), str_of(data, size), size % 2 ? &all : &star_options_config, NULL, &errors);
    for (size_t i = 0; i < errors.len; i++)
        assert(errors.items[i].line >= 0 && errors.items[i].msg.len > 0);
    return 0;
}
