/* server/job_history.c: the runs of a job on disk.
 * SPDX-License-Identifier: Apache-2.0 */
#include "job_history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, READ_MAX = 1 << 20 };

static const char *const status_names[] = {
    [JOB_QUEUED] = "queued",       [JOB_RUNNING] = "running",     [JOB_SUCCESS] = "success",
    [JOB_FAILED] = "failed",       [JOB_TIMED_OUT] = "timed_out", [JOB_CANCELLED] = "cancelled",
    [JOB_INTERRUPTED] = "interrupted",
};
static const char *const trigger_names[] = {
    [JOB_BY_SCHEDULE] = "schedule", [JOB_BY_HAND] = "manual", [JOB_CATCH_UP] = "catch_up"};

const char *job_status_name(enum job_status s)
{
    return status_names[s];
}

static int name_index(struct str name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (str_eq_z(name, names[i]))
            return i;
    return -1;
}

static struct str log_path(struct arena *a, struct str dir, const char *id)
{
    return path_join(a, dir, str_printf(a, "%s.log", id));
}

/* --- the list ------------------------------------------------------------------------------------- */

static void set_time(json_t *j, const char *name, int64_t ns)
{
    char text[TIME_TEXT_MAX];
    json_set_str(j, name, ns > 0 ? str_of(text, time_format_rfc3339_nano(text, ns)) : (struct str){0});
}

static int64_t get_time(const json_t *j, const char *name)
{
    int64_t ns;
    return time_parse(json_get_str(j, name, (struct str){0}), &ns) && ns > 0 ? ns : 0;
}

json_t *job_record_json(const struct job_record *r)
{
    json_t *j = json_object();
    json_set_z(j, "id", r->id);
    json_set_z(j, "status", status_names[r->status]);
    json_set_z(j, "trigger", trigger_names[r->trigger]);
    set_time(j, "due", r->due_s * 1000000000);
    set_time(j, "start", r->start_ns);
    set_time(j, "end", r->end_ns);
    json_set_int(j, "code", r->code);
    json_set_z(j, "error", r->error);
    return j;
}

/* An id names a file. */
static bool is_id(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= '0' && s.ptr[i] <= '9')))
            return false;
    return s.len > 0 && s.len < sizeof(struct job_record){0}.id;
}

static void copy_text(char *out, size_t size, struct str text)
{
    size_t n = MIN(text.len, size - 1);
    if (n > 0)
        memcpy(out, text.ptr, n);
    out[n] = '\0';
}

static bool read_record(const json_t *j, int64_t now_s, struct job_record *out)
{
    struct str id = json_get_str(j, "id", (struct str){0});
    int status = name_index(json_get_str(j, "status", (struct str){0}), status_names, ARRAY_LEN(status_names));
    int trigger = name_index(json_get_str(j, "trigger", (struct str){0}), trigger_names, ARRAY_LEN(trigger_names));
    if (!is_id(id) || status < 0 || trigger < 0)
        return false;
    struct job_record r = {
        .status = (enum job_status)status,
        .trigger = (enum job_trigger)trigger,
        .due_s = get_time(j, "due") / 1000000000,
        .start_ns = get_time(j, "start"),
        .end_ns = get_time(j, "end"),
        .code = (int)json_get_int(j, "code", 0),
    };
    copy_text(r.id, sizeof r.id, id);
    copy_text(r.error, sizeof r.error, json_get_str(j, "error", (struct str){0}));
    if (!job_has_ended(r.status)) {
        r.status = JOB_INTERRUPTED;
        r.end_ns = now_s * 1000000000;
        copy_text(r.error, sizeof r.error, STR("the server ended while it ran"));
    }
    *out = r;
    return true;
}

