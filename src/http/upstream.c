/* http/upstream.c: a loop's connections to upstreams: finding, making, keeping and ending them.
 *
 * 1. A pool exists at least while it has a connection, a queued wish or a name being resolved; `open` counts
 *    connections from socket() to http_stream_close().
 * 2. A wish is in one place: `queue` (waiting for room, or for the pool's addresses) or its `conn` is connecting.
 * 3. Idle connections want HTTP_READABLE: whatever comes (end, error, bytes nobody asked for) closes them.
 * 4. The most recently used idle connection is taken first, so that the others expire.
 * 5. A rush of requests is no rush of connections: BURST are opened at once, and as many again each BURST_MS only while
 *    those that are open take longer than that. A quick app is served sooner over the few, and a crowd before an app that
 *    has just started does not overflow its backlog.
 * 6. A pool that is over gives out nothing new. It looks at its connections every HTTP_OVER_MS until there are none: owners
 *    of busy ones give up, and what came back is closed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "proxy_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include <arpa/inet.h>

enum {
    POOL_BUCKETS = 512,
    ADDRS_MAX = 4,
    RESOLVED_MS = 30000,
    DEFAULT_CONNECT_MS = 10000,
    DEFAULT_IDLE_MS = 15000,
    DEFAULT_MAX_IDLE = 250,
    BURST = 32,
    BURST_MS = 5,
};

/* A lookup under way; outlives its pool if need be. */
struct resolving {
    uv_getaddrinfo_t req;
    struct uppool *pool;         /* NULL: nobody waits any more */
};

struct uppool {
    struct uppool *next;         /* in its bucket */
    struct http_upstreams *all;
    struct str key;
    uint64_t hash;
    struct upconn *idle;         /* most recently used first */
    struct upconn_wish *queue, **queue_end;
    struct resolving *resolving;
    int64_t resolved_until_ms;
    struct sockaddr_storage addrs[ADDRS_MAX];
    socklen_t addr_lens[ADDRS_MAX];
    unsigned addr_count;
    struct http_upstream_stats stats;
    struct http_soon soon;
    struct http_timer burst_timer;   /* runs while the queue waits for the next burst */
    unsigned burst;                  /* opened and not closed since burst_ms */
    int64_t burst_ms;
    uint64_t burst_reused;           /* stats.reused at that time */
    struct upconn *conns;            /* all that are open, newest first */
    struct upconn *cursor;           /* the next one in a walk through them */
    struct str who;                  /* of the upstream */
    uint16_t generation;
    bool is_over;
    struct http_timer over_timer;    /* inv. 6 */
};

static const char over_why[] = "the application has ended";

struct http_upstreams {
    struct http_loop *loop;
    SSL_CTX *tls[2];                /* verifying, not verifying; made when first needed */
    struct uppool *buckets[POOL_BUCKETS];
};

/* ---- Targets ---- */

/* Fills in addr when `host` is a literal address. */
static void set_literal(struct http_upstream *u)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&u->addr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&u->addr;
    if (inet_pton(AF_INET, u->host.ptr, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(u->port);
        u->addr_len = sizeof *in;
    } else if (inet_pton(AF_INET6, u->host.ptr, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(u->port);
        u->addr_len = sizeof *in6;
    }
}

bool http_upstream_parse(struct arena *a, struct str url, bool skip_tls_verify, struct http_upstream *out,
                         struct err *err)
{
    struct http_upstream u = {.skip_tls_verify = skip_tls_verify};
    if (str_starts(url, STR("unix:"))) {
        struct str path = str_from_off(url, 5);
        struct sockaddr_un *un = (struct sockaddr_un *)&u.addr;
        if (path.len == 0 || path.ptr[0] != '/' || path.len >= sizeof un->sun_path || str_chr(path, '\0') != STR_NPOS)
            return err_set(err, ERR_INVALID, "\"%.*s\" is not unix: with the absolute path of a socket of less than %zu bytes",
                           STR_ARG(url), sizeof un->sun_path);
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, path.ptr, path.len);
        u.addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
        u.unix_path = str_from(str_z(a, path));
        u.host = u.authority = STR("localhost");
        u.key = str_dup(a, url);
    } else {
        struct http_url parts;
        if (!http_url_parse(url, &parts, err))
            return err_wrap(err, "upstream");
        u.is_tls = parts.is_tls;
        u.host = str_from(str_z(a, parts.host));
        u.port = http_url_port(&parts);
        u.authority = str_dup(a, parts.authority);
        u.path = str_dup(a, str_eq(parts.path, STR("/")) ? (struct str){0} : parts.path);
        u.query = str_dup(a, parts.query);
        set_literal(&u);
        u.key = str_printf(a, "%s:%u:%.*s", u.is_tls ? skip_tls_verify ? "tls-any" : "tls" : "tcp", u.port,
                           STR_ARG(str_lower(a, u.host)));
    }
    u.key_hash = str_hash(u.key);
    *out = u;
    return true;
}

