/* tests/server/test_api_container.c: the management API of containers, over an engine in memory: which ones it finds and
 * shows, and what it takes for times, tails and names.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include "../store/store_test.h"
#include "fake_engine.h"

enum { SHOP, SHOP_OLD, STAGE, DEV, NOT_OURS, ALIEN, CONTAINERS };

static const char shop_id[] = "app_prd_2abcdefghijklmnopqrstuvwxyz", stage_id[] = "app_stg_2abcdefghijklmnopqrstuvwxyz",
                  dev_id[] = "app_dev_2zzzzzzzzzzzzzzzzzzzzzzzzz";

static struct one {
    const char *id, *name, *app_id, *path, *home, *created;
    enum ctr_status status;
    bool is_gone; /* since the list was made */
} ones[CONTAINERS];

static struct {
    struct fake fake;
    struct ctr_backend ops;
    struct arena arena;
    struct server server;
    struct home home;
    char started[80], stopped[80], removed[80], logged[80];
    int lines;
    int64_t since_ns;
} box;

/* --- the engine --- */

static struct ctr_info info_of(struct arena *a, const struct one *o)
{
    struct ctr_info i = {.id = str_from(o->id), .name = str_from(o->name), .status = o->status, .created_at = str_from(o->created),
                         .image = STR("cli-x:1"), .ports = STR("127.0.0.1:3000 -> 8080/tcp, 9/udp")};
    ctr_kv_set(a, &i.labels, STR(CTR_LABEL_HOME), str_from(o->home));
    if (o->app_id)
        ctr_kv_set(a, &i.labels, STR(CTR_LABEL_APP_ID), str_from(o->app_id));
    ctr_kv_set(a, &i.labels, STR(CTR_LABEL_APP_PATH), str_from(o->path));
    ctr_kv_set(a, &i.labels, STR(CTR_LABEL_DEV), o == &ones[DEV] ? STR("true") : STR("false"));
    ctr_kv_set(a, &i.labels, STR(CTR_LABEL_APP_VERSION), STR("7"));
    return i;
}

/* More than was asked for: who asks must not rely on the engine's filter. */
static bool list(void *ctx, struct arena *a, struct str key, struct str value, bool all, struct ctr_info_list *out, struct err *err)
{
    if (box.fake.is_dead)
        return err_set(err, ERR_UNAVAILABLE, "the engine is away");
    *out = (struct ctr_info_list){0};
    for (int i = 0; i < CONTAINERS; i++)
        *vec_push(a, out) = info_of(a, &ones[i]);
    return true;
}

static bool inspect(void *ctx, struct arena *a, struct str name, uint16_t port, struct ctr_info *out, struct err *err)
{
    *out = (struct ctr_info){.status = CTR_STATUS_NONE};
    for (int i = 0; i < CONTAINERS; i++)
        if (str_eq_z(name, ones[i].name) && !ones[i].is_gone)
            *out = info_of(a, &ones[i]);
    out->command = STR("run it");
    out->exit_code = 3;
    out->restart_count = 2;
    out->mounts = arena_array(a, struct ctr_mount_info, 1);
    out->mounts[0] = (struct ctr_mount_info){STR("bind"), STR("/usr"), STR("/to"), true};
    out->n_mounts = 1;
    return true;
}

static bool stats(void *ctx, struct str name, bool quick, struct ctr_stats *out, struct err *err)
{
    if (str_eq_z(name, ones[DEV].name))
        return err_set(err, ERR_UPSTREAM, "it has just ended");
    *out = (struct ctr_stats){.cpu_percent = 12.3456, .mem_bytes = 50, .mem_limit = 300, .net_in = 1, .pids = 4};
    return true;
}

static bool logs(void *ctx, struct arena *a, struct str name, int lines, int64_t since_ns, bool with_times, struct str *out,
                 struct err *err)
{
    snprintf(box.logged, sizeof box.logged, STR_FMT, STR_ARG(name));
    box.lines = lines;
    box.since_ns = since_ns;
    static const char text[] = "1970-01-01T00:00:02.5Z one\0two\n";
    *out = str_dup(a, str_of(text, sizeof text - 1));
    return true;
}

