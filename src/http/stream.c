/* http/stream.c: a socket on a loop, plain or TLS: try to read, try to write, be told when to try again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <errno.h>
#include <openssl/err.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events);

static void set_armed(struct http_stream *s, unsigned events)
{
    if (events == s->armed)
        return;
    s->armed = events;
    if (events == 0)
        uv_poll_stop(&s->poll);
    else
        uv_poll_start(&s->poll, (int)events, on_poll);
}

/* What must be polled for what is wanted (TLS may need the other direction first). */
static void arm(struct http_stream *s)
{
    unsigned events = 0;
    if (s->want & HTTP_READABLE)
        events |= s->read_wants_write ? UV_WRITABLE : UV_READABLE;
    if (s->want & HTTP_WRITABLE)
        events |= s->write_wants_read ? UV_READABLE : UV_WRITABLE;
    if (s->want & HTTP_HANGUP)
        events |= UV_DISCONNECT;
    set_armed(s, events);
}

static void on_soon(struct http_soon *soon)
{
    struct http_stream *s = CONTAINER_OF(soon, struct http_stream, soon);
    if (s->want & HTTP_READABLE)
        s->on_ready(s, HTTP_READABLE, s->arg);
}

/* inv. 3 */
static void wake_if_buffered(struct http_stream *s)
{
    if (s->ssl && (s->want & HTTP_READABLE) && SSL_has_pending(s->ssl))
        http_soon_start(s->loop, &s->soon, on_soon);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct http_stream *s = poll->data;
    unsigned ready = 0;
    if (status < 0) {
        /* EPOLLERR or a bad descriptor: let the owner's next read or write find out what it is. libuv has
         * stopped the poll. */
        s->armed = 0;
        s->on_ready(s, (s->want & (HTTP_READABLE | HTTP_WRITABLE)) | HTTP_HANGUP, s->arg);
        return;
    }
    if (events & UV_READABLE)
        ready |= (s->want & HTTP_READABLE && !s->read_wants_write ? HTTP_READABLE : 0) |
                 (s->write_wants_read ? HTTP_WRITABLE : 0);
    if (events & UV_WRITABLE)
        ready |= (s->want & HTTP_WRITABLE && !s->write_wants_read ? HTTP_WRITABLE : 0) |
                 (s->read_wants_write ? HTTP_READABLE : 0);
    if (events & UV_DISCONNECT)
        ready |= HTTP_HANGUP;
    ready &= s->want;
    if (ready)
        s->on_ready(s, ready, s->arg);
}

bool http_stream_open(struct http_stream *s, struct http_loop *loop, int fd, SSL *ssl,
                      void (*on_ready)(struct http_stream *, unsigned, void *), void *arg, struct err *err)
{
    *s = (struct http_stream){.loop = loop, .fd = fd, .ssl = ssl, .on_ready = on_ready, .arg = arg};
    int failed = uv_poll_init(http_loop_uv(loop), &s->poll, fd);
    if (failed) {
        s->fd = -1;
        return err_set(err, ERR_INTERNAL, "watching a socket: %s", uv_strerror(failed));
    }
    s->poll.data = s;
    s->is_poll_open = true;
    return true;
}

/* The outcome of an SSL call that returned `n` <= 0. */
static ssize_t ssl_outcome(struct http_stream *s, int n, bool is_read)
{
    switch (SSL_get_error(s->ssl, n)) {
    case SSL_ERROR_WANT_READ: s->write_wants_read = !is_read; break;
    case SSL_ERROR_WANT_WRITE: s->read_wants_write = is_read; break;
    case SSL_ERROR_ZERO_RETURN: return HTTP_EOF;
    default: ERR_clear_error(); return HTTP_BROKEN;
    }
    arm(s);
    return HTTP_AGAIN;
}

int http_stream_handshake(struct http_stream *s)
{
    if (!s->ssl)
        return 1;
    s->read_wants_write = false;
    ERR_clear_error();
    int n = SSL_do_handshake(s->ssl);
    if (n != 1)
        return ssl_outcome(s, n, true) == HTTP_AGAIN ? HTTP_AGAIN : HTTP_BROKEN;
    arm(s);
    wake_if_buffered(s);
    return 1;
}

