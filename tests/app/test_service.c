/* tests/app/test_service.c: apps with a container, over an engine in memory: what is planned, built, started
 * and proxied.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"
#include "fake_engine.h"

static struct {
    struct fake fake;
    struct ctr_backend ops;
    struct http_server *upstream; /* what listens in the container */
    atomic_int port;              /* where the container says it is */
    atomic_int requests;
    atomic_bool is_up;
    char built[4096]; /* names of files in the build's folder, and the file asked for */
} box;

static const char spec_app[] = "load('container.in', 'container')\nload('proxy.in', 'proxy')\n"
                               "app = ace.app('c', routes=[ace.proxy('/', proxy.config(container.URL))], "
                               "container=container.config('auto'))\n";

/* --- the engine --- */

static bool local_inspect(void *ctx, struct arena *a, struct str name, uint16_t port, struct ctr_info *out,
                          struct err *err)
{
    if (!fake_inspect(ctx, a, name, port, out, err))
        return false;
    out->at.ip = INADDR_LOOPBACK;
    out->at.port = (uint16_t)atomic_load(&box.port);
    return true;
}

static bool look_and_build(void *ctx, const struct ctr_build *b, struct err *err)
{
    scoped_arena a = {0};
    scoped_buf names = BUF_INIT(sizeof box.built);
    struct fs_walk *w = fs_walk_open(b->dir, err);
    struct fs_entry e;
    while (w && fs_walk_next(w, &e, err))
        if (e.info.kind == FS_FILE)
            buf_printf(&names, STR_FMT " ", STR_ARG(e.path));
    fs_walk_close(w);
    buf_printf(&names, "| " STR_FMT, STR_ARG(b->file));
    if (!fs_exists(path_join(&a, b->dir, b->file)))
        buf_add_z(&names, " is not there");
    for (size_t i = 0; b->args && i < b->args->len; i++)
        buf_printf(&names, " " STR_FMT "=" STR_FMT, STR_ARG(b->args->items[i].key),
                   STR_ARG(b->args->items[i].value));
    snprintf(box.built, sizeof box.built, "%s", buf_z(&names));
    return fake_image_build(ctx, b, err);
}

static void local_probe(const struct probe_ask *ask, struct probe_answer *out)
{
    *out = (struct probe_answer){.is_up = atomic_load(&box.is_up)};
    snprintf(out->text, sizeof out->text, "%s", out->is_up ? "status 200" : "connection refused");
}

static void on_upstream(struct http_req *req, void *arg)
{
    atomic_fetch_add(&box.requests, 1);
    struct str prefix = http_req_header(req, STR("X-Forwarded-Prefix"));
    http_reply(req, 200, STR("text/plain"),
               str_printf(req->arena, STR_FMT " prefix=" STR_FMT, STR_ARG(req->target), STR_ARG(prefix)));
}

static int listen_upstream(void)
{
    scoped_err err = {0};
    struct http_listener *l = http_listen(
        box.upstream, &(struct http_listen){.host = STR("127.0.0.1"), .handler = {on_upstream, NULL}}, &err);
    assert_non_null(l);
    return http_listener_port(l);
}

static int open_all(void **state)
{
    static const struct ctr_hooks hooks = {.post = http_loop_post, .probe = local_probe};
    scoped_err err = {0};
    fx_open(state);
    ctr_manager_close(fx.env.containers);
    pthread_mutex_init(&box.fake.lock, NULL);
    box.ops = fake_backend;
    box.ops.inspect = local_inspect;
    box.ops.image_build = look_and_build;
    struct ctr_engine *e = ctr_engine_open_with(CTR_DOCKER, &box.ops, &box.fake);
    struct ctr_manager_config c = {
        .home = fx.env.home, .loop_count = 1, .max_concurrent_builds = 1, .max_build_wait_secs = 10};
    MUST(ctr_manager_open_with(&c, e, &hooks, &fx.env.containers, &err), &err);
    box.upstream = http_server_open(fx.env.loops, NULL);
    return 0;
}

static int close_all(void **state)
{
    http_server_close(box.upstream);
    return fx_close(state);
}