bool job_history_load(struct str dir, struct str schedule, int64_t now_s, struct job_history *out)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str text;
    *out = (struct job_history){.base_s = now_s};
    if (!fs_read_all(&a, path_join(&a, dir, STR("history.json")), FILE_MAX, &text, &err)) {
        if (err.code != ERR_NOT_FOUND)
            log_warn("the history of a job cannot be read and begins anew", LOG_STR("dir", dir), LOG_ERR(&err));
        return false;
    }
    scoped_json *j = json_parse_object(text, &err);
    if (!j) {
        log_warn("the history of a job makes no sense and begins anew", LOG_STR("dir", dir), LOG_ERR(&err));
        return false;
    }
    const json_t *runs = json_get(j, "runs");
    size_t n = json_array_size(runs), first = n > JOB_RUNS_KEPT ? n - JOB_RUNS_KEPT : 0;
    for (size_t i = first; i < n; i++)
        out->len += read_record(json_array_get(runs, i), now_s, &out->runs[out->len]);
    int64_t base = json_get_int(j, "base", now_s);
    out->skipped = MAX(json_get_int(j, "skipped", 0), (int64_t)0);
    /* A clock that went back must not stop the job until it has caught up. */
    bool is_same = str_eq(json_get_str(j, "schedule", (struct str){0}), schedule) && base > 0;
    if (is_same)
        out->base_s = MIN(base, now_s);
    return is_same;
}

bool job_history_save(struct str dir, struct str schedule, const struct job_history *h, struct err *err)
{
    scoped_arena a = {0};
    scoped_json *j = json_object();
    json_t *runs = json_array();
    json_set_str(j, "schedule", schedule);
    json_set_int(j, "base", h->base_s);
    json_set_int(j, "skipped", h->skipped);
    for (size_t i = 0; i < h->len; i++)
        json_array_append_new(runs, job_record_json(&h->runs[i]));
    json_object_set_new(j, "runs", runs);
    return fs_mkdir_p(dir, 0700, err) && fs_write_atomic(path_join(&a, dir, STR("history.json")),
                                                         json_text(&a, j, JSON_STYLE_INDENT), 0600, err);
}

struct job_record *job_history_add(struct job_history *h, struct str dir)
{
    if (h->len == JOB_RUNS_KEPT) {
        size_t oldest = 0;
        while (oldest < h->len && !job_has_ended(h->runs[oldest].status))
            oldest++;
        if (oldest == h->len)
            return NULL;
        scoped_arena a = {0};
        scoped_err ignored = {0};
        fs_remove(log_path(&a, dir, h->runs[oldest].id), &ignored);
        h->len--;
        memmove(&h->runs[oldest], &h->runs[oldest + 1], (h->len - oldest) * sizeof h->runs[0]);
    }
    struct job_record *r = &h->runs[h->len++];
    *r = (struct job_record){0};
    scoped_arena a = {0};
    copy_text(r->id, sizeof r->id, id_ksuid_lower(&a));
    return r;
}

struct job_record *job_history_find(struct job_history *h, struct str id)
{
    for (size_t i = 0; i < h->len; i++)
        if (str_eq_z(id, h->runs[i].id))
            return &h->runs[i];
    return NULL;
}

/* --- logs ----------------------------------------------------------------------------------------- */

void job_log_open(struct job_log *log, struct str dir, const char *id)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    *log = (struct job_log){.fd = -1, .tail = BUF_INIT(2 * JOB_LOG_TAIL)};
    if (fs_mkdir_p(dir, 0700, &err))
        log->fd = fs_open(log_path(&a, dir, id), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600, &err);
    if (log->fd < 0)
        log_warn("the output of a job is not kept", LOG_STR("dir", dir), LOG_ERR(&err));
}

void job_log_write(struct job_log *log, struct str text)
{
    scoped_err err = {0};
    struct str now = str_slice(text, 0, JOB_LOG_HEAD - log->written), rest = str_from_off(text, now.len);
    if (log->fd >= 0 && now.len > 0 && !fs_write_fd(log->fd, now, &err)) {
        log_warn("writing the output of a job", LOG_ERR(&err));
        close(log->fd);
        log->fd = -1;
    }
    log->written += now.len;
    if (text.len > 0)
        log->is_in_line = text.ptr[text.len - 1] != '\n';
    while (rest.len > 0) {
        struct str part = str_slice(rest, 0, JOB_LOG_TAIL);
        rest = str_from_off(rest, part.len);
        if (log->tail.len + part.len > log->tail.max) {
            size_t drop = log->tail.len - JOB_LOG_TAIL;
            buf_drop(&log->tail, drop);
            log->left_out += drop;
        }
        buf_add_str(&log->tail, part);
    }
}

