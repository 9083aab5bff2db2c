/* container/probe.c: asks an app whether it is up: one GET of its health path.
 *
 * A published port is accepted by the engine's own proxy before the app listens, so an accepted connection
 * alone proves something only at the container's own address; the caller weighs it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"
#include "service_int.h"

#include <stdio.h>

static bool body_ignore(void *arg, struct str part, struct err *err)
{
    (void)arg;
    (void)part;
    return err_set(err, ERR_CANCELLED, "enough"); /* the status says it all */
}

struct head {
    int status;
};

static bool head_take(void *arg, const struct http_answer *answer, struct err *err)
{
    struct head *h = arg;
    (void)err;
    h->status = answer->status;
    return true;
}

void ctr_probe(struct http_client *client, const struct probe_ask *ask, struct probe_answer *out)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct http_answer res = {0};
    struct head head = {0};
    static const struct http_pair headers[] = {
        {STR_INIT("User-Agent"), STR_INIT("openrun-probe")},
        {STR_INIT("Connection"), STR_INIT("close")},
    };
    uint32_t ip = ask->at.ip;
    struct http_fetch f = {.headers = headers,
                           .header_count = ARRAY_LEN(headers),
                           .is_http1_only = true,
                           .total_timeout_ms = ask->timeout_ms,
                           .connect_timeout_ms = ask->connect_ms,
                           .skip_tls_verify = true,
                           .max_redirects = ask->needs_200 ? 5 : 0,
                           .cancel = ask->cancel,
                           .on_head = head_take,
                           .on_body = body_ignore,
                           .body_arg = &head};
    f.url = str_printf(&a, STR_FMT "://%u.%u.%u.%u:%u" STR_FMT, STR_ARG(ask->scheme), ip >> 24,
                       ip >> 16 & 255, ip >> 8 & 255, ip & 255, (unsigned)ask->at.port, STR_ARG(ask->path));
    *out = (struct probe_answer){0};
    bool ok = http_fetch(client, &a, &f, &res, &err);
    int status = ok ? res.status : head.status;
    if (status > 0) {
        out->is_accepted = true;
        out->is_up = ask->needs_200 ? status == 200 : status < 500;
        snprintf(out->text, sizeof out->text, "status %d", status);
        return;
    }
    out->is_accepted = err.code == ERR_TIMEOUT || err.code == ERR_UPSTREAM;
    if (err.code == ERR_UNAVAILABLE)
        snprintf(out->text, sizeof out->text, "no connection: nothing listens there");
    else if (err.code == ERR_TIMEOUT)
        snprintf(out->text, sizeof out->text, "no answer in time");
    else
        snprintf(out->text, sizeof out->text, "%s", err_msg(&err));
}
