/* server/operation_api.c: operations over the management API: as a stream of JSON lines, and the calls that list,
 * show, watch and cancel them.
 *
 * These calls are answered on the loop, so that a cancel works however busy the job threads are.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <stdlib.h>

/* --- the stream ----------------------------------------------------------------------------------- */

/* A client that follows an operation. Owned by its request and by the message under way to it; all but
 * `refs` and `is_posted` is the loop's. */
struct stream {
    atomic_uint refs;
    atomic_bool is_posted;            /* a message is under way */
    struct operation *op;
    struct http_req *req;             /* NULL once it is over */
    struct operation_place at;
    struct operation_listener listener;
    struct http_loop *loop;
    bool waits;                       /* for the client to take what it has been sent */
    bool is_ended;
};

static void stream_put(struct stream *st)
{
    if (atomic_fetch_sub(&st->refs, 1) != 1)
        return;
    operation_unref(st->op);
    free(st);
}

static void pump(struct stream *st);

static void on_drain(struct http_req *req, void *arg)
{
    struct stream *st = arg;
    st->waits = false;
    atomic_fetch_add(&st->refs, 1);
    pump(st);
    stream_put(st);
}

/* Sends what there is. What the client does not take stays in the operation's ring, until newer lines push it
 * out. The caller holds a reference: a write may end the request. */
static void pump(struct stream *st)
{
    while (st->req && !st->waits && !st->is_ended) {
        scoped_buf out = BUF_INIT((size_t)128 << 20); /* a reply and some lines */
        bool is_end = operation_read(st->op, &st->at, &out);
        if (out.len == 0)
            return;
        bool has_room = http_resp_write(st->req, buf_str(&out), false);
        if (st->is_ended) {
            return;
        } else if (is_end) {
            st->is_ended = true;
            http_resp_end(st->req);
        } else if (!has_room) {
            st->waits = true;
            http_resp_on_drain(st->req, on_drain, st);
        } else {
            http_resp_flush(st->req);
        }
    }
}

static void on_message(struct http_loop *loop, void *arg)
{
    struct stream *st = arg;
    atomic_store(&st->is_posted, false);
    pump(st);
    stream_put(st);
}

static void on_more(void *arg)
{
    struct stream *st = arg;
    if (atomic_exchange(&st->is_posted, true))
        return;
    atomic_fetch_add(&st->refs, 1);
    http_loop_post(st->loop, on_message, st);
}

/* The client has left: the operation goes on. */
static void on_gone(struct http_req *req, void *arg)
{
    struct stream *st = arg;
    st->is_ended = true;
    http_resp_abort(req);
}

static void on_over(struct http_req *req, void *arg)
{
    struct stream *st = arg;
    st->req = NULL;
    operation_unlisten(st->op, &st->listener);
    stream_put(st);
}

void operation_stream(struct operation *op, struct http_req *req)
{
    struct stream *st = xcalloc(1, sizeof *st);
    atomic_store(&st->refs, 2); /* the request's and ours */
    st->op = op;
    st->req = req;
    st->loop = req->loop;
    st->listener = (struct operation_listener){.fn = on_more, .arg = st};
    http_req_on_end(req, on_over, st);
    http_req_on_abort(req, on_gone, st);
    http_resp_header(req, STR("Content-Type"), STR("application/x-ndjson"));
    http_resp_header(req, STR("Cache-Control"), STR("no-store"));
    http_resp_start(req, 200, -1);
    http_resp_write(req, str_printf(req->arena, "{\"operation\":\"" STR_FMT "\"}\n", STR_ARG(operation_id(op))), true);
    operation_listen(op, &st->listener);
    http_resp_flush(req);
    pump(st);
    stream_put(st);
}

/* --- the calls ------------------------------------------------------------------------------------ */

static void reply_json(struct http_req *req, json_t *j)
{
    http_reply(req, 200, STR("application/json"), json_text(req->arena, j, JSON_STYLE_COMPACT));
    json_decref(j);
}

static void serve_list(struct server *s, struct http_req *req)
{
    json_t *j = json_object();
    json_object_set_new(j, "operations", operations_json(s->operations));
    reply_json(req, j);
}

static void serve_show(struct server *s, struct http_req *req, struct operation *op, struct str user_id)
{
    json_t *j = json_object();
    json_object_set_new(j, "operation", operation_json(op));
    reply_json(req, j);
}

static void serve_watch(struct server *s, struct http_req *req, struct operation *op, struct str user_id)
{
    operation_ref(op);
    operation_stream(op, req);
}

static void serve_cancel(struct server *s, struct http_req *req, struct operation *op, struct str user_id)
{
    struct str id = operation_id(op);
    bool ok = operation_cancel(op);
    store_audit_add(s->store, &(struct store_audit_event){
        .rid = str_printf(req->arena, STR_FMT "api_" STR_FMT, STR_ARG(s->rid_prefix), STR_ARG(id_ksuid(req->arena))),
        .user_id = user_id,
        .event_type = STR("system"),
        .operation = STR("cancel_operation"),
        .target = id,
        .status = ok ? STR("Success") : STR("Failed"),
    });
    if (!ok) {
        api_reply_error(req, ERR_CONFLICT, str_printf(req->arena, "operation " STR_FMT " has ended already", STR_ARG(id)).ptr);
        return;
    }
    log_info("operation cancelled", LOG_STR("operation", id), LOG_STR("user", user_id));
    json_t *j = json_object();
    json_set_str(j, "id", id);
    reply_json(req, j);
}

static const struct {
    const char *method, *path;
    void (*serve)(struct server *s, struct http_req *req, struct operation *op, struct str user_id);
} calls[] = {
    {"GET", "/operation", serve_show},
    {"GET", "/operation/watch", serve_watch},
    {"POST", "/operation/cancel", serve_cancel},
};

/* The operation that `id` in the query names, or NULL: answered. */
static struct operation *find(struct server *s, struct http_req *req)
{
    scoped_err err = {0};
    struct http_pairs query = {0};
    struct str id = {0};
    if (!http_query_parse(req->arena, req->query, &query, &err)) {
        api_reply_error(req, ERR_INVALID, err_msg(&err));
        return NULL;
    }
    if (!http_pairs_get(&query, STR("id"), &id) || str_is_empty(id)) {
        api_reply_error(req, ERR_INVALID, "id is required");
        return NULL;
    }
    struct operation *op = operation_find(s->operations, id);
    if (!op)
        api_reply_error(req, ERR_NOT_FOUND,
                        "no such operation: it has an id that was never given, or ended before the last 200 or "
                        "before the server's start");
    return op;
}

bool operation_serve(struct server *s, struct http_req *req, struct str path, struct str user_id)
{
    if (str_eq(path, STR("/operations")) && str_eq(req->method_text, STR("GET"))) {
        serve_list(s, req);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (!str_eq_z(path, calls[i].path) || !str_eq_z(req->method_text, calls[i].method))
            continue;
        struct operation *op = find(s, req);
        if (!op)
            return true;
        calls[i].serve(s, req, op, user_id);
        operation_unref(op);
        return true;
    }
    return false;
}
