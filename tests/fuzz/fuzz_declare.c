/* tests/fuzz/fuzz_declare.c: hostile declarative files; and what they declare, written and read again, is the same.
 * links: deploy app
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct toml_value node = {.kind = TOML_TABLE};
    struct app_env app_env = {.default_domain = STR("localhost"), .node_config = &node};
    const struct declare_env env = {.env = &app_env, .branch = STR("main")};
    struct config_file file = {STR("apps.star"), str_of(data, size)};
    const struct config_files files = {.items = &file, .len = 1, .cap = 1, .dir = STR("/conf")};
    struct declarations out = {0};
    log_set_level(LOG_LEVEL_ERROR);
    map_init(&node.table, &a);
    if (size > 1 << 16 || !declare_eval(&a, &env, &files, &out, &err))
        return 0;
    vec_foreach(d, &out)
    {
        struct request again;
        struct str text = request_text(&a, &d->request);
        scoped_json *j = json_parse_object(text, &err);
        if (!j || !request_read(&a, j, &again, &err))
            BUG("a declaration that cannot be read again: %s", err_msg(&err));
        if (!str_eq(text, request_text(&a, &again)))
            BUG("a declaration that changes when it is written");
    }
    return 0;
}
