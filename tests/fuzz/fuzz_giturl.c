/* tests/fuzz/fuzz_giturl.c: git sources; what comes out is safe to hand to git and splits the same again.
 * links: source
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str source = str_of(data, size);
    struct src_giturl u, again;
    src_is_git(source);
    src_giturl_parse(&a, source, STR("git"), &u, &err);
    if (!src_giturl_parse(&a, source, STR(""), &u, &err))
        return 0;
    if (str_is_empty(u.repo) || u.repo.ptr[0] == '-' || str_starts(u.folder, STR("/")) ||
        str_eq(u.folder, STR("..")) || str_starts(u.folder, STR("../")))
        abort();
    if (str_starts(u.repo, STR("http")) && str_chr(u.repo, '@') != STR_NPOS &&
        str_chr(u.repo, '@') < str_chr(str_from_off(u.repo, 8), '/') + 8)
        abort();
    struct str joined = str_printf(&a, STR_FMT "//" STR_FMT, STR_ARG(u.repo), STR_ARG(u.folder));
    if (!src_is_git(joined) || !src_giturl_parse(&a, joined, STR(""), &again, &err) ||
        !str_eq(again.repo, u.repo) || !str_eq(again.folder, u.folder))
        abort();
    return 0;
}
