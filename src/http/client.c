/* http/client.c: the blocking client: checks a fetch and hands it to the plain way or to libcurl (client_int.h).
 * SPDX-License-Identifier: Apache-2.0 */
#include "client_int.h"

#include <stdlib.h>
#include <unistd.h>

struct http_client *http_client_open(void)
{
    struct http_client *c = xcalloc(1, sizeof *c);
    c->kept.fd = -1;
    return c;
}

void http_client_close(struct http_client *c)
{
    if (!c)
        return;
    if (c->kept.fd >= 0)
        close(c->kept.fd);
    client_curl_close(c->curl);
    free(c);
}

void http_client_cleanup(struct http_client **c)
{
    http_client_close(*c);
}

struct str http_answer_header(const struct http_answer *res, struct str name)
{
    for (size_t i = 0; i < res->header_count; i++)
        if (str_eq_nocase(res->headers[i].name, name))
            return res->headers[i].value;
    return (struct str){0};
}

/* --- the answer --- */

void client_answer_init(struct client_answer *t, const struct http_fetch *f, struct arena *a)
{
    *t = (struct client_answer){.f = f, .arena = a, .body = BUF_INIT(f->max_body > 0 ? f->max_body : HTTP_FETCH_MAX_BODY)};
}

void client_answer_release(struct client_answer *t)
{
    buf_release(&t->body);
}

bool client_answer_tell(struct client_answer *t, struct err *err)
{
    if (t->is_told)
        return true;
    t->is_told = true;
    return !t->f->on_head || t->f->on_head(t->f->body_arg, &t->res, err);
}

bool client_answer_body(struct client_answer *t, struct str part, struct err *err)
{
    if (!client_answer_tell(t, err))
        return false;
    if (t->f->on_body)
        return t->f->on_body(t->f->body_arg, part, err);
    return buf_add_str(&t->body, part) || err_set(err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", t->body.max);
}

bool client_answer_end(struct client_answer *t, struct http_answer *out, struct err *err)
{
    if (!client_answer_tell(t, err))
        return false;
    if (t->body.len > 0) {
        char *p = arena_try_alloc(t->arena, t->body.len + 1);
        if (!p)
            return err_set(err, ERR_TOO_LARGE, "the answer does not fit in the memory allowed");
        memcpy(p, t->body.ptr, t->body.len);
        p[t->body.len] = '\0';
        t->res.body = str_of(p, t->body.len);
    }
    *out = t->res;
    return true;
}

/* --- the fetch --- */

static bool check_headers(const struct http_fetch *f, struct err *err)
{
    for (size_t i = 0; i < f->header_count; i++) {
        struct str name = f->headers[i].name;
        if (!http_is_token(name))
            return err_set(err, ERR_INVALID, "\"%.*s\" is not a header name", STR_ARG(name));
        if (!http_is_field_value(f->headers[i].value))
            return err_set(err, ERR_INVALID, "the value of header %.*s has control characters", STR_ARG(name));
    }
    return true;
}

bool http_fetch(struct http_client *c, struct arena *a, const struct http_fetch *f, struct http_answer *out,
                struct err *err)
{
    bool has_body = f->body.len > 0 || f->read_body;
    struct str method = f->method.len > 0 ? f->method : has_body ? STR("POST") : STR("GET");
    struct http_url u;
    if (!http_is_token(method))
        return err_set(err, ERR_INVALID, "\"%.*s\" is not an HTTP method", STR_ARG(method));
    if (!check_headers(f, err))
        return false;
    return client_plain_takes(f, &u) ? client_plain_fetch(&c->kept, a, f, method, &u, out, err)
                                     : client_curl_fetch(&c->curl, a, f, method, out, err);
}
