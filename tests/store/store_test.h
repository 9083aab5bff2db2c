/* tests/store/store_test.h: a store in a temporary folder.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include "store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char test_dir[64];

static inline int test_dir_make(void **state)
{
    snprintf(test_dir, sizeof test_dir, "/tmp/openrun-test-XXXXXX");
    return mkdtemp(test_dir) ? 0 : -1;
}

static inline int test_dir_remove(void **state)
{
    scoped_err err = {0};
    return fs_remove_tree(str_from(test_dir), &err) ? 0 : -1;
}

/* "sqlite:<folder>/<name><suffix>" in `a`. */
static inline struct str test_connection(struct arena *a, const char *name, const char *suffix)
{
    return str_printf(a, "sqlite:%s/%s%s", test_dir, name, suffix);
}

#define MUST(call, err)                                                                                 \
    do {                                                                                                \
        if (!(call))                                                                                    \
            fail_msg("%s: %s", #call, err_msg(err));                                                    \
    } while (0)

#define MUST_FAIL(call, err, wanted_code, wanted_text)                                                  \
    do {                                                                                                \
        if (call)                                                                                       \
            fail_msg("%s succeeded", #call);                                                            \
        if ((err)->code != (wanted_code) || !strstr(err_msg(err), wanted_text))                         \
            fail_msg("%s: wanted %d \"%s\", got %d \"%s\"", #call, (int)(wanted_code), wanted_text,     \
                     (int)(err)->code, err_msg(err));                                                   \
        err_release(err);                                                                               \
    } while (0)

#define assert_str(got, wanted)                                                                         \
    do {                                                                                                \
        struct str got_ = (got), wanted_ = (wanted);                                                    \
        if (!str_eq(got_, wanted_))                                                                     \
            fail_msg("%s: wanted \"%.*s\", got \"%.*s\"", #got, STR_ARG(wanted_), STR_ARG(got_));       \
    } while (0)

static inline bool try_open(const char *name, const struct store_options *extra, struct store **out,
                            struct err *err)
{
    scoped_arena a = {0};
    struct store_options o = *extra;
    o.metadata_connection = test_connection(&a, name, ".db");
    o.audit_connection = test_connection(&a, name, "_audit.db");
    return store_open(&o, out, err);
}

static inline struct store *test_open(const char *name)
{
    scoped_err err = {0};
    struct store *s = NULL;
    MUST(try_open(name, &(struct store_options){.auto_upgrade = true, .journal_size_limit = 32 << 20}, &s, &err), &err);
    return s;
}

static inline void test_sql(const char *name, const char *sql)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct db *db = NULL;
    MUST(db_open(test_connection(&a, name, ".db"), &(struct db_options){0}, &db, &err), &err);
    scoped_db_tx *tx = db_begin(db, &err);
    MUST(tx && db_exec(tx, sql, DB_NO_ARGS, NULL, &err) && db_commit(&tx, &err), &err);
    db_close(db);
}

static inline struct store_app test_app(struct arena *a, const char *path, enum store_app_kind kind)
{
    struct store_app app;
    store_app_init(a, &app);
    app.id = store_app_id_new(a, kind);
    app.path = str_from(path);
    app.user_id = STR("admin");
    return app;
}

/* Every field set, all different. */
static inline struct store_metadata test_metadata(struct arena *a)
{
    struct store_metadata m;
    store_metadata_init(a, &m);
    m.name = STR("Disk \"usage\"");
    m.spec = STR("python-flask");
    m.authn_type = STR("system");
    m.git_auth_name = STR("deploy-key");
    m.version_metadata = (struct store_version_metadata){
        .version = 7, .previous_version = 5, .git_branch = STR("main"), .git_commit = STR("0a1b2c"),
        .git_message = STR("fix: \xc3\xa9t\xc3\xa9\nsecond line"), .apply_info = str_of("{\"path\":\"/x\"}\0\xff", 15),
        .applied_sync_id = STR("cl_syn_1"),
    };
    str_list_add(a, &m.loads, STR("exec.in"));
    str_list_add(a, &m.loads, STR("fs.in"));
    struct store_permission p = {.plugin = STR("exec.in"), .method = STR("run"), .is_read = STORE_TRUE};
    str_list_add(a, &p.arguments, STR("du"));
    str_list_add(a, &p.permit, STR("admin"));
    struct str_list keys = {0};
    str_list_add(a, &keys, STR("db_*"));
    str_list_add(a, &keys, STR("regex:^a"));
    *vec_push(a, &p.secrets) = keys;
    *vec_push(a, &p.secrets) = (struct str_list){0};
    *vec_push(a, &m.permissions) = p;
    *vec_push(a, &m.permissions) = (struct store_permission){.plugin = STR("fs.in"), .is_read = STORE_FALSE};
    *vec_push(a, &m.permissions) = (struct store_permission){.plugin = STR("http.in")};
    *vec_push(a, &m.accounts) = (struct store_account){STR("store.in"), STR("second")};
    store_map_set(a, &m.param_values, STR("ZETA"), STR("first in order"));
    store_map_set(a, &m.param_values, STR("ALPHA"), STR(""));
    store_map_set(a, &m.container_options, STR("cpus"), STR("2"));
    store_map_set(a, &m.container_args, STR("VERSION"), STR("3.11"));
    str_list_add(a, &m.container_volumes, STR("data:/data"));
    str_list_add(a, &m.bindings, STR("/db/one"));
    store_map_set(a, &m.appconfig, STR("cors.allow_origin"), STR("\"*\""));
    store_map_set(a, &m.spec_files, STR("Containerfile"), STR("FROM scratch\n"));
    store_map_set(a, &m.spec_files, STR("bytes.bin"), str_of("\0\x01\xfe\xff", 4));
    m.applied_sync_id = STR("cl_syn_2");
    m.builder_published = true;
    return m;
}

#endif
