/* store/keys.c: the key store. A row whose delete_at has passed is as good as deleted: every read looks past
 * it, and store_key_sweep() removes it some time later.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#define IS_LIVE "(delete_at IS NULL OR delete_at > ?)"

static struct store_key read_key(const struct db_rows *r, struct arena *a)
{
    return (struct store_key){.key = db_text(r, 0, a), .value = db_text(r, 1, a), .expires = db_time(r, 2)};
}

bool store_key_get(struct store_tx *tx, struct arena *a, struct str key, struct store_key *out, bool *found,
                   struct err *err)
{
    scoped_db_rows *r = db_query(tx->db, "SELECT key, value, delete_at FROM keystore WHERE key = ? AND " IS_LIVE,
                                 DB_ARGS(DB_TEXT(key), DB_TIME(wall_ns())), err);
    if (!r)
        return false;
    bool has_row = db_next(r);
    struct store_key k = has_row ? read_key(r, a) : (struct store_key){0};
    if (!db_end(&r, err))
        return false;
    *found = has_row;
    if (has_row)
        *out = k;
    return true;
}

bool store_key_put(struct store_tx *tx, const struct store_key *k, struct err *err)
{
    return db_exec(tx->db,
                   "INSERT INTO keystore (key, value, create_time, delete_at) VALUES (?, ?, ?, ?) "
                   "ON CONFLICT (key) DO UPDATE SET value = excluded.value, create_time = excluded.create_time, "
                   "delete_at = excluded.delete_at",
                   DB_ARGS(DB_TEXT(k->key), DB_BLOB(k->value), DB_TIME(wall_ns()), DB_TIME_OR_NULL(k->expires)), NULL,
                   err);
}

bool store_key_put_once(struct store_tx *tx, struct arena *a, const struct store_key *k, struct str *value,
                        struct err *err)
{
    struct store_key stored;
    bool found;
    if (!store_key_get(tx, a, k->key, &stored, &found, err) || (!found && !store_key_put(tx, k, err)))
        return false;
    *value = found ? stored.value : str_dup(a, k->value);
    return true;
}

bool store_key_delete(struct store_tx *tx, struct str key, struct err *err)
{
    return db_exec(tx->db, "DELETE FROM keystore WHERE key = ?", DB_ARGS(DB_TEXT(key)), NULL, err);
}

bool store_key_list(struct store_tx *tx, struct arena *a, struct str prefix, struct store_key_list *out,
                    struct err *err)
{
    struct store_key_list keys = {0};
    /* Keys are ASCII, so that everything with the prefix sorts before prefix + DEL. */
    scoped_arena scratch = {0};
    struct str end = str_cat(&scratch, prefix, STR("\x7f"));
    scoped_db_rows *r = db_query(tx->db,
                                 "SELECT key, value, delete_at FROM keystore WHERE key >= ? AND key < ? AND " IS_LIVE
                                 " ORDER BY key",
                                 DB_ARGS(DB_TEXT(prefix), DB_TEXT(end), DB_TIME(wall_ns())), err);
    if (!r)
        return false;
    while (db_next(r))
        *vec_push(a, &keys) = read_key(r, a);
    if (!db_end(&r, err))
        return false;
    *out = keys;
    return true;
}

bool store_key_sweep(struct store_tx *tx, int64_t *removed, struct err *err)
{
    return db_exec(tx->db, "DELETE FROM keystore WHERE delete_at IS NOT NULL AND delete_at <= ?",
                   DB_ARGS(DB_TIME(wall_ns())), removed, err);
}

/* --- marks of operations --- */

static struct str mark_key(struct arena *a, struct str id)
{
    return str_cat(a, STR("operation:"), id);
}

bool store_operation_mark(struct store_tx *tx, struct str id, struct err *err)
{
    scoped_arena a = {0};
    const int64_t day_ns = 86400LL * 1000000000;
    return store_key_put(tx, &(struct store_key){.key = mark_key(&a, id), .expires = wall_ns() + day_ns}, err);
}

bool store_operation_is_marked(struct store_tx *tx, struct str id, bool *is_marked, struct err *err)
{
    scoped_arena a = {0};
    int64_t n;
    return db_query_int(tx->db, "SELECT 1 FROM keystore WHERE key = ?", DB_ARGS(DB_TEXT(mark_key(&a, id))), &n, is_marked, err);
}
