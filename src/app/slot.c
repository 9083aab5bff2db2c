/* app/slot.c: an app of the site, loaded on a job thread when it is first asked for.
 *
 *   EMPTY --load--> LOADING --ok--> LOADED --unused--> EMPTY, with the service of the container kept
 *     ^------------failed----'
 *
 * 1. `app` is written under the lock, and read without it by loops, who count themselves in it (unload.c). Everybody
 * else takes a reference, under the lock.
 * 2. Waiters exist only while LOADING; whoever ends it takes them all.
 * 3. Of the entry it keeps what the site needs to know; the rest is read when the app is loaded. If by then it is a
 * newer one, that is loaded, unless who may use the app has changed with it: then the site with the next slot is
 * about to come.
 * 4. A failure is the answer for ten times as long as the attempt took, so that a broken app that many ask
 * for cannot keep job threads busy; the next one to ask after that tries again.
 * 5. `kept` is there only while the app is not: the service goes on sleeping, stopping, being watched and backing off by
 * itself, and a load of the same revision needs none of what it was made of.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

enum { RETRY_FACTOR = 10, RETRY_MAX_MS = 5000, REPLACED_DRAIN_SECS = 30 };

struct slot_waiter {
    struct slot_waiter *next;
    struct http_loop *loop; /* NULL: on whatever thread ends the load */
    app_ready_fn ready;
    void *arg;
    struct app *app; /* the result; a reference */
    struct err err;
};

struct app_slot {
    atomic_int refs;
    const struct app_env *env;
    struct store_brief entry;
    _Atomic(struct app *) app;
    pthread_mutex_t lock; /* guards the rest */
    bool is_loading;
    struct slot_waiter *waiters;
    struct err failure;  /* of the last attempt */
    int64_t retry_at_ms; /* clock_ms() until which it is the answer */
    struct ctr_service *kept; /* of the app that was unloaded; NULL: none */
    int64_t kept_revision;    /* of its entry */
    bool kept_serves;         /* it is app->service, not only app->image */
    size_t size;         /* of this with `texts` */
    char texts[];        /* of the entry */
};

/* The texts of `entry` in `room`, or their size if that is NULL. */
static size_t own_texts(struct store_brief *entry, char *room)
{
    struct str *texts[] = {&entry->id, &entry->path, &entry->domain, &entry->main_app, &entry->user_id,
                           &entry->authn_type, &entry->jobs};
    size_t size = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (room && texts[i]->len > 0)
            *texts[i] = str_of(memcpy(room + size, texts[i]->ptr, texts[i]->len), texts[i]->len);
        size += texts[i]->len;
    }
    return size;
}

struct app_slot *app_slot_new(const struct app_env *env, const struct store_brief *entry)
{
    struct store_brief own = *entry;
    size_t size = sizeof(struct app_slot) + own_texts(&own, NULL);
    struct app_slot *slot = slab_zalloc(size);
    slot->size = size;
    atomic_init(&slot->refs, 1);
    atomic_init(&slot->app, NULL);
    pthread_mutex_init(&slot->lock, NULL);
    slot->env = env;
    own_texts(&own, slot->texts);
    slot->entry = own;
    return slot;
}

struct app_slot *app_slot_ref(struct app_slot *slot)
{
    atomic_fetch_add_explicit(&slot->refs, 1, memory_order_relaxed);
    return slot;
}

