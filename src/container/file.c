/* container/file.c: reads a Containerfile for what we need to know before building it.
 *
 * Text -> logical lines (comments dropped, continuations joined, here-documents skipped) -> instructions.
 * Everything is bounded: the text, the number of stages, variables and list items, the length of a
 * value and, through `budget`, all that substitution may write.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"
#include "json.h"

enum { SUBST_BUDGET = 4 << 20, SUBST_DEPTH = 8, MAX_HEREDOCS = 16 };

/* What a stage knows while it is being read. */
struct scope {
    struct ctr_kv_list env;  /* ENV, inherited by stages built on this one */
    struct ctr_kv_list args; /* ARG, this stage's own */
    VEC(uint16_t) ports;
    uint16_t port;
    VEC(struct ctr_step) steps;
    bool has_cmd;            /* a CMD of its own */
};

struct parser {
    struct arena *arena;
    struct str rest; /* text not read yet */
    int line;        /* number of the physical line read last */
    int at;          /* line where the current instruction starts */
    char escape;
    size_t budget;
    const struct ctr_kv_list *given; /* build arguments */
    struct ctr_kv_list global;       /* ARG before the first FROM */
    VEC(struct ctr_stage) stages;
    VEC(struct scope) scopes; /* one per stage */
    size_t n_steps;          /* of all stages */
    struct ctr_file *out;
    struct err *err;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str skip_blank(struct str s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = str_from_off(s, 1);
    return s;
}

static struct str take_word(struct str *s)
{
    size_t n = 0;
    *s = skip_blank(*s);
    while (n < s->len && !is_blank(s->ptr[n]))
        n++;
    struct str word = str_slice(*s, 0, n);
    *s = skip_blank(str_from_off(*s, n));
    return word;
}

static bool next_physical(struct parser *p, struct str *line)
{
    if (!p->rest.ptr || p->rest.len == 0)
        return false;
    str_cut(p->rest, '\n', line, &p->rest);
    p->line++;
    if (line->len > 0 && line->ptr[line->len - 1] == '\r')
        line->len--;
    return true;
}

/* The next instruction with its continuation lines joined; false at the end. Comment lines and empty lines
 * do not end a continuation. */
static bool next_logical(struct parser *p, struct str *out)
{
    struct str line;
    scoped_buf joined = BUF_INIT(CTR_FILE_MAX);
    bool has_more = false;
    while (next_physical(p, &line)) {
        struct str text = str_trim(line);
        if (text.len == 0 || text.ptr[0] == '#')
            continue;
        if (!has_more)
            p->at = p->line;
        has_more = text.ptr[text.len - 1] == p->escape;
        struct str part = has_more ? str_slice(text, 0, text.len - 1) : text;
        if (!has_more && joined.len == 0) {
            *out = part;
            return true;
        }
        /* Leading blanks of a continuation stay: they separate words. */
        if (joined.len > 0 && line.len > 0 && is_blank(line.ptr[0]))
            buf_add_char(&joined, ' ');
        buf_add_str(&joined, part);
        if (!has_more)
            break;
    }
    if (joined.len == 0)
        return false;
    *out = str_trim(str_dup(p->arena, buf_str(&joined)));
    return true;
}

/* --- Variables --- */

static struct str lookup(const struct parser *p, const struct scope *sc, struct str name, bool *is_set)
{
    const struct str *v = sc ? ctr_kv_get(&sc->env, name) : NULL;
    if (!v)
        v = sc ? ctr_kv_get(&sc->args, name) : ctr_kv_get(&p->global, name);
    *is_set = v != NULL;
    return v ? *v : (struct str){0};
}

struct expand {
    struct parser *p;
    const struct scope *scope; /* NULL: global arguments only */
    struct buf *out;
    struct str missing; /* first variable without a value */
};

static bool is_name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static size_t name_len(struct str s)
{
    size_t n = 0;
    while (n < s.len && is_name_char(s.ptr[n], n == 0))
        n++;
    return n;
}

static void emit(struct expand *x, struct str s)
{
    size_t n = MIN(s.len, x->p->budget);
    x->p->budget -= n;
    if (!buf_add_str(x->out, str_slice(s, 0, n)))
        buf_add(x->out, s.ptr, MIN(n, x->out->max - x->out->len));
}

static void expand_text(struct expand *x, struct str s, int depth);

/* Length of the text after "${" up to its own '}', which may hold further "${...}"; STR_NPOS without. */
static size_t brace_len(struct str s)
{
    int open = 1;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '$' && i + 1 < s.len && s.ptr[i + 1] == '{')
            open++;
        else if (s.ptr[i] == '}' && --open == 0)
            return i;
    }
    return STR_NPOS;
}

