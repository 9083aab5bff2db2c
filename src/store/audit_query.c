/* store/audit_query.c: reads the audit trail, and forgets what is old.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

enum {
    LIMIT_DEFAULT = 50,
    LIMIT_MAX = 10000,
    VALUES_MAX = 20000,      /* of an IN list; SQLite takes 32,766 arguments */
    RETAIN_CHUNK = 5000,     /* rows deleted in one transaction */
};

/* A WHERE clause in the making. */
struct where {
    struct arena *a;
    struct buf sql;
    VEC(struct db_val) args;
};

static void condition(struct where *w, const char *sql, struct db_val arg)
{
    buf_printf(&w->sql, " AND %s", sql);
    *vec_push(w->a, &w->args) = arg;
}

static void equals(struct where *w, const char *sql, struct str value)
{
    if (!str_is_empty(value))
        condition(w, sql, DB_TEXT(value));
}

static bool one_of(struct where *w, const char *column, const struct str_list *values, struct err *err)
{
    if (values->len > VALUES_MAX)
        return err_set(err, ERR_INVALID, "%zu values for %s: at most %d can be asked for at once", values->len, column,
                       VALUES_MAX);
    buf_printf(&w->sql, " AND %s IN (", column);
    vec_foreach (v, values) {
        buf_add_z(&w->sql, v == values->items ? "?" : ", ?");
        *vec_push(w->a, &w->args) = DB_TEXT(*v);
    }
    buf_add_char(&w->sql, ')');
    return true;
}

/* The operations asked for; those that come with suffixes, with all of them (management-api.md 2). */
static struct str_list with_suffixes(struct arena *a, const struct str_list *operations)
{
    static const char *const groups[] = {"reload_apps", "approve_apps", "promote_apps", "update_metadata"};
    static const char *const suffixes[] = {"_promote", "_approve", "_promote_approve"};
    struct str_list all = {0};
    vec_foreach (op, operations) {
        str_list_add(a, &all, *op);
        for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
            if (!str_eq_z(*op, groups[g]))
                continue;
            str_list_add(a, &all, str_printf(a, "%s_dryrun", groups[g]));
            for (size_t s = 0; s < ARRAY_LEN(suffixes); s++) {
                str_list_add(a, &all, str_printf(a, "%s%s", groups[g], suffixes[s]));
                str_list_add(a, &all, str_printf(a, "%s%s_dryrun", groups[g], suffixes[s]));
            }
        }
    }
    return all;
}

/* `s` anywhere: its own wildcards mean themselves. */
static struct str like_pattern(struct arena *a, struct str s)
{
    scoped_buf b = BUF_INIT(s.len * 2 + 2);
    buf_add_char(&b, '%');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '%' || s.ptr[i] == '_' || s.ptr[i] == '\\')
            buf_add_char(&b, '\\');
        buf_add_char(&b, s.ptr[i]);
    }
    buf_add_char(&b, '%');
    return str_dup(a, buf_str(&b));
}

static bool build(struct where *w, const struct store_audit_query *q, int limit, struct err *err)
{
    buf_add_z(&w->sql, "SELECT rid, app_id, create_time, user_id, event_type, operation, target, status, detail "
                       "FROM audit WHERE 1 = 1");
    equals(w, "user_id = ?", q->user_id);
    equals(w, "event_type = ?", q->event_type);
    equals(w, "target = ?", q->target);
    equals(w, "status = ?", q->status);
    equals(w, "rid = ?", q->rid);
    if (q->app_ids && !one_of(w, "app_id", q->app_ids, err))
        return false;
    if (q->operations.len > 0) {
        struct str_list all = with_suffixes(w->a, &q->operations);
        if (!one_of(w, "operation", &all, err))
            return false;
    }
    if (!str_is_empty(q->detail))
        condition(w, "detail LIKE ? ESCAPE '\\'", DB_TEXT(like_pattern(w->a, q->detail)));
    if (q->from)
        condition(w, "create_time >= ?", DB_INT(q->from));
    if (q->to)
        condition(w, "create_time < ?", DB_INT(q->to));
    if (q->before)
        condition(w, "create_time < ?", DB_INT(q->before));
    buf_add_z(&w->sql, " ORDER BY create_time DESC LIMIT ?");
    *vec_push(w->a, &w->args) = DB_INT(limit);
    return !w->sql.is_full || err_set(err, ERR_INVALID, "the audit query is too large");
}

