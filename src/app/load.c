/* app/load.c: from an entry to a loaded app, and the life of it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

/* Whether what the proxy routes and the container want of each other is there. */
static bool check_container(const struct app *app, struct err *err)
{
    if (app->image && !app->service && app->n_container_proxies > 0)
        return err_set(err, ERR_INVALID,
                       "a proxy route goes to the app's container, but that has lifetime \"command\": it serves no "
                       "requests");
    return app->service || app->n_container_proxies == 0 ||
           err_set(err, ERR_INVALID,
                   "a proxy route goes to the app's container, but there is none: set "
                   "container=container.config(...) in ace.app");
}

static bool load(struct app *app, const struct src_files *given, struct ctr_service *kept, struct err *err)
{
    const struct app_env *env = app->env;
    app->path = str_eq(app->entry.path, STR("/")) ? (struct str){0} : app->entry.path;
    app->path_encoded = http_path_encode(&app->arena, app->path);
    app->is_on_disk = files_are_on_disk(&app->entry);
    app->disk_dir = app->entry.source_url;
    app->eval = (struct eval){.a = &app->code,
                              .keep = &app->arena,
                              .env = env,
                              .entry = &app->entry,
                              .files = &app->files,
                              .ctx = &app->ctx};
    if (!context_fill(&app->ctx, &app->arena, env, &app->entry, err) ||
        !files_open(&app->arena, env, &app->entry, given, &app->files, err) ||
        !eval_run(&app->eval, false, err))
        return false;
    star_v a = app->eval.app, container = star_struct_get(a, STR("container")),
           settings = star_struct_get(a, STR("settings"));
    if (!settings_merge(&app->arena, env->app_config, settings, &app->entry.metadata.appconfig,
                        &app->settings, err) ||
        !framework_load(&app->arena, &app->files, settings, &app->framework, err))
        return false;
    app->name = member_text(a, "name");
    app->is_static_only = member_is_true(a, "static_only");
    app->is_single_file = member_is_true(a, "single_file");
    app->redirect_bare_path = member_is_true(a, "redirect_bare_path");
    app->static_root_cache_control = app_config_str(app, "static_root_cache_control", (struct str){0});
    app->headers_level = app_config_count(app, "security.headers_level", 2);
    if (app_config_bool(app, "static_from_disk", false) && !app->is_on_disk)
        return err_set(
            err, ERR_INVALID,
            "static_from_disk is set by the app, but its source is not served from disk: set it with "
            "the app's --conf, or use the spec static_disk");
    if (!routes_load(app, err) || !statics_load(app, err))
        return false;
    if (app->has_static_files)
        app->lone_proxy = NULL;
    if (app->is_static_only && !statics_choose_index(app, err))
        return false;
    if (!star_is_none(container) && !service_load(app, container, given, kept, err))
        return false;
    return check_container(app, err) && jobs_load(app, err);
}

static struct app_lane *lanes_new(unsigned n)
{
    struct app_lane *lanes = aligned_alloc(64, MAX(n, 1u) * sizeof *lanes);
    if (!lanes)
        BUG("out of memory");
    memset(lanes, 0, n * sizeof *lanes);
    return lanes;
}

static bool make_app(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
                     struct ctr_service *kept, struct app **out, struct err *err)
{
    struct app *app = xcalloc(1, sizeof *app);
    atomic_init(&app->refs, 1);
    app->env = env;
    arena_own_pages(&app->arena);
    app->run_limits = (struct star_limits){.steps = APP_RUN_STEPS, .slice_steps = APP_SLICE_STEPS};
    app->run_memory = APP_RUN_MAX;
    app->n_upstreams = http_loops_len(env->loops);
    app->upstreams = arena_array(&app->arena, struct container_upstream *, app->n_upstreams);
    app->lanes = lanes_new(app->n_upstreams);
    arena_init(&app->code, APP_CODE_MAX);
    arena_own_pages(&app->code); /* apps are unloaded one by one */
    entry_copy(&app->arena, entry, &app->entry);
    bool ok = load(app, files, kept, err);
    app->files = (struct src_files){0};
    atomic_init(&app->touched_ms, clock_ms());
    if (!ok) {
        app_unref(app);
        return false;
    }
    *out = app;
    return true;
}

bool app_load(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
              struct app **out, struct err *err)
{
    return make_app(env, entry, files, NULL, out, err);
}

bool app_load_again(const struct app_env *env, const struct store_app *entry, struct ctr_service *kept,
                    struct app **out, struct err *err)
{
    return make_app(env, entry, NULL, kept, out, err);
}

struct app *app_ref(struct app *app)
{
    atomic_fetch_add_explicit(&app->refs, 1, memory_order_relaxed);
    return app;
}

void app_unref(struct app *app)
{
    if (!app || atomic_fetch_sub_explicit(&app->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (app->image)
        ctr_service_unref(app->image);
    held_files_unref(app->held);
    proxy_release(app);
    free(app->lanes);
    arena_release(&app->code);
    arena_release(&app->arena);
    free(app);
}

void app_detach_files(struct app *app)
{
    if (app->held)
        held_files_detach(app->held);
}

struct str app_id(const struct app *app)
{
    return app->entry.id;
}

const struct store_app *app_entry(const struct app *app)
{
    return &app->entry;
}

bool app_has_container(const struct app *app)
{
    return app->image != NULL;
}

static void on_line(void *arg, struct str line)
{
    const struct app_progress *progress = arg;
    if (progress && progress->line)
        progress->line(progress->arg, line);
}

bool app_start_container(struct app *app, const struct app_progress *progress, struct err *err)
{
    if (!app->service)
        return !app->image || ctr_service_make_image(app->image, err);
    scoped_arena a = {0};
    struct ctr_service_status status;
    ctr_service_status(app->service, &a, &status);
    bool was_up = status.state == CTR_READY;
    if (!ctr_service_start(app->service, on_line, (void *)progress, progress ? progress->cancel : NULL, err))
        return false;
    app->did_start = !was_up;
    return true;
}

void app_undo_start(struct app *app)
{
    scoped_err err = {0};
    if (app->did_start && !ctr_service_stop(app->service, 0, &err))
        log_warn("stopping the container of a change that was undone", LOG_STR("app", app->entry.id),
                 LOG_ERR(&err));
}

void app_retire(struct app *app, const struct app *successor, int drain_secs)
{
    if (app->service && (!successor || successor->service != app->service))
        ctr_service_retire(app->service, drain_secs);
}
