/* app/command.c: single commands in containers made from the app's image: for container.run, and for jobs.
 *
 * A command gets what the app's own container gets (environment, volumes, limits, options), but its port.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

/* The app's environment with that of the command over it. */
static void fill_env(struct arena *a, const struct app *app, const struct str_list *more, struct ctr_kv_list *out)
{
    for (size_t i = 0; i < app->run.env.len; i++)
        ctr_kv_set(a, out, app->run.env.items[i].key, app->run.env.items[i].value);
    vec_foreach(pair, more)
    {
        struct str name, value;
        str_cut(*pair, '=', &name, &value);
        ctr_kv_set(a, out, name, value);
    }
}

bool app_run_command(struct app *app, const struct plugin_command *c, struct plugin_command_end *end, struct err *err)
{
    return command_run(app, c, end, err);
}

bool command_run(void *arg, const struct plugin_command *c, struct plugin_command_end *end, struct err *err)
{
    struct app *app = arg;
    scoped_arena a = {0};
    struct ctr_run run = app->run;
    struct ctr_task_io io = {
        .on_output = c->on_output, .arg = c->arg, .merges = c->merges, .timeout_ms = c->timeout_ms, .cancel = c->cancel};
    struct ctr_task_end got;
    run.env = (struct ctr_kv_list){0};
    fill_env(&a, app, &c->env, &run.env);
    run.command = c->argv;
    run.entrypoint = (struct str){0};
    run.workdir = c->cwd;
    if (!ctr_service_make_image(app->image, err) ||
        !ctr_manager_task(app->env->containers, app->entry.id, &run, &io, &got, err))
        return false;
    *end = (struct plugin_command_end){
        .exit_code = got.exit_code, .timed_out = got.timed_out, .cancelled = got.cancelled};
    return true;
}
