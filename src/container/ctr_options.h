/* container/ctr_options.h: container options and volume entries as users write them (spec containers.md 6,
 * 7).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CTR_OPTIONS_H
#define CTR_OPTIONS_H

#include "ctr_ident.h"

/* "500m", "0.5", "2" -> thousandths of a CPU, at least 1 and at most 1,000,000. */
bool ctr_parse_cpus(struct str s, int64_t *milli, struct err *err);
/* "1048576", "500M" (binary units), "1.5g", "512Mi", "1Gi" -> bytes. */
bool ctr_parse_memory(struct str s, int64_t *bytes, struct err *err);

/* What becomes of the container_options of an app under one engine. */
struct ctr_limits {
    int64_t milli_cpus;          /* 0: no limit */
    int64_t memory_bytes;        /* 0: no limit */
    struct ctr_kv_list flags;    /* further flags for the engine, sorted by key; value empty: none */
};

/* Sorts `options` out for the engine whose command is named `command` ("docker", "podman"): keys
 * `command.X` and `<command>.X` are flag X, `cpus` and `memory` are bare; those for other engines
 * (`docker.`, `podman.`, `kubernetes.`, min_replicas, max_replicas) are ignored. Flags must be in `allowed`
 * (security.allowed_container_args): its value "" allows no value, `regex:P` a value in which P matches
 * somewhere, else exactly that value. Unknown bare keys are flags too. Fails naming the key. */
bool ctr_options_resolve(struct arena *a, const struct ctr_kv_list *options, struct str command,
                         const struct ctr_kv_list *allowed, struct ctr_limits *out, struct err *err);

enum ctr_volume_kind {
    CTR_VOLUME_NAMED,            /* name:/target */
    CTR_VOLUME_UNNAMED,          /* /target */
    CTR_VOLUME_BIND,             /* /abs:/target, ./rel:/target, ../rel:/target */
    CTR_VOLUME_SECRET,           /* cl_secret:template:/target */
};

struct ctr_volume {
    enum ctr_volume_kind kind;
    struct str source;           /* name, path or template as written, $VAR expanded; empty for unnamed */
    struct str written;          /* the source without that, for messages: what is in the server's environment is
                                    not for those who make apps; empty: nothing was expanded */
    struct str target;           /* absolute path in the container, cleaned */
    bool is_read_only;
    bool is_made;                /* the source is a file or folder that we have made below policy.run_dir */
};

static inline struct str ctr_volume_shown(const struct ctr_volume *v)
{
    return v->written.len > 0 ? v->written : v->source;
}

/* Parses one entry. $VAR and ${VAR} in its source come from `getvar` (NULL: the process environment; a
 * variable that is not set is an error). Fails on an empty part, a target that is not absolute, a NUL or
 * newline. */
bool ctr_volume_parse(struct arena *a, struct str entry, const char *(*getvar)(const char *name),
                      struct ctr_volume *out, struct err *err);

/* Merges entries in the order given: a later one with the same target replaces an earlier one, but a plain
 * entry equal to the rest of a cl_secret entry does not. Variables come from the process environment. */
bool ctr_volumes_parse(struct arena *a, const struct str_list *entries, struct ctr_volume **out, size_t *n,
                       struct err *err);

/* Where bind sources may lie. Paths are absolute; empty ones do not count. */
struct ctr_mount_policy {
    struct str source_dir;       /* relative sources are under it and must stay inside */
    struct str run_dir;          /* $OPENRUN_HOME/run/app/<app id>: for what we have made, and for nothing else: builds and
                                  * logs are there, too */
    struct str app_source;       /* the app's local source folder, allowed too; empty for git */
    const struct str_list *allowed; /* security.allowed_mounts, env-expanded */
};

/* An entry of security.allowed_mounts: an absolute path, $VAR expanded as above. A variable that is not set is an error: what is
 * left without it would be another folder, maybe one with much more in it. */
bool ctr_mount_folder_parse(struct arena *a, struct str entry, const char *(*getvar)(const char *name), struct str *out,
                            struct err *err);

/* A mount as the engine gets it. */
struct ctr_mount {
    struct str source;           /* volume name, or absolute host path with symlinks resolved; empty: a volume of the
                                  * container's own, which begins with what the image has there and goes with it */
    struct str target;
    struct str name;             /* of a volume: what the app calls it, its name or its target */
    bool is_bind;                /* else a volume, made when missing */
    bool is_read_only;
};

/* Turns a volume into a mount: names become ctr_volume_name(), bind sources are checked against `policy` with
 * symlinks resolved. A CTR_VOLUME_SECRET's source must already be the rendered file (absolute, in run_dir, is_made).
 * Fails with "source path ... is not within an allowed mount directory" and the like. */
bool ctr_volume_resolve(struct arena *a, struct str app_id, const struct ctr_volume *v,
                        const struct ctr_mount_policy *policy, struct ctr_mount *out, struct err *err);

/* True if each bind source is what it was when it was checked. An engine follows links at each start, and a container may
 * have put one where another of its mounts begins: so this is asked before every start. */
bool ctr_mounts_check(const struct ctr_mount *mounts, size_t n, struct err *err);

#endif
