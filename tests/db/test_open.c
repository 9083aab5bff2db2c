/* tests/db/test_open.c: connection strings, settings, and what goes wrong at opening.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_test.h"

#include <sys/mount.h>

static void refuses_what_it_cannot_open_and_says_why(void **state)
{
    char folder[128], missing[128], params[160], junk[128];
    snprintf(folder, sizeof folder, "sqlite:%s", test_dir);
    snprintf(missing, sizeof missing, "sqlite:%s/none/x.db", test_dir);
    snprintf(params, sizeof params, "sqlite:%s/x.db?cache=shared", test_dir);
    snprintf(junk, sizeof junk, "sqlite:%s", test_path("junk.db"));
    write_file(test_path("junk.db"), "this is a text file, long enough to have a header of a database in it, but it has not, "
                                     "and so it must be refused with a message that says so.");
    const struct { const char *connection, *message; } cases[] = {
        {"postgres://u:secret@host/db", "invalid database type: postgres: use sqlite:<path>"},
        {"/some/path", "invalid database type: /some/path: use sqlite:<path>"},
        {"sqlite:", "names no file"},
        {"sqlite::memory:", "names no file"},
        {folder, "is not a regular file"},
        {missing, "none/x.db does not exist: create it first"},
        {params, "unknown parameter cache"},
        {"sqlite:/tmp/x?_pragma=a(b;c)", "_pragma=a(b;c) is not of the form"},
        {"sqlite:/tmp/x?_pragma=foo", "_pragma=foo is not of the form"},
        {junk, "is damaged or not a SQLite database: restore it from a backup"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct db *db = NULL;
        if (db_open(str_from(cases[i].connection), &(struct db_options){0}, &db, &err) || db)
            fail_msg("%s: opened", cases[i].connection);
        if (!strstr(err_msg(&err), cases[i].message) || strstr(err_msg(&err), "secret"))
            fail_msg("%s: wanted \"%s\", got \"%s\"", cases[i].connection, cases[i].message, err_msg(&err));
    }
}

static void makes_a_private_file_with_our_settings(void **state)
{
    struct db *db = test_open("new.db");
    struct stat st;
    assert_int_equal(stat(test_path("new.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(test_int(db, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(test_int(db, "PRAGMA synchronous"), 2);
    assert_int_equal(test_int(db, "PRAGMA query_only"), 1);
    test_exec(db, "CREATE TABLE t (a)");
    assert_int_equal(stat(test_path("new.db-wal"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    db_close(db);
    assert_int_not_equal(stat(test_path("new.db-wal"), &st), 0);
}

static void the_users_pragmas_win(void **state)
{
    scoped_err err = {0};
    struct db *db = NULL;
    char text[200];
    snprintf(text, sizeof text, "sqlite:%s?_pragma=synchronous(1)&_pragma=cache_size=-4000&_txlock=immediate",
             test_path("pragma.db"));
    MUST(db_open(str_from(text), &(struct db_options){0}, &db, &err), &err);
    assert_int_equal(test_int(db, "PRAGMA synchronous"), 1);
    assert_int_equal(test_int(db, "PRAGMA cache_size"), -4000);
    db_close(db);
}

/* A file system with `kib` of room at `at`; false without the right to mount. */
static bool mount_small(const char *at, int kib)
{
    char options[32];
    snprintf(options, sizeof options, "size=%dk", kib);
    return mkdir(at, 0700) == 0 && mount("tmpfs", at, "tmpfs", 0, options) == 0;
}

static bool fill(struct db *db, struct err *err)
{
    scoped_db_tx *tx = db_begin(db, err);
    return tx && db_exec(tx, "INSERT INTO t SELECT randomblob(4000) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3)",
                         DB_NO_ARGS, NULL, err) && db_commit(&tx, err);
}

static void a_full_disk_undoes_the_change_and_says_so(void **state)
{
    const char *at = test_path("small");
    if (!mount_small(at, 512)) {
        rmdir(at);
        skip();
    }
    scoped_err err = {0};
    struct db *db = test_open("small/full.db");
    test_exec(db, "CREATE TABLE t (a)");
    int ok = 0;
    while (ok < 1000 && fill(db, &err))
        ok++;
    assert_true(ok > 0 && ok < 1000);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    if (!strstr(err_msg(&err), "full.db is full: free some space and try again"))
        fail_msg("%s", err_msg(&err));
    assert_int_equal(test_int(db, "SELECT count(*) FROM t"), 3 * ok);
    db_close(db);
    db = test_open("small/full.db");
    assert_int_equal(test_int(db, "SELECT count(*) FROM t"), 3 * ok);
    db_close(db);
    umount2(at, MNT_DETACH);
}

static void a_read_only_file_is_named(void **state)
{
    const char *at = test_path("ro");
    if (!mount_small(at, 512)) {
        rmdir(at);
        skip();
    }
    struct db *db = test_open("ro/x.db");
    test_exec(db, "CREATE TABLE t (a)");
    db_close(db);
    assert_int_equal(mount(NULL, at, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    scoped_err err = {0};
    db = NULL;
    assert_false(db_open(test_connection("ro/x.db"), &(struct db_options){0}, &db, &err));
    if (!strstr(err_msg(&err), "cannot be written: make the file and its folder writable"))
        fail_msg("%s", err_msg(&err));
    umount2(at, MNT_DETACH);
}

static void a_locked_file_is_named(void **state)
{
    scoped_err err = {0};
    struct db *a = test_open("locked.db"), *b = NULL;
    test_exec(a, "CREATE TABLE t (a)");
    MUST(db_open(test_connection("locked.db"), &(struct db_options){.busy_ms = 20}, &b, &err), &err);
    scoped_db_tx *tx = db_begin(a, &err);
    assert_non_null(tx);
    assert_null(db_begin(b, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err_msg(&err), "locked.db is locked by another process"));
    db_rollback(&tx);
    db_close(a);
    db_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_it_cannot_open_and_says_why),
        cmocka_unit_test(makes_a_private_file_with_our_settings),
        cmocka_unit_test(the_users_pragmas_win),
        cmocka_unit_test(a_full_disk_undoes_the_change_and_says_so),
        cmocka_unit_test(a_read_only_file_is_named),
        cmocka_unit_test(a_locked_file_is_named),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
