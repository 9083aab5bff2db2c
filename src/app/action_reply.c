/* app/action_reply.c: what an action's function has returned, as a page, as what changes of it, or as JSON.
 * SPDX-License-Identifier: Apache-2.0 */
#include "action_int.h"

enum { TEXT_MAX = 1 << 20, PUSH_MAX = 4096 /* bytes of an address; longer ones are not worth keeping */ };

/* --- reading what was returned ----------------------------------------------------------------------- */

/* What stands for a value that is no ace.result: its repr, without the quotes of a string. */
static bool status_of(struct arena *a, star_v v, struct str *out, struct err *err)
{
    scoped_buf b = BUF_INIT(TEXT_MAX);
    if (!star_repr(&b, v))
        return err_set(err, ERR_INTERNAL, "what the function returned is too large for a message");
    *out = str_dup(a, str_trim_char(buf_str(&b), '"'));
    return true;
}

static bool read_result(struct arena *a, star_v v, struct outcome *o, struct err *err)
{
    if (plugin_stream_of(v))
        return true;
    if (!str_eq(star_struct_ctor(v), STR("ace.result")))
        return status_of(a, v, &o->status, err);
    star_to_str(star_struct_get(v, STR("status")), &o->status);
    star_to_str(star_struct_get(v, STR("report")), &o->report);
    if (!o->stream)
        o->values = star_struct_get(v, STR("values"));
    o->param_errors = star_struct_get(v, STR("param_errors"));
    return true;
}

static bool read_suggestions(struct action_visit *x, star_v v, struct outcome *o, struct err *err)
{
    if (star_to_str(v, &o->status))
        return true;
    if (star_kind(v) != STAR_KIND_DICT)
        return err_set(err, ERR_INTERNAL, "suggest must return a message or a dict of params, not %s",
                       star_type_name(v));
    for (size_t i = 0; i < x->visit.app->actions->n_fields; i++) {
        const struct action_field *f = &x->visit.app->actions->fields[i];
        if (f->look == LOOK_FILE && !star_is_null(star_dict_get_str(v, f->param->name)))
            return err_set(err, ERR_INTERNAL, "suggest cannot give a file for param " STR_FMT,
                           STR_ARG(f->param->name));
    }
    o->status = STR("Suggesting values");
    o->suggestions = v;
    return true;
}

/* --- JSON -------------------------------------------------------------------------------------------- */

static bool add_member(struct action_visit *x, struct buf *b, const char *name, star_v value,
                       const char *otherwise, struct err *err)
{
    buf_printf(b, ",\"%s\":", name);
    if (star_is_null(value))
        return buf_add_z(b, otherwise);
    return star_json_encode(&x->visit.run_arena, b, value, STAR_JSON_APP, err);
}

static bool write_json(struct action_visit *x, const struct outcome *o, struct buf *b, struct err *err)
{
    enum report_kind kind = REPORT_NONE;
    buf_add_z(b, "{\"status\":\"");
    buf_add_json(b, o->status);
    buf_add_z(b, "\"");
    if (x->op == ACTION_SUGGEST)
        return add_member(x, b, "values", o->suggestions, "{}", err) && buf_add_z(b, "}\n");
    if (o->stream) {
        buf_add_z(b, ",\"values\":[" ACTION_STREAM_MARK "],\"report\":\"TEXT\"");
    } else if (x->op == ACTION_RUN) {
        if (!report_choose(o->report, o->values, &kind, err) ||
            !add_member(x, b, "values", o->values, "[]", err))
            return false;
        buf_printf(b, ",\"report\":\"%s\"", report_name(kind));
    }
    return add_member(x, b, "param_errors", o->param_errors, "{}", err) && buf_add_z(b, "}\n");
}

/* --- streams ----------------------------------------------------------------------------------------- */

static bool add_line(struct arena *a, struct buf *out, star_v item, bool is_first, struct err *err)
{
    scoped_buf text = BUF_INIT(ACTION_PAGE_MAX);
    if (!report_add_value(a, &text, item, err))
        return false;
    html_escape(out, buf_str(&text));
    return buf_add_char(out, '\n') || err_set(err, ERR_TOO_LARGE, "a line is too large to be shown");
}

static bool add_json_item(struct arena *a, struct buf *out, star_v item, bool is_first, struct err *err)
{
    if (!is_first)
        buf_add_char(out, ',');
    return star_json_encode(a, out, item, STAR_JSON_APP, err);
}

