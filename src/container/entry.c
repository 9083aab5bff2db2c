/* container/entry.c: the command of a dev app: from CMD and ENTRYPOINT, and what must be built before it.
 *
 * When the stage that is built says itself what it runs, that is run. Otherwise it is what the last stage runs, whose words
 * are led back to where the built stage has the same file:
 *
 *     final: COPY --from=builder /src/server /bin/server       CMD ["/bin/server"]      ->  /src/server
 *     final: COPY run.sh /run.sh                                CMD ["/run.sh"]          ->  <dir>/run.sh, as mounted
 * SPDX-License-Identifier: Apache-2.0 */
#include "infer_int.h"

enum { WORDS_MAX = 256 };

struct entry {
    struct infer *w;
    bool is_mapped;   /* words are of the last stage */
    bool is_rewritten;
    struct str_list words;
};

enum fate { KEEP, REWRITE, BAD };

/* --- where the built stage has a file of the last one */

struct origin {
    const struct ctr_step *step;
    size_t depth;      /* of its target: a longer one knows better */
    bool is_foreign;
    struct str path;   /* in the built stage */
};

/* What `source` of a COPY brings to `path`: itself, or something in it; false: nothing. */
static bool brings(struct entry *e, const struct ctr_step *step, struct str source, struct str path, struct origin *o)
{
    struct infer *w = e->w;
    bool is_context = step->from == CTR_FROM_CONTEXT;
    struct str abs = path_clean(w->a, str_cat(w->a, STR("/"), source));
    struct str into = path_join(w->a, step->dest, path_base(abs));
    struct str name = abs.len > 1 ? str_from_off(abs, 1) : STR(".");
    bool is_folder = is_context ? infer_has_folder(w, name) && !infer_has_file(w, name) : str_eq(abs, STR("/"));
    struct str rest = {0};
    if (!infer_is_under(step->dest, path))
        return false;
    if (step->is_into && !is_folder && str_eq(path, into))
        rest = STR(".");
    else if (!step->is_into && str_eq(path, step->dest))
        rest = STR(".");
    else if (!is_context || is_folder)
        rest = infer_rel(step->dest, path);
    else
        return false;
    struct str base = is_context ? infer_at(w, name) : abs;
    *o = (struct origin){.step = step, .depth = step->dest.len + (str_eq(rest, STR(".")) ? 10000 : 0)};
    o->is_foreign = infer_is_pattern(source) || (!is_context && (step->from < 0 || !w->is_built[step->from]));
    o->path = str_eq(rest, STR(".")) ? base : path_join(w->a, base, rest);
    return true;
}

/* The COPY of the stages that are not built which makes `path`. False when there are several, or one that is not understood;
 * out->step is NULL when there is none. */
static bool find_origin(struct entry *e, struct str path, struct origin *out)
{
    struct infer *w = e->w;
    bool is_sure = true;
    *out = (struct origin){0};
    for (int at = (int)w->f->n_stages - 1; at >= 0 && !w->is_built[at]; at = w->f->stages[at].base_stage) {
        const struct ctr_stage *stage = &w->f->stages[at];
        for (size_t i = 0; i < stage->n_steps; i++) {
            const struct ctr_step *step = &stage->steps[i];
            if (!step->is_copy)
                continue;
            if (step->is_odd) {
                is_sure &= !str_is_empty(step->dest) && !infer_is_under(step->dest, path);
                continue;
            }
            vec_foreach(source, &step->sources)
            {
                struct origin o;
                if (w->budget < 16)
                    return false;
                w->budget -= 16;
                if (!brings(e, step, *source, path, &o))
                    continue;
                if (out->step && o.depth == out->depth && !str_eq(o.path, out->path))
                    is_sure = false;
                if (!out->step || o.depth > out->depth)
                    *out = o;
            }
        }
    }
    return is_sure && !out->is_foreign;
}

static void note_artifact(struct infer *w, struct str path)
{
    struct str rel = infer_rel(w->out->dir, path);
    if (w->out->artifacts.len < CTR_FILE_MAX_LIST && !str_list_has(&w->out->artifacts, rel))
        str_list_add(w->a, &w->out->artifacts, rel);
}

static bool is_in_source(const struct infer *w, struct str path)
{
    struct str rel = infer_rel(w->out->dir, path);
    return infer_has_file(w, rel) || infer_has_folder(w, rel);
}

/* A path below the mount: of the source, of a folder that stays visible, or built at each start. */
static bool is_there(struct entry *e, struct str path)
{
    struct infer *w = e->w;
    if (!infer_is_under(w->out->dir, path) || is_in_source(w, path) || infer_is_covered(w, path))
        return true;
    if (w->builds.len == 0)
        return infer_give_up(w, STR_FMT " is run, and the source has no such file", STR_ARG(str_slice(path, 0, 200)));
    note_artifact(w, path);
    return true;
}

