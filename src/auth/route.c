/* auth/route.c: the fixed routes: /_openrun/auth/login... and /_openrun/logout...
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

enum { PROVIDER_NAME_MAX = 64 };

static bool is_read(const struct http_req *req)
{
    return req->method == HTTP_GET || req->method == HTTP_HEAD;
}

static void refuse_method(struct http_req *req, struct str allow)
{
    http_resp_header_ref(req, STR("Allow"), allow);
    http_reply_error(req, 405, STR("method not allowed"));
}

static void not_found(struct http_req *req)
{
    http_reply_error(req, 404, STR("not found"));
}

/* `rest` is what follows /_openrun/auth/login/. */
static void route_login(struct auth *auth, struct http_req *req, struct str rest)
{
    bool is_sign_in_host = auth->has_form && str_eq(req->host, auth->domain);
    const struct auth_kind *kind = auth_kind_find(rest);
    if (str_eq(rest, STR("complete"))) {
        /* Not for HEAD: it would use the state up. */
        if (req->method == HTTP_GET)
            login_complete(auth, req);
        else
            refuse_method(req, STR("GET"));
    } else if (kind && !str_is_empty(kind->form_text) && is_sign_in_host) {
        if (req->method != HTTP_POST)
            refuse_method(req, STR("POST"));
        else if (auth_cross_origin_ok(req))
            login_post(auth, req, kind);
    } else if (!is_read(req) || !page_asset(req, rest)) {
        not_found(req);
    }
}

static bool is_provider_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return s.len > 0 && s.len <= PROVIDER_NAME_MAX;
}

bool auth_route(struct auth *auth, struct http_req *req, bool is_https)
{
    struct str path = req->path;
    if (str_eq(path, STR("/_openrun/auth/login"))) {
        if (!auth->has_form || !str_eq(req->host, auth->domain))
            not_found(req);
        else if (is_read(req))
            login_page(auth, req);
        else
            refuse_method(req, STR("GET, HEAD"));
        return true;
    }
    if (str_starts(path, STR("/_openrun/auth/login/"))) {
        route_login(auth, req, str_from_off(path, strlen("/_openrun/auth/login/")));
        return true;
    }
    if (str_eq(path, STR("/_openrun/logout"))) {
        if (is_read(req))
            logout_page(auth, req);
        else if (req->method != HTTP_POST)
            refuse_method(req, STR("GET, HEAD, POST"));
        else if (auth_cross_origin_ok(req))
            logout_post(auth, req);
        return true;
    }
    if (str_starts(path, STR("/_openrun/logout/"))) {
        struct str provider = str_from_off(path, strlen("/_openrun/logout/"));
        if (!is_provider_name(provider))
            not_found(req);
        else if (req->method != HTTP_POST)
            refuse_method(req, STR("POST"));
        else if (auth_cross_origin_ok(req))
            logout_provider(auth, req, provider);
        return true;
    }
    return false;
}
