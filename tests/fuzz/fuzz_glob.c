/* tests/fuzz/fuzz_glob.c: a pattern and a text, split at the first newline; also as an app glob and path.
 * links: source
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The escaped text as a pattern matches the text and only that. */
static void check_escaped(struct arena *a, struct str text)
{
    scoped_err err = {0};
    char *escaped = arena_alloc(a, text.len * 2 + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("*?[]{}\\,", text.ptr[i]) && text.ptr[i])
            escaped[n++] = '\\';
        escaped[n++] = text.ptr[i];
    }
    if (n > SRC_GLOB_MAX)
        return;
    struct src_glob *g = src_glob_compile(a, str_of(escaped, n), &err);
    if (!g || !src_glob_match(g, text) || src_glob_match(g, str_cat(a, text, STR("x"))))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str pattern, text;
    str_cut(str_of(data, size), '\n', &pattern, &text);
    struct src_glob *g = src_glob_compile(&a, pattern, &err);
    if (g)
        src_glob_match(g, text);
    check_escaped(&a, text);
    struct src_appglob ag;
    struct src_apppath path, made;
    if (src_appglob_compile(&a, pattern, &ag, &err) && src_apppath_parse(text, &path, &err))
        src_appglob_match(&ag, &path);
    if (src_apppath_new(&a, text, STR("localhost"), &made, &err) &&
        !src_apppath_new(&a, src_apppath_str(&a, &made), STR("localhost"), &path, &err))
        abort(); /* what was accepted once is accepted as it was stored */
    return 0;
}
