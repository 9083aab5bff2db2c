/* deploy/deploy.h: the life of apps: every change to the metadata is one operation here.
 *
 * Each operation runs on a job thread as: read -> plan -> check (fetch sources, load and audit every
 * changed app, build and start changed containers) -> one store transaction -> publish the new site. A
 * failure before the commit leaves nothing behind; a dry run is the same path without the commit.
 * Operations that touch the same app run one after the other (a queue inside); others overlap.
 *
 * Requests and replies are JSON values in exactly the shape of the management API (spec
 * management-api.md 3.2 and 5), so that the API hands them through unchanged.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DEPLOY_H
#define DEPLOY_H

#include "base.h"

#include <jansson.h>
#include <stdatomic.h>

struct app;
struct app_env;
struct store;
struct src_cache;
struct store_tx;

struct deploy;

/* What is different in the store after an operation. */
struct deploy_published {
    struct str_list ids;       /* of the entries that were added, changed or deleted */
    struct app *const *loaded; /* [n_loaded] of them that are loaded and verified already */
    size_t n_loaded;
};

struct deploy_config {
    const struct app_env *env;
    struct store *store;
    struct str stage_at;             /* system.stage_at */
    struct str default_stage_domain; /* system.default_stage_domain */
    struct str auth_domain;          /* reserved: no app may be created there */
    struct str default_git_auth;
    struct str tmp_dir;           /* for checkouts; empty: $TMPDIR or /tmp */
    const struct toml_value *git_auth; /* [git_auth.*] table or NULL */
    int64_t git_timeout_secs;
    struct src_cache *git_cache;     /* shared by all operations; NULL: none */
    bool stage_write_access, preview_write_access;
    int64_t default_retain_versions;
    struct str callback_url;         /* security.callback_url: what webhook URLs start with; empty: localhost and
                                        the port */
    int64_t default_schedule_mins;   /* system.default_schedule_mins */
    int64_t max_sync_failure_count;  /* system.max_sync_failure_count; 0 or less: syncs are never given up */
    /* Validates an app auth setting (auth_type_validate). */
    bool (*check_auth)(void *arg, struct str type, struct err *err);
    /* Takes what the operation has committed into the site; returns when every loop serves it. */
    bool (*publish)(void *arg, const struct deploy_published *what, struct err *err);
    void *arg;
};

/* Whether the metadata is whole: one line, with what to do about it, for each thing that no operation leaves behind,
 * a killed one included: production without staging, an active version without a row, rows that refer to nothing.
 * Contents that no version uses are told too; deploy_fix() removes those. Needs no open `struct deploy`. */
bool deploy_check(struct store *store, struct arena *a, struct str_list *problems, struct err *err);

/* Puts right what can be without losing anything. For a store that nobody else changes. */
bool deploy_fix(struct store *store, struct err *err);

/* Who asks and where progress goes. */
struct deploy_caller {
    struct str user_id;                           /* "admin" for the unix socket */
    struct str operation_id; /* marked as committed with the change, so that it is known after a crash; may be empty */
    void (*progress)(void *arg, struct str line); /* may be NULL */
    void *progress_arg;
    atomic_bool *cancel; /* may be NULL; true ends the operation early */
};

struct deploy_opts {
    struct str app; /* exact path or glob, as the operation takes */
    bool is_exact;  /* `app` is an exact path where the operation takes a glob */
    bool reveal;    /* secrets in replies are not masked */
    bool is_fresh;  /* branches are asked for, however little time has passed: somebody knows of a push */
    bool is_dry_run, approve, promote, verify, force_reload, internal;
    struct str branch, commit, git_auth;
    bool refresh_spec; /* reload: take the files of the app's spec as they are now, not as they were at creation */
    struct str name, value; /* param update: name and value; account link: plugin and account */
    struct str version;     /* version switch: number, "revert", "next", "previous"; files: number or empty. A switch
                               to a version that may do more than what is approved now needs `approve` */
    /* apply, and syncs, which apply: `app` is the glob of the apps that are taken. branch, commit and git_auth are
     * those of the files. */
    struct str path;        /* the config file: local path or glob, or git URL with a path or glob inside */
    struct str reload;      /* "none", "updated", "matched"; empty is "updated" */
    bool clobber, is_dev;
    struct str sync_id;     /* the sync entry that asks: stamped as applied_sync_id */
    bool is_scheduled;      /* sync creation: runs by the clock */
    bool has_webhook;       /* sync creation: has a webhook too; one that is not scheduled always has */
    struct str last_commit; /* the commit of its last good run: nothing is done if it is still the head, unless
                               the reload is "matched" or forced */
    /* Writes into the transaction of the operation, before its changes: both come about or neither. May be NULL;
     * not called by dry runs, nor when there is nothing to commit. */
    bool (*in_commit)(void *arg, struct store_tx *tx, struct err *err);
    void *in_commit_arg;
    /* export: how services and git_auth entries are named, "default" (also empty) or "exact"; whether apps are
     * pinned to the commit they are at; whether those that an apply file manages are left out. */
    struct str service_ref, git_auth_ref;
    bool exact_commit, exclude_declarative;
};