void job_log_note(struct job_log *log, const char *note)
{
    scoped_arena a = {0};
    job_log_write(log, str_printf(&a, "%s[%s]\n", log->is_in_line ? "\n" : "", note));
}

void job_log_close(struct job_log *log)
{
    scoped_err ignored = {0};
    if (log->tail.len > JOB_LOG_TAIL) {
        size_t drop = log->tail.len - JOB_LOG_TAIL;
        buf_drop(&log->tail, drop);
        log->left_out += drop;
    }
    if (log->fd >= 0) {
        scoped_buf note = BUF_INIT(200);
        if (log->left_out > 0)
            buf_printf(&note, "\n[%llu bytes left out]\n", (unsigned long long)log->left_out);
        if (fs_write_fd(log->fd, buf_str(&note), &ignored))
            fs_write_fd(log->fd, buf_str(&log->tail), &ignored);
        close(log->fd);
    }
    buf_release(&log->tail);
    log->fd = -1;
}

bool job_log_read(struct arena *a, struct str dir, const char *id, int64_t from, struct str *out, int64_t *end,
                  struct err *err)
{
    scoped_err own = {0};
    struct stat st;
    *out = (struct str){0};
    *end = from;
    scoped_fd int fd = fs_open(log_path(a, dir, id), O_RDONLY | O_NOFOLLOW, 0, &own);
    if (fd < 0)
        return own.code == ERR_NOT_FOUND || err_move(err, &own);
    if (fstat(fd, &st) != 0)
        return err_set_errno(err, errno, "looking at the output of a job");
    size_t n = (size_t)MIN(MAX(st.st_size - from, (int64_t)0), (int64_t)READ_MAX), got = 0;
    char *text = arena_alloc(a, n + 1);
    while (got < n) {
        ssize_t r = pread(fd, text + got, n - got, from + (int64_t)got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    *out = str_of(text, got);
    *end = from + (int64_t)got;
    return true;
}

/* --- of jobs that are no more --------------------------------------------------------------------- */

struct folder {
    struct str path;
    int64_t used_ns; /* when its list was written */
};
struct folders {
    struct folder *items;
    size_t len, cap;
};

static void list_folders(struct arena *a, struct str dir, struct folders *out)
{
    scoped_err err = {0};
    struct fs_items all = {0};
    if (!fs_list(a, dir, SIZE_MAX, &all, &err))
        log_warn("looking for the runs of jobs that are no more", LOG_ERR(&err));
    vec_foreach (e, &all) {
        struct fs_info info;
        scoped_err ignored = {0};
        if (e->info.kind != FS_DIR)
            continue;
        bool has_list = fs_lstat(path_join(a, e->path, STR("history.json")), &info, &ignored);
        *vec_push(a, out) = (struct folder){e->path, has_list ? info.mtime_ns : e->info.mtime_ns};
    }
}

static int newest_first(const void *x, const void *y)
{
    const struct folder *a = x, *b = y;
    return (a->used_ns < b->used_ns) - (a->used_ns > b->used_ns);
}

static void sweep_app(struct str dir, job_declared_fn *is_declared, void *arg, int64_t now_ns)
{
    scoped_arena a = {0};
    struct folders all = {0};
    int left = 0;
    list_folders(&a, dir, &all);
    if (all.len > 0)
        qsort(all.items, all.len, sizeof *all.items, newest_first);
    vec_foreach (f, &all) {
        scoped_err err = {0};
        bool is_old = now_ns - f->used_ns > JOB_LEFT_DAYS * 86400 * INT64_C(1000000000);
        if (is_declared(arg, path_base(dir), path_base(f->path)) || (++left <= JOB_LEFT_MAX && !is_old))
            continue;
        if (fs_remove_tree(f->path, &err))
            log_info("removed the runs of a job that is no more", LOG_STR("dir", f->path));
        else
            log_warn("removing the runs of a job that is no more", LOG_STR("dir", f->path), LOG_ERR(&err));
    }
}

void job_history_sweep(struct str root, job_declared_fn *is_declared, void *arg, int64_t now_ns)
{
    scoped_arena a = {0};
    struct folders apps = {0};
    list_folders(&a, root, &apps);
    vec_foreach (app, &apps)
        sweep_app(app->path, is_declared, arg, now_ns);
}
