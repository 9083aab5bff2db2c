/* tests/deploy/test_apply.c: declarative apply over a real store: create, merge, reload, promote, and bad
 * input.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

#include "proc.h"

static struct str file_path(struct arena *a, const char *name)
{
    return str_printf(a, "%s/conf/%s", test_dir, name);
}

/* Writes a declarative file; SRC in it is the folder of the sources. */
static void declare(const char *name, const char *text)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str rest = str_from(text), out = STR("");
    for (size_t at; (at = str_find(rest, STR("SRC"))) != STR_NPOS; rest = str_from_off(rest, at + 3))
        out =
            str_printf(&a, STR_FMT STR_FMT "%s/src", STR_ARG(out), STR_ARG(str_slice(rest, 0, at)), test_dir);
    out = str_cat(&a, out, rest);
    struct str path = file_path(&a, name);
    MUST(fs_mkdir_p(path_dir(path), 0700, &err), &err);
    MUST(fs_write_atomic(path, out, 0600, &err), &err);
}

static size_t count(const json_t *reply, const char *member)
{
    return json_array_size(json_get(reply, member));
}

/* Applies apps.star (or o->path); the reply must say so many created, updated, reloaded, skipped, approved,
 * promoted. */
static void apply(struct place_of_work *w, struct deploy_opts o, const char *wanted)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    if (str_is_empty(o.path))
        o.path = file_path(&a, "apps.star");
    if (str_is_empty(o.app))
        o.app = STR("all");
    scoped_json *reply = call(w, deploy_apply, &o, NULL, &err);
    if (!reply)
        fail_msg("%s", err_msg(&err));
    struct str got = str_printf(&a, "c%zu u%zu r%zu s%zu a%zu p%zu", count(reply, "create_results"),
                                count(reply, "update_results"), count(reply, "reload_results"),
                                count(reply, "skipped_results"), count(reply, "approve_results"),
                                count(reply, "promote_results"));
    if (!str_eq_z(got, wanted))
        fail_msg("wanted %s, got %.*s: %.*s", wanted, STR_ARG(got),
                 STR_ARG(json_text(&a, reply, JSON_STYLE_INDENT)));
    assert_whole(w);
}

static void apply_fails(struct place_of_work *w, struct deploy_opts o, int code, const char *message)
{
    scoped_arena a = {0};
    struct str before = picture(w, &a);
    if (str_is_empty(o.path))
        o.path = file_path(&a, "apps.star");
    if (str_is_empty(o.app))
        o.app = STR("all");
    must_fail(w, deploy_apply, &o, NULL, code, message);
    assert_str(picture(w, &a), before);
    assert_whole(w);
}
#define O(...) ((struct deploy_opts){__VA_ARGS__})

static struct store_app get(struct place_of_work *w, struct arena *a, const char *path, bool is_stage)
{
    scoped_err err = {0};
    struct store_app app;
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_get(tx, a, str_from(path), STR(""), &app, &err), &err);
    if (is_stage)
        MUST(store_app_get_by_id(tx, a, store_app_id_of(a, app.id, STORE_STAGE), &app, &err), &err);
    return app;
}

/* A param of the stage; "" if it has none. */
static void assert_param(struct place_of_work *w, const char *path, const char *name, const char *value)
{
    scoped_arena a = {0};
    struct store_app app = get(w, &a, path, true);
    assert_str(store_map_get(&app.metadata.param_values, str_from(name)), str_from(value));
}

static void sources(void)
{
    source_write("one", "app.star", "name One\n");
    source_write("two", "app.star", "name Two\n");
    source_write("asking", "app.star", "name Asking\nasks exec.in\n");
    source_write("bad", "app.star", "bad\n");
    source_write("needy", "app.star", "name Needy\nsecret word\n");
}

