/* deploy/deploy_int.h: the machinery that all operations share.
 *
 *     op_open -> op_select (which apps; waits for others that work on them) -> per app: plan and check
 *             -> op_commit (one transaction, then publish) -> op_close
 *
 *     deploy.c   the queue; opening and ending an operation; committing it
 *     unit.c     one app in an operation: its production and its stage entry, new versions, promotion
 *     fetch.c    where the files of a unit come from
 *     check.c    audit, approval, loading, containers
 *     request.c  a request to create an app, as the API has it
 *     places.c   where apps are: overlaps
 *     create.c reload.c update.c remove.c preview.c export.c query.c   the operations
 *     sync.c     applies that are done again and again
 *     webhook.c  tokens of webhooks
 *     wire.c     replies
 *
 * Declarative: files.c (which files) -> declare.c (what they say) -> apply.c (the operation), with
 *     merge.c    what was said, what is said and what is, merged
 *     changes.c  what differs between two states of an app, for people: plan and diff
 *     diff.c     staging against production     textdiff.c  two texts
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DEPLOY_INT_H
#define DEPLOY_INT_H

#include "app.h"
#include "base.h"
#include "container.h"
#include "deploy.h"
#include "source.h"
#include "starlark.h"
#include "store.h"

#include <pthread.h>

struct deploy {
    struct deploy_config config;
    pthread_rwlock_t
        contents; /* shared: contents are written that no version has yet; own: unused ones are removed */
    pthread_mutex_t lock; /* guards `busy` */
    pthread_cond_t freed; /* something left `busy` */
    struct str_list busy; /* keys held by running operations; heap-owned strings */
};

/* An entry that an operation writes. */
struct entry {
    struct store_app *app; /* as it will be; NULL: no such entry (a dev app's stage) */
    bool is_changed;       /* metadata differs from the store's */
    bool is_new;           /* to be inserted */
    bool is_deleted;       /* to be deleted, with what is linked to it (remove.c does) */
    bool has_new_version;  /* version_metadata.version is to get a version row and files */
    bool is_copied;        /* the new version's file list is that of copy_app's copy_version, */
    struct str copy_app;   /*   which may be written by this operation too; */
    int64_t copy_version;
    const struct src_files *files; /* the new version's files, NULL: those of read_app's read_version, */
    struct str read_app;           /*   which are in the store already */
    int64_t read_version;
    struct app *loaded; /* evaluated for this operation; owned */
};

/* One main app in an operation. A dev app has no stage: its entry is `main`. */
struct unit {
    struct entry main, stage;
    struct str_list warnings;
};
/* The entry on which changes are made first: the stage, or a dev app itself. */
static inline struct entry *unit_staged(struct unit *u)
{
    return u->stage.app ? &u->stage : &u->main;
}

struct op {
    struct arena arena; /* everything of the operation */
    struct deploy *deploy;
    const struct deploy_caller *who;
    const struct deploy_opts *opts;
    const char *name;        /* in the log, and of the audit event of each changed app */
    struct src_session *git; /* opened on first use */
    struct str_list held;    /* keys of this operation in deploy->busy */
    VEC(struct unit *) units;
    struct str_list deleted; /* ids of the entries that a deletion has found */
    struct str_list clone_notes; /* clones.c */
    struct str_list clones;  /* folders made for dev apps: they go if the operation does not come about */
    bool has_put;            /* contents were written, or may have been */
    bool has_removed;        /* versions went, so contents may have become unused */
    bool is_committed;
};

/* --- deploy.c --- */

void op_open(struct op *op, struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
             const char *name);
/* Lets go of the apps, the checkouts and the loaded apps. Containers started for a change that did not come
 * about are stopped. */
void op_close(struct op *op);
#define scoped_op CLEANUP(op_close) struct op

/* Makes the operation the only one on `key` (an app id, or the place of an app to be), waiting for its turn.
 */
