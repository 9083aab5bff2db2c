/* base/json.c: the glue over jansson.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

void json_cleanup(json_t **j)
{
    json_decref(*j);
}

json_t *json_parse(struct str text, struct err *err)
{
    json_error_t e;
    json_t *j = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!j)
        err_set(err, ERR_INVALID, "line %d, column %d: %s", e.line > 0 ? e.line : 1, e.column > 0 ? e.column : 1,
                e.text);
    return j;
}

json_t *json_parse_object(struct str text, struct err *err)
{
    json_t *j = json_parse(text, err);
    if (j && !json_is_object(j)) {
        json_decref(j);
        err_set(err, ERR_INVALID, "a JSON object is wanted, {...}");
        return NULL;
    }
    return j;
}

static int add_piece(const char *ptr, size_t len, void *arg)
{
    return buf_add(arg, ptr, len) ? 0 : -1;
}

bool json_text_to(struct buf *b, const json_t *j, unsigned style)
{
    size_t flags = JSON_ENCODE_ANY;
    flags |= style & JSON_STYLE_INDENT ? JSON_INDENT(2) : JSON_COMPACT;
    if (style & JSON_STYLE_SORTED)
        flags |= JSON_SORT_KEYS;
    return json_dump_callback(j, add_piece, b, flags) == 0;
}

struct str json_text(struct arena *a, const json_t *j, unsigned style)
{
    scoped_buf b = BUF_INIT(SIZE_MAX / 4);
    if (!json_text_to(&b, j, style))
        BUG("json_text: a value nested too deep, or one that holds itself");
    return str_dup(a, buf_str(&b));
}

struct str json_str(const json_t *j)
{
    return json_is_string(j) ? str_of(json_string_value(j), json_string_length(j)) : (struct str){0};
}

json_t *json_get(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

struct str json_get_str(const json_t *obj, const char *key, struct str otherwise)
{
    const json_t *v = json_get(obj, key);
    return json_is_string(v) ? json_str(v) : otherwise;
}

bool json_get_bool(const json_t *obj, const char *key, bool otherwise)
{
    const json_t *v = json_get(obj, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t otherwise)
{
    const json_t *v = json_get(obj, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

double json_get_num(const json_t *obj, const char *key, double otherwise)
{
    const json_t *v = json_get(obj, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

struct str_list json_get_list(struct arena *a, const json_t *obj, const char *key)
{
    struct str_list l = {0};
    size_t i;
    json_t *v;
    json_array_foreach(json_get(obj, key), i, v) {
        if (json_is_string(v))
            str_list_add(a, &l, json_str(v));
    }
    return l;
}

static const char *type_name(const json_t *j)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "something else";
}

static bool wrong_type(const char *key, const char *wanted, const json_t *got, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s must be %s, not %s", key, wanted, type_name(got));
}

/* True when *v is there to be read; false otherwise, *result being what the reader returns. */
static bool present(const json_t *obj, const char *key, bool need, const json_t **v, bool *result, struct err *err)
{
    *v = json_get(obj, key);
    if (*v)
        return true;
    *result = need ? err_set(err, ERR_INVALID, "%s is required", key) : true;
    return false;
}

bool json_read_str(const json_t *obj, const char *key, bool need, struct str *out, struct err *err)
{
    const json_t *v;
    bool result;
    if (!present(obj, key, need, &v, &result, err))
        return result;
    if (!json_is_string(v))
        return wrong_type(key, "a string", v, err);
    *out = json_str(v);
    return true;
}

bool json_read_bool(const json_t *obj, const char *key, bool need, bool *out, struct err *err)
{
    const json_t *v;
    bool result;
    if (!present(obj, key, need, &v, &result, err))
        return result;
    if (!json_is_boolean(v))
        return wrong_type(key, "a boolean", v, err);
    *out = json_is_true(v);
    return true;
}

bool json_read_int(const json_t *obj, const char *key, bool need, int64_t *out, struct err *err)
{
    const json_t *v;
    bool result;
    if (!present(obj, key, need, &v, &result, err))
        return result;
    if (!json_is_integer(v))
        return wrong_type(key, "an integer", v, err);
    *out = json_integer_value(v);
    return true;
}

