/* tests/fuzz/fuzz_star_json.c: what decodes encodes again, and to a text that decodes to the same.
 * links: starlark
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_buf out = BUF_INIT(1 << 24);
    star_v v, again;
    if (!star_json_decode(&a, str_of(data, size), &v, &err))
        return 0;
    if (!star_json_encode(&a, &out, v, 0, &err))
        __builtin_trap();
    if (!star_json_decode(&a, buf_str(&out), &again, &err))
        __builtin_trap();
    scoped_buf second = BUF_INIT(1 << 24);
    if (!star_json_encode(&a, &second, again, 0, &err) || !str_eq(buf_str(&out), buf_str(&second)))
        __builtin_trap();
    return 0;
}
