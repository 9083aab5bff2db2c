/* auth/verify.c: passwords: Basic headers that are known to be right, bcrypt for the others, and back-off.
 *
 *     header ──digest──> this loop's cache ──hit──> admitted, nothing else touched
 *                             │ miss
 *                        back-off (address + name, address) ──locked──> 429
 *                             │
 *                        same digest under way? join it, else a job ──> at most AUTH_BCRYPT_MAX at once
 *
 * 1. A digest is keyed with bytes drawn at the start, so what the cache holds tells nothing.
 * 2. A hit counts only while the account's hash is the one that the password was checked against.
 * 3. Tries are counted before the hash is computed and taken back when it was right: guesses in parallel
 *    meet the same limit as guesses in a row.
 * 4. A name that no account has costs as much as one that exists: a hash that nothing matches stands in.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    VERIFY_SETS = 256,
    VERIFY_WAYS = 4,
    USER_TRIES = 5,
    ADDRESS_TRIES = 30,
    HEADER_MAX = 1024,
};

/* --- digests and the cache of a loop --- */

struct verify_hit {
    unsigned char digest[AUTH_DIGEST_LEN];
    unsigned char print[AUTH_PRINT_LEN];
    const struct auth_kind *kind;   /* NULL: unused */
    uint8_t user_len;
    char user[AUTH_USER_MAX];
};

struct verify_hit *verify_hits_new(void)
{
    return xcalloc(VERIFY_SETS * VERIFY_WAYS, sizeof(struct verify_hit));
}

void auth_digest(const struct auth *auth, struct auth_loop *l, const struct str *parts, size_t n,
                 unsigned char out[AUTH_DIGEST_LEN])
{
    unsigned char full[EVP_MAX_MD_SIZE];
    bool ok = EVP_DigestInit_ex2(l->digest, auth->sha512, NULL) == 1 &&
              EVP_DigestUpdate(l->digest, auth->digest_key, sizeof auth->digest_key) == 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t len = parts[i].len;
        ok = ok && EVP_DigestUpdate(l->digest, &len, sizeof len) == 1 &&
             EVP_DigestUpdate(l->digest, parts[i].ptr, parts[i].len) == 1;
    }
    if (!ok || EVP_DigestFinal_ex(l->digest, full, NULL) != 1)
        BUG("libcrypto cannot hash");
    memcpy(out, full, AUTH_DIGEST_LEN);
}

static struct verify_hit *set_of(struct auth_loop *l, const unsigned char digest[AUTH_DIGEST_LEN])
{
    return &l->hits[digest[0] % VERIFY_SETS * VERIFY_WAYS];
}

static const struct verify_hit *find_hit(struct auth_loop *l, const unsigned char digest[AUTH_DIGEST_LEN])
{
    struct verify_hit *set = set_of(l, digest);
    for (int i = 0; i < VERIFY_WAYS; i++)
        if (set[i].kind && memcmp(set[i].digest, digest, AUTH_DIGEST_LEN) == 0)
            return &set[i];
    return NULL;
}

static void keep_hit(struct http_loop *loop, void *arg)
{
    struct auth_loop *l = auth_loop_of(loop);
    struct verify_hit *hit = arg;
    struct verify_hit *set = set_of(l, hit->digest);
    struct verify_hit *to = &set[l->next_way++ % VERIFY_WAYS];
    for (int i = 0; i < VERIFY_WAYS; i++)
        if (memcmp(set[i].digest, hit->digest, AUTH_DIGEST_LEN) == 0)
            to = &set[i];
    *to = *hit;
    free(hit);
}

/* --- bcrypt on job threads --- */

/* One password being checked, and who waits for it. */
struct check {
    struct check *next;
    struct auth *auth;
    unsigned char digest[AUTH_DIGEST_LEN];
    struct verify *waiting;
    const struct auth_kind *kind;
    bool is_header, is_known;
    struct auth_account account;    /* if is_known */
    char hash[BCRYPT_HASH_LEN];
    char user[AUTH_USER_MAX];
    size_t user_len, password_len;
    char password[BCRYPT_PASSWORD_MAX];
};

struct auth_verifier {
    struct jobs_lane *lane;
    char salt[BCRYPT_HASH_LEN + 1]; /* 53 random bcrypt digits: the tail of the hash that nothing matches */
    pthread_mutex_t lock;           /* guards the rest */
    struct check *checks;
    size_t check_count;
    unsigned running, most;
    uint64_t runs;
};

struct auth_verifier *verifier_open(struct jobs *jobs)
{
    scoped_arena a = {0};
    struct auth_verifier *v = xcalloc(1, sizeof *v);
    v->lane = jobs_lane_new(jobs, AUTH_BCRYPT_MAX);
    struct str tail = random_text(&a, 53, STR("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"));
    memcpy(v->salt, tail.ptr, tail.len);
    pthread_mutex_init(&v->lock, NULL);
    return v;
}

