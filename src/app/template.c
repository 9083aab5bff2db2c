/* app/template.c: the templates of secret volumes: the part of Go's text/template that files of settings
 * need.
 *
 *     {{range $k, $v := .params}}...{{end}}    all params by name
 *     {{if VALUE}}...{{else}}...{{end}}        true if it is not empty
 *     {{VALUE}}    $k  .params.NAME  index .params "NAME"  "text"  printf "%q" VALUE (in quotes, escaped)
 *     {{- ... -}}  takes white space off the text before or after; {{ a comment between slashes and stars }}
 *
 * Text -> nodes that know where their blocks end -> output with a ceiling. Recursion is as deep as blocks are
 * nested.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

enum { NODES_MAX = 10000, DEPTH_MAX = 16, RENDER_MAX = 1 << 20 };

enum node_kind { NODE_TEXT, NODE_VALUE, NODE_RANGE, NODE_IF, NODE_ELSE, NODE_END };

struct node {
    enum node_kind kind;
    int line;
    struct str text;      /* the text, or the expression */
    struct str key, item; /* of a range: "$k", "$v" or empty */
    size_t otherwise;     /* of an if: its else or its end */
    size_t end;           /* of a range or if */
};

struct scope {
    const struct scope *above;
    struct str key_name, item_name, key, item;
    bool is_dot; /* in a range, the dot is the item */
};

struct tmpl {
    struct arena *a;
    struct str rest; /* source not read yet */
    int line;
    VEC(struct node) nodes;
    const struct ctr_kv_list *params; /* sorted */
    struct buf *out;
    size_t steps; /* nodes rendered so far */
    struct err *err;
};

static bool fail_at(struct tmpl *t, int line, const char *why, struct str what)
{
    return err_set(t->err, ERR_INVALID, "template line %d: %s" STR_FMT, line, why,
                   STR_ARG(str_slice(what, 0, 100)));
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct str trim_start(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[0]))
        s = str_from_off(s, 1);
    return s;
}

