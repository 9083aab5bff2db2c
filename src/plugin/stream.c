/* plugin/stream.c: results that are sent while they are made: the lines of a command's output.
 *
 *     run's thread   the call makes the stream around a wait (wait.c) whose work has not begun
 *     job thread     plugin_stream_work() does it; whole lines gather in `ready`, of which at most READY_MAX wait: then the
 *                    work stands still, and with it the command
 *     loop thread    plugin_stream_next() takes them away, all that there are at a time, and makes items of them
 *
 * 1. `line`, the beginning of a line, is the job thread's; `taken` and `rest` are the loop's; `ready`, `is_over` and
 *    `wants_more` are under the lock.
 * 2. The wait's `is_ok` and `err` are the loop's to read once it has seen `is_over`.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"
#include "util.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    READY_MAX = 256 << 10,     /* bytes of whole lines that wait to be sent */
    LINE_MAX_BYTES = 4 << 20,  /* of one line */
    CHUNK_MAX = 1 << 20,       /* what the work gives at once is less */
};

struct plugin_stream {
    struct plugin_wait *wait;
    struct buf line;
    pthread_mutex_t lock;
    pthread_cond_t is_taken;
    struct buf ready;
    bool is_over, wants_more;
    struct buf taken;
    struct str rest; /* of `taken` */
    void (*on_ready)(void *arg);
    void *arg;
};

struct plugin_stream *plugin_stream_new(struct plugin_wait *w)
{
    struct plugin_stream *s = xcalloc(1, sizeof *s);
    s->wait = w;
    s->wants_more = true;
    buf_init(&s->line, LINE_MAX_BYTES);
    buf_init(&s->ready, READY_MAX + LINE_MAX_BYTES + CHUNK_MAX);
    buf_init(&s->taken, s->ready.max);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->is_taken, NULL);
    w->stream = s;
    return s;
}

void plugin_stream_free(struct plugin_stream *s)
{
    if (!s)
        return;
    plugin_wait_free(s->wait);
    buf_release(&s->line);
    buf_release(&s->ready);
    buf_release(&s->taken);
    pthread_cond_destroy(&s->is_taken);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- the job's side */

/* Waits until there is room. A cancel makes room: what comes then goes nowhere. */
static bool hand_over(struct plugin_stream *s, struct str head, struct str tail)
{
    pthread_mutex_lock(&s->lock);
    while (s->ready.len > READY_MAX && !atomic_load(&s->wait->cancel))
        pthread_cond_wait(&s->is_taken, &s->lock);
    bool is_cancelled = atomic_load(&s->wait->cancel), tells = s->wants_more && !is_cancelled;
    if (!is_cancelled) {
        buf_add_str(&s->ready, head);
        buf_add_str(&s->ready, tail);
        s->wants_more = false;
    }
    pthread_mutex_unlock(&s->lock);
    if (tells)
        s->on_ready(s->arg);
    return !is_cancelled;
}

bool plugin_stream_feed(struct plugin_stream *s, struct str chunk, bool *is_too_long)
{
    while (chunk.len > CHUNK_MAX / 2) {
        if (!plugin_stream_feed(s, str_slice(chunk, 0, CHUNK_MAX / 2), is_too_long))
            return false;
        chunk = str_from_off(chunk, CHUNK_MAX / 2);
    }
    size_t end = str_rchr(chunk, '\n');
    struct str tail = end == STR_NPOS ? chunk : str_from_off(chunk, end + 1);
    if (end != STR_NPOS) {
        if (!hand_over(s, buf_str(&s->line), str_slice(chunk, 0, end + 1)))
            return false;
        buf_clear(&s->line);
    }
    if (buf_add_str(&s->line, tail))
        return true;
    buf_clear(&s->line);
    *is_too_long = true;
    return false;
}

void plugin_stream_work(struct plugin_stream *s, void (*on_ready)(void *arg), void *arg)
{
    s->on_ready = on_ready;
    s->arg = arg;
    plugin_wait_work(s->wait);
    if (s->line.len > 0)
        hand_over(s, buf_str(&s->line), STR("\n"));
    pthread_mutex_lock(&s->lock);
    s->is_over = true;
    pthread_mutex_unlock(&s->lock);
}

/* --- the loop's side */

void plugin_stream_fail(struct plugin_stream *s, const char *why)
{
    plugin_wait_fail(s->wait, why);
    s->is_over = true;
}

void plugin_stream_cancel(struct plugin_stream *s)
{
    plugin_wait_cancel(s->wait);
    pthread_mutex_lock(&s->lock); /* or the signal could come between the look at `cancel` and the wait */
    pthread_cond_signal(&s->is_taken);
    pthread_mutex_unlock(&s->lock);
}

/* False when the work is over and there is nothing left. */
static bool take_ready(struct plugin_stream *s)
{
    pthread_mutex_lock(&s->lock);
    struct buf empty = s->taken;
    buf_clear(&empty);
    s->taken = s->ready;
    s->ready = empty;
    s->wants_more = s->taken.len == 0;
    bool is_over = s->is_over;
    pthread_cond_signal(&s->is_taken);
    pthread_mutex_unlock(&s->lock);
    s->rest = buf_str(&s->taken);
    return !is_over || s->rest.len > 0;
}

enum plugin_next plugin_stream_next(struct plugin_stream *s, struct arena *a, star_v *item, struct err *err)
{
    struct str line;
    do {
        if (s->rest.len == 0 && !take_ready(s)) {
            if (s->wait->is_ok)
                return PLUGIN_END;
            err_set(err, s->wait->err.code, "%s", err_msg(&s->wait->err));
            return PLUGIN_FAILED;
        }
        if (s->rest.len == 0)
            return PLUGIN_NONE_YET;
        str_cut(s->rest, '\n', &line, &s->rest);
        line = str_ends(line, STR("\r")) ? str_slice(line, 0, line.len - 1) : line;
        if (!s->wait->item(s->wait, a, line, item, err))
            return PLUGIN_FAILED;
    } while (star_is_null(*item));
    return PLUGIN_ITEM;
}