static bool start(void *ctx, struct str name, struct err *err)
{
    snprintf(box.started, sizeof box.started, STR_FMT, STR_ARG(name));
    return true;
}

static bool stop(void *ctx, struct str name, int grace_secs, struct err *err)
{
    snprintf(box.stopped, sizeof box.stopped, STR_FMT, STR_ARG(name));
    return true;
}

static bool remove_it(void *ctx, struct str name, struct err *err)
{
    snprintf(box.removed, sizeof box.removed, STR_FMT, STR_ARG(name));
    return true;
}

/* --- the server --- */

static void add_app(const char *id, const char *path, const char *domain)
{
    scoped_err err = {0};
    struct store_app app;
    store_app_init(&box.arena, &app);
    app.id = str_from(id);
    app.path = str_from(path);
    app.domain = str_from(domain);
    scoped_store_tx *tx = store_begin(box.server.store, &err);
    MUST(tx && store_app_insert(tx, &app, &err) && store_commit(&tx, &err), &err);
}

static int setup(void **state)
{
    scoped_err err = {0};
    memset(&box, 0, sizeof box);
    if (test_dir_make(state) != 0)
        return -1;
    const char *home = test_dir;
    const struct one all[CONTAINERS] = {
        [SHOP] = {"aaaa1111", "clc-shop-2", shop_id, "/shop", home, "2026-01-02T00:00:00Z", CTR_STATUS_RUNNING, false},
        [SHOP_OLD] = {"aaaa2222", "clc-shop-1", shop_id, "/shop", home, "2026-01-03T00:00:00Z", CTR_STATUS_EXITED, false},
        [STAGE] = {"bbbb1111", "clc-stage", stage_id, "/shop", home, "2026-01-01T00:00:00Z", CTR_STATUS_EXITED, false},
        [DEV] = {"cccc1111", "clc-dev", dev_id, "/dev", home, "2026-01-01T00:00:00Z", CTR_STATUS_RUNNING, false},
        [NOT_OURS] = {"dddd1111", "clc-other", shop_id, "/shop", "/another/home", "2026-01-09T00:00:00Z", CTR_STATUS_RUNNING, false},
        [ALIEN] = {"eeee1111", "postgres", NULL, "", home, "2026-01-09T00:00:00Z", CTR_STATUS_RUNNING, false},
    };
    memcpy(ones, all, sizeof ones);
    pthread_mutex_init(&box.fake.lock, NULL);
    box.ops = fake_backend;
    box.ops.list = list;
    box.ops.inspect = inspect;
    box.ops.stats = stats;
    box.ops.logs = logs;
    box.ops.start = start;
    box.ops.stop = stop;
    box.ops.remove = remove_it;
    box.home.dir = str_from(home);
    box.server.home = &box.home;
    box.server.store = test_open("metadata");
    MUST(config_parse(&box.arena, STR("openrun.toml"), (struct str){0}, &box.server.config, &err), &err);
    static const struct ctr_hooks hooks = {.probe = fake_probe};
    const struct ctr_manager_config c = {.home = box.home.dir, .loop_count = 1, .max_concurrent_builds = 1};
    struct ctr_engine *e = ctr_engine_open_with(CTR_DOCKER, &box.ops, &box.fake);
    MUST(ctr_manager_open_with(&c, e, &hooks, &box.server.containers, &err), &err);
    add_app(shop_id, "/shop", "shop.example");
    add_app(stage_id, "/shop", "stage.example");
    add_app("app_prd_2nothing", "/none", "");
    return 0;
}

static int teardown(void **state)
{
    ctr_manager_close(box.server.containers);
    store_close(box.server.store);
    arena_release(&box.arena);
    return test_dir_remove(state);
}

