/* starlark/call.c: arguments meet parameters; functions are made; loops over what the VM does not inline.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <stdlib.h>

/* ---- Starlark functions ---- */

static int find_param(const struct proto *p, star_v name)
{
    for (uint32_t i = 0; i < p->n_params; i++)
        if (p->param_names[i].bits == name.bits)
            return (int)i;
    for (uint32_t i = 0; i < p->n_params; i++)
        if (string_equal(p->param_names[i], name))
            return (int)i;
    return -1;
}

static bool bind_keywords(struct star_run *run, struct proto *p, star_v *slots, const star_v *values, size_t nkw,
                          const star_v *names, struct dict_obj *extra)
{
    for (size_t i = 0; i < nkw; i++) {
        int at = find_param(p, names[i]);
        if (at >= 0) {
            if (!star_is_null(slots[at]))
                return FAIL_FALSE(run, "function " STR_FMT " got multiple values for parameter %s", STR_ARG(p->name),
                                  msg_repr(run, names[i]));
            slots[at] = values[i];
            continue;
        }
        if (!extra)
            return FAIL_FALSE(run, "function " STR_FMT " got an unexpected keyword argument %s", STR_ARG(p->name),
                              msg_repr(run, names[i]));
        bool added;
        if (!dict_put(run->arena, extra, names[i], string_hash(names[i]), values[i], &added))
            return memory_fail(run), false;
        if (!added)
            return FAIL_FALSE(run, "function " STR_FMT " got multiple values for parameter %s", STR_ARG(p->name),
                              msg_repr(run, names[i]));
    }
    return true;
}

static bool bind_defaults(struct star_run *run, struct func_obj *fn, star_v *slots)
{
    struct proto *p = fn->proto;
    uint32_t first = p->n_params - p->n_defaults, n_missing = 0;
    scoped_buf missing = BUF_INIT(4096);
    for (uint32_t i = 0; i < p->n_params; i++) {
        if (!star_is_null(slots[i]))
            continue;
        star_v d = i >= first ? fn->defaults[i - first] : MANDATORY;
        if (d.bits != MANDATORY.bits) {
            slots[i] = d;
            continue;
        }
        if (n_missing++ > 0)
            buf_add_z(&missing, ", ");
        buf_add_str(&missing, str_of_v(p->param_names[i]));
    }
    if (n_missing > 0)
        return FAIL_FALSE(run, "function " STR_FMT " missing %u argument%s (%s)", STR_ARG(p->name), n_missing,
                          n_missing > 1 ? "s" : "", buf_z(&missing));
    return true;
}

static bool too_many(struct star_run *run, const struct proto *p, size_t npos)
{
    uint32_t positional = p->n_params - p->n_kwonly;
    return FAIL_FALSE(run, "function " STR_FMT " accepts %s%u positional argument%s (%zu given)", STR_ARG(p->name),
                      p->n_defaults > p->n_kwonly ? "at most " : "", positional, positional == 1 ? "" : "s", npos);
}

bool bind_args(struct star_run *run, struct func_obj *fn, uint32_t base, size_t npos, size_t nkw, const star_v *kwnames)
{
    struct proto *p = fn->proto;
    star_v *R = run->stack + base;
    uint32_t n_params = p->n_params, positional = n_params - p->n_kwonly;
    if (n_params == 0 && !p->has_varargs && !p->has_kwargs) {
        if (npos + nkw > 0)
            return FAIL_FALSE(run, "function " STR_FMT " accepts no arguments (%zu given)", STR_ARG(p->name), npos + nkw);
    } else {
        if (npos > positional && !p->has_varargs)
            return too_many(run, p, npos);
        star_v rest = STAR_NULL, extra = STAR_NULL;
        size_t n = MIN(npos, (size_t)positional);
        if (p->has_varargs) {
            rest = star_tuple(run->arena, R + n, npos - n);
            if (star_is_null(rest))
                return memory_fail(run), false;
        }
        if (p->has_kwargs) {
            extra = obj_or_null(dict_new(run->arena, 0, O_DICT));
            if (star_is_null(extra))
                return memory_fail(run), false;
        }
        /* Keyword values move out of the parameters' way. */
        star_v few[16], *values = few;
        if (nkw > ARRAY_LEN(few) && !(values = star_alloc(run->arena, nkw * sizeof *values)))
            return memory_fail(run), false;
        if (nkw > 0)
            memcpy(values, R + npos, nkw * sizeof *values);
        for (size_t i = n; i < n_params; i++)
            R[i] = STAR_NULL;
        if (nkw > 0 && !bind_keywords(run, p, R, values, nkw, kwnames, p->has_kwargs ? DICT_OBJ(extra) : NULL))
            return false;
        if ((n < n_params || p->n_kwonly > 0) && !bind_defaults(run, fn, R))
            return false;
        uint32_t at = n_params;
        if (p->has_varargs)
            R[at++] = rest;
        if (p->has_kwargs)
            R[at++] = extra;
    }
    if (p->clear_locals)
        for (uint32_t i = n_params + p->has_varargs + p->has_kwargs; i < p->n_locals; i++)
            R[i] = STAR_NULL;
    return true;
}

