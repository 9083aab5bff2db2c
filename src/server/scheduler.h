/* server/scheduler.h: functions that are called again and again, each at its own pace, on one thread.
 *
 * A function looks at what is due and hands it to a job thread; it must not wait itself, since the others come after
 * it. One that was late is called once, not as often as it has missed.
 *
 *     s = scheduler_open();  scheduler_every(s, 1000, look, me);  ...  scheduler_start(s, err);  scheduler_close(s);
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SCHEDULER_H
#define SCHEDULER_H

#include "base.h"

enum { SCHEDULER_MAX = 16 };

struct scheduler;

typedef void scheduler_fn(void *arg);

struct scheduler *scheduler_open(void);
/* Calls fn(arg) every `interval_ms` (at least 1) from the start on, the first time after one interval. Before
 * scheduler_start(), at most SCHEDULER_MAX times. */
void scheduler_every(struct scheduler *s, int64_t interval_ms, scheduler_fn *fn, void *arg);
/* Starts the thread. Fails when there is none to be had. */
bool scheduler_start(struct scheduler *s, struct err *err);
/* Waits for a call that is running; afterwards nothing is called any more. NULL is fine. */
void scheduler_close(struct scheduler *s);

#endif
