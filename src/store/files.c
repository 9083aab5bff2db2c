/* store/files.c: contents, stored once by the hash of their bytes, and the versions' lists of them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <stdlib.h>

enum {
    QUALITY = 9,
    WINDOW = 22,
    /* Below it the saving is less than what a row costs anyway. */
    COMPRESS_MIN = 64,
    /* Grown to by doubling while unpacking a content of unknown size. */
    UNPACK_FIRST = 64 << 10,
};

/* --- compression --- */

/* Media and archives: brotli would spend its time for nothing. */
static bool is_compressed_already(struct str name)
{
    static const char *const extensions[] = {
        "png", "jpg",  "jpeg", "gif",  "webp", "avif", "heic", "ico",  "mp3", "mp4", "m4a", "m4v", "mov", "webm",
        "mkv", "ogg",  "oga",  "ogv",  "flac", "aac",  "zip",  "gz",   "tgz", "bz2", "xz",  "zst", "br",  "7z",
        "rar", "jar",  "whl",  "woff", "woff2", "pdf", "docx", "xlsx", "pptx", "epub", "apk",
    };
    size_t dot = str_rchr(name, '.');
    if (dot == STR_NPOS)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
        if (str_eq_nocase(str_from_off(name, dot + 1), str_from(extensions[i])))
            return true;
    return false;
}

/* The shorter form, in `a`; an empty slice when there is none. */
static struct str compress(struct arena *a, struct str data)
{
    size_t len = BrotliEncoderMaxCompressedSize(data.len);
    if (len == 0)
        return (struct str){0};
    scoped_free uint8_t *out = xmalloc(len);
    if (!BrotliEncoderCompress(QUALITY, WINDOW, BROTLI_MODE_GENERIC, data.len, (const uint8_t *)data.ptr, &len, out) ||
        len >= data.len)
        return (struct str){0};
    return str_dup(a, str_of(out, len));
}

bool store_blob_prepare(struct arena *a, struct str name, struct str data, struct store_blob *out,
                        struct err *err)
{
    if (data.len > STORE_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%.*s has %zu MB: a file of an app may have at most %d MB", STR_ARG(name),
                       data.len >> 20, STORE_FILE_MAX >> 20);
    struct store_blob blob = {
        .sha = sha256_hex(a, data),
        .content = data,
        .size = (int64_t)data.len,
    };
    if (data.len >= COMPRESS_MIN && !is_compressed_already(name)) {
        struct str shorter = compress(a, data);
        if (shorter.len > 0) {
            blob.content = shorter;
            blob.compression = STR("br");
        }
    }
    *out = blob;
    return true;
}

/* Decompresses into a buffer that grows to at most STORE_FILE_MAX; `hint` is the expected size, or -1. */
static bool decompress(struct buf *out, struct str content, int64_t hint, struct err *err)
{
    BrotliDecoderState *st = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    if (!st)
        return err_set(err, ERR_INTERNAL, "brotli: out of memory");
    size_t left = content.len;
    const uint8_t *in = (const uint8_t *)content.ptr;
    size_t room = hint >= 0 && hint <= STORE_FILE_MAX ? (size_t)hint + 1 : UNPACK_FIRST;
    BrotliDecoderResult r = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    while (r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && buf_reserve(out, MIN(room, out->max - out->len)) &&
           out->len < out->max) {
        size_t space = MIN(out->cap - 1, out->max) - out->len, before = space;
        uint8_t *to = (uint8_t *)out->ptr + out->len;
        r = BrotliDecoderDecompressStream(st, &left, &in, &space, &to, NULL);
        out->len += before - space;
        room = out->len;
    }
    BrotliDecoderDestroyInstance(st);
    if (r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT)
        return err_set(err, ERR_TOO_LARGE, "a stored content unpacks to more than %d MB", STORE_FILE_MAX >> 20);
    return (r == BROTLI_DECODER_RESULT_SUCCESS && left == 0) ||
           err_set(err, ERR_INTERNAL, "a stored content is damaged: it does not decompress");
}

