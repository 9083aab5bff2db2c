/* base/html.c: text made safe for HTML, and pages filled from templates.
 * SPDX-License-Identifier: Apache-2.0 */
#include "html.h"

static const struct str escapes[256] = {
    ['&'] = STR_INIT("&amp;"),  ['<'] = STR_INIT("&lt;"),   ['>'] = STR_INIT("&gt;"),
    ['"'] = STR_INIT("&#34;"), ['\''] = STR_INIT("&#39;"), ['\0'] = STR_INIT("\xef\xbf\xbd"),
};

/* What needs no escape is added in one piece: pages may show megabytes of a command's output. */
bool html_escape(struct buf *b, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        const struct str *e = &escapes[(unsigned char)s.ptr[i]];
        if (LIKELY(!e->ptr))
            continue;
        buf_add_str(b, str_slice(s, from, i));
        buf_add_str(b, *e);
        from = i + 1;
    }
    buf_add_str(b, str_from_off(s, from));
    return !b->is_full;
}

static const struct html_value *find_value(const struct html_value *values, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_z(name, values[i].name))
            return &values[i];
    BUG("a page wants {{" STR_FMT "}}", STR_ARG(name));
}

bool html_fill(struct buf *b, struct str template, const struct html_value *values, size_t n)
{
    struct str rest = template;
    for (size_t open; (open = str_find(rest, STR("{{"))) != STR_NPOS;) {
        buf_add_str(b, str_slice(rest, 0, open));
        rest = str_from_off(rest, open + 2);
        size_t close = str_find(rest, STR("}}"));
        if (close == STR_NPOS)
            BUG("a page has {{ without }}");
        const struct html_value *v = find_value(values, n, str_slice(rest, 0, close));
        if (v->is_raw)
            buf_add_str(b, v->text);
        else
            html_escape(b, v->text);
        rest = str_from_off(rest, close + 2);
    }
    buf_add_str(b, rest);
    return !b->is_full;
}
