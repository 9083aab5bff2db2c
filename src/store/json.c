/* store/json.c: apps as the JSON of the management API (management-api.md section 5) and of the columns.
 *
 * Reading copies text into the arena, since the json_t goes before it. Missing and null members are empty;
 * members of another type are an error that names them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"
#include "timefmt.h"

/* --- reading --- */

static bool read_str(struct arena *a, const json_t *j, const char *key, struct str *out, struct err *err)
{
    struct str s = {0};
    if (!json_read_str(j, key, false, &s, err))
        return false;
    *out = str_dup(a, s);
    return true;
}

static bool read_list(struct arena *a, const json_t *j, const char *key, struct str_list *out, struct err *err)
{
    struct str_list l = {0};
    if (!json_read_list(a, j, key, false, &l, err))
        return false;
    vec_foreach (s, &l)
        *s = str_dup(a, *s);
    *out = l;
    return true;
}

static bool read_map(struct arena *a, const json_t *j, const char *key, struct map *out, struct err *err)
{
    struct map borrowed = {0};
    if (!json_read_map(a, j, key, false, &borrowed, err))
        return false;
    map_init(out, a);
    map_foreach (e, &borrowed)
        store_map_set(a, out, str_dup(a, e->key), str_dup(a, *(const struct str *)e->value));
    return true;
}

static bool read_base64(struct arena *a, const json_t *j, const char *key, struct str *out, struct err *err)
{
    struct str s = {0};
    return json_read_str(j, key, false, &s, err) &&
           (base64_decode(a, s, out) || err_set(err, ERR_INVALID, "%s is not base64", key));
}

static bool read_files(struct arena *a, const json_t *j, const char *key, struct map *out, struct err *err)
{
    if (!read_map(a, j, key, out, err))
        return false;
    map_foreach (e, out) {
        struct str *value = e->value;
        if (!base64_decode(a, *value, value))
            return err_set(err, ERR_INVALID, "%s: the content of %.*s is not base64", key, STR_ARG(e->key));
    }
    return true;
}

static bool read_raw(struct arena *a, const json_t *j, const char *key, struct str *out)
{
    const json_t *value = json_get(j, key);
    if (value)
        *out = json_text(a, value, JSON_STYLE_COMPACT);
    return true;
}

/* The members of a list of objects, one at a time: *item is NULL at the end. */
static bool list_item(const json_t *j, const char *key, size_t i, const json_t **item, struct err *err)
{
    const json_t *list = json_get(j, key);
    if (list && !json_is_array(list))
        return err_set(err, ERR_INVALID, "%s must be a list", key);
    *item = json_array_get(list, i);
    if (*item && !json_is_object(*item))
        return err_set(err, ERR_INVALID, "%s must be a list of objects, but item %zu is none", key, i + 1);
    return true;
}

static bool read_secrets(struct arena *a, const json_t *j, struct store_str_lists *out, struct err *err)
{
    const json_t *lists = json_get(j, "secrets");
    if (lists && !json_is_array(lists))
        return err_set(err, ERR_INVALID, "secrets must be a list of lists of strings");
    for (size_t i = 0; i < json_array_size(lists); i++) {
        const json_t *list = json_array_get(lists, i);
        if (!json_is_array(list) && !json_is_null(list))
            return err_set(err, ERR_INVALID, "secrets must be a list of lists of strings");
        struct str_list keys = {0};
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *s = json_array_get(list, k);
            if (!json_is_string(s))
                return err_set(err, ERR_INVALID, "secrets must be a list of lists of strings");
            str_list_add(a, &keys, str_dup(a, json_str(s)));
        }
        *vec_push(a, out) = keys;
    }
    return true;
}

bool store_permission_from_json(struct arena *a, const json_t *j, struct store_permission *out, struct err *err)
{
    struct store_permission p = {0};
    const json_t *is_read = json_get(j, "is_read");
    if (is_read && !json_is_boolean(is_read))
        return err_set(err, ERR_INVALID, "is_read must be a boolean");
    if (is_read)
        p.is_read = json_is_true(is_read) ? STORE_TRUE : STORE_FALSE;
    if (!read_str(a, j, "plugin", &p.plugin, err) || !read_str(a, j, "method", &p.method, err) ||
        !read_list(a, j, "arguments", &p.arguments, err) || !read_list(a, j, "permit", &p.permit, err) ||
        !read_secrets(a, j, &p.secrets, err))
        return false;
    *out = p;
    return true;
}

