/* tests/db/test_wal.c: the log stays bounded, maintenance gives space back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { OVERLAPPING = 4, COMMITS = 400 };

static struct {
    struct db *db;
    atomic_bool stop;
} busy;

/* Reads without a gap between these threads: automatic checkpoints alone would never reset the log. */
static void *read_on(void *arg)
{
    while (!busy.stop) {
        scoped_err err = {0};
        scoped_db_tx *tx = db_read(busy.db, &err);
        int64_t n;
        bool found;
        for (int i = 0; tx && i < 20; i++)
            if (!db_query_int(tx, "SELECT count(*) FROM t WHERE length(a) > ?", DB_ARGS(DB_INT(i)), &n, &found, &err))
                break;
    }
    return NULL;
}

static void the_log_is_bounded_under_overlapping_readers(void **state)
{
    scoped_err err = {0};
    struct db_health health;
    int64_t largest = 0;
    MUST(db_open(test_connection("wal.db"), &(struct db_options){.journal_size_limit = 32 << 20}, &busy.db, &err), &err);
    test_exec(busy.db, "CREATE TABLE t (a)");
    pthread_t threads[OVERLAPPING];
    for (int i = 0; i < OVERLAPPING; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, NULL), 0);
    for (int i = 0; i < COMMITS; i++) {
        test_exec(busy.db, "INSERT INTO t SELECT randomblob(100000) FROM (SELECT 1 UNION SELECT 2)");
        test_exec(busy.db, "DELETE FROM t");
        db_health(busy.db, &health);
        largest = MAX(largest, health.wal_bytes);
    }
    busy.stop = true;
    for (int i = 0; i < OVERLAPPING; i++)
        pthread_join(threads[i], NULL);
    print_message("largest log: %lld KiB, %lld truncated, %lld blocked\n", (long long)largest >> 10,
                  (long long)health.truncate_runs, (long long)health.truncate_blocked);
    assert_true(largest < 64 << 20);
    db_close(busy.db);
}

static void maintenance_gives_free_pages_back(void **state)
{
    scoped_err err = {0};
    struct db *db = test_open("care.db");
    struct db_health before, after;
    test_exec(db, "CREATE TABLE t (a)");
    test_exec(db, "INSERT INTO t SELECT randomblob(1000000) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3)");
    test_exec(db, "DELETE FROM t");
    const struct db_care_options options = {.vacuum_pages = 2000, .truncate_every = 2};
    MUST(db_care(db, &options, &err), &err);
    db_health(db, &before);
    MUST(db_care(db, &options, &err), &err);
    db_health(db, &after);
    assert_int_equal(test_int(db, "PRAGMA freelist_count"), 0);
    assert_true(after.database_bytes < 100000);
    assert_true(after.truncate_runs > before.truncate_runs);
    assert_true(after.vacuum_runs == 2 && after.checkpoint_errors == 0);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_bounded_under_overlapping_readers),
        cmocka_unit_test(maintenance_gives_free_pages_back),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
