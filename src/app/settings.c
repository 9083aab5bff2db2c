/* app/settings.c: app config: what the server says, over it app.star's settings, over it the metadata.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

enum { DEPTH_MAX = 8, LOCK_FILE_MAX = 1 << 20 };

static struct str dotted(struct arena *a, struct str prefix, struct str key)
{
    return str_is_empty(prefix) ? key : str_printf(a, STR_FMT "." STR_FMT, STR_ARG(prefix), STR_ARG(key));
}

static void flatten(struct arena *a, struct str prefix, const struct toml_value *table, struct map *out,
                    int depth)
{
    map_foreach(e, &table->table)
    {
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
    case STAR_KIND_INT: t->kind = TOML_INT; return star_to_i64(v, &t->i) ? t : NULL;
    case STAR_KIND_FLOAT: t->kind = TOML_FLOAT; return star_to_double(v, &t->f) ? t : NULL;
    default: return NULL;
    }
}

/* 5 may stand where the server's value is 1.5. */
static void widen(struct toml_value *v, const struct toml_value *old)
{
    if (v && old && old->kind == TOML_FLOAT && v->kind == TOML_INT)
        *v = (struct toml_value){.kind = TOML_FLOAT, .f = (double)v->i};
}

static bool flatten_star(struct arena *a, struct str prefix, star_v dict, struct map *out, int depth,
                         struct err *err)
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
        if (star_kind(value) == STAR_KIND_LIST)
            continue; /* lists of app config are for features that read them from the server alone */
        struct toml_value *t = from_star(a, value), *old = map_get(out, path);
        widen(t, old);
        if (!t || (old && old->kind != t->kind))
            return err_set(err, ERR_INVALID, "settings: app_config." STR_FMT " must be %s, not %s",
                           STR_ARG(path), old ? toml_kind_name(old->kind) : "a string, a number or a boolean",
                           star_type_name(value));
        map_set(out, path, t);
    }
    return true;
}

static bool overlay_metadata(struct arena *a, const struct map *metadata, struct map *out, struct err *err)
{
    map_foreach(e, metadata)
    {
        const struct str *text = e->value;
        struct toml_value *v = arena_new(a, struct toml_value), *old = map_get(out, e->key);
        if (!toml_parse_value(a, *text, v, err))
            return err_wrap(err, "app config " STR_FMT, STR_ARG(e->key));
        widen(v, old);
        if (old && old->kind != v->kind)
            return err_set(err, ERR_INVALID, "app config " STR_FMT " must be %s, not %s", STR_ARG(e->key),
                           toml_kind_name(old->kind), toml_kind_name(v->kind));
        map_set(out, e->key, v);
    }
    return true;
}

bool settings_merge(struct arena *a, const struct toml_value *server, star_v app_settings,
                    const struct map *metadata, struct map *out, struct err *err)
{
    map_init(out, a);
    if (server)
        flatten(a, (struct str){0}, server, out, 0);
    star_v overlay = star_kind(app_settings) == STAR_KIND_DICT
                         ? star_dict_get_str(app_settings, STR("app_config"))
                         : STAR_NULL;
    if (!star_is_null(overlay)) {
        if (star_kind(overlay) != STAR_KIND_DICT)
            return err_set(err, ERR_INVALID, "settings: app_config must be a dict, not %s",
                           star_type_name(overlay));
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

int app_config_count(const struct app *app, const char *key, int fallback)
{
    int64_t v = app_config_int(app, key, fallback);
    return (int)(v < 0 ? 0 : MIN(v, INT32_MAX));
}

/* --- the framework's own settings ----------------------------------------------------------------- */

/* A value of config_gen.lock or of ace.app(settings=), which have the same shape: section -> name -> value.
 */
struct setting {
    const json_t *json; /* NULL: not a lock file's */
    star_v star;        /* null: absent */
};

static struct setting lookup(const json_t *lock, star_v settings, const char *section, const char *name)
{
    if (lock)
        return (struct setting){json_get(json_get(lock, section), name), STAR_NULL};
    star_v in =
        star_kind(settings) == STAR_KIND_DICT ? star_dict_get_str(settings, str_from(section)) : STAR_NULL;
    return (struct setting){NULL, star_kind(in) == STAR_KIND_DICT ? star_dict_get_str(in, str_from(name))
                                                                  : STAR_NULL};
}

static bool is_absent(struct setting s)
{
    return !s.json && star_is_null(s.star);
}

static bool wrong(const char *section, const char *name, const char *want, struct err *err)
{
    return err_set(err, ERR_INVALID, "settings: %s.%s must be %s", section, name, want);
}

static bool read_text(struct arena *a, struct setting s, struct str *out)
{
    if (s.json) {
        *out = str_dup(a, json_str(s.json));
        return json_is_string(s.json);
    }
    return star_to_str(s.star, out);
}

static bool read_texts(struct arena *a, struct setting s, struct str_list *out)
{
    size_t n = s.json ? json_array_size(s.json) : star_len(s.star);
    struct str_list list = {0};
    if (s.json ? !json_is_array(s.json) : star_kind(s.star) != STAR_KIND_LIST)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct setting item = {s.json ? json_array_get(s.json, i) : NULL,
                               s.json ? STAR_NULL : star_item(s.star, i)};
        struct str text;
        if (!read_text(a, item, &text))
            return false;
        str_list_add(a, &list, text);
    }
    *out = list;
    return true;
}

static bool read_flag(struct setting s, bool *out)
{
    *out = s.json ? json_is_true(s.json) : star_truth(s.star);
    return s.json ? json_is_boolean(s.json) : star_kind(s.star) == STAR_KIND_BOOL;
}

static bool overlay_framework(struct arena *a, const json_t *lock, star_v settings, struct framework *f,
                              struct err *err)
{
    struct setting s = lookup(lock, settings, "htmx", "version");
    if (!is_absent(s) && !read_text(a, s, &f->htmx_version))
        return wrong("htmx", "version", "a string", err);
    s = lookup(lock, settings, "routing", "push_events");
    if (!is_absent(s) && !read_flag(s, &f->push_events))
        return wrong("routing", "push_events", "a boolean", err);
    s = lookup(lock, settings, "routing", "container_exclude");
    if (!is_absent(s) && !read_texts(a, s, &f->container_exclude))
        return wrong("routing", "container_exclude", "a list of strings", err);
    s = lookup(lock, settings, "container", "separate_stage_prod_images");
    if (!is_absent(s) && !read_flag(s, &f->separate_images))
        return wrong("container", "separate_stage_prod_images", "a boolean", err);
    return true;
}

bool framework_load(struct arena *a, const struct src_files *files, star_v settings, struct framework *out,
                    struct err *err)
{
    struct framework f = {.htmx_version = STR("2.0.3")};
    const struct src_file *file = src_files_find(files, STR("config_gen.lock"));
    struct str text;
    if (file) {
        if (file->size > LOCK_FILE_MAX)
            return err_set(err, ERR_TOO_LARGE, "config_gen.lock has more than %d bytes", LOCK_FILE_MAX);
        scoped_arena scratch = {0};
        if (!src_file_read(&scratch, file, &text, err))
            return false;
        scoped_json *lock = json_parse_object(text, err);
        f.htmx_version = STR("1.9.1"); /* of apps from before the lock file said it */
        if (!lock || !overlay_framework(a, lock, STAR_NULL, &f, err))
            return err_wrap(err, "config_gen.lock");
    }
    if (!overlay_framework(a, NULL, settings, &f, err))
        return false;
    *out = f;
    return true;
}
