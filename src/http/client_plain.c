/* http/client_plain.c: the blocking client without libcurl: HTTP/1.1 to a unix socket or a numeric address.
 *
 * What it does not know (names, TLS, proxies, redirects, compression, odd URLs) is refused by client_plain_takes(). Sends and
 * receives at the same time, since a server may answer before it has read the whole body. One connection is kept.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ROOM = 16 << 10,                /* bytes received at once */
    PIECE = 16 << 10,               /* of a streamed request body */
    PIECE_HEAD = 10,                /* before it: its size as a chunk, and CRLF */
    BACKLOG_MS = 5,                 /* a unix socket whose queue is full is asked again after that */
};

enum stage { HEAD, SIZED, CHUNKED, UNTIL_CLOSE, DONE };

/* One fetch under way. */
struct talk {
    const struct http_fetch *f;
    struct str method;
    struct client_conn conn;
    bool is_reused;
    int64_t until_ms;               /* of the whole fetch; INT64_MAX: none */
    int64_t moved_ms;               /* when a byte last went either way */

    struct str unsent;              /* of the head or the body; in `head_out`, f->body or `piece` */
    struct buf head_out;
    struct str body;                /* to follow `unsent` */
    char *piece;                    /* of a body that is streamed, while it is */
    int64_t body_left;              /* of it; -1: chunked */
    bool is_sent;
    bool is_deaf;                   /* the peer takes no more */

    enum stage stage;
    char *room;                     /* [ROOM] */
    struct buf in;                  /* of the answer's head */
    size_t scanned;
    struct http_chunked chunked;
    int64_t left;                   /* SIZED */
    bool may_keep;
    bool has_answer;                /* a byte has come */
    struct client_answer answer;
};

/* --- what it takes --- */

static bool is_one_of(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(name, str_from(names[i])))
            return true;
    return false;
}

/* True if the path and query may go out as they are: visible ASCII, and no dot segments to resolve. */
static bool is_plain_target(struct str target)
{
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= ' ' || target.ptr[i] >= 0x7f)
            return false;
    return str_find(target, STR("/.")) == STR_NPOS;
}

static bool address_of(const struct http_fetch *f, const struct http_url *u, struct client_conn *out)
{
    *out = (struct client_conn){.fd = -1};
    if (f->unix_socket.len > 0) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        if (f->unix_socket.len >= sizeof un.sun_path || memchr(f->unix_socket.ptr, '\0', f->unix_socket.len))
            return false;
        memcpy(un.sun_path, f->unix_socket.ptr, f->unix_socket.len);
        _Static_assert(sizeof un <= sizeof out->address, "room for any address");
        memcpy(out->address, &un, out->address_len = sizeof un);
        return true;
    }
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(http_url_port(u))};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(http_url_port(u))};
    if (u->host.len >= sizeof host)
        return false;
    memcpy(host, u->host.ptr, u->host.len);
    host[u->host.len] = '\0';
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
        memcpy(out->address, &v4, out->address_len = sizeof v4);
    else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
        memcpy(out->address, &v6, out->address_len = sizeof v6);
    return out->address_len > 0;
}

bool client_plain_takes(const struct http_fetch *f, struct http_url *u)
{
    static const char *const framing[] = {"content-length", "transfer-encoding", "expect", "upgrade"};
    scoped_err ignored = {0};
    struct client_conn to;
    if (f->decompress || f->max_redirects > 0 || (f->use_env_proxy && f->unix_socket.len == 0) ||
        !http_url_parse(f->url, u, &ignored) || !str_eq_nocase(u->scheme, STR("http")) || !is_plain_target(u->path) ||
        !is_plain_target(u->query) || !address_of(f, u, &to))
        return false;
    for (size_t i = 0; i < f->header_count; i++)
        if (is_one_of(f->headers[i].name, framing, ARRAY_LEN(framing)))
            return false;
    return true;
}

/* --- waiting --- */

