/* http/parse.c: request and response heads (RFC 9112 §2 to §6), in place: every field is a slice of the text.
 *
 * Strict on purpose: what two parsers could read differently (bare LF, folded lines, space before the
 * colon, repeated or odd framing fields) is refused, so a head that passes means the same to whoever gets
 * it next. A head is parsed in one go when its last line is there; until then only new bytes are looked
 * at for a line end, so that a byte-wise sender costs no more than a fast one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    /* Characters by use: a bit each in `class_of`. */
    C_TOKEN = 1,  /* tchar, RFC 9110 §5.6.2 */
    C_TARGET = 2, /* visible ASCII but "#", and bytes from 0x80 (browsers encode them, some tools do not) */
    C_HOST = 4,   /* reg-name and IPv4: unreserved, "%", sub-delims (RFC 3986 §3.2.2) */
};

/* clang-format off */
static const uint8_t class_of[256] = {
    ['!'] = 7, ['"'] = 2, ['#'] = 1, ['$'] = 7, ['%'] = 7, ['&'] = 7, ['\''] = 7, ['('] = 6, [')'] = 6,
    ['*'] = 7, ['+'] = 7, [','] = 6, ['-'] = 7, ['.'] = 7, ['/'] = 2, ['0' ... '9'] = 7, [':'] = 2,
    [';'] = 6, ['<'] = 2, ['='] = 6, ['>'] = 2, ['?'] = 2, ['@'] = 2, ['A' ... 'Z'] = 7, ['['] = 2,
    ['\\'] = 2, [']'] = 2, ['^'] = 3, ['_'] = 7, ['`'] = 3, ['a' ... 'z'] = 7, ['{'] = 2, ['|'] = 3,
    ['}'] = 2, ['~'] = 7, [0x80 ... 0xff] = 2,
};
/* clang-format on */

/* clang-format off */
static const struct str hdr_names[HTTP_H_COUNT] = {
    [HTTP_H_ACCEPT] = STR_INIT("accept"), [HTTP_H_ACCEPT_ENCODING] = STR_INIT("accept-encoding"),
    [HTTP_H_AUTHORIZATION] = STR_INIT("authorization"), [HTTP_H_CACHE_CONTROL] = STR_INIT("cache-control"),
    [HTTP_H_CONNECTION] = STR_INIT("connection"), [HTTP_H_CONTENT_ENCODING] = STR_INIT("content-encoding"),
    [HTTP_H_CONTENT_LENGTH] = STR_INIT("content-length"),
    [HTTP_H_CONTENT_RANGE] = STR_INIT("content-range"), [HTTP_H_CONTENT_TYPE] = STR_INIT("content-type"),
    [HTTP_H_COOKIE] = STR_INIT("cookie"), [HTTP_H_DATE] = STR_INIT("date"),
    [HTTP_H_ETAG] = STR_INIT("etag"), [HTTP_H_EXPECT] = STR_INIT("expect"),
    [HTTP_H_FORWARDED] = STR_INIT("forwarded"), [HTTP_H_HOST] = STR_INIT("host"),
    [HTTP_H_IF_MATCH] = STR_INIT("if-match"), [HTTP_H_IF_MODIFIED_SINCE] = STR_INIT("if-modified-since"),
    [HTTP_H_IF_NONE_MATCH] = STR_INIT("if-none-match"), [HTTP_H_IF_RANGE] = STR_INIT("if-range"),
    [HTTP_H_IF_UNMODIFIED_SINCE] = STR_INIT("if-unmodified-since"),
    [HTTP_H_KEEP_ALIVE] = STR_INIT("keep-alive"), [HTTP_H_LAST_MODIFIED] = STR_INIT("last-modified"),
    [HTTP_H_LOCATION] = STR_INIT("location"), [HTTP_H_ORIGIN] = STR_INIT("origin"),
    [HTTP_H_PROXY_AUTHENTICATE] = STR_INIT("proxy-authenticate"),
    [HTTP_H_PROXY_AUTHORIZATION] = STR_INIT("proxy-authorization"),
    [HTTP_H_PROXY_CONNECTION] = STR_INIT("proxy-connection"), [HTTP_H_RANGE] = STR_INIT("range"),
    [HTTP_H_REFERER] = STR_INIT("referer"), [HTTP_H_SEC_FETCH_SITE] = STR_INIT("sec-fetch-site"),
    [HTTP_H_SERVER] = STR_INIT("server"), [HTTP_H_SET_COOKIE] = STR_INIT("set-cookie"),
    [HTTP_H_TE] = STR_INIT("te"), [HTTP_H_TRAILER] = STR_INIT("trailer"),
    [HTTP_H_TRANSFER_ENCODING] = STR_INIT("transfer-encoding"), [HTTP_H_UPGRADE] = STR_INIT("upgrade"),
    [HTTP_H_USER_AGENT] = STR_INIT("user-agent"), [HTTP_H_VARY] = STR_INIT("vary"),
    [HTTP_H_VIA] = STR_INIT("via"), [HTTP_H_X_FORWARDED_FOR] = STR_INIT("x-forwarded-for"),
    [HTTP_H_X_FORWARDED_HOST] = STR_INIT("x-forwarded-host"),
    [HTTP_H_X_FORWARDED_PROTO] = STR_INIT("x-forwarded-proto"), [HTTP_H_X_REAL_IP] = STR_INIT("x-real-ip"),
};
/* clang-format on */

