/* app/action_report.c: how the values of a result are shown: as text, a table, trees, links or images.
 *
 * What comes from the app is escaped everywhere; addresses that would run a script are shown and not linked.
 * SPDX-License-Identifier: Apache-2.0 */
#include "action_int.h"

enum {
    CELL_MAX = 100,      /* bytes of a table's cell */
    ROWS_MAX = 10000,    /* shown; browsers have no use for more */
    TREE_DEPTH_MAX = 32, /* deeper parts are shown as one text */
    TREE_OPEN = 3,       /* levels that are unfolded at first */
    VALUE_MAX = 16 << 20,
};

static const char *const names[] = {
    [REPORT_NONE] = "AUTO", [REPORT_TEXT] = "TEXT",         [REPORT_TABLE] = "TABLE",
    [REPORT_JSON] = "JSON", [REPORT_DOWNLOAD] = "DOWNLOAD", [REPORT_IMAGE] = "IMAGE",
};

const char *report_name(enum report_kind kind)
{
    return names[kind];
}

static bool is_simple(star_v v)
{
    switch (star_kind(v)) {
    case STAR_KIND_NONE:
    case STAR_KIND_BOOL:
    case STAR_KIND_INT:
    case STAR_KIND_FLOAT:
    case STAR_KIND_STRING: return true;
    default: return false;
    }
}

static bool is_simple_dict(star_v dict)
{
    size_t at = 0;
    star_v key, value;
    while (star_dict_next(dict, &at, &key, &value))
        if (!is_simple(value))
            return false;
    return true;
}

bool report_choose(struct str wanted, star_v values, enum report_kind *kind, struct err *err)
{
    size_t n = star_is_null(values) ? 0 : star_len(values), k = 0;
    enum star_kind first = n > 0 ? star_kind(star_item(values, 0)) : STAR_KIND_NONE;
    while (k < ARRAY_LEN(names) && !str_eq_nocase(wanted, str_from(names[k])))
        k++;
    if (k == ARRAY_LEN(names))
        return err_set(err, ERR_UNSUPPORTED,
                       "report " STR_FMT
                       " needs a template, and templates are not available in this version: use AUTO, TEXT, "
                       "TABLE, JSON, DOWNLOAD or IMAGE",
                       STR_ARG(wanted));
    for (size_t i = 0; i < n; i++) {
        enum star_kind is = star_kind(star_item(values, i));
        if (is != first || (is != STAR_KIND_DICT && is != STAR_KIND_STRING))
            return err_set(err, ERR_INTERNAL,
                           "the values of a result must be all strings or all dicts; value %zu is %s", i,
                           star_type_name(star_item(values, i)));
    }
    bool needs_dicts = k == REPORT_TABLE || k == REPORT_DOWNLOAD || k == REPORT_IMAGE;
    if (needs_dicts && first == STAR_KIND_STRING)
        return err_set(err, ERR_INTERNAL, "report %s needs values that are dicts, not strings", names[k]);
    if (n == 0)
        *kind = REPORT_NONE;
    else if (k != REPORT_NONE)
        *kind = (enum report_kind)k;
    else if (first == STAR_KIND_STRING)
        *kind = REPORT_TEXT;
    else
        *kind = is_simple_dict(star_item(values, 0)) ? REPORT_TABLE : REPORT_JSON;
    return true;
}

bool report_add_value(struct arena *a, struct buf *b, star_v v, struct err *err)
{
    struct str s;
    if (star_is_none(v) || star_is_null(v))
        return true;
    if (star_to_str(v, &s))
        return buf_add_str(b, s) || err_set(err, ERR_TOO_LARGE, "a value is too large to be shown");
    return star_json_encode(a, b, v, STAR_JSON_APP, err);
}

static struct str field(star_v dict, const char *name)
{
    struct str s = {0};
    star_v v = star_dict_get_str(dict, str_from(name));
    if (!star_is_null(v))
        star_to_str(v, &s);
    return s;
}

static size_t rows_shown(star_v values, struct buf *b)
{
    size_t n = star_len(values);
    if (n > ROWS_MAX)
        buf_printf(b, "<p class=\"note\">The first %d of %zu are shown.</p>\n", ROWS_MAX, n);
    return MIN(n, (size_t)ROWS_MAX);
}

/* --- text and table ---------------------------------------------------------------------------------- */

