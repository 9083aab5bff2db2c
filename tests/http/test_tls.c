/* tests/http/test_tls.c: certificates, and the server behind TLS.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"
#include "web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/stat.h>

#include <unistd.h>

#include <cmocka.h>

static struct http_loops *loops;
static struct http_server *server;
static struct http_tls *tls;
static struct http_cert *cert_a, *cert_b;
static int port;
static SSL_CTX *client_ctx;
static atomic_int picked_empty;

static void echo(struct http_req *req, struct str body, const struct err *err, void *arg)
{
    if (err)
        http_reply_error(req, (int)err->code, str_from(err_msg(err)));
    else
        http_reply(req, 200, STR("text/plain"), body);
}

static size_t pipe_piece(struct http_req *req, struct str data, enum http_body what, void *arg)
{
    if (what == HTTP_BODY_FAILED) {
        http_resp_abort(req);
        return 0;
    }
    http_resp_write(req, data, false);
    if (what == HTTP_BODY_END)
        http_resp_end(req);
    return data.len;
}

static void send_file(struct http_req *req)
{
    char path[] = "/tmp/openrun-test-XXXXXX", block[1000];
    int fd = mkstemp(path);
    unlink(path);
    for (int i = 0; i < 300; i++) {
        memset(block, 'a' + i % 26, sizeof block);
        if (write(fd, block, sizeof block) != sizeof block)
            abort();
    }
    http_resp_start(req, 200, 300000);
    http_resp_file(req, fd, 0, 300000);
    http_resp_end(req);
}

static void on_request(struct http_req *req, void *arg)
{
    assert(req->is_tls && http_req_ssl(req));
    if (str_eq(req->path, STR("/echo"))) {
        http_req_read_all(req, 1 << 24, echo, NULL);
    } else if (str_eq(req->path, STR("/pipe"))) {
        http_resp_start(req, 200, req->content_length);
        http_req_read(req, pipe_piece, NULL);
    } else if (str_eq(req->path, STR("/file"))) {
        send_file(req);
    } else {
        X509 *peer = SSL_get1_peer_certificate(http_req_ssl(req));
        http_reply(req, 200, STR("text/plain"), peer ? STR("hello with certificate") : STR("hello"));
        X509_free(peer);
    }
}

static struct http_cert *pick(struct http_loop *loop, struct str name, void *arg)
{
    assert(loop == http_loop_current());
    if (name.len == 0)
        atomic_fetch_add(&picked_empty, 1);
    if (name.len == 0 || str_eq(name, STR("a.example")))
        return cert_a;
    return str_eq(name, STR("b.example")) ? cert_b : NULL;
}

static struct http_cert *make_cert(struct arena *a, const struct str *names, size_t n)
{
    scoped_err err = {0};
    struct str cert, key;
    if (!http_cert_self_signed(a, names, n, 30, &cert, &key, &err))
        fail_msg("%s", err_msg(&err));
    struct http_cert *c = http_cert_from_pem(cert, key, &err);
    if (!c)
        fail_msg("%s", err_msg(&err));
    return c;
}

static int set_up(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    cert_a = make_cert(&a, &STR("a.example"), 1);
    cert_b = make_cert(&a, &STR("b.example"), 1);
    tls = http_tls_open(pick, NULL, &err);
    assert_non_null(tls);
    http_tls_request_client_cert(tls);
    loops = http_loops_open(2, &err);
    server = http_server_open(loops, &(struct http_limits){.handshake_timeout_ms = 500});
    struct http_listener *l = http_listen(
        server, &(struct http_listen){.host = STR("127.0.0.1"), .tls = tls, .handler = {on_request, NULL}},
        &err);
    assert_non_null(l);
    port = http_listener_port(l);
    client_ctx = SSL_CTX_new(TLS_client_method());
    return 0;
}

static int tear_down(void **state)
{
    http_server_close(server);
    http_tls_close(tls);
    http_cert_unref(cert_a);
    http_cert_unref(cert_b);
    http_loops_close(loops);
    SSL_CTX_free(client_ctx);
    return 0;
}

/* Shakes hands; false (connection closed) if the server refuses. */
static bool web_tls(struct web *w, const char *name, int version, const char *alpn, SSL_SESSION *session)
{
    *w = web_open(port);
    w->ssl = SSL_new(client_ctx);
    SSL_set_fd(w->ssl, w->fd);
    if (name)
        SSL_set_tlsext_host_name(w->ssl, name);
    if (version) {
        SSL_set_min_proto_version(w->ssl, version);
        SSL_set_max_proto_version(w->ssl, version);
    }
    if (alpn)
        SSL_set_alpn_protos(w->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    if (session)
        SSL_set_session(w->ssl, session);
    if (SSL_connect(w->ssl) == 1)
        return true;
    SSL_free(w->ssl);
    w->ssl = NULL;
    web_close(w);
    return false;
}

static void expect_get(struct web *w, const char *body)
{
    struct web_resp r = {0};
    web_say(w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(w, &r, false);
    if (r.status != 200 || strcmp(buf_z(&r.body), body) != 0)
        fail_msg("got %d %s", r.status, buf_z(&r.body));
    web_free(&r);
}

static void names_choose_certificates(void **state)
{
    static const struct {
        const char *name, *subject; /* NULL: refused */
    } cases[] = {
        {NULL, "a.example"},         {"a.example", "a.example"}, {"B.Example", "b.example"},
        {"b.example.", "b.example"}, {"c.example", NULL},        {"../../etc", "a.example"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct web w;
        bool ok = web_tls(&w, cases[i].name, 0, NULL, NULL);
        if (ok != (cases[i].subject != NULL))
            fail_msg("%s: handshake %d", cases[i].name, ok);
        if (!ok) {
            assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_UNRECOGNIZED_NAME);
            ERR_clear_error();
            continue;
        }
        X509 *peer = SSL_get1_peer_certificate(w.ssl);
        if (X509_check_host(peer, cases[i].subject, 0, 0, NULL) != 1)
            fail_msg("%s: wrong certificate", cases[i].name ? cases[i].name : "(none)");
        X509_free(peer);
        expect_get(&w, "hello");
        expect_get(&w, "hello");
        web_close(&w);
    }
}

static void protocols(void **state)
{
    struct web w;
    assert_true(web_tls(&w, "a.example", TLS1_2_VERSION, NULL, NULL));
    expect_get(&w, "hello");
    web_close(&w);
    assert_true(web_tls(&w, "a.example", TLS1_3_VERSION, "\x02h2\x08http/1.1", NULL));
    const unsigned char *alpn;
    unsigned len;
    SSL_get0_alpn_selected(w.ssl, &alpn, &len);
    assert_true(str_eq(str_of(alpn, len), STR("http/1.1")));
    web_close(&w);
    SSL_CTX_set_security_level(client_ctx, 0);
    assert_false(web_tls(&w, "a.example", TLS1_1_VERSION, NULL, NULL));
    assert_false(web_tls(&w, "a.example", 0, "\x04spdy", NULL));
    ERR_clear_error();
    /* The client may know before the server has counted. */
    struct http_stats stats;
    int64_t end_ms = clock_ms() + 60000;
    do
        http_server_stats(server, &stats);
    while (stats.tls_failed < 2 && clock_ms() < end_ms && usleep(1000) == 0);
    assert_int_equal(stats.tls_failed, 2);
}

static void sessions_are_resumed(void **state)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct web w;
        assert_true(web_tls(&w, "a.example", version, NULL, NULL));
        expect_get(&w, "hello");
        SSL_SESSION *session = SSL_get1_session(w.ssl);
        web_close(&w);
        assert_true(web_tls(&w, "a.example", version, NULL, session));
        if (!SSL_session_reused(w.ssl))
            fail_msg("version %x was not resumed", (unsigned)version);
        expect_get(&w, "hello");
        SSL_SESSION_free(session);
        web_close(&w);
    }
}

