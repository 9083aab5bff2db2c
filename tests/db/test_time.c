/* tests/db/test_time.c: times as text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_test.h"

static void reads_every_form_that_databases_hold(void **state)
{
    static const struct { const char *in; bool ok; int64_t ns; } cases[] = {
        {"1970-01-01 00:00:00", true, 0},
        {"1970-01-01", true, 0},
        {"1970-01-02", true, 86400000000000},
        {"2024-02-29 12:30:45", true, 1709209845000000000},
        {"2024-02-29T12:30:45Z", true, 1709209845000000000},
        {"2024-02-29 12:30:45.5", true, 1709209845500000000},
        {"2024-02-29 12:30:45.123456789", true, 1709209845123456789},
        {"2024-02-29 12:30:45.1234567899", true, 1709209845123456789},
        {"2024-02-29 14:30:45+02:00", true, 1709209845000000000},
        {"2024-02-29 10:30:45.5 -0200", true, 1709209845500000000},
        {"2024-02-29 12:30:45.5 +0000 UTC", true, 1709209845500000000},
        {"2024-02-29 12:30:45.5 +0000 UTC m=+0.123", true, 1709209845500000000},
        {"2024-02-29 14:30:45 +0200 CEST", true, 1709209845000000000},
        {"2024-02-29 12:30:45 UTC", true, 1709209845000000000},
        {"1969-12-31 23:59:59.999999999", true, -1},
        {"0001-01-01T00:00:00Z", true, 0},
        {"9999-12-31 23:59:59", false, 0},
        {"", false, 0},
        {"2023-02-29", false, 0},
        {"2024-13-01", false, 0},
        {"2024-00-01", false, 0},
        {"2024-01-01 24:00:00", false, 0},
        {"2024-01-01 10:00:00.", false, 0},
        {"2024-01-01 10:00:00 PST", false, 0},
        {"2024-01-01 10:00:00 +0000 utc", false, 0},
        {"2024-01-01 10:00:00 +", false, 0},
        {"2024-01-01 10:00:00Zx", false, 0},
        {"yesterday", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ns = 0;
        if (db_time_parse(str_from(cases[i].in), &ns) != cases[i].ok || ns != cases[i].ns)
            fail_msg("\"%s\": got %lld", cases[i].in, (long long)ns);
    }
}

static void what_is_written_reads_back_and_sorts(void **state)
{
    static const int64_t times[] = {-9223372036000000000, -62135596800LL * 100000000, -1, 0, 1, 999999999, 1000000000,
                                    1709209845123456789, 4102444800000000000, INT64_MAX};
    char before[DB_TIME_LEN + 1] = "";
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char text[DB_TIME_LEN + 1];
        int64_t ns = 0;
        db_time_format(times[i], text);
        assert_int_equal(strlen(text), DB_TIME_LEN);
        assert_true(db_time_parse(str_from(text), &ns));
        assert_int_equal(ns, times[i]);
        assert_true(strcmp(before, text) < 0);
        memcpy(before, text, sizeof text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_form_that_databases_hold),
        cmocka_unit_test(what_is_written_reads_back_and_sorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
