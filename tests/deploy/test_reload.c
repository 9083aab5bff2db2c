/* tests/deploy/test_reload.c: reload, approve, promote.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

static void a_reload_changes_the_stage_and_a_promotion_production(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("one", "app.star", "name One\n");
    source_write("one", "old.txt", "x");
    create(w, "/one", "one", "");
    source_write("one", "app.star", "name Changed\n");
    MUST(unlink(str_z(&a, str_printf(&a, "%s/src/one/old.txt", test_dir))) == 0, &(struct err){0});
    must_call(w, deploy_reload, OPTS(.app = STR("/one")), NULL);
    assert_versions(w, "/one", 1, 2);
    must_call(w, deploy_reload, OPTS(.app = STR("/one")), NULL); /* a local source always gives a version */
    assert_versions(w, "/one", 1, 3);
    must_call(w, deploy_promote, OPTS(.app = STR("/one")), NULL);
    assert_versions(w, "/one", 3, 3);
    assert_str(picture(w, &a), STR("stage stage.localhost:/one v3 was 2: 1(app.star#0e09 old.txt#2d71) "
                                   "2(app.star#167a) 3(app.star#167a)\n"
                                   "prod /one v3 was 1: 1(app.star#0e09 old.txt#2d71) 3(app.star#167a)\n"));
    assert_whole(w);
}

static void reload_with_promote_names_both_paths(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("one", "app.star", "name One\ncontainer\n");
    create(w, "/one", "one", "");
    json_t *reply = call(w, deploy_reload, OPTS(.app = STR("/one"), .promote = true), NULL, &err);
    assert_str(reply_text(&a, reply), STR("{\"dry_run\":false,\"reload_results\":[{\"Path\":\"/"
                                          "one\",\"Domain\":\"stage.localhost\"},{\"Path\":\"/one\","
                                          "\"Domain\":\"\"}],\"approve_results\":[],\"promote_results\":[{"
                                          "\"Path\":\"/one\",\"Domain\":\"\"}],"
                                          "\"skipped_results\":[]}"));
    assert_int_equal(world.started, 2);
    assert_int_equal(world.undone, 0);
    assert_int_equal(world.detached, 2);
    assert_versions(w, "/one", 2, 2);
}

static void a_failure_in_the_middle_of_a_glob_leaves_nothing(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\ncontainer\n");
    source_write("b", "app.star", "name B\ncontainer\n");
    create(w, "/a", "a", ""); /* the oldest: reloaded last */
    create(w, "/b", "b", "");
    struct str before = picture(w, &a);
    static const char *const ends[] = {"bad\n", "unfit\n", "sick\n", "name A\nasks exec.in\n"};
    static const char *const messages[] = {"syntax error", "no such route", "container answered 500",
                                           "app stage.localhost:/a needs approval"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        world.started = world.undone = world.published = 0;
        source_write("b", "new.txt", ends[i]); /* a content that is to go again */
        source_write("a", "app.star", ends[i]);
        must_fail(w, deploy_reload, OPTS(.app = STR("*")), NULL, i == 2 ? 502 : 400, messages[i]);
        assert_str(picture(w, &a), before);
        assert_int_equal(world.started, 1);
        assert_int_equal(world.undone, 1);
        assert_int_equal(world.published, 0);
        assert_whole(w);
    }
    must_fail(w, deploy_reload, OPTS(.app = STR("/a"), .verify = true), NULL, 400, "needs approval");
    source_write("a", "app.star", "sick\n");
    must_fail(w, deploy_reload, OPTS(.app = STR("/a"), .verify = true), NULL, 502,
              "verify failed for app stage.localhost:/a: ");
    must_fail(w, deploy_reload, OPTS(.app = STR("/a"), .verify = true), NULL, 502,
              ". All changes have been reverted");
}

static void a_dry_run_starts_and_writes_nothing_but_finds_the_fault(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\ncontainer\n");
    create(w, "/a", "a", "");
    struct str before = picture(w, &a);
    world.is_awake = true;
    must_call(w, deploy_reload, OPTS(.app = STR("/a"), .promote = true, .is_dry_run = true), NULL);
    must_call(w, deploy_promote, OPTS(.app = STR("/a"), .is_dry_run = true), NULL);
    must_call(w, deploy_approve, OPTS(.app = STR("/a"), .promote = true, .is_dry_run = true), NULL);
    must_call(
        w, deploy_param_update,
        OPTS(.app = STR("/a"), .name = STR("X"), .value = STR("1"), .promote = true, .is_dry_run = true),
        NULL);
    source_write("a", "app.star", "unfit\n");
    must_fail(w, deploy_reload, OPTS(.app = STR("/a"), .is_dry_run = true), NULL, 400,
              "error reloading app stage.localhost:/a: ");
    assert_str(picture(w, &a), before);
    assert_int_equal(world.started, 0);
    assert_int_equal(world.published, 1);
    assert_whole(w);
}

