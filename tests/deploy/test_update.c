/* tests/deploy/test_update.c: staged changes of metadata, settings, versions. SPDX-License-Identifier:
 * Apache-2.0 */
#include "deploy_test.h"

static struct store_app get(struct place_of_work *w, struct arena *a, const char *path, const char *domain)
{
    scoped_err err = {0};
    struct store_app app;
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_get(tx, a, str_from(path), str_from(domain), &app, &err), &err);
    return app;
}

static struct store_metadata stage_of(struct place_of_work *w, struct arena *a)
{
    return get(w, a, "/a", "stage.localhost").metadata;
}

static void params_are_staged_and_evaluated(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\nsecret KEY\n");
    create(w, "/a", "a", ", \"param_values\": {\"KEY\": \"x\"}");
    must_call(w, deploy_param_update,
              OPTS(.app = STR("/a"), .name = STR("KEY"), .value = STR(" 'quoted \"x\"' ")), NULL);
    struct store_metadata m = stage_of(w, &a);
    assert_str(store_map_get(&m.param_values, STR("KEY")), STR("quoted \"x\""));
    m = get(w, &a, "/a", "").metadata;
    assert_str(store_map_get(&m.param_values, STR("KEY")), STR("x"));
    must_fail(w, deploy_param_update, OPTS(.app = STR("/a"), .name = STR("KEY"), .value = STR("-")), NULL,
              400, "error updating app /a: param KEY is a required param");
    must_fail(w, deploy_param_update, OPTS(.app = STR("/a"), .value = STR("-")), NULL, 400,
              "paramName is required");
    assert_versions(w, "/a", 1, 2);
    must_call(w, deploy_param_update,
              OPTS(.app = STR("/a"), .name = STR("B"), .value = STR("1"), .promote = true), NULL);
    assert_versions(w, "/a", 3, 3);
    assert_whole(w);
}

static void names_that_no_variable_can_have_are_refused(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", ", \"param_values\": {\"A B\": \"x\"}");
    static const char *const names[] = {"a=b", "-a", "a\nb", "="};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        must_fail(w, deploy_param_update, OPTS(.app = STR("/a"), .name = str_from(names[i]), .value = STR("1")), NULL, 400,
                  "invalid param name");
        must_call(w, deploy_param_update, OPTS(.app = STR("/a"), .name = str_from(names[i]), .value = STR("-")), NULL);
    }
    must_fail(w, deploy_metadata_update, OPTS(.app = STR("/a")), "{\"config_type\": \"container_args\", \"config_entries\": [\"A B=1\"]}", 400,
              "invalid build argument name \"A B\"");
    must_fail(w, deploy_create, OPTS(.approve = true),
              "{\"path\": \"/b\", \"source_url\": \"-\", \"param_values\": {\"\": \"x\"}}", 400, "invalid param name \"\"");
    assert_whole(w);
}

static void a_promoted_change_starts_the_new_container_of_an_awake_app(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\ncontainer\n");
    create(w, "/a", "a", "");
    must_call(w, deploy_param_update,
              OPTS(.app = STR("/a"), .name = STR("B"), .value = STR("1"), .promote = true), NULL);
    assert_int_equal(world.started, 0);
    world.is_awake = true;
    must_call(w, deploy_param_update,
              OPTS(.app = STR("/a"), .name = STR("B"), .value = STR("2"), .promote = true), NULL);
    assert_int_equal(world.started, 1);
}

static void accounts_are_linked_and_unlinked(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    must_call(w, deploy_account_link, OPTS(.app = STR("/a"), .name = STR("store.in"), .value = STR("-")),
              NULL);
    assert_int_equal(stage_of(w, &a).accounts.len, 0);
    must_call(w, deploy_account_link, OPTS(.app = STR("/a"), .name = STR("store.in"), .value = STR("one")),
              NULL);
    must_call(w, deploy_account_link, OPTS(.app = STR("/a"), .name = STR("store.in"), .value = STR("two")),
              NULL);
    struct store_metadata m = stage_of(w, &a);
    assert_int_equal(m.accounts.len, 1);
    assert_str(m.accounts.items[0].account_name, STR("two"));
    must_call(w, deploy_account_link, OPTS(.app = STR("/a"), .name = STR("store.in"), .value = STR("-")),
              NULL);
    assert_int_equal(stage_of(w, &a).accounts.len, 0);
    must_fail(w, deploy_account_link, OPTS(.app = STR("/a"), .name = STR("store.in")), NULL, 400,
              "account is required");
    must_fail(w, deploy_account_link, OPTS(.app = STR("/a"), .value = STR("x")), NULL, 400,
              "plugin is required");
}

