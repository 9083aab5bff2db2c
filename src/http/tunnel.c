/* http/tunnel.c: bytes both ways between a client and an upstream after an Upgrade, until both have closed.
 *
 *     client --read--> [pending] --write--> upstream     one `flow` for each direction
 *     client <--write-- [pending] <--read-- upstream
 *
 * 1. A flow reads only while it has nothing pending, so at most one block waits per direction and a slow
 *    side stops the other one. An idle tunnel holds no block.
 * 2. The end of one direction is passed on (half-close) after what came before it; the tunnel ends when
 *    both directions have ended, when either side breaks, or LINGER_MS after one ended and the other rests; and when
 *    the upstream is over and nothing more has come from it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "proxy_int.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

enum {
    LINGER_MS = 60000,
    KEEPALIVE_S = 60,
    ROUNDS_MAX = 8,     /* blocks moved in one direction before other connections get their turn */
};

struct flow {
    struct http_stream *from, *to;
    char *block;            /* holds pending when it is not someone else's memory */
    struct str pending;     /* read and not yet written */
    bool is_ended;          /* `from` has closed, and `to` was told */
    bool saw_eof;
    uint64_t bytes;         /* written to `to` */
};

struct tunnel {
    struct http_req *req;
    struct upconn *conn;
    const struct http_proxy_opts *opts;
    struct http_stream *client;
    struct flow up, down;   /* client to upstream, upstream to client */
    struct tunnel_end end;
    struct http_timer linger;
    uint64_t down_told;     /* one more than down.bytes when the upstream was last said to be over; 0: it was not */
};

static void finish(struct tunnel *t)
{
    struct http_loop *loop = t->conn->stream.loop;
    http_timer_stop(&t->linger);
    if (t->up.block)
        http_block_put(loop, t->up.block);
    if (t->down.block)
        http_block_put(loop, t->down.block);
    upconn_release(t->conn, t->opts, false);
    t->end.fn(t->end.arg, t->up.bytes, t->down.bytes);
    http_hijack_end(t->req, t->down.bytes);
}

/* Writes what is pending; false if `to` is broken. */
static bool write_pending(struct flow *f)
{
    while (f->pending.len > 0) {
        ssize_t n = http_stream_write(f->to, f->pending.ptr, f->pending.len);
        if (n == HTTP_AGAIN)
            return true;
        if (n < 0)
            return false;
        f->bytes += (uint64_t)n;
        f->pending = str_from_off(f->pending, (size_t)n);
    }
    return true;
}

/* Moves what can be moved; false if either side is broken. */
static bool pump(struct flow *f, struct http_loop *loop)
{
    char *scratch = http_loop_scratch(loop);
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (!write_pending(f))
            return false;
        if (f->pending.len > 0)
            return true;
        if (f->block) {
            http_block_put(loop, f->block);
            f->block = NULL;
        }
        if (f->saw_eof) {
            if (!f->is_ended)
                http_stream_shutdown(f->to);
            f->is_ended = true;
            return true;
        }
        ssize_t n = http_stream_read(f->from, scratch, HTTP_BLOCK);
        if (n == HTTP_AGAIN)
            return true;
        if (n < 0)
            return false;
        f->saw_eof = n == HTTP_EOF;
        f->pending = str_of(scratch, (size_t)n);
        if (!write_pending(f))
            return false;
        if (f->pending.len > 0) {
            f->block = http_block_get(loop);
            memcpy(f->block, f->pending.ptr, f->pending.len);
            f->pending.ptr = f->block;
            return true;
        }
    }
    return true;
}

static void on_linger(struct http_timer *timer)
{
    finish(CONTAINER_OF(timer, struct tunnel, linger));
}

/* inv. 1 */
static unsigned wanted(const struct flow *out_of, const struct flow *into)
{
    return (out_of->pending.len == 0 && !out_of->saw_eof ? HTTP_READABLE : 0) | (into->pending.len > 0 ? HTTP_WRITABLE : 0);
}

/* Told that nobody is there any more: whether nothing has come since the last time. What the client does not take is
 * no silence. */
static bool is_silent(struct tunnel *t)
{
    if (t->down.pending.len > 0)
        return false;
    if (t->down_told == t->down.bytes + 1)
        return true;
    t->down_told = t->down.bytes + 1;
    return false;
}

static void move(struct tunnel *t, unsigned events)
{
    struct http_loop *loop = t->conn->stream.loop;
    uint64_t up = t->up.bytes, down = t->down.bytes;
    bool is_broken = (events & HTTP_CUT) || !pump(&t->up, loop) || !pump(&t->down, loop);
    if (t->end.on_bytes && (t->up.bytes != up || t->down.bytes != down))
        t->end.on_bytes(t->end.arg, t->up.bytes - up, t->down.bytes - down);
    if (!is_broken && events == UPCONN_OVER)
        is_broken = is_silent(t);
    if (is_broken || (t->up.is_ended && t->down.is_ended)) {
        finish(t);
        return;
    }
    if (t->up.is_ended || t->down.is_ended)
        http_timer_start(&t->linger, loop, LINGER_MS, on_linger);
    http_stream_want(t->client, wanted(&t->up, &t->down));
    http_stream_want(&t->conn->stream, wanted(&t->down, &t->up));
}

static void on_client_ready(struct http_stream *s, unsigned events, void *arg)
{
    move(arg, events);
}

static void on_upstream_ready(struct upconn *conn, unsigned events)
{
    move(conn->owner, events);
}

/* A tunnel may rest for ever, but not with a peer that has vanished without a word. Means nothing on unix sockets. */
static void probe_when_idle(int fd)
{
    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int)) != 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){KEEPALIVE_S}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){KEEPALIVE_S}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){3}, sizeof(int));
}

bool tunnel_start(struct http_req *req, struct upconn *conn, const struct http_proxy_opts *opts,
                       struct str early, const struct tunnel_end *end)
{
    struct tunnel *t = arena_new(req->arena, struct tunnel);
    struct str leftover = {0};
    t->client = http_req_hijack(req, on_client_ready, t, &leftover);
    if (!t->client)
        return false;
    t->req = req;
    t->conn = conn;
    t->opts = opts;
    t->end = *end;
    t->up = (struct flow){.from = t->client, .to = &conn->stream, .pending = leftover};
    t->down = (struct flow){.from = &conn->stream, .to = t->client, .pending = early};
    conn->owner = t;
    conn->on_ready = on_upstream_ready;
    probe_when_idle(t->client->fd);
    probe_when_idle(conn->stream.fd);
    move(t, 0);
    return true;
}