/* After the element that holds the lines, and before what follows it. */
static struct str html_failure(struct arena *a, const struct stream_frame *frame, struct str why)
{
    size_t end = strlen("</pre>");
    scoped_buf b = BUF_INIT(ACTION_PAGE_MAX);
    buf_add_str(&b, str_slice(frame->tail, 0, end));
    buf_add_z(&b, "<p class=\"error\" role=\"alert\">");
    html_escape(&b, why);
    buf_add_z(&b, "</p>");
    buf_add_str(&b, str_from_off(frame->tail, end));
    return str_dup(a, buf_str(&b));
}

static struct str json_failure(struct arena *a, const struct stream_frame *frame, struct str why)
{
    scoped_buf b = BUF_INIT(ACTION_PAGE_MAX);
    buf_add_z(&b, "],\"error\":\"");
    buf_add_json(&b, why);
    buf_add_char(&b, '"');
    buf_add_str(&b, str_from_off(frame->tail, 1));
    return str_dup(a, buf_str(&b));
}

/* `answer` with the lines where its mark is, each as it comes. */
static void send_stream(struct action_visit *x, struct plugin_stream *stream, struct str answer,
                        struct str type)
{
    struct arena *a = x->visit.request.req->arena;
    bool is_json = x->form == AS_JSON;
    size_t at = str_find(answer, STR(ACTION_STREAM_MARK));
    assert(at != STR_NPOS);
    struct stream_frame *frame = arena_new(a, struct stream_frame);
    *frame = (struct stream_frame){
        .content_type = type,
        .head = str_dup(a, str_slice(answer, 0, at)),
        .tail = str_dup(a, str_from_off(answer, at + strlen(ACTION_STREAM_MARK))),
        .item = is_json ? add_json_item : add_line,
        .failure = is_json ? json_failure : html_failure,
    };
    stream_serve_framed(&x->visit, stream, frame);
}

struct plugin_stream *action_stream(const struct visit *v, star_v value)
{
    if (v->action->op != ACTION_RUN)
        return NULL;
    return plugin_stream_of(
        str_eq(star_struct_ctor(value), STR("ace.result")) ? star_struct_get(value, STR("values")) : value);
}

/* --- the answer -------------------------------------------------------------------------------------- */

static void reject(struct action_visit *x, int status, struct str message)
{
    handler_record_end(&x->visit, "Failed");
    action_fail(x, status, message);
}

static void answer(struct action_visit *x, const struct outcome *o)
{
    struct http_req *req = x->visit.request.req;
    scoped_buf b = BUF_INIT(ACTION_PAGE_MAX);
    scoped_err err = {0};
    bool ok = x->form == AS_JSON        ? write_json(x, o, &b, &err)
              : x->form == AS_FRAGMENTS ? action_fragments(x, o, &b, &err)
                                        : action_page(x, o, &b, &err);
    if (!ok || b.is_full) {
        reject(x, err.code == ERR_UNSUPPORTED ? 501 : 500,
               err_is_set(&err) ? str_from(err_msg(&err)) : STR("the answer is too large"));
        return;
    }
    if (x->form == AS_FRAGMENTS) {
        struct str url = action_link(x, x->action);
        if (url.len <= PUSH_MAX)
            http_resp_header(req, STR("HX-Push-Url"), url);
    }
    struct str type = x->form == AS_JSON ? STR("application/json") : STR("text/html; charset=utf-8");
    if (o->stream) {
        send_stream(x, o->stream, buf_str(&b), type);
        return;
    }
    handler_record_end(&x->visit, "Success");
    http_reply(req, 200, type, buf_str(&b));
}

void action_reply(struct action_visit *x, star_v value)
{
    struct outcome o = {.values = STAR_NULL,
                        .param_errors = STAR_NULL,
                        .suggestions = STAR_NULL,
                        .report = STR("AUTO"),
                        .stream = action_stream(&x->visit, value)};
    scoped_err err = {0};
    bool ok = x->op == ACTION_SUGGEST ? read_suggestions(x, value, &o, &err)
                                      : read_result(x->visit.request.req->arena, value, &o, &err);
    bool is_text = str_eq_nocase(o.report, STR("AUTO")) || str_eq_nocase(o.report, STR("TEXT"));
    if (ok && o.stream && !is_text)
        reject(x, 500, STR("a stream can be shown as TEXT only"));
    else if (ok)
        answer(x, &o);
    else
        reject(x, 500, str_from(err_msg(&err)));
}
