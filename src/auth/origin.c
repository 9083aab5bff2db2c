/* auth/origin.c: hosts, schemes, and where a request may come from or go to.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

bool origin_is_local(struct str host)
{
    return str_eq_nocase(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) || str_eq(host, STR("::1")) ||
           (host.len > 10 && str_eq_nocase(str_from_off(host, host.len - 10), STR(".localhost")));
}

struct str origin_text(struct http_req *req, bool is_https, struct str host)
{
    if (str_is_empty(host))
        host = req->host;
    bool is_v6 = str_chr(host, ':') != STR_NPOS;
    char port[16] = "";
    if (req->port != 0)
        snprintf(port, sizeof port, ":%d", req->port);
    return str_printf(req->arena, "%s://%s" STR_FMT "%s%s", is_https ? "https" : "http", is_v6 ? "[" : "",
                      STR_ARG(host), is_v6 ? "]" : "", port);
}

bool origin_is_request(const struct http_req *req, const struct http_url *url)
{
    int given = http_url_port(url), ours = req->port != 0 ? req->port : url->is_tls ? 443 : 80;
    return str_eq_nocase(url->host, req->host) && given == ours;
}

struct str origin_local_redirect(struct str to)
{
    return http_is_local_redirect(to) ? to : STR("/");
}

static bool is_same_origin(struct http_req *req)
{
    if (req->method == HTTP_GET || req->method == HTTP_HEAD || req->method == HTTP_OPTIONS)
        return true;
    struct str site = http_req_known(req, HTTP_H_SEC_FETCH_SITE);
    if (!str_is_empty(site))
        return str_eq(site, STR("same-origin")) || str_eq(site, STR("none"));
    struct str origin = http_req_known(req, HTTP_H_ORIGIN);
    if (str_is_empty(origin))
        return true;
    scoped_err err = {0};
    struct http_url url;
    return http_url_parse(origin, &url, &err) && origin_is_request(req, &url);
}

bool auth_cross_origin_ok(struct http_req *req)
{
    if (LIKELY(is_same_origin(req)))
        return true;
    http_reply_error(req, 403, STR("Cross origin check failed - CSRF protection"));
    return false;
}
