/* tests/app/test_slot.c: apps loaded from the store on first use: once however many ask, again after a
 * failure; builds and audit events through the store. SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

static struct store *store;
static struct http_loops *two;

static int open_all(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    fx_open(state);
    const struct store_options o = {.metadata_connection = str_printf(&a, "sqlite:%s/m.db", fx.home),
                                    .audit_connection = str_printf(&a, "sqlite:%s/a.db", fx.home),
                                    .auto_upgrade = true};
    MUST(store_open(&o, &store, &err), &err);
    fx.env.store = store;
    two = http_loops_open(2, &err);
    return 0;
}

static int close_all(void **state)
{
    http_loops_close(two);
    int rc = fx_close(state);
    store_close(store);
    return rc;
}

/* A version of the entry with these files, under an id of its own. */
static void save(const char *id, const char *const *pairs)
{
    struct arena *a = &now.arena;
    struct err *err = &now.err;
    now.entry.id = str_from(id);
    now.entry.path = str_printf(a, "/%s", id);
    scoped_store_tx *tx = store_begin(store, err);
    MUST(tx && store_app_insert(tx, &now.entry, err), err);
    struct store_version v = {.app_id = now.entry.id, .version = 1, .metadata = now.entry.metadata};
    MUST(store_version_put(tx, &v, err), err);
    for (; *pairs; pairs += 2) {
        struct store_blob b;
        MUST(store_blob_prepare(a, str_from(pairs[0]), str_from(pairs[1]), &b, err) &&
                 store_blob_put(tx, &b, err),
             err);
        struct store_file f = {.name = str_from(pairs[0]), .sha = b.sha, .size = b.size};
        MUST(store_file_put(tx, now.entry.id, 1, &f, err), err);
    }
    MUST(store_commit(&tx, err), err);
}

static void delete_files(void)
{
    scoped_store_tx *tx = store_begin(store, &now.err);
    MUST(tx && store_app_delete(tx, now.entry.id, &now.err) && store_commit(&tx, &now.err), &now.err);
}

static struct app_slot *slot_new(void)
{
    struct store_brief brief = store_app_brief(&now.entry);
    return app_slot_new(&fx.env, &brief);
}

/* --- waiting for answers on the loops --- */