bool store_blob_unpack(struct arena *a, const struct store_blob *blob, struct str *data, struct err *err)
{
    scoped_buf plain = BUF_INIT(STORE_FILE_MAX);
    struct str bytes = blob->content;
    if (str_eq(blob->compression, STR("br"))) {
        if (!decompress(&plain, blob->content, blob->size, err))
            return err_wrap(err, "content %.*s", STR_ARG(blob->sha));
        bytes = buf_str(&plain);
    } else if (!str_is_empty(blob->compression)) {
        return err_set(err, ERR_UNSUPPORTED, "content %.*s has the unknown compression %.*s", STR_ARG(blob->sha),
                       STR_ARG(blob->compression));
    }
    scoped_arena scratch = {0};
    if (!str_eq(sha256_hex(&scratch, bytes), blob->sha))
        return err_set(err, ERR_INTERNAL, "content %.*s is damaged: its bytes do not match its hash: restore the "
                       "database from a backup, or reload the app", STR_ARG(blob->sha));
    *data = bytes.ptr == blob->content.ptr ? bytes : str_dup(a, bytes);
    return true;
}

/* --- contents --- */

bool store_blobs_have(struct store_tx *tx, const struct str *shas, size_t n, bool *have, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        int64_t one;
        if (!db_query_int(tx->db, "SELECT 1 FROM files WHERE sha = ?", DB_ARGS(DB_TEXT(shas[i])), &one, &have[i], err))
            return false;
    }
    return true;
}

bool store_blob_put(struct store_tx *tx, const struct store_blob *b, struct err *err)
{
    return db_exec(tx->db,
                   "INSERT INTO files (sha, compression_type, content, create_time) VALUES (?, ?, ?, ?) "
                   "ON CONFLICT (sha) DO NOTHING",
                   DB_ARGS(DB_TEXT(b->sha), DB_TEXT(b->compression), DB_BLOB(b->content), DB_TIME(wall_ns())), NULL,
                   err);
}

/* Columns: sha, compression_type, content, size. */
static bool get_blob(struct store_tx *tx, struct arena *a, const char *sql, struct db_args args,
                     struct store_blob *out, bool *found, struct err *err)
{
    struct store_blob b = {0};
    scoped_db_rows *r = db_query(tx->db, sql, args, err);
    if (!r)
        return false;
    *found = db_next(r);
    if (*found) {
        b.sha = db_text(r, 0, a);
        b.compression = db_text(r, 1, a);
        b.content = db_text(r, 2, a);
        b.size = db_int(r, 3);
    }
    if (!db_end(&r, err))
        return false;
    if (*found)
        *out = b;
    return true;
}

bool store_blob_get(struct store_tx *tx, struct arena *a, struct str sha, struct store_blob *out, struct err *err)
{
    bool found = false;
    bool is_ok = get_blob(tx, a, "SELECT sha, compression_type, content, -1 FROM files WHERE sha = ?",
                          DB_ARGS(DB_TEXT(sha)), out, &found, err);
    return store_found(is_ok, found, err, "no stored content %.*s", STR_ARG(sha));
}

bool store_cleanup_blobs(struct store_tx *tx, int64_t limit, int64_t *removed, struct err *err)
{
    return db_exec(tx->db,
                   "DELETE FROM files WHERE sha IN (SELECT f.sha FROM files f WHERE NOT EXISTS "
                   "(SELECT 1 FROM app_files a WHERE a.sha = f.sha) LIMIT ?)",
                   DB_ARGS(DB_INT(limit)), removed, err);
}

/* --- lists --- */

