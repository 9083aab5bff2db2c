/* container/build.c: building and pulling images, always through the engine's program: it knows the user's
 * credentials, mirrors and builders.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "fs.h"
#include "proc.h"

#include <stdio.h>
#include <stdlib.h>

enum { TAIL_MAX = 8 << 10, LINE_MAX_BYTES = 4096, TAIL_LINES = 40 };

/* Docker's program only passes on what the daemon does, and lives with 2 MB. Go's runtime collects garbage from 4 MB on,
 * which is twice while it begins: 5 ms of CPU of a build of 110 ms. This is from 16 MB on. */
#define CLIENT_GOGC "GOGC=400"

/* Output of a build, a line at a time: to the caller, and into a tail for the error. */
struct lines {
    ctr_line_fn *on_line;
    void *arg;
    struct buf line;                   /* the line so far; what goes beyond LINE_MAX_BYTES is cut */
    enum { TEXT, ESCAPE, CONTROL } in; /* a terminal escape: ESC, then '[' up to a letter */
    struct buf tail;                   /* newest lines, each with its '\n' */
};

static void line_done(struct lines *l)
{
    struct str line = str_trim_right(buf_str(&l->line), '\r');
    if (l->on_line)
        l->on_line(l->arg, line);
    if (line.len > 0) {
        if (l->tail.len + line.len + 1 > TAIL_MAX)
            buf_drop(&l->tail, l->tail.len + line.len + 1 - TAIL_MAX);
        buf_add_str(&l->tail, line);
        buf_add_char(&l->tail, '\n');
    }
    buf_clear(&l->line);
}

/* Terminal escapes (ECMA-48 5.4) are left out: the output is shown by other programs than a terminal. */
static bool lines_take(void *arg, enum proc_stream stream, struct str chunk)
{
    struct lines *l = arg;
    (void)stream;
    for (size_t i = 0; i < chunk.len; i++) {
        unsigned char c = (unsigned char)chunk.ptr[i];
        if (c == '\n' || c == 0x1B) {
            l->in = c == 0x1B ? ESCAPE : TEXT;
            if (c == '\n')
                line_done(l);
        } else if (l->in == ESCAPE) {
            l->in = c == '[' ? CONTROL : TEXT;
        } else if (l->in == CONTROL) {
            l->in = c >= 0x40 && c <= 0x7E ? TEXT : CONTROL;
        } else if (c >= 0x20 || c == '\t') {
            buf_add_char(&l->line, (char)c);
        }
    }
    return true;
}

/* The last lines, whole ones. */
static struct str lines_tail(const struct lines *l)
{
    struct str s = str_trim_right(buf_str(&l->tail), '\n');
    size_t from = s.len;
    for (int n = 0; from > 0; from--) {
        if (s.ptr[from - 1] == '\n' && ++n == TAIL_LINES)
            break;
    }
    return str_from_off(s, from);
}

static bool stream(const struct ctr_program *p, const struct proc_spec *base, struct lines *l,
                   const char *doing, struct str image, struct err *err)
{
    struct proc_spec spec = *base;
    struct proc_result res;
    spec.merge_stderr = true;
    spec.on_output = lines_take;
    spec.arg = l;
    spec.grace_ms = 3000;
    if (!proc_run(&spec, &res, err))
        return err_wrap(err, "running %s", p->path);
    if (l->line.len > 0)
        line_done(l);
    if (res.cancelled)
        return err_set(err, ERR_CANCELLED, "%s " STR_FMT " was cancelled", doing, STR_ARG(image));
    if (res.timed_out)
        return err_set(err, ERR_TIMEOUT, "%s " STR_FMT " took longer than %lld min and was ended", doing,
                       STR_ARG(image), (long long)spec.timeout_ms / 60000);
    if (res.exit_code == 0)
        return true;
    return err_set(err, ERR_UPSTREAM, "%s " STR_FMT " failed (%s exit code %d):\n" STR_FMT, doing,
                   STR_ARG(image), p->name, res.exit_code, STR_ARG(lines_tail(l)));
}

static void add(struct arena *a, struct str_list *l, const char *z)
{
    str_list_add(a, l, str_from(z));
}

/* Arguments by name, their values in the program's environment: they may be secrets. */
static void build_args(struct arena *a, const struct ctr_build *b, struct str_list *argv,
                       struct str_list *env)
{
    for (size_t i = 0; b->args && i < b->args->len; i++) {
        struct str key = b->args->items[i].key;
        struct str pair = str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(b->args->items[i].value));
        bool in_env = !ctr_env_is_reserved(key);
        add(a, argv, "--build-arg");
        str_list_add(a, argv, in_env ? key : pair);
        if (in_env)
            str_list_add(a, env, pair);
    }
}

static void build_labels(struct arena *a, const struct ctr_build *b, struct str_list *argv)
{
    for (size_t i = 0; b->labels && i < b->labels->len; i++) {
        add(a, argv, "--label");
        str_list_add(a, argv,
                     str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(b->labels->items[i].key),
                                STR_ARG(b->labels->items[i].value)));
    }
}

/* Podman 4 looks for the labels of a build in its cache only when the last stage is built: an earlier one may come with those
 * of another app or home, by which a prune would take it for theirs. Such an image gets its labels by a build of its own. */
