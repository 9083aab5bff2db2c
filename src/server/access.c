/* server/access.c: formatting access log lines. Query strings are not logged: they carry secrets.
 * SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

#include <stdlib.h>

enum {
    GATHER_BYTES = 32 * 1024, /* handed to the writer when so much has come together ... */
    GATHER_MS = 500,          /* ... or after this long */
    LINE_MAX_BYTES = 32 * 1024,
};

struct access_log {
    struct http_loop *loop;
    struct log_file *file;
    struct buf lines;
    struct http_timer timer;      /* armed while `lines` holds something */
    int64_t stamp_ms;             /* loop time for which `stamp` is right; the wall clock is read once per loop turn */
    char stamp[TIME_TEXT_MAX];
    size_t stamp_len;
};

static void hand_over(struct access_log *log)
{
    http_timer_stop(&log->timer);
    if (log->lines.len == 0)
        return;
    log_file_write(log->file, buf_str(&log->lines));
    buf_clear(&log->lines);
}

static void on_timer(struct http_timer *timer)
{
    hand_over(CONTAINER_OF(timer, struct access_log, timer));
}

struct access_log *access_log_new(struct http_loop *loop, struct log_file *file)
{
    struct access_log *log = xcalloc(1, sizeof *log);
    log->loop = loop;
    log->file = file;
    log->stamp_ms = -1;
    buf_init(&log->lines, GATHER_BYTES + LINE_MAX_BYTES);
    return log;
}

void access_log_free(struct access_log *log)
{
    if (!log)
        return;
    if (log->file)
        hand_over(log);
    buf_release(&log->lines);
    free(log);
}

static struct str stamp(struct access_log *log)
{
    int64_t now = http_loop_now_ms(log->loop);
    if (now != log->stamp_ms) {
        log->stamp_len = time_format_rfc3339_nano(log->stamp, wall_ns() / 1000000 * 1000000);
        log->stamp_ms = now;
    }
    return str_of(log->stamp, log->stamp_len);
}

/* `,"key":"value"`; the text is escaped. */
static void add_text(struct buf *b, struct str key, struct str value)
{
    buf_add_str(b, key);
    buf_add_json(b, value);
    buf_add_char(b, '"');
}

static void add_optional(struct buf *b, struct str key, struct str value)
{
    if (!str_is_empty(value))
        add_text(b, key, value);
}

/* Decimal; the hot path avoids printf. */
static void add_number(struct buf *b, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    buf_add(b, digits + at, sizeof digits - at);
}

static void add_millis(struct buf *b, int64_t ns)
{
    uint64_t micros = (uint64_t)MAX(ns, 0) / 1000;
    add_number(b, micros / 1000);
    char fraction[4] = {'.', (char)('0' + micros / 100 % 10), (char)('0' + micros / 10 % 10),
                        (char)('0' + micros % 10)};
    buf_add(b, fraction, sizeof fraction);
}

void access_log_add(struct access_log *log, struct http_req *req, const struct access_facts *facts)
{
    if (!log->file)
        return;
    struct buf *b = &log->lines;
    size_t before = b->len;
    add_text(b, STR("{\"method\":\""), req->method_text);
    add_text(b, STR(",\"host\":\""), req->authority);
    add_text(b, STR(",\"url\":\""), req->path);
    if (req->query.ptr) {
        b->len--; /* inside the closing quote again */
        buf_add_str(b, STR("?<redacted>\""));
    }
    buf_add_str(b, req->version == 10 ? STR(",\"proto\":\"HTTP/1.0\"") : STR(",\"proto\":\"HTTP/1.1\""));
    add_text(b, STR(",\"remote\":\""), http_req_peer(req));
    b->len--;
    buf_add_char(b, ':');
    add_number(b, (uint64_t)http_req_peer_port(req));
    buf_add_str(b, STR("\",\"status\":"));
    add_number(b, req->status ? (uint64_t)req->status : 200);
    buf_add_str(b, STR(",\"bytes\":"));
    add_number(b, req->bytes_sent);
    buf_add_str(b, STR(",\"duration\":"));
    add_millis(b, clock_ns() - req->start_ns);
    buf_add_str(b, STR(",\"rid\":\""));
    buf_add_str(b, facts->rid_prefix);
    add_number(b, facts->number);
    buf_add_char(b, '"');
    add_optional(b, STR(",\"user\":\""), facts->user);
    add_optional(b, STR(",\"app\":\""), facts->app_id);
    if (!str_eq(facts->client_ip, http_req_peer(req)))
        add_optional(b, STR(",\"client\":\""), facts->client_ip);
    add_text(b, STR(",\"time\":\""), stamp(log));
    buf_add_str(b, STR("}\n"));
    if (b->is_full) { /* a line beyond all measure: better none than half of one */
        b->len = before;
        b->is_full = false;
    }
    if (b->len >= GATHER_BYTES)
        hand_over(log);
    else if (!http_timer_is_armed(&log->timer))
        http_timer_start(&log->timer, log->loop, GATHER_MS, on_timer);
}
