/* tests/server/test_operation.c: operations: their states, the ring of lines, and the stream over a real connection.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct operation *start(struct operations *all, const char *target)
{
    struct operation *op = operation_new(all, "reload_apps", str_from(target), STR("admin"));
    operation_begin(op);
    return op;
}

static void end(struct operation *op, enum err_code code)
{
    scoped_err err = {0};
    scoped_json *reply = json_pack("{s:b}", "dry_run", 0);
    if (code)
        err_set(&err, code, "it \"broke\"");
    operation_finish(op, code ? NULL : reply, &err);
}

static struct str state_of(struct arena *a, struct operation *op)
{
    scoped_json *j = operation_json(op);
    return str_dup(a, json_get_str(j, "state", (struct str){0}));
}

static void those_of_an_earlier_server_are_listed(void **state)
{
    scoped_arena a = {0};
    struct operations *all = operations_open();
    struct operation *op = start(all, "/now");
    operation_add_past(all, &(struct operation_past){STR("op_1"), STR("reload_apps"), STR("/x"), STR("joe"), 1, 2, false});
    operation_add_past(all, &(struct operation_past){STR("op_2"), STR("create_app"), STR("/y"), STR("joe"), 1, 2, true});
    scoped_json *list = operations_json(all);
    assert_int_equal(json_array_size(list), 3);
    static const struct { const char *id, *outcome, *error; } wanted[] = {
        {"op_2", "done", "it is done"}, {"op_1", "undone", "nothing has been changed"}};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        const json_t *o = json_array_get(list, i);
        assert_true(str_eq_z(json_get_str(o, "id", STR("")), wanted[i].id));
        assert_true(str_eq_z(json_get_str(o, "state", STR("")), "interrupted"));
        assert_true(str_eq_z(json_get_str(o, "outcome", STR("")), wanted[i].outcome));
        assert_true(str_find(json_get_str(o, "error", STR("")), str_from(wanted[i].error)) != STR_NPOS);
        assert_true(str_eq(json_get_str(o, "user_id", STR("")), STR("joe")));
    }
    struct operation *past = operation_find(all, STR("op_1"));
    assert_non_null(past);
    assert_false(operation_cancel(past));
    scoped_buf out = BUF_INIT(1 << 20);
    struct operation_place at = {0};
    assert_true(operation_read(past, &at, &out));
    assert_true(str_starts(buf_str(&out), STR("{\"status\":503,")));
    operation_unref(past);
    for (int i = 0; i < 300; i++)   /* they are forgotten like any other */
        operation_add_past(all, &(struct operation_past){str_printf(&a, "op_%d", i + 10), STR("x"), STR("/x"), STR("joe"), 1, 2, false});
    assert_null(operation_find(all, STR("op_1")));
    end(op, ERR_OK);
    operation_unref(op);
    operations_close(all);
}

/* The notes of those that run, as files. */
static int count_notes(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, ".json") != NULL;
    closedir(d);
    return n;
}

static void notes_are_kept_while_they_run(void **state)
{
    char dir[] = "/tmp/openrun-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct operations *all = operations_open();
    operations_keep_notes(all, str_from(dir));
    struct operation *queued = operation_new(all, "reload_apps", STR("/q"), STR("admin"));
    struct operation *one = start(all, "/1"), *two = start(all, "/2");
    assert_int_equal(count_notes(dir), 2);
    end(one, ERR_OK);
    end(queued, ERR_CANCELLED);
    assert_int_equal(count_notes(dir), 1);
    end(two, ERR_INVALID);
    assert_int_equal(count_notes(dir), 0);
    operation_unref(queued);
    operation_unref(one);
    operation_unref(two);
    operations_close(all);
    rmdir(dir);
}

