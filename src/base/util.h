/* base/util.h: the few macros and clocks that everything else uses.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_USE               __attribute__((warn_unused_result))
#define CLEANUP(fn)            __attribute__((cleanup(fn)))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Stops the process: a broken invariant of ours, never the world's fault. */
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
void bug_at(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4) __attribute__((noreturn));

/* Monotonic time, for durations and deadlines; never goes back. */
int64_t clock_ns(void);
int64_t clock_ms(void);
/* Wall time since 1970-01-01 UTC, for what people and databases see. */
int64_t wall_ns(void);

/* Waits, with `lock` held, until `c` is signalled or clock_ns() reaches `until_ns`; false when that time has come. */
bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until_ns);

/* Fills `ptr` with `len` bytes from the kernel's CSPRNG; cannot fail (aborts if the kernel refuses). */
void random_bytes(void *ptr, size_t len);

/* malloc family that aborts when memory is out: everything whose size an attacker can choose goes
 * through an arena or a buffer with a ceiling instead. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));

/* A descriptor closed when its variable goes out of scope; -1 is none. */
void fd_cleanup(int *fd);
#define scoped_fd CLEANUP(fd_cleanup)

/* A malloc'd pointer freed when its variable goes out of scope. */
void free_cleanup(void *ptr_to_ptr);
#define scoped_free CLEANUP(free_cleanup)

#endif
