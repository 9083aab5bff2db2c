/* app/bind.c: files of the app's own source that its container mounts (volume "./conf:/etc/app").
 *
 * A version's files are in the store, and the folder or repository they came from moves on without it. So what is mounted
 * is a copy below the app's run folder, whose name holds the hash of its content: versions with the same files share it.
 * Nobody but the server's user can come near the copy; inside it, modes are those of a build.
 *
 *     run/app/<app id>/bind/<hash>/files/...
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { BIND_TOTAL_MAX = 64 << 20 };

/* The file `name`, or those below the folder `name` ("" is all), as a set whose names begin with "files/". To be read, they
 * must be read here, under the names that their reader knows. */
static bool select_files(const struct src_files *all, struct arena *a, struct str name, bool reads, struct src_files *out,
                         bool *is_file, struct err *err)
{
    struct str below = str_is_empty(name) ? name : str_cat(a, name, STR("/"));
    struct src_file *items = arena_array(a, struct src_file, all->len);
    size_t n = 0;
    uint64_t total = 0;
    *is_file = false;
    for (size_t i = 0; i < all->len; i++) {
        struct src_file f = all->items[i];
        bool is_it = str_eq(f.name, name);
        if (!is_it && !str_starts(f.name, below))
            continue;
        *is_file |= is_it;
        f.name = str_cat(a, STR("files/"), is_it ? path_base(name) : str_from_off(f.name, below.len));
        total += f.size;
        if (total > BIND_TOTAL_MAX)
            return err_set(err, ERR_TOO_LARGE, "it has more than %d MB: use a named volume", BIND_TOTAL_MAX >> 20);
        if (reads) {
            struct str text;
            if (!src_file_read(a, &all->items[i], &text, err))
                return false;
            f.content = text.len ? text.ptr : "";
            f.reader = NULL;
        }
        items[n++] = f;
    }
    if (n == 0)
        return err_set(err, ERR_INVALID, "the app's source has no such file or folder");
    return src_files_make(a, items, n, out, err);
}

/* Makes `dir` with the files in it, in one step. */
static bool extract(struct arena *a, const struct src_files *files, struct str dir, struct err *err)
{
    scoped_err ignored = {0};
    struct str tmp = str_printf(a, STR_FMT ".tmp-" STR_FMT, STR_ARG(dir), STR_ARG(random_hex(a, 8)));
    bool ok = fs_mkdir_p(path_dir(dir), 0700, err) && src_files_extract(files, tmp, err);
    if (ok && rename(str_z(a, tmp), str_z(a, dir)) != 0 && !fs_is_dir(dir))
        ok = err_set_errno(err, errno, "making " STR_FMT, STR_ARG(dir));
    if (fs_is_dir(tmp))
        fs_remove_tree(tmp, &ignored); /* a failure, or another load was faster */
    return ok;
}

bool bind_source(struct app *app, struct str run_dir, struct ctr_volume *v, struct err *err)
{
    scoped_arena a = {0};
    struct src_files files;
    struct str name = path_clean(&a, v->source), hash;
    bool is_file;
    if (str_eq(name, STR(".")))
        name = (struct str){0};
    else if (!path_is_local(name))
        return err_set(err, ERR_FORBIDDEN, "volume source \"" STR_FMT "\": path must stay within its root",
                       STR_ARG(ctr_volume_shown(v)));
    if (!select_files(&app->files, &a, name, false, &files, &is_file, err) ||
        !src_files_hash(&a, &files, &(struct str){0}, 0, &hash, err))
        return err_wrap(err, "volume source \"" STR_FMT "\"", STR_ARG(ctr_volume_shown(v)));
    struct str dir = path_join(&a, run_dir, STR("bind"), str_slice(hash, 0, 16));
    run_file_hold(&app->arena, dir);
    /* One that is there is what it would be. */
    if (!fs_is_dir(dir) &&
        (!select_files(&app->files, &a, name, true, &files, &is_file, err) || !extract(&a, &files, dir, err)))
        return err_wrap(err, "volume source \"" STR_FMT "\"", STR_ARG(ctr_volume_shown(v)));
    v->source = path_join(&app->arena, dir, STR("files"), is_file ? path_base(name) : (struct str){0});
    v->is_made = true;
    return true;
}
