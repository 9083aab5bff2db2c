/* http/loop.c: loop threads: the mailbox, deferred calls, the timer wheel, the block pool, the date.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    TICK_MS = 100,
    WHEEL_SLOTS = 1024, /* 102 s ahead; timers further off are queued again when their slot comes */
    BLOCKS_KEPT = 256,  /* free blocks kept per loop: 4 MiB */
    LOOPS_MAX = 256,
};

struct letter {
    struct letter *next;
    void (*fn)(struct http_loop *, void *);
    void *arg;
};

struct at_close {
    struct at_close *next;
    void (*fn)(struct http_loop *, void *);
    void *arg;
};

struct free_block {
    struct free_block *next;
};

struct http_loop {
    /* Written by any thread. */
    _Atomic(struct letter *) mailbox; /* newest first */
    uv_async_t wake;

    /* Constant after the start. */
    struct http_loops *loops;
    unsigned index;
    pthread_t thread;

    /* The loop's thread only, from here on. */
    uv_loop_t uv;
    uv_idle_t idle;    /* active while `soon` is not empty */
    uv_timer_t ticker; /* active while timers are armed */
    struct http_soon *soon, **soon_end;
    void *data[HTTP_SLOT_COUNT];
    struct at_close *at_close;
    struct http_upstreams *upstreams;

    struct free_block *blocks;
    size_t block_count;
    char *scratch;

    int64_t date_until_ms; /* `date` is right before this uv time */
    char date[HTTP_DATE_LEN];

    struct http_timer *wheel[WHEEL_SLOTS];
    int64_t wheel_tick; /* every slot up to this tick has been run */
    size_t timer_count;
};

struct http_loops {
    unsigned len;
    struct http_loop *at[];
};

static _Thread_local struct http_loop *current;

/* The wheel. A timer is in the slot of tick slot_ms / TICK_MS, at or before its deadline's tick. Moving the
 * deadline later leaves it there; when the slot comes up it is queued again under its deadline. */

static void timer_unlink(struct http_timer *t)
{
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->next = NULL;
    t->link = NULL;
}

static void timer_insert(struct http_loop *loop, struct http_timer *t)
{
    int64_t tick = (t->deadline_ms + TICK_MS - 1) / TICK_MS;
    tick = MAX(tick, loop->wheel_tick + 1);
    tick = MIN(tick, loop->wheel_tick + WHEEL_SLOTS - 1);
    t->slot_ms = tick * TICK_MS;
    struct http_timer **slot = &loop->wheel[tick % WHEEL_SLOTS];
    t->next = *slot;
    t->link = slot;
    if (t->next)
        t->next->link = &t->next;
    *slot = t;
}

static void run_tick(struct http_loop *loop, int64_t tick, int64_t now)
{
    struct http_timer *due = loop->wheel[tick % WHEEL_SLOTS];
    loop->wheel[tick % WHEEL_SLOTS] = NULL;
    if (due)
        due->link = &due;
    /* One at a time from the front: a function may stop any timer of this list. */
    while (due) {
        struct http_timer *t = due;
        timer_unlink(t);
        if (t->deadline_ms > now) {
            timer_insert(loop, t);
            continue;
        }
        loop->timer_count--;
        t->fn(t);
    }
}

static void on_tick(uv_timer_t *ticker)
{
    struct http_loop *loop = ticker->data;
    int64_t now = (int64_t)uv_now(&loop->uv);
    int64_t until = now / TICK_MS;
    /* After a long stall once around the wheel meets every timer. */
    if (until - loop->wheel_tick > WHEEL_SLOTS)
        loop->wheel_tick = until - WHEEL_SLOTS;
    while (loop->wheel_tick < until) {
        loop->wheel_tick++;
        run_tick(loop, loop->wheel_tick, now);
    }
    if (loop->timer_count == 0)
        uv_timer_stop(&loop->ticker);
}

void http_timer_start(struct http_timer *t, struct http_loop *loop, int64_t after_ms,
                      void (*fn)(struct http_timer *))
{
    int64_t now = (int64_t)uv_now(&loop->uv);
    t->loop = loop;
    t->fn = fn;
    t->deadline_ms = now + MAX(after_ms, 0);
    if (t->link) {
        if (t->slot_ms <= t->deadline_ms)
            return;
        timer_unlink(t);
        loop->timer_count--;
    }
    if (loop->timer_count++ == 0 && !uv_is_active((uv_handle_t *)&loop->ticker)) {
        loop->wheel_tick = now / TICK_MS;
        uv_timer_start(&loop->ticker, on_tick, TICK_MS, TICK_MS);
    }
    timer_insert(loop, t);
}

void http_timer_stop(struct http_timer *t)
{
    if (!t->link)
        return;
    timer_unlink(t);
    t->loop->timer_count--;
}

/* Deferred calls. */

