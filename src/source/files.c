/* source/files.c: file sets: scanned from a folder, made from a list, overlaid, hashed, extracted.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEX_LEN = 2 * SHA256_LEN,
    LINKS_NAMED = 10, /* symbolic links that a message lists */
    LFS_POINTER_MAX = 1024,
    CHUNK = 64 * 1024,
};

const struct str SRC_HASH_EXCLUDE[] = {
    STR_INIT("static/**/*"), STR_INIT("static_root/**/*"), STR_INIT("base_templates/**/*"),
    STR_INIT("*.go.html"),   STR_INIT("*.star"),           STR_INIT("config_gen.lock"),
};
const size_t SRC_HASH_EXCLUDE_LEN = ARRAY_LEN(SRC_HASH_EXCLUDE);

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct src_file *)x)->name, ((const struct src_file *)y)->name);
}

/* ---- scanning a folder ---- */

struct disk_reader {
    struct src_reader base;
    struct str dir;
};

static bool read_from_disk(const struct src_reader *self, const struct src_file *f, struct arena *a,
                           struct str *out, struct err *err)
{
    const struct disk_reader *r = CONTAINER_OF(self, struct disk_reader, base);
    return src_disk_read(a, r->dir, f->name, f->size, out, err);
}

struct scan {
    struct arena *a;
    struct src_limits limits;
    const struct src_reader *reader;
    const struct ignore *ignore;
    VEC(struct src_file) files;
    uint64_t total;
    struct str_list links; /* the first LINKS_NAMED symbolic links */
    size_t links_len;      /* all of them */
    struct str_list warnings;
};

static bool is_lfs_pointer(const char *head, size_t len)
{
    return str_starts(str_of(head, len), STR("version https://git-lfs.github.com/spec/"));
}

