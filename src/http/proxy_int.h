/* http/proxy_int.h: what the files of the reverse proxy share: connections to upstreams and tunnels.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_PROXY_INT_H
#define HTTP_PROXY_INT_H

#include "http_int.h"

/* ---- Connections (upstream.c) -------------------------------------------------------------------------
 *
 *               .---- idle: taken -------------------------------.
 *               |                                                v
 *   acquire --> pool --> RESOLVING --> CONNECTING (TCP, TLS) --> BUSY --release(reusable)--> IDLE --> closed
 *               '---- full: WAITING --a connection is released---^ '----release(broken)------------> closed
 *
 * A connection belongs to its pool while connecting and idle, to whoever acquired it while busy.
 */
struct uppool;
struct upconn;

/* One wish for a connection; embedded in the exchange, zeroed. Ends with exactly one of the two calls, maybe
 * before upconn_acquire() returns, unless it is cancelled. */
struct upconn_wish {
    void (*on_conn)(struct upconn_wish *a, struct upconn *conn);
    void (*on_failed)(struct upconn_wish *a, const char *why, bool is_timeout);
    const struct http_upstream *to;
    const struct http_proxy_opts *opts;
    bool must_be_fresh;             /* no connection that was used before */

    /* The pool's. */
    struct upconn_wish *next, **link;   /* in the pool's queue of the waiting or resolving; link NULL: in none */
    struct uppool *pool;
    struct upconn *conn;         /* being connected for it */
    unsigned next_addr;             /* of the pool's addresses, to try next */
    const char *why;                /* the last failure to connect */
    struct http_timer timer;        /* connect_timeout_ms */
    struct http_loop *loop;
};
void upconn_acquire(struct http_loop *loop, struct upconn_wish *a);
/* Nothing is called afterwards. For one that has not ended. */
void upconn_cancel(struct upconn_wish *a);

/* An event of its own, never with others: the upstream is over. Told once when it is known, then every HTTP_OVER_MS, until the
 * owner, to whom nothing has come in between, lets go. */
enum { UPCONN_OVER = 16 };

struct upconn {
    struct http_stream stream;
    struct uppool *pool;
    void (*on_ready)(struct upconn *conn, unsigned events);   /* the owner's */
    void *owner;
    bool is_reused;                 /* it has served an exchange before the present one */
    bool is_over;                   /* nobody is there any more */
    int keep_ms;                    /* the upstream closes it when unused for so long; 0: it did not say */

    /* The pool's. */
    bool is_idle;
    struct upconn *next, **link; /* in the pool's idle list */
    struct upconn *next_open, **open_link; /* in the list of all that are open */
    struct http_timer timer;        /* idle expiry */
};
/* Gives a busy connection back. Reusable: nothing is under way in either direction. The reader's interest may be
 * left as HTTP_READABLE. Closes it otherwise. */
void upconn_release(struct upconn *conn, const struct http_proxy_opts *opts, bool reusable);

/* ---- Tunnels (tunnel.c) --------------------------------------------------------------------------------
 * After the 101 of `req` was started: takes over the client's connection and `conn`, passes on `early` (bytes from
 * the upstream that came with its head, which live as long as the request) and everything after. Calls on_end once, when both are closed; conn and
 * request are then gone or going. False if the client's connection is broken: nothing was taken over. */
struct tunnel_end {
    void (*fn)(void *arg, uint64_t in, uint64_t out);
    void (*on_bytes)(void *arg, uint64_t in, uint64_t out);
    void *arg;
};
bool tunnel_start(struct http_req *req, struct upconn *conn, const struct http_proxy_opts *opts,
                       struct str early, const struct tunnel_end *end);

/* ---- Heads (proxy_head.c) ------------------------------------------------------------------------------ */

/* True if the request's Upgrade may be passed on: not to another version of HTTP, where requests inside
 * the tunnel would escape the checks made on this one, and not with a body. */
bool proxy_may_upgrade(const struct http_req *req);
/* Writes the head that goes upstream to `out`, which holds `cap` bytes. `path` is what to ask for, after the upstream's
 * own. Returns its length, 0 if it does not fit. */
size_t proxy_write_head(const struct http_req *req, const struct http_upstream *to,
                             const struct http_proxy_opts *opts, struct str path, char *out, size_t cap);
/* An upper bound for the above. */
size_t proxy_head_bound(const struct http_req *req, const struct http_upstream *to,
                             const struct http_proxy_opts *opts, struct str path);
/* Copies the upstream's header fields to the response, without hop-by-hop and framing fields, with opts' changes. */
void proxy_relay_fields(struct http_req *req, const struct http_upstream *to, const struct http_proxy_opts *opts,
                             struct str path, const struct http_head *head);
/* What a Location from the upstream becomes for the client; `location` itself when it stays. */
struct str proxy_location(struct arena *a, const struct http_upstream *to, const struct http_proxy_opts *opts,
                               struct str location);
/* What a Set-Cookie from the upstream becomes; `cookie` itself when it stays. */
struct str proxy_cookie(struct arena *a, const struct http_proxy_opts *opts, struct str cookie);

#endif
