/* tests/store/test_files.c: contents and file lists.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_test.h"

#include <pthread.h>
#include <stdatomic.h>

static struct str repeat(struct arena *a, const char *text, int times)
{
    scoped_buf b = BUF_INIT(64 << 20);
    for (int i = 0; i < times; i++)
        buf_add_z(&b, text);
    return str_dup(a, buf_str(&b));
}

static void contents_are_compressed_when_that_pays(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    char noise[5000];
    random_bytes(noise, sizeof noise);
    const struct { const char *name; struct str data; bool is_packed; } cases[] = {
        {"empty.txt", STR(""), false},
        {"short.txt", STR("abc"), false},
        {"page.html", repeat(&a, "<p>hello</p>\n", 1000), true},
        {"picture.PNG", repeat(&a, "<p>hello</p>\n", 1000), false},
        {"noise", str_of(noise, sizeof noise), false},
        {"long.txt", repeat(&a, "0123456789abcdef", 100000), true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_blob b;
        struct str back;
        MUST(store_blob_prepare(&a, str_from(cases[i].name), cases[i].data, &b, &err), &err);
        if ((b.compression.len > 0) != cases[i].is_packed || b.size != (int64_t)cases[i].data.len ||
            b.content.len > cases[i].data.len)
            fail_msg("%s: compression \"%.*s\", %zu bytes", cases[i].name, STR_ARG(b.compression), b.content.len);
        assert_str(b.sha, sha256_hex(&a, cases[i].data));
        MUST(store_blob_unpack(&a, &b, &back, &err), &err);
        assert_true(str_eq(back, cases[i].data));
        b.size = -1; /* as store_blob_get gives it */
        MUST(store_blob_unpack(&a, &b, &back, &err), &err);
        assert_true(str_eq(back, cases[i].data));
    }
}

static void damaged_contents_are_noticed(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store_blob b, bad;
    struct str back;
    MUST(store_blob_prepare(&a, STR("x"), repeat(&a, "hello ", 1000), &b, &err), &err);
    bad = b;
    bad.content = str_slice(b.content, 0, b.content.len - 1);
    MUST_FAIL(store_blob_unpack(&a, &bad, &back, &err), &err, ERR_INTERNAL, "does not decompress");
    bad = b;
    bad.content = str_cat(&a, b.content, STR("x"));
    MUST_FAIL(store_blob_unpack(&a, &bad, &back, &err), &err, ERR_INTERNAL, "does not decompress");
    bad = b;
    bad.sha = sha256_hex(&a, STR("something else"));
    MUST_FAIL(store_blob_unpack(&a, &bad, &back, &err), &err, ERR_INTERNAL, "do not match its hash");
    bad = b;
    bad.compression = STR("zstd");
    MUST_FAIL(store_blob_unpack(&a, &bad, &back, &err), &err, ERR_UNSUPPORTED, "unknown compression zstd");
}

static void put_str(struct store_tx *tx, struct arena *a, const char *app, int version, struct str name,
                    struct str text)
{
    scoped_err err = {0};
    struct store_blob b;
    MUST(store_blob_prepare(a, name, text, &b, &err) && store_blob_put(tx, &b, &err), &err);
    struct store_file f = {.name = name, .sha = b.sha, .size = b.size};
    MUST(store_file_put(tx, str_from(app), version, &f, &err), &err);
}

static void put(struct store_tx *tx, struct arena *a, const char *app, int version, const char *name,
                const char *text)
{
    put_str(tx, a, app, version, str_from(name), str_from(text));
}

