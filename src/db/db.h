/* db/db.h: one small SQL interface: a database with one writer, a pool of readers, short transactions.
 *
 * The driver is chosen by the connection string: `sqlite:<path>[?params]` today; the functions take no
 * SQLite type, so that PostgreSQL fits behind the same ones. SQL is written once, portably: `?`
 * placeholders, `ON CONFLICT`, no implicit rowid; types that differ between databases are written
 * `$datetime`, `$blob`, `$json` in schema text and replaced by the driver (db_schema).
 *
 *     scoped_db_tx *tx = db_begin(db, err);             // or db_read(): a snapshot
 *     if (!tx || !db_exec(tx, "UPDATE t SET a = ? WHERE id = ?", DB_ARGS(DB_INT(1), DB_TEXT(id)), NULL, err))
 *         return false;                                 // rolled back by the scope
 *     scoped_db_rows *rows = db_query(tx, "SELECT a, b FROM t", DB_NO_ARGS, err);
 *     if (!rows)
 *         return false;
 *     while (db_next(rows))
 *         use(db_int(rows, 0), db_text(rows, 1, arena));
 *     return db_end(&rows, err) && db_commit(&tx, err);
 *
 * Threads: a struct db may be used from any thread. Writers queue, first come first served; readers share
 * a pool and see the last commit. A transaction and its rows belong to one thread at a time, and a thread
 * holds at most one write transaction of a database (a second db_begin would wait for itself: it is a
 * BUG). No transaction may span git, the network, a template or a response body: what is needed from
 * there is prepared before db_begin().
 *
 * 1. Only the write transaction at the head of the queue uses the writer connection.
 * 2. A reader connection is in the pool or belongs to exactly one open read transaction.
 * 3. Rows end before their transaction; a transaction ends before the database closes.
 * 4. The write-ahead log stays bounded while read transactions are short: once a commit leaves it above
 *    DB_WAL_MAX_BYTES, new readers wait (at most DB_WAL_GATE_MS) while it is copied back and truncated.
 *
 * Locks inside: one mutex for the writer queue, one for the reader pool; neither is held while SQL runs.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_H
#define DB_H

#include "base.h"

struct db;
struct db_tx;
struct db_rows;

enum {
    DB_BUSY_MS = 10000,               /* default wait for a lock or a turn to write */
    DB_READERS = 8,                   /* default ceiling of the reader pool */
    DB_WAL_MAX_BYTES = 16 << 20,      /* a commit that leaves more triggers a truncating checkpoint */
    DB_WAL_GATE_MS = 250,             /* how long new readers are held back for it */
};

/* --- opening --- */

struct db_options {
    const char *label;            /* short name in messages and fault points: "metadata", "audit" */
    int readers;                  /* ceiling of the reader pool; 0 is DB_READERS */
    int busy_ms;                  /* 0 is DB_BUSY_MS */
    int64_t journal_size_limit;   /* bytes the log file is cut to after a checkpoint; 0 or less: no limit */
    bool has_fault_points;        /* writes and commits are fault points (db_fault_point) */
};

/* Opens (creating the file, mode 0600, if need be) the database of `connection`. `_pragma=name(value)`
 * parameters win over our settings. Fails on another kind of connection string, a missing folder, a file
 * that is not a database, is damaged, or cannot be written. */
bool db_open(struct str connection, const struct db_options *options, struct db **out, struct err *err);
/* Waits for nothing: every transaction must have ended. NULL is fine. */
void db_close(struct db *db);
/* The file's path (SQLite). Lives as long as `db`. */
struct str db_path(const struct db *db);
struct str db_label(const struct db *db);

/* --- transactions --- */

/* The write transaction, when it is this caller's turn. NULL with ERR_UNAVAILABLE when that took longer
 * than busy_ms. */
