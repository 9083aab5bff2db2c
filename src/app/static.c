/* app/static.c: static files: indexed and, when small, held in memory at load; large ones are put on disk.
 *
 * Names below static/ may carry the content's hash (`a-<sha>.css`): those are cached for ever. A hash that is
 * not the current content's is looked up as a literal name, so usually 404.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <brotli/encode.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    IN_MEMORY_MAX = 256 * 1024, /* a larger file is served from disk */
    IN_MEMORY_TOTAL = 32 << 20, /* of all files of an app */
    COMPRESS_MIN = 256,         /* smaller ones gain nothing */
    COMPRESS_QUALITY = 5,       /* at load, on a job thread */
};

static bool is_compressible(struct str type)
{
    return str_starts(type, STR("text/")) || str_find(type, STR("javascript")) != STR_NPOS ||
           str_find(type, STR("json")) != STR_NPOS || str_find(type, STR("xml")) != STR_NPOS ||
           str_find(type, STR("wasm")) != STR_NPOS;
}

static struct str compress(struct arena *a, struct str data)
{
    size_t len = BrotliEncoderMaxCompressedSize(data.len);
    uint8_t *out = arena_alloc(a, len);
    if (!BrotliEncoderCompress(COMPRESS_QUALITY, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, data.len,
                               (const uint8_t *)data.ptr, &len, out) ||
        len >= data.len)
        return (struct str){0};
    return str_of(out, len);
}

/* A large file goes to $OPENRUN_HOME/run/app/<id>/static/<sha>, written once. Its content is its name. */
static bool put_on_disk(struct app *app, struct static_file *f, struct str data, struct err *err)
{
    struct str dir = path_join(&app->arena, app->env->home, STR("run/app"), app->entry.id, STR("static"));
    f->disk_path = path_join(&app->arena, dir, f->sha);
    f->disk_path = str_of(str_z(&app->arena, f->disk_path), f->disk_path.len);
    struct fs_info info;
    scoped_err missing = {0};
    if (fs_stat(f->disk_path, &info, &missing) && info.size == (int64_t)data.len)
        return true;
    return fs_mkdir_p(dir, 0700, err) && fs_write_atomic(f->disk_path, data, 0600, err);
}

static bool add_file(struct app *app, const struct src_file *src, struct str key, size_t *total,
                     struct err *err)
{
    struct static_file *f = arena_new(&app->arena, struct static_file);
    f->name = key;
    f->sha = str_dup(&app->arena, src->sha);
    f->etag = str_printf(&app->arena, "\"" STR_FMT "\"", STR_ARG(f->sha));
    f->size = src->size;
    f->content_type = http_mime_type(key);
    f->mtime_s = app->entry.update_time / 1000000000;
    scoped_arena scratch = {0};
    struct str data;
    if (!src_file_read(&scratch, src, &data, err))
        return false;
    if (src->size > IN_MEMORY_MAX || *total + src->size > IN_MEMORY_TOTAL) {
        if (!put_on_disk(app, f, data, err))
            return false;
    } else {
        f->body = str_dup(&app->arena, data);
        *total += data.len;
        if (data.len >= COMPRESS_MIN && is_compressible(f->content_type))
            f->br = compress(&app->arena, data);
    }
    map_set(&app->statics, key, f);
    return true;
}

/* Files that are never content: the app's code, and what starts with a dot (.git, .env), as visitors have no
 * business there; .well-known is made for them. */
static bool is_hidden(struct str name)
{
    struct str rest = name, part;
    if (str_ends(name, STR(".star")) || str_eq(name, STR("config_gen.lock")))
        return true;
    while (str_next(&rest, '/', &part))
        if (str_starts(part, STR(".")) && !str_eq(part, STR(".well-known")))
            return true;
    return false;
}

