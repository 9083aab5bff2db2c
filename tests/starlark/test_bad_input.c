/* tests/starlark/test_bad_input.c: hostile sources and programs end in a clear error on a 512 KiB stack.
 * SPDX-License-Identifier: Apache-2.0 */
#include "star_test.h"

#include <pthread.h>

/* `before` + n times `repeat` + `middle` + n times `after` + `end`. */
struct bad {
    const char *name;
    const char *before, *repeat;
    size_t n;
    const char *middle, *after, *end;
    const char *want;   /* of the message; NULL: it works */
};

static const struct bad cases[] = {
    {"empty source", "", "", 0, "", "", "", NULL},
    {"only a comment without a line end", "# x", "", 0, "", "", "", NULL},
    {"a byte order mark", "\xEF\xBB\xBFx = 1\n", "", 0, "", "", "", "1:1: unexpected input character '\\ufeff'"},
    {"CRLF line ends", "x = 1\r\nif x == 1:\r\n  y = '''a\r\nb'''\r\nif y != 'a\\nb': fail(y)\r\n", "", 0, "", "", "", NULL},
    {"CR line ends", "x = 1\rif x == 1:\r  y = 2\r", "", 0, "", "", "", NULL},
    {"tabs mixed with spaces", "def f():\n\tx = 1\n        y = 2\n    z = 3\n", "", 0, "", "", "", "4:5: unindent does not match"},
    {"invalid UTF-8 in a string", "if len('\xff\xfe') != 2: fail()\n", "", 0, "", "", "", NULL},
    {"invalid UTF-8 outside", "x = \xff\n", "", 0, "", "", "", "1:5: unexpected input character"},
    {"a NUL byte", "x = 1\n@y", "", 0, "", "", "", "2:1: unexpected input character '\\x00'"},
    {"a line of 10 MB", "x = '", "a", 10000000, "'\nif len(x) != 10000000: fail()\n", "", "", NULL},
    {"an expression of a million terms", "x = ", "1 + ", 1000000, "1\nif x != 1000001: fail()\n", "", "", NULL},
    {"a hundred thousand brackets", "x = ", "[", 100000, "", "]", "", "excessive nesting"},
    {"a hundred thousand parentheses", "x = ", "(", 100000, "1", ")", "", "excessive nesting"},
    {"a hundred thousand braces", "x = ", "{1: ", 100000, "1", "}", "", "excessive nesting"},
    {"240 brackets", "x = ", "[", 240, "", "]", "\n", NULL},
    {"open brackets to the end", "x = ", "(", 200, "", "", "", "got end of file, want primary expression"},
    {"a hundred thousand signs", "x = ", "-", 100000, "1", "", "", "excessive nesting"},
    {"a hundred thousand nots", "x = ", "not ", 100000, "1", "", "", "excessive nesting"},
    {"a hundred thousand lambdas", "x = ", "lambda: ", 100000, "1", "", "", "excessive nesting"},
    {"a hundred thousand conditions", "x = ", "1 if 0 else ", 100000, "2", "", "", "excessive nesting"},
    {"a hundred thousand ors", "x = ", "0 or ", 100000, "2\nif x != 2: fail()\n", "", "", NULL},
    {"a hundred thousand calls in a chain", "def f(): return f\nx = f", "()", 100000, "\n", "", "", NULL},
    {"a hundred thousand attributes in a chain", "x = [0]", ".x", 100000, "\n", "", "", "list has no .x field or method"},
    {"ten thousand elifs", "def f(x):\n  if x: return 1\n", "  elif x == 2: return 3\n", 10000, "f(0)\n", "", "", NULL},
    {"an unterminated string", "x = 'abc\n", "", 0, "", "", "", "1:5: unexpected newline in string"},
    {"an unterminated long string", "x = '''abc\n\n", "", 0, "", "", "", "1:5: unexpected EOF in string"},
    {"an unterminated escape", "x = 'abc\\", "", 0, "", "", "", "unexpected EOF in string"},
    {"load of a missing file", "load('missing.star', 'x')\n", "", 0, "", "", "", "cannot load missing.star: no such module"},
    {"an integer of a million digits", "x = ", "7", 1000000, "\nif len(str(x)) != 1000000: fail()\n", "", "", NULL},
    {"a repeat count beyond all bounds", "x = 'x' * (1 << 40)\n", "", 0, "", "", "", "repeat count 1099511627776 too large"},
    {"a huge repeat", "x = 'x' * (1 << 30)\n", "", 0, "", "", "", "excessive repeat (1 * 1073741824 elements)"},
    {"a repeat beyond the cap", "x = 'x' * (1 << 29)\n", "", 0, "", "", "", "memory limit exceeded"},
    {"a list repeat beyond the cap", "x = [0] * (1 << 29)\n", "", 0, "", "", "", "memory limit exceeded"},
    {"range beyond 64 bits", "range(1 << 64)\n", "", 0, "", "", "", "range: for parameter 1: 18446744073709551616 out of range"},
    {"a huge range", "if len(range(0, 1 << 62, 2)) != 1 << 61: fail()\nfor i in range(-(1 << 63), 1 << 62, 1 << 61): x = i\n", "", 0, "", "", "", NULL},
    {"a list that grows to the cap", "l = []\nwhile True: l += [1] * 1000\n", "", 0, "", "", "", "memory limit exceeded"},
    {"deep data printed", "x = []\nfor i in range(100000): x = [x]\nstr(x)\n", "", 0, "", "", "", "nested too deep"},
    {"deep data compared", "x = []\ny = []\nfor i in range(100000):\n  x = [x]\n  y = [y]\nx == y\n", "", 0, "", "", "", "comparison exceeded maximum recursion depth"},
    {"deep data ordered", "x = []\ny = []\nfor i in range(100000):\n  x = [x]\n  y = [y]\nx < y\n", "", 0, "", "", "", "comparison exceeded maximum recursion depth"},
    {"deep data hashed", "x = ()\nfor i in range(100000): x = (x,)\n{x: 1}\n", "", 0, "", "", "", "hash exceeded maximum recursion depth"},
    {"deep data in JSON", "x = []\nfor i in range(100000): x = [x]\njson.encode(x)\n", "", 0, "", "", "", "nesting depth limit exceeded"},
    {"deep JSON", "json.decode('[' * 1000000)\n", "", 0, "", "", "", "nesting depth limit exceeded"},
    {"deep data frozen", "x = []\nfor i in range(1000000): x = [x]\n", "", 0, "", "", "", NULL},
    {"data that shares its parts compared", "x = []\ny = []\nfor i in range(300):\n  x = [x, x]\n  y = [y, y]\nx == y\n", "", 0, "", "", "", "step limit exceeded"},
    {"data that shares its parts hashed", "x = ()\nfor i in range(300): x = (x, x)\n{x: 1}\n", "", 0, "", "", "", "step limit exceeded"},
    {"data that shares its parts printed", "x = ()\nfor i in range(300): x = (x, x)\nstr(x)\n", "", 0, "", "", "", "limit exceeded"},
    {"ninety thousand calls deep", "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nif f(90000) != 90000: fail()\n", "", 0, "", "", "", NULL},
    {"calls without end", "def f(n): return f(n)\nf(1)\n", "", 0, "", "", "", "Starlark stack overflow"},
    {"keys without end", "def f(x): return sorted([1], key = f)\nf(1)\n", "", 0, "", "", "", "Starlark stack overflow"},
    {"a join beyond the cap", "x = 'a' * 100000\nx.join([x] * 10000)\n", "", 0, "", "", "", "memory limit exceeded"},
    {"a replace beyond the cap", "x = 'a' * 100000\nx.replace('a', x)\n", "", 0, "", "", "", "memory limit exceeded"},
    {"a format beyond the cap", "x = 'a' * 1000000\n('%s' * 1000) % tuple([x] * 1000)\n", "", 0, "", "", "", "memory limit exceeded"},
    {"an int beyond the cap", "x = 3\nwhile True: x *= x\n", "", 0, "", "", "", "limit exceeded"},
    {"seventy thousand locals", "def f():\n", "  a@ = 1\n", 70000, "f()\n", "", "", "function is too large"},
    {"a display of a hundred thousand", "x = [", "1, ", 100000, "]\nif len(x) != 100000: fail()\n", "", "", NULL},
    {"a tuple of a hundred thousand", "x = (", "1, ", 100000, ")\nif len(x) != 100000: fail()\n", "", "", NULL},
    {"a thousand keyword arguments", "def f(**k): return len(k)\nif f(", "a@ = 1, ", 1000, ") != 1000: fail()\n", "", "", NULL},
};

