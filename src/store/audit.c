/* store/audit.c: the audit trail's writer: a lock-free queue in front of one thread that commits in groups.
 *
 *     producers --push--> stack (newest first) --take all, reverse--> backlog --group--> one transaction
 *
 * 1. Every event is counted in `added` before it is pushed, and in `done` after it was committed or given up.
 *    The thread handles events in the order of their pushes, so once `done` has reached what `added` was at
 *    some moment, everything that had been pushed by then is done: that is all that flush waits for.
 * 2. `queued` and `queued_bytes` are raised before the push and lowered when done: the queue is bounded.
 * 3. A producer posts the semaphore when its push made the stack non-empty or the group full; so the thread
 *    never sleeps on a non-empty stack for longer than STORE_AUDIT_GROUP_MS.
 *
 * A group that cannot be committed because of the disk is kept and tried again, at growing intervals, while
 * the queue fills up behind it; events are only lost when the queue is full, and then they are counted and a row
 * says so. The semaphore and the atomics are the only things a producer touches.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "store_int.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    TEXT_MAX = 1 << 10,            /* of every field but target and detail */
    RETRY_FIRST_MS = 100,
    RETRY_LAST_MS = 5000,
};

struct item {
    struct item *next;
    size_t bytes;
    struct store_audit_event event;
    char text[];
};

struct audit {
    struct db *db;
    pthread_t thread;
    sem_t wake;

    _Atomic(struct item *) stack;
    atomic_int_fast64_t added, queued, queued_bytes, dropped;
    atomic_bool is_closing;
    atomic_int flushing;           /* callers of flush that wait: no group waits to fill */

    pthread_mutex_t lock;          /* guards what follows and the waiting for it */
    pthread_cond_t progress;
    int64_t done, written, commits, failed_commits;
    struct err last_error;         /* of the newest failed commit */

    /* The thread's own. */
    struct item *first, **last;    /* backlog, oldest first */
    int64_t backlog, dropped_reported;
};

/* --- producers --- */

static struct item *item_new(const struct store_audit_event *e)
{
    struct store_audit_event ev = *e;
    struct str *const fields[] = {&ev.rid, &ev.app_id, &ev.user_id, &ev.event_type, &ev.operation, &ev.status,
                                  &ev.target, &ev.detail};
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        *fields[i] = str_clip(*fields[i], i < 6 ? TEXT_MAX : STORE_AUDIT_DETAIL_MAX);
        len += fields[i]->len;
    }
    struct item *item = xmalloc(sizeof *item + len);
    char *at = item->text;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (fields[i]->len > 0)
            memcpy(at, fields[i]->ptr, fields[i]->len);
        fields[i]->ptr = at;
        at += fields[i]->len;
    }
    if (!ev.create_time)
        ev.create_time = wall_ns();
    item->next = NULL;
    item->bytes = sizeof *item + len;
    item->event = ev;
    return item;
}

/* Takes a place in the queue (inv. 2). */
static bool reserve(struct audit *a, size_t bytes, int64_t *place)
{
    *place = atomic_fetch_add(&a->queued, 1);
    int64_t before = atomic_fetch_add(&a->queued_bytes, (int64_t)bytes);
    if (*place < STORE_AUDIT_QUEUE_MAX && before < STORE_AUDIT_QUEUE_BYTES)
        return true;
    atomic_fetch_sub(&a->queued, 1);
    atomic_fetch_sub(&a->queued_bytes, (int64_t)bytes);
    return false;
}

static bool push(struct audit *a, struct item *item)
{
    int64_t place;
    if (!reserve(a, item->bytes, &place))
        return false;
    atomic_fetch_add(&a->added, 1); /* inv. 1 */
    struct item *top = atomic_load(&a->stack);
    do
        item->next = top;
    while (!atomic_compare_exchange_weak(&a->stack, &top, item));
    if (!top || place + 1 == STORE_AUDIT_GROUP)
        sem_post(&a->wake); /* inv. 3 */
    return true;
}

bool store_audit_add(struct store *s, const struct store_audit_event *e)
{
    struct item *item = item_new(e);
    if (push(s->audit, item))
        return true;
    free(item);
    atomic_fetch_add(&s->audit->dropped, 1);
    return false;
}

