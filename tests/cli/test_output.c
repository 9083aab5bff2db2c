/* tests/cli/test_output.c: each list in each format, byte for byte.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const char apps[] =
    "[{\"id\":\"app_prd_1\",\"path\":\"/one\",\"domain\":\"\",\"source_url\":\"/src/one\",\"staged_changes\":true,"
    "\"settings\":{\"webhook_tokens\":{\"reload\":\"cl_tkn_secret\"}},"
    "\"metadata\":{\"name\":\"Caf\xc3\xa9\",\"version_metadata\":{\"version\":3,\"git_branch\":\"main\","
    "\"git_commit\":\"0123456789abcdef0123456789abcdef01234567\"},\"spec\":\"python-flask\",\"authn_type\":\"none\","
    "\"param_values\":{\"b\":\"2\",\"a\":\"1\"},\"spec_files\":{\"z\":\"YQ==\",\"y\":\"Yg==\"}},\"unknown\":1},"
    "{\"id\":\"app_dev_2\",\"path\":\"/two\",\"domain\":\"example.com\",\"is_dev\":true,"
    "\"metadata\":{\"name\":\"a, \\\"b\\\"\\u001b[31m\",\"authn_type\":\"github\"}}]";

static const char app_json_tail[] =
    "\"container_options\":{},\"container_args\":{},\"container_volumes\":[],\"appconfig\":{}";

static const char versions[] =
    "[{\"Active\":false,\"Version\":1,\"PreviousVersion\":0,\"CreateTime\":\"2024-03-01T19:59:27Z\","
    "\"Metadata\":{\"version_metadata\":{\"git_commit\":\"0123456789abcdef0123456789\",\"git_message\":\"First\\n\\nbody\"}}},"
    "{\"Active\":true,\"Version\":2,\"PreviousVersion\":1,\"CreateTime\":\"2024-03-02T19:59:27.25+01:00\","
    "\"Metadata\":{\"version_metadata\":{\"git_commit\":\"abc\",\"git_message\":\"say \\\"hi\\\"\"}}}]";

static const char files[] = "[{\"Name\":\"app.star\",\"Etag\":\"abcd\",\"Size\":12},{\"Name\":\"x,y\",\"Size\":1234567890}]";

static const struct {
    const char *name;
    const struct listing *listing;
    const char *rows;
    enum format format;
    const char *want;
} cases[] = {
    {"apps, csv", &listing_apps, apps, FORMAT_CSV,
     "\"Caf\xc3\xa9\",app_prd_1,PROD*,3,NONE,main,\"/one\",\"/src/one\", python-flask, main, "
     "\"0123456789abcdef0123456789abcdef01234567\"\n"
     "\"a, \"\"b\"\"\x1b[31m\",app_dev_2,DEV,0,github,,\"example.com:/two\",\"\", , , \"\"\n"},
    {"apps, json, none", &listing_apps, "[]", FORMAT_JSON, "[]\n"},
    {"no array at all", &listing_apps, "{\"a\":1}", FORMAT_JSON, "[]\n"},
    {"apps, jsonl, none", &listing_apps, "[]", FORMAT_JSONL, ""},
    {"versions, csv", &listing_versions, versions, FORMAT_CSV,
     "false,1,0,\"2024-03-01 19:59:27 +0000 UTC\",0123456789abcdef0123456789,\"First\n\nbody\"\n"
     "true,2,1,\"2024-03-02 18:59:27.25 +0000 UTC\",abc,\"say \"\"hi\"\"\"\n"},
    {"files, csv", &listing_files, files, FORMAT_CSV, "12,abcd,\"app.star\"\n1234567890,,\"x,y\"\n"},
    {"files, json", &listing_files, files, FORMAT_JSON,
     "[\n  {\n    \"Name\": \"app.star\",\n    \"Etag\": \"abcd\",\n    \"Size\": 12\n  },\n"
     "  {\n    \"Name\": \"x,y\",\n    \"Etag\": \"\",\n    \"Size\": 1234567890\n  }\n]\n"},
    {"files, jsonl", &listing_files, files, FORMAT_JSONL,
     "{\"Name\":\"app.star\",\"Etag\":\"abcd\",\"Size\":12}\n{\"Name\":\"x,y\",\"Etag\":\"\",\"Size\":1234567890}\n"},
    {"files, jsonl_pretty", &listing_files, files, FORMAT_JSONL_PRETTY,
     "{\n  \"Name\": \"app.star\",\n  \"Etag\": \"abcd\",\n  \"Size\": 12\n}\n\n"
     "{\n  \"Name\": \"x,y\",\n  \"Etag\": \"\",\n  \"Size\": 1234567890\n}\n\n"},
};

/* What printing `rows` gives; freed by the caller. */
static char *print(const struct listing *l, const char *rows, enum format format, bool reveal)
{
    scoped_err err = {0};
    scoped_json *j = json_parse(str_from(rows), &err);
    if (!j)
        fail_msg("%s", err_msg(&err));
    char *text = NULL;
    size_t len = 0;
    struct cli c = {.out = open_memstream(&text, &len)};
    print_list(&c, l, j, format, reveal);
    fclose(c.out);
    return text;
}

