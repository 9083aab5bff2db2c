/* http/http_int.h: what the files of this module share: loops inside, streams, parsing, connections.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_INT_H
#define HTTP_INT_H

#include "http.h"

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/uio.h>
#include <uv.h>

/* ---- Loops ---------------------------------------------------------------------------------------- */

/* A deferred call: runs once after the current callback has returned to the loop, unless cancelled.
 * Embed it, zeroed; the memory must stay until it has run or was cancelled. */
struct http_soon {
    struct http_soon *next, **link; /* link is NULL when not queued */
    void (*fn)(struct http_soon *soon);
};
void http_soon_start(struct http_loop *loop, struct http_soon *soon, void (*fn)(struct http_soon *soon));
void http_soon_stop(struct http_loop *loop, struct http_soon *soon);

/* Blocks of HTTP_BLOCK bytes from the loop's pool: read buffers, output, copies. Never NULL. */
enum { HTTP_BLOCK = 16 * 1024 };
char *http_block_get(struct http_loop *loop);
void http_block_put(struct http_loop *loop, char *block);

/* Scratch space of HTTP_BLOCK bytes for the duration of a call that calls nobody else. */
char *http_loop_scratch(struct http_loop *loop);

/* ---- Streams: a socket, plain or TLS, on a loop ----------------------------------------------------- */

/*  Level-triggered: on_ready() is called as long as a wanted event is there. The wanted set costs system
 *  calls to change, so readers keep HTTP_READABLE wanted as long as they have room, and ask for
 *  HTTP_WRITABLE only after a write came back short.
 *
 *  1. `fd` is -1 only before http_stream_open() and after http_stream_close().
 *  2. on_ready is never called from within a function of the stream, always from the loop.
 *  3. TLS may hold decrypted bytes that the descriptor does not show: a stream that wants HTTP_READABLE
 *     and has some is made ready through the loop's deferred calls.
 */
struct http_stream {
    struct http_loop *loop;
    int fd;
    SSL *ssl; /* NULL: plain */
    uv_poll_t poll;
    struct http_soon soon; /* inv. 3 */
    unsigned want;         /* HTTP_READABLE, _WRITABLE, _HANGUP */
    unsigned armed;        /* uv_poll events in force */
    bool read_wants_write; /* TLS must write before it can read */
    bool write_wants_read; /* TLS must read before it can write */
    bool is_poll_open;
    void (*on_ready)(struct http_stream *stream, unsigned events, void *arg);
    void *arg;
    void (*on_closed)(struct http_stream *stream, void *arg);
};

/* Results of reading and writing, besides byte counts above 0. */
enum { HTTP_EOF = 0, HTTP_AGAIN = -1, HTTP_BROKEN = -2 };

/* Takes over a connected (or connecting) non-blocking `fd` and, if not NULL, `ssl`, whose handshake is done
 * or will be done by the first read or write. Wants nothing at first. Fails only if the loop has no
 * room; then fd and ssl are still the caller's. */
bool http_stream_open(struct http_stream *s, struct http_loop *loop, int fd, SSL *ssl,
                      void (*on_ready)(struct http_stream *, unsigned, void *), void *arg, struct err *err);
/* > 0 bytes, HTTP_EOF (the peer's orderly end), HTTP_AGAIN, HTTP_BROKEN (errno tells for plain ones). */
ssize_t http_stream_read(struct http_stream *s, void *buf, size_t len);
/* The same; may write less than given. On TLS a call after HTTP_AGAIN must offer the same bytes again
 * first (more may follow, they may have moved). HTTP_EOF does not occur. */
ssize_t http_stream_writev(struct http_stream *s, const struct iovec *iov, int n);
ssize_t http_stream_write(struct http_stream *s, const void *buf, size_t len);
/* Sets the whole set of wanted events; nothing happens if it is unchanged. */
void http_stream_want(struct http_stream *s, unsigned want);
/* No more writes: sends close_notify and FIN. Reading goes on. */
void http_stream_shutdown(struct http_stream *s);
/* Closes; on_closed (may be NULL), after which the memory may go, is called from the loop. */
void http_stream_close(struct http_stream *s, void (*on_closed)(struct http_stream *stream, void *arg));
static inline bool http_stream_is_open(const struct http_stream *s)
{
    return s->is_poll_open;
}
/* Brings the TLS handshake forward: 1 when it is done (or the stream is plain), HTTP_AGAIN, HTTP_BROKEN.
 * Want HTTP_READABLE meanwhile. */