static int reset(void **state)
{
    setup(state);
    pthread_mutex_lock(&box.fake.lock);
    box.fake.count = box.fake.builds = box.fake.runs = box.fake.stops = box.fake.starts = box.fake.pulls = 0;
    box.fake.has_image = box.fake.build_fails = box.fake.run_fails = box.fake.exits_at_once = false;
    pthread_mutex_unlock(&box.fake.lock);
    atomic_store(&box.requests, 0);
    atomic_store(&box.is_up, true);
    if (!atomic_load(&box.port))
        atomic_store(&box.port, listen_upstream());
    return 0;
}

static size_t services(void)
{
    pthread_mutex_lock(&fx.env.containers->lock);
    size_t n = fx.env.containers->n_services;
    pthread_mutex_unlock(&fx.env.containers->lock);
    return n;
}

/* Nothing keeps a service whose app has gone. */
static int no_service_stays(void **state)
{
    teardown(state);
    for (int i = 0; services() > 0; i++) {
        if (i == 2000)
            return -1;
        usleep(5000);
    }
    return 0;
}
#define CTEST(name) cmocka_unit_test_setup_teardown(name, reset, no_service_stays)

/* --- the plan --- */

static const struct ctr_run *run_of(const struct app *app)
{
    return &app->service->run;
}

static struct str kv(const struct ctr_kv_list *l, const char *key)
{
    const struct str *v = ctr_kv_get(l, str_from(key));
    return v ? *v : STR("(none)");
}

static void the_environment_of_a_container(void **state)
{
    put(&now.entry.metadata.param_values, "a", "given");
    put(&now.entry.metadata.param_values, "undeclared", "raw");
    put(&now.entry.metadata.param_values, "secrets", "[]");
    now.entry.metadata.version_metadata.git_commit = STR("abc");
    now.entry.metadata.version_metadata.git_message = STR("fix, all\nmore");
    now.entry.metadata.version_metadata.version = 12;
    const struct ctr_run *r =
        run_of(load_app(FILES("app.star", spec_app, "Dockerfile", "FROM x\nEXPOSE 8080\n", "params.star",
                              "param('a')\nparam('n', type=INT, default=5)\nparam('b', type=BOOLEAN, "
                              "required=False)\nparam('l', type=LIST, default=['x', 1])\n"
                              "param('d', type=DICT, required=False)\nparam('secrets', type=LIST, "
                              "default=[])\nparam('app_name', default='private')\n")));
    static const char *const wanted[][2] = {{"a", "given"},
                                            {"n", "5"},
                                            {"b", "false"},
                                            {"l", "[\"x\",1]"},
                                            {"d", "{}"},
                                            {"undeclared", "raw"},
                                            {"secrets", "(none)"},
                                            {"app_name", "(none)"},
                                            {"CL_APP_PATH", "/x"},
                                            {"PORT", "8080"},
                                            {"CL_APP_URL", "https://localhost:25223/x"}};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        assert_str(kv(&r->env, wanted[i][0]), wanted[i][1]);
    assert_int_equal(r->port, 8080);
    assert_str(kv(&r->labels, CTR_LABEL_APP_ID), "app_prd_2abcdefghijklmnopqrstuvwxyz");
    assert_str(kv(&r->labels, CTR_LABEL_APP_PATH), "/x");
    assert_str(kv(&r->labels, CTR_LABEL_HOME), fx.home);
    assert_str(kv(&r->labels, CTR_LABEL_DEV), "false");
    assert_str(kv(&r->labels, CTR_LABEL_APP_VERSION), "12");
    assert_str(kv(&r->labels, CTR_LABEL_GIT_SHA), "abc");
    assert_true(str_chr(kv(&r->labels, CTR_LABEL_GIT_MESSAGE), ',') == STR_NPOS);
    assert_true(str_starts(r->name, STR("clc-app_prd_2abcdefghijklmnopqrstuvwxyz-")));
    assert_true(str_starts(r->image, STR("cli-2abcdefghijklmnopqrstuvwxyz:")));
    assert_has(kv(&r->labels, CTR_LABEL_VERSION_HASH),
               str_z(&now.arena, str_slice(r->name, r->name.len - 16, r->name.len)));
}

