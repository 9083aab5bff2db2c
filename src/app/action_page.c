/* app/action_page.c: the page of an action: its form, what came of it, and the parts that a script puts into
 * it.
 *
 * The page works without a script: its buttons post the form, and the answer is the whole page. With one, the
 * same address answers with fragments: an element with hx-swap-oob goes where its id is, the rest into
 * #ActionMessage.
 * SPDX-License-Identifier: Apache-2.0 */
#include "action_int.h"

#include "action_gen.h"

enum { ROWS_DEFAULT = 4, ROWS_MAX = 100 };

static struct str embedded(const char *name)
{
    return embed_data(action_gen, action_gen_len, str_from(name));
}

bool action_is_option(const struct action_field *f, struct str text)
{
    return str_is_empty(text) || str_list_has(&f->options, text);
}

/* --- fields ------------------------------------------------------------------------------------------ */

static void add_attr(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, " %s=\"", name);
    html_escape(b, value);
    buf_add_char(b, '"');
}

/* `<tag id="param_x" name="x" ...`, without its end. */
static void open_control(struct buf *b, const char *tag, const struct action_field *f, bool is_bad)
{
    struct str name = f->param->name;
    scoped_arena a = {0};
    struct str error = str_printf(&a, "param_" STR_FMT "_error", STR_ARG(name));
    struct str help = str_printf(&a, "param_" STR_FMT "_help ", STR_ARG(name));
    buf_printf(b, "<%s", tag);
    add_attr(b, "id", str_cat(&a, STR("param_"), name));
    add_attr(b, "name", name);
    add_attr(b, "aria-describedby", f->param->description.len > 0 ? str_cat(&a, help, error) : error);
    if (is_bad)
        buf_add_z(b, " aria-invalid=\"true\"");
}

static void add_options(struct buf *b, const struct str_list *options, struct str selected)
{
    vec_foreach(o, options)
    {
        buf_add_z(b, "<option");
        add_attr(b, "value", *o);
        buf_add_z(b, str_eq(*o, selected) ? " selected>" : ">");
        html_escape(b, *o);
        buf_add_z(b, "</option>");
    }
}

static void add_select(struct buf *b, const struct action_field *f, const struct str_list *options,
                       struct str value, bool is_bad)
{
    open_control(b, "select", f, is_bad);
    buf_add_char(b, '>');
    if (!str_list_has(options, value))
        buf_add_z(b, "<option value=\"\" selected></option>");
    add_options(b, options, value);
    buf_add_z(b, "</select>");
}

static void add_input(struct buf *b, const struct action_field *f, const char *type, struct str value,
                      bool is_bad)
{
    open_control(b, "input", f, is_bad);
    add_attr(b, "type", str_from(type));
    if (value.ptr)
        add_attr(b, "value", value);
    if (f->param->type == PARAM_INT)
        buf_add_z(b, " inputmode=\"numeric\"");
}

static void add_textarea(struct buf *b, const struct action_field *f, struct str value, bool is_bad)
{
    int64_t rows = ROWS_DEFAULT;
    str_to_i64(f->hint, &rows);
    open_control(b, "textarea", f, is_bad);
    buf_printf(b, " rows=\"%d\">\n", (int)MIN(MAX(rows, 1), ROWS_MAX));
    html_escape(b, value);
    buf_add_z(b, "</textarea>");
}

static void add_combo(struct buf *b, const struct action_field *f, struct str value, bool is_bad)
{
    scoped_arena a = {0};
    struct str id = str_printf(&a, "param_" STR_FMT "_list", STR_ARG(f->param->name));
    add_input(b, f, "text", value, is_bad);
    add_attr(b, "list", id);
    buf_add_z(b, "><datalist");
    add_attr(b, "id", id);
    buf_add_char(b, '>');
    add_options(b, &f->options, (struct str){0});
    buf_add_z(b, "</datalist>");
}

/* The element that the value is entered in. */
static void add_control(struct buf *b, const struct action_field *f, struct str value, bool is_bad)
{
    switch (f->look) {
    case LOOK_CHECKBOX:
        add_input(b, f, "checkbox", STR("true"), is_bad);
        buf_add_z(b, str_eq(value, STR("true")) ? " checked>" : ">");
        break;
    case LOOK_PASSWORD:
        add_input(b, f, "password", (struct str){0}, is_bad);
        buf_add_z(b, value.len > 0 ? " autocomplete=\"off\" placeholder=\"unchanged\">"
                                   : " autocomplete=\"off\">");
        break;
    case LOOK_FILE:
        add_input(b, f, "file", (struct str){0}, is_bad);
        if (f->hint.len > 0)
            add_attr(b, "accept", f->hint);
        buf_add_char(b, '>');
        break;
    case LOOK_TEXTAREA: add_textarea(b, f, value, is_bad); break;
    case LOOK_SELECT: add_select(b, f, &f->options, value, is_bad); break;
    case LOOK_COMBO: add_combo(b, f, value, is_bad); break;
    case LOOK_TEXT:
        add_input(b, f, "text", value, is_bad);
        buf_add_char(b, '>');
        break;
    case LOOK_NONE: break;
    }
}

