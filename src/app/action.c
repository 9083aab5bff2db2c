/* app/action.c: actions: from ace.action to routes, and a request from its head to its answer.
 *
 *     GET  path            the form                   POST path/suggest    suggest(args)
 *     POST path            run(False, args)           POST path/validate   run(True, args)
 *
 *     read the body -> values as params have them -> the run (handler.c) -> action_reply()
 * SPDX-License-Identifier: Apache-2.0 */
#include "action_int.h"

enum { ACTIONS_MAX = 200 };

static struct str text_field(star_v s, const char *name)
{
    struct str text = {0};
    star_to_str(star_struct_get(s, str_from(name)), &text);
    return text;
}

/* --- loading: fields --------------------------------------------------------------------------------- */

/* The param that "options-x" and "options_x" are about. */
static bool options_target(struct str name, struct str *target)
{
    if (!str_starts(name, STR("options-")) && !str_starts(name, STR("options_")))
        return false;
    *target = str_from_off(name, strlen("options-"));
    return true;
}

static bool read_options(struct app *app, const struct param *p, struct str_list *out, struct err *err)
{
    star_v list = p->value;
    struct str text;
    scoped_err why = {0};
    if (star_to_str(list, &text) && !star_json_decode(app->eval.a, text, &list, &why))
        return err_set(err, ERR_INVALID, "param " STR_FMT " is not a json list: %s", STR_ARG(p->name),
                       err_msg(&why));
    if (star_kind(list) != STAR_KIND_LIST)
        return err_set(err, ERR_INVALID, "param " STR_FMT " must be a list of strings, not %s",
                       STR_ARG(p->name), star_type_name(list));
    for (size_t i = 0; i < star_len(list); i++) {
        if (!star_to_str(star_item(list, i), &text))
            return err_set(err, ERR_INVALID, "param " STR_FMT " must hold strings, not %s", STR_ARG(p->name),
                           star_type_name(star_item(list, i)));
        str_list_add(&app->arena, out, text);
    }
    return true;
}

static enum action_look look_of(const struct action_field *f)
{
    struct str kind, ignored;
    str_cut(f->param->display_type, ':', &kind, NULL);
    if (options_target(f->param->name, &ignored))
        return LOOK_NONE;
    if (f->param->type == PARAM_BOOLEAN)
        return LOOK_CHECKBOX;
    if (f->options.items)
        return str_eq(kind, STR("combo")) ? LOOK_COMBO : LOOK_SELECT;
    return str_eq(kind, STR("password"))   ? LOOK_PASSWORD
           : str_eq(kind, STR("textarea")) ? LOOK_TEXTAREA
           : str_eq(kind, STR("file"))     ? LOOK_FILE
                                           : LOOK_TEXT;
}

static bool load_fields(struct app *app, struct actions *all, struct err *err)
{
    const struct param_list *params = &app->eval.params;
    all->n_fields = params->len;
    all->fields = arena_array(&app->arena, struct action_field, params->len);
    for (size_t i = 0; i < params->len; i++) {
        struct action_field *f = &all->fields[i];
        f->param = &params->items[i];
        str_cut(f->param->display_type, ':', NULL, &f->hint);
        for (size_t k = 0; k < params->len; k++) {
            struct str target;
            if (options_target(params->items[k].name, &target) && str_eq(target, f->param->name) &&
                !read_options(app, &params->items[k], &f->options, err))
                return false;
        }
        f->look = look_of(f);
    }
    return true;
}

/* --- loading: actions -------------------------------------------------------------------------------- */

static bool read_names(struct app *app, star_v list, const char *what, struct str_list *out, struct err *err)
{
    for (size_t i = 0; i < star_len(list); i++) {
        struct str s;
        if (!star_to_str(star_item(list, i), &s))
            return err_set(err, ERR_INVALID, "ace.action: %s must hold strings, not %s", what,
                           star_type_name(star_item(list, i)));
        str_list_add(&app->arena, out, s);
    }
    return true;
}

static bool load_action(struct app *app, const struct actions *all, star_v v, struct action *out,
                        struct err *err)
{
    struct arena *a = &app->arena;
    struct str_list hidden = {0};
    struct str path = text_field(v, "path");
    star_v suggest = star_struct_get(v, STR("suggest")), validate = star_struct_get(v, STR("show_validate"));
    if (str_chr(path, '{') != STR_NPOS || str_chr(path, '*') != STR_NPOS)
        return err_set(err, ERR_INVALID, "the path of an action has no parameters and no \"*\"");
    *out = (struct action){
        .name = text_field(v, "name"),
        .description = text_field(v, "description"),
        .path = http_path_clean(a, str_cat(a, STR("/"), path)),
        .run = star_struct_get(v, STR("run")),
        .suggest = star_is_callable(suggest) ? suggest : STAR_NULL,
        .shows_validate = star_truth(validate),
        .is_hidden = arena_array(a, bool, all->n_fields),
    };
    out->url = http_path_join(a, app->path_encoded, http_path_encode(a, out->path));
    if (!read_names(app, star_struct_get(v, STR("hidden")), "hidden", &hidden, err) ||
        !read_names(app, star_struct_get(v, STR("permit")), "permit", &out->permit, err))
        return false;
    for (size_t i = 0; i < all->n_fields; i++) {
        out->is_hidden[i] = str_list_has(&hidden, all->fields[i].param->name);
        out->takes_files |= action_shows(all, out, i) && all->fields[i].look == LOOK_FILE;
    }
    return true;
}

