/* container/infer_int.h: the inside of the inference for dev apps: infer.c, runs.c (what a RUN does), entry.c (what is run).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef INFER_INT_H
#define INFER_INT_H

#include "container.h"
#include "ctr_infer.h"

struct infer {
    struct arena *a;
    const struct ctr_infer_ask *ask;
    const struct ctr_file *f;
    struct ctr_infer *out;
    int at;                                /* index of `run` */
    const struct ctr_stage *run, *final;   /* the stage that is built; the last one */
    bool is_built[CTR_FILE_MAX_STAGES];    /* `run` and what it builds on */
    VEC(const struct ctr_step *) steps;    /* of those, in order */
    size_t after;                          /* how many there are up to the last COPY from the source */
    size_t budget;                         /* names that may still be looked at */
    size_t n_copied;                       /* files and folders that are copied to `dir` */
    VEC(const struct ctr_step *) builds;   /* RUNs after it that build something */
};

/* Says why, once; returns false. */
bool infer_give_up(struct infer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool infer_is_under(struct str dir, struct str path); /* or is it; both absolute and clean */
struct str infer_rel(struct str dir, struct str path);
bool infer_has_file(const struct infer *w, struct str name);
bool infer_has_folder(const struct infer *w, struct str name);
/* Where a file of the source is in the container. */
struct str infer_at(struct infer *w, struct str name);
bool infer_is_covered(const struct infer *w, struct str path);
bool infer_is_pattern(struct str s);

enum infer_verdict {
    INFER_HARMLESS, /* nothing below `dir` that matters */
    INFER_FILLS,    /* only folders that are in `covered` now */
    INFER_BUILDS,
};
/* What a RUN does to `dir`. */
enum infer_verdict infer_judge(struct infer *w, const struct ctr_step *step);

/* Chooses the command. */
bool infer_command(struct infer *w);

#endif