/* --- suggestions ------------------------------------------------------------------------------------- */

/* The control for a suggested value; false: it changes nothing. */
static bool add_suggested(struct action_visit *x, struct buf *b, const struct action_field *f, star_v v)
{
    if (star_kind(v) == STAR_KIND_LIST && f->param->type == PARAM_STRING) {
        struct str_list options = {0};
        struct str text;
        for (size_t i = 0; i < star_len(v); i++)
            if (star_to_str(star_item(v, i), &text))
                str_list_add(x->visit.request.req->arena, &options, text);
        if (options.len > 0)
            add_select(b, f, &options, options.items[0], false);
        return options.len > 0;
    }
    struct param p = {.name = f->param->name, .value = v};
    struct action_field shown = *f;
    struct str text = {0};
    scoped_err ignored = {0};
    if (star_kind(v) == STAR_KIND_BOOL) {
        shown.look = LOOK_CHECKBOX;
        text = star_truth(v) ? STR("true") : STR("false");
    } else if (!param_text(x->visit.request.req->arena, &p, &text, &ignored)) {
        return false;
    } else if (f->look == LOOK_CHECKBOX || (f->look == LOOK_SELECT && !str_list_has(&f->options, text))) {
        shown.look = LOOK_TEXT;
    }
    add_control(b, &shown, text, false);
    return true;
}

static int by_name(const void *p, const void *q)
{
    const struct action_field *const *f = p, *const *g = q;
    return str_cmp((*f)->param->name, (*g)->param->name);
}

/* The fields that are not options of others, by name; `shown` only those of the form. */
static const struct action_field **sorted_fields(struct action_visit *x, bool only_shown, size_t *n)
{
    const struct actions *all = x->visit.app->actions;
    const struct action_field **list =
        arena_array(x->visit.request.req->arena, const struct action_field *, all->n_fields);
    *n = 0;
    for (size_t i = 0; i < all->n_fields; i++)
        if (only_shown ? action_shows(all, x->action, i) : all->fields[i].look != LOOK_NONE)
            list[(*n)++] = &all->fields[i];
    qsort(list, *n, sizeof *list, by_name);
    return list;
}

static void add_suggestions(struct action_visit *x, star_v suggestions, struct buf *b)
{
    size_t n;
    const struct action_field **list = sorted_fields(x, true, &n);
    for (size_t i = 0; i < n; i++) {
        star_v v = star_dict_get_str(suggestions, list[i]->param->name);
        scoped_buf control = BUF_INIT(ACTION_PAGE_MAX);
        scoped_arena a = {0};
        if (star_is_null(v) || !add_suggested(x, &control, list[i], v))
            continue;
        buf_add_z(b, "<div");
        add_attr(b, "id", str_printf(&a, "param_" STR_FMT "_div", STR_ARG(list[i]->param->name)));
        buf_add_z(b, " hx-swap-oob=\"innerHTML\">");
        buf_add_str(b, buf_str(&control));
        buf_add_z(b, "</div>\n");
    }
}

/* --- what came of it --------------------------------------------------------------------------------- */

static struct str error_of(struct arena *a, const struct outcome *o, struct str name)
{
    struct str text = {0};
    star_v v = star_is_null(o->param_errors) ? STAR_NULL : star_dict_get_str(o->param_errors, name);
    if (star_is_null(v) || star_is_none(v) || star_to_str(v, &text))
        return text;
    scoped_buf b = BUF_INIT(1 << 20);
    star_str(&b, v);
    return str_dup(a, buf_str(&b));
}

static bool has_errors(const struct outcome *o)
{
    return !star_is_null(o->param_errors) && star_len(o->param_errors) > 0;
}

static void add_status(const struct outcome *o, struct buf *b)
{
    buf_printf(b, "<div role=\"status\" class=\"%s\">", has_errors(o) ? "status bad" : "status");
    html_escape(b, o->status);
    buf_add_z(b, "</div>\n");
}

static bool add_report(struct action_visit *x, const struct outcome *o, struct buf *b, struct err *err)
{
    enum report_kind kind;
    if (o->stream)
        return buf_add_z(
            b,
            "<pre class=\"report\" tabindex=\"0\" role=\"region\" aria-label=\"Output\">" ACTION_STREAM_MARK
            "</pre>\n");
    return report_choose(o->report, o->values, &kind, err) &&
           report_write(&x->visit.run_arena, kind, o->values, b, err);
}

