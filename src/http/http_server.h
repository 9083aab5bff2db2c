/* http/http_server.h: TLS, listeners, requests, responses and tunnels.
 *
 *     struct http_loops *loops = http_loops_open(2, &err);
 *     struct http_server *server = http_server_open(loops, NULL);
 *     struct http_listener *l = http_listen(server, &(struct http_listen){
 *         .host = STR("127.0.0.1"), .port = 25222, .handler = {on_request, app}}, &err);
 *     ...
 *     http_server_drain(server, 5000);
 *     http_server_close(server);
 *     http_loops_close(loops);
 *
 * A request and all functions that take a `struct http_req *` belong to its loop's thread. Functions on
 * servers, listeners and certificates as a whole are for control threads, never for a loop thread.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "http_loop.h"

#include <sys/socket.h>

struct http_server;
struct http_listener;
struct http_cert;
struct http_tls;
struct http_stream;
struct ssl_st;

/* ---- TLS ------------------------------------------------------------------------------------------ */

/* A certificate chain with its key, ready to be used by any number of connections on any thread.
 * Immutable and reference-counted. */
struct http_cert;
struct http_cert *http_cert_load(const char *cert_path, const char *key_path, struct err *err);
struct http_cert *http_cert_from_pem(struct str cert_pem, struct str key_pem, struct err *err);
struct http_cert *http_cert_ref(struct http_cert *cert);
void http_cert_unref(struct http_cert *cert);              /* NULL is fine */
int64_t http_cert_not_after(const struct http_cert *cert); /* seconds since 1970 */
/* True if the certificate is valid for host name `host` (RFC 9110 §4.3.4, wildcards included). */
bool http_cert_covers(const struct http_cert *cert, struct str host);
/* Makes an ECDSA P-256 key and a self-signed certificate for `names` (DNS names and IP addresses; the
 * first is the subject), valid for `days` from now. The PEM texts are allocated in `a`. */
bool http_cert_self_signed(struct arena *a, const struct str *names, size_t name_count, int days,
                           struct str *cert_pem, struct str *key_pem, struct err *err);

/* Chooses the certificate of a handshake by server name (lower case; empty when the client sent none).
 * Runs on the loop's thread and must not block. The result is borrowed until the callback returns to
 * the loop; NULL refuses the handshake with unrecognized_name. */
typedef struct http_cert *http_cert_pick(struct http_loop *loop, struct str server_name, void *arg);

/* What TLS listeners share: protocol settings, ticket keys, the choice of certificates. TLS 1.2 and 1.3,
 * forward-secret AEAD ciphers only, session tickets, no renegotiation, ALPN http/1.1. */
struct http_tls *http_tls_open(http_cert_pick *pick, void *arg, struct err *err);
void http_tls_close(struct http_tls *tls); /* after the servers that use it */
/* Asks every client for a certificate without requiring one; verification is the embedder's. Before use. */
void http_tls_request_client_cert(struct http_tls *tls);

/* ---- Server --------------------------------------------------------------------------------------- */

struct http_req;

/* Called once for each request whose head was received and found well-formed. Must end the request with
 * http_reply() or http_resp_end(), now or later, on the request's loop thread, also when the client is
 * gone by then: the request lives until its handler has ended it and its last byte is out. */
struct http_handler {
    void (*on_request)(struct http_req *req, void *arg);
    void *arg;
    /* For logs, may be NULL: a request that was refused before it became one (malformed, too large, too slow)
     * has been answered with `status`; `why` is a literal. */
    void (*on_refused)(struct http_loop *loop, struct str peer, int status, struct str why, void *arg);
};

/* Limits of a server; 0 means the default. Timeouts are on progress, never on total time. */
struct http_limits {
    int header_timeout_ms;    /* from the first byte of a head (or the connection) to its end; 30 s */
    int idle_timeout_ms;      /* between requests of a connection; 75 s */
    int body_timeout_ms;      /* without a byte of a body that its handler is waiting for; 60 s */
    int write_timeout_ms;     /* without the client taking a byte; 60 s */
    int handshake_timeout_ms; /* whole TLS handshake; 15 s */
    size_t header_max;        /* request line and header section, bytes; 32 KiB, more answers 431 */
    size_t target_max;        /* request target, bytes; 16 KiB, more answers 414 */
    size_t drain_max;         /* bytes of an unread body discarded to keep a connection; 256 KiB */
    unsigned max_conns;       /* open connections per loop, more wait in the backlog; 16384 */
};

/* A set of listeners with common limits and counters, closed and drained together. */
struct http_server *http_server_open(struct http_loops *loops, const struct http_limits *limits);

/* Measured with two loops: a short connection costs 31 us of CPU with the first, 34 with the second, which
 * spreads few connections more evenly. */
