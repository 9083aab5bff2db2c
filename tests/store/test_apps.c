/* tests/store/test_apps.c: apps, versions, sync entries, configuration in transactions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_test.h"

#include <pthread.h>
#include <stdatomic.h>

static struct arena *seen_arena;

static void ids_of_an_app_and_its_stage_share_a_suffix(void **state)
{
    scoped_arena a = {0};
    struct str prod = store_app_id_new(&a, STORE_PROD), stage = store_app_id_of(&a, prod, STORE_STAGE);
    assert_int_equal(prod.len, 8 + 27);
    assert_true(str_starts(stage, STR("app_stg_")));
    assert_str(str_from_off(stage, 8), str_from_off(prod, 8));
    assert_int_equal(store_app_kind(stage), STORE_STAGE);
    assert_int_equal(store_app_kind(store_app_id_new(&a, STORE_DEV)), STORE_DEV);
    assert_str(store_path_domain(&a, STR("/x"), STR("")), STR("/x"));
    assert_str(store_path_domain(&a, STR("/x"), STR("d.com")), STR("d.com:/x"));
}

static void apps_are_found_and_listed_newest_first(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("apps");
    scoped_store_tx *tx = store_begin(s, &err);
    struct store_app first = test_app(&a, "/first", STORE_PROD), second = test_app(&a, "/second", STORE_DEV);
    first.metadata = test_metadata(&a);
    first.domain = STR("d.com");
    second.is_dev = true;
    struct store_app stage = first;
    stage.id = store_app_id_of(&a, first.id, STORE_STAGE);
    stage.domain = STR("stage.d.com");
    stage.main_app = first.id;
    stage.linked_app_path = STR("d.com:/first");
    MUST(store_app_insert(tx, &first, &err) && store_app_insert(tx, &stage, &err) &&
         store_app_insert(tx, &second, &err), &err);
    MUST_FAIL(store_app_insert(tx, &first, &err), &err, ERR_CONFLICT, "App already exists at d.com:/first");
    MUST(store_commit(&tx, &err), &err);

    tx = store_read(s, &err);
    struct store_app got;
    MUST(store_app_get(tx, &a, STR("/first"), STR("stage.d.com"), &got, &err), &err);
    assert_str(got.id, stage.id);
    assert_str(got.main_app, first.id);
    assert_str(got.linked_app_path, STR("d.com:/first"));
    assert_true(got.create_time == stage.create_time && got.update_time == stage.update_time);
    scoped_json *x = store_metadata_to_json(&first.metadata), *y = store_metadata_to_json(&got.metadata);
    assert_true(json_equal(x, y));
    MUST(store_app_get_by_id(tx, &a, second.id, &got, &err), &err);
    assert_true(got.is_dev);
    MUST_FAIL(store_app_get(tx, &a, STR("/first"), STR(""), &got, &err), &err, ERR_NOT_FOUND, "no app at /first");
    MUST_FAIL(store_app_get_by_id(tx, &a, STR("app_x"), &got, &err), &err, ERR_NOT_FOUND, "no app with id app_x");

    struct store_app_list list;
    MUST(store_app_list(tx, &a, STORE_APPS_MAIN, &list, &err), &err);
    assert_int_equal(list.len, 2);
    assert_str(list.items[0].path, STR("/second"));
    assert_str(list.items[1].metadata.spec, STR("python-flask"));
    MUST(store_app_list(tx, &a, STORE_APPS_ALL, &list, &err), &err);
    assert_int_equal(list.len, 3);
    MUST(store_app_list(tx, &a, STORE_APPS_BRIEF, &list, &err), &err);
    assert_int_equal(list.len, 3);
    MUST(store_app_linked(tx, &a, first.id, &list, &err), &err);
    assert_int_equal(list.len, 1);
    assert_str(list.items[0].id, stage.id);
    MUST(store_app_linked(tx, &a, STR(""), &list, &err), &err);
    assert_int_equal(list.len, 0);
    store_rollback(&tx);
    store_close(s);
}

static bool pick_all(void *arg, const struct store_row *row)
{
    struct str *seen = arg;
    *seen = str_printf(seen_arena, STR_FMT STR_FMT "@" STR_FMT " ", STR_ARG(*seen), STR_ARG(row->path), STR_ARG(row->main_path));
    return true;
}

static bool note_brief(void *arg, const struct store_brief *b, struct err *err)
{
    struct str *seen = arg;
    *seen = str_printf(seen_arena, STR_FMT STR_FMT "=" STR_FMT "%s%s ", STR_ARG(*seen), STR_ARG(b->path),
                       STR_ARG(b->authn_type), b->stage_write_access ? "+s" : "", b->preview_write_access ? "+p" : "");
    return true;
}

/* The list as text, parsed, and each app the same as store_app_to_json() gives it. */
static void check_list(struct store *s, enum store_app_filter filter, const char *want, int staged)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_buf text = BUF_INIT(1 << 20);
    struct str seen = STR("");
    seen_arena = &a;
    struct store_app_list apps;
    scoped_store_tx *tx = store_read(s, &err);
    buf_add_char(&text, '[');
    MUST(store_app_list_text(tx, filter, true, pick_all, &seen, &text, &err) && store_app_list(tx, &a, filter, &apps, &err), &err);
    buf_add_char(&text, ']');
    assert_str(seen, str_from(want));
    scoped_json *got = json_parse(buf_str(&text), &err);
    if (!got)
        fail_msg("%s: %s", err_msg(&err), buf_z(&text));
    assert_int_equal(json_array_size(got), apps.len);
    for (size_t i = 0; i < apps.len; i++) {
        json_t *wanted = store_app_to_json(&apps.items[i]), *app = json_array_get(got, i);
        staged -= json_get_bool(app, "staged_changes", false);
        json_object_del(app, "staged_changes");
        if (!json_equal(app, wanted))
            fail_msg("%s\n%s", str_z(&a, json_text(&a, app, 0)), str_z(&a, json_text(&a, wanted, 0)));
        json_decref(wanted);
    }
    assert_int_equal(staged, 0);
}

