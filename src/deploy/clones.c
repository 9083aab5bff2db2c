/* deploy/clones.c: notes of clones that are being made for dev apps, so that those of an operation that was cut short go.
 *
 * A clone is a folder of app_src, where users have their own. So nothing there goes by its name: while an operation
 * that has made one runs, there is a note of it in run/clones, with the folder's inode, and at the next start the folder
 * goes if it is still that one and no app is in it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

#include <sys/stat.h>

enum { NOTE_MAX = 16 << 10, NOTES_MAX = 1000 };

static struct str notes_dir(struct arena *a, const struct deploy *d)
{
    return path_join(a, d->config.env->home, STR("run/clones"));
}

static int64_t inode_of(struct arena *a, struct str dir)
{
    struct stat st;
    return lstat(str_z(a, dir), &st) == 0 && S_ISDIR(st.st_mode) ? (int64_t)st.st_ino : 0;
}

bool clone_note(struct op *op, struct str dir, struct err *err)
{
    struct arena *a = &op->arena;
    struct str notes = notes_dir(a, op->deploy), note = path_join(a, notes, str_cat(a, random_hex(a, 8), STR(".json")));
    scoped_json *j = json_object();
    json_set_str(j, "dir", dir);
    json_set_int(j, "inode", inode_of(a, dir));
    str_list_add(a, &op->clone_notes, note);
    return fs_mkdir_p(notes, 0700, err) && fs_write_atomic(note, json_text(a, j, JSON_STYLE_COMPACT), 0600, err);
}

void clone_notes_end(struct op *op)
{
    vec_foreach(note, &op->clone_notes)
    {
        scoped_err err = {0};
        if (!fs_remove(*note, &err))
            log_warn("removing the note of a clone", LOG_STR("note", *note), LOG_ERR(&err));
    }
}

/* An app's source is the clone, or a folder in it. */
static bool is_used(const struct store_app_list *apps, struct str dir)
{
    vec_foreach(app, apps)
    {
        struct str source = app->source_url;
        if (str_starts(source, dir) && (source.len == dir.len || source.ptr[dir.len] == '/'))
            return true;
    }
    return false;
}

static bool undo_one(struct deploy *d, struct arena *a, const struct store_app_list *apps, struct str note, struct err *err)
{
    struct str text;
    if (!fs_read_all(a, note, NOTE_MAX, &text, err))
        return false;
    scoped_json *j = json_parse_object(text, err);
    if (!j)
        return false;
    struct str dir = json_get_str(j, "dir", (struct str){0});
    struct str parent = path_join(a, d->config.env->home, STR("app_src"));
    int64_t inode = json_get_int(j, "inode", 0);
    bool is_ours = str_eq(path_dir(dir), parent) && inode != 0 && inode_of(a, dir) == inode && !is_used(apps, dir);
    if (is_ours && !fs_remove_tree(dir, err))
        return false;
    if (is_ours)
        log_warn("removed the clone of an operation that was cut short", LOG_STR("dir", dir));
    return true;
}

void deploy_undo_clones(struct deploy *d)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct fs_items notes = {0};
    struct store_app_list apps = {0};
    bool ok = fs_list(&a, notes_dir(&a, d), NOTES_MAX, &notes, &err);
    if (ok && notes.len == 0)
        return;
    scoped_store_tx *tx = ok ? store_read(d->config.store, &err) : NULL;
    if (!tx || !store_app_list(tx, &a, STORE_APPS_BRIEF, &apps, &err)) {
        log_warn("looking for clones of operations that were cut short", LOG_ERR(&err));
        return;
    }
    vec_foreach(note, &notes)
    {
        scoped_err own = {0};
        /* What is left of one that was being written goes too. */
        bool is_note = str_ends(note->name, STR(".json"));
        if (is_note && !undo_one(d, &a, &apps, note->path, &own))
            log_warn("a clone of an operation that was cut short stays", LOG_STR("note", note->path), LOG_ERR(&own));
        err_release(&own);
        if (!fs_remove(note->path, &own))
            log_warn("removing the note of a clone", LOG_STR("note", note->path), LOG_ERR(&own));
    }
}
