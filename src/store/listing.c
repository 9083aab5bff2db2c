/* store/listing.c: ten thousand apps at once: what the site and lists need, without reading what they do not.
 *
 * The columns `settings` and `metadata` have the shape of the API (store_*_to_json), so a list passes on their
 * text as it is, after a look at each member. Text that another program wrote (other order, null for empty,
 * members we do not know) is read and written anew.
 * SPDX-License-Identifier: Apache-2.0 */
#include "jsonscan.h"
#include "store_int.h"
#include "timefmt.h"

#define COLUMNS                                                                                              \
    "id, path, domain, main_app, user_id, is_dev, update_time, settings, metadata"
enum { COL_ID, COL_PATH, COL_DOMAIN, COL_MAIN, COL_USER, COL_DEV, COL_UPDATED, COL_SETTINGS, COL_METADATA, COL_CREATED,
       COL_LINKED, COL_SOURCE };

/* --- columns as text --- */

/* The members that are always written, in order; "{" begins one that has members of its own, which "}" ends. */
static const char *const metadata_shape[] = {
    "name", "{version_metadata", "version", "previous_version", "git_branch", "git_commit", "git_message", "apply_info",
    "applied_sync_id", "}", "loads", "permissions", "accounts", "param_values", "spec", "spec_files", "container_options",
    "container_args", "container_volumes", "appconfig", "authn_type", "git_auth_name", "bindings", "applied_sync_id", NULL,
};
static const char *const settings_shape[] = {
    "authn_type", "git_auth_name", "stage_write_access", "preview_write_access", "{webhook_tokens", "reload",
    "reload_promote", "promote", "}", "orig_source_url", NULL,
};

/* Compares with the shape from `*at` on, to the end of the object. Recursion is as deep as the shape, two. */
static bool has_members(struct str text, const char *const **at)
{
    struct json_scan s;
    struct str key, value;
    json_scan_open(&s, text);
    for (; **at && !str_eq_z(STR("}"), **at); ++*at) {
        bool is_nested = ***at == '{';
        if (!json_scan_next(&s, &key, &value) || !str_eq_z(key, **at + is_nested))
            return false;
        if (is_nested) {
            ++*at;
            if (!has_members(value, at))
                return false;
        }
    }
    bool is_last = !**at;
    while (json_scan_next(&s, &key, &value))
        if (!is_last || (!str_eq_z(key, "builder_published") && !str_eq_z(key, "jobs")))
            return false;
    return json_scan_end(&s) && !s.has_null;
}

/* True if a column's text is what we would write for it. */
static bool is_ours(struct str text, const char *const *shape)
{
    return has_members(text, &shape) && str_is_utf8(text);
}

/* The text of a member of an object, which is read no further than that. */
static bool find_member(struct str object, struct str name, struct str *value)
{
    struct json_scan s;
    struct str key;
    json_scan_open(&s, object);
    while (json_scan_next(&s, &key, value))
        if (str_eq(key, name))
            return true;
    return false;
}

/* version_metadata.version; 0 if there is none. */
static int64_t version_in(struct str metadata)
{
    struct str object, text;
    int64_t version = 0;
    bool has = find_member(metadata, STR("version_metadata"), &object) && find_member(object, STR("version"), &text);
    return has && str_to_i64(text, &version) ? version : 0;
}

/* What a brief has from the two columns. False: they must be read in full, if only to say what is wrong. */
static bool scan_columns(struct str settings, struct str metadata, struct store_brief *b)
{
    struct json_scan s;
    struct str key, value;
    json_scan_open(&s, metadata);
    while (json_scan_next(&s, &key, &value)) {
        if (str_eq(key, STR("jobs")))
            b->jobs = value;
        if (str_eq(key, STR("authn_type")) && !json_scan_plain(value, &b->authn_type))
            return false;
    }
    if (!json_scan_end(&s))
        return false;
    json_scan_open(&s, settings);
    while (json_scan_next(&s, &key, &value)) {
        b->stage_write_access |= str_eq(key, STR("stage_write_access")) && str_eq(value, STR("true"));
        b->preview_write_access |= str_eq(key, STR("preview_write_access")) && str_eq(value, STR("true"));
    }
    return json_scan_end(&s);
}

/* The two columns read in full. */
static bool read_columns(const struct db_rows *r, struct arena *a, struct store_settings *settings,
                         struct store_metadata *metadata, struct err *err)
{
    scoped_json *s = store_column_json(r, COL_SETTINGS, err);
    scoped_json *m = s ? store_column_json(r, COL_METADATA, err) : NULL;
    return (m && store_settings_from_json(a, s, settings, err) && store_metadata_from_json(a, m, metadata, err)) ||
           err_wrap(err, "app " STR_FMT, STR_ARG(db_peek(r, COL_ID)));
}

