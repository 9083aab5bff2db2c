/* app/stream.c: answers that are sent while they are made: a handler's stream (spec starlark-apps.md 8.4).
 *
 *     job thread    plugin_stream_work() ... on_ready() ... on_ready() ... the last post
 *     loop          on_items()               on_items()    on_worked()
 *
 * The head goes out with the first item, so that what fails before it is a plain 500. What fails later is said in a last
 * line, and the connection is broken off, so that no client takes what it has for the whole; but within a frame (of an
 * action's page) there is a place to say it, and the answer is whole.
 *
 * 1. The request is not ended before on_worked(): the job thread uses it until then, and no post of its comes later.
 * 2. Once that post has come and the stream is over, the request is ended; `x` is gone with it.
 * 3. While `is_posted` or `is_paused` (the client is slower than the command) nothing but that post or drain sends.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

enum {
    TURN_BYTES = 512 << 10, /* sent before others have their turn */
    ITEM_MAX = 64 << 20,    /* memory for the making of one item */
};

struct sending {
    struct visit *v;
    struct plugin_stream *stream;
    bool is_text;
    int status;
    const struct stream_frame *frame; /* NULL: plain lines */
    bool is_worked, is_posted, is_paused;
    bool is_over;     /* nothing is taken from the stream any more */
    bool is_finished; /* error_handler may have the request now */
    struct err why;   /* it failed */
};

static void pump(struct sending *x);

static void on_items(struct http_loop *loop, void *arg)
{
    pump(arg);
}

static void on_posted(struct http_loop *loop, void *arg)
{
    struct sending *x = arg;
    x->is_posted = false;
    pump(x);
}

static void on_drained(struct http_req *req, void *arg)
{
    struct sending *x = arg;
    x->is_paused = false;
    pump(x);
}

static void begin(struct sending *x)
{
    struct http_req *req = x->v->request.req;
    if (req->is_started)
        return;
    http_resp_header(req, STR("Content-Type"),
                     x->frame     ? x->frame->content_type
                     : x->is_text ? STR("text/plain; charset=utf-8")
                                  : STR("application/json"));
    http_resp_start(req, x->status, -1);
    if (x->frame)
        http_resp_write(req, x->frame->head, true);
}

/* What follows the last item, and says why it is the last. */
static void close_frame(struct sending *x, const struct err *why)
{
    struct http_req *req = x->v->request.req;
    http_resp_write(req, err_is_set(why) ? x->frame->failure(req->arena, x->frame, str_from(err_msg(why))) : x->frame->tail,
                    true);
    handler_record_end(x->v, err_is_set(why) ? "Failed" : "Success");
    http_resp_end(req);
}

/* The last line, and then no proper end. */
static void break_off(struct sending *x, const struct err *why)
{
    struct http_req *req = x->v->request.req;
    scoped_arena a = {0};
    scoped_buf line = BUF_INIT(64 << 10);
    scoped_err ignored = {0};
    star_v item = star_string_z(&a, err_msg(why));
    if (!x->is_text) {
        star_v d = star_dict(&a, 1);
        star_dict_set_z(&a, d, "error", item);
        item = d;
    }
    if (reply_item(x->is_text, &a, &line, item, &ignored))
        http_resp_write(req, buf_str(&line), false);
    http_resp_flush(req);
    log_info("a stream has failed", LOG_STR("app", x->v->app->ctx.app), LOG_STR("path", req->path), LOG_ERR(why));
    handler_record_end(x->v, "Failed");
    http_resp_abort(req);
}

/* The request may be gone when this returns, and `x` with it. */
static void finish(struct sending *x)
{
    struct http_req *req = x->v->request.req;
    scoped_err why = {0};
    if (err_is_set(&x->why))
        err_move(&why, &x->why);
    x->is_finished = true;
    if (req->is_aborted || req->is_gone) {
        handler_record_end(x->v, "Failed");
        http_resp_abort(req);
    } else if (x->frame && (req->is_started || !err_is_set(&why))) {
        begin(x);
        close_frame(x, &why);
    } else if (!err_is_set(&why)) {
        begin(x);
        handler_record_end(x->v, "Success");
        http_resp_end(req);
    } else if (!req->is_started) {
        handler_fault(x->v, str_dup(req->arena, str_from(err_msg(&why))));
    } else {
        break_off(x, &why);
    }
}

