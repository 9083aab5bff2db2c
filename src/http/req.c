/* http/req.c: requests: their pool, lookups, hooks, and the reading of their bodies.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { REQUESTS_KEPT = 64, REQUESTS_KEPT_MIN = 4 }; /* per loop and server: as many as connections are open, within these */

struct request *request_new(struct http_conn *c)
{
    struct server_loop *home = c->home;
    struct request *r = home->free_requests;
    struct arena kept = {0};
    if (r) {
        home->free_requests = r->next_free;
        home->free_count--;
        kept = r->arena;
    } else {
        r = xmalloc(sizeof *r);
    }
    memset(r, 0, offsetof(struct request, arena));
    r->arena = kept;
    r->conn = c;
    r->pub.arena = &r->arena;
    r->pub.loop = home->loop;
    r->pub.headers = r->head.headers;
    return r;
}

void request_free(struct request *r)
{
    struct server_loop *home = r->conn->home;
    if (home->free_count >= REQUESTS_KEPT) {
        arena_release(&r->arena);
        free(r);
        return;
    }
    arena_reset(&r->arena);
    r->next_free = home->free_requests;
    home->free_requests = r;
    home->free_count++;
}

void requests_trim(struct server_loop *home, unsigned keep)
{
    while (home->free_count > keep) {
        struct request *r = home->free_requests;
        home->free_requests = r->next_free;
        home->free_count--;
        arena_release(&r->arena);
        free(r);
    }
}

void requests_fewer(struct server_loop *home)
{
    requests_trim(home, MAX(home->open_conns, (unsigned)REQUESTS_KEPT_MIN));
}

/* The host for routing: lower case, without port and final dot. */
static void fill_host(struct request *r)
{
    struct http_req *q = &r->pub;
    q->authority = http_head_known(&r->head, HTTP_H_HOST);
    struct str host = r->head.host; /* empty for HTTP/1.0 without Host */
    q->port = r->head.port;
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] >= 'A' && host.ptr[i] <= 'Z') {
            host = str_lower(&r->arena, host);
            break;
        }
    }
    if (host.len > 1 && host.ptr[host.len - 1] == '.')
        host.len--;
    q->host = host;
}

static void fill_target(struct request *r)
{
    struct str t = r->head.target;
    r->pub.target = t;
    if (t.ptr[0] != '/' && t.ptr[0] != '*') {
        /* absolute-form: skip "http://authority" */
        size_t i = str_find(t, STR("://")) + 3;
        while (i < t.len && t.ptr[i] != '/' && t.ptr[i] != '?')
            i++;
        t = str_from_off(t, i);
    }
    const char *mark = memchr(t.ptr, '?', t.len);
    size_t path_len = mark ? (size_t)(mark - t.ptr) : t.len;
    r->pub.path = path_len > 0 ? str_slice(t, 0, path_len) : STR("/");
    if (mark)
        r->pub.query = str_of(mark + 1, t.len - path_len - 1);
}

void request_fill(struct request *r)
{
    const struct http_head *h = &r->head;
    struct http_req *q = &r->pub;
    q->method = h->method;
    q->method_text = h->method_text;
    q->version = h->version;
    q->is_tls = r->conn->stream.ssl != NULL;
    q->is_chunked = h->is_chunked;
    q->content_length = h->is_chunked ? -1 : h->content_length;
    q->wants_upgrade = h->conn_upgrade && h->known[HTTP_H_UPGRADE] && h->version >= 11;
    q->header_count = h->header_count;
    fill_target(r);
    fill_host(r);
    q->start_ns = clock_ns();
}

/* Lookups. */

struct str http_req_header(const struct http_req *req, struct str name)
{
    enum http_hdr id = http_hdr_id(name);
    if (id != HTTP_H_OTHER)
        return http_req_known(req, id);
    for (size_t i = 0; i < req->header_count; i++)
        if (req->headers[i].id == HTTP_H_OTHER && str_eq_nocase(req->headers[i].name, name))
            return req->headers[i].value;
    return (struct str){0};
}

struct str http_req_known(const struct http_req *req, enum http_hdr id)
{
    return http_head_known(&request_of(req)->head, id);
}

bool http_req_list_has(const struct http_req *req, enum http_hdr id, struct str token)
{
    if (!request_of(req)->head.known[id])
        return false;
    for (size_t i = 0; i < req->header_count; i++) {
        if (req->headers[i].id != id)
            continue;
        struct str rest = req->headers[i].value, member;
        while (str_next(&rest, ',', &member))
            if (str_eq_nocase(str_trim(member), token))
                return true;
    }
    return false;
}