enum http_accept {
    HTTP_ACCEPT_REUSEPORT, /* one socket per loop, the kernel spreads connections by a hash */
    HTTP_ACCEPT_HANDOFF,   /* one socket, its loop hands connections out in turn */
};

struct http_listen {
    /* Where: inherited_fd, else unix_path, else host:port. */
    struct str host;          /* "0.0.0.0" or "": every address, IPv6 included; else a name or address */
    int port;                 /* 0: any free port */
    const char *unix_path;    /* mode 0600; exists and answers: EADDRINUSE error; exists and dead: replaced */
    const int *inherited_fds; /* listening sockets from a previous process, taken over */
    unsigned inherited_count;
    struct http_tls *tls; /* NULL: plain */
    enum http_accept accept;
    struct http_handler handler;
    const char *setting; /* names the setting to change in error messages: "http.port" */
};

/* Binds and starts accepting on the loops. For control threads. Fails with a message that says what to do
 * ("port 25222 is in use: stop the program that listens there or set http.port"), code ERR_CONFLICT for
 * an address in use. The listener lives as long as its server. */
struct http_listener *http_listen(struct http_server *server, const struct http_listen *cfg, struct err *err);
int http_listener_port(const struct http_listener *l); /* the actual one; 0 for unix sockets */
/* The descriptors, for handing to a successor; still owned by the listener. Returns their number. */
unsigned http_listener_fds(const struct http_listener *l, int *fds, unsigned max);

struct http_stats {
    uint64_t accepted;     /* connections since the start */
    uint64_t requests;     /* requests given to handlers since the start */
    uint64_t bad_requests; /* refused by the parser */
    uint64_t tls_failed;   /* handshakes that failed */
    uint64_t open_conns;
    uint64_t open_reqs; /* given to handlers and not ended, tunnels included */
};
/* From any thread; each number is right, the sum of them is of no one moment. */
void http_server_stats(const struct http_server *server, struct http_stats *out);

/* Stops accepting (listening sockets are closed, unix paths removed unless `keep_paths` was set by
 * http_server_keep_paths), closes idle connections, lets requests and tunnels end, and after `timeout_ms`
 * cuts what is left. Blocks; for control threads. Returns the number of connections that were cut. */
size_t http_server_drain(struct http_server *server, int64_t timeout_ms);
/* A successor has taken over the sockets: unix paths stay at the drain. */
void http_server_keep_paths(struct http_server *server);
/* Drains with no patience, if not drained yet, and frees. For control threads. */
void http_server_close(struct http_server *server);

/* ---- Requests ------------------------------------------------------------------------------------- */

/* clang-format off */
enum http_method {
    HTTP_OTHER, HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OPTIONS, HTTP_PATCH,
    HTTP_CONNECT, HTTP_TRACE,
};
/* clang-format on */

/* Header fields found without a search. HTTP_H_OTHER is any other. */
/* clang-format off */
enum http_hdr {
    HTTP_H_OTHER, HTTP_H_ACCEPT, HTTP_H_ACCEPT_ENCODING, HTTP_H_AUTHORIZATION, HTTP_H_CACHE_CONTROL,
    HTTP_H_CONNECTION, HTTP_H_CONTENT_ENCODING, HTTP_H_CONTENT_LENGTH, HTTP_H_CONTENT_RANGE, HTTP_H_CONTENT_TYPE,
    HTTP_H_COOKIE, HTTP_H_DATE, HTTP_H_ETAG, HTTP_H_EXPECT, HTTP_H_FORWARDED, HTTP_H_HOST, HTTP_H_IF_MATCH,
    HTTP_H_IF_MODIFIED_SINCE, HTTP_H_IF_NONE_MATCH, HTTP_H_IF_RANGE, HTTP_H_IF_UNMODIFIED_SINCE,
    HTTP_H_KEEP_ALIVE, HTTP_H_LAST_MODIFIED, HTTP_H_LOCATION, HTTP_H_ORIGIN, HTTP_H_PROXY_AUTHENTICATE,
    HTTP_H_PROXY_AUTHORIZATION, HTTP_H_PROXY_CONNECTION, HTTP_H_RANGE, HTTP_H_REFERER, HTTP_H_SEC_FETCH_SITE,
    HTTP_H_SERVER, HTTP_H_SET_COOKIE, HTTP_H_TE, HTTP_H_TRAILER, HTTP_H_TRANSFER_ENCODING, HTTP_H_UPGRADE,
    HTTP_H_USER_AGENT, HTTP_H_VARY, HTTP_H_VIA, HTTP_H_X_FORWARDED_FOR, HTTP_H_X_FORWARDED_HOST,
    HTTP_H_X_FORWARDED_PROTO, HTTP_H_X_REAL_IP,
    HTTP_H_COUNT,
};
/* clang-format on */

