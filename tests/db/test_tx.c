/* tests/db/test_tx.c: transactions, statements, one writer among many readers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

static void values_come_back_as_they_went(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct db *db = test_open("values.db");
    test_exec(db, "CREATE TABLE t (i int, s text, b blob, d datetime, n text)");
    scoped_db_tx *tx = db_begin(db, &err);
    int64_t changes = 0;
    MUST(db_exec(tx, "INSERT INTO t VALUES (?, ?, ?, ?, ?)",
                 DB_ARGS(DB_INT(INT64_MIN), DB_TEXT(str_of("a\0b", 3)), DB_BLOB((struct str){0}), DB_TIME(123456789),
                         DB_NULL), &changes, &err), &err);
    assert_int_equal(changes, 1);
    scoped_db_rows *rows = db_query(tx, "SELECT i, s, b, d, n, 1.5, 'true', b IS NULL FROM t", DB_NO_ARGS, &err);
    assert_non_null(rows);
    assert_true(db_next(rows));
    assert_true(db_int(rows, 0) == INT64_MIN);
    assert_true(str_eq(db_text(rows, 1, &a), str_of("a\0b", 3)));
    assert_int_equal(db_peek(rows, 2).len, 0);
    assert_int_equal(db_time(rows, 3), 123456789);
    assert_true(db_is_null(rows, 4));
    assert_true(str_eq(db_text(rows, 5, &a), STR("1.5")));
    assert_true(db_bool(rows, 6));
    assert_false(db_bool(rows, 7));
    assert_false(db_next(rows));
    MUST(db_end(&rows, &err), &err);
    MUST(db_commit(&tx, &err), &err);
    db_close(db);
}

static void a_failed_change_undoes_the_whole_transaction(void **state)
{
    scoped_err err = {0};
    struct db *db = test_open("failed.db");
    test_exec(db, "CREATE TABLE t (a int unique)");
    scoped_db_tx *tx = db_begin(db, &err);
    MUST(db_exec(tx, "INSERT INTO t VALUES (1)", DB_NO_ARGS, NULL, &err), &err);
    assert_false(db_exec(tx, "INSERT INTO t VALUES (1)", DB_NO_ARGS, NULL, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_false(db_commit(&tx, &err));
    assert_null(tx);
    assert_int_equal(test_int(db, "SELECT count(*) FROM t"), 0);
    test_exec(db, "INSERT INTO t VALUES (1)"); /* the writer is free again */
    db_close(db);
}

static void a_snapshot_does_not_move(void **state)
{
    scoped_err err = {0};
    struct db *db = test_open("snapshot.db");
    test_exec(db, "CREATE TABLE t (a int)");
    scoped_db_tx *tx = db_read(db, &err);
    int64_t n = -1;
    bool found;
    MUST(db_query_int(tx, "SELECT count(*) FROM t", DB_NO_ARGS, &n, &found, &err), &err);
    test_exec(db, "INSERT INTO t VALUES (1)");
    MUST(db_query_int(tx, "SELECT count(*) FROM t", DB_NO_ARGS, &n, &found, &err), &err);
    assert_int_equal(n, 0);
    db_rollback(&tx);
    assert_int_equal(test_int(db, "SELECT count(*) FROM t"), 1);
    db_close(db);
}

static void queries_nest_and_the_cache_turns_over(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct db *db = test_open("nest.db");
    scoped_db_tx *tx = db_read(db, &err);
    const char *sql = "SELECT 1 UNION SELECT 2 UNION SELECT 3";
    scoped_db_rows *outer = db_query(tx, sql, DB_NO_ARGS, &err);
    int64_t sum = 0;
    while (db_next(outer)) {
        scoped_db_rows *inner = db_query(tx, sql, DB_NO_ARGS, &err);
        while (db_next(inner))
            sum += db_int(inner, 0);
    }
    MUST(db_end(&outer, &err), &err);
    assert_int_equal(sum, 18);
    for (int i = 0; i < 300; i++) {
        bool found;
        int64_t n = 0;
        const char *one = str_printf(&a, "SELECT %d", i % 150).ptr;
        MUST(db_query_int(tx, one, DB_NO_ARGS, &n, &found, &err), &err);
        assert_int_equal(n, i % 150);
    }
    db_rollback(&tx);
    db_close(db);
}

enum { WRITES = 60, WRITERS = 3, READERS = 6 };
static struct {
    struct db *db;
    atomic_int running, wrong, reads;
} race;

