/* app/service.c: from container.config(...) and the metadata to the service that runs the app's container.
 *
 * Names and hashes (spec containers.md 5) decide what is reused: the image's name holds the hash of what it
 * is built from, the container's that of everything it is made of. So a rollback finds its old container.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"
#include "dev.h"

#include <stdlib.h>

enum { SOURCE_FILE_MAX = 1 << 20 };

/* What is gathered on the way to a ctr_service_config. */
struct plan {
    struct app *app;
    struct arena *a;
    star_v config;              /* the container_config record */
    struct str build_dir;       /* clean, "" for the top */
    struct str file_text;       /* the Containerfile; empty for images */
    struct str file_in_context; /* its name, seen from build_dir */
    struct ctr_file file;
    struct ctr_kv_list build_args;
    struct dev_plan dev;
    struct ctr_service_config out;
    bool is_command;            /* lifetime "command": an image, and no container of its own */
};

static void add_map(struct arena *a, const struct map *m, struct ctr_kv_list *out)
{
    map_foreach(e, m) ctr_kv_set(a, out, e->key, *(const struct str *)e->value);
}

/* --- image
 * ------------------------------------------------------------------------------------------------------ */

static bool gather_build_args(struct plan *p, struct err *err)
{
    star_v cargs = star_struct_get(p->config, STR("cargs")), key, value;
    size_t at = 0;
    while (star_dict_next(cargs, &at, &key, &value)) {
        struct str name, text;
        scoped_buf b = BUF_INIT(64 << 10);
        if (!star_to_str(key, &name))
            return err_set(err, ERR_INVALID, "container.config: cargs keys must be strings");
        if (!star_to_str(value, &text)) {
            if (star_kind(value) == STAR_KIND_BOOL ? !buf_add_z(&b, star_truth(value) ? "true" : "false")
                                                   : !star_str(&b, value))
                return err_set(err, ERR_INVALID,
                               "container.config: the value of cargs \"" STR_FMT "\" is too large",
                               STR_ARG(name));
            text = str_dup(p->a, buf_str(&b));
        }
        ctr_kv_set(p->a, &p->build_args, name, text);
    }
    add_map(p->a, &p->app->entry.metadata.container_args, &p->build_args);
    return true;
}

/* A file of the source lies in build_dir; one of the spec at the top. */
static const struct src_file *find_named(struct plan *p, struct str name, bool is_spec)
{
    const struct src_file *f =
        src_files_find(&p->app->files, is_spec ? name : path_join(p->a, p->build_dir, name));
    return f && f->is_spec == is_spec ? f : NULL;
}

/* Its path relative to build_dir, which may lie below it. */
static struct str seen_from_context(struct plan *p, const struct src_file *f)
{
    if (str_is_empty(p->build_dir))
        return f->name;
    struct str rel = path_rel(p->a, p->build_dir, f->name);
    if (!str_is_empty(rel))
        return rel;
    struct str up = STR(".."), rest = p->build_dir;
    while (str_cut(rest, '/', NULL, &rest))
        up = str_cat(p->a, up, STR("/.."));
    return str_printf(p->a, STR_FMT "/" STR_FMT, STR_ARG(up), STR_ARG(f->name));
}

/* Source before spec, Containerfile before Dockerfile. */
static bool find_containerfile(struct plan *p, struct str source, struct err *err)
{
    const struct str automatic[] = {STR("Containerfile"), STR("Dockerfile")};
    bool is_auto = str_eq(source, STR("auto"));
    const struct str *names = is_auto ? automatic : &source;
    size_t n = is_auto ? ARRAY_LEN(automatic) : 1;
    const struct src_file *found = NULL;
    for (int is_spec = 0; is_spec <= 1; is_spec++)
        for (size_t i = 0; !found && i < n; i++)
            found = find_named(p, names[i], is_spec);
    if (!found)
        return err_set(err, ERR_INVALID,
                       "no container file found, source is set to " STR_FMT
                       ": the app needs a Containerfile or Dockerfile%s" STR_FMT ", or a spec that has one",
                       STR_ARG(source), str_is_empty(p->build_dir) ? "" : " in ", STR_ARG(p->build_dir));
    p->file_in_context = seen_from_context(p, found);
    if (found->size > SOURCE_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, STR_FMT " has more than %d bytes", STR_ARG(found->name),
                       SOURCE_FILE_MAX);
    return src_file_read(p->a, found, &p->file_text, err) &&
           (ctr_file_parse(p->a, p->file_text, &p->build_args, &p->file, err) ||
            err_wrap(err, STR_FMT, STR_ARG(found->name)));
}

