/* auth/session.c: sessions: rows in the key store, and each loop's table of them.
 *
 *     row   http_session:<cookie>:<base32 of the id>  ->  {"authenticated":true,"provider_name","user","cred_fp"}
 *     loop  id -> kind, user, fingerprint of the password, expiry
 *
 * 1. Rows are the truth. A loop's table is a part of them: everything at the start, then what sign-ins add and
 *    sign-outs take away by message. An id that is missing is looked up in the store, so the table may
 *    forget anything at any time.
 * 2. A look-up that a sign-out has overtaken is not kept (`removals`).
 * 3. Ids are random and come out of sealed cookies only, so their first bytes are the hash.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <stdlib.h>

enum {
    BUCKETS_START = 64,
    SESSION_GONE = 256,
    GONE_MS = 10 * 1000,
    COOKIES_TRIED = 8,        /* of one name: another host of the same site may have set more */
    ID_TEXT_LEN = 52,         /* base32 of AUTH_ID_LEN bytes */
};

#define ROW_PREFIX STR("http_session:")

struct session {
    struct session *next;     /* of its bucket */
    struct session_fact fact; /* user is after it */
};

struct session_gone {
    unsigned char id[AUTH_ID_LEN];
    int64_t until_ms;
};

/* --- rows --- */

struct str session_row_key(struct arena *a, struct str cookie, const unsigned char id[AUTH_ID_LEN])
{
    return str_printf(a, STR_FMT STR_FMT ":" STR_FMT, STR_ARG(ROW_PREFIX), STR_ARG(cookie),
                      STR_ARG(base32_encode(a, str_of(id, AUTH_ID_LEN))));
}

bool session_row_put(struct store_tx *tx, struct arena *a, const struct session_fact *f, struct err *err)
{
    scoped_json *j = json_object();
    json_set_bool(j, "authenticated", true);
    json_set_str(j, "provider_name", f->kind->name);
    json_set_str(j, "user", f->user);
    json_set_str(j, "cred_fp", str_hex(a, f->print, AUTH_PRINT_LEN));
    struct store_key row = {
        .key = session_row_key(a, f->kind->cookie, f->id),
        .value = json_text(a, j, JSON_STYLE_COMPACT),
        .expires = f->expires,
    };
    return store_key_put(tx, &row, err);
}

/* RFC 4648 section 6, of exactly ID_TEXT_LEN digits. */
static bool decode_id(struct str text, unsigned char id[AUTH_ID_LEN])
{
    if (text.len != ID_TEXT_LEN)
        return false;
    uint32_t bits = 0;
    size_t have = 0, n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        uint32_t digit;
        if (c >= 'A' && c <= 'Z')
            digit = (uint32_t)(c - 'A');
        else if (c >= '2' && c <= '7')
            digit = (uint32_t)(c - '2') + 26;
        else
            return false;
        bits = bits << 5 | digit;
        have += 5;
        if (have >= 8 && n < AUTH_ID_LEN) {
            have -= 8;
            id[n++] = (unsigned char)(bits >> have);
        }
    }
    return n == AUTH_ID_LEN;
}

bool session_row_parse(struct arena *a, const struct store_key *row, struct session_fact *out)
{
    struct str cookie, id, rest = str_from_off(row->key, ROW_PREFIX.len), print;
    struct session_fact f = {.expires = row->expires};
    scoped_err err = {0};
    if (!str_starts(row->key, ROW_PREFIX) || !str_cut(rest, ':', &cookie, &id) || !decode_id(id, f.id))
        return false;
    scoped_json *j = json_parse_object(row->value, &err);
    if (!j || !json_get_bool(j, "authenticated", false))
        return false;
    f.kind = auth_kind_find(json_get_str(j, "provider_name", (struct str){0}));
    f.user = str_dup(a, json_get_str(j, "user", (struct str){0}));
    if (!f.kind || !str_eq(f.kind->cookie, cookie) || str_is_empty(f.user) || f.user.len > AUTH_USER_MAX ||
        !hex_decode(a, json_get_str(j, "cred_fp", (struct str){0}), &print) || print.len != AUTH_PRINT_LEN)
        return false;
    memcpy(f.print, print.ptr, AUTH_PRINT_LEN);
    *out = f;
    return true;
}

