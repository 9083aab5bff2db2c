/* http/conn.c: one server connection speaking HTTP/1.1: from bytes to requests and from one to the next.
 * The states and invariants are in server_int.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    BODY_ROOM = 4096, /* less than this behind a pinned head: bodies get a block of their own */
    STEPS_MAX = 64,   /* steps before other connections get their turn */
    LINGER_MS = 5000,
    LINGER_BYTES = 64 << 20, /* clients that send their whole upload before they look at the answer */
};

static void on_timer(struct http_timer *timer);
static void on_stream_closed(struct http_stream *stream, void *arg);

static const struct http_limits *limits_of(const struct http_conn *c)
{
    return &c->home->server->limits;
}

/* Input memory. */

static void mem_put(struct http_conn *c, char *mem, size_t cap)
{
    if (!mem)
        return;
    if (cap == HTTP_BLOCK)
        http_block_put(c->home->loop, mem);
    else
        free(mem);
}

static void input_release(struct http_conn *c)
{
    mem_put(c, c->mem, c->cap);
    c->mem = NULL;
    c->cap = c->floor = c->pos = c->end = c->scanned = 0;
}

static void unpin(struct http_conn *c)
{
    mem_put(c, c->pinned, c->pinned_cap);
    c->pinned = NULL;
    c->floor = 0;
}

/* Moves the unread bytes to the front of fresh memory, leaving the old to the head. */
static void pin_head(struct http_conn *c)
{
    size_t len = c->end - c->pos;
    char *fresh = http_block_get(c->home->loop);
    assert(len <= HTTP_BLOCK);
    if (len > 0)
        memcpy(fresh, c->mem + c->pos, len);
    c->pinned = c->mem;
    c->pinned_cap = c->cap;
    c->mem = fresh;
    c->cap = HTTP_BLOCK;
    c->floor = c->pos = 0;
    c->end = len;
}

/* A head that does not fit a block gets memory for the largest that may come. */
static void grow_for_head(struct http_conn *c)
{
    size_t cap = limits_of(c)->header_max + HTTP_BLOCK + 1;
    if (c->cap >= cap)
        return;
    char *bigger = xmalloc(cap);
    memcpy(bigger, c->mem, c->end);
    mem_put(c, c->mem, c->cap);
    c->mem = bigger;
    c->cap = cap;
}

/* True if the body goes on and the memory behind the head is too small for it. */
static bool should_pin(const struct http_conn *c)
{
    bool is_body = c->state == CONN_REQUEST && !c->body.is_over && c->body.kind != BODY_NONE;
    return is_body && !c->pinned && c->cap - c->floor < BODY_ROOM && c->end - c->pos <= HTTP_BLOCK / 2;
}

/* Makes room for input; false if there is none to be had now. */
static bool make_room(struct http_conn *c)
{
    if (!c->mem) {
        c->mem = http_block_get(c->home->loop);
        c->cap = HTTP_BLOCK;
        c->floor = c->pos = c->end = 0;
        return true;
    }
    if (c->pos == c->end)
        c->pos = c->end = c->floor;
    if (should_pin(c))
        pin_head(c);
    if (c->end < c->cap)
        return true;
    if (c->pos > c->floor) {
        memmove(c->mem + c->floor, c->mem + c->pos, c->end - c->pos);
        c->end -= c->pos - c->floor;
        c->pos = c->floor;
    } else if (c->state == CONN_IDLE || c->state == CONN_HEAD) {
        grow_for_head(c);
    }
    return c->end < c->cap;
}

static bool has_room(const struct http_conn *c)
{
    return !c->mem || c->end < c->cap || c->pos > c->floor || should_pin(c);
}

/* Endings. */

static void unlink_conn(struct http_conn *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
}

static void close_stream(struct http_conn *c)
{
    assert(c->state != CONN_CLOSED);
    c->state = CONN_CLOSED;
    http_timer_stop(&c->timer);
    http_soon_stop(c->home->loop, &c->flush_soon);
    out_clear(&c->out, c->home->loop);
    http_stream_close(&c->stream, on_stream_closed);
}