static bool read_permissions(struct arena *a, const json_t *j, struct store_permission_list *out, struct err *err)
{
    for (size_t i = 0;; i++) {
        const json_t *item;
        struct store_permission p;
        if (!list_item(j, "permissions", i, &item, err))
            return false;
        if (!item)
            return true;
        if (!store_permission_from_json(a, item, &p, err))
            return err_wrap(err, "permissions, item %zu", i + 1);
        *vec_push(a, out) = p;
    }
}

static bool read_accounts(struct arena *a, const json_t *j, struct store_account_list *out, struct err *err)
{
    for (size_t i = 0;; i++) {
        const json_t *item;
        struct store_account acc = {0};
        if (!list_item(j, "accounts", i, &item, err))
            return false;
        if (!item)
            return true;
        if (!read_str(a, item, "plugin", &acc.plugin, err) ||
            !read_str(a, item, "account_name", &acc.account_name, err))
            return err_wrap(err, "accounts, item %zu", i + 1);
        *vec_push(a, out) = acc;
    }
}

static bool read_version(struct arena *a, const json_t *j, struct store_version_metadata *v, struct err *err)
{
    j = json_get(j, "version_metadata");
    if (j && !json_is_object(j))
        return err_set(err, ERR_INVALID, "version_metadata must be an object");
    return json_read_int(j, "version", false, &v->version, err) &&
           json_read_int(j, "previous_version", false, &v->previous_version, err) &&
           read_str(a, j, "git_branch", &v->git_branch, err) && read_str(a, j, "git_commit", &v->git_commit, err) &&
           read_str(a, j, "git_message", &v->git_message, err) &&
           read_base64(a, j, "apply_info", &v->apply_info, err) &&
           read_str(a, j, "applied_sync_id", &v->applied_sync_id, err);
}

bool store_metadata_from_json(struct arena *a, const json_t *j, struct store_metadata *out, struct err *err)
{
    struct store_metadata m;
    store_metadata_init(a, &m);
    if (!read_str(a, j, "name", &m.name, err) || !read_str(a, j, "spec", &m.spec, err) ||
        !read_str(a, j, "authn_type", &m.authn_type, err) ||
        !read_str(a, j, "git_auth_name", &m.git_auth_name, err) ||
        !read_version(a, j, &m.version_metadata, err) || !read_list(a, j, "loads", &m.loads, err) ||
        !read_permissions(a, j, &m.permissions, err) || !read_accounts(a, j, &m.accounts, err) ||
        !read_map(a, j, "param_values", &m.param_values, err) ||
        !read_map(a, j, "container_options", &m.container_options, err) ||
        !read_map(a, j, "container_args", &m.container_args, err) ||
        !read_list(a, j, "container_volumes", &m.container_volumes, err) ||
        !read_list(a, j, "bindings", &m.bindings, err) || !read_map(a, j, "appconfig", &m.appconfig, err) ||
        !read_files(a, j, "spec_files", &m.spec_files, err) ||
        !read_str(a, j, "applied_sync_id", &m.applied_sync_id, err) ||
        !json_read_bool(j, "builder_published", false, &m.builder_published, err) || !read_raw(a, j, "jobs", &m.jobs))
        return false;
    *out = m;
    return true;
}

bool store_settings_from_json(struct arena *a, const json_t *j, struct store_settings *out, struct err *err)
{
    struct store_settings s = {0};
    const json_t *tokens = json_get(j, "webhook_tokens");
    if (!json_read_bool(j, "stage_write_access", false, &s.stage_write_access, err) ||
        !json_read_bool(j, "preview_write_access", false, &s.preview_write_access, err) ||
        !read_str(a, tokens, "reload", &s.webhook_tokens.reload, err) ||
        !read_str(a, tokens, "reload_promote", &s.webhook_tokens.reload_promote, err) ||
        !read_str(a, tokens, "promote", &s.webhook_tokens.promote, err) ||
        !read_str(a, j, "orig_source_url", &s.orig_source_url, err) ||
        !read_str(a, j, "authn_type", &s.authn_type, err) ||
        !read_str(a, j, "git_auth_name", &s.git_auth_name, err))
        return false;
    *out = s;
    return true;
}