/* One field of the stage after a change, as text. */
static struct str shown(struct arena *a, const struct store_metadata *m)
{
    struct str out = STR("");
    const struct map *maps[] = {&m->container_options, &m->container_args, &m->appconfig};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_foreach(e, maps[i]) out = str_printf(a, STR_FMT STR_FMT "=" STR_FMT ";", STR_ARG(out),
                                                 STR_ARG(e->key), STR_ARG(*(struct str *)e->value));
    vec_foreach(v, &m->container_volumes) out = str_printf(a, STR_FMT STR_FMT ";", STR_ARG(out), STR_ARG(*v));
    return str_printf(a, STR_FMT STR_FMT "," STR_FMT "," STR_FMT, STR_ARG(out), STR_ARG(m->authn_type),
                      STR_ARG(m->git_auth_name), STR_ARG(m->spec));
}

static const struct {
    const char *name, *body, *shown; /* of an app that has had the changes before */
    const char *message;
} changes[] = {
    {"an option with blanks and quotes",
     "{\"config_type\": \"container_options\", \"config_entries\": [\" cpus = '2' \"]}", "cpus=2;default,,",
     NULL},
    {"an option without a value", "{\"config_type\": \"container_options\", \"config_entries\": [\"init\"]}",
     "cpus=2;init=;default,,", NULL},
    {"options removed",
     "{\"config_type\": \"container_options\", \"config_entries\": [\"cpus=-\", \"init=-\", \"none=-\"]}",
     "default,,", NULL},
    {"a build argument whose value has an =",
     "{\"config_type\": \"container_args\", \"config_entries\": [\"A=b=c\"]}", "A=b=c;default,,", NULL},
    {"a build argument without a value", "{\"config_type\": \"container_args\", \"config_entries\": [\"A\"]}",
     NULL, "\"A\" is not of the form key=value"},
    {"app config keeps its quotes",
     "{\"config_type\": \"app_config\", \"config_entries\": [\"cors.allow_origin= \\\"*\\\" \"]}",
     "A=b=c;cors.allow_origin=\"*\";default,,", NULL},
    {"app config that is not TOML", "{\"config_type\": \"app_config\", \"config_entries\": [\"x=a b\"]}",
     NULL, "app config x=a b is not TOML"},
    {"served from disk, with a folder for a source",
     "{\"config_type\": \"app_config\", \"config_entries\": "
     "[\"cors.allow_origin=-\", \"static_from_disk=false\"]}",
     "A=b=c;static_from_disk=false;default,,", NULL},
    {"volumes replace each other",
     "{\"config_type\": \"container_volumes\", \"config_entries\": [\"v:/v\", \"w:/w\"]}",
     "A=b=c;static_from_disk=false;v:/v;w:/w;default,,", NULL},
    {"no volumes", "{\"config_type\": \"container_volumes\", \"config_entries\": [\"-\"]}",
     "A=b=c;static_from_disk=false;default,,", NULL},
    {"sign-in", "{\"config_type\": \"auth\", \"config_entries\": [\"none\"]}",
     "A=b=c;static_from_disk=false;none,,", NULL},
    {"sign-in of an unknown type", "{\"config_type\": \"auth\", \"config_entries\": [\"magic\"]}", NULL,
     "invalid authentication type magic"},
    {"two sign-ins", "{\"config_type\": \"auth\", \"config_entries\": [\"none\", \"system\"]}", NULL,
     "auth takes exactly one value"},
    {"git credentials", "{\"config_type\": \"git_auth\", \"config_entries\": [\"deploy\"]}",
     "A=b=c;static_from_disk=false;none,deploy,", NULL},
    {"no entries change nothing", "{\"config_type\": \"auth\", \"config_entries\": []}",
     "A=b=c;static_from_disk=false;none,deploy,", NULL},
    {"the sentinel changes nothing", "{\"spec\": \"<OPENRUN_UNDEFINED>\"}",
     "A=b=c;static_from_disk=false;none,deploy,", NULL},
    {"a spec", "{\"spec\": \"static\"}", "A=b=c;static_from_disk=false;none,deploy,static", NULL},
    {"an unknown spec", "{\"spec\": \"nonsense\"}", NULL, "invalid app spec nonsense"},
    {"no spec", "{\"spec\": \"-\"}", "A=b=c;static_from_disk=false;none,deploy,", NULL},
    {"an unknown type", "{\"config_type\": \"colour\", \"config_entries\": [\"x\"]}", NULL,
     "unknown config_type \"colour\""},
    {"bindings", "{\"config_type\": \"bindings\", \"config_entries\": [\"x\"]}", NULL,
     "bindings are not available"},
};

