/* tests/server/test_job.c: what is due, and what is kept of runs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "job.h"
#include "server_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t seconds(const char *text)
{
    int64_t ns;
    assert_true(time_parse(str_from(text), &ns));
    return ns / 1000000000;
}

static void plans(void **state)
{
    static const struct {
        const char *name, *schedule;
        bool catch_up;
        const char *base, *now, *due, *next; /* due NULL: nothing */
        bool is_late, is_missed;
    } cases[] = {
        {"nothing is due yet", "0 * * * *", false, "2024-05-06T07:00:00Z", "2024-05-06T07:30:00Z", NULL,
         "2024-05-06T08:00:00Z", false, false},
        {"due now", "0 * * * *", false, "2024-05-06T07:00:00Z", "2024-05-06T08:00:00Z", "2024-05-06T08:00:00Z",
         "2024-05-06T09:00:00Z", false, false},
        {"half a minute late is on time", "0 * * * *", false, "2024-05-06T07:00:00Z", "2024-05-06T08:00:30Z",
         "2024-05-06T08:00:00Z", "2024-05-06T09:00:00Z", false, false},
        {"missed and forgotten", "0 * * * *", false, "2024-05-06T07:00:00Z", "2024-05-06T10:30:00Z", NULL,
         "2024-05-06T11:00:00Z", false, true},
        {"missed thrice, happens once", "0 * * * *", true, "2024-05-06T07:00:00Z", "2024-05-06T10:30:00Z",
         "2024-05-06T08:00:00Z", "2024-05-06T11:00:00Z", true, false},
        {"missed earlier ones, but one is due now", "0 * * * *", true, "2024-05-06T07:00:00Z", "2024-05-06T10:00:05Z",
         "2024-05-06T10:00:00Z", "2024-05-06T11:00:00Z", false, false},
        {"each minute, after a long sleep", "* * * * *", false, "2024-05-06T07:00:00Z", "2024-05-06T10:00:30Z",
         "2024-05-06T10:00:00Z", "2024-05-06T10:01:00Z", false, false},
        {"dealt with already", "0 * * * *", true, "2024-05-06T08:00:01Z", "2024-05-06T08:00:30Z", NULL,
         "2024-05-06T09:00:00Z", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct app_job job = {.catch_up = cases[i].catch_up, .zone = star_zone_find(STR("UTC"))};
        assert_true(cron_parse(str_from(cases[i].schedule), &job.cron, &err));
        struct job_plan p = job_plan_at(&job, seconds(cases[i].base), seconds(cases[i].now));
        int64_t due = cases[i].due ? seconds(cases[i].due) : 0;
        if (p.due_s != due || p.next_s != seconds(cases[i].next) || p.is_late != cases[i].is_late ||
            p.is_missed != cases[i].is_missed)
            fail_msg("%s: due %lld (want %lld), next %lld, late %d, missed %d", cases[i].name, (long long)p.due_s,
                     (long long)due, (long long)p.next_s, p.is_late, p.is_missed);
    }
}

static char home[64];
static struct str dir;

static int make_dir(void **state)
{
    static char path[128];
    snprintf(home, sizeof home, "/tmp/openrun-job-XXXXXX");
    if (!mkdtemp(home))
        return -1;
    snprintf(path, sizeof path, "%s/app/job", home);
    dir = str_from(path);
    return 0;
}

static int remove_dir(void **state)
{
    scoped_err err = {0};
    return fs_remove_tree(str_from(home), &err) ? 0 : -1;
}

static void a_history_survives(void **state)
{
    scoped_err err = {0};
    struct job_history h = {.base_s = 1000, .skipped = 3}, back;
    struct job_record *r = job_history_add(&h, dir);
    char first[40];
    memcpy(first, r->id, sizeof first);
    r->status = JOB_FAILED;
    r->code = 7;
    r->due_s = 940;
    r->start_ns = 941000000000;
    r->end_ns = 942000000000;
    snprintf(r->error, sizeof r->error, "exit \"7\"");
    r = job_history_add(&h, dir);
    r->status = JOB_RUNNING;
    assert_true(job_history_save(dir, STR("@daily UTC"), &h, &err));
    assert_true(job_history_load(dir, STR("@daily UTC"), 5000, &back));
    assert_int_equal(back.base_s, 1000);
    assert_int_equal(back.skipped, 3);
    assert_int_equal(back.len, 2);
    assert_string_equal(back.runs[0].id, first);
    assert_int_equal(back.runs[0].code, 7);
    assert_string_equal(back.runs[0].error, "exit \"7\"");
    assert_int_equal(back.runs[0].due_s, 940);
    assert_int_equal(back.runs[1].status, JOB_INTERRUPTED); /* nobody runs it any more */
    assert_int_equal(back.runs[1].end_ns, 5000000000000);
    /* Another schedule begins now; a clock that went back does not stop the job. */
    assert_false(job_history_load(dir, STR("@hourly UTC"), 5000, &back));
    assert_int_equal(back.base_s, 5000);
    assert_int_equal(back.len, 2);
    assert_true(job_history_load(dir, STR("@daily UTC"), 500, &back));
    assert_int_equal(back.base_s, 500);
}

