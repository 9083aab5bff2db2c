/* db/db.c: a database: opening, the queue of writers, the pool of readers, transactions.
 *
 * The writer queue hands over directly: who releases calls the first waiter, and `is_writing` stays true in
 * between, so nobody overtakes. A waiter that gives up unlinks itself under the same lock.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_int.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static const struct db_driver *const drivers[] = {&db_sqlite};

struct timespec db_deadline(int64_t ms)
{
    int64_t ns = clock_ns() + ms * 1000000;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

void db_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

/* --- the writer queue --- */

bool db_writer_acquire(struct db *db, struct err *err)
{
    pthread_mutex_lock(&db->write_lock);
    if (!db->is_writing) {
        db->is_writing = true;
        db->write_owner = pthread_self();
        pthread_mutex_unlock(&db->write_lock);
        return true;
    }
    if (pthread_equal(db->write_owner, pthread_self()))
        BUG("a thread begins a second write transaction on %.*s", STR_ARG(db->path));

    struct db_waiter me = {0};
    db_cond_init(&me.cond);
    *db->last_waiter = &me;
    db->last_waiter = &me.next;
    int64_t began = clock_ns();
    struct timespec deadline = db_deadline(db->busy_ms);
    int rc = 0;
    while (!me.is_called && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&me.cond, &db->write_lock, &deadline);
    if (!me.is_called) {
        struct db_waiter **at = &db->first_waiter;
        while (*at != &me)
            at = &(*at)->next;
        *at = me.next;
        if (db->last_waiter == &me.next)
            db->last_waiter = at;
    } else {
        db->write_owner = pthread_self();
    }
    db->write_waits++;
    db->write_wait_ns += clock_ns() - began;
    pthread_mutex_unlock(&db->write_lock);
    pthread_cond_destroy(&me.cond);
    return me.is_called || err_set(err, ERR_UNAVAILABLE,
                                   "the %.*s database was busy for %d s: another change takes too long; try again",
                                   STR_ARG(db->label), db->busy_ms / 1000);
}

void db_writer_release(struct db *db)
{
    pthread_mutex_lock(&db->write_lock);
    struct db_waiter *w = db->first_waiter;
    db->write_owner = (pthread_t){0};
    if (w) {
        db->first_waiter = w->next;
        if (!w->next)
            db->last_waiter = &db->first_waiter;
        w->is_called = true;
        pthread_cond_signal(&w->cond);
    } else {
        db->is_writing = false;
    }
    pthread_mutex_unlock(&db->write_lock);
}

/* --- the pool of readers --- */

void db_gate_close(struct db *db)
{
    pthread_mutex_lock(&db->pool_lock);
    db->is_gated = true;
    pthread_mutex_unlock(&db->pool_lock);
}

void db_gate_open(struct db *db)
{
    pthread_mutex_lock(&db->pool_lock);
    db->is_gated = false;
    pthread_cond_broadcast(&db->pool_changed);
    pthread_mutex_unlock(&db->pool_lock);
}

/* Waits until a connection is free or may be opened: *conn is the free one, or NULL for "open one". */
static bool reader_reserve(struct db *db, struct db_conn **conn, struct err *err)
{
    pthread_mutex_lock(&db->pool_lock);
    struct timespec gate = db_deadline(DB_WAL_GATE_MS), deadline = db_deadline(db->busy_ms);
    int rc = 0;
    while (db->is_gated && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&db->pool_changed, &db->pool_lock, &gate);
    rc = 0;
    while (!db->free_readers && db->open_readers >= db->max_readers && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&db->pool_changed, &db->pool_lock, &deadline);
    bool is_ok = true;
    if (db->free_readers) {
        *conn = db->free_readers;
        db->free_readers = (*conn)->next;
    } else if (db->open_readers < db->max_readers) {
        *conn = NULL;
        db->open_readers++;
    } else {
        is_ok = false;
    }
    if (is_ok) {
        db->busy_readers++;
        db->reads++;
    }
    pthread_mutex_unlock(&db->pool_lock);
    return is_ok || err_set(err, ERR_UNAVAILABLE,
                            "all %d readers of the %.*s database were busy for %d s; try again",
                            db->max_readers, STR_ARG(db->label), db->busy_ms / 1000);
}

/* Puts a connection back; NULL gives back the place of one that could not be opened. */
static void reader_give_back(struct db *db, struct db_conn *conn)
{
    pthread_mutex_lock(&db->pool_lock);
    db->busy_readers--;
    if (conn) {
        conn->next = db->free_readers;
        db->free_readers = conn;
    } else {
        db->open_readers--;
    }
    pthread_cond_broadcast(&db->pool_changed);
    pthread_mutex_unlock(&db->pool_lock);
}

void db_slim(struct db *db)
{
    pthread_mutex_lock(&db->pool_lock);
    struct db_conn *unused = db->free_readers;
    db->free_readers = NULL;
    for (struct db_conn *c = unused; c; c = c->next)
        db->open_readers--;
    pthread_cond_broadcast(&db->pool_changed);
    pthread_mutex_unlock(&db->pool_lock);
    while (unused) {
        struct db_conn *next = unused->next;
        db->driver->disconnect(unused);
        unused = next;
    }
    scoped_err ignored = {0};
    scoped_db_tx *tx = db_begin(db, &ignored);
    if (tx)
        db->driver->slim(tx->conn);
}

static struct db_conn *reader_acquire(struct db *db, struct err *err)
{
    struct db_conn *conn = NULL;
    if (!reader_reserve(db, &conn, err))
        return NULL;
    if (!conn && !(conn = db->driver->connect(db, /* is_writer= */ false, err)))
        reader_give_back(db, NULL);
    return conn;
}

/* --- transactions --- */

