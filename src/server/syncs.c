/* server/syncs.c: the clock of syncs: looks every few seconds which are due, and has them run one after another.
 *
 * What is due is in the store, so nothing is lost at a restart. What is here is who must wait although it is due: a
 * run that was cancelled, or whose outcome could not be written, must not begin again at the next look.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include "background.h"
#include "syncs.h"

#include <stdlib.h>

enum {
    LOOK_EVERY_MS = 5000,
    WAIT_CANCELLED_MS = 600000, /* after somebody has cancelled it */
    WAIT_FAILED_MS = 60000,     /* in case the failure could not be written down */
};

/* A sync that is not to begin again before `until_ms`. */
struct held {
    struct held *next;
    struct syncs *all;
    char *id;
    int64_t until_ms;
    bool is_running;
};

struct syncs {
    struct server *server;
    atomic_bool is_looking;
    pthread_mutex_t lock; /* guards `held`, which is as long as there are due syncs */
    struct held *held;
};

/* With the lock: forgets those that need not wait any more. */
static void forget(struct syncs *all)
{
    struct held **at = &all->held;
    while (*at) {
        struct held *h = *at;
        if (h->is_running || clock_ms() < h->until_ms) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        free(h->id);
        free(h);
    }
}

/* NULL: it runs, or has to wait. */
static struct held *hold(struct syncs *all, struct str id)
{
    struct held *h = NULL;
    pthread_mutex_lock(&all->lock);
    forget(all);
    for (h = all->held; h && !str_eq_z(id, h->id); h = h->next)
        ;
    bool is_new = !h;
    if (is_new) {
        h = xcalloc(1, sizeof *h);
        *h = (struct held){.all = all, .id = xmalloc(id.len + 1), .is_running = true, .next = all->held};
        memcpy(h->id, id.ptr, id.len);
        h->id[id.len] = '\0';
        all->held = h;
    }
    pthread_mutex_unlock(&all->lock);
    return is_new ? h : NULL;
}

static void release(struct held *h, int64_t wait_ms)
{
    struct syncs *all = h->all;
    pthread_mutex_lock(&all->lock);
    h->is_running = false;
    h->until_ms = clock_ms() + wait_ms;
    pthread_mutex_unlock(&all->lock);
}

static void on_end(void *arg, const json_t *reply, const struct err *err)
{
    bool is_cancelled = err_is_set(err) && err->code == ERR_CANCELLED;
    release(arg, !err_is_set(err) ? 0 : is_cancelled ? WAIT_CANCELLED_MS : WAIT_FAILED_MS);
}

static void run_due(struct syncs *all, struct arena *a, const struct deploy_sync *sync)
{
    struct held *h = hold(all, sync->id);
    if (!h)
        return;
    struct background_work work = {
        .key = str_cat(a, STR("sync "), sync->id),
        .name = "sync_run",
        .audit = "sync_run",
        .target = sync->id,
        .user_id = sync->user_id,
        .op = deploy_sync_run,
        .opts = {.sync_id = sync->id},
        .is_serial = true,
        .is_lazy = true,
        .done = on_end,
        .arg = h,
    };
    struct str ignored;
    if (background_start(all->server->background, &work, a, &ignored) != BACKGROUND_TAKEN)
        release(h, 0);
}

static void look_job(void *arg)
{
    struct syncs *all = arg;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct deploy_sync_list due = {0};
    if (!deploy_sync_due(all->server->deploy, &a, wall_ns(), &due, &err))
        log_warn("looking for syncs that are due", LOG_ERR(&err));
    vec_foreach (sync, &due)
        run_due(all, &a, sync);
    atomic_store(&all->is_looking, false);
}

static void look(void *arg)
{
    struct syncs *all = arg;
    if (!atomic_exchange(&all->is_looking, true) && !jobs_submit(all->server->jobs, look_job, all))
        atomic_store(&all->is_looking, false);
}

struct syncs *syncs_open(struct server *s)
{
    struct syncs *all = xcalloc(1, sizeof *all);
    all->server = s;
    pthread_mutex_init(&all->lock, NULL);
    scheduler_every(s->scheduler, LOOK_EVERY_MS, look, all);
    return all;
}

void syncs_close(struct syncs *all)
{
    if (!all)
        return;
    while (all->held) {
        struct held *h = all->held;
        all->held = h->next;
        free(h->id);
        free(h);
    }
    pthread_mutex_destroy(&all->lock);
    free(all);
}
