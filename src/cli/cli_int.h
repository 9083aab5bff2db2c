/* cli/cli_int.h: what the parts of the command line share: the context of a run, calls to the server,
 * and printing.
 *
 * A command reads its arguments, makes at most a few calls, and prints the reply to `out`. All it
 * allocates lives in the run's arena, replies too. It reports failure through `err`; only cli_main()
 * prints errors and chooses the exit code.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_INT_H
#define CLI_INT_H

#include "args.h"
#include "base.h"

#include <stdio.h>

struct http_client;

enum format { FORMAT_TABLE, FORMAT_BASIC, FORMAT_CSV, FORMAT_JSON, FORMAT_JSONL, FORMAT_JSONL_PRETTY };
#define FORMAT_NAMES "table, basic, csv, json, jsonl, jsonl_pretty"

/* The keys of openrun.toml that concern the client. */
struct client_config {
    struct str server_uri;      /* URL, or path of a unix socket; variables expanded */
    bool is_tcp;                /* server_uri is an http or https URL */
    struct str admin_user;
    struct str admin_password;
    bool skip_cert_check;
    enum format default_format; /* of lists */
};

struct cli {
    struct arena *arena;         /* lives as long as the run */
    const struct command *root;
    const struct args *args;
    struct home home;
    struct client_config config;
    struct str as_user;          /* --as or OPENRUN_AS_USER; empty: the administrator */
    FILE *out, *err;
    bool has_colour;
    bool is_verbose;             /* --verbose: progress as plain lines on stderr */
    struct http_client *http;    /* opened by the first call */
    int exit_code;               /* after success; a command that runs another tool sets it */
};

/* ---- the commands, one file per group ---- */

extern const struct command cmd_root;
extern const struct command cmd_server, cmd_app, cmd_account, cmd_param, cmd_version, cmd_password, cmd_starlark;
extern const struct command cmd_app_settings, cmd_app_update, cmd_operation, cmd_app_logs, cmd_container, cmd_volume, cmd_spec, cmd_job;
extern const struct command cmd_preview, cmd_export, cmd_pretty_print, cmd_sync, cmd_app_webhook;
extern const struct command cmd_apply, cmd_plan, cmd_diff; /* cmd_apply.c */
extern const struct command cmd_service, cmd_provider, cmd_binding, cmd_replication, cmd_secret, cmd_user; /* later.c */

/* Flags that many commands have. */
#define FLAG_DRY_RUN {"dry-run", NULL, FLAG_BOOL, NULL, "show what would be done, change nothing"}
#define FLAG_PROMOTE {"promote", "p", FLAG_BOOL, NULL, "promote the change from staging to production"}
#define FLAG_FORMAT  {"format", "f", FLAG_STR, NULL, "output format: " FORMAT_NAMES}
#define FLAG_RESULT_FORMAT {"format", NULL, FLAG_STR, NULL, "print the reply as json, jsonl or jsonl_pretty"}
#define FLAG_END     {NULL}

/* ---- cli.c, config.c ---- */

/* Sets c->home and exports OPENRUN_HOME; for commands that do not need the configuration. */
bool cli_find_home(struct cli *c, struct err *err);

/* The whole run of main()'s arguments, printing to `out` and `err`. The exit code. */
int cli_run(int argc, char *const *argv, FILE *out, FILE *err);

/* The client's keys of the file at home->config_file, over the defaults. A missing or unreadable file is
 * fine, with a warning on `warnings` or without, or fails, as docs/cli.md says for how it was found. */
bool client_config_load(struct arena *a, const struct home *home, FILE *warnings, struct client_config *out,
                 struct err *err);

/* The system's text for an errno as it stands inside a sentence: "no such file or directory". */
const char *cli_errno_text(int errnum);

/* ---- client.c ---- */

/* A call of the management API. */
struct call {
    const char *method;
    const char *path;    /* without the /_openrun prefix */
    struct str query;    /* "a=b&c=d", built by call_text() and call_bool() */
    json_t *body;        /* borrowed; NULL: none */
    bool is_long;        /* may take minutes: no deadline while the server lives, progress is shown */
    bool is_brief;       /* somebody waits at the keyboard: a deadline of seconds */
    bool is_watch;       /* follows an operation that is not ours: its lines go to standard output */
    bool may_vanish;     /* the server may close without an answer: *reply is then an empty object */
};
void call_text(struct cli *c, struct call *call, const char *name, struct str value);
void call_bool(struct cli *c, struct call *call, const char *name, bool value);
/* Performs it. The reply, an object or array, is borrowed and lives as long as c->arena; one without body is
 * an empty object. NULL with the server's message when it refused, and when it cannot be reached. */
