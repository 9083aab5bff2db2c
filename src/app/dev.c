/* app/dev.c: containers of development apps: the image holds the tools, and the source is mounted into it.
 *
 *     container.config(dev_settings={"dir": "/app", "command": "flask run --reload", "reload": "none", ...})
 *
 * A change of the source then needs no build: `reload` says whether the app notices it itself ("none"), is started again
 * ("restart", the default), or gets a new container ("recreate"). The image depends on the Containerfile, its arguments
 * and `env_files` only. What is not said is read from the Containerfile (ctr_infer.h). With "disable", or when that does
 * not tell, a dev app is built like any other, at each change.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"
#include "dev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { ENV_FILE_MAX = 4 << 20, DRAIN_SECS = 1, MADE_MAX = 256 << 10 };

static bool text_of(star_v settings, const char *name, struct str *out, struct err *err)
{
    star_v v = star_dict_get_str(settings, str_from(name));
    if (star_is_null(v) || star_is_none(v) || star_to_str(v, out))
        return true;
    return err_set(err, ERR_INVALID, "dev_settings: %s must be a string", name);
}

static bool texts_of(struct arena *a, star_v settings, const char *name, struct str_list *out, struct err *err)
{
    star_v list = star_dict_get_str(settings, str_from(name));
    if (star_is_null(list) || star_is_none(list))
        return true;
    bool ok = star_kind(list) == STAR_KIND_LIST || star_kind(list) == STAR_KIND_TUPLE;
    for (size_t i = 0; ok && i < star_len(list); i++) {
        struct str text;
        ok = star_to_str(star_item(list, i), &text);
        if (ok)
            str_list_add(a, out, text);
    }
    return ok || err_set(err, ERR_INVALID, "dev_settings: %s must be a list of strings", name);
}

static bool read_settings(struct arena *a, star_v s, struct dev_plan *d, struct err *err)
{
    star_v port = star_dict_get_str(s, STR("port")), stage = star_dict_get_str(s, STR("dev_stage"));
    d->reload = STR("restart");
    d->has_dev_stage = !star_is_null(stage);
    if (!text_of(s, "target", &d->target, err) || !text_of(s, "dir", &d->dir, err) ||
        !text_of(s, "command", &d->command, err) || !text_of(s, "reload", &d->reload, err) ||
        !text_of(s, "dev_stage", &d->dev_stage, err) || !texts_of(a, s, "env_files", &d->env_files, err) ||
        !texts_of(a, s, "additional_mounts", &d->mounts, err))
        return false;
    if (!star_is_null(port) && (!star_to_i64(port, &d->port) || d->port < 0 || d->port > 65535))
        return err_set(err, ERR_INVALID, "dev_settings: port must be between 0 and 65535");
    if (!str_eq(d->reload, STR("none")) && !str_eq(d->reload, STR("restart")) && !str_eq(d->reload, STR("recreate")))
        return err_set(err, ERR_INVALID, "dev_settings: reload must be none, restart or recreate, not \"" STR_FMT "\"",
                       STR_ARG(d->reload));
    if (d->has_dev_stage && str_is_empty(d->dev_stage))
        return err_set(err, ERR_INVALID, "dev_settings: dev_stage is empty");
    if (!d->has_dev_stage)
        d->dev_stage = STR("dev");
    return str_is_empty(d->dir) || path_is_abs(d->dir) ||
           err_set(err, ERR_INVALID, "dev_settings: dir must be absolute, not \"" STR_FMT "\"", STR_ARG(d->dir));
}

/* What is inferred is said when it does not work: nobody has asked for it in words. */
static struct str hint_of(struct arena *a, const struct ctr_infer *got)
{
    struct str what = got->is_own_command ? str_printf(a, "The command \"" STR_FMT "\" was made from the Containerfile, with the source "
                                                          "mounted at " STR_FMT,
                                                       STR_ARG(str_slice(got->command, 0, 1000)), STR_ARG(got->dir))
                                          : str_printf(a, "The source is mounted at " STR_FMT ", as the Containerfile suggests",
                                                       STR_ARG(got->dir));
    return str_printf(a, STR_FMT ". If that is wrong: give the Containerfile a stage named \"dev\" with a CMD, or set command (and "
                              "dir) in dev_settings, or dev_settings={\"disable\": True} to build the image at each change.",
                      STR_ARG(what));
}

