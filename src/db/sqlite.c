/* db/sqlite.c: the SQLite driver: connections, settings, statements, and what its errors mean.
 *
 * WAL mode with synchronous=FULL: a commit is one fsync of the log, which the callers earn back by grouping.
 * Every connection is opened without SQLite's own mutex, since it has one owner at a time; readers are
 * opened read-write (a log can only be read by who may write its index) but query_only.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sqlite_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- errors --- */

static bool sq_fail_system(const struct db *db, int errnum, const char *doing, struct err *err)
{
    if (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)
        return err_set(err, ERR_UNAVAILABLE, "the disk with %.*s is full: free some space and try again",
                       STR_ARG(db->path));
    if (errnum == EROFS)
        return err_set(err, ERR_INTERNAL, "%.*s is on a read-only file system", STR_ARG(db->path));
    err_set_errno(err, errnum, "%s %.*s", doing, STR_ARG(db->path));
    err->code = ERR_INTERNAL;
    return false;
}

bool sq_fail(const struct db *db, sqlite3 *h, int rc, const char *doing, struct err *err)
{
    int sys = h ? sqlite3_system_errno(h) : 0;
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return sq_fail_system(db, ENOSPC, doing, err);
    case SQLITE_IOERR:
        if (sys)
            return sq_fail_system(db, sys, "reading or writing", err);
        return err_set(err, ERR_INTERNAL, "reading or writing %.*s failed (%s): check the disk", STR_ARG(db->path),
                       sqlite3_errstr(rc));
    case SQLITE_CANTOPEN:
        if (sys)
            return sq_fail_system(db, sys, "cannot open", err);
        return err_set(err, ERR_INTERNAL, "cannot open %.*s: check that its folder exists and is writable",
                       STR_ARG(db->path));
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return err_set(err, ERR_INTERNAL, "%.*s cannot be written: make the file and its folder writable",
                       STR_ARG(db->path));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(err, ERR_INTERNAL, "%.*s is damaged or not a SQLite database: restore it from a backup",
                       STR_ARG(db->path));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_UNAVAILABLE, "%.*s is locked by another process: end that, or try again later",
                       STR_ARG(db->path));
    case SQLITE_CONSTRAINT:
        return err_set(err, ERR_CONFLICT, "%s", h ? sqlite3_errmsg(h) : sqlite3_errstr(rc));
    case SQLITE_TOOBIG:
        return err_set(err, ERR_TOO_LARGE, "a value is too large for %.*s", STR_ARG(db->path));
    default:
        return err_set(err, ERR_INTERNAL, "%.*s: %s: %s", STR_ARG(db->path), doing,
                       h ? sqlite3_errmsg(h) : sqlite3_errstr(rc));
    }
}

/* --- statements --- */

static struct sq_conn *sq(struct db_conn *conn)
{
    return (struct sq_conn *)conn;
}

static void stmt_free(struct sq_stmt *s)
{
    if (s) {
        sqlite3_finalize(s->st);
        free(s);
    }
}

static struct sq_stmt *stmt_prepare(struct sq_conn *c, const char *sql, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v3(c->h, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);
    if (rc != SQLITE_OK) {
        sq_fail(c->base.db, c->h, rc, sql, err);
        return NULL;
    }
    struct sq_stmt *s = xcalloc(1, sizeof *s);
    s->st = st;
    s->sql = sqlite3_sql(st);
    return s;
}

/* The cached statement for `sql`, else a new one in place of the least recently used. One that is in use
 * (a query within the same query) gets a copy that is not cached. */
static struct sq_stmt *stmt_get(struct sq_conn *c, const char *sql, struct err *err)
{
    int place = -1;
    for (int i = 0; i < SQ_CACHE; i++) {
        struct sq_stmt *s = c->cache[i];
        if (s && strcmp(s->sql, sql) == 0 && !s->is_busy) {
            s->is_busy = true;
            s->last_use = ++c->tick;
            return s;
        }
        if (s && s->is_busy)
            continue;
        if (place < 0 || (c->cache[place] && (!s || s->last_use < c->cache[place]->last_use)))
            place = i;
    }
    struct sq_stmt *s = stmt_prepare(c, sql, err);
    if (!s)
        return NULL;
    s->is_busy = true;
    s->last_use = ++c->tick;
    if (place >= 0) {
        stmt_free(c->cache[place]);
        c->cache[place] = s;
        s->is_cached = true;
    }
    return s;
}

static void stmt_put(struct sq_stmt *s)
{
    sqlite3_reset(s->st); /* its result repeats that of the last step */
    sqlite3_clear_bindings(s->st);
    s->is_busy = false;
    if (!s->is_cached)
        stmt_free(s);
}