/* The last stage builds on the one that is built, and so has all that it has. */
static bool is_derived(const struct infer *w)
{
    int at = (int)w->f->n_stages - 1;
    while (at >= 0 && !w->is_built[at])
        at = w->f->stages[at].base_stage;
    return at >= 0;
}

/* A file that the built stage has from the source: the one that is mounted is newer. */
static bool copied_before(struct entry *e, struct str path, struct str *out)
{
    struct origin o;
    for (size_t i = 0; is_derived(e->w) && i < e->w->steps.len; i++) {
        const struct ctr_step *step = e->w->steps.items[i];
        if (!step->is_copy || step->is_odd || step->from != CTR_FROM_CONTEXT)
            continue;
        vec_foreach(source, &step->sources) if (brings(e, step, *source, path, &o) && !o.is_foreign)
        {
            *out = o.path;
            return true;
        }
    }
    return false;
}

/* --- words */

/* A program without a path that the last stage has copied to where programs are looked for. */
static enum fate map_program(struct entry *e, struct str word, struct str *out)
{
    static const char *const dirs[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        struct origin o;
        if (!find_origin(e, path_join(e->w->a, str_from(dirs[i]), word), &o)) {
            infer_give_up(e->w, "it cannot be told where " STR_FMT " comes from", STR_ARG(str_slice(word, 0, 200)));
            return BAD;
        }
        if (!o.step || (o.step->from != CTR_FROM_CONTEXT && o.depth < 10000))
            continue; /* a whole folder may have it, or not: the built stage then has it too, or not */
        *out = o.path;
        return is_there(e, o.path) ? REWRITE : BAD;
    }
    return KEEP;
}

static enum fate map_path(struct entry *e, struct str word, bool is_program, struct str *out)
{
    struct infer *w = e->w;
    struct str workdir = e->is_mapped ? w->final->workdir : w->out->dir;
    bool is_abs = path_is_abs(word), has_slash = str_chr(word, '/') != STR_NPOS;
    struct origin o = {0};
    if (!is_abs && str_is_empty(workdir))
        return has_slash ? BAD : is_program && e->is_mapped ? map_program(e, word, out) : KEEP;
    struct str path = is_abs ? path_clean(w->a, word) : path_join(w->a, workdir, word);
    if (e->is_mapped && !find_origin(e, path, &o)) {
        infer_give_up(w, "it cannot be told where " STR_FMT " comes from", STR_ARG(str_slice(word, 0, 200)));
        return BAD;
    }
    /* A plain word is a file when a COPY says so, or the source has it. */
    if (!has_slash && is_program && e->is_mapped && !(o.step && o.depth >= 10000)) {
        enum fate fate = map_program(e, word, out);
        if (fate != KEEP)
            return fate;
    }
    if (!has_slash && !is_in_source(w, infer_at(w, word)) && !(o.step && o.depth >= 10000))
        return KEEP;
    if (!has_slash && is_program && !o.step)
        return e->is_mapped ? BAD : KEEP;
    if (o.step) {
        *out = o.path;
        return is_there(e, o.path) ? REWRITE : BAD;
    }
    if (infer_is_under(w->out->dir, path))
        return is_there(e, path) ? KEEP : BAD;
    if (is_abs && e->is_mapped && copied_before(e, path, out))
        return REWRITE;
    if (is_abs)
        return is_program && e->is_mapped && !is_derived(w) ? BAD : KEEP;
    /* Relative to a folder that is another one here. */
    path = infer_at(w, path_clean(w->a, word));
    *out = path;
    return is_in_source(w, path) || infer_is_covered(w, path) ? REWRITE : BAD;
}

/* One word: itself, or the value of an option (--config=/x/y). */
static enum fate map_word(struct entry *e, struct str word, bool is_program, struct str *out)
{
    struct str name, value, mapped = {0};
    if (str_starts(word, STR("-"))) {
        if (!str_cut(word, '=', &name, &value) || !path_is_abs(value))
            return KEEP;
        enum fate fate = map_path(e, value, false, &mapped);
        *out = str_printf(e->w->a, STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(mapped));
        return fate;
    }
    if (str_is_empty(word) || str_chr(word, ':') != STR_NPOS || str_chr(word, '=') != STR_NPOS || str_chr(word, ',') != STR_NPOS)
        return KEEP;
    return map_path(e, word, is_program, out);
}

static bool bad(struct entry *e, struct str word)
{
    return infer_give_up(e->w, "it cannot be told what \"" STR_FMT "\" is in the stage that is built", STR_ARG(str_slice(word, 0, 200)));
}

/* --- as text for sh -c */

static bool is_safe(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("_-+=./:,@%", c);
}

