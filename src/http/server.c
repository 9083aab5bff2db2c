/* http/server.c: servers and their listeners: accepting on every loop, counting, draining.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ACCEPT_BATCH = 32,
    ACCEPT_RETRY_MS = 100,
    CUT_GRACE_MS = 2000, /* after cutting: for handlers to end their requests */
};

/* Accepting. */

static void acceptor_arm(struct acceptor *a);

static void on_retry(struct http_timer *timer)
{
    acceptor_arm(CONTAINER_OF(timer, struct acceptor, retry));
}

static void acceptor_pause(struct acceptor *a)
{
    uv_poll_stop(&a->poll);
}

struct handed {
    struct http_listener *listener;
    struct server_loop *to;
    int fd;
    union {
        struct sockaddr sa;
        struct sockaddr_storage ss;
    } peer;
};

static void take_handed(struct http_loop *loop, void *arg)
{
    (void)loop;
    struct handed *h = arg;
    count_add(&h->to->conns_now, 1);
    h->to->open_conns++;
    count_add(&h->to->accepted, 1);
    conn_open(h->to, h->listener, h->fd, &h->peer.sa);
    free(h);
}

static void deliver(struct acceptor *a, struct server_loop *to, int fd, const struct handed *from)
{
    struct http_server *server = a->home->server;
    atomic_fetch_add_explicit(&server->open_conns, 1, memory_order_relaxed);
    if (to == a->home) {
        to->open_conns++;
        count_add(&to->conns_now, 1);
        count_add(&to->accepted, 1);
        conn_open(to, a->listener, fd, &from->peer.sa);
        return;
    }
    struct handed *h = xmalloc(sizeof *h);
    *h = *from;
    h->listener = a->listener;
    h->to = to;
    h->fd = fd;
    http_loop_post(to->loop, take_handed, h);
}