static void app_updates_follow_their_rules(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        scoped_err err = {0};
        int64_t before = stage_of(w, &a).version_metadata.version;
        scoped_json *reply = call(w, deploy_metadata_update, OPTS(.app = STR("/a")), changes[i].body, &err);
        struct store_metadata m = stage_of(w, &a);
        struct str now = shown(&a, &m);
        if (changes[i].message
                ? reply || !strstr(err_msg(&err), changes[i].message) || m.version_metadata.version != before
                : !reply || !str_eq_z(now, changes[i].shown))
            fail_msg("%s: got %s %.*s", changes[i].name, err_msg(&err), STR_ARG(now));
        if (strstr(changes[i].name, "change nothing") && m.version_metadata.version != before)
            fail_msg("%s: a new version", changes[i].name);
    }
    struct store_metadata m = stage_of(w, &a);
    assert_int_equal(m.spec_files.len, 0);
    assert_whole(w);
}

static void settings_hold_at_once_and_are_no_version(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    struct str before = picture(w, &a);
    json_t *reply =
        call(w, deploy_settings_update, OPTS(.app = STR("/a")), "{\"stage_write_access\": 2}", &err);
    assert_int_equal(json_array_size(json_get(reply, "update_results")), 2);
    json_decref(reply);
    assert_false(get(w, &a, "/a", "").settings.stage_write_access);
    assert_false(get(w, &a, "/a", "stage.localhost").settings.stage_write_access);
    assert_true(get(w, &a, "/a", "stage.localhost").settings.preview_write_access);
    must_call(w, deploy_settings_update, OPTS(.app = STR("/a"), .is_dry_run = true),
              "{\"preview_write_access\": 2}");
    assert_true(get(w, &a, "/a", "").settings.preview_write_access);
    must_fail(w, deploy_settings_update, OPTS(.app = STR("/a")), "{\"stage_write_access\": 3}", 400,
              "must be 0");
    must_fail(w, deploy_settings_update, OPTS(.app = STR("/a")), "{\"stage_write_access\": true}", 400,
              "must be an integer");
    assert_str(picture(w, &a), before);
}

static const struct {
    const char *name, *path, *version; /* path of the entry to switch */
    int64_t prod, stage;               /* afterwards */
    const char *message;
} switches[] = {
    {"a number", "/a", "1", 1, 3, NULL},
    {"forth again", "/a", "next", 3, 3, NULL},
    {"back to where it was", "/a", "Revert", 1, 3, NULL},
    {"reverting again goes forth", "/a", "revert", 3, 3, NULL},
    {"beyond the last", "/a", "next", 3, 3, "no next version found"},
    {"the one it is", "/a", "3", 3, 3, "is the active one already"},
    {"one that production never had", "/a", "2", 3, 3, "version 2 does not exist"},
    {"the stage, to the one before", "stage.localhost:/a", "PREVIOUS", 3, 2, NULL},
    {"the stage, to the first", "stage.localhost:/a", "1", 3, 1, NULL},
    {"below the first", "stage.localhost:/a", "previous", 3, 1, "no previous version found"},
    {"no number", "/a", "x", 3, 1, "version must be a number"},
    {"none", "/a", "", 3, 1, "version is required"},
    {"a negative one", "/a", "-1", 3, 1, "version must be a number"},
    {"of a dev app", "/dev", "1", 3, 1, "version commands not supported for dev app"},
    {"of no app", "/none", "1", 3, 1, "no app at /none"},
};

