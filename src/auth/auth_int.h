/* auth/auth_int.h: what the parts of auth share.
 *
 *     auth.c      opening, kinds of sign-in, the check of a request
 *     session.c   each loop's table of live sessions, and their rows in the key store
 *     verify.c    passwords: the cache of good Basic headers, bcrypt on job threads, back-off
 *     limit.c     the counters behind back-off and rate limits
 *     login.c     form sign-in: app host -> sign-in host -> app host
 *     logout.c    signing out
 *     cookie.c    sealed cookie values; which cookies are ours
 *     origin.c    hosts, schemes, the cross-origin rule
 *     page.c      pages and their style, from web/auth
 *     route.c     the fixed routes
 *
 * Threads: `struct auth` is read-only once open, except `tasks`, `limits` and `verifier`, which have their own
 * locks or are atomic; only requests whose session or header is not known yet touch those. `struct auth_loop`
 * belongs to its loop.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AUTH_INT_H
#define AUTH_INT_H

#include "auth.h"
#include "http.h"
#include "store.h"

#include <openssl/evp.h>
#include <stdatomic.h>

enum {
    AUTH_BCRYPT_MAX = 2,              /* hashed at once */
    AUTH_VERIFY_MAX = 256,            /* different passwords waiting; beyond it 503 */
    AUTH_TASKS_MAX = 256,             /* store operations under way; beyond it 503 */
    AUTH_ID_LEN = 32,                 /* bytes of a session id, and of a nonce */
    AUTH_PRINT_LEN = 16,              /* bytes of a credential's fingerprint */
    AUTH_DIGEST_LEN = 32,
    AUTH_USER_MAX = 128,              /* bytes of a user name that can sign in */
    AUTH_SESSIONS_MAX = 65536,        /* per loop; further ones are looked up in the store */
    AUTH_SESSION_MAX_SECS = 30 * 86400, /* row of a browser session (session_max_age 0) */
    AUTH_LOGIN_SECS = 300,            /* to fill in the form */
    AUTH_COMPLETE_SECS = 60,          /* to follow the redirect back */
    AUTH_FORM_MAX = 32 << 10,         /* bytes of a posted form */
};

struct auth_limits;
struct auth_verifier;

/* Who a user name stands for, as configured now. */
struct auth_account {
    struct str user_id;
    struct str hash;                  /* bcrypt */
    const unsigned char *print;       /* [AUTH_PRINT_LEN] of `hash` */
};

/* One kind of sign-in; kinds with a form also take Basic credentials. */
struct auth_kind {
    struct str name;
    struct str cookie;                /* of its sessions; empty: it has none */
    struct str form_text;             /* the sentence on the sign-in page */
    /* The account of a user name, in constant time for the name; false if there is none. Any thread. */
    bool (*find)(const struct auth *auth, struct str user, struct auth_account *out);
};
const struct auth_kind *auth_kind_find(struct str name);
/* The i-th kind that has a form, or NULL past the last. */
const struct auth_kind *auth_kind_form(size_t i);

struct cookie_key {
    EVP_CIPHER *cipher;
    unsigned char bytes[32];
};

struct auth {
    struct arena arena;
    struct auth_config config;
    struct store *store;
    struct http_loops *loops;
    struct jobs *jobs;
    struct str domain;                /* of the sign-in pages; empty: none */
    bool has_form;
    unsigned char admin_print[AUTH_PRINT_LEN];
    struct cookie_key cookie_key;
    EVP_MD *sha512;
    unsigned char digest_key[32];     /* new each start */
    struct auth_limits *limits;
    struct auth_verifier *verifier;
    atomic_uint tasks;
};

/* --- auth.c --- */

/* One request that waits to know who asks; in its arena. */
struct auth_ask {
    struct auth *auth;
    struct http_req *req;
    const struct auth_kind *kind;
    auth_done_fn done;
    void *arg;
    bool is_https;
    bool is_api;                      /* the management API: Basic only, and its own words */
};
struct str auth_client_ip(const struct auth *auth, struct http_req *req);
/* What back-off takes for one client: the address, of IPv6 the /64 that one customer gets. */
struct str auth_client_group(const struct auth *auth, struct http_req *req);
void auth_admit(struct http_req *req, struct str user_id, bool is_basic, auth_done_fn done, void *arg);
/* 401 with the Basic challenge. */
void auth_challenge(const struct auth_ask *ask);
/* 429 or 503 with Retry-After. */
void auth_refuse(struct http_req *req, int status, int retry_secs, struct str why);
/* Records that somebody was turned away: once a minute per path and user, and not more than 60 a minute.
 * `user_id` is empty for names that no account has: people type passwords there. */
