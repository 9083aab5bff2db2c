/* app/handler.c: running a Starlark handler on the request's loop, in slices.
 *
 * A run that used up its slice is put back in the loop's queue behind other work; one past its budget
 * fails. Everything the run makes is in an arena with a ceiling that goes with the request.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

static void step(struct visit *v);

static void remove_files(void *arg)
{
    plugin_kept_free(arg);
}

static void on_end(struct http_req *req, void *arg)
{
    struct visit *v = arg;
    struct plugin_kept *files = plugin_request_files(&v->plugin);
    if (files && !jobs_submit(v->app->env->jobs, remove_files, files))
        plugin_kept_free(files);
    plugin_request_release(&v->plugin);
    arena_release(&v->run_arena);
}

void handler_record_end(struct visit *v, const char *status)
{
    if (!v->app->env->store)
        return;
    if (v->action)
        action_audit(v, status);
    if (!v->audit.is_set)
        return;
    store_audit_add(v->app->env->store, &(struct store_audit_event){
                                            .app_id = v->app->entry.id,
                                            .user_id = v->request.who->user_id,
                                            .event_type = STR("custom"),
                                            .operation = v->audit.operation,
                                            .target = v->audit.target,
                                            .status = str_from(status),
                                            .detail = v->audit.detail,
                                        });
}

static void resume(struct http_loop *loop, void *arg)
{
    struct visit *v = arg;
    if (v->request.req->is_aborted || v->request.req->is_gone) {
        handler_record_end(v, "Failed");
        http_resp_abort(v->request.req); /* nobody waits for the rest */
    } else {
        step(v);
    }
}

/* The run failed, or a plugin's failure was not looked at: error_handler or a plain 500. */
static void fault(struct visit *v, struct str message, const struct star_error *error)
{
    struct app *app = v->app;
    struct arena *a = &v->run_arena;
    if (app->entry.is_dev && error && error->n_frames > 0) {
        const struct star_frame_info *f = &error->frames[0];
        message =
            str_printf(v->request.req->arena, STR_FMT " : Function " STR_FMT ", Position " STR_FMT ":%d:%d",
                       STR_ARG(message), STR_ARG(f->function), STR_ARG(f->file), f->line, f->col);
    }
    log_info("handler failed", LOG_STR("app", app->ctx.app), LOG_STR("path", v->request.req->path),
             LOG_STR("error", error ? error->backtrace : message));
    if (v->action) {
        handler_record_end(v, "Failed");
        action_failed(v, message);
        return;
    }
    /* A run that has used up its budget has none left for error_handler. */
    bool is_over = error && error->why != STAR_ERR_RAISED && error->why != STAR_ERR_DEPTH;
    if (v->in_error_handler || is_over || star_is_null(app->error_handler)) {
        handler_record_end(v, "Failed");
        http_reply_error(v->request.req, 500, message);
        return;
    }
    v->in_error_handler = true;
    v->plugin.failed = (struct str){0}; /* its own plugin calls must work */
    star_v d = star_dict(a, 1);
    if (!star_dict_set_z(a, d, "error", star_string(a, message))) {
        http_reply_error(v->request.req, 500, message);
        return;
    }
    v->args[0] = v->req_value;
    v->args[1] = d;
    star_run_call(v->run, app->error_handler, v->args, 2);
    step(v);
}

void handler_fault(struct visit *v, struct str message)
{
    fault(v, message, NULL);
}

/* --- waiting for a call that blocks */

/* On the loop again. */
static void on_worked(struct http_loop *loop, void *arg)
{
    struct visit *v = arg;
    struct plugin_wait *w = v->plugin.waits;
    v->plugin.waits = NULL;
    if (v->request.req->is_aborted || v->request.req->is_gone) {
        plugin_wait_free(w);
        handler_record_end(v, "Failed");
        http_resp_abort(v->request.req);
        return;
    }
    plugin_wait_end(w, v->run);
    step(v);
}

/* The request, and with it the visit and the app, live until the loop has ended it. */
static void work(void *arg)
{
    struct visit *v = arg;
    plugin_wait_work(v->plugin.waits);
    http_loop_post(v->request.req->loop, on_worked, v);
}

