/* tests/container/test_volumes.c: the labels of volumes, and which ones a prune removes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct {
    struct fake fake;
    struct ctr_backend ops;
    struct ctr_manager *m;
    struct arena arena;
    bool has_no_metadata;
} box;

static bool task(void *ctx, const struct ctr_run *run, const struct ctr_task_io *io, struct ctr_task_end *end, struct err *err)
{
    *end = (struct ctr_task_end){0};
    return true;
}

/* There are the app a and its stage. */
static bool app_version(void *arg, struct arena *a, struct str id, struct str *version, struct err *err)
{
    if (box.has_no_metadata)
        return err_set(err, ERR_UNAVAILABLE, "no metadata");
    *version = str_eq_z(id, "app_prd_a") || str_eq_z(id, "app_stg_a") ? STR("7") : (struct str){0};
    return true;
}

static int setup(void **state)
{
    static const struct ctr_hooks hooks = {0};
    const struct ctr_manager_config c = {
        .home = STR("/home"), .loop_count = 1, .max_concurrent_builds = 1, .app_version = app_version};
    scoped_err err = {0};
    memset(&box, 0, sizeof box);
    pthread_mutex_init(&box.fake.lock, NULL);
    box.fake.has_image = true;
    box.ops = fake_backend;
    box.ops.task = task;
    struct ctr_engine *e = ctr_engine_open_with(CTR_DOCKER, &box.ops, &box.fake);
    return ctr_manager_open_with(&c, e, &hooks, &box.m, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    ctr_manager_close(box.m);
    pthread_mutex_destroy(&box.fake.lock);
    arena_release(&box.arena);
    return 0;
}

static void add(const char *name, const char *home, const char *app, bool is_used)
{
    struct ctr_volume_info v = {.name = str_from(name), .is_used = is_used};
    if (home)
        ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_HOME), str_from(home));
    if (app)
        ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_APP_ID), str_from(app));
    ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_APP_PATH), STR("/path"));
    ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_VOLUME), STR("data"));
    box.fake.volumes[box.fake.volume_count++] = v;
}

static struct ctr_run run_of(const struct ctr_mount *mount, bool has_home)
{
    struct ctr_run run = {.name = STR("clc-a"), .image = STR("cli-a:1"), .mounts = mount, .n_mounts = 1};
    if (has_home)
        ctr_kv_set(&box.arena, &run.labels, STR(CTR_LABEL_HOME), STR("/home"));
    ctr_kv_set(&box.arena, &run.labels, STR(CTR_LABEL_APP_ID), STR("app_prd_a"));
    ctr_kv_set(&box.arena, &run.labels, STR(CTR_LABEL_APP_PATH), STR("/a"));
    return run;
}

static void a_volume_is_labelled_as_what_it_is_made_for(void **state)
{
    static const struct {
        const char *entry, *label;
        bool is_task, has_home;
    } cases[] = {
        {"data:/data", "data", false, true},
        {"/cache", "/cache", false, true},
        {"/with,comma", "/with comma", false, true},
        {"data:/data", "data", true, true},
        {"data:/data", "", false, false}, /* nobody's */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct ctr_volume v;
        struct ctr_mount mount;
        struct ctr_task_end end;
        const struct ctr_mount_policy policy = {0};
        assert_true(ctr_volume_parse(&box.arena, str_from(cases[i].entry), NULL, &v, &err));
        assert_true(ctr_volume_resolve(&box.arena, STR("app_prd_a"), &v, &policy, &mount, &err));
        struct ctr_run run = run_of(&mount, cases[i].has_home);
        if (cases[i].is_task)
            assert_true(ctr_manager_task(box.m, STR("app_prd_a"), &run, &(struct ctr_task_io){0}, &end, &err));
        else
            assert_true(ctr_container_run(ctr_manager_engine(box.m), &run, &err));
        assert_true(str_eq_z(mount.source, box.fake.wanted.name));
        assert_string_equal(box.fake.wanted.volume, cases[i].label);
        assert_string_equal(box.fake.wanted.home, cases[i].has_home ? "/home" : "");
        assert_string_equal(box.fake.wanted.app, cases[i].has_home ? "app_prd_a" : "");
        assert_string_equal(box.fake.wanted.path, cases[i].has_home ? "/a" : "");
        box.fake.count = 0;
    }
}

