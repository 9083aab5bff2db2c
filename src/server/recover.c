/* server/recover.c: what became of operations that the server's death cut short.
 *
 * While an operation runs there is a note about it in run/operations (journal.c). Its commit marks the
 * id in the metadata, in the transaction of the change itself (deploy/). So at the next start a note means that
 * the server died in the middle, and the mark whether before the commit or after it: nothing of the operation
 * is there, or all of it, and which is logged and listed. A note is not synced to the disk: after a power
 * failure the newest may be missing, the metadata is whole all the same.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

enum { NOTE_MAX = 16 << 10, NOTES_MAX = 10000 };

static int64_t time_of(const json_t *note, const char *key)
{
    int64_t ns = 0;
    time_parse(json_get_str(note, key, (struct str){0}), &ns);
    return ns;
}

/* Lists and logs one; its start if it was undone, else 0. */
static int64_t recover_one(struct server *s, struct arena *a, struct str dir, struct str id, struct err *err)
{
    struct str text = {0};
    bool is_done = false;
    scoped_err own = {0};
    scoped_json *note = fs_read_all(a, journal_path(a, dir, id), NOTE_MAX, &text, &own) ? json_parse_object(text, &own) : NULL;
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx || !store_operation_is_marked(tx, id, &is_done, err))
        return 0;
    store_rollback(&tx);
    /* Cut short while the note was written: it had not begun. */
    const struct operation_past past = {
        .id = id,
        .name = json_get_str(note, "name", STR("unknown")),
        .target = json_get_str(note, "target", (struct str){0}),
        .user_id = json_get_str(note, "user_id", (struct str){0}),
        .create_ns = time_of(note, "create_time"),
        .start_ns = time_of(note, "start_time"),
        .is_done = is_done,
    };
    log_warn(is_done ? "an operation was committed, and cut short in what comes after, when the server ended: it is done"
                     : "an operation was cut short when the server ended: it is undone",
             LOG_STR("operation", id), LOG_STR("name", past.name), LOG_STR("target", past.target), LOG_STR("user", past.user_id));
    operation_add_past(s->operations, &past);
    journal_end(dir, id);
    return is_done ? 0 : MAX(past.start_ns, 1);
}

bool recover_operations(struct server *s, struct str dir, int64_t *undone_since, struct err *err)
{
    scoped_arena a = {0};
    struct fs_items notes = {0};
    *undone_since = 0;
    if (!fs_list(&a, dir, NOTES_MAX, &notes, err))
        return false;
    vec_foreach (note, &notes) {
        if (!str_starts(note->name, STR("op_")) || !str_ends(note->name, STR(".json")))
            continue;
        struct str id = str_slice(note->name, 0, note->name.len - strlen(".json"));
        int64_t start = recover_one(s, &a, dir, id, err);
        if (err_is_set(err))
            return false;
        if (start && (*undone_since == 0 || start < *undone_since))
            *undone_since = start;
    }
    return true;
}
