/* http/static.c: serves content whose bytes are known.
 *
 * Which representation is sent is settled first (a precompressed variant if the client weighs its coding at least
 * as much as none, and asked for no range), then the conditions are checked against that one's tag,
 * then the range is cut out.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <stdio.h>
#include <unistd.h>

/* What is sent: the content itself or a variant of it. */
struct chosen {
    struct str coding, body;
    int fd;
    uint64_t size;
    struct str etag;
};

static struct chosen choose(struct http_req *req, const struct http_static *f)
{
    struct chosen c = {.body = f->body, .fd = f->fd, .size = f->fd >= 0 ? f->size : f->body.len, .etag = f->etag};
    if (f->variant_count == 0 || http_req_known(req, HTTP_H_RANGE).ptr)
        return c;
    struct str accept = http_req_known(req, HTTP_H_ACCEPT_ENCODING);
    if (!accept.ptr)
        return c;
    const struct http_variant *best = NULL;
    int best_q = 0;
    for (size_t i = 0; i < f->variant_count; i++) {
        int q = http_accepts_coding(accept, f->variants[i].coding);
        if (q > best_q) {
            best = &f->variants[i];
            best_q = q;
        }
    }
    /* An identity that is merely not ruled out loses to any coding that was asked for. */
    int identity_q = str_find(accept, STR("identity")) == STR_NPOS ? 0 : http_accepts_coding(accept, STR("identity"));
    if (!best || best_q < identity_q)
        return c;
    c.coding = best->coding;
    c.body = best->body;
    c.fd = -1;
    c.size = best->body.len;
    if (f->etag.len >= 2)
        c.etag = str_printf(req->arena, "%.*s-%.*s\"", (int)f->etag.len - 1, f->etag.ptr, STR_ARG(best->coding));
    return c;
}

static void add_headers(struct http_req *req, const struct http_static *f, const struct chosen *c, bool has_body)
{
    if (f->variant_count > 0)
        http_resp_header(req, STR("Vary"), STR("Accept-Encoding"));
    if (c->etag.len > 0)
        http_resp_set_header(req, STR("ETag"), c->etag);
    if (f->mtime_s != 0) {
        char date[HTTP_DATE_LEN];
        http_date_format(f->mtime_s, date);
        http_resp_set_header(req, STR("Last-Modified"), str_of(date, sizeof date));
    }
    if (f->cache_control.len > 0)
        http_resp_set_header(req, STR("Cache-Control"), f->cache_control);
    if (!has_body)
        return;
    http_resp_set_header(req, STR("Accept-Ranges"), STR("bytes"));
    if (f->content_type.len > 0)
        http_resp_set_header(req, STR("Content-Type"), f->content_type);
    if (c->coding.len > 0)
        http_resp_set_header(req, STR("Content-Encoding"), c->coding);
}

static void send_part(struct http_req *req, const struct http_static *f, const struct chosen *c, int status,
                      uint64_t first, uint64_t len)
{
    http_resp_start(req, status, (int64_t)len);
    bool wants_file = c->fd >= 0 && req->method != HTTP_HEAD && len > 0;
    if (wants_file)
        http_resp_file(req, c->fd, first, len);
    else if (f->fd >= 0)
        close(f->fd);
    if (!wants_file && req->method != HTTP_HEAD)
        http_resp_write(req, str_slice(c->body, first, first + len), true);
    http_resp_end(req);
}

static void send_empty(struct http_req *req, const struct http_static *f, int status)
{
    if (f->fd >= 0)
        close(f->fd);
    http_resp_start(req, status, 0);
    http_resp_end(req);
}

void http_serve_static(struct http_req *req, const struct http_static *f)
{
    bool is_get_or_head = req->method == HTTP_GET || req->method == HTTP_HEAD;
    if (!is_get_or_head) {
        http_resp_set_header(req, STR("Allow"), STR("GET, HEAD"));
        send_empty(req, f, 405);
        return;
    }
    struct chosen c = choose(req, f);
    struct http_conditions cond = {
        .if_match = http_req_known(req, HTTP_H_IF_MATCH),
        .if_none_match = http_req_known(req, HTTP_H_IF_NONE_MATCH),
        .if_modified_since = http_req_known(req, HTTP_H_IF_MODIFIED_SINCE),
        .if_unmodified_since = http_req_known(req, HTTP_H_IF_UNMODIFIED_SINCE),
        .is_get_or_head = true,
    };
    int status = http_conditions_check(&cond, c.etag, f->mtime_s);
    if (status != 0) {
        add_headers(req, f, &c, false);
        send_empty(req, f, status);
        return;
    }
    uint64_t first = 0, len = c.size;
    struct str range = http_req_known(req, HTTP_H_RANGE);
    enum http_range_kind kind = HTTP_RANGE_NONE;
    if (range.ptr && req->method == HTTP_GET
        && http_if_range_holds(http_req_known(req, HTTP_H_IF_RANGE), c.etag, f->mtime_s))
        kind = http_range_parse(range, c.size, &first, &len);
    char text[80];
    if (kind == HTTP_RANGE_BAD) {
        snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)c.size);
        http_resp_set_header(req, STR("Content-Range"), str_from(text));
        add_headers(req, f, &c, false);
        send_empty(req, f, 416);
        return;
    }
    if (kind == HTTP_RANGE_ONE) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)first,
                 (unsigned long long)(first + len - 1), (unsigned long long)c.size);
        http_resp_set_header(req, STR("Content-Range"), str_from(text));
    }
    add_headers(req, f, &c, true);
    send_part(req, f, &c, kind == HTTP_RANGE_ONE ? 206 : 200, first, len);
}