static const char *name_with(const char *containerfile, const char *param)
{
    put(&now.entry.metadata.param_values, "p", param);
    const struct ctr_run *r = run_of(load_app(FILES("app.star", spec_app, "Containerfile", containerfile)));
    return str_z(&now.arena,
                 str_printf(&now.arena, STR_FMT " " STR_FMT, STR_ARG(r->name), STR_ARG(r->image)));
}

static void names_follow_what_a_container_is_made_of(void **state)
{
    const char *first = name_with("FROM x\nEXPOSE 80", "1"), *again = name_with("FROM x\nEXPOSE 80", "1");
    const char *other = name_with("FROM x\nEXPOSE 80", "2"), *rebuilt = name_with("FROM y\nEXPOSE 80", "1");
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    assert_string_equal(strchr(first, ' '), strchr(other, ' ')); /* the same image */
    assert_string_not_equal(strchr(first, ' '), strchr(rebuilt, ' '));
    /* Staging and production share images. */
    now.entry.id = STR("app_stg_2abcdefghijklmnopqrstuvwxyz");
    assert_string_equal(strchr(first, ' '), strchr(name_with("FROM x\nEXPOSE 80", "1"), ' '));
    now.entry.id = STR("app_pre_2abcdefghijklmnopqrstuvwxyz");
    assert_non_null(strstr(name_with("FROM x\nEXPOSE 80", "1"), " cli-app_pre_2abc"));
    now.entry.id = STR("app_stg_2abcdefghijklmnopqrstuvwxyz");
    load_app(FILES(
        "app.star",
        "load('container.in', 'container')\napp = ace.app('c', container=container.config('auto', port=5),\n"
        "  settings={'container': {'separate_stage_prod_images': True}})\n",
        "Containerfile", "FROM x"));
    assert_true(str_starts(run_of(atomic_load(&fx.app))->image, STR("cli-app_stg_2abc")));
}

static const struct {
    const char *name, *config;
    const char *files[8];
    const char *options; /* container_options, container_args or volumes: "opt k v" ... */
    const char *err;
} refused[] = {
    {"no container file", "'auto'", {"x", "y"}, NULL, "no container file found, source is set to auto"},
    {"another name", "'My.file'", {"Containerfile", "FROM x"}, NULL, "source is set to My.file"},
    {"a file out of the app", "'../x'", {"x", "FROM x"}, NULL, "no container file found"},
    {"no port",
     "'auto'",
     {"Containerfile", "FROM x\nEXPOSE $NOPE"},
     NULL,
     "port not specified in app config and in container file ("},
    {"a broken file", "'auto'", {"Containerfile", "RUN x"}, NULL, "Containerfile"},
    {"nixpacks", "container.NIXPACKS", {"x", ""}, NULL, "nixpacks is not supported yet"},
    {"an image without a name", "'image: '", {"x", ""}, NULL, "image: needs the image's name"},
    {"another lifetime", "'auto', lifetime='day'", {"x", ""}, NULL, "lifetime must be \"app\" or \"command\""},
    {"another scheme",
     "'auto', scheme='ftp'",
     {"Containerfile", "FROM x"},
     NULL,
     "scheme must be http or https"},
    {"a port out of range",
     "'auto', port=70000",
     {"Containerfile", "FROM x"},
     NULL,
     "error in container config: container.config: port"},
    {"unknown dev settings",
     "'auto', dev_settings={'x': 1}",
     {"Containerfile", "FROM x"},
     NULL,
     "unknown dev_settings key \"x\": allowed are target"},
    {"a build_dir out of the app",
     "'auto', port=1, build_dir='../..'",
     {"Containerfile", "FROM x"},
     NULL,
     "build_dir"},
    {"a mount of the host",
     "'auto', port=1, volumes=['/etc:/e']",
     {"Containerfile", "FROM x"},
     NULL,
     "not within an allowed mount"},
    {"a secret volume",
     "'auto', port=1, volumes=['cl_secret:a.tmpl:/e']",
     {"Containerfile", "FROM x"},
     NULL,
     "the app has no file a.tmpl"},
    {"a secret volume out of the app",
     "'auto', port=1, volumes=['cl_secret:../a.tmpl:/e']",
     {"Containerfile", "FROM x"},
     NULL,
     "../a.tmpl"},
    {"a secret volume whose template is wrong",
     "'auto', port=1, volumes=['cl_secret:Containerfile:/e']",
     {"Containerfile", "FROM x\n# {{nothing}}"},
     NULL,
     "Containerfile: template line 2: unknown value nothing"},
    {"a bind of what is not there",
     "'auto', port=1, volumes=['./conf:/e']",
     {"Containerfile", "FROM x"},
     NULL,
     "volume source \"./conf\": the app's source has no such file or folder"},
    {"a bind out of the app",
     "'auto', port=1, volumes=['./a/../../b:/e']",
     {"Containerfile", "FROM x"},
     NULL,
     "path must stay within its root"},
    {"volumes that are no strings",
     "'auto', port=1, volumes=[1]",
     {"Containerfile", "FROM x"},
     NULL,
     "volumes must be strings"},
    {"build arguments that are no strings",
     "'auto', port=1, cargs={1: 2}",
     {"Containerfile", "FROM x"},
     NULL,
     "cargs keys must be strings"},
    {"a flag that is not allowed", "'auto', port=1", {"Containerfile", "FROM x"}, "privileged", "privileged"},
};

