/* plugin/rules.c: permissions: matching, coverage, and the server's lists.
 * SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "plugin_int.h"

#include <pcre2.h>

enum { MATCH_LIMIT = 200000 }; /* steps of one match: patterns come from apps */

static const struct str regex_prefix = STR_INIT("regex:");

static void release(void *re)
{
    pcre2_code_free(re);
}

/* `whole`: the expression must match all of the text. */
static bool compile(struct arena *a, struct str text, bool whole, struct plugin_pattern *out, struct err *err)
{
    *out = (struct plugin_pattern){.text = text};
    if (text.len <= regex_prefix.len || !str_starts(text, regex_prefix))
        return true;
    int code;
    PCRE2_SIZE offset;
    uint32_t options =
        PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF | (whole ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0);
    struct str re = str_from_off(text, regex_prefix.len);
    out->re = pcre2_compile((PCRE2_SPTR)re.ptr, re.len, options, &code, &offset, NULL);
    if (!out->re) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(err, ERR_INVALID, "bad regular expression \"" STR_FMT "\" at %zu: %s", STR_ARG(re),
                       offset, why);
    }
    arena_defer(a, release, out->re);
    return true;
}

static bool regex_match(const pcre2_code *re, struct str text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!data || !limits)
        BUG("out of memory");
    pcre2_set_match_limit(limits, MATCH_LIMIT);
    pcre2_set_depth_limit(limits, MATCH_LIMIT);
    int n = pcre2_match(re, (PCRE2_SPTR)(text.len ? text.ptr : ""), text.len, 0, 0, data, limits);
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    return n >= 0; /* a pattern past its limit matches nothing: permissions fail closed */
}

bool plugin_pattern_match(const struct plugin_pattern *p, struct str text)
{
    return str_eq(p->text, text) || (p->re && regex_match(p->re, text));
}

/* An argument as permissions see it: the content of a string, the repr of anything else. */
static bool argument_match(const struct plugin_pattern *p, star_v v)
{
    struct str s;
    if (star_to_str(v, &s))
        return plugin_pattern_match(p, s);
    scoped_buf b = BUF_INIT(64 << 10);
    return star_repr(&b, v) && !b.is_full && plugin_pattern_match(p, buf_str(&b));
}

bool plugin_arguments_match(const struct plugin_matcher *m, const star_v *args, size_t n_args,
                            size_t *mismatch)
{
    size_t n = m->of->arguments.len;
    *mismatch = n;
    if (n_args < n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!argument_match(&m->arguments[i], args[i])) {
            *mismatch = i;
            return false;
        }
    return true;
}

/* `is_server`: "regex:" counts in methods too. */
static bool compile_all(struct arena *a, const struct plugin_permission *items, size_t n, bool is_server,
                        struct plugin_matchers *out, struct err *err)
{
    struct plugin_matchers all = {arena_array(a, struct plugin_matcher, n), n};
    for (size_t i = 0; i < n; i++) {
        struct plugin_matcher *m = &all.items[i];
        m->of = &items[i];
        m->method.text = items[i].method;
        m->arguments = arena_array(a, struct plugin_pattern, items[i].arguments.len);
        bool ok = !is_server || compile(a, items[i].method, true, &m->method, err);
        for (size_t k = 0; ok && k < items[i].arguments.len; k++)
            ok = compile(a, items[i].arguments.items[k], false, &m->arguments[k], err);
        if (!ok)
            return err_wrap(err, "permission " STR_FMT "." STR_FMT, STR_ARG(items[i].plugin),
                            STR_ARG(items[i].method));
    }
    *out = all;
    return true;
}

bool plugin_matchers_new(struct arena *a, const struct plugin_permission *items, size_t n,
                         const struct plugin_matchers **out, struct err *err)
{
    struct plugin_matchers *all = arena_new(a, struct plugin_matchers);
    if (!compile_all(a, items, n, false, all, err))
        return false;
    *out = all;
    return true;
}

/* --- the server's lists ------------------------------------------------------------------------------ */

static bool read_secrets(struct arena *a, const struct toml_value *item, struct plugin_permission *p,
                         struct err *err)
{
    const struct toml_value *lists = toml_get(item, STR("secrets"));
    if (!lists)
        return true;
    if (lists->kind != TOML_ARRAY)
        return toml_fail(lists, err, "secrets must be a list of lists of strings");
    struct str_list *out = arena_array(a, struct str_list, lists->array.len);
    for (size_t i = 0; i < lists->array.len; i++) {
        const struct toml_value *list = lists->array.items[i];
        if (list->kind != TOML_ARRAY)
            return toml_fail(list, err, "secrets must be a list of lists of strings");
        for (size_t k = 0; k < list->array.len; k++) {
            if (list->array.items[k]->kind != TOML_STRING)
                return toml_fail(list->array.items[k], err, "secrets must be a list of lists of strings");
            str_list_add(a, &out[i], list->array.items[k]->s);
        }
    }
    p->secrets = out;
    p->n_secrets = lists->array.len;
    return true;
}

