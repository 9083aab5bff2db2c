/* db/db_int.h: what the parts of db/ share: the driver interface and the shape of a database.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_INT_H
#define DB_INT_H

#include "db.h"

#include <pthread.h>
#include <stdatomic.h>

struct db_conn;

/* One open query. The driver embeds it at the start of its statement. */
struct db_rows {
    struct db_conn *conn;
    bool has_row;           /* columns may be read */
    struct err error;       /* why db_next() stopped, if not at the end */
};

struct db_tx {
    struct db_conn *conn;
    bool is_write;
    bool is_broken;         /* a statement failed: only rollback is left */
    int open_rows;
    int64_t begun_ns;
};

/* One connection; the driver embeds it at the start of its own. `tx` is the transaction it runs. */
struct db_conn {
    struct db *db;
    struct db_conn *next;   /* in the pool's free list */
    struct db_tx tx;
};

/* What a kind of database does. Functions taking a connection are called by its owner only. */
struct db_driver {
    const char *kind;           /* "sqlite" */
    const char *prefix;         /* of connection strings: "sqlite:" */
    const char *word_datetime, *word_blob, *word_json;   /* column types */
    const char *sql_table_exists;   /* a row if the table named by the one argument exists */

    /* Parses `rest` of the connection string, makes the database if need be; sets db->path, db->driver_data. */
    bool (*open)(struct db *db, struct str rest, struct err *err);
    void (*close)(struct db *db);
    struct db_conn *(*connect)(struct db *db, bool is_writer, struct err *err);
    void (*disconnect)(struct db_conn *conn);

    bool (*begin)(struct db_conn *conn, struct err *err);
    bool (*commit)(struct db_conn *conn, struct err *err);
    void (*rollback)(struct db_conn *conn);
    /* After a commit, still at the head of the writer queue. May be NULL. */
    void (*after_commit)(struct db_conn *conn);

    bool (*exec)(struct db_conn *conn, const char *sql, struct db_args args, int64_t *changes, struct err *err);
    struct db_rows *(*query)(struct db_conn *conn, const char *sql, struct db_args args, struct err *err);
    bool (*next)(struct db_rows *rows, struct err *err);   /* false: the end, or err is set */
    void (*finish)(struct db_rows *rows);
    struct db_val (*column)(const struct db_rows *rows, int col);   /* TIME comes as TEXT */

    bool (*care)(struct db *db, const struct db_care_options *options, struct err *err);
    void (*health)(struct db *db, struct db_health *out);
    /* Gives back what the connection keeps to be quicker. Not inside a statement. */
    void (*slim)(struct db_conn *conn);
};
extern const struct db_driver db_sqlite;

struct db_waiter {
    pthread_cond_t cond;
    bool is_called;
    struct db_waiter *next;
};

struct db {
    const struct db_driver *driver;
    void *driver_data;
    struct arena arena;             /* label, path, names; fixed after open */
    struct str label, path;
    int busy_ms;
    int64_t journal_size_limit;
    bool has_fault_points;
    const char *fault_write, *fault_commit, *fault_committed;

    /* Guarded by write_lock, except that `writer` is used by the head of the queue only. */
    pthread_mutex_t write_lock;
    bool is_writing;
    pthread_t write_owner;
    struct db_waiter *first_waiter, **last_waiter;
    struct db_conn *writer;
    int64_t writes, write_waits, write_wait_ns, longest_write_ns;

    /* Guarded by pool_lock. */
    pthread_mutex_t pool_lock;
    pthread_cond_t pool_changed;
    struct db_conn *free_readers;
    int open_readers, busy_readers, max_readers;
    bool is_gated;                  /* new readers wait */
    int64_t reads;

    struct db_care_state {
        atomic_int_fast64_t checkpoint_runs, checkpoint_errors, truncate_runs, truncate_blocked;
        atomic_int_fast64_t vacuum_runs, vacuum_skipped, last_checkpoint_ns, last_vacuum_ns;
        atomic_int_fast64_t wal_frames, checkpointed_frames;
        atomic_int last_mode;       /* 0 none, 1 passive, 2 truncate */
        atomic_bool last_busy;
        int passes, dirty_passes;   /* of the scheduler's thread */
        int64_t next_gate_ms;       /* writer's: not to gate readers again before */
    } care;
};

/* A turn to write, without a transaction: for maintenance. */
bool db_writer_acquire(struct db *db, struct err *err);
void db_writer_release(struct db *db);
/* Holds new readers back until db_gate_open(); those that wait longer than DB_WAL_GATE_MS go on anyway. */
void db_gate_close(struct db *db);
void db_gate_open(struct db *db);

/* An absolute CLOCK_MONOTONIC time `ms` from now, for pthread_cond_timedwait. */
struct timespec db_deadline(int64_t ms);
void db_cond_init(pthread_cond_t *c);

#endif