static void take_inferred(struct arena *a, const struct ctr_infer *got, struct dev_plan *d)
{
    struct str_list own = d->mounts;
    bool is_own = str_is_empty(d->command) || str_is_empty(d->dir);
    d->target = got->target;
    d->dir = got->dir;
    d->command = got->command;
    d->covered = got->covered;
    d->artifacts = got->artifacts;
    d->builds = got->builds;
    d->env = got->env;
    d->mounts = (struct str_list){0};
    vec_foreach(path, &got->caches)
    {
        scoped_buf slug = BUF_INIT(CTR_FILE_MAX_VALUE);
        for (size_t i = 1; i < path->len; i++) {
            char c = path->ptr[i];
            bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
            buf_add_char(&slug, is_plain ? c : '-');
        }
        str_list_add(a, &d->mounts, str_printf(a, "openrun-cache-%s:" STR_FMT, buf_z(&slug), STR_ARG(*path)));
    }
    vec_foreach(mount, &own) str_list_add(a, &d->mounts, *mount);
    vec_foreach(name, &got->image_files) if (!str_list_has(&d->env_files, *name))
        str_list_add(a, &d->env_files, *name);
    if (is_own)
        d->hint = hint_of(a, got);
}

/* --- what the app's own command makes ------------------------------------------------------------------
 *
 * What is built lies in the source from then on, and looks like a part of it. So the names of what is built are kept, one a
 * line, in run/app/<id>/dev-made of the home. */

static struct str made_path(struct app *app)
{
    return path_join(&app->arena, app->env->home, STR("run/app"), app->entry.id, STR("dev-made"));
}

static bool is_among(const struct str_list *made, struct str name)
{
    vec_foreach(m, made) if (str_eq(name, *m) || (str_starts(name, *m) && name.ptr[m->len] == '/')) return true;
    return false;
}

static struct str_list made_read(struct app *app)
{
    struct str_list made = {0};
    scoped_err ignored = {0}; /* nothing has been built, or what has been looks like a part of the source */
    struct str text, line;
    if (fs_read_all(&app->arena, made_path(app), MADE_MAX, &text, &ignored))
        while (str_next(&text, '\n', &line))
            if (line.len > 0)
                str_list_add(&app->arena, &made, line);
    return made;
}

static void made_write(struct app *app, const struct str_list *old, const struct str_list *made)
{
    scoped_buf text = BUF_INIT(MADE_MAX);
    scoped_err err = {0};
    bool is_same = old->len == made->len;
    vec_foreach(m, made)
    {
        is_same = is_same && str_list_has(old, *m);
        if (str_chr(*m, '\n') == STR_NPOS)
            buf_printf(&text, STR_FMT "\n", STR_ARG(*m));
    }
    struct str path = made_path(app);
    if (!is_same && (!fs_mkdir_p(path_dir(path), 0700, &err) || !fs_write_atomic(path, buf_str(&text), 0600, &err)))
        log_warn("keeping what a dev app's command makes", LOG_STR("app", app->ctx.app), LOG_ERR(&err));
}

/* What the Containerfile says about the source, or about it without what has been built into it. */
static bool infer_from(struct app *app, struct ctr_infer_ask ask, const struct str_list *made, struct ctr_infer *got, struct err *err)
{
    struct str *names = arena_array(&app->arena, struct str, app->files.len + 1);
    ask.names = names;
    for (size_t i = 0; i < app->files.len; i++)
        if (!is_among(made, app->files.items[i].name))
            names[ask.n_names++] = app->files.items[i].name;
    return ctr_infer(&app->arena, &ask, got, err);
}

