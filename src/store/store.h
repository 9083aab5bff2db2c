/* store/store.h: the metadata: apps, versions, files by content, sync entries, configuration, the key
 * store and the audit trail, typed, over db/.
 *
 * One store is two databases: metadata (schema version 22) and audit (version 2). Everything except audit
 * is read and written inside a transaction: store_begin() to write, store_read() for a snapshot; the same
 * read functions serve both. Results are allocated in the caller's arena and outlive the transaction.
 *
 *     scoped_store_tx *tx = store_begin(store, err);
 *     if (!tx || !store_app_insert(tx, &app, err) || !store_commit(&tx, err))
 *         return false;                         // nothing was changed
 *
 * Job threads only: every call may wait for the disk (store_audit_add() never does). No transaction may
 * span git, the network, a template or a response body; contents are hashed and compressed before it
 * (store_blob_prepare). A thread holds at most one transaction of a store at a time.
 *
 * Absent things are ERR_NOT_FOUND, unless the function has a `found`; broken uniqueness and changes that
 * another operation made meanwhile are ERR_CONFLICT. Times are ns since 1970 UTC, 0 is "never".
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_H
#define STORE_H

#include "base.h"
#include "db.h"
#include "id.h"
#include "json.h"

struct store;
struct store_tx;

enum {
    STORE_SCHEMA_VERSION = 22,
    STORE_AUDIT_VERSION = 2,
    STORE_SHA_LEN = 64,                     /* hex SHA-256: sha256_hex() */
    STORE_FILE_MAX = 512 << 20,             /* bytes of one file, uncompressed */
    STORE_JSON_MAX = 64 << 20,              /* bytes of one JSON column */
};

/* --- opening --- */

struct store_options {
    struct str metadata_connection;    /* "sqlite:<path>", environment expanded; folders must exist */
    struct str audit_connection;
    bool auto_upgrade;                 /* [metadata] auto_upgrade: false makes an older database an error */
    bool ignore_higher_version;
    int64_t journal_size_limit;        /* [metadata] sqlite_journal_size_limit; 0 or less: none */
};
bool store_open(const struct store_options *options, struct store **out, struct err *err);
/* Writes the audit events still queued, then closes. NULL is fine. */
void store_close(struct store *s);
/* One maintenance pass over both databases (db_care), for the scheduler. */
bool store_care(struct store *s, const struct db_care_options *options, struct err *err);
/* Gives back what both keep to be quicker (db_slim). */
void store_slim(struct store *s);
void store_health(struct store *s, struct db_health *metadata, struct db_health *audit);

struct store_tx *store_begin(struct store *s, struct err *err) MUST_USE;
struct store_tx *store_read(struct store *s, struct err *err) MUST_USE;
/* Ends the transaction; *tx is NULL afterwards, also on failure (then nothing was changed). */
bool store_commit(struct store_tx **tx, struct err *err);
/* Undoes and ends; *tx may be NULL, and is afterwards. */
void store_rollback(struct store_tx **tx);
#define scoped_store_tx CLEANUP(store_rollback) struct store_tx

/* --- apps --- */

enum store_tri { STORE_UNSET, STORE_FALSE, STORE_TRUE };

struct store_str_lists {
    struct str_list *items;
    size_t len, cap;
};

/* What an app may call, as approved. */
struct store_permission {
    struct str plugin, method;
    struct str_list arguments, permit;
    enum store_tri is_read;
    struct store_str_lists secrets;    /* lists of key patterns */
};
struct store_permission_list {
    struct store_permission *items;
    size_t len, cap;
};

struct store_account {
    struct str plugin, account_name;
};
struct store_account_list {
    struct store_account *items;
    size_t len, cap;
};

struct store_version_metadata {
    int64_t version, previous_version;
    struct str git_branch, git_commit, git_message;
    struct str apply_info;         /* bytes: JSON of the create request last applied; empty: imperative */
    struct str applied_sync_id;
};

/* The part of an app that is versioned, staged and promoted as one. Maps are name -> struct str *, in
 * insertion order; use store_map_set/get. */
struct store_metadata {
    struct str name, spec, authn_type, git_auth_name;
    struct store_version_metadata version_metadata;
    struct str_list loads;                         /* approved */
    struct store_permission_list permissions;      /* approved */
    struct store_account_list accounts;
    struct map param_values, container_options, container_args;
    struct str_list container_volumes, bindings;
    struct map appconfig;                          /* dotted key -> raw TOML value */
    struct map spec_files;                         /* name -> content (bytes) */
    struct str applied_sync_id;
    bool builder_published;
    struct str jobs;                               /* JSON: what the app declares as scheduled jobs; empty: none */
};

