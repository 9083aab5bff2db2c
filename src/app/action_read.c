/* app/action_read.c: what was submitted to an action: url-encoded, or as a form with files.
 *
 *   body --parser--> values                             (loop)
 *                `-> `pending` --256 KiB or end--> files  (job thread; meanwhile nothing more of the body is taken)
 *
 * 1. While `is_writing` the job thread owns `uploads`, and the loop adds nothing to it.
 * 2. `done` is called once, and never while `is_writing`.
 * SPDX-License-Identifier: Apache-2.0 */
#include "action_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PENDING_ENOUGH = 256 << 10, /* is written */
    PENDING_MAX = 4 << 20,      /* that, and one piece as the connection gives them */
    NAME_MAX_LEN = 255,
    BODY_MAX = 32 << 20, /* unless action.max_request_body_bytes says otherwise */
    UPLOADS_MAX = 1 << 30, /* of all requests of an app at once, unless action.max_upload_bytes_at_once does */
};

/* Below the home: on its disk, for nobody else, and emptied when a server starts, whatever became of the last one. */
#define UPLOAD_DIR "run/tmp"

/* Bytes of `pending` that belong to a file. */
struct piece {
    size_t file, len;
    bool is_last;
};

struct upload {
    size_t field;
    struct str name;      /* the client's, safe to use */
    struct str dir, path; /* made when its first piece is written */
    bool is_made;
};

/* Outlives the request by the time that it takes to remove its files. */
struct uploads {
    struct arena arena;
    struct str home; /* the server's */
    struct {
        struct upload *items;
        size_t len, cap;
    } files;
    struct {
        struct piece *items;
        size_t len, cap;
    } pieces;
    struct buf pending;
    int fd; /* of the file that is being written; -1: none */
    struct err err;
};

enum part_kind { PART_SKIPPED, PART_VALUE, PART_FILE };

struct reading {
    struct action_visit *x;
    void (*done)(struct action_visit *x, const struct err *err);
    size_t max, len; /* of the body, and so far */
    int64_t uploaded; /* bytes of files, counted in the app's actions until the request ends */
    struct http_multipart *parser;
    struct uploads *uploads;
    enum part_kind part;
    struct str name;  /* PART_VALUE */
    struct buf value; /* PART_VALUE */
    bool is_writing, is_over, is_done;
    struct err err; /* the body failed while files were written */
};

/* --- files (job thread) ------------------------------------------------------------------------------ */

/* A folder for each: files of the same name do not meet, and nobody else's are there. */
static bool make_file(struct uploads *u, struct upload *f, struct err *err)
{
    if (!fs_temp_dir_in(&u->arena, path_join(&u->arena, u->home, STR(UPLOAD_DIR)), STR("openrun-file-upload-"), &f->dir, err))
        return false;
    f->is_made = true;
    f->path = path_join(&u->arena, f->dir, f->name);
    u->fd = fs_open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, err);
    return u->fd >= 0;
}

static bool write_piece(struct uploads *u, const struct piece *p, struct str data, struct err *err)
{
    struct upload *f = &u->files.items[p->file];
    if (!f->is_made && !make_file(u, f, err))
        return false;
    if (!fs_write_fd(u->fd, data, err))
        return false;
    if (p->is_last) {
        close(u->fd);
        u->fd = -1;
    }
    return true;
}

static void on_written(struct http_loop *loop, void *arg);

static void write_pieces(void *arg)
{
    struct reading *r = arg;
    struct uploads *u = r->uploads;
    struct str rest = buf_str(&u->pending);
    bool ok = true;
    for (size_t i = 0; ok && i < u->pieces.len; i++) {
        ok = write_piece(u, &u->pieces.items[i], str_slice(rest, 0, u->pieces.items[i].len), &u->err);
        rest = str_from_off(rest, u->pieces.items[i].len);
    }
    http_loop_post(r->x->visit.request.req->loop, on_written, r);
}

static void remove_uploads(void *arg)
{
    struct uploads *u = arg;
    if (u->fd >= 0)
        close(u->fd);
    vec_foreach(f, &u->files)
    {
        scoped_err err = {0};
        if (f->is_made && !fs_remove_tree(f->dir, &err))
            log_warn("removing an upload", LOG_STR("folder", f->dir), LOG_ERR(&err));
    }
    buf_release(&u->pending);
    err_release(&u->err);
    arena_release(&u->arena);
    free(u);
}