static int bind_one(sqlite3_stmt *st, int at, const struct db_val *v)
{
    /* A NULL pointer would bind NULL; the empty text is something else. */
    const char *ptr = v->s.ptr ? v->s.ptr : "";
    char time[DB_TIME_LEN + 1];
    switch (v->type) {
    case DB_TYPE_NULL:
        return sqlite3_bind_null(st, at);
    case DB_TYPE_INT:
    case DB_TYPE_BOOL:
        return sqlite3_bind_int64(st, at, v->i);
    case DB_TYPE_TEXT:
        return sqlite3_bind_text64(st, at, ptr, v->s.len, SQLITE_STATIC, SQLITE_UTF8);
    case DB_TYPE_BLOB:
        return sqlite3_bind_blob64(st, at, ptr, v->s.len, SQLITE_STATIC);
    case DB_TYPE_TIME:
        db_time_format(v->i, time);
        return sqlite3_bind_text(st, at, time, DB_TIME_LEN, SQLITE_TRANSIENT);
    }
    BUG("unknown argument type %d", (int)v->type);
}

static bool bind_all(struct sq_conn *c, struct sq_stmt *s, struct db_args args, struct err *err)
{
    if ((size_t)sqlite3_bind_parameter_count(s->st) != args.len)
        BUG("%d placeholders but %zu arguments: %s", sqlite3_bind_parameter_count(s->st), args.len, s->sql);
    for (size_t i = 0; i < args.len; i++) {
        int rc = bind_one(s->st, (int)i + 1, &args.vals[i]);
        if (rc != SQLITE_OK)
            return sq_fail(c->base.db, c->h, rc, s->sql, err);
    }
    return true;
}

static bool sq_exec(struct db_conn *conn, const char *sql, struct db_args args, int64_t *changes, struct err *err)
{
    struct sq_conn *c = sq(conn);
    struct sq_stmt *s = stmt_get(c, sql, err);
    if (!s)
        return false;
    bool is_ok = bind_all(c, s, args, err);
    if (is_ok) {
        int rc;
        do
            rc = sqlite3_step(s->st);
        while (rc == SQLITE_ROW); /* pragmas answer with rows */
        is_ok = rc == SQLITE_DONE || sq_fail(conn->db, c->h, rc, sql, err);
    }
    if (is_ok && changes)
        *changes = sqlite3_changes64(c->h);
    stmt_put(s);
    return is_ok;
}

static struct db_rows *sq_query(struct db_conn *conn, const char *sql, struct db_args args, struct err *err)
{
    struct sq_stmt *s = stmt_get(sq(conn), sql, err);
    if (s && !bind_all(sq(conn), s, args, err)) {
        stmt_put(s);
        return NULL;
    }
    return s ? &s->rows : NULL;
}

static bool sq_next(struct db_rows *rows, struct err *err)
{
    struct sq_stmt *s = (struct sq_stmt *)rows;
    struct sq_conn *c = sq(rows->conn);
    int rc = sqlite3_step(s->st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        sq_fail(c->base.db, c->h, rc, s->sql, err);
    return rc == SQLITE_ROW;
}

static void sq_finish(struct db_rows *rows)
{
    stmt_put((struct sq_stmt *)rows);
}

static struct db_val sq_column(const struct db_rows *rows, int col)
{
    sqlite3_stmt *st = ((const struct sq_stmt *)rows)->st;
    struct db_val v = {.type = DB_TYPE_NULL};
    switch (sqlite3_column_type(st, col)) {
    case SQLITE_NULL:
        break;
    case SQLITE_INTEGER:
        v = DB_INT(sqlite3_column_int64(st, col));
        break;
    case SQLITE_BLOB:
        v.type = DB_TYPE_BLOB;
        v.s.ptr = sqlite3_column_blob(st, col);
        v.s.len = (size_t)sqlite3_column_bytes(st, col);
        break;
    default: /* a float reads as its text */
        v.type = DB_TYPE_TEXT;
        v.s.ptr = (const char *)sqlite3_column_text(st, col);
        v.s.len = (size_t)sqlite3_column_bytes(st, col);
        break;
    }
    return v;
}

/* --- connections --- */

static bool run(struct sq_conn *c, const char *sql, struct err *err)
{
    return sq_exec(&c->base, sql, DB_NO_ARGS, NULL, err);
}

static bool pragma_text(struct sq_conn *c, const char *sql, char out[static 32], struct err *err)
{
    struct sq_stmt *s = stmt_get(c, sql, err);
    if (!s)
        return false;
    int rc = sqlite3_step(s->st);
    bool is_ok = rc == SQLITE_ROW || rc == SQLITE_DONE || sq_fail(c->base.db, c->h, rc, sql, err);
    const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s->st, 0) : NULL;
    if (is_ok)
        sqlite3_snprintf(32, out, "%s", text ? text : "");
    stmt_put(s);
    return is_ok;
}