static void a_broken_history_begins_anew(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"schedule\":\"x\",\"base\":\"soon\",\"runs\":5}",
                                        "{\"schedule\":\"x\",\"runs\":[1,{\"id\":\"../../x\",\"status\":\"success\"},"
                                        "{\"id\":\"a\",\"status\":\"odd\",\"trigger\":\"manual\"}]}"};
    scoped_arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        scoped_err err = {0};
        struct job_history h;
        assert_true(fs_mkdir_p(dir, 0700, &err));
        assert_true(fs_write_atomic(path_join(&a, dir, STR("history.json")), str_from(texts[i]), 0600, &err));
        job_history_load(dir, STR("x"), 77, &h);
        assert_int_equal(h.base_s, 77);
        assert_int_equal(h.len, 0);
    }
}

static void the_oldest_runs_go_with_their_logs(void **state)
{
    scoped_arena a = {0};
    struct job_history h = {0};
    char first[40] = "";
    for (int i = 0; i < JOB_RUNS_KEPT + 5; i++) {
        struct job_record *r = job_history_add(&h, dir);
        struct job_log log;
        assert_non_null(r);
        r->status = JOB_SUCCESS;
        job_log_open(&log, dir, r->id);
        job_log_write(&log, STR("x"));
        job_log_close(&log);
        if (i == 0)
            memcpy(first, r->id, sizeof first);
    }
    assert_int_equal(h.len, JOB_RUNS_KEPT);
    assert_null(job_history_find(&h, str_from(first)));
    assert_false(fs_exists(path_join(&a, dir, str_printf(&a, "%s.log", first))));
    assert_true(fs_exists(path_join(&a, dir, str_printf(&a, "%s.log", h.runs[0].id))));
    for (size_t i = 0; i < h.len; i++)
        h.runs[i].status = JOB_RUNNING;
    assert_null(job_history_add(&h, dir)); /* nothing that runs is forgotten */
}

static void output_is_bounded_and_keeps_both_ends(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct job_log log;
    struct str text;
    int64_t end;
    char block[65536];
    memset(block, 'm', sizeof block);
    job_log_open(&log, dir, "abc");
    job_log_write(&log, STR("begin\n"));
    for (int i = 0; i < 60; i++)
        job_log_write(&log, str_of(block, sizeof block));
    /* What has been written can be read while it goes on. */
    assert_true(job_log_read(&a, dir, "abc", 0, &text, &end, &err));
    assert_int_equal(text.len, JOB_LOG_HEAD);
    job_log_note(&log, "the end");
    job_log_close(&log);
    assert_true(job_log_read(&a, dir, "abc", 0, &text, &end, &err));
    assert_true(str_starts(text, STR("begin\nmmm")) && str_ends(text, STR("mmm\n[the end]\n")));
    assert_true(str_find(text, STR("bytes left out]")) != STR_NPOS);
    assert_true(text.len < JOB_LOG_HEAD + JOB_LOG_TAIL + 100);
    assert_int_equal(end, text.len);
    assert_true(job_log_read(&a, dir, "abc", end, &text, &end, &err));
    assert_int_equal(text.len, 0);
    assert_true(job_log_read(&a, dir, "missing", 0, &text, &end, &err));
    assert_int_equal(text.len, 0);
    /* A folder that cannot be made loses the output, not the run. */
    job_log_open(&log, STR("/dev/null/x"), "abc");
    job_log_write(&log, STR("text"));
    job_log_close(&log);
}

static void make_runs(const char *name, int64_t age_days)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct job_history h = {0};
    struct str at = path_join(&a, str_from(home), STR("app"), str_from(name)), file = path_join(&a, at, STR("history.json"));
    assert_true(job_history_save(at, STR("x"), &h, &err));
    assert_true(fs_write_atomic(path_join(&a, at, STR("run.log")), STR("x"), 0600, &err));
    struct timespec t = {.tv_sec = wall_ns() / 1000000000 - age_days * 86400};
    assert_int_equal(utimensat(AT_FDCWD, str_z(&a, file), (struct timespec[]){t, t}, 0), 0);
}

static bool has_runs(const char *name)
{
    scoped_arena a = {0};
    return fs_exists(path_join(&a, str_from(home), STR("app"), str_from(name)));
}

static bool is_declared(void *arg, struct str app_id, struct str name)
{
    (void)arg;
    return str_eq_z(app_id, "app") && str_starts(name, STR("declared"));
}

static void runs_of_jobs_that_are_no_more_go(void **state)
{
    char name[32];
    make_runs("declared-old", 400);
    make_runs("left-old", JOB_LEFT_DAYS + 1);
    make_runs("left-new", JOB_LEFT_DAYS - 1);
    job_history_sweep(str_from(home), is_declared, NULL, wall_ns());
    assert_true(has_runs("declared-old") && has_runs("left-new"));
    assert_false(has_runs("left-old"));
    /* Names that change with each version are not kept for a month. */
    for (int i = 0; i < JOB_LEFT_MAX; i++) {
        snprintf(name, sizeof name, "renamed%d", i);
        make_runs(name, i);
    }
    job_history_sweep(str_from(home), is_declared, NULL, wall_ns());
    assert_true(has_runs("declared-old") && has_runs("renamed0") && has_runs("renamed19"));
    assert_false(has_runs("left-new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans),
#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
        DISK_TEST(a_history_survives),
        DISK_TEST(a_broken_history_begins_anew),
        DISK_TEST(the_oldest_runs_go_with_their_logs),
        DISK_TEST(output_is_bounded_and_keeps_both_ends),
        DISK_TEST(runs_of_jobs_that_are_no_more_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
