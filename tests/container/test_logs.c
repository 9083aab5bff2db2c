/* tests/container/test_logs.c: what containers have written, also where Podman's tail mixes lines up.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* As conmon writes it down: F is a line or the end of one, P what was written of it before. */
struct record {
    char kind;
    const char *text;
};

static struct fake fake;
static struct ctr_backend ops;
static const struct record *records;
static size_t n_records;
static int n_before;                      /* plain lines before the records */
static int reads;
static bool is_slow;                      /* all of the log takes too long */

static struct record record_at(size_t i)
{
    return i < (size_t)n_before ? (struct record){'F', "before"} : records[i - (size_t)n_before];
}

/* What Podman 4.3 prints: all of it is right; a tail gives a part to the line before it. The n-th record is of second n. */
static bool podman_logs(void *ctx, struct arena *a, struct str name, int lines, int64_t since_ns, bool with_times, struct str *out,
                        struct err *err)
{
    size_t n = (size_t)n_before + n_records;
    struct str text = {0}, pending = {0};
    reads++;
    assert_int_equal(since_ns, 0);
    if (lines == 0 && is_slow)
        return err_set(err, ERR_UNAVAILABLE, "podman logs did not answer within 10 s");
    for (size_t i = 0; i < n && lines == 0; i++) {
        struct record r = record_at(i);
        struct str time = with_times ? str_printf(a, "2026-01-01T00:%02zu:%02zu.000000000Z ", i / 60, i % 60) : (struct str){0};
        text = str_printf(a, STR_FMT STR_FMT "%s%s", STR_ARG(text), STR_ARG(time), r.text, r.kind == 'F' ? "\n" : "");
    }
    for (size_t i = n; i-- > 0 && lines > 0;) {
        struct record r = record_at(i);
        pending = str_printf(a, "%s" STR_FMT, r.text, STR_ARG(pending));
        if (r.kind == 'P')
            continue;
        struct str time = with_times ? str_printf(a, "2026-01-01T00:%02zu:%02zu.000000000Z ", i / 60, i % 60) : (struct str){0};
        text = str_printf(a, STR_FMT STR_FMT "\n" STR_FMT, STR_ARG(time), STR_ARG(pending), STR_ARG(text));
        pending = (struct str){0};
        lines--;
        if (lines == 0)
            break;
    }
    *out = text;
    return true;
}

static struct ctr_engine *engine_with(const struct record *r, size_t n, int before)
{
    memset(&fake, 0, sizeof fake);
    ops = fake_backend;
    ops.logs = podman_logs;
    records = r;
    n_records = n;
    n_before = before;
    reads = 0;
    is_slow = false;
    return ctr_engine_open_with(CTR_PODMAN, &ops, &fake);
}

static const struct {
    const char *name;
    int before, lines;
    bool is_slow;
    struct record records[6];
    const char *expected;
    int reads;
} cases[] = {
    {"nothing", 0, 10, false, {{0}}, "", 2},
    {"whole lines", 0, 2, false, {{'F', "one"}, {'F', "two"}, {'F', "three"}}, "two\nthree\n", 2},
    {"a last line whose end was written apart", 0, 1, false, {{'F', "one"}, {'F', "two"}, {'P', "text"}, {'F', ""}}, "text\n", 2},
    {"and those before it", 0, 10, false, {{'F', "one"}, {'F', "two"}, {'P', "text"}, {'F', ""}}, "one\ntwo\ntext\n", 2},
    {"a last line without an end", 0, 10, false, {{'F', "one"}, {'P', "text"}}, "one\ntext", 2},
    {"of a long log", 300, 1, false, {{'F', "two"}, {'P', "text"}, {'F', ""}}, "text\n", 2},
    {"a long log of whole lines is not read as a whole", 300, 2, false, {{'F', "one"}, {'F', "two"}}, "one\ntwo\n", 1},
    {"a log that is too long to be read as a whole", 300, 2, true, {{'F', "two"}, {'P', "text"}, {'F', ""}}, "twotext\n\n", 2},
};

