/* base/jobs.c: one lock, one queue, threads that come and go.
 *
 * Invariants, under `lock`:
 * 1. A queued job has a thread that will take it: a thread ends only when the queue is empty.
 * 2. lane->active is the number of the lane's jobs that are in the common queue or running, at most max_at_once;
 *    jobs wait in lane->queue only while it is that many.
 * 3. Work goes to the thread that has become idle last. So those that are not needed stay idle, and end, even if a job
 *    comes every second; and a job finds warm caches.
 * 4. A thread that ends joins the one that ended before it, so at most one stack waits for that.
 * SPDX-License-Identifier: Apache-2.0 */
#include "jobs.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAITING_MAX = 65536, IDLE_MS = 10000, LIFE_MS = 20000 };

struct job {
    struct job *next;
    void (*fn)(void *arg);
    void *arg;
    struct jobs_lane *lane; /* NULL: none */
};

struct job_queue {
    struct job *first, **last; /* `last`: where the next one is linked */
    size_t len;
};

struct jobs_lane {
    struct jobs_lane *next;
    struct jobs *jobs;
    struct job_queue queue;
    unsigned active, max_at_once;
};

struct job_thread {
    struct jobs *jobs;
    pthread_cond_t wake;           /* it is no longer idle, or closing */
    bool is_idle;                  /* in jobs->idle_first */
    struct job_thread *next, **at; /* there */
    bool is_live;
    int64_t born_ms;
};

struct jobs {
    pthread_mutex_t lock;
    struct job_queue queue;
    size_t waiting;             /* here and in lanes */
    size_t running;
    struct jobs_lane *lanes;
    atomic_bool closing;
    unsigned idle, live, max;   /* idle: or told to wake, and not yet awake */
    pthread_cond_t all_ended;   /* live is 0 */
    bool has_ended;             /* one has, and nobody has joined it */
    pthread_t ended;            /* that */
    struct job_thread *idle_first; /* newest first */
    int64_t idle_ms;            /* after so long without work a thread ends, */
    int64_t life_ms;            /*   or so long after its start: what the C library keeps for it is freed then */
    char name[16];
    struct job_thread threads[]; /* [max] */
};

static void push(struct job_queue *q, struct job *job)
{
    job->next = NULL;
    if (!q->first)
        q->last = &q->first;
    *q->last = job;
    q->last = &job->next;
    q->len++;
}

static struct job *pop(struct job_queue *q)
{
    struct job *job = q->first;
    if (job) {
        q->first = job->next;
        q->len--;
    }
    return job;
}

static void idle_add(struct jobs *j, struct job_thread *t)
{
    t->is_idle = true;
    t->next = j->idle_first;
    t->at = &j->idle_first;
    if (t->next)
        t->next->at = &t->next;
    j->idle_first = t;
}

static void idle_remove(struct job_thread *t)
{
    t->is_idle = false;
    *t->at = t->next;
    if (t->next)
        t->next->at = t->at;
}

/* Some thread is to look at the queue; if all are told already, one of them will. */
static void wake_one(struct jobs *j)
{
    struct job_thread *t = j->idle_first;
    if (!t)
        return;
    idle_remove(t);
    pthread_cond_signal(&t->wake);
}

/* Waits for work; false when there was none for idle_ms, or the thread is old. */
static bool wait_for_work(struct jobs *j, struct job_thread *t)
{
    if (clock_ms() - t->born_ms >= j->life_ms)
        return false;
    int64_t until_ns = clock_ns() + j->idle_ms * 1000000;
    bool is_time_left = true;
    j->idle++;
    idle_add(j, t);
    while (t->is_idle && !atomic_load(&j->closing) && is_time_left)
        is_time_left = cond_wait_until(&t->wake, &j->lock, until_ns);
    bool was_told = !t->is_idle;
    if (!was_told)
        idle_remove(t);
    j->idle--;
    return j->queue.first || (was_told && !atomic_load(&j->closing));
}

static void finish(struct jobs *j, struct jobs_lane *lane)
{
    j->running--;
    if (!lane)
        return;
    struct job *next = pop(&lane->queue);
    if (next)
        push(&j->queue, next); /* this thread looks at the queue next (inv. 1) */
    else
        lane->active--;
}

