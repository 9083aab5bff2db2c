/* http/resp.c: responses: headers, the head as bytes, framing of the body, endings.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <stdio.h>
#include <unistd.h>

enum {
    COPY_MAX = 4096,            /* larger pieces are first offered to the socket, then copied */
    FILE_COPY_MAX = HTTP_BLOCK, /* files up to this go out with the head */
    RESP_HEADERS_MAX = 256,
};

/* Headers. */

static bool add_header(struct request *r, struct str name, struct str value)
{
    if (r->resp_count == r->resp_cap) {
        size_t cap = r->resp_cap ? r->resp_cap * 2 : 16;
        struct http_header *more = arena_alloc(&r->arena, cap * sizeof *more);
        if (r->resp_count > 0)
            memcpy(more, r->resp_headers, r->resp_count * sizeof *more);
        r->resp_headers = more;
        r->resp_cap = cap;
    }
    r->resp_headers[r->resp_count++] = (struct http_header){name, value, http_hdr_id(name)};
    return true;
}

bool http_resp_header_ref(struct http_req *req, struct str name, struct str value)
{
    struct request *r = request_of(req);
    if (req->is_started || r->resp_count >= RESP_HEADERS_MAX || !http_is_field_value(value))
        return false;
    enum http_hdr id = http_hdr_id(name);
    if (id == HTTP_H_TRANSFER_ENCODING)
        return false;
    return add_header(r, name, value);
}

bool http_resp_header(struct http_req *req, struct str name, struct str value)
{
    if (!http_is_token(name) || !http_is_field_value(value) || req->is_started)
        return false;
    return http_resp_header_ref(req, str_dup(req->arena, name), str_dup(req->arena, value));
}

static bool is_named(const struct http_header *h, enum http_hdr id, struct str name)
{
    return id != HTTP_H_OTHER ? h->id == id : h->id == HTTP_H_OTHER && str_eq_nocase(h->name, name);
}

void http_resp_del_header(struct http_req *req, struct str name)
{
    struct request *r = request_of(req);
    enum http_hdr id = http_hdr_id(name);
    size_t kept = 0;
    for (size_t i = 0; i < r->resp_count; i++)
        if (!is_named(&r->resp_headers[i], id, name))
            r->resp_headers[kept++] = r->resp_headers[i];
    r->resp_count = kept;
}

bool http_resp_set_header(struct http_req *req, struct str name, struct str value)
{
    if (!http_is_token(name) || !http_is_field_value(value) || req->is_started)
        return false;
    http_resp_del_header(req, name);
    return http_resp_header(req, name, value);
}

struct str http_resp_get_header(const struct http_req *req, struct str name)
{
    const struct request *r = request_of(req);
    enum http_hdr id = http_hdr_id(name);
    for (size_t i = 0; i < r->resp_count; i++)
        if (is_named(&r->resp_headers[i], id, name))
            return r->resp_headers[i].value;
    return (struct str){0};
}

const struct http_header *http_resp_headers(const struct http_req *req, size_t *count)
{
    *count = request_of(req)->resp_count;
    return request_of(req)->resp_headers;
}

