/* base/fs.h: paths as text, and the file operations that everybody needs to get right once.
 *
 * path_*: lexical only, byte strings with '/', the results of Go's path.Clean and path.Join. Nothing here
 * looks at the disk; whoever must not be led out by a symlink resolves with fs_real_path() first.
 * fs_*: blocking, for job threads. A path with a NUL byte in it is refused. Every descriptor is O_CLOEXEC.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "arena.h"
#include "err.h"

#include <sys/types.h>

/* The shortest equivalent: no ".", no "//", ".." resolved where it can be, "/.." is "/"; "" gives ".". */
struct str path_clean(struct arena *a, struct str path);
/* Joins the parts that are not empty with '/' and cleans: path_join(a, dir, STR("x.toml")). All empty
 * gives "". An absolute later part does not start over: path_join(a, "/a", "/b") is "/a/b". */
#define path_join(a, ...)                                                                               \
    path_join_n((a), (const struct str[]){__VA_ARGS__},                                                 \
                sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))
struct str path_join_n(struct arena *a, const struct str *parts, size_t n);
/* Slices of `path`: last element ("/a/b" is "b", "/" is "/"), what is before it ("/a", "." if nothing),
 * and the extension of the last element with its dot ("" if none). */
struct str path_base(struct str path);
struct str path_dir(struct str path);
struct str path_ext(struct str path);
static inline bool path_is_abs(struct str path)
{
    return path.len > 0 && path.ptr[0] == '/';
}
/* True if `path` is `dir` or below it. Both are cleaned; one absolute and one relative never match. */
bool path_is_within(struct str dir, struct str path);
/* True if `path` is relative, not empty, and no prefix of it leaves its start ("a/../../b" does): what an
 * archive or an upload may name. */
bool path_is_local(struct str path);
/* `path` seen from `dir` (both absolute, or both relative): "" when it is not within `dir`, "." for itself. */
struct str path_rel(struct arena *a, struct str dir, struct str path);

/* `$NAME` and `${NAME}` replaced, once, by environment variables; an undefined one by nothing. A `$` that
 * starts neither stays. */
struct str str_expand_env(struct arena *a, struct str s);
/* The same with another source of values: lookup(arg, name) gives the value, empty if there is none. */
struct str str_expand(struct arena *a, struct str s, struct str (*lookup)(void *arg, struct str name), void *arg);

enum fs_kind {
    FS_NONE,    /* nothing there */
    FS_FILE,
    FS_DIR,
    FS_SYMLINK,
    FS_OTHER,   /* socket, device, pipe */
};
struct fs_info {
    enum fs_kind kind;
    int64_t size;     /* bytes */
    int64_t mtime_ns; /* wall time */
    mode_t mode;      /* permission bits */
};

/* What is at `path`, symlinks followed (kind is never FS_SYMLINK) or not. Fails if it is missing. */
bool fs_stat(struct str path, struct fs_info *out, struct err *err);
bool fs_lstat(struct str path, struct fs_info *out, struct err *err);
/* True if something is at `path` (symlinks followed); false also when that cannot be found out. */
bool fs_exists(struct str path);
bool fs_is_dir(struct str path);
/* The absolute path without symlinks; every element must exist. */
bool fs_real_path(struct arena *a, struct str path, struct str *out, struct err *err);

/* Opens with open(2) `flags` (O_CLOEXEC is added) and `mode`; -1 and err on failure. */
int fs_open(struct str path, int flags, mode_t mode, struct err *err);
/* The whole content of a file, at most `max` bytes (ERR_TOO_LARGE beyond, never cut). NUL-terminated
 * after its length. Fails on a directory. */
bool fs_read_all(struct arena *a, struct str path, size_t max, struct str *out, struct err *err);
bool fs_read_fd(struct arena *a, int fd, size_t max, struct str *out, struct err *err);
/* All of `data` to `fd`, through short writes and EINTR. */
bool fs_write_fd(int fd, struct str data, struct err *err);
/* Replaces `path` in one step: after a crash it is the old or the new content, whole. The new file has
 * permissions `mode` whatever the umask. A failure leaves the old file and no temporary one. */
bool fs_write_atomic(struct str path, struct str data, mode_t mode, struct err *err);
/* Creates the directory and the missing ones above it; one that exists is fine and keeps its mode. */
bool fs_mkdir_p(struct str path, mode_t mode, struct err *err);
/* Removes a file, or an empty directory. A missing one is no error. */
bool fs_remove(struct str path, struct err *err);
/* Removes `path` and everything below it, never following a symlink, at any depth with a bounded number
 * of descriptors. A missing `path` is no error. Stops at the first thing it cannot remove. */
bool fs_remove_tree(struct str path, struct err *err);
/* A new directory, mode 0700, `$TMPDIR/<prefix>XXXXXX` (or in /tmp). The caller removes it. */
bool fs_temp_dir(struct arena *a, struct str prefix, struct str *path, struct err *err);
/* The same in `dir`, which is made (0700) when it is missing. */
bool fs_temp_dir_in(struct arena *a, struct str dir, struct str prefix, struct str *path, struct err *err);

/* What `dir` itself holds, links as links, names in byte order, `max` at most: what comes after them is left out.
 * Nothing if it is missing. */
struct fs_item {
    struct str path; /* `dir` and the name */
    struct str name;
    struct fs_info info; /* of the thing itself (lstat) */
};
struct fs_items {
    struct fs_item *items;
    size_t len, cap;
};
bool fs_list(struct arena *a, struct str dir, size_t max, struct fs_items *out, struct err *err);

/* A walk below a directory: each directory before its content, names in byte order, symlinks reported and
 * never followed, `root` itself left out:
 *
 *     struct fs_walk *w = fs_walk_open(root, err);
 *     struct fs_entry e;
 *     while (fs_walk_next(w, &e, err)) ...       // false at the end, and on failure with err set
 *     fs_walk_close(w);
 *
 * An entry's slices are good until the next call. Fails in directories of over 1,000,000 names or nested
 * deeper than 128. */
struct fs_entry {
    struct str path;     /* relative to the root, "a/b.txt" */
    struct str name;     /* its last element */
    struct fs_info info; /* of the thing itself (lstat) */
    int dir_fd;          /* open directory that holds it, for openat(name_z, O_NOFOLLOW); do not close */
    const char *name_z;
};
struct fs_walk;
struct fs_walk *fs_walk_open(struct str root, struct err *err);
bool fs_walk_next(struct fs_walk *w, struct fs_entry *out, struct err *err);
/* Does not go into the directory that the last fs_walk_next() gave. */
void fs_walk_skip(struct fs_walk *w);
void fs_walk_close(struct fs_walk *w); /* NULL is fine */

#endif