struct db_tx *db_begin(struct db *db, struct err *err)
{
    if (!db_writer_acquire(db, err))
        return NULL;
    struct db_conn *conn = db->writer;
    if (!db->driver->begin(conn, err)) {
        db_writer_release(db);
        return NULL;
    }
    conn->tx = (struct db_tx){.conn = conn, .is_write = true, .begun_ns = clock_ns()};
    return &conn->tx;
}

struct db_tx *db_read(struct db *db, struct err *err)
{
    struct db_conn *conn = reader_acquire(db, err);
    if (!conn)
        return NULL;
    if (!db->driver->begin(conn, err)) {
        reader_give_back(db, conn);
        return NULL;
    }
    conn->tx = (struct db_tx){.conn = conn, .begun_ns = clock_ns()};
    return &conn->tx;
}

static void end(struct db_tx *tx)
{
    struct db_conn *conn = tx->conn;
    struct db *db = conn->db;
    bool is_write = tx->is_write;
    int64_t took = clock_ns() - tx->begun_ns;
    *tx = (struct db_tx){0};
    if (!is_write) {
        reader_give_back(db, conn);
        return;
    }
    pthread_mutex_lock(&db->write_lock);
    db->writes++;
    db->longest_write_ns = MAX(db->longest_write_ns, took);
    pthread_mutex_unlock(&db->write_lock);
    db_writer_release(db);
}

void db_rollback(struct db_tx **txp)
{
    struct db_tx *tx = *txp;
    *txp = NULL;
    if (!tx)
        return;
    assert(tx->open_rows == 0); /* inv. 3 */
    tx->conn->db->driver->rollback(tx->conn);
    end(tx);
}

bool db_commit(struct db_tx **txp, struct err *err)
{
    struct db_tx *tx = *txp;
    struct db *db = tx->conn->db;
    if (!tx->is_write) {
        db_rollback(txp);
        return true;
    }
    assert(tx->open_rows == 0); /* inv. 3 */
    if (tx->is_broken) {
        db_rollback(txp);
        return err_set(err, ERR_INTERNAL, "a change of the %.*s database had failed and was undone",
                       STR_ARG(db->label));
    }
    if (db->has_fault_points)
        db_fault_point(db->fault_commit);
    if (!db->driver->commit(tx->conn, err)) {
        db_rollback(txp);
        return false;
    }
    if (db->has_fault_points)
        db_fault_point(db->fault_committed);
    if (db->driver->after_commit)
        db->driver->after_commit(tx->conn);
    *txp = NULL;
    end(tx);
    return true;
}

bool db_tx_is_write(const struct db_tx *tx)
{
    return tx->is_write;
}

struct db *db_tx_db(const struct db_tx *tx)
{
    return tx->conn->db;
}

/* --- opening --- */

/* The connection string without what may be a password. */
static struct str kind_of(struct str connection)
{
    struct str kind;
    return str_cut(connection, ':', &kind, NULL) ? kind : str_slice(connection, 0, 32);
}

static const struct db_driver *driver_of(struct str connection, struct str *rest, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        if (str_starts(connection, str_from(drivers[i]->prefix))) {
            *rest = str_from_off(connection, strlen(drivers[i]->prefix));
            return drivers[i];
        }
    err_set(err, ERR_INVALID, "invalid database type: %.*s: use sqlite:<path>", STR_ARG(kind_of(connection)));
    return NULL;
}

static void name_fault_points(struct db *db)
{
    db->fault_write = str_z(&db->arena, str_printf(&db->arena, "%.*s.write", STR_ARG(db->label)));
    db->fault_commit = str_z(&db->arena, str_printf(&db->arena, "%.*s.commit", STR_ARG(db->label)));
    db->fault_committed = str_z(&db->arena, str_printf(&db->arena, "%.*s.committed", STR_ARG(db->label)));
}

bool db_open(struct str connection, const struct db_options *o, struct db **out, struct err *err)
{
    struct str rest;
    const struct db_driver *driver = driver_of(connection, &rest, err);
    if (!driver)
        return false;
    struct db *db = xcalloc(1, sizeof *db);
    db->driver = driver;
    arena_init(&db->arena, 0);
    db->label = str_dup(&db->arena, str_from(o->label ? o->label : "main"));
    db->busy_ms = o->busy_ms > 0 ? o->busy_ms : DB_BUSY_MS;
    db->max_readers = o->readers > 0 ? o->readers : DB_READERS;
    db->journal_size_limit = o->journal_size_limit;
    db->has_fault_points = o->has_fault_points;
    name_fault_points(db);
    db->last_waiter = &db->first_waiter;
    pthread_mutex_init(&db->write_lock, NULL);
    pthread_mutex_init(&db->pool_lock, NULL);
    db_cond_init(&db->pool_changed);
    if (!driver->open(db, rest, err) || !(db->writer = driver->connect(db, /* is_writer= */ true, err))) {
        err_wrap(err, "opening the %.*s database", STR_ARG(db->label));
        db_close(db);
        return false;
    }
    *out = db;
    return true;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    assert(!db->is_writing && db->busy_readers == 0); /* inv. 3 */
    while (db->free_readers) {
        struct db_conn *conn = db->free_readers;
        db->free_readers = conn->next;
        db->driver->disconnect(conn);
    }
    if (db->writer)
        db->driver->disconnect(db->writer); /* last, so that it checkpoints and removes the log */
    db->driver->close(db);
    pthread_mutex_destroy(&db->write_lock);
    pthread_mutex_destroy(&db->pool_lock);
    pthread_cond_destroy(&db->pool_changed);
    arena_release(&db->arena);
    free(db);
}

struct str db_path(const struct db *db)
{
    return db->path;
}

struct str db_label(const struct db *db)
{
    return db->label;
}
