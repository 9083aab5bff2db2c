/* tests/app/test_command.c: container.run, over an engine in memory: what is run, what comes of it, and who waits.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"
#include "fake_engine.h"

static struct {
    struct fake fake;
    struct ctr_backend ops;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf seen;        /* of the last command: image, command, environment ... */
    const char *out, *said; /* what the command writes */
    int exit_code;
    bool waits;             /* runs until it is cancelled */
    int more;               /* so many times `out` again, as long as it is taken */
    bool stopped;           /* it was not */
    int running, ended;
    struct jobs *jobs;
} box;

static bool run_task(void *ctx, const struct ctr_run *run, const struct ctr_task_io *io, struct ctr_task_end *end,
                     struct err *err)
{
    pthread_mutex_lock(&box.lock);
    buf_clear(&box.seen);
    buf_printf(&box.seen, STR_FMT " |", STR_ARG(run->image));
    for (size_t i = 0; i < run->command.len; i++)
        buf_printf(&box.seen, " <" STR_FMT ">", STR_ARG(run->command.items[i]));
    buf_add_z(&box.seen, " |");
    for (size_t i = 0; i < run->env.len; i++)
        buf_printf(&box.seen, " " STR_FMT "=" STR_FMT, STR_ARG(run->env.items[i].key),
                   STR_ARG(run->env.items[i].value));
    buf_printf(&box.seen, " | " STR_FMT " | %zu mounts | %lld", STR_ARG(run->workdir), run->n_mounts,
               (long long)run->limits.milli_cpus);
    box.running++;
    pthread_cond_broadcast(&box.changed);
    bool waits = box.waits;
    pthread_mutex_unlock(&box.lock);
    if (box.out)
        box.stopped = !io->on_output(io->arg, false, str_from(box.out));
    for (int i = 0; i < box.more && !box.stopped; i++)
        box.stopped = !io->on_output(io->arg, false, str_from(box.out));
    if (box.said)
        io->on_output(io->arg, true, str_from(box.said));
    while (waits && !atomic_load(io->cancel))
        fake_sleep(1);
    *end = (struct ctr_task_end){.exit_code = box.exit_code, .cancelled = waits || box.stopped};
    pthread_mutex_lock(&box.lock);
    box.ended++;
    pthread_cond_broadcast(&box.changed);
    pthread_mutex_unlock(&box.lock);
    return true;
}

static int open_all(void **state)
{
    static const struct ctr_hooks hooks = {.post = http_loop_post, .probe = fake_probe};
    scoped_err err = {0};
    fx_open(state);
    ctr_manager_close(fx.env.containers);
    pthread_mutex_init(&box.fake.lock, NULL);
    pthread_mutex_init(&box.lock, NULL);
    pthread_cond_init(&box.changed, NULL);
    buf_init(&box.seen, 8192);
    box.ops = fake_backend;
    box.ops.task = run_task;
    struct ctr_engine *e = ctr_engine_open_with(CTR_DOCKER, &box.ops, &box.fake);
    struct ctr_manager_config c = {
        .home = fx.env.home, .loop_count = 1, .max_concurrent_builds = 1, .max_build_wait_secs = 10};
    MUST(ctr_manager_open_with(&c, e, &hooks, &fx.env.containers, &err), &err);
    box.jobs = jobs_open("task", 4);
    fx.env.commands = jobs_lane_new(box.jobs, 2);
    fx.env.streams = jobs_lane_new(box.jobs, 2);
    return 0;
}

static int close_all(void **state)
{
    http_server_close(fx.server);
    fx.server = NULL;
    jobs_close(box.jobs);
    buf_release(&box.seen);
    return fx_close(state);
}

static int reset(void **state)
{
    setup(state);
    box.out = "one\r\ntwo\n\n", box.said = NULL;
    box.exit_code = box.running = box.ended = 0;
    box.waits = box.stopped = false;
    box.more = 0;
    box.fake.has_image = true;
    return 0;
}

#define APP(handler)                                                                                                   \
    "load('container.in', 'container')\n"                                                                             \
    "def h(req):\n    " handler "\n"                                                                                  \
    "app = ace.app('c', routes=[ace.api('/run', h)], container=container.config('image:tool', "                      \
    "lifetime=container.COMMAND), permissions=[ace.permission('container.in', 'run')])\n"

