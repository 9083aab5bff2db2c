/* tests/starlark/test_format.c: source in its canonical layout.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LONG_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct {
    const char *name, *in, *out; /* out NULL: as it is */
} table[] = {
    {"nothing", "", ""},
    {"only empty lines", "\n\n  \n", ""},
    {"only a comment", "  # hello  ", "# hello\n"},
    {"blanks around operators", "x=1+2*-3\ny   =  not  a  and b\nz=a<b\n", "x = 1 + 2 * -3\ny = not a and b\nz = a < b\n"},
    {"no blanks inside of brackets", "f( a , b )[ 0 ]\nd = { 'a' : 1 }\n", "f(a, b)[0]\nd = {\"a\": 1}\n"},
    {"named arguments are tight, assignments are not", "f(a = 1, b= 2)\nx=f\n", "f(a=1, b=2)\nx = f\n"},
    {"slices are tight", "a[1 : 2]\na[ : -1]\na[x : y : 2]\n", "a[1:2]\na[:-1]\na[x:y:2]\n"},
    {"lambdas", "f=lambda x,y = 1 : x\ng = lambda : 0\n", "f = lambda x, y=1: x\ng = lambda: 0\n"},
    {"a dot behind a number", "x = 1 .y\n", NULL},
    {"words and brackets", "return_value=not(a)\nx = b if(c)else d\nfor i in[1]:pass\n",
     "return_value = not (a)\nx = b if (c) else d\nfor i in [1]: pass\n"},
    {"stars", "f( * a, ** b )\ndef g( * , c): pass\ndef h( * a , ** b ) : pass\n",
     "f(*a, **b)\n\ndef g(*, c): pass\n\ndef h(*a, **b): pass\n"},
    {"double quotes", "x = 'a' + 'it\\'s' + 'say \"hi\"' + r'a' + r'a\\b' + b'c' + '''t''' + '\\n'\n",
     "x = \"a\" + \"it's\" + 'say \"hi\"' + r\"a\" + r'a\\b' + b\"c\" + \"\"\"t\"\"\" + \"\\n\"\n"},
    {"line ends", "x = '''a\r\nb'''\r\ny = 1\r", "x = \"\"\"a\nb\"\"\"\ny = 1\n"},
    {"indentation", "def f():\n  if x:\n\treturn 1\n  else:\n        return 2\n",
     "def f():\n    if x:\n        return 1\n    else:\n        return 2\n"},
    {"statements on one line stay there", "x=1;y=2\nif x:return\n", "x = 1; y = 2\nif x: return\n"},
    {"a backslash stays outside of brackets, and goes inside", "x = 1 + \\\n  2\ny = f(1, \\\n 2)\n",
     "x = 1 + \\\n    2\ny = f(1, 2)\n"},
    {"functions are set apart", "load('a', 'b')\ndef f():\n    pass\ndef g():\n    pass\nx = 1\n",
     "load(\"a\", \"b\")\n\ndef f():\n    pass\n\ndef g():\n    pass\n\nx = 1\n"},
    {"a comment belongs to its function", "x = 1\n# of f\n# too\ndef f():\n    pass\n",
     "x = 1\n\n# of f\n# too\ndef f():\n    pass\n"},
    {"at most two empty lines in the file, one in a block", "x = 1\n\n\n\n\ny = 2\ndef f():\n\n\n    a\n\n\n    b\n",
     "x = 1\n\n\ny = 2\n\ndef f():\n    a\n\n    b\n"},
    {"comments behind statements", "x = 1# one\nif x:   # two\n    y  # three\n",
     "x = 1  # one\nif x:  # two\n    y  # three\n"},
    {"comments at the end of a block, by their column",
     "def f():\n  if x:\n    a\n    # inner\n  # outer\n# file\ny = 1\n  # odd\n",
     "def f():\n    if x:\n        a\n        # inner\n    # outer\n\n# file\ny = 1\n# odd\n"},
    {"a comment at the end of the file, in a block", "def f():\n  a\n  # still f\n", "def f():\n    a\n    # still f\n"},
    {"a comment at the end of the file, behind a function", "def f():\n  a\n# end\n\n", "def f():\n    a\n\n# end\n"},
    {"a comment at the start of a block", "def f():\n\n# first\n  a\n", "def f():\n    # first\n    a\n"},
    {"a break behind the bracket stays", "x = [\n1, 2]\ny = [1,\n 2]\nf(\na)\n",
     "x = [\n    1,\n    2,\n]\ny = [1, 2]\nf(\n    a,\n)\n"},
    {"a comma at the end goes on one line", "f(a,)\nx = [1, 2,]\nd = {1: 2,}\nt = (1, 2,)\ns = (1,)\n",
     "f(a)\nx = [1, 2]\nd = {1: 2}\nt = (1, 2)\ns = (1,)\n"},
    {"what is too long for a line", "x = f(\"" LONG_A "\", \"" LONG_B "\")\n",
     "x = f(\n    \"" LONG_A "\",\n    \"" LONG_B "\",\n)\n"},
    {"a long dict at the end of a call", "x = f(1, {\"a\": \"" LONG_A "\", \"b\": \"" LONG_B "\"})\n",
     "x = f(1, {\n    \"a\": \"" LONG_A "\",\n    \"b\": \"" LONG_B "\",\n})\n"},
    {"a call in a call", "x = f(a.g(\"" LONG_A "\", \"" LONG_B "\"))\n",
     "x = f(a.g(\n    \"" LONG_A "\",\n    \"" LONG_B "\",\n))\n"},
    {"parameters", "def f(" LONG_A ", " LONG_B ", *, c): pass\n",
     "def f(\n    " LONG_A ",\n    " LONG_B ",\n    *,\n    c,\n): pass\n"},
    {"a lone star at the end takes no comma", "def f(\na, *): pass\n", "def f(\n    a,\n    *\n): pass\n"},
    {"a tuple of one in lines", "x = (\n1,)\n", "x = (\n    1,\n)\n"},
    {"brackets around an expression take no comma", "x = (" LONG_A " +\n  " LONG_B ")\ny = (\n1)\n",
     "x = (\n    " LONG_A " +\n    " LONG_B "\n)\ny = (1)\n"},
    {"comprehensions", "x = [" LONG_A " for a, b in " LONG_B " if a if b]\ny = {k: v for k, v in z}\n",
     "x = [\n    " LONG_A "\n    for a, b in " LONG_B "\n    if a\n    if b\n]\ny = {k: v for k, v in z}\n"},
    {"a conditional before a comprehension's clauses", "x = [" LONG_A " if a else b for a in " LONG_B "]\n",
     "x = [\n    " LONG_A " if a else b\n    for a in " LONG_B "\n]\n"},
    {"an index", "x[" LONG_A ", " LONG_B "]\n", "x[\n    " LONG_A ", " LONG_B "\n]\n"},
    {"comments in brackets",
     "x = [ # open\n  # first\n  1, # one\n\n\n  # second\n  2 # two\n  # last\n]  # closed\n",
     "x = [  # open\n    # first\n    1,  # one\n\n    # second\n    2,  # two\n    # last\n]  # closed\n"},
    {"comments in odd places", "f(a # of a\n  , # of the comma\n  b\n  # before the comma\n  , c +# of plus\n d)\n",
     "f(\n    a,  # of a\n    # of the comma\n    b,\n    # before the comma\n    c +  # of plus\n        d,\n)\n"},
    {"a comment alone in brackets", "x = [\n# none\n]\n", "x = [\n    # none\n]\n"},
    {"app() of an apply file", "app('/x','-',spec='static',params={'a':'b'})\n",
     "app(\"/x\",\n    \"-\",\n    spec=\"static\",\n    params={\"a\": \"b\"})\n"},
    {"its long dicts", "app(path='/x', params={'a': '" LONG_A "', 'b': '" LONG_B "'}, verify=True,)\n",
     "app(path=\"/x\",\n    params={\n        \"a\": \"" LONG_A "\",\n        \"b\": \"" LONG_B "\",\n    },\n    verify=True)\n"},
    {"several of them, and comments", "app('/x', 'a') # x\n# of y\napp('/y', # why\n  # b\n  'b')\nbinding('/b', 'c')\n",
     "app(\"/x\",\n    \"a\")  # x\n\n# of y\napp(\"/y\",  # why\n    # b\n    \"b\")\n\nbinding(\"/b\",\n    \"c\")\n"},
    {"a comment at the end of app()", "app('/x',\n  'a', # last\n)\n", "app(\n    \"/x\",\n    \"a\",  # last\n)\n"},
    {"ace.app", "app = ace.app('x',routes=[ace.api('/')],\n settings={})\napp = ace.app('y')\n",
     "app = ace.app(\"x\",\n    routes=[ace.api(\"/\")],\n    settings={})\napp = ace.app(\"y\")\n"},
    {"other things called app", "x.app(1, 2)\nx.ace.app(1, 2)\ndef app(a, b): pass\nf(app(1, 2))\n",
     "x.app(1, 2)\nx.ace.app(1, 2)\n\ndef app(a, b): pass\n\nf(app(1, 2))\n"},
    {"text of several lines", "x = f(\"\"\"a\n  b\"\"\", 1)\n", NULL},
    {"letters of any language", "gr\xc3\xb6\xc3\x9f" "e='\xe2\x82\xac' # \xe2\x82\xac\n",
     "gr\xc3\xb6\xc3\x9f" "e = \"\xe2\x82\xac\"  # \xe2\x82\xac\n"},
};