static void make_peer_text(struct http_conn *c)
{
    const char *text = "unix";
    char buf[INET6_ADDRSTRLEN];
    if (c->peer.sa.sa_family == AF_INET)
        text = inet_ntop(AF_INET, &c->peer.in.sin_addr, buf, sizeof buf);
    else if (c->peer.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&c->peer.in6.sin6_addr))
        text = inet_ntop(AF_INET, c->peer.in6.sin6_addr.s6_addr + 12, buf, sizeof buf);
    else if (c->peer.sa.sa_family == AF_INET6)
        text = inet_ntop(AF_INET6, &c->peer.in6.sin6_addr, buf, sizeof buf);
    size_t len = strlen(text);
    memcpy(c->peer_text, text, len);
    c->peer_len = (uint8_t)len;
}

struct str conn_peer(struct http_conn *c)
{
    if (c->peer_len == 0)
        make_peer_text(c);
    return str_of(c->peer_text, c->peer_len);
}

struct str http_req_peer(struct http_req *req)
{
    return conn_peer(request_of(req)->conn);
}

int http_req_peer_port(struct http_req *req)
{
    const struct http_conn *c = request_of(req)->conn;
    if (c->peer.sa.sa_family == AF_INET)
        return ntohs(c->peer.in.sin_port);
    return c->peer.sa.sa_family == AF_INET6 ? ntohs(c->peer.in6.sin6_port) : 0;
}

const struct sockaddr *http_req_peer_addr(const struct http_req *req)
{
    return &request_of(req)->conn->peer.sa;
}

struct ssl_st *http_req_ssl(const struct http_req *req)
{
    return request_of(req)->conn->stream.ssl;
}

struct http_listener *http_req_listener(const struct http_req *req)
{
    return request_of(req)->conn->listener;
}

/* Hooks. */

static void add_hook(struct http_req *req, struct hook **list, http_hook *fn, void *arg)
{
    struct hook *h = arena_alloc(req->arena, sizeof *h);
    *h = (struct hook){.next = *list, .fn = fn, .arg = arg};
    *list = h;
}

void http_req_on_headers(struct http_req *req, http_hook *fn, void *arg)
{
    add_hook(req, &request_of(req)->on_headers, fn, arg);
}

void http_req_on_end(struct http_req *req, http_hook *fn, void *arg)
{
    add_hook(req, &request_of(req)->on_end, fn, arg);
}

void http_req_on_abort(struct http_req *req, http_hook *fn, void *arg)
{
    add_hook(req, &request_of(req)->on_abort, fn, arg);
}

void hooks_run(struct request *r, struct hook **list)
{
    while (*list) {
        struct hook *h = *list;
        *list = h->next;
        h->fn(&r->pub, h->arg);
    }
}

/* Bodies. */

void body_fail(struct http_conn *c, enum err_code code, const char *why)
{
    struct conn_body *b = &c->body;
    if (b->is_over || b->has_failed)
        return;
    b->has_failed = true;
    b->fail_code = (int)code;
    b->fail_why = why;
    c->wants_close = true;
}

enum err_code http_req_body_fault(const struct http_req *req, const char **why)
{
    const struct conn_body *b = &request_of(req)->conn->body;
    *why = b->has_failed ? b->fail_why : "";
    return b->has_failed ? (enum err_code)b->fail_code : ERR_OK;
}

/* Decodes until there is body at `pos` (b->ready bytes), the end, or no more input. */
static void decode_chunks(struct http_conn *c)
{
    struct conn_body *b = &c->body;
    while (b->ready == 0 && !b->end_seen && c->pos < c->end) {
        size_t used = 0;
        struct str data;
        const char *why;
        enum http_parse p =
            http_chunked_next(&b->decoder, str_of(c->mem + c->pos, c->end - c->pos), &used, &data, &why);
        if (p == HTTP_PARSE_BAD) {
            body_fail(c, ERR_INVALID, why);
            return;
        }
        b->ready = data.len;
        b->end_seen = p == HTTP_PARSE_DONE;
        c->pos += used - data.len;
    }
}

/* Hands [pos, pos + len) to the reader. */
static void hand_out(struct http_conn *c, size_t len, enum http_body what)
{
    struct conn_body *b = &c->body;
    b->is_paused = true; /* unless it takes all, or resumes within */
    size_t taken = b->fn(&c->req->pub, str_of(len > 0 ? c->mem + c->pos : "", len), what, b->arg);
    assert(taken <= len);
    c->pos += taken;
    if (b->kind == BODY_LENGTH)
        b->left -= taken;
    else if (b->kind == BODY_CHUNKED)
        b->ready -= taken;
    if (taken < len)
        return;
    b->is_paused = false;
    if (what == HTTP_BODY_END)
        b->is_over = true;
}

