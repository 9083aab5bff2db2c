/* auth/auth.h: who is asking, and may they: sign-in kinds, sessions, sign-in pages, cross-origin check.
 *
 * Life: one `struct auth` per server, opened before the listeners and closed after the loops have ended.
 * Threads: everything that takes a request runs on that request's loop and never blocks. Passwords are
 * hashed on job threads, at most AUTH_BCRYPT_MAX at once. Each loop owns a table of the live sessions,
 * kept equal by messages, so a request with a session cookie is decided without a lock or a query; the
 * rows in the store's keystore are the truth that survives a restart.
 *
 * A kind of sign-in is a row in auth_kinds[] (auth_int.h): none and system are here; builtin users,
 * OAuth, SAML, client certificates plug in as further rows.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AUTH_H
#define AUTH_H

#include "base.h"

struct http_loops;
struct http_req;
struct jobs;
struct store;

struct auth;

/* What the server's configuration says about sign-in. Slices are copied. */
struct auth_config {
    struct str admin_user;           /* empty: the admin account is off */
    struct str admin_password_bcrypt;
    struct str default_type;         /* security.app_default_auth_type; empty means "system" */
    struct str default_domain;       /* system.default_domain */
    struct str callback_domain;      /* security.auth_callback_domain, e.g. "auth." */
    int64_t session_max_age_secs;    /* 0: a browser session */
    bool is_session_https_only;
    bool is_login_form_disabled;
    bool is_auth_required;           /* apps that resolve to "none" answer 401 */
    /* The address of the client behind a request (trusted proxies considered), for back-off and the audit
     * trail; called on the request's loop, the text lives as long as the request. NULL: the peer's address. */
    struct str (*client_ip)(struct http_req *req);
};

/* The auth setting of one app, resolved once when the site is built (spec: `[rbac:]<type>[+forward_x]`). */
struct auth_rule {
    const struct auth_kind *kind;    /* NULL: cannot be served; `problem` says why */
    struct str type;                 /* resolved type text, e.g. "system" */
    struct str problem;
};

/* Who asks. Lives in the request's arena. */
struct auth_identity {
    struct str user_id;              /* "anonymous", "admin", "builtin:joe", ... */
    struct str email;                /* empty if not known */
    struct str subject;              /* the provider's id, empty if not known */
    bool is_basic;                   /* the Authorization header was ours and must not reach the app */
};

bool auth_open(const struct auth_config *config, struct store *store, struct http_loops *loops,
               struct jobs *jobs, struct auth **out, struct err *err);
void auth_close(struct auth *auth);

/* True if `type` is an auth setting that an app may have now; else false and `err` as the spec words it
 * (`invalid authentication type X`). */
bool auth_type_validate(const struct auth *auth, struct str type, struct err *err);
/* Resolves an app's setting; text in the rule lives in `a`. Never fails: see auth_rule.problem. */
struct auth_rule auth_resolve(const struct auth *auth, struct arena *a, struct str type);
/* The reserved sign-in domain, e.g. "auth.localhost"; empty if none. No app may be served there. */
struct str auth_domain(const struct auth *auth);

typedef void (*auth_done_fn)(struct http_req *req, const struct auth_identity *who, void *arg);

/* Lets `done` continue with the caller's identity, now or later on this loop; or answers the request
 * itself (401, redirect to the sign-in page, 500 for an unusable rule) and never calls `done`.
 * `is_https` is the scheme as the client sees it (trusted proxies considered). */
void auth_check(struct auth *auth, struct http_req *req, const struct auth_rule *rule, bool is_https,
                auth_done_fn done, void *arg);
/* The same for the management API over TCP: HTTP Basic with the admin account, nothing else. */
void auth_check_admin(struct auth *auth, struct http_req *req, auth_done_fn done, void *arg);

/* Serves the fixed routes under /_openrun/auth/ and /_openrun/logout. False if the path is none of them. */
bool auth_route(struct auth *auth, struct http_req *req, bool is_https);

/* The cross-origin rule for unsafe methods (Sec-Fetch-Site, else Origin against Host). On false the
 * request has been answered: 403 `Cross origin check failed - CSRF protection`. */
bool auth_cross_origin_ok(struct http_req *req);

/* The Cookie header value without the platform's own cookies (session and pre-sign-in), others keep text
 * and order; allocated in the request's arena only when something was removed. */
struct str auth_strip_cookies(struct http_req *req, struct str cookie_header);

#endif