void http_upstream_run(struct arena *a, struct http_upstream *u, struct str who, uint16_t generation)
{
    u->who = str_dup(a, who);
    u->generation = generation;
    u->key = str_printf(a, STR_FMT " " STR_FMT " %u", STR_ARG(u->key), STR_ARG(who), generation);
    u->key_hash = str_hash(u->key);
}

/* ---- Pools ---- */

static void free_all(struct http_loop *loop, void *arg);

static struct http_upstreams *upstreams_of(struct http_loop *loop)
{
    struct http_upstreams **all = http_loop_upstreams(loop);
    if (!*all) {
        *all = xcalloc(1, sizeof **all);
        (*all)->loop = loop;
        http_loop_at_close(loop, free_all, NULL);
    }
    return *all;
}

static struct uppool **find_pool(struct http_upstreams *all, struct str key, uint64_t hash)
{
    struct uppool **p = &all->buckets[hash % POOL_BUCKETS];
    while (*p && ((*p)->hash != hash || !str_eq((*p)->key, key)))
        p = &(*p)->next;
    return p;
}

static struct uppool *pool_of(struct http_loop *loop, const struct http_upstream *to)
{
    struct http_upstreams *all = upstreams_of(loop);
    struct uppool **p = find_pool(all, to->key, to->key_hash);
    if (LIKELY(*p))
        return *p;
    struct uppool *pool = xcalloc(1, sizeof *pool + to->key.len + to->who.len);
    char *texts = (char *)(pool + 1);
    memcpy(texts, to->key.ptr, to->key.len);
    pool->key = str_of(texts, to->key.len);
    if (to->who.len > 0)
        memcpy(texts + to->key.len, to->who.ptr, to->who.len);
    pool->who = str_of(texts + to->key.len, to->who.len);
    pool->generation = to->generation;
    pool->hash = to->key_hash;
    pool->all = all;
    pool->queue_end = &pool->queue;
    *p = pool;
    return pool;
}

static void serve_queue(struct uppool *pool);

static void on_tend(struct http_soon *soon)
{
    struct uppool *pool = CONTAINER_OF(soon, struct uppool, soon);
    serve_queue(pool);
    if (pool->stats.open > 0 || pool->queue || pool->resolving || pool->soon.link)
        return;
    *find_pool(pool->all, pool->key, pool->hash) = pool->next; /* inv. 1 */
    http_timer_stop(&pool->burst_timer);
    http_timer_stop(&pool->over_timer);
    free(pool);
}

/* Something has ended: the queue may move, or the pool may go. Both happen from the loop: nothing on the stack
 * then uses the pool, and a thousand wishes that fail at once do not nest. */
static void tend_soon(struct uppool *pool)
{
    if (pool->queue || pool->stats.open == 0)
        http_soon_start(pool->all->loop, &pool->soon, on_tend);
}

struct http_upstream_stats http_upstream_stats(struct http_loop *loop, struct str key)
{
    struct uppool *pool = *find_pool(upstreams_of(loop), key, str_hash(key));
    return pool ? pool->stats : (struct http_upstream_stats){0};
}

static void enqueue(struct upconn_wish *a)
{
    struct uppool *pool = a->pool;
    a->next = NULL;
    a->link = pool->queue_end;
    *pool->queue_end = a;
    pool->queue_end = &a->next;
    pool->stats.waiting++;
}

static void dequeue(struct upconn_wish *a)
{
    struct uppool *pool = a->pool;
    *a->link = a->next;
    if (a->next)
        a->next->link = a->link;
    else
        pool->queue_end = a->link;
    a->next = NULL;
    a->link = NULL;
    pool->stats.waiting--;
}

