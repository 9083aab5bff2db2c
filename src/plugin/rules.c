/* plugin/rules.c: permissions: matching, coverage, and the server's lists.
 * SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "plugin_int.h"

#include <pcre2.h>

enum { MATCH_LIMIT = 200000 }; /* steps of one match: patterns come from apps */

static const struct str regex_prefix = STR_INIT("regex:");

static pcre2_code *compile(struct str pattern, bool whole, struct err *err)
{
    int code;
    PCRE2_SIZE offset;
    uint32_t options = PCRE2_NEVER_BACKSLASH_C | (whole ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0);
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)(pattern.len ? pattern.ptr : ""), pattern.len, options, &code, &offset, NULL);
    if (!re) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(code, text, sizeof text);
        err_set(err, ERR_INVALID, "bad regular expression \"" STR_FMT "\" at %zu: %s", STR_ARG(pattern), offset, text);
    }
    return re;
}

static bool regex_match(struct str pattern, struct str text, bool whole, struct err *err)
{
    pcre2_code *re = compile(pattern, whole, err);
    if (!re)
        return false;
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!data || !limits)
        BUG("out of memory");
    pcre2_set_match_limit(limits, MATCH_LIMIT);
    pcre2_set_depth_limit(limits, MATCH_LIMIT);
    int n = pcre2_match(re, (PCRE2_SPTR)(text.len ? text.ptr : ""), text.len, 0, 0, data, limits);
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    pcre2_code_free(re);
    return n >= 0; /* a pattern past its limit matches nothing: permissions fail closed */
}

static bool pattern_match(struct str pattern, struct str text, bool whole, struct err *err)
{
    if (str_eq(pattern, text))
        return true;
    if (pattern.len <= regex_prefix.len || !str_starts(pattern, regex_prefix))
        return false;
    return regex_match(str_from_off(pattern, regex_prefix.len), text, whole, err);
}

bool plugin_pattern_match(struct str pattern, struct str text, struct err *err)
{
    return pattern_match(pattern, text, false, err);
}

bool plugin_pattern_match_whole(struct str pattern, struct str text, struct err *err)
{
    return pattern_match(pattern, text, true, err);
}

/* An argument as permissions see it: the content of a string, the repr of anything else. */
static struct str argument_text(struct arena *a, star_v v)
{
    struct str s;
    if (star_to_str(v, &s))
        return s;
    scoped_buf b = BUF_INIT(64 << 10);
    star_repr(&b, v);
    return str_dup(a, buf_str(&b));
}

bool plugin_arguments_match(const struct str_list *patterns, const star_v *args, size_t n_args, struct arena *a,
                            size_t *mismatch, struct err *err)
{
    *mismatch = patterns->len;
    if (n_args < patterns->len)
        return false;
    for (size_t i = 0; i < patterns->len; i++)
        if (!plugin_pattern_match(patterns->items[i], argument_text(a, args[i]), err)) {
            *mismatch = i;
            return false;
        }
    return true;
}

/* --- the server's lists ------------------------------------------------------------------------------ */

static bool check_pattern(struct str pattern, struct err *err)
{
    if (pattern.len <= regex_prefix.len || !str_starts(pattern, regex_prefix))
        return true;
    pcre2_code *re = compile(str_from_off(pattern, regex_prefix.len), false, err);
    pcre2_code_free(re);
    return re != NULL;
}

static bool read_secrets(struct arena *a, const struct toml_value *item, struct plugin_permission *p)
{
    const struct toml_value *lists = toml_get(item, STR("secrets"));
    if (!lists)
        return true;
    struct str_list *out = arena_array(a, struct str_list, lists->array.len);
    for (size_t i = 0; i < lists->array.len; i++)
        for (size_t k = 0; k < lists->array.items[i]->array.len; k++)
            str_list_add(a, &out[i], lists->array.items[i]->array.items[k]->s);
    p->secrets = out;
    p->n_secrets = lists->array.len;
    return true;
}

static bool read_rule(struct arena *a, const struct toml_value *item, struct plugin_permission *p, struct err *err)
{
    bool is_read = false;
    p->is_read = -1;
    if (!toml_read_str(item, "plugin", &p->plugin, err) || !toml_read_str(item, "method", &p->method, err) ||
        !toml_read_list(a, item, "arguments", &p->arguments, err) || !toml_read_list(a, item, "permit", &p->permit, err) ||
        !toml_read_bool(item, "is_read", &is_read, err) || !read_secrets(a, item, p))
        return false;
    if (toml_get(item, STR("is_read")))
        p->is_read = is_read;
    bool ok = check_pattern(p->method, err);
    vec_foreach (arg, &p->arguments)
        ok = ok && check_pattern(*arg, err);
    return ok;
}