json_t *call_server(struct cli *c, const struct call *call, struct err *err);
/* True if something accepts connections at the configured address, within a second. */
bool server_accepts(const struct cli *c);
/* Ends the process with 130 on SIGINT from now on, leaving the terminal as it was; during a call that is an
 * operation, asks the server to cancel it first. */
void exit_on_interrupt(void);
/* `text` with each byte that is not UTF-8 replaced by U+FFFD: one bad git message must not hide a list. */
struct str str_utf8(struct arena *a, struct str text);
/* Takes over a reference, to be dropped at the end of the run. */
json_t *keep_json(struct cli *c, json_t *j);

/* ---- stream.c ---- */

enum { STREAM_BODY_MAX = 256 << 20 };

typedef void stream_line_fn(void *arg, struct str line);
struct http_answer;
/* What arrives of an answer: a plain body, or an operation's lines as they come and how it ended. */
struct stream {
    struct cli *cli;
    stream_line_fn *on_line; /* NULL: lines are not shown */
    void *arg;
    atomic_bool *has_id;     /* set once the operation's id is known; may be NULL */
    bool is_ndjson;
    struct buf body;         /* the plain body, or a line that is not complete yet */
    struct str operation;    /* its id, once known */
    json_t *end;             /* {"status", "reply" or "error"}, once it has ended; lives as long as the run */
    struct buf shown;        /* the last lines, each after a line feed */
};
void stream_init(struct stream *st, struct cli *c, stream_line_fn *on_line, void *arg);
void stream_release(struct stream *st);
#define scoped_stream CLEANUP(stream_release) struct stream
/* For struct http_fetch. */
bool stream_head(void *arg, const struct http_answer *head, struct err *err);
bool stream_part(void *arg, struct str part, struct err *err);
/* True for a count on its way to 100 %, as git writes it over and over: nothing for a list of lines. */
bool stream_is_count(struct str line);
/* What of an error is not among the lines already. */
struct str stream_new_part(const struct stream *st, struct str message);

/* ---- output.c ---- */

