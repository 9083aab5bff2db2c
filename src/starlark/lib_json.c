/* starlark/lib_json.c: the json module.
 * SPDX-License-Identifier: Apache-2.0 */
#include "lib_int.h"

static enum star_ret encode_value(struct star_run *run, const struct star_call *call, star_v v, struct buf *b)
{
    scoped_err err = {0};
    if (star_json_encode(run->arena, b, v, STAR_JSON_SORT, &err))
        return star_charge(run, b->len / 64) ? STAR_OK : STAR_FAIL;
    if (err.code == ERR_TOO_LARGE)
        return memory_fail(run);
    return star_fail(run, STR_FMT ": %s", STR_ARG(call->name), err_msg(&err));
}

static enum star_ret encode(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    scoped_buf b = BUF_INIT(text_max(run));
    if (encode_value(run, call, a[0], &b) != STAR_OK)
        return STAR_FAIL;
    *out = star_string(run->arena, buf_str(&b));
    return STAR_OK;
}

/* ---- indent: a JSON text with line breaks. The text has been checked before. ---- */

static void newline(struct buf *b, struct str prefix, struct str indent, size_t depth)
{
    buf_add_char(b, '\n');
    buf_add_str(b, prefix);
    for (size_t i = 0; i < depth && !b->is_full; i++)
        buf_add_str(b, indent);
}

static void indent_text(struct buf *b, struct str s, struct str prefix, struct str indent)
{
    size_t depth = 0;
    bool in_string = false, need_indent = false;
    for (size_t i = 0; i < s.len && !b->is_full; i++) {
        char c = s.ptr[i];
        if (in_string) {
            buf_add_char(b, c);
            if (c == '\\' && i + 1 < s.len)
                buf_add_char(b, s.ptr[++i]);
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            continue;
        if (need_indent && c != ']' && c != '}') {
            need_indent = false;
            newline(b, prefix, indent, ++depth);
        }
        switch (c) {
        case '{': case '[':
            need_indent = true;
            buf_add_char(b, c);
            break;
        case ',':
            buf_add_char(b, c);
            newline(b, prefix, indent, depth);
            break;
        case ':':
            buf_add_z(b, ": ");
            break;
        case '}': case ']':
            if (need_indent)
                need_indent = false;
            else
                newline(b, prefix, indent, --depth);
            buf_add_char(b, c);
            break;
        default:
            in_string = c == '"';
            buf_add_char(b, c);
        }
    }
}

static bool indent_args(struct star_run *run, const struct star_call *call, struct str *prefix, struct str *indent)
{
    static const struct star_param params[] = {{"prefix", STAR_STR, STAR_OPTIONAL}, {"indent", STAR_STR, STAR_OPTIONAL}};
    star_v a[2] = {STAR_NULL, STAR_NULL};
    struct star_call kw = *call;
    kw.npos = 0;
    *prefix = STR("");
    *indent = STR("\t");
    if (!star_unpack(run, &kw, params, 2, a))
        return false;
    star_to_str(a[0], prefix);
    star_to_str(a[1], indent);
    return true;
}

static enum star_ret indented(struct star_run *run, struct str text, struct str prefix, struct str indent, star_v *out)
{
    scoped_buf b = BUF_INIT(text_max(run));
    indent_text(&b, text, prefix, indent);
    if (b.is_full)
        return memory_fail(run);
    *out = star_charge(run, b.len / 64) ? star_string(run->arena, buf_str(&b)) : STAR_NULL;
    return STAR_OK;
}

static enum star_ret encode_indent(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    struct str prefix, indent;
    struct star_call pos = *call;
    pos.nkw = 0;
    if (!indent_args(run, call, &prefix, &indent) || !star_unpack_pos(run, &pos, 1, 1, a))
        return STAR_FAIL;
    scoped_buf b = BUF_INIT(text_max(run));
    if (encode_value(run, call, a[0], &b) != STAR_OK)
        return STAR_FAIL;
    return indented(run, buf_str(&b), prefix, indent, out);
}

static enum star_ret indent_builtin(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1], v;
    struct str prefix, indent, text;
    struct star_call pos = *call;
    pos.nkw = 0;
    if (!indent_args(run, call, &prefix, &indent) || !star_unpack_pos(run, &pos, 1, 1, a) || !arg_str(run, call, a[0], 0, &text))
        return STAR_FAIL;
    scoped_err err = {0};
    if (!star_json_decode(run->arena, text, &v, &err))
        return star_fail(run, STR_FMT ": invalid character in JSON text: %s", STR_ARG(call->name), err_msg(&err));
    return indented(run, text, prefix, indent, out);
}

static enum star_ret decode(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {{"x", STAR_STR, 0}, {"default", STAR_ANY, STAR_OPTIONAL}};
    star_v a[2] = {STAR_NULL, STAR_NULL};
    scoped_err err = {0};
    if (!star_unpack(run, call, params, 2, a))
        return STAR_FAIL;
    if (call->npos < 1)
        return star_fail(run, STR_FMT ": unexpected keyword argument x", STR_ARG(call->name));
    struct str text = str_of_v(a[0]);
    if (!star_charge(run, text.len / 64))
        return STAR_FAIL;
    if (star_json_decode(run->arena, text, out, &err))
        return STAR_OK;
    if (err.code == ERR_TOO_LARGE)
        return memory_fail(run);
    if (!star_is_null(a[1])) {
        *out = a[1];
        return STAR_OK;
    }
    return star_fail(run, STR_FMT ": %s", STR_ARG(call->name), err_msg(&err));
}

_Alignas(16) static struct builtin_obj functions[] = {
    BUILTIN_INIT("json.decode", decode, NULL), BUILTIN_INIT("json.encode", encode, NULL),
    BUILTIN_INIT("json.encode_indent", encode_indent, NULL), BUILTIN_INIT("json.indent", indent_builtin, NULL),
};

star_v star_lib_json(void)
{
    static struct lib lib = {.name = "json", .functions = functions, .n = ARRAY_LEN(functions), .prefix = 5};
    return lib_get(&lib);
}
