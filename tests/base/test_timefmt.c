/* tests/base/test_timefmt.c: points in time as text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static void writes_each_form(void **state)
{
    scoped_arena a = {0};
    static const struct { int64_t ns; const char *s, *nano, *sql; } cases[] = {
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01 00:00:00"},
        {1714979289500000000, "2024-05-06T07:08:09Z", "2024-05-06T07:08:09.5Z", "2024-05-06 07:08:09"},
        {1709164800000000001, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000001Z", "2024-02-29 00:00:00"},
        {-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999999999Z", "1969-12-31 23:59:59"},
        {INT64_MAX, "2262-04-11T23:47:16Z", "2262-04-11T23:47:16.854775807Z", "2262-04-11 23:47:16"},
        {INT64_MIN + 1, "1677-09-21T00:12:43Z", "1677-09-21T00:12:43.145224193Z", "1677-09-21 00:12:43"},
        {TIME_NONE, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01 00:00:00"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (!str_eq_z(time_rfc3339(&a, cases[i].ns), cases[i].s) ||
            !str_eq_z(time_rfc3339_nano(&a, cases[i].ns), cases[i].nano) ||
            !str_eq_z(time_sql(&a, cases[i].ns), cases[i].sql))
            fail_msg("%s: got " STR_FMT, cases[i].nano, STR_ARG(time_rfc3339_nano(&a, cases[i].ns)));
        int64_t back = 5;
        assert_true(time_parse(str_from(cases[i].nano), &back));
        assert_true(back == cases[i].ns);
    }
}

static void agrees_with_the_c_library(void **state)
{
    for (int64_t s = -9000000000; s < 9000000000; s += 7654321) {
        struct tm tm;
        time_t t = s;
        gmtime_r(&t, &tm);
        char want[64], got[TIME_TEXT_MAX];
        strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_int_equal(time_format_http(got, s), 29);
        assert_string_equal(got, want);
        int64_t back;
        assert_true(time_parse_http(str_from(got), 0, &back));
        assert_true(back == s);
        struct time_fields f;
        time_split(s * 1000000000, &f);
        assert_int_equal(f.yearday, tm.tm_yday + 1);
        assert_int_equal(f.weekday, tm.tm_wday);
    }
}

static void reads_leniently(void **state)
{
    static const struct { const char *in; int64_t s; int nsec; } cases[] = {
        {"2024-05-06T07:08:09Z", 1714979289, 0},       {"2024-05-06t07:08:09z", 1714979289, 0},
        {"2024-05-06 07:08:09", 1714979289, 0},        {"2024-05-06 07:08:09.25", 1714979289, 250000000},
        {"2024-05-06T07:08:09,5Z", 1714979289, 500000000},
        {"2024-05-06T07:08:09.1234567891234Z", 1714979289, 123456789},
        {"2024-05-06T09:08:09+02:00", 1714979289, 0},  {"2024-05-06T09:08:09+0200", 1714979289, 0},
        {"2024-05-06T09:08:09+02", 1714979289, 0},     {"2024-05-06T06:38:09-00:30", 1714979289, 0},
        {"2024-05-06T09:08:09 +0200", 1714979289, 0},  {"2024-05-06T07:08", 1714979280, 0},
        {"2024-05-06", 1714953600, 0},                 {"2016-12-31T23:59:60Z", 1483228800, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ns = 0;
        if (!time_parse(str_from(cases[i].in), &ns) || ns != cases[i].s * 1000000000 + cases[i].nsec)
            fail_msg("%s: got %lld", cases[i].in, (long long)ns);
    }
    static const char *const bad[] = {
        "", "2024", "2024-05", "2024-5-6", "2024-13-01", "2024-02-30", "2023-02-29", "2024-00-01", "2024-01-00",
        "2024-05-06T", "2024-05-06T24:00:00Z", "2024-05-06T07:60:00Z", "2024-05-06T07:08:61Z", "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08:09+24:00", "2024-05-06T07:08:09+", "2024-05-06T07:08:09+02:", "2024-05-06T07:08:09Zx",
        "2024-05-06x07:08:09", "9999-01-01T00:00:00Z", "1600-01-01T00:00:00Z", "-2024-05-06", "2024-05-06T07:08:09+020",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ns = 42;
        if (time_parse(str_from(bad[i]), &ns) || ns != 42)
            fail_msg("accepted %s", bad[i]);
    }
}

static void reads_the_three_http_dates(void **state)
{
    const int64_t now = 1714979289; /* 2024 */
    static const struct { const char *in; int64_t s; } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun Nov 06 08:49:37 1994", 784111777},
        {"Monday, 06-May-24 07:08:09 GMT", 1714979289},
        {"Sunday, 06-May-74 07:08:09 GMT", 3292816089}, /* 50 years ahead is still the future */
        {"Monday, 06-May-75 07:08:09 GMT", 168592089},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t s = 0;
        if (!time_parse_http(str_from(cases[i].in), now, &s) || s != cases[i].s)
            fail_msg("%s: got %lld", cases[i].in, (long long)s);
    }
    static const char *const bad[] = {
        "", "Sun, 6 Nov 1994 08:49:37 GMT", "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994", "Sun Nov  6 08:49:37 94",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t s = 42;
        if (time_parse_http(str_from(bad[i]), now, &s) || s != 42)
            fail_msg("accepted %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_each_form),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(reads_leniently),
        cmocka_unit_test(reads_the_three_http_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