static void set_foreign(const char *metadata)
{
    scoped_arena a = {0};
    test_sql("list", str_z(&a, str_printf(&a, "UPDATE apps SET metadata = '%s', settings = '{\"preview_write_access\":true}' "
                                              "WHERE path = '/foreign'", metadata)));
}

static void a_list_is_the_text_of_the_rows(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("list");
    scoped_store_tx *tx = store_begin(s, &err);
    struct store_app first = test_app(&a, "/first", STORE_PROD), stage, plain = test_app(&a, "/plain", STORE_PROD),
                     foreign = test_app(&a, "/foreign", STORE_DEV);
    first.metadata = test_metadata(&a);
    first.metadata.authn_type = STR("a\"b");
    first.source_url = STR("/a\nb");
    first.create_time = 3, plain.create_time = 2, foreign.create_time = 1;
    foreign.is_dev = true;
    stage = first;
    stage.id = store_app_id_of(&a, first.id, STORE_STAGE);
    stage.domain = STR("stage");
    stage.main_app = first.id;
    stage.create_time = 4;
    stage.settings.stage_write_access = true;
    stage.metadata.version_metadata.version = 9;
    MUST(store_app_insert(tx, &first, &err) && store_app_insert(tx, &stage, &err) && store_app_insert(tx, &plain, &err) &&
         store_app_insert(tx, &foreign, &err) && store_commit(&tx, &err), &err);
    check_list(s, STORE_APPS_MAIN, "/first@/first /plain@/plain /foreign@/foreign ", 1);
    check_list(s, STORE_APPS_ALL, "/first@/first /first@/first /plain@/plain /foreign@/foreign ", 1);

    /* Texts of other programs: null for empty, another order, what is unknown, what is missing, NULL. */
    static const char *const texts[] = {
        "{\"authn_type\":\"none\",\"loads\":null,\"version_metadata\":{\"version\":4}}", "{}", "null", "",
        "{\"name\":\"x\",\"version_metadata\":null}", " { \"spec_files\" : { } , \"unknown\" : [ 1 ] } ",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        set_foreign(texts[i]);
        check_list(s, STORE_APPS_MAIN, "/first@/first /plain@/plain /foreign@/foreign ", 1);
    }
    set_foreign(texts[0]);
    struct str seen = STR("");
    seen_arena = &a;
    tx = store_read(s, &err);
    MUST(store_app_each(tx, note_brief, &seen, &err), &err);
    assert_str(seen, STR("/first=a\"b /first=a\"b+s /plain= /foreign=none+p "));
    store_rollback(&tx);

    set_foreign("{\"name\":");
    tx = store_read(s, &err);
    scoped_buf text = BUF_INIT(1 << 20);
    MUST_FAIL(store_app_list_text(tx, STORE_APPS_ALL, true, pick_all, &seen, &text, &err), &err, ERR_INTERNAL, "damaged JSON");
    MUST_FAIL(store_app_each(tx, note_brief, &seen, &err), &err, ERR_INTERNAL, "damaged JSON");
    store_rollback(&tx);
    tx = store_read(s, &err);
    scoped_buf small = BUF_INIT(100);
    MUST_FAIL(store_app_list_text(tx, STORE_APPS_ALL, true, pick_all, &seen, &small, &err), &err, ERR_TOO_LARGE, "narrower");
    store_rollback(&tx);
    store_close(s);
}

