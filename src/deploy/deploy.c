/* deploy/deploy.c: the queue of operations, and how one begins, commits and ends.
 *
 * 1. An app is in at most one running operation: its id is in `busy` from selection to close.
 * 2. An operation takes all its keys at once or waits with none, so operations never wait in a circle.
 * 3. Nothing is written before op_commit(). That writes contents first, in transactions of their own: until
 * the versions that refer to them are committed, nothing may remove them (`contents`), and if that does not
 * come about, they are removed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

#include <stdlib.h>

enum {
    CONTENT_BATCH_BYTES = 8 << 20, /* of contents in one short transaction */
    CLEANUP_BATCH = 500,           /* contents removed in one short transaction */
};

bool deploy_open(const struct deploy_config *config, struct deploy **out, struct err *err)
{
    struct deploy *d = xcalloc(1, sizeof *d);
    d->config = *config;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->freed, NULL);
    pthread_rwlock_init(&d->contents, NULL);
    *out = d;
    return true;
}

void deploy_close(struct deploy *d)
{
    if (!d)
        return;
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->freed);
    pthread_rwlock_destroy(&d->contents);
    free(d);
}

/* --- the queue --- */

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
bool op_hold_all(struct op *op, const struct str_list *keys, struct err *err)
{
    struct deploy *d = op->deploy;
    bool waited = false, ok = true;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        bool free_now = true;
        vec_foreach(key, keys) free_now &= !is_busy(d, *key);
        if (free_now)
            break;
        if (op->who->cancel && atomic_load(op->who->cancel)) {
            ok = err_set(err, ERR_CANCELLED, "cancelled while waiting for another operation on the same app");
            break;
        }
        if (!waited)
            op_say(op, "waiting for another operation on the same app");
        waited = true;
        /* Wakes up now and then to see a cancel. */
        cond_wait_until(&d->freed, &d->lock, clock_ns() + 200000000);
    }
    if (ok)
        vec_foreach(key, keys)
        {
            set_busy(d, *key);
            str_list_add(&op->arena, &op->held, *key);
        }
    pthread_mutex_unlock(&d->lock);
    return ok;
}

void op_let_go(struct op *op)
{
    struct deploy *d = op->deploy;
    pthread_mutex_lock(&d->lock);
    vec_foreach(key, &op->held) clear_busy(d, *key);
    op->held.len = 0;
    pthread_cond_broadcast(&d->freed);
    pthread_mutex_unlock(&d->lock);
}

/* --- an operation --- */

void op_open(struct op *op, struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
             const char *name)
{
    *op = (struct op){.deploy = d, .who = who, .opts = o, .name = name};
}

static void entry_close(struct entry *e, bool is_committed)
{
    if (!e->loaded)
        return;
    if (!is_committed)
        app_undo_start(e->loaded);
    /* Also without a commit: a build that was given up may still be reading the files, which end with the
     * operation. */
    app_detach_files(e->loaded);
    app_unref(e->loaded);
}

void op_close(struct op *op)
{
    vec_foreach(u, &op->units)
    {
        entry_close(&(*u)->main, op->is_committed);
        entry_close(&(*u)->stage, op->is_committed);
    }
    if (!op->is_committed)
        fetch_undo_clones(op);
    clone_notes_end(op);
    src_session_close(op->git);
    if (op->has_put && !op->is_committed)
        deploy_clean(op->deploy);
    op_let_go(op);
    arena_release(&op->arena);
}

bool op_hold(struct op *op, struct str key, struct err *err)
{
    struct str_list keys = {0};
    str_list_add(&op->arena, &keys, key);
    return op_hold_all(op, &keys, err);
}

