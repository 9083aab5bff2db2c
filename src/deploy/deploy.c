/* deploy/deploy.c: the queue of operations, and how one begins, commits and ends.
 *
 * 1. An app is in at most one running operation: its id is in `busy` from selection to close.
 * 2. An operation takes all its keys at once or waits with none, so operations never wait in a circle.
 * 3. Nothing is written before op_commit(), but contents, which are harmless: a content that no version
 *    refers to is removed by the next clean-up.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum {
    CONTENT_BATCH_BYTES = 8 << 20, /* of contents in one short transaction */
    CLEANUP_BATCH = 500,
};

bool deploy_open(const struct deploy_config *config, struct deploy **out, struct err *err)
{
    struct deploy *d = xcalloc(1, sizeof *d);
    d->config = *config;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->freed, NULL);
    *out = d;
    return true;
}

void deploy_close(struct deploy *d)
{
    if (!d)
        return;
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->freed);
    arena_release(&d->arena);
    free(d);
}

/* --- the queue ------------------------------------------------------------------------------------ */

/* Busy keys are few (apps being changed right now), so a list does. Called with the lock. */
static bool is_busy(const struct deploy *d, struct str key)
{
    return str_list_has(&d->busy, key);
}

static void set_busy(struct deploy *d, struct str key)
{
    if (d->busy.len == d->busy.cap) {
        d->busy.cap = d->busy.cap ? d->busy.cap * 2 : 16;
        d->busy.items = xrealloc(d->busy.items, d->busy.cap * sizeof *d->busy.items);
    }
    char *copy = xmalloc(key.len);
    memcpy(copy, key.ptr, key.len);
    d->busy.items[d->busy.len++] = str_of(copy, key.len);
}

static void clear_busy(struct deploy *d, struct str key)
{
    for (size_t i = 0; i < d->busy.len; i++) {
        if (!str_eq(d->busy.items[i], key))
            continue;
        free((char *)d->busy.items[i].ptr);
        d->busy.items[i] = d->busy.items[--d->busy.len];
        break;
    }
    if (d->busy.len == 0) {
        free(d->busy.items);
        d->busy = (struct str_list){0};
    }
}

/* Takes every key of `keys`, or none of them while one is another's. */
static bool hold_all(struct op *op, const struct str_list *keys, struct err *err)
{
    struct deploy *d = op->deploy;
    bool waited = false, ok = true;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        bool free_now = true;
        vec_foreach (key, keys)
            free_now &= !is_busy(d, *key);
        if (free_now)
            break;
        if (op->who->cancel && atomic_load(op->who->cancel)) {
            ok = err_set(err, ERR_CANCELLED, "cancelled while waiting for another operation on the same app");
            break;
        }
        if (!waited)
            op_say(op, "waiting for another operation on the same app");
        waited = true;
        struct timespec soon; /* wakes up now and then to see a cancel */
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 200000000;
        soon.tv_sec += soon.tv_nsec / 1000000000;
        soon.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&d->freed, &d->lock, &soon);
    }
    if (ok)
        vec_foreach (key, keys) {
            set_busy(d, *key);
            str_list_add(&op->arena, &op->held, *key);
        }
    pthread_mutex_unlock(&d->lock);
    return ok;
}

static void let_go(struct op *op)
{
    struct deploy *d = op->deploy;
    pthread_mutex_lock(&d->lock);
    vec_foreach (key, &op->held)
        clear_busy(d, *key);
    op->held.len = 0;
    pthread_cond_broadcast(&d->freed);
    pthread_mutex_unlock(&d->lock);
}

/* --- an operation ----------------------------------------------------------------------------------- */

void op_open(struct op *op, struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
             const char *audit_name)
{
    *op = (struct op){.deploy = d, .who = who, .opts = o, .audit_name = audit_name};
}

static void entry_close(struct entry *e, bool is_committed)
{
    if (!e->loaded)
        return;
    if (is_committed)
        app_detach_files(e->loaded);
    else
        app_undo_start(e->loaded);
    app_unref(e->loaded);
}

void op_close(struct op *op)
{
    vec_foreach (u, &op->units) {
        entry_close(&(*u)->main, op->is_committed);
        entry_close(&(*u)->stage, op->is_committed);
    }
    src_session_close(op->git);
    let_go(op);
    arena_release(&op->arena);
}

bool op_hold(struct op *op, struct str key, struct err *err)
{
    struct str_list keys = {0};
    str_list_add(&op->arena, &keys, key);
    return hold_all(op, &keys, err);
}