static void run_is(const char *expression, int status, const char *want)
{
    scoped_arena a = {0};
    struct str text = str_printf(&a,
                                 "load('container.in', 'container')\n"
                                 "def h(req):\n    r = %s\n    return r.value\n"
                                 "app = ace.app('c', routes=[ace.api('/run', h)], container=container.config('image:tool',"
                                 " lifetime=container.COMMAND), permissions=[ace.permission('container.in', 'run')])\n",
                                 expression);
    load_approved(FILES("app.star", str_z(&a, text)));
    expect_part("GET /x/run", status, want);
}

static void output_comes_as_lines(void **state)
{
    run_is("container.run('ls', ['-l', '/'])", 200, "[\"one\",\"two\",\"\"]");
    assert_has(buf_str(&box.seen), "tool | <ls> <-l> </> | CL_APP_PATH=/x");
    box.out = NULL;
    run_is("container.run('true')", 200, "[]");
    box.out = "no newline";
    run_is("container.run('true')", 200, "[\"no newline\"]");
}

static void environment_reaches_the_command(void **state)
{
    put(&now.entry.metadata.param_values, "text", "a \"b\"\nc=d");
    put(&now.entry.metadata.param_values, "over", "app");
    put(&now.entry.metadata.container_options, "cpus", "0.5");
    str_list_add(&now.arena, &now.entry.metadata.container_volumes, STR("data:/data"));
    run_is("container.run('sh', [], ['over=command', 'more=1=2'], cwd='/tmp')", 200, "[");
    assert_has(buf_str(&box.seen), "text=a \"b\"\nc=d over=command");
    assert_has(buf_str(&box.seen), "more=1=2 | /tmp | 1 mounts | 500");
    assert_int_equal(str_find(buf_str(&box.seen), STR("PORT=")), STR_NPOS);
}

static void output_is_parsed(void **state)
{
    box.out = "{\"a\": 1, \"b\": [true]}\n";
    run_is("container.run('x', parse='json')", 200, "[{\"a\":1,\"b\":[true]}]");
    box.out = "{\"a\": 1}\n\n{\"a\": 2}\n";
    run_is("container.run('x', parse='jsonlines')", 200, "[{\"a\":1},{\"a\":2}]");
    run_is("container.run('x', parse='json')", 500, "the command's output is not JSON");
    box.out = "[1]";
    run_is("container.run('x', parse='json')", 500, "but no object");
}

static void a_failure_is_a_value(void **state)
{
    box.exit_code = 3;
    box.said = "no such thing\n";
    run_is("container.run('x', include_stderr=False)", 500, "exit status 3: no such thing");
    run_is("container.run('x')", 500, "exit status 3");
    run_is("container.run('x', process_partial=True, include_stderr=False)", 200, "[\"one\",\"two\",\"\"]");
    run_is("container.run('x', process_partial=True)", 200, "[\"one\",\"two\",\"\",\"no such thing\"]");
    box.out = box.said = NULL;
    run_is("container.run('x', process_partial=True)", 500, "exit status 3");
    load_approved(FILES("app.star", APP("r = container.run('x')\n    return {'code': r.error_code, 'error': r.error}")));
    expect_part("GET /x/run", 200, "{\"code\":3,\"error\":\"exit status 3\"}");
}

