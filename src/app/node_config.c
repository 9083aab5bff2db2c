/* app/node_config.c: what config(key, default) gives, in app code and in declarative files alike: values of
 * the server's [node_config], with the environment variables that it allows. SPDX-License-Identifier:
 * Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

enum { EXPAND_MAX = 1 << 20 };

struct expansion {
    const struct app_env *env;
    struct arena *scratch;
};

/* $NAME of system.allowed_env; others stay as they are. */
static struct str allowed_env(void *arg, struct str name)
{
    const struct expansion *x = arg;
    if (!str_list_has(&x->env->allowed_env, name))
        return str_cat(x->scratch, STR("$"), name);
    return str_from(getenv(str_z(x->scratch, name)));
}

static star_v expanded(const struct app_env *env, struct arena *a, struct str text)
{
    scoped_arena scratch = {0};
    struct expansion x = {env, &scratch};
    if (str_chr(text, '$') != STR_NPOS && text.len <= EXPAND_MAX)
        text = str_expand(&scratch, text, allowed_env, &x);
    return star_string(a, text);
}

static star_v from_toml(const struct app_env *env, struct arena *a, const struct toml_value *v)
{
    star_v out;
    switch (v->kind) {
    case TOML_INT: return star_int(a, v->i);
    case TOML_FLOAT: return star_float(a, v->f);
    case TOML_BOOL: return star_bool(v->b);
    case TOML_ARRAY: /* no deeper than TOML_DEPTH_MAX */
        out = star_list(a, NULL, 0);
        for (size_t i = 0; i < v->array.len; i++)
            if (!star_list_append(a, out, from_toml(env, a, v->array.items[i])))
                return STAR_NULL;
        return out;
    case TOML_TABLE:
        out = star_dict(a, map_len(&v->table));
        map_foreach(m, &v->table) if (!star_dict_set(a, out, star_string(a, m->key),
                                                     from_toml(env, a, m->value))) return STAR_NULL;
        return out;
    default: return expanded(env, a, v->s);
    }
}

star_v app_node_config(const struct app_env *env, struct arena *a, struct str key, star_v otherwise)
{
    const struct toml_value *found = NULL;
    struct str text;
    if (!str_starts(key, STR("_")) && env->node_config)
        found = toml_get(env->node_config, key);
    if (found)
        return from_toml(env, a, found);
    return star_to_str(otherwise, &text) ? expanded(env, a, text) : otherwise;
}