/* Two of an app that is there, two of one that is gone, and those of others. */
static void fill(void)
{
    add("clv-app_prd_gone-2", "/home", "app_prd_gone", true);
    add("clv-app_prd_gone-1", "/home", "app_prd_gone", false);
    add("clv-app_stg_a-1", "/home", "app_stg_a", false);
    add("clv-app_prd_a-1", "/home", "app_prd_a", true);
    add("clv-app_prd_gone-3", "/another", "app_prd_gone", false);
    add("clv-app_prd_gone-4", NULL, "app_prd_gone", false);
    add("clv-app_prd_gone-5", "/home", NULL, false);
    add("clv-app_prd_gone-6", "/home", "app_prd_other", false);
    add("postgres", "/home", "app_prd_gone", false);
}

static void the_list_has_what_this_home_has_labelled(void **state)
{
    static const char *const names[] = {"clv-app_prd_a-1", "clv-app_prd_gone-1", "clv-app_prd_gone-2", "clv-app_stg_a-1"};
    scoped_err err = {0};
    struct ctr_volume_list list;
    assert_true(ctr_manager_volumes(box.m, &box.arena, &list, &err));
    assert_int_equal(list.len, 0);
    fill();
    assert_true(ctr_manager_volumes(box.m, &box.arena, &list, &err));
    assert_int_equal(list.len, ARRAY_LEN(names));
    for (size_t i = 0; i < list.len; i++) {
        assert_true(str_eq_z(list.items[i].name, names[i]));
        assert_int_equal(list.items[i].is_used, i == 0 || i == 2);
    }
    box.fake.is_dead = true;
    assert_false(ctr_manager_volumes(box.m, &box.arena, &list, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

static void must_prune(bool is_dry_run, const char *removed, const char *problem_1, const char *problem_2)
{
    scoped_err err = {0};
    struct ctr_prune_list list;
    box.fake.removed[0] = '\0';
    if (!ctr_manager_prune_volumes(box.m, is_dry_run, &box.arena, &list, &err))
        fail_msg("%s", err_msg(&err));
    assert_string_equal(box.fake.removed, removed);
    assert_int_equal(list.len, 2);
    assert_true(str_eq(list.items[0].name, STR("clv-app_prd_gone-1")) && str_eq(list.items[0].app_id, STR("app_prd_gone")));
    assert_true(str_eq(list.items[1].name, STR("clv-app_prd_gone-2")));
    assert_true(str_eq(list.items[0].volume, STR("data")) && str_eq(list.items[0].app_path, STR("/path")));
    assert_true(str_eq_z(list.items[0].problem, problem_1) && str_eq_z(list.items[1].problem, problem_2));
}

static void a_prune_removes_what_nobody_uses_of_apps_that_are_gone(void **state)
{
    fill();
    must_prune(true, "", "", "a container uses it");
    must_prune(false, "clv-app_prd_gone-1 ", "", "a container uses it");
    box.fake.volume_remove_fails = true;
    must_prune(false, "clv-app_prd_gone-1 ", "volume is in use", "a container uses it");
}

static void nothing_goes_while_apps_cannot_be_looked_up(void **state)
{
    scoped_err err = {0};
    struct ctr_prune_list list;
    fill();
    box.has_no_metadata = true;
    assert_false(ctr_manager_prune_volumes(box.m, false, &box.arena, &list, &err));
    assert_non_null(strstr(err_msg(&err), "no metadata"));
    box.m->app_version = NULL;
    err_release(&err);
    assert_true(ctr_manager_prune_volumes(box.m, false, &box.arena, &list, &err));
    assert_int_equal(list.len, 0);
    assert_string_equal(box.fake.removed, "");
}

static void volumes_of_an_app_that_is_being_made_stay(void **state)
{
    scoped_err err = {0};
    struct ctr_prune_list list;
    struct ctr_service_config c = {.app_id = STR("app_prd_gone"), .run = {.name = STR("clc-gone"), .image = STR("cli-gone:1")}};
    struct ctr_service *svc = ctr_service_get(box.m, &c);
    fill();
    assert_true(ctr_manager_prune_volumes(box.m, false, &box.arena, &list, &err));
    assert_int_equal(list.len, 0);
    ctr_service_retire(svc, 0); /* it has not come about */
    must_prune(false, "clv-app_prd_gone-1 ", "", "a container uses it");
    ctr_service_unref(svc);
}

int main(void)
{
#define VOLUME_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        VOLUME_TEST(a_volume_is_labelled_as_what_it_is_made_for),
        VOLUME_TEST(the_list_has_what_this_home_has_labelled),
        VOLUME_TEST(a_prune_removes_what_nobody_uses_of_apps_that_are_gone),
        VOLUME_TEST(nothing_goes_while_apps_cannot_be_looked_up),
        VOLUME_TEST(volumes_of_an_app_that_is_being_made_stay),
    };
    return cmocka_run_group_tests_name("container/volumes", tests, NULL, NULL);
}