struct db_tx *db_begin(struct db *db, struct err *err) MUST_USE;
/* A read-only snapshot. */
struct db_tx *db_read(struct db *db, struct err *err) MUST_USE;
/* Makes the changes durable and ends the transaction; *tx is NULL afterwards, also when it fails (then
 * nothing was changed). On a read transaction it only ends it. */
bool db_commit(struct db_tx **tx, struct err *err);
/* Undoes everything and ends the transaction. *tx may be NULL, and is afterwards. */
void db_rollback(struct db_tx **tx);
#define scoped_db_tx CLEANUP(db_rollback) struct db_tx
bool db_tx_is_write(const struct db_tx *tx);
struct db *db_tx_db(const struct db_tx *tx);

/* --- statements --- */

enum db_type { DB_TYPE_NULL, DB_TYPE_INT, DB_TYPE_BOOL, DB_TYPE_TEXT, DB_TYPE_BLOB, DB_TYPE_TIME };

/* One argument of a statement; text and blobs are borrowed until the call returns (db_query: until the
 * rows end). */
struct db_val {
    enum db_type type;
    int64_t i;       /* INT, BOOL, TIME: ns since 1970 UTC */
    struct str s;    /* TEXT, BLOB */
};
struct db_args {
    const struct db_val *vals;
    size_t len;
};
#define DB_NULL     ((struct db_val){.type = DB_TYPE_NULL})
#define DB_INT(x)   ((struct db_val){.type = DB_TYPE_INT, .i = (x)})
#define DB_BOOL(x)  ((struct db_val){.type = DB_TYPE_BOOL, .i = (x) ? 1 : 0})
#define DB_TEXT(x)  ((struct db_val){.type = DB_TYPE_TEXT, .s = (x)})
#define DB_BLOB(x)  ((struct db_val){.type = DB_TYPE_BLOB, .s = (x)})
#define DB_TIME(ns) ((struct db_val){.type = DB_TYPE_TIME, .i = (ns)})
/* NULL for the time 0, which means "never" or "not set". */
#define DB_TIME_OR_NULL(ns) ((struct db_val){.type = (ns) ? DB_TYPE_TIME : DB_TYPE_NULL, .i = (ns)})
#define DB_ARGS(...)                                                                                    \
    ((struct db_args){(const struct db_val[]){__VA_ARGS__},                                             \
                      sizeof((const struct db_val[]){__VA_ARGS__}) / sizeof(struct db_val)})
#define DB_NO_ARGS ((struct db_args){NULL, 0})

/* Runs a statement that gives no rows. `*changes`, unless NULL, is the number of rows it changed.
 * `sql` should be a literal: statements are cached by their text. A broken UNIQUE constraint is
 * ERR_CONFLICT. After a failure the transaction can only be rolled back. */
bool db_exec(struct db_tx *tx, const char *sql, struct db_args args, int64_t *changes, struct err *err);

/* Starts a query; NULL on failure. Close with db_end (which reports a failure midway) or the scope. */
struct db_rows *db_query(struct db_tx *tx, const char *sql, struct db_args args, struct err *err) MUST_USE;
/* Moves to the next row; false at the end or on failure. */
bool db_next(struct db_rows *rows);
/* Ends the query; *rows is NULL afterwards. False if db_next() stopped because of a failure. */
bool db_end(struct db_rows **rows, struct err *err);
void db_rows_cleanup(struct db_rows **rows);
#define scoped_db_rows CLEANUP(db_rows_cleanup) struct db_rows

/* Columns of the current row, from 0. Lenient, since other programs wrote some rows: text and blobs are
 * interchangeable, numbers in text are read, NULL is 0 or empty. */
bool db_is_null(const struct db_rows *rows, int col);
int64_t db_int(const struct db_rows *rows, int col);
bool db_bool(const struct db_rows *rows, int col);               /* also the texts "true" and "t" */
struct str db_text(const struct db_rows *rows, int col, struct arena *a);
/* The bytes without a copy, valid until the next db_next() or db_end(). */
struct str db_peek(const struct db_rows *rows, int col);
int64_t db_time(const struct db_rows *rows, int col);            /* ns since 1970 UTC; 0 if NULL or unreadable */

