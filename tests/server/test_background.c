/* tests/server/test_background.c: work of one key is not done more often than needed, and ends with the server.
 * SPDX-License-Identifier: Apache-2.0 */
#include "background.h"
#include "operation.h"
#include "store.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- work of pretence ----------------------------------------------------------------------------- */

static struct {
    atomic_int calls, running, most, ended, cancelled;
    atomic_bool is_shut; /* the work waits, unless it is cancelled */
} work;

static bool labour(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                   json_t **reply, struct err *err)
{
    atomic_fetch_add(&work.calls, 1);
    int running = atomic_fetch_add(&work.running, 1) + 1;
    int most = atomic_load(&work.most);
    while (running > most && !atomic_compare_exchange_weak(&work.most, &most, running))
        ;
    while (atomic_load(&work.is_shut) && !atomic_load(who->cancel))
        sched_yield();
    atomic_fetch_sub(&work.running, 1);
    if (atomic_load(who->cancel))
        return err_set(err, ERR_CANCELLED, "cancelled");
    if (str_eq(o->app, STR("bad")))
        return err_set(err, ERR_INVALID, "bad");
    *reply = json_pack("{s:s}", "user", "x");
    return true;
}

/* The audit trail is not what is tested. */
void store_audit_add_wait(struct store *s, const struct store_audit_event *e)
{
}

static void on_end(void *arg, const json_t *reply, const struct err *err)
{
    assert_true((reply != NULL) != err_is_set(err));
    if (err_is_set(err) && err->code == ERR_CANCELLED)
        atomic_fetch_add(&work.cancelled, 1);
    atomic_fetch_add(&work.ended, 1);
}

struct place {
    struct jobs *jobs;
    struct operations *operations;
    struct background *background;
    struct arena arena;
};

static int setup(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);
    memset(&work, 0, sizeof work);
    p->jobs = jobs_open("job", 32);
    p->operations = operations_open();
    p->background = background_open(&(struct background_config){.jobs = p->jobs, .operations = p->operations});
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    background_stop(p->background);
    operations_drain(p->operations, 10);
    jobs_close(p->jobs);
    background_close(p->background);
    operations_close(p->operations);
    arena_release(&p->arena);
    free(p);
    return 0;
}

static enum background_start begin(struct place *p, struct arena *a, const char *key, bool serial, bool lazy, struct str *id)
{
    struct background_work w = {.key = str_from(key), .name = "sync_run", .audit = "sync_run", .target = str_from(key),
                                .user_id = STR("u"), .op = labour, .opts = {.app = str_from(key)}, .is_serial = serial,
                                .is_lazy = lazy, .done = on_end};
    return background_start(p->background, &w, a, id);
}

static void wait_for(atomic_int *what, int n)
{
    while (atomic_load(what) < n)
        sched_yield();
}

/* --- the tests ------------------------------------------------------------------------------------ */

static void a_burst_is_two_runs(void **state)
{
    struct place *p = *state;
    struct str first, second, id;
    atomic_store(&work.is_shut, true);
    assert_int_equal(begin(p, &p->arena, "k", false, false, &first), BACKGROUND_TAKEN);
    wait_for(&work.running, 1);
    assert_int_equal(begin(p, &p->arena, "k", false, false, &second), BACKGROUND_TAKEN);
    assert_false(str_eq(first, second));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(begin(p, &p->arena, "k", false, false, &id), BACKGROUND_JOINED);
        assert_true(str_eq(id, second));
    }
    atomic_store(&work.is_shut, false);
    wait_for(&work.ended, 2);
    assert_int_equal(work.calls, 2);
    assert_int_equal(work.most, 1);
}

static void what_waits_is_joined(void **state)
{
    struct place *p = *state;
    struct str blocker, waiting, id;
    atomic_store(&work.is_shut, true);
    assert_int_equal(begin(p, &p->arena, "other", true, false, &blocker), BACKGROUND_TAKEN);
    wait_for(&work.running, 1);
    assert_int_equal(begin(p, &p->arena, "k", true, false, &waiting), BACKGROUND_TAKEN);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(begin(p, &p->arena, "k", true, false, &id), BACKGROUND_JOINED);
        assert_true(str_eq(id, waiting));
    }
    atomic_store(&work.is_shut, false);
    wait_for(&work.ended, 2);
    assert_int_equal(work.calls, 2);
    assert_int_equal(work.most, 1); /* serial ones are */
}

static void lazy_work_does_not_queue_behind_itself(void **state)
{
    struct place *p = *state;
    struct str first, id;
    atomic_store(&work.is_shut, true);
    assert_int_equal(begin(p, &p->arena, "k", true, true, &first), BACKGROUND_TAKEN);
    wait_for(&work.running, 1);
    assert_int_equal(begin(p, &p->arena, "k", true, true, &id), BACKGROUND_JOINED);
    assert_true(str_eq(id, first));
    atomic_store(&work.is_shut, false);
    wait_for(&work.ended, 1);
    assert_int_equal(work.calls, 1);
}

static void failures_are_told(void **state)
{
    struct place *p = *state;
    struct str id;
    assert_int_equal(begin(p, &p->arena, "bad", false, false, &id), BACKGROUND_TAKEN);
    wait_for(&work.ended, 1);
    struct operation *op = operation_find(p->operations, id);
    scoped_json *j = operation_json(op);
    operation_unref(op);
    assert_string_equal(json_string_value(json_object_get(j, "state")), "failed");
    assert_string_equal(json_string_value(json_object_get(j, "error")), "bad");
}

static void a_stop_cancels_what_runs_and_what_waits(void **state)
{
    struct place *p = *state;
    struct str id;
    char key[16];
    atomic_store(&work.is_shut, true);
    for (int i = 0; i < 5; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(begin(p, &p->arena, key, true, false, &id), BACKGROUND_TAKEN);
    }
    wait_for(&work.running, 1);
    background_stop(p->background);
    assert_int_equal(begin(p, &p->arena, "late", false, false, &id), BACKGROUND_REFUSED);
    operations_drain(p->operations, 10);
    wait_for(&work.ended, 5);
    assert_int_equal(work.cancelled, 5);
    assert_int_equal(work.calls, 1); /* the others had not begun */
}

static void *caller(void *arg)
{
    struct place *p = arg;
    scoped_arena a = {0};
    char key[16];
    for (int i = 0; i < 500; i++) {
        struct str id;
        snprintf(key, sizeof key, "k%d", i % 7);
        begin(p, &a, key, i % 2, i % 3 == 0, &id);
    }
    return NULL;
}

static void many_callers_at_once(void **state)
{
    struct place *p = *state;
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, caller, p), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    operations_drain(p->operations, 60000);
    wait_for(&work.ended, work.calls);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_burst_is_two_runs),
        TEST(what_waits_is_joined),
        TEST(lazy_work_does_not_queue_behind_itself),
        TEST(failures_are_told),
        TEST(a_stop_cancels_what_runs_and_what_waits),
        TEST(many_callers_at_once),
    };
    return cmocka_run_group_tests_name("server/background", tests, NULL, NULL);
}
