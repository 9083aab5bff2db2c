/* tests/http/test_parse.c: request and response heads, chunked bodies: each input whole and in all pieces.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct http_head_limits limits = {.head_max = 32 * 1024, .target_max = 16 * 1024};

struct outcome {
    enum http_parse result;
    size_t used;
    int status;
    const char *why;
};

static struct http_head head;

/* Parses the first `len` bytes of `text` from memory of just that size. */
static struct outcome parse_part(struct str text, size_t len, size_t *scanned, char **mem)
{
    struct outcome o = {0};
    free(*mem);
    *mem = malloc(len ? len : 1);
    memcpy(*mem, text.ptr, len);
    o.result = http_parse_request(str_of(*mem, len), &limits, scanned, &head, &o.used, &o.status, &o.why);
    return o;
}

static bool same(struct outcome a, struct outcome b)
{
    return a.result == b.result && a.used == b.used && a.status == b.status &&
           (a.why == b.why || (a.why && b.why && strcmp(a.why, b.why) == 0));
}

/* The outcome for the whole text, having checked that feeding it in pieces gives the same. */
static struct outcome parse_every_way(const char *name, struct str text, char **mem)
{
    size_t scanned = 0;
    struct outcome bytewise = {.result = HTTP_PARSE_MORE};
    for (size_t n = 1; n <= text.len && bytewise.result == HTTP_PARSE_MORE; n++)
        bytewise = parse_part(text, n, &scanned, mem);
    for (size_t cut = 1; cut < text.len; cut++) {
        scanned = 0;
        struct outcome o = parse_part(text, cut, &scanned, mem);
        if (o.result == HTTP_PARSE_MORE)
            o = parse_part(text, text.len, &scanned, mem);
        if (!same(o, bytewise))
            fail_msg("%s: cut at %zu gives %d (%s), bytewise %d (%s)", name, cut, (int)o.result, o.why,
                     (int)bytewise.result, bytewise.why);
    }
    scanned = 0;
    struct outcome whole = parse_part(text, text.len, &scanned, mem);
    if (!same(whole, bytewise))
        fail_msg("%s: whole gives %d (%s), bytewise %d (%s)", name, (int)whole.result, whole.why,
                 (int)bytewise.result, bytewise.why);
    return whole;
}

#define H "Host: a\r\n"