/* '@' in the repeated part is the number of the repetition; in `before`, a NUL byte. */
static struct str build(struct arena *a, const struct bad *b)
{
    scoped_buf out = BUF_INIT(64 << 20);
    for (const char *p = b->before; *p; p++)
        buf_add_char(&out, *p == '@' ? 0 : *p);
    for (size_t i = 0; i < b->n; i++) {
        const char *at = strchr(b->repeat, '@');
        if (at)
            buf_printf(&out, "%.*s%zu%s", (int)(at - b->repeat), b->repeat, i, at + 1);
        else
            buf_add_z(&out, b->repeat);
    }
    buf_add_z(&out, b->middle);
    for (size_t i = 0; i < b->n && b->after[0]; i++)
        buf_add_z(&out, b->after);
    buf_add_z(&out, b->end);
    return str_dup(a, buf_str(&out));
}

static struct star_module *no_module(void *ctx, struct star_run *run, struct str name, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "no such module");
    return NULL;
}
static void setup(struct star_run *run, void *ctx)
{
    star_run_set_loader(run, no_module, NULL);
}

static void *run_case(void *arg)
{
    const struct bad *b = arg;
    scoped_arena src = {0}, a = {0};
    scoped_err err = {0};
    struct star_binding libs[] = {{"json", star_lib_json()}};
    struct star_env env = {libs, 1};
    struct star_limits limits = {.steps = 30000000};
    arena_init(&a, (size_t)300 << 20);
    struct str text = build(&src, b);
    struct star_program *p = star_compile(&src, STR("t"), text, &all_options, &env, &err);
    if (p)
        star_exec(&a, p, &env, &limits, setup, NULL, &err);
    bool ok = b->want ? strstr(err_msg(&err), b->want) != NULL : !err_is_set(&err);
    if (!ok)
        fprintf(stderr, "%s: got \"%.300s\", want \"%s\"\n", b->name, err_msg(&err), b->want ? b->want : "");
    return (void *)(intptr_t)ok;
}

