/* http/http_loop.h: event loops: threads that own connections and never block; posting, data slots, timers.
 *
 * Each loop is one thread. What takes a `struct http_loop *` belongs to that thread, except http_loop_post()
 * and the plain lookups; functions on all loops are for control threads, never for a loop thread.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_LOOP_H
#define HTTP_LOOP_H

#include "base.h"

struct http_loops;
struct http_loop;
struct uv_loop_s;

/* Starts `n` loop threads (0: one per CPU that this process may use). They run, with all signals blocked,
 * until http_loops_close(). Fails if a thread or descriptor cannot be had. */
struct http_loops *http_loops_open(unsigned n, struct err *err);
/* Runs what was posted, then the http_loop_at_close() functions, and joins the threads. Servers on
 * these loops must have been closed. */
void http_loops_close(struct http_loops *loops);

unsigned http_loops_len(const struct http_loops *loops);
struct http_loop *http_loops_at(struct http_loops *loops, unsigned i);
unsigned http_loop_index(const struct http_loop *loop);
struct http_loops *http_loop_all(const struct http_loop *loop);
/* The loop whose thread is running, NULL on other threads. */
struct http_loop *http_loop_current(void);
/* For timers, child processes and file watching of the loop's owner thread. */
struct uv_loop_s *http_loop_uv(struct http_loop *loop);

/* From any thread: calls fn(loop, arg) on the loop's thread soon, in the order posted by one thread.
 * From the loop's own thread too: then after the current callback has returned. */
void http_loop_post(struct http_loop *loop, void (*fn)(struct http_loop *loop, void *arg), void *arg);
/* Frees the buffers that loops keep for the next to come. Waits for every loop. */
void http_loops_slim(struct http_loops *loops);
/* Posts to every loop and waits until all have run it. For control threads. */
void http_loops_run(struct http_loops *loops, void (*fn)(struct http_loop *loop, void *arg), void *arg);
/* Calls fn(loop, arg) on the loop's thread when the loop closes, newest first. On the loop's thread. */
void http_loop_at_close(struct http_loop *loop, void (*fn)(struct http_loop *loop, void *arg), void *arg);

/* One pointer per loop and slot, for the embedder: what a request needs and must not lock for. Read and
 * written on the loop's thread only (publish by posting). NULL at first. */
enum http_slot {
    HTTP_SLOT_SITE,
    HTTP_SLOT_AUTH,
    HTTP_SLOT_APP,
    HTTP_SLOT_AUDIT,
    HTTP_SLOT_SPARE,
    HTTP_SLOT_COUNT
};
void *http_loop_data(const struct http_loop *loop, enum http_slot slot);
void http_loop_set_data(struct http_loop *loop, enum http_slot slot, void *data);

/* Monotonic milliseconds as of the start of this loop turn; costs nothing. */
int64_t http_loop_now_ms(const struct http_loop *loop);
/* The current time as an IMF-fixdate (RFC 9110 §5.6.7), computed once a second. Valid until the callback
 * returns. */
struct str http_loop_date(struct http_loop *loop);
#define HTTP_DATE_LEN 29
/* Writes `unix_secs` as an IMF-fixdate, no NUL. */
void http_date_format(int64_t unix_secs, char out[HTTP_DATE_LEN]);

/* A coarse timer (fires up to 100 ms late, never early), free to move: re-arming for later is one store.
 * On the loop's thread; zero it, then use it. The memory must stay until it has fired or was stopped. */
struct http_timer {
    struct http_timer *next, **link; /* in a wheel slot; link is NULL when not armed */
    struct http_loop *loop;
    void (*fn)(struct http_timer *timer);
    int64_t deadline_ms; /* when it fires, http_loop_now_ms() scale */
    int64_t slot_ms;     /* the tick under which it is queued, at most deadline_ms */
};
void http_timer_start(struct http_timer *timer, struct http_loop *loop, int64_t after_ms,
                      void (*fn)(struct http_timer *timer));
void http_timer_stop(struct http_timer *timer);
static inline bool http_timer_is_armed(const struct http_timer *timer)
{
    return timer->link != NULL;
}

#endif
