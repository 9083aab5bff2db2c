/* server/operation.c: operations: states, the ring of lines, the list of what runs and ran.
 *
 * One lock guards all of it; it is held for copies of a few KiB at most and never while calling out, but for
 * listeners, which only post a message.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    RING_MAX = 64 << 10,       /* bytes of progress kept per operation */
    LINE_LEN_MAX = 4096,
    READ_MAX = 16 << 10,       /* bytes of lines that one read gives */
    REPLY_MAX = 64 << 20,
    ENDED_MAX = 200,           /* ended operations that are kept, */
    ENDED_BYTES_MAX = 64 << 20,/*   if they are no larger than this together */
    TARGET_MAX = 1024,
};

enum state { OP_QUEUED, OP_RUNNING, OP_DONE, OP_FAILED, OP_CANCELLED, OP_INTERRUPTED };

static const char *const state_names[] = {
    [OP_QUEUED] = "queued", [OP_RUNNING] = "running",     [OP_DONE] = "done",
    [OP_FAILED] = "failed", [OP_CANCELLED] = "cancelled", [OP_INTERRUPTED] = "interrupted",
};

struct operation {
    struct operations *all;
    struct operation *newer, *older;  /* in the list, while listed */
    unsigned refs;                    /* the list's included */

    struct arena arena;               /* of this and of the texts, which do not change */
    struct str id, target, user_id;
    const char *name;
    atomic_bool cancel;

    enum state state;
    bool is_done;                     /* of an interrupted one: its change was committed */
    int64_t create_ns, start_ns, end_ns;
    struct buf ring;                  /* the last lines, each ended by a line feed */
    struct operation_place first;     /* of the ring */
    uint64_t line_count;              /* ever */
    struct str reply;                 /* JSON text, once done */
    struct err err;                   /* once failed or cancelled */
    struct operation_listener *listeners;
};

struct operations {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct arena arena;
    struct str notes;                 /* folder of the notes of those that run; empty: none are kept */
    struct operation *newest, *oldest;
    size_t active_count, ended_count, ended_bytes;
};

static bool has_ended(const struct operation *op)
{
    return op->state >= OP_DONE;
}

/* --- life --------------------------------------------------------------------------------------------- */

struct operations *operations_open(void)
{
    struct operations *all = xcalloc(1, sizeof *all);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->ended, NULL);
    return all;
}

void operations_keep_notes(struct operations *all, struct str dir)
{
    all->notes = str_dup(&all->arena, dir);
}

static void free_operation(struct operation *op)
{
    struct arena arena = op->arena;
    buf_release(&op->ring);
    err_release(&op->err);
    arena_release(&arena);
}

static void put(struct operation *op)
{
    if (--op->refs == 0)
        free_operation(op);
}

static size_t size_of(const struct operation *op)
{
    return sizeof *op + op->ring.len + op->reply.len + strlen(err_msg(&op->err));
}

static void unlist(struct operation *op)
{
    struct operations *all = op->all;
    *(op->newer ? &op->newer->older : &all->newest) = op->older;
    *(op->older ? &op->older->newer : &all->oldest) = op->newer;
    put(op);
}

/* Forgets the oldest of those that have ended. */
static void trim(struct operations *all)
{
    struct operation *newer;
    for (struct operation *op = all->oldest; op; op = newer) {
        if (all->ended_count <= ENDED_MAX && all->ended_bytes <= ENDED_BYTES_MAX)
            return;
        newer = op->newer;
        if (!has_ended(op))
            continue;
        all->ended_count--;
        all->ended_bytes -= size_of(op);
        unlist(op);
    }
}

static void list(struct operation *op)
{
    struct operations *all = op->all;
    op->older = all->newest;
    *(all->newest ? &all->newest->newer : &all->oldest) = op;
    all->newest = op;
}