/* The inside of ${...}: NAME, NAME:-word, NAME-word, NAME:+word, NAME+word. */
static void expand_brace(struct expand *x, struct str inside, int depth)
{
    bool is_set;
    size_t n = name_len(inside);
    struct str name = str_slice(inside, 0, n), word = str_from_off(inside, n);
    struct str value = lookup(x->p, x->scope, name, &is_set);
    bool has_colon = word.len > 0 && word.ptr[0] == ':';
    if (has_colon)
        word = str_from_off(word, 1);
    bool counts = is_set && (!has_colon || value.len > 0);
    char op = word.len > 0 ? word.ptr[0] : '\0';
    word = str_from_off(word, 1);
    if (op == '-' && !counts) {
        expand_text(x, word, depth + 1);
    } else if (op == '+') {
        if (counts)
            expand_text(x, word, depth + 1);
    } else {
        if (!is_set && x->missing.len == 0)
            x->missing = name;
        emit(x, value);
    }
}

static void expand_text(struct expand *x, struct str s, int depth)
{
    char quote = '\0';
    for (size_t i = 0; i < s.len && depth <= SUBST_DEPTH; i++) {
        char c = s.ptr[i];
        if (c == x->p->escape && quote != '\'' && i + 1 < s.len) {
            emit(x, str_slice(s, i + 1, i + 2));
            i++;
        } else if ((c == '"' || c == '\'') && (quote == '\0' || quote == c)) {
            quote = quote ? '\0' : c;
        } else if (c == '$' && quote != '\'' && i + 1 < s.len && s.ptr[i + 1] == '{') {
            struct str inside = str_from_off(s, i + 2);
            size_t n = brace_len(inside);
            if (n == STR_NPOS)
                return;
            expand_brace(x, str_slice(inside, 0, n), depth);
            i += n + 2;
        } else if (c == '$' && quote != '\'' && i + 1 < s.len && is_name_char(s.ptr[i + 1], true)) {
            size_t n = name_len(str_from_off(s, i + 1));
            bool is_set;
            struct str name = str_slice(s, i + 1, i + 1 + n);
            struct str value = lookup(x->p, x->scope, name, &is_set);
            if (!is_set && x->missing.len == 0)
                x->missing = name;
            emit(x, value);
            i += n;
        } else {
            emit(x, str_slice(s, i, i + 1));
        }
    }
}

/* `s` with variables replaced and quotes removed; *missing the first variable that has no value. */
static struct str resolve(struct parser *p, const struct scope *sc, struct str s, struct str *missing)
{
    bool is_plain = true;
    for (size_t i = 0; i < s.len && is_plain; i++)
        is_plain = s.ptr[i] != '$' && s.ptr[i] != '"' && s.ptr[i] != '\'' && s.ptr[i] != p->escape;
    *missing = (struct str){0};
    if (is_plain)
        return str_slice(s, 0, CTR_FILE_MAX_VALUE);
    scoped_buf out = BUF_INIT(CTR_FILE_MAX_VALUE);
    struct expand x = {.p = p, .scope = sc, .out = &out};
    expand_text(&x, s, 0);
    *missing = x.missing;
    return str_dup(p->arena, buf_str(&out));
}

