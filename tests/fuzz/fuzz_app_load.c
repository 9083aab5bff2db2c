/* tests/fuzz/fuzz_app_load.c: hostile app files: params.star, config_gen.lock and app.star, split at lines of
 * "---", are audited and loaded, without a container engine. links: app
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct app_env env;

static void once(void)
{
    static struct arena a;
    scoped_err err = {0};
    struct plugin_rules *rules;
    struct ctr_manager_config config = {
        .home = STR("/nonexistent"), .loop_count = 1, .max_concurrent_builds = 1};
    log_set_level(LOG_LEVEL_ERROR);
    if (!plugin_rules_new(&a, NULL, &rules, &err) || !ctr_manager_open(&config, &env.containers, &err))
        BUG("%s", err_msg(&err));
    env.rules = rules;
    env.home = config.home;
    env.default_domain = STR("localhost");
    env.https_port = 25223;
    env.loops = http_loops_open(1, &err);
}

static struct str part(struct str *rest)
{
    struct str all = *rest;
    size_t at = str_find(all, STR("\n---\n"));
    *rest = at == STR_NPOS ? (struct str){0} : str_from_off(all, at + 5);
    return at == STR_NPOS ? all : str_slice(all, 0, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    if (!env.rules)
        once();
    struct str rest = str_of(data, size), params = part(&rest), lock = part(&rest), app_star = part(&rest);
    struct src_file items[3] = {
        {.name = STR("params.star"), .content = params.len ? params.ptr : "", .size = params.len},
        {.name = STR("app.star"), .content = app_star.len ? app_star.ptr : "", .size = app_star.len},
        {.name = STR("config_gen.lock"), .content = lock.len ? lock.ptr : "", .size = lock.len},
    };
    struct src_files files;
    struct store_app entry;
    struct app_audit audit;
    store_app_init(&a, &entry);
    entry.id = STR("app_prd_1");
    entry.path = STR("/x");
    entry.source_url = STR("/x");
    if (!src_files_make(&a, items, lock.len ? 3 : 2, &files, &err) ||
        !app_audit(&env, &entry, &files, &a, &audit, &err))
        return 0;
    entry.metadata.loads = audit.loads;
    for (size_t i = 0; i < audit.n_permissions; i++)
        *vec_push(&a, &entry.metadata.permissions) = audit.permissions[i];
    struct app *app;
    if (app_load(&env, &entry, &files, &app, &err))
        app_unref(app);
    return 0;
}
