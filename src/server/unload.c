/* server/unload.c: apps that nobody asks for go out of memory, and what they have freed back to the system.
 *
 * The scheduler's thread looks, which for ten thousand apps that are not loaded costs some microseconds. What it has taken out
 * of the slots goes to a job, since that must wait for the loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unload.h"

#include "server_int.h"

#include <malloc.h>
#include <stdlib.h>

enum { LOOK_MIN_MS = 1000, LOOK_MAX_MS = 30000, LOOKS = 4 /* in that time */ };

struct batch {
    struct server *server;
    struct arena arena;
    struct app_list apps;
};

static void let_go_job(void *arg)
{
    struct batch *b = arg;
    int64_t n = (int64_t)b->apps.len;
    app_let_go(b->server->loops, &b->apps);
    log_info("apps unloaded", LOG_INT("apps", n));
    http_loops_slim(b->server->loops);
    store_slim(b->server->store);
    arena_release(&b->arena);
    free(b);
    malloc_trim(0); /* the C library keeps what lies between things that live longer */
}

static int64_t idle_ms(const struct server *s)
{
    return MIN(config_int(&s->config, "system.app_unload_secs"), INT64_MAX / 1000) * 1000;
}

static void look(void *arg)
{
    struct server *s = arg;
    struct batch *b = xcalloc(1, sizeof *b);
    b->server = s;
    pthread_mutex_lock(&s->publish_lock);
    struct site *site = site_ref(s->site);
    pthread_mutex_unlock(&s->publish_lock);
    for (size_t i = 0; i < site_len(site); i++)
        app_slot_unload(site_at(site, i)->slot, idle_ms(s), &b->arena, &b->apps);
    site_unref(site);
    if (b->apps.len == 0)
        free(b);
    else if (!jobs_submit(s->jobs, let_go_job, b))
        let_go_job(b);
}

void unload_open(struct server *s)
{
    int64_t idle = idle_ms(s);
    if (idle > 0)
        scheduler_every(s->scheduler, MIN(MAX(idle / LOOKS, (int64_t)LOOK_MIN_MS), (int64_t)LOOK_MAX_MS), look, s);
}
