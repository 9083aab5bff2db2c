/* http/proxy.c: one exchange between a client's request and an upstream.
 *
 *   http_proxy --> CONNECT --> HEAD --final head--> BODY --complete--> over
 *                   ^   |       |  '--101--> tunnel       '--upstream ends early--> abort
 *                   '---+-dead pooled connection, once
 *                       '--no connection--> on_connect_failed or 502
 *
 * The request is sent while HEAD and BODY run, by its own small machine (enum sending).
 *
 * 1. An exchange lives in the request's arena. Whatever ends it goes through over(), after which nothing may touch
 *    it: functions that can end it return false then, and their callers return at once.
 * 2. `head_block` is held only until the whole request head is written, `block` only while response bytes are
 *    being looked at: an exchange that waits (long poll, SSE, slow side) holds neither.
 * 3. Request body bytes are never stored: what the upstream's socket does not take stays with the client's
 *    connection, which stops reading. Response bytes are passed on at once; when the client's side has too much
 *    waiting, the upstream is not read until it has drained.
 * 4. A retry happens at most once, from a connection that was used before to a fresh one, before any response byte, and
 *    only if the request can be repeated (can_repeat()).
 * SPDX-License-Identifier: Apache-2.0 */
#include "proxy_int.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    HEAD_MAX = 64 << 10,        /* of a response head */
    INFOS_MAX = 32,             /* 1xx responses before the final one */
    READS_MAX = 8,              /* blocks read before other connections get their turn */
    CONTINUE_MS = 1000,         /* a 100 that does not come in this time is not waited for */
};

enum phase {
    P_CONNECT,      /* a connection is being acquired */
    P_HEAD,         /* connected; no final response head yet */
    P_BODY,         /* the response head was passed on */
    P_OVER,
};

enum sending {
    S_NOT_YET,      /* not connected */
    S_AWAIT_100,    /* the head is out; the body waits for 100 (Continue), or for CONTINUE_MS */
    S_BODY,         /* the body is being read and sent */
    S_LAST,         /* the body was taken; its last framing bytes are not out yet */
    S_DONE,         /* the request is complete, or was given up (see send_broken) */
};

enum framing {
    F_NONE,         /* no body */
    F_LENGTH,       /* `left` bytes to come */
    F_CHUNKED,
    F_CLOSE,        /* until the upstream closes */
};

struct exchange {
    struct http_req *req;
    const struct http_upstream *to;
    const struct http_proxy_opts *opts;
    struct str path;                /* asked for, without the upstream's own */
    struct upconn_wish acquire;
    struct upconn *conn;         /* P_HEAD, P_BODY */
    struct http_timer timer;        /* the 100, or the first byte */
    enum phase phase;
    int64_t start_ns;
    struct http_proxy_result result;

    /* Sending. */
    enum sending sending;
    struct str head;                /* not yet written */
    char *head_block;               /* where it is, NULL if in the arena or written */
    char frame[32];                 /* chunk framing not yet written: [frame_off, frame_len) */
    uint8_t frame_off, frame_len;
    uint64_t chunk_left;            /* data bytes of the present chunk not yet written */
    bool is_reading;                /* http_req_read() was called */
    bool is_body_paused;            /* the client's connection holds bytes for us */
    bool is_resuming;               /* and will offer them again soon */
    bool saw_end;                   /* the end of the body was taken */
    bool is_end_framed;
    bool send_broken;               /* the upstream takes no more; it may have answered */

    /* Receiving. */
    enum framing framing;
    char *block;                    /* response bytes [0, len) of a head that is not complete */
    size_t len, cap;
    bool block_in_arena;
    size_t scanned;
    unsigned infos;
    uint64_t left;
    struct http_chunked chunked;
    size_t reads;                   /* that brought bytes of a response to this request */
    size_t reads_told;              /* one more than `reads` when the upstream was last said to be over; 0: it was not */
    bool is_paused;                 /* the client's side has too much waiting */
    bool can_keep;                  /* the response allows another request on this connection */
    bool was_retried;
    bool *gone;                     /* set when the exchange is over, for a caller that may outlive it */
    struct http_soon soon;          /* sends a head that no body byte came to accompany */
};

