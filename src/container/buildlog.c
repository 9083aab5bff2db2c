/* container/buildlog.c: the output of each app's last build, kept in run/app/<app id>/build.log of the home.
 *
 * One file for an app and its stage, which share images; it goes with the app's run folder. The first line is ours:
 * which build it is, and how many bytes of it are no longer there. A file that gets too long is replaced by one with
 * its newer half, by rename: a reader sees the one or the other, and goes on where it was.
 *
 * Only one build of an app writes: a newer one takes the file over. The list of those that write is guarded by the
 * manager's lock; the file is its writer's.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "service_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOG_MAX = 1 << 20, LOG_KEPT = LOG_MAX / 2, LINE_MAX_BYTES = 16 << 10, HEAD_LEN = 2 * 20 + 8 };

struct build_log {
    struct build_log *next;
    struct str key;                       /* app id */
    struct str path, path_new;            /* NUL-terminated */
    struct arena arena;
    int fd;                               /* -1: writing has failed */
    int64_t id;                           /* wall clock at its begin */
    uint64_t dropped;
    size_t len;                           /* of what the file has after the head */
    atomic_bool is_replaced;              /* a newer build has the file */
};

/* Stage and production build the same images. */
static struct str key_of(struct arena *a, struct str app_id)
{
    return str_starts(app_id, STR("app_stg_")) ? str_cat(a, STR("app_prd_"), str_from_off(app_id, strlen("app_stg_")))
                                               : str_dup(a, app_id);
}

static struct str path_of(const struct ctr_manager *m, struct arena *a, struct str key)
{
    return path_join(a, str_from(m->home), STR("run/app"), key, STR("build.log"));
}

/* A new file with this content takes the place of the old one. */
static bool replace(struct build_log *l, struct str content, struct err *err)
{
    char head[HEAD_LEN + 1];
    snprintf(head, sizeof head, "build %020lld %020llu\n", (long long)l->id, (unsigned long long)l->dropped);
    scoped_fd int fd = open(l->path_new.ptr, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, STR_FMT, STR_ARG(l->path_new));
    if (!fs_write_fd(fd, str_of(head, HEAD_LEN), err) || !fs_write_fd(fd, content, err))
        return false;
    if (rename(l->path_new.ptr, l->path.ptr) < 0)
        return err_set_errno(err, errno, STR_FMT, STR_ARG(l->path));
    if (l->fd >= 0)
        close(l->fd);
    l->fd = fd;
    fd = -1;
    l->len = content.len;
    return true;
}

static void give_up(struct build_log *l, const struct err *err)
{
    log_warn("keeping the output of a build", LOG_STR("file", l->path), LOG_ERR(err));
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

struct build_log *build_log_open(struct ctr_manager *m, struct str app_id)
{
    struct build_log *l = xcalloc(1, sizeof *l);
    scoped_err err = {0};
    l->fd = -1;
    l->id = wall_ns();
    l->key = key_of(&l->arena, app_id);
    l->path = str_from(str_z(&l->arena, path_of(m, &l->arena, l->key)));
    l->path_new = str_printf(&l->arena, STR_FMT ".new", STR_ARG(l->path));
    pthread_mutex_lock(&m->lock);
    for (struct build_log *other = m->build_logs; other; other = other->next)
        if (str_eq(other->key, l->key))
            atomic_store(&other->is_replaced, true);
    l->next = m->build_logs;
    m->build_logs = l;
    pthread_mutex_unlock(&m->lock);
    if (!fs_mkdir_p(path_dir(l->path), 0700, &err) || !replace(l, (struct str){0}, &err))
        give_up(l, &err);
    return l;
}

/* Keeps the newer half, from a line's begin. */
static bool shorten(struct build_log *l, struct err *err)
{
    scoped_arena a = {0};
    char *kept = arena_alloc(&a, LOG_KEPT);
    ssize_t n = pread(l->fd, kept, LOG_KEPT, (off_t)(HEAD_LEN + l->len - LOG_KEPT));
    if (n < 0)
        return err_set_errno(err, errno, STR_FMT, STR_ARG(l->path));
    struct str text = str_of(kept, (size_t)n);
    size_t end = str_chr(text, '\n');
    text = str_from_off(text, end == STR_NPOS ? 0 : end + 1);
    l->dropped += l->len - text.len;
    return replace(l, text, err);
}

void build_log_line(struct build_log *l, struct str line)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    if (l->fd < 0 || atomic_load(&l->is_replaced))
        return;
    struct str text = str_cat(&a, str_slice(line, 0, LINE_MAX_BYTES), STR("\n"));
    bool ok = fs_write_fd(l->fd, text, &err);
    l->len += text.len;
    if (!ok || (l->len > LOG_MAX && !shorten(l, &err)))
        give_up(l, &err);
}

void build_log_close(struct ctr_manager *m, struct build_log *l)
{
    pthread_mutex_lock(&m->lock);
    struct build_log **at = &m->build_logs;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    pthread_mutex_unlock(&m->lock);
    if (l->fd >= 0)
        close(l->fd);
    arena_release(&l->arena);
    free(l);
}

static bool is_running(struct ctr_manager *m, struct str key)
{
    bool found = false;
    pthread_mutex_lock(&m->lock);
    for (const struct build_log *l = m->build_logs; l && !found; l = l->next)
        found = str_eq(l->key, key);
    pthread_mutex_unlock(&m->lock);
    return found;
}

bool ctr_build_log_read(struct ctr_manager *m, struct arena *a, struct str app_id, struct str from,
                        struct ctr_build_output *out, struct err *err)
{
    struct str key = key_of(a, app_id), text, head, id, dropped_text, at_id, at_text;
    uint64_t dropped = 0, at = 0;
    scoped_err own = {0};
    /* Looked at first: a build that ends in between has written all that is read then. */
    bool running = is_running(m, key);
    if (!fs_read_all(a, path_of(m, a, key), 2 * LOG_MAX, &text, &own)) {
        *out = (struct ctr_build_output){.is_running = running};
        return own.code == ERR_NOT_FOUND || err_move(err, &own);
    }
    if (!str_cut(text, '\n', &head, &text) || !str_starts(head, STR("build ")) ||
        !str_cut(str_from_off(head, strlen("build ")), ' ', &id, &dropped_text) || !str_to_u64(dropped_text, &dropped))
        return err_set(err, ERR_INTERNAL, "the build log of %.*s is damaged", STR_ARG(key));
    if (running) {
        size_t end = str_rchr(text, '\n');
        text = str_slice(text, 0, end == STR_NPOS ? 0 : end + 1);
    }
    uint64_t end = dropped + text.len;
    if (str_cut(from, ':', &at_id, &at_text) && str_eq(at_id, id) && str_to_u64(at_text, &at))
        text = str_from_off(text, at > end ? text.len : at > dropped ? (size_t)(at - dropped) : 0);
    *out = (struct ctr_build_output){
        .text = text,
        .next = str_printf(a, STR_FMT ":%llu", STR_ARG(id), (unsigned long long)end),
        .is_running = running,
        .exists = true,
    };
    return true;
}