static void renegotiation_is_refused(void **state)
{
    struct web w;
    assert_true(web_tls(&w, "a.example", TLS1_2_VERSION, NULL, NULL));
    SSL_renegotiate(w.ssl);
    assert_int_not_equal(SSL_do_handshake(w.ssl), 1);
    ERR_clear_error();
    SSL_free(w.ssl);
    w.ssl = NULL;
    web_close(&w);
}

static void client_certificates_are_seen(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str cert_pem, key_pem;
    assert_true(http_cert_self_signed(&a, &STR("me"), 1, 1, &cert_pem, &key_pem, &err));
    BIO *b = BIO_new_mem_buf(cert_pem.ptr, (int)cert_pem.len),
        *k = BIO_new_mem_buf(key_pem.ptr, (int)key_pem.len);
    X509 *cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
    SSL_CTX_use_certificate(client_ctx, cert);
    SSL_CTX_use_PrivateKey(client_ctx, key);
    struct web w;
    assert_true(web_tls(&w, "a.example", 0, NULL, NULL));
    expect_get(&w, "hello with certificate");
    web_close(&w);
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(b);
    BIO_free(k);
}

static void large_bodies_pass(void **state)
{
    struct web w;
    struct web_resp r = {0};
    assert_true(web_tls(&w, "a.example", 0, NULL, NULL));
    enum { SIZE = 3000000 };
    scoped_buf b = BUF_INIT(1 << 24);
    buf_printf(&b, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", SIZE);
    size_t at = b.len;
    for (int i = 0; i < SIZE; i++)
        buf_add_char(&b, (char)('a' + i % 23));
    web_send(&w, b.ptr, b.len);
    web_read(&w, &r, false);
    assert_int_equal(r.body.len, SIZE);
    assert_memory_equal(r.body.ptr, b.ptr + at, SIZE);
    web_say(&w, "GET /file HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&w, &r, false);
    assert_int_equal(r.body.len, 300000);
    assert_int_equal(r.body.ptr[299999], 'a' + 299 % 26);
    web_read(&w, &r, false);
    assert_string_equal(buf_z(&r.body), "hello");
    /* Many small records, and a body that ends inside one. */
    web_say(&w, "POST /pipe HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n");
    for (int i = 0; i < 300; i++)
        web_send(&w, b.ptr + at + i * 100, 100);
    web_read(&w, &r, false);
    assert_int_equal(r.body.len, 30000);
    assert_memory_equal(r.body.ptr, b.ptr + at, 30000);
    web_close(&w);
    web_free(&r);
}

static void the_end_is_announced(void **state)
{
    struct web w;
    struct web_resp r = {0};
    assert_true(web_tls(&w, "a.example", 0, NULL, NULL));
    web_say(&w, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    web_read(&w, &r, false);
    assert_int_equal(r.status, 200);
    char c;
    assert_int_equal(SSL_get_error(w.ssl, SSL_read(w.ssl, &c, 1)), SSL_ERROR_ZERO_RETURN);
    web_close(&w);
    web_free(&r);
}

static void silent_and_plain_clients_are_dropped(void **state)
{
    struct web w = web_open(port);
    assert_true(web_is_ended(&w)); /* the handshake's deadline */
    web_close(&w);
    w = web_open(port);
    web_say(&w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while (web_fill(&w)) /* an alert */
        ;
    web_close(&w);
}

static void certificates(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str names[] = {STR("x.example"), STR("*.y.example"), STR("192.0.2.7"), STR("::1")};
    struct str cert, key, other_cert, other_key;
    assert_true(http_cert_self_signed(&a, names, ARRAY_LEN(names), 30, &cert, &key, &err));
    struct http_cert *c = http_cert_from_pem(cert, key, &err);
    assert_non_null(c);
    static const struct {
        const char *host;
        bool is_covered;
    } hosts[] = {{"x.example", true},  {"X.EXAMPLE", true}, {"a.y.example", true},
                 {"y.example", false}, {"192.0.2.7", true}, {"192.0.2.8", false},
                 {"::1", true},        {"", false},         {"z", false}};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        if (http_cert_covers(c, str_from(hosts[i].host)) != hosts[i].is_covered)
            fail_msg("%s", hosts[i].host);
    int64_t left = http_cert_not_after(c) - wall_ns() / 1000000000;
    assert_true(left > 29 * 86400 && left < 31 * 86400);
    http_cert_unref(http_cert_ref(c));
    http_cert_unref(c);

    assert_true(http_cert_self_signed(&a, names, 1, 30, &other_cert, &other_key, &err));
    assert_null(http_cert_from_pem(cert, other_key, &err));
    assert_non_null(strstr(err_msg(&err), "does not belong"));
    assert_null(http_cert_from_pem(STR("x"), key, &err));
    assert_non_null(strstr(err_msg(&err), "no certificate in PEM form found"));
    assert_null(http_cert_from_pem(cert, STR(""), &err));
    assert_non_null(strstr(err_msg(&err), "no private key in PEM form"));
    assert_null(http_cert_load("/nowhere/a.crt", "/nowhere/a.key", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err_msg(&err), "/nowhere/a.crt"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates), T(names_choose_certificates), T(protocols),
        T(sessions_are_resumed),        T(renegotiation_is_refused),  T(client_certificates_are_seen),
        T(large_bodies_pass),           T(the_end_is_announced),      T(silent_and_plain_clients_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