/* Fills in what `d` does not say. *is_fast is false when the image must be built at each change. */
static bool infer(struct app *app, const struct ctr_file *file, bool has_settings, bool has_build_dir, struct dev_plan *d,
                  bool *is_fast, struct err *err)
{
    struct arena *a = &app->arena;
    struct ctr_infer got;
    scoped_err why = {0};
    struct ctr_infer_ask ask = {.file = file, .target = d->target, .dir = d->dir, .command = d->command, .dev_stage = d->dev_stage,
                                .is_stage_asked = d->has_dev_stage, .has_build_dir = has_build_dir};
    struct str_list made = made_read(app), nothing = {0};
    bool ok = infer_from(app, ask, &made, &got, &why);
    if (ok && !got.is_fast && made.len > 0) /* it may be a part of the source by now */
        ok = infer_from(app, ask, &nothing, &got, &why);
    if (ok && got.is_fast)
        made_write(app, &made, &got.artifacts);
    *is_fast = ok && got.is_fast;
    if (!has_settings && !*is_fast) {
        log_info("the image of a dev app is built at each change of its source", LOG_STR("app", app->ctx.app),
                 LOG_STR("why", ok ? got.why : str_from(err_msg(&why))));
        return true;
    }
    if (!ok)
        return err_move(err, &why);
    if (!got.is_fast)
        return err_set(err, ERR_INVALID, "dev_settings: " STR_FMT " (set dir and command, or disable)", STR_ARG(got.why));
    if (!str_is_empty(got.warning))
        log_warn("dev_settings", LOG_STR("app", app->ctx.app), LOG_STR("warning", got.warning));
    take_inferred(a, &got, d);
    return true;
}