static void *write_pairs(void *arg)
{
    for (int i = 0; i < WRITES; i++) {
        scoped_err err = {0};
        scoped_db_tx *tx = db_begin(race.db, &err);
        bool ok = tx && db_exec(tx, "UPDATE t SET n = n + 1 WHERE id = 1", DB_NO_ARGS, NULL, &err) &&
                  db_exec(tx, "UPDATE t SET n = n + 1 WHERE id = 2", DB_NO_ARGS, NULL, &err) && db_commit(&tx, &err);
        if (!ok)
            race.wrong++;
    }
    race.running--;
    return NULL;
}

static void *read_pairs(void *arg)
{
    while (race.running > 0) {
        scoped_err err = {0};
        scoped_db_tx *tx = db_read(race.db, &err);
        int64_t a = -1, b = -2;
        bool found;
        bool ok = tx && db_query_int(tx, "SELECT n FROM t WHERE id = 1", DB_NO_ARGS, &a, &found, &err) &&
                  db_query_int(tx, "SELECT n FROM t WHERE id = 2", DB_NO_ARGS, &b, &found, &err);
        if (!ok || a != b)
            race.wrong++;
        race.reads++;
    }
    return NULL;
}

static void readers_see_whole_changes_while_writers_queue(void **state)
{
    race.db = test_open("race.db");
    test_exec(race.db, "CREATE TABLE t (id int, n int)");
    test_exec(race.db, "INSERT INTO t VALUES (1, 0), (2, 0)");
    race.running = WRITERS;
    pthread_t threads[WRITERS + READERS];
    for (int i = 0; i < WRITERS + READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < WRITERS ? write_pairs : read_pairs, NULL), 0);
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(race.wrong, 0);
    assert_true(race.reads > 0);
    assert_int_equal(test_int(race.db, "SELECT n FROM t WHERE id = 1"), WRITES * WRITERS);
    db_close(race.db);
}

static void *begin_once(void *arg)
{
    static struct err err;
    struct db_tx *tx = db_begin(arg, &err);
    db_rollback(&tx);
    return &err;
}

static void a_writer_that_waits_too_long_gives_up(void **state)
{
    scoped_err err = {0};
    struct db *db = NULL;
    MUST(db_open(test_connection("wait.db"), &(struct db_options){.label = "metadata", .busy_ms = 30}, &db, &err), &err);
    scoped_db_tx *tx = db_begin(db, &err);
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, begin_once, db), 0);
    pthread_join(thread, &result);
    struct err *theirs = result;
    assert_int_equal(theirs->code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err_msg(theirs), "the metadata database was busy"));
    err_release(theirs);
    db_rollback(&tx);
    tx = db_begin(db, &err); /* the one that gave up has left no trace in the queue */
    assert_non_null(tx);
    db_rollback(&tx);
    db_close(db);
}

/* Runs three inserts, each its own transaction, in a child that dies at fault point `at`; gives the rows. */
static int64_t rows_after_fault(const char *at)
{
    unlink(test_path("fault.db"));
    struct db *db = test_open("fault.db");
    test_exec(db, "CREATE TABLE t (a int)");
    db_close(db);
    pid_t pid = fork();
    if (pid == 0) {
        scoped_err err = {0};
        setenv("OPENRUN_FAULT_POINT", at, 1);
        close(STDERR_FILENO); /* where it would say its name */
        db_open(test_connection("fault.db"), &(struct db_options){.label = "metadata", .has_fault_points = true}, &db, &err);
        for (int i = 0; i < 3; i++) {
            struct db_tx *tx = db_begin(db, &err);
            db_exec(tx, "INSERT INTO t VALUES (1)", DB_NO_ARGS, NULL, &err);
            db_commit(&tx, &err);
        }
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    db = test_open("fault.db");
    int64_t n = test_int(db, "SELECT count(*) FROM t");
    db_close(db);
    return n;
}

static void a_kill_leaves_before_or_after(void **state)
{
    assert_int_equal(rows_after_fault("1"), 0);                       /* first write */
    assert_int_equal(rows_after_fault("5"), 1);                       /* second commit, before */
    assert_int_equal(rows_after_fault("6"), 2);                       /* and after */
    assert_int_equal(rows_after_fault("metadata.committed:3"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_leaves_before_or_after), /* first: the environment is read once per process */
        cmocka_unit_test(values_come_back_as_they_went),
        cmocka_unit_test(a_failed_change_undoes_the_whole_transaction),
        cmocka_unit_test(a_snapshot_does_not_move),
        cmocka_unit_test(queries_nest_and_the_cache_turns_over),
        cmocka_unit_test(readers_see_whole_changes_while_writers_queue),
        cmocka_unit_test(a_writer_that_waits_too_long_gives_up),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
