/* tests/app/test_dev.c: containers of development apps, over an engine in memory: what is built and mounted, what makes
 * another image or container, and what a change of the source does.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"
#include "fake_engine.h"

static struct fake fake;

static void is_up(const struct probe_ask *ask, struct probe_answer *out)
{
    *out = (struct probe_answer){.is_up = true};
}

static int open_all(void **state)
{
    static const struct ctr_hooks hooks = {.post = http_loop_post, .probe = is_up};
    scoped_err err = {0};
    fx_open(state);
    ctr_manager_close(fx.env.containers);
    pthread_mutex_init(&fake.lock, NULL);
    const struct ctr_manager_config c = {
        .home = fx.env.home, .loop_count = 1, .max_concurrent_builds = 1, .max_build_wait_secs = 10};
    struct ctr_engine *e = ctr_engine_open_with(CTR_DOCKER, &fake_backend, &fake);
    MUST(ctr_manager_open_with(&c, e, &hooks, &fx.env.containers, &err), &err);
    return 0;
}

static struct str source;

/* A dev app whose source is an empty folder. */
static int begin(void **state)
{
    scoped_err err = {0};
    setup(state);
    source = path_join(&now.arena, fx.env.home, STR("source"));
    MUST(fs_remove_tree(source, &err) && fs_mkdir_p(source, 0700, &err) && fs_real_path(&now.arena, source, &source, &err), &err);
    now.entry.id = STR("app_dev_2abcdefghijklmnopqrstuvwxyz");
    now.entry.source_url = source;
    now.entry.is_dev = true;
    pthread_mutex_lock(&fake.lock);
    fake.count = fake.builds = fake.runs = fake.stops = fake.starts = 0;
    fake.has_image = false;
    pthread_mutex_unlock(&fake.lock);
    return 0;
}

static const char *star_with(const char *config)
{
    return str_z(&now.arena, str_printf(&now.arena,
                                        "load('container.in', 'container')\n"
                                        "app = ace.app('c', container=container.config(%s))\n",
                                        config));
}

static struct ctr_service *load(const char *config, const char *file)
{
    return load_app(FILES("app.star", star_with(config), "Containerfile", file))->service;
}

/* --- the plan --- */

#define STAGES "FROM a AS build\nFROM b AS dev\nWORKDIR /work\nCOPY . .\nCMD x\nFROM c AS prod\nWORKDIR /srv\nCOPY . .\nEXPOSE 80\nCMD y\n"

static const struct {
    const char *name, *settings, *file;
    const char *target, *dir, *command, *reload;
} plans[] = {
    {"the whole image", "'dir': '/app'", "FROM x\nEXPOSE 80\n", "", "/app", "", "restart"},
    {"the working folder of the image", "'command': 'run'", "FROM x\nWORKDIR /code/\nCOPY . .\nEXPOSE 80\n", "", "/code", "run", "restart"},
    {"the stage for development", "'reload': 'none'", STAGES, "dev", "/work", "", "none"},
    {"the one that is asked for", "'target': 'build', 'dir': '/b', 'command': 'run'", STAGES, "build", "/b", "run", "restart"},
    {"in any case", "'target': 'DEV'", STAGES, "dev", "/work", "", "restart"},
    {"the last one, by its name", "'target': 'prod'", STAGES, "", "/srv", "", "restart"},
    {"another name for the stage", "'dev_stage': 'build', 'dir': '/x'", "FROM a AS build\nCMD x\nFROM b\nEXPOSE 80\n", "build", "/x",
     "", "restart"},
    {"the one before the last", "'dir': '/x', 'command': 'run'", "FROM a AS tools\nFROM b\nEXPOSE 80\n", "tools", "/x", "run",
     "restart"},
    {"not if it has no name", "'dir': '/x'", "FROM a\nFROM b\nEXPOSE 80\nCMD x\n", "", "/x", "", "restart"},
    {"a target that is not there is the whole image", "'target': 'nowhere', 'dir': '/x'", "FROM a\nEXPOSE 80\nCMD x\n", "", "/x", "",
     "restart"},
    {"a folder that is not clean", "'dir': '/x//y/../z/'", "FROM a\nEXPOSE 80\n", "", "/x/z", "", "restart"},
};

