/* server/background.c: operations that nobody waits for, and those that wait for each other.
 *
 *     background_start() ──> waiting ──a thread takes it──> running ──> gone
 *                              └─ while another of its key runs, no thread is asked
 *
 * 1. At most one piece of a key is waiting, and at most one runs.
 * 2. An operation made here was made before background_stop(), or ends as cancelled.
 * SPDX-License-Identifier: Apache-2.0 */
#include "background.h"
#include "operation.h"
#include "store.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    THREADS = 8,       /* for all of it, of the server's job threads */
    WAITING_MAX = 1000,
};

struct piece {
    struct background *b;
    struct piece *next;
    struct arena arena;
    struct background_work work;
    struct operation *operation;
    bool is_submitted; /* to a lane; until then it waits for the one of its key that runs */
    bool is_running;
};

struct background {
    struct background_config config;
    struct jobs_lane *lane, *serial;
    pthread_mutex_t lock; /* guards what follows */
    struct piece *pieces;
    size_t count;
    bool is_stopped;
};

struct background *background_open(const struct background_config *config)
{
    struct background *b = xcalloc(1, sizeof *b);
    b->config = *config;
    b->lane = jobs_lane_new(config->jobs, THREADS);
    b->serial = jobs_lane_new(config->jobs, 1);
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

void background_stop(struct background *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->is_stopped = true;
    pthread_mutex_unlock(&b->lock);
}

void background_close(struct background *b)
{
    if (!b)
        return;
    assert(!b->pieces);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static void audit(const struct piece *p, const struct err *err)
{
    store_audit_add_wait(p->b->config.store, &(struct store_audit_event){
        .rid = operation_id(p->operation),
        .user_id = p->work.user_id,
        .event_type = STR("system"),
        .operation = str_from(p->work.audit),
        .target = p->work.target,
        .status = err_is_set(err) ? STR("Failed") : STR("Success"),
        .detail = str_from(err_msg(err)),
    });
}

static void unlink_piece(struct piece *p)
{
    struct background *b = p->b;
    struct piece **at = &b->pieces;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    b->count--;
}

static void free_piece(struct piece *p)
{
    operation_unref(p->operation);
    arena_release(&p->arena);
    free(p);
}

static void perform(struct piece *p, json_t **reply, struct err *err)
{
    struct deploy_caller who = {.user_id = p->work.user_id, .operation_id = operation_id(p->operation),
                                .cancel = operation_cancel_flag(p->operation),
                                .progress = operation_line, .progress_arg = p->operation};
    if (atomic_load(who.cancel)) {
        err_set(err, ERR_CANCELLED, "cancelled before it began");
        return;
    }
    operation_begin(p->operation);
    if (!p->work.op(p->b->config.deploy, &who, &p->work.opts, NULL, reply, err) && !err_is_set(err))
        BUG("%s failed without a reason", p->work.name);
}

static void end(struct piece *p, json_t *reply, const struct err *err)
{
    operation_finish(p->operation, reply, err);
    if (p->work.done)
        p->work.done(p->work.arg, reply, err);
    json_decref(reply);
    free_piece(p);
}

static void run(void *arg);

/* With the lock. */
static bool submit(struct piece *p)
{
    p->is_submitted = jobs_lane_submit(p->work.is_serial ? p->b->serial : p->b->lane, run, p);
    return p->is_submitted;
}

/* With the lock: takes the piece that has run out of the list, and hands on the one that has waited for it. NULL, or
 * that one if it cannot be. */
static struct piece *make_way(struct piece *p)
{
    struct piece *next;
    unlink_piece(p);
    for (next = p->b->pieces; next; next = next->next)
        if (!next->is_submitted && str_eq(next->work.key, p->work.key))
            break;
    if (!next || submit(next))
        return NULL;
    unlink_piece(next);
    return next;
}

static void run(void *arg)
{
    struct piece *p = arg;
    struct background *b = p->b;
    scoped_err err = {0};
    json_t *reply = NULL;
    pthread_mutex_lock(&b->lock);
    p->is_running = true;
    pthread_mutex_unlock(&b->lock);
    perform(p, &reply, &err);
    audit(p, &err);
    pthread_mutex_lock(&b->lock);
    struct piece *stranded = make_way(p);
    pthread_mutex_unlock(&b->lock);
    end(p, reply, &err);
    if (stranded) {
        scoped_err why = {0};
        err_set(&why, ERR_UNAVAILABLE, "the server is stopping or overloaded");
        end(stranded, NULL, &why);
    }
}

/* With the lock: the piece that serves `w` too. *runs: there is one of its key that runs. */
static struct piece *find(struct background *b, const struct background_work *w, bool *runs)
{
    *runs = false;
    for (struct piece *p = b->pieces; p; p = p->next) {
        if (!str_eq(p->work.key, w->key))
            continue;
        if (!p->is_running || w->is_lazy)
            return p;
        *runs = true;
    }
    return NULL;
}

static struct piece *new_piece(struct background *b, const struct background_work *w)
{
    struct piece *p = xcalloc(1, sizeof *p);
    p->b = b;
    p->work = *w;
    p->work.key = str_dup(&p->arena, w->key);
    p->work.target = str_dup(&p->arena, w->target);
    p->work.user_id = str_dup(&p->arena, w->user_id);
    p->work.opts.app = str_dup(&p->arena, w->opts.app);
    p->work.opts.sync_id = str_dup(&p->arena, w->opts.sync_id);
    p->operation = operation_new(b->config.operations, w->name, p->work.target, p->work.user_id);
    return p;
}

/* With the lock, so that neither the same work nor a stop comes between. */
static enum background_start start(struct background *b, const struct background_work *w, struct arena *a,
                                   struct str *id)
{
    bool runs;
    struct piece *p = find(b, w, &runs);
    if (p) {
        *id = str_dup(a, operation_id(p->operation));
        return BACKGROUND_JOINED;
    }
    if (b->is_stopped || b->count >= WAITING_MAX)
        return BACKGROUND_REFUSED;
    p = new_piece(b, w);
    *id = str_dup(a, operation_id(p->operation));
    if (!runs && !submit(p)) {
        scoped_err err = {0};
        err_set(&err, ERR_UNAVAILABLE, "the server is stopping or overloaded");
        operation_finish(p->operation, NULL, &err);
        free_piece(p);
        return BACKGROUND_REFUSED;
    }
    p->next = b->pieces;
    b->pieces = p;
    b->count++;
    return BACKGROUND_TAKEN;
}

enum background_start background_start(struct background *b, const struct background_work *w, struct arena *a,
                                       struct str *id)
{
    pthread_mutex_lock(&b->lock);
    enum background_start result = start(b, w, a, id);
    pthread_mutex_unlock(&b->lock);
    return result;
}
