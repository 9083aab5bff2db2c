/* starlark/print.c: str() and repr(). Depth is bounded; cycles show as "...".
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <stdio.h>

struct printer {
    struct buf *out;
    const char *why;
    star_v path[REPR_DEPTH];    /* containers being printed, for cycles */
};

static bool print(struct printer *p, star_v v, int depth);

static bool quote_byte(struct buf *out, unsigned char c, const char *prefix)
{
    static const char hex[] = "0123456789abcdef";
    char text[2] = {hex[c >> 4], hex[c & 15]};
    return buf_add_z(out, prefix) && buf_add(out, text, 2);
}

bool quote_string(struct buf *out, struct str s, bool is_bytes)
{
    if (is_bytes)
        buf_add_char(out, 'b');
    buf_add_char(out, '"');
    size_t plain = 0, i = 0;
    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        size_t w = 1;
        uint32_t r = c < 0x80 ? c : utf8_decode(str_of(s.ptr + i, s.len - i), &w);
        if (c >= 0x80 && !(w == 1 && r == 0xFFFD) && uni_is_print(r)) {
            i += w;
            continue;
        }
        buf_add(out, s.ptr + plain, i - plain);
        i += w;
        plain = i;
        static const char from[] = "\a\b\f\n\r\t\v\"\\", to[] = "abfnrtv\"\\";
        const char *simple = c && c < 0x80 ? strchr(from, c) : NULL;
        if (simple) {
            buf_add_char(out, '\\');
            buf_add_char(out, to[simple - from]);
        } else if (w == 1) {
            quote_byte(out, c, "\\x");
        } else {
            char text[12];
            snprintf(text, sizeof text, r < 0x10000 ? "\\u%04x" : "\\U%08x", r);
            buf_add_z(out, text);
        }
    }
    buf_add(out, s.ptr + plain, s.len - plain);
    return buf_add_char(out, '"');
}

static bool print_items(struct printer *p, const star_v *items, size_t n, const char *open, const char *close, int depth)
{
    buf_add_z(p->out, open);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_z(p->out, ", ");
        if (!print(p, items[i], depth + 1))
            return false;
    }
    return buf_add_z(p->out, close);
}

static bool print_dict(struct printer *p, const struct dict_obj *d, bool is_set, int depth)
{
    bool first = true;
    buf_add_z(p->out, is_set ? "set([" : "{");
    for (uint32_t i = 0; i < d->len; i++) {
        if (star_is_null(d->entries[i].key))
            continue;
        if (!first)
            buf_add_z(p->out, ", ");
        first = false;
        if (!print(p, d->entries[i].key, depth + 1))
            return false;
        if (is_set)
            continue;
        buf_add_z(p->out, ": ");
        if (!print(p, d->entries[i].value, depth + 1))
            return false;
    }
    return buf_add_z(p->out, is_set ? "])" : "}");
}

static bool print_struct(struct printer *p, const struct struct_obj *s, int depth)
{
    if (s->h.flags == STRUCT_IS_MODULE)
        return buf_printf(p->out, "<module \"" STR_FMT "\">", STR_ARG(str_of_v(s->shape->ctor)));
    buf_add_str(p->out, str_of_v(s->shape->ctor));
    buf_add_char(p->out, '(');
    for (uint32_t i = 0; i < s->shape->n; i++) {
        if (i > 0)
            buf_add_z(p->out, ", ");
        buf_add_str(p->out, str_of_v(s->shape->names[i]));
        buf_add_z(p->out, " = ");
        if (!print(p, s->values[i], depth + 1))
            return false;
    }
    return buf_add_char(p->out, ')');
}

static bool print_elems(struct printer *p, const struct elems_obj *e)
{
    static const char *const suffix[] = {
        [ELEMS_BYTES_STR] = ".elems()", [ELEMS_BYTES_ORD] = ".elem_ords()", [ELEMS_CODEPOINTS] = ".codepoints()",
        [ELEMS_CODEPOINT_ORDS] = ".codepoint_ords()", [ELEMS_OF_BYTES] = ".elems()",
    };
    quote_string(p->out, str_of_v(e->str), is_type(e->str, O_BYTES));
    return buf_add_z(p->out, suffix[e->h.flags]);
}

static bool print_builtin(struct printer *p, const struct builtin_obj *b)
{
    if (star_is_null(b->recv))
        return buf_printf(p->out, "<built-in function " STR_FMT ">", STR_ARG(b->name));
    return buf_printf(p->out, "<built-in method " STR_FMT " of %s value>", STR_ARG(b->name), star_type_name(b->recv));
}

