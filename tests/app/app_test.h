/* tests/app/app_test.h: an app from files in memory, behind a real server on a loopback port.
 *
 *     FILES("app.star", "...", "static/a.css", "...")   ->  load_app()  ->  say("GET /x/hello")  ->
 * got.status, body()
 *
 * There is no container engine (unless a test puts a fake one in) and no store.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef APP_TEST_H
#define APP_TEST_H

#include "app_int.h"
#include "web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

/* What every test of a file shares. */
static struct {
    char home[64];
    struct arena arena;
    struct app_env env;
    struct http_server *server;
    int port;
    /* Who asks, and through what. Set between requests only. */
    struct auth_identity who;
    bool is_https, is_write_gated;
    _Atomic(struct app *) app;
} fx;

/* What the test in hand has loaded. */
static struct {
    struct arena arena;
    struct store_app entry;
    struct err err;
    struct web_resp got;
} now;

#define FILES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MUST(call, err)                                                                                      \
    do {                                                                                                     \
        if (!(call))                                                                                         \
            fail_msg("%s: %s", #call, err_msg(err));                                                         \
    } while (0)
#define assert_str(got_, wanted_)                                                                            \
    do {                                                                                                     \
        struct str g_ = (got_), w_ = str_from(wanted_);                                                      \
        if (!str_eq(g_, w_))                                                                                 \
            fail_msg("%s:%d: wanted \"" STR_FMT "\", got \"" STR_FMT "\"", __FILE__, __LINE__, STR_ARG(w_),  \
                     STR_ARG(g_));                                                                           \
    } while (0)
#define assert_has(got_, wanted_)                                                                            \
    do {                                                                                                     \
        struct str g_ = (got_), w_ = str_from(wanted_);                                                      \
        if (str_find(g_, w_) == STR_NPOS)                                                                    \
            fail_msg("%s:%d: \"" STR_FMT "\" not in \"" STR_FMT "\"", __FILE__, __LINE__, STR_ARG(w_),       \
                     STR_ARG(g_));                                                                           \
    } while (0)

static const char default_permissions[] =
    "[[allow]]\nplugin = \"proxy.in\"\nmethod = \"config\"\narguments = [\"<CONTAINER_URL>\"]\n"
    "[[allow]]\nplugin = \"container.in\"\nmethod = \"config\"\narguments = [\"regex:.*\"]\nsecrets = []\n"
    "[[disallow]]\nplugin = \"exec.in\"\n";

static void on_request(struct http_req *req, void *arg)
{
    struct auth_identity *who = arena_new(req->arena, struct auth_identity);
    *who = fx.who;
    struct app_request r = {
        .req = req,
        .who = who,
        .cookie = http_req_known(req, HTTP_H_COOKIE),
        .client_ip = http_req_peer(req),
        .is_https = fx.is_https,
        .is_write_gated = fx.is_write_gated,
    };
    app_handle(atomic_load(&fx.app), &r);
}

static inline int fx_open(void **state)
{
    scoped_err err = {0};
    struct toml_value *permissions = arena_new(&fx.arena, struct toml_value);
    struct plugin_rules *rules;
    snprintf(fx.home, sizeof fx.home, "/tmp/openrun-app-XXXXXX");
    if (!mkdtemp(fx.home))
        return -1;
    MUST(toml_parse(&fx.arena, str_from(default_permissions), permissions, &err), &err);
    MUST(plugin_rules_new(&fx.arena, permissions, &rules, &err), &err);
    fx.env = (struct app_env){
        .home = str_from(fx.home),
        .default_domain = STR("localhost"),
        .http_port = 25222,
        .https_port = 25223,
        .rules = rules,
    };
    fx.env.loops = http_loops_open(1, &err);
    fx.env.jobs = jobs_open("test", 2);
    const struct ctr_manager_config config = {
        .home = fx.env.home, .loop_count = 1, .max_concurrent_builds = 1};
    MUST(ctr_manager_open(&config, &fx.env.containers, &err), &err);
    fx.server = http_server_open(fx.env.loops, NULL);
    struct http_listener *l = http_listen(
        fx.server, &(struct http_listen){.host = STR("127.0.0.1"), .handler = {on_request, NULL}}, &err);
    if (!l)
        fail_msg("%s", err_msg(&err));
    fx.port = http_listener_port(l);
    return 0;
}

static inline int fx_close(void **state)
{
    http_server_close(fx.server);
    ctr_manager_close(fx.env.containers);
    jobs_close(fx.env.jobs);
    http_loops_close(fx.env.loops);
    arena_release(&fx.arena);
    scoped_err err = {0};
    return fs_remove_tree(str_from(fx.home), &err) ? 0 : -1;
}

/* Each test: an entry at /x, nobody signed in. */
static inline int setup(void **state)
{
    store_app_init(&now.arena, &now.entry);
    now.entry.id = STR("app_prd_2abcdefghijklmnopqrstuvwxyz");
    now.entry.path = STR("/x");
    now.entry.source_url = STR("/nowhere");
    now.entry.metadata.version_metadata.version = 1;
    fx.who = (struct auth_identity){.user_id = STR("anonymous")};
    fx.is_https = fx.is_write_gated = false;
    return 0;
}

static inline void no_work(struct http_loop *loop, void *arg)
{
}

/* A client that has its answer, or has left, may be ahead of the end of its request, which uses the app. */
static inline void requests_end(void)
{
    struct http_stats stats = {.open_reqs = 1};
    for (int i = 0; fx.server && stats.open_reqs > 0 && i < 20000; i++) {
        http_server_stats(fx.server, &stats);
        if (stats.open_reqs > 0)
            usleep(1000);
    }
    if (fx.env.loops)
        http_loops_run(fx.env.loops, no_work, NULL);
}

static inline void drop_app(void)
{
    requests_end();
    struct app *app = atomic_exchange(&fx.app, NULL);
    if (app)
        app_unref(app);
}

static inline int teardown(void **state)
{
    web_free(&now.got);
    now.got = (struct web_resp){0};
    drop_app();
    err_release(&now.err);
    arena_release(&now.arena);
    return 0;
}

static inline struct src_files *make_files(const char *const *pairs)
{
    struct src_file items[64];
    struct src_files *files = arena_new(&now.arena, struct src_files);
    size_t n = 0;
    scoped_err err = {0};
    for (; pairs[0]; pairs += 2)
        items[n++] =
            (struct src_file){.name = str_from(pairs[0]), .content = pairs[1], .size = strlen(pairs[1])};
    MUST(src_files_make(&now.arena, items, n, files, &err), &err);
    return files;
}

static inline void put(struct map *m, const char *key, const char *value)
{
    store_map_set(&now.arena, m, str_from(key), str_from(value));
}

/* The app is approved for what it asks for. */
static inline void approve(const struct src_files *files)
{
    struct app_audit audit;
    scoped_err err = {0};
    MUST(app_audit(&fx.env, &now.entry, files, &now.arena, &audit, &err), &err);
    now.entry.metadata.loads = audit.loads;
    now.entry.metadata.permissions = (struct store_permission_list){0};
    for (size_t i = 0; i < audit.n_permissions; i++)
        *vec_push(&now.arena, &now.entry.metadata.permissions) = audit.permissions[i];
}

static inline struct app *use_files(const struct src_files *files)
{
    struct app *app;
    MUST(app_load(&fx.env, &now.entry, files, &app, &now.err), &now.err);
    drop_app();
    atomic_store(&fx.app, app);
    return app;
}

static inline struct app *load_app(const char *const *pairs)
{
    return use_files(make_files(pairs));
}

static inline struct app *load_approved(const char *const *pairs)
{
    struct src_files *files = make_files(pairs);
    approve(files);
    return use_files(files);
}

/* app.star alone. */
static inline struct app *load_star(const char *text)
{
    return load_app(FILES("app.star", text));
}

static inline void must_not_load(const char *const *pairs, const char *wanted)
{
    struct app *app;
    if (app_load(&fx.env, &now.entry, make_files(pairs), &app, &now.err)) {
        app_unref(app);
        fail_msg("the app was loaded; wanted \"%s\"", wanted);
    }
    if (!strstr(err_msg(&now.err), wanted))
        fail_msg("wanted \"%s\", got \"%s\"", wanted, err_msg(&now.err));
    err_release(&now.err);
}

/* "GET /x/hello", or with header lines and a body: "POST /x HTTP/1.1\r\n..." is sent as it is. */
static inline const struct web_resp *say(const char *line)
{
    scoped_arena a = {0};
    struct str text = strstr(line, "\r\n\r\n")
                          ? str_from(line)
                          : str_printf(&a, "%s HTTP/1.1\r\nHost: localhost:25222\r\n\r\n", line);
    web_once(fx.port, str_z(&a, text), &now.got);
    return &now.got;
}

static inline const struct web_resp *say_with(const char *line, const char *headers)
{
    scoped_arena a = {0};
    return say(str_z(&a, str_printf(&a, "%s HTTP/1.1\r\nHost: localhost:25222\r\n%s\r\n", line, headers)));
}

static inline const struct web_resp *post(const char *path, const char *type, const char *text)
{
    scoped_arena a = {0};
    return say(str_z(
        &a,
        str_printf(&a,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
                   path, type, strlen(text), text)));
}

static inline struct str body(void)
{
    return buf_str(&now.got.body);
}

static inline struct str header(const char *name)
{
    scoped_arena a = {0};
    const char *at = strcasestr(now.got.head, str_z(&a, str_printf(&a, "\r\n%s: ", name)));
    if (!at)
        return (struct str){0};
    at += strlen(name) + 4;
    return str_of(at, strcspn(at, "\r"));
}

static inline void expect(const char *line, int status, const char *text)
{
    say(line);
    if (now.got.status != status || !str_eq_z(body(), text))
        fail_msg("%s: wanted %d \"%s\", got %d \"" STR_FMT "\"", line, status, text, now.got.status,
                 STR_ARG(body()));
}

static inline void expect_part(const char *line, int status, const char *text)
{
    say(line);
    if (now.got.status != status || str_find(body(), str_from(text)) == STR_NPOS)
        fail_msg("%s: wanted %d \"...%s...\", got %d \"" STR_FMT "\"", line, status, text, now.got.status,
                 STR_ARG(body()));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
