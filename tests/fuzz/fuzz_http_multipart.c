/* tests/fuzz/fuzz_http_multipart.c: multipart bodies: however one is cut, the same parts come out.
 * links: http
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_part(void *arg, const struct http_part *part, struct err *err)
{
    if (part->name.len == 0 || (part->file_name.ptr && !part->is_file))
        abort();
    buf_printf(arg, "[%d", part->is_file);
    buf_add_str(arg, part->name);
    buf_add_char(arg, '|');
    buf_add_str(arg, part->file_name);
    return buf_add_char(arg, '=');
}

static bool on_data(void *arg, struct str text, struct err *err)
{
    if (text.len == 0)
        abort();
    return buf_add_str(arg, text);
}

static bool on_end(void *arg, struct err *err)
{
    return buf_add_char(arg, ']');
}

static bool read_in_steps(struct str boundary, struct str body, size_t step, struct buf *out)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct http_multipart *m = http_multipart_new(&a, boundary, &(struct http_part_sink){on_part, on_data, on_end, out});
    bool ok = true;
    for (; ok && body.len > 0; body = str_from_off(body, step))
        ok = http_multipart_feed(m, str_slice(body, 0, step), &err);
    return ok && http_multipart_end(m, &err);
}

/* The first line is the Content-Type, the rest the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str type, body, boundary;
    scoped_err err = {0};
    scoped_buf whole = BUF_INIT(4 << 20), parts = BUF_INIT(4 << 20);
    str_cut(str_of(data, size), '\n', &type, &body);
    if (!http_multipart_boundary(type, &boundary, &err))
        boundary = STR("b");
    bool ok = read_in_steps(boundary, body, size + 1, &whole);
    bool again = read_in_steps(boundary, body, 1 + size % 7, &parts);
    if (ok != again || !str_eq(buf_str(&whole), buf_str(&parts)))
        abort();
    return 0;
}
