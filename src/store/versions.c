/* store/versions.c: the rows of `app_versions`, and which of them may go.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#define COLUMNS "appid, version, previous_version, user_id, create_time, metadata"

static bool read_version(const struct db_rows *r, struct arena *a, struct store_version *v, struct err *err)
{
    *v = (struct store_version){
        .app_id = db_text(r, 0, a),
        .version = db_int(r, 1),
        .previous_version = db_int(r, 2),
        .user_id = db_text(r, 3, a),
        .create_time = db_time(r, 4),
    };
    scoped_json *metadata = store_column_json(r, 5, err);
    return (metadata && store_metadata_from_json(a, metadata, &v->metadata, err)) ||
           err_wrap(err, "version %lld of app %.*s", (long long)v->version, STR_ARG(v->app_id));
}

bool store_version_next(struct store_tx *tx, struct str app_id, int64_t *out, struct err *err)
{
    bool found;
    int64_t highest = 0;
    if (!db_query_int(tx->db, "SELECT max(version) FROM app_versions WHERE appid = ?", DB_ARGS(DB_TEXT(app_id)),
                      &highest, &found, err))
        return false;
    *out = highest + 1;
    return true;
}

bool store_version_put(struct store_tx *tx, const struct store_version *v, struct err *err)
{
    scoped_arena scratch = {0};
    struct str metadata = store_json_text(&scratch, store_metadata_to_json(&v->metadata));
    return db_exec(tx->db,
                   "INSERT INTO app_versions (appid, version, previous_version, user_id, create_time, metadata) "
                   "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (appid, version) DO UPDATE SET previous_version = "
                   "excluded.previous_version, user_id = excluded.user_id, create_time = excluded.create_time, "
                   "metadata = excluded.metadata",
                   DB_ARGS(DB_TEXT(v->app_id), DB_INT(v->version), DB_INT(v->previous_version), DB_TEXT(v->user_id),
                           DB_TIME(v->create_time ? v->create_time : wall_ns()), DB_TEXT(metadata)), NULL, err);
}

bool store_version_get(struct store_tx *tx, struct arena *a, struct str app_id, int64_t version,
                       struct store_version *out, struct err *err)
{
    scoped_db_rows *r = db_query(tx->db, "SELECT " COLUMNS " FROM app_versions WHERE appid = ? AND version = ?",
                                 DB_ARGS(DB_TEXT(app_id), DB_INT(version)), err);
    if (!r)
        return false;
    struct store_version v;
    bool found = db_next(r);
    if (found && !read_version(r, a, &v, err))
        return false;
    if (!store_found(db_end(&r, err), found, err, "app %.*s has no version %lld", STR_ARG(app_id),
                     (long long)version))
        return false;
    *out = v;
    return true;
}

bool store_version_list(struct store_tx *tx, struct arena *a, struct str app_id, struct store_version_list *out,
                        struct err *err)
{
    struct store_version_list versions = {0};
    scoped_db_rows *r = db_query(tx->db, "SELECT " COLUMNS " FROM app_versions WHERE appid = ? ORDER BY version",
                                 DB_ARGS(DB_TEXT(app_id)), err);
    if (!r)
        return false;
    while (db_next(r))
        if (!read_version(r, a, vec_push(a, &versions), err))
            return false;
    if (!db_end(&r, err))
        return false;
    *out = versions;
    return true;
}

bool store_cleanup_versions(struct store_tx *tx, struct str app_id, int64_t active, int64_t retain,
                            int64_t *removed, struct err *err)
{
    int64_t n = 0;
    if (retain >= 0) {
        if (!db_exec(tx->db,
                     "DELETE FROM app_versions WHERE appid = ? AND version < ? AND version NOT IN (SELECT version FROM "
                     "app_versions WHERE appid = ? AND version < ? ORDER BY version DESC LIMIT ?)",
                     DB_ARGS(DB_TEXT(app_id), DB_INT(active), DB_TEXT(app_id), DB_INT(active), DB_INT(retain)), &n, err))
            return false;
        if (n > 0 && !db_exec(tx->db,
                              "DELETE FROM app_files WHERE appid = ? AND version < ? AND version NOT IN (SELECT version "
                              "FROM app_versions WHERE appid = ?)",
                              DB_ARGS(DB_TEXT(app_id), DB_INT(active), DB_TEXT(app_id)), NULL, err))
            return false;
    }
    *removed = n;
    return true;
}
