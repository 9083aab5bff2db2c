/* http/client_int.h: what the two ways of the blocking client share.
 *
 *     client.c         what both have in common: checks before, the answer's head and body
 *     client_plain.c   http to a unix socket or an address, by hand: engines, the management API, probes, jobs
 *     client_curl.c    everything else, through libcurl, which is loaded when it is first needed: it and the
 *                      libraries that it brings cost a process 4 MB
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_CLIENT_INT_H
#define HTTP_CLIENT_INT_H

#include "http_int.h"

enum {
    CLIENT_PATIENT_MS = 30000,
    CLIENT_TICK_MS = 100,           /* longest wait before the cancel flag is looked at */
};

/* A kept connection of client_plain.c. */
struct client_conn {
    int fd;                         /* -1: none */
    unsigned char address[128];     /* where to: a struct sockaddr */
    unsigned address_len;
};

struct client_curl;
struct http_client {
    struct client_conn kept;
    struct client_curl *curl;       /* NULL until it is needed */
};

/* What has come of an answer. */
struct client_answer {
    const struct http_fetch *f;
    struct arena *arena;
    struct http_answer res;         /* headers valid once the head is complete */
    struct buf body;
    bool is_told;                   /* on_head was called */
};
void client_answer_init(struct client_answer *t, const struct http_fetch *f, struct arena *a);
void client_answer_release(struct client_answer *t);
/* Calls on_head if it has not been. */
bool client_answer_tell(struct client_answer *t, struct err *err);
/* The next bytes of the body. */
bool client_answer_body(struct client_answer *t, struct str part, struct err *err);
/* The end: *out is the whole answer. */
bool client_answer_end(struct client_answer *t, struct http_answer *out, struct err *err);

/* True if the plain way can do `f`, with *u its URL. */
bool client_plain_takes(const struct http_fetch *f, struct http_url *u);
bool client_plain_fetch(struct client_conn *kept, struct arena *a, const struct http_fetch *f, struct str method,
                        const struct http_url *u, struct http_answer *out, struct err *err);

bool client_curl_fetch(struct client_curl **c, struct arena *a, const struct http_fetch *f, struct str method,
                       struct http_answer *out, struct err *err);
void client_curl_close(struct client_curl *c);

#endif