bool store_file_put(struct store_tx *tx, struct str app_id, int64_t version, const struct store_file *f,
                    struct err *err)
{
    int64_t n = 0;
    if (!db_exec(tx->db,
                 "INSERT INTO app_files (appid, version, name, sha, uncompressed_size, create_time) "
                 "SELECT ?, ?, ?, sha, ?, ? FROM files WHERE sha = ? "
                 "ON CONFLICT (appid, version, name) DO UPDATE SET sha = excluded.sha, "
                 "uncompressed_size = excluded.uncompressed_size, create_time = excluded.create_time",
                 DB_ARGS(DB_TEXT(app_id), DB_INT(version), DB_TEXT(f->name), DB_INT(f->size),
                         DB_TIME(f->create_time ? f->create_time : wall_ns()), DB_TEXT(f->sha)), &n, err))
        return false;
    return n > 0 || err_set(err, ERR_CONFLICT, "the content of %.*s was removed meanwhile: try again",
                            STR_ARG(f->name));
}

bool store_files_copy(struct store_tx *tx, struct str from_app, int64_t from_version, struct str to_app,
                      int64_t to_version, struct err *err)
{
    if (str_eq(from_app, to_app) && from_version == to_version)
        return true;
    return db_exec(tx->db, "DELETE FROM app_files WHERE appid = ? AND version = ?",
                   DB_ARGS(DB_TEXT(to_app), DB_INT(to_version)), NULL, err) &&
           db_exec(tx->db,
                   "INSERT INTO app_files (appid, version, name, sha, uncompressed_size, create_time) "
                   "SELECT ?, ?, name, sha, uncompressed_size, ? FROM app_files WHERE appid = ? AND version = ?",
                   DB_ARGS(DB_TEXT(to_app), DB_INT(to_version), DB_TIME(wall_ns()), DB_TEXT(from_app),
                           DB_INT(from_version)), NULL, err);
}

bool store_file_list(struct store_tx *tx, struct arena *a, struct str app_id, int64_t version,
                     struct store_file_list *out, struct err *err)
{
    struct store_file_list files = {0};
    scoped_db_rows *r = db_query(tx->db,
                                 "SELECT name, sha, uncompressed_size, create_time FROM app_files "
                                 "WHERE appid = ? AND version = ? ORDER BY name",
                                 DB_ARGS(DB_TEXT(app_id), DB_INT(version)), err);
    if (!r)
        return false;
    while (db_next(r)) {
        struct store_file *f = vec_push(a, &files);
        f->name = db_text(r, 0, a);
        f->sha = db_text(r, 1, a);
        f->size = db_int(r, 2);
        f->create_time = db_time(r, 3);
    }
    if (!db_end(&r, err))
        return false;
    *out = files;
    return true;
}

bool store_file_get(struct store_tx *tx, struct arena *a, struct str app_id, int64_t version, struct str name,
                    struct store_blob *out, struct err *err)
{
    bool found = false;
    bool is_ok = get_blob(tx, a,
                          "SELECT f.sha, f.compression_type, f.content, af.uncompressed_size FROM app_files af "
                          "JOIN files f ON f.sha = af.sha WHERE af.appid = ? AND af.version = ? AND af.name = ?",
                          DB_ARGS(DB_TEXT(app_id), DB_INT(version), DB_TEXT(name)), out, &found, err);
    return store_found(is_ok, found, err, "version %lld of app %.*s has no file %.*s", (long long)version,
                       STR_ARG(app_id), STR_ARG(name));
}

bool store_file_read(struct store *s, struct arena *a, struct str app_id, int64_t version, struct str name,
                     struct str *data, struct err *err)
{
    scoped_store_tx *tx = store_read(s, err);
    struct store_blob blob;
    scoped_arena packed = {0};
    if (!tx || !store_file_get(tx, &packed, app_id, version, name, &blob, err))
        return false;
    store_rollback(&tx);
    struct str bytes;
    if (!store_blob_unpack(a, &blob, &bytes, err))
        return err_wrap(err, "reading %.*s", STR_ARG(name));
    *data = bytes.ptr == blob.content.ptr ? str_dup(a, bytes) : bytes;
    return true;
}