void op_say(const struct op *op, const char *fmt, ...)
{
    scoped_arena a = {0};
    va_list ap;
    va_start(ap, fmt);
    struct str line = str_vprintf(&a, fmt, ap);
    va_end(ap);
    log_info("operation", LOG_Z("name", op->audit_name ? op->audit_name : "read"), LOG_STR("line", line));
    if (op->who->progress)
        op->who->progress(op->who->progress_arg, line);
}

bool op_is_cancelled(const struct op *op, struct err *err)
{
    if (!op->who->cancel || !atomic_load(op->who->cancel))
        return false;
    err_set(err, ERR_CANCELLED, "the operation was cancelled; nothing has been changed");
    return true;
}

static bool match_main(struct op *op, struct store_tx *tx, struct str glob, struct store_app_list *out,
                       struct err *err)
{
    struct src_appglob compiled;
    struct store_app_list all = {0};
    if (!src_appglob_compile(&op->arena, glob, &compiled, err) ||
        !store_app_list(tx, &op->arena, STORE_APPS_MAIN, &all, err))
        return false;
    vec_foreach (app, &all) {
        struct src_apppath at = {.domain = app->domain, .path = app->path};
        if (src_appglob_match(&compiled, &at))
            *vec_push(&op->arena, out) = *app;
    }
    return true;
}

bool op_select(struct op *op, struct str glob, struct err *err)
{
    /* Twice: who matches is read to know what to hold, and the state once it is held. */
    struct store_app_list found = {0}, fresh = {0};
    struct str_list keys = {0};
    scoped_store_tx *look = store_read(op->deploy->config.store, err);
    if (!look || !match_main(op, look, glob, &found, err))
        return false;
    store_rollback(&look);
    vec_foreach (app, &found)
        str_list_add(&op->arena, &keys, app->id);
    if (!hold_all(op, &keys, err))
        return false;
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx || !match_main(op, tx, glob, &fresh, err))
        return false;
    vec_foreach (app, &fresh) {
        if (!str_list_has(&keys, app->id))
            continue; /* created meanwhile: not among what the caller saw */
        struct unit *u;
        if (!unit_read(op, tx, app, &u, err))
            return false;
        *vec_push(&op->arena, &op->units) = u;
    }
    return true;
}

bool op_find(struct op *op, struct str path, struct store_app *out, struct err *err)
{
    struct src_apppath at;
    if (!src_apppath_parse(path, &at, err))
        return false;
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx)
        return false;
    if (store_app_get(tx, &op->arena, at.path, at.domain, out, err))
        return true;
    if (err->code == ERR_NOT_FOUND)
        err_set(err, ERR_NOT_FOUND, "no app at " STR_FMT ": \"openrun app list\" shows those there are", STR_ARG(path));
    return false;
}

/* --- contents ----------------------------------------------------------------------------------------- */

static bool put_batch(struct op *op, const struct store_blob *blobs, size_t n, struct err *err)
{
    if (n == 0)
        return true;
    scoped_store_tx *tx = store_begin(op->deploy->config.store, err);
    if (!tx)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!store_blob_put(tx, &blobs[i], err))
            return false;
    return store_commit(&tx, err);
}

/* Which contents the store lacks, as flags. */
static bool missing_contents(struct op *op, const struct src_files *files, bool *have, struct err *err)
{
    struct str *shas = arena_array(&op->arena, struct str, files->len);
    for (size_t i = 0; i < files->len; i++)
        shas[i] = files->items[i].sha;
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    return tx && store_blobs_have(tx, shas, files->len, have, err);
}

bool op_put_contents(struct op *op, const struct src_files *files, struct err *err)
{
    bool *have = arena_array(&op->arena, bool, files->len);
    if (!missing_contents(op, files, have, err))
        return false;
    scoped_arena batch = {0};
    VEC(struct store_blob) blobs = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < files->len; i++) {
        if (have[i])
            continue;
        struct str data;
        if (op_is_cancelled(op, err) || !src_file_read(&batch, &files->items[i], &data, err) ||
            !store_blob_prepare(&batch, files->items[i].name, data, vec_push(&batch, &blobs), err))
            return false;
        bytes += data.len;
        if (bytes < CONTENT_BATCH_BYTES)
            continue;
        if (!put_batch(op, blobs.items, blobs.len, err))
            return false;
        arena_reset(&batch);
        memset(&blobs, 0, sizeof blobs);
        bytes = 0;
    }
    return put_batch(op, blobs.items, blobs.len, err);
}

/* --- the commit ----------------------------------------------------------------------------------------- */

static bool write_files(struct store_tx *tx, const struct entry *e, struct err *err)
{
    const struct store_app *app = e->app;
    int64_t version = app->metadata.version_metadata.version;
    if (e->is_copied)
        return store_files_copy(tx, e->copy_app, e->copy_version, app->id, version, err);
    for (size_t i = 0; e->files && i < e->files->len; i++) {
        const struct src_file *f = &e->files->items[i];
        struct store_file row = {.name = f->name, .sha = f->sha, .size = (int64_t)f->size};
        if (!store_file_put(tx, app->id, version, &row, err))
            return false;
    }
    return true;
}

