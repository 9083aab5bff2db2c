/* base/log_file.c: a file that rotates, with a bounded queue and a writer thread in front of it.
 *
 *   log_file_write() ──> pending ──swap──> the writer's own buffer ──> write(2), whole lines
 *
 * The first line in an empty queue wakes the writer, which then gathers for GATHER_MS, or until GATHER_BYTES are
 * there, so that a busy server pays one wake-up for thousands of lines.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include "arena.h"
#include "buf.h"
#include "fs.h"
#include "timefmt.h"
#include "vec.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { QUEUE_MAX = 4 << 20, GATHER_MS = 50, GATHER_BYTES = 256 << 10 };

struct log_file {
    pthread_mutex_t lock;
    pthread_cond_t more;          /* for the writer: something is pending, wanted now, or closing */
    pthread_cond_t written;       /* for log_file_flush() */
    struct buf pending;           /* under lock */
    uint64_t queued, done;        /* bytes ever queued and taken care of; under lock */
    unsigned flushers;            /* who waits; under lock */
    bool closing;                 /* under lock */
    atomic_ullong dropped;        /* lines */

    /* The writer's own. */
    pthread_t thread;
    int fd;                       /* -1: could not be opened after a rotation; tried again with each batch */
    bool is_borrowed;             /* not a file of ours: no rotation, no close */
    struct arena arena;           /* holds path */
    struct str path;
    struct log_file_opts opts;
    int64_t size;                 /* of the file */
    int64_t last_backup_ns;       /* time in the name of the last rotated file */
    uint64_t reported;            /* of `dropped` */
    bool complained;              /* about the current trouble, on stderr */
};

static uint64_t count_lines(struct str s)
{
    uint64_t n = 0;
    for (const char *p = s.ptr, *end = s.ptr + s.len; p < end; n++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        p = nl ? nl + 1 : end;
    }
    return n;
}

/* ---- Rotation ---- */

/* "/x/openrun.json" is "/x/openrun" and ".json". */
static void split_path(struct str path, struct str *stem, struct str *ext)
{
    *ext = path_ext(path);
    *stem = str_slice(path, 0, path.len - ext->len);
}

/* Text of `ns` as it stands in a rotated file's name: sorts by time. */
static void stamp(int64_t ns, char out[32])
{
    struct time_fields t;
    time_split(ns, &t);
    snprintf(out, 32, "%04d-%02d-%02dT%02d-%02d-%02d.%03d", t.year % 10000, t.month, t.day, t.hour, t.minute, t.second,
             t.nsec / 1000000);
}

static bool is_stamp(struct str s)
{
    static const char form[] = "dddd-dd-ddTdd-dd-dd.ddd";
    if (s.len != sizeof form - 1)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (form[i] == 'd' ? s.ptr[i] < '0' || s.ptr[i] > '9' : s.ptr[i] != form[i])
            return false;
    return true;
}