star_v make_function(struct star_run *run, struct func_obj *in, struct proto *p, const star_v *R, uint32_t defaults)
{
    struct func_obj *fn = new_obj(run->arena, sizeof *fn + p->n_defaults * sizeof(star_v) + p->n_free * sizeof(void *),
                                  O_FUNCTION);
    if (!fn)
        return STAR_NULL;
    fn->proto = p;
    fn->module = in->module;
    fn->defaults = (star_v *)(fn + 1);
    fn->free = (struct cell **)(fn->defaults + p->n_defaults);
    if (p->n_defaults > 0)
        memcpy(fn->defaults, R + defaults, p->n_defaults * sizeof(star_v));
    for (uint32_t i = 0; i < p->n_free; i++) {
        const struct capture *c = &p->captures[i];
        fn->free[i] = c->is_free ? in->free[c->index] : (struct cell *)R[c->index].bits;
    }
    return obj_v(fn);
}

/* ---- *args and **kwargs in calls ---- */

static bool spread_kwargs(struct star_run *run, star_v kw, star_v **names, star_v **values, size_t *n, size_t fixed)
{
    if (!is_type(kw, O_DICT))
        return FAIL_FALSE(run, "argument after ** must be a mapping, not %s", star_type_name(kw));
    const struct dict_obj *d = DICT_OBJ(kw);
    star_v *nm = star_alloc(run->arena, (fixed + d->live + 1) * sizeof *nm);
    star_v *vals = star_alloc(run->arena, (d->live + 1) * sizeof *vals);
    if (!nm || !vals)
        return memory_fail(run), false;
    size_t k = 0;
    for (uint32_t i = 0; i < d->len; i++) {
        if (star_is_null(d->entries[i].key))
            continue;
        if (!is_string(d->entries[i].key))
            return FAIL_FALSE(run, "keywords must be strings, not %s", star_type_name(d->entries[i].key));
        nm[fixed + k] = d->entries[i].key;
        vals[k++] = d->entries[i].value;
    }
    *names = nm;
    *values = vals;
    *n = k;
    return true;
}

bool spread_args(struct star_run *run, uint32_t base, uint32_t n_pos, const struct call_shape *shape, size_t *npos,
                 size_t *nkw, const star_v **kwnames)
{
    uint32_t n_named = shape->n_named, at = base + 1 + n_pos + n_named;
    star_v args = shape->has_args ? run->stack[at++] : STAR_NULL;
    star_v kw = shape->has_kwargs ? run->stack[at++] : STAR_NULL;
    star_v *items = NULL, *names = NULL, *values = NULL, *named = NULL;
    size_t n_items = 0, n_kw = 0;
    if (shape->has_kwargs) {
        if (!spread_kwargs(run, kw, &names, &values, &n_kw, n_named))
            return false;
        memcpy(names, shape->names, n_named * sizeof *names);
    }
    if (shape->has_args) {
        if (!star_is_iterable(args))
            return FAIL_FALSE(run, "argument after * must be iterable, not %s", star_type_name(args));
        if (!iter_collect(run, args, &items, &n_items))
            return false;
    }
    if (n_named > 0) {
        named = star_alloc(run->arena, n_named * sizeof *named);
        if (!named)
            return memory_fail(run), false;
        memcpy(named, &run->stack[base + 1 + n_pos], n_named * sizeof *named);
    }
    if (!stack_reserve(run, base + 1 + n_pos + n_items + n_named + n_kw))
        return false;
    star_v *p = &run->stack[base + 1 + n_pos];
    if (n_items > 0)
        memcpy(p, items, n_items * sizeof *p);
    if (n_named > 0)
        memcpy(p + n_items, named, n_named * sizeof *p);
    if (n_kw > 0)
        memcpy(p + n_items + n_named, values, n_kw * sizeof *p);
    *npos = n_pos + n_items;
    *nkw = n_named + n_kw;
    *kwnames = names ? names : shape->names;
    return true;
}