static bool read_time(const json_t *j, const char *key, int64_t *out, struct err *err)
{
    struct str s = {0};
    if (!json_read_str(j, key, false, &s, err))
        return false;
    return str_is_empty(s) || db_time_parse(s, out) || err_set(err, ERR_INVALID, "%s is not a time", key);
}

bool store_app_from_json(struct arena *a, const json_t *j, struct store_app *out, struct err *err)
{
    struct store_app app = {0};
    if (!read_str(a, j, "id", &app.id, err) || !read_str(a, j, "path", &app.path, err) ||
        !read_str(a, j, "domain", &app.domain, err) || !read_str(a, j, "main_app", &app.main_app, err) ||
        !read_str(a, j, "linked_app_path", &app.linked_app_path, err) ||
        !read_str(a, j, "source_url", &app.source_url, err) ||
        !json_read_bool(j, "is_dev", false, &app.is_dev, err) || !read_str(a, j, "user_id", &app.user_id, err) ||
        !read_time(j, "create_time", &app.create_time, err) ||
        !read_time(j, "update_time", &app.update_time, err) ||
        !store_settings_from_json(a, json_get(j, "settings"), &app.settings, err) ||
        !store_metadata_from_json(a, json_get(j, "metadata"), &app.metadata, err))
        return false;
    *out = app;
    return true;
}

/* --- writing --- */

struct str store_time_to_wire(struct arena *a, int64_t ns)
{
    return time_rfc3339_nano(a, ns == 0 ? TIME_NONE : ns);
}

json_t *store_time_to_json(int64_t ns)
{
    char text[TIME_TEXT_MAX];
    size_t len = time_format_rfc3339_nano(text, ns == 0 ? TIME_NONE : ns);
    return json_stringn(text, len);
}

static json_t *base64_json(struct str bytes)
{
    scoped_arena scratch = {0};
    return json_from_str(base64_encode(&scratch, bytes));
}

static json_t *files_json(const struct map *m)
{
    json_t *j = json_object();
    map_foreach (e, m)
        json_set_key(j, e->key, base64_json(*(const struct str *)e->value));
    return j;
}

json_t *store_permission_to_json(const struct store_permission *p)
{
    json_t *j = json_object();
    json_t *secrets = json_array();
    json_set_str(j, "plugin", p->plugin);
    json_set_str(j, "method", p->method);
    json_set_list(j, "arguments", &p->arguments);
    json_set_list(j, "permit", &p->permit);
    if (p->is_read != STORE_UNSET)
        json_set_bool(j, "is_read", p->is_read == STORE_TRUE);
    vec_foreach (l, &p->secrets)
        json_array_append_new(secrets, json_from_list(l));
    json_object_set_new(j, "secrets", secrets);
    return j;
}

json_t *store_permissions_to_json(const struct store_permission_list *l)
{
    json_t *j = json_array();
    vec_foreach (p, l)
        json_array_append_new(j, store_permission_to_json(p));
    return j;
}

static json_t *accounts_json(const struct store_account_list *l)
{
    json_t *j = json_array();
    vec_foreach (acc, l) {
        json_t *item = json_object();
        json_set_str(item, "plugin", acc->plugin);
        json_set_str(item, "account_name", acc->account_name);
        json_array_append_new(j, item);
    }
    return j;
}

/* JSON text kept as it is; what does not parse is left out rather than passed on. */
static void set_raw(json_t *j, const char *key, struct str text)
{
    json_t *value = text.len > 0 ? json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    if (value)
        json_object_set_new(j, key, value);
}

static json_t *version_metadata_json(const struct store_version_metadata *v)
{
    json_t *j = json_object();
    json_set_int(j, "version", v->version);
    json_set_int(j, "previous_version", v->previous_version);
    json_set_str(j, "git_branch", v->git_branch);
    json_set_str(j, "git_commit", v->git_commit);
    json_set_str(j, "git_message", v->git_message);
    json_object_set_new(j, "apply_info", base64_json(v->apply_info));
    json_set_str(j, "applied_sync_id", v->applied_sync_id);
    return j;
}

