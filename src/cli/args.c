/* cli/args.c: parses the command line against the tree of commands.
 *
 * 1. A level's flags are known only there, but for the root's long ones, which any command takes that
 *    does not itself declare the name.
 * 2. At a leaf flags and words mix, until "--".
 * 3. An unknown token with a dash is an error before the first word. After it "--xyz" still is one (a
 *    mistyped flag must not become data), while "-5" is a word.
 * SPDX-License-Identifier: Apache-2.0 */
#include "args.h"

struct str name_at(const char *name, const char *aliases, size_t i)
{
    if (i == 0)
        return str_from(name);
    struct str rest = str_from(aliases), part = {0};
    for (; i > 0; i--)
        if (!str_next(&rest, ' ', &part))
            return (struct str){0};
    return part;
}

static bool name_is(const char *name, const char *aliases, struct str word)
{
    for (size_t i = 0;; i++) {
        struct str n = name_at(name, aliases, i);
        if (n.len == 0)
            return false;
        if (str_eq(n, word))
            return true;
    }
}

bool command_is_later(const struct command *cmd)
{
    if (!cmd->subs)
        return !cmd->exec;
    for (size_t i = 0; cmd->subs[i]; i++)
        if (!command_is_later(cmd->subs[i]))
            return false;
    return true;
}

const struct command *command_find(const struct command *group, struct str name)
{
    for (size_t i = 0; name.len > 0 && group->subs && group->subs[i]; i++)
        if (name_is(group->subs[i]->name, group->subs[i]->aliases, name))
            return group->subs[i];
    return NULL;
}

bool bool_parse(struct str text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eq_z(text, yes[i]))
            return *out = true, true;
        if (str_eq_z(text, no[i]))
            return *out = false, true;
    }
    return false;
}

struct parser {
    struct arena *arena;
    struct args *args;
    char *const *argv;
    int argc, next;     /* argv[next] is the token to take */
};

static size_t count_flags(const struct flag *flags)
{
    size_t n = 0;
    while (flags && flags[n].name)
        n++;
    return n;
}

/* A value per flag of `cmd`, set to its default. */
static struct flag_value *values_new(struct arena *a, const struct command *cmd)
{
    size_t n = count_flags(cmd->flags);
    struct flag_value *values = arena_array(a, struct flag_value, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct flag *f = &cmd->flags[i];
        values[i].flag = f;
        if (f->kind == FLAG_INT && f->def)
            str_to_i64(str_from(f->def), &values[i].number);
        else if (f->kind == FLAG_STR)
            values[i].text = str_from(f->def);
    }
    return values;
}

static struct flag_value *value_find(struct flag_value *values, struct str name)
{
    for (struct flag_value *v = values; v && v->flag; v++)
        if (name_is(v->flag->name, v->flag->aliases, name))
            return v;
    return NULL;
}

/* The flag that `name` means at the current level, NULL if none. */
static struct flag_value *lookup(const struct parser *p, struct str name)
{
    const struct args *args = p->args;
    if (args->depth == 1)
        return value_find(args->global, name);
    struct flag_value *v = value_find(args->own, name);
    if (v)
        return v;
    v = value_find(args->global, name);
    bool is_value = v && v->flag->kind != FLAG_BOOL; /* --version means nothing below the root */
    return v && (v->flag->goes_anywhere || (is_value && str_eq_z(name, v->flag->name))) ? v : NULL;
}

static bool usage_error(const struct parser *p, struct err *err)
{
    scoped_arena a = {0};
    return err_append(err, "\nrun '" STR_FMT " --help' for usage", STR_ARG(args_path(&a, p->args)));
}

static bool unknown_flag(const struct parser *p, struct str token, struct err *err)
{
    struct str name = str_from_off(token, str_starts(token, STR("--")) ? 2 : 1);
    str_cut(name, '=', &name, NULL);
    struct str best = suggest_flag(p->args->cmd, name);
    err_set(err, ERR_INVALID, "flag provided but not defined: -" STR_FMT, STR_ARG(name));
    if (best.len > 0)
        err_append(err, " (did you mean \"%s" STR_FMT "\"?)", best.len == 1 ? "-" : "--", STR_ARG(best));
    return usage_error(p, err);
}

/* Notes that `v` was given as `form`. Two forms of one flag in a call are most likely a mistake,
 * unless repeating is what the flag is for. */
static bool note_form(const struct parser *p, struct flag_value *v, const char *form, struct err *err)
{
    if (v->form && v->flag->kind != FLAG_LIST && strcmp(v->form, form) != 0) {
        bool is_name = strcmp(form, v->flag->name) == 0;
        err_set(err, ERR_INVALID, "Cannot use two forms of the same flag: %s %s", is_name ? v->form : form,
                is_name ? form : v->form);
        return usage_error(p, err);
    }
    v->form = form;
    return true;
}

static bool set_value(const struct parser *p, struct flag_value *v, struct str name, struct str value,
                      struct err *err)
{
    switch (v->flag->kind) {
    case FLAG_BOOL:
        if (bool_parse(value, &v->is_on))
            return true;
        err_set(err, ERR_INVALID, "invalid boolean value \"" STR_FMT "\" for -" STR_FMT ": parse error",
                STR_ARG(value), STR_ARG(name));
        return usage_error(p, err);
    case FLAG_INT:
        if (str_to_i64(value, &v->number))
            return true;
        err_set(err, ERR_INVALID, "invalid value \"" STR_FMT "\" for flag -" STR_FMT ": parse error",
                STR_ARG(value), STR_ARG(name));
        return usage_error(p, err);
    case FLAG_STR:
        v->text = value;
        return true;
    case FLAG_LIST:
        str_list_add(p->arena, &v->list, value);
        return true;
    }
    return true;
}

