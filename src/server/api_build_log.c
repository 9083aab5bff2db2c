/* server/api_build_log.c: the management API's look at what the last build of an app has written.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json.h"
#include "server_int.h"
#include "source.h"

enum { TAIL_MAX = 100000 };

static struct str param(const struct http_pairs *query, const char *name)
{
    struct str value = {0};
    http_pairs_get(query, str_from(name), &value);
    return value;
}

/* The last `n` lines of whole lines. */
static struct str last_lines(struct str text, uint64_t n)
{
    size_t from = text.len;
    while (from > 0) {
        if (from < text.len && text.ptr[from - 1] == '\n' && n-- == 1)
            break;
        from--;
    }
    return str_from_off(text, from);
}

/* {"logs", "next", "running", "exists"}: query appPath, tail, and from ("next" of an earlier answer). */
bool api_build_log(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct src_apppath at;
    struct store_app app;
    struct ctr_build_output out;
    struct str path = param(query, "appPath"), tail = param(query, "tail");
    uint64_t lines = 0;
    if (str_is_empty(path))
        return err_set(err, ERR_INVALID, "appPath is required");
    if (tail.len > 0 && (!str_to_u64(tail, &lines) || lines == 0 || lines > TAIL_MAX))
        return err_set(err, ERR_INVALID, "tail must be a number of lines from 1 to %d", TAIL_MAX);
    if (!src_apppath_parse(path, &at, err))
        return false;
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx || !store_app_get(tx, a, at.path, at.domain, &app, err))
        return false;
    store_rollback(&tx); /* not held open while a file is read */
    if (!ctr_build_log_read(s->containers, a, app.id, param(query, "from"), &out, err))
        return false;
    json_t *o = json_object();
    json_set_str(o, "logs", lines > 0 ? last_lines(out.text, lines) : out.text);
    json_set_str(o, "next", out.next);
    json_set_bool(o, "running", out.is_running);
    json_set_bool(o, "exists", out.exists);
    *reply = o;
    return true;
}
