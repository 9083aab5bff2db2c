/* tests/fuzz/fuzz_auth_form.c: the posted sign-in form, and pages filled with what came in.
 * links: auth
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str body = str_of(arena_memdup(&a, data, size), size);
    struct login_fields f = {0};
    if (login_fields_parse(&a, body, STR("system"), &f, &err) && !str_is_empty(f.key)) {
        require(str_starts(f.key, STR("form_login:")) && f.key.len == 43);
        require(str_chr(str_from_off(f.key, 11), ':') == STR_NPOS);
    }
    /* Nothing that came in can end a text or an attribute. */
    struct html_value values[] = {{"user", f.user.len > 0 ? f.user : body}, {"redirect", STR("/")}};
    struct str empty = page_fill(&a, STR("sign-out.html"),
                                 (struct html_value[]){{"user", (struct str){0}}, {"redirect", STR("/")}}, 2);
    struct str page = page_fill(&a, STR("sign-out.html"), values, 2);
    if (page.len > 0 && size < 4096) {
        size_t tags = 0, empty_tags = 0;
        for (size_t i = 0; i < page.len; i++)
            tags += page.ptr[i] == '<' || page.ptr[i] == '>' || page.ptr[i] == '"';
        for (size_t i = 0; i < empty.len; i++)
            empty_tags += empty.ptr[i] == '<' || empty.ptr[i] == '>' || empty.ptr[i] == '"';
        require(tags == empty_tags);
    }
    return 0;
}