/* ---- arguments of builtins ---- */

static const char *want_name(enum star_want w)
{
    static const char *const names[] = {
        [STAR_ANY] = "any", [STAR_STR] = "string", [STAR_BOOL] = "bool", [STAR_INT] = "int", [STAR_BIGINT] = "int",
        [STAR_NUMBER] = "float or int", [STAR_LIST] = "list", [STAR_TUPLE] = "tuple", [STAR_DICT] = "dict",
        [STAR_BYTES] = "bytes", [STAR_STRUCT] = "struct", [STAR_CALLABLE] = "callable", [STAR_ITERABLE] = "iterable",
    };
    return names[w];
}

static bool is_wanted(star_v v, enum star_want w)
{
    switch (w) {
    case STAR_ANY: return true;
    case STAR_STR: return is_string(v);
    case STAR_BOOL: return is_bool(v);
    case STAR_INT: case STAR_BIGINT: return is_any_int(v);
    case STAR_NUMBER: return is_any_int(v) || is_float(v);
    case STAR_LIST: return is_type(v, O_LIST);
    case STAR_TUPLE: return is_type(v, O_TUPLE);
    case STAR_DICT: return is_type(v, O_DICT);
    case STAR_BYTES: return is_type(v, O_BYTES);
    case STAR_STRUCT: return is_type(v, O_STRUCT);
    case STAR_CALLABLE: return star_is_callable(v);
    case STAR_ITERABLE: return star_is_iterable(v);
    }
    return false;
}

static bool take_param(struct star_run *run, const struct star_call *call, const struct star_param *p, star_v v, star_v *out)
{
    if ((p->flags & STAR_OR_NONE) && star_is_none(v))
        return true;
    if (!is_wanted(v, p->want))
        return FAIL_FALSE(run, STR_FMT ": for parameter %s: got %s, want %s", STR_ARG(call->name), p->name, star_type_name(v),
                          want_name(p->want));
    int64_t i;
    if (p->want == STAR_INT && !star_to_i64(v, &i))
        return FAIL_FALSE(run, STR_FMT ": for parameter %s: %s out of range (want value in signed 64-bit range)",
                          STR_ARG(call->name), p->name, msg_repr(run, v));
    *out = v;
    return true;
}

static bool unknown_keyword(struct star_run *run, const struct star_call *call, const struct star_param *params, size_t n,
                            struct str name)
{
    struct str names[64];
    size_t k = 0;
    for (size_t i = 0; i < n && k < ARRAY_LEN(names); i++)
        names[k++] = str_from(params[i].name);
    const char *hint = spell_nearest(run->arena, name, names, k);
    return FAIL_FALSE(run, STR_FMT ": unexpected keyword argument \"" STR_FMT "\"%s%s%s", STR_ARG(call->name), STR_ARG(name),
                      hint ? " (did you mean " : "", hint ? hint : "", hint ? "?)" : "");
}

bool star_unpack(struct star_run *run, const struct star_call *call, const struct star_param *params, size_t n, star_v *out)
{
    uint64_t seen = 0;
    assert(n <= 64);
    if (call->npos > n)
        return FAIL_FALSE(run, STR_FMT ": got %zu arguments, want at most %zu", STR_ARG(call->name), call->npos, n);
    for (size_t i = 0; i < call->npos; i++) {
        seen |= UINT64_C(1) << i;
        if (!take_param(run, call, &params[i], call->pos[i], &out[i]))
            return false;
    }
    for (size_t k = 0; k < call->nkw; k++) {
        struct str name = str_of_v(call->kwnames[k]);
        size_t i = 0;
        while (i < n && !str_eq_z(name, params[i].name))
            i++;
        if (i == n)
            return unknown_keyword(run, call, params, n, name);
        if (seen >> i & 1)
            return FAIL_FALSE(run, STR_FMT ": got multiple values for keyword argument \"" STR_FMT "\"", STR_ARG(call->name), STR_ARG(name));
        seen |= UINT64_C(1) << i;
        if (!take_param(run, call, &params[i], call->kwvals[k], &out[i]))
            return false;
    }
    for (size_t i = 0; i < n; i++)
        if (!params[i].flags && !(seen >> i & 1))
            return FAIL_FALSE(run, STR_FMT ": missing argument for %s", STR_ARG(call->name), params[i].name);
    return true;
}