static void apps_are_created_in_the_order_of_their_declaration(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    sources();
    declare(
        "apps.star",
        "app('/z', 'SRC/one', params={'x': 1})\napp('/a', '../src/two')\napp('/m', 'SRC/one', dev=True)\n");
    apply(w, O(.is_dry_run = true), "c3 u0 r0 s0 a0 p0");
    assert_str(picture(w, &a), STR(""));
    apply(w, O(), "c3 u0 r0 s0 a0 p0");
    assert_int_equal(world.published, 1);
    struct str seen = picture(w, &a);
    size_t z = str_find(seen, STR("prod /z v1")), first = str_find(seen, STR("prod /a v1")),
           m = str_find(seen, STR("dev /m v1"));
    assert_true(z < first && first < m && m != STR_NPOS);
    apply(w, O(.reload = STR("matched")), "c0 u0 r1 s2 a0 p0"); /* a dev app is what its folder is now */
    apply(w, O(), "c0 u0 r0 s3 a0 p0");
    apply(w, O(.reload = STR("none")), "c0 u0 r0 s3 a0 p0");
    assert_versions(w, "/z", 1, 1);
    assert_int_equal(get(w, &a, "/z", true).metadata.version_metadata.apply_info.len > 0, true);
    assert_str(get(w, &a, "/z", true).metadata.version_metadata.apply_info,
               get(w, &a, "/z", false).metadata.version_metadata.apply_info);
}

static void the_glob_takes_some(void **state)
{
    struct place_of_work *w = *state;
    sources();
    declare("apps.star", "app('/x/a', 'SRC/one')\napp('/x/b', 'SRC/one')\napp('/y', 'SRC/bad')\n");
    apply(w, O(.app = STR("/x/**")), "c2 u0 r0 s0 a0 p0");
    apply(w, O(.app = STR("/nothing")), "c0 u0 r0 s0 a0 p0");
}

static void files_of_a_glob_are_one_declaration(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    sources();
    declare("b.star", "app('/b', 'SRC/one')\n");
    declare("a.star", "app('/a', 'SRC/one')\n");
    declare("a.txt", "not starlark at all (");
    apply(w, O(.path = file_path(&a, "*.star")), "c2 u0 r0 s0 a0 p0");
    declare("c.star", "app('/a', 'SRC/one')\n");
    apply_fails(w, O(.path = file_path(&a, "*.star")), 400,
                "c.star:1:4: duplicate app /a defined in file a.star");
    apply_fails(w, O(.path = file_path(&a, "*.nothing")), 404, "no matching files found in ");
    apply_fails(w, O(.path = file_path(&a, "x.star")), 404, "no matching files found in ");
    apply_fails(w, O(.path = file_path(&a, "")), 400, "is a folder: name the files in it");
    apply_fails(w, O(.path = STR("/no/such/folder/x.star")), 404, "no matching files found in ");
}

static void an_update_is_staged_and_keeps_what_was_done_by_hand(void **state)
{
    struct place_of_work *w = *state;
    sources();
    declare("apps.star", "app('/one', 'SRC/one', params={'a': '1', 'b': '2'})\n");
    apply(w, O(), "c1 u0 r0 s0 a0 p0");
    must_call(w, deploy_param_update,
              OPTS(.app = STR("/one"), .name = STR("b"), .value = STR("hand"), .promote = true), NULL);
    must_call(w, deploy_param_update,
              OPTS(.app = STR("/one"), .name = STR("c"), .value = STR("hand"), .promote = true), NULL);
    assert_versions(w, "/one", 3, 3);
    apply(w, O(.reload = STR("matched")), "c0 u0 r0 s1 a0 p0");
    declare("apps.star", "app('/one', 'SRC/one', params={'a': '9', 'b': '2'})\n");
    apply(w, O(), "c0 u1 r0 s0 a0 p0");
    assert_versions(w, "/one", 3, 4);
    assert_param(w, "/one", "a", "9");
    assert_param(w, "/one", "b", "hand");
    assert_param(w, "/one", "c", "hand");
    declare("apps.star", "app('/one', 'SRC/one', params={'b': '3'})\n");
    apply(w, O(.promote = true), "c0 u1 r0 s0 a0 p1");
    assert_versions(w, "/one", 5, 5);
    assert_param(w, "/one", "a", "");
    assert_param(w, "/one", "b", "3");
    apply(w, O(.clobber = true, .promote = true), "c0 u1 r0 s0 a0 p1");
    assert_param(w, "/one", "c", "");
    apply(w, O(.clobber = true, .promote = true), "c0 u0 r0 s1 a0 p0");
    assert_versions(w, "/one", 6, 6);
}

