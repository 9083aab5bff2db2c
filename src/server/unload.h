/* server/unload.h: apps that nobody asks for go out of memory (system.app_unload_secs).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef UNLOAD_H
#define UNLOAD_H

struct server;

/* Has the scheduler look now and then. Before it starts. */
void unload_open(struct server *s);

#endif
