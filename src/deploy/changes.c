/* deploy/changes.c: what differs between two states of an app, for people: the fields of a plan or a diff.
 *
 * Fields are named as in declarative files. What a secret-looking name holds is never shown, only that it
 * differs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

static void add(json_t *out, struct str field, json_t *old, json_t *now)
{
    json_t *j = json_object();
    json_set_str(j, "field", field);
    json_object_set_new(j, "old", old);
    json_object_set_new(j, "new", now);
    json_array_append_new(out, j);
}

static json_t *text_or_null(struct str s)
{
    return str_is_empty(s) ? json_null() : json_from_str(s);
}

static void compare_text(json_t *out, const char *field, struct str old, struct str now)
{
    if (!str_eq(old, now))
        add(out, str_from(field), text_or_null(old), text_or_null(now));
}

static json_t *shown(struct str name, const struct str *value)
{
    if (!value)
        return json_null();
    bool is_hidden =
        declare_is_secret(name) && !str_is_empty(*value) && str_find(*value, STR("{{")) == STR_NPOS;
    return json_from_str(is_hidden ? STR("***") : *value);
}

static void compare_maps(struct arena *a, json_t *out, const char *what, const struct map *old,
                         const struct map *now)
{
    map_foreach(e, old)
    {
        const struct str *was = e->value, *is = map_get(now, e->key);
        if (!is || !str_eq(*was, *is))
            add(out, str_printf(a, "%s." STR_FMT, what, STR_ARG(e->key)), shown(e->key, was),
                shown(e->key, is));
    }
    map_foreach(e, now) if (!map_has(old, e->key))
        add(out, str_printf(a, "%s." STR_FMT, what, STR_ARG(e->key)), json_null(), shown(e->key, e->value));
}

/* Takes over both. */
static void compare_json(json_t *out, const char *field, json_t *old, json_t *now)
{
    if (json_equal(old, now)) {
        json_decref(old);
        json_decref(now);
        return;
    }
    add(out, str_from(field), old, now);
}

static json_t *accounts_of(struct arena *a, const struct store_account_list *l)
{
    json_t *j = json_array();
    vec_foreach(x, l) json_array_append_new(
        j, json_from_str(str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(x->plugin), STR_ARG(x->account_name))));
    return j;
}

/* Names, and how much of each there is: enough to see that a spec has changed. */
static json_t *spec_files_of(struct arena *a, const struct map *files)
{
    json_t *j = json_array();
    map_foreach(e, files)
    {
        struct str sha = sha256_hex(a, *(const struct str *)e->value);
        json_array_append_new(j, json_from_str(str_printf(a, STR_FMT " %.12s", STR_ARG(e->key), sha.ptr)));
    }
    return j;
}

json_t *changes_metadata(struct arena *a, const struct store_metadata *old, const struct store_metadata *now)
{
    json_t *out = json_array();
    const struct store_version_metadata *was = &old->version_metadata, *is = &now->version_metadata;
    compare_text(out, "name", old->name, now->name);
    compare_text(out, "auth", old->authn_type, now->authn_type);
    compare_text(out, "git_auth", old->git_auth_name, now->git_auth_name);
    compare_text(out, "git_branch", was->git_branch, is->git_branch);
    compare_text(out, "git_commit", was->git_commit, is->git_commit);
    compare_text(out, "git_message", was->git_message, is->git_message);
    compare_text(out, "spec", old->spec, now->spec);
    if (str_eq(old->spec, now->spec))
        compare_json(out, "spec_files", spec_files_of(a, &old->spec_files),
                     spec_files_of(a, &now->spec_files));
    compare_maps(a, out, "params", &old->param_values, &now->param_values);
    compare_maps(a, out, "app_config", &old->appconfig, &now->appconfig);
    compare_maps(a, out, "container_opts", &old->container_options, &now->container_options);
    compare_maps(a, out, "container_args", &old->container_args, &now->container_args);
    compare_json(out, "container_vols", json_from_list(&old->container_volumes),
                 json_from_list(&now->container_volumes));
    compare_json(out, "bindings", json_from_list(&old->bindings), json_from_list(&now->bindings));
    compare_json(out, "accounts", accounts_of(a, &old->accounts), accounts_of(a, &now->accounts));
    compare_text(out, "jobs", old->jobs, now->jobs);
    compare_json(out, "plugins", json_from_list(&old->loads), json_from_list(&now->loads));
    compare_json(out, "permissions", store_permissions_to_json(&old->permissions),
                 store_permissions_to_json(&now->permissions));
    return out;
}

/* --- files --- */

void changes_each_file(const struct src_files *old, const struct src_files *now, changes_file_fn *fn,
                       void *arg)
{
    size_t i = 0, j = 0, n = old ? old->len : 0, m = now ? now->len : 0;
    while (i < n || j < m) {
        int c = i == n ? 1 : j == m ? -1 : str_cmp(old->items[i].name, now->items[j].name);
        fn(arg, c <= 0 ? &old->items[i] : NULL, c >= 0 ? &now->items[j] : NULL);
        i += c <= 0;
        j += c >= 0;
    }
}

static void add_name(void *arg, const struct src_file *old, const struct src_file *now)
{
    json_t *lists = arg;
    const char *which = !old ? "added" : !now ? "removed" : str_eq(old->sha, now->sha) ? NULL : "changed";
    if (which)
        json_array_append_new(json_get(lists, which), json_from_str(old ? old->name : now->name));
}

json_t *changes_files(const struct src_files *old, const struct src_files *now)
{
    json_t *out = json_object();
    static const char *const lists[] = {"added", "changed", "removed"};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        json_object_set_new(out, lists[i], json_array());
    changes_each_file(old, now, add_name, out);
    return out;
}

static void note_difference(void *arg, const struct src_file *old, const struct src_file *now)
{
    *(bool *)arg |= !old || !now || !str_eq(old->sha, now->sha);
}

bool changes_have_files(const struct src_files *old, const struct src_files *now)
{
    bool differs = false;
    changes_each_file(old, now, note_difference, &differs);
    return differs;
}
