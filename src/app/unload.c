/* app/unload.c: takes an app out of memory while requests may be on their way to it.
 *
 * Requests have no reference to the app that they use, since taking one is an atomic that all loops would fight for.
 * Instead each loop counts its own in the app's lane, with plain stores.
 *
 * 1. app_slot_unload() empties the slot. Who peeks from then on finds nothing and has the app loaded again.
 * 2. app_let_go() then asks every loop, on its thread. What has peeked there before has entered, for nothing runs between
 *    the two. If there is such a user, the loop takes a reference, which its last one gives back.
 * 3. The slot's own reference goes when all loops have been asked.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

void app_enter(struct app *app, const struct http_loop *loop)
{
    struct app_lane *lane = &app->lanes[http_loop_index(loop)];
    uint32_t users = atomic_load_explicit(&lane->users, memory_order_relaxed);
    atomic_store_explicit(&lane->users, users + 1, memory_order_relaxed);
}

void app_leave(struct app *app, const struct http_loop *loop)
{
    struct app_lane *lane = &app->lanes[http_loop_index(loop)];
    uint32_t users = atomic_load_explicit(&lane->users, memory_order_relaxed) - 1;
    atomic_store_explicit(&lane->last_ms, http_loop_now_ms(loop), memory_order_relaxed);
    atomic_store_explicit(&lane->users, users, memory_order_relaxed);
    if (UNLIKELY(lane->is_leaving) && users == 0) {
        lane->is_leaving = false;
        app_unref(app);
    }
}

bool app_is_idle(const struct app *app, int64_t idle_ms)
{
    int64_t last = atomic_load_explicit(&app->touched_ms, memory_order_relaxed);
    for (unsigned i = 0; i < app->n_upstreams; i++) {
        const struct app_lane *lane = &app->lanes[i];
        if (atomic_load_explicit(&lane->users, memory_order_relaxed) > 0)
            return false;
        last = MAX(last, atomic_load_explicit(&lane->last_ms, memory_order_relaxed));
    }
    return clock_ms() - last >= idle_ms;
}

static void let_go(struct http_loop *loop, void *arg)
{
    const struct app_list *apps = arg;
    vec_foreach(app, apps)
    {
        struct app_lane *lane = &(*app)->lanes[http_loop_index(loop)];
        if (atomic_load_explicit(&lane->users, memory_order_relaxed) == 0)
            continue;
        lane->is_leaving = true;
        app_ref(*app);
    }
}

void app_let_go(struct http_loops *loops, struct app_list *apps)
{
    http_loops_run(loops, let_go, apps);
    vec_foreach(app, apps) app_unref(*app);
    apps->len = 0;
}
