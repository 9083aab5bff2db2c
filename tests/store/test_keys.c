/* tests/store/test_keys.c: the key store and its expiry.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_test.h"

static bool has(struct store_tx *tx, const char *key, struct str *value)
{
    scoped_err err = {0};
    static struct arena a;
    arena_reset(&a);
    struct store_key k;
    bool found;
    MUST(store_key_get(tx, &a, str_from(key), &k, &found, &err), &err);
    if (found)
        *value = k.value;
    return found;
}

static void expired_values_are_as_good_as_gone(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("keys");
    scoped_store_tx *tx = store_begin(s, &err);
    const int64_t now = wall_ns(), hour = INT64_C(3600) * 1000000000;
    const struct store_key keys[] = {
        {STR("http_session:c:1"), str_of("a\0b", 3), now + hour},
        {STR("http_session:c:2"), STR("two"), now - 1},
        {STR("http_session:d:1"), STR(""), 0},
        {STR("form_login:x"), STR("old"), 1},
    };
    struct str value = {0};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        MUST(store_key_put(tx, &keys[i], &err), &err);
    assert_true(has(tx, "http_session:c:1", &value));
    assert_str(value, str_of("a\0b", 3));
    assert_false(has(tx, "http_session:c:2", &value));
    assert_true(has(tx, "http_session:d:1", &value));
    assert_int_equal(value.len, 0);
    assert_false(has(tx, "form_login:x", &value));

    struct store_key_list list;
    MUST(store_key_list(tx, &a, STR("http_session:"), &list, &err), &err);
    assert_int_equal(list.len, 2);
    assert_str(list.items[0].key, STR("http_session:c:1"));
    assert_true(list.items[0].expires == now + hour && list.items[1].expires == 0);

    MUST(store_key_put(tx, &(struct store_key){STR("http_session:c:2"), STR("again"), now + hour}, &err), &err);
    assert_true(has(tx, "http_session:c:2", &value));
    int64_t removed = 0;
    MUST(store_key_sweep(tx, &removed, &err), &err);
    assert_int_equal(removed, 1);
    MUST(store_key_delete(tx, STR("http_session:c:2"), &err), &err);
    assert_false(has(tx, "http_session:c:2", &value));
    store_rollback(&tx);
    store_close(s);
}

static void the_first_of_several_nodes_wins(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("once");
    scoped_store_tx *tx = store_begin(s, &err);
    struct str value;
    const struct store_key first = {.key = STR("constant:k"), .value = STR("1")}, later = {STR("constant:k"), STR("2"), 0};
    MUST(store_key_put_once(tx, &a, &first, &value, &err), &err);
    assert_str(value, STR("1"));
    MUST(store_key_put_once(tx, &a, &later, &value, &err), &err);
    assert_str(value, STR("1"));
    MUST(store_key_put(tx, &(struct store_key){STR("constant:k"), STR("1"), 1}, &err), &err);
    MUST(store_key_put_once(tx, &a, &later, &value, &err), &err);
    assert_str(value, STR("2"));
    store_rollback(&tx);
    store_close(s);
}

static void expiry_written_by_other_programs_is_read(void **state)
{
    scoped_err err = {0};
    store_close(test_open("foreign"));
    test_sql("foreign", "INSERT INTO keystore (key, value, create_time, delete_at) VALUES "
                        "('past', 'x', '2024-01-01 00:00:00', '2024-02-29 12:30:45.123456 +0000 UTC'), "
                        "('future', 'y', '2024-01-01 00:00:00', '2124-02-29 12:30:45.1 +0000 UTC')");
    struct store *s = test_open("foreign");
    scoped_store_tx *tx = store_begin(s, &err);
    struct str value = {0};
    int64_t removed;
    assert_false(has(tx, "past", &value));
    assert_true(has(tx, "future", &value));
    MUST(store_key_sweep(tx, &removed, &err), &err);
    assert_int_equal(removed, 1);
    store_rollback(&tx);
    store_close(s);
}

/* A mark that has expired counts until it is swept: the server may have been down for long. */
static void marks_of_operations_come_with_their_commit(void **state)
{
    scoped_err err = {0};
    struct store *s = test_open("marks");
    bool is_marked = true;
    int64_t removed;
    scoped_store_tx *tx = store_begin(s, &err);
    MUST(store_operation_mark(tx, STR("op_1"), &err), &err);
    store_rollback(&tx);
    tx = store_begin(s, &err);
    MUST(store_operation_is_marked(tx, STR("op_1"), &is_marked, &err), &err);
    assert_false(is_marked);
    MUST(store_operation_mark(tx, STR("op_1"), &err) && store_operation_mark(tx, STR("op_1"), &err) &&
         store_key_sweep(tx, &removed, &err) && store_commit(&tx, &err), &err);
    test_sql("marks", "UPDATE keystore SET delete_at = '2024-01-01 00:00:00'");
    tx = store_begin(s, &err);
    MUST(store_operation_is_marked(tx, STR("op_1"), &is_marked, &err), &err);
    assert_true(is_marked);
    MUST(store_key_sweep(tx, &removed, &err), &err);
    assert_int_equal(removed, 1);
    store_rollback(&tx);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expired_values_are_as_good_as_gone),
        cmocka_unit_test(the_first_of_several_nodes_wins),
        cmocka_unit_test(marks_of_operations_come_with_their_commit),
        cmocka_unit_test(expiry_written_by_other_programs_is_read),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
