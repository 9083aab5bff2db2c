/* server/publish.c: from the store's apps to the site that every loop serves.
 *
 * A slot is carried over while its entry is unchanged, so that loaded apps and their containers survive the
 * deploys of others. SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <stdlib.h>

enum { FEW = 8 };

struct site_hold *site_hold_get(struct loop_state *state)
{
    state->hold->users++;
    return state->hold;
}

void site_hold_put(struct site_hold *hold)
{
    if (--hold->users > 0)
        return;
    site_unref(hold->site);
    free(hold);
}

static void state_free(struct http_loop *loop, void *arg)
{
    struct loop_state *state = arg;
    access_log_free(state->access);
    if (state->hold)
        site_hold_put(state->hold);
    certs_unref(state->certs);
    http_loop_set_data(loop, HTTP_SLOT_SITE, NULL);
    free(state);
}

static void state_start(struct http_loop *loop, void *arg)
{
    struct server *s = arg;
    struct loop_state *state = xcalloc(1, sizeof *state);
    state->server = s;
    state->loop = loop;
    state->access = access_log_new(loop, s->access_file);
    http_loop_set_data(loop, HTTP_SLOT_SITE, state);
    http_loop_at_close(loop, state_free, state);
}

void loops_start(struct server *s)
{
    http_loops_run(s->loops, state_start, s);
}

static void take_site(struct http_loop *loop, void *site)
{
    struct loop_state *state = loop_state(loop);
    struct site_hold *old = state->hold;
    state->hold = xcalloc(1, sizeof *state->hold);
    *state->hold = (struct site_hold){.site = site_ref(site), .users = 1};
    if (old)
        site_hold_put(old);
}

static void take_certs(struct http_loop *loop, void *certs)
{
    struct loop_state *state = loop_state(loop);
    certs_unref(state->certs);
    state->certs = certs_ref(certs);
}

void publish_certs(struct server *s, struct certs *certs)
{
    http_loops_run(s->loops, take_certs, certs);
    certs_unref(s->certs);
    s->certs = certs;
}

static bool is_write_gated(const struct store_brief *entry)
{
    enum store_app_kind kind = store_app_kind(entry->id);
    return (kind == STORE_STAGE && !entry->stage_write_access) || (kind == STORE_PREVIEW && !entry->preview_write_access);
}

/* A site in the making. */
struct building {
    struct server *server;
    struct site *site;
    const struct deploy_published *what;
    struct str last_type; /* of sign-in, resolved to: most apps have the same */
    struct auth_rule last_rule;
    struct map changes;   /* id -> struct change *: what is different from the site before */
};

/* An entry that was in the site before, is in the new one, or both. */
struct change {
    struct app_slot *before, *now;
};

/* Adds an app in a slot, whose reference is taken over. */
static void add_slot(struct building *b, struct app_slot *slot)
{
    const struct store_brief *entry = app_slot_entry(slot);
    if (!b->last_rule.type.ptr || !str_eq(b->last_type, entry->authn_type)) {
        b->last_type = entry->authn_type;
        b->last_rule = auth_resolve(b->server->auth, site_arena(b->site), entry->authn_type);
    }
    site_add(b->site, &(struct site_app){
                          .domain = entry->domain,
                          .path = entry->path,
                          .slot = slot,
                          .rule = b->last_rule,
                          .is_write_gated = is_write_gated(entry),
                      });
}

static struct app_slot *add_entry(struct building *b, const struct store_brief *entry)
{
    struct app_slot *slot = app_slot_new(&b->server->env, entry);
    for (size_t i = 0; b->what && i < b->what->n_loaded; i++)
        if (str_eq(app_id(b->what->loaded[i]), entry->id))
            app_slot_set(slot, b->what->loaded[i]);
    add_slot(b, slot);
    return slot;
}

static struct change *change_of(struct building *b, struct str id)
{
    struct change *c = map_get(&b->changes, id);
    if (!c) {
        c = arena_new(b->changes.arena, struct change);
        map_set(&b->changes, str_dup(b->changes.arena, id), c);
    }
    return c;
}