static const char *star_with(const char *config)
{
    return str_z(
        &now.arena,
        str_printf(&now.arena,
                   "load('container.in', 'container')\napp = ace.app('c', container=container.config(%s))\n",
                   config));
}

static void impossible_containers_are_load_errors(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        setup(NULL);
        print_message("%s\n", refused[i].name);
        const char *pairs[16] = {"app.star", star_with(refused[i].config)};
        memcpy(pairs + 2, refused[i].files, sizeof refused[i].files);
        if (refused[i].options)
            put(&now.entry.metadata.container_options, refused[i].options, "");
        must_not_load(pairs, refused[i].err);
    }
    must_not_load(FILES("app.star", "app = ace.app('c', container='x')\n"),
                  "error in container config: not the result of a plugin call");
}

static void ports_and_files_are_found(void **state)
{
    assert_int_equal(
        run_of(load_app(FILES("app.star", star_with("'auto'"), "Containerfile",
                              "FROM x\nARG P=81\nEXPOSE $P/tcp", "Dockerfile", "FROM y\nEXPOSE 1")))
            ->port,
        81);
    assert_int_equal(run_of(load_app(FILES("app.star", star_with("'auto', port=82"), "Containerfile",
                                           "FROM x\nEXPOSE 81")))
                         ->port,
                     82);
    assert_int_equal(
        run_of(load_app(FILES("app.star", star_with("'My.file'"), "My.file", "FROM x\nEXPOSE 83")))->port,
        83);
    put(&now.entry.metadata.spec_files, "Containerfile", "FROM s\nEXPOSE 84");
    assert_int_equal(run_of(load_app(FILES("app.star", star_with("'auto'"), "x", "")))->port, 84);
    assert_int_equal(
        run_of(load_app(FILES("app.star", star_with("'auto'"), "Dockerfile", "FROM x\nEXPOSE 85")))->port,
        85);
    assert_int_equal(run_of(load_app(FILES("app.star", star_with("'auto', build_dir='sub'"), "Dockerfile",
                                           "FROM x\nEXPOSE 1", "sub/Dockerfile", "FROM x\nEXPOSE 86")))
                         ->port,
                     86);
}

static void secret_volumes_are_rendered_from_params_alone(void **state)
{
    put(&now.entry.metadata.param_values, "COLOR", "te\"al");
    put(&now.entry.metadata.param_values, "secrets", "[]");
    const struct ctr_run *run =
        run_of(load_app(FILES("app.star", star_with("'auto', volumes=['cl_secret:./conf/a.toml:/app/b.toml:ro']"), "Containerfile",
                              "FROM x\nEXPOSE 1", "conf/a.toml", "{{range $k, $v := .params}}{{$k}}={{printf \"%q\" $v}}\n{{end}}")));
    scoped_err err = {0};
    struct str text;
    struct fs_info info;
    assert_int_equal(run->n_mounts, 1);
    assert_true(run->mounts[0].is_bind && run->mounts[0].is_read_only);
    assert_str(run->mounts[0].target, "/app/b.toml");
    MUST(fs_read_all(&now.arena, run->mounts[0].source, 1000, &text, &err), &err);
    assert_str(text, "COLOR=\"te\\\"al\"\n");
    MUST(fs_stat(path_dir(run->mounts[0].source), &info, &err), &err);
    assert_int_equal(info.mode & 0777, 0700);
}

