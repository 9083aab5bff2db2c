/* http/server_int.h: servers, connections and requests inside; shared by listen, server, conn, output, req
 * and resp.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_SERVER_INT_H
#define HTTP_SERVER_INT_H

#include "http_int.h"

#include <netinet/in.h>
#include <pthread.h>

/* ---- Listening sockets ------------------------------------------------------------------------------ */

enum { ADDRESSES_MAX = 4, SOCKETS_MAX = 256 };

struct sockets {
    int fds[SOCKETS_MAX + ADDRESSES_MAX * 64];
    unsigned len;
    int port; /* 0 for unix */
};

/* Opens what `cfg` describes, `per_address` (SO_REUSEPORT if above 1, at most 64) sockets for each address.
 */
bool sockets_open(const struct http_listen *cfg, unsigned per_address, struct sockets *out, struct err *err);

/* ---- Server ----------------------------------------------------------------------------------------- */

/* What a server has on one loop; touched by that loop's thread only, but for reading the counters. */
struct server_loop {
    struct http_loop *loop;
    struct http_server *server;
    struct http_conn *conns; /* all that are open */
    struct request *free_requests;
    unsigned free_count;
    unsigned open_conns;
    bool is_draining;
    bool is_full; /* accepting waits for a connection to end */
    _Atomic uint64_t accepted, requests, bad_requests, tls_failed, conns_now, reqs_now;
} __attribute__((aligned(64)));

/* A listening socket on the loop that accepts from it. */
struct acceptor {
    struct http_listener *listener;
    struct server_loop *home;
    uv_poll_t poll;
    struct http_timer retry; /* descriptors ran out: armed until the next try */
    int fd;
    bool is_open;
};

struct http_listener {
    struct http_listener *next;
    struct http_server *server;
    struct http_handler handler;
    struct http_tls *tls;
    char *unix_path; /* owned; NULL for TCP */
    int port;
    bool is_handoff;
    _Atomic unsigned turn; /* hand-off: the next loop */
    unsigned len;
    struct acceptor acceptors[];
};

struct http_server {
    struct http_loops *loops;
    struct http_limits limits;
    struct http_head_limits head_limits;
    struct http_listener *listeners;
    bool keep_paths, is_drained;
    pthread_mutex_t lock; /* guards the waiting for open_conns to become 0 */
    pthread_cond_t gone;
    atomic_size_t open_conns;
    unsigned len;
    struct server_loop at[];
};

static inline void count_add(_Atomic uint64_t *counter, int by)
{
    /* One writer: no need for a locked instruction. */
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter, memory_order_relaxed) + (uint64_t)(int64_t)by,
                          memory_order_relaxed);
}

/* A connection has closed for good: lets drains and full loops know. */
void server_conn_gone(struct server_loop *home);

/* ---- Output: what waits to be sent on a connection --------------------------------------------------- */

enum {
    OUT_HIGH = 64 * 1024, /* more waiting: writers are told to stop */
    OUT_LOW = 16 * 1024,  /* less waiting: writers may go on */
    OUT_COPY = 1024,      /* stable pieces up to this are copied too: cheaper than a vector entry */
    OUT_SPARES = 4,
};

enum out_kind { OUT_BORROWED, OUT_BLOCK, OUT_MALLOC, OUT_FILE };

/* A piece of output. Bytes [pos, end) of `mem` are still to be sent, or of the file. */
struct out_seg {
    struct out_seg *next;
    enum out_kind kind;
    int fd; /* OUT_FILE, owned */
    char *mem;
    uint64_t pos, end;
    size_t cap; /* of a block or malloc'd memory */
};

struct out {
    struct out_seg *first, *last;
    struct out_seg *free_segs;
    uint64_t len;    /* bytes waiting */
    bool is_blocked; /* the last write came back short: wait for HTTP_WRITABLE */
    struct out_seg spares[OUT_SPARES];
};

void out_init(struct out *out);
/* Room for `len` bytes at the end, in one piece; then out_commit() what was filled in. */
char *out_reserve(struct out *out, struct http_loop *loop, size_t len);
void out_commit(struct out *out, size_t len);
void out_copy(struct out *out, struct http_loop *loop, struct str data);
void out_borrow(struct out *out, struct str data);
void out_file(struct out *out, int fd, uint64_t off, uint64_t len);
/* Copies the borrowed pieces. */
void out_own(struct out *out, struct http_loop *loop);
/* Sends what the socket takes. False if the connection is broken (or a file turned out shorter). *moved: some
 * bytes went out. */
bool out_flush(struct out *out, struct http_stream *s, bool *moved);
void out_clear(struct out *out, struct http_loop *loop);

/* ---- Connections -------------------------------------------------------------------------------------- */

/*  HANDSHAKE --> IDLE --byte--> HEAD --head--> REQUEST --end--> IDLE | HEAD | DISCARD | LINGER | CLOSED
 *                 |              '--bad head--> LINGER   '--hijack--> TUNNEL --end--> CLOSED
 *                 '--EOF--> CLOSED                DISCARD --body over--> IDLE, --too much--> CLOSED
 *  Everywhere: broken --> CLOSED.
 *
 *  1. conn_advance() alone moves a connection on; whoever changes something calls it, and while it runs
 *     a nested call returns at once and the outer one sees the change. So callbacks may call anything.
 *  2. `req` is set in REQUEST and TUNNEL, and in CLOSED until its handler has ended it.
 *  3. Memory goes when the stream is closed and `req` is NULL, from the loop.
 */