static struct str must_format(struct arena *a, const char *name, struct str in)
{
    scoped_err err = {0};
    struct str out;
    if (!star_fmt(a, STR("x.star"), in, &out, &err))
        fail_msg("%s: %s", name, err_msg(&err));
    return out;
}

static void each_layout_is_as_written_here(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        scoped_arena a = {0};
        struct str want = str_from(table[i].out ? table[i].out : table[i].in);
        struct str got = must_format(&a, table[i].name, str_from(table[i].in));
        if (!str_eq(got, want))
            fail_msg("%s:\n---- want\n" STR_FMT "---- got\n" STR_FMT, table[i].name, STR_ARG(want), STR_ARG(got));
        struct str again = must_format(&a, table[i].name, got);
        if (!str_eq(again, got))
            fail_msg("%s: formatted twice:\n" STR_FMT, table[i].name, STR_ARG(again));
    }
}

static void files_of_the_project_keep_their_layout_the_second_time(void **state)
{
    static const char *const patterns[] = {"tests/starlark/conformance/*.star", "specs/*/*.star", "examples/*/*.star"};
    size_t n = 0;
    for (size_t p = 0; p < ARRAY_LEN(patterns); p++) {
        glob_t g;
        if (glob(patterns[p], 0, NULL, &g) != 0)
            continue;
        for (size_t i = 0; i < g.gl_pathc; i++) {
            scoped_arena a = {0};
            scoped_err err = {0};
            struct str text, rest, chunk;
            assert_true(fs_read_all(&a, str_from(g.gl_pathv[i]), 1 << 20, &text, &err));
            /* Conformance files are chunks between lines of dashes, some with errors on purpose. */
            for (rest = text; rest.len > 0;) {
                size_t at = str_find(rest, STR("\n---\n"));
                chunk = str_slice(rest, 0, MIN(at, rest.len));
                rest = at == STR_NPOS ? (struct str){0} : str_from_off(rest, at + 5);
                struct str once, twice;
                err_release(&err);
                if (!star_fmt(&a, STR("x"), chunk, &once, &err)) {
                    assert_int_equal(err.code, ERR_INVALID);
                    continue;
                }
                n++;
                if (!star_fmt(&a, STR("x"), once, &twice, &err) || !str_eq(once, twice))
                    fail_msg("%s: %s\n" STR_FMT, g.gl_pathv[i], err_msg(&err), STR_ARG(twice));
            }
        }
        globfree(&g);
    }
    assert_true(n > 50);
}