static void lists_print_as_specified(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *got = print(cases[i].listing, cases[i].rows, cases[i].format, false);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s\nwant:\n%s|\ngot:\n%s|", cases[i].name, cases[i].want, got);
        free(got);
    }
}

/* The formats of docs/cli.md. printf pads bytes, so the name with a two-byte letter gets one more. */
static void tables_have_the_specified_widths(void **state)
{
    scoped_arena a = {0};
    struct str basic = str_printf(&a, "%-30s %-5s %4s %-7s %s\n", "Name", "Type", "Ver", "Auth", "AppPath");
    const struct { const char *name; const struct listing *listing; const char *rows; enum format format; struct str want; }
    tables[] = {
        {"no apps, basic", &listing_apps, "[]", FORMAT_BASIC, basic},
        {"apps, basic", &listing_apps, apps, FORMAT_BASIC,
         str_printf(&a, STR_FMT "%-31s %-5s %4d %-7s %s\n%-30s %-5s %4d %-7s %s\n", STR_ARG(basic), "Caf\xc3\xa9", "PROD*", 3,
                    "NONE", "/one", "a, \"b\" [31m", "DEV", 0, "github", "example.com:/two")},
        {"apps, table", &listing_apps, apps, FORMAT_TABLE,
         str_printf(&a, "%-30s %-35s %-5s %-7s %-15s %-60s %-40s %-30s %-30s\n"
                        "%-31s %-35s %-5s %7d %-15s %-60s %-40s %-30s %-30s\n"
                        "%-30s %-35s %-5s %7d %-15s %-60s %-40s %-30s %-30s\n",
                    "Name", "Id", "Type", "Version", "Auth", "AppPath", "SourceUrl", "Spec", "GitInfo",
                    "Caf\xc3\xa9", "app_prd_1", "PROD*", 3, "NONE", "/one", "/src/one", "python-flask",
                    "main:0123456789abcdef0123",
                    "a, \"b\" [31m", "app_dev_2", "DEV", 0, "github", "example.com:/two", "", "", "")},
        {"versions, basic", &listing_versions, versions, FORMAT_BASIC,
         str_printf(&a, "%6s %8s %8s %-20s\n%6s %8d %8d %.20s\n%6s %8d %8d %.20s\n", "Active", "Version", "Previous",
                    "GitCommit", "", 1, 0, "0123456789abcdef0123456789", "=====>", 2, 1, "abc")},
        {"versions, table", &listing_versions, versions, FORMAT_TABLE,
         str_printf(&a, "%6s %8s %8s %-30s %-20s %-40s\n%6s %8d %8d %-30s %-20.20s %-40s\n%6s %8d %8d %-30s %-20.20s %-40s\n",
                    "Active", "Version", "Previous", "CreateTime", "GitCommit", "GitMessage",
                    "", 1, 0, "2024-03-01 19:59:27 +0000 UTC", "0123456789abcdef0123456789", "First",
                    "=====>", 2, 1, "2024-03-02 18:59:27.25 +0000 UTC", "abc", "say \"hi\"")},
        {"files, basic", &listing_files, files, FORMAT_BASIC,
         str_printf(&a, "%7s %-64s %-50s\n%7d %-64s %-50s\n%7d %-64s %-50s\n", "Size", "Etag", "Path", 12, "abcd",
                    "app.star", 1234567890, "", "x,y")},
    };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char *got = print(tables[i].listing, tables[i].rows, tables[i].format, false);
        if (!str_eq_z(tables[i].want, got))
            fail_msg("%s\nwant:\n" STR_FMT "|\ngot:\n%s|", tables[i].name, STR_ARG(tables[i].want), got);
        free(got);
    }
}

