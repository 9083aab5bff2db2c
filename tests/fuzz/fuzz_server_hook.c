/* tests/fuzz/fuzz_server_hook.c: calls of webhooks: three lines of fields, then the body.
 * links: base http
 * SPDX-License-Identifier: Apache-2.0 */
#include "../../src/server/hook.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = str_of((const char *)data, size), line[3] = {0};
    for (size_t i = 0; i < ARRAY_LEN(line); i++)
        str_cut(body, '\n', &line[i], &body);
    struct hook_fields f = {.event = line[0], .content_type = line[1], .github_signature = line[2]};
    for (enum hook_kind kind = HOOK_PUSH; kind <= HOOK_ANY; kind++) {
        scoped_arena a = {0};
        struct str why = {0};
        enum hook_verdict verdict = hook_judge(&a, &f, body, kind, STR("main"), &why);
        if ((verdict == HOOK_RUN) != str_is_empty(why))
            __builtin_trap();
    }
    if (hook_is_authentic(&f, STR(""), body))
        __builtin_trap();
    hook_is_authentic(&f, STR("secret"), body);
    f = (struct hook_fields){.gitea_signature = line[2]};
    hook_is_authentic(&f, STR("secret"), body);
    return 0;
}