static bool print_range(struct printer *p, const struct range_obj *r)
{
    if (r->step != 1)
        return buf_printf(p->out, "range(%lld, %lld, %lld)", (long long)r->start, (long long)r->stop, (long long)r->step);
    if (r->start != 0)
        return buf_printf(p->out, "range(%lld, %lld)", (long long)r->start, (long long)r->stop);
    return buf_printf(p->out, "range(%lld)", (long long)r->stop);
}

static bool print_host(struct printer *p, star_v v)
{
    const struct star_host_type *t = HOST_OBJ(v)->type;
    if (t->repr)
        return t->repr(HOST_OBJ(v)->self, p->out);
    return buf_printf(p->out, "<%s>", t->name);
}

static bool in_path(const struct printer *p, star_v v, int depth)
{
    for (int i = 0; i < depth; i++)
        if (p->path[i].bits == v.bits)
            return true;
    return false;
}

static bool print_obj(struct printer *p, star_v v, int depth)
{
    const struct obj *o = obj_of(v);
    bool nests = o->type == O_LIST || o->type == O_TUPLE || o->type == O_DICT || o->type == O_SET || o->type == O_STRUCT;
    if (nests) {
        if (!charge_current(1))
            return false;
        if (depth >= REPR_DEPTH) {
            p->why = "value is nested too deep to be printed";
            return false;
        }
        if ((o->type == O_LIST || o->type == O_DICT) && in_path(p, v, depth))
            return buf_add_z(p->out, o->type == O_LIST ? "[...]" : "{...}");
        p->path[depth] = v;
    }
    switch (o->type) {
    case O_STRING: return quote_string(p->out, str_of_v(v), false);
    case O_BYTES: return quote_string(p->out, str_of_v(v), true);
    case O_LIST: return print_items(p, LIST_OBJ(v)->items, LIST_OBJ(v)->len, "[", "]", depth);
    case O_TUPLE: return print_items(p, TUPLE_OBJ(v)->items, o->aux, "(", o->aux == 1 ? ",)" : ")", depth);
    case O_DICT: return print_dict(p, DICT_OBJ(v), false, depth);
    case O_SET: return print_dict(p, DICT_OBJ(v), true, depth);
    case O_STRUCT: return print_struct(p, STRUCT_OBJ(v), depth);
    case O_RANGE: return print_range(p, RANGE_OBJ(v));
    case O_FUNCTION: return buf_printf(p->out, "<function " STR_FMT ">", STR_ARG(FUNC_OBJ(v)->proto->name));
    case O_BUILTIN: return print_builtin(p, BUILTIN_OBJ(v));
    case O_BIGINT: return int_format(p->out, v, 10, false);
    case O_FLOAT: return float_repr(p->out, float_of(v));
    case O_ELEMS: return print_elems(p, ELEMS_OBJ(v));
    default: return print_host(p, v);
    }
}

static bool print(struct printer *p, star_v v, int depth)
{
    if (p->out->is_full)
        return false;
    if (is_int(v))
        return int_format(p->out, v, 10, false);
    if (is_imm_float(v))
        return float_repr(p->out, float_of(v));
    if (!is_obj(v))
        return buf_add_z(p->out, star_is_none(v) ? "None" : v.bits == STAR_TRUE.bits ? "True" : v.bits == STAR_FALSE.bits ? "False" : "null");
    return print_obj(p, v, depth);
}

/* Scalars need no path. */
bool value_print(struct buf *out, star_v v, int flags, const char **why)
{
    if (why)
        *why = NULL;
    if ((flags & PRINT_STR) && is_string(v))
        return buf_add_str(out, str_of_v(v)), !out->is_full;
    struct printer p;
    p.out = out;
    p.why = NULL;
    bool ok = print(&p, v, 0) && !out->is_full;
    if (why)
        *why = p.why;
    return ok;
}

bool star_repr(struct buf *out, star_v v)
{
    return value_print(out, v, 0, NULL);
}

bool star_str(struct buf *out, star_v v)
{
    return value_print(out, v, PRINT_STR, NULL);
}

static const char *for_message(struct star_run *run, star_v v, int flags)
{
    scoped_buf b = BUF_INIT(4000);
    if (!value_print(&b, v, flags, NULL))
        buf_printf(&b, "%s", "");
    char *z = star_alloc(run->arena, b.len + 4);
    if (!z)
        return "...";
    if (b.len > 0)
        memcpy(z, b.ptr, b.len);
    z[b.len] = 0;
    return z;
}

const char *msg_repr(struct star_run *run, star_v v)
{
    return for_message(run, v, 0);
}
const char *msg_str(struct star_run *run, star_v v)
{
    return for_message(run, v, PRINT_STR);
}