/* A call with a query like "id=x&tail=3"; a new reference, or NULL with *err. */
static json_t *ask(api_query_fn *fn, const char *query, struct err *err)
{
    struct http_pairs pairs = {0};
    json_t *reply = NULL;
    scoped_err own = {0};
    MUST(http_query_parse(&box.arena, str_from(query), &pairs, &own), &own);
    return fn(&box.server, &box.arena, &pairs, &reply, err) ? reply : NULL;
}

static void must_refuse(api_query_fn *fn, const char *query, enum err_code code, const char *text)
{
    scoped_err err = {0};
    scoped_json *reply = ask(fn, query, &err);
    if (reply || err.code != code || !strstr(err_msg(&err), text))
        fail_msg("%s: wanted %d \"%s\", got %d \"%s\"", query, (int)code, text, (int)err.code, err_msg(&err));
}

static json_t *must_ask(api_query_fn *fn, const char *query)
{
    scoped_err err = {0};
    json_t *reply = ask(fn, query, &err);
    if (!reply)
        fail_msg("%s: %s", query, err_msg(&err));
    return reply;
}

static const char *text_at(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

/* --- tests --- */

static void the_list_is_of_this_home_by_path(void **state)
{
    static const struct {
        int which;
        const char *path, *env;
    } wanted[] = {{DEV, "/dev", "dev"}, {SHOP_OLD, "shop.example:/shop", "prod"}, {SHOP, "shop.example:/shop", "prod"},
                  {STAGE, "shop.example:/shop", "stage"}};
    scoped_json *reply = must_ask(api_container_list, "");
    const json_t *rows = json_object_get(reply, "containers");
    assert_int_equal(json_array_size(rows), ARRAY_LEN(wanted));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        const json_t *row = json_array_get(rows, i);
        assert_string_equal(text_at(row, "name"), ones[wanted[i].which].name);
        assert_string_equal(text_at(row, "id"), ones[wanted[i].which].id);
        assert_string_equal(text_at(row, "app_path"), wanted[i].path); /* the label's when the app is gone */
        assert_string_equal(text_at(row, "env"), wanted[i].env);
        assert_string_equal(text_at(row, "state"), ctr_status_name(ones[wanted[i].which].status));
    }
    box.fake.is_dead = true;
    must_refuse(api_container_list, "", ERR_UNAVAILABLE, "the engine is away");
}

static const struct {
    const char *query;
    int which; /* -1: refused, with `err` */
    const char *err;
} finds[] = {
    {"id=clc-shop-1", SHOP_OLD, NULL},
    {"id=aaaa1", SHOP, NULL},
    {"id=aaaa1111", SHOP, NULL},
    {"id=bbbb", STAGE, NULL},
    {"id=aaaa", -1, "more than one container has an id that begins with aaaa"},
    {"id=bbb", -1, "container bbb is not managed by OpenRun"}, /* too short to mean it */
    {"id=postgres", -1, "is not managed by OpenRun"},
    {"id=clc-other", -1, "is not managed by OpenRun"},
    {"id=dddd1111", -1, "is not managed by OpenRun"},
    {"id=", -1, "id is required"},
    {"", -1, "id is required"},
    {"appPath=shop.example:/shop", SHOP, NULL}, /* the one that runs, though it is older */
    {"appPath=stage.example:/shop", STAGE, NULL},
    {"appPath=/nowhere", -1, ""},
    {"appPath=/none", -1, "app /none has no container"},
    {"appPath=shop", -1, ""},
};

static void one_is_found_by_name_id_or_app(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(finds); i++) {
        scoped_err err = {0};
        scoped_json *reply = ask(api_container_get, finds[i].query, &err);
        if (finds[i].which < 0) {
            if (reply || !strstr(err_msg(&err), finds[i].err))
                fail_msg("%s: wanted \"%s\", got \"%s\"", finds[i].query, finds[i].err, err_msg(&err));
        } else if (!reply || strcmp(text_at(json_object_get(reply, "container"), "name"), ones[finds[i].which].name) != 0) {
            fail_msg("%s: wanted %s: %s", finds[i].query, ones[finds[i].which].name, err_msg(&err));
        }
    }
    /* Of those that do not run, the newest. */
    ones[SHOP].status = CTR_STATUS_EXITED;
    scoped_json *reply = must_ask(api_container_get, "appPath=shop.example:/shop");
    assert_string_equal(text_at(json_object_get(reply, "container"), "name"), ones[SHOP_OLD].name);
    ones[SHOP_OLD].is_gone = true;
    must_refuse(api_container_get, "id=clc-shop-1", ERR_NOT_FOUND, "has just been removed");
}