static bool choose_build_dir(struct plan *p, struct err *err)
{
    struct str dir = path_clean(p->a, member_text(p->config, "build_dir"));
    if (str_eq(dir, STR(".")))
        return true;
    return src_name_clean(p->a, dir, &p->build_dir, err) || err_wrap(err, "container.config: build_dir");
}

static bool choose_source(struct plan *p, struct err *err)
{
    struct str source = member_text(p->config, "source");
    if (str_eq(source, STR("nixpacks")))
        return err_set(err, ERR_UNSUPPORTED, "nixpacks is not supported yet");
    if (str_starts(source, STR("image:"))) {
        p->out.is_external_image = true;
        p->out.run.image = str_trim(str_from_off(source, strlen("image:")));
        return !str_is_empty(p->out.run.image) ||
               err_set(err, ERR_INVALID, "container.config: image: needs the image's name");
    }
    return choose_build_dir(p, err) && find_containerfile(p, source, err);
}

/* A dev app with dev_settings runs on its mounted source. */
static bool choose_dev(struct plan *p, struct err *err)
{
    struct ctr_run *run = &p->out.run;
    if (!dev_plan_read(p->app, star_struct_get(p->config, STR("dev_settings")), p->out.is_external_image, &p->file,
                       !str_is_empty(p->build_dir), &p->dev, err))
        return false;
    if (!p->dev.is_on)
        return true;
    p->app->dev_reload = p->dev.reload;
    p->out.hint = p->dev.hint;
    run->workdir = p->dev.dir;
    if (!str_is_empty(p->dev.command)) {
        run->entrypoint = STR("sh");
        str_list_add(p->a, &run->command, STR("-c"));
        str_list_add(p->a, &run->command, p->dev.command);
    }
    return true;
}

static bool choose_port(struct plan *p, struct err *err)
{
    int64_t port = p->dev.port;
    if (port == 0)
        star_to_i64(star_struct_get(p->config, STR("port")), &port);
    if (port == 0)
        port = p->file.port;
    if (p->is_command)
        return true;
    if (port == 0)
        return err_set(err, ERR_INVALID,
                       "port not specified in app config and in container file%s" STR_FMT
                       "%s: set port= in container.config (or "
                       "--param port=N), or EXPOSE a port",
                       str_is_empty(p->file.port_problem) ? "" : " (", STR_ARG(p->file.port_problem),
                       str_is_empty(p->file.port_problem) ? "" : ")");
    p->out.run.port = (uint16_t)port;
    return true;
}

/* --- environment, volumes, options
 * --------------------------------------------------------------------------- */

/* Params that only our own pages and flows use. */
static bool is_private_param(struct str name)
{
    static const char *const names[] = {"secrets",    "app_name",      "dev_command",     "dev_reload",
                                        "dev_dir",    "dev_target",    "dev_port",        "dev_env_files",
                                        "dev_mounts", "preserve_host", "response_headers"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq_z(name, names[i]))
            return true;
    return false;
}

/* The params as text: the app's environment begins with them, and templates of secret volumes see nothing else. */
static bool gather_params(struct plan *p, struct ctr_kv_list *out, struct err *err)
{
    struct app *app = p->app;
    struct str text;
    vec_foreach(param, &app->eval.params)
    {
        if (is_private_param(param->name))
            continue;
        if (!param_text(p->a, param, &text, err))
            return false;
        ctr_kv_set(p->a, out, param->name, text);
    }
    map_foreach(e, &app->entry.metadata.param_values) if (!is_private_param(e->key))
        ctr_kv_set(p->a, out, e->key, *(const struct str *)e->value);
    return true;
}