static void on_client_left(struct http_req *req, void *arg)
{
    struct visit *v = arg;
    if (v->plugin.waits)
        plugin_wait_cancel(v->plugin.waits);
}

static void suspend(struct visit *v)
{
    struct http_req *req = v->request.req;
    if (!v->watches_client) {
        http_req_on_abort(req, on_client_left, v);
        v->watches_client = true;
    }
    if (req->is_gone || req->is_aborted)
        plugin_wait_cancel(v->plugin.waits);
    if (v->app->env->commands && jobs_lane_submit(v->app->env->commands, work, v))
        return;
    plugin_wait_fail(v->plugin.waits, "the server is stopping or overloaded: try again");
    http_loop_post(req->loop, on_worked, v);
}

static void finish(struct visit *v, star_v result)
{
    struct plugin_stream *stream = v->action ? action_stream(v, result) : reply_stream(result);
    /* One that failed before its first item is known to error_handler, which cannot return it. */
    if (v->plugin.stream && !stream && !v->in_error_handler) {
        fault(v, STR("the handler has not returned its stream: nothing of it has run"), NULL);
        return;
    }
    if (stream && v->in_error_handler) {
        fault(v, STR("error_handler cannot return a stream"), NULL);
        return;
    }
    if (v->action) {
        action_done(v, result);
        return;
    }
    if (!stream)
        handler_record_end(v, v->in_error_handler ? "Failed" : "Success");
    reply_value(v, result);
}

static void step(struct visit *v)
{
    switch (star_run_resume(v->run)) {
    case STAR_YIELD: http_loop_post(v->request.req->loop, resume, v); return;
    case STAR_DONE:
        if (v->plugin.failed.ptr) {
            fault(v, v->plugin.failed, NULL);
            return;
        }
        finish(v, star_run_result(v->run));
        return;
    case STAR_ERROR: fault(v, star_run_error(v->run)->msg, star_run_error(v->run)); return;
    case STAR_SUSPENDED: suspend(v); return;
    }
}

static void print_line(struct star_run *run, void *ctx, struct str line)
{
    log_info("print", LOG_STR("app", ((struct visit *)ctx)->app->ctx.app), LOG_STR("line", line));
}

void handler_call(struct visit *v, star_v fn, size_t n_args)
{
    v->run = star_run_new(&v->run_arena, &v->app->run_limits);
    if (!v->run) {
        http_reply_error(v->request.req, 500, STR("out of memory"));
        return;
    }
    star_run_set_user(v->run, &v->plugin);
    star_run_set_print(v->run, print_line, v);
    star_run_call(v->run, fn, v->args, n_args);
    step(v);
}

static void start(struct visit *v)
{
    v->req_value = request_object(v);
    if (star_is_null(v->req_value)) {
        http_reply_error(v->request.req, 500, STR("out of memory"));
        return;
    }
    v->args[0] = v->req_value;
    handler_call(v, v->route->handler, v->route->takes_no_args ? 0 : 1);
}

static void on_body(struct http_req *req, struct str body, const struct err *err, void *arg)
{
    struct visit *v = arg;
    if (err) {
        http_reply_error(req, (int)err->code, str_from(err_msg(err)));
        return;
    }
    v->body = body;
    start(v);
}

void handler_prepare(struct visit *v, struct app *app, const struct app_request *request, const struct route *route)
{
    v->app = app;
    v->request = *request;
    v->route = route;
    v->plugin.user_id = request->who->user_id;
    v->plugin.owner = v;
    arena_init(&v->run_arena, app->run_memory);
    http_req_on_end(request->req, on_end, v);
}

void handler_serve(struct app *app, const struct app_request *request, const struct route *route,
                   const struct route_match *match)
{
    struct http_req *req = request->req;
    if (route->kind != ROUTE_API) {
        http_reply_error(req, 501, STR("HTML pages (ace.html) are not available in this version"));
        return;
    }
    struct visit *v = arena_new(req->arena, struct visit);
    handler_prepare(v, app, request, route);
    v->match = *match;
    if (star_is_null(route->handler)) {
        star_v nothing = star_dict(&v->run_arena, 0);
        reply_value(v, nothing);
    } else if (req->content_length != 0) {
        http_req_read_all(req, APP_BODY_MAX, on_body, v);
    } else {
        start(v);
    }
}