static bool read_events(struct db_tx *tx, struct arena *a, const struct where *w, struct store_audit_list *out,
                        struct err *err)
{
    struct store_audit_list events = {0};
    struct db_args args = {w->args.items, w->args.len};
    scoped_db_rows *r = db_query(tx, buf_z(&w->sql), args, err);
    if (!r)
        return false;
    while (db_next(r))
        *vec_push(a, &events) = (struct store_audit_event){
            .rid = db_text(r, 0, a),
            .app_id = db_text(r, 1, a),
            .create_time = db_int(r, 2),
            .user_id = db_text(r, 3, a),
            .event_type = db_text(r, 4, a),
            .operation = db_text(r, 5, a),
            .target = db_text(r, 6, a),
            .status = db_text(r, 7, a),
            .detail = db_text(r, 8, a),
        };
    if (!db_end(&r, err))
        return false;
    *out = events;
    return true;
}

bool store_audit_list(struct store *s, struct arena *a, const struct store_audit_query *q,
                      struct store_audit_list *out, struct err *err)
{
    int limit = q->limit ? q->limit : LIMIT_DEFAULT;
    if (limit < 1 || limit > LIMIT_MAX)
        return err_set(err, ERR_INVALID, "limit must be between 1 and %d", LIMIT_MAX);
    if (q->app_ids && q->app_ids->len == 0) {
        *out = (struct store_audit_list){0};
        return true;
    }
    scoped_arena scratch = {0};
    struct where w = {.a = &scratch, .sql = BUF_INIT(256 << 10)};
    bool is_ok = build(&w, q, limit, err) && store_audit_flush(s, err);
    if (is_ok) {
        scoped_db_tx *tx = db_read(s->audit_db, err);
        is_ok = tx && read_events(tx, a, &w, out, err);
    }
    buf_release(&w.sql);
    return is_ok;
}

bool store_audit_operations(struct store *s, struct arena *a, struct str_list *out, struct err *err)
{
    if (!store_audit_flush(s, err))
        return false;
    struct str_list operations = {0};
    scoped_db_tx *tx = db_read(s->audit_db, err);
    if (!tx)
        return false;
    scoped_db_rows *r = db_query(tx, "SELECT DISTINCT operation FROM audit WHERE event_type = 'custom' "
                                     "ORDER BY operation", DB_NO_ARGS, err);
    if (!r)
        return false;
    while (db_next(r))
        str_list_add(a, &operations, db_text(r, 0, a));
    if (!db_end(&r, err))
        return false;
    *out = operations;
    return true;
}

/* --- retention --- */

/* Deletes up to RETAIN_CHUNK rows (more if they share one nanosecond) older than `before`; *n is 0 at the end. */
static bool retain_chunk(struct store *s, bool is_http, int64_t before, int64_t *n, struct err *err)
{
    const char *find = is_http ? "SELECT create_time FROM audit WHERE create_time < ? AND event_type = 'http' "
                                 "ORDER BY create_time LIMIT 1 OFFSET ?"
                               : "SELECT create_time FROM audit WHERE create_time < ? AND event_type <> 'http' "
                                 "ORDER BY create_time LIMIT 1 OFFSET ?";
    const char *del = is_http ? "DELETE FROM audit WHERE create_time < ? AND event_type = 'http'"
                              : "DELETE FROM audit WHERE create_time < ? AND event_type <> 'http'";
    scoped_db_tx *tx = db_begin(s->audit_db, err);
    bool found;
    int64_t until = before - 1;
    return tx && db_query_int(tx, find, DB_ARGS(DB_INT(before), DB_INT(RETAIN_CHUNK - 1)), &until, &found, err) &&
           db_exec(tx, del, DB_ARGS(DB_INT(until + 1)), n, err) && db_commit(&tx, err);
}

static bool retain(struct store *s, bool is_http, int64_t days, int64_t *removed, struct err *err)
{
    const int64_t day_ns = INT64_C(86400) * 1000000000;
    if (days <= 0 || days > wall_ns() / day_ns)
        return true;
    int64_t n;
    do {
        if (!retain_chunk(s, is_http, wall_ns() - days * day_ns, &n, err))
            return false;
        *removed += n;
    } while (n > 0);
    return true;
}

bool store_audit_retain(struct store *s, int64_t http_days, int64_t other_days, int64_t *removed, struct err *err)
{
    int64_t n = 0;
    bool is_ok = retain(s, true, http_days, &n, err) && retain(s, false, other_days, &n, err);
    *removed = n;
    return is_ok || err_wrap(err, "deleting old audit events");
}