static bool gather_env(struct plan *p, struct err *err)
{
    struct app *app = p->app;
    struct ctr_kv_list *env = &p->out.run.env;
    for (size_t i = 0; i < p->dev.env.len; i++)
        ctr_kv_set(p->a, env, p->dev.env.items[i].key, p->dev.env.items[i].value);
    if (!gather_params(p, env, err))
        return false;
    struct src_apppath at = {.domain = app->entry.domain, .path = app->entry.path};
    bool tls = app->env->https_port > 0;
    struct str url = src_apppath_url(p->a, &at, tls ? "https" : "http", app->env->default_domain,
                                     (unsigned)MAX(tls ? app->env->https_port : app->env->http_port, 0));
    ctr_kv_set(p->a, env, STR("CL_APP_PATH"), app->path);
    if (!p->is_command)
        ctr_kv_set(p->a, env, STR("PORT"), str_printf(p->a, "%d", p->out.run.port));
    ctr_kv_set(p->a, env, STR("CL_APP_URL"), str_trim_right(url, '/'));
    return true;
}

/* Writes the rendered template of a secret volume below the app's run folder and names it as the volume's source.
 * The file's name holds its content's hash: versions that overlap have files of their own. Others cannot come near it,
 * since its folder is ours alone; the file itself can be read, for the container's user is rarely ours. */
static bool render_secret(struct plan *p, struct str run_dir, struct ctr_volume *v, struct err *err)
{
    scoped_arena scratch = {0};
    struct ctr_kv_list params = {0};
    struct str name = {0}, text, content, dir = path_join(&scratch, run_dir, STR("secret"));
    bool is_told = v->written.len == 0; /* what a variable of the server's environment holds is not */
    if (!src_name_clean(&scratch, v->source, &name, err) && is_told)
        return err_wrap(err, "volume \"cl_secret:" STR_FMT "\"", STR_ARG(v->source));
    const struct src_file *f = name.len > 0 ? src_files_find(&p->app->files, name) : NULL;
    if (!f)
        return err_set(err, ERR_INVALID, "volume \"cl_secret:" STR_FMT "\": the app has no file " STR_FMT,
                       STR_ARG(ctr_volume_shown(v)), STR_ARG(is_told ? name : STR("of that name")));
    if (f->size > SOURCE_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, STR_FMT " has more than %d bytes", STR_ARG(name), SOURCE_FILE_MAX);
    if (!src_file_read(&scratch, f, &text, err) || !gather_params(p, &params, err) ||
        !template_render(&scratch, text, &params, &content, err))
        return err_wrap(err, STR_FMT, STR_ARG(name));
    struct str hash = str_slice(sha256_hex(&scratch, content), 0, 16);
    v->source = path_join(p->a, dir, str_printf(&scratch, STR_FMT "-" STR_FMT ".gen", STR_ARG(path_base(name)), STR_ARG(hash)));
    v->is_made = true;
    run_file_hold(&p->app->arena, v->source);
    return (fs_mkdir_p(dir, 0700, err) && fs_write_atomic(v->source, content, 0644, err)) || err_wrap(err, STR_FMT, STR_ARG(name));
}

