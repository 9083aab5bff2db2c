/* tests/base/test_log.c: the log file and the logger.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena arena;
static struct str dir;

static int make_dir(void **state)
{
    scoped_err err = {0};
    return fs_temp_dir(&arena, STR("openrun-log-"), &dir, &err) ? 0 : -1;
}

static int drop_dir(void **state)
{
    scoped_err err = {0};
    fs_remove_tree(dir, &err);
    arena_release(&arena);
    return 0;
}

static struct str in_dir(const char *name)
{
    return path_join(&arena, dir, str_from(name));
}

static struct str content(struct str path)
{
    scoped_err err = {0};
    struct str text = {0};
    if (!fs_read_all(&arena, path, 64 << 20, &text, &err))
        fail_msg("%s", err_msg(&err));
    return text;
}

static struct log_file *open_log(const char *name, int64_t max_size, int max_backups, size_t queue_max)
{
    scoped_err err = {0};
    struct log_file_opts opts = {.max_size = max_size, .max_backups = max_backups, .queue_max = queue_max};
    struct log_file *f = log_file_open(in_dir(name), &opts, &err);
    if (!f)
        fail_msg("%s", err_msg(&err));
    return f;
}

static size_t count_files(struct str *concatenated)
{
    scoped_err err = {0};
    size_t n = 0;
    scoped_buf all = BUF_INIT(64 << 20);
    struct fs_walk *w = fs_walk_open(dir, &err);
    struct fs_entry e;
    for (; fs_walk_next(w, &e, &err); n++)
        buf_add_str(&all, content(path_join(&arena, dir, e.path)));
    fs_walk_close(w);
    *concatenated = str_dup(&arena, buf_str(&all));
    return n;
}

static void appends_and_flushes(void **state)
{
    struct log_file *f = open_log("a.log", 0, 0, 0);
    log_file_write(f, STR("one\n"));
    log_file_write(f, STR("two\nthree\n"));
    log_file_flush(f);
    assert_true(str_eq(content(in_dir("a.log")), STR("one\ntwo\nthree\n")));
    log_file_flush(f);
    log_file_close(f);
    f = open_log("a.log", 0, 0, 0);
    log_file_write(f, STR("four\n"));
    log_file_close(f);
    assert_true(str_eq(content(in_dir("a.log")), STR("one\ntwo\nthree\nfour\n")));
    scoped_err err = {0};
    struct log_file_opts opts = {0};
    assert_null(log_file_open(in_dir("no/such/a.log"), &opts, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void rotates_on_whole_lines_and_loses_none(void **state)
{
    struct log_file *f = open_log("x.y.json", 100, 0, 0);
    scoped_buf lines = BUF_INIT(1 << 20);
    for (int i = 0; i < 50; i++)
        buf_printf(&lines, "line number %d\n", i);
    log_file_write(f, buf_str(&lines));
    log_file_close(f);

    scoped_err err = {0};
    struct str all = {0};
    struct fs_entry e;
    size_t n = 0;
    struct fs_walk *w = fs_walk_open(dir, &err);
    for (; fs_walk_next(w, &e, &err); n++) {
        struct str text = content(path_join(&arena, dir, e.path));
        assert_true(text.len <= 100 && text.len > 0 && str_ends(text, STR("\n")));
        /* Names in byte order are names in time order; the current one comes last ('-' < '.'). */
        if (!str_eq(e.name, STR("x.y.json"))) {
            assert_int_equal(e.name.len, strlen("x.y-2024-05-06T07-08-09.123.json"));
            assert_true(str_starts(e.name, STR("x.y-2")) && str_ends(e.name, STR(".json")));
        }
        all = str_cat(&arena, all, text);
    }
    fs_walk_close(w);
    assert_true(n > 6);
    assert_true(str_eq(all, buf_str(&lines)));
}

