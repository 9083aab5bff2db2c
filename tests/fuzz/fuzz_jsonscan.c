/* tests/fuzz/fuzz_jsonscan.c: what the scanner takes for an object, jansson reads, with the same members.
 * links: base
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"
#include "jsonscan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of(data, size), key, value;
    json_error_t e;
    struct json_scan s;
    size_t count = 0;
    json_scan_open(&s, text);
    while (json_scan_next(&s, &key, &value))
        count++;
    if (!json_scan_end(&s) || !str_is_utf8(text))
        return 0;
    json_t *j = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, &e);
    /* Numbers that are beyond what jansson can hold are JSON all the same; so are names with a NUL, to it. */
    if (!j && !strstr(e.text, "too big") && !strstr(e.text, "real number overflow") && !strstr(e.text, "NUL byte"))
        abort();
    if (j && json_object_size(j) > count)
        abort();
    json_decref(j);
    return 0;
}
