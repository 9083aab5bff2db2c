/* source/keep.c: a folder with a version's files that stays from one build to the next, so that a builder is sent
 * what has changed and nothing else: it tells by path, size and time.
 *
 * The index beside it says what the folder holds: the machine's boot (after a power failure files may be short of
 * what was written), then for each file "<sha> <mtime in ns> <name>", all ended by NUL. It is empty while the folder
 * is being changed: what a crash leaves is not trusted. Its lock is the folder's.
 * SPDX-License-Identifier: Apache-2.0 */
#include "map.h"
#include "source_int.h"
#include "vec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { INDEX_MAX = 256 << 20 };

struct kept {
    struct str sha;
    int64_t mtime_ns;
};

static struct str boot_id(struct arena *a)
{
    struct str id = {0};
    scoped_err none = {0};
    fs_read_all(a, STR("/proc/sys/kernel/random/boot_id"), 64, &id, &none);
    return str_trim_right(id, '\n');
}

/* False when it says nothing that can be relied on. */
static bool parse_index(struct arena *a, struct str text, struct str boot, struct map *out)
{
    struct str record, sha, mtime, name, clean;
    scoped_err none = {0};
    map_init(out, a);
    if (!str_cut(text, '\0', &record, &text) || !str_eq(record, boot))
        return false;
    while (text.len > 0) {
        struct kept *k = arena_new(a, struct kept);
        if (!str_cut(text, '\0', &record, &text) || !str_cut(record, ' ', &sha, &record) || !str_cut(record, ' ', &mtime, &name) ||
            !str_to_i64(mtime, &k->mtime_ns) || !src_name_clean(a, name, &clean, &none))
            return false;
        k->sha = sha;
        map_set(out, clean, k);
    }
    return map_len(out) > 0;
}

/* The file, and the folders above it that are empty then. */
static bool remove_file(struct arena *a, struct str dir, struct str name, struct err *err)
{
    if (!fs_remove(path_join(a, dir, name), err))
        return false;
    for (struct str above = path_dir(name); !str_is_empty(above) && !str_eq(above, STR(".")); above = path_dir(above)) {
        if (rmdir(str_z(a, path_join(a, dir, above))) != 0)
            break;
    }
    return true;
}

/* *info is set then. */
static bool is_still(struct str path, const struct kept *k, const struct src_file *f, struct fs_info *info)
{
    scoped_err none = {0};
    return k && str_eq(k->sha, f->sha) && fs_lstat(path, info, &none) && info->kind == FS_FILE &&
           info->mtime_ns == k->mtime_ns && (uint64_t)info->size == f->size;
}

/* Makes the folder hold the files; `before` says what it holds. */
static bool bring_up(struct arena *a, const struct src_files *s, struct str dir, const struct map *before, struct buf *index,
                     struct err *err)
{
    map_foreach(e, before)
    {
        if (!src_files_find(s, e->key) && !remove_file(a, dir, e->key, err))
            return false;
    }
    for (size_t i = 0; i < s->len; i++) {
        const struct src_file *f = &s->items[i];
        struct str path = path_join(a, dir, f->name);
        struct str sha = f->sha;
        struct fs_info info;
        if (!is_still(path, map_get(before, f->name), f, &info) &&
            (!fs_remove(path, err) || !src_file_extract(f, dir, a, &sha, err) || !fs_lstat(path, &info, err)))
            return false;
        buf_printf(index, STR_FMT " %lld " STR_FMT, STR_ARG(sha), (long long)info.mtime_ns, STR_ARG(f->name));
        buf_add_char(index, '\0');
    }
    return true;
}

int src_files_keep(const struct src_files *s, struct str dir, struct err *err)
{
    scoped_arena a = {0};
    scoped_buf index = BUF_INIT(INDEX_MAX);
    struct map before;
    struct str text, boot = boot_id(&a);
    scoped_fd int fd = fs_open(str_cat(&a, dir, STR(".index")), O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err_set(err, ERR_CONFLICT, "folder " STR_FMT " is in use by another build", STR_ARG(dir));
        return -1;
    }
    if (!fs_read_fd(&a, fd, INDEX_MAX, &text, err))
        return -1;
    if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0) {
        err_set_errno(err, errno, "writing the index of " STR_FMT, STR_ARG(dir));
        return -1;
    }
    if (!parse_index(&a, text, boot, &before)) {
        map_init(&before, &a);
        if (!fs_remove_tree(dir, err))
            return -1;
    }
    buf_add_str(&index, boot);
    buf_add_char(&index, '\0');
    if (!fs_mkdir_p(dir, 0700, err) || !bring_up(&a, s, dir, &before, &index, err) || !fs_write_fd(fd, buf_str(&index), err))
        return -1;
    int locked = fd;
    fd = -1;
    return locked;
}