static void states_follow_the_work(void **state)
{
    static const struct { enum err_code code; const char *state; const char *end; } cases[] = {
        {ERR_OK, "done", "{\"status\":200,\"reply\":{\"dry_run\":false}}\n"},
        {ERR_INVALID, "failed", "{\"status\":400,\"error\":{\"message\":\"it \\\"broke\\\"\",\"code\":400}}\n"},
        {ERR_CANCELLED, "cancelled", "{\"status\":499,\"error\":{\"message\":\"it \\\"broke\\\"\",\"code\":499}}\n"},
        {(enum err_code)7, "failed", "{\"status\":500,\"error\":{\"message\":\"it \\\"broke\\\"\",\"code\":500}}\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_buf out = BUF_INIT(1 << 20);
        struct operation_place at = {0};
        struct operations *all = operations_open();
        struct operation *op = operation_new(all, "reload_apps", STR("/x"), STR("admin"));
        assert_true(str_eq(state_of(&a, op), STR("queued")));
        operation_begin(op);
        assert_true(str_eq(state_of(&a, op), STR("running")));
        assert_false(operation_read(op, &at, &out));
        assert_int_equal(out.len, 0);
        assert_true(operation_cancel(op));
        assert_true(atomic_load(operation_cancel_flag(op)));
        end(op, cases[i].code);
        assert_true(str_eq(state_of(&a, op), str_from(cases[i].state)));
        assert_false(operation_cancel(op));
        operation_line(op, STR("too late"));
        assert_true(operation_read(op, &at, &out));
        assert_string_equal(buf_z(&out), cases[i].end);
        operation_unref(op);
        operations_close(all);
    }
}

static void lines_are_read_from_where_the_reader_is(void **state)
{
    scoped_buf out = BUF_INIT(1 << 20);
    struct operation_place at = {0};
    struct operations *all = operations_open();
    struct operation *op = start(all, "/x");
    operation_line(op, STR("one \"1\"\\"));
    operation_line(op, STR(""));
    assert_false(operation_read(op, &at, &out));
    assert_string_equal(buf_z(&out), "{\"line\":\"one \\\"1\\\"\\\\\"}\n{\"line\":\"\"}\n");
    buf_clear(&out);
    operation_line(op, STR("a\x1b[31m\nb\xff"));
    assert_false(operation_read(op, &at, &out));
    assert_string_equal(buf_z(&out), "{\"line\":\"a [31m b\\ufffd\"}\n");
    end(op, ERR_OK);
    operation_unref(op);
    operations_close(all);
}

static void a_long_line_is_cut_between_characters(void **state)
{
    scoped_arena a = {0};
    scoped_buf text = BUF_INIT(1 << 20);
    struct operations *all = operations_open();
    struct operation *op = start(all, "/x");
    buf_add_char(&text, 'x');
    for (int i = 0; i < 5000; i++)
        buf_add_z(&text, "\xc3\xa9");
    operation_line(op, buf_str(&text));
    scoped_json *j = operation_json(op);
    struct str line = json_str(json_array_get(json_get(j, "lines"), 0));
    assert_int_equal(line.len, 4095);
    assert_true(str_is_utf8(line));
    end(op, ERR_OK);
    operation_unref(op);
    operations_close(all);
}

/* Reads all there is; adds up lines and dropped ones, which must make the whole. */
static int64_t count_lines(struct operation *op, struct operation_place *at, int64_t *dropped)
{
    int64_t lines = 0;
    for (;;) {
        scoped_buf out = BUF_INIT(1 << 20);
        operation_read(op, at, &out);
        struct str rest = buf_str(&out), line;
        if (out.len == 0)
            return lines;
        assert_true(out.len < 32 << 10);
        while (str_next(&rest, '\n', &line) && line.len > 0) {
            scoped_err err = {0};
            scoped_json *j = json_parse_object(line, &err);
            assert_non_null(j);
            *dropped += json_get_int(j, "dropped", 0);
            lines += json_get(j, "line") != NULL;
        }
    }
}

static void a_slow_reader_is_told_how_many_lines_it_lost(void **state)
{
    scoped_arena a = {0};
    struct operation_place at = {0};
    int64_t dropped = 0, lines = 0;
    struct operations *all = operations_open();
    struct operation *op = start(all, "/x");
    operation_line(op, STR("first"));
    lines += count_lines(op, &at, &dropped);
    for (int i = 0; i < 20000; i++)
        operation_line(op, str_printf(&a, "line %d of many", i));
    lines += count_lines(op, &at, &dropped);
    assert_int_equal(lines + dropped, 20001);
    assert_true(dropped > 10000 && lines > 1000);
    scoped_json *j = operation_json(op);
    assert_int_equal(json_get_int(j, "line_count", 0), 20001);
    assert_int_equal(json_array_size(json_get(j, "lines")) + (size_t)json_get_int(j, "dropped_count", 0), 20001);
    end(op, ERR_OK);
    operation_unref(op);
    operations_close(all);
}

static void the_last_200_that_ended_and_all_that_run_are_kept(void **state)
{
    scoped_arena a = {0};
    struct operations *all = operations_open();
    struct operation *running = start(all, "/runs"), *first = start(all, "/first");
    struct str first_id = str_dup(&a, operation_id(first));
    end(first, ERR_OK);
    for (int i = 0; i < 250; i++) {
        struct operation *op = start(all, "/x");
        end(op, ERR_OK);
        operation_unref(op);
    }
    scoped_json *list = operations_json(all);
    assert_int_equal(json_array_size(list), 201);
    assert_string_equal(json_get_str(json_array_get(list, 200), "target", (struct str){0}).ptr, "/runs");
    assert_null(operation_find(all, first_id));
    assert_true(str_eq(operation_id(first), first_id)); /* who holds it still has it */
    struct operation *found = operation_find(all, operation_id(running));
    assert_ptr_equal(found, running);
    operation_unref(found);
    operation_unref(first);
    end(running, ERR_OK);
    operation_unref(running);
    operations_close(all);
}

static void *run_until_cancelled(void *arg)
{
    struct operation *op = arg;
    while (!atomic_load(operation_cancel_flag(op)))
        usleep(1000);
    end(op, ERR_CANCELLED);
    operation_unref(op);
    return NULL;
}

static void the_end_of_the_server_cancels_what_does_not_end(void **state)
{
    struct operations *all = operations_open();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_until_cancelled, start(all, "/x")), 0);
    operations_drain(all, 20);
    pthread_join(thread, NULL);
    operations_close(all);
}