json_t *store_metadata_to_json(const struct store_metadata *m)
{
    json_t *j = json_object();
    json_set_str(j, "name", m->name);
    json_object_set_new(j, "version_metadata", version_metadata_json(&m->version_metadata));
    json_set_list(j, "loads", &m->loads);
    json_object_set_new(j, "permissions", store_permissions_to_json(&m->permissions));
    json_object_set_new(j, "accounts", accounts_json(&m->accounts));
    json_object_set_new(j, "param_values", json_from_map(&m->param_values));
    json_set_str(j, "spec", m->spec);
    json_object_set_new(j, "spec_files", files_json(&m->spec_files));
    json_object_set_new(j, "container_options", json_from_map(&m->container_options));
    json_object_set_new(j, "container_args", json_from_map(&m->container_args));
    json_set_list(j, "container_volumes", &m->container_volumes);
    json_object_set_new(j, "appconfig", json_from_map(&m->appconfig));
    json_set_str(j, "authn_type", m->authn_type);
    json_set_str(j, "git_auth_name", m->git_auth_name);
    json_set_list(j, "bindings", &m->bindings);
    json_set_str(j, "applied_sync_id", m->applied_sync_id);
    if (m->builder_published)
        json_set_bool(j, "builder_published", true);
    set_raw(j, "jobs", m->jobs);
    return j;
}

void store_settings_mask(struct store_settings *s)
{
    struct str *const tokens[] = {&s->webhook_tokens.reload, &s->webhook_tokens.reload_promote,
                                  &s->webhook_tokens.promote};
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        if (!str_is_empty(*tokens[i]))
            *tokens[i] = STORE_MASK;
}

json_t *store_settings_to_json(const struct store_settings *s)
{
    json_t *j = json_object(), *tokens = json_object();
    json_set_str(j, "authn_type", s->authn_type);
    json_set_str(j, "git_auth_name", s->git_auth_name);
    json_set_bool(j, "stage_write_access", s->stage_write_access);
    json_set_bool(j, "preview_write_access", s->preview_write_access);
    json_set_str(tokens, "reload", s->webhook_tokens.reload);
    json_set_str(tokens, "reload_promote", s->webhook_tokens.reload_promote);
    json_set_str(tokens, "promote", s->webhook_tokens.promote);
    json_object_set_new(j, "webhook_tokens", tokens);
    json_set_str(j, "orig_source_url", s->orig_source_url);
    return j;
}

void store_mask_sources(struct arena *a, struct str *source_url, struct store_settings *s, struct store_metadata *m)
{
    scoped_err ignored = {0};
    if (source_url)
        *source_url = str_shown_url(a, *source_url);
    if (s)
        s->orig_source_url = str_shown_url(a, s->orig_source_url);
    struct str info = m ? m->version_metadata.apply_info : (struct str){0};
    scoped_json *said = str_chr(info, '@') == STR_NPOS ? NULL : json_parse_object(info, &ignored);
    struct str declared = said ? json_get_str(said, "source_url", (struct str){0}) : (struct str){0};
    struct str shown = str_shown_url(a, declared);
    if (shown.len == declared.len)
        return;
    json_set_str(said, "source_url", shown);
    m->version_metadata.apply_info = json_text(a, said, JSON_STYLE_SORTED);
}

json_t *store_app_to_json(const struct store_app *app)
{
    json_t *j = json_object();
    json_set_str(j, "id", app->id);
    json_set_str(j, "path", app->path);
    json_set_str(j, "domain", app->domain);
    json_set_str(j, "main_app", app->main_app);
    json_set_str(j, "linked_app_path", app->linked_app_path);
    json_set_str(j, "source_url", app->source_url);
    json_set_bool(j, "is_dev", app->is_dev);
    json_set_str(j, "user_id", app->user_id);
    json_object_set_new(j, "create_time", store_time_to_json(app->create_time));
    json_object_set_new(j, "update_time", store_time_to_json(app->update_time));
    json_object_set_new(j, "settings", store_settings_to_json(&app->settings));
    json_object_set_new(j, "metadata", store_metadata_to_json(&app->metadata));
    return j;
}

json_t *store_version_to_json(const struct store_version *v, bool is_active)
{
    json_t *j = json_object();
    json_set_bool(j, "Active", is_active);
    json_set_z(j, "AppId", "");
    json_set_int(j, "Version", v->version);
    json_set_int(j, "PreviousVersion", v->previous_version);
    json_set_str(j, "UserId", v->user_id);
    json_object_set_new(j, "Metadata", store_metadata_to_json(&v->metadata));
    json_object_set_new(j, "CreateTime", store_time_to_json(v->create_time));
    return j;
}