static struct str trim_end(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* --- reading -------------------------------------------------------------------------------------- */

static bool is_word(struct str *s, const char *word)
{
    struct str w = str_from(word);
    if (!str_starts(*s, w) || (s->len > w.len && !is_space(s->ptr[w.len])))
        return false;
    *s = trim_start(str_from_off(*s, w.len));
    return true;
}

/* "$k, $v := .params", "$v := .params", ".params" */
static bool read_range(struct tmpl *t, struct node *n, struct str s)
{
    struct str names, over = s;
    size_t at = str_find(s, STR(":="));
    if (at != STR_NPOS) {
        names = trim_end(str_slice(s, 0, at));
        over = trim_start(str_from_off(s, at + 2));
        bool has_key = str_cut(names, ',', &n->key, &n->item);
        n->item = has_key ? trim_start(n->item) : names;
        n->key = has_key ? trim_end(n->key) : (struct str){0};
        if (!str_starts(n->item, STR("$")) || (has_key && !str_starts(n->key, STR("$"))))
            return fail_at(t, n->line, "a range needs variables like $name, not ", names);
    }
    if (!str_eq(over, STR(".params")))
        return fail_at(t, n->line, "range goes over .params only, not over ", over);
    return true;
}

static bool read_action(struct tmpl *t, struct str s, int line)
{
    struct node n = {.kind = NODE_VALUE, .line = line, .text = s};
    if (str_starts(s, STR("/*")))
        return str_ends(s, STR("*/")) || fail_at(t, line, "a comment without end: ", s);
    if (is_word(&s, "range")) {
        n.kind = NODE_RANGE;
        if (!read_range(t, &n, s))
            return false;
    } else if (is_word(&s, "if")) {
        n.kind = NODE_IF;
        n.text = s;
    } else if (is_word(&s, "else")) {
        n.kind = NODE_ELSE;
        if (s.len > 0)
            return fail_at(t, line, "else stands alone, without ", s);
    } else if (is_word(&s, "end")) {
        n.kind = NODE_END;
    } else if (s.len == 0) {
        return fail_at(t, line, "empty {{}}", s);
    }
    *vec_push(t->a, &t->nodes) = n;
    return true;
}

static int lines_in(struct str s)
{
    int n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == '\n';
    return n;
}

/* Where the action that begins `s` ends, at its "}}"; a string may hold those. */
static size_t action_end(struct str s)
{
    bool in_string = false, is_comment = str_starts(trim_start(s), STR("/*"));
    for (size_t i = 0; i + 1 < s.len; i++) {
        if (!is_comment && s.ptr[i] == '"')
            in_string = !in_string;
        else if (in_string && s.ptr[i] == '\\')
            i++;
        else if (!in_string && s.ptr[i] == '}' && s.ptr[i + 1] == '}')
            return i;
    }
    return STR_NPOS;
}

static bool read_nodes(struct tmpl *t)
{
    bool trims = false; /* the last action ended with a minus */
    while (t->rest.len > 0) {
        size_t open = str_find(t->rest, STR("{{"));
        struct str text = str_slice(t->rest, 0, MIN(open, t->rest.len)),
                   shown = trims ? trim_start(text) : text;
        int line = t->line + lines_in(text);
        t->rest = str_from_off(t->rest, text.len);
        t->line = line;
        struct str action = str_from_off(t->rest, 2);
        bool has_action = open != STR_NPOS;
        if (has_action && action.len > 1 && action.ptr[0] == '-' && is_space(action.ptr[1])) {
            shown = trim_end(shown);
            action = str_from_off(action, 1);
        }
        if (shown.len > 0)
            *vec_push(t->a, &t->nodes) = (struct node){.kind = NODE_TEXT, .line = line, .text = shown};
        if (!has_action)
            return true;
        size_t end = action_end(action);
        if (end == STR_NPOS)
            return fail_at(t, line, "{{ without }}", (struct str){0});
        struct str inside = str_slice(action, 0, end);
        t->rest = str_from_off(action, end + 2);
        t->line += lines_in(inside);
        trims = inside.len > 1 && inside.ptr[inside.len - 1] == '-' && is_space(inside.ptr[inside.len - 2]);
        if (trims)
            inside.len--;
        if (!read_action(t, str_trim(inside), line))
            return false;
        if (t->nodes.len > NODES_MAX)
            return fail_at(t, line, "too long", (struct str){0});
    }
    return true;
}

/* Tells each block where it ends. */
static bool link_blocks(struct tmpl *t)
{
    size_t open[DEPTH_MAX], depth = 0;
    for (size_t i = 0; i < t->nodes.len; i++) {
        struct node *n = &t->nodes.items[i], *block = depth > 0 ? &t->nodes.items[open[depth - 1]] : NULL;
        if (n->kind == NODE_RANGE || n->kind == NODE_IF) {
            if (depth == DEPTH_MAX)
                return fail_at(t, n->line, "blocks are nested too deep", (struct str){0});
            open[depth++] = i;
        } else if (n->kind == NODE_ELSE) {
            if (!block || block->kind != NODE_IF || block->otherwise != 0)
                return fail_at(t, n->line, "else without if", (struct str){0});
            block->otherwise = i;
        } else if (n->kind == NODE_END) {
            if (!block)
                return fail_at(t, n->line, "end without a block", (struct str){0});
            block->end = i;
            if (block->otherwise == 0)
                block->otherwise = i;
            depth--;
        }
    }
    return depth == 0 ||
           fail_at(t, t->nodes.items[open[depth - 1]].line, "a block without end", (struct str){0});
}

/* --- values --------------------------------------------------------------------------------------- */

/* "text" of the template, with the escapes \" \\ \n \t. */
static bool unquote(struct tmpl *t, const struct node *n, struct str s, struct str *out)
{
    if (s.len < 2 || s.ptr[s.len - 1] != '"')
        return fail_at(t, n->line, "a text without end: ", s);
    scoped_buf b = BUF_INIT(RENDER_MAX);
    for (size_t i = 1; i + 1 < s.len; i++) {
        char c = s.ptr[i];
        if (c == '"')
            return fail_at(t, n->line, "cannot read ", s);
        if (c == '\\' && i + 2 < s.len) {
            c = s.ptr[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        buf_add_char(&b, c);
    }
    *out = str_dup(t->a, buf_str(&b));
    return true;
}

static bool param_value(struct tmpl *t, struct str name, struct str *out, bool *found)
{
    const struct str *v = ctr_kv_get(t->params, name);
    *found = v != NULL;
    *out = v ? *v : (struct str){0};
    return true;
}

static bool value_of(struct tmpl *t, const struct node *n, const struct scope *sc, struct str s,
                     struct str *out, bool *found)
{
    *found = true;
    if (is_word(&s, "printf")) {
        struct str value;
        if (!is_word(&s, "\"%q\""))
            return fail_at(t, n->line, "printf takes \"%q\" and a value, not ", s);
        if (str_starts(s, STR("printf")))
            return fail_at(t, n->line, "printf within printf", (struct str){0});
        if (!value_of(t, n, sc, s, &value, found))
            return false;
        scoped_buf b = BUF_INIT(RENDER_MAX);
        buf_add_char(&b, '"');
        buf_add_json(&b, value);
        buf_add_char(&b, '"');
        *out = str_dup(t->a, buf_str(&b));
        return true;
    }
    if (is_word(&s, "index")) {
        struct str name;
        if (!is_word(&s, ".params"))
            return fail_at(t, n->line, "index takes .params and a name, not ", s);
        return unquote(t, n, s, &name) && param_value(t, name, out, found);
    }
    if (str_starts(s, STR("\"")))
        return unquote(t, n, s, out);
    if (str_starts(s, STR(".params.")))
        return param_value(t, str_from_off(s, strlen(".params.")), out, found);
    for (; sc; sc = sc->above) {
        if ((s.len > 1 && str_eq(s, sc->item_name)) || (sc->is_dot && str_eq(s, STR(".")))) {
            *out = sc->item;
            return true;
        }
        if (s.len > 1 && str_eq(s, sc->key_name)) {
            *out = sc->key;
            return true;
        }
    }
    return fail_at(t, n->line, "unknown value ", s);
}

/* --- writing -------------------------------------------------------------------------------------- */

static bool render(struct tmpl *t, size_t from, size_t to, const struct scope *sc)
{
    for (size_t i = from; i < to; i++) {
        const struct node *n = &t->nodes.items[i];
        struct str value;
        bool found;
        if (++t->steps > RENDER_MAX)
            return fail_at(t, n->line, "too much to do", (struct str){0});
        switch (n->kind) {
        case NODE_TEXT: buf_add_str(t->out, n->text); break;
        case NODE_VALUE:
            if (!value_of(t, n, sc, n->text, &value, &found))
                return false;
            if (!found)
                return fail_at(t, n->line, "the app has no param for ", n->text);
            buf_add_str(t->out, value);
            break;
        case NODE_IF:
            if (!value_of(t, n, sc, n->text, &value, &found))
                return false;
            if (value.len > 0 ? !render(t, i + 1, n->otherwise, sc)
                              : n->otherwise < n->end && !render(t, n->otherwise + 1, n->end, sc))
                return false;
            i = n->end;
            break;
        case NODE_RANGE:
            for (size_t k = 0; k < t->params->len; k++) {
                const struct ctr_kv *kv = &t->params->items[k];
                struct scope inner = {sc, n->key, n->item, kv->key, kv->value, true};
                if (!render(t, i + 1, n->end, &inner))
                    return false;
            }
            i = n->end;
            break;
        case NODE_ELSE:
        case NODE_END: break;
        }
    }
    return true;
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct ctr_kv *)x)->key, ((const struct ctr_kv *)y)->key);
}

bool template_render(struct arena *a, struct str source, const struct ctr_kv_list *params, struct str *out,
                     struct err *err)
{
    scoped_buf b = BUF_INIT(RENDER_MAX);
    struct ctr_kv_list sorted = {
        .items = arena_memdup(a, params->items, params->len * sizeof params->items[0]), .len = params->len};
    struct tmpl t = {.a = a, .rest = source, .line = 1, .params = &sorted, .out = &b, .err = err};
    if (sorted.len > 0)
        qsort(sorted.items, sorted.len, sizeof sorted.items[0], by_key);
    if (!read_nodes(&t) || !link_blocks(&t) || !render(&t, 0, t.nodes.len, NULL))
        return false;
    if (b.is_full)
        return err_set(err, ERR_TOO_LARGE, "a template may give %d bytes", RENDER_MAX);
    *out = str_dup(a, buf_str(&b));
    return true;
}
