/* container/ctr_file.h: reads a Containerfile (Dockerfile) for what we need to know before building it.
 *
 * Pure and bounded: text in, tree in an arena out. It is not a validator: instructions that we do not need
 * are skipped, and the engine has the last word. Comments, the escape directive, line continuations and
 * here-documents are understood, so that the inside of a RUN is never taken for an instruction. ARG and ENV
 * are resolved as the engine does ($X, ${X}, ${X:-default}, ${X:+other}).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CTR_FILE_H
#define CTR_FILE_H

#include "ctr_ident.h"

enum {
    CTR_FILE_MAX = 1 << 20,      /* bytes of text */
    CTR_FILE_MAX_STAGES = 128,
    CTR_FILE_MAX_LIST = 256,     /* ports, volumes */
    CTR_FILE_MAX_VARS = 256,
    CTR_FILE_MAX_VALUE = 4096,   /* bytes of one resolved value; longer ones are cut */
    CTR_FILE_MAX_STEPS = 2048,   /* RUN, COPY and ADD; further ones are not remembered */
};

/* A RUN, COPY or ADD of a stage. */
struct ctr_step {
    int line;
    bool is_copy;                /* COPY or ADD; else RUN */
    bool is_odd;                 /* it has something that is not told here: a here-document, a value not known, a rare flag */
    struct str workdir;          /* where it runs; empty: not known */
    /* RUN */
    struct str text;             /* for the shell; of the exec form the JSON */
    bool is_exec, has_own_shell; /* after a SHELL */
    bool uses_args;              /* a build argument, which the container does not know */
    struct str_list caches;      /* targets of --mount=type=cache */
    /* COPY, ADD */
    int from;                    /* index of a stage; CTR_FROM_CONTEXT, CTR_FROM_OTHER */
    struct str_list sources;     /* resolved */
    struct str dest;             /* absolute; empty when odd */
    bool is_into;                /* what is copied goes into `dest`, whatever it is */
};
enum { CTR_FROM_CONTEXT = -1, CTR_FROM_OTHER = -2 };

/* What CMD or ENTRYPOINT says. */
struct ctr_words {
    bool is_set, is_shell;
    struct str text;             /* shell form */
    struct str_list items;       /* exec form */
};

struct ctr_stage {
    struct str base;             /* resolved name of the image or stage after FROM */
    struct str name;             /* after AS, lower case; empty without */
    int base_stage;              /* index of the stage that it builds on, -1 for an image */
    int line;                    /* of the FROM */
    struct str workdir;          /* resolved, absolute; empty: that of an image, which we do not know */
    bool has_entry;              /* has a CMD or ENTRYPOINT of its own */
    struct ctr_words entrypoint, cmd; /* in force at its end, as far as known: the stage's, or of one that it builds on */
    struct ctr_kv_list env;      /* ENV in force at its end, but for what the image brings */
    struct ctr_kv_list own_env;  /* ENV of its own whose value is known */
    bool has_own_shell;          /* SHELL, of its own or inherited */
    struct str user;             /* the last USER, inherited too; empty: that of the image */
    struct ctr_step *steps;      /* [n_steps] of its own */
    size_t n_steps;
};

struct ctr_file {
    struct ctr_stage *stages;    /* [n_stages], at least one */
    size_t n_stages;
    uint16_t *ports;             /* [n_ports]: EXPOSE of the final stage and those it builds on */
    size_t n_ports;
    uint16_t port;               /* the first port of the last EXPOSE, 0 without */
    struct str port_problem;     /* why an EXPOSE did not count ("line 7: EXPOSE $PORT: PORT has no value") */
    struct str_list volumes;     /* VOLUME of all stages, resolved, in order, without duplicates */
    struct str_list images;      /* that must exist or be pulled: FROM, --from; no stages, no scratch */
    struct ctr_kv_list args;     /* ARG: each name once, with the value first resolved for it, maybe empty */
    bool lacks_steps;            /* there are more than CTR_FILE_MAX_STEPS */
    bool needs_buildkit;         /* uses RUN --mount, COPY --link or --chmod, or here-documents */
    struct str syntax;           /* of the "# syntax=" line */
};

/* Parses `text` with `args` (build arguments; may be NULL) over the ARG defaults. Fails with the line
 * number: no FROM, an instruction before FROM, a base image without a name, a ceiling crossed. */
bool ctr_file_parse(struct arena *a, struct str text, const struct ctr_kv_list *args, struct ctr_file *out,
                    struct err *err);

#endif
