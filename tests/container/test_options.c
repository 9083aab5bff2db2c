/* tests/container/test_options.c: options and volumes as users write them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"
#include "fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void cpus_are_plain_or_in_thousandths(void **state)
{
    static const struct {
        const char *in;
        int64_t milli;   /* 0: refused */
    } cases[] = {
        {"2", 2000}, {"0.5", 500}, {"500m", 500}, {" 1.25 ", 1250}, {"0.0001", 1}, {"1.5m", 2}, {"1000", 1000000},
        {"", 0}, {"-1", 0}, {"0", 0}, {"1001", 0}, {"1e3", 0}, {"2 cores", 0}, {".5", 0}, {"1.", 0}, {"0x2", 0},
        {"99999999999999999999999", 0}, {"1.5.2", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        int64_t got = 0;
        bool ok = ctr_parse_cpus(str_from(cases[i].in), &got, &err);
        if (ok != (cases[i].milli > 0) || got != cases[i].milli)
            fail_msg("cpus \"%s\": wanted %ld, got %ld", cases[i].in, (long)cases[i].milli, (long)got);
    }
}

static void memory_sizes_are_bytes_binary_units_or_quantities(void **state)
{
    static const struct {
        const char *in;
        int64_t bytes;   /* 0: refused */
    } cases[] = {
        {"1048576", 1048576},    {"500M", 500LL << 20},  {"500m", 500LL << 20},  {"1.5g", 3LL << 29},
        {"512Mi", 512LL << 20},  {"1Gi", 1LL << 30},     {"1 GB", 1LL << 30},    {"64kb", 64 << 10},
        {"10b", 10},             {"1P", 1000000000000000LL}, {"1e6", 1000000},   {"2Ki", 2048},
        {"0.5k", 512},           {"1t", 1LL << 40},      {"1.0000000001k", 1024},
        {"", 0}, {"0", 0}, {"-5", 0}, {"12x", 0}, {"5?", 0}, {"1p", 0}, {"1gi", 0}, {"1kbb", 0}, {"100E", 0}, {"9999999999999999999", 0},
        {"1e19", 0}, {"five", 0}, {"1 Mi b", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        int64_t got = 0;
        bool ok = ctr_parse_memory(str_from(cases[i].in), &got, &err);
        if (ok != (cases[i].bytes > 0) || got != cases[i].bytes)
            fail_msg("memory \"%s\": wanted %ld, got %ld", cases[i].in, (long)cases[i].bytes, (long)got);
    }
}

static void options_are_sorted_out_for_one_engine(void **state)
{
    scoped_arena a = {0};
    struct ctr_kv_list allowed = {0};
    ctr_kv_set(&a, &allowed, STR("add-host"), STR("regex:.*"));
    ctr_kv_set(&a, &allowed, STR("init"), STR(""));
    ctr_kv_set(&a, &allowed, STR("network"), STR("back"));
    ctr_kv_set(&a, &allowed, STR("shm-size"), STR("regex:^[0-9]+m$"));
    ctr_kv_set(&a, &allowed, STR("bad"), STR("regex:("));
    static const struct {
        const char *key, *value, *flag, *error;   /* flag NULL: none comes of it; error: part of the message */
    } cases[] = {
        {"cpus", "2", NULL, NULL},
        {"podman.memory", "1g", NULL, NULL},
        {"docker.memory", "nonsense for another engine", NULL, NULL},
        {"kubernetes.x", "y", NULL, NULL},
        {"min_replicas", "2", NULL, NULL},
        {"command.add-host", "x:1.2.3.4", "add-host", NULL},
        {"podman.network", "back", "network", NULL},
        {"network", "host", NULL, "not allowed with the value \"host\""},
        {"command.init", "", "init", NULL},
        {"command.init", "yes", NULL, "takes no value"},
        {"shm-size", "64m", "shm-size", NULL},
        {"shm-size", "64m; rm", NULL, "is not allowed with"},
        {"command.add-host", "", NULL, "needs a value"},
        {"network", "", NULL, "needs a value"},
        {"privileged", "", NULL, "container argument \"privileged\" is not allowed"},
        {"command.-v", "/:/x", NULL, "is not allowed"},
        {"rkt.x", "", NULL, "unknown prefix"},
        {"cpus", "many", NULL, "container option cpus: cpus \"many\" must be"},
        {"bad", "x", NULL, "is not a regular expression"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct ctr_kv_list options = {0};
        struct ctr_limits limits;
        ctr_kv_set(&a, &options, str_from(cases[i].key), str_from(cases[i].value));
        bool ok = ctr_options_resolve(&a, &options, STR("podman"), &allowed, &limits, &err);
        if (ok == (cases[i].error != NULL) || (cases[i].error && !strstr(err_msg(&err), cases[i].error)))
            fail_msg("%s=%s: %s", cases[i].key, cases[i].value, err_msg(&err));
        if (ok && (limits.flags.len != (cases[i].flag ? 1 : 0) ||
                   (cases[i].flag && !str_eq_z(limits.flags.items[0].key, cases[i].flag))))
            fail_msg("%s=%s: %zu flags", cases[i].key, cases[i].value, limits.flags.len);
    }
}

static const char *test_var(const char *name)
{
    return strcmp(name, "DATA") == 0 ? "/srv/data" : strcmp(name, "NAME") == 0 ? "cache" : NULL;
}

static void volume_entries_are_bound_named_unnamed_or_secret(void **state)
{
    static const struct {
        const char *in;
        enum ctr_volume_kind kind;
        const char *source, *target;
        bool is_read_only;
        const char *error;
    } cases[] = {
        {"data:/data", CTR_VOLUME_NAMED, "data", "/data", false, NULL},
        {"/data", CTR_VOLUME_UNNAMED, "", "/data", false, NULL},
        {"/srv/x:/data:ro", CTR_VOLUME_BIND, "/srv/x", "/data", true, NULL},
        {"./conf:/etc/conf/", CTR_VOLUME_BIND, "./conf", "/etc/conf", false, NULL},
        {"../up:/x", CTR_VOLUME_BIND, "../up", "/x", false, NULL},
        {"$DATA/in:/x", CTR_VOLUME_BIND, "/srv/data/in", "/x", false, NULL},
        {"${NAME}:/x", CTR_VOLUME_NAMED, "cache", "/x", false, NULL},
        {"cl_secret:s.tmpl:/run/s:ro", CTR_VOLUME_SECRET, "s.tmpl", "/run/s", true, NULL},
        {"/data:ro", CTR_VOLUME_UNNAMED, "", "/data", true, NULL},
        {"", 0, NULL, NULL, false, "one line"},
        {"data", 0, NULL, NULL, false, "target must be an absolute path"},
        {"data:rel", 0, NULL, NULL, false, "target must be an absolute path"},
        {":/x", 0, NULL, NULL, false, "no source"},
        {"da ta:/x", 0, NULL, NULL, false, "volume name"},
        {"-v:/x", 0, NULL, NULL, false, "volume name"},
        {"a:/x:rw", 0, NULL, NULL, false, "absolute path"},
        {"a:/", 0, NULL, NULL, false, "absolute path"},
        {"a:/x/..", 0, NULL, NULL, false, "over the root"},
        {"a:/x\n--privileged", 0, NULL, NULL, false, "one line"},
        {"$MISSING:/x", 0, NULL, NULL, false, "MISSING is not set"},
        {"cl_secret:/x", 0, NULL, NULL, false, "cl_secret:<template>"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct ctr_volume v;
        bool ok = ctr_volume_parse(&a, str_from(cases[i].in), test_var, &v, &err);
        if (ok == (cases[i].error != NULL) || (cases[i].error && !strstr(err_msg(&err), cases[i].error)))
            fail_msg("\"%s\": %s", cases[i].in, err_msg(&err));
        if (ok && (v.kind != cases[i].kind || !str_eq_z(v.source, cases[i].source) ||
                   !str_eq_z(v.target, cases[i].target) || v.is_read_only != cases[i].is_read_only))
            fail_msg("\"%s\": kind %d, source %.*s, target %.*s", cases[i].in, v.kind, STR_ARG(v.source), STR_ARG(v.target));
    }
}

static void later_volumes_replace_earlier_ones_at_the_same_target(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    static const char *const in[] = {"/data", "cl_secret:t:/run/s", "t:/run/s", "data:/data", "data:/data", "/cache"};
    struct str_list entries = {0};
    struct ctr_volume *v;
    size_t n;
    for (size_t i = 0; i < ARRAY_LEN(in); i++)
        str_list_add(&a, &entries, str_from(in[i]));
    assert_true(ctr_volumes_parse(&a, &entries, &v, &n, &err));
    assert_int_equal(n, 3);
    assert_int_equal(v[0].kind, CTR_VOLUME_NAMED);
    assert_int_equal(v[1].kind, CTR_VOLUME_SECRET);
    assert_true(str_eq(v[2].target, STR("/cache")));
}

static void binds_stay_within_what_is_allowed(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str top, out;
    assert_true(fs_temp_dir(&a, STR("ctr-test-"), &top, &err));
    struct str src = path_join(&a, top, STR("src")), mounts = path_join(&a, top, STR("mounts"));
    struct str outside = path_join(&a, top, STR("outside"));
    assert_true(fs_mkdir_p(path_join(&a, src, STR("conf")), 0755, &err) && fs_mkdir_p(mounts, 0755, &err) &&
                fs_mkdir_p(outside, 0755, &err) && fs_mkdir_p(path_join(&a, top, STR("mounts-not")), 0755, &err));
    assert_int_equal(symlink(str_z(&a, outside), str_z(&a, path_join(&a, src, STR("link")))), 0);
    assert_int_equal(symlink(str_z(&a, outside), str_z(&a, path_join(&a, mounts, STR("link")))), 0);
    struct str_list allowed = {0};
    str_list_add(&a, &allowed, mounts);
    struct ctr_mount_policy policy = {.source_dir = src, .allowed = &allowed};
    struct {
        struct str source;
        const char *error;
    } cases[] = {
        {STR("./conf"), NULL},
        {STR("./link"), "must stay within its root"},
        {STR("../outside"), "must stay within its root"},
        {STR("./conf/../../outside"), "must stay within its root"},
        {STR("./missing"), "missing"},
        {mounts, NULL},
        {path_join(&a, mounts, STR("link")), "not within an allowed mount directory"},
        {path_join(&a, top, STR("mounts-not")), "not within an allowed mount directory"},
        {src, "not within an allowed mount directory"},
        {STR("/"), "not within an allowed mount directory"},
        {path_join(&a, mounts, STR("\xff")), "not UTF-8"},
    };
    assert_true(fs_mkdir_p(path_join(&a, mounts, STR("\xff")), 0755, &err));
    struct ctr_volume hidden = {.kind = CTR_VOLUME_BIND, .source = src, .written = STR("$HIDDEN/x"), .target = STR("/x")};
    struct ctr_mount none;
    assert_false(ctr_volume_resolve(&a, STR("app_prd_x"), &hidden, &policy, &none, &err));
    assert_string_equal(err_msg(&err), "source path $HIDDEN/x is not within an allowed mount directory; an administrator may list its "
                                       "folder in security.allowed_mounts");
    hidden.source = STR("/no/such/folder");
    assert_false(ctr_volume_resolve(&a, STR("app_prd_x"), &hidden, &policy, &none, &err));
    assert_string_equal(err_msg(&err), "volume source \"$HIDDEN/x\": there is no such file or folder");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ctr_volume v = {.kind = CTR_VOLUME_BIND, .source = cases[i].source, .target = STR("/x")};
        struct ctr_mount m;
        scoped_err e = {0};
        bool ok = ctr_volume_resolve(&a, STR("app_prd_x"), &v, &policy, &m, &e);
        if (ok == (cases[i].error != NULL) || (cases[i].error && !strstr(err_msg(&e), cases[i].error)))
            fail_msg("%.*s: %s", STR_ARG(cases[i].source), err_msg(&e));
        if (ok)
            assert_true(fs_real_path(&a, m.source, &out, &e) && str_eq(out, m.source) && m.is_bind);
    }
    struct ctr_volume named = {.kind = CTR_VOLUME_UNNAMED, .target = STR("/data")};
    struct ctr_mount m;
    assert_true(ctr_volume_resolve(&a, STR("app_prd_x"), &named, &policy, &m, &err));
    assert_true(str_eq(m.source, ctr_volume_name(&a, STR("app_prd_x"), STR("/data"))) && !m.is_bind);
    assert_true(fs_remove_tree(top, &err));
}

static void a_folder_that_is_allowed_is_the_one_that_was_meant(void **state)
{
    static const struct {
        const char *entry, *path, *error;
    } cases[] = {
        {"/srv/mounts", "/srv/mounts", NULL},
        {"$DATA/mounts", "/srv/data/mounts", NULL},
        {"${DATA}", "/srv/data", NULL},
        {"$UNSET/", NULL, "the variable UNSET is not set"},
        {"$UNSET", NULL, "the variable UNSET is not set"},
        {"/srv/$UNSET", NULL, "the variable UNSET is not set"},
        {".", NULL, "must be an absolute path"},
        {"$NAME/x", NULL, "must be an absolute path"},
        {"", NULL, "must be an absolute path"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct str path = {0};
        bool ok = ctr_mount_folder_parse(&a, str_from(cases[i].entry), test_var, &path, &err);
        if (ok != (cases[i].path != NULL) || (ok && !str_eq_z(path, cases[i].path)) || (!ok && !strstr(err_msg(&err), cases[i].error)))
            fail_msg("\"%s\": %.*s %s", cases[i].entry, STR_ARG(path), err_msg(&err));
    }
}

/* Links that a container has put where another of its mounts, or another version's, begins. */
static void what_we_have_made_is_mounted_as_we_have_made_it(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str top;
    assert_true(fs_temp_dir(&a, STR("ctr-test-"), &top, &err));
    struct str run = path_join(&a, top, STR("run")), files = path_join(&a, run, STR("bind/1/files"));
    struct str build = path_join(&a, run, STR("build")), named = path_join(&a, top, STR("link"));
    assert_true(fs_mkdir_p(files, 0755, &err) && fs_mkdir_p(build, 0755, &err));
    assert_int_equal(symlink(str_z(&a, build), str_z(&a, path_join(&a, files, STR("link")))), 0);
    assert_int_equal(symlink(str_z(&a, run), str_z(&a, named)), 0);
    const struct {
        struct str source, run_dir;
        bool is_made, ok;
    } cases[] = {
        {files, run, true, true},
        {path_join(&a, named, STR("bind/1/files")), named, true, true},
        {path_join(&a, files, STR("link")), run, true, false},
        {top, run, true, false},
        {files, run, false, false}, /* named by the app */
        {build, run, false, false},
        {run, run, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ctr_mount_policy policy = {.run_dir = cases[i].run_dir};
        struct ctr_volume v = {.kind = CTR_VOLUME_BIND, .source = cases[i].source, .target = STR("/x"), .is_made = cases[i].is_made};
        struct ctr_mount m;
        scoped_err e = {0};
        if (ctr_volume_resolve(&a, STR("app_prd_x"), &v, &policy, &m, &e) != cases[i].ok)
            fail_msg("case %zu, %.*s: %s", i, STR_ARG(cases[i].source), err_msg(&e));
    }
    assert_true(fs_remove_tree(top, &err));
}

static void a_mount_that_has_become_a_link_is_noticed(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0}, why = {0}, gone = {0};
    struct str top, real;
    assert_true(fs_temp_dir(&a, STR("ctr-test-"), &top, &err) && fs_real_path(&a, top, &real, &err));
    struct str outer = path_join(&a, real, STR("outer")), inner = path_join(&a, outer, STR("inner"));
    assert_true(fs_mkdir_p(inner, 0755, &err));
    struct ctr_mount mounts[] = {{.source = STR("clv-x"), .target = STR("/v")},
                                 {.source = outer, .target = STR("/outer"), .is_bind = true},
                                 {.source = inner, .target = STR("/inner"), .is_bind = true}};
    assert_true(ctr_mounts_check(mounts, ARRAY_LEN(mounts), &err));
    assert_int_equal(rmdir(str_z(&a, inner)), 0);
    assert_false(ctr_mounts_check(mounts, ARRAY_LEN(mounts), &gone));
    assert_string_equal(err_msg(&gone), "what the container mounts at /inner is no longer there");
    assert_int_equal(symlink("/", str_z(&a, inner)), 0);
    assert_false(ctr_mounts_check(mounts, ARRAY_LEN(mounts), &why));
    assert_non_null(strstr(err_msg(&why), "mounts at /inner has been replaced by a link"));
    assert_int_equal(why.code, ERR_FORBIDDEN);
    assert_true(fs_remove_tree(top, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpus_are_plain_or_in_thousandths),
        cmocka_unit_test(memory_sizes_are_bytes_binary_units_or_quantities),
        cmocka_unit_test(options_are_sorted_out_for_one_engine),
        cmocka_unit_test(volume_entries_are_bound_named_unnamed_or_secret),
        cmocka_unit_test(later_volumes_replace_earlier_ones_at_the_same_target),
        cmocka_unit_test(binds_stay_within_what_is_allowed),
        cmocka_unit_test(a_folder_that_is_allowed_is_the_one_that_was_meant),
        cmocka_unit_test(what_we_have_made_is_mounted_as_we_have_made_it),
        cmocka_unit_test(a_mount_that_has_become_a_link_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