static const struct route *new_route(struct app *app, const struct action *action, enum action_op op)
{
    struct route *r = arena_new(&app->arena, struct route);
    *r = (struct route){.kind = ROUTE_ACTION, .handler = STAR_NULL, .action = action, .action_op = op};
    return r;
}

static bool add_routes(struct app *app, const struct action *action, struct err *err)
{
    struct str suggest = http_path_join(&app->arena, action->path, STR("suggest")),
               validate = http_path_join(&app->arena, action->path, STR("validate"));
    /* A route of the app's own goes before these two. */
    scoped_err ignored = {0};
    return router_add(app->router, STR("GET"), action->path, new_route(app, action, ACTION_FORM), err) &&
           router_add(app->router, STR("POST"), action->path, new_route(app, action, ACTION_RUN), err) &&
           (router_add(app->router, STR("POST"), suggest, new_route(app, action, ACTION_SUGGEST), &ignored) ||
            true) &&
           (router_add(app->router, STR("POST"), validate, new_route(app, action, ACTION_VALIDATE),
                       &ignored) ||
            true);
}

bool actions_load(struct app *app, struct err *err)
{
    star_v list = star_struct_get(app->eval.app, STR("actions"));
    size_t n = star_len(list);
    if (n == 0)
        return true;
    if (n > ACTIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the app has more than %d actions", ACTIONS_MAX);
    struct actions *all = arena_new(&app->arena, struct actions);
    all->items = arena_array(&app->arena, struct action, n);
    all->uploaded = arena_new(&app->arena, atomic_llong);
    if (!load_fields(app, all, err))
        return false;
    for (; all->len < n; all->len++) {
        star_v v = star_item(list, all->len);
        struct action *action = &all->items[all->len];
        if (!str_eq(star_struct_ctor(v), STR("ace.action")))
            return err_set(err, ERR_INVALID, "actions must hold ace.action(...), not %s", star_type_name(v));
        if (!load_action(app, all, v, action, err) || !add_routes(app, action, err))
            return err_wrap(err, "error adding action at path " STR_FMT, STR_ARG(text_field(v, "path")));
    }
    app->actions = all;
    return action_assets(app, all, new_route(app, NULL, ACTION_ASSET), err);
}

/* --- a request --------------------------------------------------------------------------------------- */

void action_fail(struct action_visit *x, int status, struct str message)
{
    struct http_req *req = x->visit.request.req;
    if (x->form != AS_JSON) {
        http_reply_error(req, status, message);
        return;
    }
    scoped_json *o = json_object();
    json_set_str(o, "error", message);
    http_reply(req, status, STR("application/json"), json_text(req->arena, o, JSON_STYLE_COMPACT));
}

/* Who asks for both wants a page: browsers name JSON with a small weight, if at all. */
static enum action_form form_of(const struct http_req *req)
{
    int json = 0, html = 0;
    struct str rest = http_req_known(req, HTTP_H_ACCEPT), member, type;
    while (http_list_next(&rest, &member)) {
        int weight = http_weight(member, &type);
        if (str_eq_nocase(str_trim(type), STR("application/json")))
            json = weight;
        else if (str_eq_nocase(str_trim(type), STR("text/html")))
            html = weight;
    }
    if (json > html)
        return AS_JSON;
    return str_eq(http_req_header(req, STR("HX-Request")), STR("true")) ? AS_FRAGMENTS : AS_PAGE;
}

/* The text given for each field; files have been put there by action_read(). */
static void take_given(struct action_visit *x)
{
    const struct actions *all = x->visit.app->actions;
    for (size_t i = 0; i < all->n_fields; i++) {
        const struct action_field *f = &all->fields[i];
        struct str text;
        if (!action_shows(all, x->action, i) || f->look == LOOK_FILE)
            continue;
        if (http_pairs_get(&x->pairs, f->param->name, &text))
            x->given[i] = text.ptr ? text : STR("");
        else if (f->look == LOOK_CHECKBOX && x->op != ACTION_FORM)
            x->given[i] = STR("false"); /* how browsers say it */
        if (f->look == LOOK_PASSWORD && x->given[i].len == 0)
            x->given[i] = (struct str){0};
    }
}

static bool read_value(struct action_visit *x, size_t i, star_v *out, struct err *err)
{
    const struct action_field *f = &x->visit.app->actions->fields[i];
    struct str text = x->given[i];
    bool is_shown = action_shows(x->visit.app->actions, x->action, i);
    *out = f->param->value;
    if (is_shown && f->look == LOOK_FILE && !text.ptr)
        text = STR(""); /* no file is no path, whatever the app has for a default */
    if (!text.ptr)
        return true;
    if (f->look == LOOK_SELECT && !action_is_option(f, text))
        return err_set(err, ERR_INVALID,
                       "invalid value for " STR_FMT ": must be one of the configured options",
                       STR_ARG(f->param->name));
    return param_parse(&x->visit.run_arena, f->param, text, out, err);
}

/* The `args` object, in v->args[0]. */
static bool make_args(struct action_visit *x, star_v *out, struct err *err)
{
    struct visit *v = &x->visit;
    size_t n = v->app->actions->n_fields;
    struct str *names = arena_array(v->request.req->arena, struct str, n);
    star_v *values = arena_array(v->request.req->arena, star_v, n);
    bool is_full = false;
    for (size_t i = 0; i < n; i++) {
        names[i] = v->app->actions->fields[i].param->name;
        if (!read_value(x, i, &values[i], err))
            return false;
        is_full |= star_is_null(values[i]);
    }
    *out = is_full ? STAR_NULL : star_struct_str(&v->run_arena, STR("args"), names, values, n);
    return !star_is_null(*out) || err_set(err, ERR_TOO_LARGE, "what was submitted needs too much memory");
}

static void on_read(struct action_visit *x, const struct err *why)
{
    struct visit *v = &x->visit;
    star_v args;
    scoped_err err = {0};
    if (why) {
        action_fail(x, (int)why->code, str_from(err_msg(why)));
        return;
    }
    take_given(x);
    if (!make_args(x, &args, &err)) {
        action_fail(x, (int)err.code, str_from(err_msg(&err)));
        return;
    }
    if (x->op == ACTION_SUGGEST) {
        v->args[0] = args;
        handler_call(v, x->action->suggest, 1);
    } else {
        v->args[0] = star_bool(x->op == ACTION_VALIDATE);
        v->args[1] = args;
        handler_call(v, x->action->run, 2);
    }
}

static void serve_form(struct action_visit *x)
{
    struct http_req *req = x->visit.request.req;
    const struct outcome nothing = {.values = STAR_NULL, .param_errors = STAR_NULL, .suggestions = STAR_NULL};
    scoped_buf b = BUF_INIT(ACTION_PAGE_MAX);
    scoped_err err = {0};
    take_given(x);
    if (!action_page(x, &nothing, &b, &err))
        action_fail(x, (int)err.code, str_from(err_msg(&err)));
    else
        http_reply(req, 200, STR("text/html; charset=utf-8"), buf_str(&b));
}

void action_serve(struct app *app, const struct app_request *request, const struct route *route)
{
    struct http_req *req = request->req;
    scoped_err err = {0};
    if (route->action_op == ACTION_ASSET) {
        action_asset(app, req);
        return;
    }
    struct action_visit *x = arena_new(req->arena, struct action_visit);
    x->action = route->action;
    x->op = route->action_op;
    x->form = x->op == ACTION_FORM ? AS_PAGE : form_of(req);
    x->given = arena_array(req->arena, struct str, app->actions->n_fields);
    x->visit.action = x;
    handler_prepare(&x->visit, app, request, route);
    http_resp_header(req, STR("Vary"), STR("HX-Request, Accept"));
    http_resp_header(req, STR("Cache-Control"), STR("no-store"));
    if (x->op == ACTION_FORM) {
        if (!http_query_parse(req->arena, req->query, &x->pairs, &err))
            action_fail(x, 400, str_from(err_msg(&err)));
        else
            serve_form(x);
    } else if (x->op == ACTION_SUGGEST && star_is_null(x->action->suggest)) {
        action_fail(x, 501, STR("suggest not supported for this action"));
    } else {
        action_read(x, on_read);
    }
}

/* --- the end of a run -------------------------------------------------------------------------------- */

void action_done(struct visit *v, star_v value)
{
    action_reply(v->action, value);
}

void action_failed(struct visit *v, struct str message)
{
    action_fail(v->action, 500, message);
}

void action_audit(const struct visit *v, const char *status)
{
    static const char *const operations[] = {
        [ACTION_RUN] = "execute", [ACTION_SUGGEST] = "suggest", [ACTION_VALIDATE] = "validate"};
    const struct action_visit *x = v->action;
    store_audit_add(v->app->env->store, &(struct store_audit_event){
                                            .app_id = v->app->entry.id,
                                            .user_id = v->request.who->user_id,
                                            .event_type = STR("action"),
                                            .operation = str_from(operations[x->op]),
                                            .target = x->action->name,
                                            .status = str_from(status),
                                        });
}
