/* tests/fuzz/fuzz_http_request.c: request and response heads, whole against in two pieces.
 * links: http base
 * The first two bytes choose the cut.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_head_limits limits = {.head_max = 8192, .target_max = 2048};

struct outcome {
    enum http_parse result;
    size_t used;
    int status;
    const char *why;
};

static void require(bool claim)
{
    if (!claim)
        abort();
}

static struct http_head head;

static struct outcome parse(const uint8_t *data, size_t size, size_t *scanned, bool is_response, char **mem)
{
    struct outcome o = {0};
    free(*mem);
    *mem = malloc(size ? size : 1);
    memcpy(*mem, data, size);
    o.result = is_response ? http_parse_response(str_of(*mem, size), &limits, scanned, &head, &o.used, &o.why)
                           : http_parse_request(str_of(*mem, size), &limits, scanned, &head, &o.used,
                                                &o.status, &o.why);
    return o;
}

/* What a passed head promises. */
static void check_head(const char *mem, struct outcome o, bool is_response)
{
    require(o.used > 0 && head.header_count <= HTTP_HEADERS_MAX);
    require(!(head.has_length && head.is_chunked) && head.content_length >= 0);
    for (size_t i = 0; i < head.header_count; i++) {
        require(http_is_token(head.headers[i].name) && http_is_field_value(head.headers[i].value));
        require(head.headers[i].id == http_hdr_id(head.headers[i].name));
    }
    if (is_response)
        return;
    struct str host;
    int port;
    if (head.known[HTTP_H_HOST])
        require(http_parse_authority(http_head_known(&head, HTTP_H_HOST), &host, &port));
    require(head.version == 10 || head.known[HTTP_H_HOST]);
    require(memcmp(mem + o.used - 2, "\r\n", 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t cut = (size_t)data[0] * 256 + data[1];
    data += 2;
    size -= 2;
    cut = size ? cut % size : 0;
    for (int is_response = 0; is_response < 2; is_response++) {
        char *mem = NULL;
        size_t scanned = 0;
        struct outcome whole = parse(data, size, &scanned, is_response, &mem);
        if (whole.result == HTTP_PARSE_DONE)
            check_head(mem, whole, is_response);
        scanned = 0;
        struct outcome split = parse(data, cut, &scanned, is_response, &mem);
        if (split.result == HTTP_PARSE_MORE)
            split = parse(data, size, &scanned, is_response, &mem);
        if (split.result == HTTP_PARSE_DONE)
            check_head(mem, split, is_response);
        /* A fault in a line that has not ended may be found when it does. */
        if (split.result == HTTP_PARSE_MORE && whole.result == HTTP_PARSE_BAD)
            require(size == cut || !memchr(data + cut, '\n', size - cut));
        else
            require(whole.result == split.result && whole.used == split.used);
        free(mem);
    }
    return 0;
}