void conn_break(struct http_conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    if (c->req) {
        struct http_req *q = &c->req->pub;
        if (c->state == CONN_REQUEST) {
            q->bytes_sent -= MIN(q->bytes_sent, c->out.len);
            q->is_aborted = true;
            body_fail(c, ERR_CANCELLED, "the connection broke");
        }
        q->is_gone = true;
    }
    close_stream(c);
    conn_advance(c);
}

static void conn_free(struct http_conn *c)
{
    struct server_loop *home = c->home;
    unlink_conn(c);
    input_release(c);
    mem_put(c, c->pinned, c->pinned_cap);
    free(c);
    server_conn_gone(home);
}

static void on_stream_closed(struct http_stream *stream, void *arg)
{
    (void)arg;
    struct http_conn *c = CONTAINER_OF(stream, struct http_conn, stream);
    c->stream_closed = true;
    conn_advance(c);
}

/* Nothing more to send. Input that nobody will read makes the kernel answer with RST, which can destroy the
 * response on its way; so where some may come, it is thrown away for a while (RFC 9112 §9.6). */
static void finish_sending(struct http_conn *c, bool may_get_input)
{
    if (!c->out.first && (!may_get_input || c->eof_seen)) {
        close_stream(c);
        return;
    }
    c->state = CONN_LINGER;
    c->pos = c->end;
    c->body.discard_left = LINGER_BYTES;
    if (!c->out.first)
        http_stream_shutdown(&c->stream);
}

/* Requests. */

static void count_requests(struct http_conn *c, int by)
{
    count_add(&c->home->reqs_now, by);
}

static void init_body(struct http_conn *c)
{
    const struct http_head *h = &c->req->head;
    struct conn_body *b = &c->body;
    memset(b, 0, sizeof *b);
    b->kind = h->is_chunked ? BODY_CHUNKED : h->content_length > 0 ? BODY_LENGTH : BODY_NONE;
    b->left = (uint64_t)h->content_length;
    b->owes_continue = h->expect_continue && b->kind != BODY_NONE;
}

static void start_request(struct http_conn *c, size_t head_len)
{
    struct request *r = c->req;
    c->pos += head_len;
    c->floor = c->pos;
    c->scanned = 0;
    c->state = CONN_REQUEST;
    c->timing = GUARD_NONE;
    c->is_new = false;
    init_body(c);
    request_fill(r);
    c->wants_close = c->eof_seen || r->head.conn_close || (r->pub.version == 10 && !r->head.conn_keep_alive);
    count_add(&c->home->requests, 1);
    count_requests(c, 1);
    c->listener->handler.on_request(&r->pub, c->listener->handler.arg);
}

static void refuse(struct http_conn *c, int status, const char *why)
{
    count_add(&c->home->bad_requests, 1);
    resp_refuse(c, status, why);
    const struct http_handler *handler = &c->listener->handler;
    if (handler->on_refused)
        handler->on_refused(c->home->loop, conn_peer(c), status, str_from(why), handler->arg);
    finish_sending(c, true);
}

/* Parses the next head and starts its request. True if something moved. */
static bool next_head(struct http_conn *c)
{
    if (c->pos == c->end) {
        if (c->eof_seen || c->home->is_draining)
            close_stream(c);
        else
            input_release(c);
        return false;
    }
    c->req = request_new(c);
    size_t used;
    int status;
    const char *why;
    enum http_parse p =
        http_parse_request(str_of(c->mem + c->pos, c->end - c->pos), &c->home->server->head_limits,
                           &c->scanned, &c->req->head, &used, &status, &why);
    if (p == HTTP_PARSE_DONE) {
        start_request(c, used);
        return true;
    }
    request_free(c->req);
    c->req = NULL;
    if (p == HTTP_PARSE_BAD) {
        refuse(c, status, why);
        return true;
    }
    c->state = CONN_HEAD;
    if (c->eof_seen)
        close_stream(c);
    return false;
}