bool json_read_list(struct arena *a, const json_t *obj, const char *key, bool need, struct str_list *out,
                    struct err *err)
{
    const json_t *v;
    bool result;
    if (!present(obj, key, need, &v, &result, err))
        return result;
    if (!json_is_array(v))
        return wrong_type(key, "a list of strings", v, err);
    struct str_list l = {0};
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_string(item))
            return err_set(err, ERR_INVALID, "%s must be a list of strings, but item %zu is %s", key, i + 1,
                           type_name(item));
        str_list_add(a, &l, json_str(item));
    }
    *out = l;
    return true;
}

bool json_read_map(struct arena *a, const json_t *obj, const char *key, bool need, struct map *out, struct err *err)
{
    const json_t *v;
    bool result;
    if (!present(obj, key, need, &v, &result, err))
        return result;
    if (!json_is_object(v))
        return wrong_type(key, "an object of strings", v, err);
    struct map m;
    map_init(&m, a);
    for (void *it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it)) {
        const json_t *item = json_object_iter_value(it);
        if (!json_is_string(item))
            return err_set(err, ERR_INVALID, "%s must be an object of strings, but %s is %s", key,
                           json_object_iter_key(it), type_name(item));
        struct str *value = arena_new(a, struct str);
        *value = json_str(item);
        map_set(&m, str_from(json_object_iter_key(it)), value);
    }
    *out = m;
    return true;
}

/* `s`, or, if it is not UTF-8, a copy in `b` with each byte that is not part of a valid sequence replaced. */
static struct str as_utf8(struct buf *b, struct str s)
{
    if (str_is_utf8(s))
        return s.ptr ? s : STR("");
    while (s.len > 0) {
        size_t n = 1;
        while (n <= 4 && n <= s.len && !str_is_utf8(str_slice(s, 0, n)))
            n++;
        bool valid = n <= 4 && n <= s.len;
        if (valid)
            buf_add(b, s.ptr, n);
        else
            buf_add_z(b, "\xef\xbf\xbd");
        s = str_from_off(s, valid ? n : 1);
    }
    return buf_str(b);
}

static json_t *must(json_t *j)
{
    if (!j)
        BUG("jansson: out of memory");
    return j;
}

json_t *json_from_str(struct str s)
{
    scoped_buf b = BUF_INIT(SIZE_MAX / 4);
    struct str text = as_utf8(&b, s);
    return must(json_stringn(text.ptr, text.len));
}

json_t *json_from_list(const struct str_list *l)
{
    json_t *array = must(json_array());
    for (size_t i = 0; i < l->len; i++)
        json_array_append_new(array, json_from_str(l->items[i]));
    return array;
}

void json_set_key(json_t *obj, struct str key, json_t *value)
{
    scoped_buf b = BUF_INIT(SIZE_MAX / 4);
    struct str name = as_utf8(&b, key);
    if (json_object_setn_new(obj, name.ptr, name.len, value) < 0)
        BUG("json: member \"" STR_FMT "\" could not be set", STR_ARG(name));
}

json_t *json_from_map(const struct map *m)
{
    json_t *obj = must(json_object());
    map_foreach (e, m)
        json_set_key(obj, e->key, json_from_str(*(const struct str *)e->value));
    return obj;
}

static void set(json_t *obj, const char *key, json_t *value)
{
    if (json_object_set_new(obj, key, value) < 0)
        BUG("json: member \"%s\" could not be set", key);
}

void json_set_str(json_t *obj, const char *key, struct str s)
{
    set(obj, key, json_from_str(s));
}

void json_set_z(json_t *obj, const char *key, const char *z)
{
    set(obj, key, json_from_str(str_from(z)));
}

void json_set_int(json_t *obj, const char *key, int64_t n)
{
    set(obj, key, must(json_integer(n)));
}

void json_set_bool(json_t *obj, const char *key, bool b)
{
    set(obj, key, json_boolean(b));
}

void json_set_list(json_t *obj, const char *key, const struct str_list *l)
{
    set(obj, key, json_from_list(l));
}