void auth_audit_failure(const struct auth *auth, struct http_req *req, struct str user_id, const char *why);
void auth_audit(const struct auth *auth, struct http_req *req, struct str operation, struct str user_id);

/* A store operation for a request: `work` on a job thread, then `then` on the request's loop, then it is freed.
 * What `work` reads of the request must not change meanwhile; what it makes goes to the task's arena. */
struct auth_task {
    struct auth *auth;
    struct http_req *req;
    struct http_loop *loop;
    struct arena arena;
    struct err err;                   /* set by `work`: the store failed */
    bool (*work)(struct auth_task *task, struct err *err);
    void (*then)(struct auth_task *task);
};
/* `task` is the first member of a xcalloc'ed struct, which this takes over. When too many are under way
 * the request is answered 503. */
void auth_task_start(struct auth *auth, struct http_req *req, struct auth_task *task);
/* Answers 503 if the store failed. */
bool auth_task_ok(struct auth_task *task);

/* --- session.c --- */

/* A session as its row tells it. */
struct session_fact {
    unsigned char id[AUTH_ID_LEN];
    unsigned char print[AUTH_PRINT_LEN];
    const struct auth_kind *kind;
    struct str user;                  /* name of the account, as typed at sign-in */
    int64_t expires;                  /* wall ns */
};

struct session;
struct session_gone;
struct verify_hit;

/* One per loop, in HTTP_SLOT_AUTH; it outlives the struct auth. */
struct auth_loop {
    struct session **buckets;         /* [bucket_count], a power of two */
    size_t bucket_count, session_count;
    uint64_t removals;                /* sign-outs seen: a look-up begun before one is not kept */
    struct session_gone *gone;        /* [SESSION_GONE] ids that the store did not have a moment ago */
    struct verify_hit *hits;          /* [VERIFY_SETS * VERIFY_WAYS] */
    unsigned next_way;
    EVP_CIPHER_CTX *cipher;           /* keyed */
    EVP_MD_CTX *digest;
};
static inline struct auth_loop *auth_loop_of(const struct http_loop *loop)
{
    return http_loop_data(loop, HTTP_SLOT_AUTH);
}

/* Gives every loop its state with the sessions of the store. */
bool sessions_open(struct auth *auth, struct err *err);
/* The account of the request's session cookie of that kind. PENDING: `*id` is of a session that this loop
 * does not know; the store may. */
enum session_found { SESSION_NONE, SESSION_LIVE, SESSION_PENDING };
enum session_found session_find(struct auth *auth, struct http_req *req, const struct auth_kind *kind,
                                struct auth_account *account, unsigned char id[AUTH_ID_LEN]);
/* True if the session is good now: not expired, its user exists, the password is still the same. */
bool session_is_good(const struct auth *auth, const struct session_fact *f, struct auth_account *account);
/* Loop: keep what the store told about a session; `removals` is the loop's from before the look-up. */
void session_learn(struct auth_loop *l, const struct session_fact *f, uint64_t removals);
void session_forget(struct auth_loop *l, const unsigned char id[AUTH_ID_LEN], int64_t now_ms);
/* Job thread: every loop knows, or has forgotten, when these return. */
void sessions_add(struct auth *auth, const struct session_fact *f);
void sessions_remove(struct auth *auth, const unsigned char id[AUTH_ID_LEN]);

/* The row: its key, writing and reading. Job thread. */
struct str session_row_key(struct arena *a, struct str cookie, const unsigned char id[AUTH_ID_LEN]);
bool session_row_put(struct store_tx *tx, struct arena *a, const struct session_fact *f, struct err *err);
bool session_row_get(struct store_tx *tx, struct arena *a, struct str cookie, const unsigned char id[AUTH_ID_LEN],
                     struct session_fact *out, bool *found, struct err *err);
bool session_row_parse(struct arena *a, const struct store_key *row, struct session_fact *out);

/* --- cookie.c --- */

/* What a sealed cookie holds. */
enum cookie_what { COOKIE_SESSION = 'S', COOKIE_NONCE = 'N' };
/* The two secrets of the key store become one AES-256-GCM key. */
bool cookie_key_load(struct cookie_key *key, struct store *store, struct err *err);
struct str cookie_seal(struct arena *a, const struct cookie_key *key, struct str name, enum cookie_what what,
                       const unsigned char id[AUTH_ID_LEN]);
/* A context for cookie_open(), freed with EVP_CIPHER_CTX_free(). One per thread. */
EVP_CIPHER_CTX *cookie_context(const struct cookie_key *key);
/* `a` is for scratch. False if the value was not sealed by us for that name and purpose. */
bool cookie_open(struct arena *a, EVP_CIPHER_CTX *context, struct str name, struct str value, enum cookie_what what,
                 unsigned char id[AUTH_ID_LEN]);