/* --- sync entries --- */

json_t *store_sync_metadata_json(const struct store_sync *s)
{
    json_t *j = json_object();
    json_set_str(j, "git_branch", s->metadata.git_branch);
    json_set_str(j, "git_auth", s->metadata.git_auth);
    json_set_bool(j, "promote", s->metadata.promote);
    json_set_bool(j, "approve", s->metadata.approve);
    json_set_bool(j, "verify", s->metadata.verify);
    json_set_str(j, "reload", s->metadata.reload);
    json_set_bool(j, "clobber", s->metadata.clobber);
    json_set_bool(j, "force_reload", s->metadata.force_reload);
    json_set_str(j, "webhook_url", s->metadata.webhook_url);
    json_set_str(j, "webhook_secret", s->metadata.webhook_secret);
    json_set_int(j, "schedule_frequency", s->metadata.schedule_frequency);
    set_raw(j, "rbac", s->metadata.rbac);
    return j;
}

json_t *store_sync_status_json(const struct store_sync *s)
{
    json_t *j = json_object();
    json_set_str(j, "state", s->status.state);
    json_set_int(j, "failure_count", s->status.failure_count);
    json_object_set_new(j, "last_execution_time", store_time_to_json(s->status.last_execution_time));
    json_set_str(j, "error", s->status.error);
    json_set_str(j, "commit_id", s->status.commit_id);
    json_set_bool(j, "is_apply", s->status.is_apply);
    set_raw(j, "app_apply_response", s->status.app_apply_response);
    return j;
}

bool store_sync_read_json(struct arena *a, const json_t *m, const json_t *st, struct store_sync *s, struct err *err)
{
    return read_str(a, m, "git_branch", &s->metadata.git_branch, err) &&
           read_str(a, m, "git_auth", &s->metadata.git_auth, err) &&
           json_read_bool(m, "promote", false, &s->metadata.promote, err) &&
           json_read_bool(m, "approve", false, &s->metadata.approve, err) &&
           json_read_bool(m, "verify", false, &s->metadata.verify, err) &&
           read_str(a, m, "reload", &s->metadata.reload, err) &&
           json_read_bool(m, "clobber", false, &s->metadata.clobber, err) &&
           json_read_bool(m, "force_reload", false, &s->metadata.force_reload, err) &&
           read_str(a, m, "webhook_url", &s->metadata.webhook_url, err) &&
           read_str(a, m, "webhook_secret", &s->metadata.webhook_secret, err) &&
           json_read_int(m, "schedule_frequency", false, &s->metadata.schedule_frequency, err) &&
           read_raw(a, m, "rbac", &s->metadata.rbac) && read_str(a, st, "state", &s->status.state, err) &&
           json_read_int(st, "failure_count", false, &s->status.failure_count, err) &&
           read_time(st, "last_execution_time", &s->status.last_execution_time, err) &&
           read_str(a, st, "error", &s->status.error, err) &&
           read_str(a, st, "commit_id", &s->status.commit_id, err) &&
           json_read_bool(st, "is_apply", false, &s->status.is_apply, err) &&
           read_raw(a, st, "app_apply_response", &s->status.app_apply_response);
}

bool store_sync_metadata_from_json(struct arena *a, const json_t *j, struct store_sync *out, struct err *err)
{
    struct store_sync s = {0};
    scoped_json *no_status = json_object();
    if (!store_sync_read_json(a, j, no_status, &s, err))
        return false;
    out->metadata = s.metadata;
    return true;
}

json_t *store_sync_to_json(const struct store_sync *s)
{
    json_t *j = json_object();
    json_set_str(j, "id", s->id);
    json_set_str(j, "path", s->path);
    json_set_bool(j, "is_scheduled", s->is_scheduled);
    json_set_str(j, "user_id", s->user_id);
    json_object_set_new(j, "create_time", store_time_to_json(s->create_time));
    json_object_set_new(j, "metadata", store_sync_metadata_json(s));
    json_object_set_new(j, "status", store_sync_status_json(s));
    return j;
}
