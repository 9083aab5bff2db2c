/* tests/app/test_action_report.c: how values are shown.
 * SPDX-License-Identifier: Apache-2.0 */
#include "action_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    const char *name, *values; /* JSON */
    const char *report, *chosen;
    const char *wanted, *refused; /* in the HTML; not in it */
} cases[] = {
    {"nothing", "[]", "AUTO", "AUTO", "No output", NULL},
    {"nothing as a table", "[]", "table", "AUTO", "No output", NULL},
    {"strings", "[\"a<b\", \"</textarea>\"]", "AUTO", "TEXT", "a&lt;b\n&lt;/textarea&gt;\n</textarea>", NULL},
    {"dicts as text", "[{\"a\": 1}]", "TEXT", "TEXT", "{&#34;a&#34;:1}\n", NULL},
    {"simple rows", "[{\"z\": 1, \"a\": \"<\", \"m\": null, \"f\": 1.5, \"b\": true}]", "AUTO", "TABLE",
     "<th scope=\"col\">z</th><th scope=\"col\">a</th><th scope=\"col\">m</th>", NULL},
    {"cells", "[{\"z\": 1, \"a\": \"<\", \"m\": null, \"f\": 1.5, \"b\": true}]", "AUTO", "TABLE",
     "<td class=\"number\">1</td><td>&lt;</td><td></td><td class=\"number\">1.5</td><td>true</td></tr>", NULL},
    {"missing and further cells", "[{\"a\": 1, \"b\": 2}, {\"b\": 3, \"c\": 4}]", "AUTO", "TABLE",
     "<tr><td></td><td class=\"number\">3</td></tr>", "4"},
    {"a nested cell", "[{\"a\": 1}, {\"a\": [1, {}]}]", "AUTO", "TABLE", "<td>[1,{}]</td>", NULL},
    {"a long cell is cut where a character begins",
     "[{\"a\": \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
     "\"}, {\"a\": \"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678\\u00e9\"}]",
     "AUTO", "TABLE",
     "<td>0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789</td></tr>\n"
     "<tr><td>012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678...</td>",
     "\xc3"},
    {"nested rows", "[{\"a\": {\"b\": [1, \"x\"]}}]", "AUTO", "JSON", "data-json=\"{&#34;a&#34;:{&#34;b&#34;:[1,&#34;x&#34;]}}\"", NULL},
    {"a tree", "[{\"a\": {\"b\": [1, \"<\"], \"c\": {}}}]", "AUTO", "JSON",
     "<li><details open><summary><span class=\"key\">a</span> { 2 fields }</summary><ul>", "&#34;<&#34;"},
    {"a tree of strings", "[\"x\"]", "JSON", "JSON", "<span class=\"string\">&#34;x&#34;</span>", NULL},
    {"links", "[{\"url\": \"/f?a=1&b=2\", \"name\": \"a \\\"b\\\"\"}]", "DOWNLOAD", "DOWNLOAD",
     "<a href=\"/f?a=1&amp;b=2\" download=\"a &#34;b&#34;\">a &#34;b&#34;</a>", NULL},
    {"a link without a name", "[{\"url\": \"https://x.example/y\"}]", "DOWNLOAD", "DOWNLOAD", "\">https://x.example/y</a>", NULL},
    {"a link that is a script", "[{\"url\": \"javascript:alert(1)\", \"name\": \"n\"}]", "DOWNLOAD", "DOWNLOAD", "<li>n</li>", "href"},
    {"another", "[{\"url\": \"java\\tscript:alert(1)\"}]", "DOWNLOAD", "DOWNLOAD", "<li>java", "href"},
    {"another yet", "[{\"url\": \" javascript:alert(1)\"}]", "DOWNLOAD", "DOWNLOAD", "<li> java", "href"},
    {"a page in a link", "[{\"url\": \"data:text/html,x\"}]", "DOWNLOAD", "DOWNLOAD", "<li>data:", "href"},
    {"a colon later on", "[{\"url\": \"a/b:c\"}]", "DOWNLOAD", "DOWNLOAD", "href=\"a/b:c\"", NULL},
    {"images", "[{\"url\": \"data:image/png;base64,AA==\", \"name\": \"<p>\"}]", "IMAGE", "IMAGE",
     "src=\"data:image/png;base64,AA==\" alt=\"&lt;p&gt;\"", NULL},
    {"an image that is a page", "[{\"url\": \"data:text/html,x\", \"name\": \"p\"}]", "IMAGE", "IMAGE", "<figcaption>p<", "src"},
};

static void values_are_shown(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        scoped_buf b = BUF_INIT(1 << 20);
        star_v values;
        enum report_kind kind;
        assert_true(star_json_decode(&a, str_from(cases[i].values), &values, &err));
        if (!report_choose(str_from(cases[i].report), values, &kind, &err) || !report_write(&a, kind, values, &b, &err))
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        assert_string_equal(report_name(kind), cases[i].chosen);
        if (!strstr(buf_z(&b), cases[i].wanted) || (cases[i].refused && strstr(buf_z(&b), cases[i].refused)))
            fail_msg("%s: got \"%s\"", cases[i].name, buf_z(&b));
    }
}

static void values_that_cannot_be(void **state)
{
    static const char *const bad[][3] = {
        {"[\"a\", {}]", "AUTO", "all strings or all dicts"}, {"[1]", "AUTO", "all strings or all dicts"},
        {"[\"a\"]", "TABLE", "needs values that are dicts"}, {"[\"a\"]", "IMAGE", "needs values that are dicts"},
        {"[\"a\"]", "my_report", "report my_report needs a template"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        star_v values;
        enum report_kind kind;
        assert_true(star_json_decode(&a, str_from(bad[i][0]), &values, &err));
        assert_false(report_choose(str_from(bad[i][1]), values, &kind, &err));
        if (!strstr(err_msg(&err), bad[i][2]))
            fail_msg("%s: %s", bad[i][2], err_msg(&err));
    }
}

static void deep_and_long_values(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_buf b = BUF_INIT(16 << 20);
    enum report_kind kind;
    star_v deep = star_int(&a, 1), rows = star_list(&a, NULL, 0);
    for (int i = 0; i < 90; i++)
        deep = star_list(&a, &deep, 1);
    star_v row = star_dict(&a, 1);
    assert_true(star_dict_set_z(&a, row, "a", deep) && star_list_append(&a, rows, row));
    assert_true(report_choose(STR("AUTO"), rows, &kind, &err) && report_write(&a, kind, rows, &b, &err));
    assert_true(strstr(buf_z(&b), "[[[[[") != NULL);

    buf_clear(&b);
    rows = star_list(&a, NULL, 0);
    row = star_dict(&a, 1);
    assert_true(star_dict_set_z(&a, row, "a", star_int(&a, 1)));
    for (int i = 0; i < 10003; i++)
        assert_true(star_list_append(&a, rows, row));
    assert_true(report_choose(STR("AUTO"), rows, &kind, &err) && report_write(&a, kind, rows, &b, &err));
    assert_true(strstr(buf_z(&b), "The first 10000 of 10003 are shown.") != NULL);

    scoped_buf little = BUF_INIT(1000);
    assert_false(report_write(&a, kind, rows, &little, &err));
    assert_true(strstr(err_msg(&err), "too large") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_shown),
        cmocka_unit_test(values_that_cannot_be),
        cmocka_unit_test(deep_and_long_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
