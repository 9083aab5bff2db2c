/* base/toml.c: TOML documents: keys, tables, arrays, and what may be defined after what.
 *
 * How a table came to be decides who may add to it (`origin`):
 *
 *                       [a.b]       [a.b.x] below it     key = under it      b.key = from above
 *   ORIGIN_IMPLICIT     defines it  yes                  (after defining)    yes, becomes DOTTED
 *   ORIGIN_HEADER       no          yes                  in its own section  no
 *   ORIGIN_DOTTED       no          yes                  in its own section  yes
 *   ORIGIN_CLOSED       no          no                   no                  no
 *
 * An array is ORIGIN_HEADER when [[...]] made it, and then stands for its last table; any other is CLOSED.
 * SPDX-License-Identifier: Apache-2.0 */
#include "toml_int.h"

enum {
    ORIGIN_IMPLICIT, /* [a.b] made "a" */
    ORIGIN_HEADER,   /* [a] or [[a]] */
    ORIGIN_DOTTED,   /* a.b = ... made "a" */
    ORIGIN_CLOSED,   /* {...} or [...]; whole at once */
};

struct key {
    struct str parts[TOML_DEPTH_MAX];
    size_t at[TOML_DEPTH_MAX]; /* offset of each part */
    size_t len;
};

/* ---- The scanner ---- */

static void set_error(struct err *err, uint32_t line, size_t column, const char *fmt, va_list ap)
{
    scoped_arena a = {0};
    struct str text = str_vprintf(&a, fmt, ap);
    err_set(err, ERR_INVALID, "line %u, column %zu: " STR_FMT, line, column, STR_ARG(text));
}

bool toml_fail_at(struct toml_parser *p, size_t pos, const char *fmt, ...)
{
    uint32_t line = 1;
    size_t line_start = 0;
    for (size_t i = 0; i < pos; i++)
        if (p->text.ptr[i] == '\n')
            line++, line_start = i + 1;
    va_list ap;
    va_start(ap, fmt);
    set_error(p->err, line, pos - line_start + 1, fmt, ap);
    va_end(ap);
    return false;
}

bool toml_fail(const struct toml_value *v, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_error(err, v->line, v->column, fmt, ap);
    va_end(ap);
    return false;
}

bool toml_take_newline(struct toml_parser *p)
{
    size_t len = toml_peek(p, 0) == '\n' ? 1 : toml_peek(p, 0) == '\r' && toml_peek(p, 1) == '\n' ? 2 : 0;
    if (len == 0)
        return false;
    p->pos += len;
    p->line++;
    p->line_start = p->pos;
    return true;
}

void toml_skip_ws(struct toml_parser *p)
{
    while (toml_peek(p, 0) == ' ' || toml_peek(p, 0) == '\t')
        p->pos++;
}

/* comment = "#" *non-eol, if there is one */
static bool skip_comment(struct toml_parser *p)
{
    if (toml_peek(p, 0) != '#')
        return true;
    for (;; p->pos++) {
        int c = toml_peek(p, 0);
        if (c < 0 || c == '\n' || (c == '\r' && toml_peek(p, 1) == '\n'))
            return true;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return toml_fail_at(p, p->pos, "control character 0x%02x in a comment", (unsigned)c);
    }
}

/* ws-comment-newline = *( wschar / [ comment ] newline ) */
static bool skip_blank(struct toml_parser *p)
{
    do {
        toml_skip_ws(p);
        if (!skip_comment(p))
            return false;
    } while (toml_take_newline(p));
    return true;
}

static bool end_of_line(struct toml_parser *p, const char *after)
{
    toml_skip_ws(p);
    if (!skip_comment(p))
        return false;
    if (toml_peek(p, 0) < 0 || toml_take_newline(p))
        return true;
    return toml_fail_at(p, p->pos, "the line must end after %s", after);
}

static struct toml_value *new_value(struct toml_parser *p, size_t at)
{
    if (++p->values > TOML_VALUES_MAX) {
        toml_fail_at(p, at, "more than %d values", TOML_VALUES_MAX);
        return NULL;
    }
    struct toml_value *v = arena_new(p->arena, struct toml_value);
    v->line = p->line;
    v->column = (uint32_t)(at - p->line_start + 1);
    return v;
}

static struct toml_value *new_table(struct toml_parser *p, size_t at, uint8_t origin)
{
    struct toml_value *v = new_value(p, at);
    if (v) {
        v->kind = TOML_TABLE;
        v->origin = origin;
        map_init(&v->table, p->arena);
    }
    return v;
}

/* ---- Keys ---- */

