/* tests/base/test_proc.c: running programs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena arena;

static int drop(void **state)
{
    arena_release(&arena);
    return 0;
}

/* A spec that runs `script` with sh, which is a fine program to test with. */
static struct proc_spec sh(const char *script)
{
    struct proc_spec s = {0};
    str_list_add(&arena, &s.argv, STR("sh"));
    str_list_add(&arena, &s.argv, STR("-c"));
    str_list_add(&arena, &s.argv, str_from(script));
    return s;
}

static struct proc_result run(struct proc_spec *s)
{
    scoped_err err = {0};
    struct proc_result res = {0};
    if (!proc_run(s, &res, &err))
        fail_msg("%s", err_msg(&err));
    return res;
}

static void reports_how_it_ended(void **state)
{
    struct proc_spec s = sh("exit 3");
    assert_int_equal(run(&s).exit_code, 3);
    s = sh("kill -USR1 $$");
    struct proc_result res = run(&s);
    assert_int_equal(res.exit_code, -1);
    assert_int_equal(res.signal, SIGUSR1);
    assert_false(res.timed_out || res.cancelled);
}

static void keeps_streams_apart_or_together(void **state)
{
    scoped_buf out = BUF_INIT(1000), errs = BUF_INIT(1000), both = BUF_INIT(1000);
    struct proc_spec s = sh("echo a; echo b >&2; echo c");
    s.out = &out;
    s.err_out = &errs;
    run(&s);
    assert_string_equal(buf_z(&out), "a\nc\n");
    assert_string_equal(buf_z(&errs), "b\n");
    s.out = &both;
    s.err_out = NULL;
    s.merge_stderr = true;
    run(&s);
    assert_string_equal(buf_z(&both), "a\nb\nc\n");
}

static void keeps_head_or_tail_at_the_ceiling(void **state)
{
    scoped_buf out = BUF_INIT(10);
    struct proc_spec s = sh("i=0; while [ $i -lt 1000 ]; do echo line$i; i=$((i+1)); done");
    s.out = &out;
    assert_int_equal(run(&s).exit_code, 0);
    assert_string_equal(buf_z(&out), "line0\nline");
    assert_true(out.is_full);
    buf_clear(&out);
    s.keep_tail = true;
    run(&s);
    assert_string_equal(buf_z(&out), "8\nline999\n");
    assert_true(out.is_full);
}

static void feeds_stdin_and_reads_at_once(void **state)
{
    /* More than two pipes hold: writing first and reading later would hang. */
    enum { LEN = 1 << 20 };
    char *data = arena_alloc(&arena, LEN);
    memset(data, 'x', LEN);
    scoped_buf out = BUF_INIT(2 * LEN);
    struct proc_spec s = {0};
    str_list_add(&arena, &s.argv, STR("cat"));
    s.stdin_data = str_of(data, LEN);
    s.out = &out;
    assert_int_equal(run(&s).exit_code, 0);
    assert_int_equal(out.len, LEN);

    /* Nobody reads it: no SIGPIPE for us. */
    s = sh("exec 0</dev/null; exit 5");
    s.stdin_data = str_of(data, LEN);
    assert_int_equal(run(&s).exit_code, 5);

    buf_clear(&out);
    s = sh("cat; echo end");
    s.out = &out;
    run(&s);
    assert_string_equal(buf_z(&out), "end\n");
}

static void sets_environment_and_folder(void **state)
{
    setenv("OR_T_KEEP", "kept", 1);
    setenv("OR_T_OVER", "old", 1);
    scoped_buf out = BUF_INIT(1000);
    struct proc_spec s = sh("echo $OR_T_KEEP $OR_T_OVER; pwd");
    str_list_add(&arena, &s.env, STR("OR_T_OVER=older"));
    str_list_add(&arena, &s.env, STR("OR_T_OVER=new"));
    s.cwd = STR("/");
    s.out = &out;
    run(&s);
    assert_string_equal(buf_z(&out), "kept new\n/\n");
    buf_clear(&out);
    s.env_only = true;
    run(&s);
    assert_string_equal(buf_z(&out), "new\n/\n");
}