/* The name under which a file is asked for; false if it is not to be. */
static bool served_name(const struct app *app, const struct src_file *f, struct str *out)
{
    static const struct str root = STR_INIT("static_root/");
    *out = f->name;
    if (app->is_static_only)
        return !f->is_spec && !is_hidden(f->name);
    if (str_starts(f->name, root)) {
        *out = str_from_off(f->name, root.len);
        return !f->is_spec;
    }
    return !f->is_spec && str_starts(f->name, STR("static/"));
}

bool statics_load(struct app *app, struct err *err)
{
    size_t total = 0;
    map_init(&app->statics, &app->arena);
    for (size_t i = 0; i < app->files.len; i++) {
        const struct src_file *f = &app->files.items[i];
        struct str key;
        if (!served_name(app, f, &key))
            continue;
        app->has_static_files = true;
        if (!app->is_on_disk && !add_file(app, f, str_dup(&app->arena, key), &total, err))
            return err_wrap(err, "static file " STR_FMT, STR_ARG(f->name));
    }
    return true;
}

static int open_on_disk(const struct app *app, struct str rel, struct stat *st)
{
    scoped_err ignored = {0};
    if (str_is_empty(rel) || (app->is_static_only && is_hidden(rel)))
        return -1;
    int fd = src_disk_open(app->disk_dir, rel, &ignored);
    if (fd >= 0 && fstat(fd, st) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool has_file(const struct app *app, struct str rel)
{
    struct stat st;
    if (!app->is_on_disk)
        return map_has(&app->statics, rel);
    scoped_fd int fd = open_on_disk(app, rel, &st);
    return fd >= 0;
}

bool statics_choose_index(struct app *app, struct err *err)
{
    static const struct str names[] = {STR_INIT("index.html"), STR_INIT("index.htm")};
    star_to_str(star_struct_get(app->eval.app, STR("index")), &app->index);
    for (size_t i = 0; i < ARRAY_LEN(names) && str_is_empty(app->index); i++)
        if (has_file(app, names[i]))
            app->index = names[i];
    if (!str_is_empty(app->index) && !src_name_clean(&app->arena, app->index, &app->index, err))
        return err_wrap(err, "index");
    if (app->is_single_file && (str_is_empty(app->index) || !has_file(app, app->index)))
        return err_set(err, ERR_INVALID,
                       "single_file needs an index file%s" STR_FMT "%s: set index=, or add an index.html",
                       str_is_empty(app->index) ? "" : ", and \"", STR_ARG(app->index),
                       str_is_empty(app->index) ? "" : "\" is not there");
    return true;
}

/* --- serving -------------------------------------------------------------------------------------- */

/* "a-<64 hex>.css" -> "a.css" and the hash. The stem ends at the first dot of the base name. */
static bool split_hashed(struct arena *a, struct str rel, struct str *plain, struct str *sha)
{
    size_t slash = str_rchr(rel, '/');
    struct str dir = slash == STR_NPOS ? (struct str){0} : str_slice(rel, 0, slash + 1);
    struct str base = slash == STR_NPOS ? rel : str_from_off(rel, slash + 1), stem;
    size_t dot = str_chr(base, '.');
    struct str ext = dot == STR_NPOS ? (struct str){0} : str_from_off(base, dot);
    stem = dot == STR_NPOS ? base : str_slice(base, 0, dot);
    if (stem.len < STORE_SHA_LEN + 1 || stem.ptr[stem.len - STORE_SHA_LEN - 1] != '-')
        return false;
    *sha = str_from_off(stem, stem.len - STORE_SHA_LEN);
    if (!str_is_lower_hex(*sha))
        return false;
    stem = str_slice(stem, 0, stem.len - STORE_SHA_LEN - 1);
    *plain = str_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(dir), STR_ARG(stem), STR_ARG(ext));
    return true;
}

/* For operators who look at what is on the wire. */
static void mark_compressed(struct http_req *req, void *arg)
{
    if (http_resp_get_header(req, STR("Content-Encoding")).ptr)
        http_resp_header_ref(req, STR("X-OpenRun-Compressed"), STR("true"));
}

static void serve(struct app *app, struct http_req *req, const struct static_file *f, bool is_hashed)
{
    struct http_variant br = {STR("br"), f->br};
    struct http_static s = {
        .body = f->body,
        .fd = -1,
        .size = f->size,
        .variants = &br,
        .variant_count = str_is_empty(f->br) ? 0 : 1,
        .etag = f->etag,
        .mtime_s = f->mtime_s,
        .content_type = f->content_type,
        .cache_control = is_hashed ? STR("public, max-age=31536000, immutable") : (struct str){0},
    };
    if (!is_hashed && !str_starts(f->name, STR("static/")))
        s.cache_control = app->static_root_cache_control;
    if (s.variant_count > 0)
        http_req_on_headers(req, mark_compressed, NULL);
    if (!str_is_empty(f->disk_path)) {
        s.fd = open(f->disk_path.ptr, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (s.fd < 0) {
            http_reply_error(req, 500,
                             STR("a static file is missing from the server's run folder: reload the app"));
            return;
        }
    }
    http_serve_static(req, &s);
}

/* Directly from the app's folder. The name is clean; links are not followed. */
static bool serve_disk(struct app *app, struct http_req *req, struct str rel)
{
    struct stat st;
    int fd = open_on_disk(app, rel, &st);
    if (fd < 0)
        return false;
    int64_t mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    struct http_static s = {
        .fd = fd,
        .size = (uint64_t)st.st_size,
        .etag = str_printf(req->arena, "\"%llx-%llx\"", (unsigned long long)mtime_ns,
                           (unsigned long long)st.st_size),
        .mtime_s = st.st_mtim.tv_sec,
        .content_type = http_mime_type(rel),
    };
    if (!str_starts(rel, STR("static/")))
        s.cache_control = app->static_root_cache_control;
    http_serve_static(req, &s);
    return true;
}

bool static_serve(struct app *app, struct http_req *req, struct str rel)
{
    struct str plain, sha;
    if (app->is_on_disk) {
        if (app->is_static_only)
            return serve_disk(app, req, rel);
        bool is_static = str_starts(rel, STR("static/"));
        return serve_disk(app, req, is_static ? rel : path_join(req->arena, STR("static_root"), rel));
    }
    if (map_len(&app->statics) == 0)
        return false;
    const struct static_file *f = map_get(&app->statics, rel);
    if (f) {
        serve(app, req, f, false);
        return true;
    }
    if (!split_hashed(req->arena, rel, &plain, &sha))
        return false;
    f = map_get(&app->statics, plain);
    if (!f || !str_eq(f->sha, sha))
        return false;
    serve(app, req, f, true);
    return true;
}

/* A folder is shown as its index, under a path that ends in "/": relative links would go astray otherwise. */
static bool serve_folder(struct app *app, struct http_req *req, struct str rel)
{
    if (str_is_empty(app->index))
        return false;
    struct str index = str_is_empty(rel) ? app->index : path_join(req->arena, rel, app->index);
    if (str_is_empty(rel) || str_ends(req->path, STR("/")))
        return static_serve(app, req, index);
    if (!has_file(app, index))
        return false;
    /* From the clean path: what was sent may start with "//". */
    struct str clean = http_path_encode(
        req->arena, str_printf(req->arena, STR_FMT "/" STR_FMT "/", STR_ARG(app->path), STR_ARG(rel)));
    if (req->query.ptr)
        clean = str_printf(req->arena, STR_FMT "?" STR_FMT, STR_ARG(clean), STR_ARG(req->query));
    http_resp_header(req, STR("Location"), clean);
    http_reply(req, 307, (struct str){0}, (struct str){0});
    return true;
}

void static_serve_only(struct app *app, struct http_req *req, struct str rel)
{
    bool is_served;
    if (app->is_single_file)
        is_served = (str_is_empty(rel) || str_eq(rel, app->index)) && static_serve(app, req, app->index);
    else
        is_served =
            (!str_ends(req->path, STR("/")) && static_serve(app, req, rel)) || serve_folder(app, req, rel);
    if (!is_served)
        http_reply_error(req, 404, STR("404 page not found"));
}