/* A word that may hold quoted blanks: up to a blank outside quotes. */
static struct str take_quoted_word(const struct parser *p, struct str *s)
{
    char quote = '\0';
    size_t n = 0;
    *s = skip_blank(*s);
    for (; n < s->len && (quote || !is_blank(s->ptr[n])); n++) {
        char c = s->ptr[n];
        if (c == p->escape && quote != '\'' && n + 1 < s->len)
            n++;
        else if ((c == '"' || c == '\'') && (quote == '\0' || quote == c))
            quote = quote ? '\0' : c;
    }
    struct str word = str_slice(*s, 0, n);
    *s = skip_blank(str_from_off(*s, n));
    return word;
}

static bool fail(const struct parser *p, const char *what)
{
    return err_set(p->err, ERR_INVALID, "Containerfile line %d: %s", p->at, what);
}

static bool var_set(struct parser *p, struct ctr_kv_list *l, struct str name, struct str value)
{
    if (l->len >= CTR_FILE_MAX_VARS && !ctr_kv_get(l, name))
        return fail(p, "too many variables");
    ctr_kv_set(p->arena, l, name, value);
    return true;
}

/* --- Instructions --- */

static struct scope *scope_now(struct parser *p)
{
    return p->scopes.len > 0 ? &p->scopes.items[p->scopes.len - 1] : NULL;
}

static int stage_find(const struct parser *p, struct str name)
{
    for (size_t i = p->stages.len; i-- > 0;) {
        if (p->stages.items[i].name.len > 0 && str_eq_nocase(p->stages.items[i].name, name))
            return (int)i;
    }
    return -1;
}

static bool image_add(struct parser *p, struct str name)
{
    if (name.len == 0 || str_eq(name, STR("scratch")) || str_list_has(&p->out->images, name))
        return true;
    if (p->out->images.len >= CTR_FILE_MAX_LIST)
        return fail(p, "too many images");
    str_list_add(p->arena, &p->out->images, name);
    return true;
}

/* FROM [--platform=...] image [AS name] */
static bool do_from(struct parser *p, struct str args)
{
    struct str word = take_word(&args), missing;
    while (str_starts(word, STR("--")))
        word = take_word(&args);
    if (p->stages.len >= CTR_FILE_MAX_STAGES)
        return fail(p, "too many stages");
    struct str base = resolve(p, NULL, word, &missing);
    if (base.len == 0 && missing.len > 0)
        return err_set(p->err, ERR_INVALID,
                       "Containerfile line %d: FROM " STR_FMT ": " STR_FMT " has no value; give it a default "
                       "with ARG before the first FROM, or pass it as a build argument",
                       p->at, STR_ARG(word), STR_ARG(missing));
    if (base.len == 0)
        return fail(p, "FROM without an image");
    struct ctr_stage stage = {.base = base, .line = p->at, .base_stage = stage_find(p, base)};
    if (str_eq_nocase(take_word(&args), STR("AS")))
        stage.name = str_lower(p->arena, take_word(&args));
    if (stage.base_stage < 0 && !image_add(p, base))
        return false;
    struct scope sc = {0};
    if (stage.base_stage >= 0) {
        const struct ctr_stage *base_stage = &p->stages.items[stage.base_stage];
        stage.workdir = base_stage->workdir;
        stage.entrypoint = base_stage->entrypoint;
        stage.cmd = base_stage->cmd;
        stage.has_own_shell = base_stage->has_own_shell;
        stage.user = base_stage->user;
        const struct scope *from = &p->scopes.items[stage.base_stage];
        for (size_t i = 0; i < from->env.len; i++)
            *vec_push(p->arena, &sc.env) = from->env.items[i];
        for (size_t i = 0; i < from->ports.len; i++)
            *vec_push(p->arena, &sc.ports) = from->ports.items[i];
        sc.port = from->port;
    }
    *vec_push(p->arena, &p->stages) = stage;
    struct scope *added = vec_push(p->arena, &p->scopes);
    *added = sc;
    return true;
}

static bool note_arg(struct parser *p, struct str name, struct str value)
{
    struct ctr_kv_list *all = &p->out->args;
    const struct str *known = ctr_kv_get(all, name);
    return (known && known->len > 0) || var_set(p, all, name, value);
}

