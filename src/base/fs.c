/* base/fs.c: single files and directories.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs_int.h"

bool fs_path_z(struct str path, char out[PATH_MAX], struct err *err)
{
    if (path.len > 0 && memchr(path.ptr, '\0', path.len))
        return err_set(err, ERR_INVALID, "path %.64s has a NUL byte in it", path.ptr);
    if (path.len >= PATH_MAX)
        return err_set(err, ERR_INVALID, "path of %zu bytes is too long", path.len);
    if (path.len > 0)
        memcpy(out, path.ptr, path.len);
    out[path.len] = '\0';
    return true;
}

struct fs_info fs_info_from(const struct stat *st)
{
    return (struct fs_info){
        .kind = S_ISREG(st->st_mode)   ? FS_FILE
                : S_ISDIR(st->st_mode) ? FS_DIR
                : S_ISLNK(st->st_mode) ? FS_SYMLINK
                                       : FS_OTHER,
        .size = st->st_size,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .mode = st->st_mode & 07777,
    };
}

static bool stat_with(struct str path, int flags, struct fs_info *out, struct err *err)
{
    char z[PATH_MAX];
    if (!fs_path_z(path, z, err))
        return false;
    struct stat st;
    if (fstatat(AT_FDCWD, z, &st, flags) < 0)
        return err_set_errno(err, errno, "stat %s", z);
    *out = fs_info_from(&st);
    return true;
}

bool fs_stat(struct str path, struct fs_info *out, struct err *err)
{
    return stat_with(path, 0, out, err);
}

bool fs_lstat(struct str path, struct fs_info *out, struct err *err)
{
    return stat_with(path, AT_SYMLINK_NOFOLLOW, out, err);
}

static enum fs_kind kind_of(struct str path)
{
    scoped_err err = {0};
    struct fs_info info;
    return fs_stat(path, &info, &err) ? info.kind : FS_NONE;
}

bool fs_exists(struct str path)
{
    return kind_of(path) != FS_NONE;
}

bool fs_is_dir(struct str path)
{
    return kind_of(path) == FS_DIR;
}

bool fs_real_path(struct arena *a, struct str path, struct str *out, struct err *err)
{
    char z[PATH_MAX], real[PATH_MAX];
    if (!fs_path_z(path, z, err))
        return false;
    if (!realpath(z, real))
        return err_set_errno(err, errno, "resolving %s", z);
    *out = str_dup(a, str_from(real));
    return true;
}

int fs_open(struct str path, int flags, mode_t mode, struct err *err)
{
    char z[PATH_MAX];
    if (!fs_path_z(path, z, err))
        return -1;
    int fd;
    do
        fd = open(z, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        err_set_errno(err, errno, "open %s", z);
    return fd;
}

/* Reads until the end or until `len` bytes are there; -1 with errno. */
static ssize_t read_full(int fd, char *p, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = read(fd, p + got, len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

bool fs_read_fd(struct arena *a, int fd, size_t max, struct str *out, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "stat");
    if (st.st_size > 0 && (uint64_t)st.st_size > max)
        return err_set(err, ERR_TOO_LARGE, "%lld bytes, at most %zu are allowed", (long long)st.st_size, max);
    /* The size is a hint only: files in /proc say 0, others grow while they are read. */
    size_t cap = st.st_size > 0 ? (size_t)st.st_size + 1 : 4096;
    char *p = NULL;
    size_t len = 0;
    for (;;) {
        cap = MIN(cap, max == SIZE_MAX ? max : max + 1);
        char *bigger = arena_try_alloc(a, cap + 1);
        if (!bigger)
            return err_set(err, ERR_TOO_LARGE, "no memory for %zu bytes", cap);
        if (len > 0)
            memcpy(bigger, p, len);
        p = bigger;
        ssize_t n = read_full(fd, p + len, cap - len);
        if (n < 0)
            return err_set_errno(err, errno, "read");
        len += (size_t)n;
        if (len > max)
            return err_set(err, ERR_TOO_LARGE, "more than %zu bytes", max);
        if (len < cap)
            break;
        cap *= 2;
    }
    p[len] = '\0';
    *out = str_of(p, len);
    return true;
}

bool fs_read_all(struct arena *a, struct str path, size_t max, struct str *out, struct err *err)
{
    /* O_NONBLOCK: opening a FIFO must not hang; it changes nothing for files. */
    scoped_fd int fd = fs_open(path, O_RDONLY | O_NONBLOCK, 0, err);
    if (fd < 0)
        return false;
    if (!fs_read_fd(a, fd, max, out, err))
        return err_wrap(err, "reading " STR_FMT, STR_ARG(path));
    return true;
}

bool fs_write_fd(int fd, struct str data, struct err *err)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "write");
        data = str_from_off(data, (size_t)n);
    }
    return true;
}