bool body_deliver(struct http_conn *c)
{
    struct conn_body *b = &c->body;
    if (!b->fn || b->is_over)
        return false;
    if (b->has_failed) {
        http_body_fn *fn = b->fn;
        b->fn = NULL;
        fn(&c->req->pub, (struct str){0}, HTTP_BODY_FAILED, b->arg);
        return true;
    }
    if (b->is_paused || c->req->pub.is_ended)
        return false;
    size_t have = c->end - c->pos;
    if (b->kind == BODY_LENGTH) {
        bool is_all = have >= b->left;
        if (have > 0 || is_all) {
            hand_out(c, is_all ? (size_t)b->left : have, is_all ? HTTP_BODY_END : HTTP_BODY_MORE);
            return true;
        }
    } else if (b->kind == BODY_CHUNKED) {
        decode_chunks(c);
        if (b->has_failed)
            return true;
        if (b->ready > 0 || b->end_seen) {
            hand_out(c, b->ready, b->ready > 0 ? HTTP_BODY_MORE : HTTP_BODY_END);
            return true;
        }
    } else {
        hand_out(c, 0, HTTP_BODY_END);
        return true;
    }
    if (c->eof_seen) {
        body_fail(c, ERR_CANCELLED, "the client closed the connection before the body was complete");
        return true;
    }
    return false;
}

bool body_discard(struct http_conn *c, bool *bad)
{
    struct conn_body *b = &c->body;
    for (;;) {
        if (b->kind == BODY_CHUNKED)
            decode_chunks(c);
        size_t have = c->end - c->pos;
        size_t n = b->kind == BODY_LENGTH ? (size_t)MIN((uint64_t)have, b->left) : b->ready;
        *bad = b->has_failed || n > b->discard_left;
        if (*bad)
            return false;
        c->pos += n;
        b->discard_left -= n;
        if (b->kind == BODY_LENGTH)
            b->left -= n;
        else
            b->ready -= n;
        b->is_over = b->kind == BODY_LENGTH ? b->left == 0 : b->end_seen && b->ready == 0;
        if (b->is_over || n == 0)
            return b->is_over;
    }
}

void http_req_read(struct http_req *req, http_body_fn *fn, void *arg)
{
    struct http_conn *c = request_of(req)->conn;
    struct conn_body *b = &c->body;
    assert(!b->fn && !b->is_over);
    b->fn = fn;
    b->arg = arg;
    if (b->owes_continue && c->pos == c->end && !req->is_started && c->state == CONN_REQUEST)
        out_copy(&c->out, req->loop, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    b->owes_continue = false;
    conn_advance(c);
}

void http_req_resume(struct http_req *req)
{
    struct http_conn *c = request_of(req)->conn;
    c->body.is_paused = false;
    conn_flush_soon(c);
}

struct read_all {
    struct buf buf;
    http_body_done *done;
    void *arg;
};

static void release_buf(void *buf)
{
    buf_release(buf);
}

static size_t on_read_all(struct http_req *req, struct str data, enum http_body what, void *arg)
{
    struct read_all *all = arg;
    struct http_conn *c = request_of(req)->conn;
    http_body_done *done = all->done;
    if (!done)
        return data.len;
    if (what == HTTP_BODY_FAILED) {
        scoped_err err = {0};
        err_set(&err, (enum err_code)c->body.fail_code, "%s", c->body.fail_why);
        all->done = NULL;
        done(req, (struct str){0}, &err, all->arg);
        return 0;
    }
    if (what == HTTP_BODY_END && all->buf.len == 0 && data.len <= all->buf.max) {
        /* All in the read buffer: keep it there, and out of the way of what follows. */
        if (data.len > 0)
            c->floor = (size_t)(data.ptr - c->mem) + data.len;
        all->done = NULL;
        done(req, data, NULL, all->arg);
        return data.len;
    }
    if (!buf_add_str(&all->buf, data)) {
        scoped_err err = {0};
        err_set(&err, ERR_TOO_LARGE, "the request body is larger than %zu bytes", all->buf.max);
        all->done = NULL;
        done(req, (struct str){0}, &err, all->arg);
        return data.len;
    }
    if (what == HTTP_BODY_END) {
        all->done = NULL;
        done(req, buf_str(&all->buf), NULL, all->arg);
    }
    return data.len;
}

void http_req_read_all(struct http_req *req, size_t max, http_body_done *done, void *arg)
{
    if (req->content_length > 0 && (uint64_t)req->content_length > max) {
        scoped_err err = {0};
        err_set(&err, ERR_TOO_LARGE, "the request body of %lld bytes is larger than %zu bytes",
                (long long)req->content_length, max);
        done(req, (struct str){0}, &err, arg);
        return;
    }
    struct read_all *all = arena_new(req->arena, struct read_all);
    *all = (struct read_all){.buf = BUF_INIT(max), .done = done, .arg = arg};
    arena_defer(req->arena, release_buf, &all->buf);
    http_req_read(req, on_read_all, all);
}