static void the_source_is_mounted(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        begin(NULL);
        print_message("%s\n", plans[i].name);
        const char *config = str_z(&now.arena, str_printf(&now.arena, "'auto', port=80, dev_settings={%s}", plans[i].settings));
        const struct ctr_service *svc = load(config, plans[i].file);
        const struct ctr_run *run = &svc->run;
        assert_str(svc->build_target, plans[i].target);
        assert_str(run->workdir, plans[i].dir);
        assert_str(atomic_load(&fx.app)->dev_reload, plans[i].reload);
        assert_int_equal(run->n_mounts, 1);
        assert_true(run->mounts[0].is_bind && !run->mounts[0].is_read_only && str_eq(run->mounts[0].source, source));
        assert_str(run->mounts[0].target, plans[i].dir);
        assert_str(run->entrypoint, *plans[i].command ? "sh" : "");
        assert_int_equal(run->command.len, *plans[i].command ? 2 : 0);
        if (*plans[i].command)
            assert_str(run->command.items[1], plans[i].command);
        drop_app();
    }
}

static const struct {
    const char *name, *settings, *file, *err;
} refused[] = {
    {"a number for a word", "'command': 1", "FROM x\n", "command must be a string"},
    {"a word for a list", "'env_files': 'a'", "FROM x\n", "env_files must be a list of strings"},
    {"a list of numbers", "'additional_mounts': [1]", "FROM x\n", "additional_mounts must be a list of strings"},
    {"another way to reload", "'reload': 'sometimes'", "FROM x\n", "reload must be none, restart or recreate, not \"sometimes\""},
    {"a port out of range", "'port': 65536", "FROM x\n", "port must be between 0 and 65535"},
    {"a port that is none", "'port': 'x'", "FROM x\n", "port must be between 0 and 65535"},
    {"a stage without a name", "'dev_stage': ''", "FROM x\n", "dev_stage is empty"},
    {"a relative folder", "'dir': 'app'", "FROM x\n", "dir must be absolute, not \"app\""},
    {"no folder", "'command': 'x'", "FROM x\nEXPOSE 80\n", "dir is needed"},
    {"a stage that is not there", "'dev_stage': 'other', 'dir': '/x'", STAGES, "has no stage \"other\""},
    {"a stage for development that does nothing", "'dir': '/x'", "FROM a AS dev\nFROM b\nEXPOSE 80\n", "needs a CMD or ENTRYPOINT"},
    {"a stage that cannot be told", "'reload': 'none'", "FROM x\nEXPOSE 80\n", "(set dir and command, or disable)"},
};

static void wrong_settings_are_load_errors(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        begin(NULL);
        print_message("%s\n", refused[i].name);
        const char *config = str_z(&now.arena, str_printf(&now.arena, "'auto', port=80, dev_settings={%s}", refused[i].settings));
        must_not_load(FILES("app.star", star_with(config), "Containerfile", refused[i].file), refused[i].err);
    }
    begin(NULL);
    must_not_load(FILES("app.star", star_with("'image:x', port=80, dev_settings={'command': 'y'}")), "image app need dir");
}