static void on_end(struct http_req *req, void *arg)
{
    struct reading *r = arg;
    bool has_files = r->uploads->files.len > 0;
    atomic_fetch_sub(r->x->visit.app->actions->uploaded, r->uploaded);
    buf_release(&r->value);
    err_release(&r->err);
    if (!has_files || !jobs_submit(r->x->visit.app->env->jobs, remove_uploads, r->uploads))
        remove_uploads(r->uploads); /* a server that stops has no more jobs, and no more requests either */
}

/* --- the end of reading ------------------------------------------------------------------------------ */

static void finish(struct reading *r, struct err *err)
{
    struct action_visit *x = r->x;
    struct http_req *req = x->visit.request.req;
    assert(!r->is_writing && !r->is_done); /* inv. 2 */
    r->is_done = true;
    if (!err_is_set(err))
        http_query_parse(req->arena, req->query, &x->pairs, err);
    if (err_is_set(err)) {
        r->done(x, err);
        return;
    }
    if (r->uploads)
        vec_foreach(f, &r->uploads->files) x->given[f->field] = f->path;
    r->done(x, NULL);
}

/* Writes what is pending, or goes on without. */
static void go_on(struct reading *r)
{
    struct uploads *u = r->uploads;
    scoped_err err = {0};
    if (u->pieces.len > 0 && (r->is_over || u->pending.len >= PENDING_ENOUGH)) {
        r->is_writing = true;
        if (jobs_submit(r->x->visit.app->env->jobs, write_pieces, r))
            return;
        r->is_writing = false;
        err_set(&err, ERR_UNAVAILABLE, "the server is stopping or overloaded: try again");
        finish(r, &err);
    } else if (r->is_over) {
        finish(r, &err);
    }
}

static void on_written(struct http_loop *loop, void *arg)
{
    struct reading *r = arg;
    struct uploads *u = r->uploads;
    r->is_writing = false;
    u->pieces.len = 0;
    buf_clear(&u->pending);
    if (err_is_set(&u->err))
        finish(r, &u->err);
    else if (err_is_set(&r->err))
        finish(r, &r->err);
    else if (r->is_over)
        go_on(r);
    else
        http_req_resume(r->x->visit.request.req);
}

/* --- parts ------------------------------------------------------------------------------------------- */

static bool is_safe_name(struct str s)
{
    if (s.len > NAME_MAX_LEN || str_eq(s, STR(".")) || str_eq(s, STR("..")))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '/' || s.ptr[i] == '\\' || (unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
            return false;
    return s.len > 0;
}

/* The field that takes a file under this name, and has none yet; its number. */
static bool find_file_field(const struct reading *r, struct str name, size_t *out)
{
    const struct actions *all = r->x->visit.app->actions;
    for (size_t i = 0; i < all->n_fields; i++) {
        if (all->fields[i].look != LOOK_FILE || !action_shows(all, r->x->action, i) ||
            !str_eq(all->fields[i].param->name, name))
            continue;
        vec_foreach(f, &r->uploads->files) if (f->field == i) return false;
        *out = i;
        return true;
    }
    return false;
}

static bool on_part(void *arg, const struct http_part *part, struct err *err)
{
    struct reading *r = arg;
    struct uploads *u = r->uploads;
    size_t field;
    r->part = part->is_file ? PART_SKIPPED : PART_VALUE;
    r->name = part->name;
    buf_clear(&r->value);
    if (!part->is_file || str_is_empty(part->file_name) || !find_file_field(r, part->name, &field))
        return true;
    if (!is_safe_name(part->file_name))
        return err_set(err, ERR_INVALID, "unsafe file name for " STR_FMT, STR_ARG(part->name));
    r->part = PART_FILE;
    *vec_push(&u->arena, &u->files) =
        (struct upload){.field = field, .name = str_dup(&u->arena, part->file_name)};
    return true;
}

static void add_piece(struct uploads *u, struct str data, bool is_last)
{
    *vec_push(&u->arena, &u->pieces) = (struct piece){u->files.len - 1, data.len, is_last};
}

static bool on_data(void *arg, struct str data, struct err *err)
{
    struct reading *r = arg;
    bool ok = true;
    if (r->part == PART_VALUE)
        ok = buf_add_str(&r->value, data);
    if (r->part == PART_FILE) {
        int64_t max = app_config_int(r->x->visit.app, "action.max_upload_bytes_at_once", UPLOADS_MAX), n = (int64_t)data.len;
        r->uploaded += n;
        if (atomic_fetch_add(r->x->visit.app->actions->uploaded, n) + n > max)
            return err_set(err, ERR_UNAVAILABLE, "others are sending too many files to this app: try again later");
        ok = buf_add_str(&r->uploads->pending, data);
        add_piece(r->uploads, data, false);
    }
    return ok || err_set(err, ERR_TOO_LARGE, "too much at once");
}

static bool on_part_end(void *arg, struct err *err)
{
    struct reading *r = arg;
    struct arena *a = r->x->visit.request.req->arena;
    if (r->part == PART_FILE)
        add_piece(r->uploads, (struct str){0}, true);
    if (r->part == PART_VALUE)
        *vec_push(a, &r->x->pairs) = (struct http_pair){r->name, str_dup(a, buf_str(&r->value))};
    return true;
}

/* --- the body ---------------------------------------------------------------------------------------- */

static bool too_large(size_t max, struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "request body too large: limit is %zu bytes", max);
}

