/* cli/output.c: text for people and lists in six formats (docs/cli.md, "Output").
 *
 * What a list looks like is a `struct listing`: columns with widths, CSV fields, the record. Widths count
 * Unicode code points. Control characters from outside never reach a terminal: in a cell they are spaces,
 * in other text question marks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

enum { CELL_MAX = 1 << 20, TEXT_MAX = 64 << 20 };

/* ---- text for people ---- */

/* True for the bytes of C0, DEL and C1 controls; a C1 control is two bytes, of which the second tells. */
static bool is_control(const char *p, const char *start)
{
    unsigned char c = (unsigned char)*p;
    return c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0 && p > start && (unsigned char)p[-1] == 0xc2);
}

static void write_safe(FILE *f, char *text, size_t len)
{
    for (char *p = text; p < text + len; p++)
        if (*p != '\n' && *p != '\t' && is_control(p, text))
            *p = '?';
    fwrite(text, 1, len, f);
}

void say(FILE *f, const char *fmt, ...)
{
    scoped_buf b = BUF_INIT(TEXT_MAX);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    if (b.len > 0)
        write_safe(f, b.ptr, b.len);
}

void say_error(const struct cli *c, const struct err *err)
{
    if (c->has_colour)
        fputs("\033[31m", c->err);
    say(c->err, "error: %s", err_msg(err));
    if (c->has_colour)
        fputs("\033[0m", c->err);
    fputc('\n', c->err);
}

/* ---- formats ---- */

static const char *const format_names[] = {
    [FORMAT_TABLE] = "table", [FORMAT_BASIC] = "basic", [FORMAT_CSV] = "csv",
    [FORMAT_JSON] = "json",   [FORMAT_JSONL] = "jsonl", [FORMAT_JSONL_PRETTY] = "jsonl_pretty",
};

bool format_parse(struct str text, enum format *out)
{
    for (size_t i = 0; i < ARRAY_LEN(format_names); i++)
        if (str_eq_z(text, format_names[i]))
            return *out = (enum format)i, true;
    return false;
}

static bool format_flag(const struct cli *c, enum format *out, struct err *err)
{
    struct str text = args_text(c->args, "format");
    if (!args_has(c->args, "format") || format_parse(text, out))
        return true;
    return err_set(err, ERR_INVALID, "invalid format \"" STR_FMT "\": valid options are " FORMAT_NAMES, STR_ARG(text));
}

bool format_of_list(const struct cli *c, enum format *out, struct err *err)
{
    *out = c->config.default_format;
    return format_flag(c, out, err);
}

bool want_result_format(const struct cli *c, struct err *err)
{
    enum format format = FORMAT_BASIC;
    if (!format_flag(c, &format, err))
        return false;
    if (format == FORMAT_CSV)
        return err_set(err, ERR_INVALID, "format csv is for lists only: use json, jsonl or jsonl_pretty");
    return true;
}

void print_json(const struct cli *c, const json_t *j, enum format format)
{
    scoped_buf b = BUF_INIT(TEXT_MAX);
    json_text_to(&b, j, format == FORMAT_JSONL ? JSON_STYLE_COMPACT : JSON_STYLE_INDENT);
    buf_add_char(&b, '\n');
    fwrite(buf_z(&b), 1, b.len, c->out);
}

/* ---- cells ---- */

json_t *json_at(const json_t *row, const char *path)
{
    struct str rest = str_from(path), name;
    const json_t *j = row;
    while (j && str_next(&rest, '.', &name))
        j = json_object_getn(j, name.ptr, name.len);
    return j && !json_is_null(j) ? (json_t *)j : NULL;
}

static void add_value(struct buf *out, const json_t *v)
{
    if (json_is_string(v))
        buf_add_str(out, json_str(v));
    else if (json_is_integer(v))
        buf_printf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        buf_add_z(out, json_is_true(v) ? "true" : "false");
}

static size_t count_chars(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

struct str cut_chars(struct str s, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
        if (n > max)
            return str_slice(s, 0, i);
    }
    return s;
}

