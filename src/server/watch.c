/* server/watch.c: see watch.h.
 *
 *     event in a folder --ignored?--> timer (debounce) --> job: deploy_dev_reload() --> done --again, if something came--'
 *
 * A root folder that goes (another branch is checked out, it is renamed, removed and made again) takes all that is followed
 * with it: then its path is looked at until a folder is there again.
 *
 * 1. `wanted`, `done`, `running` and `is_closing` are under the lock; everything else of an app is the thread's.
 * 2. An app's record goes when nobody wants it, its handles are closed and no job runs for it.
 * 3. The async handle is told only under the lock and before `is_closing`: afterwards it may be gone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include "server_int.h"
#include "source.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <uv.h>

enum { FOLDERS_MAX = 4096, DEPTH_MAX = 64, PATTERNS_MAX = 256, DEBOUNCE_MAX_MS = 60000, PATIENCE = 10, LOOK_MS = 300 };

/* A dev app as the site has it. */
struct want {
    char *id, *place, *root;   /* app id; [domain:]path; absolute folder */
};

/* A folder that is followed. Freed when its handle is closed. */
struct folder {
    uv_fs_event_t handle;
    struct watched *app;
    struct folder *next;
    char rel[];                /* below the root; "" for the root */
};

struct watched {
    struct watched *next;
    struct watch *watch;
    struct want what;
    struct folder *folders;
    size_t n_folders;
    uv_timer_t timer, look;    /* before a reload; for a root that is not there */
    uint64_t first_ms;         /* loop time of the first event that has not been answered; 0: none */
    unsigned handles;          /* open or closing */
    char seen[APP_DEV_SEEN];   /* app_dev_refresh()'s; a job has a copy meanwhile */
    bool is_running, is_pending, is_gone, has_warned;
};

struct job {
    struct watch *watch;
    struct job *next;          /* in `done` */
    char *id, *place, seen[APP_DEV_SEEN];
};

struct watch {
    struct server *server;
    struct arena arena;
    struct src_glob **ignored; /* [n_ignored] */
    size_t n_ignored;
    uint64_t debounce_ms;
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    atomic_bool cancel;        /* of the reloads */
    pthread_mutex_t lock;
    pthread_cond_t ended;      /* `running` has become less */
    struct want *wanted;       /* [n_wanted], while has_wanted */
    size_t n_wanted;
    bool has_wanted, is_closing;
    struct job *done;
    unsigned running;
    struct watched *apps;      /* the thread's */
};

/* --- what is followed ------------------------------------------------------------------------------- */

static void want_release(struct want *w)
{
    free(w->id);
    free(w->place);
    free(w->root);
}

static bool is_ignored(const struct watch *w, struct str rel)
{
    for (size_t i = 0; i < w->n_ignored; i++)
        if (src_glob_match(w->ignored[i], rel))
            return true;
    return false;
}

/* A folder also when everything in it is. */
static bool is_ignored_folder(const struct watch *w, struct str rel)
{
    scoped_arena a = {0};
    return is_ignored(w, rel) || is_ignored(w, str_cat(&a, rel, STR("/.")));
}

static void free_if_gone(struct watched *app)
{
    if (!app->is_gone || app->handles > 0 || app->is_running)
        return;
    struct watched **at = &app->watch->apps;
    while (*at != app)
        at = &(*at)->next;
    *at = app->next;
    want_release(&app->what);
    free(app);
}

static void on_folder_closed(uv_handle_t *handle)
{
    struct folder *f = CONTAINER_OF((uv_fs_event_t *)handle, struct folder, handle);
    struct watched *app = f->app;
    free(f);
    app->handles--;
    free_if_gone(app);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct watched *app = handle->data;
    app->handles--;
    free_if_gone(app);
}

/* Stops following `rel` and what is below it. */
static void drop_folders(struct watched *app, struct str rel)
{
    for (struct folder **at = &app->folders; *at;) {
        struct folder *f = *at;
        struct str own = str_from(f->rel);
        bool is_below = rel.len == 0 || str_eq(own, rel) ||
                        (own.len > rel.len && str_starts(own, rel) && own.ptr[rel.len] == '/');
        if (!is_below) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        app->n_folders--;
        uv_close((uv_handle_t *)&f->handle, on_folder_closed);
    }
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status);

static void warn_once(struct watched *app, const char *why)
{
    if (!app->has_warned)
        log_warn("not all of a dev app's source is watched for changes", LOG_Z("folder", app->what.root), LOG_Z("why", why));
    app->has_warned = true;
}