static void what_does_not_parse_is_refused(void **state)
{
    static const struct {
        const char *in, *message;
    } wrong[] = {{"x = (", "f.star:1:6: "}, {"\n  x = 1 1\n", "f.star:2:"}, {"x = 'a", "unexpected EOF in string"}, {"def f():\n", "f.star:"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct str out = STR("untouched");
        assert_false(star_fmt(&a, STR("f.star"), str_from(wrong[i].in), &out, &err));
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err_msg(&err), wrong[i].message))
            fail_msg("%s: %s", wrong[i].in, err_msg(&err));
        assert_string_equal(out.ptr, "untouched");
    }
}

/* Text that some of the steps might go through again and again: in seconds only if none does. */
static void large_and_deep_files_take_no_time(void **state)
{
    static const struct {
        const char *before, *part, *after;
        int n;
    } big[] = {
        {"x = ", "f(a) + ", "1\n", 100000},
        {"x = [", "{1: (2, 3)}, ", "]\n", 50000},
        {"x = ", "f(1, [", "", 120}, /* and as many closing ones */
        {"f(", "a = [1], ", "b = 1)\n", 50000},
        {"", "def f(): # c\n  # d\n  pass\n", "", 20000},
        {"x = f", "(1)[2].y", "\n", 50000},
        {"x = 1", " + \\\n 1", "\n", 50000},
    };
    for (size_t i = 0; i < ARRAY_LEN(big); i++) {
        scoped_arena a = {0};
        scoped_buf text = BUF_INIT(4 << 20);
        buf_add_z(&text, big[i].before);
        for (int k = 0; k < big[i].n; k++)
            buf_add_z(&text, big[i].part);
        for (int k = 0; i == 2 && k < big[i].n; k++)
            buf_add_z(&text, "])");
        buf_add_z(&text, big[i].after);
        struct str once = must_format(&a, big[i].part, buf_str(&text));
        assert_true(str_eq(must_format(&a, big[i].part, once), once));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_layout_is_as_written_here),
        cmocka_unit_test(files_of_the_project_keep_their_layout_the_second_time),
        cmocka_unit_test(what_does_not_parse_is_refused),
        cmocka_unit_test(large_and_deep_files_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