void verifier_close(struct auth_verifier *v)
{
    if (!v)
        return;
    pthread_mutex_destroy(&v->lock);
    free(v);
}

void verify_counts(const struct auth *auth, uint64_t *runs, unsigned *most_at_once)
{
    struct auth_verifier *v = auth->verifier;
    pthread_mutex_lock(&v->lock);
    *runs = v->runs;
    *most_at_once = v->most;
    pthread_mutex_unlock(&v->lock);
}

static void free_check(struct check *c)
{
    explicit_bzero(c, sizeof *c);
    free(c);
}

static struct str user_key(struct arena *a, const struct verify *v)
{
    return str_printf(a, "user " STR_FMT " " STR_FMT, STR_ARG(v->ip), STR_ARG(v->user));
}

static struct str address_key(struct arena *a, const struct verify *v)
{
    return str_printf(a, "address " STR_FMT, STR_ARG(v->ip));
}

static void wake(struct http_loop *loop, void *arg)
{
    struct verify *v = arg;
    v->then(v);
}

/* Takes `c` off the list and answers everybody that waits for it. */
static void finish(struct check *c, bool is_right)
{
    struct auth_verifier *v = c->auth->verifier;
    pthread_mutex_lock(&v->lock);
    v->running--;
    v->check_count--;
    struct check **link = &v->checks;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    struct verify *waiting = c->waiting;
    pthread_mutex_unlock(&v->lock);

    scoped_arena a = {0};
    if (is_right && waiting) {
        limit_undo(c->auth->limits, user_key(&a, waiting), USER_TRIES, true);
        limit_undo(c->auth->limits, address_key(&a, waiting), ADDRESS_TRIES, false);
    }
    if (is_right && c->is_header) {
        for (unsigned i = 0; i < http_loops_len(c->auth->loops); i++) {
            struct verify_hit *hit = xcalloc(1, sizeof *hit);
            memcpy(hit->digest, c->digest, AUTH_DIGEST_LEN);
            memcpy(hit->print, c->account.print, AUTH_PRINT_LEN);
            hit->kind = c->kind;
            hit->user_len = (uint8_t)c->user_len;
            memcpy(hit->user, c->user, c->user_len);
            http_loop_post(http_loops_at(c->auth->loops, i), keep_hit, hit);
        }
    }
    while (waiting) {
        struct verify *w = waiting;
        waiting = w->next;
        w->is_right = is_right;
        http_loop_post(w->loop, wake, w);
    }
}

static void run_check(void *arg)
{
    struct check *c = arg;
    struct auth_verifier *v = c->auth->verifier;
    pthread_mutex_lock(&v->lock);
    v->runs++;
    v->running++;
    v->most = MAX(v->most, v->running);
    pthread_mutex_unlock(&v->lock);
    bool is_match = bcrypt_verify(str_of(c->password, c->password_len), str_of(c->hash, BCRYPT_HASH_LEN));
    finish(c, is_match && c->is_known);
    free_check(c);
}

/* The account's hash, or one of the same cost that nothing matches (inv. 4). */
static void choose_hash(struct check *c, const struct auth_verifier *v)
{
    struct str like = c->is_known ? c->account.hash : c->auth->config.admin_password_bcrypt;
    if (!bcrypt_is_hash(like)) {
        memcpy(c->hash, "$2b$10$", 7);
        memcpy(c->hash + 7, v->salt, 53);
        return;
    }
    memcpy(c->hash, like.ptr, BCRYPT_HASH_LEN);
    if (!c->is_known)
        memcpy(c->hash + 7, v->salt, 53);
}

static struct check *new_check(const struct verify *v, const unsigned char digest[AUTH_DIGEST_LEN], bool is_header)
{
    struct check *c = xcalloc(1, sizeof *c);
    c->auth = v->auth;
    memcpy(c->digest, digest, AUTH_DIGEST_LEN);
    c->kind = v->kind;
    c->is_header = is_header;
    c->is_known = v->kind->find(v->auth, v->user, &c->account) && bcrypt_is_hash(c->account.hash);
    c->user_len = v->user.len;
    memcpy(c->user, v->user.ptr, v->user.len);
    c->password_len = v->password.len;
    memcpy(c->password, v->password.ptr, v->password.len);
    choose_hash(c, v->auth->verifier);
    return c;
}

/* Adds `v` to the check of that digest that is under way; false if there is none. Under the lock. */
static bool join(struct auth_verifier *verifier, struct verify *v, const unsigned char digest[AUTH_DIGEST_LEN])
{
    for (struct check *c = verifier->checks; c; c = c->next) {
        if (memcmp(c->digest, digest, AUTH_DIGEST_LEN) == 0 && str_eq(c->waiting->ip, v->ip)) {
            v->next = c->waiting->next;
            c->waiting->next = v;
            return true;
        }
    }
    return false;
}

