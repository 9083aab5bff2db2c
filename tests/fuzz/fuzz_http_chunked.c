/* tests/fuzz/fuzz_http_chunked.c: chunked bodies, whole against in pieces.
 * links: http base
 * The first byte chooses the size of the pieces.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

/* Decodes in pieces of `step`; returns the result, the body in `body`, the bytes used in *used. */
static enum http_parse decode(const uint8_t *data, size_t size, size_t step, struct buf *body, size_t *total)
{
    struct http_chunked d;
    http_chunked_init(&d);
    enum http_parse p = HTTP_PARSE_MORE;
    size_t at = 0;
    while (at < size && p == HTTP_PARSE_MORE) {
        size_t n = MIN(step, size - at), used = 0;
        char *piece = malloc(n);
        memcpy(piece, data + at, n);
        struct str out;
        const char *why = NULL;
        p = http_chunked_next(&d, str_of(piece, n), &used, &out, &why);
        if (p == HTTP_PARSE_BAD) {
            require(why != NULL);
        } else {
            require(used > 0 && used <= n && out.len <= used);
            require(out.len == 0 || (out.ptr >= piece && out.ptr + out.len <= piece + used));
            buf_add_str(body, out);
            at += used;
        }
        free(piece);
    }
    *total = at;
    return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t step = (size_t)data[0] + 1, used_whole, used_pieces;
    scoped_buf whole = BUF_INIT(1 << 20), pieces = BUF_INIT(1 << 20);
    enum http_parse a = decode(data + 1, size - 1, SIZE_MAX, &whole, &used_whole);
    enum http_parse b = decode(data + 1, size - 1, step, &pieces, &used_pieces);
    require(a == b && whole.len == pieces.len);
    require(whole.len == 0 || memcmp(whole.ptr, pieces.ptr, whole.len) == 0);
    require(a != HTTP_PARSE_DONE || used_whole == used_pieces);
    return 0;
}
