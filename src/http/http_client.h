/* http/http_client.h: the blocking HTTP client of the control plane: container engines, readiness
 * probes, management API calls, `http.in`. Part of http.h; never used on a loop thread.
 *
 * A client keeps its connections alive between fetches and belongs to one thread at a time. It speaks
 * http and https only, ignores ~/.netrc, and ignores proxy environment variables unless asked.
 *
 *     scoped_http_client struct http_client *c = http_client_open();
 *     struct http_answer res;
 *     struct http_fetch f = {.url = STR("http://docker/v1.41/info"), .unix_socket = STR("/run/docker.sock")};
 *     if (!http_fetch(c, &arena, &f, &res, err)) ...
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "http_url.h"

#include <stdatomic.h>

struct http_client;

/* Takes the next bytes of the response body. False ends the fetch with `err`. */
typedef bool http_sink_fn(void *arg, struct str part, struct err *err);
/* Fills `buf` with up to `cap` bytes of the request body; *len = 0 at its end. False ends the fetch with `err`. */
typedef bool http_source_fn(void *arg, char *buf, size_t cap, size_t *len, struct err *err);
/* Told once, before any body byte, the final status and headers (as in http_answer). False ends the fetch with `err`. */
struct http_answer;
typedef bool http_head_fn(void *arg, const struct http_answer *head, struct err *err);

enum {
    HTTP_FETCH_CONNECT_MS = 10000,         /* default connect timeout, TLS included */
    HTTP_FETCH_MAX_BODY = 64 << 20,        /* default ceiling of a body kept in memory */
    HTTP_FETCH_MAX_HEAD = 256 << 10,       /* ceiling of all response header bytes */
};

/* What to fetch. Zero values are sensible: GET, verify TLS, no redirects, no limit on total time. */
struct http_fetch {
    struct str method;               /* empty: GET, or POST with a body */
    struct str url;                  /* absolute, http or https; user info in it is refused */
    struct str unix_socket;          /* connect here instead of to the URL's host */
    const struct http_pair *headers; /* [header_count]; a Content-Type is never invented */
    size_t header_count;

    struct str body;                 /* sent with Content-Length */
    http_source_fn *read_body;       /* or: streamed, chunked unless body_size is set; never sent twice */
    void *read_arg;
    int64_t body_size;               /* of read_body when known, else 0 */

    http_head_fn *on_head;           /* optional */
    http_sink_fn *on_body;           /* streams the body here instead of keeping it (no ceiling then) */
    void *body_arg;                  /* for on_head and on_body */
    size_t max_body;                 /* ceiling of a kept body; 0 is HTTP_FETCH_MAX_BODY */

    int64_t connect_timeout_ms;      /* 0: HTTP_FETCH_CONNECT_MS */
    int64_t total_timeout_ms;        /* 0: none */
    int64_t idle_timeout_ms;         /* no byte either way for so long ends it; 0: none */
    const atomic_bool *cancel;       /* set by another thread: ends within 0.1 s; may be NULL */
    int cancel_fd;                   /* ends at once when it becomes readable, and costs no looking; 0: none */

    const char *user, *password;     /* basic authentication when user is not NULL */
    const char *ca_file;             /* PEM of further roots to trust instead of the system's; may be NULL */
    const char *client_cert_file;    /* PEM certificate (with key unless client_key_file); may be NULL */
    const char *client_key_file;
    bool skip_tls_verify;
    bool use_env_proxy;              /* honour http_proxy, https_proxy, no_proxy */
    bool decompress;                 /* ask for and undo gzip, deflate, br */
    bool is_http1_only;
    int max_redirects;               /* follow that many; 0: a 3xx is an answer like any other */
};

struct http_answer {
    int status;
    const struct http_pair *headers; /* [header_count], as received, in order, without trailers */
    size_t header_count;
    struct str body;                 /* kept body; empty with on_body */
    struct str url;                  /* where the answer came from, after redirects */
    bool is_reused;                  /* came over a connection that was open already */
};

/* Never fails: opens nothing yet. */
struct http_client *http_client_open(void);
void http_client_close(struct http_client *c); /* NULL is fine */
void http_client_cleanup(struct http_client **c);
#define scoped_http_client CLEANUP(http_client_cleanup)

/* Performs `f` and waits for its whole answer, allocated in `a`. Any status is a success. Fails with
 * ERR_INVALID (bad URL, header or file), ERR_UNAVAILABLE (cannot resolve or connect), ERR_TIMEOUT,
 * ERR_CANCELLED, ERR_TOO_LARGE, ERR_UPSTREAM (TLS or protocol trouble, answer cut short), or with what a
 * callback said. Messages name method and URL without its query and user info. */
bool http_fetch(struct http_client *c, struct arena *a, const struct http_fetch *f, struct http_answer *out,
                struct err *err);

/* The first value of header `name` (any case), or the empty slice. */
struct str http_answer_header(const struct http_answer *res, struct str name);

#endif