static bool write_text(struct arena *a, star_v values, struct buf *b, struct err *err)
{
    size_t n = star_len(values);
    buf_printf(b,
               "<textarea class=\"report\" readonly rows=\"%zu\" wrap=\"off\" aria-label=\"Output\" "
               "spellcheck=\"false\">\n",
               MIN(MAX(n + 1, (size_t)3), (size_t)24));
    for (size_t i = 0; i < n; i++) {
        scoped_buf line = BUF_INIT(VALUE_MAX);
        if (!report_add_value(a, &line, star_item(values, i), err))
            return false;
        html_escape(b, buf_str(&line));
        buf_add_char(b, '\n');
    }
    return buf_add_z(b, "</textarea>\n");
}

static bool write_cell(struct arena *a, star_v v, struct buf *b, struct err *err)
{
    enum star_kind kind = star_is_null(v) ? STAR_KIND_NONE : star_kind(v);
    bool is_number = kind == STAR_KIND_INT || kind == STAR_KIND_FLOAT;
    scoped_buf text = BUF_INIT(VALUE_MAX);
    if (!report_add_value(a, &text, v, err))
        return false;
    struct str shown = str_clip(buf_str(&text), CELL_MAX);
    buf_add_z(b, is_number ? "<td class=\"number\">" : "<td>");
    html_escape(b, shown);
    return buf_add_z(b, shown.len < text.len ? "...</td>" : "</td>");
}

/* The first row says which columns there are, and in which order. */
static bool write_table(struct arena *a, star_v values, struct buf *b, struct err *err)
{
    star_v first = star_item(values, 0), key, value;
    size_t at = 0, n = rows_shown(values, b);
    buf_add_z(
        b, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Output\"><table>\n<thead><tr>");
    while (star_dict_next(first, &at, &key, &value)) {
        scoped_buf text = BUF_INIT(VALUE_MAX);
        if (!report_add_value(a, &text, key, err))
            return false;
        buf_add_z(b, "<th scope=\"col\">");
        html_escape(b, str_clip(buf_str(&text), CELL_MAX));
        buf_add_z(b, "</th>");
    }
    buf_add_z(b, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) {
        buf_add_z(b, "<tr>");
        for (at = 0; star_dict_next(first, &at, &key, &value);)
            if (!write_cell(a, star_dict_get(star_item(values, i), key), b, err))
                return false;
        buf_add_z(b, "</tr>\n");
    }
    return buf_add_z(b, "</tbody></table></div>\n");
}

/* --- trees ------------------------------------------------------------------------------------------- */

static bool write_tree(struct arena *a, star_v key, star_v v, struct buf *b, int depth, struct err *err);

/* The name of a dict's value; null: an item of a list. */
static bool write_key(struct arena *a, star_v key, struct buf *b, struct err *err)
{
    scoped_buf text = BUF_INIT(VALUE_MAX);
    if (star_is_null(key))
        return true;
    if (!report_add_value(a, &text, key, err))
        return false;
    buf_add_z(b, "<span class=\"key\">");
    html_escape(b, buf_str(&text));
    return buf_add_z(b, "</span> ");
}

static bool write_leaf(struct arena *a, star_v key, star_v v, struct buf *b, struct err *err)
{
    scoped_buf text = BUF_INIT(VALUE_MAX);
    if (!write_key(a, key, b, err) || !star_json_encode(a, &text, v, STAR_JSON_APP, err))
        return false;
    buf_add_z(b, star_kind(v) == STAR_KIND_STRING ? "<span class=\"string\">" : "<span class=\"plain\">");
    html_escape(b, buf_str(&text));
    return buf_add_z(b, "</span>");
}

static bool write_branch(struct arena *a, star_v key, star_v v, struct buf *b, int depth, struct err *err)
{
    bool is_dict = star_kind(v) == STAR_KIND_DICT;
    size_t n = star_len(v), at = 0;
    star_v name = STAR_NULL, value;
    buf_printf(b, "<details%s><summary>", depth < TREE_OPEN ? " open" : "");
    if (!write_key(a, key, b, err))
        return false;
    if (is_dict)
        buf_printf(b, "{ %zu %s }", n, n == 1 ? "field" : "fields");
    else
        buf_printf(b, "[ %zu %s ]", n, n == 1 ? "item" : "items");
    buf_add_z(b, "</summary><ul>\n");
    for (size_t i = 0; is_dict ? star_dict_next(v, &at, &name, &value) : i < n; i++) {
        buf_add_z(b, "<li>");
        if (!write_tree(a, name, is_dict ? value : star_item(v, i), b, depth + 1, err))
            return false;
        buf_add_z(b, "</li>\n");
    }
    return buf_add_z(b, "</ul></details>");
}