static void *thread_main(void *arg)
{
    struct job_thread *t = arg;
    struct jobs *j = t->jobs;
    pthread_setname_np(pthread_self(), j->name);
    pthread_mutex_lock(&j->lock);
    while (j->queue.first || wait_for_work(j, t)) {
        struct job *job = pop(&j->queue);
        if (!job)
            continue;
        j->waiting--;
        j->running++;
        pthread_mutex_unlock(&j->lock);
        job->fn(job->arg);
        struct jobs_lane *lane = job->lane;
        free(job);
        pthread_mutex_lock(&j->lock);
        finish(j, lane);
    }
    bool has_before = j->has_ended;
    pthread_t before = j->ended;
    j->has_ended = true;
    j->ended = pthread_self();
    t->is_live = false;
    if (--j->live == 0)
        pthread_cond_signal(&j->all_ended);
    pthread_mutex_unlock(&j->lock);
    if (has_before)
        pthread_join(before, NULL); /* it has left its last critical section, so this does not wait for long */
    return NULL;
}

/* Signals are for the main thread; those that a fault raises stay with whoever made it. */
static int create_thread(struct job_thread *t)
{
    sigset_t all, old;
    sigfillset(&all);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t thread;
    int e = pthread_create(&thread, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e;
}

static bool start_thread(struct jobs *j)
{
    for (unsigned i = 0; i < j->max; i++) {
        struct job_thread *t = &j->threads[i];
        if (t->is_live)
            continue;
        t->jobs = j;
        t->born_ms = clock_ms();
        t->is_live = create_thread(t) == 0;
        j->live += t->is_live;
        return t->is_live;
    }
    return false;
}

struct jobs *jobs_open(const char *name, unsigned max_threads)
{
    unsigned max = MAX(max_threads, 1);
    struct jobs *j = xcalloc(1, sizeof *j + max * sizeof j->threads[0]);
    j->max = max;
    j->idle_ms = IDLE_MS;
    j->life_ms = LIFE_MS;
    snprintf(j->name, sizeof j->name, "%s", name);
    for (unsigned i = 0; i < max; i++)
        pthread_cond_init(&j->threads[i].wake, NULL);
    pthread_cond_init(&j->all_ended, NULL);
    pthread_mutex_init(&j->lock, NULL);
    return j;
}

static bool submit(struct jobs *j, struct jobs_lane *lane, void (*fn)(void *arg), void *arg)
{
    struct job *job = xmalloc(sizeof *job);
    *job = (struct job){.fn = fn, .arg = arg, .lane = lane};
    pthread_mutex_lock(&j->lock);
    bool ok = !atomic_load(&j->closing) && j->waiting < WAITING_MAX;
    bool lane_full = lane && lane->active == lane->max_at_once;
    if (ok && !lane_full && j->queue.len >= j->idle && j->live < j->max)
        ok = start_thread(j) || j->live > 0;
    if (ok) {
        j->waiting++;
        if (lane && !lane_full)
            lane->active++;
        push(lane_full ? &lane->queue : &j->queue, job);
        if (!lane_full)
            wake_one(j);
    }
    pthread_mutex_unlock(&j->lock);
    if (!ok)
        free(job);
    return ok;
}

bool jobs_submit(struct jobs *j, void (*fn)(void *arg), void *arg)
{
    return submit(j, NULL, fn, arg);
}

struct jobs_lane *jobs_lane_new(struct jobs *j, unsigned max_at_once)
{
    struct jobs_lane *l = xcalloc(1, sizeof *l);
    l->jobs = j;
    l->max_at_once = MAX(max_at_once, 1);
    pthread_mutex_lock(&j->lock);
    l->next = j->lanes;
    j->lanes = l;
    pthread_mutex_unlock(&j->lock);
    return l;
}

bool jobs_lane_submit(struct jobs_lane *l, void (*fn)(void *arg), void *arg)
{
    return submit(l->jobs, l, fn, arg);
}

bool jobs_is_closing(const struct jobs *j)
{
    return atomic_load(&j->closing);
}

size_t jobs_pending(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    size_t n = j->waiting + j->running;
    pthread_mutex_unlock(&j->lock);
    return n;
}

void jobs_close(struct jobs *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    atomic_store(&j->closing, true);
    while (j->idle_first)
        wake_one(j);
    /* Nothing can be submitted any more, so no thread starts, and the live ones end by themselves; the last one has joined
     * all others, in turn (inv. 4). */
    while (j->live > 0)
        pthread_cond_wait(&j->all_ended, &j->lock);
    pthread_mutex_unlock(&j->lock);
    if (j->has_ended)
        pthread_join(j->ended, NULL);
    while (j->lanes) {
        struct jobs_lane *l = j->lanes;
        j->lanes = l->next;
        free(l);
    }
    for (unsigned i = 0; i < j->max; i++)
        pthread_cond_destroy(&j->threads[i].wake);
    pthread_cond_destroy(&j->all_ended);
    pthread_mutex_destroy(&j->lock);
    free(j);
}
