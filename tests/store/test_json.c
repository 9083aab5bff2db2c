/* tests/store/test_json.c: apps to JSON and back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_test.h"

static const char metadata_text[] =
    "{\"name\":\"Disk \\\"usage\\\"\",\"version_metadata\":{\"version\":7,\"previous_version\":5,\"git_branch\":\"main\","
    "\"git_commit\":\"0a1b2c\",\"git_message\":\"fix: \xc3\xa9t\xc3\xa9\\nsecond line\","
    "\"apply_info\":\"eyJwYXRoIjoiL3gifQD/\",\"applied_sync_id\":\"cl_syn_1\"},\"loads\":[\"exec.in\",\"fs.in\"],"
    "\"permissions\":[{\"plugin\":\"exec.in\",\"method\":\"run\",\"arguments\":[\"du\"],\"permit\":[\"admin\"],"
    "\"is_read\":true,\"secrets\":[[\"db_*\",\"regex:^a\"],[]]},{\"plugin\":\"fs.in\",\"method\":\"\",\"arguments\":[],"
    "\"permit\":[],\"is_read\":false,\"secrets\":[]},{\"plugin\":\"http.in\",\"method\":\"\",\"arguments\":[],"
    "\"permit\":[],\"secrets\":[]}],\"accounts\":[{\"plugin\":\"store.in\",\"account_name\":\"second\"}],"
    "\"param_values\":{\"ZETA\":\"first in order\",\"ALPHA\":\"\"},\"spec\":\"python-flask\","
    "\"spec_files\":{\"Containerfile\":\"RlJPTSBzY3JhdGNoCg==\",\"bytes.bin\":\"AAH+/w==\"},"
    "\"container_options\":{\"cpus\":\"2\"},\"container_args\":{\"VERSION\":\"3.11\"},"
    "\"container_volumes\":[\"data:/data\"],\"appconfig\":{\"cors.allow_origin\":\"\\\"*\\\"\"},"
    "\"authn_type\":\"system\",\"git_auth_name\":\"deploy-key\",\"bindings\":[\"/db/one\"],"
    "\"applied_sync_id\":\"cl_syn_2\",\"builder_published\":true}";

static const char empty_text[] =
    "{\"name\":\"\",\"version_metadata\":{\"version\":0,\"previous_version\":0,\"git_branch\":\"\",\"git_commit\":\"\","
    "\"git_message\":\"\",\"apply_info\":\"\",\"applied_sync_id\":\"\"},\"loads\":[],\"permissions\":[],\"accounts\":[],"
    "\"param_values\":{},\"spec\":\"\",\"spec_files\":{},\"container_options\":{},\"container_args\":{},"
    "\"container_volumes\":[],\"appconfig\":{},\"authn_type\":\"\",\"git_auth_name\":\"\",\"bindings\":[],"
    "\"applied_sync_id\":\"\"}";

static struct str text_of(struct arena *a, json_t *taken)
{
    struct str text = json_text(a, taken, 0);
    json_decref(taken);
    return text;
}

static void every_field_survives_the_round_trip(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store_metadata m = test_metadata(&a), back, copy;
    struct str text = text_of(&a, store_metadata_to_json(&m));
    assert_str(text, str_from(metadata_text));
    json_t *j = json_parse(text, &err);
    MUST(j && store_metadata_from_json(&a, j, &back, &err), &err);
    json_decref(j); /* nothing is borrowed from it */
    assert_str(text_of(&a, store_metadata_to_json(&back)), text);
    store_metadata_copy(&a, &back, &copy);
    store_map_set(&a, &copy.param_values, STR("NEW"), STR("1"));
    copy.permissions.items[0].arguments.items[0] = STR("changed");
    assert_str(text_of(&a, store_metadata_to_json(&back)), text);
}

static void the_empty_value_has_no_nulls(void **state)
{
    scoped_arena a = {0};
    struct store_metadata m, zeroed = {0};
    store_metadata_init(&a, &m);
    assert_str(text_of(&a, store_metadata_to_json(&m)), str_from(empty_text));
    assert_str(text_of(&a, store_metadata_to_json(&zeroed)), str_from(empty_text));
}

