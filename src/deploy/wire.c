/* deploy/wire.c: the pieces of replies (spec management-api.md 5).
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

json_t *wire_path(const struct store_app *app)
{
    json_t *j = json_object();
    json_set_str(j, "Path", app->path);
    json_set_str(j, "Domain", app->domain);
    return j;
}

json_t *wire_app_info(const struct store_app *app)
{
    const struct store_metadata *m = &app->metadata;
    const struct store_version_metadata *vm = &m->version_metadata;
    json_t *j = wire_path(app);
    json_set_str(j, "Name", m->name);
    json_set_str(j, "Id", app->id);
    json_set_bool(j, "IsDev", app->is_dev);
    json_set_str(j, "MainApp", app->main_app);
    json_set_str(j, "LinkedAppPath", app->linked_app_path);
    json_set_str(j, "Auth", m->authn_type);
    scoped_arena a = {0};
    json_set_str(j, "SourceUrl", src_shown(&a, app->source_url));
    json_set_str(j, "Spec", m->spec);
    json_set_int(j, "Version", vm->version);
    json_set_str(j, "GitSha", vm->git_commit);
    json_set_str(j, "GitMessage", vm->git_message);
    json_set_str(j, "Branch", vm->git_branch);
    json_set_str(j, "StarBase", store_map_get(&m->appconfig, STR("star_base")));
    json_object_set_new(j, "UpdateTime", store_time_to_json(app->update_time));
    json_set_str(j, "RetainVersions", store_map_get(&m->appconfig, STR("fs.retain_versions")));
    json_set_str(j, "AppliedSyncId", m->applied_sync_id);
    json_set_str(j, "UserID", app->user_id);
    return j;
}

json_t *wire_staged(const struct op *op, json_t *staged, json_t *promoted)
{
    json_t *j = json_object();
    json_set_bool(j, "dry_run", op->opts->is_dry_run);
    json_object_set_new(j, "staged_update_results", staged);
    json_object_set_new(j, "promote_results", promoted);
    return j;
}

struct str wire_url(struct op *op, const struct store_app *app, const char *scheme)
{
    const struct app_env *env = op->deploy->config.env;
    struct src_apppath at = {.domain = app->domain, .path = app->path};
    int port = strcmp(scheme, "https") == 0 ? env->https_port : env->http_port;
    if (port <= 0)
        return (struct str){0};
    return src_apppath_url(&op->arena, &at, scheme, env->default_domain, (unsigned)port);
}
