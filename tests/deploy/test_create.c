/* tests/deploy/test_create.c: creating and deleting.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

static void creating_makes_production_and_its_stage(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("one", "app.star", "name One\nasks exec.in\n");
    struct str body = str_printf(&a, "{\"path\": \"/one\", \"source_url\": \"%s/src/one\"}", test_dir);
    json_t *reply = call(w, deploy_create, OPTS(.app = STR("")), str_z(&a, body), &err);
    if (!reply)
        fail_msg("%s", err_msg(&err));
    json_t *approvals = json_get(reply, "approve_results");
    assert_int_equal(json_array_size(approvals), 2);
    json_t *stage = json_array_get(approvals, 0), *prod = json_array_get(approvals, 1);
    assert_str(json_get_str(json_get(stage, "app_path_domain"), "Domain", STR("")), STR("stage.localhost"));
    assert_str(json_get_str(json_get(prod, "app_path_domain"), "Path", STR("")), STR("/one"));
    assert_true(json_get_bool(stage, "needs_approval", false));
    assert_str(json_get_str(reply, "http_url", STR("")), STR("http://localhost:25222/one"));
    json_decref(reply);
    assert_str(picture(w, &a), str_printf(&a, "%s",
                                          "stage stage.localhost:/one v1 was 0: 1(app.star#c145)\n"
                                          "prod /one v1 was 0: 1(app.star#c145)\n"));
    assert_versions(w, "/one", 1, 1);
    assert_whole(w);
    assert_int_equal(world.published, 1);
}

static void approval_reaches_production(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("one", "app.star", "asks exec.in\n");
    create(w, "/one", "one", "");
    struct store_app app;
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_get(tx, &a, STR("/one"), STR(""), &app, &err), &err);
    assert_int_equal(app.metadata.loads.len, 1);
    assert_str(app.metadata.name, STR("unnamed"));
    assert_str(app.linked_app_path, STR("stage.localhost:/one"));
}

static void a_dry_run_creates_nothing(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("one", "app.star", "name One\n");
    struct str body = str_printf(&a, "{\"path\": \"/one\", \"source_url\": \"%s/src/one\"}", test_dir);
    must_call(w, deploy_create, OPTS(.is_dry_run = true), str_z(&a, body));
    assert_str(picture(w, &a), STR(""));
    assert_int_equal(world.published, 0);
    assert_whole(w);
}

static const struct {
    const char *name, *body, *message; /* %s in the body: the source folder */
} refused[] = {
    {"no path", "{\"source_url\": \"%s\"}", "path is required"},
    {"no source", "{\"path\": \"/x\"}", "source_url is required"},
    {"a path without slash", "{\"path\": \"x\", \"source_url\": \"%s\"}",
     "expected path to start with \"/\""},
    {"a reserved path", "{\"path\": \"/_openrun/x\", \"source_url\": \"%s\"}", "reserved"},
    {"a path below another app", "{\"path\": \"/taken/x\", \"source_url\": \"%s\"}",
     "App already exists at /taken"},
    {"a path above another app", "{\"path\": \"/\", \"source_url\": \"%s\"}", "App already exists at /taken"},
    {"the same path on the default domain by name",
     "{\"path\": \"localhost:/taken\", \"source_url\": \"%s\"}", "App already exists at /taken"},
    {"a stage where an app is",
     "{\"path\": \"other.com:/taken\", \"stage_at\": \"localhost\", \"source_url\": \"%s\"}",
     "stage app overlaps with existing app at /taken"},
    {"a stage where the app itself is",
     "{\"path\": \"/x\", \"stage_at\": \"localhost\", \"source_url\": \"%s\"}", "choose another stage_at"},
    {"the sign-in domain", "{\"path\": \"auth.localhost:/x\", \"source_url\": \"%s\"}",
     "auth callback domain"},
    {"a stage on the sign-in domain", "{\"path\": \"/x\", \"stage_at\": \"auth.\", \"source_url\": \"%s\"}",
     "auth callback domain"},
    {"an unknown sign-in type", "{\"path\": \"/x\", \"app_authn\": \"magic\", \"source_url\": \"%s\"}",
     "invalid authentication type magic"},
    {"an unknown spec", "{\"path\": \"/x\", \"spec\": \"nonsense\", \"source_url\": \"%s\"}",
     "invalid app spec nonsense"},
    {"a source that is not there", "{\"path\": \"/x\", \"source_url\": \"/nowhere/at/all\"}",
     "does not exist"},
    {"no source and no spec", "{\"path\": \"/x\", \"source_url\": \"-\"}", "name a spec"},
    {"a dev app without a folder", "{\"path\": \"/x\", \"source_url\": \"-\", \"is_dev\": true}",
     "needs a source folder"},
    {"app config that is not TOML",
     "{\"path\": \"/x\", \"source_url\": \"%s\", \"appconfig\": {\"a.b\": \"c d\"}}",
     "app config a.b=c d is not TOML"},
    {"a folder of app.star above the source", "{\"path\": \"/x\", \"source_url\": \"%s#../up\"}",
     "after \"#\""},
    {"a path that is no string", "{\"path\": 7, \"source_url\": \"%s\"}", "path must be a string"},
    {"bindings", "{\"path\": \"/x\", \"source_url\": \"%s\", \"bindings\": [\"/db\"]}",
     "bindings are not available"},
};