static void a_stale_change_is_a_conflict(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("stale");
    scoped_store_tx *tx = store_begin(s, &err);
    struct store_app app = test_app(&a, "/x", STORE_PROD);
    MUST(store_app_insert(tx, &app, &err), &err);
    struct store_app mine = app, theirs = app;
    theirs.metadata.spec = STR("static");
    MUST(store_app_update(tx, &theirs, &err), &err);
    assert_true(theirs.update_time > app.update_time);
    theirs.settings.stage_write_access = true;
    MUST(store_app_update_settings(tx, &theirs, &err), &err);
    MUST_FAIL(store_app_update(tx, &mine, &err), &err, ERR_CONFLICT, "app /x was changed by another operation");
    MUST_FAIL(store_app_update_settings(tx, &mine, &err), &err, ERR_CONFLICT, "was changed");
    mine.update_time = 0;
    MUST(store_app_update(tx, &mine, &err), &err);
    MUST(store_commit(&tx, &err), &err);
    store_close(s);
}

static void versions_mirror_what_was_live(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("versions");
    scoped_store_tx *tx = store_begin(s, &err);
    struct store_app app = test_app(&a, "/x", STORE_PROD);
    int64_t next, removed;
    MUST(store_app_insert(tx, &app, &err) && store_version_next(tx, app.id, &next, &err), &err);
    assert_int_equal(next, 1);
    for (int v = 1; v <= 6; v++) {
        struct store_version row = {.app_id = app.id, .version = v, .previous_version = v - 1, .user_id = STR("u")};
        store_metadata_init(&a, &row.metadata);
        row.metadata.version_metadata.version = v;
        MUST(store_version_put(tx, &row, &err), &err);
        MUST(store_version_put(tx, &row, &err), &err);
    }
    app.metadata.version_metadata.version = 4;
    app.metadata.name = STR("four");
    MUST(store_app_update(tx, &app, &err), &err);
    struct store_version v;
    MUST(store_version_get(tx, &a, app.id, 4, &v, &err), &err);
    assert_str(v.metadata.name, STR("four"));
    assert_int_equal(v.previous_version, 3);
    MUST(store_version_get(tx, &a, app.id, 5, &v, &err), &err);
    assert_str(v.metadata.name, STR(""));
    MUST_FAIL(store_version_get(tx, &a, app.id, 9, &v, &err), &err, ERR_NOT_FOUND, "has no version 9");

    MUST(store_cleanup_versions(tx, app.id, 4, -1, &removed, &err), &err);
    assert_int_equal(removed, 0);
    MUST(store_cleanup_versions(tx, app.id, 4, 1, &removed, &err), &err);
    assert_int_equal(removed, 2);
    struct store_version_list list;
    MUST(store_version_list(tx, &a, app.id, &list, &err), &err);
    assert_int_equal(list.len, 4); /* 3, the active 4, and the newer 5 and 6 */
    assert_int_equal(list.items[0].version, 3);
    MUST(store_version_next(tx, app.id, &next, &err), &err);
    assert_int_equal(next, 7);
    MUST(store_app_delete(tx, app.id, &err), &err);
    MUST_FAIL(store_app_delete(tx, app.id, &err), &err, ERR_NOT_FOUND, "no app with id");
    MUST(store_version_list(tx, &a, app.id, &list, &err), &err);
    assert_int_equal(list.len, 0);
    MUST(store_commit(&tx, &err), &err);
    store_close(s);
}