static void the_last_declaration_is_remembered_also_if_nothing_changes(void **state)
{
    struct place_of_work *w = *state;
    sources();
    declare("apps.star", "app('/one', 'SRC/one', params={'a': '1'})\n");
    apply(w, O(), "c1 u0 r0 s0 a0 p0");
    must_call(w, deploy_param_update, OPTS(.app = STR("/one"), .name = STR("a"), .value = STR("2")), NULL);
    declare("apps.star",
            "app('/one', 'SRC/one', params={'a': '2'})\n"); /* catches up with what was done by hand */
    apply(w, O(), "c0 u0 r0 s1 a0 p0");
    must_call(w, deploy_param_update, OPTS(.app = STR("/one"), .name = STR("a"), .value = STR("3")), NULL);
    apply(w, O(), "c0 u0 r0 s1 a0 p0"); /* had "1" been remembered, "3" would be overwritten now */
    assert_param(w, "/one", "a", "3");
}

static void an_app_made_by_hand_is_adopted(void **state)
{
    struct place_of_work *w = *state;
    sources();
    create(w, "/one", "one", ", \"param_values\": {\"a\": \"1\", \"b\": \"2\"}");
    declare("apps.star", "app('/one', 'SRC/one', params={'a': '1'})\n");
    apply(w, O(), "c0 u0 r0 s1 a0 p0");
    assert_versions(w, "/one", 1, 1);
    declare("apps.star",
            "app('/one', 'SRC/one/../one', params={'a': '5'}, auth='none')\n"); /* the same source */
    apply(w, O(), "c0 u1 r0 s0 a0 p0");
    assert_param(w, "/one", "b", "2");
    assert_versions(w, "/one", 1, 2);
}

static void a_changed_source_is_loaded_only_if_it_is_to_be(void **state)
{
    struct place_of_work *w = *state;
    sources();
    declare("apps.star", "app('/one', 'SRC/one')\napp('/two', 'SRC/two')\n");
    apply(w, O(), "c2 u0 r0 s0 a0 p0");
    source_write("one", "app.star", "name Changed\n");
    apply(w, O(), "c0 u0 r0 s2 a0 p0");
    apply(w, O(.reload = STR("none")), "c0 u0 r0 s2 a0 p0");
    apply(w, O(.reload = STR("matched"), .is_dry_run = true), "c0 u0 r1 s1 a0 p0");
    assert_versions(w, "/one", 1, 1);
    apply(w, O(.reload = STR("matched")), "c0 u0 r1 s1 a0 p0");
    assert_versions(w, "/one", 1, 2);
    apply(w, O(.reload = STR("matched"), .promote = true, .force_reload = true), "c0 u0 r4 s0 a0 p2");
    assert_versions(w, "/one", 3, 3);
    assert_versions(w, "/two", 2, 2);
    source_write("one", "app.star", "name Again\n");
    declare("apps.star", "app('/one', 'SRC/one', params={'x': 1})\napp('/two', 'SRC/two')\n");
    apply(w, O(.reload = STR("none")), "c0 u1 r0 s1 a0 p0");
    scoped_arena a = {0};
    assert_str(get(w, &a, "/one", true).metadata.name, STR("Changed"));
}

static void permissions_must_be_approved(void **state)
{
    struct place_of_work *w = *state;
    sources();
    declare("apps.star", "app('/one', 'SRC/one')\napp('/two', 'SRC/two')\n");
    apply(w, O(), "c2 u0 r0 s0 a0 p0");
    source_write("two", "app.star", "name Two\nasks exec.in\n");
    source_write("one", "app.star", "name Changed\n");
    apply_fails(w, O(.reload = STR("matched")), 400,
                "app /two in apps.star: app stage.localhost:/two needs approval");
    apply(w, O(.reload = STR("matched"), .approve = true), "c0 u0 r2 s0 a1 p0");
    declare("apps.star", "app('/asking', 'SRC/asking')\n");
    apply(w, O(), "c1 u0 r0 s0 a0 p0"); /* it is there, and unapproved */
}