static void add_padded(struct buf *line, struct str text, int width)
{
    size_t n = count_chars(text), want = (size_t)(width < 0 ? -width : width);
    size_t pad = n < want ? want - n : 0;
    if (width > 0)
        buf_add_str(line, text);
    while (pad-- > 0)
        buf_add_char(line, ' ');
    if (width <= 0)
        buf_add_str(line, text);
}

static void add_cell(struct buf *line, const struct column *col, const json_t *row)
{
    scoped_buf cell = BUF_INIT(CELL_MAX);
    if (col->cell)
        col->cell(&cell, row);
    else
        add_value(&cell, json_at(row, col->path));
    for (char *p = cell.ptr; p && p < cell.ptr + cell.len; p++)
        if (is_control(p, cell.ptr))
            *p = ' ';
    struct str text = buf_str(&cell);
    add_padded(line, col->cut > 0 ? cut_chars(text, (size_t)col->cut) : text, col->width);
}

static void print_table(FILE *out, const struct column *columns, const json_t *rows)
{
    scoped_buf line = BUF_INIT(TEXT_MAX);
    for (const struct column *col = columns; col->title; col++) {
        if (col > columns)
            buf_add_char(&line, ' ');
        add_padded(&line, str_from(col->title), col->title_width ? col->title_width : col->width);
    }
    fprintf(out, "%s\n", buf_z(&line));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        buf_clear(&line);
        for (const struct column *col = columns; col->title; col++) {
            if (col > columns)
                buf_add_char(&line, ' ');
            add_cell(&line, col, json_array_get(rows, i));
        }
        buf_add_char(&line, '\n');
        fwrite(buf_z(&line), 1, line.len, out);
    }
}

/* RFC 4180 §2: fields with a comma, a quote or a line break are quoted, quotes doubled. */
static void add_csv(struct buf *line, const struct csv_column *col, const json_t *row)
{
    scoped_buf cell = BUF_INIT(CELL_MAX);
    if (col->cell)
        col->cell(&cell, row);
    else
        add_value(&cell, json_at(row, col->path));
    bool is_quoted = col->is_quoted;
    for (size_t i = 0; i < cell.len && !is_quoted; i++)
        is_quoted = strchr(",\"\r\n", cell.ptr[i]) != NULL;
    if (col->has_space)
        buf_add_char(line, ' ');
    if (!is_quoted) {
        buf_add_str(line, buf_str(&cell));
        return;
    }
    buf_add_char(line, '"');
    for (size_t i = 0; i < cell.len; i++) {
        if (cell.ptr[i] == '"')
            buf_add_char(line, '"');
        buf_add_char(line, cell.ptr[i]);
    }
    buf_add_char(line, '"');
}

static void print_csv(FILE *out, const struct csv_column *columns, const json_t *rows)
{
    scoped_buf line = BUF_INIT(TEXT_MAX);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        buf_clear(&line);
        for (const struct csv_column *col = columns; col->path || col->cell; col++) {
            if (col > columns)
                buf_add_char(&line, ',');
            add_csv(&line, col, json_array_get(rows, i));
        }
        buf_add_char(&line, '\n');
        fwrite(buf_z(&line), 1, line.len, out);
    }
}

static void print_records(const struct cli *c, const struct listing *l, const json_t *rows, enum format format,
                          bool reveal)
{
    if (format == FORMAT_JSON) {
        scoped_json *all = json_array();
        for (size_t i = 0; i < json_array_size(rows); i++)
            json_array_append_new(all, record_shape(l->record, json_array_get(rows, i), reveal));
        print_json(c, all, format);
        return;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        scoped_json *one = record_shape(l->record, json_array_get(rows, i), reveal);
        print_json(c, one, format);
        if (format == FORMAT_JSONL_PRETTY && l->has_gap)
            fputc('\n', c->out);
    }
}

void print_list(const struct cli *c, const struct listing *l, const json_t *rows, enum format format, bool reveal)
{
    if (format == FORMAT_TABLE || format == FORMAT_BASIC)
        print_table(c->out, format == FORMAT_TABLE ? l->table : l->basic, rows);
    else if (format == FORMAT_CSV)
        print_csv(c->out, l->csv, rows);
    else
        print_records(c, l, rows, format, reveal);
}