/* ARG NAME[=default] ...: a build argument given wins, then the default, then the global ARG. */
static bool do_arg(struct parser *p, struct str args)
{
    struct scope *sc = scope_now(p);
    struct str missing;
    while (args.len > 0) {
        struct str word = take_quoted_word(p, &args), name, value;
        bool has_default = str_cut(word, '=', &name, &value);
        const struct str *given = ctr_kv_get(p->given, name);
        const struct str *global = sc ? ctr_kv_get(&p->global, name) : NULL;
        if (name.len == 0)
            return fail(p, "ARG without a name");
        if (given)
            value = str_slice(*given, 0, CTR_FILE_MAX_VALUE);
        else if (has_default)
            value = resolve(p, sc, value, &missing);
        else if (global)
            value = *global;
        if (!note_arg(p, name, value))
            return false;
        if (!given && !has_default && !global)
            continue;
        if (!var_set(p, sc ? &sc->args : &p->global, name, value))
            return false;
    }
    return true;
}

static struct ctr_stage *stage_now(struct parser *p)
{
    return &p->stages.items[p->stages.len - 1];
}

/* ENV name=value ... or ENV name the rest of the line */
static bool do_env(struct parser *p, struct str args)
{
    struct scope *sc = scope_now(p);
    struct ctr_kv_list *own = &stage_now(p)->own_env;
    struct str missing, peek = args, first = take_quoted_word(p, &peek);
    if (str_chr(first, '=') == STR_NPOS) {
        struct str value = resolve(p, sc, peek, &missing);
        return first.len == 0 || (var_set(p, &sc->env, first, value) && (missing.len > 0 || var_set(p, own, first, value)));
    }
    /* Values of one line see the variables of earlier lines only. */
    size_t n = 0;
    struct ctr_kv added[CTR_FILE_MAX_VARS];
    bool is_known[CTR_FILE_MAX_VARS];
    while (args.len > 0) {
        struct str word = take_quoted_word(p, &args), name, value;
        if (!str_cut(word, '=', &name, &value) || name.len == 0)
            continue;
        if (n == ARRAY_LEN(added))
            return fail(p, "too many variables");
        added[n] = (struct ctr_kv){name, resolve(p, sc, value, &missing)};
        is_known[n++] = missing.len == 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (!var_set(p, &sc->env, added[i].key, added[i].value) ||
            (is_known[i] && !var_set(p, own, added[i].key, added[i].value)))
            return false;
    }
    return true;
}

/* "8000", "8000/tcp", "8000-8005/tcp": the first port; 0 if it is none that can be proxied. */
static uint16_t port_parse(struct str s)
{
    struct str number, proto;
    uint64_t n = 0;
    if (str_cut(s, '/', &number, &proto) && !str_eq_nocase(proto, STR("tcp")))
        return 0;
    str_cut(number, '-', &number, NULL);
    return str_to_u64(number, &n) && n > 0 && n < 65536 ? (uint16_t)n : 0;
}

static bool do_expose(struct parser *p, struct str args)
{
    struct scope *sc = scope_now(p);
    struct str all = args;
    uint16_t first = 0;
    while (args.len > 0) {
        struct str missing, word = take_quoted_word(p, &args), text = resolve(p, sc, word, &missing);
        while (text.len > 0) { /* a variable may hold several ports */
            struct str one = take_word(&text);
            uint16_t port = port_parse(one);
            if (port == 0) {
                bool is_expanded = !str_eq(one, word);
                bool is_tcp = !str_ends(one, STR("/udp")) && !str_ends(one, STR("/sctp"));
                p->out->port_problem =
                    str_printf(p->arena, "line %d: EXPOSE " STR_FMT "%s" STR_FMT "%s: %s", p->at,
                               STR_ARG(str_slice(all, 0, 80)), is_expanded ? " (" : "",
                               STR_ARG(str_slice(one, 0, is_expanded ? 80 : 0)), is_expanded ? ")" : "",
                               is_tcp ? "not a port number" : "apps are served over TCP");
                continue;
            }
            if (sc->ports.len >= CTR_FILE_MAX_LIST)
                return fail(p, "too many ports");
            *vec_push(p->arena, &sc->ports) = port;
            first = first ? first : port;
        }
        if (missing.len > 0)
            p->out->port_problem =
                str_printf(p->arena,
                           "line %d: EXPOSE " STR_FMT ": " STR_FMT " has no value; give it a "
                           "default with ARG or ENV",
                           p->at, STR_ARG(str_slice(all, 0, 80)), STR_ARG(str_slice(missing, 0, 80)));
    }
    if (first)
        sc->port = first;
    return true;
}

