/* server/access.h: the access log: one JSON line per request, gathered per loop and written off it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_ACCESS_H
#define SERVER_ACCESS_H

#include "base.h"
#include "http.h"

/* What the log tells beyond the request itself. Empty slices are left out (the id is not). */
struct access_facts {
    struct str rid_prefix; /* the request's id is this and the number */
    uint64_t number;
    struct str user, app_id, client_ip;
};

struct access_log;

/* A loop's part of the log over the shared `file` (NULL: nothing is logged). On the loop's thread. */
struct access_log *access_log_new(struct http_loop *loop, struct log_file *file);
/* Hands over what is gathered and frees. */
void access_log_free(struct access_log *log);
void access_log_add(struct access_log *log, struct http_req *req, const struct access_facts *facts);

#endif
