/* tests/fuzz/fuzz_base_text.c: times, encodings, ids and paths that come from outside.
 * links: base
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    struct str in = str_of(data, size), out;
    int64_t t, again;
    if (time_parse(in, &t))
        must(time_parse(time_rfc3339_nano(&a, t), &again) && again == t);
    if (time_parse_http(in, 0, &t)) {
        char text[TIME_TEXT_MAX];
        must(time_format_http(text, t) == 29);
        must(time_parse_http(str_from(text), 0, &again) && again == t);
    }
    if (base64_decode(&a, in, &out))
        must(str_eq(base64_encode(&a, out), in));
    if (base64url_decode(&a, in, &out))
        must(str_eq(base64url_encode(&a, out), str_trim_right(in, '=')));
    if (hex_decode(&a, in, &out))
        must(str_eq(str_hex(&a, out.ptr, out.len), str_lower(&a, in)));
    unsigned char id[KSUID_BYTES];
    char text[KSUID_LEN];
    if (ksuid_decode(in, id)) {
        ksuid_encode(id, text);
        must(str_eq(str_of(text, KSUID_LEN), in));
    }
    struct str clean = path_clean(&a, in);
    must(str_eq(path_clean(&a, clean), clean));
    if (path_is_local(in))
        must(path_is_within(STR("/jail"), path_join(&a, STR("/jail"), in)));
    str_expand_env(&a, in);
    return 0;
}