/* A perfect hash over the names above; the test of hdr ids fails if a name is added without its slot. */
/* clang-format off */
static const uint8_t hdr_slots[128] = {
    [3] = HTTP_H_RANGE, [11] = HTTP_H_CONNECTION, [13] = HTTP_H_TRANSFER_ENCODING,
    [15] = HTTP_H_X_FORWARDED_FOR, [16] = HTTP_H_AUTHORIZATION, [17] = HTTP_H_LAST_MODIFIED,
    [19] = HTTP_H_IF_RANGE, [20] = HTTP_H_LOCATION, [29] = HTTP_H_VIA, [31] = HTTP_H_SEC_FETCH_SITE,
    [33] = HTTP_H_CONTENT_ENCODING, [35] = HTTP_H_KEEP_ALIVE, [38] = HTTP_H_IF_UNMODIFIED_SINCE,
    [46] = HTTP_H_TE, [48] = HTTP_H_X_FORWARDED_HOST, [51] = HTTP_H_PROXY_AUTHORIZATION,
    [55] = HTTP_H_COOKIE, [59] = HTTP_H_ORIGIN, [61] = HTTP_H_CONTENT_TYPE, [62] = HTTP_H_CONTENT_RANGE,
    [64] = HTTP_H_IF_NONE_MATCH, [65] = HTTP_H_ACCEPT, [66] = HTTP_H_ACCEPT_ENCODING,
    [67] = HTTP_H_IF_MATCH, [73] = HTTP_H_X_FORWARDED_PROTO, [75] = HTTP_H_SET_COOKIE, [77] = HTTP_H_EXPECT,
    [78] = HTTP_H_VARY, [83] = HTTP_H_ETAG, [84] = HTTP_H_HOST, [85] = HTTP_H_REFERER, [88] = HTTP_H_DATE,
    [90] = HTTP_H_PROXY_AUTHENTICATE, [94] = HTTP_H_CACHE_CONTROL, [95] = HTTP_H_CONTENT_LENGTH,
    [97] = HTTP_H_USER_AGENT, [104] = HTTP_H_PROXY_CONNECTION, [107] = HTTP_H_TRAILER,
    [113] = HTTP_H_X_REAL_IP, [115] = HTTP_H_FORWARDED, [116] = HTTP_H_IF_MODIFIED_SINCE,
    [118] = HTTP_H_UPGRADE, [127] = HTTP_H_SERVER,
};
/* clang-format on */

