/* plugin/wait.c: calls whose work blocks: what a suspended run waits for.
 *
 *     run's thread   start() reads the arguments into the wait's own arena; the run is suspended
 *     job thread     work() blocks, touching nothing but the wait
 *     run's thread   finish() makes the value; the run is completed and goes on
 *
 * Nobody but the thread that works touches a wait meanwhile, except for its `cancel`.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

#include <stdlib.h>

struct plugin_wait *plugin_wait_new(void)
{
    struct plugin_wait *w = xcalloc(1, sizeof *w);
    atomic_init(&w->cancel, false);
    return w;
}

void plugin_wait_free(struct plugin_wait *w)
{
    if (!w)
        return;
    if (w->release)
        w->release(w);
    err_release(&w->err);
    arena_release(&w->arena);
    free(w);
}

void plugin_wait_work(struct plugin_wait *w)
{
    w->is_ok = w->work(w, &w->err);
}

void plugin_wait_cancel(struct plugin_wait *w)
{
    atomic_store(&w->cancel, true);
}

void plugin_wait_fail(struct plugin_wait *w, const char *why)
{
    err_set(&w->err, ERR_UNAVAILABLE, "%s", why);
    w->is_ok = false;
}

void plugin_wait_end(struct plugin_wait *w, struct star_run *run)
{
    struct plugin_request *request = star_run_user(run);
    star_v value = STAR_NONE;
    bool ok = w->is_ok && w->finish(w, run, &value, &w->err);
    star_run_complete(run, ok ? plugin_response_ok(star_run_arena(run), value, w->error_code)
                              : plugin_response_failed(star_run_arena(run), request, str_from(err_msg(&w->err)),
                                                       w->error_code > 0 ? w->error_code : 1));
    plugin_wait_free(w);
}
