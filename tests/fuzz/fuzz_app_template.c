/* tests/fuzz/fuzz_app_template.c: templates of secret volumes, with two params.
 * links: app
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_kv_list params = {0};
    struct str out;
    ctr_kv_set(&a, &params, STR("b"), STR("\"value\"\n"));
    ctr_kv_set(&a, &params, STR("a"), STR(""));
    template_render(&a, str_of(data, size), &params, &out, &err);
    return 0;
}