static bool write_version(struct op *op, struct store_tx *tx, const struct entry *e, struct err *err)
{
    const struct store_version_metadata *vm = &e->app->metadata.version_metadata;
    struct store_version row = {
        .app_id = e->app->id,
        .version = vm->version,
        .previous_version = vm->previous_version,
        .user_id = op->who->user_id,
        .metadata = e->app->metadata,
    };
    return store_version_put(tx, &row, err);
}

static bool write_entry(struct op *op, struct store_tx *tx, struct entry *e, struct err *err)
{
    if (!e->app || (!e->is_new && !e->is_changed))
        return true;
    if (e->is_new && !store_app_insert(tx, e->app, err))
        return false;
    if (e->has_new_version && (!write_version(op, tx, e, err) || !write_files(tx, e, err)))
        return false;
    return e->is_new || store_app_update(tx, e->app, err);
}

static bool write_all(struct op *op, struct store_tx *tx, struct err *err)
{
    vec_foreach (u, &op->units) {
        /* The stage first: production may copy the files of its new version. */
        if (!write_entry(op, tx, &(*u)->stage, err) || !write_entry(op, tx, &(*u)->main, err))
            return err_wrap(err, STR_FMT, STR_ARG(store_path_domain(&op->arena, (*u)->main.app->path, (*u)->main.app->domain)));
    }
    return true;
}

static void audit_unit(struct op *op, const struct entry *e)
{
    if (!e->app || (!e->is_changed && !e->is_new) || !op->audit_name)
        return;
    store_audit_add_wait(op->deploy->config.store, &(struct store_audit_event){
        .app_id = e->app->id,
        .user_id = op->who->user_id,
        .event_type = STR("system"),
        .operation = str_from(op->audit_name),
        .target = store_path_domain(&op->arena, e->app->path, e->app->domain),
        .status = STR("Success"),
    });
}

/* Old versions and what only they referred to. Best effort: the next operation tries again. */
static void clean_up(struct op *op)
{
    scoped_err err = {0};
    scoped_store_tx *tx = store_begin(op->deploy->config.store, &err);
    bool ok = tx != NULL;
    int64_t removed = 0, retain = op->deploy->config.default_retain_versions;
    vec_foreach (u, &op->units) {
        const struct entry *entries[] = {&(*u)->main, &(*u)->stage};
        for (size_t i = 0; ok && i < ARRAY_LEN(entries); i++)
            if (entries[i]->app && entries[i]->has_new_version)
                ok = store_cleanup_versions(tx, entries[i]->app->id, entries[i]->app->metadata.version_metadata.version,
                                            retain, &removed, &err);
    }
    ok = ok && store_cleanup_blobs(tx, CLEANUP_BATCH, &removed, &err) && store_commit(&tx, &err);
    if (!ok)
        log_warn("cleaning up old versions", LOG_ERR(&err));
}

bool op_commit(struct op *op, op_before_fn *before, void *arg, struct err *err)
{
    if (op_is_cancelled(op, err))
        return false;
    if (op->opts->is_dry_run) {
        scoped_store_tx *look = before ? store_read(op->deploy->config.store, err) : NULL;
        return !before || (look && before(op, look, arg, err));
    }
    vec_foreach (u, &op->units) {
        const struct entry *entries[] = {&(*u)->stage, &(*u)->main};
        for (size_t i = 0; i < ARRAY_LEN(entries); i++)
            if (entries[i]->files && !entries[i]->is_copied && !op_put_contents(op, entries[i]->files, err))
                return false;
    }
    struct deploy *d = op->deploy;
    scoped_store_tx *tx = store_begin(d->config.store, err);
    if (!tx || (before && !before(op, tx, arg, err)) || !write_all(op, tx, err) || !store_commit(&tx, err))
        return false;
    op->is_committed = true;

    VEC(struct app *) loaded = {0};
    vec_foreach (u, &op->units) {
        audit_unit(op, &(*u)->main);
        audit_unit(op, &(*u)->stage);
        if ((*u)->main.loaded)
            *vec_push(&op->arena, &loaded) = (*u)->main.loaded;
        if ((*u)->stage.loaded)
            *vec_push(&op->arena, &loaded) = (*u)->stage.loaded;
    }
    if (!d->config.publish(d->config.arg, loaded.items, loaded.len, err))
        return err_wrap(err, "apps were updated, but the site could not be rebuilt");
    clean_up(op);
    return true;
}
