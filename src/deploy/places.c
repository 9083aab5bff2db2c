/* deploy/places.c: where apps are, so that overlaps are found without comparing each with each.
 *
 * Two places overlap if one is at the other's path or, at a '/', above it. So for each entry its path is
 * kept, and every path above it: a new place is taken if one of the paths from the root down to its own is an
 * entry's, or if its own is above an entry.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

struct taken {
    struct src_apppath at;
    bool is_new; /* of the running operation */
};

static struct str key_of(const struct places *p, struct str domain, struct str path)
{
    struct str name = str_is_empty(domain) ? p->default_domain : domain;
    return str_cat(p->arena, str_lower(p->arena, str_cat(p->arena, name, STR(":"))), path);
}

/* The place above `path`; false at the root. */
static bool go_up(struct str *path)
{
    if (path->len <= 1)
        return false;
    *path = str_slice(*path, 0, MAX(str_rchr(*path, '/'), 1));
    return true;
}

static void add(struct places *p, const struct src_apppath *at, bool is_new)
{
    struct taken *t = arena_new(p->arena, struct taken);
    *t = (struct taken){*at, is_new};
    map_set(&p->at, key_of(p, at->domain, at->path), t);
    struct str path = at->path;
    while (go_up(&path)) {
        struct str key = key_of(p, at->domain, path);
        if (map_has(&p->above, key))
            break; /* so are those above it */
        map_set(&p->above, key, t);
    }
}

static const struct taken *find(const struct places *p, const struct src_apppath *at)
{
    struct str path = at->path;
    const struct taken *t = map_get(&p->above, key_of(p, at->domain, path));
    if (t)
        return t;
    do {
        t = map_get(&p->at, key_of(p, at->domain, path));
    } while (!t && go_up(&path));
    return t;
}

bool places_read(struct op *op, struct store_tx *tx, struct places *out, struct err *err)
{
    struct store_app_list all = {0};
    *out = (struct places){.arena = &op->arena, .default_domain = op->deploy->config.env->default_domain};
    map_init(&out->at, out->arena);
    map_init(&out->above, out->arena);
    if (!store_app_list(tx, &op->arena, STORE_APPS_BRIEF, &all, err))
        return false;
    vec_foreach(app, &all)
    {
        struct src_apppath at = {.domain = app->domain, .path = app->path};
        add(out, &at, false);
    }
    return true;
}

bool places_take(struct places *p, const struct place *place, struct err *err)
{
    const struct src_apppath *mine[] = {&place->main, place->has_stage ? &place->stage : NULL};
    for (size_t i = 0; i < ARRAY_LEN(mine); i++) {
        const struct taken *t = mine[i] ? find(p, mine[i]) : NULL;
        if (!t)
            continue;
        struct str own = src_apppath_str(p->arena, mine[i]), other = src_apppath_str(p->arena, &t->at);
        if (t->is_new)
            return err_set(err, ERR_INVALID, "%s " STR_FMT " overlaps with the new app at " STR_FMT,
                           i == 0 ? "app" : "stage app", STR_ARG(own), STR_ARG(other));
        if (i == 0)
            return err_set(err, ERR_INVALID, "App already exists at " STR_FMT, STR_ARG(other));
        return err_set(err, ERR_INVALID, "stage app overlaps with existing app at " STR_FMT, STR_ARG(other));
    }
    for (size_t i = 0; i < ARRAY_LEN(mine); i++)
        if (mine[i])
            add(p, mine[i], true);
    return true;
}

static struct src_apppath place_of(const struct store_app *app)
{
    return (struct src_apppath){.domain = app->domain, .path = app->path};
}

bool places_check_new(struct op *op, struct store_tx *tx, void *ignored, struct err *err)
{
    struct places places;
    bool is_read = false;
    vec_foreach(u, &op->units)
    {
        if (!(*u)->main.is_new)
            continue;
        if (!is_read && !places_read(op, tx, &places, err))
            return false;
        is_read = true;
        struct place place = {.main = place_of((*u)->main.app), .has_stage = (*u)->stage.app != NULL};
        if (place.has_stage)
            place.stage = place_of((*u)->stage.app);
        if (!places_take(&places, &place, err))
            return false;
    }
    return true;
}
