/* app/request.c: the Request object that handlers get: attributes are made when they are read.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <inttypes.h>

/* `a` is the run's arena, which the app's code may have filled up to its cap: only the star_* functions,
 * which then give null, allocate there. What else is needed for a moment is in a scratch arena. */
typedef star_v attr_fn(struct visit *v, struct arena *a);

static star_v text(struct arena *a, struct str s)
{
    return star_string(a, s);
}

static star_v url(struct visit *v, struct arena *a, struct str path)
{
    scoped_arena scratch = {0};
    return text(a, str_printf(&scratch, "%s://" STR_FMT STR_FMT, v->request.is_https ? "https" : "http",
                              STR_ARG(v->request.req->authority), STR_ARG(path)));
}

static star_v attr_app_name(struct visit *v, struct arena *a)
{
    return text(a, v->app->name);
}
static star_v attr_app_path(struct visit *v, struct arena *a)
{
    return text(a, v->app->path);
}
static star_v attr_app_url(struct visit *v, struct arena *a)
{
    return url(v, a, v->app->path_encoded);
}
static star_v attr_page_path(struct visit *v, struct arena *a)
{
    struct str path = v->request.req->path;
    return text(a, str_eq(path, STR("/")) ? (struct str){0} : path);
}
static star_v attr_page_url(struct visit *v, struct arena *a)
{
    return url(v, a, v->request.req->path);
}
static star_v attr_method(struct visit *v, struct arena *a)
{
    return text(a, v->request.req->method_text);
}
static star_v attr_is_dev(struct visit *v, struct arena *a)
{
    return star_bool(v->app->entry.is_dev);
}
static star_v attr_is_partial(struct visit *v, struct arena *a)
{
    struct str request = http_req_header(v->request.req, STR("HX-Request"));
    struct str boosted = http_req_header(v->request.req, STR("HX-Boosted"));
    return star_bool(str_eq(request, STR("true")) && !str_eq(boosted, STR("true")));
}
static star_v attr_false(struct visit *v, struct arena *a)
{
    return STAR_FALSE;
}
static star_v attr_push_events(struct visit *v, struct arena *a)
{
    return star_bool(v->app->framework.push_events);
}
static star_v attr_htmx_version(struct visit *v, struct arena *a)
{
    return text(a, v->app->framework.htmx_version);
}
static star_v attr_remote_ip(struct visit *v, struct arena *a)
{
    return text(a, v->request.client_ip);
}
static star_v attr_user_id(struct visit *v, struct arena *a)
{
    return text(a, v->request.who->user_id);
}
static star_v attr_user_subject(struct visit *v, struct arena *a)
{
    return text(a, v->request.who->subject);
}
static star_v attr_user_email(struct visit *v, struct arena *a)
{
    return text(a, v->request.who->email);
}
static star_v attr_custom_perms(struct visit *v, struct arena *a)
{
    return star_list(a, NULL, 0);
}
static star_v attr_none(struct visit *v, struct arena *a)
{
    return STAR_NONE;
}
static star_v attr_body(struct visit *v, struct arena *a)
{
    return text(a, v->body);
}

static star_v attr_url_params(struct visit *v, struct arena *a)
{
    star_v d = star_dict(a, v->match.n_params + 1);
    bool ok = star_dict_set_z(a, d, "*", star_string_z(a, ""));
    for (size_t i = 0; ok && i < v->match.n_params; i++)
        ok = star_dict_set(a, d, text(a, v->match.params[i].name), text(a, v->match.params[i].value));
    return ok ? d : STAR_NULL;
}

/* dict of lists; a list is made when its name is seen first. False at the memory cap. */
static bool add_pair(struct arena *a, star_v dict, struct str name, struct str value)
{
    star_v list = star_dict_get_str(dict, name);
    if (star_is_null(list)) {
        list = star_list(a, NULL, 0);
        if (!star_dict_set(a, dict, text(a, name), list))
            return false;
    }
    return star_list_append(a, list, text(a, value));
}

/* Parts that are malformed are left out, the others count. */
static bool add_pairs(struct arena *a, star_v dict, struct str encoded)
{
    struct str part;
    for (int n = 0; n < HTTP_MAX_PAIRS && str_next(&encoded, '&', &part); n++) {
        scoped_arena scratch = {0};
        scoped_err ignored = {0};
        struct http_pairs pairs = {0};
        if (!http_query_parse(&scratch, part, &pairs, &ignored))
            continue;
        for (size_t i = 0; i < pairs.len; i++)
            if (!add_pair(a, dict, pairs.items[i].name, pairs.items[i].value))
                return false;
    }
    return true;
}

static bool has_form(const struct visit *v)
{
    struct str type;
    str_cut(http_req_known(v->request.req, HTTP_H_CONTENT_TYPE), ';', &type, NULL);
    return str_eq_nocase(str_trim(type), STR("application/x-www-form-urlencoded"));
}

static star_v pairs_dict(struct visit *v, struct arena *a, bool with_body, bool with_query)
{
    star_v d = star_dict(a, 0);
    if (with_body && has_form(v) && !add_pairs(a, d, v->body))
        return STAR_NULL;
    if (with_query && !add_pairs(a, d, v->request.req->query))
        return STAR_NULL;
    return d;
}

static star_v attr_query(struct visit *v, struct arena *a)
{
    return pairs_dict(v, a, false, true);
}
static star_v attr_post_form(struct visit *v, struct arena *a)
{
    return pairs_dict(v, a, true, false);
}
static star_v attr_form(struct visit *v, struct arena *a)
{
    return pairs_dict(v, a, true, true);
}