bool session_row_get(struct store_tx *tx, struct arena *a, struct str cookie, const unsigned char id[AUTH_ID_LEN],
                     struct session_fact *out, bool *found, struct err *err)
{
    struct store_key row;
    bool has_row;
    if (!store_key_get(tx, a, session_row_key(a, cookie, id), &row, &has_row, err))
        return false;
    *found = has_row && session_row_parse(a, &row, out);
    return true;
}

/* --- the table --- */

static struct session **bucket_of(const struct auth_loop *l, const unsigned char id[AUTH_ID_LEN])
{
    size_t hash;
    memcpy(&hash, id, sizeof hash);
    return &l->buckets[hash & (l->bucket_count - 1)];
}

static struct session **link_of(const struct auth_loop *l, const unsigned char id[AUTH_ID_LEN])
{
    struct session **link = bucket_of(l, id);
    while (*link && memcmp((*link)->fact.id, id, AUTH_ID_LEN) != 0)
        link = &(*link)->next;
    return link;
}

static void drop(struct auth_loop *l, struct session **link)
{
    struct session *s = *link;
    *link = s->next;
    free(s);
    l->session_count--;
}

static void double_buckets(struct auth_loop *l)
{
    struct session **old = l->buckets;
    size_t count = l->bucket_count;
    l->bucket_count *= 2;
    l->buckets = xcalloc(l->bucket_count, sizeof *l->buckets);
    for (size_t i = 0; i < count; i++) {
        while (old[i]) {
            struct session *s = old[i], **to = bucket_of(l, s->fact.id);
            old[i] = s->next;
            s->next = *to;
            *to = s;
        }
    }
    free(old);
}

static void drop_expired(struct auth_loop *l)
{
    int64_t now = wall_ns();
    for (size_t i = 0; i < l->bucket_count; i++)
        for (struct session **link = &l->buckets[i]; *link;) {
            if ((*link)->fact.expires != 0 && (*link)->fact.expires <= now)
                drop(l, link);
            else
                link = &(*link)->next;
        }
}

static void insert(struct auth_loop *l, const struct session_fact *f)
{
    struct session **link = link_of(l, f->id);
    if (*link)
        drop(l, link);
    if (l->session_count == l->bucket_count) {
        drop_expired(l);
        if (l->session_count > l->bucket_count / 2 && l->bucket_count < AUTH_SESSIONS_MAX)
            double_buckets(l);
    }
    /* Full of live ones: somebody makes room, and is looked up when they come back (inv. 1). */
    for (size_t i = 0; l->session_count >= AUTH_SESSIONS_MAX; i++)
        while (l->buckets[i] && l->session_count >= AUTH_SESSIONS_MAX)
            drop(l, &l->buckets[i]);
    struct session *s = xmalloc(sizeof *s + f->user.len);
    s->fact = *f;
    memcpy(s + 1, f->user.ptr, f->user.len);
    s->fact.user = str_of(s + 1, f->user.len);
    link = bucket_of(l, f->id);
    s->next = *link;
    *link = s;
    l->session_count++;
}

/* --- loops --- */

static void free_loop(struct http_loop *loop, void *arg)
{
    struct auth_loop *l = arg;
    for (size_t i = 0; i < l->bucket_count; i++)
        while (l->buckets[i])
            drop(l, &l->buckets[i]);
    free(l->buckets);
    free(l->gone);
    free(l->hits);
    EVP_CIPHER_CTX_free(l->cipher);
    EVP_MD_CTX_free(l->digest);
    free(l);
    http_loop_set_data(loop, HTTP_SLOT_AUTH, NULL);
}

struct fill {
    struct auth *auth;
    struct session_fact *facts;
    size_t len;
};

