/* tests/starlark/test_run.c: slices, limits, cancelling, suspending, threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "star_test.h"

#include <pthread.h>

static star_v global(struct star_module *m, const char *name)
{
    star_v v = star_module_get(m, str_from(name));
    assert_false(star_is_null(v));
    return v;
}

static void a_loop_yields_and_goes_on(void **state)
{
    scoped_arena a = {0};
    struct star_module *m = must_exec(&a, "def f(n):\n  t = 0\n  for i in range(n): t += i\n  return t\n", NULL);
    struct star_limits limits = {.slice_steps = 1000};
    struct star_run *run = star_run_new(&a, &limits);
    star_v n = star_int(&a, 50000);
    star_run_call(run, global(m, "f"), &n, 1);
    int yields = 0;
    enum star_state s;
    while ((s = star_run_resume(run)) == STAR_YIELD)
        yields++;
    assert_int_equal(s, STAR_DONE);
    assert_in_range(yields, 45, 60);
    int64_t total;
    assert_true(star_to_i64(star_run_result(run), &total));
    assert_int_equal(total, 50000LL * 49999 / 2);
    assert_in_range(star_run_steps(run), 50000, 50100);
}

/* Every kind of statement is cut at every step and gives the same result. */
static void one_step_per_slice_changes_nothing(void **state)
{
    static const char src[] =
        "def fib(n):\n  return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "s = [1]\n"
        "def g(x, *a, **k): return (x, a, k)\n"
        "def f():\n"
        "  out = [fib(8)]\n"
        "  i = 0\n"
        "  while i < 5:\n    i += 1\n    out.append(i)\n"
        "  out += [x * 2 for x in range(5) if x % 2]\n"
        "  for k, v in {'a': 1, 'b': 2}.items():\n    out.append(k + str(v))\n"
        "  out.append(sorted([3, 1, 2], key = lambda x: fib(x)))\n"
        "  out.append(g(1, *[2], **{'z': 3}))\n"
        "  out.append(max([1, 2], key = lambda x: -x))\n"
        "  return out\n";
    scoped_arena a = {0};
    struct star_module *m = must_exec(&a, src, NULL);
    const char *results[2];
    for (int i = 0; i < 2; i++) {
        struct star_limits limits = {.slice_steps = i ? 1 : 0};
        struct star_run *run = star_run_new(&a, &limits);
        star_run_call(run, global(m, "f"), NULL, 0);
        assert_int_equal(star_run_to_end(run), STAR_DONE);
        results[i] = repr_z(&a, star_run_result(run));
    }
    assert_string_equal(results[0], results[1]);
}

static void limits_stop_a_program(void **state)
{
    static const struct {
        const char *name, *body, *want;
        uint64_t steps;
        size_t memory;
        uint32_t depth;
        int why;
    } cases[] = {
        {"an endless while", "while True: pass", "step limit exceeded: the program used its 10000 steps", 10000, 0, 0, STAR_ERR_STEPS},
        {"an endless recursion", "f()", "Starlark stack overflow", 0, 0, 1000, STAR_ERR_DEPTH},
        {"a builtin that does much", "x = [0] * 1000000000", "step limit exceeded", 10000, 0, 0, STAR_ERR_STEPS},
        {"a growing list", "l = []\n  while True: l.append(l)", "memory limit exceeded: the program may use 1000000 bytes", 0, 1000000, 0, STAR_ERR_MEMORY},
        {"a growing string", "s = 'x'\n  while True: s += s", "memory limit exceeded", 0, 1000000, 0, STAR_ERR_MEMORY},
        {"a growing dict", "d = {}\n  i = 0\n  while True:\n    i += 1\n    d[i] = i", "memory limit exceeded", 0, 1000000, 0, STAR_ERR_MEMORY},
        {"a growing int", "x = 3\n  while True: x *= x", "memory limit exceeded", 0, 1000000, 0, STAR_ERR_MEMORY},
        {"a deep recursion within memory", "f()", "memory limit exceeded", 0, 1000000, 0, STAR_ERR_MEMORY},
        {"many closures", "l = []\n  while True: l.append(lambda: l)", "memory limit exceeded", 0, 1000000, 0, STAR_ERR_MEMORY},
        {"sorting too much", "sorted(range(1 << 40))", "memory limit exceeded", 0, 1000000, 0, STAR_ERR_MEMORY},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena prog = {0}, a = {0};
        char src[500];
        snprintf(src, sizeof src, "def f():\n  %s\n", cases[i].body);
        struct star_module *m = must_exec(&prog, src, NULL);
        arena_init(&a, cases[i].memory);
        struct star_limits limits = {.steps = cases[i].steps, .depth = cases[i].depth};
        struct star_run *run = star_run_new(&a, &limits);
        star_run_call(run, global(m, "f"), NULL, 0);
        assert_int_equal(star_run_to_end(run), STAR_ERROR);
        const struct star_error *e = star_run_error(run);
        if (str_find(e->msg, str_from(cases[i].want)) == STR_NPOS || (int)e->why != cases[i].why)
            fail_msg("%s: got " STR_FMT ", want %s", cases[i].name, STR_ARG(e->msg), cases[i].want);
        if (cases[i].memory)
            assert_true(a.used <= cases[i].memory + (600 << 10));
    }
}