/* The request is over: its response is out, or the connection is gone. */
static void end_request(struct http_conn *c)
{
    struct request *r = c->req;
    hooks_run(r, &r->on_end);
    count_requests(c, -1);
    c->req = NULL;
    request_free(r);
    unpin(c);
    if (c->state == CONN_CLOSED)
        return;
    struct conn_body *b = &c->body;
    bool is_over = b->is_over || b->kind == BODY_NONE;
    if (c->wants_close) {
        finish_sending(c, !is_over || c->pos < c->end);
    } else if (!is_over) {
        c->state = CONN_DISCARD;
        b->fn = NULL;
        b->discard_left = limits_of(c)->drain_max;
    } else {
        c->state = CONN_IDLE;
    }
}

/* One thing that a request needs; true if something moved. */
static bool step_request(struct http_conn *c)
{
    struct request *r = c->req;
    if (!r)
        return false;
    bool is_open = c->state == CONN_REQUEST;
    if (r->pub.is_gone && !r->pub.is_ended && r->on_abort) {
        hooks_run(r, &r->on_abort);
        return true;
    }
    if (body_deliver(c))
        return true;
    if (is_open && c->out.first && !c->out.is_blocked) {
        bool moved = false;
        if (!out_flush(&c->out, &c->stream, &moved)) {
            conn_break(c);
            return true;
        }
        c->has_progress |= moved;
    }
    if (r->drain_fn && c->out.len < OUT_LOW && !r->pub.is_ended) {
        http_hook *fn = r->drain_fn;
        r->drain_fn = NULL;
        fn(&r->pub, r->drain_arg);
        return true;
    }
    if (r->pub.is_ended && !c->out.first) {
        end_request(c);
        return true;
    }
    return false;
}

static bool step_discard(struct http_conn *c)
{
    bool is_bad;
    if (body_discard(c, &is_bad)) {
        c->state = CONN_IDLE;
        c->floor = 0;
        return true;
    }
    if (is_bad || c->eof_seen)
        finish_sending(c, is_bad);
    return false;
}

static bool step_linger(struct http_conn *c)
{
    if (c->out.first && !c->out.is_blocked) {
        bool moved = false;
        if (!out_flush(&c->out, &c->stream, &moved)) {
            close_stream(c);
            return false;
        }
        c->has_progress |= moved;
        if (!c->out.first)
            http_stream_shutdown(&c->stream);
    }
    if (c->eof_seen && !c->out.first)
        close_stream(c);
    return false;
}

static bool step(struct http_conn *c)
{
    switch (c->state) {
    case CONN_IDLE:
    case CONN_HEAD: return next_head(c);
    case CONN_REQUEST:
    case CONN_CLOSED: return step_request(c);
    case CONN_DISCARD: return step_discard(c);
    case CONN_LINGER: return step_linger(c);
    case CONN_HANDSHAKE:
    case CONN_TUNNEL: break;
    }
    return false;
}

/* After moving: what to wait for, and for how long. */

static unsigned events_to_want(const struct http_conn *c)
{
    unsigned want = c->out.is_blocked ? HTTP_WRITABLE : 0;
    if (c->eof_seen)
        return want;
    /* Also while a handler works: to see the client leave. */
    return want | (c->state != CONN_REQUEST || has_room(c) ? HTTP_READABLE : HTTP_HANGUP);
}

static enum conn_timing guard_to_set(const struct http_conn *c)
{
    switch (c->state) {
    case CONN_HANDSHAKE: return GUARD_HANDSHAKE;
    case CONN_IDLE: return c->is_new ? GUARD_HEAD : GUARD_IDLE;
    case CONN_HEAD: return GUARD_HEAD;
    case CONN_DISCARD: return GUARD_BODY;
    case CONN_LINGER: return c->out.first ? GUARD_WRITE : GUARD_LINGER;
    case CONN_REQUEST:
        if (c->out.is_blocked)
            return GUARD_WRITE;
        if (c->body.fn && !c->body.is_over && !c->body.is_paused && !c->req->pub.is_ended)
            return GUARD_BODY;
        return GUARD_NONE;
    case CONN_TUNNEL:
    case CONN_CLOSED: break;
    }
    return GUARD_NONE;
}

