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

#endif