/* The part that is neither versioned nor staged. */
struct store_settings {
    bool stage_write_access, preview_write_access;
    struct { struct str reload, reload_promote, promote; } webhook_tokens;
    struct str orig_source_url;
    struct str authn_type, git_auth_name;          /* of old databases; unused */
};

struct store_app {
    struct str id, path, domain;
    struct str main_app;             /* empty for prod and dev apps; the prod app's id for stage and preview */
    struct str linked_app_path;      /* [domain:]path of the other half; empty for dev apps */
    struct str source_url, user_id;
    bool is_dev;
    int64_t create_time, update_time;
    struct store_settings settings;
    struct store_metadata metadata;
};
struct store_app_list {
    struct store_app *items;
    size_t len, cap;
};

enum store_app_kind { STORE_PROD, STORE_STAGE, STORE_PREVIEW, STORE_DEV };
/* By the id's prefix; unknown prefixes count as prod. */
enum store_app_kind store_app_kind(struct str id);
/* `app_prd_` or `app_dev_` and a new lower-case KSUID. */
struct str store_app_id_new(struct arena *a, enum store_app_kind kind);
/* The id of `id`'s stage or preview: the same suffix behind another prefix. */
struct str store_app_id_of(struct arena *a, struct str id, enum store_app_kind kind);
/* `path`, or `domain:path` when there is a domain. */
struct str store_path_domain(struct arena *a, struct str path, struct str domain);

/* Empty values whose maps allocate in `a`; required before filling one by hand. */
void store_metadata_init(struct arena *a, struct store_metadata *m);
void store_app_init(struct arena *a, struct store_app *app);
/* Deep copies: what is changed in the copy does not touch the original. Text is shared. */
void store_metadata_copy(struct arena *a, const struct store_metadata *from, struct store_metadata *to);
void store_app_copy(struct arena *a, const struct store_app *from, struct store_app *to);
void store_map_set(struct arena *a, struct map *m, struct str key, struct str value);
/* The value, or an empty slice. */
struct str store_map_get(const struct map *m, struct str key);
bool store_permission_eq(const struct store_permission *x, const struct store_permission *y);

/* JSON in the shapes of management-api.md section 5: lists and maps never null. Text that is not UTF-8 has
 * U+FFFD for each bad byte. Reading ignores unknown members, takes null for empty, and fails naming the
 * member on a wrong type; a new reference is returned. */
json_t *store_app_to_json(const struct store_app *app);
json_t *store_metadata_to_json(const struct store_metadata *m);
json_t *store_settings_to_json(const struct store_settings *s);
/* Webhook tokens become STORE_MASK: who may see an app may not see how its webhooks are called. */
void store_settings_mask(struct store_settings *s);
#define STORE_MASK STR("********")
/* What an older program stored of addresses with a password in them, as it may be shown; each may be NULL. */
void store_mask_sources(struct arena *a, struct str *source_url, struct store_settings *s, struct store_metadata *m);
json_t *store_permission_to_json(const struct store_permission *p);
json_t *store_permissions_to_json(const struct store_permission_list *l);
bool store_app_from_json(struct arena *a, const json_t *j, struct store_app *out, struct err *err);
bool store_metadata_from_json(struct arena *a, const json_t *j, struct store_metadata *out, struct err *err);
bool store_settings_from_json(struct arena *a, const json_t *j, struct store_settings *out, struct err *err);
bool store_permission_from_json(struct arena *a, const json_t *j, struct store_permission *out,
                                struct err *err);
/* RFC 3339 with nanoseconds, trailing zeros dropped; 0 is `0001-01-01T00:00:00Z`. */
struct str store_time_to_wire(struct arena *a, int64_t ns);
json_t *store_time_to_json(int64_t ns);

/* Adds the row. Times that are 0 become now. An existing id or path:domain is ERR_CONFLICT. */
bool store_app_insert(struct store_tx *tx, struct store_app *app, struct err *err);
/* Writes settings, metadata, source_url, linked_app_path and user_id of the app with `app->id`, and rewrites
 * the metadata of its current version's row (prod and stage). `app->update_time` is that of the entry as it
 * was read: if the stored one differs, somebody else changed the app and it is ERR_CONFLICT; 0 skips the
 * check. On success it is the new one. */
