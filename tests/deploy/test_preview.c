/* tests/deploy/test_preview.c: previews of commits, and clones for dev apps, with a repository on disk.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

static struct str sh(struct arena *a, const char *script)
{
    static const char *const env[] = {"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
                                      "GIT_AUTHOR_NAME=t",           "GIT_AUTHOR_EMAIL=t@t",
                                      "GIT_COMMITTER_NAME=t",        "GIT_COMMITTER_EMAIL=t@t"};
    scoped_err err = {0};
    scoped_buf out = BUF_INIT(1 << 20);
    struct proc_spec spec = {.cwd = str_from(test_dir), .out = &out, .timeout_ms = 120000};
    const char *argv[] = {"sh", "-ec", script};
    for (size_t i = 0; i < ARRAY_LEN(argv); i++)
        str_list_add(a, &spec.argv, str_from(argv[i]));
    for (size_t i = 0; i < ARRAY_LEN(env); i++)
        str_list_add(a, &spec.env, str_from(env[i]));
    MUST(proc_run_ok(&spec, &err), &err);
    return str_dup(a, str_trim(buf_str(&out)));
}

struct repo {
    struct str url, plain, needy, bad;
};

/* Three commits: main is plain; `needy` asks for a plugin; `bad` does not evaluate. */
static struct repo repo_make(struct arena *a)
{
    struct repo r = {.url = str_printf(a, "file://%s/r", test_dir)};
    sh(a, "git init -q -b main r; cd r; git config uploadpack.allowAnySHA1InWant true; echo 'name Plain' "
          ">app.star;"
          "git add .; git commit -qm plain; git checkout -qb needy; echo 'asks exec.in' >>app.star; git "
          "commit -qam needy;"
          "git checkout -qb bad; echo bad >app.star; git commit -qam bad; git checkout -q main");
    r.plain = sh(a, "git -C r rev-parse main");
    r.needy = sh(a, "git -C r rev-parse needy");
    r.bad = sh(a, "git -C r rev-parse bad");
    return r;
}

static void create_from(struct place_of_work *w, const struct repo *r, const char *path, const char *extra)
{
    scoped_arena a = {0};
    must_call(w, deploy_create, OPTS(.approve = true),
              str_z(&a, str_printf(&a, "{\"path\": \"%s\", \"source_url\": \"" STR_FMT "\"%s}", path,
                                   STR_ARG(r->url), extra)));
}

static size_t count_previews(struct place_of_work *w)
{
    scoped_err err = {0};
    scoped_json *reply = call(w, deploy_preview_list, OPTS(.app = STR("")), NULL, &err);
    return json_array_size(json_get(reply, "previews"));
}

static void a_preview_is_an_entry_of_its_own(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    struct repo r = repo_make(&a);
    create_from(w, &r, "/one", ", \"param_values\": {\"k\": \"v\"}");
    struct str before = picture(w, &a);
    must_call(w, deploy_preview_create, OPTS(.app = STR("/one/"), .commit = str_slice(r.plain, 0, 8)), NULL);
    must_call(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = STR("needy"), .approve = true),
              NULL);
    assert_int_equal(count_previews(w), 2);
    assert_true(str_starts(picture(w, &a), before));
    assert_true(
        str_find(picture(w, &a), str_printf(&a, "preview /one_cl_preview_" STR_FMT " v1 was 0 k=v: 1(",
                                            STR_ARG(r.plain))) != STR_NPOS);
    assert_whole(w);
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = r.plain), NULL, 409, "already");
    must_fail(w, deploy_preview_delete, OPTS(.app = STR("/one"), .commit = STR("xyz")), NULL, 400,
              "first digits");
    must_call(w, deploy_preview_delete, OPTS(.app = STR("/one"), .commit = r.needy), NULL);
    assert_int_equal(count_previews(w), 1);
    must_call(w, deploy_delete, OPTS(.app = STR("/one")), NULL);
    assert_str(picture(w, &a), STR(""));
    assert_whole(w);
}

