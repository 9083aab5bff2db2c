/* tests/app/test_jobs.c: what apps may declare as scheduled jobs, and what is kept of it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

#define JOBS(list)                                                                                                     \
    "load('container.in', 'container')\napp = ace.app('j', routes=[ace.api('/x')], jobs=[" list "])\n"

static void jobs_are_known_after_the_load(void **state)
{
    load_star(JOBS("ace.job('sweep', '*/5 * * * *', path='/x?all=1'), "
                   "ace.job('nightly', schedule=' @daily ', path='/x', method='GET', time_zone='Europe/Berlin', timeout=60, "
                   "overlap='queue', catch_up=True)"));
    struct str text = app_jobs(atomic_load(&fx.app));
    assert_str(text, "[{\"name\":\"sweep\",\"schedule\":\"*/5 * * * *\",\"time_zone\":\"\",\"path\":\"/x?all=1\","
                     "\"method\":\"POST\",\"timeout\":3600,\"overlap\":\"skip\",\"catch_up\":false},"
                     "{\"name\":\"nightly\",\"schedule\":\"@daily\",\"time_zone\":\"Europe/Berlin\",\"path\":\"/x\","
                     "\"method\":\"GET\",\"timeout\":60,\"overlap\":\"queue\",\"catch_up\":true}]");
    struct app_job_list list;
    scoped_err err = {0};
    MUST(app_jobs_parse(&now.arena, text, &list, &err), &err);
    assert_int_equal(list.len, 2);
    assert_str(list.items[1].name, "nightly");
    assert_int_equal(list.items[1].overlap, APP_OVERLAP_QUEUE);
    assert_true(list.items[1].catch_up && list.items[1].zone);
    assert_int_equal(list.items[1].timeout_secs, 60);
    load_star("app = ace.app('j')\n");
    assert_str(app_jobs(atomic_load(&fx.app)), "");
}

static void the_audit_knows_them_too(void **state)
{
    struct app_audit audit;
    scoped_err err = {0};
    MUST(app_audit(&fx.env, &now.entry,
                   make_files(FILES("app.star", JOBS("ace.job('a', '@hourly', ['x', 'y'])"))), &now.arena, &audit, &err),
         &err);
    assert_has(audit.jobs, "\"command\":[\"x\",\"y\"]");
}

static void wrong_jobs_are_load_errors(void **state)
{
    static const struct {
        const char *job, *says;
    } cases[] = {
        {"ace.job('', '@daily', path='/')", "must have 1 to 64 letters"},
        {"ace.job('../x', '@daily', path='/')", "must have 1 to 64 letters"},
        {"ace.job('-x', '@daily', path='/')", "must have 1 to 64 letters"},
        {"ace.job('a', 'every day', path='/')", "job a: schedule \"every day\" must have five fields"},
        {"ace.job('a', '0 0 30 2 *', path='/')", "never comes"},
        {"ace.job('a', '@daily')", "needs either command=[...] or path"},
        {"ace.job('a', '@daily', ['x'], path='/')", "needs either command=[...] or path"},
        {"ace.job('a', '@daily', path='x')", "path must begin with '/'"},
        {"ace.job('a', '@daily', path='//x')", "path must begin with '/'"},
        {"ace.job('a', '@daily', path='/a b')", "path must begin with '/'"},
        {"ace.job('a', '@daily', path='/../other')", "be one inside the app"},
        {"ace.job('a', '@daily', path='/a/%2E%2e/../other?x=1')", "be one inside the app"},
        {"ace.job('a', '@daily', path='/a/.')", "be one inside the app"},
        {"ace.job('a', '@daily', path='/%zz')", "be one inside the app"},
        {"ace.job('a', '@daily', [''])", "the command's first word must name a program"},
        {"ace.job('a', '@daily', [1])", "command must hold strings"},
        {"ace.job('a', '@daily', path='/', method='get')", "method must be GET"},
        {"ace.job('a', '@daily', path='/', time_zone='Mars/Base')", "unknown time zone \"Mars/Base\""},
        {"ace.job('a', '@daily', path='/', time_zone='../../etc/passwd')", "unknown time zone"},
        {"ace.job('a', '@daily', path='/', timeout=0)", "timeout must be between 1 and"},
        {"ace.job('a', '@daily', path='/', timeout=700000)", "timeout must be between 1 and"},
        {"ace.job('a', '@daily', path='/', overlap='maybe')", "overlap must be \"skip\""},
        {"ace.job('a', '@daily', path='/'), ace.job('a', '@hourly', path='/')", "two jobs are named \"a\""},
        {"'a'", "jobs must hold ace.job(...), not string"},
        {"ace.job('a', '@daily', ['x'])", "set container=container.config(...)"},
        {"j for j in [ace.job('a%d' % i, '@daily', path='/') for i in range(101)]", "at most 100 jobs"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_printf(&now.arena, "app = ace.app('j', routes=[ace.api('/x')], jobs=[%s])\n", cases[i].job);
        must_not_load(FILES("app.star", str_z(&now.arena, text)), cases[i].says);
    }
}

static void what_is_stored_is_checked_again(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{}", "must be a list"},
        {"[1]", "name is required"},
        {"[{\"name\":\"a\"}]", "schedule is required"},
        {"[{\"name\":\"a/b\",\"schedule\":\"@daily\",\"path\":\"/\"}]", "must have 1 to 64 letters"},
        {"[{\"name\":\"a\",\"schedule\":\"@daily\",\"path\":\"/\",\"overlap\":\"x\"}]", "unknown overlap"},
        {"[{\"name\":\"a\",\"schedule\":\"@daily\",\"path\":\"/\",\"timeout\":\"x\"}]", "timeout must be a"},
        {"[", "jobs: line 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct app_job_list list = {.len = 7};
        scoped_err err = {0};
        if (app_jobs_parse(&now.arena, str_from(cases[i].text), &list, &err))
            fail_msg("%s is taken", cases[i].text);
        if (!strstr(err_msg(&err), cases[i].says))
            fail_msg("%s: got: %s", cases[i].text, err_msg(&err));
        assert_int_equal(list.len, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_are_known_after_the_load),
        TEST(the_audit_knows_them_too),
        TEST(wrong_jobs_are_load_errors),
        TEST(what_is_stored_is_checked_again),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
