/* server/config.c: overlay, type checks and look-ups of the configuration.
 *
 * defaults.toml is the schema: a key that stands there exists and has that type. Two kinds of table are open:
 * sections of named entries, whose fields open_sections[] gives, and maps whose keys the user chooses.
 * Scalars and arrays of the user replace; tables merge key by key; a named entry replaces the default entry
 * of that name as a whole.
 * SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "defaults_gen.h"

#include <stdlib.h>

enum { CONFIG_MAX = 1 << 20 };

/* Sections of user-named entries. `fields`: name:type, s string, i integer, b boolean, l list of strings;
 * NULL: anything goes. */
static const struct {
    const char *section, *fields;
} open_sections[] = {
    {"auth", "key:s secret:s org_url:s domain:s discovery_url:s hosted_domain:s scopes:l"},
    {"builtin_auth", "password:s groups:l"},
    {"saml", "metadata_url:s groups_attr:s sp_key_file:s sp_cert_file:s use_post:b force_authn:b"},
    {"client_auth", "ca_cert_file:s"},
    {"forward", "auth_url:s forward_headers:l copy_response_headers:l"},
    {"git_auth", "user_id:s key_file_path:s private_key:s password:s"},
    {"secret", NULL},
    {"plugin", NULL},
    {"litestream",
     "type:s endpoint:s container_endpoint:s bucket:s region:s path_prefix:s path:s access_key_id:s "
     "secret_access_key:s force_path_style:b sync_interval:s retention:s snapshot_interval:s "
     "checkpoint_interval:s min_checkpoint_page_count:i truncate_page_n:i sidecar_image:s storage_class:s "
     "sse_kms_key_id:s"},
    {"builder_agent", NULL},
    {"builder_profile", NULL},
    {"builder_git", "repo:s branch:s auth:s apps_file:s source_dir:s"},
};

/* Maps whose keys the user chooses, and what their values are; node_config takes anything. */
static const struct {
    const char *key;
    bool is_string_map;
} open_maps[] = {
    {"node_config", false},
    {"security.allowed_container_args", true},
    {"telemetry.headers", true},
    {"bindings.install", true},
    {"bindings.dev_providers", false},
    {"plugin_providers.install", true},
    {"plugin_providers.dev_providers", false},
};

static const char permission_fields[] = "plugin:s method:s arguments:l permit:l is_read:b secrets:L";

/* What a load works with. */
struct loading {
    struct arena *a;
    struct str name; /* of the file, for warnings */
    struct config *config;
    struct err *err;
};

static bool is_string_list(const struct toml_value *v)
{
    if (v->kind != TOML_ARRAY)
        return false;
    for (size_t i = 0; i < v->array.len; i++)
        if (v->array.items[i]->kind != TOML_STRING)
            return false;
    return true;
}

static bool has_type(const struct toml_value *v, char type)
{
    switch (type) {
    case 's': return v->kind == TOML_STRING;
    case 'i': return v->kind == TOML_INT;
    case 'b': return v->kind == TOML_BOOL;
    case 'l': return is_string_list(v);
    case 'L':
        if (v->kind != TOML_ARRAY)
            return false;
        for (size_t i = 0; i < v->array.len; i++)
            if (!is_string_list(v->array.items[i]))
                return false;
        return true;
    default: BUG("type %c", type);
    }
}

static const char *type_name(char type)
{
    switch (type) {
    case 's': return "a string";
    case 'i': return "an integer";
    case 'b': return "true or false";
    case 'l': return "a list of strings";
    default: return "a list of lists of strings";
    }
}

static void warn_unknown(struct loading *l, const struct toml_value *v, struct str key,
                         const struct str *known, size_t n)
{
    struct str near = str_nearest(key, known, n);
    struct str hint = str_is_empty(near) ? (struct str){0}
                                         : str_printf(l->a, " (did you mean " STR_FMT "?)", STR_ARG(near));
    str_list_add(l->a, &l->config->warnings,
                 str_printf(l->a, STR_FMT ": line %u, column %u: unknown key " STR_FMT STR_FMT,
                            STR_ARG(l->name), v->line, v->column, STR_ARG(key), STR_ARG(hint)));
}

/* Checks the members of one entry against `fields`; unknown ones are warnings. */
static bool check_fields(struct loading *l, const struct toml_value *entry, struct str path,
                         const char *fields)
{
    struct str_list known = {0};
    struct str rest = str_from(fields), field;
    struct map types;
    map_init(&types, l->a);
    while (str_next(&rest, ' ', &field)) {
        struct str name, type;
        str_cut(field, ':', &name, &type);
        map_set(&types, name, (void *)type.ptr);
        str_list_add(l->a, &known, str_printf(l->a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(name)));
    }
    map_foreach(e, &entry->table)
    {
        const struct toml_value *v = e->value;
        struct str key = str_printf(l->a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(e->key));
        const char *type = map_get(&types, e->key);
        if (!type)
            warn_unknown(l, v, key, known.items, known.len);
        else if (!has_type(v, *type))
            return toml_fail(v, l->err, STR_FMT " must be %s, not %s", STR_ARG(key), type_name(*type),
                             toml_kind_name(v->kind));
    }
    return true;
}

