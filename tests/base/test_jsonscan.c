/* tests/base/test_jsonscan.c: members of JSON text where they stand.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"
#include "jsonscan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Every member as `key=value;`, and "!" if it is no whole object. */
static struct str walk(struct arena *a, struct str text)
{
    scoped_buf out = BUF_INIT(1 << 16);
    struct json_scan s;
    struct str key, value;
    json_scan_open(&s, text);
    while (json_scan_next(&s, &key, &value))
        buf_printf(&out, STR_FMT "=" STR_FMT ";", STR_ARG(key), STR_ARG(value));
    if (!json_scan_end(&s))
        buf_add_z(&out, "!");
    return str_dup(a, buf_str(&out));
}

static const struct { const char *name, *in, *out; } cases[] = {
    {"members of every type", "{\"a\":\"x\",\"b\":-1.5e+3,\"c\":true,\"d\":null,\"e\":[],\"f\":{}}",
     "a=\"x\";b=-1.5e+3;c=true;d=null;e=[];f={};"},
    {"spaces anywhere", " {\n\"a\" : [ 1 , {\"b\" : 2 } ] , \"c\":3 } \t", "a=[ 1 , {\"b\" : 2 } ];c=3;"},
    {"an empty object", "{}", ""},
    {"braces and quotes in strings", "{\"a\":\"}]\\\"{\",\"b\":1}", "a=\"}]\\\"{\";b=1;"},
    {"a surrogate pair", "{\"a\":\"\\ud83d\\ude00\\u00e9\"}", "a=\"\\ud83d\\ude00\\u00e9\";"},
    {"nested both ways", "{\"a\":[[{\"b\":[{}]}],[]],\"c\":0}", "a=[[{\"b\":[{}]}],[]];c=0;"},
    {"nothing", "", "!"},
    {"a list", "[1]", "!"},
    {"cut after the brace", "{", "!"},
    {"cut in a member", "{\"a\":1,\"b\"", "a=1;!"},
    {"a trailing comma", "{\"a\":1,}", "a=1;!"},
    {"a missing comma", "{\"a\":1 \"b\":2}", "a=1;!"},
    {"text after the end", "{\"a\":1} x", "a=1;!"},
    {"a brace for a bracket", "{\"a\":[1}}", "!"},
    {"a control character in a string", "{\"a\":\"x\ny\"}", "!"},
    {"an unknown escape", "{\"a\":\"\\x\"}", "!"},
    {"a lone surrogate", "{\"a\":\"\\ud800x\"}", "!"},
    {"a number with a leading zero", "{\"a\":01}", "!"},
    {"a number that ends in its point", "{\"a\":1.}", "!"},
    {"a word that is none", "{\"a\":nul}", "!"},
    {"a name that is no string", "{a:1}", "!"},
    {"a member without a value", "{\"a\":}", "!"},
};

static void members_are_read_where_they_stand(void **state)
{
    scoped_arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = walk(&a, str_from(cases[i].in));
        if (!str_eq_z(got, cases[i].out))
            fail_msg("%s: wanted %s, got " STR_FMT, cases[i].name, cases[i].out, STR_ARG(got));
    }
}

/* In memory of exactly that size, so that a byte too far is seen. */
static void a_text_cut_anywhere_is_no_object(void **state)
{
    scoped_arena a = {0};
    for (size_t i = 0; i < 6; i++) {
        struct str text = str_trim(str_from(cases[i].in));
        for (size_t n = 0; n < text.len; n++) {
            char *part = xmalloc(MAX(n, 1));
            memcpy(part, text.ptr, n);
            struct str got = walk(&a, str_of(part, n));
            if (got.len == 0 || got.ptr[got.len - 1] != '!')
                fail_msg("%s, %zu bytes: " STR_FMT, cases[i].name, n, STR_ARG(got));
            free(part);
        }
    }
}

static void nesting_is_bounded(void **state)
{
    scoped_arena a = {0};
    for (int depth = JSON_SCAN_DEPTH; depth <= JSON_SCAN_DEPTH + 1; depth++) {
        scoped_buf b = BUF_INIT(1 << 16);
        buf_add_z(&b, "{\"a\":");
        for (int i = 0; i < depth; i++)
            buf_add_char(&b, '[');
        buf_add_char(&b, '1');
        for (int i = 0; i < depth; i++)
            buf_add_char(&b, ']');
        buf_add_char(&b, '}');
        struct str got = walk(&a, buf_str(&b));
        assert_int_equal(got.ptr[got.len - 1] == '!', depth > JSON_SCAN_DEPTH);
    }
}

static void plain_strings_are_told_from_others(void **state)
{
    struct str out = {0};
    assert_true(json_scan_plain(STR("\"none\""), &out) && str_eq(out, STR("none")));
    assert_true(json_scan_plain(STR("\"\""), &out) && out.len == 0);
    assert_false(json_scan_plain(STR("\"a\\n\""), &out));
    assert_false(json_scan_plain(STR("12"), &out));
    assert_false(json_scan_plain(STR("null"), &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_read_where_they_stand),
        cmocka_unit_test(a_text_cut_anywhere_is_no_object),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(plain_strings_are_told_from_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