static void what_cannot_be_previewed_leaves_nothing(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct repo r = repo_make(&a);
    create_from(w, &r, "/one", "");
    source_write("local", "app.star", "name Local\n");
    create(w, "/local", "local", "");
    struct str before = picture(w, &a);
    json_t *reply = call(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = r.needy), NULL, &err);
    assert_false(json_get_bool(reply, "success", true));
    assert_true(json_get_bool(json_get(reply, "approve_result"), "needs_approval", false));
    json_decref(reply);
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = r.bad), NULL, 400, "syntax error");
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = STR("")), NULL, 400,
              "commitId is required");
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = STR("none")), NULL, 404,
              "branch \"none\" not found");
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = STR("abcd1234")), NULL, 404,
              "abcd1234");
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/local"), .commit = r.plain), NULL, 400,
              "not a git repository");
    must_fail(w, deploy_preview_create, OPTS(.app = STR("stage.localhost:/one"), .commit = r.plain), NULL,
              400, "staging app");
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/none"), .commit = r.plain), NULL, 404,
              "no app at /none");
    must_call(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = r.plain, .is_dry_run = true),
              NULL);
    assert_str(picture(w, &a), before);
    assert_whole(w);
    /* A place that an app has taken. */
    must_call(w, deploy_create, OPTS(.approve = true),
              str_z(&a, str_printf(&a,
                                   "{\"path\": \"/one_cl_preview_" STR_FMT
                                   "/x\", \"source_url\": \"%s/src/local\"}",
                                   STR_ARG(r.plain), test_dir)));
    must_fail(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = r.plain), NULL, 409,
              "would overlap");
}

static void settings_reach_previews_and_nothing_else_does(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct repo r = repo_make(&a);
    create_from(w, &r, "/one", "");
    must_call(w, deploy_preview_create, OPTS(.app = STR("/one"), .commit = r.plain), NULL);
    json_t *reply =
        call(w, deploy_settings_update, OPTS(.app = STR("/one")), "{\"preview_write_access\": 2}", &err);
    assert_int_equal(json_array_size(json_get(reply, "update_results")), 3);
    json_decref(reply);
    struct str path = str_cat(&a, STR("/one_cl_preview_"), r.plain), before = picture(w, &a);
    must_call(w, deploy_param_update, OPTS(.app = path, .name = STR("a"), .value = STR("b")), NULL);
    must_call(w, deploy_reload, OPTS(.app = path, .force_reload = true), NULL);
    must_call(w, deploy_delete, OPTS(.app = path), NULL);
    assert_str(picture(w, &a), before);
    assert_whole(w);
}

static void a_clone_for_a_dev_app_stays_or_goes_with_the_operation(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct repo r = repo_make(&a);
    struct str parent = path_join(&a, str_from(test_dir), STR("app_src"));
    struct str body = str_printf(
        &a, "{\"path\": \"/dev\", \"is_dev\": true, \"source_url\": \"" STR_FMT "\"}", STR_ARG(r.url));
    must_call(w, deploy_create, OPTS(.is_dry_run = true), str_z(&a, body));
    assert_false(fs_exists(parent));
    struct str bad = str_printf(
        &a,
        "{\"path\": \"/dev\", \"is_dev\": true, \"git_branch\": \"bad\", \"source_url\": \"" STR_FMT "\"}",
        STR_ARG(r.url));
    must_fail(w, deploy_create, OPTS(.approve = true), str_z(&a, bad), 400, "syntax error");
    assert_false(fs_exists(parent));
    must_call(w, deploy_create, OPTS(.approve = true), str_z(&a, body));
    struct store_app app;
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_get(tx, &a, STR("/dev"), STR(""), &app, &err), &err);
    store_rollback(&tx);
    assert_str(app.settings.orig_source_url, r.url);
    assert_str(app.source_url, path_join(&a, parent, STR("r")));
    assert_true(fs_exists(path_join(&a, app.source_url, STR(".git"))));
    must_call(w, deploy_delete, OPTS(.app = STR("/dev")), NULL);
    assert_true(fs_exists(app.source_url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_preview_is_an_entry_of_its_own, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_previewed_leaves_nothing, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(settings_reach_previews_and_nothing_else_does, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(a_clone_for_a_dev_app_stays_or_goes_with_the_operation, work_setup,
                                        work_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