static void wrong_arguments_are_refused_by_name(void **state)
{
    static const struct {
        const char *call, *says;
    } cases[] = {
        {"container.run()", "missing argument for path"},
        {"container.run('')", "path must name a program"},
        {"container.run('x', 'y')", "for parameter args: got string, want list"},
        {"container.run('x', [1])", "args must hold strings, not int"},
        {"container.run('x', ['a\\x00b'])", "has a NUL character"},
        {"container.run('x', env=['novalue'])", "entries like \\\"NAME=value\\\""},
        {"container.run('x', env=['=v'])", "entries like \\\"NAME=value\\\""},
        {"container.run('x', parse='xml')", "unsupported format: xml"},
        {"container.run('x', stream=True, parse='json')", "with stream use \\\"jsonlines\\\""},
        {"container.run('x', stream=True, stdout_file=True)", "stream and stdout_file exclude each other"},
        {"container.run('x', stdout_file=True, parse='json')", "parse and stdout_file exclude each other"},
        {"container.run('x', timeout='1')", "timeout must be between 1 and"},
        {"container.run('x', cwd='tmp')", "cwd must be an absolute path"},
        {"container.run('x', timeout=0)", "timeout must be between 1 and"},
        {"container.run('x', parse_json=True)", "unexpected keyword argument \\\"parse_json\\\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct str says = {0}; /* the plain text of a 500 has no escapes */
        for (const char *p = cases[i].says; *p; p++)
            if (*p != '\\')
                says = str_printf(&a, STR_FMT "%c", STR_ARG(says), *p);
        run_is(cases[i].call, 500, str_z(&a, says));
    }
    assert_int_equal(box.running, 0);
}

/* --- streams */

#define STREAM(type, handler)                                                                                          \
    "load('container.in', 'container')\n"                                                                             \
    "def h(req):\n    " handler "\n"                                                                                  \
    "def error_handler(req, err):\n    return ace.response({'handled': err['error']}, code=503)\n"                     \
    "app = ace.app('c', routes=[ace.api('/run', h, type='" type "')], container=container.config('image:tool', "       \
    "lifetime=container.COMMAND), permissions=[ace.permission('container.in', 'run')])\n"

static void use_stream(const char *star)
{
    load_approved(FILES("app.star", star));
}

static void a_stream_is_sent_in_lines(void **state)
{
    use_stream(STREAM("text", "return container.run('ls', stream=True)"));
    expect("GET /x/run", 200, "one\ntwo\n\n");
    assert_str(header("Content-Type"), "text/plain; charset=utf-8");
    assert_str(header("Transfer-Encoding"), "chunked");
    box.out = "no newline";
    expect("GET /x/run", 200, "no newline\n");
    box.out = NULL;
    expect("GET /x/run", 200, "");
    box.out = "a\"b\n\xc3\xa9\n";
    use_stream(STREAM("json", "return container.run('ls', stream=True)"));
    expect("GET /x/run", 200, "\"a\\\"b\"\n\"\xc3\xa9\"\n");
    assert_str(header("Content-Type"), "application/json");
    box.out = "{\"b\": [1, 2.5], \"a\": null}\n\n";
    use_stream(STREAM("json", "return ace.response(container.run('ls', stream=True, parse='jsonlines'), code=201)"));
    expect("GET /x/run", 201, "{\"b\":[1,2.5],\"a\":null}\n");
}

static void a_stream_is_a_value_that_is_returned(void **state)
{
    use_stream(STREAM("json", "r = container.run('ls', stream=True)\n    return [r.is_stream, r.error, bool(r), str(r)]"));
    expect_part("GET /x/run", 503, "the handler has not returned its stream: nothing of it has run");
    use_stream(STREAM("json", "return container.run('ls', stream=True).value"));
    expect_part("GET /x/run", 503, "stream value cannot be accessed in Starlark, return the response object instead");
    use_stream(STREAM("json", "a = container.run('ls', stream=True)\n    b = container.run('ls', stream=True)\n"
                              "    return a if b.error == 'run: this request has a stream already' else b"));
    expect("GET /x/run", 200, "\"one\"\n\"two\"\n\"\"\n");
    assert_int_equal(box.running, 1);
}

static void what_fails_before_the_first_line_is_no_stream(void **state)
{
    use_stream(STREAM("json", "return container.run('ls', stream=True, include_stderr=False)"));
    box.out = NULL, box.said = "it broke\n", box.exit_code = 4;
    expect("GET /x/run", 503, "{\"handled\":\"exit status 4: it broke\"}");
    box.out = "x\n";
    expect_part("GET /x/run", 200, "\"x\"\n{\"error\":\"exit status 4: it broke\"}\n");
    assert_true(now.got.is_cut);
    use_stream(STREAM("text", "return container.run('ls', stream=True, process_partial=True)"));
    expect("GET /x/run", 200, "x\nit broke\n");
    assert_false(now.got.is_cut);
    box.out = "{}\nnot JSON\n", box.said = NULL, box.exit_code = 0;
    use_stream(STREAM("json", "return container.run('ls', stream=True, parse='jsonlines')"));
    expect_part("GET /x/run", 200, "{}\n{\"error\":\"the command's output is not JSON");
    assert_true(now.got.is_cut);
}

static void long_lines_pass_and_endless_ones_do_not(void **state)
{
    scoped_arena a = {0};
    enum { LEN = 300 << 10 };
    char *text = arena_alloc(&a, LEN + 2);
    memset(text, 'x', LEN);
    memcpy(text + LEN, "\n", 2);
    box.out = text;
    box.more = 9;
    use_stream(STREAM("text", "return container.run('ls', stream=True)"));
    say("GET /x/run");
    assert_false(now.got.is_cut);
    assert_int_equal(body().len, 10 * (LEN + 1));
    text[LEN] = '\0';
    box.more = 1000;
    expect_part("GET /x/run", 503, "a line of the output is too long for a stream");
    assert_true(box.stopped);
}

/* The command stands still while nobody reads, and ends with the client. */
static void a_slow_client_is_waited_for(void **state)
{
    box.more = 10 * 1000 * 1000;
    use_stream(STREAM("text", "return container.run('yes', stream=True)"));
    struct web c = web_open(fx.port);
    web_say(&c, "GET /x/run HTTP/1.1\r\nHost: localhost:25222\r\n\r\n");
    pthread_mutex_lock(&box.lock);
    while (box.running == 0)
        pthread_cond_wait(&box.changed, &box.lock);
    assert_int_equal(box.ended, 0);
    pthread_mutex_unlock(&box.lock);
    web_close(&c);
    pthread_mutex_lock(&box.lock);
    while (box.ended == 0)
        pthread_cond_wait(&box.changed, &box.lock);
    assert_true(box.stopped);
    pthread_mutex_unlock(&box.lock);
    http_loops_run(fx.env.loops, no_work, NULL);
}

static void output_in_a_file_goes_with_the_request(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str text;
    load_approved(FILES("app.star", APP("return container.run('x', stdout_file=True).value")));
    say("GET /x/run");
    struct str path = str_slice(body(), 1, body().len - 2);
    assert_int_equal(now.got.status, 200);
    assert_true(str_starts(path, str_cat(&a, fx.env.home, STR("/run/output/openrun-exec-stdout-"))));
    for (int i = 0; i < 5000 && fs_exists(path); i++)
        fake_sleep(1);
    assert_false(fs_exists(path));
    /* Those of servers that have ended go with the next start; others stay. */
    struct str dir = path_dir(path), ours = path, others = str_cat(&a, dir, STR("/openrun-exec-stdout-1-x"));
    MUST(fs_write_atomic(ours, STR("left"), 0600, &err) && fs_write_atomic(others, STR("left"), 0600, &err), &err);
    plugin_clean_files(dir);
    assert_false(fs_exists(ours));
    assert_true(fs_exists(others) && fs_read_all(&a, others, 10, &text, &err));
    box.exit_code = 1;
    expect_part("GET /x/run", 500, "exit status 1");
}

static void one_request_keeps_a_hundred_megabytes(void **state)
{
    scoped_arena a = {0};
    enum { LEN = 10 << 20 };
    char *text = arena_alloc(&a, LEN + 1);
    memset(text, 'x', LEN);
    text[LEN] = '\0';
    box.out = text;
    box.more = 10;
    load_approved(FILES("app.star", APP("return [len(line) for line in container.run('x').value]")));
    expect("GET /x/run", 200, "[104857600]\n");
    load_approved(FILES("app.star", APP("return [container.run('x').value[0][:2], container.run('x').error]")));
    expect_part("GET /x/run", 200, "[\"xx\",\"the commands of this request have more than 100 MB of output");
}

static void it_needs_permission_a_container_and_a_request(void **state)
{
    load_app(FILES("app.star", APP("return container.run('x').value")));
    expect_part("GET /x/run", 500, "is not permitted to call container.in.run");
    load_approved(FILES("app.star", "load('container.in', 'container')\n"
                                    "def h(req):\n    return container.run('x').value\n"
                                    "app = ace.app('c', routes=[ace.api('/run', h)], "
                                    "permissions=[ace.permission('container.in', 'run')])\n"));
    expect_part("GET /x/run", 500, "container config not initialized");
    struct src_files *files = make_files(FILES("app.star", "load('container.in', 'container')\n"
                                                           "app = ace.app('c')\n"
                                                           "[0] if param else 0\n"
                                                           "x = container.run('x')\n"));
    now.entry.metadata.loads = (struct str_list){0};
    str_list_add(&now.arena, &now.entry.metadata.loads, STR("container.in"));
    *vec_push(&now.arena, &now.entry.metadata.permissions) =
        (struct store_permission){.plugin = STR("container.in"), .method = STR("run")};
    struct app *app;
    assert_false(app_load(&fx.env, &now.entry, files, &app, &now.err));
    assert_non_null(strstr(err_msg(&now.err), "can only be called by a handler"));
    assert_int_equal(box.running, 0);
}

static void an_app_for_commands_serves_no_proxy(void **state)
{
    struct src_files *files = make_files(
        FILES("app.star", "load('container.in', 'container')\nload('proxy.in', 'proxy')\n"
                          "app = ace.app('c', routes=[ace.proxy('/', proxy.config(container.URL))], "
                          "container=container.config('image:tool', lifetime='command'))\n"));
    struct app *app;
    assert_false(app_load(&fx.env, &now.entry, files, &app, &now.err));
    assert_non_null(strstr(err_msg(&now.err), "lifetime \"command\": it serves no requests"));
}

static void the_image_is_made_first(void **state)
{
    box.fake.has_image = false;
    box.fake.builds = 0;
    load_approved(FILES("app.star",
                        "load('container.in', 'container')\n"
                        "def h(req):\n    return container.run('x').value\n"
                        "app = ace.app('c', routes=[ace.api('/run', h)], container=container.config('auto', "
                        "lifetime=container.COMMAND), permissions=[ace.permission('container.in', 'run')])\n",
                        "Containerfile", "FROM scratch\n"));
    expect("GET /x/run", 200, "[\"one\",\"two\",\"\"]\n");
    expect("GET /x/run", 200, "[\"one\",\"two\",\"\"]\n");
    assert_int_equal(box.fake.builds, 1);
    assert_int_equal(box.fake.runs, 0); /* and no container of its own */
}

static void a_client_that_leaves_ends_the_command(void **state)
{
    box.waits = true;
    load_approved(FILES("app.star", APP("return container.run('sleep', ['1000']).value")));
    struct web c = web_open(fx.port);
    web_say(&c, "GET /x/run HTTP/1.1\r\nHost: localhost:25222\r\n\r\n");
    pthread_mutex_lock(&box.lock);
    while (box.running == 0)
        pthread_cond_wait(&box.changed, &box.lock);
    pthread_mutex_unlock(&box.lock);
    web_close(&c);
    pthread_mutex_lock(&box.lock);
    while (box.ended == 0)
        pthread_cond_wait(&box.changed, &box.lock);
    pthread_mutex_unlock(&box.lock);
    http_loops_run(fx.env.loops, no_work, NULL);
}

int main(void)
{
    fake_now = &box.fake;
    const struct CMUnitTest tests[] = {
#define COMMAND_TEST(name) cmocka_unit_test_setup_teardown(name, reset, teardown)
        COMMAND_TEST(output_comes_as_lines),
        COMMAND_TEST(environment_reaches_the_command),
        COMMAND_TEST(output_is_parsed),
        COMMAND_TEST(a_failure_is_a_value),
        COMMAND_TEST(wrong_arguments_are_refused_by_name),
        COMMAND_TEST(it_needs_permission_a_container_and_a_request),
        COMMAND_TEST(an_app_for_commands_serves_no_proxy),
        COMMAND_TEST(the_image_is_made_first),
        COMMAND_TEST(a_client_that_leaves_ends_the_command),
        COMMAND_TEST(a_stream_is_sent_in_lines),
        COMMAND_TEST(a_stream_is_a_value_that_is_returned),
        COMMAND_TEST(what_fails_before_the_first_line_is_no_stream),
        COMMAND_TEST(long_lines_pass_and_endless_ones_do_not),
        COMMAND_TEST(a_slow_client_is_waited_for),
        COMMAND_TEST(output_in_a_file_goes_with_the_request),
        COMMAND_TEST(one_request_keeps_a_hundred_megabytes),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
