/* deploy/fetch.c: getting an app's source: a folder, a git repository, or nothing but its spec.
 *
 * All checkouts of an operation share one session, so many apps of one repository cost one fetch.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_none(const struct store_app *app)
{
    return str_eq(app->source_url, STR("-"));
}

bool fetch_check_source(struct op *op, struct store_app *app, struct err *err)
{
    if (is_none(app)) {
        if (app->is_dev)
            return err_set(err, ERR_INVALID,
                           "a dev app needs a source folder; \"-\" is for apps made from a spec alone");
        if (str_is_empty(app->metadata.spec))
            return err_set(err, ERR_INVALID,
                           "source \"-\" means no files of its own: name a spec with --spec");
        return true;
    }
    if (str_is_empty(app->source_url))
        return err_set(err, ERR_INVALID, "source_url is required: a folder, a git URL, or \"-\"");
    if (src_is_git(app->source_url)) {
        if (unit_is_on_disk(app) && !app->is_dev)
            return err_set(err, ERR_INVALID, "an app served from disk needs a local folder, not a git URL");
        struct src_giturl ignored;
        return src_giturl_parse(&op->arena, app->source_url, (struct str){0}, &ignored, err);
    }
    if (!fs_is_dir(app->source_url))
        return err_set(err, ERR_INVALID, "source folder " STR_FMT " does not exist or is not a folder",
                       STR_ARG(app->source_url));
    return fs_real_path(&op->arena, app->source_url, &app->source_url, err);
}

/* --- git --- */

static void on_git_line(void *ctx, struct str line)
{
    op_say(ctx, "git: " STR_FMT, STR_ARG(line));
}

struct src_session *fetch_session(struct op *op)
{
    if (!op->git) {
        int64_t secs = op->deploy->config.git_timeout_secs;
        op->git = src_session_open(&(struct src_session_opts){
            .tmp_dir = op->deploy->config.tmp_dir,
            .cache = op->deploy->config.git_cache,
            .is_fresh = op->opts->is_fresh || op->opts->force_reload,
            .timeout_ms = secs > 0 ? secs * 1000 : 0,
            .cancel = op->who->cancel,
            .on_progress = on_git_line,
            .ctx = op,
        });
    }
    return op->git;
}

/* The credentials of that name, else of the server's default; none is fine. */
bool fetch_auth(struct op *op, struct str name, const struct src_git_auth **out, struct err *err)
{
    const struct deploy_config *c = &op->deploy->config;
    if (str_is_empty(name))
        name = c->default_git_auth;
    *out = NULL;
    if (str_is_empty(name))
        return true;
    const struct toml_value *entry = toml_get(c->git_auth, name);
    if (!entry)
        return err_set(err, ERR_INVALID,
                       "git auth entry " STR_FMT " not found in server config: add [git_auth." STR_FMT "]",
                       STR_ARG(name), STR_ARG(name));
    struct src_git_auth *auth = arena_new(&op->arena, struct src_git_auth);
    auth->name = name;
    *out = auth;
    return toml_read_str(entry, "user_id", &auth->user, err) &&
           toml_read_str(entry, "password", &auth->password, err) &&
           toml_read_str(entry, "private_key", &auth->private_key, err) &&
           toml_read_str(entry, "key_file_path", &auth->key_file, err);
}

static bool git_opts(struct op *op, const struct store_app *app, struct src_git_opts *out, struct err *err)
{
    const struct src_git_auth *auth;
    if (!fetch_auth(op, app->metadata.git_auth_name, &auth, err))
        return false;
    *out = (struct src_git_opts){
        .url = app->source_url,
        .branch = app->metadata.version_metadata.git_branch,
        .auth = auth,
    };
    return true;
}

/* `git_commit` of the metadata is what was loaded last; what is wanted is pinned by an empty branch. */
bool fetch_is_pinned(const struct store_version_metadata *vm)
{
    return str_is_empty(vm->git_branch) && !str_is_empty(vm->git_commit);
}

bool fetch_is_current(struct op *op, const struct store_app *app, struct str branch, struct str commit,
                      bool *current, struct err *err)
{
    const struct store_version_metadata *vm = &app->metadata.version_metadata;
    *current = false;
    if (!src_is_git(app->source_url))
        return true;
    if (!str_is_empty(commit)) {
        *current = str_eq(commit, vm->git_commit);
        return true;
    }
    if (str_is_empty(branch) && fetch_is_pinned(vm)) {
        *current = true; /* a commit does not change */
        return true;
    }
    struct src_git_opts opts;
    struct str head;
    if (!git_opts(op, app, &opts, err))
        return false;
    if (!str_is_empty(branch))
        opts.branch = branch;
    if (!src_git_remote_head(fetch_session(op), &op->arena, &opts, &head, err))
        return false;
    *current = str_eq(head, vm->git_commit) && (str_is_empty(branch) || str_eq(branch, vm->git_branch));
    return true;
}

static bool fetch_git(struct op *op, struct store_app *app, struct str *dir, struct str_list *warnings,
                      struct err *err)
{
    struct store_version_metadata *vm = &app->metadata.version_metadata;
    struct src_git_opts opts;
    struct src_checkout checkout;
    if (!git_opts(op, app, &opts, err))
        return false;
    if (fetch_is_pinned(vm))
        opts.commit = vm->git_commit;
    op_say(op, "fetching " STR_FMT, STR_ARG(src_shown(&op->arena, app->source_url)));
    if (!src_git_fetch(fetch_session(op), &op->arena, &opts, &checkout, err))
        return false;
    vm->git_commit = checkout.commit;
    vm->git_message = checkout.message;
    vm->git_branch = checkout.branch;
    *dir = checkout.dir;
    *warnings = checkout.warnings;
    return true;
}