static bool add_folder(struct watched *app, struct str rel, struct str path)
{
    struct folder *f = xcalloc(1, sizeof *f + rel.len + 1);
    scoped_arena a = {0};
    memcpy(f->rel, rel.ptr ? rel.ptr : "", rel.len);
    f->app = app;
    uv_fs_event_init(&app->watch->loop, &f->handle);
    app->handles++;
    int failure = uv_fs_event_start(&f->handle, on_event, str_z(&a, path), 0);
    if (failure < 0) {
        if (failure != UV_ENOENT)
            warn_once(app, uv_strerror(failure));
        uv_close((uv_handle_t *)&f->handle, on_folder_closed);
        return false;
    }
    f->next = app->folders;
    app->folders = f;
    app->n_folders++;
    return true;
}

/* Follows `rel` and all folders below it. Links are not followed: what they lead to is not the source. */
static void add_folders(struct watched *app, struct str rel, int depth)
{
    scoped_arena a = {0};
    struct str path = path_join(&a, str_from(app->what.root), rel);
    if (rel.len > 0 && is_ignored_folder(app->watch, rel))
        return;
    if (app->n_folders >= FOLDERS_MAX || depth > DEPTH_MAX) {
        warn_once(app, "too many folders");
        return;
    }
    if (!add_folder(app, rel, path))
        return;
    DIR *dir = opendir(str_z(&a, path));
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        struct str name = str_from(entry->d_name);
        if (str_eq(name, STR(".")) || str_eq(name, STR("..")))
            continue;
        bool is_dir = entry->d_type == DT_DIR;
        if (entry->d_type == DT_UNKNOWN)
            is_dir = fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
        if (is_dir)
            add_folders(app, path_join(&a, rel, name), depth + 1);
    }
    closedir(dir);
}

/* --- reloads ---------------------------------------------------------------------------------------- */

static void job_free(struct job *j)
{
    free(j->id);
    free(j->place);
    free(j);
}