static bool start(struct exchange *x);

/* ---- The end ---- */

static void drop_blocks(struct exchange *x)
{
    if (x->head_block)
        http_block_put(x->req->loop, x->head_block);
    if (x->block && !x->block_in_arena)
        http_block_put(x->req->loop, x->block);
    x->head_block = x->block = NULL;
}

static void drop_conn(struct exchange *x, bool reusable)
{
    struct upconn *conn = x->conn;
    if (!conn)
        return;
    x->conn = NULL;
    upconn_release(conn, x->opts, reusable);
}

/* Ends everything but the request itself (inv. 1). */
static void over(struct exchange *x, bool reusable)
{
    assert(x->phase != P_OVER);
    if (x->phase == P_CONNECT)
        upconn_cancel(&x->acquire);
    x->phase = P_OVER;
    if (x->gone)
        *x->gone = true;
    http_timer_stop(&x->timer);
    http_soon_stop(x->req->loop, &x->soon);
    drop_blocks(x);
    drop_conn(x, reusable);
}

static void tell_done(struct exchange *x)
{
    x->result.status = x->req->is_started ? x->req->status : 0;
    if (x->opts->events.on_done)
        x->opts->events.on_done(x->req, &x->result, x->opts->events.arg);
}

static void count(struct exchange *x, uint64_t in, uint64_t out)
{
    x->result.bytes_in += in;
    x->result.bytes_out += out;
    if (x->opts->events.on_bytes && in + out > 0)
        x->opts->events.on_bytes(x->req, in, out, x->opts->events.arg);
}

/* Answers with an error, or breaks an answer off that has begun. Returns false (inv. 1). */
static bool answer_error(struct exchange *x, int status, const char *why)
{
    struct http_req *req = x->req;
    x->result.why = why;
    if (req->is_started) {
        tell_done(x);
        http_resp_abort(req);
        return false;
    }
    x->result.status = status;
    if (x->opts->events.on_done)
        x->opts->events.on_done(req, &x->result, x->opts->events.arg);
    http_reply_error(req, status, str_from(why));
    return false;
}

static bool give_up(struct exchange *x, int status, const char *why)
{
    over(x, false);
    return answer_error(x, status, why);
}

/* Without a connection: lets the caller take the request over, unless its body was asked for, which can be done only
 * once. Returns false (inv. 1). */
static bool no_connection(struct exchange *x, int status, const char *why)
{
    assert(x->phase == P_OVER);
    x->result.is_connect_failed = true;
    if (!x->is_reading && x->opts->events.on_connect_failed
        && x->opts->events.on_connect_failed(x->req, why, x->opts->events.arg))
        return false;
    return answer_error(x, status, why);
}

static void on_client_gone(struct http_req *req, void *arg)
{
    struct exchange *x = arg;
    if (x->phase == P_OVER)
        return;
    over(x, false);
    x->result.is_client_gone = true;
    x->result.why = "the client left";
    tell_done(x);
    http_resp_abort(req);
}

/* ---- Trying again ---- */

static bool is_idempotent(enum http_method m)
{
    return m == HTTP_GET || m == HTTP_HEAD || m == HTTP_OPTIONS || m == HTTP_PUT || m == HTTP_DELETE || m == HTTP_TRACE;
}

/* Either the request is incomplete without the body of which nothing was taken, so that nobody can have acted on it,
 * or acting on it twice is harmless and there is no body to repeat. */
static bool can_repeat(const struct exchange *x)
{
    if (x->reads > 0)
        return false;
    if (x->req->content_length == 0)
        return is_idempotent(x->req->method);
    return x->result.bytes_in == 0 && x->sending < S_LAST;
}

/* The connection ended before any answer. A new one that does so is as good as none: a port that a container engine
 * forwards accepts connections also while nobody listens behind it. */
