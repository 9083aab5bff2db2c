/* container/infer.c: see ctr_infer.h (spec containers.md 11).
 *
 *     stage ──► folder ──► do the COPYs put the source there as it is? ──► what do the RUNs do to it? ──► the command
 *
 * The mount hides what the image has at `dir`, so each RUN that may write there is judged (runs.c): harmless, one that fills
 * a known folder (node_modules; it is kept visible, `covered`), or one that builds something. What is built after the source
 * was copied can be built again when the container starts; what is built before cannot.
 * SPDX-License-Identifier: Apache-2.0 */
#include "infer_int.h"

#include <fnmatch.h>
#include <stdio.h>

/* --- small things */

bool infer_give_up(struct infer *w, const char *fmt, ...)
{
    va_list ap;
    scoped_buf b = BUF_INIT(1000);
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    if (str_is_empty(w->out->why))
        w->out->why = str_dup(w->a, buf_str(&b));
    return false;
}

bool infer_is_under(struct str dir, struct str path)
{
    return str_eq(dir, path) || str_eq(dir, STR("/")) ||
           (path.len > dir.len && str_starts(path, dir) && path.ptr[dir.len] == '/');
}

/* The first name that is not before `name`. */
static size_t lower_bound(const struct infer *w, struct str name)
{
    size_t lo = 0, hi = w->ask->n_names;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (str_cmp(w->ask->names[mid], name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool infer_has_file(const struct infer *w, struct str name)
{
    size_t i = lower_bound(w, name);
    return i < w->ask->n_names && str_eq(w->ask->names[i], name);
}

bool infer_has_folder(const struct infer *w, struct str name)
{
    if (str_eq(name, STR(".")))
        return true;
    struct str prefix = str_cat(w->a, name, STR("/"));
    size_t i = lower_bound(w, prefix);
    return i < w->ask->n_names && str_starts(w->ask->names[i], prefix);
}

/* `path` below `dir`, "." for `dir` itself. */
struct str infer_rel(struct str dir, struct str path)
{
    if (str_eq(dir, path))
        return STR(".");
    return str_from_off(path, dir.len + !str_eq(dir, STR("/")));
}

struct str infer_at(struct infer *w, struct str name)
{
    return str_eq(name, STR(".")) ? w->out->dir : path_join(w->a, w->out->dir, name);
}

bool infer_is_covered(const struct infer *w, struct str path)
{
    vec_foreach(dir, &w->out->covered) if (infer_is_under(*dir, path))
        return true;
    return false;
}

static void note_image_file(struct infer *w, struct str name)
{
    if (w->out->image_files.len < CTR_FILE_MAX_LIST && !str_list_has(&w->out->image_files, name))
        str_list_add(w->a, &w->out->image_files, str_dup(w->a, name));
}

static struct str clean_source(struct infer *w, struct str source)
{
    struct str name = path_clean(w->a, str_cat(w->a, STR("/"), source));
    return name.len > 1 ? str_from_off(name, 1) : STR(".");
}

/* --- the stage */

static int find_stage(const struct ctr_file *f, struct str name)
{
    for (size_t i = f->n_stages; i-- > 0;)
        if (!str_is_empty(f->stages[i].name) && str_eq_nocase(f->stages[i].name, name))
            return (int)i;
    return -1;
}

/* A last stage that copies the source itself, all of it or a folder, runs it: what is before only prepares. */
static bool takes_source(struct infer *w, const struct ctr_stage *stage)
{
    for (size_t i = 0; i < stage->n_steps; i++) {
        const struct ctr_step *step = &stage->steps[i];
        if (!step->is_copy || step->from != CTR_FROM_CONTEXT || step->is_odd || !infer_is_under(stage->workdir, step->dest))
            continue;
        vec_foreach(source, &step->sources) if (infer_has_folder(w, clean_source(w, *source)))
            return !str_is_empty(stage->workdir) && (stage->cmd.is_set || stage->entrypoint.is_set);
    }
    return false;
}

static bool choose_stage(struct infer *w, struct err *err)
{
    const struct ctr_file *f = w->f;
    const struct ctr_infer_ask *ask = w->ask;
    int last = (int)f->n_stages - 1, dev = find_stage(f, ask->dev_stage), at = last;
    if (!str_is_empty(ask->target)) {
        at = find_stage(f, ask->target);
        if (at < 0)
            w->out->warning = str_printf(w->a, "the Containerfile has no stage \"" STR_FMT "\": the whole image is built",
                                         STR_ARG(str_slice(ask->target, 0, 80)));
    } else if (dev < 0 && ask->is_stage_asked) {
        return err_set(err, ERR_INVALID, "dev_settings: the Containerfile has no stage \"" STR_FMT "\"", STR_ARG(ask->dev_stage));
    } else if (dev >= 0 && !f->stages[dev].has_entry) {
        return err_set(err, ERR_INVALID, "the stage \"" STR_FMT "\" of the Containerfile needs a CMD or ENTRYPOINT",
                       STR_ARG(f->stages[dev].name));
    } else if (dev >= 0) {
        at = dev;
    } else if (last > 0 && !str_is_empty(f->stages[last - 1].name) && !takes_source(w, &f->stages[last])) {
        at = last - 1;
    }
    w->at = at >= 0 ? at : last;
    w->run = &f->stages[w->at];
    w->final = &f->stages[last];
    w->out->target = w->at < last ? w->run->name : (struct str){0};
    for (int i = w->at; i >= 0; i = f->stages[i].base_stage)
        w->is_built[i] = true;
    return true;
}

/* The steps of the stage and of those that it builds on, in order. */
static void gather_steps(struct infer *w)
{
    for (int i = 0; i <= w->at; i++) {
        const struct ctr_stage *stage = &w->f->stages[i];
        for (size_t k = 0; w->is_built[i] && k < stage->n_steps; k++) {
            *vec_push(w->a, &w->steps) = &stage->steps[k];
            if (stage->steps[k].is_copy && stage->steps[k].from == CTR_FROM_CONTEXT)
                w->after = w->steps.len;
        }
    }
}

/* --- the folder, and what is copied there */

static bool choose_dir(struct infer *w)
{
    struct str dir = str_is_empty(w->ask->dir) ? w->run->workdir : w->ask->dir;
    if (str_is_empty(dir))
        return infer_give_up(w, "dir is needed, the folder in the container where the source is mounted: the Containerfile "
                                "has no WORKDIR");
    dir = path_clean(w->a, dir);
    if (str_eq(dir, STR("/")))
        return infer_give_up(w, "the source cannot be mounted at /: the Containerfile needs a WORKDIR of its own");
    w->out->dir = dir;
    return true;
}

static bool unfaithful(struct infer *w, const struct ctr_step *step, struct str name, struct str to)
{
    return infer_give_up(w, "line %d: " STR_FMT " is copied to " STR_FMT ", and would be at " STR_FMT " when the source is mounted at " STR_FMT,
                         step->line, STR_ARG(str_slice(name, 0, 80)), STR_ARG(str_slice(to, 0, 80)),
                         STR_ARG(str_slice(infer_at(w, name), 0, 80)), STR_ARG(w->out->dir));
}

static bool check_file_copy(struct infer *w, const struct ctr_step *step, struct str name)
{
    struct str dir = w->out->dir, to = step->is_into ? path_join(w->a, step->dest, path_base(name)) : step->dest;
    if (!infer_is_under(dir, to)) {
        note_image_file(w, name); /* the mount does not bring it up to date */
        return true;
    }
    w->n_copied++;
    return str_eq(to, infer_at(w, name)) || unfaithful(w, step, name, to);
}

static bool check_folder_copy(struct infer *w, const struct ctr_step *step, struct str name)
{
    struct str dir = w->out->dir;
    if (infer_is_under(dir, step->dest) || (infer_is_under(step->dest, dir) && str_eq(name, STR(".")))) {
        w->n_copied++;
        return str_eq(step->dest, infer_at(w, name)) || unfaithful(w, step, name, step->dest);
    }
    struct str prefix = str_cat(w->a, name, STR("/"));
    size_t n = 0;
    for (size_t i = str_eq(name, STR(".")) ? 0 : lower_bound(w, prefix);
         i < w->ask->n_names && (str_eq(name, STR(".")) || str_starts(w->ask->names[i], prefix)); i++) {
        if (++n > CTR_FILE_MAX_LIST)
            return infer_give_up(w, "line %d: many files of the source are copied to " STR_FMT ", which is not below " STR_FMT,
                                 step->line, STR_ARG(str_slice(step->dest, 0, 80)), STR_ARG(dir));
        note_image_file(w, w->ask->names[i]);
    }
    return true;
}

bool infer_is_pattern(struct str s)
{
    return str_chr(s, '*') != STR_NPOS || str_chr(s, '?') != STR_NPOS || str_chr(s, '[') != STR_NPOS;
}

static bool check_pattern_copy(struct infer *w, const struct ctr_step *step, struct str pattern)
{
    const char *z = str_z(w->a, pattern);
    for (size_t i = 0; i < w->ask->n_names; i++) {
        scoped_arena scratch = {0};
        struct str name = w->ask->names[i];
        if (w->budget == 0)
            return infer_give_up(w, "too many files to look at");
        w->budget--;
        /* A name that matches up to one of its slashes is in a folder that matches. */
        for (size_t n = 0; n <= name.len; n++) {
            if (n < name.len && name.ptr[n] != '/')
                continue;
            if (fnmatch(z, str_z(&scratch, str_slice(name, 0, n)), FNM_PATHNAME) != 0)
                continue;
            if (n < name.len)
                return infer_give_up(w, "line %d: \"" STR_FMT "\" copies folders", step->line, STR_ARG(str_slice(pattern, 0, 80)));
            if (!check_file_copy(w, step, name))
                return false;
        }
    }
    return true;
}

static bool check_copies(struct infer *w)
{
    for (size_t i = 0; i < w->steps.len; i++) {
        const struct ctr_step *step = w->steps.items[i];
        if (!step->is_copy || step->from != CTR_FROM_CONTEXT)
            continue;
        if (step->is_odd)
            return infer_give_up(w, "line %d: a COPY that is not understood", step->line);
        vec_foreach(source, &step->sources)
        {
            struct str name = clean_source(w, *source);
            bool ok = true;
            if (w->budget < 64)
                return infer_give_up(w, "too many files to look at");
            w->budget -= 64;
            if (infer_is_pattern(*source))
                ok = check_pattern_copy(w, step, name);
            else if (infer_has_file(w, name))
                ok = check_file_copy(w, step, name);
            else if (infer_has_folder(w, name))
                ok = check_folder_copy(w, step, name);
            if (!ok)
                return false;
        }
    }
    return w->n_copied > 0 || infer_give_up(w, "nothing of the source is copied to " STR_FMT ", where it would be mounted",
                                            STR_ARG(w->out->dir));
}

/* --- the steps that build */

/* Whatever a RUN installs from. */
static void note_manifests(struct infer *w)
{
    static const char *const names[] = {"package.json",   "package-lock.json", "yarn.lock",   "pnpm-lock.yaml",
                                        "bun.lock",       "bun.lockb",         ".npmrc",      "requirements.txt",
                                        "pyproject.toml", "uv.lock",           "poetry.lock", "Pipfile",
                                        "Pipfile.lock",   "setup.py",          "setup.cfg",   "Gemfile",
                                        "Gemfile.lock",   "composer.json",     "composer.lock", "go.mod",
                                        "go.sum",         "Cargo.toml",        "Cargo.lock",  "pom.xml",
                                        "build.gradle",   "build.gradle.kts",  ".dockerignore"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (infer_has_file(w, str_from(names[i])))
            note_image_file(w, str_from(names[i]));
}

/* Files that steps before the last COPY of the source work with, and what they do below `dir`. */
static bool judge_steps(struct infer *w)
{
    bool is_strict = str_is_empty(w->ask->dir);
    for (size_t i = 0; i < w->steps.len; i++) {
        const struct ctr_step *step = w->steps.items[i];
        if (step->is_copy)
            continue;
        if (infer_judge(w, step) != INFER_BUILDS)
            continue;
        if (i >= w->after)
            *vec_push(w->a, &w->builds) = step;
        else if (is_strict)
            return infer_give_up(w, "line %d: a RUN that may write to " STR_FMT ", which the mounted source would hide", step->line,
                                 STR_ARG(w->out->dir));
    }
    for (size_t i = 0; i < w->steps.len && i < w->after; i++) {
        const struct ctr_step *step = w->steps.items[i];
        if (!step->is_copy || step->from != CTR_FROM_CONTEXT || i + 1 >= w->after)
            continue;
        vec_foreach(source, &step->sources) if (infer_has_file(w, clean_source(w, *source)))
            note_image_file(w, clean_source(w, *source));
    }
    note_manifests(w);
    return true;
}

/* A COPY from another stage to where the source will hide it: folders of installed packages stay visible. */
static bool judge_copies(struct infer *w)
{
    static const char *const names[] = {"node_modules", ".venv", "venv", "vendor"};
    for (size_t i = 0; i < w->steps.len; i++) {
        const struct ctr_step *step = w->steps.items[i];
        bool is_known = false;
        if (!step->is_copy || step->from == CTR_FROM_CONTEXT || (!step->is_odd && !infer_is_under(w->out->dir, step->dest)))
            continue;
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            is_known |= str_eq_z(path_base(step->dest), names[k]);
        if (step->is_odd || !is_known || str_eq(step->dest, w->out->dir))
            return infer_give_up(w, "line %d: what is copied to " STR_FMT " would be hidden by the mounted source", step->line,
                                 STR_ARG(str_slice(step->dest, 0, 80)));
        if (!infer_is_covered(w, step->dest) && w->out->covered.len < CTR_FILE_MAX_LIST)
            str_list_add(w->a, &w->out->covered, step->dest);
    }
    return true;
}

static bool infer_all(struct infer *w, struct err *err)
{
    const struct ctr_infer_ask *ask = w->ask;
    if (!choose_stage(w, err))
        return false;
    if (!choose_dir(w))
        return true;
    w->out->command = ask->command;
    if (!str_is_empty(ask->command)) {
        w->out->is_fast = true;
        return true;
    }
    if (w->f->lacks_steps) {
        infer_give_up(w, "the Containerfile has too many steps");
        return true;
    }
    if (ask->has_build_dir && str_is_empty(ask->dir)) {
        infer_give_up(w, "build_dir is set, so that the image has only a part of the source");
        return true;
    }
    gather_steps(w);
    w->out->is_fast = (!str_is_empty(ask->dir) || (check_copies(w) && judge_copies(w))) && judge_steps(w) && infer_command(w);
    return true;
}

bool ctr_infer(struct arena *a, const struct ctr_infer_ask *ask, struct ctr_infer *out, struct err *err)
{
    struct ctr_infer got = {0};
    struct infer w = {.a = a, .ask = ask, .f = ask->file, .out = &got, .budget = 500 * 1000};
    if (!infer_all(&w, err))
        return false;
    *out = got;
    return true;
}
