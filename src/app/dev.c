/* app/dev.c: containers of development apps: the image holds the tools, and the source is mounted into it.
 *
 *     container.config(dev_settings={"dir": "/app", "command": "flask run --reload", "reload": "none", ...})
 *
 * A change of the source then needs no build: `reload` says whether the app notices it itself ("none"), is started again
 * ("restart", the default), or gets a new container ("recreate"). The image depends on the Containerfile, its arguments
 * and `env_files` only. Without dev_settings, or with "disable", a dev app is built like any other, at each change.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"
#include "dev.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { ENV_FILE_MAX = 4 << 20, DRAIN_SECS = 1 };

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

/* The index of the stage of that name, or of that number; -1. */
static int find_stage(const struct ctr_file *f, struct str name)
{
    for (size_t i = f->n_stages; i-- > 0;)
        if (str_eq_nocase(f->stages[i].name, name))
            return (int)i;
    return -1;
}

/* Which stage runs: the one asked for, the stage for development, the one before the last if it has a name, the last. */
static bool choose_target(const struct app *app, const struct ctr_file *f, struct dev_plan *d, const struct ctr_stage **out,
                          struct err *err)
{
    int last = (int)f->n_stages - 1, at = find_stage(f, d->dev_stage);
    if (!str_is_empty(d->target)) {
        at = find_stage(f, d->target);
        if (at < 0)
            log_warn("dev_settings: the Containerfile has no such stage: the whole image is built",
                     LOG_STR("app", app->entry.id), LOG_STR("target", d->target));
    } else if (at < 0 && d->has_dev_stage) {
        return err_set(err, ERR_INVALID, "dev_settings: the Containerfile has no stage \"" STR_FMT "\"",
                       STR_ARG(d->dev_stage));
    } else if (at >= 0 && !f->stages[at].has_entry) {
        return err_set(err, ERR_INVALID, "the stage \"" STR_FMT "\" of the Containerfile needs a CMD or ENTRYPOINT",
                       STR_ARG(f->stages[at].name));
    } else if (at < 0 && last > 0 && !str_is_empty(f->stages[last - 1].name)) {
        at = last - 1;
    }
    d->target = at >= 0 && at < last ? f->stages[at].name : (struct str){0};
    *out = &f->stages[at >= 0 ? at : last];
    return true;
}

static bool choose_rest(const struct ctr_file *f, const struct ctr_stage *stage, struct dev_plan *d, struct err *err)
{
    bool is_whole = stage == &f->stages[f->n_stages - 1];
    if (str_is_empty(d->dir))
        d->dir = stage->workdir;
    if (str_is_empty(d->dir))
        return err_set(err, ERR_INVALID,
                       "dev_settings: dir is needed, the folder in the container where the source is mounted: the "
                       "Containerfile has no WORKDIR");
    if (str_is_empty(d->command) && !is_whole && !stage->has_entry)
        return err_set(err, ERR_INVALID,
                       "dev_settings: command is needed: the stage \"" STR_FMT "\" has no CMD or ENTRYPOINT",
                       STR_ARG(stage->name));
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

bool dev_plan_read(struct app *app, star_v settings, bool is_external, const struct ctr_file *file, struct dev_plan *out,
                   struct err *err)
{
    struct dev_plan d = {0};
    const struct ctr_stage *stage = NULL;
    star_v disable = star_dict_get_str(settings, STR("disable"));
    if (!read_settings(&app->arena, settings, &d, err))
        return false;
    struct str last = is_external ? (struct str){0} : file->stages[file->n_stages - 1].name;
    bool ends_in_dev = !str_is_empty(last) && str_eq_nocase(last, d.dev_stage);
    if (!app->entry.is_dev && ends_in_dev)
        return err_set(err, ERR_INVALID,
                       "the last stage of the Containerfile is \"" STR_FMT "\", which is for development: put the one for "
                       "production after it",
                       STR_ARG(last));
    if (!app->entry.is_dev || star_len(settings) == 0 || (!star_is_null(disable) && star_truth(disable)))
        return true;
    if (!path_is_abs(app->entry.source_url))
        return err_set(err, ERR_INVALID, "dev_settings need a source that is a local folder");
    if (is_external && (str_is_empty(d.dir) || d.has_dev_stage))
        return err_set(err, ERR_INVALID, "dev_settings of an image app need dir, and no dev_stage");
    if (!is_external && (!choose_target(app, file, &d, &stage, err) || !choose_rest(file, stage, &d, err)))
        return false;
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

bool app_dev_refresh(struct app *app, const struct app_progress *progress, struct err *err)
{
    scoped_arena a = {0};
    struct ctr_service_status status;
    if (!app->service || app->did_start || str_is_empty(app->dev_reload) || str_eq(app->dev_reload, STR("none")))
        return true;
    ctr_service_status(app->service, &a, &status);
    /* One that is not up starts with the source of now when it is asked for. */
    if (status.state != CTR_READY)
        return true;
    return ctr_service_restart(app->service, str_eq(app->dev_reload, STR("recreate")), DRAIN_SECS, NULL, NULL,
                               progress ? progress->cancel : NULL, err);
}