static unsigned hdr_hash(const unsigned char *name, size_t len)
{
    unsigned third = len >= 3 ? name[len - 3] | 0x20u : name[0];
    return ((unsigned)len * 153 + (name[0] | 0x20u) * 163 + third * 200) & 127;
}

/* `lower` has no upper-case letters; `name` is a token, whose non-letters OR 0x20 cannot turn into the
 * name's own characters except by letter case ('-' and digits have the bit already). */
static bool eq_lower(const char *name, const char *lower, size_t len)
{
    const uint64_t bit = 0x2020202020202020u;
    uint64_t a, b;
    if (len >= 8) {
        for (size_t i = 0; i + 8 <= len; i += 8) {
            memcpy(&a, name + i, 8);
            memcpy(&b, lower + i, 8);
            if ((a | bit) != b)
                return false;
        }
        memcpy(&a, name + len - 8, 8);
        memcpy(&b, lower + len - 8, 8);
        return (a | bit) == b;
    }
    for (size_t i = 0; i < len; i++)
        if ((name[i] | 0x20) != lower[i])
            return false;
    return true;
}

enum http_hdr http_hdr_id(struct str name)
{
    if (name.len == 0)
        return HTTP_H_OTHER;
    unsigned id = hdr_slots[hdr_hash((const unsigned char *)name.ptr, name.len)];
    if (hdr_names[id].len != name.len || !eq_lower(name.ptr, hdr_names[id].ptr, name.len))
        return HTTP_H_OTHER;
    return (enum http_hdr)id;
}

struct str http_hdr_name(enum http_hdr id)
{
    return hdr_names[id];
}

static bool is_value_byte(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

const char *http_skip_value(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i low = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i ctl = _mm_cmpeq_epi8(_mm_min_epu8(v, low), v);
        __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), ctl), _mm_cmpeq_epi8(v, del));
        int mask = _mm_movemask_epi8(bad);
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    while (p < end && is_value_byte((unsigned char)*p))
        p++;
    return p;
}

/* The parse in progress: a cursor that answers "more" when it meets the end. */
struct cursor {
    const char *p, *end;
    int status; /* of a refusal */
    const char *why;
};

static enum http_parse bad(struct cursor *c, int status, const char *why)
{
    c->status = status;
    c->why = why;
    return HTTP_PARSE_BAD;
}

/* CRLF at the cursor. */
static enum http_parse expect_crlf(struct cursor *c, const char *why)
{
    if (c->p == c->end)
        return HTTP_PARSE_MORE;
    if (*c->p != '\r')
        return bad(c, 400, *c->p == '\n' ? "a line ends with LF alone" : why);
    if (c->p + 1 == c->end)
        return HTTP_PARSE_MORE;
    if (c->p[1] != '\n')
        return bad(c, 400, "a CR without its LF");
    c->p += 2;
    return HTTP_PARSE_DONE;
}

/* "HTTP/1." DIGIT; any minor version above 1 speaks as 1.1 (RFC 9110 §2.5). */
static enum http_parse parse_version(struct cursor *c, uint8_t *version)
{
    static const char proto[] = "HTTP/";
    size_t have = MIN((size_t)(c->end - c->p), sizeof proto - 1);
    if (memcmp(c->p, proto, have) != 0)
        return bad(c, 400, "the HTTP version is missing or malformed");
    if (c->end - c->p < 8)
        return HTTP_PARSE_MORE;
    const char *v = c->p + 5;
    if (v[0] < '0' || v[0] > '9' || v[1] != '.' || v[2] < '0' || v[2] > '9')
        return bad(c, 400, "the HTTP version is missing or malformed");
    if (v[0] != '1')
        return bad(c, 505, "this HTTP version is not supported");
    *version = v[2] == '0' ? 10 : 11;
    c->p += 8;
    return HTTP_PARSE_DONE;
}

