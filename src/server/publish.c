/* server/publish.c: from the store's apps to the site that every loop serves.
 *
 * A slot is carried over while its entry is unchanged, so that loaded apps and their containers survive the
 * deploys of others. SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <stdlib.h>

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

/* Adds an app in a slot, whose reference is taken over. */
static void add_slot(struct server *s, struct site *site, struct app_slot *slot)
{
    const struct store_brief *entry = app_slot_entry(slot);
    site_add(site, &(struct site_app){
                       .domain = entry->domain,
                       .path = entry->path,
                       .slot = slot,
                       .rule = auth_resolve(s->auth, site_arena(site), entry->authn_type),
                       .is_write_gated = is_write_gated(entry),
                   });
}

static void add_entry(struct server *s, struct site *site, const struct store_brief *entry,
                      const struct deploy_published *what)
{
    struct app_slot *slot = app_slot_new(&s->env, entry);
    for (size_t i = 0; what && i < what->n_loaded; i++)
        if (str_eq(app_id(what->loaded[i]), entry->id))
            app_slot_set(slot, what->loaded[i]);
    add_slot(s, site, slot);
}

struct building {
    struct server *server;
    struct site *site;
};

static bool add_row(void *arg, const struct store_brief *entry, struct err *err)
{
    const struct building *b = arg;
    add_entry(b->server, b->site, entry, NULL);
    return true;
}

/* What `old` has, in the same slots, but for the changed entries, which come from the store. So ten thousand
 * apps cost a deploy of one of them ten thousand entries in a table, but no query. */
static bool add_changes(struct server *s, struct store_tx *tx, const struct site *old, struct site *site,
                        const struct deploy_published *what, struct err *err)
{
    scoped_arena scratch = {0};
    struct map changed;
    map_init(&changed, &scratch);
    vec_foreach(id, &what->ids) map_set(&changed, *id, id);
    for (size_t i = 0; i < site_len(old); i++) {
        struct app_slot *slot = site_at(old, i)->slot;
        if (!map_has(&changed, app_slot_entry(slot)->id))
            add_slot(s, site, app_slot_ref(slot));
    }
    vec_foreach(id, &what->ids)
    {
        struct store_app app;
        scoped_err own = {0};
        if (store_app_get_by_id(tx, &scratch, *id, &app, &own)) {
            struct store_brief brief = store_app_brief(&app);
            add_entry(s, site, &brief, what);
        } else if (own.code != ERR_NOT_FOUND)
            return err_move(err, &own);
    }
    return true;
}

static struct site *build(struct server *s, const struct deploy_published *what, struct err *err)
{
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return NULL;
    struct site *site =
        site_new(s->env.default_domain, config_bool(&s->config, "system.fallback_unknown_domains"));
    bool is_partial = what && s->site && !s->is_site_stale;
    if (!(is_partial ? add_changes(s, tx, s->site, site, what, err) : store_app_each(tx, add_row, &(struct building){s, site}, err))) {
        site_unref(site);
        return NULL;
    }
    site_seal(site);
    return site;
}

/* Apps of `old` whose slots are not in `now`: their containers have no more requests coming. But an app whose
 * new version nobody has loaded yet may go on with the same container, so that one is left to idleness and
 * the sweep. */
static void retire_replaced(const struct site *old, const struct site *now, int drain_secs)
{
    for (size_t i = 0; i < site_len(old); i++) {
        struct app_slot *slot = site_at(old, i)->slot;
        struct app *app = app_slot_peek(slot);
        if (!app)
            continue;
        const struct site_app *next = site_find(now, app_slot_entry(slot)->id);
        struct app *successor = next ? app_slot_peek(next->slot) : NULL;
        if (!next || (next->slot != slot && successor))
            app_retire(app, successor, drain_secs);
    }
}

bool publish_site(void *server, const struct deploy_published *what, struct err *err)
{
    struct server *s = server;
    int64_t begin = clock_ns();
    pthread_mutex_lock(&s->publish_lock);
    struct site *site = build(s, what, err);
    s->is_site_stale = !site;
    if (site) {
        http_loops_run(s->loops, take_site, site);
        log_info("site published", LOG_INT("apps", (int64_t)site_len(site)), LOG_INT("us", (clock_ns() - begin) / 1000));
        struct site *old = s->site;
        s->site = site;
        s->site_number++;
        if (old)
            retire_replaced(old, site, (int)config_int(&s->config, "restart.drain_timeout_secs"));
        site_unref(old);
        watch_sync(s->watch, site);
    }
    pthread_mutex_unlock(&s->publish_lock);
    return site != NULL;
}