static void approval_makes_a_version_of_its_own(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    must_call(w, deploy_approve, OPTS(.app = STR("/a")), NULL); /* also when nothing asks for it */
    assert_versions(w, "/a", 1, 2);
    source_write("a", "app.star", "name A\nasks exec.in\n");
    must_fail(w, deploy_reload, OPTS(.app = STR("/a")), NULL, 400, "needs approval");
    assert_versions(w, "/a", 1, 2);
    json_t *reply = call(w, deploy_reload, OPTS(.app = STR("/a"), .approve = true), NULL, &err);
    json_t *approved = json_array_get(json_get(reply, "approve_results"), 0);
    assert_true(json_get_bool(approved, "needs_approval", false));
    assert_int_equal(json_array_size(json_get(approved, "approved_loads")), 0);
    assert_int_equal(json_array_size(json_get(approved, "new_loads")), 1);
    json_decref(reply);
    assert_versions(w, "/a", 1, 3);
    must_call(w, deploy_reload, OPTS(.app = STR("/a")), NULL); /* approved is approved */
    reply = call(w, deploy_approve, OPTS(.app = STR("/a"), .promote = true), NULL, &err);
    assert_int_equal(json_array_size(json_get(reply, "staged_update_results")), 1);
    assert_int_equal(json_array_size(json_get(reply, "promote_results")), 1);
    json_decref(reply);
    assert_versions(w, "/a", 5, 5);
    assert_whole(w);
}

static void promoting_what_is_equal_makes_no_version(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\ncontainer\n");
    create(w, "/a", "a", "");
    create(w, "/dev", "a", ", \"is_dev\": true");
    struct str before = picture(w, &a);
    scoped_err err = {0};
    json_t *reply = call(w, deploy_promote, OPTS(.app = STR("all")), NULL, &err);
    assert_int_equal(json_array_size(json_get(reply, "promote_results")),
                     1); /* dev apps have nothing to promote */
    json_decref(reply);
    assert_str(picture(w, &a), before);
    assert_int_equal(world.started, 0); /* asleep: nobody waits for its container */
    world.is_awake = true;
    must_call(w, deploy_promote, OPTS(.app = STR("/a")), NULL);
    assert_int_equal(world.started, 1);
}

static void a_dev_app_is_reloaded_from_its_folder(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\n");
    create(w, "/dev", "a", ", \"is_dev\": true");
    must_call(w, deploy_reload, OPTS(.app = STR("/dev")), NULL);
    assert_versions(w, "/dev", 2, 0);
    must_call(w, deploy_approve, OPTS(.app = STR("/dev")), NULL);
    must_call(w, deploy_param_update, OPTS(.app = STR("/dev"), .name = STR("X"), .value = STR("1")), NULL);
    assert_versions(w, "/dev", 2, 0);
    source_write("a", "app.star", "bad\n");
    must_fail(w, deploy_reload, OPTS(.app = STR("/dev")), NULL, 400, "syntax error");
    assert_whole(w);
}

