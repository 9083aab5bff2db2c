/* tests/app/test_settings.c: app config in layers, and the framework's settings.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

static struct app fake;

/* Server, app.star's settings (a Starlark dict), metadata "key=value;key=value". */
static bool merge(const char *server, const char *settings, const char *metadata, struct err *err)
{
    struct arena *a = &now.arena;
    struct toml_value *root = arena_new(a, struct toml_value);
    struct map *m = arena_new(a, struct map);
    star_v v = STAR_NONE;
    map_init(m, a);
    MUST(toml_parse(a, str_from(server), root, err), err);
    struct str rest = str_from(metadata), part, key, value;
    while (*metadata && str_next(&rest, ';', &part)) {
        str_cut(part, '=', &key, &value);
        store_map_set(a, m, key, value);
    }
    if (*settings)
        MUST(star_json_decode(a, str_from(settings), &v, err), err);
    return settings_merge(a, root, v, m, &fake.settings, err);
}

static void layers_go_over_each_other(void **state)
{
    scoped_err err = {0};
    MUST(merge("a.x = \"server\"\na.y = \"server\"\na.z = \"server\"\nn = 1\nb = false\n",
               "{\"app_config\": {\"a\": {\"y\": \"app\", \"z\": \"app\"}, \"n\": 2, \"other\": {\"deep\": "
               "{\"er\": true}}}}",
               "a.z=\"meta\";b=true", &err),
         &err);
    assert_str(app_config_str(&fake, "a.x", STR("-")), "server");
    assert_str(app_config_str(&fake, "a.y", STR("-")), "app");
    assert_str(app_config_str(&fake, "a.z", STR("-")), "meta");
    assert_int_equal(app_config_int(&fake, "n", 0), 2);
    assert_true(app_config_bool(&fake, "b", false));
    assert_true(app_config_bool(&fake, "other.deep.er", false));
    assert_str(app_config_str(&fake, "absent", STR("fallback")), "fallback");
    assert_int_equal(app_config_int(&fake, "a.x", 7), 7);
}

static void an_integer_may_stand_for_a_float(void **state)
{
    scoped_err err = {0};
    MUST(merge("f = 1.5", "{\"app_config\": {\"f\": 2}}", "", &err), &err);
    MUST(merge("f = 1.5", "", "f=3", &err), &err);
}

static const struct {
    const char *name, *server, *settings, *metadata, *err;
} wrong[] = {
    {"app.star gives another type", "n = 1", "{\"app_config\": {\"n\": \"x\"}}", "",
     "app_config.n must be an integer, not string"},
    {"app.star gives no dict", "", "{\"app_config\": 5}", "", "app_config must be a dict, not int"},
    {"app.star gives None", "", "{\"app_config\": {\"n\": null}}", "",
     "app_config.n must be a string, a number or a boolean"},
    {"metadata gives another type", "n = 1", "", "n=\"x\"", "app config n must be an integer, not a string"},
    {"metadata is not TOML", "", "", "n=[", "app config n: line 1"},
};

static void wrong_types_are_load_errors(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        scoped_err err = {0};
        if (merge(wrong[i].server, wrong[i].settings, wrong[i].metadata, &err))
            fail_msg("%s: taken", wrong[i].name);
        if (!strstr(err_msg(&err), wrong[i].err))
            fail_msg("%s: wanted \"%s\", got \"%s\"", wrong[i].name, wrong[i].err, err_msg(&err));
    }
}

static void counts_are_never_negative(void **state)
{
    scoped_err err = {0};
    MUST(merge("a = -5\nb = 99999999999\nc = 7", "", "", &err), &err);
    assert_int_equal(app_config_count(&fake, "a", 1), 0);
    assert_int_equal(app_config_count(&fake, "b", 1), INT32_MAX);
    assert_int_equal(app_config_count(&fake, "c", 1), 7);
}

static bool framework(const char *lock, const char *settings, struct framework *out, struct err *err)
{
    star_v v = STAR_NONE;
    if (*settings)
        MUST(star_json_decode(&now.arena, str_from(settings), &v, err), err);
    return framework_load(&now.arena, make_files(lock ? FILES("config_gen.lock", lock) : FILES("x", "")), v,
                          out, err);
}

static void framework_settings_come_from_the_lock_file_and_the_app(void **state)
{
    struct framework f;
    scoped_err err = {0};
    MUST(framework(NULL, "", &f, &err), &err);
    assert_str(f.htmx_version, "2.0.3");
    MUST(framework("{}", "", &f, &err), &err);
    assert_str(f.htmx_version, "1.9.1");
    MUST(framework("{\"htmx\": {\"version\": \"3\"}, \"routing\": {\"push_events\": true, \"unknown\": 1}}",
                   "{\"routing\": {\"push_events\": false, \"container_exclude\": [\"a\", \"b\"]},"
                   " \"container\": {\"separate_stage_prod_images\": true}}",
                   &f, &err),
         &err);
    assert_str(f.htmx_version, "3");
    assert_false(f.push_events);
    assert_true(f.separate_images);
    assert_int_equal(f.container_exclude.len, 2);
    assert_str(f.container_exclude.items[1], "b");
}

static void framework_settings_have_types(void **state)
{
    static const struct {
        const char *lock, *settings, *err;
    } bad[] = {
        {NULL, "{\"routing\": {\"push_events\": \"yes\"}}", "routing.push_events must be a boolean"},
        {NULL, "{\"htmx\": {\"version\": 3}}", "htmx.version must be a string"},
        {NULL, "{\"routing\": {\"container_exclude\": [1]}}", "must be a list of strings"},
        {"{\"htmx\": {\"version\": 3}}", "", "config_gen.lock: settings: htmx.version"},
        {"[]", "", "config_gen.lock"},
        {"{", "", "config_gen.lock: line 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct framework f;
        scoped_err err = {0};
        if (framework(bad[i].lock, bad[i].settings, &f, &err) || !strstr(err_msg(&err), bad[i].err))
            fail_msg("wanted \"%s\", got \"%s\"", bad[i].err, err_msg(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(layers_go_over_each_other),
        TEST(an_integer_may_stand_for_a_float),
        TEST(wrong_types_are_load_errors),
        TEST(counts_are_never_negative),
        TEST(framework_settings_come_from_the_lock_file_and_the_app),
        TEST(framework_settings_have_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