/* One integer of the first row: `*out` is untouched and *found false when there is no row. */
bool db_query_int(struct db_tx *tx, const char *sql, struct db_args args, int64_t *out, bool *found,
                  struct err *err);

/* --- times --- */

enum { DB_TIME_LEN = 29 };
/* `YYYY-MM-DD HH:MM:SS.nnnnnnnnn` in UTC; sorts as text. `out` has DB_TIME_LEN + 1 bytes. */
void db_time_format(int64_t ns, char *out);
/* Reads what databases hold: all that time_parse() reads, and the form in which Go prints a time
 * ("2024-01-02 03:04:05.6 +0000 UTC m=+0.1"). Year 1, which stands for "never", gives 0. */
bool db_time_parse(struct str s, int64_t *ns);

/* --- schema --- */

/* One upgrade: from version `to` - 1 to `to`. */
struct db_step {
    int to;
    bool (*run)(struct db_tx *tx, struct err *err);
};
struct db_schema {
    int version;                    /* what this program writes */
    const char *version_table;      /* "version": (version int, last_upgraded datetime), one row */
    const char *const *create;      /* statements that make a new database at `version` */
    size_t n_create;
    const struct db_step *steps;    /* ascending; the first one's `to` - 1 is the oldest that can be upgraded */
    size_t n_steps;
};
struct db_migrate_options {
    bool auto_upgrade;              /* false: an older database is an error */
    bool ignore_higher_version;     /* true: a newer database is used as it is */
};
/* Makes a new database, or steps an older one up in one transaction. */
bool db_migrate(struct db *db, const struct db_schema *schema, const struct db_migrate_options *options,
                struct err *err);

/* --- care --- */

struct db_care_options {
    int64_t vacuum_pages;      /* pages given back to the file system per pass; 0 or less: none */
    int truncate_every;        /* each so many passes the log is truncated first; 0 or less: never */
};
/* One maintenance pass, for a scheduler: checkpoint (PASSIVE, up to 3 tries), give free pages back when the
 * log is clean (or has not been for 9 passes), checkpoint again. Does nothing on PostgreSQL. */
bool db_care(struct db *db, const struct db_care_options *options, struct err *err);

/* Closes the readers that are not in use, and empties the writer's cache. Waits for its turn to write. */
void db_slim(struct db *db);

struct db_health {
    struct str kind;                       /* "sqlite" */
    int64_t database_bytes, wal_bytes, shm_bytes;
    bool is_wal_large;                     /* above 8 x max(journal_size_limit, 32 MiB): worth a warning */
    int64_t checkpoint_runs, checkpoint_errors, truncate_runs, truncate_blocked;
    int64_t vacuum_runs, vacuum_skipped_runs;
    int64_t last_checkpoint_ns, last_vacuum_ns;    /* wall time; 0 never */
    struct str last_checkpoint_mode;       /* static: "passive", "truncate" or empty */
    bool last_checkpoint_busy;
    int64_t last_wal_frames, last_checkpointed_frames;
    int open_readers, busy_readers;
    int64_t writes, reads;                 /* transactions begun */
    int64_t write_waits, write_wait_ns;    /* those that queued, and for how long in all */
    int64_t longest_write_ns;              /* the longest transaction since the database was opened */
};
void db_health(struct db *db, struct db_health *out);

/* --- faults --- */

/* A place where a crash must leave the metadata as before or as after. Costs one load unless the process
 * runs with OPENRUN_FAULT_POINT=<n> (or <prefix>:<n>: only names that start so): the n-th point reached,
 * counted from 1 over all threads, says its name on stderr and kills the process with SIGKILL. Databases
 * with has_fault_points pass `<label>.write` before each change, `<label>.commit` before and
 * `<label>.committed` after each commit. */
void db_fault_point(const char *name);

#endif