static void passes_no_descriptor_and_default_signals(void **state)
{
    scoped_buf out = BUF_INIT(10000);
    int leak = dup(1); /* not close-on-exec */
    signal(SIGTERM, SIG_IGN);
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, &old);
    struct proc_spec s = sh("ls /proc/$$/fd; kill -TERM $$; echo survived");
    s.out = &out;
    struct proc_result res = run(&s);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGTERM, SIG_DFL);
    close(leak);
    assert_int_equal(res.signal, SIGTERM);
    /* Some shells keep a high descriptor of their own. */
    assert_true(str_starts(buf_str(&out), STR("0\n1\n2\n")));
    assert_null(strstr(buf_z(&out), "\n3\n"));
    assert_null(strstr(buf_z(&out), "\n4\n"));
}

static void ends_the_whole_group_at_a_deadline(void **state)
{
    scoped_buf out = BUF_INIT(1000);
    struct proc_spec s = sh("sleep 1000 & echo $!; wait");
    s.out = &out;
    s.timeout_ms = 100;
    struct proc_result res = run(&s);
    assert_true(res.timed_out && !res.cancelled);
    assert_int_equal(res.signal, SIGTERM);
    assert_true(res.took_ms >= 100 && res.took_ms < 4000);
    int64_t pid;
    assert_true(str_to_i64(str_trim(buf_str(&out)), &pid));
    int64_t until = clock_ms() + 10000; /* init reaps it in its own time */
    scoped_err err = {0};
    struct str stat;
    bool gone = false;
    while (!gone && clock_ms() < until)
        gone = !fs_read_all(&arena, str_printf(&arena, "/proc/%d/stat", (int)pid), 4096, &stat, &err) ||
               str_find(stat, STR(") Z")) != STR_NPOS;
    assert_true(gone);
}

static void kills_what_ignores_sigterm(void **state)
{
    struct proc_spec s = sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    s.timeout_ms = 200;
    s.grace_ms = 100;
    struct proc_result res = run(&s);
    assert_true(res.timed_out);
    assert_int_equal(res.signal, SIGKILL);
}

static void idle_time_counts_from_the_last_output(void **state)
{
    struct proc_spec s = sh("for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done");
    s.idle_timeout_ms = 5000;
    assert_false(run(&s).timed_out);
    s = sh("echo x; sleep 1000");
    s.idle_timeout_ms = 100;
    assert_true(run(&s).timed_out);
}

static bool stop_at_ready(void *arg, enum proc_stream stream, struct str chunk)
{
    scoped_err err = {0};
    int *cancel_fd = arg;
    if (str_find(chunk, STR("ready")) == STR_NPOS)
        return true;
    return cancel_fd ? fs_write_fd(*cancel_fd, STR("x"), &err) : false;
}

static bool set_flag(void *arg, enum proc_stream stream, struct str chunk)
{
    atomic_store((atomic_bool *)arg, true);
    return true;
}

static void can_be_cancelled_three_ways(void **state)
{
    struct proc_spec s = sh("echo ready; sleep 1000");
    s.on_output = stop_at_ready;
    assert_true(run(&s).cancelled);

    int ends[2];
    assert_int_equal(pipe(ends), 0);
    s.arg = &ends[1];
    s.cancel_fd = ends[0];
    assert_true(run(&s).cancelled);
    close(ends[0]);
    close(ends[1]);

    atomic_bool flag = false;
    s = sh("echo ready; sleep 1000");
    s.on_output = set_flag;
    s.arg = &flag;
    s.cancel = &flag;
    assert_true(run(&s).cancelled);
}