/* clang-format off */
static const struct {
    const char *name, *in;
    int status;         /* 0: good */
    const char *want;   /* good: "METHOD target version length|chunked|- headers"; else the reason */
} requests[] = {
    {"a plain GET", "GET / HTTP/1.1\r\n" H "\r\n", 0, "GET / 11 - 1"},
    {"a query", "GET /a?b=c&d HTTP/1.1\r\n" H "\r\n", 0, "GET /a?b=c&d 11 - 1"},
    {"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 0, "GET / 10 - 0"},
    {"a later minor version counts as 1.1", "GET / HTTP/1.7\r\n" H "\r\n", 0, "GET / 11 - 1"},
    {"an unknown method", "PROPFIND / HTTP/1.1\r\n" H "\r\n", 0, "PROPFIND / 11 - 1"},
    {"one empty line first", "\r\nGET / HTTP/1.1\r\n" H "\r\n", 0, "GET / 11 - 1"},
    {"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, "OPTIONS * 11 - 1"},
    {"absolute form", "GET http://b:80/x HTTP/1.1\r\n" H "\r\n", 0, "GET http://b:80/x 11 - 1"},
    {"a body by length", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n", 0, "POST / 11 5 2"},
    {"a chunked body", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 0, "POST / 11 chunked 2"},
    {"chunked in capitals", "POST / HTTP/1.1\r\n" H "TRANSFER-ENCODING: Chunked\r\n\r\n", 0, "POST / 11 chunked 2"},
    {"an empty value", "GET / HTTP/1.1\r\n" H "X:\r\n\r\n", 0, "GET / 11 - 2"},
    {"white space around a value", "GET / HTTP/1.1\r\nHost: \t a \t \r\n\r\n", 0, "GET / 11 - 1"},
    {"bytes above 0x7f in a value", "GET / HTTP/1.1\r\n" H "X: \xc3\xa9\r\n\r\n", 0, "GET / 11 - 2"},
    {"a long value of 16-byte steps", "GET / HTTP/1.1\r\n" H "X: 0123456789abcdef0123456789abcdef\ttail\r\n\r\n", 0,
     "GET / 11 - 2"},
    {"Host with port", "GET / HTTP/1.1\r\nHost: a.b:8080\r\n\r\n", 0, "GET / 11 - 1"},
    {"Host with IPv6", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 0, "GET / 11 - 1"},

    {"bare LF after the request line", "GET / HTTP/1.1\n" H "\r\n", 400, "a line ends with LF alone"},
    {"bare LF after a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "a line ends with LF alone"},
    {"bare LF as the empty line", "GET / HTTP/1.1\r\n" H "\n\r\n", 400,
     "a header name is empty or has a character that is not allowed"},
    {"bare CR in a value", "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", 400, "a CR without its LF"},
    {"CR CR LF", "GET / HTTP/1.1\r\n" H "X: a\r\r\n\r\n", 400, "a CR without its LF"},
    {"a folded line", "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 400, "a folded header line"},
    {"a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "a folded header line"},
    {"space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400,
     "a header name is empty or has a character that is not allowed"},
    {"no colon", "GET / HTTP/1.1\r\n" H "abc\r\n\r\n", 400,
     "a header name is empty or has a character that is not allowed"},
    {"empty name", "GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400,
     "a header name is empty or has a character that is not allowed"},
    {"underscore is a token", "GET / HTTP/1.1\r\n" H "Content_Length: 5\r\n\r\n", 0, "GET / 11 - 2"},
    {"DEL in a value", "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n", 400, "a header value has a control character"},
    {"a control character late in a value", "GET / HTTP/1.1\r\n" H "X: 0123456789abcdef012\x01\r\n\r\n", 400,
     "a header value has a control character"},
    {"no method", " / HTTP/1.1\r\n" H "\r\n", 400, "the request line does not start with a method and a space"},
    {"two spaces before the target", "GET  / HTTP/1.1\r\n" H "\r\n", 400,
     "the request target is missing or has a character that must be encoded"},
    {"two spaces before the version", "GET /  HTTP/1.1\r\n" H "\r\n", 400,
     "the HTTP version is missing or malformed"},
    {"a tab in the request line", "GET\t/ HTTP/1.1\r\n" H "\r\n", 400,
     "the request line does not start with a method and a space"},
    {"HTTP/0.9", "GET /\r\n\r\n", 400, "the request target is missing or has a character that must be encoded"},
    {"a fragment", "GET /a#b HTTP/1.1\r\n" H "\r\n", 400,
     "the request target is missing or has a character that must be encoded"},
    {"text after the version", "GET / HTTP/1.1 \r\n" H "\r\n", 400, "text after the HTTP version"},
    {"lower-case http", "GET / http/1.1\r\n" H "\r\n", 400, "the HTTP version is missing or malformed"},
    {"the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "this HTTP version is not supported"},
    {"a version of two digits", "GET / HTTP/1.10\r\n" H "\r\n", 400, "text after the HTTP version"},
    {"a relative target", "GET a HTTP/1.1\r\n" H "\r\n", 400,
     "the request target is neither a path nor an http URL"},
    {"GET *", "GET * HTTP/1.1\r\n" H "\r\n", 400, "the target * is for OPTIONS"},
    {"absolute form with user info", "GET http://u@b/ HTTP/1.1\r\n" H "\r\n", 400,
     "the host in the request target is malformed"},
    {"absolute form without host", "GET http:///x HTTP/1.1\r\n" H "\r\n", 400,
     "the host in the request target is malformed"},
    {"CONNECT", "CONNECT a:443 HTTP/1.1\r\n" H "\r\n", 501, "CONNECT is not supported"},

    {"no Host", "GET / HTTP/1.1\r\n\r\n", 400, "the Host field is missing"},
    {"two Hosts", "GET / HTTP/1.1\r\n" H H "\r\n", 400, "the Host field is repeated"},
    {"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "invalid Host header"},
    {"a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "invalid Host header"},
    {"a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400, "invalid Host header"},
    {"a Host with a bad port", "GET / HTTP/1.1\r\nHost: a:66000\r\n\r\n", 400, "invalid Host header"},
    {"a Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "invalid Host header"},
    {"a Host with a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "invalid Host header"},
    {"an odd Host in HTTP/1.0", "GET / HTTP/1.0\r\nHost: @\r\n\r\n", 400, "invalid Host header"},

    {"both framings", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     "Content-Length and Transfer-Encoding together"},
    {"both framings, the other way", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
     400, "Content-Length and Transfer-Encoding together"},
    {"two lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400,
     "Content-Length is repeated"},
    {"the same length twice", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400,
     "Content-Length is repeated"},
    {"a list of lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n", 400,
     "Content-Length is not a number of bytes"},
    {"a signed length", "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", 400,
     "Content-Length is not a number of bytes"},
    {"a negative length", "POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n", 400,
     "Content-Length is not a number of bytes"},
    {"a hexadecimal length", "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", 400,
     "Content-Length is not a number of bytes"},
    {"a length with a space inside", "POST / HTTP/1.1\r\n" H "Content-Length: 5 0\r\n\r\n", 400,
     "Content-Length is not a number of bytes"},
    {"a length beyond 64 bits", "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\n", 400,
     "Content-Length is not a number of bytes"},
    {"an empty length", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400,
     "Content-Length is not a number of bytes"},
    {"chunked twice", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     "Transfer-Encoding is repeated"},
    {"chunked in a list", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501,
     "this Transfer-Encoding is not supported"},
    {"chunked with a vertical tab", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \vchunked\r\n\r\n", 400,
     "a header value has a control character"},
    {"identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501,
     "this Transfer-Encoding is not supported"},
    {"xchunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 501,
     "this Transfer-Encoding is not supported"},
    {"an empty Transfer-Encoding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 501,
     "this Transfer-Encoding is not supported"},
    {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400,
     "Transfer-Encoding in HTTP/1.0"},
    {"an unknown expectation", "POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", 417,
     "this expectation is not supported"},
};
/* clang-format on */

static void request_heads(void **state)
{
    char *mem = NULL;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        const char *name = requests[i].name;
        struct outcome o = parse_every_way(name, str_from(requests[i].in), &mem);
        if (requests[i].status) {
            if (o.result != HTTP_PARSE_BAD || o.status != requests[i].status ||
                strcmp(o.why, requests[i].want) != 0)
                fail_msg("%s: wanted %d %s, got %d: %d %s", name, requests[i].status, requests[i].want,
                         (int)o.result, o.status, o.why ? o.why : "");
            continue;
        }
        if (o.result != HTTP_PARSE_DONE || o.used != strlen(requests[i].in))
            fail_msg("%s: got %d, %d %s", name, (int)o.result, o.status, o.why ? o.why : "");
        char length[32] = "-", got[256];
        if (head.has_length)
            snprintf(length, sizeof length, "%lld", (long long)head.content_length);
        snprintf(got, sizeof got, "%.*s %.*s %d %s %zu", STR_ARG(head.method_text), STR_ARG(head.target),
                 head.version, head.is_chunked ? "chunked" : length, head.header_count);
        if (strcmp(got, requests[i].want) != 0)
            fail_msg("%s: wanted %s, got %s", name, requests[i].want, got);
    }
    free(mem);
}

static void a_nul_is_refused_everywhere(void **state)
{
    static const char good[] = "GET /abc HTTP/1.1\r\nHost: a\r\nX-Y: bcd\r\n\r\n";
    char *mem = NULL;
    for (size_t i = 0; i < sizeof good - 5; i++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        text[i] = '\0';
        if (parse_every_way("NUL", str_of(text, sizeof good - 1), &mem).result != HTTP_PARSE_BAD)
            fail_msg("a NUL at %zu passes", i);
    }
    free(mem);
}

static void pieces_of_the_head(void **state)
{
    struct str text =
        STR("POST http://B.example:81/p?q HTTP/1.1\r\nhost: other\r\nConnection: Keep-Alive, x\r\n"
            "CONNECTION: upgrade ,close\r\nCookie: a\r\ncookie: b\r\nExpect: 100-Continue\r\n"
            "Content-Length: 7\r\nUpgrade: websocket\r\n\r\nbodyGET");
    size_t scanned = 0, used;
    int status;
    const char *why;
    assert_int_equal(http_parse_request(text, &limits, &scanned, &head, &used, &status, &why),
                     HTTP_PARSE_DONE);
    assert_int_equal(used, text.len - 7);
    assert_int_equal(head.method, HTTP_POST);
    /* The target's authority has replaced Host. */
    assert_true(str_eq(http_head_known(&head, HTTP_H_HOST), STR("B.example:81")));
    assert_true(str_eq(http_head_known(&head, HTTP_H_COOKIE), STR("a")));
    assert_true(head.conn_close && head.conn_keep_alive && head.conn_upgrade && head.expect_continue);
    assert_null(http_head_known(&head, HTTP_H_ORIGIN).ptr);
}

static void header_ids(void **state)
{
    for (int id = HTTP_H_OTHER + 1; id < HTTP_H_COUNT; id++) {
        char upper[64];
        struct str name = http_hdr_name((enum http_hdr)id);
        if (name.len == 0 || http_hdr_id(name) != (enum http_hdr)id)
            fail_msg("id %d (%.*s) is not found by its name", id, STR_ARG(name));
        for (size_t i = 0; i < name.len; i++)
            upper[i] = name.ptr[i] >= 'a' && name.ptr[i] <= 'z' ? (char)(name.ptr[i] - 32) : name.ptr[i];
        assert_int_equal(http_hdr_id(str_of(upper, name.len)), id);
        upper[name.len - 1] = 'q';
        assert_int_equal(http_hdr_id(str_of(upper, name.len)), HTTP_H_OTHER);
    }
    assert_int_equal(http_hdr_id(STR("x")), HTTP_H_OTHER);
    assert_int_equal(http_hdr_id((struct str){0}), HTTP_H_OTHER);
}

/* A head of request line and `n` bytes of `c` inside, parsed whole and in steps. */
static struct outcome parse_long(const char *before, char c, size_t n, const char *after)
{
    scoped_buf b = BUF_INIT(1 << 20);
    buf_add_z(&b, before);
    for (size_t i = 0; i < n; i++)
        buf_add_char(&b, c);
    buf_add_z(&b, after);
    char *mem = NULL;
    size_t scanned = 0;
    struct outcome whole = parse_part(buf_str(&b), b.len, &scanned, &mem), o = {0};
    scanned = 0;
    for (size_t len = 1000; o.result == HTTP_PARSE_MORE; len += 1000) {
        o = parse_part(buf_str(&b), MIN(len, b.len), &scanned, &mem);
        if (len >= b.len)
            break;
    }
    free(mem);
    if (o.result != whole.result || o.status != whole.status)
        fail_msg("whole gives %d %d, steps %d %d", (int)whole.result, whole.status, (int)o.result, o.status);
    return whole;
}

static void limits_are_kept(void **state)
{
    assert_int_equal(parse_long("GET /", 'a', 16000, " HTTP/1.1\r\n" H "\r\n").result, HTTP_PARSE_DONE);
    assert_int_equal(parse_long("GET /", 'a', 16384, " HTTP/1.1\r\n" H "\r\n").status, 414);
    assert_int_equal(parse_long("GET /", 'a', 100000, "").status, 414);
    assert_int_equal(parse_long("GET / HTTP/1.1\r\n" H "X: ", 'a', 32000, "\r\n\r\n").result,
                     HTTP_PARSE_DONE);
    assert_int_equal(parse_long("GET / HTTP/1.1\r\n" H "X: ", 'a', 32768, "\r\n\r\n").status, 431);
    assert_int_equal(parse_long("GET / HTTP/1.1\r\n" H "X: ", 'a', 100000, "").status, 431);
    assert_int_equal(parse_long("GET / HTTP/1.1\r\n" H, 'a', 100000, "").status, 431);
    assert_int_equal(parse_long("", 'A', 33, " / HTTP/1.1\r\n" H "\r\n").status, 400);

    scoped_buf b = BUF_INIT(1 << 20);
    buf_add_z(&b, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 99; i++)
        buf_add_z(&b, "X: y\r\n");
    size_t good = b.len;
    buf_add_z(&b, "\r\n");
    char *mem = NULL;
    assert_int_equal(parse_every_way("100 headers", buf_str(&b), &mem).result, HTTP_PARSE_DONE);
    b.len = good;
    buf_add_z(&b, "X: y\r\n\r\n");
    assert_int_equal(parse_every_way("101 headers", buf_str(&b), &mem).status, 431);
    free(mem);
}

/* clang-format off */
static const struct {
    const char *name, *in;
    int status; /* 0: bad */
    const char *want;
} responses[] = {
    {"a plain response", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200, "OK 3"},
    {"no reason", "HTTP/1.1 204 \r\n\r\n", 204, " -"},
    {"no reason and no space", "HTTP/1.1 204\r\n\r\n", 204, " -"},
    {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "OK chunked"},
    {"HTTP/1.0", "HTTP/1.0 404 Not Found\r\n\r\n", 404, "Not Found -"},
    {"two digits", "HTTP/1.1 20 OK\r\n\r\n", 0, "the status line is malformed"},
    {"four digits", "HTTP/1.1 2000 OK\r\n\r\n", 0, "the status line is malformed"},
    {"status below 100", "HTTP/1.1 099 OK\r\n\r\n", 0, "the status line is malformed"},
    {"a short line", "HTTP/1.1\r\n\r\n", 0, "the status line is malformed"},
    {"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", 0, "the HTTP version is missing or malformed"},
    {"bare LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n", 0, "a line ends with LF alone"},
    {"both framings", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 0,
     "Content-Length and Transfer-Encoding together"},
};
/* clang-format on */

static void response_heads(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        struct str in = str_from(responses[i].in);
        for (size_t cut = 0; cut < in.len; cut++) {
            size_t scanned = 0, used = 0;
            const char *why = "";
            enum http_parse p =
                http_parse_response(str_slice(in, 0, cut), &limits, &scanned, &head, &used, &why);
            if (p == HTTP_PARSE_MORE)
                p = http_parse_response(in, &limits, &scanned, &head, &used, &why);
            char length[32] = "-", got[128];
            if (head.has_length)
                snprintf(length, sizeof length, "%lld", (long long)head.content_length);
            snprintf(got, sizeof got, "%.*s %s", STR_ARG(head.reason), head.is_chunked ? "chunked" : length);
            bool ok = responses[i].status == 0 ? p == HTTP_PARSE_BAD && strcmp(why, responses[i].want) == 0
                                               : p == HTTP_PARSE_DONE && head.status == responses[i].status &&
                                                     used == in.len && strcmp(got, responses[i].want) == 0;
            if (!ok)
                fail_msg("%s, cut at %zu: %d, %s, %s", responses[i].name, cut, (int)p, got, why);
        }
    }
}

/* clang-format off */
static const struct {
    const char *name, *in;
    enum http_parse end;
    const char *body, *why;
    size_t left; /* bytes after the end */
} chunks[] = {
    {"one chunk, then the end", "3\r\nabc\r\n0\r\n\r\n", HTTP_PARSE_DONE, "abc", NULL, 0},
    {"two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", HTTP_PARSE_DONE, "abcde", NULL, 0},
    {"no chunk", "0\r\n\r\n", HTTP_PARSE_DONE, "", NULL, 0},
    {"hexadecimal in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", HTTP_PARSE_DONE,
     "01234567890123456789", NULL, 0},
    {"leading zeros", "0003\r\nabc\r\n000\r\n\r\n", HTTP_PARSE_DONE, "abc", NULL, 0},
    {"what follows is left", "1\r\nx\r\n0\r\n\r\nGET /", HTTP_PARSE_DONE, "x", NULL, 5},
    {"extensions are dropped", "3;a=b;c=\"d\"\r\nabc\r\n0;z\r\n\r\n", HTTP_PARSE_DONE, "abc", NULL, 0},
    {"trailers are dropped", "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", HTTP_PARSE_DONE, "x", NULL, 0},
    {"input ends inside a size", "1", HTTP_PARSE_MORE, "", NULL, 0},
    {"input ends inside data", "5\r\nab", HTTP_PARSE_MORE, "ab", NULL, 0},
    {"input ends before the last line", "0\r\n", HTTP_PARSE_MORE, "", NULL, 0},
    {"bare LF after the size", "3\nabc", HTTP_PARSE_BAD, "", "CRLF must follow a chunk size", 0},
    {"CR without LF after the size", "3\rabc", HTTP_PARSE_BAD, "", "CRLF must follow a chunk size", 0},
    {"space before the size", " 3\r\nabc", HTTP_PARSE_BAD, "", "a chunk does not start with its size", 0},
    {"space after the size", "3 \r\nabc", HTTP_PARSE_BAD, "", "CRLF must follow a chunk size", 0},
    {"no size", "\r\nabc", HTTP_PARSE_BAD, "", "a chunk does not start with its size", 0},
    {"a sign", "+3\r\nabc", HTTP_PARSE_BAD, "", "a chunk does not start with its size", 0},
    {"0x", "0x3\r\nabc", HTTP_PARSE_BAD, "", "CRLF must follow a chunk size", 0},
    {"a size beyond 60 bits", "1000000000000000\r\n", HTTP_PARSE_BAD, "", "a chunk size is too large", 0},
    {"data longer than its size", "3\r\nabcd\r\n", HTTP_PARSE_BAD, "abc", "CRLF must follow a chunk", 0},
    {"bare LF after data", "3\r\nabc\n", HTTP_PARSE_BAD, "abc", "CRLF must follow a chunk", 0},
    {"bare LF in an extension", "3;a\nabc", HTTP_PARSE_BAD, "", "a chunk extension has a control character", 0},
    {"bare LF in a trailer", "0\r\nA: b\n\r\n", HTTP_PARSE_BAD, "", "a trailer has a control character", 0},
    {"a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", HTTP_PARSE_BAD, "", "a trailer line has no name", 0},
    {"CR without LF at the end", "0\r\n\rx", HTTP_PARSE_BAD, "", "CRLF must follow the last chunk", 0},
};
/* clang-format on */

/* Feeds [0, cut) and [cut, len), each `step` bytes at a time. */
static void decode(size_t i, size_t cut, size_t step)
{
    struct str in = str_from(chunks[i].in);
    struct http_chunked d;
    http_chunked_init(&d);
    scoped_buf body = BUF_INIT(1000);
    enum http_parse p = HTTP_PARSE_MORE;
    const char *why = NULL;
    size_t at = 0;
    while (at < in.len && p == HTTP_PARSE_MORE) {
        size_t end = MIN(at + step, at < cut ? cut : in.len), used = 0;
        struct str data;
        p = http_chunked_next(&d, str_slice(in, at, end), &used, &data, &why);
        buf_add_str(&body, data);
        at += used;
    }
    if (p != chunks[i].end || !str_eq_z(buf_str(&body), chunks[i].body) ||
        (chunks[i].why && strcmp(chunks[i].why, why) != 0) ||
        (p == HTTP_PARSE_DONE && in.len - at != chunks[i].left))
        fail_msg("%s, cut at %zu, by %zu: got %d, body \"%s\", %s", chunks[i].name, cut, step, (int)p,
                 buf_z(&body), why ? why : "");
}

static void chunked_bodies(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        decode(i, 0, SIZE_MAX / 2);
        decode(i, 0, 1);
        for (size_t cut = 1; cut < strlen(chunks[i].in); cut++)
            decode(i, cut, SIZE_MAX / 2);
    }
}

static void chunk_overhead_is_bounded(void **state)
{
    static const char *const starts[] = {"3;", "0\r\nA: ", "0\r\n"};
    static const char *const fills[] = {"x", "x", "A: b\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct http_chunked d;
        http_chunked_init(&d);
        scoped_buf b = BUF_INIT(1 << 20);
        buf_add_z(&b, starts[i]);
        for (int n = 0; n < 5000; n++)
            buf_add_z(&b, fills[i]);
        size_t used;
        struct str data;
        const char *why;
        assert_int_equal(http_chunked_next(&d, buf_str(&b), &used, &data, &why), HTTP_PARSE_BAD);
        assert_non_null(strstr(why, "too long"));
    }
}

static void authorities(void **state)
{
    static const struct {
        const char *in, *host;
        int port;
    } cases[] = {
        {"a", "a", 0},         {"a:", "a", 0},        {"a:80", "a", 80},
        {"[::1]", "::1", 0},   {"[::1]:9", "::1", 9}, {"a_b-c.d", "a_b-c.d", 0},
        {"a%20b", "a%20b", 0}, {"", NULL, 0},         {":80", NULL, 0},
        {"a:-1", NULL, 0},     {"a:99999", NULL, 0},  {"a:0x1", NULL, 0},
        {"[]", NULL, 0},       {"[x]", NULL, 0},      {"[::1]x", NULL, 0},
        {"u@a", NULL, 0},      {"a b", NULL, 0},      {"::1", NULL, 0},
        {"a:000080", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str host = {0};
        int port = 0;
        bool ok = http_parse_authority(str_from(cases[i].in), &host, &port);
        if (ok != (cases[i].host != NULL) ||
            (ok && (!str_eq_z(host, cases[i].host) || port != cases[i].port)))
            fail_msg("\"%s\": %d \"%.*s\" %d", cases[i].in, ok, STR_ARG(host), port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_heads),      cmocka_unit_test(a_nul_is_refused_everywhere),
        cmocka_unit_test(pieces_of_the_head), cmocka_unit_test(header_ids),
        cmocka_unit_test(limits_are_kept),    cmocka_unit_test(response_heads),
        cmocka_unit_test(chunked_bodies),     cmocka_unit_test(chunk_overhead_is_bounded),
        cmocka_unit_test(authorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