bool store_app_update(struct store_tx *tx, struct store_app *app, struct err *err);
/* The same for settings alone. */
bool store_app_update_settings(struct store_tx *tx, struct store_app *app, struct err *err);
/* Deletes the entry, its versions and file lists (not its linked apps; contents go by store_cleanup_blobs). */
bool store_app_delete(struct store_tx *tx, struct str id, struct err *err);

bool store_app_get(struct store_tx *tx, struct arena *a, struct str path, struct str domain,
                   struct store_app *out, struct err *err);
bool store_app_get_by_id(struct store_tx *tx, struct arena *a, struct str id, struct store_app *out,
                         struct err *err);
enum store_app_filter {
    STORE_APPS_MAIN,      /* prod and dev */
    STORE_APPS_ALL,       /* stage and preview too */
    STORE_APPS_BRIEF,     /* all, without settings and metadata (left empty): for the site's table */
};
/* Newest first. */
bool store_app_list(struct store_tx *tx, struct arena *a, enum store_app_filter filter,
                    struct store_app_list *out, struct err *err);
/* What the site's table needs of an entry: a row costs a microsecond, not the tens that its whole metadata does. Texts are borrowed: those of a row until the callback returns. */
struct store_brief {
    struct str id, path, domain, main_app, user_id;
    struct str authn_type, jobs;
    bool is_dev, stage_write_access, preview_write_access;
    int64_t update_time;
};
struct store_brief store_app_brief(const struct store_app *app);
/* Calls `fn` for every entry, in no order; ends early when that fails. */
typedef bool store_brief_fn(void *arg, const struct store_brief *b, struct err *err);
bool store_app_each(struct store_tx *tx, store_brief_fn *fn, void *arg, struct err *err);
/* An entry where a list has to choose. */
struct store_row {
    struct str id, path, domain, user_id;
    struct str main_path, main_domain;   /* of its main app, whom it follows; its own if it is one */
};
/* Adds to `out` the entries that `pick` wants, newest first, as the AppResponse objects of a JSON list with commas
 * between them. Webhook tokens are masked unless `reveal`. */
typedef bool store_pick_fn(void *arg, const struct store_row *row);
bool store_app_list_text(struct store_tx *tx, enum store_app_filter filter, bool reveal, store_pick_fn *pick, void *arg,
                         struct buf *out, struct err *err);
/* Stage and previews of a prod app, newest first. */
bool store_app_linked(struct store_tx *tx, struct arena *a, struct str main_id, struct store_app_list *out,
                      struct err *err);

/* --- versions --- */

struct store_version {
    struct str app_id;
    int64_t version, previous_version;
    struct str user_id;
    int64_t create_time;
    struct store_metadata metadata;
};
struct store_version_list {
    struct store_version *items;
    size_t len, cap;
};

/* Highest version with a row, plus 1. */
bool store_version_next(struct store_tx *tx, struct str app_id, int64_t *out, struct err *err);
/* Adds the row, or replaces it (promote of a version that prod had before). create_time 0 becomes now. */
bool store_version_put(struct store_tx *tx, const struct store_version *v, struct err *err);
bool store_version_get(struct store_tx *tx, struct arena *a, struct str app_id, int64_t version,
                       struct store_version *out, struct err *err);
/* Ascending. */
bool store_version_list(struct store_tx *tx, struct arena *a, struct str app_id,
                        struct store_version_list *out, struct err *err);
/* The AppVersion object. */
json_t *store_version_to_json(const struct store_version *v, bool is_active);

/* --- files --- */

/* A content, as stored: named by the hash of its uncompressed bytes. */
struct store_blob {
    struct str sha;             /* STORE_SHA_LEN hex digits */
    struct str compression;     /* "br" or empty */
    struct str content;         /* stored bytes */
    int64_t size;               /* uncompressed; -1 when not known (store_blob_get) */
};
struct store_file {
    struct str name, sha;
    int64_t size, create_time;
};
struct store_file_list {
    struct store_file *items;
    size_t len, cap;
};

/* Hashes and compresses, before and outside of any transaction, on any thread: brotli 9, kept only when it
 * makes the content smaller, not tried for names of media that are compressed already (.png, .zip, ...).
 * `data` is borrowed by *out when not compressed. Fails above STORE_FILE_MAX. */
bool store_blob_prepare(struct arena *a, struct str name, struct str data, struct store_blob *out,
                        struct err *err);
/* For each of `shas`, whether its content is stored already (then it need not be prepared). */
bool store_blobs_have(struct store_tx *tx, const struct str *shas, size_t n, bool *have, struct err *err);
/* Stores it, unless it is there already. */
bool store_blob_put(struct store_tx *tx, const struct store_blob *blob, struct err *err);
/* The stored form, without decompressing: for store_blob_unpack() after the transaction, or to serve "br"
 * as it is. */
