/* server/watch.h: looks after the source folders of dev apps, and has an app loaded again when its source changes.
 *
 * One thread with an event loop of its own follows all folders; reloads are jobs, one at a time for an app. What changes
 * during a reload causes one more. Folders that system.watch_ignore_patterns match are not followed.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef WATCH_H
#define WATCH_H

#include "base.h"

struct server;
struct site;
struct watch;

/* NULL with an error: no thread, or a pattern that is none. */
struct watch *watch_open(struct server *s, struct err *err);
/* Follows the dev apps of `site`, and no others. Any thread; with NULL nothing happens. */
void watch_sync(struct watch *w, const struct site *site);
/* Ends the thread and waits for reloads, cancelling them. watch_sync() may still be called. */
void watch_stop(struct watch *w);
void watch_close(struct watch *w);

#endif