static void versions_share_contents_until_nobody_needs_them(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store *s = test_open("files");
    scoped_store_tx *tx = store_begin(s, &err);
    put(tx, &a, "app_stg_1", 1, "b/app.star", "one");
    put(tx, &a, "app_stg_1", 1, "a.txt", "shared");
    put(tx, &a, "app_stg_1", 2, "other", "to be replaced");
    MUST(store_files_copy(tx, STR("app_stg_1"), 1, STR("app_stg_1"), 2, &err), &err);
    MUST(store_files_copy(tx, STR("app_stg_1"), 2, STR("app_stg_1"), 2, &err), &err);
    MUST(store_files_copy(tx, STR("app_stg_1"), 2, STR("app_prd_1"), 2, &err), &err);
    put(tx, &a, "app_stg_1", 2, "b/app.star", "two");
    MUST(store_commit(&tx, &err), &err);

    tx = store_begin(s, &err);
    struct store_file_list list;
    MUST(store_file_list(tx, &a, STR("app_stg_1"), 2, &list, &err), &err);
    assert_int_equal(list.len, 2);
    assert_str(list.items[0].name, STR("a.txt"));
    assert_int_equal(list.items[0].size, 6);
    const struct str shas[] = {sha256_hex(&a, STR("one")), sha256_hex(&a, STR("never")),
                               sha256_hex(&a, STR("to be replaced"))};
    bool have[3];
    MUST(store_blobs_have(tx, shas, 3, have, &err), &err);
    assert_true(have[0] && !have[1] && have[2]);

    int64_t removed;
    MUST(store_cleanup_blobs(tx, 10, &removed, &err), &err);
    assert_int_equal(removed, 1);
    MUST(store_blobs_have(tx, shas, 3, have, &err), &err);
    assert_true(have[0] && !have[2]);
    struct store_file gone = {.name = STR("x"), .sha = shas[2], .size = 1};
    MUST_FAIL(store_file_put(tx, STR("app_stg_1"), 3, &gone, &err), &err, ERR_CONFLICT,
              "the content of x was removed meanwhile");
    struct store_blob b;
    MUST(store_blob_get(tx, &a, shas[0], &b, &err), &err);
    MUST_FAIL(store_blob_get(tx, &a, shas[1], &b, &err), &err, ERR_NOT_FOUND, "no stored content");
    MUST(store_file_get(tx, &a, STR("app_prd_1"), 2, STR("b/app.star"), &b, &err), &err);
    assert_str(b.sha, shas[0]);
    MUST(store_commit(&tx, &err), &err);

    struct str data;
    MUST(store_file_read(s, &a, STR("app_stg_1"), 2, STR("b/app.star"), &data, &err), &err);
    assert_str(data, STR("two"));
    MUST(store_file_read(s, &a, STR("app_prd_1"), 2, STR("b/app.star"), &data, &err), &err);
    assert_str(data, STR("one"));
    MUST_FAIL(store_file_read(s, &a, STR("app_prd_1"), 2, STR("none"), &data, &err), &err, ERR_NOT_FOUND,
              "version 2 of app app_prd_1 has no file none");
    store_close(s);
}

static struct {
    struct store *store;
    atomic_int wrong;
} shared;

static void *read_many(void *arg)
{
    for (int i = 0; i < 200; i++) {
        scoped_err err = {0};
        scoped_arena a = {0};
        struct str data;
        if (!store_file_read(shared.store, &a, STR("app"), 1, str_printf(&a, "f%d", i % 20), &data, &err) ||
            data.len != 13000)
            shared.wrong++;
    }
    return NULL;
}

static void many_threads_read_at_once(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    shared.store = test_open("shared");
    scoped_store_tx *tx = store_begin(shared.store, &err);
    for (int i = 0; i < 20; i++)
        put_str(tx, &a, "app", 1, str_printf(&a, "f%d", i), repeat(&a, "<p>hello</p>\n", 1000));
    MUST(store_commit(&tx, &err), &err);
    pthread_t threads[12];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared.wrong, 0);
    struct db_health health;
    store_health(shared.store, &health, NULL);
    assert_true(health.open_readers <= DB_READERS && health.busy_readers == 0);
    store_close(shared.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_are_compressed_when_that_pays),
        cmocka_unit_test(damaged_contents_are_noticed),
        cmocka_unit_test(versions_share_contents_until_nobody_needs_them),
        cmocka_unit_test(many_threads_read_at_once),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