static bool volume_add(struct parser *p, struct str word)
{
    struct str missing, v = resolve(p, scope_now(p), word, &missing);
    if (v.len == 0 || str_list_has(&p->out->volumes, v))
        return true;
    if (p->out->volumes.len >= CTR_FILE_MAX_LIST)
        return fail(p, "too many volumes");
    str_list_add(p->arena, &p->out->volumes, v);
    return true;
}

/* VOLUME ["/a", "/b"] or VOLUME /a /b */
static bool do_volume(struct parser *p, struct str args)
{
    if (args.len > 0 && args.ptr[0] == '[') {
        scoped_err ignored = {0};
        scoped_json *list = json_parse(args, &ignored);
        if (json_is_array(list)) {
            size_t i;
            json_t *item;
            json_array_foreach(list, i, item) {
                if (!volume_add(p, str_dup(p->arena, json_str(item))))
                    return false;
            }
            return true;
        }
    }
    while (args.len > 0) {
        if (!volume_add(p, take_quoted_word(p, &args)))
            return false;
    }
    return true;
}

/* A stage by name or number is no image. */
static bool from_add(struct parser *p, struct str name)
{
    uint64_t n;
    if (stage_find(p, name) >= 0 || (str_to_u64(name, &n) && n < p->stages.len) ||
        str_chr(name, '$') != STR_NPOS)
        return true;
    return image_add(p, name);
}

/* COPY and ADD --from=X --link ..., RUN --mount=type=...,from=X ... */
static bool do_flags(struct parser *p, struct str args)
{
    struct str rest = args;
    for (struct str w = take_word(&rest); str_starts(w, STR("--")); w = take_word(&rest)) {
        struct str name, value;
        str_cut(str_from_off(w, 2), '=', &name, &value);
        if (str_eq(name, STR("from"))) {
            if (!from_add(p, value))
                return false;
            continue;
        }
        if (str_eq(name, STR("chown")))
            continue;
        p->out->needs_buildkit = true;
        struct str part;
        while (str_eq(name, STR("mount")) && str_next(&value, ',', &part)) {
            if (str_starts(part, STR("from=")) && !from_add(p, str_from_off(part, 5)))
                return false;
        }
    }
    return true;
}

/* --- Here-documents --- */

/* The delimiter if `word` is [digits]<<[-]NAME, quotes around NAME removed. */
static bool heredoc_word(struct str word, struct str *name, bool *strips_tabs)
{
    size_t i = 0;
    while (i < word.len && word.ptr[i] >= '0' && word.ptr[i] <= '9')
        i++;
    if (i + 2 >= word.len || word.ptr[i] != '<' || word.ptr[i + 1] != '<')
        return false;
    struct str rest = str_from_off(word, i + 2);
    *strips_tabs = rest.ptr[0] == '-';
    if (*strips_tabs)
        rest = str_from_off(rest, 1);
    if (rest.len >= 2 && (rest.ptr[0] == '"' || rest.ptr[0] == '\'') && rest.ptr[rest.len - 1] == rest.ptr[0])
        rest = str_slice(rest, 1, rest.len - 1);
    if (rest.len == 0 || name_len(rest) != rest.len)
        return false;
    *name = rest;
    return true;
}