bool store_blob_get(struct store_tx *tx, struct arena *a, struct str sha, struct store_blob *out,
                    struct err *err);
/* The bytes; fails when they do not match the hash. */
bool store_blob_unpack(struct arena *a, const struct store_blob *blob, struct str *data, struct err *err);

/* Adds `name` to a version's list. ERR_CONFLICT when the content is not stored (it was cleaned up since it
 * was looked for): put it and try again. */
bool store_file_put(struct store_tx *tx, struct str app_id, int64_t version, const struct store_file *file,
                    struct err *err);
/* Gives the version `to` (of any app) the file list of `from`, in place of one it may have. */
bool store_files_copy(struct store_tx *tx, struct str from_app, int64_t from_version, struct str to_app,
                      int64_t to_version, struct err *err);
/* Sorted by name. */
bool store_file_list(struct store_tx *tx, struct arena *a, struct str app_id, int64_t version,
                     struct store_file_list *out, struct err *err);
/* One file's stored content. */
bool store_file_get(struct store_tx *tx, struct arena *a, struct str app_id, int64_t version, struct str name,
                    struct store_blob *out, struct err *err);
/* One file's bytes in a transaction of its own: what a loading app calls from its job thread. */
bool store_file_read(struct store *s, struct arena *a, struct str app_id, int64_t version, struct str name,
                     struct str *data, struct err *err);

/* Deletes the versions of an app below its `active` one, except the `retain` highest; retain < 0 keeps all. */
bool store_cleanup_versions(struct store_tx *tx, struct str app_id, int64_t active, int64_t retain,
                            int64_t *removed, struct err *err);
/* Deletes up to `limit` contents that no version refers to; *removed < limit when none are left. */
bool store_cleanup_blobs(struct store_tx *tx, int64_t limit, int64_t *removed, struct err *err);

/* --- checking --- */

/* Adds a line for each row that has lost what it refers to, or what refers to it: versions without an app, files
 * without a version or content, contents without a file. At most 100 of each kind. */
bool store_check(struct store_tx *tx, struct arena *a, struct str_list *problems, struct err *err);

/* --- sync entries --- */

struct store_sync {
    struct str id, path, user_id;
    bool is_scheduled;
    int64_t create_time;
    struct {
        struct str git_branch, git_auth, reload, webhook_url, webhook_secret;
        bool promote, approve, verify, clobber, force_reload;
        int64_t schedule_frequency;      /* minutes */
        struct str rbac;                 /* JSON text; empty: unrestricted */
    } metadata;
    struct {
        struct str state;                /* "Enabled", "Failing", "Disabled" */
        int64_t failure_count;
        int64_t last_execution_time;
        struct str error, commit_id;
        bool is_apply;
        struct str app_apply_response;   /* JSON text; empty: none */
    } status;
};
struct store_sync_list {
    struct store_sync *items;
    size_t len, cap;
};
struct str store_sync_id_new(struct arena *a);
json_t *store_sync_to_json(const struct store_sync *s);
/* Reads SyncMetadata into out->metadata. */
bool store_sync_metadata_from_json(struct arena *a, const json_t *j, struct store_sync *out, struct err *err);
bool store_sync_insert(struct store_tx *tx, struct store_sync *s, struct err *err);
bool store_sync_update_status(struct store_tx *tx, const struct store_sync *s, struct err *err);
bool store_sync_delete(struct store_tx *tx, struct str id, struct err *err);
bool store_sync_get(struct store_tx *tx, struct arena *a, struct str id, struct store_sync *out,
                    struct err *err);
bool store_sync_list(struct store_tx *tx, struct arena *a, struct store_sync_list *out, struct err *err);

/* --- dynamic configuration --- */

struct store_config {
    struct str version_id, user_id;
    int64_t update_time;
    struct str config;                   /* JSON text */
};
struct store_config_list {
    struct store_config *items;
    size_t len, cap;
};
bool store_config_get(struct store_tx *tx, struct arena *a, struct store_config *out, bool *found,
                      struct err *err);
/* Replaces the row if its version is `expected` (empty: if there is no row yet), else ERR_CONFLICT; adds it to
 * the history and keeps the `history` newest. update_time 0 becomes now. */
bool store_config_put(struct store_tx *tx, const struct store_config *c, struct str expected, int64_t history,
                      struct err *err);
