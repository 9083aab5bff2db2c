/* server/syncs.h: runs scheduled syncs when they are due.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SYNCS_H
#define SYNCS_H

struct server;
struct syncs;

/* Before the scheduler starts. */
struct syncs *syncs_open(struct server *s);
/* After the scheduler and the job threads have ended. NULL is fine. */
void syncs_close(struct syncs *all);

#endif