static void details_hold_mounts_and_use(void **state)
{
    scoped_json *reply = must_ask(api_container_get, "id=clc-shop-2");
    const json_t *c = json_object_get(reply, "container"), *m = json_array_get(json_object_get(c, "mounts"), 0);
    assert_string_equal(text_at(c, "command"), "run it");
    assert_string_equal(text_at(c, "app_version"), "7");
    assert_int_equal(json_integer_value(json_object_get(c, "restart_count")), 2);
    assert_string_equal(text_at(m, "source"), "/usr");
    assert_string_equal(text_at(m, "destination"), "/to");
    assert_true(json_is_true(json_object_get(m, "read_write")));
    assert_int_equal(json_integer_value(json_object_get(c, "size_rw")), 10);
    assert_int_equal(json_integer_value(json_object_get(c, "size_root_fs")), 1000);
    const json_t *ports = json_object_get(c, "port_bindings");
    assert_int_equal(json_array_size(ports), 2);
    assert_string_equal(json_string_value(json_array_get(ports, 0)), "127.0.0.1:3000 -> 8080/tcp");
    assert_string_equal(json_string_value(json_array_get(ports, 1)), "9/udp (not published)");
    const json_t *s = json_object_get(c, "stats");
    assert_true(json_real_value(json_object_get(s, "cpu_percent")) == 12.35);
    assert_true(json_real_value(json_object_get(s, "mem_percent")) == 16.67);
    /* One that does not run uses nothing, and one that ends meanwhile is no failure. */
    scoped_json *old = must_ask(api_container_get, "id=clc-shop-1"), *dev = must_ask(api_container_get, "id=clc-dev");
    assert_null(json_object_get(json_object_get(old, "container"), "stats"));
    assert_null(json_object_get(json_object_get(dev, "container"), "stats"));
}

static void use_is_of_what_runs(void **state)
{
    scoped_json *all = must_ask(api_container_stats, ""), *one = must_ask(api_container_stats, "id=clc-shop-2");
    const json_t *rows = json_object_get(all, "containers");
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(text_at(json_array_get(rows, 0), "name"), "clc-shop-2");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "pids")), 4);
    assert_int_equal(json_array_size(json_object_get(one, "containers")), 1);
    scoped_err err = {0};
    scoped_json *none = ask(api_container_stats, "id=clc-shop-1", &err);
    assert_null(none);
    assert_non_null(strstr(err_msg(&err), "container clc-shop-1 is not running"));
    must_refuse(api_container_stats, "id=nothing", ERR_NOT_FOUND, "is not managed");
}

static const struct {
    const char *query;
    int lines;
    int64_t since_ns; /* < 0: so many seconds before now */
    const char *err;
} tails[] = {
    {"", 100, 0, NULL},
    {"tail=1", 1, 0, NULL},
    {"tail=100000", 100000, 0, NULL},
    {"tail=0", 0, 0, "tail must be a number of lines from 1 to 100000"},
    {"tail=100001", 0, 0, "tail must be"},
    {"tail=-1", 0, 0, "tail must be"},
    {"tail=x", 0, 0, "tail must be"},
    {"since=1700000000000000001", 100, 1700000000000000001, NULL},
    {"since=9223372036854775807", 100, INT64_MAX, NULL},
    {"since=1700000000", 100, 1700000000000000000, NULL},
    {"since=9223372036854775808", 0, 0, "since must be like 10m, 1h30m, 1d"},
    {"since=1970-01-01T00:00:10Z", 100, 10000000000, NULL},
    {"since=1900-01-01T00:00:00Z", 100, 0, NULL},
    {"since=30s", 100, -30, NULL},
    {"since=2m", 100, -120, NULL},
    {"since=3h", 100, -10800, NULL},
    {"since=1d", 100, -86400, NULL},
    {"since=1h30m", 100, -5400, NULL},
    {"since=1d2h3m4s", 100, -93784, NULL},
    {"since=1h30", 0, 0, "since must be"},
    {"since=1hm", 0, 0, "since must be"},
    {"since=100000000d", 100, 1, NULL}, /* before 1970 is from the beginning */
    {"since=100000001s", 0, 0, "since must be"},
    {"since=5w", 0, 0, "since must be"},
    {"since=s", 0, 0, "since must be"},
    {"since=-5s", 0, 0, "since must be"},
};

