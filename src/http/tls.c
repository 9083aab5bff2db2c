/* http/tls.c: server-side TLS settings and certificates (OpenSSL 3).
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

enum { PEM_MAX = 1 << 20, CHAIN_MAX = 16 };

struct http_cert {
    atomic_uint refs;
    X509 *leaf;
    STACK_OF(X509) * chain; /* without the leaf */
    EVP_PKEY *key;
};

struct http_tls {
    SSL_CTX *ctx;
    http_cert_pick *pick;
    void *arg;
};

/* Adds OpenSSL's newest reason; its queue is empty afterwards. */
static bool ssl_fail(struct err *err, enum err_code code, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return err_set(err, code, "%s: %s", what, reason ? reason : "unknown reason");
}

/* Certificates. */

/* A key with a passphrase is refused; without this OpenSSL would ask on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

static void cert_free(struct http_cert *c)
{
    X509_free(c->leaf);
    sk_X509_pop_free(c->chain, X509_free);
    EVP_PKEY_free(c->key);
    free(c);
}

static bool read_chain(struct http_cert *c, BIO *pem, struct err *err)
{
    c->leaf = PEM_read_bio_X509_AUX(pem, NULL, no_passphrase, NULL);
    if (!c->leaf)
        return ssl_fail(err, ERR_INVALID, "no certificate in PEM form found");
    c->chain = sk_X509_new_null();
    X509 *next;
    while ((next = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL))) {
        if (sk_X509_num(c->chain) >= CHAIN_MAX || sk_X509_push(c->chain, next) <= 0) {
            X509_free(next);
            return err_set(err, ERR_INVALID, "the certificate chain has more than %d certificates",
                           CHAIN_MAX);
        }
    }
    /* The end of the file is an "error", too. */
    unsigned long e = ERR_peek_last_error();
    if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
        return ssl_fail(err, ERR_INVALID, "a certificate of the chain is damaged");
    ERR_clear_error();
    return true;
}

static struct http_cert *cert_from_bios(BIO *cert_pem, BIO *key_pem, struct err *err)
{
    struct http_cert *c = xcalloc(1, sizeof *c);
    atomic_init(&c->refs, 1);
    ERR_clear_error();
    if (!read_chain(c, cert_pem, err))
        goto fail;
    c->key = PEM_read_bio_PrivateKey(key_pem, NULL, no_passphrase, NULL);
    if (!c->key) {
        ssl_fail(err, ERR_INVALID, "no private key in PEM form without passphrase found");
        goto fail;
    }
    if (X509_check_private_key(c->leaf, c->key) != 1) {
        ssl_fail(err, ERR_INVALID, "the private key does not belong to the certificate");
        goto fail;
    }
    return c;
fail:
    cert_free(c);
    return NULL;
}

struct http_cert *http_cert_from_pem(struct str cert_pem, struct str key_pem, struct err *err)
{
    if (cert_pem.len > PEM_MAX || key_pem.len > PEM_MAX) {
        err_set(err, ERR_TOO_LARGE, "a certificate or key of more than 1 MiB");
        return NULL;
    }
    BIO *cert = BIO_new_mem_buf(cert_pem.ptr ? cert_pem.ptr : "", (int)cert_pem.len);
    BIO *key = BIO_new_mem_buf(key_pem.ptr ? key_pem.ptr : "", (int)key_pem.len);
    struct http_cert *c = cert_from_bios(cert, key, err);
    BIO_free(cert);
    BIO_free(key);
    return c;
}

struct http_cert *http_cert_load(const char *cert_path, const char *key_path, struct err *err)
{
    struct http_cert *c = NULL;
    BIO *cert = BIO_new_file(cert_path, "r");
    BIO *key = cert ? BIO_new_file(key_path, "r") : NULL;
    if (!cert || !key) {
        int errnum = errno;
        ERR_clear_error();
        err_set_errno(err, errnum, "opening %s", cert ? key_path : cert_path);
    } else {
        c = cert_from_bios(cert, key, err);
        if (!c)
            err_wrap(err, "loading %s with %s", cert_path, key_path);
    }
    BIO_free(cert);
    BIO_free(key);
    return c;
}

struct http_cert *http_cert_ref(struct http_cert *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void http_cert_unref(struct http_cert *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        cert_free(c);
}

int64_t http_cert_not_after(const struct http_cert *c)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(c->leaf), &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm);
}

bool http_cert_covers(const struct http_cert *c, struct str host)
{
    char name[256];
    if (host.len == 0 || host.len >= sizeof name)
        return false;
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    if (X509_check_ip_asc(c->leaf, name, 0) == 1)
        return true;
    return X509_check_host(c->leaf, name, host.len, 0, NULL) == 1;
}