void app_slot_unref(struct app_slot *slot)
{
    if (!slot || atomic_fetch_sub_explicit(&slot->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct app *app = atomic_load(&slot->app);
    if (app)
        app_unref(app);
    ctr_service_unref(slot->kept);
    pthread_mutex_destroy(&slot->lock);
    err_release(&slot->failure);
    slab_free(slot, slot->size);
}

const struct store_brief *app_slot_entry(const struct app_slot *slot)
{
    return &slot->entry;
}

struct app *app_slot_peek(struct app_slot *slot)
{
    return atomic_load_explicit(&slot->app, memory_order_acquire);
}

/* The app with a reference, or NULL. */
static struct app *slot_get(struct app_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    struct app *app = atomic_load(&slot->app);
    if (app)
        app_ref(app);
    pthread_mutex_unlock(&slot->lock);
    return app;
}

void app_slot_set(struct app_slot *slot, struct app *app)
{
    pthread_mutex_lock(&slot->lock);
    if (!atomic_load(&slot->app))
        atomic_store_explicit(&slot->app, app_ref(app), memory_order_release);
    pthread_mutex_unlock(&slot->lock);
}

static void tell(struct http_loop *loop, void *arg)
{
    struct slot_waiter *w = arg;
    w->ready(loop, w->app, w->app ? NULL : &w->err, w->arg);
    app_unref(w->app);
    err_release(&w->err);
    free(w);
}

static void answer(struct slot_waiter *w)
{
    if (w->loop)
        http_loop_post(w->loop, tell, w);
    else
        tell(NULL, w);
}

/* Ends LOADING: the waiters are for the caller. With the lock held. */
static struct slot_waiter *take_waiters(struct app_slot *slot)
{
    struct slot_waiter *w = slot->waiters;
    slot->waiters = NULL;
    slot->is_loading = false;
    return w;
}

static void answer_all(struct slot_waiter *w, struct app *app, const struct err *err)
{
    while (w) {
        struct slot_waiter *next = w->next;
        w->app = app ? app_ref(app) : NULL;
        if (!app)
            err_set(&w->err, err->code, "%s", err_msg(err));
        answer(w);
        w = next;
    }
}

/* Loads what the store has now (inv. 3). */
static bool load(const struct app_slot *slot, struct ctr_service *kept, int64_t kept_revision, struct app **app,
                 struct err *err)
{
    scoped_arena a = {0};
    struct store_app entry;
    scoped_store_tx *tx = store_read(slot->env->store, err);
    if (!tx)
        return false;
    if (!store_app_get_by_id(tx, &a, slot->entry.id, &entry, err))
        return err->code == ERR_NOT_FOUND ? err_set(err, ERR_UNAVAILABLE, "the app is being deleted") : false;
    store_rollback(&tx);
    const struct store_brief now = store_app_brief(&entry), *then = &slot->entry;
    if (!str_eq(now.authn_type, then->authn_type) || now.stage_write_access != then->stage_write_access ||
        now.preview_write_access != then->preview_write_access)
        return err_set(err, ERR_UNAVAILABLE, "the app is being changed: try again");
    return app_load_again(slot->env, &entry, now.update_time == kept_revision ? kept : NULL, app, err);
}

static void load_job(void *arg)
{
    struct app_slot *slot = arg;
    scoped_err err = {0};
    struct app *app = NULL;
    int64_t begin = clock_ms();
    pthread_mutex_lock(&slot->lock);
    struct ctr_service *kept = slot->kept;
    int64_t kept_revision = slot->kept_revision;
    if (kept)
        ctr_service_ref(kept);
    pthread_mutex_unlock(&slot->lock);
    if (!load(slot, kept, kept_revision, &app, &err))
        log_warn("app failed to load", LOG_STR("app", slot->entry.id), LOG_STR("path", slot->entry.path),
                 LOG_ERR(&err));
    int64_t now = clock_ms();
    pthread_mutex_lock(&slot->lock);
    if (!atomic_load(&slot->app)) {
        atomic_store_explicit(&slot->app, app, memory_order_release);
        app = NULL;
    }
    struct app *result = atomic_load(&slot->app);
    struct ctr_service *gone = NULL, *replaced = NULL;
    if (result) {
        app_ref(result); /* it may be unloaded before everybody has been told */
        gone = slot->kept;
        replaced = slot->kept_serves && gone != result->image ? gone : NULL;
        slot->kept = NULL;
    } else {
        err_set(&slot->failure, err.code, "%s", err_msg(&err));
        slot->retry_at_ms = now + MIN((now - begin) * RETRY_FACTOR, RETRY_MAX_MS);
    }
    struct slot_waiter *waiters = take_waiters(slot);
    pthread_mutex_unlock(&slot->lock);
    app_unref(app); /* a deploy put its own in meanwhile */
    if (replaced)
        ctr_service_retire(replaced, REPLACED_DRAIN_SECS);
    ctr_service_unref(gone);
    ctr_service_unref(kept);
    answer_all(waiters, result, &err);
    app_unref(result);
    app_slot_unref(slot);
}

void app_slot_load(struct app_slot *slot, struct http_loop *loop, app_ready_fn ready, void *arg)
{
    struct slot_waiter *w = xcalloc(1, sizeof *w);
    *w = (struct slot_waiter){.loop = loop, .ready = ready, .arg = arg};
    pthread_mutex_lock(&slot->lock);
    w->app = atomic_load(&slot->app);
    if (w->app)
        app_ref(w->app);
    bool has_failed = !w->app && !slot->is_loading && clock_ms() < slot->retry_at_ms;
    bool is_first = !w->app && !has_failed && !slot->is_loading;
    if (has_failed)
        err_set(&w->err, slot->failure.code, "%s", err_msg(&slot->failure));
    bool is_answered = w->app || has_failed;
    if (!is_answered) {
        w->next = slot->waiters;
        slot->waiters = w;
        slot->is_loading = true;
    }
    pthread_mutex_unlock(&slot->lock);
    if (is_answered)
        answer(w);
    if (!is_first || jobs_submit(slot->env->jobs, load_job, app_slot_ref(slot)))
        return;
    scoped_err err = {0};
    err_set(&err, ERR_UNAVAILABLE, "the server is stopping or overloaded: try again");
    pthread_mutex_lock(&slot->lock);
    struct slot_waiter *waiters = take_waiters(slot);
    pthread_mutex_unlock(&slot->lock);
    answer_all(waiters, NULL, &err);
    app_slot_unref(slot);
}

/* A thread that waits for a load. */
struct blocked {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_done;
    struct app *app;
    struct err *err;
};

static void on_ready(struct http_loop *loop, struct app *app, const struct err *err, void *arg)
{
    struct blocked *b = arg;
    pthread_mutex_lock(&b->lock);
    if (app)
        b->app = app_ref(app);
    else
        err_set(b->err, err->code, "%s", err_msg(err));
    b->is_done = true;
    pthread_cond_signal(&b->ended);
    pthread_mutex_unlock(&b->lock);
}

bool app_slot_wait(struct app_slot *slot, struct app **app, struct err *err)
{
    struct blocked b = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER, .err = err};
    *app = slot_get(slot);
    if (*app) {
        atomic_store(&(*app)->touched_ms, clock_ms());
        return true;
    }
    app_slot_load(slot, NULL, on_ready, &b);
    pthread_mutex_lock(&b.lock);
    while (!b.is_done)
        pthread_cond_wait(&b.ended, &b.lock);
    pthread_mutex_unlock(&b.lock);
    if (b.app)
        *app = b.app;
    return b.app != NULL;
}

/* --- leaving --- */

bool app_slot_unload(struct app_slot *slot, int64_t idle_ms, struct arena *a, struct app_list *out)
{
    if (!app_slot_peek(slot) || slot->entry.is_dev)
        return false;
    pthread_mutex_lock(&slot->lock);
    struct app *app = atomic_load(&slot->app);
    bool leaves = app && !app->is_on_disk && app_is_idle(app, idle_ms);
    if (leaves) {
        if (app->image) {
            slot->kept = ctr_service_ref(app->image);
            slot->kept_serves = app->service != NULL;
            slot->kept_revision = app->entry.update_time;
        }
        atomic_store(&slot->app, NULL);
        *vec_push(a, out) = app;
    }
    pthread_mutex_unlock(&slot->lock);
    return leaves;
}

void app_slot_retire(struct app_slot *slot, struct app_slot *next, int drain_secs)
{
    struct app *app = slot_get(slot), *successor = next ? slot_get(next) : NULL;
    struct ctr_service *kept = NULL;
    pthread_mutex_lock(&slot->lock);
    if (!app && slot->kept && slot->kept_serves)
        kept = ctr_service_ref(slot->kept);
    pthread_mutex_unlock(&slot->lock);
    if (app && (!next || successor))
        app_retire(app, successor, drain_secs);
    if (kept && (!next || (successor && successor->service != kept)))
        ctr_service_retire(kept, drain_secs);
    ctr_service_unref(kept);
    app_unref(app);
    app_unref(successor);
}