/* The change of `id`, or NULL. Of a few, which is usual, comparing is quicker than hashing. */
static struct change *find_change(const struct building *b, struct str id)
{
    if (map_len(&b->changes) > FEW)
        return map_get(&b->changes, id);
    map_foreach(e, &b->changes) if (str_eq(e->key, id)) return e->value;
    return NULL;
}

static bool add_row(void *arg, const struct store_brief *entry, struct err *err)
{
    struct building *b = arg;
    struct app_slot *slot = add_entry(b, entry);
    if (b->server->site)
        change_of(b, entry->id)->now = slot;
    return true;
}

/* All of the store, in slots of their own. */
static bool add_all(struct building *b, struct store_tx *tx, struct err *err)
{
    const struct site *old = b->server->site;
    for (size_t i = 0; old && i < site_len(old); i++)
        change_of(b, app_slot_entry(site_at(old, i)->slot)->id)->before = site_at(old, i)->slot;
    return store_app_each(tx, add_row, b, err);
}

/* What the site of now has, in the same slots, but for the changed entries, which come from the store. So ten thousand
 * apps cost a deploy of one of them ten thousand entries in a table, but no query. */
static bool add_changes(struct building *b, struct store_tx *tx, struct err *err)
{
    scoped_arena scratch = {0};
    const struct site *old = b->server->site;
    vec_foreach(id, &b->what->ids) change_of(b, *id);
    for (size_t i = 0; i < site_len(old); i++) {
        struct app_slot *slot = site_at(old, i)->slot;
        struct change *c = find_change(b, app_slot_entry(slot)->id);
        if (c)
            c->before = slot;
        else
            add_slot(b, app_slot_ref(slot));
    }
    map_foreach(e, &b->changes)
    {
        struct store_app app;
        scoped_err own = {0};
        if (store_app_get_by_id(tx, &scratch, e->key, &app, &own)) {
            struct store_brief brief = store_app_brief(&app);
            ((struct change *)e->value)->now = add_entry(b, &brief);
        } else if (own.code != ERR_NOT_FOUND)
            return err_move(err, &own);
    }
    return true;
}

static bool build(struct building *b, struct err *err)
{
    struct server *s = b->server;
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return false;
    b->site = site_new(s->env.default_domain, config_bool(&s->config, "system.fallback_unknown_domains"));
    bool is_partial = b->what && s->site && !s->is_site_stale;
    if (!(is_partial ? add_changes(b, tx, err) : add_all(b, tx, err))) {
        site_unref(b->site);
        b->site = NULL;
        return false;
    }
    site_seal(b->site);
    return true;
}

/* Apps of the site before whose slots are not in the new one: their containers have no more requests coming. */
static void retire_replaced(const struct map *changes, int drain_secs)
{
    map_foreach(e, changes)
    {
        const struct change *c = e->value;
        if (c->before)
            app_slot_retire(c->before, c->now, drain_secs);
    }
}

bool publish_site(void *server, const struct deploy_published *what, struct err *err)
{
    struct server *s = server;
    int64_t begin = clock_ns();
    pthread_mutex_lock(&s->publish_lock);
    scoped_arena scratch = {0};
    struct building b = {.server = s, .what = what};
    map_init(&b.changes, &scratch);
    s->is_site_stale = !build(&b, err);
    struct site *site = b.site;
    if (site) {
        http_loops_run(s->loops, take_site, site);
        log_info("site published", LOG_INT("apps", (int64_t)site_len(site)), LOG_INT("us", (clock_ns() - begin) / 1000));
        struct site *old = s->site;
        s->site = site;
        s->site_number++;
        retire_replaced(&b.changes, (int)config_int(&s->config, "restart.drain_timeout_secs"));
        site_unref(old);
        watch_sync(s->watch, site);
    }
    pthread_mutex_unlock(&s->publish_lock);
    return site != NULL;
}