static bool read_rule(struct arena *a, const struct toml_value *item, struct plugin_permission *p,
                      struct err *err)
{
    bool is_read = false;
    p->is_read = -1;
    if (!toml_read_str(item, "plugin", &p->plugin, err) || !toml_read_str(item, "method", &p->method, err) ||
        !toml_read_list(a, item, "arguments", &p->arguments, err) ||
        !toml_read_list(a, item, "permit", &p->permit, err) ||
        !toml_read_bool(item, "is_read", &is_read, err) || !read_secrets(a, item, p, err))
        return false;
    if (toml_get(item, STR("is_read")))
        p->is_read = is_read;
    return true;
}

static bool read_rules(struct arena *a, const struct toml_value *permissions, const char *name,
                       struct plugin_permission **items, struct plugin_matchers *out, struct err *err)
{
    const struct toml_value *list = permissions ? toml_get(permissions, str_from(name)) : NULL;
    if (list && list->kind != TOML_ARRAY)
        return toml_fail(list, err, "permissions.%s must be a list of tables", name);
    size_t n = list ? list->array.len : 0;
    *items = arena_array(a, struct plugin_permission, n);
    for (size_t i = 0; i < n; i++)
        if (!read_rule(a, list->array.items[i], &(*items)[i], err))
            return err_wrap(err, "permissions.%s", name);
    return compile_all(a, *items, n, true, out, err) || err_wrap(err, "permissions.%s", name);
}

bool plugin_rules_new(struct arena *a, const struct toml_value *permissions, struct plugin_rules **out,
                      struct err *err)
{
    struct plugin_rules *rules = arena_new(a, struct plugin_rules);
    if (!read_rules(a, permissions, "allow", &rules->allow_items, &rules->allow, err) ||
        !read_rules(a, permissions, "disallow", &rules->disallow_items, &rules->disallow, err))
        return false;
    *out = rules;
    return true;
}

/* --- approval ------------------------------------------------------------------------------------------ */

static bool secrets_equal(const struct plugin_permission *x, const struct plugin_permission *y)
{
    if (x->n_secrets != y->n_secrets)
        return false;
    for (size_t i = 0; i < x->n_secrets; i++)
        if (!str_list_eq(&x->secrets[i], &y->secrets[i]))
            return false;
    return true;
}

static bool permissions_equal(const struct plugin_permission *x, const struct plugin_permission *y)
{
    return str_eq(x->plugin, y->plugin) && str_eq(x->method, y->method) && x->is_read == y->is_read &&
           str_list_eq(&x->arguments, &y->arguments) && str_list_eq(&x->permit, &y->permit) &&
           secrets_equal(x, y);
}

/* The allow entry's arguments are a prefix that matches the requested ones, text against text. */
static bool is_covered(const struct plugin_matcher *m, const struct plugin_permission *asked)
{
    const struct plugin_permission *rule = m->of;
    if (!str_eq(rule->plugin, asked->plugin) || !plugin_pattern_match(&m->method, asked->method) ||
        !str_list_eq(&rule->permit, &asked->permit) || rule->arguments.len > asked->arguments.len)
        return false;
    /* A relabelled WRITE, or secrets that the server does not grant by itself, need an administrator. */
    if (asked->is_read != -1 && asked->is_read != rule->is_read)
        return false;
    if (asked->n_secrets > 0 && !secrets_equal(rule, asked))
        return false;
    for (size_t i = 0; i < rule->arguments.len; i++)
        if (!plugin_pattern_match(&m->arguments[i], asked->arguments.items[i]))
            return false;
    return true;
}

static bool load_is_fine(const struct plugin_rules *rules, struct str load, const struct str_list *approved)
{
    if (str_list_has(approved, load))
        return true;
    for (size_t i = 0; i < rules->allow.len; i++)
        if (str_eq(rules->allow_items[i].plugin, load))
            return true;
    return false;
}

static bool permission_is_fine(const struct plugin_rules *rules, const struct plugin_permission *asked,
                               const struct plugin_permission *approved, size_t n_approved)
{
    for (size_t i = 0; i < n_approved; i++)
        if (permissions_equal(asked, &approved[i]))
            return true;
    for (size_t i = 0; i < rules->allow.len; i++)
        if (is_covered(&rules->allow.items[i], asked))
            return true;
    return false;
}

bool plugin_is_approved(const struct plugin_rules *rules, const struct str_list *loads,
                        const struct plugin_permission *asked, size_t n_asked,
                        const struct str_list *approved_loads, const struct plugin_permission *approved,
                        size_t n_approved)
{
    vec_foreach(load, loads) if (!load_is_fine(rules, *load, approved_loads)) return false;
    for (size_t i = 0; i < n_asked; i++)
        if (!permission_is_fine(rules, &asked[i], approved, n_approved))
            return false;
    return true;
}