/* clang-format off */
struct str http_status_text(int status)
{
    switch (status) {
#define S(code, text) case code: return STR(text);
    S(100, "Continue") S(101, "Switching Protocols") S(102, "Processing") S(103, "Early Hints")
    S(200, "OK") S(201, "Created") S(202, "Accepted") S(203, "Non-Authoritative Information")
    S(204, "No Content") S(205, "Reset Content") S(206, "Partial Content") S(207, "Multi-Status")
    S(208, "Already Reported") S(226, "IM Used")
    S(300, "Multiple Choices") S(301, "Moved Permanently") S(302, "Found") S(303, "See Other")
    S(304, "Not Modified") S(305, "Use Proxy") S(307, "Temporary Redirect") S(308, "Permanent Redirect")
    S(400, "Bad Request") S(401, "Unauthorized") S(402, "Payment Required") S(403, "Forbidden")
    S(404, "Not Found") S(405, "Method Not Allowed") S(406, "Not Acceptable")
    S(407, "Proxy Authentication Required") S(408, "Request Timeout") S(409, "Conflict") S(410, "Gone")
    S(411, "Length Required") S(412, "Precondition Failed") S(413, "Content Too Large")
    S(414, "URI Too Long") S(415, "Unsupported Media Type") S(416, "Range Not Satisfiable")
    S(417, "Expectation Failed") S(418, "I'm a teapot") S(421, "Misdirected Request")
    S(422, "Unprocessable Content") S(423, "Locked") S(424, "Failed Dependency") S(425, "Too Early")
    S(426, "Upgrade Required") S(428, "Precondition Required") S(429, "Too Many Requests")
    S(431, "Request Header Fields Too Large") S(451, "Unavailable For Legal Reasons")
    S(500, "Internal Server Error") S(501, "Not Implemented") S(502, "Bad Gateway")
    S(503, "Service Unavailable") S(504, "Gateway Timeout") S(505, "HTTP Version Not Supported")
    S(506, "Variant Also Negotiates") S(507, "Insufficient Storage") S(508, "Loop Detected")
    S(510, "Not Extended") S(511, "Network Authentication Required")
#undef S
    default: return STR("Unknown");
    }
}
/* clang-format on */
/* The head as bytes. */

static char *put(char *p, struct str s)
{
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    return p + s.len;
}

static char *put_number(char *p, uint64_t n)
{
    char digits[20];
    size_t i = sizeof digits;
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    return put(p, str_of(digits + i, sizeof digits - i));
}

static char *put_status_line(char *p, int status)
{
    p = put(p, STR("HTTP/1.1 "));
    *p++ = (char)('0' + status / 100);
    *p++ = (char)('0' + status / 10 % 10);
    *p++ = (char)('0' + status % 10);
    *p++ = ' ';
    p = put(p, http_status_text(status));
    return put(p, STR("\r\n"));
}

/* Fields that the server makes itself, or that mean nothing here. */
static bool is_sent(const struct request *r, const struct http_header *h, int status)
{
    switch (h->id) {
    case HTTP_H_CONTENT_LENGTH:
        return r->resp_no_body && (r->pub.method == HTTP_HEAD || status == 304) && r->resp_left < 0;
    case HTTP_H_CONNECTION: return status == 101;
    case HTTP_H_KEEP_ALIVE:
    case HTTP_H_PROXY_CONNECTION:
    case HTTP_H_TRANSFER_ENCODING: return false;
    default: return true;
    }
}

static char *put_headers(char *p, const struct request *r, int status, bool *has_date)
{
    for (size_t i = 0; i < r->resp_count; i++) {
        const struct http_header *h = &r->resp_headers[i];
        if (!is_sent(r, h, status))
            continue;
        *has_date |= h->id == HTTP_H_DATE;
        p = put(p, h->name);
        p = put(p, STR(": "));
        p = put(p, h->value);
        p = put(p, STR("\r\n"));
    }
    return p;
}

static size_t headers_size(const struct request *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->resp_count; i++)
        n += r->resp_headers[i].name.len + r->resp_headers[i].value.len + 4;
    return n;
}

static char *put_date(char *p, struct http_loop *loop)
{
    p = put(p, STR("Date: "));
    p = put(p, http_loop_date(loop));
    return put(p, STR("\r\n"));
}

enum { HEAD_FIXED = 256 /* status line, Date, framing fields */ };

static void put_head(struct http_conn *c, struct request *r, int status)
{
    struct http_loop *loop = r->pub.loop;
    char *start = out_reserve(&c->out, loop, HEAD_FIXED + headers_size(r)),
         *p = put_status_line(start, status);
    bool has_date = false;
    p = put_headers(p, r, status, &has_date);
    if (!has_date && status >= 200)
        p = put_date(p, loop);
    if (r->resp_left >= 0 && status >= 200 && status != 204 && status != 304) {
        p = put(p, STR("Content-Length: "));
        p = put_number(p, (uint64_t)r->resp_left);
        p = put(p, STR("\r\n"));
    } else if (r->resp_chunked) {
        p = put(p, STR("Transfer-Encoding: chunked\r\n"));
    }
    if (status >= 200) {
        if (c->wants_close)
            p = put(p, STR("Connection: close\r\n"));
        else if (r->pub.version == 10)
            p = put(p, STR("Connection: keep-alive\r\n"));
    }
    p = put(p, STR("\r\n"));
    out_commit(&c->out, (size_t)(p - start));
}