static void what_has_left_the_group_ends_first_and_the_rest_cleans_up(void **state)
{
    scoped_buf out = BUF_INIT(1000);
    atomic_bool flag = false;
    struct proc_spec s = sh("setsid sh -c 'echo $$; exec sleep 1000' & wait $!; echo cleaned");
    s.on_output = set_flag;
    s.arg = &flag;
    s.cancel = &flag;
    s.out = &out;
    assert_true(run(&s).cancelled);
    char *end;
    long pid = strtol(buf_z(&out), &end, 10);
    assert_true(pid > 1);
    assert_non_null(strstr(end, "cleaned"));
    assert_int_equal(kill((pid_t)pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

static void a_daemon_that_keeps_the_pipe_does_not_hold_us(void **state)
{
    scoped_buf out = BUF_INIT(1000);
    struct proc_spec s = sh("sleep 20 & echo done");
    s.out = &out;
    int64_t before = clock_ms();
    assert_int_equal(run(&s).exit_code, 0);
    assert_true(clock_ms() - before < 10000);
    assert_string_equal(buf_z(&out), "done\n");
}

static void says_why_it_could_not_start(void **state)
{
    scoped_err err = {0};
    struct proc_result res;
    struct proc_spec s = {0};
    assert_false(proc_run(&s, &res, &err));
    str_list_add(&arena, &s.argv, STR("no-such-program-here"));
    assert_false(proc_run(&s, &res, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err_msg(&err), "no-such-program-here was not found in PATH"));
    s = sh("true");
    s.cwd = STR("/no/such/folder");
    assert_false(proc_run(&s, &res, &err));
    assert_string_equal(err_msg(&err), "running sh: no directory /no/such/folder");
    s = sh("true");
    str_list_add(&arena, &s.argv, STR("a\0b"));
    assert_false(proc_run(&s, &res, &err));
    assert_string_equal(err_msg(&err), "argument 4 has a NUL byte in it");
    s = (struct proc_spec){0};
    str_list_add(&arena, &s.argv, STR("/etc/passwd"));
    assert_false(proc_run(&s, &res, &err));
    assert_int_equal(err.code, ERR_FORBIDDEN);
}

static void run_ok_wants_exit_0_and_quotes_stderr(void **state)
{
    scoped_err err = {0};
    struct proc_spec s = sh("echo fine >&2");
    assert_true(proc_run_ok(&s, &err));
    s = sh("echo out; echo fatal: no such repository >&2; exit 128");
    assert_false(proc_run_ok(&s, &err));
    assert_int_equal(err.code, ERR_UPSTREAM);
    assert_string_equal(err_msg(&err), "sh ended with exit code 128: fatal: no such repository");
    s = sh("kill -9 $$");
    assert_false(proc_run_ok(&s, &err));
    assert_string_equal(err_msg(&err), "sh was ended by signal 9 (Killed)");
    s = sh("sleep 1000");
    s.timeout_ms = 50;
    assert_false(proc_run_ok(&s, &err));
    assert_int_equal(err.code, ERR_TIMEOUT);
}

static void finds_programs_in_absolute_path_entries_only(void **state)
{
    scoped_err err = {0};
    struct str path;
    assert_true(proc_find(&arena, STR("sh"), &path, &err));
    assert_true(path_is_abs(path) && str_ends(path, STR("/sh")));
    assert_true(proc_find(&arena, STR("/bin/sh"), &path, &err));
    assert_false(proc_find(&arena, STR("/etc/passwd"), &path, &err));
    assert_false(proc_find(&arena, STR(""), &path, &err));
    char *old = xstrdup(getenv("PATH"));
    setenv("PATH", ":bin:../bin", 1);
    assert_false(proc_find(&arena, STR("sh"), &path, &err));
    setenv("PATH", old, 1);
    free(old);
}

#define CASE(f) cmocka_unit_test_teardown(f, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reports_how_it_ended),
        CASE(keeps_streams_apart_or_together),
        CASE(keeps_head_or_tail_at_the_ceiling),
        CASE(feeds_stdin_and_reads_at_once),
        CASE(sets_environment_and_folder),
        CASE(passes_no_descriptor_and_default_signals),
        CASE(ends_the_whole_group_at_a_deadline),
        CASE(kills_what_ignores_sigterm),
        CASE(idle_time_counts_from_the_last_output),
        CASE(can_be_cancelled_three_ways),
        CASE(what_has_left_the_group_ends_first_and_the_rest_cleans_up),
        CASE(a_daemon_that_keeps_the_pipe_does_not_hold_us),
        CASE(says_why_it_could_not_start),
        CASE(run_ok_wants_exit_0_and_quotes_stderr),
        CASE(finds_programs_in_absolute_path_entries_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
