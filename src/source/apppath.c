/* source/apppath.c: where an app is served: parsing and checking paths and domains, the stage location.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

enum { DOMAIN_MAX = 253, LABEL_MAX = 63 }; /* RFC 1035 §2.3.4 */

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

bool src_apppath_parse(struct str text, struct src_apppath *out, struct err *err)
{
    struct src_apppath p = {.path = text};
    if (str_cut(text, ':', &p.domain, &p.path)) {
        if (str_chr(p.path, ':') != STR_NPOS)
            return err_set(err, ERR_INVALID, "invalid app path " STR_FMT ", expected one \":\"",
                           STR_ARG(text));
    } else {
        p.domain = STR("");
        p.path = text;
    }
    p.path = str_trim_right(p.path, '/');
    if (str_is_empty(p.path))
        p.path = STR("/");
    if (p.path.ptr[0] != '/')
        return err_set(err, ERR_INVALID, "invalid app path " STR_FMT ", expected path to start with \"/\"",
                       STR_ARG(text));
    *out = p;
    return true;
}

/* The rules of one path, in the order in which a person would want to hear of them. */
static const char *path_fault(struct str path)
{
    if (str_is_empty(path) || path.ptr[0] != '/')
        return "it must start with \"/\"";
    if (path.len > SRC_APPPATH_MAX)
        return "it is too long";
    if (!str_is_utf8(path))
        return "it is not valid UTF-8";
    for (size_t i = 0; i < path.len; i++)
        if (is_control((unsigned char)path.ptr[i]))
            return "it contains a control character";
    for (size_t i = 0; i < path.len; i++)
        if (strchr("?#%\\:", path.ptr[i]))
            return "the characters ? # % \\ : are not allowed";
    if (str_find(path, STR("/..")) != STR_NPOS || str_find(path, STR("../")) != STR_NPOS ||
        str_find(path, STR("/./")) != STR_NPOS || str_ends(path, STR("/.")))
        return "\".\" and \"..\" are not allowed as segments";
    if (str_find(path, STR("//")) != STR_NPOS)
        return "it contains an empty segment (\"//\")";
    if (path.len > 1 && path.ptr[path.len - 1] == '/')
        return "it ends with \"/\"";
    if (str_starts(path, STR("/_openrun")))
        return "paths that start with \"/_openrun\" are reserved";
    struct str rest = str_from_off(path, 1), part;
    for (int depth = 1; str_next(&rest, '/', &part); depth++) {
        if (depth > SRC_APPPATH_DEPTH)
            return "it has more than 32 segments";
        if (str_eq(part, STR("_openrun_app")))
            return "the segment \"_openrun_app\" is reserved";
        if (!rest.ptr && str_find(part, STR("_cl_")) != STR_NPOS)
            return "\"_cl_\" in the last segment is reserved for staging and preview apps";
    }
    return NULL;
}

bool src_apppath_check(const struct src_apppath *p, struct err *err)
{
    const char *fault = path_fault(p->path);
    if (fault)
        return err_set(err, ERR_INVALID, "invalid app path " STR_FMT ": %s", STR_ARG(p->path), fault);
    return true;
}

