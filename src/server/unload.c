/* server/unload.c: apps that nobody asks for go out of memory, and what they have freed back to the system.
 *
 * The scheduler's thread looks, which for ten thousand apps that are not loaded costs some microseconds. What it has taken out
 * of the slots goes to a job, since that must wait for the loops.
 *
 * Giving memory back takes a while, and what is busy would only take it again. So that comes once the process has been idle for
 * three looks, and only if it has done something before. By then the threads that did it have ended, too, with what the C
 * library kept for them (base/jobs.c).
 * SPDX-License-Identifier: Apache-2.0 */
#include "unload.h"

#include "server_int.h"

#include <malloc.h>
#include <stdlib.h>
#include <time.h>

enum { LOOK_MIN_MS = 1000, LOOK_MAX_MS = 30000, LOOKS = 4 /* in that time */ };
enum { IDLE_LOOK_MS = 15000, IDLE_LOOKS = 3, IDLE_CPU_MS = 75 /* at most, of one look's time */ };

/* The scheduler's thread has it for itself. */
struct unloader {
    struct server *server;
    int64_t cpu_ms; /* that the process had used at the last look */
    unsigned idle_looks;
    bool is_due; /* something has been done since memory was given back */
};

struct batch {
    struct server *server;
    struct arena arena;
    struct app_list apps;
};

static void slim(struct server *s)
{
    http_loops_slim(s->loops);
    store_slim(s->store);
    malloc_trim(0); /* the C library keeps what lies between things that live longer */
}

static void slim_job(void *arg)
{
    slim(arg);
}

static void let_go_job(void *arg)
{
    struct batch *b = arg;
    struct server *s = b->server;
    int64_t n = (int64_t)b->apps.len;
    app_let_go(s->loops, &b->apps);
    log_info("apps unloaded", LOG_INT("apps", n));
    arena_release(&b->arena);
    free(b);
    slim(s);
}

static int64_t idle_ms(const struct server *s)
{
    return MIN(config_int(&s->config, "system.app_unload_secs"), INT64_MAX / 1000) * 1000;
}

static void look(void *arg)
{
    struct unloader *u = arg;
    struct server *s = u->server;
    struct batch *b = xcalloc(1, sizeof *b);
    b->server = s;
    pthread_mutex_lock(&s->publish_lock);
    struct site *site = site_ref(s->site);
    pthread_mutex_unlock(&s->publish_lock);
    for (size_t i = 0; i < site_len(site); i++)
        app_slot_unload(site_at(site, i)->slot, idle_ms(s), &b->arena, &b->apps);
    site_unref(site);
    if (b->apps.len == 0) {
        free(b);
        return;
    }
    u->is_due = true;
    u->idle_looks = 0;
    if (!jobs_submit(s->jobs, let_go_job, b))
        let_go_job(b);
}

static void look_if_idle(void *arg)
{
    struct unloader *u = arg;
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    int64_t now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000, used = now - u->cpu_ms;
    u->cpu_ms = now;
    if (used > IDLE_CPU_MS) {
        u->is_due = true;
        u->idle_looks = 0;
    } else if (u->is_due && ++u->idle_looks >= IDLE_LOOKS) {
        u->is_due = !jobs_submit(u->server->jobs, slim_job, u->server);
        u->idle_looks = 0;
    }
}

void unload_open(struct server *s)
{
    struct unloader *u = arena_new(&s->arena, struct unloader);
    u->server = s;
    u->is_due = true; /* the start has */
    int64_t idle = idle_ms(s);
    if (idle > 0)
        scheduler_every(s->scheduler, MIN(MAX(idle / LOOKS, (int64_t)LOOK_MIN_MS), (int64_t)LOOK_MAX_MS), look, u);
    scheduler_every(s->scheduler, IDLE_LOOK_MS, look_if_idle, u);
}
