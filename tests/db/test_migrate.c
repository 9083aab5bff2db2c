/* tests/db/test_migrate.c: schema versions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_test.h"

static const char *const old_tables[] = {"CREATE TABLE apps (id text, made $datetime, body $blob, meta $json)"};
static const char *const new_tables[] = {"CREATE TABLE apps (id text, made $datetime, body $blob, meta $json, extra text)"};

static bool to_22(struct db_tx *tx, struct err *err)
{
    return db_exec(tx, "ALTER TABLE apps ADD COLUMN extra text", DB_NO_ARGS, NULL, err) &&
           db_exec(tx, "UPDATE apps SET extra = 'upgraded'", DB_NO_ARGS, NULL, err);
}
static bool to_23_fails(struct db_tx *tx, struct err *err)
{
    return db_exec(tx, "UPDATE apps SET extra = 'half'", DB_NO_ARGS, NULL, err) &&
           err_set(err, ERR_INTERNAL, "no such luck");
}

static const struct db_step steps[] = {{22, to_22}, {23, to_23_fails}};
static const struct db_schema v21 = {21, "version", old_tables, 1, NULL, 0};
static const struct db_schema v22 = {22, "version", new_tables, 1, steps, 1};
static const struct db_schema v23 = {23, "version", new_tables, 1, steps, 2};
static const struct db_schema v24 = {24, "version", new_tables, 1, steps + 1, 1};
static const struct db_migrate_options upgrade = {.auto_upgrade = true}, careful = {0},
                                       newer_is_fine = {.ignore_higher_version = true};

static void a_new_database_is_made_at_the_newest_version(void **state)
{
    scoped_err err = {0};
    struct db *db = test_open("new.db");
    MUST(db_migrate(db, &v22, &careful, &err), &err);
    assert_int_equal(test_int(db, "SELECT version FROM version"), 22);
    assert_int_equal(test_int(db, "SELECT count(*) FROM version WHERE last_upgraded LIKE '2%'"), 1);
    MUST(db_migrate(db, &v22, &careful, &err), &err);
    assert_int_equal(test_int(db, "SELECT count(*) FROM version"), 1);
    db_close(db);
}

static void an_older_one_is_stepped_up_when_that_is_wanted(void **state)
{
    scoped_err err = {0};
    struct db *db = test_open("old.db");
    MUST(db_migrate(db, &v21, &careful, &err), &err);
    test_exec(db, "INSERT INTO apps (id) VALUES ('x')");
    assert_false(db_migrate(db, &v22, &careful, &err));
    assert_non_null(strstr(err_msg(&err), "old.db has version 21 and needs an upgrade to version 22"));
    MUST(db_migrate(db, &v22, &upgrade, &err), &err);
    assert_int_equal(test_int(db, "SELECT version FROM version"), 22);
    assert_int_equal(test_int(db, "SELECT count(*) FROM apps WHERE extra = 'upgraded'"), 1);

    assert_false(db_migrate(db, &v23, &upgrade, &err));
    assert_non_null(strstr(err_msg(&err), "to version 23: no such luck"));
    assert_int_equal(test_int(db, "SELECT version FROM version"), 22);
    assert_int_equal(test_int(db, "SELECT count(*) FROM apps WHERE extra = 'upgraded'"), 1);
    db_close(db);
}

static void one_that_is_too_old_is_refused(void **state)
{
    scoped_err err = {0};
    struct db *db = test_open("ancient.db");
    MUST(db_migrate(db, &v21, &careful, &err), &err);
    assert_false(db_migrate(db, &v24, &upgrade, &err));
    assert_non_null(strstr(err_msg(&err), "has version 21, too old to be upgraded: start a release that brings it to version 22"));
    db_close(db);
}

static void a_newer_one_is_refused_unless_told_otherwise(void **state)
{
    scoped_err err = {0};
    struct db *db = test_open("newer.db");
    MUST(db_migrate(db, &v22, &careful, &err), &err);
    assert_false(db_migrate(db, &v21, &upgrade, &err));
    assert_non_null(strstr(err_msg(&err), "newer.db has version 22, newer than version 21 that this program knows"));
    MUST(db_migrate(db, &v21, &newer_is_fine, &err), &err);
    assert_int_equal(test_int(db, "SELECT version FROM version"), 22);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_database_is_made_at_the_newest_version),
        cmocka_unit_test(an_older_one_is_stepped_up_when_that_is_wanted),
        cmocka_unit_test(one_that_is_too_old_is_refused),
        cmocka_unit_test(a_newer_one_is_refused_unless_told_otherwise),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