/* With what every operation has. The id is taken as it is. */
static struct operation *make(struct operations *all, struct arena arena, struct str id, struct str target, struct str user_id)
{
    struct operation *op = arena_new(&arena, struct operation);
    op->arena = arena;
    op->all = all;
    op->id = id;
    op->target = str_dup(&op->arena, str_slice(target, 0, TARGET_MAX));
    op->user_id = str_dup(&op->arena, user_id);
    buf_init(&op->ring, RING_MAX + LINE_LEN_MAX + 1);
    return op;
}

struct operation *operation_new(struct operations *all, const char *name, struct str target, struct str user_id)
{
    struct arena arena = {0};
    arena_small(&arena);
    struct str id = str_cat(&arena, STR("op_"), id_ksuid(&arena));
    struct operation *op = make(all, arena, id, target, user_id);
    op->name = name;
    op->create_ns = wall_ns();
    op->refs = 2;
    pthread_mutex_lock(&all->lock);
    list(op);
    all->active_count++;
    pthread_mutex_unlock(&all->lock);
    return op;
}

void operation_add_past(struct operations *all, const struct operation_past *past)
{
    struct arena arena = {0};
    arena_small(&arena);
    struct str id = str_dup(&arena, past->id);
    struct operation *op = make(all, arena, id, past->target, past->user_id);
    op->name = str_z(&op->arena, past->name);
    op->create_ns = past->create_ns;
    op->start_ns = past->start_ns;
    op->state = OP_INTERRUPTED;
    op->is_done = past->is_done;
    op->refs = 1;
    err_set(&op->err, ERR_UNAVAILABLE, "%s",
            past->is_done ? "the server ended in the middle, but after the change was committed: it is done"
                          : "the server ended in the middle: nothing has been changed");
    pthread_mutex_lock(&all->lock);
    list(op);
    all->ended_count++;
    all->ended_bytes += size_of(op);
    trim(all);
    pthread_mutex_unlock(&all->lock);
}

void operation_ref(struct operation *op)
{
    pthread_mutex_lock(&op->all->lock);
    op->refs++;
    pthread_mutex_unlock(&op->all->lock);
}

void operation_unref(struct operation *op)
{
    struct operations *all = op->all;
    pthread_mutex_lock(&all->lock);
    put(op);
    pthread_mutex_unlock(&all->lock);
}

struct operation *operation_find(struct operations *all, struct str id)
{
    pthread_mutex_lock(&all->lock);
    struct operation *op = all->newest;
    while (op && !str_eq(op->id, id))
        op = op->older;
    if (op)
        op->refs++;
    pthread_mutex_unlock(&all->lock);
    return op;
}

struct str operation_id(const struct operation *op)
{
    return op->id;
}

void operations_drain(struct operations *all, int64_t patience_ms)
{
    if (!all)
        return;
    int64_t until_ns = clock_ns() + patience_ms * 1000000;
    pthread_mutex_lock(&all->lock);
    while (all->active_count > 0 && cond_wait_until(&all->ended, &all->lock, until_ns))
        ;
    for (struct operation *op = all->newest; op; op = op->older)
        atomic_store(&op->cancel, true);
    while (all->active_count > 0)
        pthread_cond_wait(&all->ended, &all->lock);
    pthread_mutex_unlock(&all->lock);
}

void operations_close(struct operations *all)
{
    if (!all)
        return;
    while (all->newest)
        unlist(all->newest);
    pthread_cond_destroy(&all->ended);
    pthread_mutex_destroy(&all->lock);
    arena_release(&all->arena);
    free(all);
}

/* --- progress ----------------------------------------------------------------------------------------- */

/* With the lock. */
static void tell(const struct operation *op)
{
    for (const struct operation_listener *l = op->listeners; l; l = l->next)
        l->fn(l->arg);
}

static void set_time(json_t *o, const char *key, int64_t ns)
{
    char text[TIME_TEXT_MAX];
    if (ns != 0)
        json_set_str(o, key, str_of(text, time_format_rfc3339_nano(text, ns)));
}