static bool gather_volumes(struct plan *p, struct err *err)
{
    struct app *app = p->app;
    struct str_list entries = {0};
    star_v list = star_struct_get(p->config, STR("volumes"));
    vec_foreach(v, &p->file.volumes) str_list_add(p->a, &entries, *v);
    vec_foreach(v, &app->entry.metadata.container_volumes) str_list_add(p->a, &entries, *v);
    for (size_t i = 0; i < star_len(list); i++) {
        struct str s;
        if (!star_to_str(star_item(list, i), &s))
            return err_set(err, ERR_INVALID, "container.config: volumes must be strings");
        str_list_add(p->a, &entries, s);
    }
    vec_foreach(v, &p->dev.mounts) str_list_add(p->a, &entries, *v);
    struct ctr_volume *volumes;
    size_t n;
    if (!ctr_volumes_parse(p->a, &entries, &volumes, &n, err))
        return false;
    struct ctr_mount_policy policy = {
        .run_dir = path_join(p->a, app->env->home, STR("run/app"), app->entry.id),
        .app_source = path_is_abs(app->entry.source_url) ? app->entry.source_url : (struct str){0},
        .allowed = &app->env->allowed_mounts,
    };
    policy.source_dir = policy.app_source;
    struct ctr_mount *mounts = arena_array(p->a, struct ctr_mount, n + 1 + p->dev.covered.len);
    for (size_t i = 0; i < n; i++) {
        if (volumes[i].kind == CTR_VOLUME_SECRET && !render_secret(p, policy.run_dir, &volumes[i], err))
            return false;
        bool is_own = volumes[i].kind == CTR_VOLUME_BIND && !path_is_abs(volumes[i].source);
        if (is_own && !files_are_on_disk(&app->entry) && !bind_source(app, policy.run_dir, &volumes[i], err))
            return false;
        if (!ctr_volume_resolve(p->a, app->entry.id, &volumes[i], &policy, &mounts[i], err))
            return false;
    }
    size_t n_given = n;
    if (p->dev.is_on) {
        mounts[n] = (struct ctr_mount){.target = p->dev.dir, .is_bind = true};
        if (!fs_real_path(p->a, app->entry.source_url, &mounts[n++].source, err))
            return err_wrap(err, "the source of a dev app");
    }
    vec_foreach(path, &p->dev.covered)
    {
        bool is_given = false;
        for (size_t i = 0; i < n_given; i++)
            is_given |= str_eq(mounts[i].target, *path);
        if (!is_given)
            mounts[n++] = (struct ctr_mount){.target = *path};
    }
    p->out.run.mounts = mounts;
    p->out.run.n_mounts = n;
    return true;
}

static bool gather_limits(struct plan *p, struct ctr_engine *engine, struct ctr_kv_list *options,
                          struct err *err)
{
    struct ctr_kv_list allowed = {0};
    add_map(p->a, &p->app->entry.metadata.container_options, options);
    if (p->app->env->allowed_container_args)
        map_foreach(e, &p->app->env->allowed_container_args->table)
            ctr_kv_set(p->a, &allowed, e->key, ((const struct toml_value *)e->value)->s);
    return ctr_options_resolve(p->a, options, ctr_engine_command(engine), &allowed, &p->out.run.limits, err);
}

/* --- identity
 * --------------------------------------------------------------------------------------------------- */

/* With where a bind leads: a container that was made for another source must not be started again in its place. */
static struct str volumes_hash(struct plan *p)
{
    struct str_list all = {0};
    vec_foreach(v, &p->app->entry.metadata.container_volumes) str_list_add(p->a, &all, *v);
    for (size_t i = 0; i < p->out.run.n_mounts; i++) {
        const struct ctr_mount *m = &p->out.run.mounts[i];
        if (m->is_bind)
            str_list_add(p->a, &all, str_printf(p->a, STR_FMT ":" STR_FMT "%s", STR_ARG(m->source), STR_ARG(m->target),
                                                m->is_read_only ? ":ro" : ""));
    }
    return ctr_list_hash(p->a, &all);
}

