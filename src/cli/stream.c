/* cli/stream.c: the body of an answer: plain, or the lines of an operation, one JSON object each.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "http.h"

enum {
    SHOWN_MAX = 64 << 10,
    CUT_MIN = 4096 - 8, /* a shown line of this length may have been cut by the server */
};

void stream_init(struct stream *st, struct cli *c, stream_line_fn *on_line, void *arg)
{
    *st = (struct stream){.cli = c, .on_line = on_line, .arg = arg};
    buf_init(&st->body, STREAM_BODY_MAX);
    buf_init(&st->shown, SHOWN_MAX);
}

void stream_release(struct stream *st)
{
    buf_release(&st->body);
    buf_release(&st->shown);
}

bool stream_head(void *arg, const struct http_answer *head, struct err *err)
{
    struct stream *st = arg;
    st->is_ndjson = str_starts(http_answer_header(head, STR("content-type")), STR("application/x-ndjson"));
    return true;
}

/* What was shown is kept, newest last, so that an error need not say it again. */
static void show(struct stream *st, struct str line)
{
    size_t n = MIN(line.len, (size_t)SHOWN_MAX / 2);
    if (st->shown.len + n + 2 > SHOWN_MAX)
        buf_drop(&st->shown, st->shown.len / 2);
    buf_add_char(&st->shown, '\n');
    buf_add_str(&st->shown, str_slice(line, 0, n));
    if (st->on_line)
        st->on_line(st->arg, line);
}

static bool take_object(struct stream *st, struct str text, struct err *err)
{
    struct cli *c = st->cli;
    scoped_json *j = json_parse_object(str_utf8(c->arena, text), err);
    if (!j)
        return err_wrap(err, "error parsing response");
    if (json_get(j, "operation")) {
        st->operation = str_dup(c->arena, json_get_str(j, "operation", (struct str){0}));
        if (st->has_id)
            atomic_store(st->has_id, st->operation.len > 0);
    }
    if (json_get(j, "dropped"))
        show(st, str_printf(c->arena, "... %lld lines left out ...", (long long)json_get_int(j, "dropped", 0)));
    if (json_get(j, "line"))
        show(st, json_get_str(j, "line", (struct str){0}));
    if (json_get(j, "status"))
        st->end = keep_json(c, json_incref(j));
    return true;
}

bool stream_part(void *arg, struct str part, struct err *err)
{
    struct stream *st = arg;
    if (!buf_add_str(&st->body, part))
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than %d bytes", STREAM_BODY_MAX);
    if (!st->is_ndjson || str_chr(part, '\n') == STR_NPOS)
        return true;
    struct str rest = buf_str(&st->body), line;
    for (size_t end; (end = str_chr(rest, '\n')) != STR_NPOS; rest = str_from_off(rest, end + 1)) {
        line = str_trim(str_slice(rest, 0, end));
        if (line.len > 0 && !take_object(st, line, err))
            return false;
    }
    buf_drop(&st->body, st->body.len - rest.len);
    return true;
}

/* "Receiving objects:  12% (5/40), 1.2 MiB | 1.1 MiB/s"; the last one of a phase ends with "done." */
bool stream_is_count(struct str line)
{
    size_t at = str_find(line, STR("% ("));
    size_t begin = at == STR_NPOS ? 0 : at;
    while (begin > 0 && line.ptr[begin - 1] >= '0' && line.ptr[begin - 1] <= '9')
        begin--;
    bool has_number = at != STR_NPOS && begin < at && at - begin <= 3;
    return has_number && str_ends(str_trim(str_slice(line, 0, begin)), STR(":")) && !str_ends(str_trim(line), STR("done."));
}

/* The server shows a line with its controls as spaces, and cuts it. */
static bool is_same(struct str shown, struct str line)
{
    if (shown.len != line.len && (shown.len < CUT_MIN || shown.len > line.len))
        return false;
    for (size_t i = 0; i < shown.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        if (shown.ptr[i] != (c < 0x20 || c == 0x7f ? ' ' : line.ptr[i]))
            return false;
    }
    return true;
}

static bool is_shown(const struct stream *st, struct str line)
{
    struct str rest = buf_str(&st->shown), shown;
    while (str_next(&rest, '\n', &shown))
        if (is_same(str_trim(shown), line))
            return true;
    return false;
}

/* The first line always: it says what failed. */
struct str stream_new_part(const struct stream *st, struct str message)
{
    struct str rest = message, line;
    scoped_buf out = BUF_INIT(STREAM_BODY_MAX);
    str_next(&rest, '\n', &line);
    buf_add_str(&out, line);
    while (str_next(&rest, '\n', &line))
        if (!is_shown(st, str_trim(line)))
            buf_printf(&out, "\n" STR_FMT, STR_ARG(line));
    return str_dup(st->cli->arena, str_trim_right(buf_str(&out), ':'));
}
