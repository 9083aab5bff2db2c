/* tests/base/test_cron.c: schedules: what they mean, when they come, and what is no schedule.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"
#include "cron.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int64_t parse_s(const char *text)
{
    int64_t ns;
    assert_true(time_parse(str_from(text), &ns));
    return ns / 1000000000;
}

/* The last Sunday of a month, at 01:00 UTC. */
static int64_t last_sunday(int year, int month, int days)
{
    int64_t day = time_days_from_civil(year, month, days);
    return (day - (day + 4) % 7) * 86400 + 3600;
}

/* Europe/Berlin; +2:00 from the last Sunday of March to that of October. */
static int32_t berlin(const void *zone, int64_t s)
{
    struct time_fields f;
    time_split(s * 1000000000, &f);
    return s >= last_sunday(f.year, 3, 31) && s < last_sunday(f.year, 10, 31) ? 7200 : 3600;
}

/* Summer time of half an hour, changed at the same instants. */
static int32_t half_hour(const void *zone, int64_t s)
{
    return berlin(zone, s) == 7200 ? 5400 : 3600;
}

/* Forty minutes west of UTC and no clock changes. */
static int32_t odd(const void *zone, int64_t s)
{
    return -40 * 60;
}

static void comes_when_it_should(void **state)
{
    static const struct {
        const char *name, *schedule;
        cron_offset_fn *zone;
        const char *after, *want[4];
    } cases[] = {
        {"every minute", "* * * * *", NULL, "2024-05-06T07:08:09Z",
         {"2024-05-06T07:09:00Z", "2024-05-06T07:10:00Z"}},
        {"a full minute is past", "* * * * *", NULL, "2024-05-06T07:08:00Z", {"2024-05-06T07:09:00Z"}},
        {"every five minutes", "*/5 * * * *", NULL, "2024-05-06T23:52:00Z",
         {"2024-05-06T23:55:00Z", "2024-05-07T00:00:00Z", "2024-05-07T00:05:00Z"}},
        {"a step from a value on", "50/4 * * * *", NULL, "2024-05-06T07:51:00Z",
         {"2024-05-06T07:54:00Z", "2024-05-06T07:58:00Z", "2024-05-06T08:50:00Z"}},
        {"a range with a step", "10-40/15 9-10 * * *", NULL, "2024-05-06T09:30:00Z",
         {"2024-05-06T09:40:00Z", "2024-05-06T10:10:00Z", "2024-05-06T10:25:00Z", "2024-05-06T10:40:00Z"}},
        {"a list, out of order", "5,1,3 0 * * *", NULL, "2024-05-06T00:01:00Z",
         {"2024-05-06T00:03:00Z", "2024-05-06T00:05:00Z", "2024-05-07T00:01:00Z"}},
        {"blanks and tabs between the fields", "  0 \t 12  *  * * ", NULL, "2024-05-06T12:00:00Z",
         {"2024-05-07T12:00:00Z"}},
        {"the end of each long month", "0 0 31 * *", NULL, "2024-01-31T00:00:00Z",
         {"2024-03-31T00:00:00Z", "2024-05-31T00:00:00Z", "2024-07-31T00:00:00Z", "2024-08-31T00:00:00Z"}},
        {"the 30th skips February", "0 0 30 * *", NULL, "2023-01-30T00:00:00Z",
         {"2023-03-30T00:00:00Z", "2023-04-30T00:00:00Z"}},
        {"the leap day", "0 0 29 2 *", NULL, "2096-02-29T00:00:00Z", {"2104-02-29T00:00:00Z"}},
        {"the year's turn", "59 23 31 DEC *", NULL, "2024-12-31T23:59:00Z", {"2025-12-31T23:59:00Z"}},
        {"months by name, any case", "0 0 1 jan,Jul *", NULL, "2024-05-06T00:00:00Z",
         {"2024-07-01T00:00:00Z", "2025-01-01T00:00:00Z"}},
        {"working days", "0 9 * * MON-FRI", NULL, "2024-05-10T09:00:00Z",
         {"2024-05-13T09:00:00Z", "2024-05-14T09:00:00Z"}},
        {"0 is Sunday", "0 0 * * 0", NULL, "2024-05-06T00:00:00Z", {"2024-05-12T00:00:00Z"}},
        {"7 is Sunday too", "0 0 * * 7", NULL, "2024-05-06T00:00:00Z", {"2024-05-12T00:00:00Z"}},
        {"a week that ends with Sunday", "0 0 * * sat-sun", NULL, "2024-05-06T00:00:00Z",
         {"2024-05-11T00:00:00Z", "2024-05-12T00:00:00Z", "2024-05-18T00:00:00Z"}},
        {"5-7 ends with Sunday", "0 0 * * 5-7", NULL, "2024-05-06T00:00:00Z",
         {"2024-05-10T00:00:00Z", "2024-05-11T00:00:00Z", "2024-05-12T00:00:00Z", "2024-05-17T00:00:00Z"}},
        {"day of the month or of the week", "0 0 13 * FRI", NULL, "2024-05-06T00:00:00Z",
         {"2024-05-10T00:00:00Z", "2024-05-13T00:00:00Z", "2024-05-17T00:00:00Z"}},
        {"both, when one begins with a star", "0 0 */2 * FRI", NULL, "2024-05-06T00:00:00Z",
         {"2024-05-17T00:00:00Z", "2024-05-31T00:00:00Z"}},
        {"the 31st of February, or any Friday", "0 0 31 2 FRI", NULL, "2024-01-31T00:00:00Z",
         {"2024-02-02T00:00:00Z"}},
        {"hourly", "@hourly", NULL, "2024-05-06T07:08:09Z", {"2024-05-06T08:00:00Z"}},
        {"daily", "@daily", NULL, "2024-05-06T07:08:09Z", {"2024-05-07T00:00:00Z"}},
        {"midnight", "@Midnight", NULL, "2024-05-06T07:08:09Z", {"2024-05-07T00:00:00Z"}},
        {"weekly", "@weekly", NULL, "2024-05-06T07:08:09Z", {"2024-05-12T00:00:00Z"}},
        {"monthly", "@monthly", NULL, "2024-05-06T07:08:09Z", {"2024-06-01T00:00:00Z"}},
        {"yearly", "@yearly", NULL, "2024-05-06T07:08:09Z", {"2025-01-01T00:00:00Z"}},
        {"a zone east of UTC", "0 9 * * *", berlin, "2024-05-06T07:00:00Z", {"2024-05-07T07:00:00Z"}},
        {"a zone with an odd offset", "0 9 * * *", odd, "2024-05-06T07:00:00Z", {"2024-05-06T09:40:00Z"}},
        {"the local weekday counts", "30 0 * * MON", berlin, "2024-05-05T12:00:00Z", {"2024-05-05T22:30:00Z"}},
        /* Berlin, 31 March 2024: 02:00 is 03:00, at 01:00 UTC. */
        {"a skipped time comes at the change", "30 2 * * *", berlin, "2024-03-30T12:00:00Z",
         {"2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"}},
        {"two skipped times come once", "10,40 2 * * *", berlin, "2024-03-30T12:00:00Z",
         {"2024-03-31T01:00:00Z", "2024-04-01T00:10:00Z"}},
        {"the first time after the change is not the skipped one", "0 3 * * *", berlin, "2024-03-30T12:00:00Z",
         {"2024-03-31T01:00:00Z", "2024-04-01T01:00:00Z"}},
        {"before and after the change", "30 1,3 * * *", berlin, "2024-03-30T12:00:00Z",
         {"2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "2024-03-31T23:30:00Z"}},
        {"each hour, with the skipped one missing", "30 * * * *", berlin, "2024-03-31T00:00:00Z",
         {"2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "2024-03-31T02:30:00Z"}},
        {"midnight of the day of the change", "0 0 * * *", berlin, "2024-03-30T12:00:00Z",
         {"2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"}},
        /* 27 October 2024: 03:00 is 02:00 again, at 01:00 UTC. */
        {"a repeated time comes once", "30 2 * * *", berlin, "2024-10-26T12:00:00Z",
         {"2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"}},
        {"so does the start of the repeated hour", "0 2 * * *", berlin, "2024-10-26T12:00:00Z",
         {"2024-10-27T00:00:00Z", "2024-10-28T01:00:00Z"}},
        {"what comes after the repeated hour", "0 3 * * *", berlin, "2024-10-26T12:00:00Z",
         {"2024-10-27T02:00:00Z", "2024-10-28T02:00:00Z"}},
        {"each hour, the repeated one twice", "15 * * * *", berlin, "2024-10-27T00:00:00Z",
         {"2024-10-27T00:15:00Z", "2024-10-27T01:15:00Z", "2024-10-27T02:15:00Z"}},
        {"a change of half an hour", "15 2 * * *", half_hour, "2024-03-30T12:00:00Z",
         {"2024-03-31T01:00:00Z", "2024-04-01T00:45:00Z"}},
        {"and back", "45 1 * * *", half_hour, "2024-10-26T12:00:00Z",
         {"2024-10-27T00:15:00Z", "2024-10-28T00:45:00Z"}},
    };
    scoped_arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cron c;
        scoped_err err = {0};
        if (!cron_parse(str_from(cases[i].schedule), &c, &err))
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        int64_t at = parse_s(cases[i].after);
        for (size_t k = 0; k < ARRAY_LEN(cases[i].want) && cases[i].want[k]; k++) {
            if (!cron_next(&c, at, cases[i].zone, NULL, &at))
                fail_msg("%s: %zu: never", cases[i].name, k);
            struct str got = time_rfc3339(&a, at * 1000000000);
            if (!str_eq_z(got, cases[i].want[k]))
                fail_msg("%s: time %zu: got " STR_FMT ", want %s", cases[i].name, k, STR_ARG(got), cases[i].want[k]);
        }
    }
}

static void refuses_what_is_no_schedule(void **state)
{
    static const struct {
        const char *schedule, *says;
    } cases[] = {
        {"", "must have five fields"},
        {"* * * *", "must have five fields"},
        {"* * * * * *", "must have five fields"},
        {"@reboot", "known are @hourly"},
        {"@", "known are @hourly"},
        {"60 * * * *", "minute \"60\": must be between 0 and 59"},
        {"* 24 * * *", "hour \"24\": must be between 0 and 23"},
        {"* * 0 * *", "day of the month \"0\": must be between 1 and 31"},
        {"* * * 13 *", "month \"13\": must be between 1 and 12"},
        {"* * * * 8", "day of the week \"8\": must be between 0 and 7"},
        {"* * * FOO *", "must be a number or a name"},
        {"MON * * * *", "minute \"MON\": must be a number"},
        {"-1 * * * *", "minute \"\": must be a number"},
        {"5- * * * *", "minute \"\": must be a number"},
        {"1,,2 * * * *", "minute \"\": must be a number"},
        {"1, * * * *", "minute \"\": must be a number"},
        {"*/0 * * * *", "the step after '/'"},
        {"*/x * * * *", "the step after '/'"},
        {"*/ * * * *", "the step after '/'"},
        {"30-10 * * * *", "the range ends before it begins"},
        {"* * * NOV-FEB *", "the range ends before it begins"},
        {"0 0 30 2 *", "never comes"},
        {"0 0 31 4,6,9,11 *", "never comes"},
        {"0 0 31 FEB */1", "never comes"},
        {"+5 * * * *", "must be a number"},
        {"1.5 * * * *", "must be a number"},
        {"99999999999999999999 * * * *", "must be a number"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cron c = {.minutes = 7};
        scoped_err err = {0};
        if (cron_parse(str_from(cases[i].schedule), &c, &err))
            fail_msg("\"%s\" is taken", cases[i].schedule);
        if (str_find(str_from(err_msg(&err)), str_from(cases[i].says)) == STR_NPOS)
            fail_msg("\"%s\": got: %s; want: %s", cases[i].schedule, err_msg(&err), cases[i].says);
        assert_int_equal(c.minutes, 7); /* a failure leaves it alone */
    }
}

/* Against a walk by the minute, which needs no strides. */
static void agrees_with_a_walk_by_the_minute(void **state)
{
    static const char *const schedules[] = {"7 3 * * *", "*/7 5-9 * * 1-5", "0 0 1 * *", "59 23 * * SUN",
                                            "30 2 31 3,10 *", "0 * 31 * *"};
    for (size_t i = 0; i < ARRAY_LEN(schedules); i++) {
        struct cron c;
        scoped_err err = {0};
        assert_true(cron_parse(str_from(schedules[i]), &c, &err));
        int64_t from = parse_s("2024-03-25T00:00:00Z"), to = from + 10 * 86400, next = from;
        assert_true(cron_next(&c, from, NULL, NULL, &next));
        for (int64_t t = from + 60; t < to; t += 60) {
            struct time_fields f;
            time_split(t * 1000000000, &f);
            bool day = c.days >> f.day & 1, weekday = c.weekdays >> f.weekday & 1;
            bool is_due = c.minutes >> f.minute & 1 && c.hours >> f.hour & 1 && c.months >> f.month & 1 &&
                          (c.any_day || c.any_weekday ? day && weekday : day || weekday);
            assert_int_equal(is_due, t == next);
            if (is_due)
                assert_true(cron_next(&c, t, NULL, NULL, &next));
        }
    }
}

static void stays_within_its_range(void **state)
{
    struct cron c;
    scoped_err err = {0};
    int64_t at = 5;
    assert_true(cron_parse(STR("* * * * *"), &c, &err));
    assert_false(cron_next(&c, INT64_MAX, NULL, NULL, &at));
    assert_false(cron_next(&c, INT64_MIN, NULL, NULL, &at));
    assert_int_equal(at, 5);
    assert_true(cron_next(&c, -1, NULL, NULL, &at));
    assert_int_equal(at, 0);
    assert_true(cron_next(&c, -61, NULL, NULL, &at));
    assert_int_equal(at, -60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_when_it_should),
        cmocka_unit_test(refuses_what_is_no_schedule),
        cmocka_unit_test(agrees_with_a_walk_by_the_minute),
        cmocka_unit_test(stays_within_its_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