static void relative_binds_are_copies_of_the_version(void **state)
{
    scoped_err err = {0};
    struct str text, first;
    struct fs_info info;
    const char *star = star_with("'auto', volumes=['./conf:/conf:ro', './conf/a.ini:/a.ini', './:/all']");
    const struct ctr_run *run = run_of(load_app(FILES("app.star", star, "Containerfile", "FROM x\nEXPOSE 1", "conf/a.ini",
                                                      "a", "conf/sub/b.ini", "b", "conf2/c.ini", "c")));
    assert_int_equal(run->n_mounts, 3);
    first = str_dup(&now.arena, run->mounts[0].source);
    assert_true(run->mounts[0].is_read_only && str_starts(first, fx.env.home));
    MUST(fs_read_all(&now.arena, path_join(&now.arena, first, STR("sub/b.ini")), 100, &text, &err), &err);
    assert_str(text, "b");
    assert_false(fs_exists(path_join(&now.arena, first, STR("c.ini"))));
    MUST(fs_read_all(&now.arena, run->mounts[1].source, 100, &text, &err), &err);
    assert_str(text, "a");
    assert_true(str_ends(run->mounts[1].source, STR("/a.ini")));
    assert_true(fs_exists(path_join(&now.arena, run->mounts[2].source, STR("conf2/c.ini"))));
    /* The container's user can read them, nobody else gets there. */
    MUST(fs_stat(first, &info, &err), &err);
    assert_int_equal(info.mode & 0777, 0755);
    MUST(fs_stat(path_dir(path_dir(first)), &info, &err), &err);
    assert_int_equal(info.mode & 0777, 0700);
    /* Another content is another copy; the same is the same. */
    run = run_of(load_app(FILES("app.star", star, "Containerfile", "FROM x\nEXPOSE 1", "conf/a.ini", "a2", "conf/sub/b.ini",
                                "b")));
    assert_false(str_eq(run->mounts[0].source, first));
    run = run_of(load_app(FILES("app.star", star, "Containerfile", "FROM x\nEXPOSE 1", "conf/a.ini", "a", "conf/sub/b.ini",
                                "b")));
    assert_str(run->mounts[0].source, str_z(&now.arena, first));
}

/* A container mounts what `mounted` says. */
static struct str mounted;

static bool mounting_inspect(void *ctx, struct arena *a, struct str name, uint16_t port, struct ctr_info *out, struct err *err)
{
    if (!local_inspect(ctx, a, name, port, out, err))
        return false;
    out->mounts = arena_array(a, struct ctr_mount_info, 1);
    out->mounts[0] = (struct ctr_mount_info){.source = mounted};
    out->n_mounts = mounted.len > 0;
    return true;
}

