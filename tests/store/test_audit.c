/* tests/store/test_audit.c: the audit trail.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_test.h"
#include "store_int.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mount.h>

static struct store_audit_list query(struct store *s, struct arena *a, const struct store_audit_query *q)
{
    scoped_err err = {0};
    struct store_audit_list l = {0};
    MUST(store_audit_list(s, a, q, &l, &err), &err);
    return l;
}

static void add(struct store *s, const char *app, const char *type, const char *operation, const char *detail,
                int64_t time)
{
    assert_true(store_audit_add(s, &(struct store_audit_event){
        .rid = STR("rid_1"), .app_id = str_from(app), .user_id = STR("admin"), .event_type = str_from(type),
        .operation = str_from(operation), .target = STR("/x"), .status = STR("Success"), .detail = str_from(detail),
        .create_time = time}));
}

static void events_are_found_by_every_filter(void **state)
{
    scoped_arena a = {0};
    struct store *s = test_open("query");
    add(s, "app_prd_1", "http", "POST", "POST host /x 200 3", 1000);
    add(s, "app_prd_2", "system", "reload_apps_promote_dryrun", "", 2000);
    add(s, "", "system", "reload_appsx", "50% of a_b", 3000);
    add(s, "app_prd_1", "custom", "deploy", "Detail \\ here", 4000);
    struct str_list one = {0}, none = {0}, reload = {0}, two = {0};
    str_list_add(&a, &one, STR("app_prd_1"));
    str_list_add(&a, &reload, STR("reload_apps"));
    str_list_add(&a, &two, STR("POST"));
    str_list_add(&a, &two, STR("deploy"));
    const struct { const char *name; struct store_audit_query q; size_t n; int64_t first; } cases[] = {
        {"everything", {0}, 4, 4000},
        {"one app", {.app_ids = &one}, 2, 4000},
        {"no app", {.app_ids = &none}, 0, 0},
        {"a type", {.event_type = STR("system")}, 2, 3000},
        {"an operation with its suffixes", {.operations = reload}, 1, 2000},
        {"two operations", {.operations = two}, 2, 4000},
        {"a detail", {.detail = STR("host /X")}, 1, 1000},
        {"percent is no wildcard", {.detail = STR("0% o")}, 1, 3000},
        {"nor is a lone one", {.detail = STR("%")}, 1, 3000},
        {"nor an underscore", {.detail = STR("a_b")}, 1, 3000},
        {"a backslash is one", {.detail = STR("\\ h")}, 1, 4000},
        {"a time span", {.from = 2000, .to = 4000}, 2, 3000},
        {"the next page", {.before = 3000}, 2, 2000},
        {"a limit", {.limit = 1}, 1, 4000},
        {"a user", {.user_id = STR("nobody")}, 0, 0},
        {"a target and status", {.target = STR("/x"), .status = STR("Success"), .rid = STR("rid_1")}, 4, 4000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_audit_list l = query(s, &a, &cases[i].q);
        if (l.len != cases[i].n || (l.len > 0 && l.items[0].create_time != cases[i].first))
            fail_msg("%s: %zu rows, first %lld", cases[i].name, l.len,
                     l.len ? (long long)l.items[0].create_time : 0);
    }
    scoped_err err = {0};
    struct store_audit_list l;
    MUST_FAIL(store_audit_list(s, &a, &(struct store_audit_query){.limit = 10001}, &l, &err), &err, ERR_INVALID,
              "limit must be between 1 and 10000");
    struct str_list operations;
    MUST(store_audit_operations(s, &a, &operations, &err), &err);
    assert_int_equal(operations.len, 1);
    assert_str(operations.items[0], STR("deploy"));
    store_close(s);
}

static void what_was_queued_is_there_after_close_and_flush(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct store *s = test_open("flush");
    struct str_list any = {0};
    struct store_audit_stats stats;
    for (int i = 0; i < 1000; i++)
        add(s, "", "http", "GET", "", 0);
    MUST(store_audit_flush(s, &err), &err);
    store_audit_stats(s, &stats);
    assert_true(stats.written == 1000 && stats.queued == 0 && stats.dropped == 0);
    for (int i = 0; i < 500; i++)
        add(s, "", "http", "PUT", "", 0);
    store_close(s);
    s = test_open("flush");
    str_list_add(&a, &any, STR("PUT"));
    assert_int_equal(query(s, &a, &(struct store_audit_query){.limit = 10000, .operations = any}).len, 500);
    store_close(s);
}

static void long_texts_are_cut_between_characters(void **state)
{
    scoped_arena a = {0};
    struct store *s = test_open("long");
    char *text = arena_alloc(&a, 20001);
    for (int i = 0; i < 20000; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    store_audit_add(s, &(struct store_audit_event){.user_id = str_of(text + 1, 19999), .detail = str_of(text, 20000)});
    struct store_audit_list l = query(s, &a, &(struct store_audit_query){0});
    assert_int_equal(l.len, 1);
    assert_int_equal(l.items[0].detail.len, STORE_AUDIT_DETAIL_MAX);
    assert_true(str_is_utf8(l.items[0].detail));
    assert_true(l.items[0].create_time > 0 && l.items[0].user_id.len <= 1024);
    store_close(s);
}

/* With the writer held up, the queue takes what it can; the rest is counted, and a row says so. */
static void a_full_queue_drops_and_says_so(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct store *s = test_open("full");
    scoped_db_tx *block = db_begin(s->audit_db, &err);
    int refused = 0;
    for (int i = 0; i < STORE_AUDIT_QUEUE_MAX + 100; i++)
        refused += !store_audit_add(s, &(struct store_audit_event){.event_type = STR("http")});
    db_rollback(&block);
    assert_true(refused >= 100);
    MUST(store_audit_flush(s, &err), &err);
    add(s, "", "http", "GET", "", 0); /* its group carries the news, if no earlier one did */
    struct store_audit_list l = query(s, &a, &(struct store_audit_query){.event_type = STR("system")});
    struct store_audit_stats stats;
    store_audit_stats(s, &stats);
    assert_int_equal(stats.dropped, refused);
    assert_int_equal(stats.written, STORE_AUDIT_QUEUE_MAX + 101 - refused);
    assert_int_equal(l.len, 1);
    assert_str(l.items[0].operation, STR("audit_dropped"));
    assert_str(l.items[0].detail, str_printf(&a, "%d events were not recorded: the queue was full", refused));
    store_close(s);
}

