/* tests/http/web.h: a raw HTTP/1.1 client for tests: blocking, with a deadline on everything, plain or TLS.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TEST_WEB_H
#define TEST_WEB_H

#include "base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* One connection and what was read from it beyond the last response. */
struct web {
    int fd;
    SSL *ssl;
    struct buf in;
};

struct web_resp {
    int status; /* 0: the connection ended before a whole response */
    char head[32768];
    struct buf body;
    bool is_cut; /* the connection ended inside the body */
};

static inline struct web web_open(int port)
{
    struct web w = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .in = BUF_INIT(1 << 28)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 20};
    setsockopt(w.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(w.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(w.fd, (struct sockaddr *)&to, sizeof to) != 0) {
        perror("connect");
        abort();
    }
    return w;
}

static inline void web_close(struct web *w)
{
    if (w->ssl) {
        SSL_shutdown(w->ssl);
        SSL_free(w->ssl);
    }
    close(w->fd);
    buf_release(&w->in);
    *w = (struct web){.fd = -1};
}

static inline bool web_send(struct web *w, const void *data, size_t len)
{
    while (len > 0) {
        ssize_t n = w->ssl ? SSL_write(w->ssl, data, (int)MIN(len, (size_t)1 << 20))
                           : send(w->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data = (const char *)data + n;
        len -= (size_t)n;
    }
    return true;
}

static inline bool web_say(struct web *w, const char *text)
{
    return web_send(w, text, strlen(text));
}

/* More input; false at the end or after 20 s. */
static inline bool web_fill(struct web *w)
{
    char block[65536];
    ssize_t n = w->ssl ? SSL_read(w->ssl, block, sizeof block) : recv(w->fd, block, sizeof block, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !w->ssl) {
        fprintf(stderr, "test client: no answer for 20 s\n");
        abort();
    }
    return n > 0 && buf_add(&w->in, block, (size_t)n);
}

static inline bool web_is_ended(struct web *w)
{
    return w->in.len == 0 && !web_fill(w);
}

static inline bool web_has_header(const struct web_resp *r, const char *line)
{
    char want[1024];
    snprintf(want, sizeof want, "\r\n%s\r\n", line);
    return strstr(r->head, want) != NULL;
}

static inline bool web_take(struct web *w, struct buf *to, size_t n)
{
    while (w->in.len < n)
        if (!web_fill(w)) {
            buf_add(to, w->in.ptr, w->in.len);
            return false;
        }
    buf_add(to, w->in.ptr, n);
    buf_drop(&w->in, n);
    return true;
}

static inline bool web_take_line(struct web *w, char *line, size_t size)
{
    size_t at;
    while ((at = str_find(buf_str(&w->in), STR("\r\n"))) == STR_NPOS)
        if (!web_fill(w))
            return false;
    snprintf(line, size, "%.*s", (int)at, w->in.ptr);
    buf_drop(&w->in, at + 2);
    return true;
}

static inline void web_take_chunks(struct web *w, struct web_resp *r)
{
    char line[256];
    for (;;) {
        if (!web_take_line(w, line, sizeof line)) {
            r->is_cut = true;
            return;
        }
        size_t n = strtoul(line, NULL, 16);
        if (n > 0 && !web_take(w, &r->body, n)) {
            r->is_cut = true;
            return;
        }
        if (!web_take_line(w, line, sizeof line) || line[0] != '\0') {
            r->is_cut = true;
            return;
        }
        if (n == 0)
            return;
    }
}

/* Reads one response; `no_body` for answers to HEAD. */
static inline void web_read(struct web *w, struct web_resp *r, bool no_body)
{
    buf_release(&r->body);
    *r = (struct web_resp){.body = BUF_INIT(1 << 28)};
    size_t at;
    while ((at = str_find(buf_str(&w->in), STR("\r\n\r\n"))) == STR_NPOS)
        if (!web_fill(w))
            return;
    snprintf(r->head, sizeof r->head, "%.*s", (int)at + 2, w->in.ptr);
    buf_drop(&w->in, at + 4);
    r->status = atoi(r->head + 9);
    const char *length = strstr(r->head, "\r\nContent-Length: ");
    if (no_body || r->status < 200 || r->status == 204 || r->status == 304)
        return;
    if (length)
        r->is_cut = !web_take(w, &r->body, strtoul(length + 18, NULL, 10));
    else if (web_has_header(r, "Transfer-Encoding: chunked"))
        web_take_chunks(w, r);
    else
        while (web_take(w, &r->body, 1))
            ;
}

static inline void web_free(struct web_resp *r)
{
    buf_release(&r->body);
}

/* One request, one response on a connection of its own. */
static inline void web_once(int port, const char *request, struct web_resp *r)
{
    struct web w = web_open(port);
    web_say(&w, request);
    web_read(&w, r, strncmp(request, "HEAD", 4) == 0);
    web_close(&w);
}

#endif