static void rows_of_other_programs_are_read(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    store_close(test_open("foreign"));
    test_sql("foreign",
             "INSERT INTO apps (id, path, domain, source_url, is_dev, main_app, user_id, create_time, update_time, settings,"
             " metadata) VALUES ('app_prd_1', '/x', '', '/src', 'true', '', 'admin', '2024-02-29 12:30:45', "
             "'2024-02-29 12:30:45.5 +0000 UTC', CAST('{\"stage_write_access\":true}' AS BLOB), "
             "CAST('{\"name\":\"blob\",\"loads\":null,\"nul\":\"a\\u0000b\"}' AS BLOB))");
    struct store *s = test_open("foreign");
    scoped_store_tx *tx = store_begin(s, &err);
    struct store_app app;
    MUST(store_app_get(tx, &a, STR("/x"), STR(""), &app, &err), &err);
    assert_true(app.is_dev && app.settings.stage_write_access);
    assert_str(app.metadata.name, STR("blob"));
    assert_str(app.linked_app_path, STR(""));
    assert_int_equal(app.create_time, 1709209845000000000);
    assert_int_equal(app.update_time, 1709209845500000000);
    MUST(store_app_update(tx, &app, &err) && store_commit(&tx, &err), &err);
    store_close(s);

    test_sql("foreign", "UPDATE apps SET metadata = '{\"name\":'");
    s = test_open("foreign");
    tx = store_read(s, &err);
    MUST_FAIL(store_app_get(tx, &a, STR("/x"), STR(""), &app, &err), &err, ERR_INTERNAL,
              "app app_prd_1: damaged JSON in the database");
    store_rollback(&tx);
    store_close(s);
}

static void sync_entries_keep_their_state(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("sync");
    scoped_store_tx *tx = store_begin(s, &err);
    struct store_sync e = {
        .id = store_sync_id_new(&a), .path = STR("github.com/x/y/apps.star"), .user_id = STR("u"), .is_scheduled = true,
        .metadata = {.git_branch = STR("main"), .git_auth = STR("key"), .reload = STR("matched"), .promote = true,
                     .approve = true, .verify = true, .clobber = true, .force_reload = true,
                     .webhook_url = STR("w"), .webhook_secret = STR("s"), .schedule_frequency = 15,
                     .rbac = STR("{\"user_id\":\"u\",\"admin\":true}")},
        .status = {.state = STR("Enabled"), .app_apply_response = STR("{\"dry_run\":false}")},
    }, got;
    MUST(store_sync_insert(tx, &e, &err), &err);
    e.status.state = STR("Failing");
    e.status.failure_count = 2;
    e.status.last_execution_time = 1709209845500000000;
    e.status.error = STR("no such branch");
    e.status.commit_id = STR("c0ffee");
    e.status.is_apply = true;
    MUST(store_sync_update_status(tx, &e, &err) && store_sync_get(tx, &a, e.id, &got, &err), &err);
    scoped_json *x = store_sync_to_json(&e), *y = store_sync_to_json(&got);
    assert_true(json_equal(x, y));
    assert_true(json_is_true(json_get(json_get(json_get(y, "metadata"), "rbac"), "admin")));
    struct store_sync_list list;
    MUST(store_sync_list(tx, &a, &list, &err), &err);
    assert_int_equal(list.len, 1);
    MUST(store_sync_delete(tx, e.id, &err), &err);
    MUST_FAIL(store_sync_delete(tx, STR("cl_syn_1"), &err), &err, ERR_NOT_FOUND,
              "no sync entry found with id for delete: cl_syn_1");
    MUST_FAIL(store_sync_get(tx, &a, e.id, &got, &err), &err, ERR_NOT_FOUND, "no sync entry");
    store_rollback(&tx);
    store_close(s);
}