static enum http_method method_of(struct str m)
{
#define IS(name) (memcmp(m.ptr, name, sizeof(name) - 1) == 0)
    switch (m.len) {
    case 3: return IS("GET") ? HTTP_GET : IS("PUT") ? HTTP_PUT : HTTP_OTHER;
    case 4: return IS("POST") ? HTTP_POST : IS("HEAD") ? HTTP_HEAD : HTTP_OTHER;
    case 5: return IS("PATCH") ? HTTP_PATCH : IS("TRACE") ? HTTP_TRACE : HTTP_OTHER;
    case 6: return IS("DELETE") ? HTTP_DELETE : HTTP_OTHER;
    case 7: return IS("OPTIONS") ? HTTP_OPTIONS : IS("CONNECT") ? HTTP_CONNECT : HTTP_OTHER;
    default: return HTTP_OTHER;
    }
#undef IS
}

/* request-line = method SP request-target SP HTTP-version CRLF */
static enum http_parse parse_request_line(struct cursor *c, const struct http_head_limits *limits,
                                          struct http_head *h)
{
    const char *start = c->p;
    while (c->p < c->end && class_of[(unsigned char)*c->p] & C_TOKEN)
        c->p++;
    if (c->p - start > 32)
        return bad(c, 400, "the method is too long");
    if (c->p == c->end)
        return HTTP_PARSE_MORE;
    if (*c->p != ' ' || c->p == start)
        return bad(c, 400, "the request line does not start with a method and a space");
    h->method_text = str_of(start, (size_t)(c->p - start));
    h->method = method_of(h->method_text);
    start = ++c->p;
    while (c->p < c->end && class_of[(unsigned char)*c->p] & C_TARGET)
        c->p++;
    h->target = str_of(start, (size_t)(c->p - start));
    if (h->target.len > limits->target_max)
        return bad(c, 414, "the request target is too long");
    if (c->p == c->end)
        return HTTP_PARSE_MORE;
    if (*c->p != ' ' || c->p == start)
        return bad(c, 400, "the request target is missing or has a character that must be encoded");
    c->p++;
    enum http_parse r = parse_version(c, &h->version);
    return r == HTTP_PARSE_DONE ? expect_crlf(c, "text after the HTTP version") : r;
}