struct http_header {
    struct str name;  /* as sent */
    struct str value; /* without surrounding white space */
    enum http_hdr id;
};

enum { HTTP_HEADERS_MAX = 100 };

/* One request and its response. Slices live until the request ends (on_end). The fields are for reading,
 * except `data`. */
struct http_req {
    struct arena *arena; /* everything that lives as long as the request */
    struct http_loop *loop;
    void *data; /* the embedder's */

    enum http_method method;
    bool is_tls;
    bool is_chunked;    /* the body came with Transfer-Encoding: chunked */
    bool wants_upgrade; /* Connection: upgrade with an Upgrade field */
    uint8_t version;    /* 10 or 11 */
    struct str method_text;
    struct str target;      /* as sent */
    struct str path;        /* still percent-encoded, starts with "/"; "*" for OPTIONS * */
    struct str query;       /* without the "?"; query.ptr is NULL when there is no "?" */
    struct str host;        /* lower case, no port, no brackets, no final dot */
    int port;               /* given with the host; 0 if none */
    struct str authority;   /* Host as sent */
    int64_t content_length; /* of the request body; 0 none, -1 not known (chunked) */
    struct http_header *headers;
    size_t header_count;
    int64_t start_ns; /* clock_ns() when the head was complete */

    int status;          /* of the response; 0 until it is started */
    uint64_t bytes_sent; /* body bytes of the response given to the kernel so far */
    bool is_started;     /* http_resp_start() was called: headers can no longer change */
    bool is_ended;       /* the handler has ended it */
    bool is_gone;        /* the client has closed its side; it may still be reading */
    bool is_aborted;     /* the connection failed or the response is incomplete: writes go nowhere */
};

/* The first field of that name, an empty slice (ptr NULL) when there is none. */
struct str http_req_header(const struct http_req *req, struct str name);
struct str http_req_known(const struct http_req *req, enum http_hdr id);
/* True if a comma-separated list field (all its lines) has `token`, letter case aside. */
bool http_req_list_has(const struct http_req *req, enum http_hdr id, struct str token);
/* The name in lower case, for HTTP_H_OTHER an empty slice. */
struct str http_hdr_name(enum http_hdr id);
enum http_hdr http_hdr_id(struct str name);

/* The peer's address as text ("203.0.113.9", "2001:db8::1", IPv4 also when it came through an IPv6
 * socket; "unix" for unix sockets) and port. */
struct str http_req_peer(struct http_req *req);
int http_req_peer_port(struct http_req *req);
const struct sockaddr *http_req_peer_addr(const struct http_req *req);
struct ssl_st *http_req_ssl(const struct http_req *req); /* NULL on plain connections */
struct http_listener *http_req_listener(const struct http_req *req);

/* Hooks, run newest first. */
typedef void http_hook(struct http_req *req, void *arg);
/* Just before the head is made; may look at and change response headers, and req->status. */
void http_req_on_headers(struct http_req *req, http_hook *fn, void *arg);
/* When the request is over: the last byte was sent or the connection broke. Always called exactly once;
 * the request goes away afterwards. */
void http_req_on_end(struct http_req *req, http_hook *fn, void *arg);
/* When the client closes or the connection breaks before the handler has ended the request. At most once.
 * The handler still has to end it, which it may do in the hook. */
void http_req_on_abort(struct http_req *req, http_hook *fn, void *arg);

/* ---- Request bodies ------------------------------------------------------------------------------- */

enum http_body { HTTP_BODY_MORE, HTTP_BODY_END, HTTP_BODY_FAILED };

/* Gets the next bytes of the body, valid during the call, and returns how many it took. Fewer than given
 * pause the body until http_req_resume(). HTTP_BODY_END comes once, with the last bytes (maybe none); it
 * comes again if not all were taken. HTTP_BODY_FAILED (no bytes; the client left, timed out or broke
 * the framing) comes once, and nothing after it. */
typedef size_t http_body_fn(struct http_req *req, struct str data, enum http_body what, void *arg);

/* Starts to read the body; answers Expect: 100-continue. At most once per request; `fn` may be called
 * before this returns. A body that is never read is discarded after the response, or the connection
 * closes. */
void http_req_read(struct http_req *req, http_body_fn *fn, void *arg);
/* Why the body failed, after HTTP_BODY_FAILED: ERR_CANCELLED (the client left), ERR_TIMEOUT, or ERR_INVALID (its
 * framing is broken). */
enum err_code http_req_body_fault(const struct http_req *req, const char **why);
/* `fn` will be called again with what it had left, soon. */
void http_req_resume(struct http_req *req);
/* Reads the whole body, at most `max` bytes, then calls done once: with the body (lives until the request
 * ends) and err NULL, or with an err (ERR_TOO_LARGE, ERR_CANCELLED, ERR_INVALID, ERR_TIMEOUT) that is gone
 * after the call. */