static int newest_first(const void *x, const void *y)
{
    return -str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void remove_old(const struct log_file *f)
{
    if (f->opts.max_backups <= 0)
        return;
    scoped_arena a = {0};
    scoped_err ignored = {0}; /* what cannot be removed now is tried at the next rotation */
    struct str stem, ext, dir = path_dir(f->path);
    split_path(path_base(f->path), &stem, &ext);
    struct str prefix = str_cat(&a, stem, STR("-"));
    struct str_list found = {0};
    struct fs_items all = {0};
    fs_list(&a, dir, SIZE_MAX, &all, &ignored);
    vec_foreach(e, &all)
    {
        struct str name = e->name;
        if (e->info.kind == FS_FILE && name.len > prefix.len + ext.len && str_starts(name, prefix) &&
            str_ends(name, ext) && is_stamp(str_slice(name, prefix.len, name.len - ext.len)))
            str_list_add(&a, &found, name);
    }
    if (found.len > 1)
        qsort(found.items, found.len, sizeof found.items[0], newest_first);
    for (size_t i = (size_t)f->opts.max_backups; i < found.len; i++)
        fs_remove(path_join(&a, dir, found.items[i]), &ignored);
}

static bool open_file(struct log_file *f, struct err *err)
{
    int fd = fs_open(f->path, O_WRONLY | O_APPEND | O_CREAT, 0644, err);
    if (fd < 0)
        return false;
    struct stat st;
    f->size = fstat(fd, &st) == 0 ? st.st_size : 0;
    f->fd = fd;
    return true;
}

static void complain(struct log_file *f, const char *msg)
{
    if (!f->complained && !f->is_borrowed)
        fprintf(stderr, "openrun: log " STR_FMT ": %s\n", STR_ARG(f->path), msg);
    f->complained = true;
}

static void rotate(struct log_file *f)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str stem, ext, backup;
    split_path(f->path, &stem, &ext);
    /* Names must sort in the order of rotation, also when two are in the same millisecond or the clock was
     * set back: the oldest names are the ones that are removed. */
    int64_t ns = MAX(wall_ns(), f->last_backup_ns + 1000000);
    for (;; ns += 1000000) {
        char text[32];
        stamp(ns, text);
        backup = str_printf(&a, STR_FMT "-%s" STR_FMT, STR_ARG(stem), text, STR_ARG(ext));
        if (!fs_exists(backup))
            break;
    }
    f->last_backup_ns = ns;
    if (rename(str_z(&a, f->path), str_z(&a, backup)) < 0) {
        complain(f, "cannot be rotated");
        f->size = 0; /* goes on in the old file, and tries again after as many bytes */
        return;
    }
    close(f->fd);
    f->fd = -1;
    if (!open_file(f, &err))
        complain(f, err_msg(&err));
    remove_old(f);
}

/* ---- The writer ---- */

static void write_out(struct log_file *f, struct str bytes)
{
    scoped_err err = {0};
    if (f->fd < 0)
        err_set(&err, ERR_INTERNAL, "not open");
    else if (fs_write_fd(f->fd, bytes, &err)) {
        f->size += (int64_t)bytes.len;
        f->complained = false;
        return;
    }
    atomic_fetch_add(&f->dropped, count_lines(bytes));
    complain(f, err_msg(&err));
}

/* How much of `bytes` may be written before a rotation: whole lines; 0: rotate first. */
static size_t fitting(const struct log_file *f, struct str bytes)
{
    if (f->opts.max_size <= 0 || f->is_borrowed)
        return bytes.len;
    int64_t room = f->opts.max_size - f->size;
    if (room >= (int64_t)bytes.len)
        return bytes.len;
    size_t end = room > 0 ? str_rchr(str_slice(bytes, 0, (size_t)room), '\n') : STR_NPOS;
    if (end != STR_NPOS)
        return end + 1;
    if (f->size > 0)
        return 0;
    /* A single line over the limit has a file of its own. */
    size_t first = str_chr(bytes, '\n');
    return first == STR_NPOS ? bytes.len : first + 1;
}

static void write_lines(struct log_file *f, struct str lines)
{
    if (f->fd < 0) {
        scoped_err ignored = {0};
        open_file(f, &ignored);
    }
    while (lines.len > 0) {
        size_t n = fitting(f, lines);
        if (n == 0) {
            rotate(f);
            continue;
        }
        write_out(f, str_slice(lines, 0, n));
        lines = str_from_off(lines, n);
    }
}

static void report_drops(struct log_file *f)
{
    uint64_t dropped = atomic_load(&f->dropped);
    if (dropped == f->reported)
        return;
    char now[TIME_TEXT_MAX], line[256];
    time_format_rfc3339(now, wall_ns());
    unsigned long long lines = dropped - f->reported;
    int n;
    if (f->is_borrowed)
        n = snprintf(line, sizeof line, "%s WARN  log lines were dropped lines=%llu\n", now, lines);
    else
        n = snprintf(line, sizeof line,
                     "{\"level\":\"WARN\",\"caller\":\"base/log_file.c:%d\",\"lines\":%llu,\"time\":\"%s\","
                     "\"message\":\"log lines were dropped\"}\n",
                     __LINE__, lines, now);
    f->reported = dropped;
    write_lines(f, str_of(line, (size_t)n));
    /* If this line went the same way, there is nobody to tell. */
    f->reported = MAX(f->reported, atomic_load(&f->dropped));
}

