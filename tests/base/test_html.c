/* tests/base/test_html.c: escaping for HTML, and templates.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void text_is_escaped_for_html(void **state)
{
    static const struct { const char *name; struct str in; const char *out; } cases[] = {
        {"nothing", STR_INIT(""), ""},
        {"plain text and UTF-8 stay", STR_INIT("caf\xc3\xa9 /x?a=1;\n"), "caf\xc3\xa9 /x?a=1;\n"},
        {"markup", STR_INIT("<b>&amp;</b>"), "&lt;b&gt;&amp;amp;&lt;/b&gt;"},
        {"both kinds of quotes", STR_INIT("\" onload='x'"), "&#34; onload=&#39;x&#39;"},
        {"a NUL byte", STR_INIT("a\0b"), "a\xef\xbf\xbd" "b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_buf b = BUF_INIT(1024);
        bool fits = html_escape(&b, cases[i].in);
        if (!fits || strcmp(buf_z(&b), cases[i].out) != 0)
            fail_msg("%s: wanted '%s', got '%s'", cases[i].name, cases[i].out, buf_z(&b));
    }
}

static void templates_are_filled_with_their_values(void **state)
{
    static const struct { const char *name, *template, *out; } cases[] = {
        {"no values at all", "<p>as it is</p>", "<p>as it is</p>"},
        {"nothing but a value", "{{user}}", "&lt;eve&gt;"},
        {"a raw value is not escaped", "<ul>{{rows}}</ul>", "<ul><li>1</li></ul>"},
        {"a value used twice, one beside the other", "{{user}}{{user}}", "&lt;eve&gt;&lt;eve&gt;"},
        {"an empty value", "<p{{none}}>", "<p>"},
        {"what a value holds is not a template", "{{braces}}, {{rawbraces}}", "{{user}}, {{user}}"},
        {"an end before the beginning", "a }} b {{user}} }}", "a }} b &lt;eve&gt; }}"},
    };
    static const struct html_value values[] = {
        {"user", STR_INIT("<eve>")},
        {"rows", STR_INIT("<li>1</li>"), .is_raw = true},
        {"none", STR_INIT("")},
        {"braces", STR_INIT("{{user}}")},
        {"rawbraces", STR_INIT("{{user}}"), .is_raw = true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_buf b = BUF_INIT(1024);
        bool fits = html_fill(&b, str_from(cases[i].template), values, ARRAY_LEN(values));
        if (!fits || strcmp(buf_z(&b), cases[i].out) != 0)
            fail_msg("%s: wanted '%s', got '%s'", cases[i].name, cases[i].out, buf_z(&b));
    }
}

static void what_does_not_fit_is_told(void **state)
{
    scoped_buf b = BUF_INIT(8);
    assert_true(html_escape(&b, STR("<>")));
    assert_false(html_escape(&b, STR("&")));
    scoped_buf page = BUF_INIT(8);
    assert_false(html_fill(&page, STR("hello {{x}}"), (struct html_value[]){{"x", STR("world")}}, 1));
    assert_true(page.len <= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped_for_html),
        cmocka_unit_test(templates_are_filled_with_their_values),
        cmocka_unit_test(what_does_not_fit_is_told),
    };
    return cmocka_run_group_tests_name("base html", tests, NULL, NULL);
}