static void a_sync_leaves_its_mark(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    sources();
    create(w, "/two", "two", "");
    declare("apps.star", "app('/one', 'SRC/one')\napp('/two', 'SRC/two')\n");
    apply(w, O(.sync_id = STR("cl_syn_1")), "c1 u0 r0 s1 a0 p0");
    assert_str(get(w, &a, "/one", true).metadata.applied_sync_id, STR("cl_syn_1"));
    assert_str(get(w, &a, "/two", true).metadata.applied_sync_id, STR(""));
    must_call(w, deploy_param_update, OPTS(.app = STR("/one"), .name = STR("a"), .value = STR("2")), NULL);
    apply(w, O(.clobber = true), "c0 u1 r0 s1 a0 p0");
    assert_str(get(w, &a, "/one", true).metadata.applied_sync_id, STR("cl_syn_1"));
}

static const struct {
    const char *name, *text;
    int code;
    const char *message;
} refused[] = {
    {"a syntax error", "app('/new', 'SRC/one')\napp(", 400, "error loading app definitions: apps.star:"},
    {"an unknown argument", "app('/new', 'SRC/one', parms={})", 400, "did you mean params?"},
    {"a source that is not there", "app('/new', 'SRC/one')\napp('/x', 'SRC/gone')", 400,
     "app /x in apps.star: source folder"},
    {"an app that does not evaluate", "app('/new', 'SRC/one')\napp('/x', 'SRC/bad')", 400, "syntax error"},
    {"a param that is missing", "app('/new', 'SRC/one')\napp('/x', 'SRC/needy')", 400,
     "param word is a required param"},
    {"a path that cannot be", "app('/new', 'SRC/one')\napp('/_openrun/x', 'SRC/one')", 400, "reserved"},
    {"apps in each other", "app('/new', 'SRC/one')\napp('/new/x', 'SRC/one')", 400,
     "app /new/x overlaps with the new app at /new"},
    {"apps around each other", "app('/new/x', 'SRC/one')\napp('/new', 'SRC/one')", 400,
     "app /new overlaps with the new app at /new/x"},
    {"an app in an existing one", "app('/new', 'SRC/one')\napp('/one/x', 'SRC/one')", 400,
     "App already exists at /one"},
    {"an app at the place of a stage", "app('stage.localhost:/one', 'SRC/one')", 400,
     "App already exists at stage.localhost:/one"},
    {"a stage at the place of a new app",
     "app('stage.:/q', 'SRC/one', stage_at='path')\napp('/q', 'SRC/one')", 400,
     "stage app stage.localhost:/q overlaps with the new app at stage.localhost:/q"},
    {"another source", "app('/new', 'SRC/one')\napp('/one', 'SRC/two')", 409,
     "already exists with different source url"},
    {"a dev app of one that is none", "app('/new', 'SRC/one')\napp('/one', 'SRC/one', dev=True)", 409,
     "already exists with different dev status"},
    {"an unknown sign-in", "app('/new', 'SRC/one')\napp('/one', 'SRC/one', auth='magic')", 400,
     "invalid authentication type magic"},
    {"an unknown spec", "app('/new', 'SRC/one')\napp('/one', 'SRC/one', spec='nonsense')", 400,
     "invalid app spec nonsense"},
    {"a git_auth entry that is not there",
     "app('/new', 'SRC/one')\napp('/x', 'github.com/a/b', git_auth='no')", 400,
     "git auth entry no not found"},
    {"bindings", "app('/new', 'SRC/one', bindings=['/db'])", 400,
     "bindings are not available in this version"},
};

static void what_cannot_be_is_refused_and_leaves_nothing(void **state)
{
    struct place_of_work *w = *state;
    sources();
    declare("apps.star", "app('/one', 'SRC/one')\n");
    apply(w, O(), "c1 u0 r0 s0 a0 p0");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        declare("apps.star", refused[i].text);
        apply_fails(w, O(), refused[i].code, refused[i].message);
        apply_fails(w, O(.is_dry_run = true), refused[i].code, refused[i].message);
    }
    declare("apps.star", "app('/one', 'SRC/one')\n");
    apply_fails(w, O(.reload = STR("sometimes")), 400, "invalid reload option \"sometimes\"");
    apply_fails(w, O(.app = STR("a:b:c")), 400, "path glob");
}

