/* plugin/response.c: the result of a plugin call as Starlark sees it.
 *
 * A failure that nobody looks at must not pass: it stays in the request's `failed` until `.error` is read or
 * the response is tested for truth; the next plugin call, `.value`, and the end of the handler raise it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

struct response {
    star_v value;
    struct str error; /* ptr NULL: success */
    int code;
    struct plugin_stream *stream; /* instead of a value */
    /* Whose `failed` is cleared when somebody looks; NULL for successes and once frozen: then the load that
     * it belonged to is over, and the value is shared by threads. */
    struct plugin_request *request;
};

static void looked_at(struct response *r)
{
    if (r->request)
        r->request->failed = (struct str){0};
}

static enum star_ret response_attr(struct star_run *run, void *self, struct str name, star_v *out)
{
    struct response *r = self;
    struct arena *a = star_run_arena(run);
    if (str_eq(name, STR("value"))) {
        if (r->error.ptr)
            return star_fail(run, STR_FMT, STR_ARG(r->error));
        if (r->stream)
            return star_fail(run, "stream value cannot be accessed in Starlark, return the response object instead");
        *out = r->value;
    } else if (str_eq(name, STR("error"))) {
        looked_at(r);
        *out = r->error.ptr ? star_string(a, r->error) : STAR_NONE;
    } else if (str_eq(name, STR("error_code"))) {
        *out = star_int(a, r->code);
    } else if (str_eq(name, STR("is_stream"))) {
        *out = star_bool(r->stream != NULL);
    } else {
        return STAR_MISSING;
    }
    return STAR_OK;
}

static size_t response_names(void *self, struct str *names, size_t max)
{
    static const struct str all[] = {STR_INIT("error"), STR_INIT("error_code"), STR_INIT("is_stream"),
                                     STR_INIT("value")};
    for (size_t i = 0; i < ARRAY_LEN(all) && i < max; i++)
        names[i] = all[i];
    return ARRAY_LEN(all);
}

static enum star_ret response_no_attr(struct star_run *run, void *self, struct str name)
{
    return star_fail(run, "response has no attribute '" STR_FMT "'", STR_ARG(name));
}

static bool response_truth(void *self)
{
    looked_at(self);
    return !((struct response *)self)->error.ptr;
}

static bool response_repr(void *self, struct buf *out)
{
    struct response *r = self;
    if (r->stream)
        return buf_add_z(out, "Response(is_stream = True)");
    if (r->error.ptr)
        return buf_printf(out, "Response(error = \"" STR_FMT "\")", STR_ARG(r->error));
    return buf_add_z(out, "Response(value = ") && star_repr(out, r->value) && buf_add_char(out, ')');
}

static void response_freeze(void *self)
{
    struct response *r = self;
    r->request = NULL;
    star_freeze(r->value);
}

static star_v response_plain(struct arena *a, void *self)
{
    struct response *r = self;
    star_v d = star_dict(a, 4);
    star_dict_set_z(a, d, "error_code", star_int(a, r->code));
    star_dict_set_z(a, d, "error", r->error.ptr ? star_string(a, r->error) : STAR_NONE);
    star_dict_set_z(a, d, "value", r->error.ptr ? STAR_NONE : r->value);
    star_dict_set_z(a, d, "is_stream", star_bool(r->stream != NULL));
    return d;
}

static const struct star_host_type response_type = {
    .name = "Response",
    .attr = response_attr,
    .attr_names = response_names,
    .no_attr = response_no_attr,
    .truth = response_truth,
    .repr = response_repr,
    .freeze = response_freeze,
    .plain = response_plain,
};

static star_v make(struct arena *a, const struct response *from)
{
    struct response *r = arena_try_alloc(a, sizeof *r);
    if (!r)
        return STAR_NULL;
    *r = *from;
    return star_host(a, &response_type, r);
}

star_v plugin_response_ok(struct arena *a, star_v value, int code)
{
    return star_is_null(value) ? value : make(a, &(struct response){.value = value, .code = code});
}

star_v plugin_response_stream(struct arena *a, struct plugin_stream *s)
{
    return make(a, &(struct response){.value = STAR_NONE, .stream = s});
}

struct plugin_stream *plugin_stream_of(star_v v)
{
    const struct response *r = star_host_data(v, &response_type);
    return r ? r->stream : NULL;
}

star_v plugin_response_failed(struct arena *a, struct plugin_request *request, struct str error, int code)
{
    char *copy = arena_try_alloc(a, error.len + 1);
    if (!copy)
        return STAR_NULL;
    if (error.len > 0)
        memcpy(copy, error.ptr, error.len);
    struct response r = {
        .value = STAR_NONE, .error = str_of(copy, error.len), .code = code, .request = request};
    if (request)
        request->failed = r.error;
    return make(a, &r);
}

bool plugin_is_response(star_v v)
{
    return star_host_data(v, &response_type) != NULL;
}

bool plugin_response_value(star_v v, star_v *value, struct err *err)
{
    struct response *r = star_host_data(v, &response_type);
    if (!r)
        return err_set(err, ERR_INVALID, "not the result of a plugin call, but %s", star_type_name(v));
    if (r->error.ptr)
        return err_set(err, ERR_INVALID, STR_FMT, STR_ARG(r->error));
    *value = r->value;
    return true;
}