int http_stream_handshake(struct http_stream *s);

/* A server-side TLS session on `fd`, NULL if there is no memory for it. */
SSL *http_tls_accept(struct http_tls *tls, int fd);

/* ---- Parsing -------------------------------------------------------------------------------------- */

/* A request or response head, slices into the text that it was parsed from. */
struct http_head {
    enum http_method method;
    struct str method_text, target; /* request */
    int status;                     /* response */
    struct str reason;              /* response */
    struct str host;                /* request: of Host or the target, without port and brackets */
    int port;                       /* given with it, 0 none */
    uint8_t version;                /* 10 or 11 */
    bool is_chunked;                /* Transfer-Encoding is exactly "chunked" */
    bool has_length;
    bool conn_close, conn_keep_alive, conn_upgrade; /* Connection options */
    bool expect_continue;
    int64_t content_length; /* when has_length */
    size_t header_count;
    uint8_t known[HTTP_H_COUNT]; /* index + 1 of the first field of that id, 0 none */
    struct http_header headers[HTTP_HEADERS_MAX];
};

struct http_head_limits {
    size_t head_max, target_max;
};

enum http_parse { HTTP_PARSE_MORE, HTTP_PARSE_DONE, HTTP_PARSE_BAD };

/* Parses a request head (RFC 9112 §2 to §6) at the start of `text`. DONE: *used is its length, the empty
 * line included. MORE: the text is a beginning of one; *used is untouched. BAD: *status is the answer
 * (400, 414, 417, 431, 501, 505) and *why a literal. Checks framing and Host, so that a head that passes has
 * one meaning only. A bytewise fed head gives the same as a whole one. `*scanned`, 0 at first, lets a
 * repeated call with more text skip what was seen; keep it with the text. */
enum http_parse http_parse_request(struct str text, const struct http_head_limits *limits, size_t *scanned,
                                   struct http_head *head, size_t *used, int *status, const char **why);
/* The same for a response head; *why tells what is wrong. Framing fields are checked, but what they mean
 * (HEAD, 204, 304, until close) is the caller's. */
enum http_parse http_parse_response(struct str text, const struct http_head_limits *limits, size_t *scanned,
                                    struct http_head *head, size_t *used, const char **why);
struct str http_head_known(const struct http_head *head, enum http_hdr id);
/* The first byte in [p, end) that a field value must not have (RFC 9110 §5.5), or `end`. */
const char *http_skip_value(const char *p, const char *end);

/* Splits Host or an authority ("host", "host:port", "[v6]:port"; RFC 3986 §3.2). `*host` is without brackets,
 * `*port` 0 if there is none. False if it is malformed. */
bool http_parse_authority(struct str text, struct str *host, int *port);

/* Decoder of chunked bodies (RFC 9112 §7.1): extensions and trailers are checked, bounded and dropped. */
struct http_chunked {
    uint8_t state;
    uint32_t overhead; /* bytes of the current chunk line or the trailers, bounded */
    uint64_t left;     /* of the current chunk's data */
};
static inline void http_chunked_init(struct http_chunked *d)
{
    *d = (struct http_chunked){0};
}
/* Takes from `in`: *used bytes, of which *data (may be empty) is body. MORE: call again with the rest or,
 * when *used is all of `in`, with further bytes. DONE: the body is complete. BAD: *why is a literal. */
enum http_parse http_chunked_next(struct http_chunked *d, struct str in, size_t *used, struct str *data,
                                  const char **why);

/* ---- Per-loop state of the other files ------------------------------------------------------------- */

struct http_upstreams;
/* The loop's upstream pools; proxy code makes them and frees them by http_loop_at_close(). */
struct http_upstreams **http_loop_upstreams(struct http_loop *loop);

#endif