/* Files of the spec that a program in the container may want: they stay in the source folder. */
static bool write_spec_files(struct app *app, struct err *err)
{
    for (size_t i = 0; i < app->files.len; i++) {
        const struct src_file *f = &app->files.items[i];
        scoped_arena a = {0};
        struct str text, path = path_join(&a, app->entry.source_url, f->name);
        if (!f->is_spec || str_ends(f->name, STR(".star")))
            continue;
        if (!src_file_read(&a, f, &text, err))
            return false;
        /* Never over something, a dangling link included. */
        scoped_fd int fd = open(str_z(&a, path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 && (errno == EEXIST || errno == ENOENT || errno == ENOTDIR))
            continue;
        if (fd < 0)
            return err_set_errno(err, errno, "writing the spec's file " STR_FMT, STR_ARG(path));
        if (!fs_write_fd(fd, text, err))
            return err_wrap(err, "writing the spec's file " STR_FMT, STR_ARG(path));
    }
    return true;
}

bool dev_plan_read(struct app *app, star_v settings, bool is_external, const struct ctr_file *file, bool has_build_dir,
                   struct dev_plan *out, struct err *err)
{
    struct dev_plan d = {0};
    star_v disable = star_dict_get_str(settings, STR("disable"));
    bool has_settings = star_len(settings) > 0, is_fast = true, is_local = path_is_abs(app->entry.source_url);
    if (!read_settings(&app->arena, settings, &d, err))
        return false;
    struct str last = is_external ? (struct str){0} : file->stages[file->n_stages - 1].name;
    bool ends_in_dev = !str_is_empty(last) && str_eq_nocase(last, d.dev_stage);
    if (!app->entry.is_dev && ends_in_dev)
        return err_set(err, ERR_INVALID,
                       "the last stage of the Containerfile is \"" STR_FMT "\", which is for development: put the one for "
                       "production after it",
                       STR_ARG(last));
    if (!app->entry.is_dev || (!star_is_null(disable) && star_truth(disable)) || (!has_settings && (is_external || !is_local)))
        return true;
    if (ends_in_dev)
        log_warn("the last stage of the Containerfile is the one for development: it cannot be deployed",
                 LOG_STR("app", app->ctx.app), LOG_STR("stage", last));
    if (!is_local)
        return err_set(err, ERR_INVALID, "dev_settings need a source that is a local folder");
    if (is_external && (str_is_empty(d.dir) || d.has_dev_stage))
        return err_set(err, ERR_INVALID, "dev_settings of an image app need dir, and no dev_stage");
    if (!is_external && !infer(app, file, has_settings, has_build_dir, &d, &is_fast, err))
        return false;
    if (!is_fast)
        return true;
    if (!write_spec_files(app, err))
        return false;
    d.is_on = true;
    d.dir = path_clean(&app->arena, d.dir);
    *out = d;
    return true;
}

static void add(struct sha256 *h, struct str s)
{
    sha256_add(h, s.ptr, s.len);
    sha256_add(h, "", 1);
}

static struct str hex_of(struct arena *a, struct sha256 *h)
{
    unsigned char sum[SHA256_LEN];
    scoped_buf b = BUF_INIT(2 * SHA256_LEN + 1);
    sha256_end(h, sum);
    for (size_t i = 0; i < SHA256_LEN; i++)
        buf_printf(&b, "%02x", sum[i]);
    return str_dup(a, buf_str(&b));
}

bool dev_image_hash(struct app *app, const struct dev_plan *d, struct str file_text, struct str args, struct str build_dir,
                    struct str *out, struct err *err)
{
    struct sha256 h;
    sha256_init(&h);
    add(&h, file_text);
    add(&h, args);
    add(&h, d->target);
    add(&h, build_dir);
    vec_foreach(name, &d->env_files)
    {
        scoped_arena a = {0};
        const struct src_file *f = src_files_find(&app->files, *name);
        struct str text = STR("absent");
        if (f && f->size > ENV_FILE_MAX) {
            sha256_release(&h);
            return err_set(err, ERR_TOO_LARGE, "dev_settings: " STR_FMT " has more than %d bytes", STR_ARG(*name), ENV_FILE_MAX);
        }
        if (f && !src_file_read(&a, f, &text, err)) {
            sha256_release(&h);
            return false;
        }
        add(&h, *name);
        add(&h, f ? STR("file") : (struct str){0});
        add(&h, text);
    }
    *out = hex_of(&app->arena, &h);
    return true;
}

void dev_source_hash(struct app *app, const struct dev_plan *d)
{
    struct sha256 h;
    sha256_init(&h);
    for (size_t i = 0; i < app->files.len; i++) {
        const struct src_file *f = &app->files.items[i];
        if (is_among(&d->artifacts, f->name))
            continue;
        add(&h, f->name);
        add(&h, f->sha);
    }
    app->dev_source_hash = hex_of(&app->arena, &h);
}

struct str dev_run_hash(struct app *app, const struct dev_plan *d, struct str image_hash, const struct ctr_run *run,
                        struct str options)
{
    struct sha256 h;
    sha256_init(&h);
    add(&h, image_hash);
    add(&h, run->image);
    add(&h, ctr_map_hash(&app->arena, &run->env));
    add(&h, options);
    for (size_t i = 0; i < run->n_mounts; i++) {
        add(&h, run->mounts[i].source);
        add(&h, run->mounts[i].target);
        add(&h, run->mounts[i].is_read_only ? STR("ro") : STR("rw"));
    }
    add(&h, d->command);
    add(&h, d->dir);
    add(&h, str_printf(&app->arena, "%u", (unsigned)run->port));
    return hex_of(&app->arena, &h);
}

bool app_dev_refresh(struct app *app, const struct app_progress *progress, char seen[APP_DEV_SEEN], struct err *err)
{
    scoped_arena a = {0};
    struct ctr_service_status status;
    bool is_new_root = seen[0] == APP_DEV_NEW_ROOT;
    if (!app->service || str_is_empty(app->dev_reload) || (str_eq(app->dev_reload, STR("none")) && !is_new_root))
        return true;
    bool is_same = str_eq_z(app->dev_source_hash, seen);
    snprintf(seen, APP_DEV_SEEN, STR_FMT, STR_ARG(app->dev_source_hash));
    ctr_service_status(app->service, &a, &status);
    /* One that is not up starts with the source of now when it is asked for. */
    if (is_same || app->did_start || status.state != CTR_READY)
        return true;
    return ctr_service_restart(app->service, str_eq(app->dev_reload, STR("recreate")), DRAIN_SECS, NULL, NULL,
                               progress ? progress->cancel : NULL, err);
}
