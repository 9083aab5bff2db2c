/* app/files.c: an app's files: its source, from the store, a folder or the operation that deploys it, over
 * its spec. SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>
#include <unistd.h>

struct store_reader {
    struct src_reader base;
    struct store *store;
};

static bool read_stored(const struct src_reader *self, const struct src_file *f, struct arena *a,
                        struct str *out, struct err *err)
{
    struct store_blob blob;
    scoped_store_tx *tx = store_read(((const struct store_reader *)self)->store, err);
    bool ok = tx && store_blob_get(tx, a, f->sha, &blob, err);
    store_rollback(&tx);
    return ok && store_blob_unpack(a, &blob, out, err);
}

bool app_stored_files(struct arena *a, struct store *store, struct str app_id, int64_t version, struct src_files *out,
                      struct err *err)
{
    struct store_file_list rows = {0};
    scoped_store_tx *tx = store_read(store, err);
    if (!tx || !store_file_list(tx, a, app_id, version, &rows, err))
        return false;
    struct store_reader *reader = arena_new(a, struct store_reader);
    *reader = (struct store_reader){.base = {.read = read_stored}, .store = store};
    struct src_file *items = arena_array(a, struct src_file, rows.len);
    for (size_t i = 0; i < rows.len; i++)
        items[i] = (struct src_file){.name = rows.items[i].name,
                                     .sha = rows.items[i].sha,
                                     .size = (uint64_t)rows.items[i].size,
                                     .reader = &reader->base};
    return src_files_make(a, items, rows.len, out, err);
}

static bool has_static_disk_spec(const struct store_app *entry)
{
    return str_eq(entry->metadata.spec, STR("static_disk"));
}

bool files_are_on_disk(const struct store_app *entry)
{
    return entry->is_dev || has_static_disk_spec(entry) ||
           str_eq(store_map_get(&entry->metadata.appconfig, STR("static_from_disk")), STR("true"));
}

bool files_are_unlisted(const struct store_app *entry)
{
    return has_static_disk_spec(entry) && !entry->is_dev;
}

/* Files of the spec are in the metadata. */
static bool spec_files(struct arena *a, const struct store_app *entry, struct src_files *out, struct err *err)
{
    const struct map *map = &entry->metadata.spec_files;
    struct src_file *items = arena_array(a, struct src_file, map_len(map));
    size_t n = 0;
    map_foreach(e, map)
    {
        const struct str *content = e->value;
        items[n++] = (struct src_file){.name = e->key,
                                       .content = content->len ? content->ptr : "",
                                       .size = content->len,
                                       .is_spec = true};
    }
    return src_files_make(a, items, n, out, err);
}

bool files_open(struct arena *a, const struct app_env *env, const struct store_app *entry,
                const struct src_files *given, struct src_files *out, struct err *err)
{
    struct src_files source = {0}, spec = {0};
    bool ok = true;
    if (files_are_on_disk(entry) && !path_is_abs(entry->source_url))
        return err_set(err, ERR_INVALID,
                       "an app that is served from disk (static_from_disk, spec static_disk, dev) needs a "
                       "local folder as its "
                       "source, not \"" STR_FMT "\"",
                       STR_ARG(entry->source_url));
    if (given)
        source = *given;
    else if (files_are_unlisted(entry))
        ; /* nobody lists or hashes a folder that may hold terabytes */
    else if (files_are_on_disk(entry))
        ok = src_files_scan(a, entry->source_url, NULL, &source, err);
    else if (!str_eq(entry->source_url, STR("-")))
        ok = app_stored_files(a, env->store, entry->id, entry->metadata.version_metadata.version, &source, err);
    if (!ok || !spec_files(a, entry, &spec, err))
        return false;
    src_files_overlay(a, &source, &spec, out);
    return true;
}

/* --- files for later -------------------------------------------------------------------------------- */

/* What a build needs long after the load, maybe after the app has gone: shared by the app and its container's
 * service, so that neither keeps the other alive. */
struct held_files {
    atomic_int refs;
    struct arena arena;
    const struct app_env *env;
    struct store_app entry;
    pthread_mutex_t lock;          /* guards `given` against held_files_detach() */
    const struct src_files *given; /* the operation's, until detached */
};

struct held_files *held_files_new(const struct app_env *env, const struct store_app *entry,
                                  const struct src_files *given)
{
    struct held_files *h = slab_zalloc(sizeof *h);
    atomic_init(&h->refs, 1);
    pthread_mutex_init(&h->lock, NULL);
    h->env = env;
    h->given = given;
    arena_small(&h->arena);
    entry_copy(&h->arena, entry, &h->entry);
    return h;
}

struct held_files *held_files_ref(struct held_files *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void held_files_unref(struct held_files *h)
{
    if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&h->lock);
    arena_release(&h->arena);
    slab_free(h, sizeof *h);
}

void held_files_detach(struct held_files *h)
{
    pthread_mutex_lock(&h->lock);
    h->given = NULL;
    pthread_mutex_unlock(&h->lock);
}

/* A folder that stays holds no more than this. */
enum { KEEP_MAX = 256 << 20 };

static bool is_small(const struct src_files *files)
{
    uint64_t total = 0;
    for (size_t i = 0; i < files->len && total <= KEEP_MAX; i++)
        total += files->items[i].size;
    return total <= KEEP_MAX;
}

static bool extract(const struct src_files *files, struct arena *a, struct str under, struct build_folder *out, struct err *err)
{
    scoped_err why = {0};
    out->root = path_join(a, under, STR("build"));
    out->lock = is_small(files) ? src_files_keep(files, out->root, &why) : -1;
    if (out->lock >= 0)
        return true;
    if (err_is_set(&why) && why.code != ERR_CONFLICT)
        return err_set(err, why.code, "%s", err_msg(&why));
    out->root = str_printf(a, STR_FMT "/build-" STR_FMT, STR_ARG(under), STR_ARG(random_hex(a, 8)));
    if (src_files_extract(files, out->root, err))
        return true;
    build_folder_release(out);
    return false;
}

bool held_files_extract(struct held_files *h, struct arena *a, struct build_folder *out, struct err *err)
{
    /* In the home rather than /tmp: the latter may be small, or in memory. */
    struct str builds = path_join(a, h->env->home, STR("run/app"), h->entry.id);
    struct src_files files;
    if (!fs_mkdir_p(builds, 0700, err))
        return false;
    pthread_mutex_lock(&h->lock);
    bool ok = files_open(a, h->env, &h->entry, h->given, &files, err) && extract(&files, a, builds, out, err);
    pthread_mutex_unlock(&h->lock);
    return ok || err_wrap(err, "preparing the build");
}

void build_folder_release(struct build_folder *f)
{
    scoped_err err = {0};
    if (f->lock >= 0)
        close(f->lock);
    else if (!fs_remove_tree(f->root, &err))
        log_warn("removing a build folder", LOG_ERR(&err));
}
