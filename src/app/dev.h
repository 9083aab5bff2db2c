/* app/dev.h: how the container of a development app differs: for service.c.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef APP_DEV_H
#define APP_DEV_H

#include "app_int.h"

/* dev_settings, with what the Containerfile says where they are silent. */
struct dev_plan {
    bool is_on;                  /* the source is mounted; else nothing of this counts */
    bool has_dev_stage;
    bool builds;                 /* the command builds something before it serves */
    struct str target;           /* stage to build; empty: the whole image */
    struct str dir, command;     /* command empty: the image's */
    struct str reload;           /* none, restart or recreate */
    struct str dev_stage;
    struct str_list env_files, mounts;
    struct str_list covered;     /* folders below `dir` that stay the image's */
    struct str_list artifacts;   /* what the command writes below the source */
    struct ctr_kv_list env;      /* below the app's own */
    struct str hint;             /* when it does not come up */
    int64_t port;                /* 0: as otherwise */
};

/* Checks dev_settings for any app, and plans for a dev app. Writes files of its spec that are missing in its source. */
bool dev_plan_read(struct app *app, star_v settings, bool is_external, const struct ctr_file *file, bool has_build_dir,
                   struct dev_plan *out, struct err *err);
/* Sets app->dev_source_hash: what a container that is started again would run. */
void dev_source_hash(struct app *app, const struct dev_plan *d);
/* What the image depends on, and what the container does. */
bool dev_image_hash(struct app *app, const struct dev_plan *d, struct str file_text, struct str args, struct str build_dir,
                    struct str *out, struct err *err);
struct str dev_run_hash(struct app *app, const struct dev_plan *d, struct str image_hash, const struct ctr_run *run,
                        struct str options);

#endif