static int on_wal_frames(void *arg, sqlite3 *h, const char *schema, int frames)
{
    struct sq_conn *c = arg;
    c->wal_frames = frames;
    return SQLITE_OK;
}

/* Settings of every connection; the user's come last, so that they win. */
static bool configure(struct sq_conn *c, bool is_writer, struct err *err)
{
    struct db *db = c->base.db;
    struct sq_data *data = db->driver_data;
    char mode[32];
    sqlite3_busy_timeout(c->h, db->busy_ms);
    sqlite3_db_config(c->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* Takes effect on a new file only, and only before its first page is written. */
    if (is_writer && !run(c, "PRAGMA auto_vacuum = INCREMENTAL", err))
        return false;
    if (!pragma_text(c, "PRAGMA journal_mode = WAL", mode, err))
        return false;
    if (strcmp(mode, "wal") != 0)
        return err_set(err, ERR_INTERNAL,
                       "%.*s cannot be switched to a write-ahead log: is it on a network file system?",
                       STR_ARG(db->path));
    char sql[160];
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA journal_size_limit = %lld",
                     (long long)(db->journal_size_limit > 0 ? db->journal_size_limit : -1));
    if (!run(c, "PRAGMA synchronous = FULL", err) || !run(c, sql, err) ||
        !run(c, "PRAGMA cell_size_check = ON", err) || (!is_writer && !run(c, "PRAGMA query_only = ON", err)))
        return false;
    vec_foreach (p, &data->pragmas) {
        sqlite3_snprintf(sizeof sql, sql, "PRAGMA %.*s = %.*s", STR_ARG(p->name), STR_ARG(p->value));
        if (!run(c, sql, err))
            return false;
    }
    if (is_writer)
        sqlite3_wal_hook(c->h, on_wal_frames, c); /* in place of the automatic checkpoints: sq_after_commit */
    return true;
}

static void sq_disconnect(struct db_conn *conn)
{
    struct sq_conn *c = sq(conn);
    for (int i = 0; i < SQ_CACHE; i++)
        stmt_free(c->cache[i]);
    sqlite3_close(c->h);
    free(c);
}

/* One-time switch of a file made elsewhere, so that deleted pages can be given back bit by bit. It rewrites
 * the file; when that fails (a disk too full for a copy) the database works as well without. */
static void switch_to_incremental_vacuum(struct sq_conn *c)
{
    scoped_err ignored = {0};
    char mode[32];
    if (pragma_text(c, "PRAGMA auto_vacuum", mode, &ignored) && strcmp(mode, "2") != 0 &&
        run(c, "PRAGMA auto_vacuum = INCREMENTAL", &ignored))
        run(c, "VACUUM", &ignored);
}

static bool prepare_writer(struct sq_conn *c, struct err *err)
{
    struct sq_data *data = c->base.db->driver_data;
    char text[32];
    int64_t page = 0;
    /* The first look at the content: tells a damaged or foreign file before anything is written. */
    if (!pragma_text(c, "SELECT count(*) FROM sqlite_master", text, err) ||
        !pragma_text(c, "PRAGMA page_size", text, err))
        return false;
    data->page_size = str_to_i64(str_from(text), &page) && page > 0 ? (int)page : 4096;
    sq_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE);
    switch_to_incremental_vacuum(c);
    return true;
}

static struct db_conn *sq_connect(struct db *db, bool is_writer, struct err *err)
{
    scoped_arena scratch = {0};
    struct sq_conn *c = xcalloc(1, sizeof *c);
    c->base.db = db;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(str_z(&scratch, db->path), &c->h, flags, NULL);
    bool is_ok = rc == SQLITE_OK || sq_fail(db, c->h, rc, "opening", err);
    if (is_ok && sqlite3_db_readonly(c->h, "main") == 1)
        is_ok = sq_fail(db, c->h, SQLITE_READONLY, "opening", err);
    is_ok = is_ok && configure(c, is_writer, err) && (!is_writer || prepare_writer(c, err));
    if (!is_ok) {
        sq_disconnect(&c->base);
        return NULL;
    }
    return &c->base;
}

static void sq_slim(struct db_conn *conn)
{
    sqlite3_db_release_memory(sq(conn)->h);
}

static bool sq_begin(struct db_conn *conn, struct err *err)
{
    return run(sq(conn), conn == conn->db->writer ? "BEGIN IMMEDIATE" : "BEGIN", err);
}

