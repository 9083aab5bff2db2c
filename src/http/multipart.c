/* http/multipart.c: multipart/form-data, a slice at a time (RFC 7578, RFC 2046 §5.1).
 *
 *   PREAMBLE --delimiter--> AFTER --CRLF--> HEAD --empty line--> DATA --delimiter--> AFTER --"--"--> EPILOGUE
 *
 * A delimiter is CRLF, "--", the boundary. No boundary has a CR in it, so a delimiter that turns out not to
 * be one can only be followed by another at its own first byte: nothing needs to be looked at twice.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_multipart.h"

#include "http_url.h"

enum state {
    PREAMBLE, /* before the first delimiter; what is there means nothing */
    AFTER,    /* a delimiter was read: "--" ends the body, white space and CRLF begin a part */
    HEAD,     /* header fields of a part gather in `head` */
    DATA,     /* of a part */
    EPILOGUE, /* after the last delimiter; what is there means nothing */
};

struct http_multipart {
    struct arena *arena;
    struct http_part_sink sink;
    enum state state;
    char delimiter[4 + HTTP_BOUNDARY_MAX];
    size_t delimiter_len;
    size_t matched;  /* PREAMBLE, DATA: bytes of the delimiter that were read */
    size_t borrowed; /* of those: 2 if its CRLF belongs to what is before */
    char after[2];   /* AFTER: what follows the delimiter and its padding */
    size_t n_after;
    struct buf head;
    size_t n_parts;
};

static void release_head(void *head)
{
    buf_release(head);
}

/* bchars of RFC 2046; the space is left out, which no client uses. */
static bool is_boundary(struct str s)
{
    if (s.len == 0 || s.len > HTTP_BOUNDARY_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!is_alnum && (c == '\0' || !strchr("'()+_,-./:=?", c)))
            return false;
    }
    return true;
}

/* One `name=value` after a ';', quotes and all. */
static bool next_param(struct str *rest, struct str *name, struct str *value)
{
    while (rest->len > 0 && (rest->ptr[0] == ';' || rest->ptr[0] == ' ' || rest->ptr[0] == '\t'))
        *rest = str_from_off(*rest, 1);
    size_t i = 0, equals = STR_NPOS;
    bool in_quotes = false;
    for (; i < rest->len && (in_quotes || rest->ptr[i] != ';'); i++) {
        char c = rest->ptr[i];
        if (c == '=' && equals == STR_NPOS)
            equals = i;
        else if (c == '"')
            in_quotes = !in_quotes;
        else if (c == '\\' && in_quotes && i + 1 < rest->len &&
                 (rest->ptr[i + 1] == '"' || rest->ptr[i + 1] == '\\'))
            i++;
    }
    if (equals == STR_NPOS || in_quotes)
        return false;
    *name = str_trim(str_slice(*rest, 0, equals));
    *value = str_trim(str_slice(*rest, equals + 1, i));
    *rest = str_from_off(*rest, i);
    return true;
}

bool http_multipart_boundary(struct str content_type, struct str *boundary, struct err *err)
{
    struct str type, rest, name, value;
    str_cut(content_type, ';', &type, &rest);
    if (!str_eq_nocase(str_trim(type), STR("multipart/form-data")))
        return err_set(err, ERR_INVALID, "the body is not multipart/form-data");
    while (rest.len > 0 && next_param(&rest, &name, &value)) {
        if (!str_eq_nocase(name, STR("boundary")))
            continue;
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
            value = str_slice(value, 1, value.len - 1);
        if (!is_boundary(value))
            return err_set(err, ERR_INVALID, "the boundary of the multipart body is malformed");
        *boundary = value;
        return true;
    }
    return err_set(err, ERR_INVALID, "the multipart body has no boundary");
}

struct http_multipart *http_multipart_new(struct arena *a, struct str boundary,
                                          const struct http_part_sink *sink)
{
    assert(boundary.len <= HTTP_BOUNDARY_MAX);
    struct http_multipart *m = arena_new(a, struct http_multipart);
    m->arena = a;
    m->sink = *sink;
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary.ptr, boundary.len);
    m->delimiter_len = 4 + boundary.len;
    m->matched = m->borrowed = 2; /* the first delimiter may begin the body, without its CRLF */
    buf_init(&m->head, HTTP_PART_HEAD_MAX);
    arena_defer(a, release_head, &m->head);
    return m;
}

/* --- the head of a part ------------------------------------------------------------------------------ */

/* A parameter's text: without its quotes; \" and \\ as most programs write them, %22 as browsers do for a
 * quote. Other backslashes are part of the name: some clients send whole Windows paths. */
