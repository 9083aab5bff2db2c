/* source/disk.c: file names from outside, and reading below a folder without ever leaving it.
 *
 * Each element of a name is opened relative to the one before with O_NOFOLLOW, so that no symbolic link is
 * followed whatever else changes the folder meanwhile. Only the folder itself may be reached through one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_LEN = 4096, SEGMENT_MAX = 255 };

static bool bad_name(struct str name, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID, "invalid file name \"%.*s\": %s", (int)MIN(name.len, 200), name.ptr,
                   why);
}

bool src_name_clean(struct arena *a, struct str name, struct str *out, struct err *err)
{
    if (name.len > NAME_MAX_LEN)
        return bad_name(name, "it is too long", err);
    if (str_chr(name, '\0') != STR_NPOS)
        return bad_name(name, "it contains a NUL", err);
    if (!str_is_utf8(name))
        return bad_name(name, "it is not valid UTF-8", err);
    char *text = arena_alloc(a, name.len + 1);
    for (size_t i = 0; i < name.len; i++)
        text[i] = name.ptr[i] == '\\' ? '/' : name.ptr[i];
    if (name.len > 0 && text[0] == '/')
        return bad_name(name, "it is absolute", err);
    if (name.len > 1 && text[1] == ':')
        return bad_name(name, "it starts with a drive letter", err);
    struct str rest = str_of(text, name.len), part;
    size_t len = 0;
    while (str_next(&rest, '/', &part)) {
        if (str_is_empty(part) || str_eq(part, STR(".")))
            continue;
        if (str_eq(part, STR("..")))
            return bad_name(name, "\"..\" leaves the source", err);
        if (part.len > SEGMENT_MAX)
            return bad_name(name, "a part of it is too long", err);
        if (len > 0)
            text[len++] = '/';
        memmove(text + len, part.ptr, part.len); /* never moves forward: `len` is at most the part's start */
        len += part.len;
    }
    if (len == 0)
        return bad_name(name, "it names no file", err);
    text[len] = '\0';
    *out = str_of(text, len);
    return true;
}

/* Opens `name` below the open folder `dir`; -1 and errno. */
static int open_below(int dir, struct str name)
{
    char segment[SEGMENT_MAX + 1];
    int at = dir;
    struct str rest = name, part;
    while (str_next(&rest, '/', &part)) {
        bool is_last = !rest.ptr;
        int next = -1;
        if (str_is_empty(part) || part.len > SEGMENT_MAX || str_eq(part, STR(".")) ||
            str_eq(part, STR(".."))) {
            errno = EINVAL;
        } else {
            memcpy(segment, part.ptr, part.len);
            segment[part.len] = '\0';
            /* O_NONBLOCK: opening a fifo must not wait for its writer. */
            next =
                openat(at, segment, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (is_last ? O_NONBLOCK : O_DIRECTORY));
        }
        int why = errno;
        if (at != dir)
            close(at);
        errno = why;
        if (next < 0)
            return -1;
        at = next;
    }
    return at;
}

int src_disk_open(struct str dir, struct str name, struct err *err)
{
    struct str clean;
    scoped_arena scratch = {0};
    if (!src_name_clean(&scratch, name, &clean, err))
        return -1;
    scoped_fd int root = fs_open(dir, O_RDONLY | O_DIRECTORY, 0, err);
    if (root < 0)
        return -1;
    int fd = open_below(root, clean);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    if (fd >= 0) {
        close(fd);
        err_set(err, ERR_NOT_FOUND, "%s is not a regular file", clean.ptr);
    } else if (errno == ELOOP || errno == EMLINK) {
        err_set(err, ERR_FORBIDDEN, "%s is or goes through a symbolic link", clean.ptr);
    } else if (errno == ENOENT || errno == ENOTDIR) {
        err_set(err, ERR_NOT_FOUND, "file %s not found", clean.ptr);
    } else {
        err_set_errno(err, errno, "opening %s", clean.ptr);
    }
    return -1;
}

bool src_disk_read(struct arena *a, struct str dir, struct str name, uint64_t max, struct str *out,
                   struct err *err)
{
    scoped_fd int fd = src_disk_open(dir, name, err);
    if (fd < 0)
        return false;
    if (!fs_read_fd(a, fd, max, out, err))
        return err_wrap(err, "reading " STR_FMT, STR_ARG(name));
    return true;
}
