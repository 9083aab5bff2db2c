/* container/hint.c: what to do about a build that has failed, where the engine's own words do not say it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "ctr_file.h"

static const char no_space[] = "no space left on device";
static const char disk_full[] =
    "\nThe disk of the container engine is full: remove what newer versions have replaced with \"openrun container prune\", "
    "and what else is not used with \"docker system prune\" or \"podman system prune\".";

static bool has(struct str s, const char *needle)
{
    return str_find(s, str_from(needle)) != STR_NPOS;
}

/* True if a registry is asked in `tail`: "https://HOST/v2/", with nothing else before. What a step of the build
 * could not reach has another address. */
static bool asks_registry(struct str tail)
{
    for (size_t at; (at = str_find(tail, STR("://"))) != STR_NPOS;) {
        struct str host, rest;
        tail = str_from_off(tail, at + 3);
        if (str_cut(tail, '/', &host, &rest) && str_chr(host, '\n') == STR_NPOS && str_starts(rest, STR("v2/")))
            return true;
    }
    return false;
}

static bool lacks_base(struct str tail)
{
    bool is_unreachable = has(tail, "no such host") || has(tail, "i/o timeout") || has(tail, "connection refused");
    return has(tail, "short-name") || has(tail, "pull access denied") || has(tail, "failed to resolve") ||
           has(tail, "initializing source docker://") || has(tail, "manifest unknown") ||
           has(tail, "no stage or image found with that name") ||
           (is_unreachable && asks_registry(tail));
}

/* The one that is missing, as far as the output tells; empty: one of several. Those that are there are named, too: it is
 * the one in the last line that has any, and of several there the longest, for "a:1" is in "a:1-slim". */
static struct str missing_base(const struct ctr_file *f, struct str tail)
{
    struct str found = {0}, line, rest = tail;
    while (str_next(&rest, '\n', &line)) {
        struct str in_line = {0};
        for (size_t i = 0; i < f->images.len; i++) {
            if (f->images.items[i].len > in_line.len && str_find(line, f->images.items[i]) != STR_NPOS)
                in_line = f->images.items[i];
        }
        found = in_line.len > 0 ? in_line : found;
    }
    return found.len == 0 && f->images.len == 1 ? f->images.items[0] : found;
}

/* Only something is copied from it: no build argument can stand there. */
static bool is_only_copied_from(const struct ctr_file *f, struct str image)
{
    for (size_t i = 0; i < f->n_stages; i++) {
        if (str_eq(f->stages[i].base, image))
            return false;
    }
    return image.len > 0;
}

static void add_name(struct buf *out, const struct ctr_file *f, struct str image)
{
    if (image.len > 0) {
        buf_printf(out, "The base image " STR_FMT, STR_ARG(image));
        return;
    }
    buf_add_z(out, f->images.len > 0 ? "One of the base images" : "A base image");
    for (size_t i = 0; i < f->images.len; i++)
        buf_printf(out, "%s" STR_FMT, i > 0 ? ", " : " ", STR_ARG(f->images.items[i]));
}

/* A build argument that is the image can be given another value. */
static void add_way_out(struct buf *out, const struct ctr_file *f, struct str image)
{
    for (size_t i = 0; i < f->args.len && image.len > 0; i++) {
        if (!str_eq(f->args.items[i].value, image))
            continue;
        buf_printf(out, "use another one by the build argument " STR_FMT " (--carg " STR_FMT "=IMAGE).",
                   STR_ARG(f->args.items[i].key), STR_ARG(f->args.items[i].key));
        return;
    }
    buf_add_z(out, is_only_copied_from(f, image) ? "name another one after --from=."
                                                 : "name another one after FROM, or there a build argument that --carg can set.");
}

static struct str base_hint(struct arena *a, struct str tail, struct str file_text, const struct ctr_kv_list *args)
{
    scoped_buf out = BUF_INIT(CTR_FILE_MAX);
    scoped_err ignored = {0};
    struct ctr_file f = {0};
    if (!ctr_file_parse(a, file_text, args, &f, &ignored))
        f = (struct ctr_file){0};
    struct str image = missing_base(&f, tail);
    buf_add_char(&out, '\n');
    add_name(&out, &f, image);
    buf_add_z(&out, " could not be had: check the network, its name and its registry, pull it by hand, or ");
    add_way_out(&out, &f, image);
    return str_dup(a, buf_str(&out));
}

struct str ctr_build_hint(struct arena *a, struct str tail, struct str file_text, const struct ctr_kv_list *args)
{
    if (has(tail, "requires BuildKit") || has(tail, "the --mount option requires") || has(tail, "--chmod option requires"))
        return STR("\nThis file needs BuildKit: install docker's buildx plugin (Debian: docker-buildx or docker-buildx-plugin), "
                   "or use podman.");
    if (has(tail, "buildx component is missing"))
        return STR("\nInstall docker's buildx plugin, or use podman.");
    if (lacks_base(tail))
        return base_hint(a, tail, file_text, args);
    return has(tail, no_space) ? str_from(disk_full) : (struct str){0};
}

bool ctr_advise(struct err *err)
{
    struct str said = str_from(err_msg(err));
    return has(said, no_space) && !has(said, disk_full) && err_append(err, "%s", disk_full);
}
