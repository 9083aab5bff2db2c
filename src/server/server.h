/* server/server.h: the server: configuration, wiring, the site, the request pipeline, the management API.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_H
#define SERVER_H

#include "base.h"

/* The version that this binary says it is, and the commit it was built from ("dev_build" without one). */
extern const char server_version[], server_commit[];

/* `openrun server start`: runs the server in the foreground until SIGINT, SIGTERM or the stop API, and
 * returns the exit status. Messages for people go to stdout and stderr. */
int server_main(const struct home *home);

/* The app specs, bundled and of the user at `home` (may be empty), as GET /specs and GET /spec show them:
 * {"specs": [...]} and {"spec": {...}}. Without a server, for its client. A new reference; NULL on failure. */
json_t *server_spec_list(struct arena *a, struct str home);
json_t *server_spec_get(struct arena *a, struct str home, struct str name, struct err *err);
/* `openrun server check` when no server runs: deploy_check() on the metadata of the home, with `fix` after
 * deploy_fix(). Fails while a server holds the home, and when there is no metadata yet. */
bool server_check_home(const struct home *home, bool fix, struct arena *a, struct str_list *problems, struct err *err);

#endif
