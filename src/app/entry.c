/* app/entry.c: a deep copy of a metadata entry: what a slot and an app keep after the operation that read it
 * is over.
 *
 * store_app_copy() makes lists and maps of its own and shares texts; here the texts follow. Bytes stay what
 * they are (spec files need not be text). A field that is forgotten shows in the unit test, which frees the
 * original.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

static void own(struct arena *a, struct str *s)
{
    if (s->len > 0)
        *s = str_dup(a, *s);
}

static void own_list(struct arena *a, struct str_list *l)
{
    vec_foreach(s, l) own(a, s);
}

static void own_map(struct arena *a, struct map *m)
{
    map_foreach(e, m)
    {
        own(a, &e->key);
        own(a, e->value);
    }
}

static void own_metadata(struct arena *a, struct store_metadata *m)
{
    own(a, &m->name);
    own(a, &m->spec);
    own(a, &m->authn_type);
    own(a, &m->git_auth_name);
    own(a, &m->version_metadata.git_branch);
    own(a, &m->version_metadata.git_commit);
    own(a, &m->version_metadata.git_message);
    own(a, &m->version_metadata.apply_info);
    own(a, &m->version_metadata.applied_sync_id);
    own_list(a, &m->loads);
    vec_foreach(p, &m->permissions)
    {
        own(a, &p->plugin);
        own(a, &p->method);
        own_list(a, &p->arguments);
        own_list(a, &p->permit);
        vec_foreach(l, &p->secrets) own_list(a, l);
    }
    vec_foreach(acc, &m->accounts)
    {
        own(a, &acc->plugin);
        own(a, &acc->account_name);
    }
    own_map(a, &m->param_values);
    own_map(a, &m->container_options);
    own_map(a, &m->container_args);
    own_list(a, &m->container_volumes);
    own_list(a, &m->bindings);
    own_map(a, &m->appconfig);
    own_map(a, &m->spec_files);
    own(a, &m->applied_sync_id);
    own(a, &m->jobs);
}

void entry_copy(struct arena *a, const struct store_app *from, struct store_app *to)
{
    store_app_copy(a, from, to);
    own(a, &to->id);
    own(a, &to->path);
    own(a, &to->domain);
    own(a, &to->main_app);
    own(a, &to->linked_app_path);
    own(a, &to->source_url);
    own(a, &to->user_id);
    own(a, &to->settings.webhook_tokens.reload);
    own(a, &to->settings.webhook_tokens.reload_promote);
    own(a, &to->settings.webhook_tokens.promote);
    own(a, &to->settings.orig_source_url);
    own(a, &to->settings.authn_type);
    own(a, &to->settings.git_auth_name);
    own_metadata(a, &to->metadata);
}
