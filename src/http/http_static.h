/* http/http_static.h: answers whose bytes are known: conditions, ranges, precompressed variants.
 * Part of http.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_STATIC_H
#define HTTP_STATIC_H

#include "http_server.h"

/* A precompressed form of the same content. */
struct http_variant {
    struct str coding;          /* "br", "gzip"; those listed first win among equals */
    struct str body;            /* lives until the request ends */
};

/* What to serve. Everything lives until the request ends. */
struct http_static {
    struct str body;            /* the content, when fd is -1 */
    int fd;                     /* or a regular file: taken over, closed when done */
    uint64_t size;              /* of the file */
    const struct http_variant *variants;   /* [variant_count]; used without Range only */
    size_t variant_count;
    struct str etag;            /* strong, with its quotes; empty: none. A variant's has "-<coding>" before the last quote */
    int64_t mtime_s;            /* for Last-Modified; 0: none */
    struct str content_type;    /* empty: no field */
    struct str cache_control;   /* empty: no field */
};

/* Answers GET and HEAD (others: 405) with 200, 206, 304, 412 or 416, after the conditions of RFC 9110
 * section 13 and one Range of section 14; several ranges are answered with the whole. Response headers set before
 * are kept. Ends the request. */
void http_serve_static(struct http_req *req, const struct http_static *f);

/* The media type for a file name's extension, with charset=utf-8 for text; "application/octet-stream" when it
 * is not a known one. */
struct str http_mime_type(struct str file_name);

/* --- the parts, pure --- */

enum http_range_kind {
    HTTP_RANGE_NONE,       /* no Range, another unit, malformed, or several: send the whole */
    HTTP_RANGE_ONE,        /* send [first, first + len) */
    HTTP_RANGE_BAD,        /* outside the content: 416 */
};
/* What a Range header asks of `size` bytes. */
enum http_range_kind http_range_parse(struct str range, uint64_t size, uint64_t *first, uint64_t *len);

struct http_conditions {
    struct str if_match, if_none_match, if_modified_since, if_unmodified_since, if_range; /* ptr NULL: absent */
    bool is_get_or_head;
};
/* 0 (go on), 304 or 412, by the order of RFC 9110 section 13.2.2. `etag` may be empty, `mtime_s` 0. */
int http_conditions_check(const struct http_conditions *c, struct str etag, int64_t mtime_s);
/* True if a Range may be honoured under this If-Range (section 13.1.5; an absent one allows it). */
bool http_if_range_holds(struct str if_range, struct str etag, int64_t mtime_s);

#endif
