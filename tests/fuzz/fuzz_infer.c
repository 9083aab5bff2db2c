/* tests/fuzz/fuzz_infer.c: any bytes as the Containerfile of a dev app.
 * links: container http
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str names[] = {STR_INIT("Containerfile"), STR_INIT("app.py"),         STR_INIT("lib/a.js"),
                                       STR_INIT("lib/b/c.js"),    STR_INIT("package.json"),   STR_INIT("requirements.txt"),
                                       STR_INIT("run.sh"),        STR_INIT("src/main.go")};
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_file f;
    if (!ctr_file_parse(&a, str_of(data, size), NULL, &f, &err))
        return 0;
    for (int i = 0; i < 3; i++) {
        struct ctr_infer got = {0};
        struct ctr_infer_ask ask = {.file = &f, .dev_stage = STR("dev"), .names = names, .n_names = ARRAY_LEN(names),
                                    .dir = i == 1 ? STR("/app") : (struct str){0},
                                    .target = i == 2 ? STR("builder") : (struct str){0}};
        err_release(&err);
        if (!ctr_infer(&a, &ask, &got, &err))
            continue;
        if (got.is_fast == (got.why.len > 0))
            BUG("fast, or a reason why not");
        if (got.is_fast && (!path_is_abs(got.dir) || str_eq(got.dir, STR("/"))))
            BUG("a folder that nothing can be mounted at");
        vec_foreach(dir, &got.covered) if (!str_starts(*dir, got.dir) || dir->len <= got.dir.len)
            BUG("a folder that is not below");
        if (str_chr(got.command, '\0') != STR_NPOS && str_chr(str_of(data, size), '\0') == STR_NPOS && size > 0 &&
            str_find(str_of(data, size), STR("\\u0000")) == STR_NPOS)
            BUG("a NUL from nowhere");
    }
    if (a.used > 256u << 20)
        BUG("%zu bytes of text took %zu bytes", size, a.used);
    return 0;
}
