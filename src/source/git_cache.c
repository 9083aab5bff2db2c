/* source/git_cache.c: mirrors of repositories and heads of branches that operations share.
 *
 *     take ──> alone: fetches, is read ──share──> objects are borrowed ──drop──> idle ──> gone
 *
 * A mirror is a shallow repository without files that is fetched into again and again, so that only what is new
 * comes over the network. Working copies of sessions borrow its objects (git's alternates) until the session ends.
 *
 * 1. A mirror that is used is not removed: bad and worn ones go with their last user.
 * 2. Of mirrors nobody uses, those used longest ago go when there are too many.
 * SPDX-License-Identifier: Apache-2.0 */
#include "git_int.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    HEADS_MAX = 1000,    /* heads remembered */
    FETCHES_MAX = 200,   /* into one mirror: nothing is ever collected in it, so it is made anew then */
};

struct mirror {
    struct src_cache *cache;
    struct mirror *next;
    struct arena arena;
    struct str key, dir;
    unsigned users;
    bool is_alone;       /* one of them has it for itself */
    bool is_bad;         /* not to be used any more */
    unsigned fetch_count;
    uint64_t used_at;    /* of cache->clock */
};

struct head {
    struct head *next;
    struct arena arena;
    struct str key, commit;
    int64_t at_ms;
};

struct src_cache {
    struct src_cache_opts opts;
    struct arena arena;
    pthread_mutex_t lock; /* guards all that follows and every mirror's fields */
    pthread_cond_t freed;
    struct mirror *mirrors;
    size_t mirror_count;
    uint64_t clock;
    unsigned made;        /* mirrors ever: names of their folders */
    struct head *heads;   /* newest first */
};

struct src_cache *src_cache_open(const struct src_cache_opts *opts, struct err *err)
{
    struct src_cache *c = xcalloc(1, sizeof *c);
    c->opts = *opts;
    c->opts.dir = str_dup(&c->arena, opts->dir);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->freed, NULL);
    /* What a server that was killed has left may be incomplete, and a lock of git's may be in it. */
    if ((fs_exists(c->opts.dir) && !fs_remove_tree(c->opts.dir, err)) ||
        (opts->max_mirrors > 0 && !fs_mkdir_p(c->opts.dir, 0700, err))) {
        src_cache_close(c);
        return NULL;
    }
    return c;
}

static void free_head(struct head *h)
{
    arena_release(&h->arena);
    free(h);
}

/* Without the lock: disks are slow. */
static void free_mirror(struct mirror *m)
{
    scoped_err err = {0};
    if (fs_exists(m->dir) && !fs_remove_tree(m->dir, &err))
        log_warn("removing a mirror", LOG_STR("dir", m->dir), LOG_ERR(&err));
    arena_release(&m->arena);
    free(m);
}

void src_cache_close(struct src_cache *c)
{
    if (!c)
        return;
    while (c->mirrors) {
        struct mirror *m = c->mirrors;
        assert(m->users == 0);
        c->mirrors = m->next;
        free_mirror(m);
    }
    while (c->heads) {
        struct head *h = c->heads;
        c->heads = h->next;
        free_head(h);
    }
    pthread_cond_destroy(&c->freed);
    pthread_mutex_destroy(&c->lock);
    arena_release(&c->arena);
    free(c);
}

/* --- mirrors --------------------------------------------------------------------------------------- */

/* With the lock. */
static void unlink_mirror(struct src_cache *c, struct mirror *m)
{
    struct mirror **at = &c->mirrors;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    c->mirror_count--;
}

/* With the lock: makes room for one more; *gone is for the caller to free. False: all are used. */
static bool make_room(struct src_cache *c, struct mirror **gone)
{
    *gone = NULL;
    if (c->mirror_count < c->opts.max_mirrors)
        return true;
    for (struct mirror *m = c->mirrors; m; m = m->next)
        if (m->users == 0 && (!*gone || m->used_at < (*gone)->used_at))
            *gone = m;
    if (*gone)
        unlink_mirror(c, *gone);
    return *gone != NULL;
}

static struct mirror *new_mirror(struct src_cache *c, struct str key)
{
    struct mirror *m = xcalloc(1, sizeof *m);
    m->cache = c;
    m->key = str_dup(&m->arena, key);
    m->dir = str_printf(&m->arena, STR_FMT "/mirror-%u", STR_ARG(c->opts.dir), c->made++);
    m->next = c->mirrors;
    c->mirrors = m;
    c->mirror_count++;
    return m;
}