static void the_container_of_a_change_that_fails_is_stopped(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\ncontainer\n");
    source_write("b", "app.star", "name B\ncontainer\n");
    declare("apps.star", "app('/a', 'SRC/a', verify=True)\napp('/b', 'SRC/b')\n");
    apply(w, O(), "c2 u0 r0 s0 a0 p0");
    assert_int_equal(world.started, 2); /* stage and production of the one that is verified */
    source_write("a", "app.star", "name A\ncontainer\nchanged\n");
    source_write("b", "app.star", "name B\nsick\n");
    world.started = world.undone = 0;
    apply_fails(w, O(.reload = STR("matched")), 502, "container answered 500");
    assert_int_equal(world.started, 1);
    assert_int_equal(world.undone, 1);
}

static void a_plan_says_what_would_be_different(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    sources();
    source_write("one", "old.txt", "x");
    declare("apps.star", "app('/one', 'SRC/one', params={'a': '1', 'password': 'hunter22'})\n");
    apply(w, O(), "c1 u0 r0 s0 a0 p0");
    source_write("one", "app.star", "name Changed\n");
    source_write("one", "new.txt", "x");
    MUST(unlink(str_z(&a, str_printf(&a, "%s/src/one/old.txt", test_dir))) == 0, &err);
    declare("apps.star", "app('/one', 'SRC/one', params={'b': '2', 'password': 'hunter23'})\n");
    json_t *reply = call(
        w, deploy_apply,
        OPTS(.path = file_path(&a, "apps.star"), .is_dry_run = true, .reload = STR("matched")), NULL, &err);
    assert_non_null(reply);
    struct str text = json_text(&a, json_get(reply, "changes"), JSON_STYLE_COMPACT);
    json_decref(reply);
    assert_str(
        text,
        STR("[{\"app_path_domain\":{\"Path\":\"/"
            "one\",\"Domain\":\"\"},\"action\":\"reload\",\"promoted\":false,"
            "\"fields\":[{\"field\":\"name\",\"old\":\"One\",\"new\":\"Changed\"},"
            "{\"field\":\"params.a\",\"old\":\"1\",\"new\":null},"
            "{\"field\":\"params.password\",\"old\":\"***\",\"new\":\"***\"},"
            "{\"field\":\"params.b\",\"old\":null,\"new\":\"2\"}],"
            "\"files\":{\"added\":[\"new.txt\"],\"changed\":[\"app.star\"],\"removed\":[\"old.txt\"]}}]"));
    assert_versions(w, "/one", 1, 1);
}

static void a_diff_shows_staging_against_production(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    sources();
    create(w, "/one", "one", "");
    json_t *reply = call(w, deploy_diff, OPTS(.app = STR("/one")), NULL, &err);
    assert_false(json_get_bool(reply, "is_different", true));
    json_decref(reply);
    source_write("one", "app.star", "name Changed\nasks exec.in\n");
    source_write("one", "image.bin", "\x7f\x01\xff");
    must_call(w, deploy_reload, OPTS(.app = STR("/one"), .approve = true), NULL);
    static const char *const paths[] = {"/one", "stage.localhost:/one"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        reply = call(w, deploy_diff, OPTS(.app = str_from(paths[i])), NULL, &err);
        assert_non_null(reply);
        assert_true(json_get_bool(reply, "is_different", false));
        assert_str(json_text(&a, json_get(reply, "fields"), JSON_STYLE_COMPACT),
                   STR("[{\"field\":\"name\",\"old\":\"One\",\"new\":\"Changed\"},"
                       "{\"field\":\"plugins\",\"old\":[],\"new\":[\"exec.in\"]}]"));
        const json_t *files = json_get(reply, "files");
        assert_str(json_get_str(json_array_get(files, 0), "diff", STR("")),
                   STR("--- production/app.star\n+++ staging/app.star\n@@ -1,1 +1,2 @@\n-name One\n+name "
                       "Changed\n+asks exec.in\n"));
        assert_str(json_get_str(json_array_get(files, 1), "diff", STR("")),
                   STR("Binary files image.bin differ\n"));
        json_decref(reply);
    }
    must_fail(w, deploy_diff, OPTS(.app = STR("/nothing")), NULL, 404, "no app at /nothing");
}