void op_say(const struct op *op, const char *fmt, ...)
{
    scoped_arena a = {0};
    va_list ap;
    va_start(ap, fmt);
    struct str line = str_vprintf(&a, fmt, ap);
    va_end(ap);
    log_info("operation", LOG_Z("name", op->name), LOG_STR("line", line));
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

struct str op_expand(struct op *op, struct str glob)
{
    struct str domain = {0}, path = glob, default_domain = op->deploy->config.env->default_domain;
    bool has_domain = str_cut(glob, ':', &domain, &path);
    if (!has_domain)
        path = glob;
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    if (!has_domain)
        return path;
    domain = str_lower(&op->arena, domain);
    if (str_ends(domain, STR(".")))
        domain = str_cat(&op->arena, domain, default_domain);
    return str_printf(&op->arena, STR_FMT ":" STR_FMT, STR_ARG(domain), STR_ARG(path));
}

bool op_is_exact(struct str glob)
{
    for (size_t i = 0; i < glob.len; i++)
        if (strchr("*?[]{}\\", glob.ptr[i]))
            return false;
    return glob.len > 0 && !str_eq_nocase(glob, STR("all"));
}

/* A glob that is the path of one app, by far the most common, is looked up. False: it must be matched. */
static bool match_exactly(struct op *op, struct store_tx *tx, struct str glob, struct str_list *ids)
{
    struct src_apppath at;
    struct store_app app;
    scoped_err ignored = {0};
    if ((!op->opts->is_exact && !op_is_exact(glob)) || !src_apppath_parse(glob, &at, &ignored) ||
        !store_app_get(tx, &op->arena, at.path, at.domain, &app, &ignored) || !str_is_empty(app.main_app))
        return false;
    str_list_add(&op->arena, ids, app.id);
    return true;
}

/* The ids of the main apps that match, newest first. */
static bool match_main(struct op *op, struct str glob, struct str_list *ids, struct err *err)
{
    struct src_appglob compiled;
    struct store_app_list all = {0};
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (tx && match_exactly(op, tx, glob, ids))
        return true;
    if (tx && op->opts->is_exact)
        return err_set(err, ERR_NOT_FOUND, "no app at " STR_FMT, STR_ARG(glob));
    if (!tx || !src_appglob_compile(&op->arena, glob, &compiled, err) ||
        !store_app_list(tx, &op->arena, STORE_APPS_BRIEF, &all, err))
        return false;
    vec_foreach(app, &all)
    {
        struct src_apppath at = {.domain = app->domain, .path = app->path};
        if (str_is_empty(app->main_app) && src_appglob_match(&compiled, &at))
            str_list_add(&op->arena, ids, app->id);
    }
    return true;
}

/* The unit of one app that was there a moment ago; nothing if it has been deleted since. */
static bool add_unit(struct op *op, struct store_tx *tx, struct str id, struct err *err)
{
    struct store_app *app = arena_new(&op->arena, struct store_app);
    struct unit *u;
    scoped_err own = {0};
    if (!store_app_get_by_id(tx, &op->arena, id, app, &own))
        return own.code == ERR_NOT_FOUND || err_move(err, &own);
    if (!unit_read(op, tx, app, &u, err))
        return false;
    *vec_push(&op->arena, &op->units) = u;
    return true;
}

/* An exact path that is that of no main app. */
static void warn_no_match(struct op *op, struct str path)
{
    struct store_app app;
    scoped_err ignored = {0};
    if (op_find(op, path, &app, &ignored))
        op_say(op, "warning: " STR_FMT " is the %s of " STR_FMT ": name that app", STR_ARG(path),
               store_app_kind(app.id) == STORE_STAGE ? "staging" : "preview", STR_ARG(app.linked_app_path));
    else
        op_say(op, "warning: there is no app at " STR_FMT ": \"openrun app list\" shows those there are",
               STR_ARG(path));
}

bool op_select(struct op *op, struct str glob, struct err *err)
{
    /* Twice: who matches is read to know what to hold, and the state once it is held. */
    struct str_list ids = {0};
    glob = op_expand(op, glob);
    if (!match_main(op, glob, &ids, err) || !op_hold_all(op, &ids, err))
        return false;
    if (ids.len == 0 && op_is_exact(glob))
        warn_no_match(op, glob);
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx)
        return false;
    vec_foreach(id, &ids) if (!add_unit(op, tx, *id, err)) return false;
    return true;
}

bool op_find(struct op *op, struct str path, struct store_app *out, struct err *err)
{
    struct src_apppath at;
    if (!src_apppath_parse(op_expand(op, path), &at, err))
        return false;
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx)
        return false;
    if (store_app_get(tx, &op->arena, at.path, at.domain, out, err))
        return true;
    if (err->code == ERR_NOT_FOUND)
        err_set(err, ERR_NOT_FOUND, "no app at " STR_FMT ": \"openrun app list\" shows those there are",
                STR_ARG(path));
    return false;
}