static bool overlay_section(struct loading *l, struct toml_value *base, const struct toml_value *user,
                            struct str section, const char *fields)
{
    map_foreach(e, &user->table)
    {
        struct toml_value *entry = e->value;
        struct str path = str_printf(l->a, STR_FMT "." STR_FMT, STR_ARG(section), STR_ARG(e->key));
        if (entry->kind != TOML_TABLE)
            return toml_fail(entry, l->err, STR_FMT " must be a table of settings: [" STR_FMT "]",
                             STR_ARG(path), STR_ARG(path));
        if (fields && !check_fields(l, entry, path, fields))
            return false;
        map_set(&base->table, e->key, entry);
    }
    return true;
}

static bool overlay_map(struct loading *l, struct toml_value *base, const struct toml_value *user,
                        struct str path, bool is_string_map)
{
    map_foreach(e, &user->table)
    {
        struct toml_value *v = e->value;
        if (is_string_map && v->kind != TOML_STRING)
            return toml_fail(v, l->err, STR_FMT "." STR_FMT " must be a string, not %s", STR_ARG(path),
                             STR_ARG(e->key), toml_kind_name(v->kind));
        map_set(&base->table, e->key, v);
    }
    return true;
}

static bool check_permissions(struct loading *l, const struct toml_value *list, struct str path)
{
    if (list->kind != TOML_ARRAY)
        return toml_fail(list, l->err, STR_FMT " must be a list of tables, not %s", STR_ARG(path),
                         toml_kind_name(list->kind));
    for (size_t i = 0; i < list->array.len; i++) {
        const struct toml_value *item = list->array.items[i];
        if (item->kind != TOML_TABLE)
            return toml_fail(item, l->err, STR_FMT " must hold tables, not %s", STR_ARG(path),
                             toml_kind_name(item->kind));
        if (!check_fields(l, item, path, permission_fields))
            return false;
    }
    return true;
}

static struct str join_key(struct arena *a, struct str path, struct str key)
{
    return str_is_empty(path) ? key : str_printf(a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(key));
}

/* The names that may stand in table `path`, for "did you mean". */
static struct str_list known_keys(struct loading *l, const struct toml_value *base, struct str path)
{
    struct str_list known = {0};
    map_foreach(e, &base->table) str_list_add(l->a, &known, join_key(l->a, path, e->key));
    if (str_is_empty(path)) {
        for (size_t i = 0; i < ARRAY_LEN(open_sections); i++)
            str_list_add(l->a, &known, str_from(open_sections[i].section));
        str_list_add(l->a, &known, STR("node_config"));
    }
    return known;
}

static bool overlay(struct loading *l, struct toml_value *base, const struct toml_value *user,
                    struct str path);

/* One key of the user's table over the same key of the defaults. */
static bool overlay_key(struct loading *l, struct toml_value *base, struct str path,
                        const struct map_entry *e)
{
    struct str key = join_key(l->a, path, e->key);
    struct toml_value *mine = toml_get(base, e->key), *user = e->value;
    const char *fields = NULL;
    bool is_section = false, is_map = false, is_string_map = false;
    for (size_t i = 0; i < ARRAY_LEN(open_sections); i++)
        if (str_eq_z(key, open_sections[i].section))
            is_section = true, fields = open_sections[i].fields;
    for (size_t i = 0; i < ARRAY_LEN(open_maps); i++)
        if (str_eq_z(key, open_maps[i].key))
            is_map = true, is_string_map = open_maps[i].is_string_map;
    if (is_section || is_map) {
        if (user->kind != TOML_TABLE)
            return toml_fail(user, l->err, STR_FMT " must be a table, not %s", STR_ARG(key),
                             toml_kind_name(user->kind));
        if (!mine) {
            mine = arena_new(l->a, struct toml_value);
            mine->kind = TOML_TABLE;
            map_init(&mine->table, l->a);
            map_set(&base->table, e->key, mine);
        }
        return is_section ? overlay_section(l, mine, user, key, fields)
                          : overlay_map(l, mine, user, key, is_string_map);
    }
    if (!mine) {
        struct str_list known = known_keys(l, base, path);
        warn_unknown(l, user, key, known.items, known.len);
        return true;
    }
    if (str_eq(path, STR("permissions"))) {
        if (!check_permissions(l, user, key))
            return false;
    } else if (mine->kind != user->kind) {
        return toml_fail(user, l->err, STR_FMT " must be %s, not %s", STR_ARG(key),
                         toml_kind_name(mine->kind), toml_kind_name(user->kind));
    } else if (mine->kind == TOML_TABLE) {
        return overlay(l, mine, user, key);
    } else if (mine->kind == TOML_ARRAY && !is_string_list(user)) {
        return toml_fail(user, l->err, STR_FMT " must be a list of strings", STR_ARG(key));
    }
    map_set(&base->table, e->key, user);
    return true;
}