static void add_quoted(struct buf *b, struct str word)
{
    bool is_plain = word.len > 0;
    for (size_t i = 0; i < word.len && is_plain; i++)
        is_plain = word.ptr[i] != '\0' && is_safe(word.ptr[i]);
    if (is_plain) {
        buf_add_str(b, word);
        return;
    }
    buf_add_char(b, '\'');
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] == '\'')
            buf_add_z(b, "'\\''");
        else
            buf_add_char(b, word.ptr[i]);
    }
    buf_add_char(b, '\'');
}

static bool exec_form(struct entry *e, const struct str_list *words, struct buf *out)
{
    buf_add_z(out, "exec");
    for (size_t i = 0; i < words->len; i++) {
        struct str word = words->items[i], mapped = {0};
        enum fate fate = map_word(e, word, i == 0, &mapped);
        if (fate == BAD)
            return bad(e, word);
        e->is_rewritten |= fate == REWRITE;
        buf_add_char(out, ' ');
        add_quoted(out, fate == REWRITE ? mapped : word);
    }
    return true;
}

/* Nothing but words: `exec` may stand before it. */
static bool is_simple(struct str text)
{
    static const char *const builtins[] = {"cd", "export", "set", "source", ".", "if", "for", "while", "exec", "eval", "trap",
                                           "ulimit", "umask", "case", "until", "{", "!", "[", "test"};
    struct str first;
    str_cut(text, ' ', &first, NULL);
    for (size_t i = 0; i < ARRAY_LEN(builtins); i++)
        if (str_eq_z(first, builtins[i]))
            return false;
    for (size_t i = 0; i < text.len; i++)
        if (strchr(";|&<>()`\n#", text.ptr[i]))
            return false;
    return str_chr(first, '=') == STR_NPOS;
}

static bool shell_form(struct entry *e, struct str text, struct buf *out)
{
    struct infer *w = e->w;
    scoped_buf b = BUF_INIT(64 << 10);
    bool is_program = true, has_substitution = str_find(text, STR("$(")) != STR_NPOS || str_chr(text, '`') != STR_NPOS;
    size_t n = 0;
    struct str all = text, word;
    while (str_next(&text, ' ', &word)) {
        struct str plain = {0}, mapped = {0};
        char c = word.len > 0 ? word.ptr[word.len - 1] : ' ';
        bool ends = c == ';' || c == '&' || c == '|';
        if (++n > WORDS_MAX * 4)
            return infer_give_up(w, "the command is too long");
        if (b.len > 0)
            buf_add_char(&b, ' ');
        plain = str_trim_right(word, ';');
        bool is_odd = false;
        for (size_t i = 0; i < plain.len; i++)
            is_odd |= strchr("\"'\\$`(){}<>|&*?~", plain.ptr[i]) != NULL;
        if (is_odd) {
            /* Whatever it becomes: a path in it may need another one. */
            if (str_chr(plain, '/') != STR_NPOS && (is_program || e->is_mapped) && !str_starts(plain, STR("2>")) && !str_starts(plain, STR(">")))
                return infer_give_up(w, "the path in " STR_FMT " is not known beforehand", STR_ARG(str_slice(plain, 0, 200)));
            buf_add_str(&b, word);
        } else {
            bool is_own_name = str_eq(plain, STR("exec")) || str_chr(plain, '=') != STR_NPOS;
            enum fate fate = map_word(e, plain, is_program && !is_own_name, &mapped);
            if (fate == BAD)
                return bad(e, plain);
            e->is_rewritten |= fate == REWRITE;
            buf_add_str(&b, fate == REWRITE ? mapped : plain);
            if (word.len > plain.len)
                buf_add_str(&b, str_from_off(word, plain.len));
            if (is_own_name)
                continue;
        }
        is_program = ends || str_is_empty(word);
    }
    if (has_substitution && e->is_rewritten)
        return infer_give_up(w, "a command substitution may name files that are elsewhere");
    if (is_simple(all))
        buf_add_z(out, "exec ");
    buf_add_str(out, buf_str(&b));
    return true;
}

static bool entry_text(struct entry *e, const struct ctr_stage *stage, struct buf *out)
{
    const struct ctr_words *entrypoint = &stage->entrypoint, *cmd = &stage->cmd;
    const struct ctr_words *first = entrypoint->is_set ? entrypoint : cmd;
    struct str_list words = {0};
    if (first->is_shell && stage->has_own_shell)
        return infer_give_up(e->w, "the command is for another shell than sh");
    if (first->is_shell)
        return shell_form(e, first->text, out);
    vec_foreach(word, &first->items) str_list_add(e->w->a, &words, *word);
    if (entrypoint->is_set && cmd->is_set && cmd->is_shell)
        return infer_give_up(e->w, "CMD is given to ENTRYPOINT as a line for the shell");
    if (entrypoint->is_set && cmd->is_set)
        vec_foreach(word, &cmd->items) str_list_add(e->w->a, &words, *word);
    return exec_form(e, &words, out);
}