static void logs_have_a_beginning_and_an_end(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        char query[200];
        snprintf(query, sizeof query, "id=clc-shop-2&%s", tails[i].query);
        if (tails[i].err) {
            must_refuse(api_container_logs, query, ERR_INVALID, tails[i].err);
            continue;
        }
        int64_t before = wall_ns();
        scoped_json *reply = must_ask(api_container_logs, query);
        int64_t ago = -tails[i].since_ns * 1000000000;
        bool is_right = tails[i].since_ns >= 0 ? box.since_ns == tails[i].since_ns
                                               : box.since_ns >= before - ago && box.since_ns <= wall_ns() - ago;
        if (!is_right || box.lines != tails[i].lines)
            fail_msg("%s: got %d lines since %lld", query, box.lines, (long long)box.since_ns);
        /* No NUL bytes, and nothing from before `since`: the line is of 1970. */
        assert_string_equal(text_at(reply, "logs"), box.since_ns > 2500000000 ? "" : "one two\n");
    }
    scoped_json *reply = must_ask(api_container_logs, "id=clc-shop-2");
    assert_string_equal(text_at(reply, "next"), "2500000001");
    assert_string_equal(box.logged, "clc-shop-2");
    must_refuse(api_container_logs, "id=clc-other", ERR_NOT_FOUND, "is not managed");
}

static void starting_and_stopping_is_by_name(void **state)
{
    scoped_json *started = must_ask(api_container_start, "id=bbbb"), *stopped = must_ask(api_container_stop, "appPath=shop.example:/shop");
    assert_string_equal(text_at(started, "name"), "clc-stage");
    assert_string_equal(box.started, "clc-stage");
    assert_string_equal(text_at(stopped, "name"), "clc-shop-2");
    assert_string_equal(box.stopped, "clc-shop-2");
    box.started[0] = box.stopped[0] = '\0';
    must_refuse(api_container_start, "id=postgres", ERR_NOT_FOUND, "is not managed");
    must_refuse(api_container_stop, "id=clc-other", ERR_NOT_FOUND, "is not managed");
    assert_true(!box.started[0] && !box.stopped[0]);
}

static void a_prune_can_be_a_dry_run(void **state)
{
    /* Three of one app, of which two stay: the one that was made first goes. */
    static const char *const dry[] = {"dryRun=true", "dryRun=1", "dryRun=T"}, *const real[] = {"", "dryRun=false"};
    ones[STAGE].app_id = shop_id;
    ones[NOT_OURS].app_id = NULL;
    for (size_t i = 0; i < ARRAY_LEN(dry) + ARRAY_LEN(real); i++) {
        bool is_dry = i < ARRAY_LEN(dry);
        box.removed[0] = '\0';
        scoped_json *reply = must_ask(api_container_prune, is_dry ? dry[i] : real[i - ARRAY_LEN(dry)]);
        const json_t *items = json_object_get(reply, "items"), *item = json_array_get(items, 0);
        assert_int_equal(json_array_size(items), 1);
        assert_string_equal(text_at(item, "name"), "clc-stage");
        assert_string_equal(text_at(item, "kind"), "container");
        assert_string_equal(text_at(item, "problem"), "");
        assert_int_equal(json_integer_value(json_object_get(reply, "size")), 10);
        assert_int_equal(json_is_true(json_object_get(reply, "dry_run")), is_dry);
        assert_string_equal(box.removed, is_dry ? "" : "clc-stage");
    }
    box.fake.is_dead = true;
    must_refuse(api_container_prune, "", ERR_UNAVAILABLE, "");
}