static void the_configuration_is_compared_and_set(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("config");
    scoped_store_tx *tx = store_begin(s, &err);
    struct store_config c;
    struct str draft;
    bool found;
    MUST(store_config_get(tx, &a, &c, &found, &err), &err);
    assert_false(found);
    struct str before = STR("");
    for (int i = 1; i <= 5; i++) {
        c = (struct store_config){str_printf(&a, "ver_%d", i), STR("admin"), 0, str_printf(&a, "{\"n\":%d}", i)};
        MUST(store_config_put(tx, &c, before, 3, &err), &err);
        before = c.version_id;
    }
    MUST_FAIL(store_config_put(tx, &c, STR("ver_1"), 3, &err), &err, ERR_CONFLICT,
              "config version id mismatch, expected ver_5, got ver_1");
    MUST(store_config_get(tx, &a, &c, &found, &err), &err);
    assert_true(found);
    assert_str(c.config, STR("{\"n\":5}"));
    assert_true(c.update_time > 0);
    struct store_config_list history;
    MUST(store_config_history(tx, &a, 10, &history, &err), &err);
    assert_int_equal(history.len, 3);
    assert_str(history.items[0].version_id, STR("ver_5"));
    MUST(store_config_history_get(tx, &a, STR("ver_3"), &c, &err), &err);
    MUST_FAIL(store_config_history_get(tx, &a, STR("ver_2"), &c, &err), &err, ERR_NOT_FOUND, "no config version ver_2");

    MUST(store_config_draft_put(tx, STR("{\"a\":1}"), &err) && store_config_draft_put(tx, STR("{\"a\":2}"), &err) &&
         store_config_draft_get(tx, &a, &draft, &found, &err), &err);
    assert_str(draft, STR("{\"a\":2}"));
    MUST(store_config_draft_put(tx, STR(""), &err) && store_config_draft_get(tx, &a, &draft, &found, &err), &err);
    assert_false(found);
    store_rollback(&tx);
    store_close(s);
}

enum { CHANGES = 40, WRITERS = 2, READERS = 3 };
static struct {
    struct store *store;
    struct str id;
    atomic_int running, wrong, conflicts;
} race;

/* Reads outside, writes inside: what an operation does; a conflict is tried again. */
static void *count_up(void *arg)
{
    for (int done = 0; done < CHANGES;) {
        scoped_err err = {0};
        scoped_arena a = {0};
        struct store_app app;
        scoped_store_tx *tx = store_read(race.store, &err);
        if (!tx || !store_app_get_by_id(tx, &a, race.id, &app, &err))
            race.wrong++;
        store_rollback(&tx);
        app.metadata.version_metadata.version++;
        tx = store_begin(race.store, &err);
        if (tx && store_app_update(tx, &app, &err) && store_commit(&tx, &err))
            done++;
        else if (err.code == ERR_CONFLICT)
            race.conflicts++;
        else
            race.wrong++;
    }
    race.running--;
    return NULL;
}

static void *watch(void *arg)
{
    int64_t last = 0;
    while (race.running > 0) {
        scoped_err err = {0};
        scoped_arena a = {0};
        struct store_app app;
        scoped_store_tx *tx = store_read(race.store, &err);
        if (!tx || !store_app_get_by_id(tx, &a, race.id, &app, &err) || app.metadata.version_metadata.version < last)
            race.wrong++;
        else
            last = app.metadata.version_metadata.version;
    }
    return NULL;
}

static void no_change_is_lost_between_threads(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    race.store = test_open("race");
    scoped_store_tx *tx = store_begin(race.store, &err);
    struct store_app app = test_app(&a, "/x", STORE_PROD);
    MUST(store_app_insert(tx, &app, &err) && store_commit(&tx, &err), &err);
    race.id = app.id;
    race.running = WRITERS;
    pthread_t threads[WRITERS + READERS];
    for (int i = 0; i < WRITERS + READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < WRITERS ? count_up : watch, NULL), 0);
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(race.wrong, 0);
    tx = store_read(race.store, &err);
    MUST(store_app_get_by_id(tx, &a, race.id, &app, &err), &err);
    assert_int_equal(app.metadata.version_metadata.version, CHANGES * WRITERS);
    store_rollback(&tx);
    store_close(race.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_an_app_and_its_stage_share_a_suffix),
        cmocka_unit_test(apps_are_found_and_listed_newest_first),
        cmocka_unit_test(a_list_is_the_text_of_the_rows),
        cmocka_unit_test(a_stale_change_is_a_conflict),
        cmocka_unit_test(versions_mirror_what_was_live),
        cmocka_unit_test(rows_of_other_programs_are_read),
        cmocka_unit_test(sync_entries_keep_their_state),
        cmocka_unit_test(the_configuration_is_compared_and_set),
        cmocka_unit_test(no_change_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
