/* store/apps.c: the rows of `apps`.
 *
 * An entry's update_time is its revision: it grows with every write, and a writer that quotes another one
 * than is stored has planned on something that is no longer so.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#define BRIEF_COLUMNS                                                                                   \
    "id, path, domain, source_url, is_dev, main_app, user_id, create_time, update_time, linked_app_path"
#define COLUMNS BRIEF_COLUMNS ", settings, metadata"

/* rowid breaks the ties of rows made in the same second by other programs; PostgreSQL has none, so id. */
#define NEWEST_FIRST " ORDER BY create_time DESC, id DESC"

static void read_brief(const struct db_rows *r, struct arena *a, struct store_app *app)
{
    store_app_init(a, app);
    app->id = db_text(r, 0, a);
    app->path = db_text(r, 1, a);
    app->domain = db_text(r, 2, a);
    app->source_url = db_text(r, 3, a);
    app->is_dev = db_bool(r, 4);
    app->main_app = db_text(r, 5, a);
    app->user_id = db_text(r, 6, a);
    app->create_time = db_time(r, 7);
    app->update_time = db_time(r, 8);
    app->linked_app_path = db_text(r, 9, a);
}

static bool read_app(const struct db_rows *r, struct arena *a, struct store_app *app, struct err *err)
{
    read_brief(r, a, app);
    scoped_json *settings = store_column_json(r, 10, err);
    scoped_json *metadata = settings ? store_column_json(r, 11, err) : NULL;
    return (metadata && store_settings_from_json(a, settings, &app->settings, err) &&
            store_metadata_from_json(a, metadata, &app->metadata, err)) ||
           err_wrap(err, "app %.*s", STR_ARG(app->id));
}

static bool get_one(struct store_tx *tx, struct arena *a, const char *sql, struct db_args args,
                    struct store_app *out, bool *found, struct err *err)
{
    scoped_db_rows *r = db_query(tx->db, sql, args, err);
    if (!r)
        return false;
    struct store_app app;
    *found = db_next(r);
    if (*found && !read_app(r, a, &app, err))
        return false;
    if (!db_end(&r, err))
        return false;
    if (*found)
        *out = app;
    return true;
}

bool store_app_get(struct store_tx *tx, struct arena *a, struct str path, struct str domain, struct store_app *out,
                   struct err *err)
{
    bool found = false;
    bool is_ok = get_one(tx, a, "SELECT " COLUMNS " FROM apps WHERE path = ? AND domain = ?",
                         DB_ARGS(DB_TEXT(path), DB_TEXT(domain)), out, &found, err);
    struct str name = is_ok && !found ? store_path_domain(a, path, domain) : (struct str){0};
    return store_found(is_ok, found, err, "no app at %.*s", STR_ARG(name));
}

bool store_app_get_by_id(struct store_tx *tx, struct arena *a, struct str id, struct store_app *out,
                         struct err *err)
{
    bool found = false;
    bool is_ok = get_one(tx, a, "SELECT " COLUMNS " FROM apps WHERE id = ?", DB_ARGS(DB_TEXT(id)), out, &found, err);
    return store_found(is_ok, found, err, "no app with id %.*s", STR_ARG(id));
}

static bool list(struct store_tx *tx, struct arena *a, const char *sql, struct db_args args, bool is_brief,
                 struct store_app_list *out, struct err *err)
{
    struct store_app_list apps = {0};
    scoped_db_rows *r = db_query(tx->db, sql, args, err);
    if (!r)
        return false;
    while (db_next(r)) {
        struct store_app *app = vec_push(a, &apps);
        if (is_brief)
            read_brief(r, a, app);
        else if (!read_app(r, a, app, err))
            return false;
    }
    if (!db_end(&r, err))
        return false;
    *out = apps;
    return true;
}

bool store_app_list(struct store_tx *tx, struct arena *a, enum store_app_filter filter, struct store_app_list *out,
                    struct err *err)
{
    static const char *const sql[] = {
        [STORE_APPS_MAIN] = "SELECT " COLUMNS " FROM apps WHERE main_app = ''" NEWEST_FIRST,
        [STORE_APPS_ALL] = "SELECT " COLUMNS " FROM apps" NEWEST_FIRST,
        [STORE_APPS_BRIEF] = "SELECT " BRIEF_COLUMNS " FROM apps" NEWEST_FIRST,
    };
    return list(tx, a, sql[filter], DB_NO_ARGS, filter == STORE_APPS_BRIEF, out, err);
}

bool store_app_linked(struct store_tx *tx, struct arena *a, struct str main_id, struct store_app_list *out,
                      struct err *err)
{
    if (str_is_empty(main_id)) { /* would be all the main apps */
        *out = (struct store_app_list){0};
        return true;
    }
    return list(tx, a, "SELECT " COLUMNS " FROM apps WHERE main_app = ?" NEWEST_FIRST, DB_ARGS(DB_TEXT(main_id)),
                false, out, err);
}

/* --- writing --- */