/* Recursion ends at TREE_DEPTH_MAX. */
static bool write_tree(struct arena *a, star_v key, star_v v, struct buf *b, int depth, struct err *err)
{
    enum star_kind kind = star_kind(v);
    bool is_branch = kind == STAR_KIND_DICT || kind == STAR_KIND_LIST || kind == STAR_KIND_TUPLE;
    if (is_branch && star_len(v) > 0 && depth < TREE_DEPTH_MAX)
        return write_branch(a, key, v, b, depth, err);
    return write_leaf(a, key, v, b, err);
}

static bool write_json(struct arena *a, star_v values, struct buf *b, struct err *err)
{
    size_t n = rows_shown(values, b);
    for (size_t i = 0; i < n; i++) {
        scoped_buf text = BUF_INIT(VALUE_MAX);
        if (!star_json_encode(a, &text, star_item(values, i), STAR_JSON_APP, err))
            return false;
        buf_add_z(b, "<div class=\"tree\" data-json=\"");
        html_escape(b, buf_str(&text));
        buf_add_z(b, "\">");
        if (!write_tree(a, STAR_NULL, star_item(values, i), b, 0, err))
            return false;
        buf_add_z(b, "</div>\n");
    }
    return true;
}

/* --- links and images -------------------------------------------------------------------------------- */

/* Whether a browser that goes there loads something, rather than run it. Control characters are refused
 * because browsers skip some of them when they look for a scheme. */
static bool is_safe_url(struct str url, bool is_image)
{
    size_t i = 0;
    for (; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= ' ' || url.ptr[i] == 0x7f)
            return false;
    for (i = 0; i < url.len && !strchr("/?#:", url.ptr[i]); i++)
        continue;
    if (i == url.len || url.ptr[i] != ':')
        return url.len > 0; /* no scheme */
    struct str scheme = str_slice(url, 0, i);
    return str_eq_nocase(scheme, STR("http")) || str_eq_nocase(scheme, STR("https")) ||
           (is_image && str_eq_nocase(str_slice(url, 0, 11), STR("data:image/")));
}

static void write_attr(struct buf *b, const char *before, struct str value)
{
    buf_add_z(b, before);
    html_escape(b, value);
    buf_add_char(b, '"');
}

static bool write_links(star_v values, struct buf *b)
{
    size_t n = rows_shown(values, b);
    buf_add_z(b, "<ul class=\"links\">\n");
    for (size_t i = 0; i < n; i++) {
        struct str url = field(star_item(values, i), "url"), name = field(star_item(values, i), "name");
        bool is_safe = is_safe_url(url, false);
        buf_add_z(b, "<li>");
        if (is_safe) {
            write_attr(b, "<a href=\"", url);
            write_attr(b, " download=\"", name);
            buf_add_char(b, '>');
        }
        html_escape(b, str_is_empty(name) ? url : name);
        buf_add_z(b, is_safe ? "</a></li>\n" : "</li>\n");
    }
    return buf_add_z(b, "</ul>\n");
}

static bool write_images(star_v values, struct buf *b)
{
    size_t n = rows_shown(values, b);
    buf_add_z(b, "<div class=\"images\">\n");
    for (size_t i = 0; i < n; i++) {
        struct str url = field(star_item(values, i), "url"), name = field(star_item(values, i), "name");
        buf_add_z(b, "<figure>");
        if (is_safe_url(url, true)) {
            write_attr(b, "<img loading=\"lazy\" src=\"", url);
            write_attr(b, " alt=\"", name);
            buf_add_char(b, '>');
        }
        buf_add_z(b, "<figcaption>");
        html_escape(b, str_is_empty(name) && !str_starts(url, STR("data:")) ? url : name);
        buf_add_z(b, "</figcaption></figure>\n");
    }
    return buf_add_z(b, "</div>\n");
}

bool report_write(struct arena *a, enum report_kind kind, star_v values, struct buf *b, struct err *err)
{
    bool ok = true;
    switch (kind) {
    case REPORT_NONE: ok = buf_add_z(b, "<p class=\"note\">No output</p>\n"); break;
    case REPORT_TEXT: ok = write_text(a, values, b, err); break;
    case REPORT_TABLE: ok = write_table(a, values, b, err); break;
    case REPORT_JSON: ok = write_json(a, values, b, err); break;
    case REPORT_DOWNLOAD: ok = write_links(values, b); break;
    case REPORT_IMAGE: ok = write_images(values, b); break;
    }
    if (!ok && err_is_set(err))
        return false;
    return !b->is_full || err_set(err, ERR_INTERNAL, "the output is too large to be shown");
}