/* --- building at each start */

static bool add_build(struct infer *w, const struct ctr_step *step, struct buf *out)
{
    const char *why = step->is_odd ? "has a here-document or flags" : step->is_exec ? "is not for the shell"
                      : step->has_own_shell                         ? "is for another shell than sh"
                      : step->uses_args                             ? "uses a build argument"
                                                                    : NULL;
    if (why)
        return infer_give_up(w, "line %d: a RUN that would have to run at each start %s", step->line, why);
    if (!str_is_empty(w->run->user) && !str_eq(w->run->user, STR("root")) && !str_eq(w->run->user, STR("0")))
        return infer_give_up(w, "line %d: a RUN would have to run at each start, as USER " STR_FMT, step->line,
                             STR_ARG(str_slice(w->run->user, 0, 80)));
    bool is_plain = true, is_here = str_eq(step->workdir, w->out->dir);
    for (size_t i = 0; i < step->text.len; i++)
        is_plain &= !strchr(";|&#\n", step->text.ptr[i]);
    if (!is_here) {
        buf_add_z(out, "(cd ");
        add_quoted(out, step->workdir);
        buf_add_z(out, " && ");
    }
    buf_printf(out, is_plain ? STR_FMT : "{ " STR_FMT "\n}", STR_ARG(step->text));
    buf_add_z(out, is_here ? " && " : ") && ");
    vec_foreach(cache, &step->caches)
    {
        if (w->out->caches.len < CTR_FILE_MAX_LIST && !str_list_has(&w->out->caches, *cache))
            str_list_add(w->a, &w->out->caches, *cache);
    }
    return true;
}

/* RUNs that make what is run: those that build, or, when files are needed that nothing seems to build, all. */
static bool choose_builds(struct infer *w)
{
    if (w->out->artifacts.len == 0 || w->builds.len > 0)
        return true;
    return infer_give_up(w, "no RUN after the last COPY of the source makes " STR_FMT, STR_ARG(w->out->artifacts.items[0]));
}

static void take_env(struct infer *w)
{
    int stages[CTR_FILE_MAX_STAGES];
    size_t n = 0;
    for (int at = (int)w->f->n_stages - 1; at >= 0 && !w->is_built[at]; at = w->f->stages[at].base_stage)
        stages[n++] = at;
    while (n-- > 0) {
        const struct ctr_kv_list *env = &w->f->stages[stages[n]].own_env;
        for (size_t i = 0; i < env->len; i++)
            ctr_kv_set(w->a, &w->out->env, env->items[i].key, env->items[i].value);
    }
}

static bool sets_path(const struct infer *w)
{
    for (int at = (int)w->f->n_stages - 1; at >= 0 && !w->is_built[at]; at = w->f->stages[at].base_stage) {
        const struct ctr_stage *stage = &w->f->stages[at];
        const struct str *own = ctr_kv_get(&stage->env, STR("PATH"));
        const struct str *base = stage->base_stage >= 0 ? ctr_kv_get(&w->f->stages[stage->base_stage].env, STR("PATH")) : NULL;
        if (own && (!base || !str_eq(*own, *base)))
            return true;
    }
    return false;
}

bool infer_command(struct infer *w)
{
    bool is_own = w->run->entrypoint.is_set || w->run->cmd.is_set;
    const struct ctr_stage *stage = is_own ? w->run : w->final;
    struct entry e = {.w = w, .is_mapped = !is_own && w->run != w->final};
    scoped_buf text = BUF_INIT(64 << 10), entry = BUF_INIT(64 << 10);
    /* The image's own, whatever it is. With the folder given, who gave it knows that it works. */
    if ((!is_own && w->run == w->final && w->builds.len == 0) || (is_own && !str_is_empty(w->ask->dir)))
        return true;
    if (!stage->entrypoint.is_set && !stage->cmd.is_set)
        return infer_give_up(w, "command is needed: the Containerfile has no CMD or ENTRYPOINT for \"" STR_FMT "\"",
                             STR_ARG(w->run->name));
    if (e.is_mapped && sets_path(w))
        return infer_give_up(w, "the last stage sets PATH for its command");
    if (!entry_text(&e, stage, &entry) || !choose_builds(w))
        return false;
    if (e.is_mapped)
        take_env(w);
    if (is_own && w->builds.len == 0)
        return true;
    for (size_t i = 0; i < w->builds.len; i++)
        if (!add_build(w, w->builds.items[i], &text))
            return false;
    buf_add_str(&text, buf_str(&entry));
    if (text.is_full || entry.is_full)
        return infer_give_up(w, "the command is too long");
    w->out->command = str_dup(w->a, buf_str(&text));
    w->out->is_own_command = true;
    w->out->builds = w->builds.len > 0;
    return true;
}
