/* starlark/format.c: "..." % args and "...".format(...).
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <math.h>

static bool add_value(struct star_run *run, struct buf *b, star_v v, int flags)
{
    const char *why;
    if (value_print(b, v, flags, &why))
        return true;
    if (why)
        star_fail(run, "%s", why);
    else
        memory_fail(run);
    return false;
}

/* ---- % ---- */

struct interpolation {
    struct star_run *run;
    struct buf *out;
    star_v arg;         /* the right operand */
    size_t index, n;
};

static bool number_to_int(struct star_run *run, star_v v, star_v *out)
{
    if (is_any_int(v)) {
        *out = v;
        return true;
    }
    if (is_float(v)) {
        double d = float_of(v);
        if (!isfinite(d))
            return FAIL_FALSE(run, "cannot convert float %s to integer", isnan(d) ? "NaN" : "infinity");
        *out = int_from_double(run->arena, d);
        return !star_is_null(*out);
    }
    return false;
}

static bool conv_int(struct interpolation *ip, char c, star_v v)
{
    star_v i;
    if (!is_any_int(v) && !is_float(v))
        return FAIL_FALSE(ip->run, "%%%c format requires integer: cannot convert %s to int", c, star_type_name(v));
    if (is_float(v) && !isfinite(float_of(v)))
        return FAIL_FALSE(ip->run, "%%%c format requires integer: cannot convert float %s to integer", c,
                          isnan(float_of(v)) ? "NaN" : "infinity");
    if (!number_to_int(ip->run, v, &i))
        return false;
    return int_format(ip->out, i, c == 'o' ? 8 : c == 'x' || c == 'X' ? 16 : 10, c == 'X');
}

static bool conv_char(struct interpolation *ip, star_v v)
{
    int64_t r;
    char text[4];
    if (is_any_int(v)) {
        if (!star_to_i64(v, &r) || r < 0 || r > 0x10FFFF)
            return FAIL_FALSE(ip->run, "%%c format requires a valid Unicode code point, got %s", msg_repr(ip->run, v));
        return buf_add(ip->out, text, utf8_encode((uint32_t)r, text));
    }
    if (!is_string(v))
        return FAIL_FALSE(ip->run, "%%c format requires int or single-character string, not %s", star_type_name(v));
    struct str s = str_of_v(v);
    if (s.len == 0 || utf8_count(s) != 1)
        return FAIL_FALSE(ip->run, "%%c format requires a single-character string");
    size_t w;
    return buf_add(ip->out, text, utf8_encode(utf8_decode(s, &w), text));
}

static bool convert(struct interpolation *ip, char c, star_v v)
{
    double d;
    switch (c) {
    case 's': return add_value(ip->run, ip->out, v, PRINT_STR);
    case 'r': return add_value(ip->run, ip->out, v, 0);
    case 'd': case 'i': case 'o': case 'x': case 'X': return conv_int(ip, c, v);
    case 'e': case 'f': case 'g': case 'E': case 'F': case 'G':
        if (!star_to_double(v, &d))
            return FAIL_FALSE(ip->run, "%%%c format requires float, not %s", c, star_type_name(v));
        return float_format(ip->out, d, c);
    case 'c': return conv_char(ip, v);
    case '%': return buf_add_char(ip->out, '%');
    default: return FAIL_FALSE(ip->run, "unknown conversion %%%c", c);
    }
}

static bool keyed_arg(struct interpolation *ip, struct str *rest, star_v *v)
{
    struct str key;
    struct str f = str_from_off(*rest, 1);
    if (!str_cut(f, ')', &key, rest))
        return FAIL_FALSE(ip->run, "incomplete format key");
    if (!is_type(ip->arg, O_DICT))
        return FAIL_FALSE(ip->run, "format requires a mapping");
    *v = star_dict_get_str(ip->arg, key);
    if (star_is_null(*v))
        return FAIL_FALSE(ip->run, "key not found: " STR_FMT, STR_ARG(key));
    return true;
}

static bool next_arg(struct interpolation *ip, star_v *v)
{
    if (ip->index >= ip->n)
        return FAIL_FALSE(ip->run, "not enough arguments for format string");
    *v = is_type(ip->arg, O_TUPLE) ? TUPLE_OBJ(ip->arg)->items[ip->index] : ip->arg;
    return true;
}

static bool interpolate(struct interpolation *ip, struct str f)
{
    for (;;) {
        size_t i = str_chr(f, '%');
        if (i == STR_NPOS)
            return buf_add_str(ip->out, f);
        buf_add(ip->out, f.ptr, i);
        f = str_from_off(f, i + 1);
        if (f.len > 0 && f.ptr[0] == '%') {
            buf_add_char(ip->out, '%');
            f = str_from_off(f, 1);
            continue;
        }
        star_v v;
        if (f.len > 0 && f.ptr[0] == '(' ? !keyed_arg(ip, &f, &v) : !next_arg(ip, &v))
            return false;
        if (f.len == 0)
            return FAIL_FALSE(ip->run, "incomplete format");
        if (!convert(ip, f.ptr[0], v))
            return false;
        f = str_from_off(f, 1);
        ip->index++;
    }
}