static void files_that_nothing_mounts_go(void **state)
{
    scoped_err err = {0};
    static const char star[] = "'auto', volumes=['cl_secret:./conf/a.toml:/app/b.toml', './conf:/conf']";
    static const char *const texts[] = {"old", "new"};
    struct str secret[2], copy[2];
    box.ops.inspect = mounting_inspect;
    snprintf(box.fake.list[0].name, sizeof box.fake.list[0].name, "clc-x");
    box.fake.list[0].app = str_z(&now.arena, now.entry.id);
    box.fake.list[0].home = str_z(&now.arena, fx.env.home);
    box.fake.count = 1;
    mounted = (struct str){0};
    for (int i = 0; i < 2; i++) {
        const struct ctr_run *run = run_of(load_app(
            FILES("app.star", star_with(star), "Containerfile", "FROM x\nEXPOSE 1", "conf/a.toml", texts[i])));
        secret[i] = str_dup(&now.arena, run->mounts[0].source);
        copy[i] = str_dup(&now.arena, path_dir(run->mounts[1].source));
    }
    struct str half = path_join(&now.arena, path_dir(copy[0]), STR("0123.tmp-4567"));
    MUST(fs_mkdir_p(half, 0700, &err), &err);
    /* The last load is still there. A container that has the first one's copy, by another way, keeps it. */
    mounted = str_cat(&now.arena, STR("/elsewhere"), path_join(&now.arena, str_from_off(copy[0], fx.env.home.len), STR("files")));
    MUST(app_sweep_files(&fx.env, &err), &err);
    assert_false(fs_exists(secret[0]));
    assert_true(fs_exists(copy[0]) && fs_exists(secret[1]) && fs_exists(copy[1]) && fs_exists(half));
    mounted = str_cat(&now.arena, copy[0], STR("0/files")); /* another name */
    MUST(app_sweep_files(&fx.env, &err), &err);
    assert_true(!fs_exists(copy[0]) && fs_exists(copy[1]));
    /* Nobody holds the last one when its app is gone; while the engine says nothing it stays. */
    drop_app();
    atomic_store(&box.fake.is_dead, true);
    assert_false(app_sweep_files(&fx.env, &err));
    err_release(&err);
    assert_true(fs_exists(copy[1]) && fs_exists(secret[1]));
    atomic_store(&box.fake.is_dead, false);
    MUST(app_sweep_files(&fx.env, &err), &err);
    assert_true(!fs_exists(copy[1]) && !fs_exists(secret[1]));
    box.ops.inspect = local_inspect;
}

static void volumes_options_and_images(void **state)
{
    str_list_add(&now.arena, &now.entry.metadata.container_volumes, STR("data:/data"));
    put(&now.entry.metadata.container_options, "cpus", "0.5");
    put(&now.entry.metadata.container_options, "memory", "64m");
    const struct ctr_run *r = run_of(load_app(
        FILES("app.star", star_with("'image:docker.io/x:1', port=9, volumes=['/cache', 'data:/data:ro']"),
              "x", "")));
    assert_str(r->image, "docker.io/x:1");
    assert_true(atomic_load(&fx.app)->service->is_external_image);
    assert_int_equal(r->n_mounts, 2);
    assert_str(r->mounts[0].target, "/data");
    assert_true(r->mounts[0].is_read_only);
    assert_true(str_starts(r->mounts[1].source, STR("clv-app_prd_2abc")));
    assert_int_equal(r->limits.milli_cpus, 500);
    assert_int_equal(r->limits.memory_bytes, 64 << 20);
}

/* --- building and starting --- */

static struct {
    char lines[4096];
} heard;

static void hear(void *arg, struct str line)
{
    snprintf(heard.lines + strlen(heard.lines), sizeof heard.lines - strlen(heard.lines), STR_FMT "\n",
             STR_ARG(line));
}

static void an_image_is_built_from_the_given_files(void **state)
{
    struct app_progress progress = {.line = hear};
    struct app *app = load_app(FILES("app.star", star_with("'auto', port=5, cargs={'V': 3, 'B': True}"),
                                     "Containerfile", "FROM x", "lib/a.py", "a"));
    assert_true(app_has_container(app));
    heard.lines[0] = '\0';
    MUST(app_start_container(app, &progress, &now.err), &now.err);
    assert_string_equal(box.built, "Containerfile app.star lib/a.py | Containerfile V=3 B=true");
    assert_non_null(strstr(heard.lines, "STEP 1/1"));
    assert_int_equal(box.fake.runs, 1);
    assert_true(app->did_start);
    MUST(app_start_container(app, NULL, &now.err), &now.err);
    assert_int_equal(box.fake.runs, 1);
    app_undo_start(app);
}

static void a_change_that_is_undone_stops_what_it_started(void **state)
{
    struct app *app = load_app(FILES("app.star", star_with("'auto', port=5"), "Containerfile", "FROM x"));
    MUST(app_start_container(app, NULL, &now.err), &now.err);
    app_undo_start(app);
    assert_int_equal(box.fake.stops, 1);
    MUST(ctr_service_start(app->service, NULL, NULL, NULL, &now.err), &now.err);
    app->did_start = false; /* it ran before: then it stays */
    MUST(app_start_container(app, NULL, &now.err), &now.err);
    app_undo_start(app);
    assert_int_equal(box.fake.stops, 1);
}