/* The hash and true size of an open file; *is_lfs if it is a pointer of git LFS. */
static bool hash_fd(int fd, uint64_t max, struct src_file *f, char hex[HEX_LEN], bool *is_lfs,
                    struct err *err)
{
    char chunk[CHUNK];
    struct sha256 h;
    unsigned char digest[SHA256_LEN];
    ssize_t n;
    f->size = 0;
    sha256_init(&h);
    while ((n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            sha256_release(&h);
            return err_set_errno(err, errno, "reading " STR_FMT, STR_ARG(f->name));
        }
        if (f->size == 0)
            *is_lfs = n <= LFS_POINTER_MAX && is_lfs_pointer(chunk, (size_t)n);
        sha256_add(&h, chunk, (size_t)n);
        f->size += (uint64_t)n;
        if (f->size > max) {
            sha256_release(&h);
            return err_set(err, ERR_TOO_LARGE,
                           "file " STR_FMT " is larger than the limit of %llu bytes for one file",
                           STR_ARG(f->name), (unsigned long long)max);
        }
    }
    sha256_end(&h, digest);
    for (size_t i = 0; i < SHA256_LEN; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    return true;
}

static bool scan_file(struct scan *s, const struct fs_entry *e, struct err *err)
{
    struct src_file f = {.reader = s->reader};
    if (s->files.len == s->limits.max_files)
        return err_set(err, ERR_TOO_LARGE,
                       "the source has more than %zu files: leave out what the app does not need",
                       s->limits.max_files);
    if (str_chr(e->path, '\\') != STR_NPOS)
        return err_set(err, ERR_INVALID, "invalid file name \"" STR_FMT "\": it contains a backslash",
                       STR_ARG(e->path));
    if (!src_name_clean(s->a, e->path, &f.name, err))
        return false;
    /* The walk saw a regular file, but what is opened decides. */
    scoped_fd int fd = openat(e->dir_fd, e->name_z, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_set_errno(err, errno, "opening " STR_FMT, STR_ARG(f.name));
    if (!S_ISREG(st.st_mode))
        return true;
    char *hex = arena_alloc(s->a, HEX_LEN);
    bool is_lfs = false;
    if (!hash_fd(fd, s->limits.max_file, &f, hex, &is_lfs, err))
        return false;
    f.sha = str_of(hex, HEX_LEN);
    s->total += f.size;
    if (s->total > s->limits.max_total)
        return err_set(err, ERR_TOO_LARGE,
                       "the source is larger than %llu bytes: leave out what the app does not need",
                       (unsigned long long)s->limits.max_total);
    if (is_lfs)
        str_list_add(s->a, &s->warnings,
                     str_printf(s->a,
                                STR_FMT " is a pointer to a git LFS object; LFS objects are not fetched",
                                STR_ARG(f.name)));
    if (str_eq(f.name, STR(".gitmodules")))
        str_list_add(s->a, &s->warnings,
                     STR("the source uses git submodules (.gitmodules); submodules are not fetched"));
    *vec_push(s->a, &s->files) = f;
    return true;
}

static bool scan_walk(struct scan *s, struct str dir, struct err *err)
{
    struct fs_walk *w = fs_walk_open(dir, err);
    if (!w)
        return false;
    struct fs_entry e;
    scoped_err failure = {0};
    bool ok = true;
    while (ok && fs_walk_next(w, &e, &failure)) {
        if (str_eq(e.name, STR(".git")) || ignore_has(s->ignore, e.path, e.info.kind == FS_DIR)) {
            if (e.info.kind == FS_DIR)
                fs_walk_skip(w);
        } else if (e.info.kind == FS_SYMLINK) {
            if (s->links_len++ < LINKS_NAMED)
                str_list_add(s->a, &s->links, str_dup(s->a, e.path));
        } else if (e.info.kind == FS_FILE) {
            ok = scan_file(s, &e, &failure);
        }
    }
    fs_walk_close(w);
    return err_is_set(&failure) ? err_move(err, &failure) : true;
}

static bool refuse_links(struct scan *s, struct err *err)
{
    if (s->links_len == 0)
        return true;
    err_set(err, ERR_INVALID, "symlinks are not allowed in app sources: " STR_FMT,
            STR_ARG(s->links.items[0]));
    for (size_t i = 1; i < s->links.len; i++)
        err_append(err, ", " STR_FMT, STR_ARG(s->links.items[i]));
    if (s->links_len > s->links.len)
        err_append(err, " and %zu more", s->links_len - s->links.len);
    return false;
}

bool src_files_scan(struct arena *a, struct str dir, const struct src_limits *limits, struct src_files *out,
                    struct err *err)
{
    if (!fs_exists(dir))
        return err_set(err, ERR_NOT_FOUND, "source folder " STR_FMT " does not exist", STR_ARG(dir));
    if (!fs_is_dir(dir))
        return err_set(err, ERR_INVALID, "source " STR_FMT " is not a folder", STR_ARG(dir));
    struct disk_reader *reader = arena_new(a, struct disk_reader);
    reader->base.read = read_from_disk;
    reader->dir = str_dup(a, dir);
    struct ignore *ignore;
    if (!ignore_read(a, dir, &ignore, err))
        return err_wrap(err, "source folder " STR_FMT, STR_ARG(dir));
    struct scan s = {
        .a = a, .limits = limits ? *limits : SRC_LIMITS_DEFAULT, .reader = &reader->base, .ignore = ignore};
    if (!scan_walk(&s, dir, err))
        return err_wrap(err, "source folder " STR_FMT, STR_ARG(dir));
    if (!refuse_links(&s, err))
        return false;
    if (s.files.len > 0)
        qsort(s.files.items, s.files.len, sizeof s.files.items[0], by_name);
    *out = (struct src_files){s.files.items, s.files.len, s.total, s.warnings};
    return true;
}

/* ---- sets from lists ---- */

bool src_files_make(struct arena *a, const struct src_file *items, size_t len, struct src_files *out,
                    struct err *err)
{
    struct src_files s = {.items = arena_array(a, struct src_file, len), .len = len};
    for (size_t i = 0; i < len; i++) {
        struct src_file *f = &s.items[i];
        *f = items[i];
        if (!src_name_clean(a, f->name, &f->name, err))
            return false;
        if (str_is_empty(f->sha)) {
            assert(f->content || f->size == 0);
            f->sha = sha256_hex(a, str_of(f->content, f->size));
        }
        s.total += f->size;
    }
    if (len > 0)
        qsort(s.items, len, sizeof s.items[0], by_name);
    for (size_t i = 1; i < len; i++)
        if (str_eq(s.items[i - 1].name, s.items[i].name))
            return err_set(err, ERR_INVALID, "file " STR_FMT " is named twice", STR_ARG(s.items[i].name));
    *out = s;
    return true;
}

void src_files_overlay(struct arena *a, const struct src_files *source, const struct src_files *spec,
                       struct src_files *out)
{
    struct src_files s = {.items = arena_array(a, struct src_file, source->len + spec->len),
                          .warnings = source->warnings};
    size_t i = 0, k = 0;
    while (i < source->len || k < spec->len) {
        int order; /* < 0: the next file is the source's alone; > 0: the spec's; 0: both have it */
        if (i == source->len)
            order = 1;
        else if (k == spec->len)
            order = -1;
        else
            order = str_cmp(source->items[i].name, spec->items[k].name);
        struct src_file *f = &s.items[s.len++];
        *f = order > 0 ? spec->items[k] : source->items[i];
        f->is_spec = order > 0;
        s.total += f->size;
        i += order <= 0;
        k += order >= 0;
    }
    *out = s;
}

const struct src_file *src_files_find(const struct src_files *s, struct str name)
{
    struct src_file key = {.name = name};
    return s->len == 0 ? NULL : bsearch(&key, s->items, s->len, sizeof s->items[0], by_name);
}

void src_files_glob(struct arena *a, const struct src_files *s, const struct src_glob *g, bool only_source,
                    struct src_files *out)
{
    struct src_files m = {.items = arena_array(a, struct src_file, s->len)};
    for (size_t i = 0; i < s->len; i++) {
        const struct src_file *f = &s->items[i];
        if ((only_source && f->is_spec) || !src_glob_match(g, f->name))
            continue;
        m.items[m.len++] = *f;
        m.total += f->size;
    }
    *out = m;
}

/* ---- content ---- */

bool src_file_read(struct arena *a, const struct src_file *f, struct str *out, struct err *err)
{
    if (f->content || f->size == 0) {
        *out = f->content ? str_of(f->content, f->size) : STR("");
        return true;
    }
    struct str text;
    if (!f->reader->read(f->reader, f, a, &text, err)) {
        if (err->code != ERR_TOO_LARGE)
            return false;
        err_release(err); /* it has grown past the size that was asked for */
        text = STR("");
    }
    scoped_arena scratch = {0};
    if (text.len != f->size || !str_eq(sha256_hex(&scratch, text), f->sha))
        return err_set(err, ERR_CONFLICT,
                       "file " STR_FMT " has changed since it was listed: run the operation again",
                       STR_ARG(f->name));
    *out = text;
    return true;
}

bool src_files_read(struct arena *a, const struct src_files *s, struct str name, struct str *out,
                    struct err *err)
{
    const struct src_file *f = src_files_find(s, name);
    if (!f)
        return err_set(err, ERR_NOT_FOUND, "file " STR_FMT " not found", STR_ARG(name));
    return src_file_read(a, f, out, err);
}

/* ---- hash ---- */

static bool has_pages(const struct src_files *s)
{
    for (size_t i = 0; i < s->len; i++)
        if (!s->items[i].is_spec && str_ends(s->items[i].name, STR(".go.html")) &&
            str_chr(s->items[i].name, '/') == STR_NPOS)
            return true;
    return false;
}

static bool matches_any(struct src_glob *const *globs, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (src_glob_match(globs[i], name))
            return true;
    return false;
}

bool src_files_hash(struct arena *a, const struct src_files *s, const struct str *exclude, size_t exclude_len,
                    struct str *out, struct err *err)
{
    scoped_arena scratch = {0};
    if (!exclude) {
        exclude = SRC_HASH_EXCLUDE;
        exclude_len = SRC_HASH_EXCLUDE_LEN;
    }
    if (!has_pages(s))
        exclude_len = 0;
    struct src_glob **globs = arena_array(&scratch, struct src_glob *, exclude_len);
    for (size_t i = 0; i < exclude_len; i++)
        if (!(globs[i] = src_glob_compile(&scratch, exclude[i], err)))
            return err_wrap(err, "routing.container_exclude");
    struct sha256 h;
    unsigned char digest[SHA256_LEN];
    sha256_init(&h);
    for (int is_spec = 0; is_spec < 2; is_spec++) {
        for (size_t i = 0; i < s->len; i++) {
            const struct src_file *f = &s->items[i];
            if (f->is_spec != (bool)is_spec || matches_any(globs, exclude_len, f->name))
                continue;
            sha256_add(&h, f->name.ptr, f->name.len);
            sha256_add(&h, "", 1);
            sha256_add(&h, f->sha.ptr, f->sha.len);
            sha256_add(&h, "", 1);
        }
    }
    sha256_end(&h, digest);
    *out = str_hex(a, digest, sizeof digest);
    return true;
}

/* ---- extraction ---- */

/* Makes the folders above `path`, 0755 whatever the umask; its first `dir_len` bytes are one that exists. */
static bool make_parents(char *path, size_t dir_len, struct err *err)
{
    for (char *p = strchr(path + dir_len + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        bool ok = mkdir(path, 0755) == 0 ? chmod(path, 0755) == 0 : errno == EEXIST;
        if (!ok)
            err_set_errno(err, errno, "making folder %s", path);
        *p = '/';
        if (!ok)
            return false;
    }
    return true;
}

static bool is_program(struct str content)
{
    return str_starts(content, STR("#!")) || str_starts(content, STR("\177ELF"));
}

bool src_file_extract(const struct src_file *f, struct str dir, struct arena *a, struct str *sha, struct err *err)
{
    scoped_arena scratch = {0};
    struct str content, name;
    if (!src_name_clean(&scratch, f->name, &name, err) || !src_file_read(&scratch, f, &content, err))
        return false;
    char *path = str_z(&scratch, str_printf(&scratch, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(name)));
    if (!make_parents(path, dir.len, err))
        return false;
    scoped_fd int fd = fs_open(str_from(path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, err);
    if (fd < 0 || !fs_write_fd(fd, content, err))
        return err_wrap(err, "writing %s", path);
    if (fchmod(fd, is_program(content) ? 0755 : 0644) != 0)
        return err_set_errno(err, errno, "writing %s", path);
    if (sha)
        *sha = sha256_hex(a, content);
    return true;
}

bool src_files_extract(const struct src_files *s, struct str dir, struct err *err)
{
    dir = str_trim_right(dir, '/');
    if (!fs_mkdir_p(dir, 0700, err))
        return false;
    for (size_t i = 0; i < s->len; i++)
        if (!src_file_extract(&s->items[i], dir, NULL, NULL, err))
            return err_wrap(err, "extracting the source");
    return true;
}
