/* base/fs_tree.c: walking and removing whole trees, by descriptors, so that nobody who renames or links
 * things meanwhile can lead us out of the tree.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fs_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "buf.h"
#include "vec.h"

static bool is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static DIR *open_dir_at(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *d = fdopendir(fd);
    if (!d) {
        int saved = errno;
        close(fd);
        errno = saved;
    }
    return d;
}

/* ---- Removing ----
 *
 * A stack of open directories from the tree's top to where we are. Below the deepest level that fits, a
 * directory is first moved up to the top, so any depth goes with REMOVE_DEPTH descriptors. */

enum { REMOVE_DEPTH = 64, REMOVE_REWINDS = 1 << 20 };

struct remove_level {
    DIR *dir;
    char name[NAME_MAX + 1]; /* in the level above */
    bool found_some;         /* this pass over `dir` removed or moved something, so another may help */
};

struct remover {
    struct remove_level level[REMOVE_DEPTH];
    size_t depth;
    int parent;      /* directory that holds the tree's top */
    int rewinds;
    const char *top; /* for messages */
};

static bool remover_push(struct remover *r, int at, const char *name, struct err *err)
{
    DIR *d = open_dir_at(at, name);
    if (!d) {
        if (errno == ENOENT)
            return true;
        return err_set_errno(err, errno, "removing %s: open directory %s", r->top, name);
    }
    struct remove_level *l = &r->level[r->depth++];
    l->dir = d;
    l->found_some = false;
    snprintf(l->name, sizeof l->name, "%s", name);
    return true;
}

