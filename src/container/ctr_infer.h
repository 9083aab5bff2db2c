/* container/ctr_infer.h: how an app can be developed in its own image: what its Containerfile says about it.
 *
 * A dev app's source is mounted into a container whose image holds the tools, so that a change needs no build. Which stage
 * has the tools, where the source belongs, what is run, and what must be built again at each start, is read from the
 * Containerfile. Whenever that cannot be told for sure, it is not guessed: then the image is built at each change.
 *
 * Pure: no file is looked at; the names of the source's files are given. Bounded by the bounds of ctr_file_parse().
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CTR_INFER_H
#define CTR_INFER_H

#include "ctr_file.h"

struct ctr_infer_ask {
    const struct ctr_file *file;
    /* What has been said already; empty: not. */
    struct str target, dir, command;
    struct str dev_stage;        /* name of the stage for development */
    bool is_stage_asked;         /* it must exist */
    bool has_build_dir;          /* the context is only a part of the source */
    const struct str *names;     /* [n_names] files of the source, in byte order */
    size_t n_names;
};

struct ctr_infer {
    bool is_fast;                /* the source can be mounted; else see `why` */
    struct str why;              /* it cannot, in words: "line 7: ..." */
    struct str warning;          /* about what was asked for; empty: none */
    struct str target;           /* stage to build; empty: the whole image */
    struct str dir;              /* where the source is mounted, and the working folder */
    struct str command;          /* for sh -c; empty: what the image runs */
    bool is_own_command;         /* `command` was made here */
    bool builds;                 /* and builds something before it serves */
    struct ctr_kv_list env;      /* of stages that are not built; below the app's own values */
    struct str_list covered;     /* folders under `dir` that the image has filled: node_modules */
    struct str_list caches;      /* targets of caches that the command uses */
    struct str_list image_files; /* files of the source that the image depends on */
    struct str_list artifacts;   /* what the command writes below the source; relative, a file or a folder */
};

/* Fails only for a stage that was asked for (`is_stage_asked`) and is not there, or that runs nothing. */
bool ctr_infer(struct arena *a, const struct ctr_infer_ask *ask, struct ctr_infer *out, struct err *err);

#endif