struct str request_canonical_header(struct arena *a, struct str name)
{
    char *p = arena_memdup(a, name.ptr, name.len);
    bool upper = true;
    for (size_t i = 0; i < name.len; i++) {
        char c = p[i];
        if (upper && c >= 'a' && c <= 'z')
            p[i] = (char)(c & ~0x20);
        else if (!upper && c >= 'A' && c <= 'Z')
            p[i] = (char)(c | 0x20);
        upper = c == '-';
    }
    return str_of(p, name.len);
}

/* Names as CGI sees them: X_Openrun_User is X-Openrun-User. */
static bool is_ours(struct str name)
{
    static const char prefix[] = "X-Openrun-";
    for (size_t i = 0; i < sizeof prefix - 1; i++)
        if (i >= name.len ||
            ((name.ptr[i] | 0x20) != (prefix[i] | 0x20) && !(prefix[i] == '-' && name.ptr[i] == '_')))
            return false;
    return true;
}

/* Client headers without our own, which are set to what we know, and without the password that was for us. */
static star_v attr_headers(struct visit *v, struct arena *a)
{
    const struct http_req *req = v->request.req;
    const struct auth_identity *who = v->request.who;
    star_v d = star_dict(a, req->header_count + 4);
    bool ok = true;
    for (size_t i = 0; ok && i < req->header_count; i++) {
        scoped_arena scratch = {0};
        const struct http_header *h = &req->headers[i];
        struct str value = h->id == HTTP_H_COOKIE ? v->request.cookie : h->value;
        if (is_ours(h->name) || (h->id == HTTP_H_COOKIE && str_is_empty(value)) ||
            (h->id == HTTP_H_AUTHORIZATION && who->is_basic))
            continue;
        ok = add_pair(a, d, request_canonical_header(&scratch, h->name), value);
    }
    ok = ok && add_pair(a, d, STR("X-Openrun-User"), who->user_id) &&
         add_pair(a, d, STR("X-Openrun-Perms"), (struct str){0}) &&
         add_pair(a, d, STR("X-Openrun-Rbac-Enabled"), STR("false")) &&
         (str_is_empty(v->request.job) || add_pair(a, d, STR("X-Openrun-Job"), v->request.job)) &&
         (str_is_empty(who->subject) || add_pair(a, d, STR("X-Openrun-User-Id"), who->subject)) &&
         (str_is_empty(who->email) || add_pair(a, d, STR("X-Openrun-User-Email"), who->email));
    return ok ? d : STAR_NULL;
}

static const struct {
    const char *name;
    attr_fn *get;
} attrs[] = {
    {"AppName", attr_app_name},
    {"AppPath", attr_app_path},
    {"AppRBACEnabled", attr_false},
    {"AppUrl", attr_app_url},
    {"Body", attr_body},
    {"CustomPerms", attr_custom_perms},
    {"Data", attr_none},
    {"Form", attr_form},
    {"Headers", attr_headers},
    {"HtmxVersion", attr_htmx_version},
    {"IsDev", attr_is_dev},
    {"IsPartial", attr_is_partial},
    {"Method", attr_method},
    {"PagePath", attr_page_path},
    {"PageUrl", attr_page_url},
    {"PostForm", attr_post_form},
    {"PushEvents", attr_push_events},
    {"Query", attr_query},
    {"RemoteIP", attr_remote_ip},
    {"UrlParams", attr_url_params},
    {"UserEmail", attr_user_email},
    {"UserId", attr_user_id},
    {"UserSubject", attr_user_subject},
};

static enum star_ret get_json(struct star_run *run, struct visit *v, star_v *out)
{
    scoped_err err = {0};
    if (star_json_decode(star_run_arena(run), v->body, out, &err))
        return STAR_OK;
    return star_fail(run, "request body is not JSON: %s", err_msg(&err));
}

static enum star_ret request_attr(struct star_run *run, void *self, struct str name, star_v *out)
{
    if (str_eq(name, STR("Json")))
        return get_json(run, self, out);
    for (size_t i = 0; i < ARRAY_LEN(attrs); i++)
        if (str_eq_z(name, attrs[i].name)) {
            *out = attrs[i].get(self, star_run_arena(run));
            return STAR_OK; /* null is the memory error */
        }
    return STAR_MISSING;
}

static size_t request_names(void *self, struct str *names, size_t max)
{
    for (size_t i = 0; i < ARRAY_LEN(attrs) && i < max; i++)
        names[i] = str_from(attrs[i].name);
    return ARRAY_LEN(attrs);
}

static enum star_ret request_no_attr(struct star_run *run, void *self, struct str name)
{
    struct str names[ARRAY_LEN(attrs)];
    request_names(self, names, ARRAY_LEN(names));
    struct str near = str_nearest(name, names, ARRAY_LEN(names));
    if (str_is_empty(near))
        return star_fail(run, "request has no attribute '" STR_FMT "'", STR_ARG(name));
    return star_fail(run, "request has no attribute '" STR_FMT "' (did you mean " STR_FMT "?)", STR_ARG(name),
                     STR_ARG(near));
}

static const struct star_host_type request_type = {
    .name = "Request",
    .attr = request_attr,
    .attr_names = request_names,
    .no_attr = request_no_attr,
};

star_v request_object(struct visit *v)
{
    return star_host(&v->run_arena, &request_type, v);
}