static void the_folder_of_a_build_goes(void **state)
{
    struct app *app = load_app(FILES("app.star", star_with("'auto', port=5, build_dir='sub'"),
                                     "sub/Containerfile", "FROM x", "other", "o"));
    box.fake.build_fails = true;
    assert_false(app_start_container(app, NULL, &now.err));
    assert_has(str_from(err_msg(&now.err)), "no such file");
    err_release(&now.err);
    assert_string_equal(box.built, "Containerfile | Containerfile");
    box.fake.build_fails = false;
    MUST(app_start_container(app, NULL, &now.err), &now.err);
    scoped_err ignored = {0};
    struct fs_walk *w =
        fs_walk_open(path_join(&now.arena, fx.env.home, STR("run/app"), now.entry.id), &ignored);
    struct fs_entry e;
    while (w && fs_walk_next(w, &e, &ignored))
        if (str_find(e.path, STR("build-")) != STR_NPOS)
            fail_msg("left behind: " STR_FMT, STR_ARG(e.path));
    fs_walk_close(w);
}

static void a_spec_builds_a_sub_folder(void **state)
{
    put(&now.entry.metadata.spec_files, "Containerfile", "FROM s\nEXPOSE 84");
    struct app *app = load_app(FILES("app.star", star_with("'auto', build_dir='a/b'"), "a/b/code", "x"));
    MUST(app_start_container(app, NULL, &now.err), &now.err);
    assert_string_equal(box.built, "code | ../../Containerfile");
}

/* The operation is over, its files are gone: the build reads what the entry has. */
static void a_build_after_the_operation(void **state)
{
    now.entry.source_url = STR("-");
    put(&now.entry.metadata.spec_files, "Containerfile", "FROM s\nEXPOSE 84");
    put(&now.entry.metadata.spec_files, "app.star", star_with("'auto'"));
    struct app *app;
    {
        struct src_files given = {0};
        MUST(app_load(&fx.env, &now.entry, &given, &app, &now.err), &now.err);
        atomic_store(&fx.app, app);
        app_detach_files(app);
        memset(&given, 0xff, sizeof given);
    }
    MUST(app_start_container(app, NULL, &now.err), &now.err);
    assert_string_equal(box.built, "Containerfile app.star | Containerfile");
}

static void two_apps_of_one_container_share_it(void **state)
{
    const char *const *files = FILES("app.star", star_with("'auto', port=5"), "Containerfile", "FROM x");
    struct app *first = app_ref(load_app(files)), *second = load_app(files);
    assert_ptr_equal(first->service, second->service);
    assert_int_equal(services(), 1);
    MUST(app_start_container(second, NULL, &now.err), &now.err);
    app_retire(first, second, 0); /* its successor goes on using it */
    app_unref(first);
    usleep(20000);
    assert_int_equal(box.fake.stops, 0);
    app_retire(second, NULL, 0);
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&box.fake.lock);
        int stops = box.fake.stops;
        pthread_mutex_unlock(&box.fake.lock);
        if (stops == 1)
            return;
        usleep(5000);
    }
    fail_msg("the container of a retired app goes on");
}

/* --- proxying --- */

static void a_request_wakes_the_container(void **state)
{
    struct app *app = load_app(FILES("app.star", spec_app, "Containerfile", "FROM x\nEXPOSE 80"));
    assert_non_null(app->lone_proxy);
    expect("GET /x/a?b=c", 200, "/a?b=c prefix=/x");
    assert_int_equal(box.fake.runs, 1);
    struct container_upstream *u = app->upstreams[0];
    for (int i = 0; i < 5; i++)
        expect("GET /x", 200, "/ prefix=/x");
    assert_ptr_equal(app->upstreams[0], u); /* parsed once */
    assert_int_equal(box.fake.runs, 1);
    struct ctr_service_status s;
    for (int i = 0; i < 2000; i++) {
        ctr_service_status(app->service, &now.arena, &s);
        if (s.in_flight == 0)
            break;
        usleep(1000);
    }
    assert_int_equal(s.in_flight, 0);
}

