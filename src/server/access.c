/* server/access.c: formatting access log lines. Query strings are not logged: they carry secrets.
 * SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

#include <stdlib.h>

enum {
    GATHER_BYTES = 32 * 1024, /* handed to the writer when so much has come together ... */
    GATHER_MS = 500,          /* ... or after this long */
    LINE_MAX_BYTES = 32 * 1024,
    FIXED_MAX = 512, /* names, numbers and the time of a line */
};

struct access_log {
    struct http_loop *loop;
    struct log_file *file;
    struct buf lines;
    struct http_timer timer; /* armed while `lines` holds something */
    int64_t stamp_ms; /* loop time for which `stamp` is right; the wall clock is read once per loop turn */
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
    struct access_log *log = CONTAINER_OF(timer, struct access_log, timer);
    hand_over(log);
    buf_release(&log->lines); /* a loop with little to log, maybe nothing for long */
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

/* `s` as the inside of a JSON string: itself, unless a client means mischief. */
static struct str escaped(struct http_req *req, struct str s)
{
    size_t i = 0;
    while (i < s.len && (unsigned char)s.ptr[i] >= 0x20 && (unsigned char)s.ptr[i] < 0x7f &&
           s.ptr[i] != '"' && s.ptr[i] != '\\')
        i++;
    if (LIKELY(i == s.len))
        return s;
    scoped_buf b = BUF_INIT(LINE_MAX_BYTES);
    buf_add_json(&b, s);
    return str_dup(req->arena, buf_str(&b));
}

/* A line is written where its room has been made, every request of every app has one. */
static inline char *put(char *at, struct str s)
{
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static char *put_number(char *at, uint64_t n)
{
    char digits[20];
    size_t from = sizeof digits;
    do
        digits[--from] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    return put(at, str_of(digits + from, sizeof digits - from));
}

static char *put_millis(char *at, int64_t ns)
{
    uint64_t micros = (uint64_t)MAX(ns, 0) / 1000;
    at = put_number(at, micros / 1000);
    const char fraction[4] = {'.', (char)('0' + micros / 100 % 10), (char)('0' + micros / 10 % 10),
                              (char)('0' + micros % 10)};
    return put(at, str_of(fraction, sizeof fraction));
}

static inline char *put_optional(char *at, struct str key, struct str value)
{
    return str_is_empty(value) ? at : put(put(put(at, key), value), STR("\""));
}

void access_log_add(struct access_log *log, struct http_req *req, const struct access_facts *facts)
{
    if (!log->file)
        return;
    struct buf *b = &log->lines;
    struct str peer = http_req_peer(req), client = facts->client_ip;
    if (str_eq(client, peer))
        client = (struct str){0};
    struct str method = escaped(req, req->method_text), host = escaped(req, req->authority),
               path = escaped(req, req->path);
    struct str user = escaped(req, facts->user);
    client = escaped(req, client); /* it may come from a header */
    size_t room = FIXED_MAX + method.len + host.len + path.len + peer.len + facts->rid_prefix.len + user.len +
                  facts->app_id.len + client.len;
    if (room > LINE_MAX_BYTES ||
        !buf_reserve(b, room)) /* a line beyond all measure: better none than half of one */
        return;
    char *at = b->ptr + b->len;
    at = put(put(at, STR("{\"method\":\"")), method);
    at = put(put(at, STR("\",\"host\":\"")), host);
    at = put(put(at, STR("\",\"url\":\"")), path);
    if (req->query.ptr)
        at = put(at, STR("?<redacted>"));
    at = put(at, req->version == 10 ? STR("\",\"proto\":\"HTTP/1.0\",\"remote\":\"")
                                    : STR("\",\"proto\":\"HTTP/1.1\",\"remote\":\""));
    at = put(put(at, peer), STR(":"));
    at = put_number(at, (uint64_t)http_req_peer_port(req));
    at = put_number(put(at, STR("\",\"status\":")), req->status ? (uint64_t)req->status : 200);
    at = put_number(put(at, STR(",\"bytes\":")), req->bytes_sent);
    at = put_millis(put(at, STR(",\"duration\":")), clock_ns() - req->start_ns);
    at = put_number(put(put(at, STR(",\"rid\":\"")), facts->rid_prefix), facts->number);
    at = put(at, STR("\""));
    at = put_optional(at, STR(",\"user\":\""), user);
    at = put_optional(at, STR(",\"app\":\""), facts->app_id);
    at = put_optional(at, STR(",\"client\":\""), client);
    at = put(put(at, STR(",\"time\":\"")), stamp(log));
    at = put(at, STR("\"}\n"));
    assert((size_t)(at - b->ptr) - b->len <= room);
    b->len = (size_t)(at - b->ptr);
    if (b->len >= GATHER_BYTES)
        hand_over(log);
    else if (!http_timer_is_armed(&log->timer))
        http_timer_start(&log->timer, log->loop, GATHER_MS, on_timer);
}