static bool lost(struct exchange *x, const char *why)
{
    if (!can_repeat(x))
        return give_up(x, 502, why);
    if (!x->conn->is_reused || x->conn->is_over) {
        over(x, false);
        return no_connection(x, 502, why);
    }
    assert(!x->was_retried); /* inv. 4: the second one is fresh */
    drop_blocks(x);
    drop_conn(x, false);
    http_timer_stop(&x->timer);
    http_soon_stop(x->req->loop, &x->soon);
    x->was_retried = true;
    x->sending = S_NOT_YET;
    x->send_broken = x->is_resuming = x->is_end_framed = false;
    x->frame_off = x->frame_len = 0;
    x->chunk_left = 0;
    x->len = x->scanned = 0;
    x->acquire.must_be_fresh = true;
    return start(x);
}

/* ---- Sending ---- */

static bool is_flushed(const struct exchange *x)
{
    return x->head.len == 0 && x->frame_off == x->frame_len;
}

static void want(struct exchange *x)
{
    bool has_bytes = !is_flushed(x) || x->is_body_paused;
    bool waits = x->send_broken || x->is_resuming || x->soon.link;
    http_stream_want(&x->conn->stream, (x->is_paused ? 0 : HTTP_READABLE) | (has_bytes && !waits ? HTTP_WRITABLE : 0));
}

static void on_first_byte_late(struct http_timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, timer);
    give_up(x, 504, "the application did not answer in time");
}

static void sent_all(struct exchange *x)
{
    x->sending = S_DONE;
    if (x->opts->first_byte_timeout_ms > 0 && x->phase == P_HEAD)
        http_timer_start(&x->timer, x->req->loop, x->opts->first_byte_timeout_ms, on_first_byte_late);
}

static void took(struct str *s, size_t *n)
{
    size_t k = MIN(s->len, *n);
    *s = str_from_off(*s, k);
    *n -= k;
}

/* Writes what is left of head and framing, then `data` (of the present chunk, or of a body with a length), and the end
 * of its chunk if it `ends_chunk`: not with the next one, for which upstreams would wait with the data in hand. Returns
 * how much of `data` went out; x->send_broken is set when the upstream takes no more. */
static size_t write_out(struct exchange *x, struct str data, bool ends_chunk)
{
    if (x->send_broken)
        return 0;
    struct str frame = str_of(x->frame + x->frame_off, (size_t)(x->frame_len - x->frame_off));
    const struct str parts[] = {x->head, frame, data, ends_chunk ? STR("\r\n") : (struct str){0}};
    struct iovec iov[ARRAY_LEN(parts)];
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i].len > 0)
            iov[n++] = (struct iovec){(void *)parts[i].ptr, parts[i].len};
    if (n == 0)
        return 0;
    ssize_t put = http_stream_writev(&x->conn->stream, iov, n);
    if (put == HTTP_AGAIN)
        return 0;
    if (put < 0) {
        x->send_broken = true;
        return 0;
    }
    size_t rest = (size_t)put;
    took(&x->head, &rest);
    if (x->head.len == 0 && x->head_block) {
        http_block_put(x->req->loop, x->head_block);
        x->head_block = NULL;
    }
    size_t framed = MIN(rest, frame.len);
    x->frame_off = (uint8_t)(x->frame_off + framed);
    rest -= framed;
    if (ends_chunk && rest >= data.len) { /* what is missing of the chunk's end is framing still to be written */
        memcpy(x->frame, "\r\n", 2);
        x->frame_off = (uint8_t)(rest - data.len);
        x->frame_len = 2;
    }
    return MIN(rest, data.len);
}

static void frame_chunk(struct exchange *x, uint64_t len)
{
    int n = snprintf(x->frame, sizeof x->frame, "%llx\r\n%s", (unsigned long long)len, len == 0 ? "\r\n" : "");
    x->frame_off = 0;
    x->frame_len = (uint8_t)n;
    x->chunk_left = len;
}

