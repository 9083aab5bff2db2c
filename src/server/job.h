/* server/job.h: the scheduled jobs of all apps: which there are, when each is due, and its runs.
 *
 *     site ──(what the entries declare)──> table ──due──> run on a job thread: a command in a container of its own,
 *                                            │            or a request to the app through run/jobs.sock
 *                                            └──> history and output on disk (job_history.h)
 *
 * A run that was missed while the server was down, or the machine asleep, happens once if the job says catch_up, else not
 * at all; up to a minute late is not missed. Jobs of production apps run by their schedule, those of development apps only
 * by hand; stage and preview apps have none.
 *
 * One lock guards the table; it is held for file writes of a few kilobytes, never across a run. All functions but open and
 * close may be called from any thread that may block.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_JOB_H
#define SERVER_JOB_H

#include "app.h"
#include "job_history.h"

struct job_table;
struct server;

struct job_table *job_table_open(struct server *s);
/* Looks whether the site is another one and what is due: the scheduler's function. */
void job_table_tick(void *table);
/* Nothing begins any more; what runs is cancelled. */
void job_table_stop(struct job_table *t);
/* After the threads of runs have ended. NULL is fine. */
void job_table_close(struct job_table *t);

/* A new reference: jobs of the main apps for which `pick` is true, by app and name. */
typedef bool job_pick_fn(void *arg, const struct store_brief *app);
json_t *job_table_list(struct job_table *t, job_pick_fn *pick, void *arg);
/* Runs, newest first. Fails if there is no such job. */
bool job_table_runs(struct job_table *t, struct str app_id, struct str name, json_t **out, struct err *err);
/* Begins a run now; its id in `a`. Fails if one runs and the job does not allow two. */
bool job_table_run(struct job_table *t, struct arena *a, struct str app_id, struct str name, struct str *run_id,
                   struct err *err);
/* Cancels what runs and waits; *n says how many. */
bool job_table_cancel(struct job_table *t, struct str app_id, struct str name, int *n, struct err *err);
/* A run (the last one if `run_id` is empty) with its output from `from` on; `tail` > 0: of that the last lines. */
bool job_table_log(struct job_table *t, struct arena *a, struct str app_id, struct str name, struct str run_id,
                   int64_t from, int tail, json_t **out, struct err *err);

/* Removes the runs of jobs that no app declares any more, after a month, or of an app the oldest beyond twenty jobs. */
void job_table_sweep(struct job_table *t, int64_t now_ns);

/* What to do about a job whose time up to `base_s` has been dealt with. Pure. */
struct job_plan {
    int64_t due_s;            /* a run is due since then; 0: none */
    bool is_late;             /* it was missed, and is to happen now */
    bool is_missed;           /* one was missed, and does not happen */
    int64_t next_s;           /* the next after `now_s`; 0: never */
};
struct job_plan job_plan_at(const struct app_job *job, int64_t base_s, int64_t now_s);

/* --- job_run.c --- */

struct job_outcome {
    enum job_status status;
    int code;
    char error[400];
};
/* Performs a run, with its output in `log`. Blocks. */
void job_perform(struct server *s, struct app_slot *slot, const struct app_job *job, const atomic_bool *cancel,
                 struct job_log *log, struct job_outcome *out);

#endif