star_v string_interpolate(struct star_run *run, star_v format, star_v arg)
{
    scoped_buf b = BUF_INIT(text_max(run));
    struct interpolation ip = {run, &b, arg, 0, is_type(arg, O_TUPLE) ? TUPLE_OBJ(arg)->h.aux : 1};
    if (!interpolate(&ip, str_of_v(format)))
        return STAR_NULL;
    if (ip.index < ip.n && !is_type(arg, O_DICT))
        return FAIL_NULL(run, "too many arguments for format string");
    if (b.is_full || !star_charge(run, b.len / 128))
        return STAR_NULL;
    return star_string(run->arena, buf_str(&b));
}

/* ---- format ---- */

struct formatter {
    struct star_run *run;
    const struct star_call *call;
    struct buf *out;
    size_t index;
    bool is_auto, is_manual;
};

/* Literal text: "}}" is "}", a lone one is an error. */
static bool add_literal(struct formatter *f, struct str s)
{
    size_t i;
    while ((i = str_chr(s, '}')) != STR_NPOS) {
        if (i + 1 >= s.len || s.ptr[i + 1] != '}')
            return FAIL_FALSE(f->run, "format: single '}' in format");
        buf_add(f->out, s.ptr, i + 1);
        s = str_from_off(s, i + 2);
    }
    return buf_add_str(f->out, s);
}

static bool is_decimal(struct str s, uint64_t *n)
{
    *n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9' || *n > UINT32_MAX)
            return false;
        *n = *n * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return true;
}

static bool keyword_arg(struct formatter *f, struct str name, star_v *v)
{
    for (size_t i = 0; i < f->call->nkw; i++) {
        if (str_eq(str_of_v(f->call->kwnames[i]), name)) {
            *v = f->call->kwvals[i];
            return true;
        }
    }
    if (str_chr(name, '.') != STR_NPOS)
        return FAIL_FALSE(f->run, "format: attribute syntax x.y is not supported in replacement fields: " STR_FMT, STR_ARG(name));
    if (str_chr(name, '[') != STR_NPOS)
        return FAIL_FALSE(f->run, "format: element syntax a[i] is not supported in replacement fields: " STR_FMT, STR_ARG(name));
    if (str_chr(name, '{') != STR_NPOS)
        return FAIL_FALSE(f->run, "format: nested replacement fields not supported");
    return FAIL_FALSE(f->run, "format: keyword " STR_FMT " not found", STR_ARG(name));
}

static bool field_arg(struct formatter *f, struct str name, star_v *v)
{
    uint64_t i;
    if (name.len == 0) {
        if (f->is_manual)
            return FAIL_FALSE(f->run, "format: cannot switch from manual field specification to automatic field numbering");
        f->is_auto = true;
        i = f->index++;
    } else if (is_decimal(name, &i)) {
        if (f->is_auto)
            return FAIL_FALSE(f->run, "format: cannot switch from automatic field numbering to manual field specification");
        f->is_manual = true;
    } else {
        return keyword_arg(f, name, v);
    }
    if (i >= f->call->npos)
        return FAIL_FALSE(f->run, "format: tuple index out of range");
    *v = f->call->pos[i];
    return true;
}

static bool add_field(struct formatter *f, struct str field)
{
    struct str name = field, conv = STR("s"), spec = STR("");
    star_v v;
    if (str_chr(field, '!') != STR_NPOS) {
        str_cut(field, '!', &name, &conv);
        str_cut(conv, ':', &conv, &spec);
    } else {
        str_cut(field, ':', &name, &spec);
    }
    if (!field_arg(f, name, &v))
        return false;
    if (spec.len > 0)
        return FAIL_FALSE(f->run, "format spec features not supported in replacement fields: " STR_FMT, STR_ARG(spec));
    if (str_eq(conv, STR("s")))
        return add_value(f->run, f->out, v, PRINT_STR);
    if (str_eq(conv, STR("r")))
        return add_value(f->run, f->out, v, 0);
    return FAIL_FALSE(f->run, "format: unknown conversion \"" STR_FMT "\"", STR_ARG(conv));
}

enum star_ret string_format(struct star_run *run, const struct star_call *call, star_v *out)
{
    scoped_buf b = BUF_INIT(text_max(run));
    struct formatter f = {.run = run, .call = call, .out = &b};
    struct str s = str_of_v(call->recv);
    for (;;) {
        size_t i = str_chr(s, '{');
        if (!add_literal(&f, str_slice(s, 0, i)))
            return run->has_msg ? STAR_FAIL : memory_fail(run);
        if (i == STR_NPOS)
            break;
        s = str_from_off(s, i + 1);
        if (s.len > 0 && s.ptr[0] == '{') {
            buf_add_char(&b, '{');
            s = str_from_off(s, 1);
            continue;
        }
        struct str field;
        if (!str_cut(s, '}', &field, &s))
            return star_fail(run, "format: unmatched '{' in format");
        if (!add_field(&f, field))
            return run->has_msg ? STAR_FAIL : memory_fail(run);
    }
    if (b.is_full)
        return memory_fail(run);
    *out = star_charge(run, b.len / 128) ? star_string(run->arena, buf_str(&b)) : STAR_NULL;
    return STAR_OK;
}