static void *set_flag(void *flag)
{
    __atomic_store_n((int *)flag, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void another_thread_cancels(void **state)
{
    scoped_arena a = {0};
    struct star_module *m = must_exec(&a, "def f():\n  while True: pass\n", NULL);
    struct star_run *run = star_run_new(&a, NULL);
    int flag = 0;
    pthread_t t;
    star_run_set_cancel(run, &flag);
    star_run_call(run, global(m, "f"), NULL, 0);
    assert_int_equal(pthread_create(&t, NULL, set_flag, &flag), 0);
    assert_int_equal(star_run_to_end(run), STAR_ERROR);
    pthread_join(t, NULL);
    assert_int_equal(star_run_error(run)->why, STAR_ERR_CANCELLED);
}

/* A flag set beforehand is seen within a fraction of a millisecond of work. */
static void cancelling_takes_less_than_a_millisecond(void **state)
{
    static const char *const bodies[] = {
        "while True: pass", "f()", "x = 'a' * 1000\n  while True: x.upper()", "l = list(range(300))\n  while True: sorted(l)",
        "while True: [i for i in range(100)]",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        scoped_arena a = {0};
        char src[300];
        snprintf(src, sizeof src, "def f():\n  %s\n", bodies[i]);
        struct star_module *m = must_exec(&a, src, NULL);
        struct star_run *run = star_run_new(&a, NULL);
        int flag = 1;
        star_run_set_cancel(run, &flag);
        star_run_call(run, global(m, "f"), NULL, 0);
        assert_int_equal(star_run_to_end(run), STAR_ERROR);
        assert_true(star_run_steps(run) <= 10000);
    }
}

/* ---- suspending ---- */

static enum star_ret wait_builtin(struct star_run *run, const struct star_call *call, star_v *out)
{
    return STAR_BLOCK;
}

static struct star_env wait_env(struct arena *a)
{
    struct star_binding *b = arena_new(a, struct star_binding);
    *b = (struct star_binding){"wait", star_builtin(a, "wait", wait_builtin, NULL)};
    return (struct star_env){b, 1};
}

static void a_builtin_waits_and_is_completed(void **state)
{
    static const struct {
        const char *name, *body;
        int waits;
        const char *want;
    } cases[] = {
        {"a plain call", "return wait() + 1", 1, "8"},
        {"as an argument", "return [wait(), str(wait())]", 2, "[7, \"7\"]"},
        {"with keywords", "return wait(a = 1, *[2], **{'b': 3})", 1, "7"},
        {"in a loop over a list", "return [wait() * x for x in [1, 2, 3]]", 3, "[7, 14, 21]"},
        {"in a key function", "return sorted([3, 1, 2], key = lambda x: wait() * -x)", 3, "[3, 2, 1]"},
        {"as a key function", "return max(['a', 'b'], key = wait)", 2, "\"a\""},
        {"deep in calls", "return g(50)", 1, "57"},
        {"as a method of a struct", "return s.wait()", 1, "7"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct star_env env = wait_env(&a);
        struct star_binding both[] = {env.items[0], {"struct", star_lib_struct()}};
        struct star_env env2 = {both, 2};
        char src[500];
        snprintf(src, sizeof src,
                 "s = struct(wait = wait)\ndef g(n): return 1 + g(n - 1) if n else wait()\ndef f():\n  %s\n", cases[i].body);
        struct star_module *m = must_exec(&a, src, &env2);
        struct star_run *run = star_run_new(&a, NULL);
        star_run_call(run, global(m, "f"), NULL, 0);
        enum star_state s;
        int waits = 0;
        while ((s = star_run_resume(run)) == STAR_SUSPENDED) {
            assert_int_equal(star_run_resume(run), STAR_SUSPENDED); /* not before it is completed */
            star_run_complete(run, star_int(&a, 7));
            waits++;
        }
        if (s != STAR_DONE)
            fail_msg("%s: " STR_FMT, cases[i].name, STR_ARG(star_run_error(run)->backtrace));
        assert_int_equal(waits, cases[i].waits);
        assert_string_equal(repr_z(&a, star_run_result(run)), cases[i].want);
    }
}

static void a_wait_may_fail(void **state)
{
    scoped_arena a = {0};
    struct star_env env = wait_env(&a);
    struct star_module *m = must_exec(&a, "l = [1]\ndef f(l):\n  for x in l:\n    wait()\n", &env);
    struct star_run *run = star_run_new(&a, NULL);
    star_v one = star_int(&a, 1), list = star_list(&a, &one, 1);
    star_run_call(run, global(m, "f"), &list, 1);
    assert_int_equal(star_run_resume(run), STAR_SUSPENDED);
    assert_false(star_list_append(&a, list, one)); /* being iterated */
    star_run_complete_error(run, "connection %s", "refused");
    assert_int_equal(star_run_resume(run), STAR_ERROR);
    const struct star_error *e = star_run_error(run);
    assert_true(str_eq_z(e->msg, "connection refused"));
    assert_int_equal(e->frames[e->n_frames - 1].line, 4);
    assert_true(star_list_append(&a, list, one)); /* the loop was ended by the failure */
}

struct rows {
    int left, ended;
    bool waits;
};
static enum star_ret rows_next(struct star_run *run, void *self, void **cursor, star_v *out)
{
    struct rows *r = self;
    if (r->waits)
        return STAR_BLOCK;
    if (r->left == 0)
        return STAR_MISSING;
    *out = star_int(star_run_arena(run), r->left--);
    return STAR_OK;
}
static void rows_end(void *self, void **cursor)
{
    ((struct rows *)self)->ended++;
}
static const struct star_host_type rows_type = {.name = "rows", .iter_next = rows_next, .iter_end = rows_end};

static void a_loop_over_a_host_object_ends_it_once(void **state)
{
    static const char *const bodies[] = {
        "return [x for x in r]", "for x in r:\n    if x == 2: break", "for x in r:\n    if x == 2: return x",
        "for x in r:\n    fail('x')", "for x in r:\n    for y in [1]: fail('x')", "return list(r)",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        scoped_arena a = {0};
        char src[200];
        struct rows rows = {.left = 3};
        snprintf(src, sizeof src, "def f(r):\n  %s\n", bodies[i]);
        struct star_module *m = must_exec(&a, src, NULL);
        struct star_run *run = star_run_new(&a, NULL);
        star_v r = star_host(&a, &rows_type, &rows);
        star_run_call(run, global(m, "f"), &r, 1);
        star_run_to_end(run);
        if (rows.ended != 1)
            fail_msg("%s: ended %d times", bodies[i], rows.ended);
    }
}

static void an_iteration_may_wait(void **state)
{
    scoped_arena a = {0};
    struct rows rows = {.waits = true};
    struct star_module *m = must_exec(&a, "def f(r):\n  return [x + 1 for x in r]\n", NULL);
    struct star_run *run = star_run_new(&a, NULL);
    star_v r = star_host(&a, &rows_type, &rows);
    star_run_call(run, global(m, "f"), &r, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(star_run_resume(run), STAR_SUSPENDED);
        star_run_complete(run, star_int(&a, i));
    }
    assert_int_equal(star_run_resume(run), STAR_SUSPENDED);
    star_run_complete(run, STAR_NULL);
    assert_int_equal(star_run_resume(run), STAR_DONE);
    assert_string_equal(repr_z(&a, star_run_result(run)), "[1, 2, 3]");
    assert_int_equal(rows.ended, 1);
}

static void ten_thousand_runs_wait_at_once(void **state)
{
    enum { N = 10000 };
    scoped_arena a = {0};
    struct star_env env = wait_env(&a);
    struct star_module *m = must_exec(&a, "def g(x):\n  y = wait()\n  return x + y\ndef f(x):\n  return g(x) * 2\n", &env);
    struct arena *arenas = calloc(N, sizeof *arenas);
    struct star_run **runs = calloc(N, sizeof *runs);
    size_t bytes = 0;
    for (int i = 0; i < N; i++) {
        star_v x = star_int(&arenas[i], i);
        runs[i] = star_run_new(&arenas[i], NULL);
        star_run_call(runs[i], global(m, "f"), &x, 1);
        assert_int_equal(star_run_resume(runs[i]), STAR_SUSPENDED);
        bytes += arenas[i].used;
    }
    print_message("one suspended run takes %zu bytes\n", bytes / N);
    for (int i = N - 1; i >= 0; i--) {
        int64_t got;
        star_run_complete(runs[i], star_int(&arenas[i], 1));
        assert_int_equal(star_run_resume(runs[i]), STAR_DONE);
        assert_true(star_to_i64(star_run_result(runs[i]), &got));
        assert_int_equal(got, (i + 1) * 2);
        arena_release(&arenas[i]);
    }
    free(arenas);
    free(runs);
}

/* ---- threads ---- */

static const char shared_source[] =
    "words = ['alpha', 'beta', 'gamma'] * 10\n"
    "table = {w + str(i): (i, [w], {'n': i}) for i, w in enumerate(words)}\n"
    "point = struct(x = 1, y = 'two', z = [1, 2, 3])\n"
    "def make():\n  hidden = [1, 2]\n  return lambda: len(hidden)\n"
    "closure = make()\n"
    "def work(n):\n"
    "  out = []\n"
    "  for i in range(n):\n"
    "    for w in words:\n      out.append(w.upper())\n"
    "    for k in table:\n      out.append(table[k][0])\n"
    "    out.append(point.x + len(point.z) + closure())\n"
    "    out.append(sorted(table.keys())[0])\n"
    "    out.append({w: 1 for w in words}['beta'])\n"
    "    out.append(str(table)[:10] + point.y)\n"
    "    if 'alpha0' in table and words == words: out.append(hash(words[0]))\n"
    "    d = {}\n"
    "    d[words[i % 3]] = i\n"
    "    out.append(d.get('alpha', i))\n"
    "  return len(out)\n";

static void *hammer(void *module)
{
    intptr_t ok = 1;
    for (int i = 0; i < 20 && ok; i++) {
        scoped_arena a = {0};
        struct star_limits limits = {.slice_steps = 100};
        struct star_run *run = star_run_new(&a, &limits);
        star_v n = star_int(&a, 5);
        star_run_call(run, star_module_get(module, STR("work")), &n, 1);
        int64_t len;
        ok = star_run_to_end(run) == STAR_DONE && star_to_i64(star_run_result(run), &len) && len == 5 * (30 + 30 + 6);
    }
    return (void *)ok;
}

static void eight_threads_share_a_frozen_module(void **state)
{
    scoped_arena a = {0};
    struct star_binding b[] = {{"struct", star_lib_struct()}};
    struct star_env env = {b, 1};
    struct star_module *m = must_exec(&a, shared_source, &env);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, m), 0);
    for (int i = 0; i < 8; i++) {
        void *ok;
        pthread_join(threads[i], &ok);
        assert_non_null(ok);
    }
}

static void *compile_and_run(void *ready)
{
    pthread_barrier_wait(ready);
    for (int i = 0; i < 20; i++) {
        scoped_arena a = {0};
        must_exec(&a,
                  "x = ['', 'x', b'', b'x', (), 0.0, -0.0, 0, True, None]\n"
                  "def f(a, b = '.'):\n  return [a, b, a[:1], 'y' in {'y': a}, list('ab'.elems()), type(a), str(0.0)]\n"
                  "y = [f(e) for e in ['e', 'ee']] + [json.decode('[\"\", \"x\", 0.0]')]\n",
                  &(struct star_env){&(struct star_binding){"json", star_lib_json()}, 1});
    }
    return NULL;
}

/* The empty and one-byte values are single objects of the process. */
static void eight_threads_compile_at_once(void **state)
{
    pthread_t threads[8];
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, NULL, ARRAY_LEN(threads));
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compile_and_run, &ready), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&ready);
}