static bool add_labels(const struct ctr_program *p, const struct ctr_build *b, struct lines *l, struct err *err)
{
    scoped_arena a = {0};
    struct proc_spec spec = {.timeout_ms = CTR_CHANGE_MS * 5, .cancel = (atomic_bool *)b->cancel, .cwd = b->dir};
    static const char *const words[] = {"build", "--pull=never", "-f", "-", "-t"};
    add(&a, &spec.argv, p->path);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        add(&a, &spec.argv, words[i]);
    str_list_add(&a, &spec.argv, b->image);
    build_labels(&a, b, &spec.argv);
    add(&a, &spec.argv, ".");
    spec.stdin_data = str_printf(&a, "FROM " STR_FMT "\n", STR_ARG(b->image));
    return stream(p, &spec, l, "labelling image", b->image, err);
}

/* Says what to do about a failed build, if anything. False, as err_set(). */
static bool add_hint(struct arena *a, const struct ctr_build *b, struct str tail, struct err *err)
{
    scoped_err ignored = {0};
    struct str text = {0};
    if (err->code != ERR_UPSTREAM)
        return false;
    struct str path = b->file.len > 0 && b->file.ptr[0] == '/'
                          ? b->file
                          : str_printf(a, STR_FMT "/" STR_FMT, STR_ARG(b->dir), STR_ARG(b->file));
    fs_read_all(a, path, CTR_FILE_MAX, &text, &ignored);
    struct str told = str_printf(a, "%s" STR_FMT, err_msg(err), STR_ARG(ctr_build_hint(a, tail, text, b->args)));
    return err_set(err, err->code, STR_FMT, STR_ARG(told));
}

/* Somebody has removed an image whose layers the build was about to use, or the build's own container by force: what Podman's
 * and Docker's builders say then, in their last line. The layers that are gone are made again by the next build. */
static bool has_lost_layers(struct str tail)
{
    static const char *const words[] = {"layer not known",        "image not known",          "container not known",
                                        "identifier is not a",    "unable to locate layer",   "unknown parent image ID",
                                        "layer does not exist",   ".tmp-buildah.json"};
    struct str last = str_from_off(tail, str_rchr(tail, '\n') == STR_NPOS ? 0 : str_rchr(tail, '\n') + 1);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_find(last, str_from(words[i])) != STR_NPOS)
            return true;
    return false;
}

bool ctr_build_with_program(struct ctr_program *p, const struct ctr_build *b, struct err *err)
{
    scoped_arena a = {0};
    struct proc_spec spec = {.cwd = b->dir,
                             .timeout_ms = b->timeout_ms > 0 ? b->timeout_ms : CTR_BUILD_MS,
                             .cancel = (atomic_bool *)b->cancel};
    add(&a, &spec.argv, p->path);
    add(&a, &spec.argv, "build");
    add(&a, &spec.argv, "-t");
    str_list_add(&a, &spec.argv, b->image);
    add(&a, &spec.argv, "-f");
    str_list_add(&a, &spec.argv, b->file);
    if (b->target.len > 0) {
        add(&a, &spec.argv, "--target");
        str_list_add(&a, &spec.argv, b->target);
    }
    if (p->kind == CTR_DOCKER && !getenv("GOGC"))
        add(&a, &spec.env, CLIENT_GOGC);
    build_args(&a, b, &spec.argv, &spec.env);
    bool labels_apart = p->kind == CTR_PODMAN && b->target.len > 0 && b->labels && b->labels->len > 0;
    if (!labels_apart)
        build_labels(&a, b, &spec.argv);
    /* Clients before 23 have BuildKit but do not use it unless told; later ones choose it themselves when the
     * plugin is there, and fail when told to use one that is not. */
    if (p->kind == CTR_DOCKER && ctr_program_major(p) > 0 && ctr_program_major(p) < 23)
        add(&a, &spec.env, "DOCKER_BUILDKIT=1");
    /* A folder of an app may look like a repository, with a configuration that runs programs: builders need not ask git. */
    if (p->kind == CTR_DOCKER)
        add(&a, &spec.env, "BUILDX_GIT_INFO=false");
    add(&a, &spec.argv, ".");
    struct lines l = {.on_line = b->on_line,
                      .arg = b->line_arg,
                      .line = BUF_INIT(LINE_MAX_BYTES),
                      .tail = BUF_INIT(TAIL_MAX)};
    scoped_err first = {0};
    bool ok = stream(p, &spec, &l, "building image", b->image, &first);
    if (!ok && first.code == ERR_UPSTREAM && has_lost_layers(lines_tail(&l))) {
        if (b->on_line)
            b->on_line(b->line_arg, STR(CTR_PHASE_MARK "layers that this build relied on were removed meanwhile: building once more"));
        buf_clear(&l.tail);
        err_release(&first);
        ok = stream(p, &spec, &l, "building image", b->image, &first);
    }
    ok = ok && (!labels_apart || add_labels(p, b, &l, &first));
    if (!ok) {
        add_hint(&a, b, lines_tail(&l), &first);
        err_move(err, &first);
    }
    buf_release(&l.line);
    buf_release(&l.tail);
    return ok;
}

bool ctr_pull_with_program(const struct ctr_program *p, struct str image, const atomic_bool *cancel,
                           struct err *err)
{
    scoped_arena a = {0};
    struct proc_spec spec = {.timeout_ms = CTR_PULL_MS, .cancel = (atomic_bool *)cancel};
    add(&a, &spec.argv, p->path);
    add(&a, &spec.argv, "pull");
    str_list_add(&a, &spec.argv, image);
    struct lines l = {.line = BUF_INIT(LINE_MAX_BYTES), .tail = BUF_INIT(TAIL_MAX)};
    bool ok = stream(p, &spec, &l, "pulling image", image, err);
    buf_release(&l.line);
    buf_release(&l.tail);
    return ok;
}