/* ---- Ends ---- */

static void on_conn_closed(struct http_stream *s, void *arg)
{
    free(arg);
}

static void close_conn(struct upconn *conn)
{
    struct uppool *pool = conn->pool;
    pool->stats.open--;
    pool->burst -= pool->burst > 0;
    *conn->open_link = conn->next_open;
    if (conn->next_open)
        conn->next_open->open_link = conn->open_link;
    if (pool->cursor == conn)
        pool->cursor = conn->next_open;
    http_timer_stop(&conn->timer);
    http_stream_close(&conn->stream, on_conn_closed);
}

static void idle_unlink(struct upconn *conn)
{
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    conn->next = NULL;
    conn->link = NULL;
    conn->is_idle = false;
    conn->pool->stats.idle--;
}

static void close_idle(struct upconn *conn)
{
    struct uppool *pool = conn->pool;
    idle_unlink(conn);
    close_conn(conn);
    tend_soon(pool);
}

static void on_idle_ready(struct upconn *conn, unsigned events)
{
    close_idle(conn); /* inv. 3 */
}

static void on_idle_expired(struct http_timer *t)
{
    struct upconn *conn = CONTAINER_OF(t, struct upconn, timer);
    if (conn->is_idle)
        close_idle(conn);
}

static void on_stream_ready(struct http_stream *s, unsigned events, void *arg)
{
    struct upconn *conn = arg;
    conn->on_ready(conn, events);
}

/* ---- Connecting ---- */

static void try_next_addr(struct upconn_wish *a);

static void hand_over(struct upconn_wish *a, struct upconn *conn)
{
    http_timer_stop(&a->timer);
    a->conn = NULL;
    a->on_conn(a, conn);
}

static void fail(struct upconn_wish *a, const char *why, bool is_timeout)
{
    struct uppool *pool = a->pool;
    if (a->link)
        dequeue(a);
    if (a->conn)
        close_conn(a->conn);
    a->conn = NULL;
    http_timer_stop(&a->timer);
    tend_soon(pool);
    a->on_failed(a, why, is_timeout);
}

static void on_acquire_timeout(struct http_timer *t)
{
    struct upconn_wish *a = CONTAINER_OF(t, struct upconn_wish, timer);
    fail(a, a->conn ? "connecting to the application timed out"
                    : a->pool->resolving ? "resolving the application's address timed out"
                                         : "all connections to the application are in use", true);
}

static void connect_broken(struct upconn *conn, const char *why)
{
    struct upconn_wish *a = conn->owner;
    a->why = why;
    a->conn = NULL;
    close_conn(conn);
    try_next_addr(a);
}

static void on_handshaking(struct upconn *conn, unsigned events)
{
    int n = http_stream_handshake(&conn->stream);
    if (n == 1) {
        hand_over(conn->owner, conn);
        return;
    }
    if (n == HTTP_AGAIN) {
        http_stream_want(&conn->stream, HTTP_READABLE);
        return;
    }
    long verified = SSL_get_verify_result(conn->stream.ssl);
    connect_broken(conn, verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                                               : "the TLS handshake with the application failed");
}

static SSL_CTX *tls_of(struct http_upstreams *all, bool skip_verify)
{
    SSL_CTX **slot = &all->tls[skip_verify];
    if (*slot)
        return *slot;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        BUG("no memory for a TLS context");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_verify_paths(ctx);
    SSL_CTX_set_verify(ctx, skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    return *slot = ctx;
}

static SSL *tls_new(struct http_upstreams *all, const struct http_upstream *to, int fd)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL *ssl = SSL_new(tls_of(all, to->skip_tls_verify));
    if (!ssl)
        return NULL;
    bool ok = SSL_set_fd(ssl, fd) == 1 && SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1) == 0;
    if (ok && to->addr_len > 0) {
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), to->host.ptr) == 1;
    } else if (ok) {
        ok = SSL_set_tlsext_host_name(ssl, to->host.ptr) == 1 && SSL_set1_host(ssl, to->host.ptr) == 1;
    }
    if (!ok) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

static void connected(struct upconn *conn)
{
    if (!conn->stream.ssl) {
        hand_over(conn->owner, conn);
        return;
    }
    conn->on_ready = on_handshaking;
    on_handshaking(conn, 0);
}

