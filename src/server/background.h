/* server/background.h: operations that nobody waits for: runs of syncs by the clock, and what webhooks set off.
 *
 * Work has a key. Of one key at most one piece waits to begin: whoever asks for the same while it waits is served
 * by it too, so that a burst of calls costs two runs, not a hundred. All functions may be called from any thread.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKGROUND_H
#define BACKGROUND_H

#include "base.h"
#include "deploy.h"

struct background;
struct jobs;
struct operations;
struct store;

struct background_config {
    struct jobs *jobs;
    struct operations *operations;
    struct store *store;       /* for the audit trail */
    struct deploy *deploy;
};
struct background *background_open(const struct background_config *config);
/* From now on nothing new begins; what runs is for operations_drain() to wait for. NULL is fine. */
void background_stop(struct background *b);
/* After the job threads have ended. NULL is fine. */
void background_close(struct background *b);

struct background_work {
    struct str key;
    const char *name;          /* of the operation; a static text */
    const char *audit;         /* operation of the audit event at its end; a static text */
    struct str target, user_id;
    deploy_op *op;
    struct deploy_opts opts;   /* `app` and `sync_id` are copied, other texts must live for ever */
    bool is_serial;            /* one after another with all others that are */
    bool is_lazy;              /* not wanted while the same runs */
    /* Called on a job thread at its end, if it was taken; may be NULL. `reply` is NULL when it failed. */
    void (*done)(void *arg, const json_t *reply, const struct err *err);
    void *arg;
};
enum background_start {
    BACKGROUND_REFUSED,        /* the server is stopping, or has too much to do */
    BACKGROUND_TAKEN,
    BACKGROUND_JOINED,         /* the same waits to begin already (or runs, if lazy): `done` will not be called */
};
/* *id is the operation's, in `a`, unless refused. */
enum background_start background_start(struct background *b, const struct background_work *w, struct arena *a,
                                       struct str *id);

#endif
