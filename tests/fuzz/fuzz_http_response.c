/* tests/fuzz/fuzz_http_response.c: what an upstream may send: heads, and chunked bodies, whole and cut anywhere.
 * links: http
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

static bool is_within(struct str part, struct str whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_head(const struct http_head *h, struct str text, size_t used)
{
    require(used <= text.len && used >= 16);
    require(memcmp(text.ptr + used - 4, "\r\n\r\n", 4) == 0);
    require(h->status >= 100 && h->status <= 999);
    require(!(h->is_chunked && h->has_length));
    require(!h->has_length || h->content_length >= 0);
    for (size_t i = 0; i < h->header_count; i++) {
        require(http_is_token(h->headers[i].name) && http_is_field_value(h->headers[i].value));
        require(is_within(h->headers[i].name, text) && is_within(h->headers[i].value, text));
    }
}

/* Decodes what follows a head; `step` bytes at a time must give what the whole gives. */
static size_t decode(struct str body, size_t step, struct buf *out, enum http_parse *end)
{
    struct http_chunked d;
    http_chunked_init(&d);
    size_t off = 0;
    *end = HTTP_PARSE_MORE;
    while (off < body.len && *end == HTTP_PARSE_MORE) {
        struct str in = str_slice(body, off, off + step), data = {0};
        const char *why = NULL;
        size_t used = 0;
        *end = http_chunked_next(&d, in, &used, &data, &why);
        require(used <= in.len && is_within(data, in));
        require(*end != HTTP_PARSE_BAD || why);
        if (*end == HTTP_PARSE_BAD)
            break;
        require(used > 0 || *end == HTTP_PARSE_DONE);
        buf_add_str(out, data);
        off += used;
    }
    return off;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_head_limits limits = {65536, 65536};
    static struct http_head h, bytewise;
    /* A copy of exactly this size, so that a read beyond it is seen. */
    char *copy = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(copy, data, size);
    struct str text = str_of(copy, size);

    size_t scanned = 0, used = 0;
    const char *why = NULL;
    enum http_parse r = http_parse_response(text, &limits, &scanned, &h, &used, &why);
    if (r == HTTP_PARSE_DONE)
        check_head(&h, text, used);
    require(r != HTTP_PARSE_BAD || why);

    /* A byte at a time: the same verdict, not later than with the last byte. */
    size_t scanned1 = 0, used1 = 0;
    const char *why1 = NULL;
    enum http_parse r1 = HTTP_PARSE_MORE;
    for (size_t n = 1; n <= size && n <= 2048 && r1 == HTTP_PARSE_MORE; n++)
        r1 = http_parse_response(str_slice(text, 0, n), &limits, &scanned1, &bytewise, &used1, &why1);
    if (size <= 2048) {
        if (r == HTTP_PARSE_DONE)
            require(r1 == HTTP_PARSE_DONE && used1 == used && bytewise.header_count == h.header_count);
        if (r1 == HTTP_PARSE_DONE)
            require(r == HTTP_PARSE_DONE);
    }

    struct str body = r == HTTP_PARSE_DONE ? str_from_off(text, used) : text;
    scoped_buf whole = BUF_INIT(1 << 20);
    scoped_buf cut = BUF_INIT(1 << 20);
    enum http_parse end, end1;
    size_t n = decode(body, SIZE_MAX / 2, &whole, &end), n1 = decode(body, 1, &cut, &end1);
    require(end == end1);
    if (end != HTTP_PARSE_BAD)
        require(n == n1 && str_eq(buf_str(&whole), buf_str(&cut)));
    free(copy);
    return 0;
}