static void each_ends_in_its_message(void **state)
{
    pthread_attr_t attr;
    bool all = true;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, 512 << 10), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pthread_t t;
        void *ok;
        assert_int_equal(pthread_create(&t, &attr, run_case, (void *)&cases[i]), 0);
        pthread_join(t, &ok);
        all = all && ok;
    }
    pthread_attr_destroy(&attr);
    assert_true(all);
}

/* ---- cycles of loads ---- */

struct files {
    struct arena *a;
    struct star_cache *cache;
};
static struct star_module *load_file(void *ctx, struct star_run *run, struct str name, struct err *err);
static void setup_files(struct star_run *run, void *ctx)
{
    star_run_set_loader(run, load_file, ctx);
}
static struct star_module *load_file(void *ctx, struct star_run *run, struct str name, struct err *err)
{
    struct files *f = ctx;
    struct star_module *m;
    switch (star_cache_begin(f->cache, name, &m, err)) {
    case STAR_CACHE_HIT: return m;
    case STAR_CACHE_FAIL: return NULL;
    case STAR_CACHE_NEW: break;
    }
    struct str src = str_eq_z(name, "self.star") ? STR("load('self.star', 'x')\n")
                     : str_eq_z(name, "a.star")  ? STR("load('b.star', 'y')\nx = 1\n")
                     : str_eq_z(name, "b.star")  ? STR("load('a.star', 'x')\ny = 1\n")
                                                 : STR("z = 1\n_hidden = 2\n");
    struct star_program *p = star_compile(f->a, name, src, &star_options_app, NULL, err);
    m = p ? star_exec(f->a, p, NULL, NULL, setup_files, f, err) : NULL;
    star_cache_end(f->cache, name, m, err);
    return m;
}

static void cycles_of_loads_are_noticed(void **state)
{
    static const struct {
        const char *file, *want;
    } table[] = {
        {"self.star", "cycle in starlark load graph during load of self.star"},
        {"a.star", "cycle in starlark load graph during load of a.star"},
        {"fine.star", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct files f = {&a, star_cache_new(&a)};
        struct star_module *m = load_file(&f, NULL, str_from(table[i].file), &err);
        assert_int_equal(m != NULL, table[i].want == NULL);
        if (table[i].want && !strstr(err_msg(&err), table[i].want))
            fail_msg("%s: got %s", table[i].file, err_msg(&err));
    }
}

static void check_reports_every_error_in_order(void **state)
{
    scoped_arena a = {0};
    struct star_error_list errors = {0};
    const char *src = "x = a\ndef f():\n  return b + c\nx = 2\nbreak\n";
    assert_false(star_check(&a, STR("f.star"), str_from(src), &star_options_app, NULL, &errors));
    static const struct {
        int line, col;
        const char *msg;
    } want[] = {
        {1, 5, "undefined: a"}, {3, 10, "undefined: b"}, {3, 14, "undefined: c"},
        {4, 1, "cannot reassign global x declared at f.star:1:1"}, {5, 1, "break not in a loop"},
    };
    assert_int_equal(errors.len, ARRAY_LEN(want));
    for (size_t i = 0; i < errors.len; i++) {
        assert_int_equal(errors.items[i].line, want[i].line);
        assert_int_equal(errors.items[i].col, want[i].col);
        assert_string_equal(str_z(&a, errors.items[i].msg), want[i].msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_ends_in_its_message),
        cmocka_unit_test(cycles_of_loads_are_noticed),
        cmocka_unit_test(check_reports_every_error_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