/* --- contents --- */

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

/* Contents on their way into the store: few transactions, however many apps they are of. */
struct batch {
    struct op *op;
    struct arena arena; /* of the contents in `blobs` */
    VEC(struct store_blob) blobs;
    size_t bytes;
    struct map seen; /* hashes that were looked at */
};

static bool flush(struct batch *b, struct err *err)
{
    if (!put_batch(b->op, b->blobs.items, b->blobs.len, err))
        return false;
    arena_reset(&b->arena);
    memset(&b->blobs, 0, sizeof b->blobs);
    b->bytes = 0;
    return true;
}

static bool put_content(struct batch *b, const struct src_file *f, struct err *err)
{
    struct str data;
    struct store_blob blob;
    if (op_is_cancelled(b->op, err) || !src_file_read(&b->arena, f, &data, err) ||
        !store_blob_prepare(&b->arena, f->name, data, &blob, err))
        return false;
    *vec_push(&b->arena, &b->blobs) = blob;
    b->op->has_put = true;
    b->bytes += data.len;
    return b->bytes < CONTENT_BATCH_BYTES || flush(b, err);
}

/* The contents of one version that the store lacks, and that are not on their way. */
static bool put_contents(struct batch *b, const struct src_files *files, struct err *err)
{
    struct arena *a = &b->op->arena;
    struct str *shas = arena_array(a, struct str, files->len);
    const struct src_file **wanted = arena_array(a, const struct src_file *, files->len);
    bool *have = arena_array(a, bool, files->len);
    size_t n = 0;
    for (size_t i = 0; i < files->len; i++) {
        const struct src_file *f = &files->items[i];
        if (map_has(&b->seen, f->sha))
            continue;
        map_set(&b->seen, f->sha, b);
        wanted[n] = f;
        shas[n++] = f->sha;
    }
    if (n == 0)
        return true;
    scoped_store_tx *tx = store_read(b->op->deploy->config.store, err);
    if (!tx || !store_blobs_have(tx, shas, n, have, err))
        return false;
    store_rollback(&tx);
    for (size_t i = 0; i < n; i++)
        if (!have[i] && !put_content(b, wanted[i], err))
            return false;
    return true;
}

static bool put_units(struct batch *b, struct err *err)
{
    vec_foreach(u, &b->op->units)
    {
        const struct entry *entries[] = {&(*u)->stage, &(*u)->main};
        for (size_t i = 0; i < ARRAY_LEN(entries); i++)
            if (entries[i]->files && !entries[i]->is_copied && !put_contents(b, entries[i]->files, err))
                return false;
    }
    return flush(b, err);
}

static bool put_all_contents(struct op *op, struct err *err)
{
    struct batch b = {.op = op};
    map_init(&b.seen, &op->arena);
    bool ok = put_units(&b, err);
    arena_release(&b.arena);
    return ok;
}

/* --- the commit --- */

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
    vec_foreach(u, &op->units)
    {
        /* The stage first: production may copy the files of its new version. */
        if (!write_entry(op, tx, &(*u)->stage, err) || !write_entry(op, tx, &(*u)->main, err))
            return err_wrap(
                err, STR_FMT,
                STR_ARG(store_path_domain(&op->arena, (*u)->main.app->path, (*u)->main.app->domain)));
    }
    return true;
}

static void audit_entry(struct op *op, const struct entry *e)
{
    if (!e->app || (!e->is_changed && !e->is_new && !e->is_deleted))
        return;
    store_audit_add_wait(op->deploy->config.store,
                         &(struct store_audit_event){
                             .app_id = e->app->id,
                             .user_id = op->who->user_id,
                             .event_type = STR("system"),
                             .operation = str_from(op->name),
                             .target = store_path_domain(&op->arena, e->app->path, e->app->domain),
                             .status = STR("Success"),
                         });
}

/* app_config.fs.retain_versions: the app's own, else the server's. */
static int64_t retain_of(const struct op *op, const struct store_app *app)
{
    int64_t retain;
    struct str own = str_trim(store_map_get(&app->metadata.appconfig, STR("fs.retain_versions")));
    return str_to_i64(own, &retain) ? retain : op->deploy->config.default_retain_versions;
}