static struct server_loop *choose_loop(struct acceptor *a)
{
    if (!a->listener->is_handoff)
        return a->home;
    struct http_server *server = a->home->server;
    unsigned turn = atomic_fetch_add_explicit(&a->listener->turn, 1, memory_order_relaxed);
    return &server->at[turn % server->len];
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct acceptor *a = poll->data;
    struct server_loop *home = a->home;
    for (int i = 0; i < ACCEPT_BATCH && a->is_open; i++) {
        if (home->open_conns >= home->server->limits.max_conns) {
            home->is_full = true;
            acceptor_pause(a);
            return;
        }
        struct handed from = {0};
        socklen_t len = sizeof from.peer;
        int fd = accept4(a->fd, &from.peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            deliver(a, choose_loop(a), fd, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The connection stays in the backlog; without a pause the loop would spin on it. */
            acceptor_pause(a);
            http_timer_start(&a->retry, home->loop, ACCEPT_RETRY_MS, on_retry);
            return;
        }
        if (errno == EAGAIN)
            return;
        /* Others concern the one connection (ECONNABORTED and network errors, accept(2)). */
    }
}

static void acceptor_arm(struct acceptor *a)
{
    if (a->is_open)
        uv_poll_start(&a->poll, UV_READABLE, on_acceptable);
}

void server_conn_gone(struct server_loop *home)
{
    struct http_server *server = home->server;
    home->open_conns--;
    count_add(&home->conns_now, -1);
    requests_fewer(home);
    if (home->is_full) {
        home->is_full = false;
        for (struct http_listener *l = server->listeners; l; l = l->next)
            for (unsigned i = 0; i < l->len; i++)
                if (l->acceptors[i].home == home)
                    acceptor_arm(&l->acceptors[i]);
    }
    if (atomic_fetch_sub_explicit(&server->open_conns, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_lock(&server->lock);
        pthread_cond_signal(&server->gone);
        pthread_mutex_unlock(&server->lock);
    }
}

/* Listeners. */

static void start_acceptors(struct http_loop *loop, void *arg)
{
    struct http_listener *l = arg;
    for (unsigned i = 0; i < l->len; i++) {
        struct acceptor *a = &l->acceptors[i];
        if (a->home->loop != loop)
            continue;
        if (uv_poll_init(http_loop_uv(loop), &a->poll, a->fd) != 0)
            BUG("a listening socket cannot be watched");
        a->poll.data = a;
        a->is_open = true;
        acceptor_arm(a);
    }
}

static void stop_acceptors(struct http_loop *loop, void *arg)
{
    struct http_server *server = arg;
    for (struct http_listener *l = server->listeners; l; l = l->next) {
        for (unsigned i = 0; i < l->len; i++) {
            struct acceptor *a = &l->acceptors[i];
            if (a->home->loop != loop || !a->is_open)
                continue;
            a->is_open = false;
            http_timer_stop(&a->retry);
            uv_close((uv_handle_t *)&a->poll, NULL);
            close(a->fd);
            a->fd = -1;
        }
    }
}

struct http_listener *http_listen(struct http_server *server, const struct http_listen *cfg, struct err *err)
{
    assert(!http_loop_current() && cfg->handler.on_request);
    bool is_shared = cfg->unix_path || cfg->accept == HTTP_ACCEPT_HANDOFF || cfg->inherited_count > 0;
    scoped_free struct sockets *s = xmalloc(sizeof *s);
    if (!sockets_open(cfg, is_shared ? 1 : MIN(server->len, 64u), s, err))
        return NULL;
    struct http_listener *l = xcalloc(1, sizeof *l + s->len * sizeof l->acceptors[0]);
    l->server = server;
    l->handler = cfg->handler;
    l->tls = cfg->tls;
    l->unix_path = cfg->unix_path ? xstrdup(cfg->unix_path) : NULL;
    l->port = s->port;
    /* Sockets are dealt out to the loops in turn. A unix socket stays on its loop: it carries control work.
     */
    l->is_handoff = is_shared && !cfg->unix_path && (cfg->inherited_count == 0 || s->len < server->len);
    l->len = s->len;
    for (unsigned i = 0; i < s->len; i++)
        l->acceptors[i] =
            (struct acceptor){.listener = l, .home = &server->at[i % server->len], .fd = s->fds[i]};
    /* The loops walk the list, so it changes before they learn of the listener. */
    l->next = server->listeners;
    server->listeners = l;
    http_loops_run(server->loops, start_acceptors, l);
    return l;
}

int http_listener_port(const struct http_listener *l)
{
    return l->port;
}

unsigned http_listener_fds(const struct http_listener *l, int *fds, unsigned max)
{
    unsigned n = MIN(l->len, max);
    for (unsigned i = 0; i < n; i++)
        fds[i] = l->acceptors[i].fd;
    return n;
}

/* Servers. */

static void set_default(int *value, int otherwise)
{
    if (*value <= 0)
        *value = otherwise;
}

struct http_server *http_server_open(struct http_loops *loops, const struct http_limits *limits)
{
    unsigned n = http_loops_len(loops);
    struct http_server *s = aligned_alloc(64, sizeof *s + n * sizeof s->at[0]);
    if (!s)
        BUG("out of memory");
    memset(s, 0, sizeof *s + n * sizeof s->at[0]);
    s->loops = loops;
    s->len = n;
    if (limits)
        s->limits = *limits;
    struct http_limits *l = &s->limits;
    set_default(&l->header_timeout_ms, 30 * 1000);
    set_default(&l->idle_timeout_ms, 75 * 1000);
    set_default(&l->body_timeout_ms, 60 * 1000);
    set_default(&l->write_timeout_ms, 60 * 1000);
    set_default(&l->handshake_timeout_ms, 15 * 1000);
    l->header_max = l->header_max ? MIN(l->header_max, (size_t)1 << 20) : 32 * 1024;
    l->target_max = l->target_max ? l->target_max : 16 * 1024;
    l->drain_max = l->drain_max ? l->drain_max : 256 * 1024;
    l->max_conns = l->max_conns ? l->max_conns : 16384;
    s->head_limits = (struct http_head_limits){.head_max = l->header_max, .target_max = l->target_max};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->gone, NULL);
    for (unsigned i = 0; i < n; i++) {
        s->at[i].loop = http_loops_at(loops, i);
        s->at[i].server = s;
    }
    return s;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void http_server_stats(const struct http_server *s, struct http_stats *out)
{
    *out = (struct http_stats){0};
    for (unsigned i = 0; i < s->len; i++) {
        const struct server_loop *at = &s->at[i];
        out->accepted += get(&at->accepted);
        out->requests += get(&at->requests);
        out->bad_requests += get(&at->bad_requests);
        out->tls_failed += get(&at->tls_failed);
        out->open_conns += get(&at->conns_now);
        out->open_reqs += get(&at->reqs_now);
    }
}

/* Waits until no connection is open or `timeout_ms` has passed. */
static bool wait_gone(struct http_server *s, int64_t timeout_ms)
{
    int64_t until_ns = clock_ns() + timeout_ms * 1000000;
    bool is_time_left = true;
    pthread_mutex_lock(&s->lock);
    while (atomic_load_explicit(&s->open_conns, memory_order_acquire) > 0 && is_time_left) {
        if (timeout_ms < 0)
            pthread_cond_wait(&s->gone, &s->lock);
        else
            is_time_left = cond_wait_until(&s->gone, &s->lock, until_ns);
    }
    bool is_gone = atomic_load_explicit(&s->open_conns, memory_order_acquire) == 0;
    pthread_mutex_unlock(&s->lock);
    return is_gone;
}

struct drain {
    struct http_server *server;
    bool cut;
    atomic_size_t cut_count;
};

static void drain_loop(struct http_loop *loop, void *arg)
{
    struct drain *d = arg;
    struct server_loop *home = &d->server->at[http_loop_index(loop)];
    home->is_draining = true;
    for (struct http_conn *c = home->conns, *next; c; c = next) {
        next = c->next;
        if (conn_drain(c, d->cut))
            atomic_fetch_add_explicit(&d->cut_count, 1, memory_order_relaxed);
    }
}

static void nothing(struct http_loop *loop, void *arg)
{
    (void)loop, (void)arg;
}

size_t http_server_drain(struct http_server *s, int64_t timeout_ms)
{
    assert(!http_loop_current());
    if (s->is_drained)
        return 0;
    s->is_drained = true;
    http_loops_run(s->loops, stop_acceptors, s);
    for (struct http_listener *l = s->listeners; l; l = l->next)
        if (l->unix_path && !s->keep_paths)
            unlink(l->unix_path);
    /* A connection that was being handed over arrives before this does. */
    struct drain d = {.server = s};
    http_loops_run(s->loops, drain_loop, &d);
    if (wait_gone(s, MAX(timeout_ms, (int64_t)0)))
        return 0;
    d.cut = true;
    http_loops_run(s->loops, drain_loop, &d);
    wait_gone(s, CUT_GRACE_MS);
    return atomic_load(&d.cut_count);
}

void http_server_keep_paths(struct http_server *s)
{
    s->keep_paths = true;
}

static void free_requests(struct http_loop *loop, void *arg)
{
    struct http_server *s = arg;
    requests_trim(&s->at[http_loop_index(loop)], 0);
}

void http_server_close(struct http_server *s)
{
    if (!s)
        return;
    http_server_drain(s, 0);
    wait_gone(s, -1); /* requests whose handlers have not ended them point into the server */
    http_loops_run(s->loops, free_requests, s);
    /* The turn after: closed listening sockets have had their last callback. */
    http_loops_run(s->loops, nothing, NULL);
    while (s->listeners) {
        struct http_listener *l = s->listeners;
        s->listeners = l->next;
        free(l->unix_path);
        free(l);
    }
    pthread_cond_destroy(&s->gone);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