static void old_versions_go_but_never_those_in_use(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\n");
    source_write("a", "n.txt", "0");
    create(w, "/a", "a", ""); /* keeps 3 */
    create(w, "/b", "a", ", \"appconfig\": {\"fs.retain_versions\": \"1\"}");
    for (int i = 1; i <= 6; i++) {
        source_write("a", "n.txt", (char[]){(char)('0' + i), '\0'});
        must_call(w, deploy_reload, OPTS(.app = STR("*")), NULL);
        assert_whole(w); /* contents go with the versions */
    }
    assert_str(
        picture(w, &a),
        STR("stage stage.localhost:/a v7 was 6: 4(app.star#b286 n.txt#4e07) 5(app.star#b286 n.txt#4b22) "
            "6(app.star#b286 n.txt#ef2d) 7(app.star#b286 n.txt#e7f6)\n"
            "prod /a v1 was 0: 1(app.star#b286 n.txt#5fec)\n"
            "stage stage.localhost:/b v7 was 6: 6(app.star#b286 n.txt#ef2d) 7(app.star#b286 n.txt#e7f6)\n"
            "prod /b v1 was 0: 1(app.star#b286 n.txt#5fec)\n"));
    /* Back, then on: what is newer than the active one stays, and numbers are never used again. */
    must_call(w, deploy_version_switch, OPTS(.app = STR("stage.localhost:/a"), .version = STR("4")), NULL);
    must_call(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    assert_versions(w, "/a", 1, 8);
    must_call(w, deploy_promote, OPTS(.app = STR("/a")), NULL);
    assert_versions(w, "/a", 8, 8);
    assert_whole(w);
}

static void trouble_after_the_commit_is_told_and_nothing_is_undone(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\ncontainer\n");
    create(w, "/a", "a", "");
    world.fail_publish = true;
    must_fail(w, deploy_reload, OPTS(.app = STR("/a")), NULL, 500,
              "the change is stored, but could not be put in service");
    assert_versions(w, "/a", 1, 2);
    assert_int_equal(world.started, 1);
    assert_int_equal(world.undone, 0);
    assert_whole(w);
}

static void a_cancelled_operation_changes_nothing(void **state)
{
    struct place_of_work *w = *state;
    scoped_err err = {0};
    atomic_bool cancel = true;
    struct deploy_caller who = {.user_id = STR("admin"), .cancel = &cancel};
    json_t *reply = NULL;
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    assert_false(deploy_reload(w->deploy, &who, OPTS(.app = STR("/a")), NULL, &reply, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_versions(w, "/a", 1, 1);
}

/* --- git ------------------------------------------------------------------------------------------ */

static void git(const char *dir, const char *const *args)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct proc_spec spec = {.cwd = str_printf(&a, "%s/%s", test_dir, dir)};
    str_list_add(&a, &spec.argv, STR("git"));
    for (; *args; args++)
        str_list_add(&a, &spec.argv, str_from(*args));
    static const char *const env[] = {"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@t", "GIT_COMMITTER_NAME=t",
                                      "GIT_COMMITTER_EMAIL=t@t", "GIT_CONFIG_GLOBAL=/dev/null"};
    for (size_t i = 0; i < ARRAY_LEN(env); i++)
        str_list_add(&a, &spec.env, str_from(env[i]));
    MUST(proc_run_ok(&spec, &err), &err);
}
#define GIT(dir, ...) git(dir, (const char *const[]){__VA_ARGS__, NULL})

static void commit(const char *text)
{
    source_write("repo", "app.star", text);
    GIT("src/repo", "add", "-A");
    GIT("src/repo", "commit", "-q", "-m", text);
}

static bool is_skipped(struct place_of_work *w, const struct deploy_opts *o)
{
    scoped_err err = {0};
    scoped_json *reply = call(w, deploy_reload, o, NULL, &err);
    if (!reply)
        fail_msg("%s", err_msg(&err));
    return json_array_size(json_get(reply, "skipped_results")) == 1;
}

static struct str head_of(struct place_of_work *w, struct arena *a, const char *what)
{
    scoped_err err = {0};
    struct store_app app;
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_get(tx, a, STR("/g"), STR("stage.localhost"), &app, &err), &err);
    const struct store_version_metadata *vm = &app.metadata.version_metadata;
    return *what == 'b' ? vm->git_branch : *what == 'm' ? str_trim(vm->git_message) : vm->git_commit;
}

static void git_sources_are_fetched_when_they_have_changed(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("repo", "app.star", "name First\n");
    GIT("src/repo", "init", "-q", "-b", "main");
    commit("name First\n");
    must_call(
        w, deploy_create, OPTS(.approve = true),
        str_z(&a, str_printf(&a, "{\"path\": \"/g\", \"source_url\": \"file://%s/src/repo//\"}", test_dir)));
    assert_str(head_of(w, &a, "branch"), STR("main"));
    struct str first = head_of(w, &a, "commit");
    assert_int_equal(first.len, 40);

    assert_true(is_skipped(w, OPTS(.app = STR("/g"))));
    assert_true(is_skipped(w, OPTS(.app = STR("/g"), .commit = first)));
    assert_versions(w, "/g", 1, 1);
    assert_false(is_skipped(w, OPTS(.app = STR("/g"), .force_reload = true)));
    assert_versions(w, "/g", 1, 2);

    commit("name Second\n");
    assert_false(is_skipped(w, OPTS(.app = STR("/g"))));
    assert_str(head_of(w, &a, "message"), STR("name Second"));
    assert_versions(w, "/g", 1, 3);

    GIT("src/repo", "checkout", "-q", "-b", "other");
    assert_false(
        is_skipped(w, OPTS(.app = STR("/g"), .branch = STR("other")))); /* the same commit by another name */
    assert_str(head_of(w, &a, "branch"), STR("other"));
    commit("name Third\n");
    assert_false(is_skipped(w, OPTS(.app = STR("/g"))));
    assert_str(head_of(w, &a, "message"), STR("name Third"));

    assert_false(is_skipped(w, OPTS(.app = STR("/g"), .commit = first)));
    assert_str(head_of(w, &a, "branch"), STR(""));
    assert_str(head_of(w, &a, "message"), STR("name First"));
    assert_true(is_skipped(w, OPTS(.app = STR("/g")))); /* a commit does not change */
    assert_false(is_skipped(w, OPTS(.app = STR("/g"), .branch = STR("main"))));
    assert_str(head_of(w, &a, "message"), STR("name Second"));

    struct str before = picture(w, &a);
    must_fail(w, deploy_reload, OPTS(.app = STR("/g"), .branch = STR("missing")), NULL, 404, "missing");
    must_fail(w, deploy_reload, OPTS(.app = STR("/g"), .git_auth = STR("nobody"), .force_reload = true), NULL,
              400, "git auth entry nobody not found");
    assert_str(picture(w, &a), before);
    assert_whole(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reload_changes_the_stage_and_a_promotion_production, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(reload_with_promote_names_both_paths, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_failure_in_the_middle_of_a_glob_leaves_nothing, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(a_dry_run_starts_and_writes_nothing_but_finds_the_fault, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(approval_makes_a_version_of_its_own, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(promoting_what_is_equal_makes_no_version, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_dev_app_is_reloaded_from_its_folder, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(old_versions_go_but_never_those_in_use, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(trouble_after_the_commit_is_told_and_nothing_is_undone, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_operation_changes_nothing, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(git_sources_are_fetched_when_they_have_changed, work_setup,
                                        work_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
