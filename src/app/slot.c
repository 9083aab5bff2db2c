/* app/slot.c: an app of the site, loaded on a job thread when it is first asked for.
 *
 *   EMPTY --load--> LOADING --ok--> LOADED
 *     ^------------failed----'
 *
 * 1. `app` is written once, under the lock, and read without it.
 * 2. Waiters exist only while LOADING; whoever ends it takes them all.
 * 3. Of the entry it keeps what the site needs to know; the rest is read when the app is loaded. If by then it is a
 * newer one, that is loaded, unless who may use the app has changed with it: then the site with the next slot is
 * about to come.
 * 4. A failure is the answer for ten times as long as the attempt took, so that a broken app that many ask
 * for cannot keep job threads busy; the next one to ask after that tries again. SPDX-License-Identifier:
 * Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

enum { RETRY_FACTOR = 10, RETRY_MAX_MS = 5000 };

struct slot_waiter {
    struct slot_waiter *next;
    struct http_loop *loop; /* NULL: on whatever thread ends the load */
    app_ready_fn ready;
    void *arg;
    struct app *app; /* the result; the slot keeps it alive */
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
    struct app_slot *slot = xcalloc(1, sizeof *slot + own_texts(&own, NULL));
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
    pthread_mutex_destroy(&slot->lock);
    err_release(&slot->failure);
    free(slot);
}

const struct store_brief *app_slot_entry(const struct app_slot *slot)
{
    return &slot->entry;
}

struct app *app_slot_peek(struct app_slot *slot)
{
    return atomic_load_explicit(&slot->app, memory_order_acquire);
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
        w->app = app;
        if (!app)
            err_set(&w->err, err->code, "%s", err_msg(err));
        answer(w);
        w = next;
    }
}

/* Loads what the store has now (inv. 3). */
static bool load(const struct app_slot *slot, struct app **app, struct err *err)
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
    return app_load(slot->env, &entry, NULL, app, err);
}

static void load_job(void *arg)
{
    struct app_slot *slot = arg;
    scoped_err err = {0};
    struct app *app = NULL;
    int64_t begin = clock_ms();
    if (!load(slot, &app, &err))
        log_warn("app failed to load", LOG_STR("app", slot->entry.id), LOG_STR("path", slot->entry.path),
                 LOG_ERR(&err));
    int64_t now = clock_ms();
    pthread_mutex_lock(&slot->lock);
    if (!atomic_load(&slot->app)) {
        atomic_store_explicit(&slot->app, app, memory_order_release);
        app = NULL;
    }
    struct app *result = atomic_load(&slot->app);
    if (!result) {
        err_set(&slot->failure, err.code, "%s", err_msg(&err));
        slot->retry_at_ms = now + MIN((now - begin) * RETRY_FACTOR, RETRY_MAX_MS);
    }
    struct slot_waiter *waiters = take_waiters(slot);
    pthread_mutex_unlock(&slot->lock);
    if (app)
        app_unref(app); /* a deploy put its own in meanwhile */
    answer_all(waiters, result, &err);
    app_slot_unref(slot);
}

void app_slot_load(struct app_slot *slot, struct http_loop *loop, app_ready_fn ready, void *arg)
{
    struct slot_waiter *w = xcalloc(1, sizeof *w);
    *w = (struct slot_waiter){.loop = loop, .ready = ready, .arg = arg};
    pthread_mutex_lock(&slot->lock);
    w->app = atomic_load(&slot->app);
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
    struct app *loaded = app_slot_peek(slot);
    if (loaded) {
        *app = app_ref(loaded);
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
