/* tests/fuzz/fuzz_star_num.c: numbers print so that they read back the same.
 * links: starlark
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_buf b = BUF_INIT(1 << 20);
    star_v i = star_int_parse(&a, str_of(data, size));
    if (!star_is_null(i)) {
        star_repr(&b, i);
        if (!star_equal(i, star_int_parse(&a, buf_str(&b))))
            __builtin_trap();
        buf_clear(&b);
    }
    if (size >= sizeof(double)) {
        double d, back;
        memcpy(&d, data, sizeof d);
        star_v f = star_float(&a, d);
        if (!star_to_double(f, &back) || memcmp(&d, &back, sizeof d) != 0)
            __builtin_trap();
        star_repr(&b, f);
        if (d == d && d - d == 0 && strtod(buf_z(&b), NULL) != d)
            __builtin_trap();
    }
    return 0;
}
