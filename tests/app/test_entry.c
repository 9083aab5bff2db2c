/* tests/app/test_entry.c: copies of metadata entries share nothing with the original and lose no byte.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A text of its own for each field, in memory that goes with `a`. */
static struct str unique(struct arena *a)
{
    static int n;
    return str_printf(a, "text %d", ++n);
}

static void fill_list(struct arena *a, struct str_list *l)
{
    str_list_add(a, l, unique(a));
    str_list_add(a, l, unique(a));
}

static void fill(struct arena *a, struct store_app *app)
{
    store_app_init(a, app);
    struct store_metadata *m = &app->metadata;
    struct str *texts[] = {
        &app->id,
        &app->path,
        &app->domain,
        &app->main_app,
        &app->linked_app_path,
        &app->source_url,
        &app->user_id,
        &app->settings.webhook_tokens.reload,
        &app->settings.webhook_tokens.reload_promote,
        &app->settings.webhook_tokens.promote,
        &app->settings.orig_source_url,
        &app->settings.authn_type,
        &app->settings.git_auth_name,
        &m->name,
        &m->spec,
        &m->authn_type,
        &m->git_auth_name,
        &m->version_metadata.git_branch,
        &m->version_metadata.git_commit,
        &m->version_metadata.git_message,
        &m->version_metadata.apply_info,
        &m->version_metadata.applied_sync_id,
        &m->applied_sync_id,
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = unique(a);
    fill_list(a, &m->loads);
    fill_list(a, &m->container_volumes);
    fill_list(a, &m->bindings);
    struct store_permission p = {.plugin = unique(a), .method = unique(a), .is_read = STORE_TRUE};
    fill_list(a, &p.arguments);
    fill_list(a, &p.permit);
    fill_list(a, vec_push(a, &p.secrets));
    *vec_push(a, &m->permissions) = p;
    *vec_push(a, &m->accounts) = (struct store_account){unique(a), unique(a)};
    struct map *maps[] = {&m->param_values, &m->container_options, &m->container_args, &m->appconfig,
                          &m->spec_files};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        store_map_set(a, maps[i], unique(a), unique(a));
    app->is_dev = app->settings.stage_write_access = m->builder_published = true;
    app->create_time = 5;
    app->update_time = 6;
    m->version_metadata.version = 7;
}

static void a_copy_outlives_the_original(void **state)
{
    struct arena gone = {0};
    scoped_arena a = {0};
    struct store_app from, to;
    fill(&gone, &from);
    scoped_json *want = store_app_to_json(&from);
    entry_copy(&a, &from, &to);
    arena_release(&gone); /* the sanitizer finds what still points there */
    scoped_json *got = store_app_to_json(&to);
    assert_string_equal(str_z(&a, json_text(&a, got, 0)), str_z(&a, json_text(&a, want, 0)));
    assert_int_equal(to.update_time, 6);
    assert_int_equal(to.create_time, 5);
    assert_true(map_has(&to.metadata.spec_files, to.metadata.spec_files.entries[0].key));
}

static void bytes_stay_what_they_are(void **state)
{
    scoped_arena a = {0};
    struct store_app from, to;
    store_app_init(&a, &from);
    store_map_set(&a, &from.metadata.spec_files, STR("a.bin"), str_of("\0\xff\xfe\0", 4));
    store_map_set(&a, &from.metadata.param_values, STR("p"), str_of("x\0y", 3));
    entry_copy(&a, &from, &to);
    assert_memory_equal(store_map_get(&to.metadata.spec_files, STR("a.bin")).ptr, "\0\xff\xfe\0", 4);
    assert_int_equal(store_map_get(&to.metadata.param_values, STR("p")).len, 3);
    store_map_set(&a, &to.metadata.param_values, STR("p"), STR("changed"));
    assert_int_equal(store_map_get(&from.metadata.param_values, STR("p")).len, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_outlives_the_original),
        cmocka_unit_test(bytes_stay_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
