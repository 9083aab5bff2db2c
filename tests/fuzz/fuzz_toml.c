/* tests/fuzz/fuzz_toml.c: the TOML reader, documents and single values.
 * links: base
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct toml_value v;
    struct str text = str_of(data, size);
    if (toml_parse(&a, text, &v, &err)) {
        scoped_json *j = toml_to_json(&v);
        /* What was read is text that JSON can carry, and nested no deeper than promised. */
        if (json_text(&a, j, JSON_STYLE_SORTED).len == 0)
            abort();
    } else if (!str_starts(str_from(err_msg(&err)), STR("line "))) {
        abort();
    }
    err_release(&err);
    if (toml_parse_value(&a, text, &v, &err)) {
        scoped_json *j = toml_to_json(&v);
        json_text(&a, j, 0);
    }
    return 0;
}