/* With the lock: waits until nobody has it alone. */
static bool wait_alone(struct mirror *m, const atomic_bool *cancel)
{
    struct src_cache *c = m->cache;
    while (m->is_alone) {
        if (cancel && atomic_load(cancel))
            return false;
        /* Wakes up now and then to see a cancel. */
        cond_wait_until(&c->freed, &c->lock, clock_ns() + 200000000);
    }
    return !m->is_bad;
}

/* With the lock. *gone is for the caller to free without it. */
static void leave(struct mirror *m, struct mirror **gone)
{
    *gone = NULL;
    m->users--;
    m->used_at = ++m->cache->clock;
    if (m->users > 0 || (!m->is_bad && m->fetch_count < FETCHES_MAX)) /* inv. 1 */
        return;
    unlink_mirror(m->cache, m);
    *gone = m;
}

struct mirror *mirror_take(struct src_cache *c, struct str key, const atomic_bool *cancel)
{
    struct mirror *m, *gone = NULL, *left = NULL;
    if (!c || c->opts.max_mirrors == 0)
        return NULL;
    pthread_mutex_lock(&c->lock);
    for (m = c->mirrors; m && (m->is_bad || !str_eq(m->key, key)); m = m->next)
        ;
    if (!m && make_room(c, &gone))
        m = new_mirror(c, key);
    if (m) {
        m->users++;
        if (wait_alone(m, cancel)) {
            m->is_alone = true;
        } else {
            leave(m, &left);
            m = NULL;
        }
    }
    pthread_mutex_unlock(&c->lock);
    if (gone)
        free_mirror(gone);
    if (left)
        free_mirror(left);
    return m;
}

struct str mirror_dir(const struct mirror *m)
{
    return m->dir;
}

void mirror_share(struct mirror *m, bool has_fetched, bool is_bad)
{
    struct src_cache *c = m->cache;
    pthread_mutex_lock(&c->lock);
    m->fetch_count += has_fetched;
    m->is_bad |= is_bad;
    m->is_alone = false;
    pthread_cond_broadcast(&c->freed);
    pthread_mutex_unlock(&c->lock);
}

void mirror_drop(struct mirror *m)
{
    struct src_cache *c = m->cache;
    struct mirror *gone;
    pthread_mutex_lock(&c->lock);
    leave(m, &gone);
    pthread_mutex_unlock(&c->lock);
    if (gone)
        free_mirror(gone);
}

/* --- heads ----------------------------------------------------------------------------------------- */

/* With the lock: takes the head of `key` out of the list, and those that are too old or too many. */
static struct head *take_head(struct src_cache *c, struct str key)
{
    struct head *found = NULL, **at = &c->heads;
    int64_t now = clock_ms();
    for (size_t n = 0; *at; n++) {
        struct head *h = *at;
        bool is_it = str_eq(h->key, key);
        if (!is_it && n < HEADS_MAX && now - h->at_ms < c->opts.head_ttl_ms) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        if (is_it)
            found = h;
        else
            free_head(h);
    }
    return found;
}

static void put_head(struct src_cache *c, struct head *h)
{
    h->next = c->heads;
    c->heads = h;
}

bool cache_head_get(struct src_cache *c, struct str key, struct arena *a, struct str *commit)
{
    if (!c || c->opts.head_ttl_ms <= 0)
        return false;
    pthread_mutex_lock(&c->lock);
    struct head *h = take_head(c, key);
    bool is_fresh = h && clock_ms() - h->at_ms < c->opts.head_ttl_ms;
    if (is_fresh) {
        *commit = str_dup(a, h->commit);
        put_head(c, h);
    } else if (h) {
        free_head(h);
    }
    pthread_mutex_unlock(&c->lock);
    return is_fresh;
}

void cache_head_put(struct src_cache *c, struct str key, struct str commit)
{
    if (!c || c->opts.head_ttl_ms <= 0)
        return;
    struct head *h = xcalloc(1, sizeof *h);
    h->key = str_dup(&h->arena, key);
    h->commit = str_dup(&h->arena, commit);
    h->at_ms = clock_ms();
    pthread_mutex_lock(&c->lock);
    struct head *old = take_head(c, key);
    put_head(c, h);
    pthread_mutex_unlock(&c->lock);
    if (old)
        free_head(old);
}
