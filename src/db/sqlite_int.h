/* db/sqlite_int.h: the SQLite driver's connection, shared with its maintenance.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_SQLITE_INT_H
#define DB_SQLITE_INT_H

#include "db_int.h"

#include <sqlite3.h>

enum { SQ_CACHE = 64 };

struct sq_stmt {
    struct db_rows rows;    /* first: the driver gets it back as this */
    sqlite3_stmt *st;
    const char *sql;        /* sqlite3_sql(st) */
    uint64_t last_use;      /* the connection's tick */
    bool is_busy, is_cached;
};

struct sq_conn {
    struct db_conn base;    /* first, likewise */
    sqlite3 *h;
    struct sq_stmt *cache[SQ_CACHE];   /* NULL or prepared */
    uint64_t tick;
    int wal_frames;         /* in the log after the last commit of this connection */
};

struct sq_pragma {
    struct str name, value;
};
struct sq_data {
    struct { struct sq_pragma *items; size_t len, cap; } pragmas;   /* the user's */
    int page_size;
};

/* Fills `err` with what `rc` means on this database and what to do; false. `doing` completes the message of
 * unexpected codes. `h` may be NULL. */
bool sq_fail(const struct db *db, sqlite3 *h, int rc, const char *doing, struct err *err);

void sq_after_commit(struct db_conn *conn);
void sq_after_rollback(struct db_conn *conn); /* of the writer */
bool sq_care(struct db *db, const struct db_care_options *options, struct err *err);
void sq_health(struct db *db, struct db_health *out);
/* One checkpoint, counted in db->care; true if the whole log was copied back. */
bool sq_checkpoint(struct sq_conn *c, int mode);

#endif
