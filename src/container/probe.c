/* container/probe.c: asks an app whether it is up: one connection, one GET of its health path.
 *
 * Over plain http the question is put by hand: it takes a quarter of a millisecond, and a wake waits for it. TLS
 * and redirects within the app go through the HTTP client. A published port is accepted by the engine's own proxy before the app
 * listens, so an accepted connection alone proves something only at the container's own address; the caller
 * weighs it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"
#include "http.h"
#include "service_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum { CANCEL_LOOK_MS = 50, REDIRECTS_MAX = 5, STATUS_LINE_MIN = 12 /* "HTTP/1.1 200" */ };

/* --- By hand --------------------------------------------------------------------------------------- */

/* Waits for `events` on `fd` until `until_ms`. ERR_TIMEOUT, ERR_CANCELLED. */
static bool wait_for(int fd, short events, int64_t until_ms, const atomic_bool *cancel, struct err *err)
{
    for (;;) {
        int64_t left = until_ms - clock_ms();
        struct pollfd p = {.fd = fd, .events = events};
        if (cancel && atomic_load(cancel))
            return err_set(err, ERR_CANCELLED, "cancelled");
        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, "no answer in time");
        int rc = poll(&p, 1, (int)MIN(left, (int64_t)CANCEL_LOOK_MS));
        if (rc > 0)
            return true;
        if (rc < 0 && errno != EINTR)
            return err_set_errno(err, errno, "waiting for the app");
    }
}

static const char refused[] = "no connection: nothing listens there";

/* A connection to `at`, or -1: ERR_UNAVAILABLE when nothing listens or nobody is there. */
static int connect_to(struct ctr_endpoint at, int64_t timeout_ms, const atomic_bool *cancel, struct err *err)
{
    scoped_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr.s_addr = htonl(at.ip)};
    int failed = 0, one = 1;
    socklen_t len = sizeof failed;
    if (fd < 0) {
        err_set_errno(err, errno, "making a socket");
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        if (errno != EINPROGRESS)
            failed = errno;
        else if (!wait_for(fd, POLLOUT, clock_ms() + timeout_ms, cancel, err)) {
            if (err->code == ERR_TIMEOUT)
                err_set(err, ERR_UNAVAILABLE, "no connection: nobody is at its address");
            return -1;
        } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0) {
            failed = errno;
        }
    }
    if (failed) {
        err_set(err, ERR_UNAVAILABLE, failed == ECONNREFUSED ? refused
                                                             : "no connection: nobody is at its address");
        return -1;
    }
    int out = fd;
    fd = -1;
    return out;
}