enum conn_state {
    CONN_HANDSHAKE, /* TLS; until it is done or handshake_timeout */
    CONN_IDLE,      /* no byte of the next request; until one comes, EOF or idle_timeout */
    CONN_HEAD,      /* part of a head; until it is complete, bad, or header_timeout */
    CONN_REQUEST,   /* its handler has not ended it, or the response is not out yet */
    CONN_DISCARD,   /* response sent, the unread rest of the body is thrown away, up to drain_max */
    CONN_TUNNEL,    /* hijacked */
    CONN_LINGER,    /* response and FIN sent; input is thrown away so that no RST kills the response */
    CONN_CLOSED,    /* the stream is closed or closing */
};

/* What the timer guards. */
enum conn_timing {
    GUARD_NONE,
    GUARD_HANDSHAKE,
    GUARD_IDLE,
    GUARD_HEAD,
    GUARD_WRITE,
    GUARD_BODY,
    GUARD_LINGER
};

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

struct conn_body {
    enum body_kind kind;
    bool is_over;   /* all of it was taken (or thrown away) */
    bool is_paused; /* the reader took less than given */
    bool has_failed;
    bool end_seen;         /* chunked: the last chunk was decoded */
    bool owes_continue;    /* the client waits for 100 (Continue) */
    uint64_t left;         /* BODY_LENGTH: bytes not taken yet */
    uint64_t discard_left; /* DISCARD: bytes that may still be thrown away */
    size_t ready;          /* chunked: decoded bytes at in.pos */
    struct http_chunked decoder;
    http_body_fn *fn; /* the reader; NULL: none */
    void *arg;
    int fail_code; /* enum err_code, with has_failed */
    const char *fail_why;
};

struct hook {
    struct hook *next;
    http_hook *fn;
    void *arg;
};

/* A request with what only this module sees. */
struct request {
    struct http_req pub;
    struct http_conn *conn;
    struct request *next_free;
    struct hook *on_headers, *on_end, *on_abort;
    http_hook *drain_fn;
    void *drain_arg;
    struct http_header *resp_headers; /* in the arena */
    size_t resp_count, resp_cap;
    int64_t resp_left; /* bytes of the response body to come; -1 not known */
    bool resp_chunked, resp_no_body, resp_close;
    struct arena arena;
    struct http_head head;
};

struct http_conn {
    struct http_stream stream;
    struct http_timer timer;
    struct http_soon flush_soon;
    struct server_loop *home;
    struct http_listener *listener;
    struct http_conn *next, **link; /* in home->conns */
    enum conn_state state;
    enum conn_timing timing;
    bool is_advancing;
    bool is_new;      /* no request yet */
    bool wants_close; /* close after the response under way */
    bool eof_seen;    /* the client has closed its side */
    bool stream_closed;
    bool has_progress; /* bytes moved since the guard was last looked at */

    /* Input. Bytes [pos, end) of mem are unread; those below `floor` belong to the request's head. */
    char *mem; /* a block, or malloc'd if cap is larger; NULL: none */
    size_t cap, floor, pos, end;
    size_t scanned; /* see http_parse_request(); counts from pos */
    char *pinned;   /* the head's memory when input has moved on from it */
    size_t pinned_cap;
    struct conn_body body;

    struct out out;
    struct request *req;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
    uint8_t peer_len; /* of peer_text; 0: not made yet */
    char peer_text[INET6_ADDRSTRLEN];
};

/* Takes over an accepted socket. */
void conn_open(struct server_loop *home, struct http_listener *listener, int fd, const struct sockaddr *peer);
/* Moves the connection on as far as it gets (inv. 1). */
void conn_advance(struct http_conn *c);
/* The connection is lost: closes it and tells the request. */
void conn_break(struct http_conn *c);
/* The server drains: closes what is idle. With `cut`, everything. Returns true if something was cut. */
bool conn_drain(struct http_conn *c, bool cut);
/* Sends what is waiting when the loop's turn ends. */
void conn_flush_soon(struct http_conn *c);

static inline struct request *request_of(const struct http_req *req)
{
    return (struct request *)(uintptr_t)req;
}

/* req.c */
struct request *request_new(struct http_conn *c);
void request_free(struct request *r); /* runs nothing; arena and object go back */
/* Of those that are kept for the next to come, all but so many go; all but what the open connections may need. */
void requests_trim(struct server_loop *home, unsigned keep);
void requests_fewer(struct server_loop *home);
void request_fill(struct request *r); /* public fields from r->head */
void hooks_run(struct request *r, struct hook **list);
struct str conn_peer(struct http_conn *c);
/* Gives the reader what there is. True if something moved. */
bool body_deliver(struct http_conn *c);
void body_fail(struct http_conn *c, enum err_code code, const char *why);
/* Throws unread body bytes away. True when the body is over; *bad if its framing is. */
bool body_discard(struct http_conn *c, bool *bad);

/* resp.c */
void resp_refuse(struct http_conn *c, int status, const char *why); /* a whole answer without a request */

#endif