static struct str unquote(struct arena *a, struct str s)
{
    bool is_quoted = s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"';
    if (is_quoted)
        s = str_slice(s, 1, s.len - 1);
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        bool is_pair =
            is_quoted && s.ptr[i] == '\\' && i + 1 < s.len && (s.ptr[i + 1] == '"' || s.ptr[i + 1] == '\\');
        if (is_pair) {
            out[n++] = s.ptr[++i];
        } else if (str_starts(str_from_off(s, i), STR("%22"))) {
            out[n++] = '"';
            i += 2;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    return str_of(out, n);
}

static bool read_disposition(struct arena *a, struct str text, struct http_part *part, struct err *err)
{
    struct str kind, rest, name, value;
    str_cut(text, ';', &kind, &rest);
    if (!str_eq_nocase(str_trim(kind), STR("form-data")))
        return err_set(err, ERR_INVALID, "a part is not form-data");
    while (str_trim(rest).len > 0) {
        if (!next_param(&rest, &name, &value))
            return err_set(err, ERR_INVALID, "a part has a malformed Content-Disposition");
        struct str *to = str_eq_nocase(name, STR("name"))       ? &part->name
                         : str_eq_nocase(name, STR("filename")) ? &part->file_name
                                                                : NULL;
        if (!to)
            continue;
        if (to->ptr)
            return err_set(err, ERR_INVALID, "a part has two names");
        *to = unquote(a, value);
        part->is_file |= to == &part->file_name;
    }
    return true;
}

static bool read_head(struct http_multipart *m, struct http_part *part, struct err *err)
{
    struct str rest = buf_str(&m->head);
    bool has_disposition = false;
    while (rest.len > 0) {
        size_t end = str_find(rest, STR("\r\n"));
        struct str line = str_slice(rest, 0, end), name, value;
        rest = str_from_off(rest, end + 2);
        if (!str_cut(line, ':', &name, &value) || !http_is_token(name) || !http_is_field_value(value))
            return err_set(err, ERR_INVALID, "a part has a malformed header field");
        if (!str_eq_nocase(name, STR("Content-Disposition")))
            continue;
        if (has_disposition)
            return err_set(err, ERR_INVALID, "a part has two Content-Disposition fields");
        has_disposition = true;
        if (!read_disposition(m->arena, str_trim(value), part, err))
            return false;
    }
    return part->name.len > 0 || err_set(err, ERR_INVALID, "a part has no name");
}

static bool begin_part(struct http_multipart *m, struct err *err)
{
    struct http_part part = {0};
    if (++m->n_parts > HTTP_PARTS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the body has more than %d parts", HTTP_PARTS_MAX);
    if (!read_head(m, &part, err))
        return false;
    buf_clear(&m->head);
    m->state = DATA;
    m->matched = m->borrowed = 2; /* the head's last CRLF may belong to a delimiter: then the part is empty */
    return m->sink.on_part(m->sink.arg, &part, err);
}

static bool feed_head(struct http_multipart *m, struct str *data, struct err *err)
{
    while (data->len > 0) {
        size_t n = str_chr(*data, '\n');
        n = n == STR_NPOS ? data->len : n + 1;
        if (!buf_add(&m->head, data->ptr, n))
            return err_set(err, ERR_TOO_LARGE, "a part has more than %d bytes of header fields",
                           HTTP_PART_HEAD_MAX);
        *data = str_from_off(*data, n);
        struct str head = buf_str(&m->head);
        if (!str_ends(head, STR("\n")))
            continue;
        if (!str_ends(head, STR("\r\n")))
            return err_set(err, ERR_INVALID, "CRLF must end the lines of a part's header");
        if (head.len == 2 || str_ends(head, STR("\r\n\r\n"))) {
            m->head.len -= 2; /* the empty line */
            return begin_part(m, err);
        }
    }
    return true;
}

/* --- delimiters and data ----------------------------------------------------------------------------- */

static bool give(struct http_multipart *m, const char *ptr, size_t len, struct err *err)
{
    return m->state != DATA || len == 0 || m->sink.on_data(m->sink.arg, str_of(ptr, len), err);
}

/* What began like a delimiter and was none is data; but not what was borrowed. */
static bool give_back(struct http_multipart *m, struct err *err)
{
    size_t from = MIN(m->borrowed, m->matched), to = m->matched;
    m->matched = m->borrowed = 0;
    return give(m, m->delimiter + from, to - from, err);
}

static bool end_data(struct http_multipart *m, struct err *err)
{
    bool is_part = m->state == DATA;
    m->state = AFTER;
    m->n_after = 0;
    m->matched = m->borrowed = 0;
    return !is_part || m->sink.on_end(m->sink.arg, err);
}

static bool feed_data(struct http_multipart *m, struct str *data, struct err *err)
{
    while (data->len > 0) {
        if (m->matched == 0) {
            size_t n = str_chr(*data, '\r');
            n = n == STR_NPOS ? data->len : n;
            if (!give(m, data->ptr, n, err))
                return false;
            *data = str_from_off(*data, n);
            if (data->len == 0)
                return true;
        }
        if (data->ptr[0] != m->delimiter[m->matched]) {
            if (!give_back(m, err))
                return false;
            if (data->ptr[0] != '\r') /* the next round takes it as data */
                continue;
        }
        m->matched++;
        *data = str_from_off(*data, 1);
        if (m->matched == m->delimiter_len)
            return end_data(m, err);
    }
    return true;
}

/* Two bytes decide: "--", or the CRLF that begins a part; before that one, padding may stand (RFC 2046
 * §5.1.1). */
static bool feed_after(struct http_multipart *m, struct str *data, struct err *err)
{
    while (data->len > 0 && m->n_after < 2) {
        char c = data->ptr[0];
        *data = str_from_off(*data, 1);
        if (m->n_after == 0 && (c == ' ' || c == '\t'))
            continue;
        m->after[m->n_after++] = c;
    }
    if (m->n_after < 2)
        return true;
    if (m->after[0] == '-' && m->after[1] == '-')
        m->state = EPILOGUE;
    else if (m->after[0] == '\r' && m->after[1] == '\n')
        m->state = HEAD;
    else
        return err_set(err, ERR_INVALID, "a boundary is followed by neither CRLF nor \"--\"");
    return true;
}

bool http_multipart_feed(struct http_multipart *m, struct str data, struct err *err)
{
    while (data.len > 0 && m->state != EPILOGUE) {
        bool ok = m->state == AFTER  ? feed_after(m, &data, err)
                  : m->state == HEAD ? feed_head(m, &data, err)
                                     : feed_data(m, &data, err);
        if (!ok)
            return false;
    }
    return true;
}

bool http_multipart_end(const struct http_multipart *m, struct err *err)
{
    return m->state == EPILOGUE || err_set(err, ERR_INVALID, "the multipart body has no end");
}