static void keeps_the_newest_backups_and_foreign_files(void **state)
{
    scoped_err err = {0};
    assert_true(fs_write_atomic(in_dir("a-keep.log"), STR(""), 0644, &err));
    assert_true(fs_write_atomic(in_dir("a-2001-01-01T00-00-00.000.log"), STR("oldest\n"), 0644, &err));
    struct log_file *f = open_log("a.log", 20, 2, 0);
    for (int i = 0; i < 10; i++)
        log_file_write(f, str_printf(&arena, "this is line %d\n", i));
    log_file_close(f);
    struct str all;
    assert_int_equal(count_files(&all), 4);
    assert_true(str_eq(all, STR("this is line 7\nthis is line 8\nthis is line 9\n")));
    assert_true(fs_exists(in_dir("a-keep.log")));
}

static void a_line_over_the_limit_has_its_own_file(void **state)
{
    struct log_file *f = open_log("a.log", 10, 0, 0);
    log_file_write(f, STR("short\n"));
    log_file_write(f, STR("a line that is over the limit\n"));
    log_file_write(f, STR("end\n"));
    log_file_close(f);
    struct str all;
    assert_int_equal(count_files(&all), 3);
    assert_true(str_eq(all, STR("short\na line that is over the limit\nend\n")));
}

static void drops_and_reports_when_the_queue_is_full(void **state)
{
    struct log_file *f = open_log("a.log", 0, 0, 100);
    char big[102];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\n';
    log_file_write(f, str_of(big, sizeof big));
    assert_int_equal(log_file_dropped(f), 1);
    log_file_write(f, STR("fits\n"));
    log_file_flush(f);
    log_file_close(f);
    struct str text = content(in_dir("a.log"));
    assert_true(str_starts(text, STR("fits\n{\"level\":\"WARN\"")));
    assert_true(str_find(text, STR("\"lines\":1,")) != STR_NPOS);
    assert_true(str_ends(text, STR("\"message\":\"log lines were dropped\"}\n")));
}

enum { WRITERS = 4, LINES = 2000 };

static void *write_many(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        char line[64];
        int n = snprintf(line, sizeof line, "a line that is long enough %d\n", i);
        log_file_write(arg, str_of(line, (size_t)n));
    }
    return NULL;
}

static void many_threads_write_whole_lines(void **state)
{
    struct log_file *f = open_log("a.log", 20000, 0, 0);
    pthread_t t[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&t[i], NULL, write_many, f);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(log_file_dropped(f), 0);
    log_file_close(f);
    struct str all, line;
    assert_true(count_files(&all) > 10);
    size_t n = 0;
    while (all.len > 0 && str_next(&all, '\n', &line))
        n += str_starts(line, STR("a line that is long enough "));
    assert_int_equal(n, WRITERS * LINES);
}

static void events_are_json_with_every_kind_of_field(void **state)
{
    scoped_err err = {0}, shown = {0};
    struct log_opts opts = {.level = LOG_LEVEL_DEBUG, .path = in_dir("openrun.json")};
    assert_true(log_open(&opts, &err));
    err_set(&shown, ERR_INVALID, "bad \"thing\"");
    log_info("plain");
    log_error("with\nfields", LOG_STR("s", STR("a\x01\xff")), LOG_Z("z", NULL), LOG_INT("i", -5), LOG_NUM("f", 1.5),
              LOG_BOOL("b", true), LOG_ERR(&shown));
    int evaluated = 0;
    log_trace("off", LOG_INT("n", ++evaluated));
    log_set_level(LOG_LEVEL_TRACE);
    log_trace("on", LOG_INT("n", ++evaluated));
    log_flush();
    assert_int_equal(evaluated, 1);
    struct str rest = content(in_dir("openrun.json")), line;
    log_close();

    assert_true(str_next(&rest, '\n', &line));
    scoped_json *plain = json_parse(line, &err);
    assert_non_null(plain);
    assert_true(str_eq(json_get_str(plain, "level", STR("")), STR("INFO")));
    assert_true(str_eq(json_get_str(plain, "message", STR("")), STR("plain")));
    assert_non_null(strstr(json_string_value(json_get(plain, "caller")), "base/test_log.c:"));
    int64_t ns;
    assert_true(time_parse(json_get_str(plain, "time", STR("")), &ns));
    assert_in_range(wall_ns() / 1000000000 - ns / 1000000000, 0, 60);

    assert_true(str_next(&rest, '\n', &line));
    assert_true(str_starts(line, STR("{\"level\":\"ERROR\",\"caller\":\"")));
    assert_true(str_find(line, STR(",\"s\":\"a\\u0001\\ufffd\",\"z\":\"\",\"i\":-5,\"f\":1.5,\"b\":true,"
                                   "\"error\":\"bad \\\"thing\\\"\",\"time\":\"")) != STR_NPOS);
    assert_true(str_ends(line, STR("\"message\":\"with\\nfields\"}")));
    assert_true(str_next(&rest, '\n', &line) && str_find(line, STR("\"TRACE\"")) != STR_NPOS);
    assert_true(str_next(&rest, '\n', &line) && line.len == 0);
}