static void add_volume(const char *name, const char *app_id, bool is_used)
{
    struct ctr_volume_info v = {.name = str_from(name), .created_at = STR("2026-01-02T00:00:00Z"), .is_used = is_used};
    ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_HOME), box.home.dir);
    ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_APP_ID), str_from(app_id));
    ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_APP_PATH), STR("/was"));
    ctr_kv_set(&box.arena, &v.labels, STR(CTR_LABEL_VOLUME), STR("data"));
    box.fake.volumes[box.fake.volume_count++] = v;
}

static bool of_store(void *arg, struct arena *a, struct str id, struct str *version, struct err *err)
{
    *version = str_eq_z(id, shop_id) || str_eq_z(id, stage_id) ? STR("1") : (struct str){0};
    return true;
}

static void volumes_say_whose_they_are_and_those_of_nobody_go(void **state)
{
    static const struct {
        const char *path, *env;
        bool exists, is_used;
    } want[] = {{"/was", "dev", false, false}, {"shop.example:/shop", "prod", true, true}, {"shop.example:/shop", "stage", true, false}};
    box.server.containers->app_version = of_store;
    add_volume("clv-app_stg_2abcdefghijklmnopqrstuvwxyz-1", stage_id, false);
    add_volume("clv-app_prd_2abcdefghijklmnopqrstuvwxyz-1", shop_id, true);
    add_volume("clv-app_dev_2zzzzzzzzzzzzzzzzzzzzzzzzz-1", dev_id, false);
    scoped_json *list = must_ask(api_volume_list, "");
    const json_t *rows = json_object_get(list, "volumes");
    assert_int_equal(json_array_size(rows), ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const json_t *row = json_array_get(rows, i);
        assert_string_equal(text_at(row, "app_path"), want[i].path);
        assert_string_equal(text_at(row, "env"), want[i].env);
        assert_string_equal(text_at(row, "volume"), "data");
        assert_int_equal(json_is_true(json_object_get(row, "app_exists")), want[i].exists);
        assert_int_equal(json_is_true(json_object_get(row, "in_use")), want[i].is_used);
    }
    for (int is_dry = 1; is_dry >= 0; is_dry--) {
        scoped_json *reply = must_ask(api_volume_prune, is_dry ? "dryRun=true" : "");
        const json_t *items = json_object_get(reply, "items"), *item = json_array_get(items, 0);
        assert_int_equal(json_array_size(items), 1);
        assert_string_equal(text_at(item, "name"), "clv-app_dev_2zzzzzzzzzzzzzzzzzzzzzzzzz-1");
        assert_string_equal(text_at(item, "app_path"), "/was");
        assert_string_equal(text_at(item, "problem"), "");
        assert_int_equal(json_is_true(json_object_get(reply, "dry_run")), is_dry);
        assert_string_equal(box.fake.removed, is_dry ? "" : "clv-app_dev_2zzzzzzzzzzzzzzzzzzzzzzzzz-1 ");
    }
    box.fake.is_dead = true;
    must_refuse(api_volume_list, "", ERR_UNAVAILABLE, "");
    must_refuse(api_volume_prune, "", ERR_UNAVAILABLE, "");
}

int main(void)
{
#define API_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        API_TEST(the_list_is_of_this_home_by_path),
        API_TEST(one_is_found_by_name_id_or_app),
        API_TEST(details_hold_mounts_and_use),
        API_TEST(use_is_of_what_runs),
        API_TEST(logs_have_a_beginning_and_an_end),
        API_TEST(starting_and_stopping_is_by_name),
        API_TEST(a_prune_can_be_a_dry_run),
        API_TEST(volumes_say_whose_they_are_and_those_of_nobody_go),
    };
    return cmocka_run_group_tests_name("server/api_container", tests, NULL, NULL);
}