static bool overlay(struct loading *l, struct toml_value *base, const struct toml_value *user,
                    struct str path)
{
    map_foreach(e, &user->table) if (!overlay_key(l, base, path, e)) return false;
    return true;
}

static bool fail_at(const struct config *c, const char *key, struct err *err, const char *what)
{
    return toml_fail(config_value(c, key), err, "%s %s", key, what);
}

/* Rules beyond types. */
static bool validate(const struct config *c, struct err *err)
{
    static const char *const formats[] = {"table", "basic", "csv", "json", "jsonl", "jsonl_pretty"};
    struct str format = config_str(c, "client.default_format");
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        known |= str_eq_z(format, formats[i]);
    if (!known)
        return err_set(err, ERR_INVALID,
                       "invalid client.default_format \"" STR_FMT
                       "\" in config: valid options are table, basic, "
                       "csv, json, jsonl, jsonl_pretty",
                       STR_ARG(format));
    int64_t tailwind = config_int(c, "system.tailwind_version");
    if (tailwind != 0 && tailwind < 3)
        return fail_at(c, "system.tailwind_version", err, "must be 3 or more");
    if (str_eq(config_str(c, "security.app_default_auth_type"), STR("default")))
        return fail_at(c, "security.app_default_auth_type", err,
                       "cannot be \"default\": name a sign-in type");
    if (config_int(c, "http.port") > 65535)
        return fail_at(c, "http.port", err, "must be at most 65535");
    if (config_int(c, "https.port") > 65535)
        return fail_at(c, "https.port", err, "must be at most 65535");
    if (config_int(c, "security.session_max_age") < 0)
        return fail_at(c, "security.session_max_age", err, "must not be negative");
    if (str_is_empty(config_str(c, "server_uri")))
        return err_set(err, ERR_INVALID, "server_uri is not set");
    return true;
}

bool config_parse(struct arena *a, struct str name, struct str text, struct config *out, struct err *err)
{
    struct config c = {0};
    scoped_err own = {0};
    if (!toml_parse(a, defaults_gen[0].data, &c.root, &own))
        BUG("defaults.toml: %s", err_msg(&own));
    struct toml_value user;
    struct loading l = {.a = a, .name = name, .config = &c, .err = err};
    if (!toml_parse(a, text, &user, err) || !overlay(&l, &c.root, &user, (struct str){0}) ||
        !validate(&c, err))
        return err_wrap(err, STR_FMT, STR_ARG(name));
    if (!config_bool(&c, "system.use_image_pre_build_step"))
        str_list_add(a, &c.warnings,
                     STR("system.use_image_pre_build_step = false has no effect: images are always built before the "
                         "metadata is changed"));
    *out = c;
    return true;
}

bool config_load(struct arena *a, const struct home *home, struct config *out, struct err *err)
{
    struct str text = {0};
    scoped_err missing = {0};
    struct str warning = {0};
    if (!fs_read_all(a, home->config_file, CONFIG_MAX, &text, &missing)) {
        bool may_be_missing = missing.code == ERR_NOT_FOUND && !home->is_file_explicit &&
                              (home->origin == HOME_DEFAULT || home->origin == HOME_ENV);
        if (!may_be_missing)
            return err_set(err, missing.code, "error parsing config: %s", err_msg(&missing));
        if (home->origin == HOME_ENV)
            warning = str_printf(a,
                                 "unable to read config file open " STR_FMT
                                 ": no such file or directory, using default config",
                                 STR_ARG(home->config_file));
    }
    if (!config_parse(a, home->config_file, text, out, err))
        return err_wrap(err, "error parsing config");
    out->home = *home;
    if (!str_is_empty(warning))
        str_list_add(a, &out->warnings, warning);
    return true;
}

const struct toml_value *config_value(const struct config *c, const char *key)
{
    const struct toml_value *v = &c->root;
    struct str rest = str_from(key), part;
    while (v && str_next(&rest, '.', &part))
        v = toml_get(v, part);
    return v;
}

static const struct toml_value *must(const struct config *c, const char *key, enum toml_kind kind)
{
    const struct toml_value *v = config_value(c, key);
    if (!v || v->kind != kind)
        BUG("config key %s is not %s", key, toml_kind_name(kind));
    return v;
}

struct str config_str(const struct config *c, const char *key)
{
    return must(c, key, TOML_STRING)->s;
}

struct str config_path(const struct config *c, struct arena *a, const char *key)
{
    return str_expand_env(a, config_str(c, key));
}

int64_t config_int(const struct config *c, const char *key)
{
    return must(c, key, TOML_INT)->i;
}

bool config_bool(const struct config *c, const char *key)
{
    return must(c, key, TOML_BOOL)->b;
}

struct str_list config_list(const struct config *c, struct arena *a, const char *key)
{
    const struct toml_value *v = must(c, key, TOML_ARRAY);
    struct str_list list = {0};
    for (size_t i = 0; i < v->array.len; i++)
        str_list_add(a, &list, v->array.items[i]->s);
    return list;
}
