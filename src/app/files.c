/* app/files.c: an app's files: its source, from the store, a folder or the operation that deploys it, over its spec.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

struct store_reader {
    struct src_reader base;
    struct store *store;
};

static bool read_stored(const struct src_reader *self, const struct src_file *f, struct arena *a, struct str *out,
                        struct err *err)
{
    struct store_blob blob;
    scoped_store_tx *tx = store_read(((const struct store_reader *)self)->store, err);
    bool ok = tx && store_blob_get(tx, a, f->sha, &blob, err);
    store_rollback(&tx);
    return ok && store_blob_unpack(a, &blob, out, err);
}

static bool stored_files(struct arena *a, const struct app_env *env, const struct store_app *entry,
                         struct src_files *out, struct err *err)
{
    struct store_file_list rows = {0};
    scoped_store_tx *tx = store_read(env->store, err);
    if (!tx || !store_file_list(tx, a, entry->id, entry->metadata.version_metadata.version, &rows, err))
        return false;
    struct store_reader *reader = arena_new(a, struct store_reader);
    *reader = (struct store_reader){.base = {.read = read_stored}, .store = env->store};
    struct src_file *items = arena_array(a, struct src_file, rows.len);
    for (size_t i = 0; i < rows.len; i++)
        items[i] = (struct src_file){.name = rows.items[i].name, .sha = rows.items[i].sha,
                                     .size = (uint64_t)rows.items[i].size, .reader = &reader->base};
    return src_files_make(a, items, rows.len, out, err);
}

bool files_are_on_disk(const struct store_app *entry)
{
    return entry->is_dev || str_eq(entry->metadata.spec, STR("static_disk")) ||
           str_eq(store_map_get(&entry->metadata.appconfig, STR("static_from_disk")), STR("true"));
}

/* Files of the spec are in the metadata. */
static bool spec_files(struct arena *a, const struct store_app *entry, struct src_files *out, struct err *err)
{
    const struct map *map = &entry->metadata.spec_files;
    struct src_file *items = arena_array(a, struct src_file, map_len(map));
    size_t n = 0;
    map_foreach (e, map) {
        const struct str *content = e->value;
        items[n++] = (struct src_file){.name = e->key, .content = content->len ? content->ptr : "",
                                       .size = content->len, .is_spec = true};
    }
    return src_files_make(a, items, n, out, err);
}

bool files_open(struct arena *a, const struct app_env *env, const struct store_app *entry, const struct src_files *given,
                struct src_files *out, struct err *err)
{
    struct src_files source = {0}, spec = {0};
    bool ok = true;
    if (given)
        source = *given;
    else if (str_eq(entry->source_url, STR("-")))
        source = (struct src_files){0};
    else if (files_are_on_disk(entry))
        ok = src_files_scan(a, entry->source_url, NULL, &source, err);
    else
        ok = stored_files(a, env, entry, &source, err);
    if (!ok || !spec_files(a, entry, &spec, err))
        return false;
    src_files_overlay(a, &source, &spec, out);
    return true;
}