/* --- over a connection -------------------------------------------------------------------------------- */

struct rig {
    char dir[64], path[80];
    struct http_loops *loops;
    struct http_server *http;
    struct server server;
};

/* What api_serve() does with it, for the calls that need no more of the server. */
static void on_request(struct http_req *req, void *arg)
{
    struct rig *r = arg;
    if (!operation_serve(&r->server, req, req->path, STR("admin")))
        api_reply_error(req, 404, "no such call");
}

static void rig_open(struct rig *r)
{
    struct err err = {0};
    *r = (struct rig){0};
    snprintf(r->dir, sizeof r->dir, "/tmp/openrun-op-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof r->path, "%s/s", r->dir);
    r->server.operations = operations_open();
    r->loops = http_loops_open(1, &err);
    r->http = http_server_open(r->loops, NULL);
    assert_non_null(http_listen(r->http, &(struct http_listen){.unix_path = r->path, .handler = {on_request, r}}, &err));
}

static void rig_close(struct rig *r)
{
    http_server_close(r->http);
    http_loops_close(r->loops);
    operations_close(r->server.operations);
    rmdir(r->dir);
}

static void *say_and_end(void *arg)
{
    struct operation *op = arg;
    scoped_arena a = {0};
    for (int i = 0; i < 300; i++) {
        operation_line(op, str_printf(&a, "line %d", i));
        if (i % 50 == 0)
            usleep(2000);
    }
    end(op, ERR_OK);
    operation_unref(op);
    return NULL;
}

static struct http_answer get(struct arena *a, const struct rig *r, const char *method, const char *path)
{
    scoped_err err = {0};
    scoped_http_client struct http_client *c = http_client_open();
    struct http_answer res = {0};
    struct http_fetch f = {.method = str_from(method), .url = str_printf(a, "http://x%s", path),
                           .unix_socket = str_from(r->path)};
    if (!http_fetch(c, a, &f, &res, &err))
        fail_msg("%s: %s", path, err_msg(&err));
    return res;
}

static void a_watcher_gets_every_line_and_the_end(void **state)
{
    scoped_arena a = {0};
    struct rig r;
    rig_open(&r);
    struct operation *op = start(r.server.operations, "/x");
    struct str id = str_dup(&a, operation_id(op));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, say_and_end, op), 0);
    struct http_answer res = get(&a, &r, "GET", str_printf(&a, "/operation/watch?id=" STR_FMT, STR_ARG(id)).ptr);
    pthread_join(thread, NULL);
    struct str rest = res.body, line;
    assert_int_equal(res.status, 200);
    assert_true(str_eq(http_answer_header(&res, STR("content-type")), STR("application/x-ndjson")));
    assert_true(str_next(&rest, '\n', &line));
    assert_true(str_eq(line, str_printf(&a, "{\"operation\":\"" STR_FMT "\"}", STR_ARG(id))));
    for (int i = 0; i < 300; i++) {
        assert_true(str_next(&rest, '\n', &line));
        assert_true(str_eq(line, str_printf(&a, "{\"line\":\"line %d\"}", i)));
    }
    assert_true(str_eq(rest, STR("{\"status\":200,\"reply\":{\"dry_run\":false}}\n")));
    rig_close(&r);
}

