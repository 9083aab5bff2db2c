/* source/git_int.h: what the git part shares: running git, and saying what went wrong.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SOURCE_GIT_INT_H
#define SOURCE_GIT_INT_H

#include "buf.h"
#include "source_int.h"

struct session_repo;
struct session_head;
struct mirror;

struct src_session {
    struct arena arena;           /* lives as long as the session */
    struct src_session_opts opts; /* strings in `arena` */
    struct str dir;               /* 0700; empty until it is needed */
    unsigned next;                /* number of the next thing made in `dir` */
    VEC(struct session_repo *) repos;
    VEC(struct session_head *) heads;
    VEC(struct mirror *) mirrors; /* whose objects working copies borrow */
};

/* The folder of the session, made now if it is not there yet. */
bool git_session_dir(struct src_session *s, struct err *err);
/* An unused path in it. */
struct str git_session_path(struct src_session *s, const char *what);

/* One repository of one operation: how git is called for it. */
struct git {
    struct src_session *session;
    struct arena *scratch;
    const struct src_git_auth *auth; /* NULL: none */
    struct str repo;                 /* what git is given; nothing secret in it */
    struct str_list env;             /* the whole environment */
};

/* Prepares the environment, and in the session's folder what a key needs. */
bool git_prepare(struct git *g, struct err *err);

/* --- git_cache.c --- */

/* The mirror of `key`, for the caller alone: waits for others. NULL: there is no cache, it is full of mirrors that
 * are used, or *cancel is set. */
struct mirror *mirror_take(struct src_cache *c, struct str key, const atomic_bool *cancel);
struct str mirror_dir(const struct mirror *m); /* maybe not made yet */
/* Others may use it too. A bad one is given to nobody any more. */
void mirror_share(struct mirror *m, bool has_fetched, bool is_bad);
/* The end of the use. */
void mirror_drop(struct mirror *m);
/* What the head of a branch was a moment ago. */
bool cache_head_get(struct src_cache *c, struct str key, struct arena *a, struct str *commit);
void cache_head_put(struct src_cache *c, struct str key, struct str commit);

/* What git's answer means for us. */
enum git_fault {
    GIT_OK,
    GIT_NO_REF,    /* the server has no such branch or tag */
    GIT_NO_OBJECT, /* the server does not give this commit, or has none such */
    GIT_OTHER,     /* something that asking for less may avoid */
    GIT_FINAL,     /* no use in trying again: credentials, host, repository, time, cancelled */
};

struct git_result {
    enum git_fault fault;
    struct str out; /* stdout, in scratch */
};

enum { GIT_OUT_MAX = 1 << 20 }; /* bytes of stdout kept, the end of it */

/* Runs git with `args` (NULL at the end) in the folder `dir`. On a fault other than GIT_OK, `err`
 * has a message fit for the user. */
struct git_result git_run(struct git *g, struct str dir, const char *const *args, struct err *err);

/* What `said` (git's stderr) means; fills `err`. */
enum git_fault git_explain(const struct git *g, struct str said, int exit_code, struct err *err);

#endif