static void what_cannot_be_is_refused_and_leaves_nothing(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("one", "app.star", "name One\n");
    source_write("broken", "app.star", "bad\n");
    create(w, "/taken", "one", "");
    struct str before = picture(w, &a);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct str text = str_from(refused[i].body), head, tail,
                   folder = str_printf(&a, "%s/src/one", test_dir);
        struct str body = text;
        size_t at = str_find(text, STR("%s"));
        if (at != STR_NPOS) {
            head = str_slice(text, 0, at);
            tail = str_from_off(text, at + 2);
            body = str_printf(&a, STR_FMT STR_FMT STR_FMT, STR_ARG(head), STR_ARG(folder), STR_ARG(tail));
        }
        scoped_err err = {0};
        scoped_json *reply = call(w, deploy_create, OPTS(.approve = true), str_z(&a, body), &err);
        bool is_status = err.code == ERR_INVALID || err.code == ERR_UNSUPPORTED || err.code == ERR_NOT_FOUND;
        if (reply || !is_status || !strstr(err_msg(&err), refused[i].message))
            fail_msg("%s: wanted \"%s\", got %d \"%s\"", refused[i].name, refused[i].message, (int)err.code,
                     err_msg(&err));
    }
    struct str broken = str_printf(&a, "{\"path\": \"/x\", \"source_url\": \"%s/src/broken\"}", test_dir);
    must_fail(w, deploy_create, OPTS(.approve = true), str_z(&a, broken), 400, "app.star:1:1");
    assert_str(picture(w, &a), before);
    assert_whole(w);
}

static void the_folder_after_the_hash_is_where_app_star_is(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("one", "app.star", "name One\n");
    must_call(w, deploy_create, OPTS(.approve = true),
              str_z(&a, str_printf(&a, "{\"path\": \"/one\", \"source_url\": \"%s/src/one#/ui/admin/\"}",
                                   test_dir)));
    struct store_app app;
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_get(tx, &a, STR("/one"), STR(""), &app, &err), &err);
    assert_str(store_map_get(&app.metadata.appconfig, STR("star_base")), STR("\"ui/admin\""));
    assert_true(str_ends(app.source_url, STR("/src/one")));
}

static void the_stage_goes_where_it_is_told(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("one", "app.star", "name One\n");
    create(w, "/a", "one", ", \"stage_at\": \"path\"");
    create(w, "x.com:/b", "one", ", \"stage_at\": \"DOMAIN\"");
    create(w, "/c", "one", ", \"stage_at\": \"beta.\"");
    create(w, "/d", "one", ", \"is_dev\": true");
    create(w, "y.com:/", "one", ", \"stage_at\": \"path\"");
    struct str now = picture(w, &a);
    static const char *const wanted[] = {"stage /a_cl_stage v1", "stage stage.x.com:/b v1",
                                         "stage beta.localhost:/c v1", "dev /d v1 was 0: 1()",
                                         "stage y.com:/_cl_stage v1"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (str_find(now, str_from(wanted[i])) == STR_NPOS)
            fail_msg("no \"%s\" in:\n%.*s", wanted[i], STR_ARG(now));
    assert_whole(w);
}

static void deleting_takes_all_that_is_the_apps(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("one", "app.star", "name One\n");
    source_write("two", "app.star", "name Two\n");
    create(w, "/u/one", "one", "");
    create(w, "/u/two", "two", "");
    create(w, "/keep", "two", "");
    struct str before = picture(w, &a);
    json_t *reply = call(w, deploy_delete, OPTS(.app = STR("/u/**"), .is_dry_run = true), NULL, &err);
    assert_int_equal(json_array_size(json_get(reply, "app_info")), 2);
    json_decref(reply);
    assert_str(picture(w, &a), before);
    must_call(w, deploy_delete, OPTS(.app = STR("/u/**")), NULL);
    assert_str(picture(w, &a), STR("stage stage.localhost:/keep v1 was 0: 1(app.star#67a5)\n"
                                   "prod /keep v1 was 0: 1(app.star#67a5)\n"));
    assert_whole(w);
    reply = call(w, deploy_delete, OPTS(.app = STR("/nothing/**")), NULL, &err);
    assert_int_equal(json_array_size(json_get(reply, "app_info")), 0);
    json_decref(reply);
    create(w, "/u", "one", ""); /* the place is free again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(creating_makes_production_and_its_stage, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(approval_reaches_production, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_dry_run_creates_nothing, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused_and_leaves_nothing, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(the_folder_after_the_hash_is_where_app_star_is, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(the_stage_goes_where_it_is_told, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(deleting_takes_all_that_is_the_apps, work_setup, work_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