static void reading_is_lenient_about_what_is_missing(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    static const char *const inputs[] = {
        "{}", "{\"loads\":null,\"permissions\":null,\"spec_files\":null,\"version_metadata\":null}",
        "{\"unknown\":{\"deep\":[1]},\"name\":\"\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        scoped_json *j = json_parse(str_from(inputs[i]), &err);
        struct store_metadata m;
        MUST(j && store_metadata_from_json(&a, j, &m, &err), &err);
        assert_str(text_of(&a, store_metadata_to_json(&m)), str_from(empty_text));
    }
}

static void wrong_types_are_named(void **state)
{
    static const struct { const char *in, *message; } cases[] = {
        {"{\"name\":1}", "name must be a string"},
        {"{\"loads\":\"x\"}", "loads must be a list of strings"},
        {"{\"loads\":[1]}", "loads must be a list of strings, but item 1 is"},
        {"{\"permissions\":{}}", "permissions must be a list"},
        {"{\"permissions\":[{},7]}", "permissions must be a list of objects, but item 2"},
        {"{\"permissions\":[{\"is_read\":\"yes\"}]}", "permissions, item 1: is_read must be a boolean"},
        {"{\"permissions\":[{\"secrets\":[\"x\"]}]}", "secrets must be a list of lists of strings"},
        {"{\"accounts\":[{\"plugin\":[]}]}", "accounts, item 1: plugin must be a string"},
        {"{\"param_values\":{\"a\":1}}", "param_values must be an object of strings, but a is"},
        {"{\"spec_files\":{\"a\":\"*\"}}", "spec_files: the content of a is not base64"},
        {"{\"version_metadata\":{\"apply_info\":\"*\"}}", "apply_info is not base64"},
        {"{\"version_metadata\":[]}", "version_metadata must be an object"},
        {"{\"version_metadata\":{\"version\":\"1\"}}", "version must be an integer"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        scoped_arena a = {0};
        scoped_json *j = json_parse(str_from(cases[i].in), &err);
        struct store_metadata m;
        assert_non_null(j);
        MUST_FAIL(store_metadata_from_json(&a, j, &m, &err), &err, ERR_INVALID, cases[i].message);
    }
}

static void an_app_has_the_shape_of_the_api(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct store_app app, back;
    store_app_init(&a, &app);
    app.id = STR("app_prd_1");
    app.path = STR("/x");
    app.domain = STR("example.com");
    app.linked_app_path = STR("stage.example.com:/x");
    app.source_url = STR("/src");
    app.user_id = STR("admin");
    app.create_time = 1709209845500000000;
    app.settings.stage_write_access = true;
    app.settings.webhook_tokens.promote = STR("cl_tkn_1");
    struct str text = text_of(&a, store_app_to_json(&app));
    struct str wanted = str_printf(&a,
        "{\"id\":\"app_prd_1\",\"path\":\"/x\",\"domain\":\"example.com\",\"main_app\":\"\","
        "\"linked_app_path\":\"stage.example.com:/x\",\"source_url\":\"/src\",\"is_dev\":false,\"user_id\":\"admin\","
        "\"create_time\":\"2024-02-29T12:30:45.5Z\",\"update_time\":\"0001-01-01T00:00:00Z\",\"settings\":{"
        "\"authn_type\":\"\",\"git_auth_name\":\"\",\"stage_write_access\":true,\"preview_write_access\":false,"
        "\"webhook_tokens\":{\"reload\":\"\",\"reload_promote\":\"\",\"promote\":\"cl_tkn_1\"},\"orig_source_url\":\"\"},"
        "\"metadata\":%s}", empty_text);
    assert_str(text, wanted);
    scoped_json *j = json_parse(text, &err);
    MUST(store_app_from_json(&a, j, &back, &err), &err);
    assert_str(text_of(&a, store_app_to_json(&back)), text);
}

static void text_that_is_not_utf8_is_replaced(void **state)
{
    scoped_arena a = {0};
    struct store_metadata m;
    store_metadata_init(&a, &m);
    m.version_metadata.git_message = STR("caf\xe9");
    scoped_json *j = store_metadata_to_json(&m);
    assert_str(json_get_str(json_get(j, "version_metadata"), "git_message", STR("")), STR("caf\xef\xbf\xbd"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives_the_round_trip), cmocka_unit_test(the_empty_value_has_no_nulls),
        cmocka_unit_test(reading_is_lenient_about_what_is_missing), cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(an_app_has_the_shape_of_the_api), cmocka_unit_test(text_that_is_not_utf8_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