static void on_idle(uv_idle_t *idle)
{
    struct http_loop *loop = idle->data;
    /* Those that the calls add wait for the next turn, so that sockets get theirs. */
    struct http_soon *list = loop->soon;
    loop->soon = NULL;
    loop->soon_end = &loop->soon;
    if (list)
        list->link = &list;
    while (list) {
        struct http_soon *s = list;
        list = s->next;
        if (list)
            list->link = &list;
        s->next = NULL;
        s->link = NULL;
        s->fn(s);
    }
    if (!loop->soon)
        uv_idle_stop(&loop->idle);
}

void http_soon_start(struct http_loop *loop, struct http_soon *s, void (*fn)(struct http_soon *))
{
    s->fn = fn;
    if (s->link)
        return;
    if (!loop->soon)
        uv_idle_start(&loop->idle, on_idle);
    s->next = NULL;
    s->link = loop->soon_end;
    *loop->soon_end = s;
    loop->soon_end = &s->next;
}

void http_soon_stop(struct http_loop *loop, struct http_soon *s)
{
    if (!s->link)
        return;
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    else if (loop->soon_end == &s->next)
        loop->soon_end = s->link;
    s->next = NULL;
    s->link = NULL;
}

/* The mailbox: a stack that any thread pushes to and the loop takes whole. */

static void open_mail(struct http_loop *loop)
{
    struct letter *newest = atomic_exchange_explicit(&loop->mailbox, NULL, memory_order_acquire);
    struct letter *oldest = NULL;
    while (newest) {
        struct letter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct letter l = *oldest;
        free(oldest);
        oldest = l.next;
        l.fn(loop, l.arg);
    }
}

static void on_wake(uv_async_t *wake)
{
    open_mail(wake->data);
}

void http_loop_post(struct http_loop *loop, void (*fn)(struct http_loop *, void *), void *arg)
{
    struct letter *l = xmalloc(sizeof *l);
    l->fn = fn;
    l->arg = arg;
    struct letter *newest = atomic_load_explicit(&loop->mailbox, memory_order_relaxed);
    do
        l->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&loop->mailbox, &newest, l, memory_order_release,
                                                  memory_order_relaxed));
    /* Who finds the box empty wakes the loop; the others' letters are taken with that one. The letter itself
     * may be gone by now. */
    if (!newest)
        uv_async_send(&loop->wake);
}

struct gathering {
    pthread_mutex_t lock;
    pthread_cond_t all_done;
    unsigned left;
    void (*fn)(struct http_loop *, void *);
    void *arg;
};

static void run_gathered(struct http_loop *loop, void *arg)
{
    struct gathering *g = arg;
    g->fn(loop, g->arg);
    pthread_mutex_lock(&g->lock);
    if (--g->left == 0)
        pthread_cond_signal(&g->all_done);
    pthread_mutex_unlock(&g->lock);
}

void http_loops_run(struct http_loops *loops, void (*fn)(struct http_loop *, void *), void *arg)
{
    assert(!current);
    struct gathering g = {.left = loops->len, .fn = fn, .arg = arg};
    pthread_mutex_init(&g.lock, NULL);
    pthread_cond_init(&g.all_done, NULL);
    for (unsigned i = 0; i < loops->len; i++)
        http_loop_post(loops->at[i], run_gathered, &g);
    pthread_mutex_lock(&g.lock);
    while (g.left > 0)
        pthread_cond_wait(&g.all_done, &g.lock);
    pthread_mutex_unlock(&g.lock);
    pthread_cond_destroy(&g.all_done);
    pthread_mutex_destroy(&g.lock);
}

void http_loop_at_close(struct http_loop *loop, void (*fn)(struct http_loop *, void *), void *arg)
{
    struct at_close *c = xmalloc(sizeof *c);
    *c = (struct at_close){.next = loop->at_close, .fn = fn, .arg = arg};
    loop->at_close = c;
}

/* Life. */