static void frame_end(struct exchange *x)
{
    if (x->req->content_length < 0 && !x->is_end_framed && is_flushed(x)) {
        frame_chunk(x, 0);
        x->is_end_framed = true;
        write_out(x, (struct str){0}, false);
    }
    if (is_flushed(x) && (x->req->content_length >= 0 || x->is_end_framed))
        sent_all(x);
}

/* Sends part of the body; returns how much of it went out. */
static size_t send_body(struct exchange *x, struct str data, bool is_end)
{
    bool is_chunked = x->req->content_length < 0;
    size_t done = 0, n;
    struct str part;
    do {
        part = str_from_off(data, done);
        if (is_chunked && x->chunk_left == 0 && part.len > 0 && x->frame_off == x->frame_len)
            frame_chunk(x, part.len);
        if (is_chunked)
            part = str_slice(part, 0, x->chunk_left);
        n = write_out(x, part, is_chunked && part.len > 0 && part.len == x->chunk_left);
        done += n;
        if (is_chunked)
            x->chunk_left -= n;
    } while (!x->send_broken && n == part.len && is_flushed(x) && done < data.len);
    if (done == data.len && is_end && !x->send_broken) {
        x->sending = S_LAST;
        frame_end(x);
    }
    return done;
}

/* What the upstream does not take is left with the client's connection (inv. 3), also when it takes no more at all: an
 * answer may have come instead, after which the server does away with the rest, or a retry wants it. */
static size_t on_request_body(struct http_req *req, struct str data, enum http_body what, void *arg)
{
    struct exchange *x = arg;
    if (x->phase == P_OVER)
        return data.len;
    if (what == HTTP_BODY_FAILED) {
        const char *why;
        bool is_malformed = http_req_body_fault(req, &why) == ERR_INVALID;
        x->result.is_client_gone = req->is_gone;
        give_up(x, is_malformed ? 400 : 408, is_malformed ? why : "the request body did not arrive whole");
        return 0;
    }
    http_soon_stop(req->loop, &x->soon);
    x->is_resuming = false;
    size_t n = x->sending == S_BODY && !x->send_broken ? send_body(x, data, what == HTTP_BODY_END) : 0;
    count(x, n, 0);
    x->is_body_paused = n < data.len;
    x->saw_end = what == HTTP_BODY_END && n == data.len; /* it does not come again */
    if (x->conn)
        want(x);
    return n;
}

static void resume_body(struct exchange *x)
{
    x->is_body_paused = false;
    x->is_resuming = true;
    http_req_resume(x->req);
}

/* Continues after the socket has room again. */
static void on_writable(struct exchange *x)
{
    /* TLS wants the very bytes again that it could not take, so those of the body come along. */
    if (x->is_body_paused) {
        resume_body(x);
        return;
    }
    if (!is_flushed(x))
        write_out(x, (struct str){0}, false);
    if (x->sending == S_LAST && !x->send_broken && is_flushed(x))
        frame_end(x);
}

static void on_head_alone(struct http_soon *soon)
{
    struct exchange *x = CONTAINER_OF(soon, struct exchange, soon);
    write_out(x, (struct str){0}, false);
    want(x);
}

/* Starts to take the client's body, which may call on_request_body() at once. The head goes out with its first
 * bytes, or alone if none are there by the end of this turn. False when the exchange is over. */
static bool read_body(struct exchange *x)
{
    bool gone = false;
    x->sending = S_BODY;
    if (x->head.len > 0)
        http_soon_start(x->req->loop, &x->soon, on_head_alone);
    if (x->is_reading) {
        if (x->saw_end)
            send_body(x, (struct str){0}, true);
        else if (x->is_body_paused)
            resume_body(x);
        return true;
    }
    x->is_reading = true;
    x->gone = &gone;
    http_req_read(x->req, on_request_body, x);
    if (!gone)
        x->gone = NULL;
    return !gone;
}

static void on_no_continue(struct http_timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, timer);
    if (x->sending == S_AWAIT_100 && read_body(x))
        want(x);
}