static json_t *note_of(const struct operation *op, int64_t start_ns)
{
    json_t *note = json_object();
    json_set_z(note, "name", op->name);
    json_set_str(note, "target", op->target);
    json_set_str(note, "user_id", op->user_id);
    set_time(note, "create_time", op->create_ns);
    set_time(note, "start_time", start_ns);
    return note;
}

void operation_begin(struct operation *op)
{
    int64_t now = wall_ns();
    if (!str_is_empty(op->all->notes)) {
        scoped_json *note = note_of(op, now);
        journal_begin(op->all->notes, op->id, note);
    }
    pthread_mutex_lock(&op->all->lock);
    op->state = OP_RUNNING;
    op->start_ns = now;
    pthread_mutex_unlock(&op->all->lock);
}

static void drop_oldest_line(struct operation *op)
{
    size_t n = str_chr(buf_str(&op->ring), '\n') + 1;
    buf_drop(&op->ring, n);
    op->first.line++;
    op->first.byte += n;
}

void operation_line(void *arg, struct str line)
{
    struct operation *op = arg;
    line = str_clip(line, LINE_LEN_MAX);
    pthread_mutex_lock(&op->all->lock);
    if (has_ended(op)) {
        pthread_mutex_unlock(&op->all->lock);
        return;
    }
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        buf_add_char(&op->ring, c < 0x20 || c == 0x7f ? ' ' : (char)c);
    }
    buf_add_char(&op->ring, '\n');
    op->line_count++;
    while (op->ring.len > RING_MAX)
        drop_oldest_line(op);
    tell(op);
    pthread_mutex_unlock(&op->all->lock);
}

void operation_finish(struct operation *op, const json_t *reply, const struct err *err)
{
    struct operations *all = op->all;
    scoped_buf text = BUF_INIT(REPLY_MAX);
    if (op->state == OP_RUNNING && !str_is_empty(all->notes)) /* only this thread changes the state */
        journal_end(all->notes, op->id);
    if (reply && !err_is_set(err) && !json_text_to(&text, reply, JSON_STYLE_COMPACT)) {
        buf_clear(&text);
        buf_add_z(&text, "{}");
        log_warn("the reply of an operation is too large to be kept", LOG_STR("operation", op->id));
    }
    pthread_mutex_lock(&all->lock);
    if (err_is_set(err)) {
        op->state = err->code == ERR_CANCELLED ? OP_CANCELLED : OP_FAILED;
        err_set(&op->err, err->code, "%s", err_msg(err));
    } else {
        op->state = OP_DONE;
        op->reply = str_dup(&op->arena, buf_str(&text));
    }
    buf_fit(&op->ring);
    op->end_ns = wall_ns();
    all->active_count--;
    all->ended_count++;
    all->ended_bytes += size_of(op);
    tell(op);
    trim(all);
    pthread_cond_broadcast(&all->ended);
    pthread_mutex_unlock(&all->lock);
}

bool operation_cancel(struct operation *op)
{
    pthread_mutex_lock(&op->all->lock);
    bool ok = !has_ended(op);
    if (ok)
        atomic_store(&op->cancel, true);
    pthread_mutex_unlock(&op->all->lock);
    return ok;
}

atomic_bool *operation_cancel_flag(struct operation *op)
{
    return &op->cancel;
}

/* --- reading ------------------------------------------------------------------------------------------ */

static int status_of(const struct operation *op)
{
    if (!err_is_set(&op->err))
        return 200;
    return op->err.code >= 400 && op->err.code <= 599 ? (int)op->err.code : 500;
}

static void add_end(const struct operation *op, struct buf *out)
{
    int status = status_of(op);
    if (!err_is_set(&op->err)) {
        buf_printf(out, "{\"status\":%d,\"reply\":", status);
        buf_add_str(out, op->reply.len > 0 ? op->reply : STR("{}"));
        buf_add_z(out, "}\n");
        return;
    }
    buf_printf(out, "{\"status\":%d,\"error\":{\"message\":\"", status);
    buf_add_json(out, str_from(err_msg(&op->err)));
    buf_printf(out, "\",\"code\":%d}}\n", status);
}