static bool identify(struct plan *p, struct ctr_engine *engine, const struct ctr_kv_list *options,
                     struct err *err)
{
    struct app *app = p->app;
    const struct store_metadata *m = &app->entry.metadata;
    struct arena *a = p->a;
    struct str digest = {0};
    struct str src;
    if (!src_files_hash(a, &app->files, app->framework.container_exclude.items,
                        app->framework.container_exclude.len, &src, err))
        return false;
    if (p->out.is_external_image) {
        bool exists = false;
        scoped_err ignored = {0}; /* without an answer the name alone identifies the image */
        ctr_image_inspect(engine, a, p->out.run.image, &exists, &digest, &ignored);
    }
    struct str args = ctr_map_hash(a, &p->build_args);
    struct str version =
        ctr_version_hash(a, src, ctr_map_hash(a, &p->out.run.env), ctr_map_hash(a, options), args,
                         volumes_hash(p), digest, (struct str){0});
    struct str build = ctr_build_hash(a, src, args, p->file_text, p->build_dir);
    if (p->dev.is_on) {
        if (!dev_image_hash(app, &p->dev, p->file_text, args, p->build_dir, &build, err))
            return false;
        dev_source_hash(app, &p->dev);
        version = dev_run_hash(app, &p->dev, build, &p->out.run, ctr_map_hash(a, options));
    }
    if (!p->out.is_external_image)
        p->out.run.image =
            ctr_image_name(a, app->entry.id, build, version,
                           app->framework.separate_images || store_app_kind(app->entry.id) == STORE_PREVIEW);
    p->out.run.name = ctr_container_name(a, app->entry.id, version);
    struct ctr_kv_list *l = &p->out.run.labels;
    ctr_kv_set(a, l, STR(CTR_LABEL_APP_ID), app->entry.id);
    ctr_kv_set(a, l, STR(CTR_LABEL_APP_PATH), app->entry.path);
    ctr_kv_set(a, l, STR(CTR_LABEL_HOME), app->env->home);
    ctr_kv_set(a, l, STR(CTR_LABEL_DEV), app->entry.is_dev ? STR("true") : STR("false"));
    ctr_kv_set(a, l, STR(CTR_LABEL_APP_VERSION),
               str_printf(a, "%lld", (long long)m->version_metadata.version));
    ctr_kv_set(a, l, STR(CTR_LABEL_GIT_SHA), m->version_metadata.git_commit);
    ctr_kv_set(a, l, STR(CTR_LABEL_GIT_MESSAGE), ctr_label_text(a, m->version_metadata.git_message));
    ctr_kv_set(a, l, STR(CTR_LABEL_VERSION_HASH), version);
    return true;
}

/* --- the build's folder
 * -------------------------------------------------------------------------------------------- */

struct context {
    struct held_files *files;   /* a reference */
    struct build_folder folder; /* from fetch() to drop(): images are built one at a time */
    struct str build_dir;     /* clean, "" for the top; follows the struct */
    char text[];
};

static struct context *context_new(struct held_files *files, struct str build_dir)
{
    struct context *c = slab_alloc(sizeof *c + build_dir.len);
    c->files = held_files_ref(files);
    if (build_dir.len > 0)
        memcpy(c->text, build_dir.ptr, build_dir.len);
    c->build_dir = str_of(c->text, build_dir.len);
    return c;
}

static bool fetch(void *arg, struct arena *a, struct str *dir, struct err *err)
{
    struct context *c = arg;
    if (!held_files_extract(c->files, a, &c->folder, err))
        return false;
    *dir = str_is_empty(c->build_dir) ? c->folder.root : path_join(a, c->folder.root, c->build_dir);
    return true;
}

static void drop(void *arg, struct str dir)
{
    struct context *c = arg;
    build_folder_release(&c->folder);
}

static void release(void *arg)
{
    struct context *c = arg;
    held_files_unref(c->files);
    slab_free(c, sizeof *c + c->build_dir.len);
}

/* --- all together
 * ------------------------------------------------------------------------------------------------- */

static void fill_timing(struct plan *p)
{
    const struct app *app = p->app;
    struct ctr_service_config *c = &p->out;
    struct str health = member_text(p->config, "health");
    if (str_is_empty(health) || str_eq(health, STR("/")))
        health = app_config_str(app, "container.health_url", STR("/"));
    c->is_health_configured = !str_eq(health, STR("/"));
    if (!str_starts(health, STR("/")))
        health = str_cat(p->a, STR("/"), health);
    if (app->keeps_app_path)
        health = str_cat(p->a, app->path_encoded, health);
    c->health_path = health;
    c->scheme = app->scheme;
    c->start_attempts = app->entry.is_dev ? app_config_count(app, "container.health_attempts_after_startup", 30)
                                          : app_config_count(app, "container.deploy_health_attempts", 75);
    if (p->dev.builds) /* as patient as with a deploy, which builds before */
        c->start_attempts = MAX(c->start_attempts, app_config_count(app, "container.deploy_health_attempts", 75));
    c->health_timeout_secs = app_config_count(app, "container.health_timeout_secs", 5);
    c->check_interval_secs = app_config_count(app, "container.status_check_interval_secs", 20);
    c->check_attempts = app_config_count(app, "container.status_health_attempts", 10);
    c->idle_secs = app_config_count(app, "container.idle_shutdown_secs", 180);
    c->pauses = str_eq(app_config_str(app, "container.idle_action", STR("pause")), STR("pause"));
    c->idle_stop_secs = app_config_count(app, "container.idle_stop_secs", 1800);
    if (app->entry.is_dev && !app_config_bool(app, "container.idle_shutdown_dev_apps", false))
        c->idle_secs = 0;
    c->idle_bytes = app_config_int(app, "container.idle_bytes_high_watermark", 1500);
    c->log_lines = app_config_count(app, "container.log_lines_to_show", 1000);
    if (!app_config_bool(app, "container.show_logs_for_failure", true) && !app->entry.is_dev)
        c->log_lines = 0;
}

