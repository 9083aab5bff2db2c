/* base/jobs.h: threads for work that may block, so that loops never do.
 *
 *     jobs ──> queue ──> threads (started when nobody is idle, up to the maximum; idle ones end)
 *     lane ──> its own queue, of which at most `max_at_once` jobs are in the common queue or running
 *
 * Jobs start in the order of submission (per lane). All functions may be called from any thread, jobs
 * included, but jobs_close(), which is for the owner. A job returns to a loop by posting a message there.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_JOBS_H
#define BASE_JOBS_H

#include "util.h"

struct jobs;
struct jobs_lane;

/* A pool of at most `max_threads` threads (at least 1), named `name` (for debuggers). None is started yet. */
struct jobs *jobs_open(const char *name, unsigned max_threads);
/* Runs fn(arg) on a job thread, once. False when the pool is being closed or 65,536 jobs wait already: then
 * `arg` is still the caller's. */
bool jobs_submit(struct jobs *j, void (*fn)(void *arg), void *arg) MUST_USE;
/* A lane lives as long as the pool: bcrypt at most 2 at once, builds 1. */
struct jobs_lane *jobs_lane_new(struct jobs *j, unsigned max_at_once);
bool jobs_lane_submit(struct jobs_lane *l, void (*fn)(void *arg), void *arg) MUST_USE;

/* True once jobs_close() has begun: long jobs look now and then and end early. */
bool jobs_is_closing(const struct jobs *j);
/* Waiting and running jobs, for the status page. */
size_t jobs_pending(struct jobs *j);
/* Takes nothing new, runs everything queued, ends the threads, frees the pool and its lanes. NULL is fine. */
void jobs_close(struct jobs *j);

#endif