static void close_left_over(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void *loop_main(void *arg)
{
    struct http_loop *loop = arg;
    current = loop;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    open_mail(loop);
    while (loop->at_close) {
        struct at_close *c = loop->at_close;
        loop->at_close = c->next;
        c->fn(loop, c->arg);
        free(c);
    }
    open_mail(loop);
    /* The ends of streams that those functions closed are still under way. */
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    uv_walk(&loop->uv, close_left_over, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    current = NULL;
    return NULL;
}

static void loop_free(struct http_loop *loop)
{
    while (loop->blocks) {
        struct free_block *b = loop->blocks;
        loop->blocks = b->next;
        free(b);
    }
    free(loop->scratch);
    free(loop);
}

static void stop_loop(struct http_loop *loop, void *arg)
{
    (void)arg;
    uv_stop(&loop->uv);
}

static struct http_loop *loop_new(struct http_loops *loops, unsigned index, struct err *err)
{
    struct http_loop *loop = xcalloc(1, sizeof *loop);
    int failed = uv_loop_init(&loop->uv);
    if (failed) {
        free(loop);
        err_set(err, ERR_INTERNAL, "starting an event loop: %s", uv_strerror(failed));
        return NULL;
    }
    loop->loops = loops;
    loop->index = index;
    loop->soon_end = &loop->soon;
    loop->scratch = xmalloc(HTTP_BLOCK);
    uv_async_init(&loop->uv, &loop->wake, on_wake);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->ticker);
    loop->wake.data = loop->idle.data = loop->ticker.data = loop;
    return loop;
}

/* For a loop without a thread. */
static void loop_unmake(struct http_loop *loop)
{
    uv_walk(&loop->uv, close_left_over, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(&loop->uv);
    loop_free(loop);
}

static unsigned cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (unsigned)MAX(CPU_COUNT(&set), 1);
}

struct http_loops *http_loops_open(unsigned n, struct err *err)
{
    if (n == 0)
        n = cpu_count();
    n = MIN(n, (unsigned)LOOPS_MAX);
    struct http_loops *loops = xcalloc(1, sizeof *loops + n * sizeof loops->at[0]);
    /* Signals are the main thread's business; blocked, SIGPIPE from a TLS write does no harm either. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (; loops->len < n; loops->len++) {
        struct http_loop *loop = loop_new(loops, loops->len, err);
        if (!loop)
            break;
        int failed = pthread_create(&loop->thread, NULL, loop_main, loop);
        if (failed) {
            err_set_errno(err, failed, "starting loop thread %u", loops->len);
            loop_unmake(loop);
            break;
        }
        char name[16];
        snprintf(name, sizeof name, "loop-%u", loops->len);
        pthread_setname_np(loop->thread, name);
        loops->at[loops->len] = loop;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (loops->len < n) {
        http_loops_close(loops);
        return NULL;
    }
    return loops;
}

void http_loops_close(struct http_loops *loops)
{
    if (!loops)
        return;
    assert(!current);
    for (unsigned i = 0; i < loops->len; i++)
        http_loop_post(loops->at[i], stop_loop, NULL);
    for (unsigned i = 0; i < loops->len; i++)
        pthread_join(loops->at[i]->thread, NULL);
    for (unsigned i = 0; i < loops->len; i++) {
        struct http_loop *loop = loops->at[i];
        if (uv_loop_close(&loop->uv) != 0)
            BUG("loop %u closed with handles open", i);
        loop_free(loop);
    }
    free(loops);
}

/* Lookups. */

unsigned http_loops_len(const struct http_loops *loops)
{
    return loops->len;
}

struct http_loop *http_loops_at(struct http_loops *loops, unsigned i)
{
    assert(i < loops->len);
    return loops->at[i];
}

unsigned http_loop_index(const struct http_loop *loop)
{
    return loop->index;
}

struct http_loops *http_loop_all(const struct http_loop *loop)
{
    return loop->loops;
}

struct http_loop *http_loop_current(void)
{
    return current;
}

struct uv_loop_s *http_loop_uv(struct http_loop *loop)
{
    return &loop->uv;
}

void *http_loop_data(const struct http_loop *loop, enum http_slot slot)
{
    return loop->data[slot];
}

void http_loop_set_data(struct http_loop *loop, enum http_slot slot, void *data)
{
    loop->data[slot] = data;
}

struct http_upstreams **http_loop_upstreams(struct http_loop *loop)
{
    return &loop->upstreams;
}

int64_t http_loop_now_ms(const struct http_loop *loop)
{
    return (int64_t)uv_now(&loop->uv);
}

void http_date_format(int64_t unix_secs, char out[HTTP_DATE_LEN])
{
    char text[TIME_TEXT_MAX];
    time_format_http(text, unix_secs);
    memcpy(out, text, HTTP_DATE_LEN);
}

struct str http_loop_date(struct http_loop *loop)
{
    int64_t now = (int64_t)uv_now(&loop->uv);
    if (UNLIKELY(now >= loop->date_until_ms)) {
        int64_t wall_ms = wall_ns() / 1000000;
        http_date_format(wall_ms / 1000, loop->date);
        loop->date_until_ms = now + 1000 - wall_ms % 1000;
    }
    return str_of(loop->date, HTTP_DATE_LEN);
}

/* Blocks. Under AddressSanitizer they go back to malloc at once, so that use after return is seen. */

char *http_block_get(struct http_loop *loop)
{
    struct free_block *b = loop->blocks;
    if (!b)
        return xmalloc(HTTP_BLOCK);
    loop->blocks = b->next;
    loop->block_count--;
    return (char *)b;
}

void http_block_put(struct http_loop *loop, char *block)
{
#if defined(__SANITIZE_ADDRESS__)
    free(block);
    return;
#endif
    if (loop->block_count >= BLOCKS_KEPT) {
        free(block);
        return;
    }
    struct free_block *b = (struct free_block *)(void *)block;
    b->next = loop->blocks;
    loop->blocks = b;
    loop->block_count++;
}

static void slim(struct http_loop *loop, void *arg)
{
    while (loop->blocks) {
        struct free_block *b = loop->blocks;
        loop->blocks = b->next;
        free(b);
    }
    loop->block_count = 0;
}

void http_loops_slim(struct http_loops *loops)
{
    http_loops_run(loops, slim, NULL);
}

char *http_loop_scratch(struct http_loop *loop)
{
    return loop->scratch;
}