/* Skips the here-documents that an instruction opens, in order. */
static bool skip_heredocs(struct parser *p, struct str args)
{
    struct str names[MAX_HEREDOCS];
    bool strips[MAX_HEREDOCS];
    size_t n = 0;
    while (args.len > 0) {
        struct str word = take_quoted_word(p, &args);
        if (n < MAX_HEREDOCS && heredoc_word(word, &names[n], &strips[n]))
            n++;
    }
    for (size_t i = 0; i < n; i++) {
        struct str line;
        p->out->needs_buildkit = true;
        for (;;) {
            if (!next_physical(p, &line))
                return err_set(p->err, ERR_INVALID,
                               "Containerfile line %d: the here-document " STR_FMT " has no end", p->at,
                               STR_ARG(str_slice(names[i], 0, 80)));
            while (strips[i] && line.len > 0 && line.ptr[0] == '\t')
                line = str_from_off(line, 1);
            if (str_eq(line, names[i]))
                break;
        }
    }
    return true;
}

/* --- Steps --- */

/* The strings of a JSON array, in which form instructions may give their words; false if it is none. */
static bool json_words(struct parser *p, struct str args, struct str_list *out)
{
    scoped_err ignored = {0};
    size_t i;
    json_t *item;
    if (!str_starts(args, STR("[")))
        return false;
    scoped_json *list = json_parse(args, &ignored);
    if (!json_is_array(list))
        return false;
    json_array_foreach(list, i, item) {
        if (!json_is_string(item) || out->len >= CTR_FILE_MAX_LIST)
            return false;
        str_list_add(p->arena, out, str_dup(p->arena, json_str(item)));
    }
    return true;
}

static bool has_heredoc(const struct parser *p, struct str args)
{
    struct str name;
    bool strips;
    while (args.len > 0)
        if (heredoc_word(take_quoted_word(p, &args), &name, &strips))
            return true;
    return false;
}

/* A variable in shell text that is a build argument and nothing else. */
static bool uses_args(struct parser *p, struct str text)
{
    const struct scope *sc = scope_now(p);
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] != '$')
            continue;
        struct str rest = str_from_off(text, i + (text.ptr[i + 1] == '{' ? 2 : 1));
        struct str name = str_slice(rest, 0, name_len(rest));
        if (name.len > 0 && ctr_kv_get(&sc->args, name) && !ctr_kv_get(&sc->env, name))
            return true;
    }
    return false;
}

/* --mount=type=cache,target=/x, with what else it says about the cache. */
static bool cache_mount(struct parser *p, struct str value, struct str_list *out)
{
    static const char *const fine[] = {"id", "sharing", "mode", "uid", "gid"};
    struct str part, target = {0}, missing;
    bool is_cache = false;
    while (str_next(&value, ',', &part)) {
        struct str key, v;
        bool is_known = false;
        str_cut(part, '=', &key, &v);
        for (size_t i = 0; i < ARRAY_LEN(fine); i++)
            is_known |= str_eq_z(key, fine[i]);
        if (str_eq(key, STR("type")))
            is_cache = str_eq(v, STR("cache"));
        else if (str_eq(key, STR("target")) || str_eq(key, STR("dst")) || str_eq(key, STR("destination")))
            target = resolve(p, scope_now(p), v, &missing);
        else if (!is_known)
            return false;
    }
    if (!is_cache || !path_is_abs(target) || out->len >= CTR_FILE_MAX_LIST)
        return false;
    str_list_add(p->arena, out, path_clean(p->arena, target));
    return true;
}

static void run_step(struct parser *p, struct str args, struct ctr_step *step)
{
    struct str_list ignored = {0};
    step->is_odd = has_heredoc(p, args);
    while (str_starts(args, STR("--"))) {
        struct str name, value;
        str_cut(str_from_off(take_word(&args), 2), '=', &name, &value);
        step->is_odd |= !str_eq(name, STR("mount")) || !cache_mount(p, value, &step->caches);
    }
    step->text = args;
    step->is_exec = json_words(p, args, &ignored);
    step->has_own_shell = stage_now(p)->has_own_shell;
    step->uses_args = uses_args(p, args);
}

static int copy_from(struct parser *p, struct str name)
{
    struct str missing;
    uint64_t n;
    name = resolve(p, NULL, name, &missing);
    int stage = stage_find(p, name);
    if (stage < 0 && str_to_u64(name, &n) && n + 1 < p->stages.len)
        stage = (int)n;
    return stage >= 0 && (size_t)stage + 1 < p->stages.len ? stage : CTR_FROM_OTHER;
}