/* Sends one item. False when the client has enough for now. */
static bool send_item(struct sending *x, struct arena *a, star_v item, size_t *sent)
{
    scoped_buf line = BUF_INIT(ITEM_MAX);
    bool ok = x->frame ? x->frame->item(a, &line, item, !x->v->request.req->is_started, &x->why)
                       : reply_item(x->is_text, a, &line, item, &x->why);
    if (!ok) {
        x->is_over = true;
        plugin_stream_cancel(x->stream);
        return true;
    }
    begin(x);
    *sent += line.len;
    return http_resp_write(x->v->request.req, buf_str(&line), false);
}

/* Sends what there is, or as much as one turn may. */
static void send_items(struct sending *x)
{
    struct http_req *req = x->v->request.req;
    size_t sent = 0;
    while (!x->is_over && sent < TURN_BYTES) {
        scoped_arena a = {0};
        star_v item;
        arena_init(&a, ITEM_MAX);
        switch (plugin_stream_next(x->stream, &a, &item, &x->why)) {
        case PLUGIN_ITEM:
            if (send_item(x, &a, item, &sent))
                break;
            x->is_paused = true;
            http_resp_on_drain(req, on_drained, x);
            return;
        case PLUGIN_NONE_YET: http_resp_flush(req); return;
        case PLUGIN_FAILED: plugin_stream_cancel(x->stream); /* fall through */
        case PLUGIN_END: x->is_over = true; break;
        }
    }
    if (!x->is_over) {
        http_resp_flush(req);
        x->is_posted = true;
        http_loop_post(req->loop, on_posted, x);
    }
}

static void pump(struct sending *x)
{
    struct http_req *req = x->v->request.req;
    bool is_gone = req->is_aborted || req->is_gone;
    if (!is_gone && !x->is_over && !x->is_posted && !x->is_paused)
        send_items(x);
    is_gone |= req->is_aborted;
    if (x->is_worked && !x->is_posted && !x->is_finished && (x->is_over || is_gone))
        finish(x);
}

static void on_worked(struct http_loop *loop, void *arg)
{
    struct sending *x = arg;
    x->is_worked = true;
    pump(x);
}

static void on_ready(void *arg)
{
    const struct sending *x = arg;
    http_loop_post(x->v->request.req->loop, on_items, (void *)x);
}

static void work(void *arg)
{
    struct sending *x = arg;
    plugin_stream_work(x->stream, on_ready, x);
    http_loop_post(x->v->request.req->loop, on_worked, x);
}

static void on_client_left(struct http_req *req, void *arg)
{
    struct sending *x = arg;
    plugin_stream_cancel(x->stream);
    pump(x);
}

static void serve(struct visit *v, struct plugin_stream *stream, const struct sending *how)
{
    struct http_req *req = v->request.req;
    struct sending *x = arena_memdup(req->arena, how, sizeof *how);
    x->v = v;
    x->stream = stream;
    http_req_on_abort(req, on_client_left, x);
    if (req->is_gone || req->is_aborted)
        plugin_stream_cancel(stream);
    if (v->app->env->streams && jobs_lane_submit(v->app->env->streams, work, x))
        return;
    plugin_stream_fail(stream, "the server is stopping or overloaded: try again");
    http_loop_post(req->loop, on_worked, x);
}

void stream_serve(struct visit *v, struct plugin_stream *stream, int status, bool is_text)
{
    serve(v, stream, &(struct sending){.status = status, .is_text = is_text});
}

void stream_serve_framed(struct visit *v, struct plugin_stream *stream, const struct stream_frame *frame)
{
    serve(v, stream, &(struct sending){.status = 200, .frame = frame});
}