static bool read_rules(struct arena *a, const struct toml_value *permissions, const char *name,
                       struct plugin_permission **out, size_t *n, struct err *err)
{
    const struct toml_value *list = permissions ? toml_get(permissions, str_from(name)) : NULL;
    *n = list ? list->array.len : 0;
    *out = arena_array(a, struct plugin_permission, *n);
    for (size_t i = 0; i < *n; i++)
        if (!read_rule(a, list->array.items[i], &(*out)[i], err))
            return err_wrap(err, "permissions.%s", name);
    return true;
}

bool plugin_rules_new(struct arena *a, const struct toml_value *permissions, struct plugin_rules **out,
                      struct err *err)
{
    struct plugin_rules *rules = arena_new(a, struct plugin_rules);
    if (!read_rules(a, permissions, "allow", &rules->allow, &rules->n_allow, err) ||
        !read_rules(a, permissions, "disallow", &rules->disallow, &rules->n_disallow, err))
        return false;
    *out = rules;
    return true;
}

/* --- approval ------------------------------------------------------------------------------------------ */

static bool lists_equal(const struct str_list *x, const struct str_list *y)
{
    if (x->len != y->len)
        return false;
    for (size_t i = 0; i < x->len; i++)
        if (!str_eq(x->items[i], y->items[i]))
            return false;
    return true;
}

static bool secrets_equal(const struct plugin_permission *x, const struct plugin_permission *y)
{
    if (x->n_secrets != y->n_secrets)
        return false;
    for (size_t i = 0; i < x->n_secrets; i++)
        if (!lists_equal(&x->secrets[i], &y->secrets[i]))
            return false;
    return true;
}

static bool permissions_equal(const struct plugin_permission *x, const struct plugin_permission *y)
{
    return str_eq(x->plugin, y->plugin) && str_eq(x->method, y->method) && x->is_read == y->is_read &&
           lists_equal(&x->arguments, &y->arguments) && lists_equal(&x->permit, &y->permit) && secrets_equal(x, y);
}

/* The allow entry's arguments are a prefix that matches the requested ones, text against text. */
static bool is_covered(const struct plugin_permission *rule, const struct plugin_permission *asked)
{
    scoped_err ignored = {0};
    if (!str_eq(rule->plugin, asked->plugin) || !plugin_pattern_match_whole(rule->method, asked->method, &ignored) ||
        !lists_equal(&rule->permit, &asked->permit) || rule->arguments.len > asked->arguments.len)
        return false;
    /* A relabelled WRITE, or secrets that the server does not grant by itself, need an administrator. */
    if (asked->is_read != -1 && asked->is_read != rule->is_read)
        return false;
    if (asked->n_secrets > 0 && !secrets_equal(rule, asked))
        return false;
    for (size_t i = 0; i < rule->arguments.len; i++)
        if (!plugin_pattern_match(rule->arguments.items[i], asked->arguments.items[i], &ignored))
            return false;
    return true;
}

static bool load_is_fine(const struct plugin_rules *rules, struct str load, const struct str_list *approved)
{
    if (str_list_has(approved, load))
        return true;
    for (size_t i = 0; i < rules->n_allow; i++)
        if (str_eq(rules->allow[i].plugin, load))
            return true;
    return false;
}

static bool permission_is_fine(const struct plugin_rules *rules, const struct plugin_permission *asked,
                               const struct plugin_permission *approved, size_t n_approved)
{
    for (size_t i = 0; i < n_approved; i++)
        if (permissions_equal(asked, &approved[i]))
            return true;
    for (size_t i = 0; i < rules->n_allow; i++)
        if (is_covered(&rules->allow[i], asked))
            return true;
    return false;
}

bool plugin_is_approved(const struct plugin_rules *rules, const struct str_list *loads,
                        const struct plugin_permission *asked, size_t n_asked, const struct str_list *approved_loads,
                        const struct plugin_permission *approved, size_t n_approved)
{
    vec_foreach (load, loads)
        if (!load_is_fine(rules, *load, approved_loads))
            return false;
    for (size_t i = 0; i < n_asked; i++)
        if (!permission_is_fine(rules, &asked[i], approved, n_approved))
            return false;
    return true;
}
