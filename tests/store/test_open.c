/* tests/store/test_open.c: new, older and newer databases.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_test.h"
#include "store_int.h"

static void a_new_store_has_every_table(void **state)
{
    static const char *const tables[] = {
        "version", "apps", "app_versions", "app_files", "files", "sync", "config", "config_history", "config_draft",
        "keystore", "secrets", "services", "bindings", "binding_providers", "cert_data", "cert_locks",
        "builder_sessions", "builder_activity",
    };
    scoped_err err = {0};
    struct store *s = test_open("new");
    scoped_db_tx *tx = db_read(s->metadata, &err);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        int64_t n = 0;
        bool found;
        MUST(db_query_int(tx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
                          DB_ARGS(DB_TEXT(str_from(tables[i]))), &n, &found, &err), &err);
        if (n != 1)
            fail_msg("no table %s", tables[i]);
    }
    db_rollback(&tx);
    store_close(s);
    store_close(test_open("new")); /* and again */
}

static void a_newer_database_is_refused_naming_both_versions(void **state)
{
    scoped_err err = {0};
    struct store *s = NULL;
    store_close(test_open("newer"));
    test_sql("newer", "UPDATE version SET version = 23");
    MUST_FAIL(try_open("newer", &(struct store_options){.auto_upgrade = true}, &s, &err), &err, ERR_UNSUPPORTED,
              "newer.db has version 23, newer than version 22 that this program knows");
    MUST(try_open("newer", &(struct store_options){.ignore_higher_version = true}, &s, &err), &err);
    store_close(s);
    s = NULL;
    test_sql("newer", "UPDATE version SET version = 22");
    test_sql("newer_audit", "UPDATE audit_version SET version = 3");
    MUST_FAIL(try_open("newer", &(struct store_options){0}, &s, &err), &err, ERR_UNSUPPORTED,
              "newer_audit.db has version 3, newer than version 2");
}

static void an_older_database_needs_leave_and_a_way(void **state)
{
    scoped_err err = {0};
    struct store *s = NULL;
    store_close(test_open("older"));
    test_sql("older", "UPDATE version SET version = 21");
    MUST_FAIL(try_open("older", &(struct store_options){0}, &s, &err), &err, ERR_UNSUPPORTED,
              "older.db has version 21 and needs an upgrade to version 22: set metadata.auto_upgrade");
    MUST_FAIL(try_open("older", &(struct store_options){.auto_upgrade = true}, &s, &err), &err, ERR_UNSUPPORTED,
              "older.db has version 21, too old to be upgraded");
}

static void transactions_roll_back_whole(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("rollback");
    {
        scoped_store_tx *tx = store_begin(s, &err);
        struct store_app app = test_app(&a, "/one", STORE_PROD);
        MUST(store_app_insert(tx, &app, &err), &err);
        MUST(store_key_put(tx, &(struct store_key){.key = STR("k"), .value = STR("v")}, &err), &err);
    }
    scoped_store_tx *tx = store_read(s, &err);
    struct store_app_list apps;
    struct store_key key;
    bool found;
    MUST(store_app_list(tx, &a, STORE_APPS_ALL, &apps, &err), &err);
    assert_int_equal(apps.len, 0);
    MUST(store_key_get(tx, &a, STR("k"), &key, &found, &err), &err);
    assert_false(found);
    store_rollback(&tx);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_store_has_every_table),
        cmocka_unit_test(a_newer_database_is_refused_naming_both_versions),
        cmocka_unit_test(an_older_database_needs_leave_and_a_way),
        cmocka_unit_test(transactions_roll_back_whole),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
