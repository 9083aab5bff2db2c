/* bench/store_audit.c: audit events per second, durable, against the same rows through plain SQLite calls.
 *
 *     bench_store_audit FOLDER [EVENTS]
 *
 * Prints one JSON object: rows/s of the store, of plain SQLite in groups of the same size, of plain SQLite a
 * row at a time, the nanoseconds that adding costs the caller, and the largest log.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    GROUP = STORE_AUDIT_GROUP_BUSY,
    SINGLES = 2000,
    UNHINDERED = STORE_AUDIT_QUEUE_MAX / 2,   /* the first adds, which never wait for room */
};

static const struct store_audit_event event = {
    .rid = STR_INIT("rid_2g8cXJ1zqLrMZ2QqZbqJb0W3GkB"),
    .app_id = STR_INIT("app_prd_2g8cxj1zqlrmz2qqzbqjb0w3gkb"),
    .user_id = STR_INIT("github:someone"),
    .event_type = STR_INIT("http"),
    .operation = STR_INIT("POST"),
    .target = STR_INIT("example.com:/some/path"),
    .status = STR_INIT("200"),
    .detail = STR_INIT("POST example.com /some/path 200 12"),
};

static void die(const char *what)
{
    fprintf(stderr, "bench_store_audit: %s\n", what);
    exit(1);
}

static void must(int rc, sqlite3 *h)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
        die(sqlite3_errmsg(h));
}

/* Rows per second through SQLite's own calls: the same tables, indexes and durability. */
static double plain(const char *path, int rows, int group)
{
    sqlite3 *h;
    sqlite3_stmt *st;
    must(sqlite3_open(path, &h), h);
    must(sqlite3_exec(h,
                      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                      "CREATE TABLE audit (rid text, app_id text, create_time bigint, user_id text, event_type text, "
                      "operation text, target text, status text, detail text);"
                      "CREATE INDEX idx_audit_rid ON audit (rid, create_time DESC);"
                      "CREATE INDEX idx_audit_misc ON audit (app_id, event_type, operation, target, create_time DESC);"
                      "CREATE INDEX idx_audit_time ON audit (create_time DESC);",
                      NULL, NULL, NULL), h);
    must(sqlite3_prepare_v2(h, "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", -1, &st, NULL), h);
    int64_t began = clock_ns();
    for (int i = 0; i < rows; i++) {
        if (i % group == 0)
            must(sqlite3_exec(h, "BEGIN IMMEDIATE", NULL, NULL, NULL), h);
        const struct str text[] = {event.rid, event.app_id, event.user_id, event.event_type, event.operation,
                                   event.target, event.status, event.detail};
        for (int c = 0; c < 8; c++)
            sqlite3_bind_text(st, c < 2 ? c + 1 : c + 2, text[c].ptr, (int)text[c].len, SQLITE_STATIC);
        sqlite3_bind_int64(st, 3, wall_ns());
        must(sqlite3_step(st), h);
        must(sqlite3_reset(st), h);
        if (i % group == group - 1 || i == rows - 1)
            must(sqlite3_exec(h, "COMMIT", NULL, NULL, NULL), h);
    }
    double took = (double)(clock_ns() - began) / 1e9;
    sqlite3_finalize(st);
    sqlite3_close(h);
    return rows / took;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        die("usage: bench_store_audit FOLDER [EVENTS]");
    scoped_arena a = {0};
    scoped_err err = {0};
    int events = argc > 2 ? atoi(argv[2]) : 200000;
    char *folder = str_z(&a, str_printf(&a, "%s/audit-XXXXXX", argv[1]));
    if (!mkdtemp(folder))
        die("cannot make a folder there");
    struct store *s = NULL;
    struct store_options o = {
        .metadata_connection = str_printf(&a, "sqlite:%s/metadata.db", folder),
        .audit_connection = str_printf(&a, "sqlite:%s/audit.db", folder),
        .journal_size_limit = 32 << 20,
    };
    if (!store_open(&o, &s, &err))
        die(err_msg(&err));

    struct db_health health;
    int64_t largest = 0, adding = 0, began = clock_ns();
    for (int i = 0; i < events; i++) {
        store_audit_add_wait(s, &event);
        if (i == UNHINDERED - 1)
            adding = (clock_ns() - began) / UNHINDERED;
        if (i % 5000 == 0) {
            store_health(s, NULL, &health);
            largest = MAX(largest, health.wal_bytes);
        }
    }
    int64_t added = clock_ns();
    if (!store_audit_flush(s, &err))
        die(err_msg(&err));
    double ours = events / ((double)(clock_ns() - began) / 1e9);
    struct store_audit_stats stats;
    store_audit_stats(s, &stats);
    store_close(s);

    double grouped = plain(str_z(&a, str_printf(&a, "%s/grouped.db", folder)), events, GROUP);
    double single = plain(str_z(&a, str_printf(&a, "%s/single.db", folder)), MIN(events, SINGLES), 1);
    printf("{\"rows_per_s\": %.0f, \"plain_grouped_rows_per_s\": %.0f, \"plain_single_rows_per_s\": %.0f, "
           "\"ratio_to_grouped\": %.2f, \"add_ns\": %.0f, \"fill_s\": %.2f, \"commits\": %lld, \"largest_wal_kib\": %lld}\n",
           ours, grouped, single, ours / grouped, (double)adding, (double)(added - began) / 1e9,
           (long long)stats.commits, (long long)largest >> 10);
    return 0;
}
