/* app/run_files.c: files that containers mount and that the server has made: rendered secrets and copies of source
 * folders, below run/app/<app id>. Their names hold the hash of their content, so versions share or leave them.
 *
 * One is in use while an app that has named it is loaded, or while a container, running or not, mounts it. Loading names
 * it first and makes it then, and a removal takes the same lock, so nothing goes that somebody is about to mount.
 *
 * The table is the process's, not a server's: its keys are absolute paths.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <pthread.h>
#include <stdlib.h>

enum { SWEEP_MAX = 10000 }; /* at a time */

struct held_path {
    struct held_path *next;
    int count;
    size_t len;
    char path[];
};

static struct {
    pthread_mutex_t lock;
    struct held_path *first; /* few: apps with secrets or copies, that are loaded */
} held = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct held_path **find(struct str path)
{
    struct held_path **at = &held.first;
    while (*at && !str_eq(str_of((*at)->path, (*at)->len), path))
        at = &(*at)->next;
    return at;
}

static void let_go(void *arg)
{
    struct held_path *h = arg;
    pthread_mutex_lock(&held.lock);
    if (--h->count == 0) {
        struct held_path **at = find(str_of(h->path, h->len));
        *at = h->next;
        free(h);
    }
    pthread_mutex_unlock(&held.lock);
}

void run_file_hold(struct arena *a, struct str path)
{
    pthread_mutex_lock(&held.lock);
    struct held_path **at = find(path), *h = *at;
    if (!h) {
        h = xcalloc(1, sizeof *h + path.len + 1);
        h->len = path.len;
        memcpy(h->path, path.ptr, path.len);
        *at = h;
    }
    h->count++;
    pthread_mutex_unlock(&held.lock);
    arena_defer(a, let_go, h);
}

/* False if it is held. */
static bool remove_unless_held(struct str path)
{
    scoped_err err = {0};
    pthread_mutex_lock(&held.lock);
    bool is_free = !*find(path);
    bool ok = is_free && fs_remove_tree(path, &err);
    pthread_mutex_unlock(&held.lock);
    if (ok)
        log_info("removed a file of a superseded version", LOG_STR("path", path));
    else if (is_free)
        log_warn("removing a file of a superseded version", LOG_STR("path", path), LOG_ERR(&err));
    return ok;
}

static bool is_held(struct str path)
{
    pthread_mutex_lock(&held.lock);
    bool found = *find(path) != NULL;
    pthread_mutex_unlock(&held.lock);
    return found;
}

/* --- the sweep -------------------------------------------------------------------------------------------- */

/* `at` is "run/app/<id>/<kind>/<name>": what the engine says may have another way to the home before it. */
static bool is_mounted(const struct ctr_info *info, struct str at)
{
    for (size_t i = 0; i < info->n_mounts; i++) {
        struct str source = info->mounts[i].source;
        size_t from = str_find(source, at);
        if (from != STR_NPOS && (from + at.len == source.len || source.ptr[from + at.len] == '/'))
            return true;
    }
    return false;
}

/* Those of the app, with their mounts. False: not known. */
static bool read_containers(struct ctr_engine *e, struct arena *a, struct str app_id, struct ctr_info **out, size_t *n,
                            struct err *err)
{
    struct ctr_info_list list;
    if (!ctr_container_list(e, a, STR(CTR_LABEL_APP_ID), app_id, true, &list, err))
        return false;
    *out = arena_array(a, struct ctr_info, list.len + 1);
    for (*n = 0; *n < list.len; ++*n)
        if (!ctr_container_inspect(e, a, list.items[*n].name, 0, &(*out)[*n], err))
            return false;
    return true;
}

static bool sweep_app(const struct app_env *env, struct str root, struct str app_id, struct err *err)
{
    scoped_arena a = {0};
    static const char *const kinds[] = {"secret", "bind"};
    struct str_list unheld = {0};
    struct ctr_info *containers;
    size_t n = 0, skip = env->home.len + (str_ends(env->home, STR("/")) ? 0 : 1);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct fs_items made = {0};
        if (!fs_list(&a, path_join(&a, root, app_id, str_from(kinds[i])), SWEEP_MAX, &made, err))
            return false;
        vec_foreach(file, &made)
        {
            /* What has another name is on its way to one. */
            bool is_made = str_find(file->name, STR(".tmp-")) == STR_NPOS;
            if (is_made && !is_held(file->path))
                str_list_add(&a, &unheld, file->path);
        }
    }
    if (unheld.len == 0)
        return true;
    if (!read_containers(ctr_manager_engine(env->containers), &a, app_id, &containers, &n, err))
        return false;
    vec_foreach(path, &unheld)
    {
        bool is_used = false;
        for (size_t i = 0; i < n && !is_used; i++)
            is_used = is_mounted(&containers[i], str_from_off(*path, skip));
        if (!is_used)
            remove_unless_held(*path);
    }
    return true;
}

bool app_sweep_files(const struct app_env *env, struct err *err)
{
    scoped_arena a = {0};
    struct fs_items apps = {0};
    struct str root = path_join(&a, env->home, STR("run/app"));
    if (ctr_engine_kind(ctr_manager_engine(env->containers)) == CTR_OFF)
        return true; /* what there is of containers cannot be told */
    bool ok = fs_list(&a, root, SWEEP_MAX, &apps, err);
    for (size_t i = 0; i < apps.len && ok; i++)
        ok = apps.items[i].info.kind != FS_DIR || sweep_app(env, root, apps.items[i].name, err);
    return ok || err_wrap(err, "looking for files that no container uses");
}