bool action_fragments(struct action_visit *x, const struct outcome *o, struct buf *b, struct err *err)
{
    struct arena *a = x->visit.request.req->arena;
    size_t n;
    add_status(o, b);
    if (!star_is_null(o->suggestions))
        add_suggestions(x, o->suggestions, b);
    if (x->op == ACTION_SUGGEST)
        return true;
    const struct action_field **list = sorted_fields(x, false, &n);
    for (size_t i = 0; i < n; i++) {
        buf_add_z(b, "<output");
        add_attr(b, "id", str_printf(a, "param_" STR_FMT "_error", STR_ARG(list[i]->param->name)));
        buf_add_z(b, " hx-swap-oob=\"innerHTML\">");
        html_escape(b, error_of(a, o, list[i]->param->name));
        buf_add_z(b, "</output>\n");
    }
    if (x->op != ACTION_RUN)
        return true;
    buf_add_z(b, "<output id=\"action_result\" hx-swap-oob=\"innerHTML\">");
    return add_report(x, o, b, err) && buf_add_z(b, "</output>\n");
}

/* --- the page ---------------------------------------------------------------------------------------- */

/* What a field shows: what was given, else the app's own value. */
static struct str value_of(const struct action_visit *x, size_t i)
{
    struct str text = x->given[i];
    scoped_err ignored = {0};
    if (!text.ptr)
        param_text(x->visit.request.req->arena, x->visit.app->actions->fields[i].param, &text, &ignored);
    return text;
}

struct str action_link(const struct action_visit *x, const struct action *to)
{
    struct arena *a = x->visit.request.req->arena;
    const struct actions *all = x->visit.app->actions;
    struct http_pair *pairs = arena_array(a, struct http_pair, all->n_fields);
    size_t n = 0, n_fields;
    const struct action_field **list = sorted_fields((struct action_visit *)x, false, &n_fields);
    for (size_t k = 0; k < n_fields; k++) {
        size_t i = (size_t)(list[k] - all->fields);
        bool is_kept = x->given[i].ptr && action_shows(all, x->action, i) && !to->is_hidden[i] &&
                       list[k]->look != LOOK_PASSWORD && list[k]->look != LOOK_FILE;
        if (is_kept)
            pairs[n++] = (struct http_pair){list[k]->param->name, x->given[i]};
    }
    return n == 0
               ? to->url
               : str_printf(a, STR_FMT "?" STR_FMT, STR_ARG(to->url), STR_ARG(http_query_build(a, pairs, n)));
}

static void add_row(struct action_visit *x, const struct outcome *o, size_t i, struct buf *b)
{
    struct arena *a = x->visit.request.req->arena;
    const struct action_field *f = &x->visit.app->actions->fields[i];
    struct str name = f->param->name, error = error_of(a, o, name);
    star_v suggested = star_is_null(o->suggestions) ? STAR_NULL : star_dict_get_str(o->suggestions, name);
    scoped_buf control = BUF_INIT(ACTION_PAGE_MAX), help = BUF_INIT(ACTION_PAGE_MAX);
    if (star_is_null(suggested) || !add_suggested(x, &control, f, suggested))
        add_control(&control, f, value_of(x, i), error.len > 0);
    if (f->param->description.len > 0) {
        buf_add_z(&help, "<p class=\"help\"");
        add_attr(&help, "id", str_printf(a, "param_" STR_FMT "_help", STR_ARG(name)));
        buf_add_char(&help, '>');
        html_escape(&help, f->param->description);
        buf_add_z(&help, "</p>");
    }
    const struct html_value values[] = {
        {"kind", f->look == LOOK_CHECKBOX ? STR("check") : STR("field"), false},
        {"name", name, false},
        {"control", buf_str(&control), true},
        {"help", buf_str(&help), true},
        {"error", error, false},
    };
    html_fill(b, embedded("row.html"), values, ARRAY_LEN(values));
}

static void add_button(struct buf *b, const char *text, const char *class, struct str to)
{
    buf_printf(b, "<button type=\"submit\" class=\"%s\"", class);
    if (to.ptr)
        add_attr(b, "formaction", to);
    buf_printf(b, ">%s</button>\n", text);
}

static void add_buttons(struct action_visit *x, struct buf *b)
{
    struct arena *a = x->visit.request.req->arena;
    add_button(b, "Run", "button main", (struct str){0});
    if (!star_is_null(x->action->suggest))
        add_button(b, "Suggest", "button", http_path_join(a, x->action->url, STR("suggest")));
    if (x->action->shows_validate)
        add_button(b, "Validate", "button", http_path_join(a, x->action->url, STR("validate")));
}