static void versions_are_switched_at_once(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name First\n");
    create(w, "/a", "a", "");
    create(w, "/dev", "a", ", \"is_dev\": true");
    source_write("a", "app.star", "name Second\n");
    must_call(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    must_call(w, deploy_param_update,
              OPTS(.app = STR("/a"), .name = STR("X"), .value = STR("1"), .promote = true), NULL);
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        scoped_err err = {0};
        struct deploy_opts o = {.app = str_from(switches[i].path), .version = str_from(switches[i].version)};
        scoped_json *reply = call(w, deploy_version_switch, &o, NULL, &err);
        if (switches[i].message ? reply || !strstr(err_msg(&err), switches[i].message) : !reply)
            fail_msg("%s: got \"%s\"", switches[i].name, err_msg(&err));
        assert_versions(w, "/a", switches[i].prod, switches[i].stage);
        assert_whole(w);
    }
    struct store_metadata m = stage_of(w, &a);
    assert_str(m.name, STR("First"));
    assert_int_equal(m.param_values.len, 0);
    must_call(w, deploy_promote, OPTS(.app = STR("/a")), NULL); /* what the stage is now */
    assert_versions(w, "/a", 1, 1);
    must_call(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    assert_versions(w, "/a", 1, 4); /* numbers go on where they were */
    assert_whole(w);
}

static void a_version_that_does_not_load_is_not_switched_to(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    source_write("a", "app.star", "name A\nsecret KEY\n");
    must_fail(w, deploy_reload, OPTS(.app = STR("/a")), NULL, 400, "KEY is a required param");
    must_call(w, deploy_param_update, OPTS(.app = STR("/a"), .name = STR("KEY"), .value = STR("1")), NULL);
    must_call(w, deploy_reload, OPTS(.app = STR("/a"), .promote = true), NULL);
    must_call(w, deploy_version_switch,
              OPTS(.app = STR("/a"), .version = STR("previous"), .is_dry_run = true), NULL);
    assert_versions(w, "/a", 3, 3);
    assert_whole(w);
}

static json_t *list(struct place_of_work *w, const struct deploy_opts *o, struct err *err)
{
    scoped_buf text = BUF_INIT(1 << 20);
    struct deploy_caller who = {.user_id = STR("admin")};
    return deploy_list(w->deploy, &who, o, &text, err) ? json_parse(buf_str(&text), err) : NULL;
}

static void queries_show_what_there_is(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("a", "app.star", "name A\n");
    source_write("a", "z/b.txt", "");
    create(w, "/a", "a", "");
    create(w, "/b", "a", "");
    must_call(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    json_t *reply = list(w, OPTS(.app = STR("")), &err);
    json_t *apps = json_get(reply, "apps");
    assert_int_equal(json_array_size(apps), 2);
    assert_str(json_get_str(json_array_get(apps, 0), "path", STR("")), STR("/b")); /* newest first */
    assert_false(json_get_bool(json_array_get(apps, 0), "staged_changes", true));
    assert_true(json_get_bool(json_array_get(apps, 1), "staged_changes", false));
    json_decref(reply);
    reply = list(w, OPTS(.app = STR("/a"), .internal = true), &err);
    assert_int_equal(json_array_size(json_get(reply, "apps")), 2); /* its stage follows it */
    json_decref(reply);
    reply = call(w, deploy_version_list, OPTS(.app = STR("stage.localhost:/a")), NULL, &err);
    json_t *versions = json_get(reply, "versions");
    assert_int_equal(json_array_size(versions), 2);
    assert_false(json_get_bool(json_array_get(versions, 0), "Active", true));
    assert_true(json_get_bool(json_array_get(versions, 1), "Active", false));
    json_decref(reply);
    reply = call(w, deploy_version_files, OPTS(.app = STR("/a")), NULL, &err);
    json_t *files = json_get(reply, "files");
    assert_int_equal(json_array_size(files), 2);
    assert_str(json_get_str(json_array_get(files, 1), "Name", STR("")), STR("z/b.txt"));
    json_decref(reply);
    must_fail(w, deploy_version_files, OPTS(.app = STR("/a"), .version = STR("9")), NULL, 404,
              "no version 9");
    must_fail(w, deploy_get, OPTS(.app = STR("/none")), NULL, 404, "no app at /none");
    must_fail(w, deploy_get, OPTS(.app = STR("none")), NULL, 400, "expected path to start");
    assert_null(list(w, OPTS(.app = STR("a:b:c")), &err));
    assert_int_equal(err.code, 400);
    assert_non_null(strstr(err_msg(&err), "domain:path"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_that_no_variable_can_have_are_refused, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(params_are_staged_and_evaluated, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_promoted_change_starts_the_new_container_of_an_awake_app,
                                        work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(accounts_are_linked_and_unlinked, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(app_updates_follow_their_rules, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(settings_hold_at_once_and_are_no_version, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(versions_are_switched_at_once, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_version_that_does_not_load_is_not_switched_to, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(queries_show_what_there_is, work_setup, work_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