/* The service as container.config() and the metadata describe it. */
static bool make_service(struct plan *p, struct ctr_engine *engine, const struct src_files *given, struct err *err)
{
    struct app *app = p->app;
    struct ctr_kv_list options = {0};
    if (!gather_build_args(p, err) || !choose_source(p, err) || (!p->is_command && !choose_dev(p, err)) ||
        !choose_port(p, err) || !gather_env(p, err) || !gather_volumes(p, err) ||
        !gather_limits(p, engine, &options, err) || !identify(p, engine, &options, err))
        return false;
    fill_timing(p);
    p->out.app_id = app->entry.id;
    p->out.build_args = p->build_args;
    if (!p->out.is_external_image) {
        app->held = held_files_new(app->env, &app->entry, given);
        p->out.build_file = p->file_in_context;
        p->out.build_target = p->dev.target;
        p->out.source = (struct ctr_source){fetch, drop, release, context_new(app->held, p->build_dir)};
    }
    app->image = ctr_service_get(app->env->containers, &p->out);
    return true;
}

bool service_load(struct app *app, star_v container, const struct src_files *given, struct ctr_service *kept, struct err *err)
{
    struct ctr_engine *engine = ctr_manager_engine(app->env->containers);
    scoped_arena scratch = {0}; /* the service copies what it keeps */
    struct plan p = {.app = app, .a = &scratch};
    scoped_err why = {0};
    if (!plugin_response_value(container, &p.config, &why) ||
        !str_eq(star_struct_ctor(p.config), STR("container_config")))
        return err_set(err, ERR_INVALID, "error in container config: %s",
                       err_is_set(&why) ? err_msg(&why) : "expected the result of container.config(...)");
    if (ctr_engine_kind(engine) == CTR_OFF)
        return err_set(err, ERR_UNAVAILABLE,
                       "app requires container support, which is not enabled on this server: install Docker "
                       "or Podman, or set "
                       "system.container_command");
    p.is_command = str_eq(member_text(p.config, "lifetime"), STR("command"));
    app->scheme = member_text(p.config, "scheme");
    if (!str_eq(app->scheme, STR("http")) && !str_eq(app->scheme, STR("https")))
        return err_set(err, ERR_INVALID,
                       "container.config: scheme must be http or https, not \"" STR_FMT "\"",
                       STR_ARG(app->scheme));
    struct str action = app_config_str(app, "container.idle_action", STR("pause"));
    if (!str_eq(action, STR("stop")) && !str_eq(action, STR("pause")))
        return err_set(err, ERR_INVALID,
                       "container.idle_action must be \"stop\" or \"pause\", not \"" STR_FMT "\"",
                       STR_ARG(action));
    struct str page = app_config_str(app, "container.wait_page", STR("auto"));
    if (!str_eq(page, STR("auto")) && !str_eq(page, STR("off")))
        return err_set(err, ERR_INVALID, "container.wait_page must be \"auto\" or \"off\", not \"" STR_FMT "\"",
                       STR_ARG(page));
    if (kept)
        app->image = ctr_service_ref(kept);
    else if (!make_service(&p, engine, given, err))
        return false;
    app->service = p.is_command ? NULL : app->image;
    app->run = *ctr_service_run(app->image);
    app->ctx.run_command = command_run;
    app->ctx.run_command_app = app;
    app->ctx.output_dir = path_join(&app->arena, app->env->home, STR(PLUGIN_OUTPUT_DIR));
    return true;
}
