/* cli/help.c: --help and completion, derived from the declarations of commands and flags.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static const struct flag help_flag = {"help", "h", FLAG_BOOL, NULL, "show help"};

/* "list, ls" */
static struct str names_text(struct arena *a, const char *name, const char *aliases)
{
    struct str out = str_from(name), n;
    for (size_t i = 1; (n = name_at(name, aliases, i)).len > 0; i++)
        out = str_printf(a, STR_FMT ", " STR_FMT, STR_ARG(out), STR_ARG(n));
    return out;
}

/* "--branch value, -b value" */
static struct str flag_text(struct arena *a, const struct flag *f)
{
    const char *value = f->kind == FLAG_BOOL ? "" : " value";
    struct str out = {0}, n;
    for (size_t i = 0; (n = name_at(f->name, f->aliases, i)).len > 0; i++)
        out = str_printf(a, STR_FMT "%s%s" STR_FMT "%s", STR_ARG(out), i > 0 ? ", " : "", n.len == 1 ? "-" : "--",
                         STR_ARG(n), value);
    return out;
}

static struct str flag_note(struct arena *a, const struct flag *f)
{
    if (f == &help_flag)
        return (struct str){0};
    switch (f->kind) {
    case FLAG_BOOL:
        return STR(" (default: false)");
    case FLAG_INT:
        return str_printf(a, " (default: %s)", f->def ? f->def : "0");
    case FLAG_STR:
        return f->def ? str_printf(a, " (default: \"%s\")", f->def) : (struct str){0};
    case FLAG_LIST:
        return STR(" (may be repeated)");
    }
    return (struct str){0};
}

static void print_flags(FILE *out, struct arena *a, const char *title, const struct flag *flags)
{
    size_t width = flag_text(a, &help_flag).len;
    for (const struct flag *f = flags; f && f->name; f++)
        width = MAX(width, flag_text(a, f).len);
    fprintf(out, "\n%s:\n", title);
    for (const struct flag *f = flags; f && f->name; f++)
        fprintf(out, "   %-*s  %s" STR_FMT "\n", (int)width, flag_text(a, f).ptr, f->help, STR_ARG(flag_note(a, f)));
    fprintf(out, "   %-*s  %s\n", (int)width, flag_text(a, &help_flag).ptr, help_flag.help);
}

static void print_commands(FILE *out, struct arena *a, const struct command *const *subs)
{
    static const char help_names[] = "help, h";
    size_t width = sizeof help_names - 1;
    for (size_t i = 0; subs[i]; i++)
        width = MAX(width, names_text(a, subs[i]->name, subs[i]->aliases).len);
    fprintf(out, "\nCOMMANDS:\n");
    for (size_t i = 0; subs[i]; i++) {
        struct str names = names_text(a, subs[i]->name, subs[i]->aliases);
        fprintf(out, "   " STR_FMT "%*s  %s%s\n", STR_ARG(names), (int)(width - names.len), "", subs[i]->summary,
                command_is_later(subs[i]) ? " (later)" : "");
    }
    fprintf(out, "   %-*s  %s\n", (int)width, help_names, "show the commands, or help for one");
}

void print_help(FILE *out, const struct args *args)
{
    scoped_arena a = {0};
    const struct command *cmd = args->cmd;
    bool is_root = args->depth == 1;
    struct str path = args_path(&a, args);
    fprintf(out, "NAME:\n   " STR_FMT " - %s%s\n", STR_ARG(path), cmd->summary,
            command_is_later(cmd) ? " (later: not in this version yet)" : "");
    fprintf(out, "\nUSAGE:\n   " STR_FMT "%s%s%s%s\n", STR_ARG(path), is_root ? " [global options]" : "",
            cmd->subs ? " command [command options]" : " [options]", cmd->words ? " " : "",
            cmd->words ? cmd->words : "");
    if (cmd->about)
        fprintf(out, "\nDESCRIPTION:\n%s", cmd->about);
    if (cmd->subs)
        print_commands(out, &a, cmd->subs);
    print_flags(out, &a, is_root ? "GLOBAL OPTIONS" : "OPTIONS", cmd->flags);
}

static void print_names(FILE *out, const char *name, const char *aliases, const char *prefix, const char *short_prefix)
{
    struct str n;
    for (size_t i = 0; (n = name_at(name, aliases, i)).len > 0; i++)
        fprintf(out, "%s" STR_FMT "\n", n.len == 1 ? short_prefix : prefix, STR_ARG(n));
}

void print_completions(FILE *out, const struct command *root, int argc, char *const *argv)
{
    const struct command *cmd = root;
    for (int i = 1; i < argc && cmd->subs; i++) {
        const struct command *sub = command_find(cmd, str_from(argv[i]));
        if (sub)
            cmd = sub;
    }
    if (argc > 1 && argv[argc - 1][0] == '-') {
        for (const struct flag *f = cmd->flags; f && f->name; f++)
            print_names(out, f->name, f->aliases, "--", "-");
        print_names(out, help_flag.name, help_flag.aliases, "--", "-");
        return;
    }
    for (size_t i = 0; cmd->subs && cmd->subs[i]; i++)
        print_names(out, cmd->subs[i]->name, cmd->subs[i]->aliases, "", "");
    if (cmd->subs)
        print_names(out, "help", "h", "", "");
}
