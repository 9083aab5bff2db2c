/* http/http_proxy.h: the reverse proxy: sends a request to an upstream and its answer back.
 * Part of http.h.
 *
 * Each loop keeps its own connections to each upstream, so nothing is locked. Bodies are streamed both
 * ways through fixed buffers: a slow side stops the other one. Deadlines are on connecting and, if
 * wanted, on the first byte, never on a transfer that moves or on a stream that is idle.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_PROXY_H
#define HTTP_PROXY_H

#include "http_server.h"
#include "http_url.h"

/* ---- Where to --------------------------------------------------------------------------------------- */

/* An upstream. Made by http_upstream_parse(); immutable, may be shared by loops. Equal keys share
 * connections, whatever struct they are in. */
struct http_upstream {
    struct str key;             /* scheme, address and TLS settings as text */
    uint64_t key_hash;
    struct str unix_path;       /* NUL-terminated; empty: TCP */
    struct str host;            /* NUL-terminated name or address */
    uint16_t port;
    struct str authority;       /* what Host says unless told otherwise */
    struct str path, query;     /* of the URL: in front of the request's */
    bool is_tls;
    bool skip_tls_verify;
    socklen_t addr_len;         /* 0: `host` is a name, resolved on the loop (and kept 30 s) */
    struct sockaddr_storage addr;
    struct str who;             /* see http_upstream_run(); empty: whoever is there */
    uint16_t generation;
};

/* Parses "http://host[:port][/path][?query]", "https://..." or "unix:/path/of/socket". Does not resolve
 * names, and never blocks. Texts live in `a`. */
bool http_upstream_parse(struct arena *a, struct str url, bool skip_tls_verify, struct http_upstream *out,
                         struct err *err);

/* Says who is at the address: one run of something of that name which comes and goes. Its connections are shared with no
 * other run, nor with whoever has the address before or after. Before `u` is used. */
void http_upstream_run(struct arena *a, struct http_upstream *u, struct str who, uint16_t generation);
/* The runs of `who` up to that one are over. Nobody may close their connections: what vanishes with its network says nothing.
 * So unused ones are closed, requests that wait for one fail as if it had been refused, and those in flight, and tunnels,
 * are ended when nothing has come for HTTP_OVER_MS: what is already on its way arrives. A request that may be
 * repeated goes to on_connect_failed then. On the loop's thread. */
enum { HTTP_OVER_MS = 1000 };
void http_upstreams_over(struct http_loop *loop, struct str who, uint16_t generation);

/* ---- How -------------------------------------------------------------------------------------------- */

struct http_proxy_result {
    int status;                 /* sent to the client; 0 when it left before */
    bool is_ok;                 /* a whole answer was passed on, or a tunnel ended */
    bool is_tunnel;
    bool is_client_gone;        /* the client ended it */
    bool is_connect_failed;
    const char *why;            /* what failed, for logs; NULL if is_ok */
    uint64_t bytes_in;          /* request body bytes, or bytes from the client of a tunnel */
    uint64_t bytes_out;         /* response body bytes, or bytes to the client of a tunnel */
    int64_t first_byte_ns;      /* from http_proxy() to the answer's head; 0: there was none */
};

/* All optional; called on the request's loop. */
struct http_proxy_events {
    /* No connection could be made, or a new one was closed before any answer to a request that may be repeated, or the
     * upstream is over (http_upstreams_over()). True: the callee now owns the request and answers it or calls http_proxy()
     * again; on_done is not called for this try. False: a 502 (504 for a timeout) is sent. */
    bool (*on_connect_failed)(struct http_req *req, const char *why, void *arg);
    /* Body bytes moved since the last call; on tunnels all bytes. For activity counters. */
    void (*on_bytes)(struct http_req *req, uint64_t in, uint64_t out, void *arg);
    /* The exchange is over, exactly once; the request may still be sending its last bytes. */
    void (*on_done)(struct http_req *req, const struct http_proxy_result *result, void *arg);
    void *arg;
};

/* Everything pointed to lives until on_done. Zero values are sensible. */
struct http_proxy_opts {
    struct str path;            /* encoded path to ask for (after the upstream's own); empty: the request's without
                                 * strip_prefix */
    struct str strip_prefix;    /* decoded, "" or starts with '/': taken off the path; another path answers 404 */
    struct str host;            /* Host to send; empty: the upstream's authority */

    /* Request headers. Hop-by-hop ones and those named in Connection are always dropped. Names in `drop` match in any
     * case and with '_' for '-'; one that ends in '-' drops all names that start so. `set` replaces. */
    const struct str *drop;
    size_t drop_count;
    const struct http_pair *set;
    size_t set_count;
    struct str cookie;          /* replaces the Cookie header if has_cookie; empty drops it */
    bool has_cookie;

    const struct http_pair *response_set;   /* replace upstream's; "$url" in a value is the path that was asked for */
    size_t response_set_count;
    bool rewrite_location;      /* Location to the upstream itself becomes a path under strip_prefix */
    bool rewrite_cookie_path;   /* so does the Path of cookies, unless it is there already */

    int connect_timeout_ms;     /* resolving, connecting, TLS, and waiting for a free connection; 0: 10 s */
    int first_byte_timeout_ms;  /* from the request being sent to the head of its answer; 0: none */
    int idle_conn_ms;           /* unused connections are kept for so long; 0: 15 s */
    unsigned max_idle;          /* kept per loop and upstream; 0: 250 */
    unsigned max_conns;         /* open at once per loop and upstream, more requests wait; 0: twice max_idle */

    struct http_proxy_events events;
};

/* The names that a proxy must not take from a client: Forwarded, X-Forwarded-*, X-Real-IP, X-Openrun-*. */
extern const struct str *const http_proxy_drop_forwarded;
extern const size_t http_proxy_drop_forwarded_count;

/* Answers `req` with what `to` says to it. Must be the only one who reads its body or answers it from now on. Upgrades
 * (WebSocket and others, but not to other HTTP versions) become tunnels. Failures before the answer's head are
 * a 502, 503 or 504 with a short text; later ones break the client's connection off, so that it can tell. */
void http_proxy(struct http_req *req, const struct http_upstream *to, const struct http_proxy_opts *opts);

struct http_upstream_stats {
    uint64_t opened, reused;     /* connections made; exchanges on a connection that was open already */
    unsigned open, idle, waiting;
};
/* Of this loop's connections to upstreams with `key`; for tests and metrics, on the loop's thread. */
struct http_upstream_stats http_upstream_stats(struct http_loop *loop, struct str key);

#endif