bool cookie_is_ours(struct str name);
/* Adds Set-Cookie with the platform's attributes; max_age_secs as in http_cookie. */
bool cookie_set(const struct auth *auth, struct http_req *req, struct str name, struct str value,
                int64_t max_age_secs);

/* --- verify.c --- */

struct auth_verifier *verifier_open(struct jobs *jobs);
void verifier_close(struct auth_verifier *v);
struct verify_hit *verify_hits_new(void);
/* Keyed digest of `parts` on this loop; each part counts with its length. */
void auth_digest(const struct auth *auth, struct auth_loop *l, const struct str *parts, size_t n,
                 unsigned char out[AUTH_DIGEST_LEN]);

/* A password check that a request waits for; in the request's arena. */
struct verify {
    struct verify *next;
    struct auth *auth;
    struct http_req *req;
    struct http_loop *loop;
    const struct auth_kind *kind;
    struct str user, password;        /* at most AUTH_USER_MAX and BCRYPT_PASSWORD_MAX bytes */
    struct str ip;                    /* auth_client_group() */
    bool is_right;
    void (*then)(struct verify *v);   /* on the loop; is_right says */
    void *arg;
};
enum verify_start { VERIFY_STARTED, VERIFY_BUSY, VERIFY_LOCKED };
/* Starts the check, or joins one of the same digest; unless STARTED, `then` is not called. *retry_secs when
 * LOCKED. A right password is remembered for Basic headers of that digest if `is_header`. */
enum verify_start verify_start(struct verify *v, const unsigned char digest[AUTH_DIGEST_LEN], bool is_header,
                               int *retry_secs);
/* Basic credentials of the request: admits, refuses, or does so later. */
void basic_check(const struct auth_ask *ask, struct str header);
/* How many bcrypt runs were started, and the most at once. For tests. */
void verify_counts(const struct auth *auth, uint64_t *runs, unsigned *most_at_once);

/* --- limit.c --- */

struct auth_limits *limits_open(void);
void limits_close(struct auth_limits *l);
/* Back-off: counts one more try under `key`; false with the seconds to wait while locked out. After `free_tries`
 * the key is locked for 15 s, doubled at each further try up to 15 min; half an hour of peace forgets. */
bool limit_try(struct auth_limits *l, struct str key, unsigned free_tries, int *retry_secs);
/* The last try turned out right: takes it back, or forgets all tries. */
void limit_undo(struct auth_limits *l, struct str key, unsigned free_tries, bool forgets_all);
/* Rate: false with the seconds to wait when `key` has had `max` in this window. */
bool limit_rate(struct auth_limits *l, struct str key, unsigned max, int64_t window_ms, int *retry_secs);

/* --- login.c --- */

/* Sends the caller to the sign-in page, or answers with the Basic challenge. */
void login_start(const struct auth_ask *ask);
void login_page(struct auth *auth, struct http_req *req);
void login_post(struct auth *auth, struct http_req *req, const struct auth_kind *kind);
void login_complete(struct auth *auth, struct http_req *req);

/* What the form for `kind` sends; `key` is the row that `state` names, empty if we made no such state. Fails on
 * what is no form at all. */
struct login_fields {
    struct str state, key, user, password;
};
bool login_fields_parse(struct arena *a, struct str body, struct str kind, struct login_fields *out, struct err *err);

/* --- logout.c --- */

void logout_page(struct auth *auth, struct http_req *req);
void logout_post(struct auth *auth, struct http_req *req);
void logout_provider(struct auth *auth, struct http_req *req, struct str provider);

/* --- origin.c --- */

/* "localhost", "127.0.0.1", "::1" or below ".localhost". */
bool origin_is_local(struct str host);
/* "<scheme>://<host>[:<port>]" with the request's port; `host` empty: the request's. */
struct str origin_text(struct http_req *req, bool is_https, struct str host);
bool origin_is_request(const struct http_req *req, const struct http_url *url);
/* A place on this host to go to after signing out: `to`, or "/". */
struct str origin_local_redirect(struct str to);

/* --- page.c --- */

/* The embedded template `name`, filled: see base/html.h. */
struct str page_fill(struct arena *a, struct str name, const struct html_value *values, size_t n);
/* Sends `content` in the layout, with the security headers. */
void page_send(struct http_req *req, int status, struct str title, struct str content);
/* 302 (303 when `is_after_post`), or 200 with HX-Redirect for HTMX; nothing of it is cached. */
void page_redirect(struct http_req *req, struct str to, bool is_after_post);
bool page_is_htmx(const struct http_req *req);
/* Serves an asset of the pages; false if there is none of that name. */
bool page_asset(struct http_req *req, struct str name);

#endif
