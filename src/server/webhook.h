/* server/webhook.h: the public webhooks of apps and syncs.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef WEBHOOK_H
#define WEBHOOK_H

#include "http.h"

struct server;
struct webhooks;

struct webhooks *webhooks_open(struct server *s);
/* After the loops have ended. NULL is fine. */
void webhooks_close(struct webhooks *w);
/* Answers a call of /_openrun_webhook/<type>, now or later. On the request's loop. */
void webhook_serve(struct webhooks *w, struct http_req *req, struct str type, uint64_t number, struct str client_ip);

#endif
