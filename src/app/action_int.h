/* app/action_int.h: actions: forms made from an app's params that run a function (spec starlark-apps.md 12).
 *
 *     action.c         from ace.action to routes; a request from its head to its answer
 *     action_read.c    what was submitted; uploads go to files    action_page.c   the page and its fragments
 *     action_reply.c   what a function's result becomes           action_report.c how values are shown
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ACTION_INT_H
#define ACTION_INT_H

#include "app_int.h"

enum { ACTION_PAGE_MAX = 64 << 20 /* bytes of a page */ };

enum action_op { ACTION_FORM, ACTION_RUN, ACTION_SUGGEST, ACTION_VALIDATE, ACTION_ASSET };

/* How a param's value is entered. */
enum action_look {
    LOOK_TEXT,
    LOOK_CHECKBOX,
    LOOK_PASSWORD, /* its value is never sent to the browser; submitted empty, it stays what it is */
    LOOK_TEXTAREA,
    LOOK_FILE,
    LOOK_SELECT, /* one of `options` */
    LOOK_COMBO,  /* one of `options`, or anything else */
    LOOK_NONE,   /* it holds the options of another one, and is not shown */
};

/* A param as forms have it. */
struct action_field {
    const struct param *param;
    enum action_look look;
    struct str_list options;
    struct str hint; /* LOOK_TEXTAREA: rows; LOOK_FILE: what it accepts; may be empty */
};

struct action {
    struct str name, description;
    struct str path, url; /* inside the app; encoded, as browsers see it */
    star_v run, suggest;  /* suggest is null without one */
    bool shows_validate;
    struct str_list permit;
    bool *is_hidden; /* [n_fields] of the app: neither shown nor taken from clients */
    bool takes_files;
};

/* All actions of an app. Immutable but for `uploaded`, in its arena. */
struct actions {
    struct action *items;
    size_t len;
    struct action_field *fields; /* [n_fields], in the order of their definition */
    size_t n_fields;
    struct str style_url, script_url;
    atomic_llong *uploaded; /* bytes of files that requests have now: what changes here, on any loop */
};

enum action_form { AS_PAGE, AS_FRAGMENTS, AS_JSON };

/* A request for an action. In its arena. */
struct action_visit {
    struct visit visit;
    const struct action *action;
    enum action_op op;
    enum action_form form;
    struct http_pairs pairs; /* of the body, then of the query */
    struct str *given;       /* [n_fields] what was submitted; ptr NULL: nothing */
};

/* What a function has returned, or of a form that was not submitted yet, nothing. */
struct outcome {
    struct str status;
    star_v values, param_errors; /* a list, a dict; null: none */
    struct str report;
    star_v suggestions;           /* a dict; null: none */
    struct plugin_stream *stream; /* instead of values; NULL: none */
};

static inline bool action_shows(const struct actions *all, const struct action *action, size_t i)
{
    return !action->is_hidden[i] && all->fields[i].look != LOOK_NONE;
}

/* Whom the client hears from when it cannot be served: as JSON or text, as it likes. */
void action_fail(struct action_visit *x, int status, struct str message);

/* --- action_read.c --- */

/* Reads the body into x->pairs, the files for params that take some into folders of their own, which go when
 * the request does; their paths are in x->given. Then calls done, on the loop; `err` (NULL: none) goes after
 * the call. */
void action_read(struct action_visit *x, void (*done)(struct action_visit *x, const struct err *err));

/* --- action_page.c --- */

/* Where the lines of a stream go: nothing that comes from outside has a '<' in it. */
#define ACTION_STREAM_MARK "<!--stream-->"

/* The whole page. False if it is too large, or `o` has values that cannot be shown: then *err says why. */
bool action_page(struct action_visit *x, const struct outcome *o, struct buf *b, struct err *err);
/* What changes of it. */
bool action_fragments(struct action_visit *x, const struct outcome *o, struct buf *b, struct err *err);
/* The address of an action with what was given here, but files and passwords. */
struct str action_link(const struct action_visit *x, const struct action *to);
/* Whether a value of text `text` is right for what the field says. */
bool action_is_option(const struct action_field *f, struct str text);
/* The page's style and script: their routes lead to `route`. */
bool action_assets(struct app *app, struct actions *all, const struct route *route, struct err *err);
void action_asset(struct app *app, struct http_req *req);

/* --- action_reply.c --- */

void action_reply(struct action_visit *x, star_v value);

/* --- action_report.c --- */

enum report_kind { REPORT_NONE, REPORT_TEXT, REPORT_TABLE, REPORT_JSON, REPORT_DOWNLOAD, REPORT_IMAGE };
const char *report_name(enum report_kind kind);
/* A value in one line, not escaped: a string as it is, others as JSON. */
bool report_add_value(struct arena *a, struct buf *b, star_v v, struct err *err);
/* What the values are to be shown as. Fails on values that are neither all dicts nor all strings, and on
 * unknown names. */
bool report_choose(struct str wanted, star_v values, enum report_kind *kind, struct err *err);
/* As HTML. `a` is for a moment. */
bool report_write(struct arena *a, enum report_kind kind, star_v values, struct buf *b, struct err *err);

#endif
