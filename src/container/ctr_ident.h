/* container/ctr_ident.h: names, hashes and labels of what we make in an engine (spec containers.md 5).
 *
 * Pure functions; results live in the arena given. Hashes are lower-case hex SHA-256.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CTR_IDENT_H
#define CTR_IDENT_H

#include "base.h"

/* A name and its value: labels, environment, options, build arguments. */
struct ctr_kv {
    struct str key, value;
};
struct ctr_kv_list {
    struct ctr_kv *items;
    size_t len, cap;
};
/* Sets `key`, replacing an earlier value; key and value are borrowed. */
void ctr_kv_set(struct arena *a, struct ctr_kv_list *l, struct str key, struct str value);
/* The value of `key`, or NULL. */
const struct str *ctr_kv_get(const struct ctr_kv_list *l, struct str key);
/* The same, empty if there is none: of a label, say. */
struct str ctr_kv_text(const struct ctr_kv_list *l, const char *key);

/* H(k1 \0 v1 \0 k2 \0 ...) over sorted keys: environment, options, build arguments. */
struct str ctr_map_hash(struct arena *a, const struct ctr_kv_list *l);
/* H(v \0 ...) over the sorted list: the volumes of the metadata. */
struct str ctr_list_hash(struct arena *a, const struct str_list *l);
/* H(src \0 carg \0 containerfile \0 build_dir \0): what an image is made from. */
struct str ctr_build_hash(struct arena *a, struct str src_hash, struct str arg_hash, struct str containerfile,
                          struct str build_dir);
/* H("<src>-<env>-<copt>-<carg>-<cvol>[-<digest>][-ls<litestream>]"): what a container is made from. The
 * last two may be empty. */
struct str ctr_version_hash(struct arena *a, struct str src, struct str env, struct str opt, struct str arg,
                            struct str vol, struct str image_digest, struct str litestream);

/* clc-<app id>-<first 16 of the version hash>; an empty hash (dev apps) gives the trailing dash alone. */
struct str ctr_container_name(struct arena *a, struct str app_id, struct str version_hash);
/* cli-<id without app_prd_ or app_stg_>:<first 16 of the build hash>: shared by staging and production. With
 * `is_separate` (setting, preview apps): cli-<app id>:<first 16 of the version hash>. */
struct str ctr_image_name(struct arena *a, struct str app_id, struct str build_hash, struct str version_hash,
                          bool is_separate);
/* clv-<app id>-<H(key)>; `key` is the volume's name, or its target for unnamed ones. */
struct str ctr_volume_name(struct arena *a, struct str app_id, struct str key);

#define CTR_LABEL_APP_ID       "dev.openrun.app.id"
#define CTR_LABEL_APP_PATH     "dev.openrun.app.path"
#define CTR_LABEL_HOME         "dev.openrun.server.home"
/* Of images: containers inherit their image's labels, and one made by hand from ours is not ours. */
#define CTR_LABEL_IMAGE_HOME   "dev.openrun.image.home"
#define CTR_LABEL_IMAGE_APP_ID "dev.openrun.image.app.id"
#define CTR_LABEL_DEV          "dev.openrun.dev"
#define CTR_LABEL_APP_VERSION  "dev.openrun.app.version"
#define CTR_LABEL_GIT_SHA      "dev.openrun.git.sha"
#define CTR_LABEL_GIT_MESSAGE  "dev.openrun.git.message"
#define CTR_LABEL_VERSION_HASH "dev.openrun.version.hash"
/* Of containers for a single command, which have none of the labels of an app's: nothing may mistake them for it. */
#define CTR_LABEL_TASK_HOME    "dev.openrun.task.home"
#define CTR_LABEL_TASK_APP_ID  "dev.openrun.task.app.id"
#define CTR_LABEL_TASK_APP_PATH "dev.openrun.task.app.path"
/* Of volumes, beside CTR_LABEL_HOME, _APP_ID and _APP_PATH: the name in the app, or the target of an unnamed one. */
#define CTR_LABEL_VOLUME       "dev.openrun.volume"

/* `text` cut to 200 bytes at a character border, with control bytes and commas (which break label lists of
 * some engines) as spaces: for the git message. */
struct str ctr_label_text(struct arena *a, struct str text);

#endif