static int connect_to(const struct rig *r)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", r->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void ask_to_watch(int fd, struct operation *op)
{
    scoped_arena a = {0};
    struct str ask = str_printf(&a, "GET /operation/watch?id=" STR_FMT " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                                STR_ARG(operation_id(op)));
    assert_int_equal(write(fd, ask.ptr, ask.len), (ssize_t)ask.len);
}

static void a_client_that_does_not_read_loses_lines_and_holds_nobody_up(void **state)
{
    scoped_arena a = {0};
    scoped_buf got = BUF_INIT(64 << 20);
    char chunk[65536];
    struct rig r;
    rig_open(&r);
    struct operation *op = start(r.server.operations, "/x");
    scoped_fd int fd = connect_to(&r);
    ask_to_watch(fd, op);
    assert_true(read(fd, chunk, 1) == 1); /* it is being served */
    for (int i = 0; i < 100000; i++)
        operation_line(op, STR("a line of some length, so that all buffers on the way are full soon enough"));
    end(op, ERR_OK);
    for (ssize_t n; (n = read(fd, chunk, sizeof chunk)) > 0;)
        buf_add(&got, chunk, (size_t)n);
    assert_non_null(strstr(buf_z(&got), "{\"dropped\":"));
    assert_non_null(strstr(buf_z(&got), "{\"status\":200,\"reply\":{\"dry_run\":false}}\n"));
    operation_unref(op);
    rig_close(&r);
}

static void a_client_may_leave_at_any_time(void **state)
{
    struct rig r;
    rig_open(&r);
    struct operation *op = start(r.server.operations, "/x");
    pthread_t thread;
    operation_ref(op);
    assert_int_equal(pthread_create(&thread, NULL, say_and_end, op), 0);
    for (int i = 0; i < 50; i++) {
        char one;
        int fd = connect_to(&r);
        ask_to_watch(fd, op);
        if (i % 2)
            assert_true(read(fd, &one, 1) == 1);
        close(fd);
    }
    pthread_join(thread, NULL);
    scoped_arena a = {0};
    assert_true(str_eq(state_of(&a, op), STR("done")));
    operation_unref(op);
    rig_close(&r);
}

static void calls_on_operations_say_what_is_wrong(void **state)
{
    static const struct { const char *method, *path; int status; const char *part; } cases[] = {
        {"GET", "/operations", 200, "{\"operations\":[]}"},
        {"GET", "/operation", 400, "id is required"},
        {"GET", "/operation?id=", 400, "id is required"},
        {"GET", "/operation?id=op_x", 404, "no such operation"},
        {"GET", "/operation/watch?id=op_x", 404, "no such operation"},
        {"POST", "/operation/cancel?id=op_x", 404, "no such operation"},
        {"POST", "/operations", 404, "no such call"},
    };
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct http_answer res = get(&a, &r, cases[i].method, cases[i].path);
        if (res.status != cases[i].status || str_find(res.body, str_from(cases[i].part)) == STR_NPOS)
            fail_msg("%s %s: %d " STR_FMT, cases[i].method, cases[i].path, res.status, STR_ARG(res.body));
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_follow_the_work),
        cmocka_unit_test(those_of_an_earlier_server_are_listed),
        cmocka_unit_test(notes_are_kept_while_they_run),
        cmocka_unit_test(lines_are_read_from_where_the_reader_is),
        cmocka_unit_test(a_long_line_is_cut_between_characters),
        cmocka_unit_test(a_slow_reader_is_told_how_many_lines_it_lost),
        cmocka_unit_test(the_last_200_that_ended_and_all_that_run_are_kept),
        cmocka_unit_test(the_end_of_the_server_cancels_what_does_not_end),
        cmocka_unit_test(a_watcher_gets_every_line_and_the_end),
        cmocka_unit_test(a_client_that_does_not_read_loses_lines_and_holds_nobody_up),
        cmocka_unit_test(a_client_may_leave_at_any_time),
        cmocka_unit_test(calls_on_operations_say_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