bool op_hold(struct op *op, struct str key, struct err *err);
/* The same for several keys at once; an operation that holds keys already must let go of them first. */
bool op_hold_all(struct op *op, const struct str_list *keys, struct err *err);
void op_let_go(struct op *op);
/* A path or glob as the user means it: "/x/" is "/x", and the domain "maps." is completed as it is at create. */
struct str op_expand(struct op *op, struct str glob);
/* True if it names one app rather than a pattern. */
bool op_is_exact(struct str glob);
/* The units of every main app that `glob` matches, newest first, with the apps held. Warns if it is an exact path
 * and there is none. */
bool op_select(struct op *op, struct str glob, struct err *err);
/* The one entry at an exact path, of any kind. For reading. */
bool op_find(struct op *op, struct str path, struct store_app *out, struct err *err);
bool op_is_cancelled(const struct op *op, struct err *err);
void op_say(const struct op *op, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Contents first, in short transactions; then every change of every unit in one; then the site. `before`
 * (may be NULL) runs in the transaction before the changes. A dry run does that and nothing else. */
typedef bool op_before_fn(struct op *op, struct store_tx *tx, void *arg, struct err *err);
bool op_commit(struct op *op, op_before_fn *before, void *arg, struct err *err);
/* --- unit.c --- */

/* The unit of a main app with its stage entry read. */
bool unit_read(struct op *op, struct store_tx *tx, struct store_app *main, struct unit **out,
               struct err *err);
/* Gives an entry the next version number, with `files`, or with a copy of its current ones if NULL. */
bool unit_bump(struct op *op, struct entry *e, const struct src_files *files, struct err *err);
/* Metadata changes that must not bump a dev app. */
bool unit_bump_staged(struct op *op, struct unit *u, struct err *err);
/* Production gets the stage's metadata, version and files. False for dev apps: nothing to promote. */
bool unit_promote(struct op *op, struct unit *u);
/* The files of an entry's active version as a set that reads from the store. */
bool unit_stored_files(struct op *op, struct str app_id, int64_t version, struct src_files **out,
                       struct err *err);
/* True if the app is served from its folder, so that nothing of it is stored. */
bool unit_is_on_disk(const struct store_app *app);
/* Fails if the app is to be served from disk and its source is not a folder. */
bool unit_check_on_disk(const struct store_app *app, struct err *err);

/* --- request.c --- */

/* A CreateAppRequest. */
struct request {
    struct str path, source_url, stage_at, authn_type, git_branch, git_commit, git_auth_name, spec;
    bool is_dev, verify;
    struct map param_values, container_options, container_args, appconfig;
    struct str_list container_volumes, bindings;
};
void request_init(struct arena *a, struct request *r);
/* Text is borrowed from `j`. */
bool request_read(struct arena *a, const json_t *j, struct request *out, struct err *err);
/* The same request always gives the same text. */
struct str request_text(struct arena *a, const struct request *r);
/* A request says the same thing in several ways; after this in one: "#folder" of the source is the app config
 * star_base, authentication has a name, git's members are of git sources only. */
bool request_normalize(struct arena *a, struct request *r, struct err *err);
/* That a param or build argument (`what`) can be a variable of a container or a build. */
bool check_env_name(const char *what, struct str name, bool may_have_space, struct err *err);
/* Metadata and source of an app that is to be, of a normalized request. */
bool request_to_app(struct op *op, const struct request *r, struct store_app *out, struct err *err);
/* Replaces the files of the spec that the metadata names; none without a spec. */
bool request_snapshot_spec(struct op *op, struct store_metadata *m, struct err *err);

/* --- places.c --- */

/* Where an app is or will be. */
struct place {
    struct src_apppath main, stage;
    bool has_stage;
};
/* Which places are taken. */
struct places {
    struct arena *arena;
    struct str default_domain;
    struct map at;    /* "domain:path" of an entry -> struct taken */
    struct map above; /* the same of every place above one */
};
/* Those of all entries in the store. */
bool places_read(struct op *op, struct store_tx *tx, struct places *out, struct err *err);
/* Adds an app; fails if there is one at, above or below its place. */
bool places_take(struct places *p, const struct place *place, struct err *err);
/* A check for op_commit(): every new unit has its place. */
bool places_check_new(struct op *op, struct store_tx *tx, void *ignored, struct err *err);

/* --- create.c --- */

/* Adds the unit of a new app to the operation: its source fetched, audited, its containers started if it is to be
 * verified. `places`: those taken so far. *result is a new reference to its AppCreateResponse. */
bool create_unit(struct op *op, const struct request *r, struct places *places, struct unit **out,
                 json_t **result, struct err *err);

/* --- reload.c --- */

/* What an operation on several apps reports: lists of the API. */
struct results {
    json_t *reloaded, *approved, *promoted, *skipped;
};
void results_init(struct results *r);
void results_release(struct results *r);
#define scoped_results CLEANUP(results_release) struct results

/* The next version of the app: with `files` (NULL: served from disk) from its source, or if `is_same` with those
 * that it has. Audited, evaluated, and promoted if the operation says so. Its container is started, or if not
 * `starts` only where it runs now. */
bool unit_advance(struct op *op, struct unit *u, bool is_same, bool starts, const struct src_files *files,
                  struct results *r, struct err *err);

/* --- files.c --- */

struct config_file {
    struct str name; /* as people know it: relative to where the pattern starts */
    struct str text;
};
struct config_files {
    struct config_file *items;
    size_t len, cap;
    bool is_git;
    struct str commit, branch; /* of git: what was read; the branch as asked for */
    struct str dir;            /* of local files: what relative sources are relative to; else empty */
    bool is_skipped;           /* nothing was read: the commit is that of the last run, and that is enough */
};
/* The files that the operation's options name, by name. */
bool files_read(struct op *op, struct config_files *out, struct err *err);

/* --- declare.c --- */

/* An app as a file says it is to be. */
struct declaration {
    struct request request;
    struct src_apppath at; /* of its path, the domain completed */
    struct str file;
};
struct declarations {
    struct declaration *items; /* in the order of the files and in them */
    size_t len, cap;
    struct str_list warnings;
};
struct declare_env {
    const struct app_env *env;
    struct str branch; /* config("_branch") */
    bool is_dev;       /* config("_dev"), and every app is a dev app */
    atomic_bool *cancel; /* may be NULL */
};
/* Evaluates the files, each on its own. Fails naming file, line and what is wrong; nothing that a file does
 * takes more than a bounded amount of time and memory. */
bool declare_eval(struct arena *a, const struct declare_env *env, const struct config_files *files,
                  struct declarations *out, struct err *err);
/* A name of something that should not be readable: a password, a token, a key. */
bool declare_is_secret(struct str name);

/* --- merge.c --- */

/* `old` is what was declared last, `now` what is declared, `live` what is (spec app-lifecycle.md 19.3). */
enum merge_mode {
    MERGE_NORMAL,  /* what the declaration changes is changed, what was changed by hand beside it is kept */
    MERGE_ADOPT,   /* nothing was declared before: what is declared is set, the rest is kept */
    MERGE_CLOBBER, /* it becomes what is declared, and nothing else */
};
/* Whether the live value is to become `now`. */
bool merge_scalar(enum merge_mode mode, struct str old, struct str now, struct str live);
/* Change *live; true if they did. Maps are of `struct str *`. */
bool merge_map(struct arena *a, enum merge_mode mode, const struct map *old, const struct map *now,
               struct map *live);
bool merge_list(struct arena *a, enum merge_mode mode, const struct str_list *old, const struct str_list *now,
                struct str_list *live);

/* --- changes.c --- */

/* New references: what differs, as [{"field", "old", "new"}], null for what is not there; secrets are masked. The
 * fields are named as in declarative files. */
json_t *changes_metadata(struct arena *a, const struct store_metadata *old, const struct store_metadata *now);
/* {"added", "changed", "removed"}: names. */
json_t *changes_files(const struct src_files *old, const struct src_files *now);
bool changes_have_files(const struct src_files *old, const struct src_files *now);
/* Calls `fn` for each name of two sets in order; NULL for the one that lacks it. NULL sets are empty. */
typedef void changes_file_fn(void *arg, const struct src_file *old, const struct src_file *now);
void changes_each_file(const struct src_files *old, const struct src_files *now, changes_file_fn *fn, void *arg);

/* --- textdiff.c --- */

/* Adds the hunks of a unified diff; nothing if the texts are the same. False if `out` is full. */
bool textdiff(struct arena *arena, struct str old, struct str now, struct buf *out);

/* --- fetch.c --- */

/* The repository session of the operation, opened now if it was not yet. */
struct src_session *fetch_session(struct op *op);
/* The credentials of that name, else those of the server; NULL is none. */
bool fetch_auth(struct op *op, struct str name, const struct src_git_auth **out, struct err *err);
/* True if what was loaded last is a commit that was asked for, rather than the head of a branch. */
bool fetch_is_pinned(const struct store_version_metadata *vm);
/* Gets the source of `app` as its metadata says (branch, commit, git auth) and writes the commit that came
 * back into it. `*files` is NULL for apps served from disk. */
bool fetch_source(struct op *op, struct store_app *app, struct src_files **files, struct err *err);
/* Removes what was cloned for dev apps. */
void fetch_undo_clones(struct op *op);

/* --- clones.c --- */

/* Notes that `dir` has just been made for a clone, until clone_notes_end(). */
bool clone_note(struct op *op, struct str dir, struct err *err);
void clone_notes_end(struct op *op);
/* True if a git app already has what it would get: nothing to reload. */
bool fetch_is_current(struct op *op, const struct store_app *app, struct str branch, struct str commit,
                      bool *current, struct err *err);
/* An absolute, readable folder for local sources, `-` and git URLs as they are. */
bool fetch_check_source(struct op *op, struct store_app *app, struct err *err);

/* --- check.c --- */

/* What an app asks for, as the API shows it; `approve` takes it into the entry. */
bool check_approval(struct op *op, struct store_app *app, const struct src_files *files, bool approve,
                    json_t **result, bool *needs_approval, struct err *err);
/* Evaluates the entry as a request would, without its container. */
bool check_load(struct op *op, struct entry *e, struct err *err);
/* Starts the container of a loaded entry and waits until it is healthy. */
bool check_container(struct op *op, struct entry *e, struct err *err);
/* Starts it only if a container of the app runs now, whose requests must not wait for the new one. */
bool check_awake_container(struct op *op, struct entry *e, struct err *err);
/* Production becomes what the stage is: evaluated, with its new container up before any request meets it if
 * the app is awake or `start` says so. Adds its path to `promoted`. Nothing for dev apps. */
bool check_promote(struct op *op, struct unit *u, bool start, json_t *promoted, struct err *err);
/* Every value of an app config is TOML. */
bool check_appconfig(struct op *op, const struct map *appconfig, struct err *err);
/* Why a key may be a mistake: "is not known (did you mean ...?)"; empty for one that the server knows. */
struct str appconfig_doubt(struct op *op, struct str key);
void warn_appconfig(struct op *op, struct str key);
/* Ends the message of a failed verification. False. */
bool append_reverted(struct err *err);

/* --- remove.c --- */

/* Deletes an entry with its versions, in the transaction. */
bool remove_entry(struct op *op, struct store_tx *tx, struct str id, struct err *err);
/* Commits what `remove` deletes, the units of the operation; then what they have outside of the store goes too. Makes
 * the reply of both deletions. */
bool remove_units(struct op *op, op_before_fn *remove, void *arg, json_t **reply, struct err *err);

/* --- webhook.c --- */

/* What webhook URLs start with. */
struct str hook_base(struct arena *a, const struct deploy *d);

/* --- wire.c --- */

json_t *wire_path(const struct store_app *app);     /* {"Path", "Domain"} */
json_t *wire_app_info(const struct store_app *app); /* AppInfo */
/* Where it is served; empty when that listener is off. */
struct str wire_url(struct op *op, const struct store_app *app, const char *scheme);
/* {dry_run, staged_update_results, promote_results}; takes over the two lists. */
json_t *wire_staged(const struct op *op, json_t *staged, json_t *promoted);

#endif