static struct str shell(struct arena *a, const char *dir, const char *const *args)
{
    scoped_err err = {0};
    scoped_buf out = BUF_INIT(1 << 20);
    struct proc_spec spec = {.cwd = str_from(dir), .out = &out};
    struct proc_result res;
    static const char *const env[] = {"GIT_AUTHOR_NAME=T", "GIT_AUTHOR_EMAIL=t@example.org",
                                      "GIT_COMMITTER_NAME=T", "GIT_COMMITTER_EMAIL=t@example.org"};
    for (size_t i = 0; i < ARRAY_LEN(env); i++)
        str_list_add(a, &spec.env, str_from(env[i]));
    for (size_t i = 0; args[i]; i++)
        str_list_add(a, &spec.argv, str_from(args[i]));
    MUST(proc_run(&spec, &res, &err), &err);
    assert_int_equal(res.exit_code, 0);
    return str_dup(a, str_trim(buf_str(&out)));
}
#define GIT(...) shell(&a, str_z(&a, repo), (const char *const[]){"git", __VA_ARGS__, NULL})

static void write_repo(struct arena *a, struct str repo, const char *name, const char *text)
{
    scoped_err err = {0};
    struct str path = path_join(a, repo, str_from(name));
    MUST(fs_mkdir_p(path_dir(path), 0700, &err) && fs_write_atomic(path, str_from(text), 0600, &err), &err);
}

/* Declares /x from folder x of the repository, with more arguments. */
static void declare_x(const char *more)
{
    scoped_arena a = {0};
    declare("apps.star", str_z(&a, str_printf(&a, "app('/x', 'file://%s/repo//x'%s)\n", test_dir, more)));
}

static void commit_and_branch_follow_the_declaration(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    struct str repo = str_printf(&a, "%s/repo", test_dir);
    scoped_err err = {0};
    MUST(fs_mkdir_p(repo, 0700, &err), &err);
    GIT("init", "-q", "-b", "main");
    GIT("config", "uploadpack.allowAnySHA1InWant", "true");
    write_repo(&a, repo, "x/app.star", "name First\n");
    GIT("add", "-A");
    GIT("commit", "-q", "-m", "one");
    const char *first = str_z(&a, GIT("rev-parse", "HEAD"));
    write_repo(&a, repo, "x/app.star", "name Second\n");
    GIT("commit", "-q", "-a", "-m", "two");
    const char *second = str_z(&a, GIT("rev-parse", "HEAD"));
    const char *at_first = str_z(&a, str_printf(&a, ", git_commit='%s'", first));
    const char *at_second = str_z(&a, str_printf(&a, ", git_commit='%s'", second));
    const char *with_param = str_z(&a, str_printf(&a, ", git_commit='%s', params={'p': 1}", second));
    declare_x("");
    apply(w, O(), "c1 u0 r0 s0 a0 p0");
    assert_str(get(w, &a, "/x", true).metadata.name, STR("Second"));
    apply(w, O(.clobber = true, .reload = STR("matched")), "c0 u0 r0 s1 a0 p0");
    declare_x(at_first);
    apply(w, O(.reload = STR("none")), "c0 u0 r0 s1 a0 p0"); /* not loaded, so not taken for done */
    apply(w, O(), "c0 u1 r1 s0 a0 p0");
    assert_str(get(w, &a, "/x", true).metadata.name, STR("First"));
    apply(w, O(.reload = STR("matched"), .clobber = true), "c0 u0 r0 s1 a0 p0");
    declare_x(at_second);
    apply(w, O(), "c0 u1 r1 s0 a0 p0");
    declare_x(with_param); /* the commit is the same: the param is not lost */
    apply(w, O(.reload = STR("matched")), "c0 u1 r0 s0 a0 p0");
    assert_param(w, "/x", "p", "1");
    declare_x(""); /* back to the head of main, where it is: no new files */
    apply(w, O(.reload = STR("matched")), "c0 u1 r0 s0 a0 p0");
    assert_str(get(w, &a, "/x", true).metadata.version_metadata.git_branch, STR("main"));
    declare_x(", git_branch='nowhere'");
    apply_fails(w, O(), 404, "branch \"nowhere\" not found");
    declare_x(", git_commit='1111111111111111111111111111111111111111'");
    apply_fails(w, O(), 404, "not found");
}