static void copy_flags(struct parser *p, struct str *args, struct ctr_step *step)
{
    static const char *const fine[] = {"chown", "chmod", "link", "checksum", "keep-git-dir"};
    while (str_starts(*args, STR("--"))) {
        struct str name, value;
        bool is_known = false;
        str_cut(str_from_off(take_word(args), 2), '=', &name, &value);
        for (size_t i = 0; i < ARRAY_LEN(fine); i++)
            is_known |= str_eq_z(name, fine[i]);
        if (str_eq(name, STR("from")))
            step->from = copy_from(p, value);
        else
            step->is_odd |= !is_known;
    }
}

static void copy_step(struct parser *p, struct str args, struct ctr_step *step)
{
    struct str_list words = {0};
    struct str missing;
    step->from = CTR_FROM_CONTEXT;
    step->is_odd = has_heredoc(p, args);
    copy_flags(p, &args, step);
    if (json_words(p, args, &words))
        args = (struct str){0};
    else
        words.len = 0;
    while (args.len > 0 && words.len < CTR_FILE_MAX_LIST)
        str_list_add(p->arena, &words, take_quoted_word(p, &args));
    for (size_t i = 0; i < words.len; i++) {
        words.items[i] = resolve(p, scope_now(p), words.items[i], &missing);
        step->is_odd |= missing.len > 0 || words.items[i].len == 0;
    }
    if (words.len < 2 || args.len > 0) {
        step->is_odd = true;
        return;
    }
    struct str dest = words.items[--words.len];
    step->sources = words;
    step->is_into = words.len > 1 || str_ends(dest, STR("/")) || str_eq(dest, STR(".")) || str_ends(dest, STR("/."));
    if (path_is_abs(dest))
        step->dest = path_clean(p->arena, dest);
    else if (step->workdir.len > 0)
        step->dest = path_join(p->arena, step->workdir, dest);
    step->is_odd |= step->dest.len == 0;
    /* A folder that is there already takes what is copied to it. */
    step->is_into |= step->workdir.len > 0 && (str_eq(step->dest, step->workdir) || str_eq(step->dest, STR("/")));
}

static void add_step(struct parser *p, struct str args, bool is_copy)
{
    struct ctr_step step = {.line = p->at, .is_copy = is_copy, .workdir = stage_now(p)->workdir};
    if (p->n_steps++ >= CTR_FILE_MAX_STEPS) {
        p->out->lacks_steps = true;
        return;
    }
    if (is_copy)
        copy_step(p, args, &step);
    else
        run_step(p, args, &step);
    *vec_push(p->arena, &scope_now(p)->steps) = step;
}

/* CMD and ENTRYPOINT. An ENTRYPOINT takes back a CMD of what the stage builds on. */
static void do_entry(struct parser *p, struct str args, bool is_cmd)
{
    struct ctr_stage *stage = stage_now(p);
    struct ctr_words words = {.is_set = true};
    if (!json_words(p, args, &words.items)) {
        words.items = (struct str_list){0};
        words.is_shell = true;
        words.text = args;
    }
    words.is_set = words.is_shell ? args.len > 0 : words.items.len > 0;
    stage->has_entry = true;
    scope_now(p)->has_cmd |= is_cmd;
    if (is_cmd) {
        stage->cmd = words;
    } else {
        stage->entrypoint = words;
        if (!scope_now(p)->has_cmd)
            stage->cmd = (struct ctr_words){0};
    }
}

/* --- The file --- */

/* WORKDIR path: a relative one goes on from the last. */
static bool do_workdir(struct parser *p, struct str args)
{
    struct ctr_stage *stage = &p->stages.items[p->stages.len - 1];
    struct str missing, dir = resolve(p, scope_now(p), str_trim(args), &missing);
    if (path_is_abs(dir))
        stage->workdir = path_clean(p->arena, dir);
    else if (!str_is_empty(stage->workdir))
        stage->workdir = path_join(p->arena, stage->workdir, dir);
    if (stage->workdir.len > CTR_FILE_MAX_VALUE)
        return fail(p, "WORKDIR is too long");
    return true;
}