bool star_unpack_pos(struct star_run *run, const struct star_call *call, size_t min, size_t max, star_v *out)
{
    if (call->nkw > 0)
        return FAIL_FALSE(run, STR_FMT ": unexpected keyword arguments", STR_ARG(call->name));
    if (call->npos < min)
        return FAIL_FALSE(run, STR_FMT ": got %zu arguments, want %s%zu", STR_ARG(call->name), call->npos,
                          min < max ? "at least " : "", min);
    if (call->npos > max)
        return FAIL_FALSE(run, STR_FMT ": got %zu arguments, want %s%zu", STR_ARG(call->name), call->npos,
                          min < max ? "at most " : "", max);
    for (size_t i = 0; i < max; i++)
        out[i] = i < call->npos ? call->pos[i] : STAR_NULL;
    return true;
}

/* ---- load ---- */

bool import_names(struct star_run *run, struct star_module *m, const struct load_site *site, star_v *out)
{
    (void)m;
    struct str name = str_of_v(site->module);
    if (!run->loader)
        return FAIL_FALSE(run, "load not implemented by this application");
    scoped_err err = {0};
    struct star_module *from = run->loader(run->loader_ctx, run, name, &err);
    if (!from)
        return FAIL_FALSE(run, "cannot load " STR_FMT ": %s", STR_ARG(name), err_is_set(&err) ? err_msg(&err) : "failed");
    for (uint32_t i = 0; i < site->n; i++) {
        struct str want = str_of_v(site->names[i]);
        out[i] = star_module_get(from, want);
        if (!star_is_null(out[i]))
            continue;
        struct str *names = calloc(from->n + 1, sizeof *names);
        size_t n = 0, at = 0;
        star_v v;
        while (names && star_module_next(from, &at, &names[n], &v))
            n++;
        const char *hint = names ? spell_nearest(run->arena, want, names, n) : NULL;
        free(names);
        return FAIL_FALSE(run, "load: name " STR_FMT " not found in module " STR_FMT "%s%s%s", STR_ARG(want), STR_ARG(name),
                          hint ? " (did you mean " : "", hint ? hint : "", hint ? "?)" : "");
    }
    return true;
}

/* ---- loops ---- */

/* R[a] the iterable, R[a+1] an index or, for host objects, the cursor. */
bool loop_begin(struct star_run *run, star_v *r)
{
    star_v v = r[0];
    r[1] = small_int(0);
    if (!is_obj(v))
        return FAIL_FALSE(run, "%s value is not iterable", star_type_name(v));
    struct obj *o = obj_of(v);
    switch (o->type) {
    case O_TUPLE: case O_RANGE: case O_ELEMS:
        return true;
    case O_LIST: case O_DICT: case O_SET:
        if (!o->frozen)
            o->aux++;
        return true;
    case O_HOST: {
        const struct star_host_type *t = HOST_OBJ(v)->type;
        if (t->iter_next) {
            void *cursor = NULL;
            if (t->iter_begin && t->iter_begin(run, HOST_OBJ(v)->self, &cursor) != STAR_OK)
                return false;
            r[1].bits = (uintptr_t)cursor;
            return true;
        }
        break;
    }
    default:
        break;
    }
    return FAIL_FALSE(run, "%s value is not iterable", star_type_name(v));
}

void loop_end(star_v *r)
{
    if (!is_obj(r[0]))
        return;
    struct obj *o = obj_of(r[0]);
    if (o->type == O_LIST || o->type == O_DICT || o->type == O_SET) {
        if (!o->frozen && o->aux > 0)
            o->aux--;
    } else if (o->type == O_HOST) {
        const struct star_host_type *t = HOST_OBJ(r[0])->type;
        void *cursor = (void *)(uintptr_t)r[1].bits;
        if (t->iter_end)
            t->iter_end(HOST_OBJ(r[0])->self, &cursor);
    }
    r[0] = STAR_NONE;   /* ended: a second end does nothing */
}