static void add_nav(const struct action_visit *x, struct buf *b)
{
    const struct actions *all = x->visit.app->actions;
    if (all->len < 2)
        return;
    buf_add_z(b, "<nav aria-label=\"Actions\"><ul>\n");
    for (size_t i = 0; i < all->len; i++) {
        const struct action *to = &all->items[i];
        buf_add_z(b, "<li><a");
        add_attr(b, "href", action_link(x, to));
        buf_add_z(b, to == x->action ? " aria-current=\"page\">" : ">");
        html_escape(b, to->name);
        buf_add_z(b, "</a></li>\n");
    }
    buf_add_z(b, "</ul></nav>\n");
}

/* The style and the script are found by a word that nobody else on the page knows. Images may come from
 * anywhere: the app's own results name them. */
static void set_policy(struct http_req *req, struct str nonce)
{
    http_resp_set_header(
        req, STR("Content-Security-Policy"),
        str_printf(req->arena,
                   "default-src 'none'; style-src 'nonce-" STR_FMT "'; script-src 'nonce-" STR_FMT
                   "'; img-src 'self' http: https: data:; connect-src 'self'; form-action 'self'; "
                   "base-uri 'none'; frame-ancestors 'self'",
                   STR_ARG(nonce), STR_ARG(nonce)));
    http_resp_set_header(req, STR("X-Content-Type-Options"), STR("nosniff"));
}

bool action_page(struct action_visit *x, const struct outcome *o, struct buf *b, struct err *err)
{
    struct http_req *req = x->visit.request.req;
    const struct actions *all = x->visit.app->actions;
    struct str app = x->visit.app->name, nonce = random_base64url(req->arena, 18);
    scoped_buf nav = BUF_INIT(ACTION_PAGE_MAX), rows = BUF_INIT(ACTION_PAGE_MAX),
               buttons = BUF_INIT(ACTION_PAGE_MAX), status = BUF_INIT(ACTION_PAGE_MAX),
               report = BUF_INIT(ACTION_PAGE_MAX);
    add_nav(x, &nav);
    for (size_t i = 0; i < all->n_fields; i++)
        if (action_shows(all, x->action, i))
            add_row(x, o, i, &rows);
    add_buttons(x, &buttons);
    if (x->op != ACTION_FORM)
        add_status(o, &status);
    if (x->op == ACTION_RUN && !add_report(x, o, &report, err))
        return false;
    const struct html_value values[] = {
        {"title", x->action->name, false},
        {"app", str_eq(app, x->action->name) ? (struct str){0} : app, false},
        {"style", all->style_url, false},
        {"script", all->script_url, false},
        {"nonce", nonce, false},
        {"nav", buf_str(&nav), true},
        {"about", x->action->description, false},
        {"url", x->action->url, false},
        {"enctype",
         x->action->takes_files ? STR("multipart/form-data") : STR("application/x-www-form-urlencoded"),
         false},
        {"rows", buf_str(&rows), true},
        {"buttons", buf_str(&buttons), true},
        {"status", buf_str(&status), true},
        {"result", buf_str(&report), true},
    };
    set_policy(req, nonce);
    bool is_full = nav.is_full || rows.is_full || buttons.is_full || status.is_full || report.is_full;
    return (html_fill(b, embedded("page.html"), values, ARRAY_LEN(values)) && !is_full) ||
           err_set(err, ERR_INTERNAL, "the page is too large");
}

/* --- style and script -------------------------------------------------------------------------------- */

static bool add_asset(struct app *app, const char *name, const struct route *route, struct str *url,
                      struct err *err)
{
    struct str data = embedded(name);
    struct str path = str_printf(&app->arena, "/astatic/" STR_FMT "-%s",
                                 STR_ARG(str_slice(sha256_hex(&app->arena, data), 0, 16)), name);
    *url = str_cat(&app->arena, app->path_encoded, path);
    return router_add(app->router, STR("GET"), path, route, err);
}

bool action_assets(struct app *app, struct actions *all, const struct route *route, struct err *err)
{
    return add_asset(app, "action.css", route, &all->style_url, err) &&
           add_asset(app, "action.js", route, &all->script_url, err);
}

void action_asset(struct app *app, struct http_req *req)
{
    bool is_style = str_ends(req->path, STR(".css"));
    http_resp_header(req, STR("Cache-Control"), STR("public, max-age=31536000, immutable"));
    http_resp_header(req, STR("X-Content-Type-Options"), STR("nosniff"));
    http_reply(req, 200, is_style ? STR("text/css; charset=utf-8") : STR("text/javascript; charset=utf-8"),
               embedded(is_style ? "action.css" : "action.js"));
}
