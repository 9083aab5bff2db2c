/* store/config.c: the dynamic configuration: one live row, its history, and one draft.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#define COLUMNS "version_id, user_id, update_time, config"

static struct store_config read_config(const struct db_rows *r, struct arena *a)
{
    return (struct store_config){
        .version_id = db_text(r, 0, a),
        .user_id = db_text(r, 1, a),
        .update_time = db_time(r, 2),
        .config = db_text(r, 3, a),
    };
}

static bool get_one(struct store_tx *tx, struct arena *a, const char *sql, struct db_args args,
                    struct store_config *out, bool *found, struct err *err)
{
    scoped_db_rows *r = db_query(tx->db, sql, args, err);
    if (!r)
        return false;
    bool has_row = db_next(r);
    struct store_config c = has_row ? read_config(r, a) : (struct store_config){0};
    if (!db_end(&r, err))
        return false;
    *found = has_row;
    if (has_row)
        *out = c;
    return true;
}

bool store_config_get(struct store_tx *tx, struct arena *a, struct store_config *out, bool *found,
                      struct err *err)
{
    return get_one(tx, a, "SELECT " COLUMNS " FROM config", DB_NO_ARGS, out, found, err);
}

bool store_config_put(struct store_tx *tx, const struct store_config *c, struct str expected, int64_t history,
                      struct err *err)
{
    scoped_arena scratch = {0};
    struct store_config live = {0};
    bool found;
    if (!store_config_get(tx, &scratch, &live, &found, err))
        return false;
    if (!str_eq(live.version_id, expected))
        return err_set(err, ERR_CONFLICT, "config version id mismatch, expected %.*s, got %.*s",
                       STR_ARG(live.version_id), STR_ARG(expected));
    const struct db_args row = DB_ARGS(DB_TEXT(c->version_id), DB_TEXT(c->user_id),
                                       DB_TIME(c->update_time ? c->update_time : wall_ns()), DB_TEXT(c->config));
    return db_exec(tx->db, "DELETE FROM config", DB_NO_ARGS, NULL, err) &&
           db_exec(tx->db, "INSERT INTO config (" COLUMNS ") VALUES (?, ?, ?, ?)", row, NULL, err) &&
           db_exec(tx->db, "INSERT INTO config_history (" COLUMNS ") VALUES (?, ?, ?, ?)", row, NULL, err) &&
           db_exec(tx->db,
                   "DELETE FROM config_history WHERE version_id NOT IN (SELECT version_id FROM config_history "
                   "ORDER BY update_time DESC, version_id DESC LIMIT ?)",
                   DB_ARGS(DB_INT(MAX(history, 1))), NULL, err);
}

bool store_config_history(struct store_tx *tx, struct arena *a, int64_t limit, struct store_config_list *out,
                          struct err *err)
{
    struct store_config_list versions = {0};
    scoped_db_rows *r = db_query(tx->db,
                                 "SELECT " COLUMNS " FROM config_history ORDER BY update_time DESC, version_id DESC "
                                 "LIMIT ?", DB_ARGS(DB_INT(limit)), err);
    if (!r)
        return false;
    while (db_next(r))
        *vec_push(a, &versions) = read_config(r, a);
    if (!db_end(&r, err))
        return false;
    *out = versions;
    return true;
}

bool store_config_history_get(struct store_tx *tx, struct arena *a, struct str version_id,
                              struct store_config *out, struct err *err)
{
    bool found = false;
    bool is_ok = get_one(tx, a, "SELECT " COLUMNS " FROM config_history WHERE version_id = ?",
                         DB_ARGS(DB_TEXT(version_id)), out, &found, err);
    return store_found(is_ok, found, err, "no config version %.*s", STR_ARG(version_id));
}

bool store_config_draft_get(struct store_tx *tx, struct arena *a, struct str *draft, bool *found, struct err *err)
{
    scoped_db_rows *r = db_query(tx->db, "SELECT draft FROM config_draft WHERE id = 1", DB_NO_ARGS, err);
    if (!r)
        return false;
    bool has_row = db_next(r);
    struct str text = has_row ? db_text(r, 0, a) : (struct str){0};
    if (!db_end(&r, err))
        return false;
    *found = has_row;
    if (has_row)
        *draft = text;
    return true;
}

bool store_config_draft_put(struct store_tx *tx, struct str draft, struct err *err)
{
    if (str_is_empty(draft))
        return db_exec(tx->db, "DELETE FROM config_draft", DB_NO_ARGS, NULL, err);
    return db_exec(tx->db, "INSERT INTO config_draft (id, draft) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET draft = "
                   "excluded.draft", DB_ARGS(DB_TEXT(draft)), NULL, err);
}