static struct timespec deadline_in(int64_t ms)
{
    int64_t ns = clock_ns() + ms * 1000000;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

void store_audit_add_wait(struct store *s, const struct store_audit_event *e)
{
    struct audit *a = s->audit;
    struct item *item = item_new(e);
    while (!push(a, item)) {
        struct timespec soon = deadline_in(STORE_AUDIT_GROUP_MS * 4);
        pthread_mutex_lock(&a->lock);
        pthread_cond_timedwait(&a->progress, &a->lock, &soon);
        pthread_mutex_unlock(&a->lock);
    }
}

bool store_audit_flush(struct store *s, struct err *err)
{
    struct audit *a = s->audit;
    int64_t target = atomic_load(&a->added);
    atomic_fetch_add(&a->flushing, 1);
    sem_post(&a->wake);
    pthread_mutex_lock(&a->lock);
    int64_t failed_before = a->failed_commits;
    while (a->done < target && a->failed_commits == failed_before)
        pthread_cond_wait(&a->progress, &a->lock);
    bool is_ok = a->done >= target || err_set(err, a->last_error.code, "writing audit events: %s",
                                              err_msg(&a->last_error));
    pthread_mutex_unlock(&a->lock);
    atomic_fetch_sub(&a->flushing, 1);
    return is_ok;
}

void store_audit_stats(struct store *s, struct store_audit_stats *out)
{
    struct audit *a = s->audit;
    pthread_mutex_lock(&a->lock);
    *out = (struct store_audit_stats){
        .queued = atomic_load(&a->queued),
        .dropped = atomic_load(&a->dropped),
        .written = a->written,
        .commits = a->commits,
        .failed_commits = a->failed_commits,
    };
    pthread_mutex_unlock(&a->lock);
}

/* --- the thread --- */

static void take_stack(struct audit *a)
{
    struct item *newest = atomic_exchange(&a->stack, NULL), *oldest = NULL;
    while (newest) {
        struct item *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    *a->last = oldest;
    for (; oldest; oldest = oldest->next) {
        a->last = &oldest->next;
        a->backlog++;
    }
}

static bool insert(struct db_tx *tx, const struct store_audit_event *e, struct err *err)
{
    return db_exec(tx,
                   "INSERT INTO audit (rid, app_id, create_time, user_id, event_type, operation, target, status, "
                   "detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   DB_ARGS(DB_TEXT(e->rid), DB_TEXT(e->app_id), DB_INT(e->create_time), DB_TEXT(e->user_id),
                           DB_TEXT(e->event_type), DB_TEXT(e->operation), DB_TEXT(e->target), DB_TEXT(e->status),
                           DB_TEXT(e->detail)), NULL, err);
}

/* The row that tells of lost events, if some were since the last one. */
static bool insert_dropped(struct db_tx *tx, int64_t n, struct err *err)
{
    char detail[96];
    snprintf(detail, sizeof detail, "%lld events were not recorded: the queue was full", (long long)n);
    return n == 0 || insert(tx, &(struct store_audit_event){
        .event_type = STR("system"), .operation = STR("audit_dropped"), .status = STR("Failed"),
        .user_id = STR("admin"), .detail = str_from(detail), .create_time = wall_ns()}, err);
}

static bool commit_items(struct audit *a, int64_t n, int64_t dropped, struct err *err)
{
    scoped_db_tx *tx = db_begin(a->db, err);
    if (!tx)
        return false;
    const struct item *item = a->first;
    for (int64_t i = 0; i < n; i++, item = item->next)
        if (!insert(tx, &item->event, err))
            return false;
    return insert_dropped(tx, dropped, err) && db_commit(&tx, err);
}

/* Ends the first `n` events of the backlog, written or given up. */
static void finish(struct audit *a, int64_t n, bool is_written)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        struct item *item = a->first;
        a->first = item->next;
        bytes += (int64_t)item->bytes;
        free(item);
    }
    if (!a->first)
        a->last = &a->first;
    a->backlog -= n;
    atomic_fetch_sub(&a->queued, n);
    atomic_fetch_sub(&a->queued_bytes, bytes);
    if (!is_written)
        atomic_fetch_add(&a->dropped, n);
    pthread_mutex_lock(&a->lock);
    a->done += n;
    a->written += is_written ? n : 0;
    a->commits += is_written;
    pthread_cond_broadcast(&a->progress);
    pthread_mutex_unlock(&a->lock);
}