static void others_are_built_as_ever(void **state)
{
    static const char *const configs[] = {"'auto', dev_settings={'dir': '/x', 'disable': True}", "'auto'",
                                          "'auto', dev_settings={}"};
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        const struct ctr_service *svc = load(configs[i], "FROM a AS dev\nCMD x\nFROM x\nEXPOSE 80");
        assert_true(svc->run.n_mounts == 0 && str_is_empty(svc->build_target));
        assert_true(str_is_empty(atomic_load(&fx.app)->dev_reload));
    }
    now.entry.is_dev = false;
    now.entry.id = STR("app_prd_2abcdefghijklmnopqrstuvwxyz");
    assert_int_equal(load("'auto', dev_settings={'dir': '/x'}", "FROM x\nEXPOSE 80")->run.n_mounts, 0);
    must_not_load(FILES("app.star", star_with("'auto'"), "Containerfile", "FROM x\nFROM y AS dev\nEXPOSE 80"),
                  "which is for development: put the one for production after it");
}

/* --- what it depends on --- */

struct names {
    struct str image, container;
};

static struct names names_of(const char *more, const char *file, const char *requirements, const char *code)
{
    const char *config = str_z(&now.arena, str_printf(&now.arena, "'auto', dev_settings={'dir': '/x', "
                                                                  "'env_files': ['requirements.txt', 'missing']%s}", more));
    const struct ctr_run *run =
        &load_app(FILES("app.star", star_with(config), "Containerfile", file, "requirements.txt", requirements, "code.py", code))
             ->service->run;
    return (struct names){str_dup(&now.arena, run->image), str_dup(&now.arena, run->name)};
}

static void an_image_holds_tools_and_no_source(void **state)
{
    static const char file[] = "FROM x\nEXPOSE 80\n";
    struct names first = names_of("", file, "flask", "one"), now_;
    now_ = names_of("", file, "flask", "two");
    assert_true(str_eq(first.image, now_.image) && str_eq(first.container, now_.container));
    now_ = names_of("", file, "django", "one");
    assert_false(str_eq(first.image, now_.image) || str_eq(first.container, now_.container));
    now_ = names_of("", "FROM y\nEXPOSE 80\n", "flask", "one");
    assert_false(str_eq(first.image, now_.image) || str_eq(first.container, now_.container));
    now_ = names_of(", 'command': 'run'", file, "flask", "one");
    assert_true(str_eq(first.image, now_.image) && !str_eq(first.container, now_.container));
    put(&now.entry.metadata.param_values, "COLOR", "blue");
    now_ = names_of("", file, "flask", "one");
    assert_true(str_eq(first.image, now_.image) && !str_eq(first.container, now_.container));
}