static void a_tail_has_whole_lines(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct str out;
        size_t n = 0;
        while (n < 6 && cases[i].records[n].kind)
            n++;
        print_message("%s\n", cases[i].name);
        struct ctr_engine *e = engine_with(cases[i].records, n, cases[i].before);
        is_slow = cases[i].is_slow;
        assert_true(ctr_container_logs(e, &a, STR("clc-a"), cases[i].lines, &out, &err));
        if (!str_eq_z(out, cases[i].expected))
            fail_msg("%s: \"" STR_FMT "\"", cases[i].name, STR_ARG(out));
        assert_int_equal(reads, cases[i].reads);
        ctr_engine_close(e);
    }
}

static void what_is_followed_comes_once_and_whole(void **state)
{
    static const struct record all[] = {{'F', "one"}, {'P', "text"}, {'F', " 2026-01-01 more"}, {'F', "three"}, {'P', "end"}, {'F', ""}};
    static const struct {
        size_t n; /* as many records are there */
        const char *expected;
    } steps[] = {{1, "one\n"}, {1, ""}, {3, "text 2026-01-01 more\n"}, {5, "three\nend\n"}, {6, ""}};
    int64_t next = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct str out;
        struct ctr_engine *e = engine_with(all, steps[i].n, 0);
        assert_true(ctr_container_logs_since(e, &a, STR("clc-a"), 100, next, &out, &next, &err));
        if (!str_eq_z(out, steps[i].expected))
            fail_msg("step %zu: \"" STR_FMT "\"", i, STR_ARG(out));
        ctr_engine_close(e);
    }
}

static void times_are_taken_off(void **state)
{
    static const struct {
        const char *text, *expected;
        bool has_parts;
        int64_t since_ns, newest;
    } lines[] = {
        {"1970-01-01T00:00:01.5Z one two\n1970-01-01T00:00:02Z\nno time\n", "one two\n\nno time\n", false, 0, 2000000000},
        {"1970-01-01T00:00:01Z old\n1970-01-01T00:00:02Z new\n", "new\n", false, 1500000000, 2000000000},
        {"1970-01-01T00:00:01.000000000Z a1970-01-01T00:00:02.000000000Z b1970-01-01T00:00:03.000000000Z \n", "ab\n", true, 0, 3000000000},
        {"1970-01-01T00:00:05.000000000Z its own 1970-01-01T00:00:02.000000000Z time\n",
         "its own 1970-01-01T00:00:02.000000000Z time\n", true, 0, 5000000000},
        {"1970-01-01T00:00:05.000000000+00:00 a1970-01-01T00:00:06.000000000+00:00 b\n", "ab\n", true, 0, 6000000000},
        {"", "", true, 0, 0},
        {"\n\n", "", true, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        scoped_arena a = {0};
        int64_t newest = 0;
        struct str out = ctr_logs_strip(&a, str_from(lines[i].text), lines[i].has_parts, lines[i].since_ns, &newest);
        if (!str_eq_z(out, lines[i].expected) || newest != lines[i].newest)
            fail_msg("%zu: \"" STR_FMT "\" %lld", i, STR_ARG(out), (long long)newest);
    }
}

static void the_newest_bytes_are_kept(void **state)
{
    static char piece[3 * CTR_LOG_MAX];
    scoped_buf b = BUF_INIT(2 * CTR_LOG_MAX);
    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = (char)('a' + i % 7);
    ctr_log_keep(&b, str_of(piece, 10));
    assert_true(str_eq(ctr_log_kept(&b), str_of(piece, 10)));
    for (size_t at = 10, n; at < sizeof piece; at += n) {
        n = MIN(sizeof piece - at, (size_t)1777);
        ctr_log_keep(&b, str_of(piece + at, n));
        size_t kept = MIN(at + n, (size_t)CTR_LOG_MAX);
        assert_true(str_eq(ctr_log_kept(&b), str_of(piece + at + n - kept, kept)));
    }
    ctr_log_keep(&b, str_of(piece, sizeof piece));
    assert_true(str_eq(ctr_log_kept(&b), str_of(piece + sizeof piece - CTR_LOG_MAX, CTR_LOG_MAX)));
    assert_false(b.is_full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tail_has_whole_lines),
        cmocka_unit_test(what_is_followed_comes_once_and_whole),
        cmocka_unit_test(times_are_taken_off),
        cmocka_unit_test(the_newest_bytes_are_kept),
    };
    return cmocka_run_group_tests_name("container/logs", tests, NULL, NULL);
}