/* The directory on top of the stack has been read to its end. */
static bool remover_leave(struct remover *r, struct err *err)
{
    struct remove_level *l = &r->level[r->depth - 1];
    int above = r->depth > 1 ? dirfd(r->level[r->depth - 2].dir) : r->parent;
    if (unlinkat(above, l->name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        closedir(l->dir);
        r->depth--;
        return true;
    }
    /* Entries that were moved here, or that reading skipped while others went. */
    if ((errno == ENOTEMPTY || errno == EEXIST) && l->found_some && r->rewinds++ < REMOVE_REWINDS) {
        l->found_some = false;
        rewinddir(l->dir);
        return true;
    }
    return err_set_errno(err, errno, "removing %s: directory %s", r->top, l->name);
}

static bool remover_entry(struct remover *r, const struct dirent *d, struct err *err)
{
    struct remove_level *l = &r->level[r->depth - 1];
    int at = dirfd(l->dir);
    l->found_some = true;
    if (d->d_type != DT_DIR) {
        if (unlinkat(at, d->d_name, 0) == 0 || errno == ENOENT)
            return true;
        /* DT_UNKNOWN may be a directory; POSIX says EPERM for those, Linux EISDIR. */
        if (errno != EISDIR && (errno != EPERM || d->d_type != DT_UNKNOWN))
            return err_set_errno(err, errno, "removing %s: file %s", r->top, d->d_name);
    }
    if (r->depth < REMOVE_DEPTH)
        return remover_push(r, at, d->d_name, err);
    uint64_t salt;
    random_bytes(&salt, sizeof salt);
    char flat[32];
    snprintf(flat, sizeof flat, ".deep-%016llx", (unsigned long long)salt);
    if (renameat(at, d->d_name, dirfd(r->level[0].dir), flat) < 0)
        return err_set_errno(err, errno, "removing %s: moving up %s", r->top, d->d_name);
    r->level[0].found_some = true;
    return true;
}

static bool remover_run(struct remover *r, const char *name, struct err *err)
{
    if (unlinkat(r->parent, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return err_set_errno(err, errno, "removing %s", r->top);
    bool ok = remover_push(r, r->parent, name, err);
    while (ok && r->depth > 0) {
        errno = 0;
        struct dirent *d = readdir(r->level[r->depth - 1].dir);
        if (!d && errno != 0)
            ok = err_set_errno(err, errno, "removing %s: reading directory", r->top);
        else if (!d)
            ok = remover_leave(r, err);
        else if (!is_dot(d->d_name))
            ok = remover_entry(r, d, err);
    }
    while (r->depth > 0)
        closedir(r->level[--r->depth].dir);
    return ok;
}

bool fs_remove_tree(struct str path, struct err *err)
{
    scoped_arena a = {0};
    char z[PATH_MAX];
    struct str clean = path_clean(&a, path);
    if (!fs_path_z(clean, z, err))
        return false;
    struct str name = path_base(clean);
    if (path.len == 0 || str_eq(name, STR("/")) || str_eq(name, STR(".")) || str_eq(name, STR("..")))
        return err_set(err, ERR_INVALID, "removing " STR_FMT ": refused, no directory of its own name", STR_ARG(path));
    char *dir_z = str_z(&a, path_dir(clean));
    scoped_fd int parent = open(dir_z, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT || err_set_errno(err, errno, "removing %s: open %s", z, dir_z);
    scoped_free struct remover *r = xcalloc(1, sizeof *r);
    r->parent = parent;
    r->top = z;
    return remover_run(r, str_z(&a, name), err);
}

/* ---- Walking ---- */

enum { WALK_DEPTH = 128, WALK_NAMES = 1000000 };

struct walk_level {
    int fd;
    struct arena arena; /* holds names */
    VEC(char *) names;  /* sorted */
    size_t next;
    size_t path_len;    /* of this directory's own path, with its '/' */
};

struct fs_walk {
    struct walk_level level[WALK_DEPTH];
    size_t depth;
    struct buf path;    /* of the entry given last */
    const char *last;   /* its name, if it is a directory to go into; else NULL */
    struct str root;    /* for messages */
    struct arena arena; /* holds root */
};

static int compare_names(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static bool read_names(struct walk_level *l, DIR *d)
{
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e)
            break;
        if (is_dot(e->d_name))
            continue;
        if (l->names.len == WALK_NAMES) {
            errno = EFBIG;
            break;
        }
        *vec_push(&l->arena, &l->names) = str_z(&l->arena, str_from(e->d_name));
    }
    if (errno != 0)
        return false;
    if (l->names.len > 1)
        qsort(l->names.items, l->names.len, sizeof *l->names.items, compare_names);
    return true;
}

/* Goes into the directory `name` of the directory `at`, whose path is w->path. */
static bool walk_enter(struct fs_walk *w, int at, const char *name, bool follow, struct err *err)
{
    const char *shown = w->path.len > 0 ? buf_z(&w->path) : "";
    if (w->depth == WALK_DEPTH)
        return err_set(err, ERR_TOO_LARGE, STR_FMT "/%s: nested deeper than %d directories", STR_ARG(w->root), shown,
                       WALK_DEPTH);
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0) {
        if (errno == ENOENT && !follow)
            return true; /* removed meanwhile */
        return err_set_errno(err, errno, "reading directory " STR_FMT "/%s", STR_ARG(w->root), shown);
    }
    struct walk_level *l = &w->level[w->depth];
    *l = (struct walk_level){.fd = fd, .path_len = w->path.len > 0 ? w->path.len + 1 : 0};
    int twin = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* fdopendir() owns what it gets */
    DIR *d = twin >= 0 ? fdopendir(twin) : NULL;
    bool ok = d && read_names(l, d);
    if (!ok) {
        err_set_errno(err, errno, "reading directory " STR_FMT "/%s", STR_ARG(w->root), shown);
        arena_release(&l->arena);
        close(fd);
        if (!d && twin >= 0)
            close(twin);
    } else {
        w->depth++;
    }
    if (d)
        closedir(d);
    return ok;
}

struct fs_walk *fs_walk_open(struct str root, struct err *err)
{
    char z[PATH_MAX];
    if (!fs_path_z(root, z, err))
        return NULL;
    struct fs_walk *w = xcalloc(1, sizeof *w);
    w->root = str_dup(&w->arena, root);
    buf_init(&w->path, (size_t)WALK_DEPTH * (NAME_MAX + 1));
    if (!walk_enter(w, AT_FDCWD, z, true, err)) {
        fs_walk_close(w);
        return NULL;
    }
    return w;
}

static void walk_leave(struct fs_walk *w)
{
    struct walk_level *l = &w->level[--w->depth];
    close(l->fd);
    arena_release(&l->arena);
}

bool fs_walk_next(struct fs_walk *w, struct fs_entry *out, struct err *err)
{
    if (!w)
        return false;
    if (w->last) {
        const char *name = w->last;
        w->last = NULL;
        if (!walk_enter(w, w->level[w->depth - 1].fd, name, false, err))
            return false;
    }
    while (w->depth > 0) {
        struct walk_level *l = &w->level[w->depth - 1];
        if (l->next == l->names.len) {
            walk_leave(w);
            continue;
        }
        const char *name = l->names.items[l->next++];
        struct stat st;
        if (fstatat(l->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT)
                continue;
            return err_set_errno(err, errno, "stat %s below " STR_FMT, name, STR_ARG(w->root));
        }
        w->path.len = l->path_len;
        if (l->path_len > 0)
            w->path.ptr[l->path_len - 1] = '/';
        buf_add_z(&w->path, name);
        *out = (struct fs_entry){
            .path = buf_str(&w->path),
            .name = str_from(name),
            .info = fs_info_from(&st),
            .dir_fd = l->fd,
            .name_z = name,
        };
        w->last = out->info.kind == FS_DIR ? name : NULL;
        return true;
    }
    return false;
}

void fs_walk_skip(struct fs_walk *w)
{
    w->last = NULL;
}

void fs_walk_close(struct fs_walk *w)
{
    if (!w)
        return;
    while (w->depth > 0)
        walk_leave(w);
    buf_release(&w->path);
    arena_release(&w->arena);
    free(w);
}

/* ---- Listing ---- */

bool fs_list(struct arena *a, struct str dir, size_t max, struct fs_items *out, struct err *err)
{
    struct fs_items found = {0};
    struct fs_entry e;
    scoped_err own = {0};
    struct fs_walk *w = fs_walk_open(dir, &own);
    while (found.len < max && fs_walk_next(w, &e, &own)) {
        fs_walk_skip(w);
        struct str path = path_join(a, dir, e.name);
        *vec_push(a, &found) = (struct fs_item){path, path_base(path), e.info};
    }
    fs_walk_close(w);
    if (err_is_set(&own) && own.code != ERR_NOT_FOUND)
        return err_move(err, &own);
    *out = found;
    return true;
}
