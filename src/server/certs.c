/* server/certs.c: loading the certificate folder, and the self-signed default.
 * SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    SELF_SIGNED_DAYS = 365,
    RENEW_BEFORE_DAYS = 30,
    PEM_MAX = 1 << 20,
};

/* Text before the first block of a PEM file is ignored by readers (RFC 7468 §2): it marks files of ours. */
static const struct str made_by_us =
    STR_INIT("# Self-signed by openrun; renewed by it. Replace it with your own.\n");

struct certs {
    atomic_int refs;
    struct arena arena;
    struct map by_name; /* domain -> struct http_cert * */
    struct http_cert *fallback;
};

struct certs *certs_ref(struct certs *certs)
{
    atomic_fetch_add_explicit(&certs->refs, 1, memory_order_relaxed);
    return certs;
}

void certs_unref(struct certs *certs)
{
    if (!certs || atomic_fetch_sub_explicit(&certs->refs, 1, memory_order_acq_rel) != 1)
        return;
    map_foreach(e, &certs->by_name) http_cert_unref(e->value);
    http_cert_unref(certs->fallback);
    arena_release(&certs->arena);
    free(certs);
}

struct http_cert *certs_pick(const struct certs *certs, struct str name)
{
    struct http_cert *cert = str_is_empty(name) ? NULL : map_get(&certs->by_name, name);
    return cert ? cert : certs->fallback;
}

static bool make_default(struct arena *a, const struct certs_config *config, struct str crt, struct str key,
                         struct err *err)
{
    struct str names[] = {
        config->default_domain, str_cat(a, STR("*."), config->default_domain),
        STR("localhost"),       STR("*.localhost"),
        STR("127.0.0.1"),       STR("::1"),
    };
    bool is_localhost = str_eq(config->default_domain, STR("localhost"));
    struct str cert_pem, key_pem;
    if (!http_cert_self_signed(a, names + (is_localhost ? 2 : 0), ARRAY_LEN(names) - (is_localhost ? 2 : 0),
                               SELF_SIGNED_DAYS, &cert_pem, &key_pem, err))
        return false;
    /* Key first: a crash between the two leaves a pair that does not match, which is made again. */
    return fs_write_atomic(key, key_pem, 0600, err) &&
           fs_write_atomic(crt, str_cat(a, made_by_us, cert_pem), 0644, err);
}

/* True if the default pair must be made: missing, or ours and soon over or broken. */
static bool needs_default(struct arena *a, struct str crt, struct str key)
{
    if (!fs_exists(crt) || !fs_exists(key))
        return true;
    scoped_err ignored = {0};
    struct str text;
    if (!fs_read_all(a, crt, PEM_MAX, &text, &ignored) || !str_starts(text, made_by_us))
        return false;
    struct http_cert *cert = http_cert_load(str_z(a, crt), str_z(a, key), &ignored);
    bool is_over = !cert || http_cert_not_after(cert) < time(NULL) + RENEW_BEFORE_DAYS * 86400;
    http_cert_unref(cert);
    return is_over;
}

static bool is_domain_name(struct str s)
{
    if (s.len == 0 || s.len > 253 || s.ptr[0] == '.' || s.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return true;
}

/* Adds <domain>.crt with its .key, unless it is unusable. */
static void add_pair(struct certs *certs, struct arena *scratch, struct str dir, struct str file)
{
    struct str domain = str_slice(file, 0, file.len - 4);
    if (!is_domain_name(domain))
        return;
    struct str stem = path_join(scratch, dir, domain);
    scoped_err err = {0};
    struct http_cert *cert = http_cert_load(str_z(scratch, str_cat(scratch, stem, STR(".crt"))),
                                            str_z(scratch, str_cat(scratch, stem, STR(".key"))), &err);
    if (!cert)
        log_warn("certificate not used", LOG_STR("domain", domain), LOG_ERR(&err));
    else
        map_set(&certs->by_name, str_dup(&certs->arena, domain), cert);
}

bool certs_load(const struct certs_config *config, struct certs **out, struct err *err)
{
    scoped_arena scratch = {0};
    if (!fs_mkdir_p(config->dir, 0700, err))
        return err_wrap(err, "https.cert_location");
    struct str crt = path_join(&scratch, config->dir, STR("default.crt"));
    struct str key = path_join(&scratch, config->dir, STR("default.key"));
    if (needs_default(&scratch, crt, key) && !make_default(&scratch, config, crt, key, err))
        return err_wrap(err, "making the default certificate");
    struct http_cert *fallback = http_cert_load(str_z(&scratch, crt), str_z(&scratch, key), err);
    if (!fallback)
        return err_wrap(err, "default certificate");
    struct certs *certs = xcalloc(1, sizeof *certs);
    atomic_init(&certs->refs, 1);
    certs->fallback = fallback;
    map_init(&certs->by_name, &certs->arena);
    struct fs_items files = {0};
    scoped_err own = {0};
    if (config->enable_lookup && !fs_list(&scratch, config->dir, SIZE_MAX, &files, &own))
        log_warn("certificates not used", LOG_ERR(&own));
    vec_foreach(f, &files)
        if (f->info.kind != FS_DIR && str_ends(f->name, STR(".crt")) && !str_eq(f->name, STR("default.crt")))
            add_pair(certs, &scratch, config->dir, f->name);
    *out = certs;
    return true;
}

uint64_t certs_fingerprint(const struct certs_config *config)
{
    uint64_t sum = 0;
    scoped_arena a = {0};
    scoped_err ignored = {0};
    struct fs_items files = {0};
    fs_list(&a, config->dir, SIZE_MAX, &files, &ignored);
    vec_foreach(f, &files)
        sum = sum * 31 + str_hash(f->name) + (uint64_t)f->info.mtime_ns + (uint64_t)f->info.size;
    return sum;
}
