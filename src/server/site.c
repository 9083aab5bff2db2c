/* server/site.c: building and matching the site.
 * SPDX-License-Identifier: Apache-2.0 */
#include "site.h"

#include "source.h"
#include "store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    HOST_MAX = 253, /* RFC 1035 §2.3.4: longer names match nothing */
    DEPTH_MAX = SRC_APPPATH_DEPTH,
};

struct site_domain {
    struct map paths; /* path -> struct site_app * */
    uint64_t depths;  /* bit n: an app with n path segments exists; bit 0 is the root */
};

/* Made when it is first asked for: a publish does not need it. */
struct site_index {
    pthread_mutex_t lock; /* guards the rest */
    struct arena arena;
    struct map by_id; /* app id -> struct site_app * */
};

struct site {
    struct arena arena;
    atomic_int refs;
    bool fallback_unknown_domains;
    bool is_sealed;
    struct str default_domain;
    struct map domains; /* domain -> struct site_domain * */
    VEC(struct site_app *) apps;
    struct site_index *index;
};

struct site *site_new(struct str default_domain, bool fallback_unknown_domains)
{
    struct site *site = xcalloc(1, sizeof *site);
    atomic_init(&site->refs, 1);
    site->fallback_unknown_domains = fallback_unknown_domains;
    arena_own_pages(&site->arena);
    site->default_domain = str_lower(&site->arena, default_domain);
    map_init(&site->domains, &site->arena);
    site->index = arena_new(&site->arena, struct site_index);
    pthread_mutex_init(&site->index->lock, NULL);
    map_init(&site->index->by_id, &site->index->arena);
    return site;
}

struct arena *site_arena(struct site *site)
{
    return &site->arena;
}

static unsigned depth_of(struct str path)
{
    unsigned depth = 0;
    if (path.len > 1)
        for (size_t i = 0; i < path.len; i++)
            depth += path.ptr[i] == '/';
    return depth;
}

void site_add(struct site *site, const struct site_app *app)
{
    assert(!site->is_sealed);
    struct arena *a = &site->arena;
    struct site_app *mine = arena_new(a, struct site_app);
    *mine = *app;
    mine->domain = str_is_empty(app->domain) ? site->default_domain : str_lower(a, app->domain);
    mine->path = str_dup(a, app->path);
    struct site_domain *domain = map_get(&site->domains, mine->domain);
    if (!domain) {
        domain = arena_new(a, struct site_domain);
        map_init(&domain->paths, a);
        map_set(&site->domains, mine->domain, domain);
    }
    unsigned depth = depth_of(mine->path);
    if (depth <= DEPTH_MAX) { /* deeper paths cannot be created; from a foreign database they match nothing */
        map_set(&domain->paths, mine->path, mine);
        domain->depths |= 1ull << depth;
    }
    *vec_push(a, &site->apps) = mine;
}

void site_seal(struct site *site)
{
    site->is_sealed = true;
}

struct site *site_ref(struct site *site)
{
    atomic_fetch_add_explicit(&site->refs, 1, memory_order_relaxed);
    return site;
}

void site_unref(struct site *site)
{
    if (!site || atomic_fetch_sub_explicit(&site->refs, 1, memory_order_acq_rel) != 1)
        return;
    vec_foreach(app, &site->apps) app_slot_unref((*app)->slot);
    pthread_mutex_destroy(&site->index->lock);
    arena_release(&site->index->arena);
    arena_release(&site->arena);
    free(site);
}

/* Rule 1 of the header, into `out`; false if it cannot be a domain of ours. */
static bool canonical_host(struct str host, char out[HOST_MAX], struct str *canonical)
{
    host = str_trim_right(host, '.');
    if (str_eq(host, STR("127.0.0.1")) || str_eq(host, STR("[::1]")) || str_eq(host, STR("::1"))) {
        *canonical = STR("localhost");
        return true;
    }
    if (host.len == 0 || host.len > HOST_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    *canonical = str_of(out, host.len);
    return true;
}

static const struct site_domain *find_domain(const struct site *site, struct str host)
{
    char room[HOST_MAX];
    struct str canonical;
    /* As it is: nearly always, and how a server whose default domain is an address is reached by that
     * address. */
    const struct site_domain *d = map_get(&site->domains, host);
    if (LIKELY(d != NULL))
        return d;
    if (!canonical_host(host, room, &canonical))
        return NULL;
    d = map_get(&site->domains, canonical);
    if (!d && site->fallback_unknown_domains)
        d = map_get(&site->domains, site->default_domain);
    return d;
}

bool site_has_domain(const struct site *site, struct str host)
{
    char room[HOST_MAX];
    struct str canonical;
    return canonical_host(host, room, &canonical) &&
           (str_eq(canonical, site->default_domain) || str_eq(host, site->default_domain) ||
            map_has(&site->domains, canonical));
}

/* The root app of a domain does not answer for its neighbours' staging and preview paths. */
static bool is_reserved_for_linked(struct str path)
{
    return str_starts(path, STR("/_cl_stage")) || str_starts(path, STR("/_cl_preview"));
}

const struct site_app *site_match(const struct site *site, struct str host, struct str path)
{
    const struct site_domain *domain = find_domain(site, host);
    if (!domain)
        return NULL;
    /* ends[n]: length of the first n segments of the path. */
    size_t ends[DEPTH_MAX + 1] = {0};
    unsigned depth = 0;
    for (size_t i = 1; i <= path.len && path.len > 1 && depth < DEPTH_MAX; i++)
        if (i == path.len || path.ptr[i] == '/')
            ends[++depth] = i;
    for (unsigned n = depth; n > 0; n--) {
        if (!(domain->depths & 1ull << n))
            continue;
        const struct site_app *app = map_get(&domain->paths, str_slice(path, 0, ends[n]));
        if (app)
            return app;
    }
    if (!(domain->depths & 1) || is_reserved_for_linked(path))
        return NULL;
    return map_get(&domain->paths, STR("/"));
}

const struct site_app *site_find(const struct site *site, struct str app_id)
{
    struct site_index *index = site->index;
    assert(site->is_sealed);
    pthread_mutex_lock(&index->lock);
    if (map_len(&index->by_id) == 0)
        vec_foreach(app, &site->apps) map_set(&index->by_id, app_slot_entry((*app)->slot)->id, *app);
    const struct site_app *found = map_get(&index->by_id, app_id);
    pthread_mutex_unlock(&index->lock);
    return found;
}

size_t site_len(const struct site *site)
{
    return site->apps.len;
}

const struct site_app *site_at(const struct site *site, size_t i)
{
    return site->apps.items[i];
}