/* Waits for `events` on the connection, at most until `until_ms`; *got may be 0, when that or a tick has passed. */
static bool wait_for(struct talk *t, short events, int64_t until_ms, short *got, struct err *err)
{
    const struct http_fetch *f = t->f;
    if (f->cancel && atomic_load_explicit(f->cancel, memory_order_relaxed))
        return err_set(err, ERR_CANCELLED, "cancelled");
    int64_t now = clock_ms();
    if (now >= t->until_ms)
        return err_set(err, ERR_TIMEOUT, "no complete answer within %lld ms", (long long)f->total_timeout_ms);
    if (f->idle_timeout_ms > 0) {
        if (now - t->moved_ms >= f->idle_timeout_ms)
            return err_set(err, ERR_TIMEOUT, "no progress for %lld ms", (long long)f->idle_timeout_ms);
        until_ms = MIN(until_ms, t->moved_ms + f->idle_timeout_ms);
    }
    until_ms = MIN(MIN(until_ms, t->until_ms), now + (f->cancel ? CLIENT_TICK_MS : CLIENT_PATIENT_MS));
    struct pollfd p[] = {{.fd = t->conn.fd, .events = events}, {.fd = f->cancel_fd, .events = POLLIN}};
    int rc = poll(p, f->cancel_fd > 0 ? 2 : 1, (int)MAX(until_ms - now, (int64_t)0));
    if (rc < 0 && errno != EINTR)
        return err_set_errno(err, errno, "waiting for an answer");
    if (rc > 0 && p[1].revents)
        return err_set(err, ERR_CANCELLED, "cancelled");
    *got = rc > 0 ? p[0].revents : 0;
    return true;
}

/* --- connecting --- */

static bool is_same_place(const struct client_conn *a, const struct client_conn *b)
{
    return a->address_len == b->address_len && memcmp(a->address, b->address, a->address_len) == 0;
}