static struct {
    atomic_int answers, failures, wrong_thread;
    _Atomic(struct app *) app;
    pthread_mutex_t lock;
    char why[512];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_ready(struct http_loop *loop, struct app *app, const struct err *err, void *arg)
{
    if (http_loop_current() != loop)
        atomic_fetch_add(&seen.wrong_thread, 1);
    if (app)
        atomic_store(&seen.app, app);
    pthread_mutex_lock(&seen.lock);
    if (!app)
        snprintf(seen.why, sizeof seen.why, "%s", err_msg(err));
    pthread_mutex_unlock(&seen.lock);
    atomic_fetch_add(app ? &seen.answers : &seen.failures, 1);
}

static void ask(struct http_loop *loop, void *arg)
{
    for (int i = 0; i < 50; i++)
        app_slot_load(arg, loop, on_ready, NULL);
}

static void ask_all(struct app_slot *slot, int want_ok, int want_failed)
{
    atomic_store(&seen.answers, 0);
    atomic_store(&seen.failures, 0);
    http_loops_run(two, ask, slot);
    for (int i = 0; atomic_load(&seen.answers) + atomic_load(&seen.failures) < 100; i++) {
        if (i == 4000)
            fail_msg("only %d answers, %d failures", atomic_load(&seen.answers), atomic_load(&seen.failures));
        usleep(5000);
    }
    assert_int_equal(atomic_load(&seen.answers), want_ok);
    assert_int_equal(atomic_load(&seen.failures), want_failed);
    assert_int_equal(atomic_load(&seen.wrong_thread), 0);
}

/* Asks until the failure is no longer the answer. */
static void wait_out(struct app_slot *slot)
{
    for (int i = 0; !app_slot_peek(slot); i++) {
        if (i == 2000)
            fail_msg("it was never tried again");
        int had = atomic_load(&seen.answers) + atomic_load(&seen.failures);
        app_slot_load(slot, http_loops_at(two, 0), on_ready, NULL);
        while (atomic_load(&seen.answers) + atomic_load(&seen.failures) == had)
            usleep(200);
        usleep(5000);
    }
}

/* Many ask for an app whose code fails slowly: it does not run once for each. */
static void a_slow_failure_is_not_repeated_for_everybody(void **state)
{
    save("app_prd_6", FILES("app.star", "x = [i for i in range(3000000)]\nfail('slowly')\n"));
    struct app_slot *slot = slot_new();
    int64_t begin = clock_ms();
    ask_all(slot, 0, 100);
    int64_t once = MAX(clock_ms() - begin, 1);
    begin = clock_ms();
    ask_all(slot, 0, 100);
    assert_true(clock_ms() - begin < MAX(once, 1000));
    assert_non_null(strstr(seen.why, "slowly"));
    app_slot_unref(slot);
}

static const char hello[] =
    "load('u.star', 'x')\ndef h(req):\n    return x\napp = ace.app('a', routes=[ace.api('/', h)])\n";

static void an_app_is_loaded_once(void **state)
{
    save("app_prd_1", FILES("app.star", hello, "u.star", "x = 'hi'\n", "static/a.css", "css"));
    struct app_slot *slot = slot_new();
    assert_null(app_slot_peek(slot));
    ask_all(slot, 100, 0);
    struct app *app = app_slot_peek(slot);
    assert_ptr_equal(atomic_load(&seen.app), app);
    for (int i = 0; atomic_load(&app->refs) > 1 && i < 4000; i++)
        usleep(500); /* each waiter's goes when it has been told */
    assert_int_equal(atomic_load(&app->refs), 1);
    ask_all(slot, 100, 0);
    atomic_store(&fx.app, app_ref(app));
    expect("GET /app_prd_1", 200, "\"hi\"\n");
    expect("GET /app_prd_1/static/a.css", 200, "css");
    assert_str(app_slot_entry(slot)->id, "app_prd_1");
    app_slot_unref(app_slot_ref(slot));
    app_slot_unref(slot);
    expect("GET /app_prd_1", 200, "\"hi\"\n"); /* the request's reference is enough */
}

static void a_failure_is_shared_and_tried_again(void **state)
{
    save("app_prd_2", FILES("app.star", hello));
    struct app_slot *slot = slot_new();
    ask_all(slot, 0, 100);
    assert_non_null(strstr(seen.why, "module u.star not found"));
    delete_files();
    save("app_prd_2", FILES("app.star", hello, "u.star", "x = 1\n"));
    wait_out(slot);
    ask_all(slot, 100, 0);
    app_slot_unref(slot);
}

static void a_deploy_puts_its_own_app_in(void **state)
{
    save("app_prd_3", FILES("app.star", "fail('not this one')"));
    struct app *app;
    MUST(app_load(&fx.env, &now.entry, make_files(FILES("app.star", "app = ace.app('verified')\n")), &app,
                  &now.err),
         &now.err);
    struct app_slot *slot = slot_new();
    app_slot_set(slot, app);
    assert_ptr_equal(app_slot_peek(slot), app);
    app_unref(app);
    ask_all(slot, 100, 0);
    assert_str(app_slot_peek(slot)->name, "verified");
    app_slot_unref(slot);
}

static void a_slot_may_go_while_it_loads(void **state)
{
    save("app_prd_4", FILES("app.star", hello, "u.star", "x = [i for i in range(300000)]\n"));
    for (int i = 0; i < 20; i++) {
        struct app_slot *slot = slot_new();
        atomic_store(&seen.answers, 0);
        app_slot_load(slot, http_loops_at(two, 0), on_ready, NULL);
        struct app_slot *held = app_slot_ref(slot); /* as a request's site does */
        app_slot_unref(slot);
        while (atomic_load(&seen.answers) == 0)
            usleep(200);
        app_slot_unref(held);
    }
}

/* --- unloading --- */

static atomic_int served, leaves;
static atomic_bool over;

/* What a request does: peeks, enters, uses the app over some turns of the loop, leaves. */
struct use {
    struct app_slot *slot;
    struct app *app;
    int turns;
};

static void use_on(struct http_loop *loop, void *arg);

static void use_loaded(struct http_loop *loop, struct app *app, const struct err *err, void *arg)
{
    if (!app)
        fail_msg("%s", err_msg(err));
    use_on(loop, arg);
}

static void use_on(struct http_loop *loop, void *arg)
{
    struct use *u = arg;
    if (!u->app) {
        struct app *app = app_slot_peek(u->slot);
        if (!app) {
            app_slot_load(u->slot, loop, use_loaded, u);
            return;
        }
        app_enter(app, loop);
        u->app = app;
        u->turns = 3;
    }
    assert_int_equal(app_id(u->app).len, strlen("app_prd_7"));
    if (u->turns-- > 0) {
        http_loop_post(loop, use_on, u);
        return;
    }
    app_leave(u->app, loop);
    u->app = NULL;
    atomic_fetch_add(&served, 1);
    if (atomic_load(&over))
        atomic_fetch_add(&leaves, 1);
    else
        http_loop_post(loop, use_on, u);
}

static void a_crowd_races_the_unload(void **state)
{
    enum { CROWD = 3, UNLOADS = 30 }; /* few, so that nobody uses it now and then */
    save("app_prd_7", FILES("app.star", hello, "u.star", "x = 'hi'\n"));
    struct http_loops *own = fx.env.loops; /* lanes are by loop */
    fx.env.loops = two;
    struct app_slot *slot = slot_new();
    struct use users[CROWD] = {0};
    scoped_arena a = {0};
    size_t unloads = 0;
    atomic_store(&over, false);
    atomic_store(&leaves, 0);
    for (int i = 0; i < CROWD; i++) {
        users[i].slot = slot;
        http_loop_post(http_loops_at(two, (unsigned)i % 2), use_on, &users[i]);
    }
    for (int64_t until = clock_ms() + 10000; unloads < UNLOADS && clock_ms() < until;) {
        struct app_list apps = {0};
        app_slot_unload(slot, 0, &a, &apps);
        unloads += apps.len;
        if (apps.len > 0)
            app_let_go(two, &apps);
    }
    atomic_store(&over, true);
    while (atomic_load(&leaves) < CROWD)
        usleep(500);
    assert_true(unloads > 0);
    assert_true(atomic_load(&served) >= CROWD);
    app_slot_unref(slot);
    fx.env.loops = own;
}

static void enter_on(struct http_loop *loop, void *app)
{
    app_enter(app, loop);
}

static void leave_on(struct http_loop *loop, void *app)
{
    app_leave(app, loop);
}

static void an_app_in_use_stays(void **state)
{
    save("app_prd_8", FILES("app.star", hello, "u.star", "x = 'hi'\n"));
    struct app_slot *slot = slot_new();
    scoped_arena a = {0};
    struct app_list apps = {0};
    struct app *app;
    MUST(app_slot_wait(slot, &app, &now.err), &now.err);
    assert_false(app_slot_unload(slot, 3600000, &a, &apps)); /* used just now */
    http_loops_run(fx.env.loops, enter_on, app);
    assert_false(app_slot_unload(slot, 0, &a, &apps));
    http_loops_run(fx.env.loops, leave_on, app);
    app_unref(app);
    assert_true(app_slot_unload(slot, 0, &a, &apps));
    assert_null(app_slot_peek(slot));
    app_let_go(fx.env.loops, &apps);
    ask_all(slot, 100, 0); /* it is loaded again */
    app_slot_unref(slot);
}

static void spec_files_need_no_rows(void **state)
{
    put(&now.entry.metadata.spec_files, "app.star", "app = ace.app('spec')\n");
    now.entry.source_url = STR("-");
    save("app_prd_5", (const char *const[]){NULL});
    struct app_slot *slot = slot_new();
    ask_all(slot, 100, 0);
    app_slot_unref(slot);
}

static void audit_events_of_handlers(void **state)
{
    fx.who.user_id = STR("builtin:joe");
    load_star("def ok(req):\n    ace.audit('first', 'x')\n    ace.audit('order', 'pizza', detail='large')\n  "
              "  return 1\n"
              "def bad(req):\n    ace.audit('order', 'soup')\n    fail('no soup')\n"
              "ace.audit('at load', 'is nothing')\n"
              "app = ace.app('a', routes=[ace.api('/ok', ok), ace.api('/bad', bad)])\n");
    expect("GET /x/ok", 200, "1\n");
    expect_part("GET /x/bad", 500, "no soup");
    struct store_audit_list list = {0};
    MUST(store_audit_list(store, &now.arena, &(struct store_audit_query){.event_type = STR("custom")}, &list,
                          &now.err),
         &now.err);
    assert_int_equal(list.len, 2);
    assert_str(list.items[1].operation, "order");
    assert_str(list.items[1].target, "pizza");
    assert_str(list.items[1].detail, "large");
    assert_str(list.items[1].status, "Success");
    assert_str(list.items[1].user_id, "builtin:joe");
    assert_str(list.items[0].target, "soup");
    assert_str(list.items[0].status, "Failed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_app_is_loaded_once),
        TEST(a_failure_is_shared_and_tried_again),
        TEST(a_slow_failure_is_not_repeated_for_everybody),
        TEST(a_deploy_puts_its_own_app_in),
        TEST(a_slot_may_go_while_it_loads),
        TEST(spec_files_need_no_rows),
        TEST(a_crowd_races_the_unload),
        TEST(an_app_in_use_stays),
        TEST(audit_events_of_handlers),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
