/* server/leftovers.c: files in the home that nobody needs any more: of operations that a server's death cut short, of
 * versions that are superseded, of jobs that are no more.
 * SPDX-License-Identifier: Apache-2.0 */
#include "job.h"
#include "server_int.h"

enum { ENTRIES_MAX = 100000 };

static struct fs_items list_dir(struct arena *a, struct str dir)
{
    scoped_err err = {0};
    struct fs_items all = {0};
    if (!fs_list(a, dir, ENTRIES_MAX, &all, &err))
        log_warn("looking for what the last server left", LOG_ERR(&err));
    return all;
}

static void remove_one(struct str path, const char *what)
{
    scoped_err err = {0};
    if (fs_remove_tree(path, &err))
        log_info(what, LOG_STR("path", path));
    else
        log_warn(what, LOG_STR("path", path), LOG_ERR(&err));
}

void leftovers_empty_tmp(struct server *s)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    if (!fs_remove_tree(path_join(&a, s->home->dir, STR(HOME_TMP_DIR)), &err))
        log_warn("emptying run/tmp", LOG_ERR(&err));
}

/* --- run/app: what a load or a build was at when the server died --- */

static bool is_unfinished(struct str name)
{
    return str_starts(name, STR("build-")) || str_find(name, STR(".tmp-")) != STR_NPOS;
}

static void clean_app(struct arena *a, struct str dir, int64_t before_ns)
{
    static const char *const folders[] = {"", "secret", "bind", "static"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        struct fs_items all = list_dir(a, path_join(a, dir, str_from(folders[i])));
        vec_foreach (e, &all)
            if (e->info.mtime_ns < before_ns && is_unfinished(e->name))
                remove_one(e->path, "removed what an unfinished build or load has left");
    }
}

static bool read_ids(struct server *s, struct arena *a, struct map *ids, struct err *err)
{
    struct store_app_list all = {0};
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx || !store_app_list(tx, a, STORE_APPS_BRIEF, &all, err))
        return false;
    vec_foreach (app, &all)
        map_set(ids, app->id, app);
    return true;
}

void leftovers_clean(struct server *s)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct map ids;
    map_init(&ids, &a);
    /* The folders first: those of apps that are made meanwhile are new. */
    struct fs_items apps = list_dir(&a, path_join(&a, s->home->dir, STR("run/app")));
    if (!read_ids(s, &a, &ids, &err)) {
        log_warn("looking for what the last server left", LOG_ERR(&err));
        return;
    }
    vec_foreach (e, &apps) {
        scoped_arena own = {0};
        bool is_known = map_get(&ids, e->name) != NULL;
        if (is_known && e->info.kind == FS_DIR)
            clean_app(&own, e->path, s->started_ns);
        else if (!is_known && e->info.mtime_ns < s->started_ns)
            remove_one(e->path, "removed the files of an app that is gone");
    }
}

/* --- now and then --- */

void leftovers_sweep(struct server *s)
{
    scoped_err err = {0};
    if (!app_sweep_files(&s->env, &err))
        log_warn("sweeping files of superseded versions", LOG_ERR(&err));
    job_table_sweep(s->job_table, wall_ns());
}