/* Makes the head, in a block if it fits. */
static bool make_head(struct exchange *x)
{
    x->head_block = http_block_get(x->req->loop);
    char *p = x->head_block;
    size_t n = proxy_write_head(x->req, x->to, x->opts, x->path, p, HTTP_BLOCK);
    if (UNLIKELY(n == 0)) {
        http_block_put(x->req->loop, x->head_block);
        x->head_block = NULL;
        size_t bound = proxy_head_bound(x->req, x->to, x->opts, x->path);
        p = arena_alloc(x->req->arena, bound);
        n = proxy_write_head(x->req, x->to, x->opts, x->path, p, bound);
    }
    x->head = str_of(p, n);
    return n > 0;
}

static void on_conn_ready(struct upconn *conn, unsigned events);

/* A server that closes idle connections shows it on the socket, mostly before we use it. Requests that can always be
 * repeated need not look. */
static bool looks_dead(struct upconn *conn)
{
    char c;
    ssize_t n = recv(conn->stream.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_conn(struct upconn_wish *a, struct upconn *conn)
{
    struct exchange *x = CONTAINER_OF(a, struct exchange, acquire);
    x->phase = P_HEAD;
    x->conn = conn;
    conn->owner = x;
    conn->on_ready = on_conn_ready;
    bool is_harmless = x->req->content_length == 0 && is_idempotent(x->req->method);
    if (conn->is_reused && !is_harmless && looks_dead(conn)) {
        drop_conn(x, false);
        x->acquire.must_be_fresh = true;
        start(x);
        return;
    }
    if (!make_head(x)) {
        give_up(x, 400, "the request's Connection fields cannot be passed on");
        return;
    }
    if (x->req->content_length == 0) {
        x->sending = S_LAST;
        write_out(x, (struct str){0}, false);
        if (!x->send_broken)
            frame_end(x);
    } else if (http_req_known(x->req, HTTP_H_EXPECT).ptr && x->req->version >= 11 && !x->is_reading) {
        x->sending = S_AWAIT_100;
        write_out(x, (struct str){0}, false);
        http_timer_start(&x->timer, x->req->loop, CONTINUE_MS, on_no_continue);
    } else if (!read_body(x)) {
        return;
    }
    want(x);
}

/* ---- Receiving ---- */

static bool complete(struct exchange *x)
{
    struct http_req *req = x->req;
    over(x, x->can_keep && x->sending == S_DONE && !x->send_broken);
    x->result.is_ok = true;
    tell_done(x);
    http_resp_end(req);
    return false;
}

static void on_drained(struct http_req *req, void *arg)
{
    struct exchange *x = arg;
    if (x->phase == P_OVER)
        return;
    x->is_paused = false;
    want(x);
}

static void pass_on(struct exchange *x, struct str data)
{
    if (data.len == 0)
        return;
    count(x, 0, data.len);
    if (!http_resp_write(x->req, data, false) && !x->is_paused) {
        x->is_paused = true;
        http_resp_on_drain(x->req, on_drained, x);
    }
}

/* Undoes the chunks in place, so that a read's worth of small ones is passed on as one piece. */
static bool take_chunked(struct exchange *x, char *p, size_t len)
{
    size_t kept = 0, off = 0;
    enum http_parse r = HTTP_PARSE_MORE;
    const char *why = NULL;
    while (off < len && r == HTTP_PARSE_MORE) {
        size_t used = 0;
        struct str data = {0};
        r = http_chunked_next(&x->chunked, str_of(p + off, len - off), &used, &data, &why);
        if (r == HTTP_PARSE_BAD)
            break;
        if (data.len > 0 && data.ptr != p + kept)
            memmove(p + kept, data.ptr, data.len);
        kept += data.len;
        off += used;
    }
    if (r == HTTP_PARSE_BAD)
        return give_up(x, 502, why);
    pass_on(x, str_of(p, kept));
    if (r != HTTP_PARSE_DONE)
        return true;
    x->can_keep &= off == len;
    return complete(x);
}

/* Body bytes, all of which are consumed. */
static bool take_body(struct exchange *x, char *p, size_t len)
{
    switch (x->framing) {
    case F_CHUNKED:
        return len == 0 || take_chunked(x, p, len);
    case F_CLOSE:
        pass_on(x, str_of(p, len));
        return true;
    case F_LENGTH:
    case F_NONE:
        break;
    }
    size_t n = (size_t)MIN((uint64_t)len, x->left);
    x->left -= n;
    pass_on(x, str_of(p, n));
    if (x->left > 0)
        return true;
    x->can_keep &= n == len; /* bytes after the end belong to nothing we asked for */
    return complete(x);
}

/* How the body of the final response ends (RFC 9112 section 6.3); *content_length is what to tell the client. */
static void choose_framing(struct exchange *x, const struct http_head *h, int64_t *content_length)
{
    *content_length = h->has_length ? h->content_length : -1;
    x->can_keep = h->version >= 11 ? !h->conn_close : h->conn_keep_alive;
    x->left = 0;
    if (x->req->method == HTTP_HEAD || h->status == 204 || h->status == 304) {
        x->framing = F_NONE;
    } else if (h->is_chunked) {
        x->framing = F_CHUNKED;
        http_chunked_init(&x->chunked);
    } else if (h->has_length) {
        x->framing = F_LENGTH;
        x->left = (uint64_t)h->content_length;
    } else {
        x->framing = F_CLOSE;
        x->can_keep = false;
    }
}

static void on_tunnel_bytes(void *arg, uint64_t in, uint64_t out)
{
    count(arg, in, out);
}

static void on_tunnel_end(void *arg, uint64_t in, uint64_t out)
{
    struct exchange *x = arg;
    x->result.is_ok = true;
    x->result.bytes_in = in;
    x->result.bytes_out = out;
    tell_done(x);
}

/* True if the upstream switched to a protocol that the client offered. */
static bool is_offered(const struct exchange *x, const struct http_head *h)
{
    struct str protocol = http_head_known(h, HTTP_H_UPGRADE);
    return protocol.len > 0 && proxy_may_upgrade(x->req) && http_req_list_has(x->req, HTTP_H_UPGRADE, protocol);
}

static bool switch_protocols(struct exchange *x, const struct http_head *h, struct str early)
{
    struct http_req *req = x->req;
    if (!is_offered(x, h) || x->sending != S_DONE)
        return give_up(x, 502, "the application switched to a protocol that was not asked for");
    http_resp_header(req, STR("Connection"), STR("Upgrade"));
    proxy_relay_fields(req, x->to, x->opts, x->path, h);
    http_resp_start(req, 101, 0);
    http_timer_stop(&x->timer);
    x->result.is_tunnel = true;
    early = str_of(arena_memdup(req->arena, early.ptr, early.len), early.len);
    drop_blocks(x);
    /* From here on the tunnel has the connection, and tells when it is over. */
    struct upconn *conn = x->conn;
    x->conn = NULL;
    x->phase = P_OVER;
    struct tunnel_end end = {on_tunnel_end, on_tunnel_bytes, x};
    if (tunnel_start(req, conn, x->opts, early, &end))
        return false;
    upconn_release(conn, x->opts, false);
    x->result.is_client_gone = true;
    x->result.why = "the client left";
    tell_done(x);
    http_resp_abort(req);
    return false;
}

/* 1xx but 101. */
static bool take_info(struct exchange *x, const struct http_head *h)
{
    if (++x->infos > INFOS_MAX)
        return give_up(x, 502, "the application sends no final response");
    if (h->status != 100) {
        proxy_relay_fields(x->req, x->to, x->opts, x->path, h);
        http_resp_info(x->req, h->status);
    } else if (x->sending == S_AWAIT_100) {
        http_timer_stop(&x->timer);
        return read_body(x);
    }
    return true;
}

/* "Keep-Alive: timeout=5" tells when the upstream will close; ours must be gone before, or requests meet the closing. */
static void note_keep_alive(struct upconn *conn, struct str value)
{
    struct str part, name, text;
    uint64_t seconds;
    while (http_list_next(&value, &part)) {
        if (str_cut(part, '=', &name, &text) && str_eq_nocase(name, STR("timeout")) && str_to_u64(text, &seconds)
            && seconds <= 3600)
            conn->keep_ms = seconds > 1 ? (int)seconds * 1000 - 1000 : 100;
    }
}

static bool take_final(struct exchange *x, const struct http_head *h)
{
    int64_t content_length;
    http_timer_stop(&x->timer);
    if (UNLIKELY(h->known[HTTP_H_KEEP_ALIVE]))
        note_keep_alive(x->conn, http_head_known(h, HTTP_H_KEEP_ALIVE));
    x->result.first_byte_ns = clock_ns() - x->start_ns;
    if (x->sending == S_AWAIT_100)
        x->sending = S_DONE, x->send_broken = true; /* the body is not wanted, and the connection waits for it */
    choose_framing(x, h, &content_length);
    if (h->status == 304 && h->has_length) {
        /* It tells of the content that is not sent (RFC 9110 section 8.6). */
        http_resp_header_ref(x->req, STR("Content-Length"), http_head_known(h, HTTP_H_CONTENT_LENGTH));
        content_length = -1;
    }
    proxy_relay_fields(x->req, x->to, x->opts, x->path, h);
    http_resp_start(x->req, h->status, content_length);
    x->phase = P_BODY;
    return true;
}

/* Looks at the head bytes in x->block, then at the body bytes that came with them. */
static bool take_head(struct exchange *x)
{
    static const struct http_head_limits limits = {HEAD_MAX, HEAD_MAX};
    struct http_head h;
    size_t used = 0;
    const char *why = NULL;
    for (;;) {
        enum http_parse r = http_parse_response(str_of(x->block, x->len), &limits, &x->scanned, &h, &used, &why);
        if (r == HTTP_PARSE_BAD)
            return give_up(x, 502, "the application sent a response that is not valid HTTP");
        if (r == HTTP_PARSE_MORE)
            return true;
        if (h.status == 101)
            return switch_protocols(x, &h, str_of(x->block + used, x->len - used));
        if (h.status >= 200)
            break;
        if (!take_info(x, &h))
            return false;
        x->len -= used;
        memmove(x->block, x->block + used, x->len);
        x->scanned = 0;
        if (x->len == 0)
            return true;
    }
    if (!take_final(x, &h))
        return false;
    char *rest = x->block + used;
    size_t len = x->len - used;
    x->len = 0;
    return take_body(x, rest, len);
}

static bool ended(struct exchange *x, bool is_orderly)
{
    if (x->phase == P_BODY && x->framing == F_CLOSE && is_orderly)
        return complete(x);
    if (x->phase == P_BODY)
        return give_up(x, 502, "the application ended its response early");
    if (x->reads > 0)
        return give_up(x, 502, "the application closed the connection within its response head");
    return lost(x, "the application closed the connection without a response");
}

/* Room for more of a head: a block, then the arena up to HEAD_MAX. */
static void make_room(struct exchange *x)
{
    if (!x->block) {
        x->block = http_block_get(x->req->loop);
        x->cap = HTTP_BLOCK;
        x->block_in_arena = false;
    } else if (x->len == x->cap) {
        char *bigger = arena_alloc(x->req->arena, HEAD_MAX);
        memcpy(bigger, x->block, x->len);
        if (!x->block_in_arena)
            http_block_put(x->req->loop, x->block);
        x->block = bigger;
        x->cap = HEAD_MAX;
        x->block_in_arena = true;
    }
}

static bool on_readable(struct exchange *x)
{
    for (int i = 0; i < READS_MAX && !x->is_paused; i++) {
        make_room(x);
        size_t room = x->cap - x->len;
        ssize_t n = http_stream_read(&x->conn->stream, x->block + x->len, room);
        if (n == HTTP_AGAIN)
            break;
        if (n <= 0)
            return ended(x, n == HTTP_EOF);
        x->reads++;
        x->len += (size_t)n;
        if (x->phase == P_HEAD) {
            if (!take_head(x))
                return false;
        } else {
            size_t len = x->len;
            x->len = 0;
            if (!take_body(x, x->block, len))
                return false;
        }
        if ((size_t)n < room)
            break;
    }
    if (x->phase == P_BODY)
        http_resp_flush(x->req); /* an event, or a head whose body takes its time, is not held back */
    /* inv. 2 */
    if (x->len == 0 && x->block) {
        if (!x->block_in_arena)
            http_block_put(x->req->loop, x->block);
        x->block = NULL;
    }
    return true;
}

/* Nobody is there any more, and nobody may say so: what has arrived is taken, and more is waited for until nothing has come
 * from one time to the next. What a client does not take is no silence. */
static bool on_over(struct exchange *x)
{
    if (!on_readable(x))
        return false;
    if (x->is_paused || x->reads_told != x->reads + 1) {
        x->reads_told = x->reads + 1;
        return true;
    }
    if (x->phase == P_BODY)
        return give_up(x, 502, "the application has ended in the middle of its response");
    if (!can_repeat(x))
        return give_up(x, 502, "the application has ended before it answered");
    over(x, false);
    return no_connection(x, 502, "the application has ended before it answered");
}

static void on_conn_ready(struct upconn *conn, unsigned events)
{
    struct exchange *x = conn->owner;
    if (events & HTTP_WRITABLE)
        on_writable(x);
    if (events & (HTTP_READABLE | HTTP_HANGUP)) {
        if (!on_readable(x))
            return;
    } else if (UNLIKELY(events == UPCONN_OVER) && !on_over(x)) {
        return;
    }
    want(x);
}

/* ---- The start ---- */

static void on_conn_failed(struct upconn_wish *a, const char *why, bool is_timeout)
{
    struct exchange *x = CONTAINER_OF(a, struct exchange, acquire);
    x->phase = P_OVER;
    no_connection(x, is_timeout ? 504 : 502, why);
}

static bool start(struct exchange *x)
{
    x->phase = P_CONNECT;
    x->acquire.on_conn = on_conn;
    x->acquire.on_failed = on_conn_failed;
    x->acquire.to = x->to;
    x->acquire.opts = x->opts;
    upconn_acquire(x->req->loop, &x->acquire);
    return false; /* it may be over by now */
}

static const char *bad_set_header(const struct http_proxy_opts *o)
{
    for (size_t i = 0; i < o->set_count; i++)
        if (!http_is_token(o->set[i].name) || !http_is_field_value(o->set[i].value))
            return "a header for the application has characters that cannot be sent";
    if ((o->has_cookie && !http_is_field_value(o->cookie)) || !http_is_field_value(o->host))
        return "a header for the application has characters that cannot be sent";
    return NULL;
}

void http_proxy(struct http_req *req, const struct http_upstream *to, const struct http_proxy_opts *opts)
{
    struct exchange *x = arena_new(req->arena, struct exchange);
    x->req = req;
    x->to = to;
    x->opts = opts;
    x->start_ns = clock_ns();
    const char *why = bad_set_header(opts);
    int status = why ? 500 : 0;
    x->path = opts->path;
    if (!why && opts->path.len == 0) {
        if (!http_encoded_path_under(req->path, opts->strip_prefix, &x->path)) {
            status = 404;
            why = "404 page not found";
        } else if (x->path.len == 0) {
            x->path = STR("/");
        }
    }
    if (status != 0) {
        x->phase = P_OVER;
        x->result.status = status;
        x->result.why = why;
        if (opts->events.on_done)
            opts->events.on_done(req, &x->result, opts->events.arg);
        http_reply_error(req, status, str_from(why));
        return;
    }
    http_req_on_abort(req, on_client_gone, x);
    start(x);
}