/* Takes a token that starts with a dash and may be a flag. *is_flag tells whether it was one; a token
 * that was not has been left alone. */
static bool take_flag(struct parser *p, struct str token, bool *is_flag, struct err *err)
{
    struct str body = str_from_off(token, str_starts(token, STR("--")) ? 2 : 1), name, value;
    bool has_value = str_cut(body, '=', &name, &value);
    *is_flag = true;
    if (!has_value && (str_eq(name, STR("help")) || str_eq(name, STR("h")))) {
        p->args->wants_help = true;
        return true;
    }
    struct flag_value *v = lookup(p, name);
    if (!v) {
        *is_flag = false;
        return true;
    }
    if (!note_form(p, v, str_z(p->arena, name), err))
        return false;
    if (v->flag->kind == FLAG_BOOL && !has_value) {
        v->is_on = true;
        return true;
    }
    if (!has_value) {
        if (p->next >= p->argc) {
            err_set(err, ERR_INVALID, "flag needs an argument: -" STR_FMT, STR_ARG(name));
            return usage_error(p, err);
        }
        value = str_from(p->argv[p->next++]);
    }
    return set_value(p, v, name, value, err);
}

static void enter(struct parser *p, const struct command *cmd)
{
    assert(p->args->depth < COMMAND_DEPTH_MAX);
    p->args->path[p->args->depth++] = cmd;
    p->args->cmd = cmd;
    p->args->own = values_new(p->arena, cmd);
}

static bool unknown_command(const struct parser *p, struct str word, struct err *err)
{
    bool is_root = p->args->depth == 1;
    struct str best = suggest_command(p->args->cmd, word);
    if (is_root)
        err_set(err, ERR_INVALID, "unknown command \"" STR_FMT "\"", STR_ARG(word));
    else
        err_set(err, ERR_INVALID, "No help topic for '" STR_FMT "'", STR_ARG(word));
    if (best.len > 0)
        err_append(err, ". Did you mean \"" STR_FMT "\"?", STR_ARG(best));
    return is_root ? usage_error(p, err) : false;
}

/* A word at a group: a command, or "help" and the commands to tell about. */
static bool take_command(struct parser *p, struct str word, struct err *err)
{
    if (!p->args->wants_help && (str_eq(word, STR("help")) || str_eq(word, STR("h")))) {
        p->args->wants_help = true;
        return true;
    }
    const struct command *sub = command_find(p->args->cmd, word);
    if (!sub)
        return unknown_command(p, word, err);
    enter(p, sub);
    return true;
}

bool args_parse(struct arena *a, const struct command *root, int argc, char *const *argv, struct args *out,
                struct err *err)
{
    struct args args = {.path = {root}, .depth = 1, .cmd = root, .global = values_new(a, root)};
    struct parser p = {.arena = a, .args = &args, .argv = argv, .argc = argc, .next = 1};
    bool only_words = false;
    while (p.next < p.argc) {
        struct str token = str_from(p.argv[p.next++]);
        bool is_leaf = !args.cmd->subs;
        if (args.cmd->is_raw && args.cmd->exec) {
            str_list_add(a, &args.words, token);
            continue;
        }
        bool is_dashed = !only_words && token.len > 1 && token.ptr[0] == '-';
        if (is_dashed && str_eq(token, STR("--"))) {
            only_words = true;
            continue;
        }
        if (is_dashed) {
            bool is_flag;
            if (!take_flag(&p, token, &is_flag, err))
                return false;
            if (args.wants_help && is_leaf)
                break;
            if (is_flag)
                continue;
            bool may_be_word = args.words.len > 0 && (args.cmd->takes_text || token.ptr[1] != '-');
            if (!may_be_word)
                return unknown_flag(&p, token, err);
        }
        if (is_leaf)
            str_list_add(a, &args.words, token);
        else if (!take_command(&p, token, err))
            return false;
        if (args.wants_help && !args.cmd->subs)
            break; /* "help app create": what follows does not matter */
    }
    *out = args;
    return true;
}

static const struct flag_value *own(const struct args *args, const char *name)
{
    const struct flag_value *v = value_find(args->own, str_from(name));
    if (!v)
        BUG("command %s has no flag %s", args->cmd->name, name);
    return v;
}

bool args_has(const struct args *args, const char *name)
{
    return own(args, name)->form != NULL;
}

bool args_is_on(const struct args *args, const char *name)
{
    return own(args, name)->is_on;
}

struct str args_text(const struct args *args, const char *name)
{
    return own(args, name)->text;
}

int64_t args_number(const struct args *args, const char *name)
{
    return own(args, name)->number;
}

const struct str_list *args_list(const struct args *args, const char *name)
{
    return &own(args, name)->list;
}

const struct flag_value *args_global(const struct args *args, const char *name)
{
    const struct flag_value *v = value_find(args->global, str_from(name));
    if (!v)
        BUG("no global flag %s", name);
    return v;
}

struct str args_path(struct arena *a, const struct args *args)
{
    struct str out = str_from(args->path[0]->name);
    for (size_t i = 1; i < args->depth; i++)
        out = str_printf(a, STR_FMT " %s", STR_ARG(out), args->path[i]->name);
    return out;
}