static bool write_and_sync(int fd, struct str data, mode_t mode, struct err *err)
{
    if (!fs_write_fd(fd, data, err))
        return false;
    if (fchmod(fd, mode) < 0)
        return err_set_errno(err, errno, "chmod");
    if (fsync(fd) < 0)
        return err_set_errno(err, errno, "fsync");
    return true;
}

bool fs_write_atomic(struct str path, struct str data, mode_t mode, struct err *err)
{
    scoped_arena a = {0};
    char z[PATH_MAX];
    if (!fs_path_z(path, z, err))
        return false;
    char *dir_z = str_z(&a, path_dir(path));
    const char *name_z = str_z(&a, path_base(path));
    scoped_fd int dir = open(dir_z, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_set_errno(err, errno, "writing %s: open %s", z, dir_z);
    uint64_t salt;
    random_bytes(&salt, sizeof salt);
    char temp[32];
    snprintf(temp, sizeof temp, ".tmp-%016llx", (unsigned long long)salt);
    scoped_fd int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "writing %s: creating a file in %s", z, dir_z);
    if (!write_and_sync(fd, data, mode, err)) {
        unlinkat(dir, temp, 0);
        return err_wrap(err, "writing %s", z);
    }
    if (renameat(dir, temp, dir, name_z) < 0) {
        err_set_errno(err, errno, "writing %s: rename", z);
        unlinkat(dir, temp, 0);
        return false;
    }
    /* The rename itself must survive a crash. Some file systems refuse to sync a directory: then it
     * is as durable as they make it. */
    if (fsync(dir) < 0 && errno == EIO)
        return err_set_errno(err, errno, "writing %s: syncing %s", z, dir_z);
    return true;
}

bool fs_mkdir_p(struct str path, mode_t mode, struct err *err)
{
    char z[PATH_MAX];
    struct stat st;
    if (!fs_path_z(path, z, err))
        return false;
    if (stat(z, &st) == 0 && S_ISDIR(st.st_mode)) /* as mostly: one call instead of one for each folder above */
        return true;
    size_t len = str_trim_right(path, '/').len;
    for (size_t i = 1; i <= len; i++) {
        if (i < len && z[i] != '/')
            continue;
        char keep = z[i];
        z[i] = '\0';
        if (mkdir(z, mode) < 0 && errno != EEXIST) {
            int saved = errno;
            /* A read-only or forbidden parent answers so even for what is there. */
            if (stat(z, &st) < 0 || !S_ISDIR(st.st_mode))
                return err_set_errno(err, saved, "mkdir %s", z);
        }
        z[i] = keep;
    }
    if (stat(z, &st) < 0)
        return err_set_errno(err, errno, "mkdir %s", z);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_CONFLICT, "mkdir %s: something that is no directory is there", z);
    return true;
}

bool fs_remove(struct str path, struct err *err)
{
    char z[PATH_MAX];
    if (!fs_path_z(path, z, err))
        return false;
    if (remove(z) < 0 && errno != ENOENT)
        return err_set_errno(err, errno, "remove %s", z);
    return true;
}

bool fs_temp_dir_in(struct arena *a, struct str dir, struct str prefix, struct str *path, struct err *err)
{
    char z[PATH_MAX];
    if (!fs_mkdir_p(dir, 0700, err) || !fs_path_z(path_join(a, dir, str_cat(a, prefix, STR("XXXXXX"))), z, err))
        return false;
    if (!mkdtemp(z))
        return err_set_errno(err, errno, "creating a temporary directory like %s", z);
    *path = str_dup(a, str_from(z));
    return true;
}

bool fs_temp_dir(struct arena *a, struct str prefix, struct str *path, struct err *err)
{
    const char *base = getenv("TMPDIR");
    return fs_temp_dir_in(a, base && base[0] ? str_from(base) : STR("/tmp"), prefix, path, err);
}