typedef void http_body_done(struct http_req *req, struct str body, const struct err *err, void *arg);
void http_req_read_all(struct http_req *req, size_t max, http_body_done *done, void *arg);

/* ---- Responses ------------------------------------------------------------------------------------ */

/* Adds a response header, before http_resp_start(). Returns false, adding nothing, if the name is no token or
 * the value has a control character, the response has started, or there are 256 already. The text is
 * copied. Framing is the server's: Transfer-Encoding is refused; Connection is sent with a 101 only,
 * Content-Length only with answers to HEAD and with 304 that were started with a length of -1;
 * Keep-Alive and Proxy-Connection never. */
bool http_resp_header(struct http_req *req, struct str name, struct str value);
/* The same, borrowing name and value until http_resp_start() returns; the caller vouches for the name. */
bool http_resp_header_ref(struct http_req *req, struct str name, struct str value);
/* Replaces every header of that name by one. */
bool http_resp_set_header(struct http_req *req, struct str name, struct str value);
struct str http_resp_get_header(const struct http_req *req,
                                struct str name); /* the first; ptr NULL if none */
void http_resp_del_header(struct http_req *req, struct str name);
/* All headers so far, for hooks. */
const struct http_header *http_resp_headers(const struct http_req *req, size_t *count);

/* Sends a final head. `content_length`: bytes that will be written, or -1 when not known (chunked, or until
 * close for HTTP/1.0). `status` 200 to 599, or 101 before http_req_hijack(). Date is added unless present.
 * Call once. */
void http_resp_start(struct http_req *req, int status, int64_t content_length);
/* An informational response (103 for one) before the final one, with the headers added so far, which are
 * consumed. Nothing is sent to HTTP/1.0 clients. */
void http_resp_info(struct http_req *req, int status);
/* Body bytes. `is_stable`: they stay as they are until the request ends (arena, literal, app memory) and are
 * not copied; otherwise what cannot be sent at once is copied. Returns false when too much is waiting:
 * stop until on_drain. Bytes past content_length are dropped, and so are all for HEAD, 204 and 304. */
bool http_resp_write(struct http_req *req, struct str data, bool is_stable);
/* fn(req, arg) once, when less is waiting (soon if that is now), also when the client is gone. */
void http_resp_on_drain(struct http_req *req, http_hook *fn, void *arg);
/* Body bytes [off, off+len) of a regular file, by sendfile where possible. Takes over `fd` and closes it. */
bool http_resp_file(struct http_req *req, int fd, uint64_t off, uint64_t len);
/* Sends out what http_resp_write() has gathered; otherwise that happens when the loop's turn ends. */
void http_resp_flush(struct http_req *req);
/* Ends the request. An incomplete response (started, bytes missing) closes the connection without a proper
 * end, so that the client can tell. Without http_resp_start(), an empty 500 is sent. */
void http_resp_end(struct http_req *req);
/* Breaks the connection off: the response cannot be completed. Ends the request. */
void http_resp_abort(struct http_req *req);
/* Closes the connection after this response. */
void http_resp_close(struct http_req *req);

/* A whole response: head, body (copied if it cannot be sent at once), end. `content_type` empty: no field. */
void http_reply(struct http_req *req, int status, struct str content_type, struct str body);
/* text/plain: "<message>\n". */
void http_reply_error(struct http_req *req, int status, struct str message);
struct str http_status_text(int status); /* "Not Found"; "Unknown" for unassigned ones */

/* ---- Tunnels -------------------------------------------------------------------------------------- */

enum {
    HTTP_READABLE = 1,
    HTTP_WRITABLE = 2,
    HTTP_HANGUP = 4, /* the peer closed (reading may still give bytes) or the connection broke */
    HTTP_CUT = 8,    /* the server drains and its patience is over: close now */
};
/* Takes the connection from HTTP for an own protocol, after http_resp_start(req, 101, 0) or, for CONNECT,
 * (req, 200, 0). `on_ready(stream, events, arg)` is called on readiness that was asked for with
 * http_stream_want() (http_int.h has the stream's functions). `*leftover` gets bytes that the client has
 * already sent (valid until the end). The request stays open until http_hijack_end(). Returns NULL if the
 * connection is broken already: then end the request as usual. */
struct http_stream *http_req_hijack(struct http_req *req,
                                    void (*on_ready)(struct http_stream *stream, unsigned events, void *arg),
                                    void *arg, struct str *leftover);
/* Closes the connection and ends the request; bytes_sent is for its log. */
void http_hijack_end(struct http_req *req, uint64_t bytes_sent);

#endif