static bool sq_commit(struct db_conn *conn, struct err *err)
{
    return run(sq(conn), "COMMIT", err);
}

static void sq_rollback(struct db_conn *conn)
{
    scoped_err ignored = {0};
    if (!sqlite3_get_autocommit(sq(conn)->h)) /* some failures (a full disk) have rolled back already */
        run(sq(conn), "ROLLBACK", &ignored);
    if (conn == conn->db->writer)
        sq_after_rollback(conn);
}

/* --- the connection string --- */

static bool is_word(struct str s, const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              (c && strchr(more, c))))
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

/* name(value) or name=value */
static bool parse_pragma(struct db *db, struct str text, struct err *err)
{
    struct sq_data *data = db->driver_data;
    struct str name, value;
    if (str_cut(text, '(', &name, &value)) {
        if (!str_ends(value, STR(")")))
            value = STR("");
        else
            value = str_slice(value, 0, value.len - 1);
    } else if (!str_cut(text, '=', &name, &value)) {
        value = STR("");
    }
    if (!is_word(name, "") || !is_word(value, ".-"))
        return err_set(err, ERR_INVALID, "_pragma=%.*s is not of the form _pragma=name(value)", STR_ARG(text));
    *vec_push(&db->arena, &data->pragmas) = (struct sq_pragma){name, value};
    return true;
}

static bool parse_params(struct db *db, struct str params, struct err *err)
{
    for (struct str part; str_next(&params, '&', &part);) {
        struct str key, value;
        str_cut(part, '=', &key, &value);
        if (str_eq(key, STR("_pragma"))) {
            if (!parse_pragma(db, value, err))
                return false;
        } else if (!str_is_empty(part) && !str_eq(key, STR("_txlock")) && !str_eq(key, STR("_time_format"))) {
            return err_set(err, ERR_INVALID, "unknown parameter %.*s: only _pragma=name(value) is known",
                           STR_ARG(key));
        }
    }
    return true;
}

/* Makes the file with its final mode before SQLite would make it world-readable; log and index inherit it. A
 * file that exists is not opened here: closing a second descriptor would drop SQLite's locks on it. */
static bool create_file(struct db *db, struct err *err)
{
    scoped_arena scratch = {0};
    const char *path = str_z(&scratch, db->path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return true;
    }
    if (errno == EEXIST)
        return true;
    if (errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "the folder of %.*s does not exist: create it first",
                       STR_ARG(db->path));
    if (errno == EACCES || errno == EPERM)
        return err_set(err, ERR_FORBIDDEN, "%.*s cannot be created: make its folder writable", STR_ARG(db->path));
    return sq_fail_system(db, errno, "creating", err);
}

/* Pages one by one: what a connection takes at once, and half of a kilobyte at a time for small things, is 130 KB that most
 * never use. Before the library's first use. */
static void configure_library(void)
{
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 128, 64);
}
static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static bool sq_open(struct db *db, struct str rest, struct err *err)
{
    pthread_once(&library_once, configure_library);
    struct str path, params;
    str_cut(rest, '?', &path, &params);
    if (str_starts(path, STR("///"))) /* sqlite:///absolute */
        path = str_from_off(path, 2);
    if (str_is_empty(path) || str_eq(path, STR(":memory:")) || str_chr(path, '\0') != STR_NPOS)
        return err_set(err, ERR_INVALID, "sqlite:%.*s names no file: use sqlite:<path>", STR_ARG(path));
    struct str z = str_of(str_z(&db->arena, path), path.len);
    db->path = z;
    db->driver_data = arena_new(&db->arena, struct sq_data);
    params = str_dup(&db->arena, params);
    struct stat st;
    if (stat(z.ptr, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%.*s is not a regular file", STR_ARG(z));
    return parse_params(db, params, err) && create_file(db, err);
}

static void sq_close(struct db *db)
{
}

const struct db_driver db_sqlite = {
    .kind = "sqlite",
    .prefix = "sqlite:",
    .word_datetime = "datetime",
    .word_blob = "blob",
    .word_json = "json",
    .sql_table_exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
    .open = sq_open,
    .close = sq_close,
    .connect = sq_connect,
    .disconnect = sq_disconnect,
    .begin = sq_begin,
    .commit = sq_commit,
    .rollback = sq_rollback,
    .after_commit = sq_after_commit,
    .exec = sq_exec,
    .query = sq_query,
    .next = sq_next,
    .finish = sq_finish,
    .column = sq_column,
    .care = sq_care,
    .health = sq_health,
    .slim = sq_slim,
};