/* ---- errors ---- */

static void an_error_shows_where_and_how_it_was_reached(void **state)
{
    scoped_arena a = {0};
    struct star_module *m = must_exec(&a, "def g(x):\n  return x + 'a'\ndef f():\n  return [g(1)]\ndef h():\n  len(1)\n", NULL);
    struct star_run *run = star_run_new(&a, NULL);
    scoped_err err = {0};
    star_run_call(run, global(m, "f"), NULL, 0);
    assert_int_equal(star_run_to_end(run), STAR_ERROR);
    assert_string_equal(str_z(&a, star_run_error(run)->backtrace),
                        "Traceback (most recent call last):\n  test.star:4:12: in f\n  test.star:2:12: in g\n"
                         "Error: unknown binary op: int + string");
    star_run_err(run, &err);
    assert_string_equal(err_msg(&err), "test.star:2:12: unknown binary op: int + string");
    /* The run may be used again. */
    star_run_call(run, global(m, "h"), NULL, 0);
    assert_int_equal(star_run_to_end(run), STAR_ERROR);
    assert_string_equal(str_z(&a, star_run_error(run)->backtrace),
                        "Traceback (most recent call last):\n  test.star:6:6: in h\nError in len: len: value of type int has no len");
}

static void start_is_cheap(void **state)
{
    scoped_arena a = {0};
    struct star_module *m = must_exec(&a, "def f(): return 1\n", NULL);
    star_v f = global(m, "f");
    int64_t best = INT64_MAX;
    for (int k = 0; k < 20; k++) {
        int64_t start = clock_ns();
        for (int i = 0; i < 1000; i++) {
            scoped_arena mine = {0};
            struct star_run *run = star_run_new(&mine, NULL);
            star_run_call(run, f, NULL, 0);
            assert_int_equal(star_run_resume(run), STAR_DONE);
        }
        best = MIN(best, (clock_ns() - start) / 1000);
    }
    print_message("a run from arena to result takes %lld ns\n", (long long)best);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_yields_and_goes_on),
        cmocka_unit_test(one_step_per_slice_changes_nothing),
        cmocka_unit_test(limits_stop_a_program),
        cmocka_unit_test(another_thread_cancels),
        cmocka_unit_test(cancelling_takes_less_than_a_millisecond),
        cmocka_unit_test(a_builtin_waits_and_is_completed),
        cmocka_unit_test(a_wait_may_fail),
        cmocka_unit_test(a_loop_over_a_host_object_ends_it_once),
        cmocka_unit_test(an_iteration_may_wait),
        cmocka_unit_test(ten_thousand_runs_wait_at_once),
        cmocka_unit_test(eight_threads_share_a_frozen_module),
        cmocka_unit_test(eight_threads_compile_at_once),
        cmocka_unit_test(an_error_shows_where_and_how_it_was_reached),
        cmocka_unit_test(start_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
