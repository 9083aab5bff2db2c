/* tests/fuzz/fuzz_star_fmt.c: formatting any program gives one that parses and is formatted.
 * links: starlark
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str once, twice;
    if (!star_fmt(&a, STR("f.star"), str_of(data, size), &once, &err)) {
        assert(err.code != ERR_INTERNAL); /* the tokens of before and after are not the same */
        return 0;
    }
    if (!star_fmt(&a, STR("f.star"), once, &twice, &err) || !str_eq(once, twice))
        __builtin_trap();
    return 0;
}
