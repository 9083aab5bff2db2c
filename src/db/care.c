/* db/care.c: keeps a SQLite file and its log in shape: checkpoints, truncation, giving free pages back.
 *
 * SQLite's automatic checkpoint is replaced by sq_after_commit(), because it can be starved: it copies what
 * readers allow, but the log is reused only when none of them is left in it. With readers that overlap
 * without a gap the log would grow for ever; so past DB_WAL_MAX_BYTES new readers are held back for a moment.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sqlite_int.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum {
    CHECKPOINT_FRAMES = 1000,      /* as SQLite's own automatic checkpoint */
    GATE_RETRY_MS = 1000,          /* after a truncation that a long reader has blocked */
    CARE_BUSY_MS = 100,
    PASSIVE_TRIES = 3,
    PASSIVE_PAUSE_MS = 25,
    DIRTY_PASSES_MAX = 9,
    MODE_PASSIVE = 1,
    MODE_TRUNCATE = 2,
};

bool sq_checkpoint(struct sq_conn *c, int mode)
{
    struct db_care_state *care = &c->base.db->care;
    int frames = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(c->h, "main", mode, &frames, &copied);
    bool is_busy = (rc & 0xff) == SQLITE_BUSY;
    bool is_whole = rc == SQLITE_OK && frames == copied;
    if (mode == SQLITE_CHECKPOINT_TRUNCATE) {
        care->truncate_runs++;
        care->truncate_blocked += is_busy;
    } else {
        care->checkpoint_runs++;
    }
    care->checkpoint_errors += rc != SQLITE_OK && !is_busy;
    care->wal_frames = MAX(frames, 0);
    care->checkpointed_frames = MAX(copied, 0);
    care->last_mode = mode == SQLITE_CHECKPOINT_TRUNCATE ? MODE_TRUNCATE : MODE_PASSIVE;
    care->last_busy = is_busy;
    care->last_checkpoint_ns = wall_ns();
    return is_whole;
}

/* Truncates the log while new readers wait. */
static void checkpoint_behind_gate(struct sq_conn *c)
{
    struct db *db = c->base.db;
    db_gate_close(db);
    sqlite3_busy_timeout(c->h, DB_WAL_GATE_MS);
    if (!sq_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE))
        db->care.next_gate_ms = clock_ms() + GATE_RETRY_MS;
    sqlite3_busy_timeout(c->h, db->busy_ms);
    db_gate_open(db);
}

void sq_after_commit(struct db_conn *conn)
{
    struct sq_conn *c = (struct sq_conn *)conn;
    struct db *db = conn->db;
    const struct sq_data *data = db->driver_data;
    if (c->wal_frames < CHECKPOINT_FRAMES)
        return;
    if ((int64_t)c->wal_frames * data->page_size > DB_WAL_MAX_BYTES && clock_ms() >= db->care.next_gate_ms)
        checkpoint_behind_gate(c);
    else
        sq_checkpoint(c, SQLITE_CHECKPOINT_PASSIVE);
}

/* A transaction that was given up leaves its pages in the log, which does not shrink by itself: after a change that
 * was too large for the disk, the log alone would keep the disk full. */
void sq_after_rollback(struct db_conn *conn)
{
    struct sq_conn *c = (struct sq_conn *)conn;
    struct db *db = conn->db;
    const struct sq_data *data = db->driver_data;
    struct stat st;
    char wal[PATH_MAX];
    int n = snprintf(wal, sizeof wal, "%.*s-wal", STR_ARG(db->path));
    if (n < 0 || n >= (int)sizeof wal || stat(wal, &st) != 0 ||
        st.st_size < (int64_t)(c->wal_frames + CHECKPOINT_FRAMES) * data->page_size)
        return;
    sqlite3_busy_timeout(c->h, CARE_BUSY_MS);
    sq_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE);
    sqlite3_busy_timeout(c->h, db->busy_ms);
}

static bool passive_with_patience(struct sq_conn *c)
{
    for (int i = 0; i < PASSIVE_TRIES; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){.tv_nsec = PASSIVE_PAUSE_MS * 1000000L}, NULL);
        if (sq_checkpoint(c, SQLITE_CHECKPOINT_PASSIVE))
            return true;
    }
    return false;
}