static void note_failure(struct audit *a, struct err *err)
{
    pthread_mutex_lock(&a->lock);
    a->failed_commits++;
    err_move(&a->last_error, err);
    pthread_cond_broadcast(&a->progress);
    pthread_mutex_unlock(&a->lock);
}

/* True for what may pass (a full disk, a locked file), false for what is wrong with the rows themselves. */
static bool may_pass(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_INTERNAL;
}

/* Commits the oldest events, `n` together; one by one when a row among them is refused. False, with the events
 * still in the backlog, when it should be tried again later. */
static bool write_group(struct audit *a, int64_t n)
{
    scoped_err err = {0};
    int64_t dropped = atomic_load(&a->dropped);
    if (commit_items(a, n, dropped - a->dropped_reported, &err)) {
        a->dropped_reported = dropped;
        finish(a, n, true);
        return true;
    }
    bool retry = may_pass(err.code);
    if (!retry && n == 1) {
        log_error("an audit event was refused", LOG_ERR(&err));
        note_failure(a, &err);
        finish(a, 1, false);
        return true;
    }
    note_failure(a, &err);
    for (int64_t i = 0; !retry && i < n; i++)
        retry = !write_group(a, 1);
    return !retry;
}

/* Lets a group fill up, unless somebody waits for it. */
static void gather(struct audit *a)
{
    struct timespec deadline = deadline_in(STORE_AUDIT_GROUP_MS);
    while (atomic_load(&a->queued) < STORE_AUDIT_GROUP && !atomic_load(&a->is_closing) &&
           atomic_load(&a->flushing) == 0)
        if (sem_clockwait(&a->wake, CLOCK_MONOTONIC, &deadline) != 0 && errno == ETIMEDOUT)
            break;
    take_stack(a);
}

/* Writes the whole backlog; false after a failure that may pass. */
static bool drain(struct audit *a)
{
    while (a->backlog > 0) {
        int64_t most = a->backlog >= STORE_AUDIT_GROUP_BUSY ? STORE_AUDIT_GROUP_BUSY : STORE_AUDIT_GROUP;
        if (!write_group(a, MIN(a->backlog, most)))
            return false;
        take_stack(a);
    }
    return true;
}

static void give_up(struct audit *a)
{
    log_error("audit events were lost at shutdown", LOG_INT("events", a->backlog), LOG_ERR(&a->last_error));
    finish(a, a->backlog, false);
}

static void *run(void *arg)
{
    struct audit *a = arg;
    int64_t retry_ms = 0;
    for (;;) {
        if (retry_ms > 0) {
            struct timespec deadline = deadline_in(retry_ms);
            while (!atomic_load(&a->is_closing) &&
                   (sem_clockwait(&a->wake, CLOCK_MONOTONIC, &deadline) == 0 || errno == EINTR))
                ;
        } else if (!atomic_load(&a->is_closing)) {
            sem_wait(&a->wake);
        }
        bool is_closing = atomic_load(&a->is_closing); /* nothing is added after it */
        gather(a);
        if (drain(a)) {
            if (retry_ms > 0)
                log_info("audit events are written again");
            retry_ms = 0;
        } else {
            if (retry_ms == 0)
                log_error("audit events cannot be written; they are kept and tried again",
                          LOG_ERR(&a->last_error));
            retry_ms = retry_ms ? MIN(retry_ms * 2, RETRY_LAST_MS) : RETRY_FIRST_MS;
        }
        if (is_closing) {
            if (a->backlog > 0)
                give_up(a);
            return NULL;
        }
    }
}

/* --- life --- */

struct audit *audit_open(struct db *db)
{
    struct audit *a = xcalloc(1, sizeof *a);
    a->db = db;
    a->last = &a->first;
    sem_init(&a->wake, 0, 0);
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->progress, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&a->thread, NULL, run, a);
    if (rc != 0)
        BUG("no thread for the audit writer: %s", strerror(rc));
    pthread_setname_np(a->thread, "audit");
    return a;
}

void audit_close(struct audit *a)
{
    if (!a)
        return;
    atomic_store(&a->is_closing, true);
    sem_post(&a->wake);
    pthread_join(a->thread, NULL);
    sem_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->progress);
    err_release(&a->last_error);
    free(a);
}