static bool is_bare(int c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* simple-key = quoted-key / unquoted-key */
static bool simple_key(struct toml_parser *p, struct str *out)
{
    int c = toml_peek(p, 0);
    if (c == '"' || c == '\'')
        return toml_string(p, false, out);
    size_t start = p->pos;
    while (is_bare(toml_peek(p, 0)))
        p->pos++;
    *out = str_slice(p->text, start, p->pos);
    if (out->len > 0)
        return true;
    if (c < 0 || c == '\n' || c == '\r')
        return toml_fail_at(p, start, "a key is missing");
    if (c > 0x7f)
        return toml_fail_at(p, start, "a key with other characters than A-Z a-z 0-9 _ - needs quotes");
    return toml_fail_at(p, start, c < 0x20 || c == 0x7f ? "a key cannot begin with control character 0x%02x"
                                                        : "a key cannot begin with %c",
                        c);
}

/* key = simple-key *( ws "." ws simple-key ); `room` is how many levels it may have. */
static bool read_key(struct toml_parser *p, size_t room, struct key *k)
{
    k->len = 0;
    for (;;) {
        if (k->len == room)
            return toml_fail_at(p, p->pos, "tables are nested deeper than %d", TOML_DEPTH_MAX);
        k->at[k->len] = p->pos;
        if (!simple_key(p, &k->parts[k->len]))
            return false;
        k->len++;
        toml_skip_ws(p);
        if (toml_peek(p, 0) != '.')
            return true;
        p->pos++;
        toml_skip_ws(p);
    }
}

/* The first `n` parts of a key as text, cut to fit a message. */
static struct str key_text(struct toml_parser *p, const struct key *k, size_t n)
{
    scoped_buf b = BUF_INIT(100);
    for (size_t i = 0; i < n; i++)
        if (!buf_printf(&b, "%s" STR_FMT, i > 0 ? "." : "", STR_ARG(k->parts[i])))
            buf_add_z(&b, "...");
    return str_dup(p->arena, buf_str(&b));
}

static bool defined_before(struct toml_parser *p, const struct key *k, size_t n, const struct toml_value *old)
{
    struct str name = key_text(p, k, n);
    return toml_fail_at(p, k->at[n - 1], STR_FMT " is already defined, in line %u", STR_ARG(name), old->line);
}

static bool not_a_table(struct toml_parser *p, const struct key *k, size_t n, const struct toml_value *old)
{
    struct str name = key_text(p, k, n);
    if (old->kind == TOML_TABLE || old->kind == TOML_ARRAY)
        return toml_fail_at(p, k->at[n - 1], STR_FMT " cannot be added to: line %u has all of it", STR_ARG(name),
                            old->line);
    return toml_fail_at(p, k->at[n - 1], STR_FMT " is %s (line %u), so it has no members", STR_ARG(name),
                        toml_kind_name(old->kind), old->line);
}

/* ---- Values ---- */

static bool read_value(struct toml_parser *p, size_t depth, struct toml_value *v);

/* keyval = key keyval-sep val, into `table`; `depth` is the table's. */
static bool keyval(struct toml_parser *p, struct toml_value *table, size_t depth)
{
    struct key k;
    if (!read_key(p, TOML_DEPTH_MAX - depth, &k))
        return false;
    if (toml_peek(p, 0) != '=') {
        struct str name = key_text(p, &k, k.len);
        return toml_fail_at(p, p->pos, "a = is missing after the key " STR_FMT, STR_ARG(name));
    }
    p->pos++;
    toml_skip_ws(p);
    for (size_t i = 0; i + 1 < k.len; i++) {
        struct toml_value *next = map_get(&table->table, k.parts[i]);
        if (!next) {
            next = new_table(p, k.at[i], ORIGIN_DOTTED);
            if (!next)
                return false;
            map_set(&table->table, k.parts[i], next);
        } else if (next->kind == TOML_TABLE && next->origin <= ORIGIN_DOTTED && next->origin != ORIGIN_HEADER) {
            next->origin = ORIGIN_DOTTED;
        } else if (next->kind == TOML_TABLE && next->origin == ORIGIN_HEADER) {
            return defined_before(p, &k, i + 1, next);
        } else {
            return not_a_table(p, &k, i + 1, next);
        }
        table = next;
    }
    struct toml_value *old = map_get(&table->table, k.parts[k.len - 1]);
    if (old)
        return defined_before(p, &k, k.len, old);
    struct toml_value *v = new_value(p, p->pos);
    if (!v)
        return false;
    map_set(&table->table, k.parts[k.len - 1], v);
    return read_value(p, depth + k.len, v);
}

/* array = "[" [ array-values ] ws-comment-newline "]"; the parser is past the bracket. */
static bool array(struct toml_parser *p, size_t depth, struct toml_value *v)
{
    size_t start = p->pos - 1;
    v->kind = TOML_ARRAY;
    v->origin = ORIGIN_CLOSED;
    for (;;) {
        if (!skip_blank(p))
            return false;
        if (toml_peek(p, 0) == ']')
            break;
        if (toml_peek(p, 0) < 0)
            return toml_fail_at(p, start, "the array that begins here is not closed");
        struct toml_value *item = new_value(p, p->pos);
        if (!item)
            return false;
        *vec_push(p->arena, &v->array) = item;
        if (!read_value(p, depth, item) || !skip_blank(p))
            return false;
        if (toml_peek(p, 0) == ',')
            p->pos++;
        else if (toml_peek(p, 0) >= 0 && toml_peek(p, 0) != ']')
            return toml_fail_at(p, p->pos, "a comma or ] must follow an array's value");
    }
    p->pos++;
    return true;
}

/* inline-table = "{" ws [ keyval *( ws "," ws keyval ) ] ws "}"; no line break, no comma at the end. */
static bool inline_table(struct toml_parser *p, size_t depth, struct toml_value *v)
{
    size_t start = p->pos - 1;
    v->kind = TOML_TABLE;
    v->origin = ORIGIN_CLOSED;
    map_init(&v->table, p->arena);
    toml_skip_ws(p);
    if (toml_peek(p, 0) == '}') {
        p->pos++;
        return true;
    }
    for (;;) {
        if (!keyval(p, v, depth))
            return false;
        toml_skip_ws(p);
        int c = toml_peek(p, 0);
        if (c == '}')
            break;
        if (c == '\n' || c == '\r' || c == '#' || c < 0)
            return toml_fail_at(p, start, "the inline table that begins here is not closed on its line");
        if (c != ',')
            return toml_fail_at(p, p->pos, "a comma or } must follow an inline table's value");
        size_t comma = p->pos++;
        toml_skip_ws(p);
        if (toml_peek(p, 0) == '}')
            return toml_fail_at(p, comma, "an inline table has no comma before its }");
    }
    p->pos++;
    return true;
}

/* val = string / boolean / array / inline-table / date-time / float / integer */
static bool read_value(struct toml_parser *p, size_t depth, struct toml_value *v)
{
    int c = toml_peek(p, 0);
    if (c == '"' || c == '\'') {
        v->kind = TOML_STRING;
        return toml_string(p, true, &v->s);
    }
    if (c != '[' && c != '{')
        return toml_scalar(p, v);
    if (depth >= TOML_DEPTH_MAX)
        return toml_fail_at(p, p->pos, "values are nested deeper than %d", TOML_DEPTH_MAX);
    p->pos++;
    return c == '[' ? array(p, depth + 1, v) : inline_table(p, depth + 1, v);
}

/* ---- Headers ---- */

/* The table that part `i` of a header names in `table`, made if it is missing. */
static struct toml_value *step_into(struct toml_parser *p, struct toml_value *table, const struct key *k, size_t i)
{
    struct toml_value *next = map_get(&table->table, k->parts[i]);
    if (!next) {
        next = new_table(p, k->at[i], ORIGIN_IMPLICIT);
        if (next)
            map_set(&table->table, k->parts[i], next);
        return next;
    }
    if (next->kind == TOML_ARRAY && next->origin == ORIGIN_HEADER)
        return next->array.items[next->array.len - 1];
    if (next->kind == TOML_TABLE && next->origin != ORIGIN_CLOSED)
        return next;
    not_a_table(p, k, i + 1, next);
    return NULL;
}

/* [key]: `parent` gets the last part. */
static struct toml_value *define_table(struct toml_parser *p, struct toml_value *parent, const struct key *k, size_t at)
{
    struct str name = k->parts[k->len - 1];
    struct toml_value *t = map_get(&parent->table, name);
    if (!t) {
        t = new_table(p, at, ORIGIN_HEADER);
        if (t)
            map_set(&parent->table, name, t);
        return t;
    }
    if (t->kind != TOML_TABLE || t->origin != ORIGIN_IMPLICIT) {
        defined_before(p, k, k->len, t);
        return NULL;
    }
    t->origin = ORIGIN_HEADER;
    t->line = p->line;
    t->column = (uint32_t)(at - p->line_start + 1);
    return t;
}

/* [[key]]: one more table in the array of that name. */
static struct toml_value *add_table(struct toml_parser *p, struct toml_value *parent, const struct key *k, size_t at)
{
    struct str name = k->parts[k->len - 1];
    struct toml_value *list = map_get(&parent->table, name);
    if (!list) {
        list = new_value(p, at);
        if (!list)
            return NULL;
        list->kind = TOML_ARRAY;
        list->origin = ORIGIN_HEADER;
        map_set(&parent->table, name, list);
    } else if (list->kind != TOML_ARRAY || list->origin != ORIGIN_HEADER) {
        defined_before(p, k, k->len, list);
        return NULL;
    }
    struct toml_value *t = new_table(p, at, ORIGIN_HEADER);
    if (t)
        *vec_push(p->arena, &list->array) = t;
    return t;
}

/* table = std-table / array-table; *section is the table that the following lines are for. */
static bool header(struct toml_parser *p, struct toml_value *root, struct toml_value **section, size_t *depth)
{
    size_t at = p->pos;
    bool is_array = toml_peek(p, 1) == '[';
    p->pos += is_array ? 2 : 1;
    toml_skip_ws(p);
    struct key k;
    if (!read_key(p, TOML_DEPTH_MAX - 1, &k))
        return false;
    if (toml_peek(p, 0) != ']' || (is_array && toml_peek(p, 1) != ']'))
        return toml_fail_at(p, p->pos, "the table's name must end with %s", is_array ? "]]" : "]");
    p->pos += is_array ? 2 : 1;
    struct toml_value *t = root;
    for (size_t i = 0; i + 1 < k.len && t; i++)
        t = step_into(p, t, &k, i);
    if (t)
        t = is_array ? add_table(p, t, &k, at) : define_table(p, t, &k, at);
    if (!t)
        return false;
    *section = t;
    *depth = k.len;
    return end_of_line(p, "a table's name");
}

/* ---- Documents ---- */

/* Everything that holds for the text as a whole. */
static bool start(struct toml_parser *p, struct arena *a, struct str text, struct err *err)
{
    *p = (struct toml_parser){.arena = a, .text = text, .line = 1, .scratch = BUF_INIT(TOML_INPUT_MAX), .err = err};
    if (text.len > TOML_INPUT_MAX)
        return err_set(err, ERR_TOO_LARGE, "%zu bytes of TOML, at most %d are read", text.len, TOML_INPUT_MAX);
    if (!str_is_utf8(text)) {
        size_t bad = 0;
        while (bad < text.len) {
            size_t n = 1;
            while (n <= 4 && bad + n <= text.len && !str_is_utf8(str_slice(text, bad, bad + n)))
                n++;
            if (n > 4 || bad + n > text.len)
                break;
            bad += n;
        }
        return toml_fail_at(p, bad, "byte 0x%02x is not UTF-8", (unsigned char)text.ptr[bad]);
    }
    if (str_starts(text, STR("\xef\xbb\xbf")))
        p->pos = p->line_start = 3;
    return true;
}

static bool document(struct toml_parser *p, struct toml_value *root)
{
    struct toml_value *section = root;
    size_t depth = 0;
    for (;;) {
        if (!skip_blank(p))
            return false;
        int c = toml_peek(p, 0);
        if (c < 0)
            return true;
        if (c == '[' ? !header(p, root, &section, &depth)
                     : !keyval(p, section, depth) || !end_of_line(p, "a value"))
            return false;
    }
}

bool toml_parse(struct arena *a, struct str text, struct toml_value *root, struct err *err)
{
    struct toml_parser p;
    struct toml_value top = {.kind = TOML_TABLE, .origin = ORIGIN_HEADER, .line = 1, .column = 1};
    map_init(&top.table, a);
    bool ok = start(&p, a, text, err) && document(&p, &top);
    buf_release(&p.scratch);
    if (ok)
        *root = top;
    return ok;
}

static bool lone_value(struct toml_parser *p, struct toml_value *v)
{
    if (!skip_blank(p))
        return false;
    v->line = p->line;
    v->column = (uint32_t)(p->pos - p->line_start + 1);
    if (!read_value(p, 0, v) || !skip_blank(p))
        return false;
    return toml_peek(p, 0) < 0 || toml_fail_at(p, p->pos, "nothing may follow the value");
}

bool toml_parse_value(struct arena *a, struct str text, struct toml_value *out, struct err *err)
{
    struct toml_parser p;
    struct toml_value v = {0};
    bool ok = start(&p, a, text, err) && lone_value(&p, &v);
    buf_release(&p.scratch);
    if (ok)
        *out = v;
    return ok;
}