static void fill_loop(struct http_loop *loop, void *arg)
{
    const struct fill *fill = arg;
    struct auth_loop *l = xcalloc(1, sizeof *l);
    l->bucket_count = BUCKETS_START;
    l->buckets = xcalloc(l->bucket_count, sizeof *l->buckets);
    l->gone = xcalloc(SESSION_GONE, sizeof *l->gone);
    l->hits = verify_hits_new();
    l->cipher = cookie_context(&fill->auth->cookie_key);
    l->digest = EVP_MD_CTX_new();
    if (!l->digest)
        BUG("out of memory");
    for (size_t i = 0; i < fill->len; i++)
        insert(l, &fill->facts[i]);
    http_loop_set_data(loop, HTTP_SLOT_AUTH, l);
    http_loop_at_close(loop, free_loop, l);
}

bool sessions_open(struct auth *auth, struct err *err)
{
    scoped_arena a = {0};
    struct store_key_list rows = {0};
    scoped_store_tx *tx = store_read(auth->store, err);
    if (!tx || !store_key_list(tx, &a, ROW_PREFIX, &rows, err))
        return err_wrap(err, "reading the sessions");
    store_rollback(&tx);
    struct fill fill = {.auth = auth, .facts = arena_array(&a, struct session_fact, rows.len)};
    vec_foreach (row, &rows)
        fill.len += session_row_parse(&a, row, &fill.facts[fill.len]);
    http_loops_run(auth->loops, fill_loop, &fill);
    return true;
}

static void add_on_loop(struct http_loop *loop, void *arg)
{
    insert(auth_loop_of(loop), arg);
}

void sessions_add(struct auth *auth, const struct session_fact *f)
{
    http_loops_run(auth->loops, add_on_loop, (void *)f);
}

void session_forget(struct auth_loop *l, const unsigned char id[AUTH_ID_LEN], int64_t now_ms)
{
    struct session **link = link_of(l, id);
    if (*link)
        drop(l, link);
    struct session_gone *g = &l->gone[id[0] % SESSION_GONE];
    memcpy(g->id, id, AUTH_ID_LEN);
    g->until_ms = now_ms + GONE_MS;
}

static void remove_on_loop(struct http_loop *loop, void *arg)
{
    struct auth_loop *l = auth_loop_of(loop);
    l->removals++;
    session_forget(l, arg, http_loop_now_ms(loop));
}

void sessions_remove(struct auth *auth, const unsigned char id[AUTH_ID_LEN])
{
    http_loops_run(auth->loops, remove_on_loop, (void *)id);
}

void session_learn(struct auth_loop *l, const struct session_fact *f, uint64_t removals)
{
    if (l->removals == removals) /* inv. 2 */
        insert(l, f);
}

/* --- requests --- */

bool session_is_good(const struct auth *auth, const struct session_fact *f, struct auth_account *account)
{
    return auth->has_form && (f->expires == 0 || f->expires > wall_ns()) && f->kind->find(auth, f->user, account) &&
           memcmp(account->print, f->print, AUTH_PRINT_LEN) == 0;
}

static bool is_gone(const struct auth_loop *l, const unsigned char id[AUTH_ID_LEN], int64_t now_ms)
{
    const struct session_gone *g = &l->gone[id[0] % SESSION_GONE];
    return now_ms < g->until_ms && memcmp(g->id, id, AUTH_ID_LEN) == 0;
}

enum session_found session_find(struct auth *auth, struct http_req *req, const struct auth_kind *kind,
                                struct auth_account *account, unsigned char id[AUTH_ID_LEN])
{
    struct auth_loop *l = auth_loop_of(req->loop);
    struct str header = http_req_known(req, HTTP_H_COOKIE);
    enum session_found found = SESSION_NONE;
    struct http_pair c;
    unsigned char this_id[AUTH_ID_LEN];
    for (int tried = 0; tried < COOKIES_TRIED && http_cookie_next(&header, &c);) {
        if (!str_eq(c.name, kind->cookie))
            continue;
        tried++;
        if (!cookie_open(req->arena, l->cipher, c.name, c.value, COOKIE_SESSION, this_id))
            continue;
        struct session *s = *link_of(l, this_id);
        if (s && s->fact.kind == kind && session_is_good(auth, &s->fact, account))
            return SESSION_LIVE;
        if (!s && !is_gone(l, this_id, http_loop_now_ms(req->loop))) {
            memcpy(id, this_id, AUTH_ID_LEN);
            found = SESSION_PENDING;
        }
    }
    return found;
}
