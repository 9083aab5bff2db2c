/* base/util.c: clocks, randomness and allocation that cannot fail.
 * SPDX-License-Identifier: Apache-2.0 */
#include "util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

void bug_at(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "openrun: bug at %s:%d: ", file, line);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}

static int64_t clock_read(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_ns(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_ms(void)
{
    return clock_ns() / 1000000;
}

int64_t wall_ns(void)
{
    return clock_read(CLOCK_REALTIME);
}

bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until_ns)
{
    struct timespec t = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    return pthread_cond_clockwait(c, lock, CLOCK_MONOTONIC, &t) != ETIMEDOUT;
}

void random_bytes(void *ptr, size_t len)
{
    char *p = ptr;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            BUG("getrandom: %s", strerror(errno));
        }
        p += n;
        len -= (size_t)n;
    }
}

void *xmalloc(size_t size)
{
    void *p = malloc(size > 0 ? size : 1);
    if (!p)
        BUG("out of memory (%zu bytes)", size);
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size > 0 ? size : 1);
    if (!p)
        BUG("out of memory (%zu x %zu bytes)", n, size);
    return p;
}

void *xrealloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size > 0 ? size : 1);
    if (!p)
        BUG("out of memory (%zu bytes)", size);
    return p;
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

void fd_cleanup(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

void free_cleanup(void *ptr_to_ptr)
{
    free(*(void **)ptr_to_ptr);
}
