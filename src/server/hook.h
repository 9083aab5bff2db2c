/* server/hook.h: what a call of a webhook proves and says: GitHub's, GitLab's, Gitea's (Forgejo, Gogs), or a script's.
 *
 * Pure: bytes in, a verdict out.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_H
#define HOOK_H

#include "base.h"

/* The header fields that matter; absent ones have ptr NULL. */
struct hook_fields {
    struct str authorization;     /* "Bearer <secret>"; when it is there, it alone counts */
    struct str github_signature;  /* X-Hub-Signature-256: "sha256=" and the hex HMAC-SHA256 of the body */
    struct str gitea_signature;   /* X-Gitea-Signature, X-Forgejo-Signature, X-Gogs-Signature: the hex HMAC alone */
    struct str gitlab_token;      /* X-Gitlab-Token: the secret itself */
    struct str event;             /* X-GitHub-Event and the like; empty: not from a forge */
    struct str content_type;
};

/* True if the call knows the secret. In constant time for its value; an empty secret is known by nobody. */
bool hook_is_authentic(const struct hook_fields *f, struct str secret, struct str body);

/* What the webhook is for. */
enum hook_kind {
    HOOK_PUSH,      /* a push to its branch: the body says to which it was */
    HOOK_MAYBE,     /* the same, and a call of a script that says nothing */
    HOOK_ANY,       /* everything but a ping */
};
enum hook_verdict {
    HOOK_RUN,
    HOOK_IGNORE,    /* fine, but not for us: *why says it */
    HOOK_BAD,       /* not understood: *why says it */
};
/* `branch` is the one that is tracked; empty: a commit is pinned, so that no push matters. *why is in `a`. */
enum hook_verdict hook_judge(struct arena *a, const struct hook_fields *f, struct str body, enum hook_kind kind,
                             struct str branch, struct str *why);

#endif
