/* auth/page.c: the pages around signing in, filled from web/auth, and their style sheet.
 *
 * The layout has a referrer policy of its own, which overrides the no-referrer of the header: under that one a
 * browser posts our forms with `Origin: null`, and over plain http, where there is no Sec-Fetch-Site, the
 * cross-origin check would then refuse them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"
#include "pages_gen.h"

enum { PAGE_MAX = 256 << 10, HASH_SHOWN = 16 };

#define STYLE STR("style.css")
#define ASSETS "/_openrun/auth/login/"

static struct str embedded(struct str name)
{
    return embed_data(pages_gen, pages_gen_len, name);
}

struct str page_fill(struct arena *a, struct str name, const struct html_value *values, size_t n)
{
    scoped_buf b = BUF_INIT(PAGE_MAX);
    html_fill(&b, embedded(name), values, n);
    return str_dup(a, buf_str(&b));
}

static struct str content_hash(struct arena *a, struct str data)
{
    return str_slice(sha256_hex(a, data), 0, HASH_SHOWN);
}

void page_send(struct http_req *req, int status, struct str title, struct str content)
{
    struct arena *a = req->arena;
    struct str style = str_cat(a, STR(ASSETS "style.css?v="), content_hash(a, embedded(STYLE)));
    struct str page = page_fill(a, STR("layout.html"), (struct html_value[]){
        {"title", title}, {"style", style}, {"content", content, .is_raw = true}}, 3);
    http_resp_header_ref(req, STR("Content-Security-Policy"),
                         STR("default-src 'none'; style-src 'self'; font-src 'self'; frame-ancestors 'none'; "
                             "base-uri 'none'"));
    http_resp_header_ref(req, STR("X-Frame-Options"), STR("DENY"));
    http_resp_header_ref(req, STR("X-Content-Type-Options"), STR("nosniff"));
    http_resp_header_ref(req, STR("Referrer-Policy"), STR("no-referrer"));
    http_resp_header_ref(req, STR("Cache-Control"), STR("no-store"));
    http_reply(req, status, STR("text/html; charset=utf-8"), page);
}

bool page_is_htmx(const struct http_req *req)
{
    return str_eq_nocase(http_req_header(req, STR("HX-Request")), STR("true"));
}

void page_redirect(struct http_req *req, struct str to, bool is_after_post)
{
    bool is_htmx = page_is_htmx(req);
    http_resp_header_ref(req, STR("Cache-Control"), STR("no-store"));
    http_resp_header(req, is_htmx ? STR("HX-Redirect") : STR("Location"), to);
    http_reply(req, is_htmx ? 200 : is_after_post ? 303 : 302, (struct str){0}, (struct str){0});
}

bool page_asset(struct http_req *req, struct str name)
{
    if (!str_eq(name, STYLE))
        return false;
    struct str data = embedded(name);
    struct str etag = str_printf(req->arena, "\"" STR_FMT "\"", STR_ARG(content_hash(req->arena, data)));
    http_resp_header_ref(req, STR("ETag"), etag);
    http_resp_header_ref(req, STR("Cache-Control"), STR("public, max-age=31536000, immutable"));
    http_resp_header_ref(req, STR("X-Content-Type-Options"), STR("nosniff"));
    struct str known = http_req_known(req, HTTP_H_IF_NONE_MATCH), member;
    while (http_list_next(&known, &member)) {
        if (str_starts(member, STR("W/")))
            member = str_from_off(member, 2);
        if (str_eq(member, etag) || str_eq(member, STR("*"))) {
            http_reply(req, 304, (struct str){0}, (struct str){0});
            return true;
        }
    }
    http_reply(req, 200, STR("text/css; charset=utf-8"), data);
    return true;
}