static void files_come_from_a_repository(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str repo = str_printf(&a, "%s/repo", test_dir), url = str_printf(&a, "file://%s/repo", test_dir);
    MUST(fs_mkdir_p(repo, 0700, &err), &err);
    GIT("init", "-q", "-b", "main");
    write_repo(&a, repo, "one/app.star", "name One\n");
    write_repo(
        &a, repo, "env/a/apps.star",
        str_z(&a, str_printf(&a, "app('/a', '" STR_FMT "//one', params={'b': config('_branch', '?')})\n",
                             STR_ARG(url))));
    write_repo(&a, repo, "env/b/apps.star",
               str_z(&a, str_printf(&a, "app('/b', '" STR_FMT "//one')\n", STR_ARG(url))));
    GIT("add", "-A");
    GIT("commit", "-q", "-m", "one");
    struct str head = GIT("rev-parse", "HEAD");
    struct str all = str_cat(&a, url, STR("//env/*/apps.star")),
               one = str_cat(&a, url, STR("//env/a/apps.star"));
    apply(w, O(.path = all), "c2 u0 r0 s0 a0 p0");
    assert_param(w, "/a", "b", "main");
    scoped_json *reply = call(w, deploy_apply, OPTS(.path = one, .last_commit = head), NULL, &err);
    assert_true(json_get_bool(reply, "skipped_apply", false));
    assert_str(json_get_str(reply, "commit_id", STR("")), head);
    apply(w, O(.path = one, .last_commit = head, .reload = STR("matched")), "c0 u0 r0 s1 a0 p0");
    apply(w, O(.path = one, .last_commit = head, .force_reload = true), "c0 u0 r0 s1 a0 p0");
    apply_fails(w, O(.path = url), 400, "apply file name has to be specified within source repo");
    apply_fails(w, O(.path = str_cat(&a, url, STR("//env"))), 404, "no matching files found");
    apply_fails(w, O(.path = str_cat(&a, url, STR("//env/*/x.star"))), 404, "no matching files found");
    apply_fails(w, O(.path = str_cat(&a, url, STR("//no/x.star"))), 404, "folder \"no\" not found");
    apply_fails(w, O(.path = one, .branch = STR("nowhere")), 404, "branch \"nowhere\" not found");
    apply_fails(w, O(.path = one, .commit = STR("1234567")), 404, "not found");
    MUST(symlink("/etc/passwd", str_z(&a, path_join(&a, repo, STR("link.star")))) == 0, &err);
    GIT("add", "-A");
    GIT("commit", "-q", "-m", "link");
    struct str link = str_cat(&a, url, STR("//link.star")), any = str_cat(&a, url, STR("//*.star"));
    must_fail(w, deploy_apply, OPTS(.path = link), NULL, 403, "symbolic link");
    must_fail(w, deploy_apply, OPTS(.path = any), NULL, 404, "no matching files found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, work_setup, work_teardown)
        T(apps_are_created_in_the_order_of_their_declaration),
        T(the_glob_takes_some),
        T(files_of_a_glob_are_one_declaration),
        T(an_update_is_staged_and_keeps_what_was_done_by_hand),
        T(the_last_declaration_is_remembered_also_if_nothing_changes),
        T(an_app_made_by_hand_is_adopted),
        T(a_changed_source_is_loaded_only_if_it_is_to_be),
        T(permissions_must_be_approved),
        T(a_sync_leaves_its_mark),
        T(what_cannot_be_is_refused_and_leaves_nothing),
        T(the_container_of_a_change_that_fails_is_stopped),
        T(a_plan_says_what_would_be_different),
        T(a_diff_shows_staging_against_production),
        T(commit_and_branch_follow_the_declaration),
        T(files_come_from_a_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
