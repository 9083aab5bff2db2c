/* store/sync.c: the rows of `sync`.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#define COLUMNS "id, path, is_scheduled, user_id, create_time, metadata, status"

static bool read_sync(const struct db_rows *r, struct arena *a, struct store_sync *s, struct err *err)
{
    *s = (struct store_sync){
        .id = db_text(r, 0, a),
        .path = db_text(r, 1, a),
        .is_scheduled = db_bool(r, 2),
        .user_id = db_text(r, 3, a),
        .create_time = db_time(r, 4),
    };
    scoped_json *metadata = store_column_json(r, 5, err);
    scoped_json *status = metadata ? store_column_json(r, 6, err) : NULL;
    return (status && store_sync_read_json(a, metadata, status, s, err)) ||
           err_wrap(err, "sync entry %.*s", STR_ARG(s->id));
}

bool store_sync_insert(struct store_tx *tx, struct store_sync *s, struct err *err)
{
    scoped_arena scratch = {0};
    if (!s->create_time)
        s->create_time = wall_ns();
    struct str metadata = store_json_text(&scratch, store_sync_metadata_json(s));
    struct str status = store_json_text(&scratch, store_sync_status_json(s));
    return db_exec(tx->db,
                   "INSERT INTO sync (id, path, is_scheduled, user_id, create_time, metadata, status) "
                   "VALUES (?, ?, ?, ?, ?, ?, ?)",
                   DB_ARGS(DB_TEXT(s->id), DB_TEXT(s->path), DB_BOOL(s->is_scheduled), DB_TEXT(s->user_id),
                           DB_TIME(s->create_time), DB_TEXT(metadata), DB_TEXT(status)), NULL, err);
}

bool store_sync_update_status(struct store_tx *tx, const struct store_sync *s, struct err *err)
{
    scoped_arena scratch = {0};
    int64_t n = 0;
    struct str status = store_json_text(&scratch, store_sync_status_json(s));
    bool is_ok = db_exec(tx->db, "UPDATE sync SET status = ? WHERE id = ?", DB_ARGS(DB_TEXT(status), DB_TEXT(s->id)),
                         &n, err);
    return store_found(is_ok, n > 0, err, "no sync entry found with id: %.*s", STR_ARG(s->id));
}

bool store_sync_delete(struct store_tx *tx, struct str id, struct err *err)
{
    int64_t n = 0;
    bool is_ok = db_exec(tx->db, "DELETE FROM sync WHERE id = ?", DB_ARGS(DB_TEXT(id)), &n, err);
    return store_found(is_ok, n > 0, err, "no sync entry found with id for delete: %.*s", STR_ARG(id));
}

bool store_sync_get(struct store_tx *tx, struct arena *a, struct str id, struct store_sync *out, struct err *err)
{
    scoped_db_rows *r = db_query(tx->db, "SELECT " COLUMNS " FROM sync WHERE id = ?", DB_ARGS(DB_TEXT(id)), err);
    if (!r)
        return false;
    struct store_sync s;
    bool found = db_next(r);
    if (found && !read_sync(r, a, &s, err))
        return false;
    if (!store_found(db_end(&r, err), found, err, "no sync entry found with id: %.*s", STR_ARG(id)))
        return false;
    *out = s;
    return true;
}

bool store_sync_list(struct store_tx *tx, struct arena *a, struct store_sync_list *out, struct err *err)
{
    struct store_sync_list entries = {0};
    scoped_db_rows *r = db_query(tx->db, "SELECT " COLUMNS " FROM sync ORDER BY create_time, id", DB_NO_ARGS, err);
    if (!r)
        return false;
    while (db_next(r))
        if (!read_sync(r, a, vec_push(a, &entries), err))
            return false;
    if (!db_end(&r, err))
        return false;
    *out = entries;
    return true;
}
