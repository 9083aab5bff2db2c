/* tests/db/db_test.h: a temporary folder and databases in it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_TEST_H
#define DB_TEST_H

#include "db.h"

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

static inline const char *test_path(const char *name)
{
    static char path[4][128];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", test_dir, name);
    return path[i];
}

static inline struct str test_connection(const char *name)
{
    static char text[4][160];
    static int i;
    i = (i + 1) % 4;
    snprintf(text[i], sizeof text[i], "sqlite:%s/%s", test_dir, name);
    return str_from(text[i]);
}

#define MUST(call, err)                                                                                 \
    do {                                                                                                \
        if (!(call))                                                                                    \
            fail_msg("%s: %s", #call, err_msg(err));                                                    \
    } while (0)

static inline void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static inline struct db *test_open(const char *name)
{
    scoped_err err = {0};
    struct db *db = NULL;
    MUST(db_open(test_connection(name), &(struct db_options){.label = "test"}, &db, &err), &err);
    return db;
}

static inline void test_exec(struct db *db, const char *sql)
{
    scoped_err err = {0};
    scoped_db_tx *tx = db_begin(db, &err);
    MUST(tx && db_exec(tx, sql, DB_NO_ARGS, NULL, &err) && db_commit(&tx, &err), &err);
}

static inline int64_t test_int(struct db *db, const char *sql)
{
    scoped_err err = {0};
    scoped_db_tx *tx = db_read(db, &err);
    int64_t n = 0;
    bool found = false;
    MUST(tx && db_query_int(tx, sql, DB_NO_ARGS, &n, &found, &err) && found, &err);
    return n;
}

#endif