bool operation_read(struct operation *op, struct operation_place *at, struct buf *out)
{
    pthread_mutex_lock(&op->all->lock);
    if (at->line < op->first.line) {
        buf_printf(out, "{\"dropped\":%llu}\n", (unsigned long long)(op->first.line - at->line));
        *at = op->first;
    }
    struct str rest = str_from_off(buf_str(&op->ring), at->byte - op->first.byte), line;
    for (size_t start = out->len; at->line < op->line_count && out->len - start < READ_MAX; at->line++) {
        str_cut(rest, '\n', &line, &rest);
        at->byte += line.len + 1;
        buf_add_z(out, "{\"line\":\"");
        buf_add_json(out, line);
        buf_add_z(out, "\"}\n");
    }
    bool is_end = has_ended(op) && at->line == op->line_count;
    if (is_end)
        add_end(op, out);
    pthread_mutex_unlock(&op->all->lock);
    return is_end;
}

void operation_listen(struct operation *op, struct operation_listener *l)
{
    pthread_mutex_lock(&op->all->lock);
    l->next = op->listeners;
    op->listeners = l;
    pthread_mutex_unlock(&op->all->lock);
}

void operation_unlisten(struct operation *op, struct operation_listener *l)
{
    pthread_mutex_lock(&op->all->lock);
    struct operation_listener **at = &op->listeners;
    while (*at && *at != l)
        at = &(*at)->next;
    if (*at)
        *at = l->next;
    pthread_mutex_unlock(&op->all->lock);
}

/* With the lock. */
static json_t *summary(const struct operation *op)
{
    json_t *o = json_object();
    json_set_str(o, "id", op->id);
    json_set_z(o, "name", op->name);
    json_set_str(o, "target", op->target);
    json_set_str(o, "user_id", op->user_id);
    json_set_z(o, "state", state_names[op->state]);
    json_set_bool(o, "is_cancelling", !has_ended(op) && atomic_load(&op->cancel));
    set_time(o, "create_time", op->create_ns);
    set_time(o, "start_time", op->start_ns);
    set_time(o, "end_time", op->end_ns);
    if (op->state == OP_INTERRUPTED)
        json_set_z(o, "outcome", op->is_done ? "done" : "undone");
    json_set_int(o, "line_count", (int64_t)op->line_count);
    if (has_ended(op))
        json_set_int(o, "status", status_of(op));
    if (err_is_set(&op->err))
        json_set_z(o, "error", err_msg(&op->err));
    return o;
}

json_t *operation_json(struct operation *op)
{
    scoped_buf ring = BUF_INIT(RING_MAX + LINE_LEN_MAX + 1), reply = BUF_INIT(REPLY_MAX);
    pthread_mutex_lock(&op->all->lock);
    json_t *o = summary(op), *lines = json_array();
    json_set_int(o, "dropped_count", (int64_t)op->first.line);
    buf_add_str(&ring, buf_str(&op->ring));
    buf_add_str(&reply, op->reply);
    pthread_mutex_unlock(&op->all->lock);
    struct str rest = buf_str(&ring), line;
    while (rest.len > 0) {
        str_cut(rest, '\n', &line, &rest);
        json_array_append_new(lines, json_from_str(line));
    }
    json_object_set_new(o, "lines", lines);
    scoped_err ignored = {0};
    json_t *parsed = reply.len > 0 ? json_parse(buf_str(&reply), &ignored) : NULL;
    if (parsed)
        json_object_set_new(o, "reply", parsed);
    return o;
}

json_t *operations_json(struct operations *all)
{
    json_t *list = json_array();
    pthread_mutex_lock(&all->lock);
    for (const struct operation *op = all->newest; op; op = op->older)
        json_array_append_new(list, summary(op));
    pthread_mutex_unlock(&all->lock);
    return list;
}
