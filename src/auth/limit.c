/* auth/limit.c: counters that forget: back-off after failures, and rates.
 *
 * A fixed table, four entries to a set, the longest untouched one is replaced: memory is bounded however many
 * addresses and names come by. One lock, taken only by requests whose credentials are not known yet.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    SETS = 2048,
    WAYS = 4,
    LOCK_MS = 15 * 1000,
    LOCK_MAX_MS = 15 * 60 * 1000,
    FORGET_MS = 30 * 60 * 1000,
};

struct counter {
    uint64_t hash;          /* of the key; 0: unused */
    unsigned count;
    int64_t since_ms;       /* last try, or start of the window */
    int64_t locked_until_ms;
};

struct auth_limits {
    pthread_mutex_t lock;
    struct counter at[SETS][WAYS];
};

struct auth_limits *limits_open(void)
{
    struct auth_limits *l = xcalloc(1, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void limits_close(struct auth_limits *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* The counter of `key`, a fresh one if it has none. Under the lock. */
static struct counter *counter_of(struct auth_limits *l, struct str key)
{
    uint64_t hash = str_hash(key) | 1;
    struct counter *set = l->at[(hash >> 1) % SETS], *oldest = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (oldest->hash != 0 && (set[i].hash == 0 || set[i].since_ms < oldest->since_ms))
            oldest = &set[i];
    }
    *oldest = (struct counter){.hash = hash};
    return oldest;
}

static int seconds(int64_t ms)
{
    return (int)((ms + 999) / 1000);
}

static int64_t lock_ms(unsigned count, unsigned free_tries)
{
    unsigned doublings = count - free_tries;
    return doublings >= 6 ? LOCK_MAX_MS : MIN((int64_t)LOCK_MS << doublings, (int64_t)LOCK_MAX_MS);
}

bool limit_try(struct auth_limits *l, struct str key, unsigned free_tries, int *retry_secs)
{
    int64_t now = clock_ms();
    pthread_mutex_lock(&l->lock);
    struct counter *c = counter_of(l, key);
    if (now - c->since_ms > FORGET_MS)
        c->count = 0;
    bool is_locked = now < c->locked_until_ms;
    if (is_locked) {
        *retry_secs = seconds(c->locked_until_ms - now);
    } else {
        c->count++;
        c->since_ms = now;
        if (c->count >= free_tries)
            c->locked_until_ms = now + lock_ms(c->count, free_tries);
    }
    pthread_mutex_unlock(&l->lock);
    return !is_locked;
}

void limit_undo(struct auth_limits *l, struct str key, unsigned free_tries, bool forgets_all)
{
    pthread_mutex_lock(&l->lock);
    struct counter *c = counter_of(l, key);
    if (forgets_all)
        c->count = 0;
    else if (c->count > 0)
        c->count--;
    if (c->count < free_tries)
        c->locked_until_ms = 0;
    pthread_mutex_unlock(&l->lock);
}

bool limit_rate(struct auth_limits *l, struct str key, unsigned max, int64_t window_ms, int *retry_secs)
{
    int64_t now = clock_ms();
    pthread_mutex_lock(&l->lock);
    struct counter *c = counter_of(l, key);
    if (c->count == 0 || now - c->since_ms >= window_ms) {
        c->count = 0;
        c->since_ms = now;
    }
    bool is_ok = c->count < max;
    if (is_ok)
        c->count++;
    else if (retry_secs)
        *retry_secs = seconds(window_ms - (now - c->since_ms));
    pthread_mutex_unlock(&l->lock);
    return is_ok;
}
