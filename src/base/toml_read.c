/* base/toml_read.c: typed access to a TOML tree.
 * SPDX-License-Identifier: Apache-2.0 */
#include "toml.h"

#include <math.h>

const char *toml_kind_name(enum toml_kind kind)
{
    static const char *const names[] = {
        [TOML_STRING] = "a string",
        [TOML_INT] = "an integer",
        [TOML_FLOAT] = "a float",
        [TOML_BOOL] = "a boolean",
        [TOML_OFFSET_DATETIME] = "a date and time",
        [TOML_LOCAL_DATETIME] = "a local date and time",
        [TOML_LOCAL_DATE] = "a local date",
        [TOML_LOCAL_TIME] = "a local time",
        [TOML_ARRAY] = "an array",
        [TOML_TABLE] = "a table",
    };
    return names[kind];
}

struct toml_value *toml_get(const struct toml_value *table, struct str key)
{
    return table && table->kind == TOML_TABLE ? map_get(&table->table, key) : NULL;
}

static bool wrong_kind(const struct toml_value *v, const char *key, const char *wanted, struct err *err)
{
    return toml_fail(v, err, "%s must be %s, not %s", key, wanted, toml_kind_name(v->kind));
}

bool toml_read_str(const struct toml_value *table, const char *key, struct str *out, struct err *err)
{
    const struct toml_value *v = toml_get(table, str_from(key));
    if (!v)
        return true;
    if (v->kind != TOML_STRING)
        return wrong_kind(v, key, "a string", err);
    *out = v->s;
    return true;
}

bool toml_read_int(const struct toml_value *table, const char *key, int64_t *out, struct err *err)
{
    const struct toml_value *v = toml_get(table, str_from(key));
    if (!v)
        return true;
    if (v->kind != TOML_INT)
        return wrong_kind(v, key, "an integer", err);
    *out = v->i;
    return true;
}

bool toml_read_num(const struct toml_value *table, const char *key, double *out, struct err *err)
{
    const struct toml_value *v = toml_get(table, str_from(key));
    if (!v)
        return true;
    if (v->kind != TOML_FLOAT && v->kind != TOML_INT)
        return wrong_kind(v, key, "a number", err);
    *out = v->kind == TOML_INT ? (double)v->i : v->f;
    return true;
}

bool toml_read_bool(const struct toml_value *table, const char *key, bool *out, struct err *err)
{
    const struct toml_value *v = toml_get(table, str_from(key));
    if (!v)
        return true;
    if (v->kind != TOML_BOOL)
        return wrong_kind(v, key, "true or false", err);
    *out = v->b;
    return true;
}

bool toml_read_list(struct arena *a, const struct toml_value *table, const char *key, struct str_list *out,
                    struct err *err)
{
    const struct toml_value *v = toml_get(table, str_from(key));
    if (!v)
        return true;
    if (v->kind != TOML_ARRAY)
        return wrong_kind(v, key, "an array of strings", err);
    struct str_list l = {0};
    for (size_t i = 0; i < v->array.len; i++) {
        const struct toml_value *item = v->array.items[i];
        if (item->kind != TOML_STRING)
            return toml_fail(item, err, "%s must be an array of strings, but value %zu is %s", key, i + 1,
                             toml_kind_name(item->kind));
        str_list_add(a, &l, item->s);
    }
    *out = l;
    return true;
}

bool toml_read_map(struct arena *a, const struct toml_value *table, const char *key, struct map *out, struct err *err)
{
    const struct toml_value *v = toml_get(table, str_from(key));
    if (!v)
        return true;
    if (v->kind != TOML_TABLE)
        return wrong_kind(v, key, "a table of strings", err);
    struct map m;
    map_init(&m, a);
    map_foreach (e, &v->table) {
        const struct toml_value *item = e->value;
        if (item->kind != TOML_STRING)
            return toml_fail(item, err, "%s." STR_FMT " must be a string, not %s", key, STR_ARG(e->key),
                             toml_kind_name(item->kind));
        struct str *s = arena_new(a, struct str);
        *s = item->s;
        map_set(&m, e->key, s);
    }
    *out = m;
    return true;
}

bool toml_read_table(const struct toml_value *table, const char *key, const struct toml_value **out, struct err *err)
{
    const struct toml_value *v = toml_get(table, str_from(key));
    if (!v)
        return true;
    if (v->kind != TOML_TABLE)
        return wrong_kind(v, key, "a table", err);
    *out = v;
    return true;
}

static json_t *float_to_json(double f)
{
    if (isfinite(f))
        return json_real(f);
    return json_string(isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
}

/* Recursion is bounded: the parser bounds how deep a tree is. */
json_t *toml_to_json(const struct toml_value *v)
{
    switch (v->kind) {
    case TOML_INT: return json_integer(v->i);
    case TOML_FLOAT: return float_to_json(v->f);
    case TOML_BOOL: return json_boolean(v->b);
    case TOML_ARRAY: {
        json_t *list = json_array();
        for (size_t i = 0; i < v->array.len; i++)
            json_array_append_new(list, toml_to_json(v->array.items[i]));
        return list;
    }
    case TOML_TABLE: {
        json_t *obj = json_object();
        map_foreach (e, &v->table)
            json_set_key(obj, e->key, toml_to_json(e->value));
        return obj;
    }
    default: return json_from_str(v->s);
    }
}
