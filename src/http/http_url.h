/* http/http_url.h: the small texts of HTTP: URLs, paths, queries and forms, cookies, lists with weights.
 * Part of http.h. Everything here is pure: bytes in, slices of them or of an arena out. Inputs are
 * hostile; nothing here recurses, and what grows has a ceiling.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_URL_H
#define HTTP_URL_H

#include "base.h"

/* A name and its value: header field, query or form parameter. */
struct http_pair {
    struct str name, value;
};

/* An ordered multi-map. */
struct http_pairs {
    struct http_pair *items;
    size_t len, cap;
};

/* The first value of `name` (exact), or false. */
bool http_pairs_get(const struct http_pairs *p, struct str name, struct str *value);

/* --- percent-encoding (RFC 3986 section 2.1) --- */

/* Decodes every %XX; fails, leaving *out alone, on a % without two hex digits. The result may hold any
 * byte, NUL too. Without a % the result is `s` itself. */
bool http_pct_decode(struct arena *a, struct str s, struct str *out);
/* Encodes all but unreserved characters: good for one path segment or one query value. */
struct str http_pct_encode(struct arena *a, struct str s);
/* Encodes what may not stand in a path, leaving '/' and existing %XX triplets as they are. */
struct str http_path_encode(struct arena *a, struct str path);

/* --- paths --- */

/* The path that names the same thing with one leading '/', no empty or dot segments, and no trailing '/'
 * unless it is "/" itself; ".." stops at the root. Works alike on decoded and on encoded paths (an
 * encoded dot or slash is data there). A clean path is given back as it is, without a copy. */
struct str http_path_clean(struct arena *a, struct str path);
/* Joins with exactly one '/' between: ("/a/", "/b") is "/a/b"; an empty `rest` gives `base`, or "/". */
struct str http_path_join(struct arena *a, struct str base, struct str rest);
/* True if `path` is `prefix` or below it, segment-wise: "/a" covers "/a" and "/a/b", not "/ab"; ""
 * and "/" cover everything. *rest is what follows the prefix: "" or starts with '/'. */
bool http_path_under(struct str path, struct str prefix, struct str *rest);
/* The same for a `path` that is still encoded, below a `prefix` that is not. Encoded slashes are data: in place of a slash
 * of the prefix one matches nothing. */
bool http_encoded_path_under(struct str path, struct str prefix, struct str *rest);

/* --- URLs and hosts --- */

struct http_url {
    struct str scheme;      /* as written, nonempty */
    struct str authority;   /* host[:port], as written */
    struct str host;        /* without brackets; nonempty */
    uint16_t port;          /* 0 when absent */
    bool is_tls;            /* https or wss */
    struct str path;        /* as written, "" or starts with '/' */
    struct str query;       /* without '?' */
    struct str fragment;    /* without '#' */
    bool has_query;
};
/* Parses an absolute http, https, ws or wss URL without user info (RFC 3986 section 3). */
bool http_url_parse(struct str s, struct http_url *out, struct err *err);
/* The URL's port, or its scheme's. */
uint16_t http_url_port(const struct http_url *u);

/* Parses `name[:port]` as a Host header has it (RFC 9110 section 7.2): registered name, IPv4, or
 * bracketed IPv6 (brackets are not part of *name). *port is 0 when absent. */
bool http_host_parse(struct str s, struct str *name, uint16_t *port);

/* True if a browser that is sent `Location: target` stays on this origin: starts with one '/', which no
 * '/' or '\' follows, and has no control characters or backslash. */
bool http_is_local_redirect(struct str target);

/* --- queries and forms --- */

enum { HTTP_MAX_PAIRS = 1000 };

/* Parses `a=1&b=2` (a URL's query, or an application/x-www-form-urlencoded body); '+' is a space, empty
 * parts are skipped, a part without '=' has an empty value. Names and values live in `a` or in `s`.
 * Adds to *out. Fails with ERR_INVALID on a bad percent-escape, ERR_TOO_LARGE past HTTP_MAX_PAIRS. */
bool http_query_parse(struct arena *a, struct str s, struct http_pairs *out, struct err *err);
/* The text that parses to `pairs`. */
struct str http_query_build(struct arena *a, const struct http_pair *pairs, size_t count);

/* --- cookies (RFC 6265) --- */

/* Takes the next cookie off the value of a Cookie header; false at its end. Parts without '=' or without
 * a name are skipped; double quotes around a value are dropped. */
bool http_cookie_next(struct str *rest, struct http_pair *cookie);
/* The first cookie called `name` (exact) in a Cookie header's value. */
bool http_cookie_get(struct str header, struct str name, struct str *value);
/* The Cookie header without the cookies for which `drop` is true; what stays keeps its text and order.
 * Gives `header` itself when nothing is dropped, the empty slice when nothing stays. */
struct str http_cookie_filter(struct arena *a, struct str header, bool (*drop)(void *arg, struct str name), void *arg);

enum http_same_site { HTTP_SAME_SITE_UNSET, HTTP_SAME_SITE_LAX, HTTP_SAME_SITE_STRICT, HTTP_SAME_SITE_NONE };

struct http_cookie {
    struct str name, value;   /* token, cookie-octets: others are refused */
    struct str path, domain;  /* empty: attribute left out */
    int64_t max_age_s;        /* 0: until the browser closes; negative: delete it now */
    enum http_same_site same_site;
    bool is_secure, is_http_only;
};
/* The value of the Set-Cookie header that sets `c`. Fails on bytes that RFC 6265 section 4.1.1 forbids. */
bool http_cookie_build(struct arena *a, const struct http_cookie *c, struct str *out, struct err *err);

/* --- header fields --- */

bool http_is_token(struct str s);        /* RFC 9110 section 5.6.2; false when empty */
bool http_is_field_value(struct str s);  /* no control characters but tab */

/* Takes the next member off a comma-separated list, trimmed; commas inside quoted strings do not count;
 * empty members are skipped (RFC 9110 section 5.6.1). */
bool http_list_next(struct str *rest, struct str *member);
/* True if the list has `token` (any case) as a member. */
bool http_list_has(struct str list, struct str token);
/* The weight of a member in thousandths, 1000 without ";q=", 0 if malformed; *name is what stands before
 * the first ';'. */
int http_weight(struct str member, struct str *name);
/* How much an Accept-Encoding value wants `coding`, 0 (not at all) to 1000 (RFC 9110 section 12.5.3). */
int http_accepts_coding(struct str accept_encoding, struct str coding);

/* --- dates (RFC 9110 section 5.6.7) --- */

/* Parses an IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT") or one of the two obsolete forms to seconds since
 * 1970. A year of two digits is at most 50 years from now. */
bool http_date_parse(struct str s, int64_t *unix_s);

#endif