/* True if the rest of the request body will not be worth waiting for. */
static bool is_body_left_behind(const struct http_conn *c)
{
    const struct conn_body *b = &c->body;
    if (b->kind == BODY_NONE || b->is_over || b->fn)
        return false;
    return b->owes_continue ||
           (b->kind == BODY_LENGTH && b->left > c->end - c->pos + c->home->server->limits.drain_max);
}

void http_resp_start(struct http_req *req, int status, int64_t content_length)
{
    struct request *r = request_of(req);
    struct http_conn *c = r->conn;
    assert(!req->is_started && !req->is_ended);
    assert(status >= 101 && status <= 599);
    req->status = status;
    hooks_run(r, &r->on_headers);
    status = req->status;
    req->is_started = true;
    if (c->state != CONN_REQUEST)
        return;
    r->resp_left = content_length;
    r->resp_no_body = req->method == HTTP_HEAD || status == 204 || status == 304 || status < 200;
    r->resp_chunked = !r->resp_no_body && content_length < 0 && req->version >= 11;
    if (c->home->is_draining || is_body_left_behind(c) ||
        (!r->resp_no_body && content_length < 0 && req->version == 10))
        c->wants_close = true;
    put_head(c, r, status);
}

void http_resp_info(struct http_req *req, int status)
{
    struct request *r = request_of(req);
    struct http_conn *c = r->conn;
    assert(!req->is_started && status >= 102 && status <= 199);
    if (req->version >= 11 && c->state == CONN_REQUEST) {
        r->resp_no_body = true;
        r->resp_left = -1;
        put_head(c, r, status);
        conn_flush_soon(c);
    }
    r->resp_count = 0;
}

/* Bodies. */

/* Sends now, whoever is calling: only bytes move, no callback runs. */
static void flush_now(struct http_conn *c)
{
    bool moved = false;
    if (c->state != CONN_REQUEST || c->out.is_blocked || !c->out.first)
        return;
    if (!out_flush(&c->out, &c->stream, &moved)) {
        /* Found out again, in its place, by the connection's next step. */
        c->out.is_blocked = false;
        conn_flush_soon(c);
    }
    c->has_progress |= moved;
}

static void put_data(struct http_conn *c, struct str data, bool is_stable)
{
    struct http_loop *loop = c->home->loop;
    if (data.len <= (is_stable ? (size_t)OUT_COPY : (size_t)COPY_MAX)) {
        out_copy(&c->out, loop, data);
    } else {
        out_borrow(&c->out, data);
        if (!is_stable) {
            flush_now(c);
            out_own(&c->out, loop);
        }
    }
}

static bool is_under_mark(struct http_conn *c)
{
    if (c->out.len > OUT_HIGH)
        flush_now(c);
    else
        conn_flush_soon(c);
    return c->out.len <= OUT_HIGH;
}

/* True if `*len` body bytes are to be sent; cut to what was announced. */
static bool accept_bytes(struct http_req *req, uint64_t *len)
{
    struct request *r = request_of(req);
    assert(req->is_started && !req->is_ended);
    if (r->conn->state != CONN_REQUEST || r->resp_no_body)
        return false;
    if (r->resp_left >= 0) {
        *len = MIN(*len, (uint64_t)r->resp_left);
        r->resp_left -= (int64_t)*len;
    }
    req->bytes_sent += *len;
    return *len > 0;
}

static void put_chunk_size(struct http_conn *c, uint64_t len)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llx\r\n", (unsigned long long)len);
    out_copy(&c->out, c->home->loop, str_of(text, (size_t)n));
}

