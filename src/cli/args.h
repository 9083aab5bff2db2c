/* cli/args.h: commands and flags as declarations, and the command line parsed against them.
 *
 * A command is a constant in a tree; parsing, help, suggestions and completion derive from it. Tokens
 * are taken level by level: flags of the root, a command, its flags, and so on. At a leaf, flags and
 * positional words mix. docs/cli.md states the rules.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "base.h"

struct cli;

enum flag_kind {
    FLAG_BOOL, /* alone, or =true, =false; never takes the next token */
    FLAG_STR,  /* the last one given wins */
    FLAG_INT,
    FLAG_LIST, /* repeat to add; values are never split */
};

struct flag {
    const char *name;     /* as in --name */
    const char *aliases;  /* further names, separated by spaces; NULL: none */
    enum flag_kind kind;
    const char *def;      /* value when not given; NULL: "", 0 */
    const char *help;
    bool goes_anywhere;   /* of the root: taken after the command too, by all its names */
};

struct command {
    const char *name;
    const char *aliases;            /* separated by spaces; NULL: none */
    const char *words;              /* the positional words for the usage line; NULL: none */
    const char *summary;            /* a line without full stop */
    const char *about;              /* further help, wrapped by hand; NULL: none */
    const struct flag *flags;       /* ends with a NULL name; NULL: none */
    const struct command *const *subs; /* a group's commands, ends with NULL; NULL: this is a leaf */
    /* A leaf's work; NULL: the command comes in a later version. */
    bool (*exec)(struct cli *c, struct err *err);
    bool takes_text;                /* unknown dashed tokens after the first word are words too */
    bool is_raw;                    /* everything after the command is a word, flags too */
    bool needs_no_config;           /* runs whatever state the configuration is in */
};

/* True if neither the command nor any below it can run in this version. */
bool command_is_later(const struct command *cmd);
/* The command of that name or alias in group `group`, or NULL. */
const struct command *command_find(const struct command *group, struct str name);

enum { COMMAND_DEPTH_MAX = 4 };

struct flag_value {
    const struct flag *flag;
    const char *form;       /* name or alias that was used, NULL: not given */
    bool is_on;             /* FLAG_BOOL */
    int64_t number;         /* FLAG_INT */
    struct str text;        /* FLAG_STR */
    struct str_list list;   /* FLAG_LIST */
};

struct args {
    const struct command *path[COMMAND_DEPTH_MAX]; /* root first */
    size_t depth;                                  /* >= 1 */
    const struct command *cmd;                     /* path[depth - 1] */
    struct flag_value *global;                     /* values of the root's flags, in its order */
    struct flag_value *own;                        /* values of cmd's flags, NULL at the root */
    struct str_list words;                         /* positional words */
    bool wants_help;
};

/* Parses argv[1..] against the tree under `root`. Fails with a message for the user, ready to print. */
bool args_parse(struct arena *a, const struct command *root, int argc, char *const *argv, struct args *out,
                struct err *err);

/* Values of the command's own flags; a name that it does not declare is a bug of ours. */
bool args_has(const struct args *args, const char *name); /* was given */
bool args_is_on(const struct args *args, const char *name);
struct str args_text(const struct args *args, const char *name);
int64_t args_number(const struct args *args, const char *name);
const struct str_list *args_list(const struct args *args, const char *name);
/* Values of the root's flags. */
const struct flag_value *args_global(const struct args *args, const char *name);

/* "openrun app create", the names down to the command. */
struct str args_path(struct arena *a, const struct args *args);

/* The words that a command or flag answers to: `i` counts up from 0, the name first, then aliases;
 * empty at the end. */
struct str name_at(const char *name, const char *aliases, size_t i);

/* The value that strconv-like parsing gives "1 t T TRUE true True" and "0 f F FALSE false False". */
bool bool_parse(struct str text, bool *out);

/* Similarity of two words, 0 to 1 (Jaro-Winkler: boost from 0.7 on, prefix of 4). */
double suggest_similarity(struct str a, struct str b);
/* The name of `group`'s commands (or of cmd's flags) most like `word`, empty when none resembles it. */
struct str suggest_command(const struct command *group, struct str word);
struct str suggest_flag(const struct command *cmd, struct str word);

#endif