static void take_columns(struct store_brief *b, const struct store_settings *s, const struct store_metadata *m)
{
    b->authn_type = m->authn_type;
    b->jobs = m->jobs;
    b->stage_write_access = s->stage_write_access;
    b->preview_write_access = s->preview_write_access;
}

/* The current row; `a` holds what is not in it as such. */
static bool read_brief(const struct db_rows *r, struct arena *a, struct store_brief *b, struct err *err)
{
    struct store_settings s;
    struct store_metadata m;
    *b = (struct store_brief){
        .id = db_peek(r, COL_ID),
        .path = db_peek(r, COL_PATH),
        .domain = db_peek(r, COL_DOMAIN),
        .main_app = db_peek(r, COL_MAIN),
        .user_id = db_peek(r, COL_USER),
        .is_dev = db_bool(r, COL_DEV),
        .update_time = db_time(r, COL_UPDATED),
    };
    if (scan_columns(db_peek(r, COL_SETTINGS), db_peek(r, COL_METADATA), b))
        return true;
    if (!read_columns(r, a, &s, &m, err))
        return false;
    take_columns(b, &s, &m);
    return true;
}

struct store_brief store_app_brief(const struct store_app *app)
{
    struct store_brief b = {
        .id = app->id,
        .path = app->path,
        .domain = app->domain,
        .main_app = app->main_app,
        .user_id = app->user_id,
        .is_dev = app->is_dev,
        .update_time = app->update_time,
    };
    take_columns(&b, &app->settings, &app->metadata);
    return b;
}

bool store_app_each(struct store_tx *tx, store_brief_fn *fn, void *arg, struct err *err)
{
    scoped_arena row = {0};
    scoped_db_rows *r = db_query(tx->db, "SELECT " COLUMNS " FROM apps", DB_NO_ARGS, err);
    if (!r)
        return false;
    while (db_next(r)) {
        struct store_brief b;
        arena_reset(&row);
        if (!read_brief(r, &row, &b, err) || !fn(arg, &b, err))
            return false;
    }
    return db_end(&r, err);
}

/* --- the list --- */

static void add_str(struct buf *out, const char *name, struct str value)
{
    buf_add_z(out, name);
    buf_add_char(out, '"');
    buf_add_json(out, value);
    buf_add_char(out, '"');
}

static void add_time(struct buf *out, const char *name, int64_t ns)
{
    char text[TIME_TEXT_MAX];
    add_str(out, name, str_of(text, time_format_rfc3339_nano(text, ns == 0 ? TIME_NONE : ns)));
}

/* In the order of store_app_to_json(). */
static void add_app(struct buf *out, const struct db_rows *r, const struct store_row *row, struct str source,
                    struct str settings, struct str metadata, bool staged_changes)
{
    add_str(out, "{\"id\":", row->id);
    add_str(out, ",\"path\":", row->path);
    add_str(out, ",\"domain\":", row->domain);
    add_str(out, ",\"main_app\":", db_peek(r, COL_MAIN));
    add_str(out, ",\"linked_app_path\":", db_peek(r, COL_LINKED));
    add_str(out, ",\"source_url\":", source);
    buf_add_z(out, db_bool(r, COL_DEV) ? ",\"is_dev\":true" : ",\"is_dev\":false");
    add_str(out, ",\"user_id\":", row->user_id);
    add_time(out, ",\"create_time\":", db_time(r, COL_CREATED));
    add_time(out, ",\"update_time\":", db_time(r, COL_UPDATED));
    buf_add_z(out, ",\"settings\":");
    buf_add_str(out, settings);
    buf_add_z(out, ",\"metadata\":");
    buf_add_str(out, metadata);
    buf_add_z(out, staged_changes ? ",\"staged_changes\":true}" : ",\"staged_changes\":false}");
}

/* True if none of the webhooks has a token; in our shape, so that there is one way to say it. */
static bool has_no_tokens(struct str settings)
{
    return str_find(settings, STR("{\"reload\":\"\",\"reload_promote\":\"\",\"promote\":\"\"}")) != STR_NPOS;
}

/* What is known of all entries before the first one is written. */
struct listing {
    struct arena arena;
    bool reveal;
    struct map mains;      /* id -> struct store_row *; only for lists with linked apps */
    struct map staged;     /* id of a stage -> int64_t *: its version */
};

static void note_main(struct listing *l, const struct db_rows *r, struct str id)
{
    struct store_row *main = arena_new(&l->arena, struct store_row);
    main->path = db_text(r, 1, &l->arena);
    main->domain = db_text(r, 2, &l->arena);
    map_set(&l->mains, id, main);
}