static int guard_ms(const struct http_conn *c, enum conn_timing guard)
{
    const struct http_limits *l = limits_of(c);
    switch (guard) {
    case GUARD_HANDSHAKE: return l->handshake_timeout_ms;
    case GUARD_IDLE: return l->idle_timeout_ms;
    case GUARD_HEAD: return l->header_timeout_ms;
    case GUARD_WRITE: return l->write_timeout_ms;
    case GUARD_BODY: return l->body_timeout_ms;
    case GUARD_LINGER: return LINGER_MS;
    case GUARD_NONE: break;
    }
    return 0;
}

static void set_guard(struct http_conn *c)
{
    enum conn_timing guard = guard_to_set(c);
    bool restarts = guard == GUARD_IDLE || guard == GUARD_WRITE || guard == GUARD_BODY;
    if (guard != c->timing || (restarts && c->has_progress)) {
        c->timing = guard;
        /* Without a guard the timer is left alone: it does nothing when it fires, and mostly it is set again
         * before that. */
        if (guard != GUARD_NONE)
            http_timer_start(&c->timer, c->home->loop, guard_ms(c, guard), on_timer);
    }
    c->has_progress = false;
}

static void on_flush_soon(struct http_soon *soon)
{
    conn_advance(CONTAINER_OF(soon, struct http_conn, flush_soon));
}

void conn_flush_soon(struct http_conn *c)
{
    /* While advancing the connection gets to it anyway; closed ones need it to notice. */
    if (!c->is_advancing)
        http_soon_start(c->home->loop, &c->flush_soon, on_flush_soon);
}

void conn_advance(struct http_conn *c)
{
    if (c->is_advancing)
        return;
    c->is_advancing = true;
    int budget = STEPS_MAX;
    while (budget > 0 && step(c))
        budget--;
    c->is_advancing = false;
    if (budget == 0)
        conn_flush_soon(c);
    if (c->state == CONN_CLOSED) {
        if (c->stream_closed && !c->req && !c->flush_soon.link)
            conn_free(c);
        return;
    }
    if (c->state != CONN_TUNNEL)
        http_stream_want(&c->stream, events_to_want(c));
    set_guard(c);
}

/* Events. */

static void on_eof(struct http_conn *c)
{
    if (c->eof_seen)
        return;
    c->eof_seen = true;
    c->wants_close = true;
    if (c->req)
        c->req->pub.is_gone = true;
}

static void read_input(struct http_conn *c)
{
    if (!make_room(c))
        return;
    ssize_t n = http_stream_read(&c->stream, c->mem + c->end, c->cap - c->end);
    if (n > 0) {
        c->end += (size_t)n;
        c->has_progress = true;
    } else if (n == HTTP_EOF) {
        on_eof(c);
    } else if (n == HTTP_BROKEN) {
        conn_break(c);
    }
}

static void throw_away_input(struct http_conn *c)
{
    char *scratch = http_loop_scratch(c->home->loop);
    ssize_t n = http_stream_read(&c->stream, scratch, HTTP_BLOCK);
    if (n > 0 && (uint64_t)n <= c->body.discard_left)
        c->body.discard_left -= (uint64_t)n;
    else if (n != HTTP_AGAIN)
        close_stream(c);
}

static void on_handshake(struct http_conn *c)
{
    int n = http_stream_handshake(&c->stream);
    if (n == 1) {
        c->state = CONN_IDLE;
    } else if (n == HTTP_BROKEN) {
        count_add(&c->home->tls_failed, 1);
        conn_break(c);
    }
}

static void on_ready(struct http_stream *stream, unsigned events, void *arg)
{
    (void)stream;
    struct http_conn *c = arg;
    if (events & HTTP_WRITABLE)
        c->out.is_blocked = false;
    if (c->state == CONN_HANDSHAKE)
        on_handshake(c);
    else if (c->state == CONN_LINGER && events & HTTP_READABLE)
        throw_away_input(c);
    else if (events & HTTP_READABLE)
        read_input(c);
    else if (events & HTTP_HANGUP)
        on_eof(c);
    if (c->state != CONN_CLOSED)
        conn_advance(c);
}