/* Waits until there is a batch to write; false at the end. Under lock. */
static bool wait_for_batch(struct log_file *f)
{
    while (f->pending.len == 0) {
        if (f->closing)
            return false;
        pthread_cond_wait(&f->more, &f->lock);
    }
    int64_t until_ns = clock_ns() + GATHER_MS * 1000000LL;
    while (!f->closing && f->flushers == 0 && f->pending.len < MIN(GATHER_BYTES, f->pending.max / 2))
        if (!cond_wait_until(&f->more, &f->lock, until_ns))
            break;
    return true;
}

static void *writer_main(void *arg)
{
    struct log_file *f = arg;
    pthread_setname_np(pthread_self(), "log-writer");
    scoped_buf batch = BUF_INIT(f->pending.max);
    pthread_mutex_lock(&f->lock);
    while (wait_for_batch(f)) {
        struct buf empty = batch;
        batch = f->pending;
        f->pending = empty;
        pthread_mutex_unlock(&f->lock);
        write_lines(f, buf_str(&batch));
        report_drops(f);
        size_t n = batch.len;
        buf_clear(&batch);
        pthread_mutex_lock(&f->lock);
        f->done += n;
        pthread_cond_broadcast(&f->written);
        if (f->pending.len == 0) { /* little is logged now */
            buf_release(&f->pending);
            buf_release(&batch);
        }
    }
    pthread_mutex_unlock(&f->lock);
    report_drops(f);
    return NULL;
}

/* ---- The callers' side ---- */

static void free_file(struct log_file *f)
{
    if (f->fd >= 0 && !f->is_borrowed)
        close(f->fd);
    pthread_cond_destroy(&f->more);
    pthread_cond_destroy(&f->written);
    pthread_mutex_destroy(&f->lock);
    buf_release(&f->pending);
    arena_release(&f->arena);
    free(f);
}

static struct log_file *new_file(size_t queue_max)
{
    struct log_file *f = xcalloc(1, sizeof *f);
    f->fd = -1;
    buf_init(&f->pending, queue_max > 0 ? queue_max : QUEUE_MAX);
    pthread_cond_init(&f->more, NULL);
    pthread_cond_init(&f->written, NULL);
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

static int start_writer(struct log_file *f)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&f->thread, NULL, writer_main, f);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e;
}

struct log_file *log_file_open(struct str path, const struct log_file_opts *opts, struct err *err)
{
    struct log_file *f = new_file(opts->queue_max);
    f->opts = *opts;
    f->path = str_dup(&f->arena, path);
    if (!open_file(f, err)) {
        free_file(f);
        return NULL;
    }
    int e = start_writer(f);
    if (e != 0) {
        err_set_errno(err, e, "starting the writer of " STR_FMT, STR_ARG(path));
        free_file(f);
        return NULL;
    }
    return f;
}

struct log_file *log_file_open_fd(int fd, size_t queue_max)
{
    struct log_file *f = new_file(queue_max);
    f->fd = fd;
    f->is_borrowed = true;
    int e = start_writer(f);
    if (e != 0)
        BUG("log writer: %s", strerror(e));
    return f;
}

void log_file_write(struct log_file *f, struct str lines)
{
    if (lines.len == 0)
        return;
    pthread_mutex_lock(&f->lock);
    size_t before = f->pending.len;
    bool fits = buf_add_str(&f->pending, lines);
    size_t now = f->pending.len;
    if (fits) {
        f->queued += lines.len;
        size_t enough = MIN(GATHER_BYTES, f->pending.max / 2);
        if (before == 0 || (before < enough && now >= enough))
            pthread_cond_signal(&f->more);
    }
    pthread_mutex_unlock(&f->lock);
    if (!fits)
        atomic_fetch_add(&f->dropped, count_lines(lines));
}

void log_file_flush(struct log_file *f)
{
    pthread_mutex_lock(&f->lock);
    uint64_t target = f->queued;
    f->flushers++;
    pthread_cond_signal(&f->more);
    while (f->done < target)
        pthread_cond_wait(&f->written, &f->lock);
    f->flushers--;
    pthread_mutex_unlock(&f->lock);
}

uint64_t log_file_dropped(const struct log_file *f)
{
    return atomic_load(&f->dropped);
}

void log_file_close(struct log_file *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    free_file(f);
}
