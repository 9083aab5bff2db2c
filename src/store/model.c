/* store/model.c: apps in memory: ids, empty values, copies, comparison.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

/* --- ids --- */

static const struct str id_prefixes[] = {
    [STORE_PROD] = STR_INIT("app_prd_"),
    [STORE_STAGE] = STR_INIT("app_stg_"),
    [STORE_PREVIEW] = STR_INIT("app_pre_"),
    [STORE_DEV] = STR_INIT("app_dev_"),
};

enum store_app_kind store_app_kind(struct str id)
{
    for (int kind = STORE_PROD; kind <= STORE_DEV; kind++)
        if (str_starts(id, id_prefixes[kind]))
            return (enum store_app_kind)kind;
    return STORE_PROD;
}

struct str store_app_id_new(struct arena *a, enum store_app_kind kind)
{
    return id_new(a, id_prefixes[kind].ptr);
}

struct str store_app_id_of(struct arena *a, struct str id, enum store_app_kind kind)
{
    struct str prefix = id_prefixes[store_app_kind(id)];
    struct str suffix = str_starts(id, prefix) ? str_from_off(id, prefix.len) : id;
    return str_cat(a, id_prefixes[kind], suffix);
}

struct str store_sync_id_new(struct arena *a)
{
    return id_new(a, "cl_syn_");
}

struct str store_path_domain(struct arena *a, struct str path, struct str domain)
{
    return str_is_empty(domain) ? str_dup(a, path)
                                : str_printf(a, "%.*s:%.*s", STR_ARG(domain), STR_ARG(path));
}

/* --- maps --- */

void store_map_set(struct arena *a, struct map *m, struct str key, struct str value)
{
    struct str *v = arena_new(a, struct str);
    *v = value;
    if (!m->arena)
        map_init(m, a);
    map_set(m, key, v);
}

struct str store_map_get(const struct map *m, struct str key)
{
    const struct str *v = map_get(m, key);
    return v ? *v : STR("");
}

static void copy_map(struct arena *a, const struct map *from, struct map *to)
{
    map_init(to, a);
    map_foreach (e, from)
        store_map_set(a, to, e->key, *(const struct str *)e->value);
}

/* --- empty values and copies --- */

void store_metadata_init(struct arena *a, struct store_metadata *m)
{
    *m = (struct store_metadata){0};
    map_init(&m->param_values, a);
    map_init(&m->container_options, a);
    map_init(&m->container_args, a);
    map_init(&m->appconfig, a);
    map_init(&m->spec_files, a);
}

void store_app_init(struct arena *a, struct store_app *app)
{
    *app = (struct store_app){0};
    store_metadata_init(a, &app->metadata);
}

static struct str_list copy_list(struct arena *a, const struct str_list *from)
{
    struct str_list to = {0};
    vec_foreach (s, from)
        str_list_add(a, &to, *s);
    return to;
}

static struct store_permission copy_permission(struct arena *a, const struct store_permission *from)
{
    struct store_permission to = *from;
    to.arguments = copy_list(a, &from->arguments);
    to.permit = copy_list(a, &from->permit);
    to.secrets = (struct store_str_lists){0};
    vec_foreach (l, &from->secrets) {
        struct str_list copy = copy_list(a, l);
        *vec_push(a, &to.secrets) = copy;
    }
    return to;
}

void store_metadata_copy(struct arena *a, const struct store_metadata *from, struct store_metadata *to)
{
    struct store_metadata m = *from;
    m.loads = copy_list(a, &from->loads);
    m.container_volumes = copy_list(a, &from->container_volumes);
    m.bindings = copy_list(a, &from->bindings);
    m.permissions = (struct store_permission_list){0};
    vec_foreach (p, &from->permissions) {
        struct store_permission copy = copy_permission(a, p);
        *vec_push(a, &m.permissions) = copy;
    }
    m.accounts = (struct store_account_list){0};
    vec_foreach (acc, &from->accounts)
        *vec_push(a, &m.accounts) = *acc;
    copy_map(a, &from->param_values, &m.param_values);
    copy_map(a, &from->container_options, &m.container_options);
    copy_map(a, &from->container_args, &m.container_args);
    copy_map(a, &from->appconfig, &m.appconfig);
    copy_map(a, &from->spec_files, &m.spec_files);
    *to = m;
}

void store_app_copy(struct arena *a, const struct store_app *from, struct store_app *to)
{
    struct store_app app = *from;
    store_metadata_copy(a, &from->metadata, &app.metadata);
    *to = app;
}

/* --- comparison --- */

bool store_permission_eq(const struct store_permission *x, const struct store_permission *y)
{
    if (!str_eq(x->plugin, y->plugin) || !str_eq(x->method, y->method) || x->is_read != y->is_read ||
        !str_list_eq(&x->arguments, &y->arguments) || !str_list_eq(&x->permit, &y->permit) ||
        x->secrets.len != y->secrets.len)
        return false;
    for (size_t i = 0; i < x->secrets.len; i++)
        if (!str_list_eq(&x->secrets.items[i], &y->secrets.items[i]))
            return false;
    return true;
}
