/* http/http_multipart.h: forms with files: multipart/form-data, read as it comes (RFC 7578, RFC 2046 §5.1).
 * Part of http.h.
 *
 *     struct http_multipart *m = http_multipart_new(a, boundary, &sink);
 *     while (more) http_multipart_feed(m, data, err) ...
 *     http_multipart_end(m, err)
 *
 * Nothing is kept but the head of a part: its data goes to the sink in the pieces in which it arrives.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include "base.h"

enum {
    HTTP_BOUNDARY_MAX = 70, /* bytes (RFC 2046 §5.1.1) */
    HTTP_PARTS_MAX = 1000,
    HTTP_PART_HEAD_MAX = 8 << 10, /* bytes of the header fields of one part */
};

/* Slices live as long as the parser's arena. */
struct http_part {
    struct str name;      /* of the form field; not empty */
    bool is_file;         /* it has a file name, which may be empty: no file was chosen */
    struct str file_name; /* as the client sent it */
};

/* Each returns false, with *err set, to end the parse. For each part: on_part, on_data as often as needed,
 * on_end. */
struct http_part_sink {
    bool (*on_part)(void *arg, const struct http_part *part, struct err *err);
    bool (*on_data)(void *arg, struct str data, struct err *err);
    bool (*on_end)(void *arg, struct err *err);
    void *arg;
};

/* The boundary of a Content-Type. Fails if that is not multipart/form-data, or has no boundary or a bad one.
 * *boundary is a slice of `content_type`. */
bool http_multipart_boundary(struct str content_type, struct str *boundary, struct err *err);

struct http_multipart;
/* `boundary` is borrowed. */
struct http_multipart *http_multipart_new(struct arena *a, struct str boundary,
                                          const struct http_part_sink *sink);
/* Fails with ERR_INVALID on what is malformed, ERR_TOO_LARGE past a limit, or as the sink did; then nothing
 * more may be fed. */
bool http_multipart_feed(struct http_multipart *m, struct str data, struct err *err);
/* The body is complete: fails if its last delimiter has not come. */
bool http_multipart_end(const struct http_multipart *m, struct err *err);

#endif
