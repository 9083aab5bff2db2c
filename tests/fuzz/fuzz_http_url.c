/* tests/fuzz/fuzz_http_url.c: the small texts: URLs, paths, queries, cookies, lists, dates.
 * links: http
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_even(void *arg, struct str name)
{
    return name.len % 2 == 0;
}

static void require(bool claim)
{
    if (!claim)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    /* A copy of exactly this size, so that a read beyond it is seen. */
    struct str s = str_of(arena_memdup(&a, data, size), size), out, rest;

    struct str clean = http_path_clean(&a, s);
    require(clean.len > 0 && clean.ptr[0] == '/' && (clean.len == 1 || clean.ptr[clean.len - 1] != '/'));
    require(str_find(clean, STR("//")) == STR_NPOS && str_find(clean, STR("/../")) == STR_NPOS);
    require(str_eq(http_path_clean(&a, clean), clean));

    require(http_pct_decode(&a, http_pct_encode(&a, s), &out) && str_eq(out, s));
    http_pct_decode(&a, s, &out);
    require(http_pct_decode(&a, http_path_encode(&a, s), &out));

    struct http_pairs pairs = {0}, again = {0};
    if (http_query_parse(&a, s, &pairs, &err)) {
        require(http_query_parse(&a, http_query_build(&a, pairs.items, pairs.len), &again, &err));
        for (size_t i = 0; i < again.len; i++)
            require(str_eq(again.items[i].name, pairs.items[i].name) && str_eq(again.items[i].value, pairs.items[i].value));
    }

    struct http_url url;
    if (http_url_parse(s, &url, &err)) {
        require(url.host.len > 0 && http_url_port(&url) > 0);
        require(url.path.len == 0 || url.path.ptr[0] == '/');
    }
    uint16_t port;
    http_host_parse(s, &out, &port);
    if (http_is_local_redirect(s))
        require(s.ptr[0] == '/' && str_chr(s, '\\') == STR_NPOS);

    struct str kept = http_cookie_filter(&a, s, is_even, NULL);
    struct http_pair c;
    while (http_cookie_next(&kept, &c))
        require(c.name.len % 2 == 1);

    rest = s;
    while (http_list_next(&rest, &out))
        require(out.len > 0 && http_weight(out, &(struct str){0}) <= 1000);
    require(http_accepts_coding(s, STR("br")) >= 0);
    int64_t t;
    http_date_parse(s, &t);
    return 0;
}