static void on_timer(struct http_timer *timer)
{
    struct http_conn *c = CONTAINER_OF(timer, struct http_conn, timer);
    enum conn_timing guard = c->timing;
    c->timing = GUARD_NONE;
    switch (guard) {
    case GUARD_NONE: return;
    case GUARD_HEAD:
        if (c->state == CONN_HEAD) {
            refuse(c, 408, "the request header did not arrive in time");
            break;
        }
        /* not a byte came */
        close_stream(c);
        break;
    case GUARD_IDLE:
    case GUARD_LINGER: close_stream(c); break;
    case GUARD_BODY:
        if (c->state == CONN_REQUEST) {
            body_fail(c, ERR_TIMEOUT, "the request body stopped arriving");
            break;
        }
        /* fall through */
    case GUARD_HANDSHAKE:
    case GUARD_WRITE: conn_break(c); return;
    }
    conn_advance(c);
}

void conn_open(struct server_loop *home, struct http_listener *listener, int fd, const struct sockaddr *peer)
{
    SSL *ssl = NULL;
    if (listener->tls && !(ssl = http_tls_accept(listener->tls, fd))) {
        close(fd);
        server_conn_gone(home);
        return;
    }
    struct http_conn *c = xcalloc(1, sizeof *c);
    scoped_err err = {0};
    if (!http_stream_open(&c->stream, home->loop, fd, ssl, on_ready, c, &err)) {
        SSL_free(ssl);
        close(fd);
        free(c);
        server_conn_gone(home);
        return;
    }
    c->home = home;
    c->listener = listener;
    c->state = ssl ? CONN_HANDSHAKE : CONN_IDLE;
    c->is_new = true;
    out_init(&c->out);
    if (peer->sa_family == AF_INET6)
        memcpy(&c->peer, peer, sizeof c->peer.in6);
    else if (peer->sa_family == AF_INET)
        memcpy(&c->peer, peer, sizeof c->peer.in);
    else
        c->peer.sa.sa_family = peer->sa_family;
    c->next = home->conns;
    c->link = &home->conns;
    if (c->next)
        c->next->link = &c->next;
    home->conns = c;
    conn_advance(c);
}

bool conn_drain(struct http_conn *c, bool cut)
{
    if (c->state == CONN_CLOSED)
        return false;
    if (c->state == CONN_TUNNEL && cut) {
        c->stream.on_ready(&c->stream, HTTP_CUT, c->stream.arg);
        return true;
    }
    if (cut) {
        conn_break(c);
        return true;
    }
    if (c->state == CONN_IDLE && c->pos == c->end)
        conn_break(c);
    return false;
}

struct http_stream *http_req_hijack(struct http_req *req,
                                    void (*ready)(struct http_stream *stream, unsigned events, void *arg),
                                    void *arg, struct str *leftover)
{
    struct request *r = request_of(req);
    struct http_conn *c = r->conn;
    assert(req->is_started && !req->is_ended);
    bool moved = false;
    /* The head is small and goes out at once, unless the client has not read what came before: such a client
     * gets no tunnel. */
    if (c->state != CONN_REQUEST || !out_flush(&c->out, &c->stream, &moved) || c->out.first) {
        conn_break(c);
        return NULL;
    }
    c->state = CONN_TUNNEL;
    c->timing = GUARD_NONE;
    *leftover = str_of(c->mem + c->pos, c->end - c->pos);
    c->stream.on_ready = ready;
    c->stream.arg = arg;
    return &c->stream;
}

void http_hijack_end(struct http_req *req, uint64_t bytes_sent)
{
    struct http_conn *c = request_of(req)->conn;
    req->bytes_sent = bytes_sent;
    req->is_ended = true;
    if (c->state == CONN_CLOSED)
        conn_advance(c);
    else
        conn_break(c);
}
