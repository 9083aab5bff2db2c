/* tests/container/test_buildlog.c: the kept output of builds.
 * SPDX-License-Identifier: Apache-2.0 */
#include "service_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#define APP "app_prd_1"

static struct arena arena;
static struct str home;
static struct ctr_manager manager;

static int setup(void **state)
{
    scoped_err err = {0};
    manager = (struct ctr_manager){0};
    pthread_mutex_init(&manager.lock, NULL);
    if (!fs_temp_dir(&arena, STR("openrun-buildlog-"), &home, &err))
        return -1;
    manager.home = (char *)str_z(&arena, home);
    return 0;
}

static int teardown(void **state)
{
    scoped_err err = {0};
    fs_remove_tree(home, &err);
    pthread_mutex_destroy(&manager.lock);
    arena_release(&arena);
    arena = (struct arena){0};
    return 0;
}

static struct ctr_build_output look(const char *app_id, struct str from)
{
    struct ctr_build_output out;
    scoped_err err = {0};
    if (!ctr_build_log_read(&manager, &arena, str_from(app_id), from, &out, &err))
        fail_msg("%s", err_msg(&err));
    return out;
}

static void an_app_without_a_build_has_no_log(void **state)
{
    struct ctr_build_output out = look(APP, (struct str){0});
    assert_false(out.exists || out.is_running);
    assert_int_equal(out.text.len, 0);
}

static void stage_and_production_share_it_and_a_reader_goes_on_where_it_was(void **state)
{
    struct build_log *l = build_log_open(&manager, STR("app_stg_1"));
    build_log_line(l, STR("one"));
    struct ctr_build_output first = look(APP, (struct str){0});
    assert_true(str_eq(first.text, STR("one\n")) && first.is_running && first.exists);
    build_log_line(l, STR("two"));
    struct ctr_build_output second = look("app_stg_1", first.next);
    assert_true(str_eq(second.text, STR("two\n")) && second.is_running);
    assert_int_equal(look(APP, second.next).text.len, 0);
    build_log_close(&manager, l);
    struct ctr_build_output all = look(APP, (struct str){0});
    assert_true(str_eq(all.text, STR("one\ntwo\n")) && !all.is_running);
}

static void a_newer_build_takes_it_over(void **state)
{
    struct build_log *old = build_log_open(&manager, STR(APP));
    build_log_line(old, STR("old"));
    struct str next = look(APP, (struct str){0}).next;
    struct build_log *new = build_log_open(&manager, STR(APP));
    build_log_line(old, STR("still old"));
    build_log_line(new, STR("new"));
    build_log_close(&manager, old);
    struct ctr_build_output out = look(APP, next);
    assert_true(str_eq(out.text, STR("new\n")) && out.is_running);
    build_log_close(&manager, new);
    assert_false(look(APP, (struct str){0}).is_running);
}

static void a_long_one_keeps_its_newest_lines_and_readers_their_place(void **state)
{
    struct build_log *l = build_log_open(&manager, STR(APP));
    struct str next = {0}, line;
    size_t lines = 0, seen = 0, ends_at = 0;
    char text[128];
    for (int i = 0; i < 30000; i++) {
        snprintf(text, sizeof text, "line %06d %0100d", i, 0);
        build_log_line(l, str_from(text));
        if (i % 3000 != 2999)
            continue;
        struct ctr_build_output out = look(APP, next);
        for (next = out.next; str_next(&out.text, '\n', &line) && line.len > 0; seen++)
            assert_int_equal(strtol(line.ptr + 5, NULL, 10), (long)seen); /* none twice, none left out */
    }
    assert_int_equal(seen, 30000);
    build_log_close(&manager, l);
    struct ctr_build_output out = look(APP, (struct str){0});
    assert_true(out.text.len <= 1 << 20 && out.text.len > 1 << 18);
    for (; str_next(&out.text, '\n', &line) && line.len > 0; lines++)
        ends_at = (size_t)strtol(line.ptr + 5, NULL, 10);
    assert_int_equal(ends_at, 29999);
    assert_true(lines > 1000 && lines < 10000);
}

static void a_damaged_file_is_told_and_a_place_of_another_build_begins_anew(void **state)
{
    static const char *const bad[] = {"", "\n", "build\n", "build 1\nx\n", "build 1 x\nx\n", "nonsense 1 2\nx\n"};
    static const char *const places[] = {"x", "1", "1:", "1:x", ":", "99:1", "1:99999999999999999999"};
    struct str path = path_join(&arena, home, STR("run/app/" APP "/build.log"));
    scoped_err err = {0};
    assert_true(fs_mkdir_p(path_dir(path), 0700, &err));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct ctr_build_output out;
        scoped_err why = {0};
        assert_true(fs_write_atomic(path, str_from(bad[i]), 0600, &err));
        assert_false(ctr_build_log_read(&manager, &arena, STR(APP), (struct str){0}, &out, &why));
    }
    assert_true(fs_write_atomic(path, STR("build 1 10\nabc\n"), 0600, &err));
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        assert_true(str_eq(look(APP, str_from(places[i])).text, STR("abc\n")));
    assert_true(str_eq(look(APP, STR("1:12")).text, STR("c\n")));
    assert_int_equal(look(APP, STR("1:1000")).text.len, 0);
}

static void where_nothing_can_be_written_the_build_goes_on(void **state)
{
    scoped_err err = {0};
    assert_true(fs_write_atomic(path_join(&arena, home, STR("run")), STR("a file"), 0600, &err));
    struct build_log *l = build_log_open(&manager, STR(APP));
    build_log_line(l, STR("one"));
    build_log_close(&manager, l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_app_without_a_build_has_no_log, setup, teardown),
        cmocka_unit_test_setup_teardown(stage_and_production_share_it_and_a_reader_goes_on_where_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_build_takes_it_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_one_keeps_its_newest_lines_and_readers_their_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_told_and_a_place_of_another_build_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(where_nothing_can_be_written_the_build_goes_on, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
