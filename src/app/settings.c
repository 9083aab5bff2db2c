/* app/settings.c: app config: what the server says, over it app.star's settings, over it the metadata.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

enum { DEPTH_MAX = 8 };

static struct str dotted(struct arena *a, struct str prefix, struct str key)
{
    return str_is_empty(prefix) ? key : str_printf(a, STR_FMT "." STR_FMT, STR_ARG(prefix), STR_ARG(key));
}

static void flatten(struct arena *a, struct str prefix, const struct toml_value *table, struct map *out, int depth)
{
    map_foreach (e, &table->table) {
        struct toml_value *v = e->value;
        struct str key = dotted(a, prefix, e->key);
        if (v->kind == TOML_TABLE && depth < DEPTH_MAX)
            flatten(a, key, v, out, depth + 1);
        else
            map_set(out, key, v);
    }
}

/* Scalars only: what app config keys are. */
static struct toml_value *from_star(struct arena *a, star_v v)
{
    struct toml_value *t = arena_new(a, struct toml_value);
    switch (star_kind(v)) {
    case STAR_KIND_STRING:
        t->kind = TOML_STRING;
        star_to_str(v, &t->s);
        return t;
    case STAR_KIND_BOOL:
        t->kind = TOML_BOOL;
        t->b = star_truth(v);
        return t;
    case STAR_KIND_INT:
        t->kind = TOML_INT;
        return star_to_i64(v, &t->i) ? t : NULL;
    case STAR_KIND_FLOAT:
        t->kind = TOML_FLOAT;
        return star_to_double(v, &t->f) ? t : NULL;
    default: return NULL;
    }
}

static bool flatten_star(struct arena *a, struct str prefix, star_v dict, struct map *out, int depth, struct err *err)
{
    size_t at = 0;
    star_v key, value;
    while (star_dict_next(dict, &at, &key, &value)) {
        struct str name;
        if (!star_to_str(key, &name))
            return err_set(err, ERR_INVALID, "settings: keys must be strings, not %s", star_type_name(key));
        struct str path = dotted(a, prefix, name);
        if (star_kind(value) == STAR_KIND_DICT && depth < DEPTH_MAX) {
            if (!flatten_star(a, path, value, out, depth + 1, err))
                return false;
            continue;
        }
        struct toml_value *t = from_star(a, value), *old = map_get(out, path);
        if (star_kind(value) == STAR_KIND_LIST)
            continue; /* lists of app config are for features that read them from the server alone */
        if (!t || (old && old->kind != t->kind))
            return err_set(err, ERR_INVALID, "settings: app_config." STR_FMT " must be %s, not %s", STR_ARG(path),
                           old ? toml_kind_name(old->kind) : "a string, a number or a boolean", star_type_name(value));
        map_set(out, path, t);
    }
    return true;
}

static bool overlay_metadata(struct arena *a, const struct map *metadata, struct map *out, struct err *err)
{
    map_foreach (e, metadata) {
        const struct str *text = e->value;
        struct toml_value *v = arena_new(a, struct toml_value), *old = map_get(out, e->key);
        if (!toml_parse_value(a, *text, v, err))
            return err_wrap(err, "app config " STR_FMT, STR_ARG(e->key));
        if (old && old->kind != v->kind)
            return err_set(err, ERR_INVALID, "app config " STR_FMT " must be %s, not %s", STR_ARG(e->key),
                           toml_kind_name(old->kind), toml_kind_name(v->kind));
        map_set(out, e->key, v);
    }
    return true;
}

bool settings_merge(struct arena *a, const struct toml_value *server, star_v app_settings, const struct map *metadata,
                    struct map *out, struct err *err)
{
    map_init(out, a);
    if (server)
        flatten(a, (struct str){0}, server, out, 0);
    star_v overlay = star_kind(app_settings) == STAR_KIND_DICT ? star_dict_get_str(app_settings, STR("app_config")) : STAR_NULL;
    if (!star_is_null(overlay)) {
        if (star_kind(overlay) != STAR_KIND_DICT)
            return err_set(err, ERR_INVALID, "settings: app_config must be a dict, not %s", star_type_name(overlay));
        if (!flatten_star(a, (struct str){0}, overlay, out, 0, err))
            return false;
    }
    return overlay_metadata(a, metadata, out, err);
}

static const struct toml_value *find(const struct app *app, const char *key, enum toml_kind kind)
{
    const struct toml_value *v = map_get(&app->settings, str_from(key));
    return v && v->kind == kind ? v : NULL;
}

struct str app_config_str(const struct app *app, const char *key, struct str fallback)
{
    const struct toml_value *v = find(app, key, TOML_STRING);
    return v ? v->s : fallback;
}

int64_t app_config_int(const struct app *app, const char *key, int64_t fallback)
{
    const struct toml_value *v = find(app, key, TOML_INT);
    return v ? v->i : fallback;
}

bool app_config_bool(const struct app *app, const char *key, bool fallback)
{
    const struct toml_value *v = find(app, key, TOML_BOOL);
    return v ? v->b : fallback;
}