enum { PRODUCERS = 4, EACH = 2000 };

static void *produce(void *arg)
{
    struct store *s = arg;
    for (int i = 0; i < EACH; i++)
        store_audit_add_wait(s, &(struct store_audit_event){.event_type = STR("http"), .operation = STR("POST")});
    scoped_err err = {0};
    return store_audit_flush(s, &err) ? NULL : s;
}

static void many_threads_add_and_flush_at_once(void **state)
{
    struct store *s = test_open("many");
    pthread_t threads[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, s), 0);
    for (int i = 0; i < PRODUCERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    struct store_audit_stats stats;
    store_audit_stats(s, &stats);
    assert_true(stats.written == PRODUCERS * EACH && stats.dropped == 0);
    assert_true(stats.commits < PRODUCERS * EACH / 10);
    store_close(s);
}

static void old_events_are_forgotten_by_kind(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("retain");
    const int64_t now = wall_ns(), day = INT64_C(86400) * 1000000000;
    for (int i = 0; i < 12000; i++)
        add(s, "", "http", "GET", "", now - 91 * day - i);
    for (int age = 0; age < 200; age++) {
        add(s, "", "http", "PUT", "", now - age * day + day / 2);
        add(s, "", "system", "reload_apps", "", now - age * day + day / 2);
    }
    int64_t removed;
    MUST(store_audit_flush(s, &err) && store_audit_retain(s, 0, -1, &removed, &err), &err);
    assert_int_equal(removed, 0);
    MUST(store_audit_retain(s, 90, 180, &removed, &err), &err);
    assert_int_equal(removed, 12000 + 109 + 19);
    assert_int_equal(query(s, &a, &(struct store_audit_query){.limit = 10000}).len, 91 + 181);
    store_close(s);
}