static bool instruction(struct parser *p, struct str text)
{
    struct str args = text, name = take_word(&args);
    if (name.len == 0)
        return true;
    bool is_run = str_eq_nocase(name, STR("RUN"));
    bool is_copy = str_eq_nocase(name, STR("COPY")) || str_eq_nocase(name, STR("ADD"));
    if (str_eq_nocase(name, STR("FROM")))
        return do_from(p, args);
    if (str_eq_nocase(name, STR("ARG")))
        return do_arg(p, args);
    if (p->stages.len == 0)
        return err_set(p->err, ERR_INVALID, "Containerfile line %d: " STR_FMT " before the first FROM", p->at,
                       STR_ARG(str_slice(name, 0, 40)));
    if (str_eq_nocase(name, STR("ENV")))
        return do_env(p, args);
    if (str_eq_nocase(name, STR("EXPOSE")))
        return do_expose(p, args);
    if (str_eq_nocase(name, STR("VOLUME")))
        return do_volume(p, args);
    if (str_eq_nocase(name, STR("WORKDIR")))
        return do_workdir(p, args);
    if (str_eq_nocase(name, STR("CMD")) || str_eq_nocase(name, STR("ENTRYPOINT")))
        do_entry(p, args, str_eq_nocase(name, STR("CMD")));
    if (str_eq_nocase(name, STR("SHELL")))
        stage_now(p)->has_own_shell = true;
    if (str_eq_nocase(name, STR("USER")))
        stage_now(p)->user = str_trim(args);
    if (is_run || is_copy) {
        add_step(p, args, is_copy);
        return do_flags(p, args) && skip_heredocs(p, args);
    }
    return true;
}

/* "# syntax=..." and "# escape=..." in the comment lines at the very top. */
static void directives(struct parser *p)
{
    struct parser at = *p;
    struct str line;
    while (next_physical(&at, &line)) {
        struct str text = str_trim(line), key, value;
        if (text.len == 0 || text.ptr[0] != '#' || !str_cut(str_from_off(text, 1), '=', &key, &value))
            return;
        key = str_trim(key);
        value = str_trim(value);
        if (str_eq_nocase(key, STR("syntax")))
            p->out->syntax = value;
        else if (str_eq_nocase(key, STR("escape")) && (str_eq(value, STR("`")) || str_eq(value, STR("\\"))))
            p->escape = value.ptr[0];
        else if (!str_eq_nocase(key, STR("check")))
            return;
    }
}

bool ctr_file_parse(struct arena *a, struct str text, const struct ctr_kv_list *args, struct ctr_file *out,
                    struct err *err)
{
    if (text.len > CTR_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "the Containerfile is over %d bytes", CTR_FILE_MAX);
    if (text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0)
        text = str_from_off(text, 3);
    struct ctr_file file = {0};
    struct parser p = {.arena = a,
                       .rest = text,
                       .escape = '\\',
                       .budget = SUBST_BUDGET,
                       .given = args,
                       .out = &file,
                       .err = err};
    struct str line;
    directives(&p);
    while (next_logical(&p, &line)) {
        if (!instruction(&p, line))
            return false;
        if (p.budget == 0)
            return fail(&p, "variables expand to too much text");
    }
    if (p.stages.len == 0)
        return err_set(err, ERR_INVALID, "the Containerfile has no FROM");
    for (size_t i = 0; i < p.stages.len; i++) {
        p.stages.items[i].env = p.scopes.items[i].env;
        p.stages.items[i].steps = p.scopes.items[i].steps.items;
        p.stages.items[i].n_steps = p.scopes.items[i].steps.len;
    }
    struct scope *last = scope_now(&p);
    file.stages = p.stages.items;
    file.n_stages = p.stages.len;
    file.ports = last->ports.items;
    file.n_ports = last->ports.len;
    file.port = last->port;
    if (file.port > 0)
        file.port_problem = (struct str){0};
    *out = file;
    return true;
}