/* What stderr gets while `fn` runs. */
static struct str stderr_of(void (*fn)(void))
{
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    int fd = open(str_z(&arena, in_dir("stderr")), O_CREAT | O_RDWR | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    dup2(fd, STDERR_FILENO);
    close(fd);
    fn();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    return content(in_dir("stderr"));
}

static void log_before_open(void)
{
    log_info("not this");
    log_warn("but this", LOG_Z("why", "two words"));
}

static void log_with_console(void)
{
    scoped_err err = {0};
    struct log_opts opts = {.level = LOG_LEVEL_INFO, .path = in_dir("o.json"), .console = true};
    assert_true(log_open(&opts, &err));
    log_info("for people", LOG_Z("k", "v"), LOG_Z("e", "\x1b[31m"));
    log_close();
}

static void people_read_stderr(void **state)
{
    struct str text = stderr_of(log_before_open);
    assert_true(str_ends(text, STR("Z WARN  but this why=\"two words\"\n")));
    assert_int_equal(str_chr(text, '\n'), text.len - 1);
    text = stderr_of(log_with_console);
    assert_true(str_ends(text, STR("Z INFO  for people k=v e=\"\\u001b[31m\"\n")));
    assert_true(content(in_dir("o.json")).len > 0);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_info("many", LOG_INT("i", i));
    return NULL;
}

static void the_logger_may_be_replaced_while_others_log(void **state)
{
    scoped_err err = {0};
    struct log_opts opts = {.level = LOG_LEVEL_INFO, .path = in_dir("o.json")};
    assert_true(log_open(&opts, &err));
    pthread_t t[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&t[i], NULL, log_many, NULL);
    for (int i = 0; i < 5; i++)
        assert_true(log_open(&opts, &err));
    for (int i = 0; i < WRITERS; i++)
        pthread_join(t[i], NULL);
    log_close();
    struct str all, line;
    count_files(&all);
    size_t n = 0;
    while (all.len > 0 && str_next(&all, '\n', &line))
        n += str_ends(line, STR("\"message\":\"many\"}"));
    assert_int_equal(n, WRITERS * 500);
    opts.path = in_dir("no/such/file");
    assert_false(log_open(&opts, &err));
}

static void levels_have_names(void **state)
{
    enum log_level l = LOG_LEVEL_INFO;
    assert_true(log_level_parse(STR("trace"), &l) && l == LOG_LEVEL_TRACE);
    assert_true(log_level_parse(STR("ERROR"), &l) && l == LOG_LEVEL_ERROR);
    assert_false(log_level_parse(STR("verbose"), &l));
    assert_string_equal(log_level_name(LOG_LEVEL_WARN), "WARN");
}

#define WITH_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(appends_and_flushes),
        WITH_DIR(rotates_on_whole_lines_and_loses_none),
        WITH_DIR(keeps_the_newest_backups_and_foreign_files),
        WITH_DIR(a_line_over_the_limit_has_its_own_file),
        WITH_DIR(drops_and_reports_when_the_queue_is_full),
        WITH_DIR(many_threads_write_whole_lines),
        WITH_DIR(events_are_json_with_every_kind_of_field),
        WITH_DIR(people_read_stderr),
        WITH_DIR(the_logger_may_be_replaced_while_others_log),
        WITH_DIR(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