bool deploy_open(const struct deploy_config *config, struct deploy **out, struct err *err);
void deploy_close(struct deploy *d);
/* Evaluates the dev app at `path` ([domain:]path) again and puts it in service; its container is started again if it runs
 * on the mounted source, and made anew if what it is made of has changed. If that fails, requests are told why.
 * `seen` is app_dev_refresh()'s. */
bool deploy_dev_reload(struct deploy *d, const struct deploy_caller *who, struct str path, char *seen, struct err *err);
/* Removes contents that no version refers to: what an operation left that was killed before its commit.
 * Operations do it themselves after deletions; the server at start. Nothing happens while one is about to
 * commit. */
void deploy_clean(struct deploy *d);

/* Removes the clones of dev apps whose operations a server's death cut short. Before the first operation. */
void deploy_undo_clones(struct deploy *d);

/* Every operation: on success *reply is a new reference to the API's reply object. Error codes are the
 * HTTP statuses of the API. `body` is the request object where the API has one (borrowed). */
typedef bool deploy_op(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                       json_t *body, json_t **reply, struct err *err);
deploy_op deploy_get, deploy_create, deploy_delete, deploy_approve, deploy_reload,
    deploy_promote, deploy_param_update, deploy_account_link, deploy_metadata_update, deploy_settings_update,
    deploy_version_list, deploy_version_files, deploy_version_switch;

/* The list of apps as the text of the API's reply object: a tree of ten thousand would take longer than all else. */
bool deploy_list(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, struct buf *reply,
                 struct err *err);

/* Makes the apps that opts.path declares, of those that opts.app (a glob) matches, what it says, all in one
 * transaction: new ones are created, existing ones merged, reloaded and promoted as asked. The reply is an
 * AppApplyResponse; of a dry run it has "changes" too: for each app that would be different, what of it. A run
 * with opts.last_commit that need not do anything gives "skipped_apply". */
deploy_op deploy_apply;
/* What differs between the staging and the production of the one app at opts.app: files, metadata, permissions. */
deploy_op deploy_diff;
/* Previews: an app of its own for one commit of a git-sourced production app, at <path>_cl_preview_<commit>,
 * never changed, deleted with its main app. `app` is the exact path of the production app, `commit` a hash,
 * abbreviated too, or a branch or tag, which is resolved now. Create replies AppPreviewResponse; list (opts.app
 * may be empty: of all apps) {"previews": [AppEntry with http_url, https_url]}; delete takes the commit's first digits
 * and replies {"dry_run", "app_info"}. */
deploy_op deploy_preview_create, deploy_preview_list, deploy_preview_delete;
/* Production and dev apps as a declarative file: {"config": text}. */
deploy_op deploy_export;
/* deploy_check() on a running server: {"problems": [text]}; the second one after deploy_fix(). */
deploy_op deploy_check_all, deploy_check_fix;

/* Sync entries: applies that are done again and again (spec app-lifecycle.md 20). The entry is `sync_id`; a creation
 * takes `path` and SyncMetadata as its body. A run that fails has changed nothing but the entry's status. */
deploy_op deploy_sync_create, deploy_sync_run, deploy_sync_delete, deploy_sync_list;
/* Tokens of webhooks of the app at the exact path `app`, `name` is their type: reload, reload_promote, promote. */
deploy_op deploy_webhook_create, deploy_webhook_delete, deploy_webhook_list;

/* A sync that is to be run now. */
struct deploy_sync {
    struct str id, path;
    struct str user_id; /* who has created it, "scheduler" if nobody is known */
};
struct deploy_sync_list {
    struct deploy_sync *items;
    size_t len, cap;
};
/* Those that are scheduled and due at `now_ns`, oldest first. */
bool deploy_sync_due(struct deploy *d, struct arena *a, int64_t now_ns, struct deploy_sync_list *out,
                     struct err *err);

/* What a call of a webhook is about: how it must prove itself and which branch it must be of. */
struct deploy_hook {
    struct str secret;  /* never empty */
    bool is_git;        /* its source is in git, so that calls of other branches are ignored */
    struct str branch;  /* empty: a commit is pinned, no branch will do */
    struct str app;     /* app webhooks: the exact path, normalized */
    struct deploy_sync sync; /* webhooks of syncs */
};
/* `type` is sync, and `target` an id, or one of an app's and `target` its exact path. Fails with ERR_NOT_FOUND or
 * ERR_INVALID when there is no such webhook: callers that have proved nothing must not be told which. */
bool deploy_hook_find(struct deploy *d, struct arena *a, struct str type, struct str target,
                      struct deploy_hook *out, struct err *err);

#endif