/* An idle connection on which anything has come, its end included, is of no use. */
static bool is_idle(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static bool no_connection(struct err *err, int failed)
{
    return err_set(err, ERR_UNAVAILABLE, "cannot connect: %s", strerror(failed));
}

/* Waits for a connect() that has begun. */
static bool finish_connect(struct talk *t, int64_t until_ms, struct err *err)
{
    int failed = 0;
    socklen_t len = sizeof failed;
    for (short got = 0; !got;) {
        if (clock_ms() >= until_ms)
            return err_set(err, ERR_TIMEOUT, "no connection in time");
        if (!wait_for(t, POLLOUT, until_ms, &got, err))
            return false;
    }
    if (getsockopt(t->conn.fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
        failed = errno;
    return failed == 0 || no_connection(err, failed);
}

static bool open_connection(struct talk *t, struct err *err)
{
    const struct sockaddr *to = (const struct sockaddr *)t->conn.address;
    int64_t until_ms =
        clock_ms() + (t->f->connect_timeout_ms > 0 ? t->f->connect_timeout_ms : (int64_t)HTTP_FETCH_CONNECT_MS);
    t->is_reused = false;
    t->conn.fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->conn.fd < 0)
        return err_set_errno(err, errno, "making a socket");
    int one = 1;
    if (to->sa_family != AF_UNIX)
        setsockopt(t->conn.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (connect(t->conn.fd, to, t->conn.address_len) != 0) {
        if (errno == EINPROGRESS)
            return finish_connect(t, until_ms, err);
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return no_connection(err, errno);
        /* The queue of a unix socket is full (unix(7)): there is nothing to wait for but time. */
        short ignored;
        int64_t now = clock_ms();
        if (now >= until_ms)
            return err_set(err, ERR_TIMEOUT, "no connection in time");
        if (!wait_for(t, 0, now + BACKLOG_MS, &ignored, err))
            return false;
    }
    return true;
}

static void close_connection(struct talk *t)
{
    if (t->conn.fd >= 0)
        close(t->conn.fd);
    t->conn.fd = -1;
}

/* --- the request --- */

static bool has_header(const struct http_fetch *f, const char *name)
{
    for (size_t i = 0; i < f->header_count; i++)
        if (str_eq_nocase(f->headers[i].name, str_from(name)))
            return true;
    return false;
}

static bool method_wants_length(struct str method)
{
    static const char *const names[] = {"POST", "PUT", "PATCH"};
    return is_one_of(method, names, ARRAY_LEN(names));
}

static void write_head(struct talk *t, const struct http_url *u)
{
    const struct http_fetch *f = t->f;
    struct buf *b = &t->head_out;
    scoped_arena a = {0};
    buf_init(b, SIZE_MAX);
    buf_printf(b, STR_FMT " " STR_FMT "%s" STR_FMT " HTTP/1.1\r\n", STR_ARG(t->method),
               STR_ARG(u->path.len > 0 ? u->path : STR("/")), u->has_query ? "?" : "", STR_ARG(u->query));
    if (!has_header(f, "host"))
        buf_printf(b, "Host: " STR_FMT "\r\n", STR_ARG(u->authority));
    if (!has_header(f, "accept"))
        buf_add_z(b, "Accept: */*\r\n");
    for (size_t i = 0; i < f->header_count; i++)
        buf_printf(b, STR_FMT ":%s" STR_FMT "\r\n", STR_ARG(f->headers[i].name), f->headers[i].value.len > 0 ? " " : "",
                   STR_ARG(f->headers[i].value));
    if (f->user) {
        struct str pair = str_printf(&a, "%s:%s", f->user, f->password ? f->password : "");
        buf_printf(b, "Authorization: Basic " STR_FMT "\r\n", STR_ARG(base64_encode(&a, pair)));
    }
    if (f->read_body && f->body_size <= 0)
        buf_add_z(b, "Transfer-Encoding: chunked\r\n");
    else if (f->read_body || f->body.len > 0 || method_wants_length(t->method))
        buf_printf(b, "Content-Length: %lld\r\n", (long long)(f->read_body ? f->body_size : (int64_t)f->body.len));
    buf_add_z(b, "\r\n");
}

/* For the first time, or again on another connection. */
static void rewind_request(struct talk *t)
{
    const struct http_fetch *f = t->f;
    t->unsent = buf_str(&t->head_out);
    t->body = f->read_body ? (struct str){0} : f->body;
    t->body_left = f->body_size > 0 ? f->body_size : -1;
    t->is_sent = t->is_deaf = false;
}

/* The next piece of a streamed body as it goes out. */
static bool read_piece(struct talk *t, struct err *err)
{
    size_t len = 0, cap = PIECE;
    if (!t->piece)
        t->piece = xmalloc(PIECE_HEAD + PIECE + 2);
    if (t->body_left >= 0)
        cap = (size_t)MIN((int64_t)PIECE, t->body_left);
    char *start = t->piece + PIECE_HEAD;
    if (!t->f->read_body(t->f->read_arg, start, cap, &len, err))
        return false;
    assert(len <= cap);
    if (t->body_left >= 0) {
        t->unsent = str_of(start, len);
        t->body_left -= (int64_t)len;
        return len > 0 || err_set(err, ERR_INVALID, "the body to send is shorter than was said");
    }
    char size[PIECE_HEAD + 1];
    int n = snprintf(size, sizeof size, "%zx\r\n", len);
    memcpy(start - n, size, (size_t)n);
    memcpy(start + len, "\r\n", 2);
    t->unsent = str_of(start - n, (size_t)n + len + 2);
    t->body_left = len > 0 ? -1 : 0; /* 0: nothing after this */
    return true;
}

/* Sends what it can at once. A peer that takes no more may have answered. */
static bool send_some(struct talk *t, struct err *err)
{
    if (t->unsent.len == 0 && t->body.len > 0) {
        t->unsent = t->body;
        t->body = (struct str){0};
    } else if (t->unsent.len == 0 && t->f->read_body && !t->is_sent) {
        if (t->body_left == 0)
            t->is_sent = true;
        else if (!read_piece(t, err))
            return false;
    }
    if (t->unsent.len == 0) {
        t->is_sent = true;
        return true;
    }
    ssize_t n = send(t->conn.fd, t->unsent.ptr, t->unsent.len, MSG_NOSIGNAL);
    if (n > 0) {
        t->unsent = str_from_off(t->unsent, (size_t)n);
        t->is_sent = t->unsent.len == 0 && t->body.len == 0 && !t->f->read_body;
        t->moved_ms = clock_ms();
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        t->is_deaf = true;
    }
    return true;
}

/* --- the answer --- */

static bool keep_head(struct talk *t, const struct http_head *h, struct err *err)
{
    struct arena *a = t->answer.arena;
    size_t size = 0;
    for (size_t i = 0; i < h->header_count; i++)
        size += h->headers[i].name.len + h->headers[i].value.len;
    char *text = arena_try_alloc(a, size + 1);
    struct http_pair *pairs = arena_try_alloc(a, (h->header_count + 1) * sizeof *pairs);
    if (!text || !pairs)
        return err_set(err, ERR_TOO_LARGE, "the answer's headers do not fit in the memory allowed");
    for (size_t i = 0; i < h->header_count; i++) {
        struct str name = h->headers[i].name, value = h->headers[i].value;
        memcpy(text, name.ptr, name.len);
        if (value.len > 0)
            memcpy(text + name.len, value.ptr, value.len);
        pairs[i] = (struct http_pair){str_of(text, name.len), str_of(text + name.len, value.len)};
        text += name.len + value.len;
    }
    t->answer.res.status = h->status;
    t->answer.res.headers = pairs;
    t->answer.res.header_count = h->header_count;
    return true;
}

/* How the body ends (RFC 9112 section 6.3). */
static void choose_framing(struct talk *t, const struct http_head *h)
{
    t->may_keep = !h->conn_close && (h->version >= 11 || h->conn_keep_alive);
    if (str_eq(t->method, STR("HEAD")) || h->status == 204 || h->status == 304) {
        t->stage = DONE;
    } else if (h->is_chunked) {
        http_chunked_init(&t->chunked);
        t->stage = CHUNKED;
    } else if (h->has_length) {
        t->left = h->content_length;
        t->stage = t->left > 0 ? SIZED : DONE;
    } else {
        t->may_keep = false;
        t->stage = UNTIL_CLOSE;
    }
}

static bool take_body(struct talk *t, struct str part, struct err *err)
{
    while (part.len > 0 && t->stage != DONE) {
        struct str data = part;
        size_t used = part.len;
        const char *why = "";
        if (t->stage == SIZED) {
            used = (size_t)MIN((int64_t)part.len, t->left);
            data = str_slice(part, 0, used);
            t->left -= (int64_t)used;
            t->stage = t->left > 0 ? SIZED : DONE;
        } else if (t->stage == CHUNKED) {
            enum http_parse r = http_chunked_next(&t->chunked, part, &used, &data, &why);
            if (r == HTTP_PARSE_BAD)
                return err_set(err, ERR_UPSTREAM, "the answer makes no sense: %s", why);
            if (r == HTTP_PARSE_DONE)
                t->stage = DONE;
        }
        if (data.len > 0 && !client_answer_body(&t->answer, data, err))
            return false;
        part = str_from_off(part, used);
    }
    t->may_keep = t->may_keep && part.len == 0;
    return true;
}

static bool too_large(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the answer's headers are larger than %d bytes", HTTP_FETCH_MAX_HEAD);
}

/* Reads heads off t->in: those of 1xx come before the one that counts. */
static bool take_head(struct talk *t, struct err *err)
{
    static const struct http_head_limits limits = {.head_max = HTTP_FETCH_MAX_HEAD, .target_max = HTTP_FETCH_MAX_HEAD};
    struct http_head h;
    size_t used = 0;
    const char *why = "";
    while (t->stage == HEAD) {
        enum http_parse r = http_parse_response(buf_str(&t->in), &limits, &t->scanned, &h, &used, &why);
        if (r == HTTP_PARSE_BAD && t->in.len >= HTTP_FETCH_MAX_HEAD)
            return too_large(err);
        if (r == HTTP_PARSE_BAD || (r == HTTP_PARSE_DONE && h.status == 101))
            return err_set(err, ERR_UPSTREAM, "the answer makes no sense: %s",
                           r == HTTP_PARSE_BAD ? why : "another protocol, which nobody asked for");
        if (r == HTTP_PARSE_MORE)
            return true;
        t->scanned = 0;
        if (h.status >= 200) {
            if (!keep_head(t, &h, err))
                return false;
            choose_framing(t, &h);
            if (!client_answer_tell(&t->answer, err))
                return false;
        }
        buf_drop(&t->in, used);
    }
    return take_body(t, buf_str(&t->in), err);
}

static bool take(struct talk *t, size_t n, struct err *err)
{
    struct str part = str_of(t->room, n);
    if (t->stage != HEAD)
        return take_body(t, part, err);
    /* The ceiling has room for one more part, so that the parser is what finds a head too large. */
    if (!buf_add_str(&t->in, part))
        return too_large(err);
    return take_head(t, err);
}

/* The peer has closed, orderly or not. */
static bool take_end(struct talk *t, bool is_orderly, struct err *err)
{
    t->may_keep = false;
    if (t->stage != UNTIL_CLOSE || !is_orderly)
        return err_set(err, ERR_UPSTREAM, t->has_answer ? "the answer was cut short"
                                                        : "the connection was closed without an answer");
    t->stage = DONE;
    return true;
}

static bool exchange(struct talk *t, struct err *err)
{
    while (t->stage != DONE) {
        bool is_sending = !t->is_sent && !t->is_deaf;
        if (is_sending && !send_some(t, err))
            return false;
        short got = 0;
        is_sending = !t->is_sent && !t->is_deaf;
        if (!wait_for(t, POLLIN | (is_sending ? POLLOUT : 0), INT64_MAX, &got, err))
            return false;
        if (!(got & ~POLLOUT))
            continue;
        ssize_t n = recv(t->conn.fd, t->room, ROOM, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0) {
            if (!take_end(t, n == 0, err))
                return false;
            continue;
        }
        t->has_answer = true;
        t->moved_ms = clock_ms();
        if (!take(t, (size_t)n, err))
            return false;
    }
    return true;
}

/* --- all of it --- */

static void talk_release(struct talk *t)
{
    close_connection(t);
    buf_release(&t->head_out);
    buf_release(&t->in);
    free(t->piece);
    free(t->room);
    client_answer_release(&t->answer);
}

static bool converse(struct talk *t, struct client_conn *kept, struct err *err)
{
    if (kept->fd >= 0 && is_same_place(kept, &t->conn) && is_idle(kept->fd)) {
        t->conn.fd = kept->fd;
        kept->fd = -1;
        t->is_reused = true;
        scoped_err e = {0};
        rewind_request(t);
        if (exchange(t, &e))
            return true;
        /* It was closed just when we took it: nothing was read of what we sent. A body that streams cannot be had twice. */
        if (t->has_answer || e.code != ERR_UPSTREAM || t->f->read_body)
            return err_move(err, &e);
        close_connection(t);
    }
    rewind_request(t);
    return open_connection(t, err) && exchange(t, err);
}

static void keep(struct talk *t, struct client_conn *kept)
{
    if (!t->may_keep || !t->is_sent)
        return;
    if (kept->fd >= 0)
        close(kept->fd);
    *kept = t->conn;
    t->conn.fd = -1;
}

bool client_plain_fetch(struct client_conn *kept, struct arena *a, const struct http_fetch *f, struct str method,
                        const struct http_url *u, struct http_answer *out, struct err *err)
{
    CLEANUP(talk_release) struct talk t = {.f = f, .method = method, .until_ms = INT64_MAX, .moved_ms = clock_ms(),
                                           .room = xmalloc(ROOM), .in = BUF_INIT(HTTP_FETCH_MAX_HEAD + ROOM)};
    client_answer_init(&t.answer, f, a);
    address_of(f, u, &t.conn);
    if (f->total_timeout_ms > 0)
        t.until_ms = t.moved_ms + f->total_timeout_ms;
    write_head(&t, u);
    t.answer.res.url = str_dup(a, f->url);
    bool ok = converse(&t, kept, err);
    t.answer.res.is_reused = t.is_reused;
    if (ok)
        keep(&t, kept);
    return (ok && client_answer_end(&t.answer, out, err)) ||
           err_wrap(err, STR_FMT " " STR_FMT "://" STR_FMT STR_FMT, STR_ARG(method), STR_ARG(u->scheme),
                    STR_ARG(u->authority), STR_ARG(u->path.len > 0 ? u->path : STR("/")));
}
