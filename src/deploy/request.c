/* deploy/request.c: a request to create an app (CreateAppRequest, spec management-api.md 5): what `app
 * create` sends, what a declarative file says, and what is remembered of it in apply_info.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

void request_init(struct arena *a, struct request *r)
{
    *r = (struct request){0};
    struct map *maps[] = {&r->param_values, &r->container_options, &r->container_args, &r->appconfig};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_init(maps[i], a);
}

bool request_read(struct arena *a, const json_t *j, struct request *out, struct err *err)
{
    struct request r;
    request_init(a, &r);
    bool ok = json_read_str(j, "path", true, &r.path, err) &&
              json_read_str(j, "source_url", true, &r.source_url, err) &&
              json_read_bool(j, "is_dev", false, &r.is_dev, err) &&
              json_read_str(j, "app_authn", false, &r.authn_type, err) &&
              json_read_str(j, "git_branch", false, &r.git_branch, err) &&
              json_read_str(j, "git_commit", false, &r.git_commit, err) &&
              json_read_str(j, "git_auth_name", false, &r.git_auth_name, err) &&
              json_read_str(j, "spec", false, &r.spec, err) &&
              json_read_map(a, j, "param_values", false, &r.param_values, err) &&
              json_read_map(a, j, "container_options", false, &r.container_options, err) &&
              json_read_map(a, j, "container_args", false, &r.container_args, err) &&
              json_read_list(a, j, "container_volumes", false, &r.container_volumes, err) &&
              json_read_map(a, j, "appconfig", false, &r.appconfig, err) &&
              json_read_list(a, j, "bindings", false, &r.bindings, err) &&
              json_read_str(j, "stage_at", false, &r.stage_at, err) &&
              json_read_bool(j, "verify", false, &r.verify, err);
    if (!ok)
        return false;
    if (r.bindings.len > 0)
        return err_set(err, ERR_UNSUPPORTED, "bindings are not available in this version");
    *out = r;
    return true;
}

struct str request_text(struct arena *a, const struct request *r)
{
    scoped_json *j = json_object();
    json_set_str(j, "path", r->path);
    json_set_str(j, "source_url", r->source_url);
    json_set_bool(j, "is_dev", r->is_dev);
    json_set_str(j, "app_authn", r->authn_type);
    json_set_str(j, "git_branch", r->git_branch);
    json_set_str(j, "git_commit", r->git_commit);
    json_set_str(j, "git_auth_name", r->git_auth_name);
    json_set_str(j, "spec", r->spec);
    json_object_set_new(j, "param_values", json_from_map(&r->param_values));
    json_object_set_new(j, "container_options", json_from_map(&r->container_options));
    json_object_set_new(j, "container_args", json_from_map(&r->container_args));
    json_set_list(j, "container_volumes", &r->container_volumes);
    json_object_set_new(j, "appconfig", json_from_map(&r->appconfig));
    json_set_list(j, "bindings", &r->bindings);
    json_set_str(j, "stage_at", r->stage_at);
    json_set_bool(j, "verify", r->verify);
    return json_text(a, j, JSON_STYLE_SORTED);
}

/* Text before '#' is the source, after it the folder of app.star. */
static bool split_star_base(struct arena *a, struct request *r, struct err *err)
{
    struct str source, base;
    if (!str_cut(r->source_url, '#', &source, &base))
        return true;
    r->source_url = source;
    base = str_trim_right(base, '/');
    while (str_starts(base, STR("/")))
        base = str_from_off(base, 1);
    if (str_is_empty(base))
        return true;
    if (!src_name_clean(a, base, &base, err))
        return err_wrap(err, "the folder after \"#\" in the source");
    scoped_buf toml = BUF_INIT(16 << 10);
    buf_add_char(&toml, '"'); /* a JSON string is a TOML string */
    buf_add_json(&toml, base);
    buf_add_char(&toml, '"');
    store_map_set(a, &r->appconfig, STR("star_base"), str_dup(a, buf_str(&toml)));
    return true;
}

bool check_env_name(const char *what, struct str name, bool may_have_space, struct err *err)
{
    bool ok = name.len > 0 && name.ptr[0] != '-';
    for (size_t i = 0; ok && i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        ok = c != '=' && c != 0x7f && (may_have_space ? c >= ' ' : c > ' ');
    }
    return ok || err_set(err, ERR_INVALID,
                         "invalid %s name \"" STR_FMT "\": it becomes the name of a variable, so it must not be empty, begin "
                         "with \"-\", or have \"=\"%s or control characters in it",
                         what, STR_ARG(str_slice(name, 0, 100)), may_have_space ? "" : ", spaces");
}

static bool check_env_names(const struct request *r, struct err *err)
{
    map_foreach(e, &r->param_values) if (!check_env_name("param", e->key, true, err)) return false;
    map_foreach(e, &r->container_args) if (!check_env_name("build argument", e->key, false, err)) return false;
    return true;
}

bool request_normalize(struct arena *a, struct request *r, struct err *err)
{
    if (!check_env_names(r, err) || !split_star_base(a, r, err))
        return false;
    if (str_is_empty(r->authn_type))
        r->authn_type = STR("default");
    if (!str_is_empty(r->git_commit))
        r->git_branch = (struct str){0};
    if (!src_is_git(r->source_url))
        r->git_branch = r->git_commit = (struct str){0};
    return true;
}

static void copy_map(struct arena *a, const struct map *from, struct map *to)
{
    map_foreach(e, from) store_map_set(a, to, e->key, *(const struct str *)e->value);
}

bool request_to_app(struct op *op, const struct request *r, struct store_app *out, struct err *err)
{
    struct arena *a = &op->arena;
    struct store_metadata *m = &out->metadata;
    const struct deploy_config *c = &op->deploy->config;
    store_app_init(a, out);
    out->source_url = r->source_url;
    out->is_dev = r->is_dev;
    out->settings.stage_write_access = c->stage_write_access;
    out->settings.preview_write_access = c->preview_write_access;
    m->authn_type = r->authn_type;
    m->git_auth_name = r->git_auth_name;
    m->spec = r->spec;
    m->version_metadata.git_branch = r->git_branch;
    m->version_metadata.git_commit = r->git_commit;
    if (src_is_git(r->source_url) && str_is_empty(r->git_branch) && str_is_empty(r->git_commit))
        m->version_metadata.git_branch = STR("main");
    copy_map(a, &r->param_values, &m->param_values);
    copy_map(a, &r->container_options, &m->container_options);
    copy_map(a, &r->container_args, &m->container_args);
    copy_map(a, &r->appconfig, &m->appconfig);
    vec_foreach(v, &r->container_volumes) str_list_add(a, &m->container_volumes, *v);
    return check_appconfig(op, &m->appconfig, err) && c->check_auth(c->arg, m->authn_type, err);
}

bool request_snapshot_spec(struct op *op, struct store_metadata *m, struct err *err)
{
    struct src_files spec = {0};
    if (!str_is_empty(m->spec) &&
        !src_spec_load(&op->arena, op->deploy->config.env->home, m->spec, &spec, err))
        return false;
    map_init(&m->spec_files, &op->arena);
    for (size_t i = 0; i < spec.len; i++)
        store_map_set(&op->arena, &m->spec_files, spec.items[i].name,
                      str_of(spec.items[i].content, spec.items[i].size));
    return true;
}