static ssize_t ssl_read(struct http_stream *s, void *buf, size_t len)
{
    s->read_wants_write = false;
    ERR_clear_error();
    size_t got;
    int n = SSL_read_ex(s->ssl, buf, len, &got);
    if (n <= 0)
        return ssl_outcome(s, n, true);
    wake_if_buffered(s);
    return (ssize_t)got;
}

ssize_t http_stream_read(struct http_stream *s, void *buf, size_t len)
{
    assert(len > 0);
    if (s->ssl)
        return ssl_read(s, buf, len);
    for (;;) {
        ssize_t n = recv(s->fd, buf, len, 0);
        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return HTTP_AGAIN;
        if (errno != EINTR)
            return HTTP_BROKEN;
    }
}

static ssize_t ssl_write(struct http_stream *s, const void *buf, size_t len)
{
    s->write_wants_read = false;
    ERR_clear_error();
    size_t put;
    int n = SSL_write_ex(s->ssl, buf, len, &put);
    if (n <= 0) {
        ssize_t outcome = ssl_outcome(s, n, false);
        return outcome == HTTP_EOF ? HTTP_BROKEN : outcome;
    }
    return (ssize_t)put;
}

/* One TLS record from the pieces. The first piece alone if it fills one. */
static ssize_t ssl_writev(struct http_stream *s, const struct iovec *iov, int n)
{
    if (n == 1 || iov[0].iov_len >= HTTP_BLOCK)
        return ssl_write(s, iov[0].iov_base, MIN(iov[0].iov_len, (size_t)HTTP_BLOCK));
    char *record = http_loop_scratch(s->loop);
    size_t len = 0;
    for (int i = 0; i < n && len < HTTP_BLOCK; i++) {
        size_t part = MIN(iov[i].iov_len, HTTP_BLOCK - len);
        if (part > 0)
            memcpy(record + len, iov[i].iov_base, part);
        len += part;
    }
    return ssl_write(s, record, len);
}

ssize_t http_stream_writev(struct http_stream *s, const struct iovec *iov, int n)
{
    assert(n > 0);
    if (s->ssl)
        return ssl_writev(s, iov, n);
    for (;;) {
        ssize_t put;
        if (n == 1) {
            put = send(s->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
            put = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
        }
        if (put >= 0)
            return put;
        if (errno == EAGAIN)
            return HTTP_AGAIN;
        if (errno != EINTR)
            return HTTP_BROKEN;
    }
}

ssize_t http_stream_write(struct http_stream *s, const void *buf, size_t len)
{
    return http_stream_writev(s, &(struct iovec){(void *)buf, len}, 1);
}

void http_stream_want(struct http_stream *s, unsigned want)
{
    bool starts_reading = want & ~s->want & HTTP_READABLE;
    /* After an error libuv has stopped the poll; what is still wanted is armed again. */
    if (want == s->want && !s->ssl && (s->armed || want == 0))
        return;
    s->want = want;
    arm(s);
    if (starts_reading)
        wake_if_buffered(s);
}

void http_stream_shutdown(struct http_stream *s)
{
    if (s->ssl && SSL_is_init_finished(s->ssl)) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
        ERR_clear_error();
    }
    shutdown(s->fd, SHUT_WR);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct http_stream *s = handle->data;
    if (s->on_closed)
        s->on_closed(s, s->arg);
}

void http_stream_close(struct http_stream *s, void (*on_closed)(struct http_stream *, void *))
{
    assert(s->is_poll_open);
    s->is_poll_open = false;
    s->on_closed = on_closed;
    s->want = s->armed = 0;
    http_soon_stop(s->loop, &s->soon);
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
    if (s->ssl) {
        /* Best effort: a peer that does not read must not keep us. */
        if (SSL_is_init_finished(s->ssl) && !(SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN)) {
            ERR_clear_error();
            SSL_shutdown(s->ssl);
            ERR_clear_error();
        }
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
    close(s->fd);
    s->fd = -1;
}