/* field-line = field-name ":" OWS field-value OWS CRLF */
static enum http_parse parse_field(struct cursor *c, struct http_head *h)
{
    const char *start = c->p;
    while (c->p < c->end && class_of[(unsigned char)*c->p] & C_TOKEN)
        c->p++;
    if (c->p == c->end)
        return HTTP_PARSE_MORE;
    if (*c->p != ':' || c->p == start) {
        if (c->p == start && (*c->p == ' ' || *c->p == '\t'))
            return bad(c, 400, "a folded header line");
        return bad(c, 400, "a header name is empty or has a character that is not allowed");
    }
    if (h->header_count == HTTP_HEADERS_MAX)
        return bad(c, 431, "too many header fields");
    struct http_header *f = &h->headers[h->header_count];
    f->name = str_of(start, (size_t)(c->p - start));
    c->p++;
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
        c->p++;
    start = c->p;
    c->p = http_skip_value(c->p, c->end);
    const char *stop = c->p;
    enum http_parse r = expect_crlf(c, "a header value has a control character");
    if (r != HTTP_PARSE_DONE)
        return r;
    while (stop > start && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    f->value = str_of(start, (size_t)(stop - start));
    f->id = http_hdr_id(f->name);
    h->header_count++;
    if (f->id != HTTP_H_OTHER && h->known[f->id] == 0)
        h->known[f->id] = (uint8_t)h->header_count;
    return HTTP_PARSE_DONE;
}

static enum http_parse parse_fields(struct cursor *c, struct http_head *h)
{
    for (;;) {
        if (c->p < c->end && *c->p == '\r')
            return expect_crlf(c, "");
        enum http_parse r = parse_field(c, h);
        if (r != HTTP_PARSE_DONE)
            return r;
    }
}

struct str http_head_known(const struct http_head *h, enum http_hdr id)
{
    return h->known[id] ? h->headers[h->known[id] - 1].value : (struct str){0};
}

static size_t count_of(const struct http_head *h, enum http_hdr id)
{
    size_t n = 0;
    for (size_t i = 0; i < h->header_count; i++)
        n += h->headers[i].id == id;
    return n;
}

static void read_connection(struct http_head *h)
{
    for (size_t i = h->known[HTTP_H_CONNECTION] - 1u; i < h->header_count; i++) {
        if (h->headers[i].id != HTTP_H_CONNECTION)
            continue;
        struct str rest = h->headers[i].value, option;
        while (str_next(&rest, ',', &option)) {
            option = str_trim(option);
            if (str_eq_nocase(option, STR("close")))
                h->conn_close = true;
            else if (str_eq_nocase(option, STR("keep-alive")))
                h->conn_keep_alive = true;
            else if (str_eq_nocase(option, STR("upgrade")))
                h->conn_upgrade = true;
        }
    }
}

/* Content-Length = 1*DIGIT, once, and never with Transfer-Encoding, which is "chunked" alone
 * (RFC 9112 §6.1, §6.3, §11.2). */
static enum http_parse read_framing(struct cursor *c, struct http_head *h)
{
    if (h->known[HTTP_H_CONNECTION])
        read_connection(h);
    if (h->known[HTTP_H_CONTENT_LENGTH]) {
        struct str text = http_head_known(h, HTTP_H_CONTENT_LENGTH);
        if (count_of(h, HTTP_H_CONTENT_LENGTH) > 1)
            return bad(c, 400, "Content-Length is repeated");
        if (text.len == 0 || text.len > 18)
            return bad(c, 400, "Content-Length is not a number of bytes");
        for (size_t i = 0; i < text.len; i++) {
            if (text.ptr[i] < '0' || text.ptr[i] > '9')
                return bad(c, 400, "Content-Length is not a number of bytes");
            h->content_length = h->content_length * 10 + (text.ptr[i] - '0');
        }
        h->has_length = true;
    }
    if (h->known[HTTP_H_TRANSFER_ENCODING]) {
        if (h->has_length)
            return bad(c, 400, "Content-Length and Transfer-Encoding together");
        if (h->version == 10)
            return bad(c, 400, "Transfer-Encoding in HTTP/1.0");
        if (count_of(h, HTTP_H_TRANSFER_ENCODING) > 1)
            return bad(c, 400, "Transfer-Encoding is repeated");
        if (!str_eq_nocase(http_head_known(h, HTTP_H_TRANSFER_ENCODING), STR("chunked")))
            return bad(c, 501, "this Transfer-Encoding is not supported");
        h->is_chunked = true;
    }
    return HTTP_PARSE_DONE;
}

static bool parse_port(struct str text, int *port)
{
    int n = 0;
    if (text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        n = n * 10 + (text.ptr[i] - '0');
    }
    *port = n;
    return n <= 65535;
}

bool http_parse_authority(struct str text, struct str *host, int *port)
{
    struct str name, rest = {0};
    if (text.len > 0 && text.ptr[0] == '[') {
        size_t close = str_chr(text, ']');
        if (close == STR_NPOS || close < 3)
            return false;
        name = str_slice(text, 1, close);
        rest = str_from_off(text, close + 1);
        for (size_t i = 0; i < name.len; i++) {
            char ch = name.ptr[i];
            if (hex_digit(ch) < 0 && ch != ':' && ch != '.')
                return false;
        }
        if (rest.len > 0 && rest.ptr[0] != ':')
            return false;
        rest = str_from_off(rest, MIN(rest.len, (size_t)1));
    } else {
        size_t i = 0;
        while (i < text.len && class_of[(unsigned char)text.ptr[i]] & C_HOST)
            i++;
        if (i < text.len && text.ptr[i] != ':')
            return false;
        name = str_slice(text, 0, i);
        rest = str_from_off(text, MIN(i + 1, text.len));
    }
    int n = 0;
    if (name.len == 0 || name.len > 255 || !parse_port(rest, &n))
        return false;
    *host = name;
    *port = n;
    return true;
}

/* The authority of an absolute-form target counts and Host does not (RFC 9112 §3.2.2): it replaces the
 * value, so that nobody behind us reads the other. */
static enum http_parse read_target(struct cursor *c, struct http_head *h)
{
    struct str t = h->target;
    if (h->method == HTTP_CONNECT)
        return bad(c, 501, "CONNECT is not supported");
    if (t.ptr[0] == '/')
        return HTTP_PARSE_DONE;
    if (str_eq(t, STR("*")))
        return h->method == HTTP_OPTIONS ? HTTP_PARSE_DONE : bad(c, 400, "the target * is for OPTIONS");
    size_t skip = str_eq_nocase(str_slice(t, 0, 7), STR("http://"))    ? 7
                  : str_eq_nocase(str_slice(t, 0, 8), STR("https://")) ? 8
                                                                       : 0;
    if (skip == 0)
        return bad(c, 400, "the request target is neither a path nor an http URL");
    size_t end = skip;
    while (end < t.len && t.ptr[end] != '/' && t.ptr[end] != '?')
        end++;
    struct str authority = str_slice(t, skip, end);
    if (!http_parse_authority(authority, &h->host, &h->port))
        return bad(c, 400, "the host in the request target is malformed");
    if (h->known[HTTP_H_HOST])
        h->headers[h->known[HTTP_H_HOST] - 1].value = authority;
    return HTTP_PARSE_DONE;
}

static enum http_parse read_host(struct cursor *c, struct http_head *h)
{
    if (!h->known[HTTP_H_HOST])
        return h->version == 10 ? HTTP_PARSE_DONE : bad(c, 400, "the Host field is missing");
    if (count_of(h, HTTP_H_HOST) > 1)
        return bad(c, 400, "the Host field is repeated");
    if (!http_parse_authority(http_head_known(h, HTTP_H_HOST), &h->host, &h->port))
        return bad(c, 400, "invalid Host header");
    return HTTP_PARSE_DONE;
}

static enum http_parse read_expect(struct cursor *c, struct http_head *h)
{
    if (!h->known[HTTP_H_EXPECT])
        return HTTP_PARSE_DONE;
    if (count_of(h, HTTP_H_EXPECT) > 1 ||
        !str_eq_nocase(http_head_known(h, HTTP_H_EXPECT), STR("100-continue")))
        return bad(c, 417, "this expectation is not supported");
    h->expect_continue = h->version >= 11;
    return HTTP_PARSE_DONE;
}

static void head_reset(struct http_head *h)
{
    memset(h, 0, offsetof(struct http_head, headers));
}

static enum http_parse parse_request_now(struct cursor *c, const struct http_head_limits *limits,
                                         struct http_head *h)
{
    head_reset(h);
    /* One empty line before the request line is ignored (RFC 9112 §2.2). */
    if (c->end - c->p >= 2 && c->p[0] == '\r' && c->p[1] == '\n')
        c->p += 2;
    else if (c->end - c->p == 1 && c->p[0] == '\r')
        return HTTP_PARSE_MORE;
    enum http_parse r = parse_request_line(c, limits, h);
    if (r == HTTP_PARSE_DONE)
        r = parse_fields(c, h);
    if (r == HTTP_PARSE_DONE)
        r = read_framing(c, h);
    if (r == HTTP_PARSE_DONE)
        r = read_target(c, h);
    if (r == HTTP_PARSE_DONE)
        r = read_host(c, h);
    if (r == HTTP_PARSE_DONE)
        r = read_expect(c, h);
    return r;
}

/* True if a parse is worth it: the first time, and whenever a further line has ended since. */
static bool has_new_line(struct str text, size_t scanned)
{
    return scanned == 0 || (text.len > scanned && memchr(text.ptr + scanned, '\n', text.len - scanned));
}

/* What a head that is not complete comes to when it may not grow further. */
static enum http_parse check_room(struct cursor *c, struct str text, const struct http_head_limits *limits)
{
    bool has_line = memchr(text.ptr, '\n', text.len) != NULL;
    if (!has_line && text.len > limits->target_max + 64)
        return bad(c, 414, "the request target is too long");
    if (text.len >= limits->head_max)
        return bad(c, 431, "the header section is too large");
    return HTTP_PARSE_MORE;
}

enum http_parse http_parse_request(struct str text, const struct http_head_limits *limits, size_t *scanned,
                                   struct http_head *h, size_t *used, int *status, const char **why)
{
    if (text.len == 0)
        return HTTP_PARSE_MORE;
    struct cursor c = {.p = text.ptr, .end = text.ptr + text.len};
    enum http_parse r = HTTP_PARSE_MORE;
    if (has_new_line(text, *scanned))
        r = parse_request_now(&c, limits, h);
    if (r == HTTP_PARSE_DONE && (size_t)(c.p - text.ptr) > limits->head_max)
        r = bad(&c, 431, "the header section is too large");
    if (r == HTTP_PARSE_MORE) {
        *scanned = text.len;
        r = text.len > limits->target_max ? check_room(&c, text, limits) : HTTP_PARSE_MORE;
    }
    if (r == HTTP_PARSE_DONE) {
        *used = (size_t)(c.p - text.ptr);
    } else if (r == HTTP_PARSE_BAD) {
        *status = c.status;
        *why = c.why;
    }
    return r;
}

/* status-line = HTTP-version SP status-code SP [ reason-phrase ] CRLF; the second SP may be missing, as
 * some servers leave it out with the reason. */
static enum http_parse parse_status_line(struct cursor *c, struct http_head *h)
{
    enum http_parse r = parse_version(c, &h->version);
    if (r != HTTP_PARSE_DONE)
        return r;
    if (c->end - c->p < 5)
        return memchr(c->p, '\n', (size_t)(c->end - c->p)) ? bad(c, 502, "the status line is malformed")
                                                           : HTTP_PARSE_MORE;
    const char *p = c->p;
    if (p[0] != ' ' || p[1] < '1' || p[1] > '9' || p[2] < '0' || p[2] > '9' || p[3] < '0' || p[3] > '9' ||
        (p[4] != ' ' && p[4] != '\r'))
        return bad(c, 502, "the status line is malformed");
    h->status = (p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0');
    c->p += p[4] == ' ' ? 5 : 4;
    const char *start = c->p;
    c->p = http_skip_value(c->p, c->end);
    h->reason = str_of(start, (size_t)(c->p - start));
    return expect_crlf(c, "the status line has a control character");
}

enum http_parse http_parse_response(struct str text, const struct http_head_limits *limits, size_t *scanned,
                                    struct http_head *h, size_t *used, const char **why)
{
    if (text.len == 0)
        return HTTP_PARSE_MORE;
    struct cursor c = {.p = text.ptr, .end = text.ptr + text.len};
    enum http_parse r = HTTP_PARSE_MORE;
    if (has_new_line(text, *scanned)) {
        head_reset(h);
        r = parse_status_line(&c, h);
        if (r == HTTP_PARSE_DONE)
            r = parse_fields(&c, h);
        if (r == HTTP_PARSE_DONE)
            r = read_framing(&c, h);
    }
    if (r == HTTP_PARSE_DONE && (size_t)(c.p - text.ptr) > limits->head_max)
        r = bad(&c, 502, "the response header section is too large");
    if (r == HTTP_PARSE_MORE) {
        *scanned = text.len;
        if (text.len >= limits->head_max)
            r = bad(&c, 502, "the response header section is too large");
    }
    if (r == HTTP_PARSE_DONE)
        *used = (size_t)(c.p - text.ptr);
    else if (r == HTTP_PARSE_BAD)
        *why = c.why;
    return r;
}