/* A disk that fills up and is cleared again loses no event that fits the queue. */
static void events_outlive_a_full_disk(void **state)
{
    char at[128];
    snprintf(at, sizeof at, "%s/small", test_dir);
    if (mkdir(at, 0700) != 0 || mount("tmpfs", at, "tmpfs", 0, "size=1m") != 0) {
        rmdir(at);
        skip();
    }
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = NULL;
    MUST(store_open(&(struct store_options){.metadata_connection = test_connection(&a, "disk", ".db"),
                                            .audit_connection = test_connection(&a, "small/audit", ".db")}, &s, &err), &err);
    char ballast[160];
    snprintf(ballast, sizeof ballast, "%s/ballast", at);
    FILE *f = fopen(ballast, "w");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    while (fwrite(at, 1, sizeof at, f) == sizeof at)
        ;
    fclose(f);
    int added = 0;
    while (added < 2000 && store_audit_flush(s, &err)) {
        add(s, "", "http", "POST", "a detail of some length, so that the log grows", 0);
        added++;
    }
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    if (!strstr(err_msg(&err), "writing audit events: the disk with") || !strstr(err_msg(&err), "is full"))
        fail_msg("%s", err_msg(&err));
    err_release(&err);
    unlink(ballast);
    while (!store_audit_flush(s, &err)) /* the writer is still between two tries */
        err_release(&err);
    struct store_audit_stats stats;
    store_audit_stats(s, &stats);
    assert_true(stats.written == added && stats.dropped == 0 && stats.failed_commits > 0);
    store_close(s);
    umount2(at, MNT_DETACH);
}

enum { CHURN = 50000, CHURN_ALL = 1000000, CHURN_READERS = 3 };

static struct {
    struct store *store;
    atomic_bool stop;
} churn;

static void *read_audit(void *arg)
{
    while (!churn.stop) {
        scoped_arena a = {0};
        scoped_err err = {0};
        scoped_db_tx *tx = db_read(churn.store->audit_db, &err);
        int64_t n;
        bool found;
        if (!tx || !db_query_int(tx, "SELECT count(*) FROM (SELECT 1 FROM audit WHERE detail LIKE '%x%' LIMIT 2000)",
                                 DB_NO_ARGS, &n, &found, &err))
            break;
    }
    return NULL;
}

static void the_log_is_bounded_in_a_churn_of_events(void **state)
{
    scoped_err err = {0};
    churn.store = test_open("churn");
    const char *all = getenv("OPENRUN_TEST_ALL");
    const int count = all && strcmp(all, "1") == 0 ? CHURN_ALL : CHURN;
    pthread_t readers[CHURN_READERS];
    for (int i = 0; i < CHURN_READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_audit, NULL), 0);
    struct db_health health;
    int64_t largest = 0, began = clock_ms();
    for (int i = 0; i < count; i++) {
        store_audit_add_wait(churn.store, &(struct store_audit_event){
            .rid = STR("rid_2g8cXJ1zqLrMZ2QqZbqJb0W3GkB"), .app_id = STR("app_prd_2g8cxj1zqlrmz2qqzbqjb0w3gkb"),
            .user_id = STR("github:someone"), .event_type = STR("http"), .operation = STR("POST"),
            .target = STR("example.com:/some/path"), .status = STR("200"), .detail = STR("POST example.com /some/path 200 12")});
        if (i % 1000 == 0) {
            store_health(churn.store, NULL, &health);
            largest = MAX(largest, health.wal_bytes);
        }
    }
    MUST(store_audit_flush(churn.store, &err), &err);
    int64_t took = clock_ms() - began;
    churn.stop = true;
    for (int i = 0; i < CHURN_READERS; i++)
        pthread_join(readers[i], NULL);
    struct store_audit_stats stats;
    store_audit_stats(churn.store, &stats);
    print_message("%d events in %lld ms, %lld commits; largest log %lld KiB, truncated %lld times\n", count,
                  (long long)took, (long long)stats.commits, (long long)largest >> 10, (long long)health.truncate_runs);
    assert_int_equal(stats.written, count);
    assert_true(largest < 64 << 20);
    store_close(churn.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_found_by_every_filter),
        cmocka_unit_test(what_was_queued_is_there_after_close_and_flush),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(a_full_queue_drops_and_says_so),
        cmocka_unit_test(many_threads_add_and_flush_at_once),
        cmocka_unit_test(old_events_are_forgotten_by_kind),
        cmocka_unit_test(events_outlive_a_full_disk),
        cmocka_unit_test(the_log_is_bounded_in_a_churn_of_events),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