/* host = label *("." label), label of letters, digits, '-' and '_', no '-' at either end. */
static bool is_host(struct str host)
{
    if (str_is_empty(host) || host.len > DOMAIN_MAX)
        return false;
    struct str rest = host, label;
    while (str_next(&rest, '.', &label)) {
        if (str_is_empty(label) || label.len > LABEL_MAX || label.ptr[0] == '-' ||
            label.ptr[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++) {
            char c = label.ptr[i];
            if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
                return false;
        }
    }
    return true;
}

bool src_domain_normalize(struct arena *a, struct str domain, struct str default_domain, struct str *out,
                          struct err *err)
{
    if (str_is_empty(domain)) {
        *out = STR("");
        return true;
    }
    struct str full = str_lower(a, domain);
    if (str_ends(full, STR("."))) {
        if (str_is_empty(default_domain))
            return err_set(err, ERR_INVALID,
                           "domain " STR_FMT " is relative, but no default domain is configured: "
                           "set system.default_domain or give the whole name",
                           STR_ARG(domain));
        full = str_cat(a, full, str_lower(a, default_domain));
    }
    if (!is_host(full))
        return err_set(err, ERR_INVALID,
                       "invalid domain " STR_FMT ": expected a host name like app.example.com, or one ending "
                       "in \".\" for a name under the default domain",
                       STR_ARG(domain));
    *out = full;
    return true;
}

bool src_apppath_new(struct arena *a, struct str text, struct str default_domain, struct src_apppath *out,
                     struct err *err)
{
    struct src_apppath p;
    if (!src_apppath_parse(text, &p, err) || !src_apppath_check(&p, err) ||
        !src_domain_normalize(a, p.domain, default_domain, &p.domain, err))
        return false;
    p.path = str_dup(a, p.path);
    *out = p;
    return true;
}

struct str src_apppath_str(struct arena *a, const struct src_apppath *p)
{
    if (str_is_empty(p->domain))
        return str_dup(a, p->path);
    return str_printf(a, STR_FMT ":" STR_FMT, STR_ARG(p->domain), STR_ARG(p->path));
}

bool src_apppath_eq(const struct src_apppath *x, const struct src_apppath *y)
{
    return str_eq(x->domain, y->domain) && str_eq(x->path, y->path);
}

static bool contains(struct str outer, struct str inner)
{
    outer = str_trim_right(outer, '/');
    return str_starts(inner, outer) && (inner.len == outer.len || inner.ptr[outer.len] == '/');
}

bool src_apppath_overlaps(const struct src_apppath *x, const struct src_apppath *y, struct str default_domain)
{
    struct str dx = str_is_empty(x->domain) ? default_domain : x->domain;
    struct str dy = str_is_empty(y->domain) ? default_domain : y->domain;
    return str_eq_nocase(dx, dy) && (contains(x->path, y->path) || contains(y->path, x->path));
}

/* stage_domain before the app's effective domain: "stage" and "stage." both give stage.example.com. */
static bool stage_by_domain(struct arena *a, const struct src_apppath *p, struct str stage_domain,
                            struct str default_domain, struct src_apppath *out, struct err *err)
{
    struct str base = str_is_empty(p->domain) ? default_domain : p->domain;
    if (str_is_empty(base))
        return err_set(err, ERR_INVALID,
                       "the staging domain of " STR_FMT " needs a default domain: set system.default_domain, "
                       "or stage_at to \"path\"",
                       STR_ARG(p->path));
    if (str_is_empty(stage_domain))
        stage_domain = STR("stage");
    struct str host = str_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(stage_domain),
                                 str_ends(stage_domain, STR(".")) ? "" : ".", STR_ARG(base));
    out->path = p->path;
    return src_domain_normalize(a, host, STR(""), &out->domain, err);
}

bool src_apppath_stage(struct arena *a, const struct src_apppath *p, struct str stage_at,
                       struct str stage_domain, struct str default_domain, struct src_apppath *out,
                       struct err *err)
{
    struct src_apppath stage = *p;
    stage_at = str_trim(stage_at);
    if (str_is_empty(stage_at) || str_eq_nocase(stage_at, STR("domain"))) {
        if (!stage_by_domain(a, p, stage_domain, default_domain, &stage, err))
            return false;
    } else if (str_eq_nocase(stage_at, STR("path"))) {
        stage.path = str_cat(a, p->path, STR("_cl_stage")); /* of the root: "/_cl_stage" */
    } else {
        if (str_chr(stage_at, ':') != STR_NPOS)
            return err_set(err, ERR_INVALID,
                           "invalid stage_at " STR_FMT
                           ": expected \"domain\", \"path\" or a domain without path",
                           STR_ARG(stage_at));
        if (!src_domain_normalize(a, stage_at, default_domain, &stage.domain, err))
            return err_wrap(err, "stage_at");
    }
    struct str own = str_is_empty(p->domain) ? default_domain : p->domain;
    struct str its = str_is_empty(stage.domain) ? default_domain : stage.domain;
    if (str_eq_nocase(own, its) && str_eq(stage.path, p->path))
        return err_set(err, ERR_INVALID,
                       "the staging location " STR_FMT ":" STR_FMT
                       " is the app's own location: choose another stage_at",
                       STR_ARG(its), STR_ARG(p->path));
    *out = stage;
    return true;
}

/* Everything but "pchar" and "/" of RFC 3986 §3.3 as %XX. */
static bool is_path_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("-._~!$&'()*+,;=:@/", c) != NULL);
}

struct str src_apppath_url(struct arena *a, const struct src_apppath *p, const char *scheme,
                           struct str default_domain, unsigned port)
{
    struct str host = str_is_empty(p->domain) ? default_domain : p->domain;
    char *path = arena_alloc(a, p->path.len * 3 + 1);
    size_t len = 0;
    for (size_t i = 0; i < p->path.len; i++) {
        unsigned char c = (unsigned char)p->path.ptr[i];
        if (is_path_char(c)) {
            path[len++] = (char)c;
            continue;
        }
        path[len++] = '%';
        path[len++] = "0123456789ABCDEF"[c >> 4];
        path[len++] = "0123456789ABCDEF"[c & 15];
    }
    if (port == 0)
        return str_printf(a, "%s://" STR_FMT "%.*s", scheme, STR_ARG(host), (int)len, path);
    return str_printf(a, "%s://" STR_FMT ":%u%.*s", scheme, STR_ARG(host), port, (int)len, path);
}