bool http_resp_write(struct http_req *req, struct str data, bool is_stable)
{
    struct request *r = request_of(req);
    struct http_conn *c = r->conn;
    uint64_t len = data.len;
    if (!accept_bytes(req, &len))
        return c->out.len <= OUT_HIGH;
    if (r->resp_chunked)
        put_chunk_size(c, len);
    put_data(c, str_of(data.ptr, (size_t)len), is_stable);
    if (r->resp_chunked)
        out_copy(&c->out, c->home->loop, STR("\r\n"));
    return is_under_mark(c);
}

bool http_resp_file(struct http_req *req, int fd, uint64_t off, uint64_t len)
{
    struct request *r = request_of(req);
    struct http_conn *c = r->conn;
    if (!accept_bytes(req, &len)) {
        close(fd);
        return c->out.len <= OUT_HIGH;
    }
    if (r->resp_chunked)
        put_chunk_size(c, len);
    if (len <= FILE_COPY_MAX) {
        char *room = out_reserve(&c->out, c->home->loop, (size_t)len);
        ssize_t n = pread(fd, room, (size_t)len, (off_t)off);
        close(fd);
        if (n < 0 || (uint64_t)n < len) {
            conn_break(c); /* shorter than it was said to be */
            return false;
        }
        out_commit(&c->out, (size_t)len);
    } else {
        out_file(&c->out, fd, off, len);
    }
    if (r->resp_chunked)
        out_copy(&c->out, c->home->loop, STR("\r\n"));
    return is_under_mark(c);
}

void http_resp_on_drain(struct http_req *req, http_hook *fn, void *arg)
{
    struct request *r = request_of(req);
    r->drain_fn = fn;
    r->drain_arg = arg;
    conn_flush_soon(r->conn);
}

void http_resp_flush(struct http_req *req)
{
    flush_now(request_of(req)->conn);
}

/* Endings. */

static bool is_incomplete(const struct request *r)
{
    return !r->resp_no_body && r->resp_left > 0;
}

void http_resp_end(struct http_req *req)
{
    struct request *r = request_of(req);
    struct http_conn *c = r->conn;
    assert(!req->is_ended && c->state != CONN_TUNNEL);
    if (!req->is_started)
        http_resp_start(req, 500, 0);
    if (c->state == CONN_REQUEST && is_incomplete(r)) {
        flush_now(c);
        http_resp_abort(req);
        return;
    }
    if (c->state == CONN_REQUEST && r->resp_chunked)
        out_copy(&c->out, c->home->loop, STR("0\r\n\r\n"));
    req->is_ended = true;
    conn_advance(c);
}

void http_resp_abort(struct http_req *req)
{
    struct http_conn *c = request_of(req)->conn;
    assert(!req->is_ended);
    req->is_ended = true;
    if (c->state == CONN_CLOSED)
        conn_advance(c);
    else
        conn_break(c);
}

void http_resp_close(struct http_req *req)
{
    request_of(req)->conn->wants_close = true;
}

void http_reply(struct http_req *req, int status, struct str content_type, struct str body)
{
    if (content_type.len > 0)
        http_resp_header_ref(req, STR("Content-Type"), content_type);
    http_resp_start(req, status, (int64_t)body.len);
    http_resp_write(req, body, false);
    http_resp_end(req);
}

void http_reply_error(struct http_req *req, int status, struct str message)
{
    http_resp_header_ref(req, STR("X-Content-Type-Options"), STR("nosniff"));
    http_reply(req, status, STR("text/plain; charset=utf-8"), str_cat(req->arena, message, STR("\n")));
}

void resp_refuse(struct http_conn *c, int status, const char *why)
{
    struct http_loop *loop = c->home->loop;
    struct str text = str_from(why);
    char *start = out_reserve(&c->out, loop, HEAD_FIXED + 256 + text.len),
         *p = put_status_line(start, status);
    p = put_date(p, loop);
    p = put(p, STR("Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
                   "Connection: close\r\nContent-Length: "));
    p = put_number(p, text.len + 1);
    p = put(p, STR("\r\n\r\n"));
    p = put(p, text);
    *p++ = '\n';
    out_commit(&c->out, (size_t)(p - start));
}