static int host_next(struct star_run *run, star_v *r, star_v *out)
{
    const struct star_host_type *t = HOST_OBJ(r[0])->type;
    if (run->waiting == WAIT_ITER_DONE) {
        run->waiting = WAIT_NONE;
        *out = run->pending;
        return star_is_null(*out) ? 0 : 1;
    }
    void *cursor = (void *)(uintptr_t)r[1].bits;
    *out = STAR_NULL;
    enum star_ret ret = t->iter_next(run, HOST_OBJ(r[0])->self, &cursor, out);
    r[1].bits = (uintptr_t)cursor;
    if (ret == STAR_OK && !star_is_null(*out))
        return 1;
    if (ret == STAR_MISSING)
        return 0;
    if (ret == STAR_BLOCK) {
        run->waiting = WAIT_ITER;
        return -2;
    }
    return -1;
}

static star_v elems_next(struct star_run *run, const struct elems_obj *e, uint64_t *at)
{
    struct str s = str_of_v(e->str);
    if (*at >= s.len)
        return STAR_NULL;
    unsigned char c = (unsigned char)s.ptr[*at];
    size_t w = 1;
    switch ((enum elems_kind)e->h.flags) {
    case ELEMS_BYTES_STR:
        ++*at;
        return obj_v(&byte_strings[c]);
    case ELEMS_BYTES_ORD:
    case ELEMS_OF_BYTES:
        ++*at;
        return small_int(c);
    default:
        break;
    }
    uint32_t rune = utf8_decode(str_of(s.ptr + *at, s.len - *at), &w);
    uint64_t from = *at;
    *at += w;
    if (e->h.flags == ELEMS_CODEPOINT_ORDS)
        return small_int(rune);
    if (w == 1 && c < 0x80)
        return obj_v(&byte_strings[c]);
    if (w == 1) /* a byte that is no UTF-8 reads as U+FFFD */
        return star_string_borrow(run->arena, STR("\xEF\xBF\xBD"));
    return string_slice(run->arena, e->str, from, from + w, O_STRING);
}

int loop_next(struct star_run *run, star_v *r, star_v *out)
{
    struct obj *o = obj_of(r[0]);
    uint64_t i = r[1].bits / 4;
    switch (o->type) {
    case O_TUPLE:
        if (i >= o->aux)
            return 0;
        *out = TUPLE_OBJ(r[0])->items[i];
        break;
    case O_DICT: case O_SET: {
        const struct dict_obj *d = DICT_OBJ(r[0]);
        while (i < d->len && star_is_null(d->entries[i].key))
            i++;
        if (i >= d->len)
            return 0;
        *out = d->entries[i].key;
        break;
    }
    case O_RANGE: {
        const struct range_obj *g = RANGE_OBJ(r[0]);
        if (i >= (uint64_t)g->len)
            return 0;
        *out = range_item(run->arena, g, i);
        break;
    }
    case O_ELEMS: {
        star_v v = elems_next(run, (struct elems_obj *)o, &i);
        r[1] = small_int((int64_t)i);
        if (star_is_null(v))
            return i < STR_OBJ(((struct elems_obj *)o)->str)->len ? -1 : 0;
        *out = v;
        return 1;
    }
    case O_HOST:
        return host_next(run, r, out);
    default:
        return 0;
    }
    r[1] = small_int((int64_t)i + 1);
    return star_is_null(*out) ? -1 : 1;
}

bool unpack(struct star_run *run, star_v v, star_v *out, size_t n)
{
    const star_v *items;
    size_t len;
    if (seq_items(v, &items, &len)) {
        if (len > n)
            return FAIL_FALSE(run, "too many values to unpack (got %zu, want %zu)", len, n);
        if (len < n)
            return FAIL_FALSE(run, "too few values to unpack (got %zu, want %zu)", len, n);
        if (n > 0)
            memcpy(out, items, n * sizeof *out);
        return true;
    }
    if (!star_is_iterable(v))
        return FAIL_FALSE(run, "got %s in sequence assignment", star_type_name(v));
    struct iter it;
    star_v x;
    size_t i = 0;
    if (!iter_begin(run, &it, v))
        return false;
    while (i <= n && iter_next(run, &it, &x)) {
        if (i < n)
            out[i] = x;
        i++;
    }
    iter_end(&it);
    if (run->has_msg)
        return false;
    if (i > n)
        return FAIL_FALSE(run, "too many values to unpack (got %lld, want %zu)", (long long)value_len(v), n);
    if (i < n)
        return FAIL_FALSE(run, "too few values to unpack (got %zu, want %zu)", i, n);
    return true;
}
