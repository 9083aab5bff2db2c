/* plugin/kept.c: what calls make that lasts as long as the request: output whose text values share, and files.
 *
 * Files are named by their server's process id, so that the next server can tell which ones nobody will remove any more.
 * SPDX-License-Identifier: Apache-2.0 */
#include "id.h"
#include "log.h"
#include "plugin_int.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_PREFIX "openrun-exec-stdout-"

enum { FILES_MAX = 100 /* of one request */ };

struct plugin_kept {
    struct plugin_kept *next;
    struct buf buf;
    char path[]; /* of a file; empty: `buf` counts */
};

static struct plugin_kept *kept_new(struct plugin_request *r, struct str path)
{
    struct plugin_kept *k = xcalloc(1, sizeof *k + path.len + 1);
    if (path.len > 0)
        memcpy(k->path, path.ptr, path.len);
    k->next = r->kept;
    r->kept = k;
    return k;
}

size_t plugin_keep_room(const struct plugin_request *r)
{
    size_t used = 0;
    for (const struct plugin_kept *k = r->kept; k; k = k->next)
        used += k->buf.len;
    return used < PLUGIN_KEPT_MAX ? PLUGIN_KEPT_MAX - used : 0;
}

void plugin_keep_buf(struct plugin_request *r, struct buf *b)
{
    kept_new(r, (struct str){0})->buf = *b;
    buf_init(b, 0);
}

bool plugin_keep_file(struct plugin_request *r, struct arena *a, struct str dir, struct str *path, struct err *err)
{
    size_t n = 0;
    for (const struct plugin_kept *k = r->kept; k; k = k->next)
        n += k->path[0] != '\0';
    if (n >= FILES_MAX)
        return err_set(err, ERR_TOO_LARGE, "this request has made %d files already", FILES_MAX);
    *path = path_join(a, dir, str_printf(a, FILE_PREFIX "%ld-" STR_FMT, (long)getpid(), STR_ARG(id_ksuid(a))));
    kept_new(r, *path);
    return true;
}

void plugin_kept_free(struct plugin_kept *k)
{
    for (struct plugin_kept *next; k; k = next) {
        scoped_err err = {0};
        if (k->path[0] && !fs_remove(str_from(k->path), &err))
            log_warn("removing a file of output", LOG_ERR(&err));
        buf_release(&k->buf);
        next = k->next;
        free(k);
    }
}

struct plugin_kept *plugin_request_files(struct plugin_request *r)
{
    struct plugin_kept *files = NULL, **at = &r->kept;
    while (*at) {
        struct plugin_kept *k = *at;
        if (!k->path[0]) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        k->next = files;
        files = k;
    }
    return files;
}

void plugin_request_release(struct plugin_request *r)
{
    plugin_stream_free(r->stream);
    plugin_kept_free(r->kept);
    r->stream = NULL;
    r->kept = NULL;
}

/* Its server has ended, or had our process id before us, as happens in containers. */
static bool is_left_over(struct str name)
{
    struct str pid;
    uint64_t n;
    if (!str_starts(name, STR(FILE_PREFIX)) || !str_cut(str_from_off(name, strlen(FILE_PREFIX)), '-', &pid, NULL) ||
        !str_to_u64(pid, &n) || n == 0 || n > INT32_MAX)
        return false;
    return n == (uint64_t)getpid() || (kill((pid_t)n, 0) < 0 && errno == ESRCH);
}

void plugin_clean_files(struct str output_dir)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct fs_items all = {0};
    bool ok = fs_list(&a, output_dir, SIZE_MAX, &all, &err);
    for (size_t i = 0; i < all.len && ok; i++)
        if (all.items[i].info.kind != FS_DIR && is_left_over(all.items[i].name))
            ok = fs_remove(all.items[i].path, &err);
    if (!ok)
        log_warn("removing files of output that an earlier server has left", LOG_ERR(&err));
}