static void reload_job(void *arg)
{
    struct job *j = arg;
    struct watch *w = j->watch;
    struct deploy_caller who = {.user_id = STR("admin"), .cancel = &w->cancel};
    scoped_err err = {0};
    int64_t begin = clock_ms();
    if (deploy_dev_reload(w->server->deploy, &who, str_from(j->place), j->seen, &err))
        log_info("dev app reloaded", LOG_Z("app", j->place), LOG_INT("ms", clock_ms() - begin));
    else if (err.code != ERR_CANCELLED)
        log_warn("dev app failed to reload", LOG_Z("app", j->place), LOG_ERR(&err));
    pthread_mutex_lock(&w->lock);
    j->next = w->done;
    w->done = j;
    w->running--;
    if (!w->is_closing)
        uv_async_send(&w->wake);
    pthread_cond_broadcast(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

static void reload(struct watched *app)
{
    struct watch *w = app->watch;
    if (app->is_running) {
        app->is_pending = true;
        return;
    }
    struct job *j = xcalloc(1, sizeof *j);
    *j = (struct job){.watch = w, .id = xstrdup(app->what.id), .place = xstrdup(app->what.place)};
    memcpy(j->seen, app->seen, sizeof j->seen);
    app->seen[0] = '\0';
    pthread_mutex_lock(&w->lock);
    app->is_running = !w->is_closing && jobs_submit(w->server->jobs, reload_job, j);
    w->running += app->is_running;
    pthread_mutex_unlock(&w->lock);
    if (!app->is_running)
        job_free(j);
}

static void on_quiet(uv_timer_t *timer)
{
    struct watched *app = CONTAINER_OF(timer, struct watched, timer);
    app->first_ms = 0;
    reload(app);
}

/* Waits until nothing has come for a while, but not for ever. */
static void changed(struct watched *app)
{
    struct watch *w = app->watch;
    uint64_t now = uv_now(&w->loop);
    if (app->first_ms == 0)
        app->first_ms = MAX(now, (uint64_t)1);
    if (!uv_is_active((uv_handle_t *)&app->timer) || now - app->first_ms < w->debounce_ms * PATIENCE)
        uv_timer_start(&app->timer, on_quiet, w->debounce_ms, 0);
}

static void follow_root(struct watched *app);

static void on_look(uv_timer_t *timer)
{
    struct watched *app = timer->data;
    if (!fs_is_dir(str_from(app->what.root)))
        return;
    uv_timer_stop(timer);
    follow_root(app);
    app->seen[0] = APP_DEV_NEW_ROOT;
    changed(app);
}

/* Anew, or once it is there. */
static void follow_root(struct watched *app)
{
    drop_folders(app, (struct str){0});
    add_folders(app, (struct str){0}, 0);
    if (app->n_folders == 0)
        uv_timer_start(&app->look, on_look, LOOK_MS, LOOK_MS);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct folder *f = CONTAINER_OF(handle, struct folder, handle);
    struct watched *app = f->app;
    scoped_arena a = {0};
    struct stat st;
    if (status < 0 || !name) {
        changed(app);
        return;
    }
    /* What happens to the folder itself comes with its own name, as if it had a thing of that name in it. */
    if (f->rel[0] == '\0' && (events & UV_RENAME) && str_eq_z(path_base(str_from(app->what.root)), name)) {
        follow_root(app);
        app->seen[0] = APP_DEV_NEW_ROOT;
        changed(app);
        return;
    }
    struct str rel = path_join(&a, str_from(f->rel), str_from(name));
    if (is_ignored(app->watch, rel))
        return;
    bool exists = lstat(str_z(&a, path_join(&a, str_from(app->what.root), rel)), &st) == 0;
    if (exists && S_ISDIR(st.st_mode) && is_ignored_folder(app->watch, rel))
        return;
    if (!exists || S_ISDIR(st.st_mode))
        drop_folders(app, rel); /* `f` may be among them: only closed, not freed */
    if (exists && S_ISDIR(st.st_mode))
        add_folders(app, rel, 1);
    changed(app);
}

/* --- the thread --------------------------------------------------------------------------------------- */

static void let_go(struct watched *app)
{
    if (app->is_gone)
        return;
    app->is_gone = true;
    drop_folders(app, (struct str){0});
    uv_close((uv_handle_t *)&app->timer, on_timer_closed);
    uv_close((uv_handle_t *)&app->look, on_timer_closed);
}

static struct watched *find_app(struct watch *w, const char *id)
{
    for (struct watched *app = w->apps; app; app = app->next)
        if (!app->is_gone && strcmp(app->what.id, id) == 0)
            return app;
    return NULL;
}

static bool is_same(const struct want *x, const struct want *y)
{
    return strcmp(x->id, y->id) == 0 && strcmp(x->root, y->root) == 0 && strcmp(x->place, y->place) == 0;
}

/* Takes over what is in `wanted`. */
static void take_wanted(struct watch *w, struct want *wanted, size_t n)
{
    for (struct watched *app = w->apps, *next; app; app = next) {
        bool found = false;
        next = app->next;
        for (size_t i = 0; i < n && !found; i++)
            found = is_same(&app->what, &wanted[i]);
        if (!found)
            let_go(app);
    }
    for (size_t i = 0; i < n; i++) {
        if (find_app(w, wanted[i].id)) {
            want_release(&wanted[i]);
            continue;
        }
        struct watched *app = xcalloc(1, sizeof *app);
        app->watch = w;
        app->what = wanted[i];
        app->handles = 2;
        uv_timer_init(&w->loop, &app->timer);
        uv_timer_init(&w->loop, &app->look);
        app->timer.data = app->look.data = app;
        app->next = w->apps;
        w->apps = app;
        follow_root(app);
    }
    free(wanted);
}

static void take_done(struct watch *w, struct job *done)
{
    while (done) {
        struct job *next = done->next;
        struct watched *app = w->apps;
        while (app && !(app->is_running && strcmp(app->what.id, done->id) == 0))
            app = app->next;
        if (app && app->seen[0] != APP_DEV_NEW_ROOT)
            memcpy(app->seen, done->seen, sizeof app->seen);
        job_free(done);
        done = next;
        if (!app)
            continue;
        bool again = app->is_pending && !app->is_gone;
        app->is_running = app->is_pending = false;
        if (again)
            reload(app);
        free_if_gone(app);
    }
}

static void on_wake(uv_async_t *async)
{
    struct watch *w = CONTAINER_OF(async, struct watch, wake);
    pthread_mutex_lock(&w->lock);
    struct want *wanted = w->wanted;
    size_t n = w->n_wanted;
    bool has_wanted = w->has_wanted, is_closing = w->is_closing;
    struct job *done = w->done;
    w->wanted = NULL;
    w->n_wanted = 0;
    w->has_wanted = false;
    w->done = NULL;
    pthread_mutex_unlock(&w->lock);
    take_done(w, done);
    if (has_wanted)
        take_wanted(w, wanted, n);
    if (!is_closing)
        return;
    for (struct watched *app = w->apps, *next; app; app = next) {
        next = app->next;
        let_go(app);
    }
    uv_close((uv_handle_t *)&w->wake, NULL);
}

static void *run(void *arg)
{
    struct watch *w = arg;
    uv_run(&w->loop, UV_RUN_DEFAULT); /* until on_wake() has closed everything */
    return NULL;
}

/* --- for the server ------------------------------------------------------------------------------------ */

static bool read_patterns(struct watch *w, struct err *err)
{
    struct str_list patterns = config_list(&w->server->config, &w->arena, "system.watch_ignore_patterns");
    if (patterns.len > PATTERNS_MAX)
        return err_set(err, ERR_INVALID, "system.watch_ignore_patterns has more than %d patterns", PATTERNS_MAX);
    w->ignored = arena_array(&w->arena, struct src_glob *, patterns.len + 1);
    vec_foreach(p, &patterns)
    {
        struct src_glob *g = src_glob_compile(&w->arena, *p, err);
        if (!g)
            return err_wrap(err, "system.watch_ignore_patterns");
        w->ignored[w->n_ignored++] = g;
    }
    return true;
}

struct watch *watch_open(struct server *s, struct err *err)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->server = s;
    w->debounce_ms =
        (uint64_t)MIN(MAX(config_int(&s->config, "system.file_watcher_debounce_millis"), 1), (int64_t)DEBOUNCE_MAX_MS);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->ended, NULL);
    bool has_loop = false, has_wake = false;
    if (read_patterns(w, err)) {
        has_loop = uv_loop_init(&w->loop) == 0;
        has_wake = has_loop && uv_async_init(&w->loop, &w->wake, on_wake) == 0;
        if (has_wake && pthread_create(&w->thread, NULL, run, w) == 0)
            return w;
        err_set(err, ERR_INTERNAL, "the thread that watches the source of dev apps cannot be started");
    }
    if (has_wake) {
        uv_close((uv_handle_t *)&w->wake, NULL);
        uv_run(&w->loop, UV_RUN_DEFAULT);
    }
    if (has_loop)
        uv_loop_close(&w->loop);
    arena_release(&w->arena);
    free(w);
    return NULL;
}