static void a_container_that_has_moved_is_found_again(void **state)
{
    struct app *app = load_app(FILES("app.star", spec_app, "Containerfile", "FROM x\nEXPOSE 80"));
    expect("GET /x/1", 200, "/1 prefix=/x");
    /* It dies and comes back elsewhere. */
    int old = atomic_load(&box.port);
    http_server_close(box.upstream);
    box.upstream = http_server_open(fx.env.loops, NULL);
    atomic_store(&box.port, listen_upstream());
    assert_int_not_equal(atomic_load(&box.port), old);
    fake_set_status(&box.fake, app->service->run.name, CTR_STATUS_EXITED);
    expect("GET /x/2", 200, "/2 prefix=/x");
    assert_int_equal(app->upstreams[0]->refs, 1);
    assert_int_equal(app->upstreams[0]->at.port, atomic_load(&box.port));
}

static void a_start_that_fails_says_more_to_those_who_may_know(void **state)
{
    load_app(FILES("app.star", spec_app, "Containerfile", "FROM x\nEXPOSE 80"));
    box.fake.exits_at_once = true;
    say("GET /x/a");
    assert_true(now.got.status == 500 || now.got.status == 503);
    assert_true(str_find(body(), STR("Traceback")) == STR_NPOS);
    fx.who.user_id = STR("admin");
    say("GET /x/a");
    assert_has(body(), "Traceback: no module named app");
    assert_false(str_is_empty(header("Retry-After")));
}

static void a_client_that_leaves_while_it_waits(void **state)
{
    struct app *app = load_app(FILES("app.star", spec_app, "Containerfile", "FROM x\nEXPOSE 80"));
    atomic_store(&box.is_up, false);
    struct web w = web_open(fx.port);
    web_say(&w, "GET /x/a HTTP/1.1\r\nHost: x\r\n\r\n");
    struct ctr_service_status s;
    do {
        usleep(1000);
        ctr_service_status(app->service, &now.arena, &s);
    } while (s.waiting == 0);
    web_close(&w);
    for (int i = 0; s.waiting > 0 && i < 2000; i++) {
        usleep(5000);
        ctr_service_status(app->service, &now.arena, &s);
    }
    assert_int_equal(s.waiting, 0);
    atomic_store(&box.is_up, true);
    expect("GET /x/b", 200, "/b prefix=/x");
    assert_int_equal(atomic_load(&box.requests), 1);
}

static void engines_may_be_off(void **state)
{
    struct ctr_manager *had = fx.env.containers;
    const struct ctr_manager_config config = {.home = fx.env.home, .loop_count = 1};
    MUST(ctr_manager_open(&config, &fx.env.containers, &now.err), &now.err);
    must_not_load(FILES("app.star", star_with("'auto', port=1"), "Containerfile", "FROM x"),
                  "app requires container support, which is not enabled on this server");
    ctr_manager_close(fx.env.containers);
    fx.env.containers = had;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CTEST(the_environment_of_a_container),
        CTEST(names_follow_what_a_container_is_made_of),
        CTEST(impossible_containers_are_load_errors),
        CTEST(ports_and_files_are_found),
        CTEST(secret_volumes_are_rendered_from_params_alone),
        TEST(relative_binds_are_copies_of_the_version),
        CTEST(files_that_nothing_mounts_go),
        TEST(volumes_options_and_images),
        CTEST(an_image_is_built_from_the_given_files),
        CTEST(a_change_that_is_undone_stops_what_it_started),
        CTEST(the_folder_of_a_build_goes),
        CTEST(a_spec_builds_a_sub_folder),
        CTEST(a_build_after_the_operation),
        CTEST(two_apps_of_one_container_share_it),
        CTEST(a_request_wakes_the_container),
        CTEST(a_container_that_has_moved_is_found_again),
        CTEST(a_start_that_fails_says_more_to_those_who_may_know),
        CTEST(a_client_that_leaves_while_it_waits),
        CTEST(engines_may_be_off),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