/* printf for people: control characters (from app names, git messages ...) cannot reach the terminal. */
void say(FILE *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "error: <message>" on `f`, red if the run has colour. */
void say_error(const struct cli *c, const struct err *err);
/* The first `max` characters. */
struct str cut_chars(struct str s, size_t max);
bool format_parse(struct str text, enum format *out);
/* The format of a list: --format, else the configured one. */
bool format_of_list(const struct cli *c, enum format *out, struct err *err);
/* Fails on a --format that is not for results, which are text unless it asks for JSON. */
bool want_result_format(const struct cli *c, struct err *err);
/* `j` and a newline, in one of the JSON formats. */
void print_json(const struct cli *c, const json_t *j, enum format format);

/* A column: the member at `path` ("metadata.name"), or what `cell` makes of the row. */
struct column {
    const char *title;
    int width;           /* pads: > 0 left-aligned, < 0 right-aligned, 0 not at all */
    int title_width;     /* of the header's cell where it differs; 0: as width */
    int cut;             /* at most so many characters of the value; 0: all */
    const char *path;
    void (*cell)(struct buf *out, const json_t *row);
};
struct csv_column {
    const char *path;
    void (*cell)(struct buf *out, const json_t *row);
    bool is_quoted;      /* always in quotes; else only when RFC 4180 demands it */
    bool has_space;      /* a space stands before it */
};
struct field;
/* How a list of records is printed. Arrays end with a zeroed element. */
struct listing {
    const struct column *basic, *table;
    const struct csv_column *csv;
    const struct field *record;
    bool has_gap;        /* a blank line after each record in jsonl_pretty */
};
extern const struct listing listing_apps, listing_versions, listing_files, listing_operations, listing_previews,
    listing_syncs, listing_webhooks;
/* Prints `rows` (an array; anything else is an empty one). `reveal` shows credentials in JSON. */
void print_list(const struct cli *c, const struct listing *l, const json_t *rows, enum format format, bool reveal);

/* Cells that are also used outside lists. */
void cell_app_type(struct buf *out, const json_t *app);
void cell_app_auth(struct buf *out, const json_t *app);
void cell_git_info(struct buf *out, const json_t *app);
/* The member at "a.b.c", NULL when absent or null. */
json_t *json_at(const json_t *row, const char *path);

/* ---- record.c ---- */

enum field_kind {
    FIELD_STR,     /* "" when absent */
    FIELD_INT,     /* 0 */
    FIELD_BOOL,    /* false */
    FIELD_TIME,    /* the zero time */
    FIELD_LIST,    /* [], of anything */
    FIELD_MAP,     /* {}, keys sorted */
    FIELD_FILES,   /* null, or names with empty content: bodies are left out of listings */
    FIELD_OBJECT,  /* of `sub` */
    FIELD_OBJECTS, /* [] of `sub` */
    FIELD_ANY,     /* null */
};
/* A member of a record in the order in which it is printed. */
struct field {
    const char *name;
    enum field_kind kind;
    const struct field *sub;
    bool is_optional;    /* left out when absent */
    bool is_secret;      /* masked when not revealed */
};
extern const struct field record_app[], record_version[], record_file[], record_operation[], record_preview[];
/* A new reference to `in` as the record says: known members, in order, each present and of its type. */
json_t *record_shape(const struct field *record, const json_t *in, bool reveal);

/* ---- result.c ---- */

/* "domain:path", or "path" without a domain, of an object with Path and Domain (or path and domain). */
struct str app_path_of(struct cli *c, const json_t *o);
/* "Promoted apps: ..." unless there are none. */
void print_promoted(struct cli *c, const json_t *paths);
/* "<title>: AP, AP" unless there are none. */
void print_paths(struct cli *c, const char *title, const json_t *paths);
void print_approval(struct cli *c, const json_t *result);       /* plugins and permissions */
void print_approve_result(struct cli *c, const json_t *result); /* a line, and those if it needed approval */
void print_approved(struct cli *c, const json_t *results);      /* "Approved apps:" and each, unless there are none */
void print_created(struct cli *c, const json_t *created, bool is_approved);
/* "Deleting AP - ID" for each app of the reply, and how many `noun`s they are: "app", "preview". */
void print_deleted(struct cli *c, const json_t *reply, const char *noun);
/* Makes a call that changes apps in staging, and prints "<title> AP" for each, what was promoted, and "N app(s) <done>,
 * ...": "Linked app", "linked". */
bool call_staged(struct cli *c, struct call *call, const char *title, const char *done, struct err *err);
void print_dry_run(struct cli *c, const json_t *reply);
/* An AppApplyResponse; `is_approved`: permissions of created apps have been approved. */
void print_applied(struct cli *c, const json_t *reply, bool is_approved); /* applied.c */
/* Prints the reply if --format asks for JSON; else leaves it to the caller to print text, false. */
bool print_result_json(struct cli *c, const json_t *reply);

/* ---- cmd_apply.c ---- */

/* Fails on a --reload that is none of the three. */
bool want_reload_mode(const struct cli *c, struct err *err);
/* The place of a declarative file as the server needs it: a local path absolute; it may be a glob. */
bool resolve_apply_path(struct cli *c, struct str text, struct str *out, struct err *err);

/* ---- input.c ---- */

/* Fails with `message` unless there are exactly `n` words. */
bool want_words(const struct cli *c, size_t n, const char *message, struct err *err);
struct str arg_word(const struct cli *c, size_t i);
/* A source or file as the server needs it: URLs and "-" as they are, a local path absolute. On this machine's
 * server the path must exist. */
bool resolve_source(struct cli *c, struct str text, struct str *out, struct err *err);
bool is_remote_source(struct str text);
/* Fails on a container volume that looks like a flag: one that lacks its value has eaten the next. */
bool check_volumes(const struct str *items, size_t n, struct err *err);
/* k=v split at the first '='; the key trimmed, the value as it is. Without '=' false, the value empty. */
bool split_pair(struct str text, struct str *key, struct str *value);
/* Reads two lines from the terminal without echo, or from standard input when it is none. */
bool prompt_password(struct cli *c, struct str *out, struct err *err);

/* ---- help.c ---- */

void print_help(FILE *out, const struct args *args);
/* Candidates for the word after argv, one per line. */
void print_completions(FILE *out, const struct command *root, int argc, char *const *argv);

#endif