/* Newest first. */
bool store_config_history(struct store_tx *tx, struct arena *a, int64_t limit, struct store_config_list *out,
                          struct err *err);
bool store_config_history_get(struct store_tx *tx, struct arena *a, struct str version_id,
                              struct store_config *out, struct err *err);
/* The one draft, JSON text. An empty `draft` deletes it. */
bool store_config_draft_get(struct store_tx *tx, struct arena *a, struct str *draft, bool *found,
                            struct err *err);
bool store_config_draft_put(struct store_tx *tx, struct str draft, struct err *err);

/* --- key store: sessions and secrets of the server --- */

struct store_key {
    struct str key, value;
    int64_t expires;                     /* 0 never */
};
struct store_key_list {
    struct store_key *items;
    size_t len, cap;
};
/* Expired values are not found. */
bool store_key_get(struct store_tx *tx, struct arena *a, struct str key, struct store_key *out, bool *found,
                   struct err *err);
bool store_key_put(struct store_tx *tx, const struct store_key *k, struct err *err);
/* Inserts unless there is one that has not expired; *value is the one that is stored now. */
bool store_key_put_once(struct store_tx *tx, struct arena *a, const struct store_key *k, struct str *value,
                        struct err *err);
bool store_key_delete(struct store_tx *tx, struct str key, struct err *err);
/* The keys that start with `prefix` and have not expired, by key. */
bool store_key_list(struct store_tx *tx, struct arena *a, struct str prefix, struct store_key_list *out,
                    struct err *err);
bool store_key_sweep(struct store_tx *tx, int64_t *removed, struct err *err);

/* Marks an operation as committed, in the transaction of its changes. The mark is kept for a day, and beyond it as
 * long as nobody sweeps: a server that comes up again looks before it does. */
bool store_operation_mark(struct store_tx *tx, struct str id, struct err *err);
bool store_operation_is_marked(struct store_tx *tx, struct str id, bool *is_marked, struct err *err);

/* --- audit --- */

enum {
    STORE_AUDIT_QUEUE_MAX = 64 << 10,         /* events waiting to be written */
    STORE_AUDIT_QUEUE_BYTES = 32 << 20,
    STORE_AUDIT_GROUP = 200,                  /* rows of one transaction ... */
    STORE_AUDIT_GROUP_BUSY = 2000,            /* ... and when so many are waiting already */
    STORE_AUDIT_GROUP_MS = 5,                 /* how long a group waits to fill */
    STORE_AUDIT_DETAIL_MAX = 8 << 10,         /* longer texts are cut */
};

struct store_audit_event {
    struct str rid, app_id, user_id, event_type, operation, target, status, detail;
    int64_t create_time;                      /* 0: now */
};
/* Queues a copy for the writer thread: never blocks, takes no lock, may be called from a loop. False when the
 * queue is full: the event is counted, and a row `system/audit_dropped` will say how many were. */
bool store_audit_add(struct store *s, const struct store_audit_event *e);
/* The same for job threads: waits for room instead. */
void store_audit_add_wait(struct store *s, const struct store_audit_event *e);
/* Returns when everything queued before the call is committed; fails if it could not be. */
bool store_audit_flush(struct store *s, struct err *err);

struct store_audit_query {
    const struct str_list *app_ids;           /* NULL: any; an empty list matches nothing */
    struct str user_id, event_type, target, status, rid;   /* empty: any */
    struct str_list operations;               /* empty: any. reload_apps, approve_apps, promote_apps and
                                                 update_metadata also match with their suffixes */
    struct str detail;                        /* contained in the detail, any ASCII case */
    int64_t from, to;                         /* from <= create_time < to; 0: open */
    int64_t before;                           /* create_time < before, for paging; 0: none */
    int limit;                                /* 1 to 10000; 0 is 50 */
};
struct store_audit_list {
    struct store_audit_event *items;
    size_t len, cap;
};
/* Newest first. Flushes before it reads. */
bool store_audit_list(struct store *s, struct arena *a, const struct store_audit_query *q,
                      struct store_audit_list *out, struct err *err);
/* Distinct operations of custom events, sorted. */
bool store_audit_operations(struct store *s, struct arena *a, struct str_list *out, struct err *err);
/* Deletes what is older than so many days, in short transactions; 0 or less keeps all. */
bool store_audit_retain(struct store *s, int64_t http_days, int64_t other_days, int64_t *removed,
                        struct err *err);
struct store_audit_stats {
    int64_t queued, written, dropped, failed_commits, commits;
};
void store_audit_stats(struct store *s, struct store_audit_stats *out);

#endif
