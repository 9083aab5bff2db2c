/* db/rows.c: statements and their rows, the same for every driver.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_int.h"

bool db_exec(struct db_tx *tx, const char *sql, struct db_args args, int64_t *changes, struct err *err)
{
    struct db *db = tx->conn->db;
    if (!tx->is_write)
        BUG("a change in a read transaction: %s", sql);
    if (db->has_fault_points)
        db_fault_point(db->fault_write);
    if (db->driver->exec(tx->conn, sql, args, changes, err))
        return true;
    tx->is_broken = true;
    return false;
}

struct db_rows *db_query(struct db_tx *tx, const char *sql, struct db_args args, struct err *err)
{
    struct db_rows *rows = tx->conn->db->driver->query(tx->conn, sql, args, err);
    if (!rows) {
        tx->is_broken = true;
        return NULL;
    }
    rows->conn = tx->conn;
    rows->has_row = false;
    rows->error = (struct err){0};
    tx->open_rows++;
    return rows;
}

bool db_next(struct db_rows *rows)
{
    if (err_is_set(&rows->error))
        return false;
    rows->has_row = rows->conn->db->driver->next(rows, &rows->error);
    if (err_is_set(&rows->error))
        rows->conn->tx.is_broken = true;
    return rows->has_row;
}

bool db_end(struct db_rows **rowsp, struct err *err)
{
    struct db_rows *rows = *rowsp;
    *rowsp = NULL;
    struct err error = rows->error;
    rows->error = (struct err){0};
    rows->has_row = false;
    rows->conn->tx.open_rows--;
    rows->conn->db->driver->finish(rows);
    return !err_is_set(&error) || err_move(err, &error);
}

void db_rows_cleanup(struct db_rows **rows)
{
    scoped_err ignored = {0};
    if (*rows)
        db_end(rows, &ignored);
}

/* --- columns --- */

static struct db_val column(const struct db_rows *rows, int col)
{
    assert(rows->has_row);
    return rows->conn->db->driver->column(rows, col);
}

bool db_is_null(const struct db_rows *rows, int col)
{
    return column(rows, col).type == DB_TYPE_NULL;
}

int64_t db_int(const struct db_rows *rows, int col)
{
    struct db_val v = column(rows, col);
    int64_t n = 0;
    if (v.type == DB_TYPE_INT)
        return v.i;
    str_to_i64(str_trim(v.s), &n);
    return n;
}

bool db_bool(const struct db_rows *rows, int col)
{
    struct db_val v = column(rows, col);
    if (v.type == DB_TYPE_INT)
        return v.i != 0;
    return str_eq_nocase(v.s, STR("true")) || str_eq_nocase(v.s, STR("t")) || str_eq(v.s, STR("1"));
}

struct str db_peek(const struct db_rows *rows, int col)
{
    return column(rows, col).s;
}

struct str db_text(const struct db_rows *rows, int col, struct arena *a)
{
    struct db_val v = column(rows, col);
    if (v.type == DB_TYPE_INT)
        return str_printf(a, "%lld", (long long)v.i);
    return str_dup(a, v.s);
}

int64_t db_time(const struct db_rows *rows, int col)
{
    struct db_val v = column(rows, col);
    int64_t ns = 0;
    if (v.type == DB_TYPE_INT) /* Unix seconds, as some tools write them */
        return v.i > INT64_MAX / 1000000000 || v.i < INT64_MIN / 1000000000 ? 0 : v.i * 1000000000;
    return db_time_parse(v.s, &ns) ? ns : 0;
}

bool db_query_int(struct db_tx *tx, const char *sql, struct db_args args, int64_t *out, bool *found,
                  struct err *err)
{
    scoped_db_rows *rows = db_query(tx, sql, args, err);
    if (!rows)
        return false;
    bool has_row = db_next(rows);
    int64_t value = has_row ? db_int(rows, 0) : 0;
    if (!db_end(&rows, err))
        return false;
    *found = has_row;
    if (has_row)
        *out = value;
    return true;
}
