/* tests/server/test_config.c: openrun.toml over the defaults.
 * SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "../store/store_test.h"

static const struct {
    const char *name, *toml;
    const char *error;   /* NULL: fine */
    const char *warning; /* NULL: none */
} texts[] = {
    {"nothing", "", NULL, NULL},
    {"a value", "[http]\nport = 8080\n", NULL, NULL},
    {"an unknown key", "[http]\nprot = 8080\n", NULL,
     "line 2, column 8: unknown key http.prot (did you mean http.port?)"},
    {"an unknown section", "[htpp]\nport = 8080\n", NULL, "unknown key htpp (did you mean http?)"},
    {"a key like no other", "zzzzzzzzzz = 1\n", NULL, "unknown key zzzzzzzzzz"},
    {"a string for a number", "[http]\nport = \"8080\"\n",
     "line 2, column 8: http.port must be an integer, not a string", NULL},
    {"a value for a section", "http = 1\n", "http must be a table, not an integer", NULL},
    {"a section for a value", "[http.port]\nx = 1\n", "http.port must be an integer, not a table", NULL},
    {"a list of something else", "[security]\ntrusted_proxies = [1]\n", "must be a list of strings", NULL},
    {"broken TOML", "[http\n", "line 1", NULL},
    {"a section twice", "[http]\nport = 1\n[http]\n", "line 3", NULL},
    {"a named entry", "[git_auth.mine]\nuser_id = \"git\"\npassword = \"x\"\n", NULL, NULL},
    {"a field of a named entry of the wrong type", "[git_auth.mine]\nuser_id = 1\n",
     "git_auth.mine.user_id must be a string", NULL},
    {"an unknown field of a named entry", "[git_auth.mine]\nuser = \"x\"\n", NULL,
     "unknown key git_auth.mine.user"},
    {"a named entry that is a value", "[git_auth]\nmine = 1\n", "git_auth.mine must be a table of settings",
     NULL},
    {"values of the user's own", "[node_config]\nanything = [1, \"a\"]\n", NULL, NULL},
    {"container arguments", "[security.allowed_container_args]\nshm-size = \"regex:.*\"\n", NULL, NULL},
    {"a container argument that is no string", "[security.allowed_container_args]\nshm-size = 1\n",
     "must be a string", NULL},
    {"permissions", "[[permissions.allow]]\nplugin = \"exec.in\"\nmethod = \"run\"\narguments = [\"ls\"]\n",
     NULL, NULL},
    {"permissions that are a table", "[permissions]\nallow = 1\n", "must be a list of tables", NULL},
    {"a bad output format", "[client]\ndefault_format = \"xml\"\n", "invalid client.default_format \"xml\"",
     NULL},
    {"an old tailwind", "[system]\ntailwind_version = 2\n", "must be 3 or more", NULL},
    {"a default sign-in that is default", "[security]\napp_default_auth_type = \"default\"\n",
     "cannot be \"default\"", NULL},
    {"images that are to be built later", "[system]\nuse_image_pre_build_step = false\n", NULL,
     "system.use_image_pre_build_step = false has no effect"},
    {"images that are built first, as always", "[system]\nuse_image_pre_build_step = true\n", NULL, NULL},
    {"a port beyond ports", "[https]\nport = 65536\n", "https.port must be at most 65535", NULL},
    {"no address for the client", "server_uri = \"\"\n", "server_uri is not set", NULL},
};

static void a_file_is_laid_over_the_defaults(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct config c = {0};
        bool ok = config_parse(&a, STR("openrun.toml"), str_from(texts[i].toml), &c, &err);
        if (texts[i].error ? ok || !strstr(err_msg(&err), texts[i].error) : !ok)
            fail_msg("%s: wanted %s, got \"%s\"", texts[i].name, texts[i].error ? texts[i].error : "success",
                     err_msg(&err));
        if (!ok)
            continue;
        struct str first = c.warnings.len > 0 ? c.warnings.items[0] : (struct str){0};
        if (texts[i].warning ? str_find(first, str_from(texts[i].warning)) == STR_NPOS : c.warnings.len > 0)
            fail_msg("%s: warned \"%.*s\"", texts[i].name, STR_ARG(first));
    }
}

static void values_replace_and_tables_merge(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct config c;
    MUST(config_parse(
             &a, STR("t"),
             STR("[http]\nport = 1\n[app_config]\nfs.retain_versions = 9\n[permissions]\nallow = []\n"), &c,
             &err),
         &err);
    assert_int_equal(config_int(&c, "http.port"), 1);
    assert_str(config_str(&c, "http.host"), STR("127.0.0.1"));
    assert_int_equal(config_int(&c, "app_config.fs.retain_versions"), 9);
    assert_true(config_bool(&c, "logging.access_logging"));
    assert_int_equal(config_value(&c, "permissions.allow")->array.len, 0);
    assert_null(config_value(&c, "git_auth.mine"));
    setenv("OPENRUN_HOME", "/home/x", 1);
    assert_str(config_path(&c, &a, "server_uri"), STR("/home/x/run/openrun.sock"));
    assert_int_equal(config_list(&c, &a, "security.allowed_mounts").len, 1);
}

static void a_missing_file_is_fine_only_in_homes_that_may_lack_it(void **state)
{
    static const struct {
        enum home_origin origin;
        bool is_explicit, is_fine, is_warned;
    } homes[] = {
        {HOME_DEFAULT, false, true, false}, {HOME_ENV, false, true, true},
        {HOME_ENV, true, false, false},     {HOME_CONFIG_FILE, true, false, false},
        {HOME_EXE, false, false, false},    {HOME_SYSTEM, false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(homes); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct config c = {0};
        struct home home = {.dir = STR("/nowhere"),
                            .config_file = STR("/nowhere/openrun.toml"),
                            .origin = homes[i].origin,
                            .is_file_explicit = homes[i].is_explicit};
        bool ok = config_load(&a, &home, &c, &err);
        if (ok != homes[i].is_fine || (c.warnings.len > 0) != homes[i].is_warned)
            fail_msg("home %zu: %s", i, err_msg(&err));
        if (!ok)
            assert_non_null(strstr(err_msg(&err), "error parsing config: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_laid_over_the_defaults),
        cmocka_unit_test(values_replace_and_tables_merge),
        cmocka_unit_test(a_missing_file_is_fine_only_in_homes_that_may_lack_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