static void an_app_record_has_every_member_in_order(void **state)
{
    static const char want[] =
        "{\"id\":\"\",\"path\":\"/p\",\"domain\":\"\",\"main_app\":\"\",\"linked_app_path\":\"\",\"source_url\":\"\","
        "\"is_dev\":false,\"user_id\":\"\",\"create_time\":\"0001-01-01T00:00:00Z\","
        "\"update_time\":\"0001-01-01T00:00:00Z\",\"settings\":{\"authn_type\":\"\",\"git_auth_name\":\"\","
        "\"stage_write_access\":false,\"preview_write_access\":false,\"webhook_tokens\":{\"reload\":\"\","
        "\"reload_promote\":\"\",\"promote\":\"\"},\"orig_source_url\":\"\"},\"metadata\":{\"name\":\"\","
        "\"version_metadata\":{\"version\":0,\"previous_version\":0,\"git_branch\":\"\",\"git_commit\":\"\","
        "\"git_message\":\"\",\"apply_info\":\"\",\"applied_sync_id\":\"\"},\"loads\":[],\"permissions\":[],"
        "\"accounts\":[],\"param_values\":{},\"spec\":\"\",\"spec_files\":null,%s,\"authn_type\":\"\","
        "\"git_auth_name\":\"\",\"bindings\":[],\"applied_sync_id\":\"\"},\"staged_changes\":false}\n";
    scoped_arena a = {0};
    char *got = print(&listing_apps, "[{\"path\":\"/p\",\"id\":7,\"metadata\":\"odd\"}]", FORMAT_JSONL, false);
    assert_string_equal(got, str_printf(&a, "%.*s%s%s", (int)(strstr(want, "%s") - want), want, app_json_tail,
                                        strstr(want, "%s") + 2).ptr);
    free(got);
}

static void credentials_are_masked_unless_revealed(void **state)
{
    char *masked = print(&listing_apps, apps, FORMAT_JSONL, false), *shown = print(&listing_apps, apps, FORMAT_JSONL, true);
    assert_null(strstr(masked, "cl_tkn_secret"));
    assert_non_null(strstr(masked, "\"reload\":\"********\",\"reload_promote\":\"\""));
    assert_non_null(strstr(shown, "\"reload\":\"cl_tkn_secret\""));
    /* Maps are sorted, and spec files keep their names only. */
    assert_non_null(strstr(shown, "\"param_values\":{\"a\":\"1\",\"b\":\"2\"}"));
    assert_non_null(strstr(shown, "\"spec_files\":{\"y\":\"\",\"z\":\"\"}"));
    free(masked);
    free(shown);
}

static void controls_cannot_reach_the_terminal(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    say(out, "a\x1b[2Jb\tc\nd\x7f\xc2\x9b" "e\xc3\xa9\r\n");
    fclose(out);
    assert_string_equal(text, "a?[2Jb\tc\nd?\xc2?e\xc3\xa9?\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_print_as_specified),
        cmocka_unit_test(tables_have_the_specified_widths),
        cmocka_unit_test(an_app_record_has_every_member_in_order),
        cmocka_unit_test(credentials_are_masked_unless_revealed),
        cmocka_unit_test(controls_cannot_reach_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