bool store_app_insert(struct store_tx *tx, struct store_app *app, struct err *err)
{
    scoped_arena scratch = {0};
    int64_t n, now = wall_ns();
    bool exists = false;
    if (!db_query_int(tx->db, "SELECT 1 FROM apps WHERE (path = ? AND domain = ?) OR id = ?",
                      DB_ARGS(DB_TEXT(app->path), DB_TEXT(app->domain), DB_TEXT(app->id)), &n, &exists, err))
        return false;
    if (exists)
        return err_set(err, ERR_CONFLICT, "App already exists at %.*s",
                       STR_ARG(store_path_domain(&scratch, app->path, app->domain)));
    int64_t create_time = app->create_time ? app->create_time : now;
    int64_t update_time = app->update_time ? app->update_time : now;
    struct str settings = store_json_text(&scratch, store_settings_to_json(&app->settings));
    struct str metadata = store_json_text(&scratch, store_metadata_to_json(&app->metadata));
    if (!db_exec(tx->db,
                 "INSERT INTO apps (id, path, domain, source_url, is_dev, main_app, user_id, create_time, "
                 "update_time, linked_app_path, settings, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                 DB_ARGS(DB_TEXT(app->id), DB_TEXT(app->path), DB_TEXT(app->domain), DB_TEXT(app->source_url),
                         DB_BOOL(app->is_dev), DB_TEXT(app->main_app), DB_TEXT(app->user_id), DB_TIME(create_time),
                         DB_TIME(update_time), DB_TEXT(app->linked_app_path), DB_TEXT(settings), DB_TEXT(metadata)),
                 NULL, err))
        return false;
    app->create_time = create_time;
    app->update_time = update_time;
    return true;
}

/* Compares the entry's revision with the stored one and gives the next. */
static bool next_revision(struct store_tx *tx, const struct store_app *app, int64_t *next, struct err *err)
{
    scoped_arena scratch = {0};
    scoped_db_rows *r = db_query(tx->db, "SELECT update_time FROM apps WHERE id = ?", DB_ARGS(DB_TEXT(app->id)), err);
    if (!r)
        return false;
    bool found = db_next(r);
    int64_t stored = found ? db_time(r, 0) : 0;
    if (!store_found(db_end(&r, err), found, err, "no app with id %.*s", STR_ARG(app->id)))
        return false;
    if (app->update_time && app->update_time != stored)
        return err_set(err, ERR_CONFLICT, "app %.*s was changed by another operation meanwhile: try again",
                       STR_ARG(store_path_domain(&scratch, app->path, app->domain)));
    *next = MAX(wall_ns(), stored + 1);
    return true;
}

/* A version's row mirrors what was live for it. */
static bool mirror_in_version(struct store_tx *tx, const struct store_app *app, struct str metadata,
                              struct err *err)
{
    enum store_app_kind kind = store_app_kind(app->id);
    if (kind != STORE_PROD && kind != STORE_STAGE)
        return true;
    return db_exec(tx->db, "UPDATE app_versions SET metadata = ? WHERE appid = ? AND version = ?",
                   DB_ARGS(DB_TEXT(metadata), DB_TEXT(app->id), DB_INT(app->metadata.version_metadata.version)), NULL,
                   err);
}

bool store_app_update(struct store_tx *tx, struct store_app *app, struct err *err)
{
    scoped_arena scratch = {0};
    int64_t revision;
    if (!next_revision(tx, app, &revision, err))
        return false;
    struct str settings = store_json_text(&scratch, store_settings_to_json(&app->settings));
    struct str metadata = store_json_text(&scratch, store_metadata_to_json(&app->metadata));
    if (!db_exec(tx->db,
                 "UPDATE apps SET source_url = ?, user_id = ?, linked_app_path = ?, settings = ?, metadata = ?, "
                 "update_time = ? WHERE id = ?",
                 DB_ARGS(DB_TEXT(app->source_url), DB_TEXT(app->user_id), DB_TEXT(app->linked_app_path),
                         DB_TEXT(settings), DB_TEXT(metadata), DB_TIME(revision), DB_TEXT(app->id)), NULL, err) ||
        !mirror_in_version(tx, app, metadata, err))
        return false;
    app->update_time = revision;
    return true;
}

bool store_app_update_settings(struct store_tx *tx, struct store_app *app, struct err *err)
{
    scoped_arena scratch = {0};
    int64_t revision;
    if (!next_revision(tx, app, &revision, err))
        return false;
    struct str settings = store_json_text(&scratch, store_settings_to_json(&app->settings));
    if (!db_exec(tx->db, "UPDATE apps SET settings = ?, update_time = ? WHERE id = ?",
                 DB_ARGS(DB_TEXT(settings), DB_TIME(revision), DB_TEXT(app->id)), NULL, err))
        return false;
    app->update_time = revision;
    return true;
}

bool store_app_delete(struct store_tx *tx, struct str id, struct err *err)
{
    int64_t n = 0;
    bool is_ok = db_exec(tx->db, "DELETE FROM app_files WHERE appid = ?", DB_ARGS(DB_TEXT(id)), NULL, err) &&
                 db_exec(tx->db, "DELETE FROM app_versions WHERE appid = ?", DB_ARGS(DB_TEXT(id)), NULL, err) &&
                 db_exec(tx->db, "DELETE FROM apps WHERE id = ?", DB_ARGS(DB_TEXT(id)), &n, err);
    return store_found(is_ok, n > 0, err, "no app with id %.*s", STR_ARG(id));
}