static void note_stage(struct listing *l, const struct db_rows *r, struct str id)
{
    int64_t *version = arena_new(&l->arena, int64_t);
    *version = version_in(db_peek(r, 4));
    map_set(&l->staged, id, version);
}

static bool note_all(struct store_tx *tx, enum store_app_filter filter, struct listing *l, struct err *err)
{
    static const char all[] = "SELECT id, path, domain, main_app, metadata FROM apps";
    static const char linked[] = "SELECT id, path, domain, main_app, metadata FROM apps WHERE main_app <> ''";
    scoped_db_rows *r = db_query(tx->db, filter == STORE_APPS_MAIN ? linked : all, DB_NO_ARGS, err);
    if (!r)
        return false;
    map_init(&l->mains, &l->arena);
    map_init(&l->staged, &l->arena);
    while (db_next(r)) {
        struct str id = db_text(r, 0, &l->arena);
        if (str_is_empty(db_peek(r, 3)))
            note_main(l, r, id);
        else if (store_app_kind(id) == STORE_STAGE)
            note_stage(l, r, id);
    }
    return db_end(&r, err);
}

static bool has_staged_changes(const struct listing *l, struct arena *a, struct str id, struct str metadata)
{
    if (store_app_kind(id) != STORE_PROD)
        return false;
    const int64_t *staged = map_get(&l->staged, store_app_id_of(a, id, STORE_STAGE));
    return staged && *staged != version_in(metadata);
}

static struct store_row row_of(const struct db_rows *r, const struct listing *l)
{
    struct store_row row = {
        .id = db_peek(r, COL_ID),
        .path = db_peek(r, COL_PATH),
        .domain = db_peek(r, COL_DOMAIN),
        .user_id = db_peek(r, COL_USER),
    };
    struct str main_id = db_peek(r, COL_MAIN);
    const struct store_row *main = str_is_empty(main_id) ? NULL : map_get(&l->mains, main_id);
    row.main_path = main ? main->path : row.path;
    row.main_domain = main ? main->domain : row.domain;
    return row;
}

static bool add_row(const struct db_rows *r, const struct listing *l, const struct store_row *row, struct arena *a,
                    struct buf *out, struct err *err)
{
    struct str settings = db_peek(r, COL_SETTINGS), metadata = db_peek(r, COL_METADATA);
    struct str source = db_peek(r, COL_SOURCE);
    struct store_settings s;
    struct store_metadata m;
    bool hides = !l->reveal && !has_no_tokens(settings);
    bool may_have_user = str_chr(source, '@') != STR_NPOS || str_chr(settings, '@') != STR_NPOS;
    if (hides || may_have_user || !is_ours(settings, settings_shape) || !is_ours(metadata, metadata_shape)) {
        if (!read_columns(r, a, &s, &m, err))
            return false;
        if (hides)
            store_settings_mask(&s);
        store_mask_sources(a, &source, &s, &m);
        settings = store_json_text(a, store_settings_to_json(&s));
        metadata = store_json_text(a, store_metadata_to_json(&m));
    }
    add_app(out, r, row, source, settings, metadata, has_staged_changes(l, a, row->id, metadata));
    return !out->is_full || err_set(err, ERR_TOO_LARGE, "the list of apps is over %zu MB: use a narrower glob",
                                    out->max >> 20);
}

static bool add_all(struct store_tx *tx, enum store_app_filter filter, const struct listing *l, store_pick_fn *pick,
                    void *arg, struct buf *out, struct err *err)
{
    static const char main_apps[] = "SELECT " COLUMNS ", create_time, linked_app_path, source_url FROM apps "
                                    "WHERE main_app = '' ORDER BY create_time DESC, id DESC";
    static const char all[] = "SELECT " COLUMNS ", create_time, linked_app_path, source_url FROM apps "
                              "ORDER BY create_time DESC, id DESC";
    scoped_arena scratch = {0};
    bool is_first = true;
    scoped_db_rows *r = db_query(tx->db, filter == STORE_APPS_MAIN ? main_apps : all, DB_NO_ARGS, err);
    if (!r)
        return false;
    while (db_next(r)) {
        struct store_row row = row_of(r, l);
        arena_reset(&scratch);
        if (!pick(arg, &row))
            continue;
        if (!is_first)
            buf_add_char(out, ',');
        is_first = false;
        if (!add_row(r, l, &row, &scratch, out, err))
            return false;
    }
    return db_end(&r, err);
}

bool store_app_list_text(struct store_tx *tx, enum store_app_filter filter, bool reveal, store_pick_fn *pick, void *arg,
                         struct buf *out, struct err *err)
{
    struct listing l = {.reveal = reveal};
    bool is_ok = note_all(tx, filter, &l, err) && add_all(tx, filter, &l, pick, arg, out, err);
    arena_release(&l.arena);
    return is_ok;
}
