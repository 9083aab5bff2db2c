/* deploy/files.c: finding and reading the files of a declarative apply: local ones, or those of a git
 * repository.
 *
 *     local   /srv/conf/apps.star, /srv/conf/ *.star     a pattern in the last element only
 *     git     repository and a pattern in it: the folder before the first element with a pattern is fetched
 *
 * What is in a repository is hostile: no symbolic link in it is followed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

enum {
    FILES_MAX = 1000,
    FILE_MAX = 4 << 20,
    TOTAL_MAX = 16 << 20,
};

static bool has_pattern(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr("*?[]{}\\", s.ptr[i]))
            return true;
    return false;
}

/* True if it matches nothing below the folder that it starts in. */
static bool is_flat_pattern(struct str pattern)
{
    return str_chr(pattern, '/') == STR_NPOS && str_find(pattern, STR("**")) == STR_NPOS;
}

static bool no_match(struct op *op, struct str path, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "no matching files found in " STR_FMT,
                   STR_ARG(src_shown(&op->arena, path)));
}

/* The names below `dir` that match, sorted. Folders are entered only for patterns that go into them. */
static bool list(struct arena *a, struct str dir, struct str pattern, bool follows, struct str_list *out,
                 struct err *err)
{
    if (!fs_is_dir(dir))
        return true; /* a folder without files is none in a checkout */
    struct src_glob *glob = src_glob_compile(a, pattern, err);
    if (!glob)
        return err_wrap(err, "the pattern " STR_FMT, STR_ARG(pattern));
    bool is_flat = is_flat_pattern(pattern);
    struct fs_walk *walk = fs_walk_open(dir, err);
    struct fs_entry e;
    bool ok = walk != NULL;
    while (ok && fs_walk_next(walk, &e, err)) {
        if (e.info.kind == FS_DIR && (is_flat || str_eq(e.name, STR(".git"))))
            fs_walk_skip(walk);
        bool is_file = e.info.kind == FS_FILE || (follows && e.info.kind == FS_SYMLINK);
        if (!is_file || !src_glob_match(glob, e.path))
            continue;
        if (out->len == FILES_MAX)
            ok =
                err_set(err, ERR_TOO_LARGE, "more than %d files match " STR_FMT, FILES_MAX, STR_ARG(pattern));
        else
            str_list_add(a, out, str_dup(a, e.path));
    }
    fs_walk_close(walk);
    return ok && !err_is_set(err);
}

static bool read_files(struct op *op, struct str dir, const struct str_list *names, bool follows,
                       struct config_files *out, struct err *err)
{
    size_t total = 0;
    vec_foreach(name, names)
    {
        struct config_file *f = vec_push(&op->arena, out);
        f->name = *name;
        bool ok = follows
                      ? fs_read_all(&op->arena, path_join(&op->arena, dir, *name), FILE_MAX, &f->text, err)
                      : src_disk_read(&op->arena, dir, *name, FILE_MAX, &f->text, err);
        if (!ok)
            return err_wrap(err, "reading " STR_FMT, STR_ARG(*name));
        total += f->text.len;
        if (total > TOTAL_MAX)
            return err_set(err, ERR_TOO_LARGE, "the files have more than %d bytes together", TOTAL_MAX);
    }
    return true;
}

/* The file named `pattern` if there is one, else those that match it. */
static bool find_and_read(struct op *op, struct str dir, struct str pattern, bool follows,
                          struct config_files *out, struct err *err)
{
    struct str_list names = {0};
    struct str whole = path_join(&op->arena, dir, pattern);
    if (fs_is_dir(whole))
        return err_set(err, ERR_INVALID,
                       STR_FMT " is a folder: name the files in it, such as " STR_FMT "/*.star",
                       STR_ARG(op->opts->path), STR_ARG(op->opts->path));
    if (fs_exists(whole) || !has_pattern(pattern)) {
        str_list_add(&op->arena, &names, pattern);
    } else {
        if (!list(&op->arena, dir, pattern, follows, &names, err))
            return false;
        str_sort(names.items, names.len);
    }
    if (names.len == 0 || !(fs_exists(whole) || has_pattern(pattern)))
        return no_match(op, op->opts->path, err);
    return read_files(op, dir, &names, follows, out, err);
}

static bool read_local(struct op *op, struct config_files *out, struct err *err)
{
    struct str path = op->opts->path;
    if (!path_is_abs(path) && !fs_real_path(&op->arena, STR("."), &out->dir, err))
        return false;
    path = path_is_abs(path) ? path_clean(&op->arena, path) : path_join(&op->arena, out->dir, path);
    out->dir = path_dir(path);
    if (!fs_is_dir(out->dir))
        return no_match(op, path, err);
    return find_and_read(op, out->dir, path_base(path), true, out, err);
}

/* Splits a path in a repository before the first element with a pattern, or else before the last. */
static void split_pattern(struct str path, struct str *folder, struct str *pattern)
{
    size_t at = 0, end;
    while ((end = str_chr(str_from_off(path, at), '/')) != STR_NPOS &&
           !has_pattern(str_slice(path, at, at + end)))
        at += end + 1;
    *folder = str_trim_right(str_slice(path, 0, at), '/');
    *pattern = str_from_off(path, at);
}

static bool may_skip(const struct deploy_opts *o)
{
    return !str_is_empty(o->last_commit) && !o->force_reload && !str_eq(o->reload, STR("matched"));
}

static bool read_git(struct op *op, struct config_files *out, struct err *err)
{
    struct arena *a = &op->arena;
    const struct deploy_opts *o = op->opts;
    struct src_giturl url;
    struct str folder, pattern, head;
    struct src_git_opts opts = {.branch = o->branch, .commit = o->commit};
    if (!src_giturl_parse(a, o->path, (struct str){0}, &url, err))
        return false;
    if (str_is_empty(url.folder))
        return err_set(err, ERR_INVALID,
                       "apply file name has to be specified within source repo: " STR_FMT
                       "//apps.star, for example",
                       STR_ARG(url.repo));
    split_pattern(url.folder, &folder, &pattern);
    opts.only_files = is_flat_pattern(pattern);
    opts.url = str_printf(a, STR_FMT "//" STR_FMT, STR_ARG(url.repo), STR_ARG(folder));
    if (!fetch_auth(op, o->git_auth, &opts.auth, err))
        return false;
    out->is_git = true;
    if (may_skip(o) && str_is_empty(o->commit)) {
        if (!src_git_remote_head(fetch_session(op), a, &opts, &head, err))
            return false;
        out->is_skipped = str_eq(head, o->last_commit);
        out->commit = head;
        if (out->is_skipped)
            return true;
    }
    struct src_checkout checkout;
    op_say(op, "fetching " STR_FMT, STR_ARG(url.repo));
    if (!src_git_fetch(fetch_session(op), a, &opts, &checkout, err))
        return false;
    out->commit = checkout.commit;
    out->branch = checkout.branch;
    out->is_skipped = may_skip(o) && str_eq(checkout.commit, o->last_commit);
    return out->is_skipped || find_and_read(op, checkout.dir, pattern, false, out, err);
}

bool files_read(struct op *op, struct config_files *out, struct err *err)
{
    struct config_files files = {0};
    if (str_is_empty(op->opts->path))
        return err_set(err, ERR_INVALID, "applyPath is required: the declarative file");
    bool ok = src_is_git(op->opts->path) ? read_git(op, &files, err) : read_local(op, &files, err);
    if (ok)
        *out = files;
    return ok;
}
