/* container/ident.c: names, hashes and labels of what we make in an engine.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

#include <stdlib.h>

enum { SHORT_HASH = 16, LABEL_MAX = 200 };

void ctr_kv_set(struct arena *a, struct ctr_kv_list *l, struct str key, struct str value)
{
    for (size_t i = 0; i < l->len; i++) {
        if (str_eq(l->items[i].key, key)) {
            l->items[i].value = value;
            return;
        }
    }
    *vec_push(a, l) = (struct ctr_kv){key, value};
}

const struct str *ctr_kv_get(const struct ctr_kv_list *l, struct str key)
{
    for (size_t i = 0; l && i < l->len; i++) {
        if (str_eq(l->items[i].key, key))
            return &l->items[i].value;
    }
    return NULL;
}

struct str ctr_kv_text(const struct ctr_kv_list *l, const char *key)
{
    const struct str *value = ctr_kv_get(l, str_from(key));
    return value ? *value : (struct str){0};
}

static int kv_order(const void *x, const void *y)
{
    return str_cmp(((const struct ctr_kv *)x)->key, ((const struct ctr_kv *)y)->key);
}

static void hash_part(struct sha256 *h, struct str s)
{
    sha256_add(h, s.ptr, s.len);
    sha256_add(h, "", 1);
}

static struct str hash_end(struct arena *a, struct sha256 *h)
{
    unsigned char sum[SHA256_LEN];
    sha256_end(h, sum);
    return str_hex(a, sum, sizeof sum);
}

struct str ctr_map_hash(struct arena *a, const struct ctr_kv_list *l)
{
    struct sha256 h;
    sha256_init(&h);
    if (l->len > 0) {
        struct ctr_kv *sorted = arena_memdup(a, l->items, l->len * sizeof *sorted);
        qsort(sorted, l->len, sizeof *sorted, kv_order);
        for (size_t i = 0; i < l->len; i++) {
            hash_part(&h, sorted[i].key);
            hash_part(&h, sorted[i].value);
        }
    }
    return hash_end(a, &h);
}

struct str ctr_list_hash(struct arena *a, const struct str_list *l)
{
    struct sha256 h;
    sha256_init(&h);
    if (l->len > 0) {
        struct str *sorted = arena_memdup(a, l->items, l->len * sizeof *sorted);
        str_sort(sorted, l->len);
        for (size_t i = 0; i < l->len; i++)
            hash_part(&h, sorted[i]);
    }
    return hash_end(a, &h);
}

struct str ctr_build_hash(struct arena *a, struct str src_hash, struct str arg_hash, struct str containerfile,
                          struct str build_dir)
{
    struct sha256 h;
    sha256_init(&h);
    hash_part(&h, src_hash);
    hash_part(&h, arg_hash);
    hash_part(&h, containerfile);
    hash_part(&h, build_dir);
    return hash_end(a, &h);
}

struct str ctr_version_hash(struct arena *a, struct str src, struct str env, struct str opt, struct str arg,
                            struct str vol, struct str image_digest, struct str litestream)
{
    struct str text = str_printf(a, STR_FMT "-" STR_FMT "-" STR_FMT "-" STR_FMT "-" STR_FMT, STR_ARG(src),
                                 STR_ARG(env), STR_ARG(opt), STR_ARG(arg), STR_ARG(vol));
    if (image_digest.len > 0)
        text = str_printf(a, STR_FMT "-" STR_FMT, STR_ARG(text), STR_ARG(image_digest));
    if (litestream.len > 0)
        text = str_printf(a, STR_FMT "-ls" STR_FMT, STR_ARG(text), STR_ARG(litestream));
    return sha256_hex(a, text);
}

struct str ctr_container_name(struct arena *a, struct str app_id, struct str version_hash)
{
    struct str hash = str_lower(a, str_slice(version_hash, 0, SHORT_HASH));
    return str_printf(a, "clc-" STR_FMT "-" STR_FMT, STR_ARG(app_id), STR_ARG(hash));
}

struct str ctr_image_name(struct arena *a, struct str app_id, struct str build_hash, struct str version_hash,
                          bool is_separate)
{
    if (!is_separate) {
        if (str_starts(app_id, STR("app_prd_")) || str_starts(app_id, STR("app_stg_")))
            app_id = str_from_off(app_id, 8);
        else
            is_separate = str_starts(app_id, STR("app_pre_"));
    }
    struct str hash = str_lower(a, str_slice(is_separate ? version_hash : build_hash, 0, SHORT_HASH));
    return str_printf(a, "cli-" STR_FMT ":" STR_FMT, STR_ARG(app_id), STR_ARG(hash));
}

struct str ctr_volume_name(struct arena *a, struct str app_id, struct str key)
{
    struct str hash = sha256_hex(a, key);
    return str_printf(a, "clv-" STR_FMT "-" STR_FMT, STR_ARG(app_id), STR_ARG(hash));
}

struct str ctr_label_text(struct arena *a, struct str text)
{
    size_t len = str_clip(text, LABEL_MAX).len;
    char *out = arena_alloc(a, len + 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        out[i] = c < 0x20 || c == 0x7F || c == ',' ? ' ' : (char)c;
    }
    return str_trim(str_of(out, len));
}
