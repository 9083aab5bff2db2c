/* tests/fuzz/fuzz_store_json.c: apps from any JSON: what reads, writes to a JSON that reads as the same.
 * links: store
 * SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    scoped_json *j = json_parse(str_of(data, size), &err);
    struct store_app app, again, copy;
    if (!j || !store_app_from_json(&a, j, &app, &err))
        return 0;
    scoped_json *once = store_app_to_json(&app);
    if (!store_app_from_json(&a, once, &again, &err))
        abort();
    store_app_copy(&a, &again, &copy);
    scoped_json *twice = store_app_to_json(&copy);
    if (!json_equal(once, twice))
        abort();
    return 0;
}