/* Versions beyond what is to be kept, in the transaction that adds the new ones. */
static bool remove_old_versions(struct op *op, struct store_tx *tx, struct err *err)
{
    vec_foreach(u, &op->units)
    {
        const struct entry *entries[] = {&(*u)->main, &(*u)->stage};
        for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
            const struct entry *e = entries[i];
            int64_t n = 0;
            if (!e->app || !e->has_new_version)
                continue;
            if (!store_cleanup_versions(tx, e->app->id, e->app->metadata.version_metadata.version,
                                        retain_of(op, e->app), &n, err))
                return false;
            op->has_removed |= n > 0;
        }
        op->has_removed |= (*u)->main.is_deleted;
    }
    return true;
}

bool deploy_fix(struct store *store, struct err *err)
{
    for (int64_t removed = CLEANUP_BATCH; removed == CLEANUP_BATCH;) {
        scoped_store_tx *tx = store_begin(store, err);
        if (!tx || !store_cleanup_blobs(tx, CLEANUP_BATCH, &removed, err) || !store_commit(&tx, err))
            return false;
    }
    return true;
}

void deploy_clean(struct deploy *d)
{
    /* Somebody is between his contents and his commit: another time. */
    if (pthread_rwlock_trywrlock(&d->contents) != 0)
        return;
    scoped_err err = {0};
    bool ok = deploy_fix(d->config.store, &err);
    pthread_rwlock_unlock(&d->contents);
    if (!ok)
        log_warn("removing contents that no version needs", LOG_ERR(&err));
}

/* Everything of the operation into the store. */
static bool write_operation(struct op *op, op_before_fn *before, void *arg, struct err *err)
{
    if (!put_all_contents(op, err))
        return false;
    const struct deploy_opts *o = op->opts;
    scoped_store_tx *tx = store_begin(op->deploy->config.store, err);
    return tx && (!o->in_commit || o->in_commit(o->in_commit_arg, tx, err)) &&
           (!before || before(op, tx, arg, err)) && write_all(op, tx, err) &&
           remove_old_versions(op, tx, err) &&
           (str_is_empty(op->who->operation_id) || store_operation_mark(tx, op->who->operation_id, err)) &&
           store_commit(&tx, err);
}

static bool publish(struct op *op, struct err *err)
{
    struct deploy *d = op->deploy;
    VEC(struct app *) loaded = {0};
    struct deploy_published what = {.ids = op->deleted};
    vec_foreach(u, &op->units)
    {
        const struct entry *entries[] = {&(*u)->main, &(*u)->stage};
        for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
            if (entries[i]->app && (entries[i]->is_new || entries[i]->is_changed))
                str_list_add(&op->arena, &what.ids, entries[i]->app->id);
            if (entries[i]->loaded)
                *vec_push(&op->arena, &loaded) = entries[i]->loaded;
        }
    }
    if (what.ids.len == 0)
        return true;
    what.loaded = loaded.items;
    what.n_loaded = loaded.len;
    db_fault_point("publish");
    if (!d->config.publish(d->config.arg, &what, err))
        return err_wrap(
            err, "the change is stored, but could not be put in service (it will be with the next change or "
                 "start)");
    db_fault_point("published");
    return true;
}

bool op_commit(struct op *op, op_before_fn *before, void *arg, struct err *err)
{
    if (op_is_cancelled(op, err))
        return false;
    if (op->opts->is_dry_run) {
        scoped_store_tx *look = before ? store_read(op->deploy->config.store, err) : NULL;
        return !before || (look && before(op, look, arg, err));
    }
    struct deploy *d = op->deploy;
    pthread_rwlock_rdlock(&d->contents);
    op->is_committed = write_operation(op, before, arg, err);
    pthread_rwlock_unlock(&d->contents);
    if (!op->is_committed)
        return false;
    bool is_published = publish(op, err);
    vec_foreach(u, &op->units)
    {
        audit_entry(op, &(*u)->main);
        audit_entry(op, &(*u)->stage);
    }
    if (op->has_removed)
        deploy_clean(d);
    return is_published;
}
