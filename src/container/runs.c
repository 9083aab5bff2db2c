/* container/runs.c: what a RUN does to the folder where the source will be mounted.
 *
 * The shell text is cut into simple commands and these into words, as far as quotes go; nothing is evaluated. A command that is
 * not known, or not known to leave the folder alone, builds.
 * SPDX-License-Identifier: Apache-2.0 */
#include "infer_int.h"

struct simple {
    struct infer *w;
    const struct ctr_step *step;
    struct arena scratch;  /* of one command */
    struct str cwd;        /* empty: not known */
    struct str_list words; /* of one command, quotes removed */
    bool writes;           /* a redirection into the folder */
};

static bool is_one_of(struct str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_z(s, names[i]))
            return true;
    return false;
}
#define IS_ONE_OF(s, ...)                                                                                              \
    is_one_of((s), (const char *const[]){__VA_ARGS__}, ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

/* The absolute path of a word; empty when that is not known. */
static struct str path_of(struct simple *c, struct str word)
{
    if (str_chr(word, '$') != STR_NPOS)
        return (struct str){0};
    if (path_is_abs(word))
        return path_clean(&c->scratch, word);
    return str_is_empty(c->cwd) ? (struct str){0} : path_join(&c->scratch, c->cwd, word);
}

static bool may_be_below(struct simple *c, struct str word)
{
    struct str path = path_of(c, word), dir = c->w->out->dir;
    return str_is_empty(path) || (infer_is_under(dir, path) && !str_eq(dir, path));
}

/* Words that are no options, all of which are taken for paths. */
static enum infer_verdict judge_paths(struct simple *c, size_t from)
{
    for (size_t i = from; i < c->words.len; i++)
        if (!str_starts(c->words.items[i], STR("-")) && may_be_below(c, c->words.items[i]))
            return INFER_BUILDS;
    return INFER_HARMLESS;
}

static enum infer_verdict fills(struct simple *c, struct str word)
{
    struct infer *w = c->w;
    struct str path = path_of(c, word);
    if (str_is_empty(path) || infer_is_under(path, w->out->dir))
        return INFER_BUILDS;
    if (!infer_is_under(w->out->dir, path))
        return INFER_HARMLESS;
    if (!infer_is_covered(w, path) && w->out->covered.len < CTR_FILE_MAX_LIST)
        str_list_add(w->a, &w->out->covered, str_dup(w->a, path));
    return INFER_FILLS;
}

/* The first word from `i` on that is no option; *i is behind it. */
static struct str next_plain(const struct simple *c, size_t *i)
{
    while (*i < c->words.len) {
        struct str word = c->words.items[(*i)++];
        if (!str_starts(word, STR("-")))
            return word;
    }
    return (struct str){0};
}

static bool has_word(const struct simple *c, const char *word)
{
    return str_list_has(&c->words, str_from(word));
}

static bool has_env(const struct simple *c, const char *name, struct str *value)
{
    const struct str *v = ctr_kv_get(&c->w->run->env, str_from(name));
    if (v)
        *value = *v;
    return v != NULL;
}

static enum infer_verdict judge_pip(const struct simple *c, size_t from)
{
    bool is_editable = false;
    for (size_t i = from; i < c->words.len; i++) {
        struct str word = c->words.items[i];
        bool is_own = str_eq(word, STR(".")) || str_starts(word, STR("./")) || str_starts(word, STR(".["));
        if ((is_own && !is_editable) || IS_ONE_OF(word, "-t", "--target", "wheel", "download") || str_starts(word, STR("--target=")))
            return INFER_BUILDS;
        is_editable = IS_ONE_OF(word, "-e", "--editable", "-r", "--requirement", "-c", "--constraint");
    }
    return INFER_HARMLESS;
}

static enum infer_verdict judge_python(struct simple *c)
{
    if (c->words.len < 3 || !str_eq(c->words.items[1], STR("-m")))
        return INFER_BUILDS;
    if (str_eq(c->words.items[2], STR("pip")))
        return judge_pip(c, 3);
    size_t i = 3;
    struct str dir = next_plain(c, &i);
    return str_eq(c->words.items[2], STR("venv")) && !str_is_empty(dir) ? fills(c, dir) : INFER_BUILDS;
}

static enum infer_verdict judge_uv(struct simple *c)
{
    size_t i = 1;
    struct str verb = next_plain(c, &i), dir = STR(".venv");
    if (str_eq(verb, STR("pip")))
        return judge_pip(c, i);
    if (IS_ONE_OF(verb, "tool", "python", "cache", "self"))
        return INFER_HARMLESS;
    if (str_eq(verb, STR("sync"))) {
        has_env(c, "UV_PROJECT_ENVIRONMENT", &dir);
        return fills(c, dir);
    }
    if (!str_eq(verb, STR("venv")))
        return INFER_BUILDS;
    struct str given = next_plain(c, &i);
    return fills(c, str_is_empty(given) ? dir : given);
}

static enum infer_verdict judge_poetry(struct simple *c, const char *in_project)
{
    struct str ignored;
    size_t i = 1;
    struct str verb = next_plain(c, &i);
    if (IS_ONE_OF(verb, "config", "self", "cache", "env", "lock"))
        return INFER_HARMLESS;
    if (!IS_ONE_OF(verb, "install", "sync"))
        return INFER_BUILDS;
    bool is_here = has_env(c, in_project, &ignored) || str_find(c->step->text, STR("in-project")) != STR_NPOS;
    return is_here ? fills(c, STR(".venv")) : INFER_HARMLESS;
}

static enum infer_verdict judge_node(struct simple *c)
{
    size_t i = 1;
    struct str verb = next_plain(c, &i);
    if (has_word(c, "-g") || has_word(c, "--global") || IS_ONE_OF(verb, "global", "config", "cache", "set", "audit", "fund", "prune"))
        return INFER_HARMLESS;
    if (str_is_empty(verb))
        return has_word(c, "--version") || has_word(c, "-v") ? INFER_HARMLESS : fills(c, STR("node_modules"));
    return IS_ONE_OF(verb, "ci", "install", "i", "add", "clean-install") ? fills(c, STR("node_modules")) : INFER_BUILDS;
}

static enum infer_verdict judge_tool(struct simple *c, struct str name)
{
    size_t i = 1;
    struct str verb = next_plain(c, &i);
    if (str_eq(name, STR("go")))
        return IS_ONE_OF(verb, "mod", "install", "env", "version", "clean", "telemetry") && !has_word(c, "vendor") ? INFER_HARMLESS
                                                                                                               : INFER_BUILDS;
    if (str_eq(name, STR("cargo")))
        return IS_ONE_OF(verb, "fetch", "install") ? INFER_HARMLESS : INFER_BUILDS;
    if (str_eq(name, STR("composer")))
        return IS_ONE_OF(verb, "install", "require") ? fills(c, STR("vendor")) : IS_ONE_OF(verb, "global", "config") ? INFER_HARMLESS
                                                                                                                   : INFER_BUILDS;
    if (str_eq(name, STR("bundle")))
        return IS_ONE_OF(verb, "install", "config") && str_find(c->step->text, STR("path")) == STR_NPOS
                   ? INFER_HARMLESS
                   : INFER_BUILDS;
    if (str_eq(name, STR("git")))
        return str_eq(verb, STR("config")) ? INFER_HARMLESS : INFER_BUILDS;
    if (IS_ONE_OF(name, "mvn", "mvnw"))
        return (has_word(c, "dependency:go-offline") || has_word(c, "dependency:resolve")) && !has_word(c, "package") ? INFER_HARMLESS
                                                                                                                  : INFER_BUILDS;
    return INFER_BUILDS;
}

/* What is written stands behind -o (curl) or -O (wget); without one it is the current folder, or for curl the standard output. */
static enum infer_verdict judge_fetch(struct simple *c, bool is_wget)
{
    struct str to = {0};
    for (size_t i = 1; i < c->words.len; i++) {
        struct str word = c->words.items[i];
        bool is_short = word.len > 1 && word.ptr[0] == '-' && word.ptr[1] != '-';
        char last = word.ptr[word.len > 0 ? word.len - 1 : 0];
        if (!is_wget && (str_eq(word, STR("--remote-name")) || (is_short && str_chr(word, 'O') != STR_NPOS)))
            return INFER_BUILDS;
        if ((is_short && last == (is_wget ? 'O' : 'o')) || IS_ONE_OF(word, "--output", "--output-document"))
            to = i + 1 < c->words.len ? c->words.items[i + 1] : to;
        else if (is_wget && str_starts(word, STR("-qO-")))
            return INFER_HARMLESS;
    }
    if (str_is_empty(to))
        return is_wget ? INFER_BUILDS : INFER_HARMLESS;
    return !str_eq(to, STR("-")) && may_be_below(c, to) ? INFER_BUILDS : INFER_HARMLESS;
}

static enum infer_verdict judge_words(struct simple *c)
{
    if (c->words.len >= CTR_FILE_MAX_LIST)
        return INFER_BUILDS;
    while (c->words.len > 0 && (IS_ONE_OF(c->words.items[0], "exec", "sudo", "time", "command", "env", "then", "do", "else") ||
                                str_chr(c->words.items[0], '=') != STR_NPOS)) {
        c->words.items++;
        c->words.len--;
        c->words.cap--;
    }
    if (c->words.len == 0)
        return INFER_HARMLESS;
    struct str name = path_base(c->words.items[0]);
    if (IS_ONE_OF(name, "apt-get", "apt", "apk", "dnf", "yum", "microdnf", "zypper", "pacman", "groupadd", "useradd", "adduser",
                  "addgroup", "usermod", "chown", "chgrp", "echo", "printf", "true", ":", "set", "export", "corepack", "gem", "rm",
                  "rmdir", "which", "test", "[", "update-ca-certificates", "locale-gen", "ldconfig", "sleep", "if", "fi", "done",
                  "dpkg-reconfigure", "a2enmod", "docker-php-ext-install", "pecl", "setcap", "umask", "uname", "id"))
        return INFER_HARMLESS;
    if (str_eq(name, STR("cd"))) {
        c->cwd = c->words.len == 2 ? str_dup(c->w->a, path_of(c, c->words.items[1])) : (struct str){0};
        return INFER_HARMLESS;
    }
    if (str_eq(name, STR("chmod")))
        return judge_paths(c, 2);
    if (IS_ONE_OF(name, "mkdir", "touch", "cp", "mv", "ln", "install", "cat", "tee", "ls"))
        return judge_paths(c, 1);
    if (IS_ONE_OF(name, "pip", "pip3"))
        return judge_pip(c, 1);
    if (IS_ONE_OF(name, "python", "python3"))
        return judge_python(c);
    if (str_eq(name, STR("virtualenv")))
        return c->words.len == 2 ? fills(c, c->words.items[1]) : INFER_BUILDS;
    if (str_eq(name, STR("uv")))
        return judge_uv(c);
    if (str_eq(name, STR("poetry")))
        return judge_poetry(c, "POETRY_VIRTUALENVS_IN_PROJECT");
    if (str_eq(name, STR("pipenv")))
        return judge_poetry(c, "PIPENV_VENV_IN_PROJECT");
    if (IS_ONE_OF(name, "npm", "pnpm", "yarn", "bun"))
        return judge_node(c);
    if (IS_ONE_OF(name, "curl", "wget"))
        return judge_fetch(c, str_eq(name, STR("wget")));
    return judge_tool(c, name);
}

/* --- cutting the text */

/* `text` up to the end of a word; quotes are left out of *word, and a quoted separator is no separator. */
static struct str take_word(struct arena *a, struct str *text)
{
    scoped_buf word = BUF_INIT(CTR_FILE_MAX_VALUE);
    char quote = '\0';
    size_t i = 0;
    for (; i < text->len; i++) {
        char c = text->ptr[i];
        if (quote == '\0' && (c == ' ' || c == '\t' || c == '\n' || c == ';' || c == '&' || c == '|' || c == '(' || c == ')'))
            break;
        if (c == '\\' && quote != '\'' && i + 1 < text->len)
            buf_add_char(&word, text->ptr[++i]);
        else if ((c == '"' || c == '\'') && (quote == '\0' || quote == c))
            quote = quote ? '\0' : c;
        else
            buf_add_char(&word, c);
    }
    *text = str_from_off(*text, i);
    return word.is_full ? STR("$") : str_dup(a, buf_str(&word)); /* nothing is known of a word that is too long */
}

/* A word with '>' in it: where it goes may be the next one. */
static bool is_redirection(struct str word)
{
    size_t i = 0;
    while (i < word.len && word.ptr[i] >= '0' && word.ptr[i] <= '9')
        i++;
    return i < word.len && word.ptr[i] == '>';
}

static void redirect(struct simple *c, struct str word, struct str *text)
{
    struct str to = str_from_off(word, str_chr(word, '>') + 1);
    while (str_starts(to, STR(">")) || str_starts(to, STR("|")))
        to = str_from_off(to, 1);
    if (str_is_empty(to) && str_starts(*text, STR("&"))) { /* 2>&1 */
        *text = str_from_off(*text, 1);
        take_word(&c->scratch, text);
        return;
    }
    if (str_is_empty(to)) {
        while (text->len > 0 && (text->ptr[0] == ' ' || text->ptr[0] == '\t'))
            *text = str_from_off(*text, 1);
        to = take_word(&c->scratch, text);
    }
    c->writes |= !str_starts(to, STR("/dev/")) && may_be_below(c, to);
}

static enum infer_verdict end_command(struct simple *c, enum infer_verdict all)
{
    enum infer_verdict one = judge_words(c);
    c->words = (struct str_list){0};
    arena_reset(&c->scratch);
    return MAX(all, one);
}

enum infer_verdict infer_judge(struct infer *w, const struct ctr_step *step)
{
    struct str dir = w->out->dir, text = step->text;
    enum infer_verdict all = INFER_HARMLESS;
    /* What is built elsewhere stays in the image, and the mount does not hide it. */
    bool is_near = str_is_empty(step->workdir) || infer_is_under(dir, step->workdir) || str_find(text, dir) != STR_NPOS ||
                   str_find(text, STR("cd ")) != STR_NPOS;
    if (!is_near)
        return INFER_HARMLESS;
    if (step->is_odd || step->is_exec)
        return INFER_BUILDS;
    struct simple c = {.w = w, .step = step, .cwd = step->workdir};
    while (text.len > 0) {
        char first = text.ptr[0];
        if (first == ';' || first == '&' || first == '|' || first == '\n' || first == '(' || first == ')') {
            all = end_command(&c, all);
            text = str_from_off(text, 1);
        } else if (first == ' ' || first == '\t') {
            text = str_from_off(text, 1);
        } else {
            struct str word = take_word(&c.scratch, &text);
            if (is_redirection(word))
                redirect(&c, word, &text);
            else if (!IS_ONE_OF(word, "{", "}", "!") && c.words.len < CTR_FILE_MAX_LIST)
                str_list_add(&c.scratch, &c.words, word);
        }
    }
    all = end_command(&c, all);
    arena_release(&c.scratch);
    return c.writes ? INFER_BUILDS : all;
}