static bool add_alt_name(GENERAL_NAMES *names, const char *text)
{
    unsigned char ip[16];
    int ip_len = inet_pton(AF_INET, text, ip) == 1 ? 4 : inet_pton(AF_INET6, text, ip) == 1 ? 16 : 0;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(ip_len ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (!name || !value ||
        ASN1_STRING_set(value, ip_len ? (const void *)ip : text, ip_len ? ip_len : -1) != 1) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, ip_len ? GEN_IPADD : GEN_DNS, value);
    if (sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

static bool add_ext(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool fill_cert(struct arena *a, X509 *cert, EVP_PKEY *key, const struct str *names, size_t name_count,
                      int days)
{
    unsigned char serial[16];
    random_bytes(serial, sizeof serial);
    serial[0] &= 0x7f;
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);

    /* RFC 5280 limits a common name to 64 characters; verifiers look at the alternative names anyway. */
    X509_NAME *subject = X509_get_subject_name(cert);
    ok = ok && X509_set_version(cert, X509_VERSION_3) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
         X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) && X509_set_pubkey(cert, key) == 1 &&
         X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"OpenRun Server", -1,
                                    -1, 0) == 1;
    if (ok && name_count > 0 && names[0].len <= 64)
        ok = X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)names[0].ptr,
                                        (int)names[0].len, -1, 0) == 1;
    ok = ok && X509_set_issuer_name(cert, subject) == 1;

    GENERAL_NAMES *alt = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; ok && i < name_count; i++)
        ok = add_alt_name(alt, str_z(a, names[i]));
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, alt, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(alt);

    return ok && add_ext(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_ext(cert, NID_key_usage, "critical,digitalSignature") &&
           add_ext(cert, NID_ext_key_usage, "serverAuth") &&
           add_ext(cert, NID_subject_key_identifier, "hash") && X509_sign(cert, key, EVP_sha256()) > 0;
}

static struct str take_bio(struct arena *a, BIO *bio)
{
    char *text;
    long len = BIO_get_mem_data(bio, &text);
    return str_dup(a, str_of(text, (size_t)len));
}

bool http_cert_self_signed(struct arena *a, const struct str *names, size_t name_count, int days,
                           struct str *cert_pem, struct str *key_pem, struct err *err)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    bool ok = key && cert && cert_bio && key_bio && fill_cert(a, cert, key, names, name_count, days) &&
              PEM_write_bio_X509(cert_bio, cert) == 1 &&
              PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (ok) {
        *cert_pem = take_bio(a, cert_bio);
        *key_pem = take_bio(a, key_bio);
    } else {
        ssl_fail(err, ERR_INTERNAL, "making a self-signed certificate");
    }
    BIO_free(cert_bio);
    BIO_free(key_bio);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

/* Handshakes. */

/* The server name in lower case without a final dot; empty when there is none or it is no host name. */
static struct str server_name(SSL *ssl, char buf[256])
{
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct str name = str_trim_right(str_from(sni), '.');
    if (name.len == 0 || name.len > 253)
        return (struct str){0};
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c | 0x20);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              (c == '.' && i > 0 && name.ptr[i - 1] != '.')))
            return (struct str){0};
        buf[i] = c;
    }
    return str_of(buf, name.len);
}

/* Called for every handshake, with or without a server name in it. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    struct http_tls *tls = arg;
    char buf[256];
    struct http_cert *cert = tls->pick(http_loop_current(), server_name(ssl, buf), tls->arg);
    if (!cert) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (SSL_use_cert_and_key(ssl, cert->leaf, cert->key, cert->chain, 1) != 1) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg)
{
    (void)ssl, (void)arg;
    /* In the order of our preference. */
    static const unsigned char ours[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol, RFC 7301 §3.2 */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

struct http_tls *http_tls_open(http_cert_pick *pick, void *arg, struct err *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1 ||
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"openrun", 7) != 1) {
        SSL_CTX_free(ctx);
        ssl_fail(err, ERR_INTERNAL, "setting up TLS");
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    /* Tickets carry the sessions: no cache, no lock between the loops. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    struct http_tls *tls = xcalloc(1, sizeof *tls);
    *tls = (struct http_tls){.ctx = ctx, .pick = pick, .arg = arg};
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, tls);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return tls;
}

void http_tls_close(struct http_tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->ctx);
    free(tls);
}

static int accept_any_cert(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

void http_tls_request_client_cert(struct http_tls *tls)
{
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, accept_any_cert);
}

SSL *http_tls_accept(struct http_tls *tls, int fd)
{
    SSL *ssl = SSL_new(tls->ctx);
    if (ssl && SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ssl = NULL;
    }
    if (ssl)
        SSL_set_accept_state(ssl);
    else
        ERR_clear_error();
    return ssl;
}