/* --- dev apps from git --- */

enum { CLONES_MAX = 1000, NAME_MAX_LEN = 64 };

/* The repository's own name, made one that is good for a folder. */
static struct str clone_name(struct arena *a, struct str repo)
{
    repo = str_trim_right(repo, '/');
    struct str name = str_from_off(repo, str_rchr(repo, '/') == STR_NPOS ? 0 : str_rchr(repo, '/') + 1);
    if (str_ends(name, STR(".git")))
        name = str_slice(name, 0, name.len - strlen(".git"));
    name = str_dup(a, str_slice(name, 0, MIN(name.len, NAME_MAX_LEN)));
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i], *p = (char *)name.ptr + i;
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!is_fine && !(c == '.' && i > 0))
            *p = '_';
    }
    return str_is_empty(name) ? STR("repo") : name;
}

/* A new folder $OPENRUN_HOME/app_src/<repo>, or <repo>2 and so on, that goes if the operation fails. */
static bool claim_folder(struct op *op, struct str repo, struct str *out, struct err *err)
{
    struct str parent = path_join(&op->arena, op->deploy->config.env->home, STR("app_src"));
    struct str name = clone_name(&op->arena, repo);
    if (!fs_mkdir_p(parent, 0700, err))
        return false;
    for (int n = 1; n <= CLONES_MAX; n++) {
        struct str numbered = n == 1 ? name : str_printf(&op->arena, STR_FMT "%d", STR_ARG(name), n);
        struct str dir = path_join(&op->arena, parent, numbered);
        if (mkdir(str_z(&op->arena, dir), 0700) == 0) {
            str_list_add(&op->arena, &op->clones, dir);
            *out = dir;
            return clone_note(op, dir, err);
        }
        if (errno != EEXIST)
            return err_set_errno(err, errno, "making " STR_FMT, STR_ARG(dir));
    }
    return err_set(err, ERR_CONFLICT, "there are too many clones of " STR_FMT " in " STR_FMT ": remove old ones",
                   STR_ARG(name), STR_ARG(parent));
}

void fetch_undo_clones(struct op *op)
{
    vec_foreach(dir, &op->clones)
    {
        scoped_err err = {0};
        if (!fs_remove_tree(*dir, &err))
            log_warn("removing a clone that is not needed", LOG_STR("dir", *dir), LOG_ERR(&err));
    }
    if (op->clones.len > 0)
        rmdir(str_z(&op->arena, path_dir(op->clones.items[0]))); /* if it is empty now */
}

/* A dev app is edited where it is: its repository is cloned once, and the app is the clone from then on. */
static bool clone_dev(struct op *op, struct store_app *app, struct err *err)
{
    struct store_version_metadata *vm = &app->metadata.version_metadata;
    struct src_git_opts opts;
    struct src_giturl url;
    struct src_checkout checkout;
    struct str dir;
    if (!git_opts(op, app, &opts, err) ||
        !src_giturl_parse(&op->arena, app->source_url, (struct str){0}, &url, err) ||
        !claim_folder(op, url.repo, &dir, err))
        return false;
    if (fetch_is_pinned(vm))
        opts.commit = vm->git_commit;
    op_say(op, "cloning " STR_FMT " to " STR_FMT, STR_ARG(src_shown(&op->arena, app->source_url)), STR_ARG(dir));
    if (!src_git_clone(fetch_session(op), &op->arena, &opts, dir, &checkout, err))
        return false;
    vm->git_commit = checkout.commit;
    vm->git_message = checkout.message;
    vm->git_branch = checkout.branch;
    app->settings.orig_source_url = app->source_url;
    app->source_url = checkout.dir;
    return true;
}

bool fetch_source(struct op *op, struct store_app *app, struct src_files **files, struct err *err)
{
    struct src_files *set = arena_new(&op->arena, struct src_files);
    struct str_list warnings = {0};
    *files = NULL;
    if (op_is_cancelled(op, err) || (app->is_dev && src_is_git(app->source_url) && !clone_dev(op, app, err)))
        return false;
    struct str dir = app->source_url;
    if (is_none(app)) {
        *files = set;
        return true;
    }
    if (src_is_git(app->source_url) && !fetch_git(op, app, &dir, &warnings, err))
        return false;
    if (app->is_dev || unit_is_on_disk(app))
        return fs_is_dir(dir) || err_set(err, ERR_INVALID, "source folder " STR_FMT " is gone", STR_ARG(dir));
    if (!src_files_scan(&op->arena, dir, NULL, set, err))
        return err_wrap(err, "reading the source of the app");
    if (set->len == 0 && str_is_empty(app->metadata.spec))
        return err_set(err, ERR_INVALID,
                       "source " STR_FMT " is empty: it needs an app.star, or name a spec with --spec",
                       STR_ARG(src_shown(&op->arena, app->source_url)));
    vec_foreach(w, &warnings) op_say(op, "warning: " STR_FMT, STR_ARG(*w));
    vec_foreach(w, &set->warnings) op_say(op, "warning: " STR_FMT, STR_ARG(*w));
    *files = set;
    return true;
}
