/* container/service_log.c: the newest output of a service's builds and starts, in a ring.
 * SPDX-License-Identifier: Apache-2.0 */
#include "service_int.h"

/* Most logs are a few lines: the ring has its full size only when that many bytes have come. (Until then nothing has
 * wrapped, so it can be moved.) */
static void log_grow(struct ctr_service *svc, size_t more)
{
    size_t want = (size_t)MIN(svc->log_end - svc->log_base + more, (uint64_t)SVC_LOG_MAX), size = MAX(svc->log_size, (size_t)SVC_LOG_MIN);
    while (size < want)
        size *= 2;
    if (size == svc->log_size)
        return;
    char *log = slab_alloc(size);
    if (svc->log)
        memcpy(log, svc->log, svc->log_size);
    slab_free(svc->log, svc->log_size);
    svc->log = log;
    svc->log_size = size;
}

static void log_put(struct ctr_service *svc, struct str s)
{
    log_grow(svc, s.len);
    for (size_t i = 0; i < s.len;) {
        size_t at = (svc->log_end - svc->log_base) % SVC_LOG_MAX, n = MIN(s.len - i, SVC_LOG_MAX - at);
        memcpy(svc->log + at, s.ptr + i, n);
        svc->log_end += n;
        i += n;
    }
}

void svc_log_line(struct ctr_service *svc, struct str line)
{
    pthread_mutex_lock(&svc->m->lock);
    log_put(svc, str_slice(line, 0, SVC_LOG_MAX / 4));
    log_put(svc, STR("\n"));
    /* Who follows looks every SVC_FOLLOW_MS and at each change of state. Woken at each line they would take the processor
     * from the very build that they watch; they are when they might miss something. */
    if (svc->log_end - svc->log_told >= SVC_LOG_MAX / 4) {
        svc->log_told = svc->log_end;
        pthread_cond_broadcast(&svc->m->changed);
    }
    pthread_mutex_unlock(&svc->m->lock);
}

void svc_log_drop(struct ctr_service *svc)
{
    slab_free(svc->log, svc->log_size);
    svc->log = NULL;
    svc->log_size = 0;
    svc->log_base = svc->log_end;
}

struct str ctr_service_log(struct ctr_service *svc, struct arena *a, uint64_t *at)
{
    pthread_mutex_lock(&svc->m->lock);
    uint64_t end = svc->log_end, from = MAX(MIN(*at, end), svc->log_base);
    if (end - from > SVC_LOG_MAX)
        from = end - SVC_LOG_MAX;
    size_t n = (size_t)(end - from);
    char *text = arena_alloc(a, n + 1);
    for (size_t i = 0; i < n;) {
        size_t p = (from - svc->log_base + i) % SVC_LOG_MAX, part = MIN(n - i, SVC_LOG_MAX - p);
        memcpy(text + i, svc->log + p, part);
        i += part;
    }
    pthread_mutex_unlock(&svc->m->lock);
    *at = end;
    return str_of(text, n);
}

void svc_log_pump(struct ctr_service *svc, uint64_t *at, struct buf *line, ctr_line_fn *on_line, void *arg)
{
    if (!on_line || *at == svc->log_end)
        return;
    scoped_arena a = {0};
    pthread_mutex_unlock(&svc->m->lock);
    struct str text = ctr_service_log(svc, &a, at);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '\n') {
            buf_add_char(line, text.ptr[i]);
            continue;
        }
        on_line(arg, buf_str(line));
        buf_clear(line);
    }
    pthread_mutex_lock(&svc->m->lock);
}