/* Under the lock, so that nobody joins a check that could not start. */
static bool submit(struct auth_verifier *verifier, struct check *c)
{
    c->next = verifier->checks;
    verifier->checks = c;
    if (jobs_lane_submit(verifier->lane, run_check, c)) {
        verifier->check_count++;
        return true;
    }
    verifier->checks = c->next;
    return false;
}

static enum verify_start start_locked(struct verify *v, const unsigned char digest[AUTH_DIGEST_LEN], bool is_header,
                                      int *retry_secs)
{
    struct auth_verifier *verifier = v->auth->verifier;
    struct auth_limits *limits = v->auth->limits;
    scoped_arena a = {0};
    if (join(verifier, v, digest))
        return VERIFY_STARTED;
    if (verifier->check_count >= AUTH_VERIFY_MAX)
        return VERIFY_BUSY;
    if (!limit_try(limits, address_key(&a, v), ADDRESS_TRIES, retry_secs) ||
        !limit_try(limits, user_key(&a, v), USER_TRIES, retry_secs))
        return VERIFY_LOCKED;
    struct check *c = new_check(v, digest, is_header);
    c->waiting = v;
    if (submit(verifier, c))
        return VERIFY_STARTED;
    limit_undo(limits, user_key(&a, v), USER_TRIES, false);
    limit_undo(limits, address_key(&a, v), ADDRESS_TRIES, false);
    free_check(c);
    return VERIFY_BUSY;
}

enum verify_start verify_start(struct verify *v, const unsigned char digest[AUTH_DIGEST_LEN], bool is_header,
                               int *retry_secs)
{
    assert(v->user.len <= AUTH_USER_MAX && v->password.len <= BCRYPT_PASSWORD_MAX);
    v->next = NULL;
    pthread_mutex_lock(&v->auth->verifier->lock);
    enum verify_start outcome = start_locked(v, digest, is_header, retry_secs);
    pthread_mutex_unlock(&v->auth->verifier->lock);
    return outcome;
}

/* --- Basic (RFC 7617) --- */

static void fail_basic(const struct auth_ask *ask, struct str user, const char *why)
{
    struct auth_account account = {0};
    if (!ask->kind->find(ask->auth, user, &account))
        account.user_id = (struct str){0};
    auth_audit_failure(ask->auth, ask->req, account.user_id, why);
}

static void on_verified(struct verify *v)
{
    const struct auth_ask *ask = v->arg;
    struct auth_account account;
    if (v->is_right && ask->kind->find(ask->auth, v->user, &account)) {
        auth_admit(ask->req, account.user_id, true, ask->done, ask->arg);
        return;
    }
    fail_basic(ask, v->user, "wrong user name or password");
    auth_challenge(ask);
}

static bool parse_basic(struct arena *a, struct str header, struct str *user, struct str *password)
{
    struct str text;
    return header.len <= HEADER_MAX && base64_decode(a, str_trim(str_from_off(header, strlen("Basic "))), &text) &&
           str_cut(text, ':', user, password);
}

void basic_check(const struct auth_ask *ask, struct str header)
{
    struct auth *auth = ask->auth;
    struct auth_loop *l = auth_loop_of(ask->req->loop);
    unsigned char digest[AUTH_DIGEST_LEN];
    auth_digest(auth, l, (struct str[]){STR("basic"), ask->kind->name, str_slice(header, 0, HEADER_MAX + 1)}, 3, digest);
    const struct verify_hit *hit = find_hit(l, digest);
    struct auth_account account;
    if (LIKELY(hit && hit->kind == ask->kind && ask->kind->find(auth, str_of(hit->user, hit->user_len), &account) &&
               memcmp(account.print, hit->print, AUTH_PRINT_LEN) == 0)) {
        auth_admit(ask->req, account.user_id, true, ask->done, ask->arg);
        return;
    }
    struct http_req *req = ask->req;
    struct verify *v = arena_new(req->arena, struct verify);
    *v = (struct verify){.auth = auth, .req = req, .loop = req->loop, .kind = ask->kind, .then = on_verified,
                         .ip = auth_client_group(auth, req)};
    v->arg = arena_memdup(req->arena, ask, sizeof *ask);
    if (!parse_basic(req->arena, header, &v->user, &v->password) || v->user.len > AUTH_USER_MAX ||
        v->password.len == 0 || v->password.len > BCRYPT_PASSWORD_MAX) {
        fail_basic(ask, v->user, "malformed credentials");
        auth_challenge(ask);
        return;
    }
    int retry_secs = 0;
    switch (verify_start(v, digest, true, &retry_secs)) {
    case VERIFY_STARTED:
        return;
    case VERIFY_BUSY:
        auth_refuse(req, 503, 1, STR("too many sign-ins are under way, try again in a moment"));
        return;
    case VERIFY_LOCKED:
        fail_basic(ask, v->user, "locked out after failed attempts");
        auth_refuse(req, 429, retry_secs, STR("too many failed sign-ins, try again later"));
        return;
    }
}