static void missing_files_of_the_spec_are_written(void **state)
{
    scoped_err err = {0};
    struct str text;
    struct fs_info info;
    MUST(fs_write_atomic(path_join(&now.arena, source, STR("mine.txt")), STR("mine"), 0600, &err), &err);
    assert_int_equal(symlink("/nowhere", str_z(&now.arena, path_join(&now.arena, source, STR("link.txt")))), 0);
    static const char *const names[] = {"Containerfile", "mine.txt", "link.txt", "new.txt", "no/folder.txt", "lib.star"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        put(&now.entry.metadata.spec_files, names[i], i == 0 ? "FROM x\nEXPOSE 80\n" : "the spec's");
    load_app(FILES("app.star", star_with("'auto', dev_settings={'dir': '/x'}"), "code.py", "x"));
    MUST(fs_read_all(&now.arena, path_join(&now.arena, source, STR("new.txt")), 100, &text, &err), &err);
    assert_str(text, "the spec's");
    MUST(fs_read_all(&now.arena, path_join(&now.arena, source, STR("mine.txt")), 100, &text, &err), &err);
    assert_str(text, "mine");
    MUST(fs_lstat(path_join(&now.arena, source, STR("link.txt")), &info, &err), &err);
    assert_int_equal(info.kind, FS_SYMLINK);
    assert_false(fs_exists(path_join(&now.arena, source, STR("no"))) || fs_exists(path_join(&now.arena, source, STR("lib.star"))));
    assert_false(fs_exists(path_join(&now.arena, source, STR("code.py"))));
}

/* --- a change of the source --- */

static void a_change_starts_it_again_as_told(void **state)
{
    static const struct {
        const char *reload;
        int starts, runs; /* after the change */
    } cases[] = {{"none", 0, 0}, {"restart", 1, 0}, {"recreate", 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        begin(NULL);
        print_message("%s\n", cases[i].reload);
        const char *config = str_z(&now.arena, str_printf(&now.arena, "'auto', dev_settings={'dir': '/x', 'reload': '%s'}", cases[i].reload));
        struct ctr_service *svc = load(config, "FROM x\nEXPOSE 80\n");
        struct app *app = atomic_load(&fx.app);
        char seen[APP_DEV_SEEN] = "";
        MUST(app_dev_refresh(app, NULL, seen, &err), &err);
        assert_int_equal(fake.runs, 0); /* asleep: it starts with the source of then */
        MUST(ctr_service_start(svc, NULL, NULL, NULL, &err), &err);
        assert_int_equal(fake.runs, 1);
        int starts = fake.starts, runs = fake.runs;
        seen[0] = '\0';
        MUST(app_dev_refresh(app, NULL, seen, &err), &err);
        assert_int_equal(fake.starts - starts, cases[i].starts);
        assert_int_equal(fake.runs - runs, cases[i].runs);
        starts = fake.starts, runs = fake.runs;
        MUST(app_dev_refresh(app, NULL, seen, &err), &err); /* nothing differs from what it has seen */
        assert_true(fake.starts == starts && fake.runs == runs);
        MUST(ctr_service_stop(svc, 0, &err), &err);
        drop_app();
    }
}

/* --- what the app's own command builds into the source --- */

#define BUILT "FROM g AS b\nWORKDIR /src\nCOPY . .\nRUN make\nFROM a\nCOPY --from=b /src/out /opt\nEXPOSE 80\nCMD [\"/opt/server\"]\n"
#define PLAIN "FROM g AS b\nWORKDIR /src\nCOPY . .\nFROM a\nCOPY --from=b /src/out /opt\nEXPOSE 80\nCMD [\"/opt/server\"]\n"

static struct str hash_with(const char *file, const char *page, const char *built)
{
    if (built)
        load_app(FILES("app.star", star_with("'auto'"), "Containerfile", file, "page", page, "out/server", built));
    else
        load_app(FILES("app.star", star_with("'auto'"), "Containerfile", file, "page", page));
    return str_dup(&now.arena, atomic_load(&fx.app)->dev_source_hash);
}

static void what_is_built_into_the_source_is_no_change(void **state)
{
    struct str before = hash_with(BUILT, "one", NULL), two = hash_with(BUILT, "two", NULL);
    struct str command = str_dup(&now.arena, atomic_load(&fx.app)->service->run.command.items[1]);
    assert_true(before.len > 0 && !str_eq(before, two));
    assert_true(str_eq(hash_with(BUILT, "two", "built"), two));
    assert_true(str_eq(hash_with(BUILT, "two", "built again"), two));
    assert_true(str_eq(hash_with(BUILT, "one", "built again"), before));
    assert_true(str_eq(atomic_load(&fx.app)->service->run.command.items[1], command));
    /* Somebody has made it a part of the source. */
    struct str own = hash_with(PLAIN, "one", "source");
    assert_false(str_eq(own, before) || str_eq(own, hash_with(PLAIN, "one", "source, changed")));
}

int main(void)
{
#define DEV_TEST(name) cmocka_unit_test_setup_teardown(name, begin, teardown)
    const struct CMUnitTest tests[] = {
        DEV_TEST(the_source_is_mounted),
        DEV_TEST(wrong_settings_are_load_errors),
        DEV_TEST(others_are_built_as_ever),
        DEV_TEST(an_image_holds_tools_and_no_source),
        DEV_TEST(missing_files_of_the_spec_are_written),
        DEV_TEST(a_change_starts_it_again_as_told),
        DEV_TEST(what_is_built_into_the_source_is_no_change),
    };
    return cmocka_run_group_tests_name("app/dev", tests, open_all, fx_close);
}
