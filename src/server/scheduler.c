/* server/scheduler.c: one thread that sleeps until the next function is due.
 *
 * `is_closing` is the only thing that two threads touch while the thread runs, and the lock guards it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "scheduler.h"

#include <pthread.h>
#include <stdlib.h>

struct entry {
    scheduler_fn *fn;
    void *arg;
    int64_t interval_ms, due_ms; /* clock_ms() */
};

struct scheduler {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_closing; /* guarded by `lock` */
    pthread_t thread;
    bool has_thread;
    struct entry entries[SCHEDULER_MAX];
    size_t len;
};

struct scheduler *scheduler_open(void)
{
    struct scheduler *s = xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    return s;
}

void scheduler_every(struct scheduler *s, int64_t interval_ms, scheduler_fn *fn, void *arg)
{
    if (s->len == SCHEDULER_MAX || s->has_thread)
        BUG("scheduler: too many functions, or too late");
    s->entries[s->len++] = (struct entry){.fn = fn, .arg = arg, .interval_ms = MAX(interval_ms, 1)};
}

static struct entry *next_due(struct scheduler *s)
{
    struct entry *next = &s->entries[0];
    for (size_t i = 1; i < s->len; i++)
        if (s->entries[i].due_ms < next->due_ms)
            next = &s->entries[i];
    return next;
}

/* Sleeps until `due_ms`; false when the end has come. */
static bool sleep_until(struct scheduler *s, int64_t due_ms)
{
    pthread_mutex_lock(&s->lock);
    while (!s->is_closing && clock_ms() < due_ms)
        cond_wait_until(&s->changed, &s->lock, due_ms * 1000000);
    bool goes_on = !s->is_closing;
    pthread_mutex_unlock(&s->lock);
    return goes_on;
}

static void *run(void *arg)
{
    struct scheduler *s = arg;
    int64_t now = clock_ms();
    for (size_t i = 0; i < s->len; i++)
        s->entries[i].due_ms = now + s->entries[i].interval_ms;
    for (;;) {
        struct entry *e = next_due(s);
        if (!sleep_until(s, e->due_ms))
            return NULL;
        e->fn(e->arg);
        e->due_ms = MAX(e->due_ms + e->interval_ms, clock_ms());
    }
}

bool scheduler_start(struct scheduler *s, struct err *err)
{
    if (s->len == 0)
        return true;
    int failed = pthread_create(&s->thread, NULL, run, s);
    if (failed)
        return err_set_errno(err, failed, "starting the scheduler's thread");
    s->has_thread = true;
    return true;
}

void scheduler_close(struct scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_closing = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