static char *dup_str(struct str s)
{
    char *z = xmalloc(s.len + 1);
    memcpy(z, s.ptr ? s.ptr : "", s.len);
    z[s.len] = '\0';
    return z;
}

static void release_wanted(struct watch *w)
{
    for (size_t i = 0; i < w->n_wanted; i++)
        want_release(&w->wanted[i]);
    free(w->wanted);
    w->wanted = NULL;
    w->n_wanted = 0;
}

void watch_sync(struct watch *w, const struct site *site)
{
    scoped_arena a = {0};
    struct want *wanted = NULL;
    size_t n = 0, cap = 0;
    if (!w)
        return;
    scoped_err err = {0};
    scoped_store_tx *tx = NULL; /* dev apps are few: most servers never look */
    for (size_t i = 0; i < site_len(site); i++) {
        const struct store_brief *brief = app_slot_entry(site_at(site, i)->slot);
        struct store_app *app = brief->is_dev ? arena_new(&a, struct store_app) : NULL;
        if (!app || (!tx && !(tx = store_read(w->server->store, &err))) ||
            !store_app_get_by_id(tx, &a, brief->id, app, &err) || !path_is_abs(app->source_url)) {
            err_release(&err);
            continue;
        }
        if (n == cap) {
            cap = cap ? cap * 2 : 8;
            wanted = xrealloc(wanted, cap * sizeof *wanted);
        }
        wanted[n++] = (struct want){.id = dup_str(app->id),
                                    .place = dup_str(store_path_domain(&a, app->path, app->domain)),
                                    .root = dup_str(app->source_url)};
    }
    pthread_mutex_lock(&w->lock);
    release_wanted(w);
    w->wanted = wanted;
    w->n_wanted = n;
    w->has_wanted = true;
    if (!w->is_closing)
        uv_async_send(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    atomic_store(&w->cancel, true);
    pthread_mutex_lock(&w->lock);
    w->is_closing = true;
    uv_async_send(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_mutex_lock(&w->lock);
    while (w->running > 0)
        pthread_cond_wait(&w->ended, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void watch_close(struct watch *w)
{
    if (!w)
        return;
    release_wanted(w);
    while (w->done) {
        struct job *next = w->done->next;
        job_free(w->done);
        w->done = next;
    }
    while (w->apps) { /* those whose reload ended after the thread */
        struct watched *app = w->apps;
        w->apps = app->next;
        want_release(&app->what);
        free(app);
    }
    uv_loop_close(&w->loop);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->ended);
    arena_release(&w->arena);
    free(w);
}