static const char *connect_why(int e)
{
    switch (e) {
    case ECONNREFUSED: return "the application refused the connection";
    case ENOENT: return "the application's socket does not exist";
    case EHOSTUNREACH:
    case ENETUNREACH: return "the application's address is unreachable";
    case ETIMEDOUT: return "connecting to the application timed out";
    case EMFILE:
    case ENFILE: return "too many open files to connect to the application";
    default: return "connecting to the application failed";
    }
}

static void on_connecting(struct upconn *conn, unsigned events)
{
    int e = 0;
    socklen_t len = sizeof e;
    if (getsockopt(conn->stream.fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0)
        e = errno;
    if (e != 0)
        connect_broken(conn, connect_why(e));
    else
        connected(conn);
}

/* Starts one connection; false, with a->why, when it failed at once. */
static bool connect_to(struct upconn_wish *a, const struct sockaddr *addr, socklen_t len)
{
    struct uppool *pool = a->pool;
    scoped_fd int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        a->why = connect_why(errno);
        return false;
    }
    if (addr->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    int e = connect(fd, addr, len) == 0 ? 0 : errno;
    if (e != 0 && e != EINPROGRESS) {
        a->why = connect_why(e);
        return false;
    }
    SSL *ssl = a->to->is_tls ? tls_new(pool->all, a->to, fd) : NULL;
    if (a->to->is_tls && !ssl) {
        a->why = "preparing TLS to the application failed";
        return false;
    }
    struct upconn *conn = xcalloc(1, sizeof *conn);
    scoped_err err = {0};
    if (!http_stream_open(&conn->stream, a->loop, fd, ssl, on_stream_ready, conn, &err)) {
        SSL_free(ssl);
        free(conn);
        a->why = "too many open files to connect to the application";
        return false;
    }
    fd = -1;
    conn->pool = pool;
    conn->owner = a;
    a->conn = conn;
    conn->next_open = pool->conns;
    conn->open_link = &pool->conns;
    if (conn->next_open)
        conn->next_open->open_link = &conn->next_open;
    pool->conns = conn;
    pool->stats.open++;
    pool->stats.opened++;
    pool->burst++;
    if (e == 0) {
        connected(conn);
    } else {
        conn->on_ready = on_connecting;
        http_stream_want(&conn->stream, HTTP_WRITABLE);
    }
    return true;
}

/* The a->next_addr'th address, or NULL when there are no more. */
static const struct sockaddr *addr_at(struct upconn_wish *a, socklen_t *len)
{
    if (a->to->addr_len > 0) {
        *len = a->to->addr_len;
        return a->next_addr == 0 ? (const struct sockaddr *)&a->to->addr : NULL;
    }
    if (a->next_addr >= a->pool->addr_count)
        return NULL;
    *len = a->pool->addr_lens[a->next_addr];
    return (const struct sockaddr *)&a->pool->addrs[a->next_addr];
}

static void try_next_addr(struct upconn_wish *a)
{
    const struct sockaddr *addr;
    socklen_t len;
    while ((addr = addr_at(a, &len))) {
        a->next_addr++;
        if (connect_to(a, addr, len))
            return;
    }
    fail(a, a->why ? a->why : "the application's address cannot be resolved", false);
}

/* ---- Resolving ---- */

static void keep_addrs(struct uppool *pool, const struct addrinfo *list)
{
    pool->addr_count = 0;
    for (const struct addrinfo *i = list; i && pool->addr_count < ADDRS_MAX; i = i->ai_next) {
        memcpy(&pool->addrs[pool->addr_count], i->ai_addr, i->ai_addrlen);
        pool->addr_lens[pool->addr_count++] = (socklen_t)i->ai_addrlen;
    }
    pool->resolved_until_ms = http_loop_now_ms(pool->all->loop) + (pool->addr_count > 0 ? RESOLVED_MS : 0);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct resolving *r = CONTAINER_OF(req, struct resolving, req);
    struct uppool *pool = r->pool;
    free(r);
    if (pool) {
        pool->resolving = NULL;
        keep_addrs(pool, status == 0 ? list : NULL);
    }
    uv_freeaddrinfo(list);
    if (!pool)
        return;
    if (pool->addr_count == 0)
        for (unsigned n = pool->stats.waiting; n > 0 && pool->queue; n--)
            fail(pool->queue, "the application's address cannot be resolved", false);
    tend_soon(pool);
}

static bool is_resolved(const struct upconn_wish *a)
{
    return a->to->addr_len > 0
           || (a->pool->addr_count > 0 && http_loop_now_ms(a->loop) < a->pool->resolved_until_ms);
}

static bool start_resolving(struct upconn_wish *a)
{
    struct uppool *pool = a->pool;
    if (pool->resolving)
        return true;
    struct resolving *r = xcalloc(1, sizeof *r);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    char port[8];
    snprintf(port, sizeof port, "%u", a->to->port);
    r->pool = pool;
    if (uv_getaddrinfo(http_loop_uv(a->loop), &r->req, on_resolved, a->to->host.ptr, port, &hints) != 0) {
        free(r);
        return false;
    }
    pool->resolving = r;
    return true;
}

/* ---- Acquiring ---- */

static unsigned max_idle_of(const struct http_proxy_opts *o)
{
    return o->max_idle > 0 ? o->max_idle : DEFAULT_MAX_IDLE;
}

static unsigned max_conns_of(const struct http_proxy_opts *o)
{
    return o->max_conns > 0 ? o->max_conns : 2 * max_idle_of(o);
}

static struct upconn *take_idle(struct uppool *pool)
{
    struct upconn *conn = pool->idle;
    if (conn)
        idle_unlink(conn);
    return conn;
}

static void next_burst(struct uppool *pool)
{
    pool->burst = 0;
    pool->burst_ms = http_loop_now_ms(pool->all->loop);
    pool->burst_reused = pool->stats.reused;
}

static void on_burst(struct http_timer *t)
{
    struct uppool *pool = CONTAINER_OF(t, struct uppool, burst_timer);
    uint64_t reused = pool->stats.reused - pool->burst_reused;
    bool is_quick = reused > 0 && reused >= pool->stats.open;
    unsigned burst = pool->burst;
    next_burst(pool);
    if (is_quick)
        pool->burst = burst;
    serve_queue(pool);
}

/* Whether one more may be opened now; if only the burst forbids it, the queue will be served again in BURST_MS. */
static bool may_open(struct uppool *pool, const struct http_proxy_opts *opts)
{
    if (pool->stats.open >= max_conns_of(opts))
        return false;
    bool is_held = http_timer_is_armed(&pool->burst_timer);
    if (!is_held && http_loop_now_ms(pool->all->loop) - pool->burst_ms >= BURST_MS)
        next_burst(pool);
    if (pool->burst < BURST)
        return true;
    if (!is_held)
        http_timer_start(&pool->burst_timer, pool->all->loop, BURST_MS, on_burst);
    return false;
}

/* Gives queued wishes what there is now. */
static void serve_queue(struct uppool *pool)
{
    for (unsigned n = pool->stats.waiting; n > 0 && pool->queue; n--) {
        struct upconn_wish *a = pool->queue;
        struct upconn *conn = a->must_be_fresh ? NULL : take_idle(pool);
        if (!conn && !may_open(pool, a->opts))
            return;
        if (!conn && !is_resolved(a)) {
            if (!start_resolving(a))
                fail(a, "the application's address cannot be resolved", false);
            return;
        }
        dequeue(a);
        if (conn) {
            pool->stats.reused++;
            hand_over(a, conn);
        } else {
            try_next_addr(a);
        }
    }
}

void upconn_acquire(struct http_loop *loop, struct upconn_wish *a)
{
    struct uppool *pool = pool_of(loop, a->to);
    a->loop = loop;
    a->pool = pool;
    a->next_addr = 0;
    a->why = NULL;
    a->conn = NULL;
    struct upconn *conn = a->must_be_fresh ? NULL : take_idle(pool);
    if (LIKELY(conn)) {
        pool->stats.reused++;
        a->on_conn(a, conn);
        return;
    }
    if (UNLIKELY(pool->is_over)) {
        fail(a, over_why, false);
        return;
    }
    http_timer_start(&a->timer, loop, a->opts->connect_timeout_ms > 0 ? a->opts->connect_timeout_ms : DEFAULT_CONNECT_MS,
                     on_acquire_timeout);
    if (!may_open(pool, a->opts)) {
        /* A fresh one is wanted: an unused one makes room for it. */
        if (!pool->idle) {
            enqueue(a);
            return;
        }
        conn = take_idle(pool);
        close_conn(conn);
    }
    if (is_resolved(a)) {
        try_next_addr(a);
        return;
    }
    enqueue(a);
    if (!start_resolving(a))
        fail(a, "the application's address cannot be resolved", false);
}

void upconn_cancel(struct upconn_wish *a)
{
    struct uppool *pool = a->pool;
    http_timer_stop(&a->timer);
    if (a->link)
        dequeue(a);
    if (a->conn)
        close_conn(a->conn);
    a->conn = NULL;
    tend_soon(pool);
}

void upconn_release(struct upconn *conn, const struct http_proxy_opts *opts, bool reusable)
{
    struct uppool *pool = conn->pool;
    if (!reusable || (pool->stats.idle >= max_idle_of(opts) && !pool->queue)) {
        close_conn(conn);
        tend_soon(pool);
        return;
    }
    conn->owner = NULL;
    conn->is_reused = true;
    conn->is_idle = true;
    conn->on_ready = on_idle_ready;
    conn->next = pool->idle;
    conn->link = &pool->idle;
    if (conn->next)
        conn->next->link = &conn->next;
    pool->idle = conn;
    pool->stats.idle++;
    int idle_ms = opts->idle_conn_ms > 0 ? opts->idle_conn_ms : DEFAULT_IDLE_MS;
    if (conn->keep_ms > 0)
        idle_ms = MIN(idle_ms, conn->keep_ms);
    http_timer_start(&conn->timer, conn->stream.loop, idle_ms, on_idle_expired);
    http_stream_want(&conn->stream, HTTP_READABLE);
    if (UNLIKELY(pool->queue != NULL))
        tend_soon(pool);
}

/* ---- Upstreams that are over ---- */

static void tell_over(struct uppool *pool);

static void on_over_timer(struct http_timer *t)
{
    tell_over(CONTAINER_OF(t, struct uppool, over_timer));
}

/* inv. 6. Whoever is told may end others too, and ask for a connection again. */
static void tell_over(struct uppool *pool)
{
    for (unsigned n = pool->stats.waiting; n > 0 && pool->queue; n--)
        fail(pool->queue, over_why, false);
    for (pool->cursor = pool->conns; pool->cursor;) {
        struct upconn *conn = pool->cursor;
        pool->cursor = conn->next_open;
        conn->is_over = true;
        if (conn->is_idle)
            close_idle(conn);
        else if (conn->on_ready == on_connecting || conn->on_ready == on_handshaking)
            fail(conn->owner, over_why, false);
        else
            conn->on_ready(conn, UPCONN_OVER);
    }
    http_timer_start(&pool->over_timer, pool->all->loop, HTTP_OVER_MS, on_over_timer);
    tend_soon(pool);
}

void http_upstreams_over(struct http_loop *loop, struct str who, uint16_t generation)
{
    struct http_upstreams *all = *http_loop_upstreams(loop);
    for (size_t i = 0; all && i < POOL_BUCKETS; i++) {
        for (struct uppool *pool = all->buckets[i]; pool; pool = pool->next) {
            bool is_later = (int16_t)(uint16_t)(pool->generation - generation) > 0; /* they count on over the end */
            if (pool->is_over || is_later || pool->who.len == 0 || !str_eq(pool->who, who))
                continue;
            pool->is_over = true;
            tell_over(pool);
        }
    }
}

static void free_all(struct http_loop *loop, void *arg)
{
    struct http_upstreams *all = *http_loop_upstreams(loop);
    for (size_t i = 0; i < POOL_BUCKETS; i++) {
        while (all->buckets[i]) {
            struct uppool *pool = all->buckets[i];
            for (struct upconn *conn; (conn = take_idle(pool));)
                close_conn(conn);
            if (pool->resolving) {
                pool->resolving->pool = NULL;
                uv_cancel((uv_req_t *)&pool->resolving->req);
            }
            http_soon_stop(loop, &pool->soon);
            http_timer_stop(&pool->burst_timer);
            http_timer_stop(&pool->over_timer);
            all->buckets[i] = pool->next;
            free(pool);
        }
    }
    SSL_CTX_free(all->tls[0]);
    SSL_CTX_free(all->tls[1]);
    free(all);
    *http_loop_upstreams(loop) = NULL;
}