static size_t on_body(struct http_req *req, struct str data, enum http_body what, void *arg)
{
    struct reading *r = arg;
    const char *why;
    scoped_err err = {0};
    if (r->is_done)
        return data.len;
    if (what == HTTP_BODY_FAILED) {
        enum err_code code = http_req_body_fault(req, &why);
        err_set(r->is_writing ? &r->err : &err, code, "%s", why);
        if (!r->is_writing)
            finish(r, &err);
        return 0;
    }
    if (r->is_writing && data.len > 0)
        return 0; /* inv. 1 */
    r->len += data.len;
    r->is_over = what == HTTP_BODY_END;
    bool ok = (r->len <= r->max || too_large(r->max, &err)) && http_multipart_feed(r->parser, data, &err) &&
              (!r->is_over || http_multipart_end(r->parser, &err));
    if (!ok && r->is_writing)
        err_move(&r->err, &err); /* inv. 2 */
    else if (!ok)
        finish(r, &err);
    else if (!r->is_writing)
        go_on(r);
    return data.len;
}

static void on_urlencoded(struct http_req *req, struct str body, const struct err *why, void *arg)
{
    struct reading *r = arg;
    scoped_err err = {0};
    if (why && why->code == ERR_TOO_LARGE)
        too_large(r->max, &err);
    else if (why)
        err_set(&err, why->code, "%s", err_msg(why));
    else
        http_query_parse(req->arena, body, &r->x->pairs, &err);
    finish(r, &err);
}

static void begin_multipart(struct reading *r, struct str boundary)
{
    struct http_req *req = r->x->visit.request.req;
    const struct http_part_sink sink = {on_part, on_data, on_part_end, r};
    r->uploads = xcalloc(1, sizeof *r->uploads);
    r->uploads->fd = -1;
    r->uploads->home = r->x->visit.app->env->home;
    buf_init(&r->uploads->pending, PENDING_MAX);
    buf_init(&r->value, r->max);
    r->parser = http_multipart_new(req->arena, boundary, &sink);
    http_req_on_end(req, on_end, r);
    http_req_read(req, on_body, r);
}

void action_read(struct action_visit *x, void (*done)(struct action_visit *x, const struct err *err))
{
    struct http_req *req = x->visit.request.req;
    struct str header = http_req_known(req, HTTP_H_CONTENT_TYPE), type, boundary;
    struct reading *r = arena_new(req->arena, struct reading);
    scoped_err err = {0};
    int64_t max = app_config_int(x->visit.app, "action.max_request_body_bytes", BODY_MAX);
    r->x = x;
    r->done = done;
    r->max = max < 0 ? 0 : (size_t)max;
    str_cut(header, ';', &type, NULL);
    if (req->content_length > 0 && (uint64_t)req->content_length > r->max) {
        too_large(r->max, &err);
    } else if (req->content_length == 0) {
        finish(r, &err);
        return;
    } else if (str_eq_nocase(str_trim(type), STR("application/x-www-form-urlencoded"))) {
        http_req_read_all(req, r->max, on_urlencoded, r);
        return;
    } else if (!str_eq_nocase(str_trim(type), STR("multipart/form-data"))) {
        err_set(&err, ERR_INVALID,
                "the body must be a form: application/x-www-form-urlencoded or multipart/form-data");
    } else if (http_multipart_boundary(header, &boundary, &err)) {
        begin_multipart(r, boundary);
        return;
    }
    finish(r, &err);
}