/* The status of the answer to a GET; 0 with the reason in `err`. */
static int get_by_hand(struct arena *a, int fd, const struct probe_ask *ask, struct err *err)
{
    int64_t until = clock_ms() + ask->timeout_ms;
    uint32_t ip = ask->at.ip;
    char head[STATUS_LINE_MIN];
    size_t got = 0, sent = 0;
    struct str text = str_printf(a,
                                 "GET " STR_FMT " HTTP/1.1\r\nHost: %u.%u.%u.%u:%u\r\nUser-Agent: openrun-probe\r\n"
                                 "Accept: */*\r\nConnection: close\r\n\r\n",
                                 STR_ARG(ask->path), ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255,
                                 (unsigned)ask->at.port);
    while (got < sizeof head) {
        bool is_sending = sent < text.len;
        ssize_t n = is_sending ? send(fd, text.ptr + sent, text.len - sent, MSG_NOSIGNAL)
                               : recv(fd, head + got, sizeof head - got, 0);
        if (n > 0) {
            *(is_sending ? &sent : &got) += (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (!wait_for(fd, is_sending ? POLLOUT : POLLIN, until, ask->cancel, err))
                return 0;
        } else if (n == 0 || errno != EINTR) {
            err_set(err, ERR_UPSTREAM, "the connection was closed without an answer");
            return 0;
        }
    }
    uint64_t status = 0;
    if (memcmp(head, "HTTP/1.", 7) != 0 || !str_to_u64(str_of(head + 9, 3), &status) || status < 100) {
        err_set(err, ERR_UPSTREAM, "the answer is not HTTP");
        return 0;
    }
    return (int)status;
}

/* --- Through the client ---------------------------------------------------------------------------- */

static bool body_ignore(void *arg, struct str part, struct err *err)
{
    (void)arg;
    (void)part;
    return err_set(err, ERR_CANCELLED, "enough"); /* the status says it all */
}

/* What the head of an answer said. */
struct seen {
    struct arena *arena;
    int status;
    struct str location;
};

static bool head_take(void *arg, const struct http_answer *answer, struct err *err)
{
    struct seen *seen = arg;
    (void)err;
    seen->status = answer->status;
    seen->location = str_dup(seen->arena, http_answer_header(answer, STR("Location")));
    return true;
}

/* One GET of a path of the app, which may have a query. False: there was no answer. */
static bool get_path(const struct probe_ask *ask, struct str base, struct str path, int64_t until_ms, struct seen *seen,
                     struct err *err)
{
    scoped_http_client struct http_client *client = http_client_open();
    struct http_answer res = {0};
    static const struct http_pair headers[] = {
        {STR_INIT("User-Agent"), STR_INIT("openrun-probe")},
        {STR_INIT("Connection"), STR_INIT("close")},
    };
    struct http_fetch f = {.url = str_cat(seen->arena, base, path),
                           .headers = headers,
                           .header_count = ARRAY_LEN(headers),
                           .is_http1_only = true,
                           .total_timeout_ms = MAX(until_ms - clock_ms(), (int64_t)1),
                           .connect_timeout_ms = ask->connect_ms,
                           .skip_tls_verify = true,
                           .cancel = ask->cancel,
                           .on_head = head_take,
                           .on_body = body_ignore,
                           .body_arg = seen};
    seen->status = 0;
    return http_fetch(client, seen->arena, &f, &res, err) || seen->status > 0;
}

/* Where `location`, found at `path`, is in the app. False: elsewhere. An app must not send us, who are inside the host's
 * own walls, to where it cannot go itself. */
static bool follow(struct arena *a, struct str base, struct str path, struct str location, struct str *to)
{
    scoped_err ignored = {0};
    struct http_url u, own;
    struct str at;
    str_cut(location, '#', &at, NULL);
    if (http_url_parse(at, &u, &ignored)) {
        bool is_here = http_url_parse(base, &own, &ignored) && str_eq_nocase(u.scheme, own.scheme) && str_eq(u.host, own.host) &&
                       http_url_port(&u) == http_url_port(&own);
        *to = str_printf(a, "%s" STR_FMT "%s" STR_FMT, u.path.len > 0 ? "" : "/", STR_ARG(u.path), u.has_query ? "?" : "",
                         STR_ARG(u.query));
        return is_here;
    }
    if (str_is_empty(at) || str_starts(at, STR("//")) || str_find(at, STR("://")) != STR_NPOS)
        return false;
    str_cut(path, '?', &path, NULL);
    *to = at.ptr[0] == '/' ? at : str_cat(a, str_slice(path, 0, str_rchr(path, '/') + 1), at);
    return true;
}

static int get_with_client(struct arena *a, const struct probe_ask *ask, struct err *err)
{
    struct seen seen = {.arena = a};
    struct str path = ask->path;
    int64_t until_ms = clock_ms() + ask->timeout_ms;
    uint32_t ip = ask->at.ip;
    struct str base = str_printf(a, STR_FMT "://%u.%u.%u.%u:%u", STR_ARG(ask->scheme), ip >> 24, ip >> 16 & 255, ip >> 8 & 255,
                                 ip & 255, (unsigned)ask->at.port);
    for (int left = ask->needs_200 ? REDIRECTS_MAX : 0;; left--) {
        if (!get_path(ask, base, path, until_ms, &seen, err))
            return 0;
        if (left == 0 || seen.status / 100 != 3 || str_is_empty(seen.location) ||
            !follow(a, base, path, seen.location, &path))
            return seen.status;
    }
}

void ctr_probe(const struct probe_ask *ask, struct probe_answer *out)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    *out = (struct probe_answer){0};
    scoped_fd int fd = connect_to(ask->at, ask->connect_ms, ask->cancel, &err);
    if (fd < 0) {
        out->is_refused = err.code == ERR_UNAVAILABLE && strcmp(err_msg(&err), refused) == 0;
        snprintf(out->text, sizeof out->text, "%s", err_msg(&err));
        return;
    }
    out->is_accepted = true;
    if (ask->is_connect_enough) {
        out->is_up = true;
        snprintf(out->text, sizeof out->text, "connected");
        return;
    }
    bool is_plain = str_eq(ask->scheme, STR("http")) && http_is_field_value(ask->path) &&
                    str_chr(ask->path, ' ') == STR_NPOS;
    int status = is_plain ? get_by_hand(&a, fd, ask, &err) : 0;
    if (!is_plain || (ask->needs_200 && status / 100 == 3))
        status = get_with_client(&a, ask, &err);
    if (status > 0) {
        out->is_up = ask->needs_200 ? status == 200 : status < 500;
        snprintf(out->text, sizeof out->text, ask->needs_200 && status / 100 == 3
                                                  ? "status %d: the health path must answer 200, or redirect within the app"
                                                  : "status %d",
                 status);
    } else {
        snprintf(out->text, sizeof out->text, "%s",
                 err.code == ERR_TIMEOUT ? "no answer in time" : err_msg(&err));
    }
}