static bool vacuum_some(struct sq_conn *c, int64_t pages, struct err *err)
{
    char sql[64];
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA incremental_vacuum(%lld)", (long long)pages);
    char *message = NULL;
    int rc = sqlite3_exec(c->h, sql, NULL, NULL, &message);
    sqlite3_free(message);
    c->base.db->care.vacuum_runs++;
    c->base.db->care.last_vacuum_ns = wall_ns();
    return rc == SQLITE_OK || sq_fail(c->base.db, c->h, rc, "giving free pages back", err);
}

/* Runs on the writer connection, at the head of the queue: nothing else can then be in SQLite's way except
 * another process, which is given CARE_BUSY_MS. */
bool sq_care(struct db *db, const struct db_care_options *o, struct err *err)
{
    if (!db_writer_acquire(db, err))
        return false;
    struct sq_conn *c = (struct sq_conn *)db->writer;
    struct db_care_state *care = &db->care;
    sqlite3_busy_timeout(c->h, CARE_BUSY_MS);
    care->passes++;
    if (o->truncate_every > 0 && care->passes % o->truncate_every == 0)
        sq_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE);
    bool is_clean = passive_with_patience(c), is_ok = true;
    care->dirty_passes = is_clean ? 0 : care->dirty_passes + 1;
    if (o->vacuum_pages > 0 && (is_clean || care->dirty_passes > DIRTY_PASSES_MAX)) {
        care->dirty_passes = 0;
        is_ok = vacuum_some(c, o->vacuum_pages, err);
        sq_checkpoint(c, SQLITE_CHECKPOINT_PASSIVE);
    } else if (o->vacuum_pages > 0) {
        care->vacuum_skipped++;
    }
    sqlite3_busy_timeout(c->h, db->busy_ms);
    db_writer_release(db);
    return is_ok;
}

bool db_care(struct db *db, const struct db_care_options *options, struct err *err)
{
    return db->driver->care(db, options, err);
}

static int64_t size_of(struct arena *a, struct str path, const char *suffix)
{
    struct stat st;
    return stat(str_z(a, str_cat(a, path, str_from(suffix))), &st) == 0 ? st.st_size : 0;
}

void sq_health(struct db *db, struct db_health *out)
{
    scoped_arena scratch = {0};
    struct db_care_state *care = &db->care;
    const int64_t large = 8 * MAX(db->journal_size_limit, (int64_t)32 << 20);
    out->database_bytes = size_of(&scratch, db->path, "");
    out->wal_bytes = size_of(&scratch, db->path, "-wal");
    out->shm_bytes = size_of(&scratch, db->path, "-shm");
    out->is_wal_large = out->wal_bytes > large;
    out->checkpoint_runs = care->checkpoint_runs;
    out->checkpoint_errors = care->checkpoint_errors;
    out->truncate_runs = care->truncate_runs;
    out->truncate_blocked = care->truncate_blocked;
    out->vacuum_runs = care->vacuum_runs;
    out->vacuum_skipped_runs = care->vacuum_skipped;
    out->last_checkpoint_ns = care->last_checkpoint_ns;
    out->last_vacuum_ns = care->last_vacuum_ns;
    int mode = care->last_mode;
    out->last_checkpoint_mode = mode == MODE_TRUNCATE  ? STR("truncate")
                                : mode == MODE_PASSIVE ? STR("passive")
                                                       : STR("");
    out->last_checkpoint_busy = care->last_busy;
    out->last_wal_frames = care->wal_frames;
    out->last_checkpointed_frames = care->checkpointed_frames;
}

void db_health(struct db *db, struct db_health *out)
{
    *out = (struct db_health){.kind = str_from(db->driver->kind)};
    pthread_mutex_lock(&db->pool_lock);
    out->open_readers = db->open_readers;
    out->busy_readers = db->busy_readers;
    out->reads = db->reads;
    pthread_mutex_unlock(&db->pool_lock);
    pthread_mutex_lock(&db->write_lock);
    out->writes = db->writes;
    out->write_waits = db->write_waits;
    out->write_wait_ns = db->write_wait_ns;
    out->longest_write_ns = db->longest_write_ns;
    pthread_mutex_unlock(&db->write_lock);
    db->driver->health(db, out);
}
