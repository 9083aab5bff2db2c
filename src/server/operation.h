/* server/operation.h: long work as an object: who asked for what, how far it is, and how it ended.
 *
 *     queued ──operation_begin──> running ──operation_finish──> done | failed | cancelled
 *     interrupted: it ran when the last server died; "outcome" is done or undone (recover.c)
 *
 * An operation outlives the request that asked for it: the client may leave and another one watch. Its last
 * lines of progress are kept in a ring, and readers keep a place in it of their own: a slow one loses lines
 * (and is told how many), it never holds up the work. Kept are all that have not ended and the last 200
 * that have. All functions may be called from any thread; none waits for more than a copy in memory.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef OPERATION_H
#define OPERATION_H

#include "base.h"

#include <jansson.h>
#include <stdatomic.h>

struct operations;
struct operation;

struct operations *operations_open(void);
/* From now on a note of each that runs is kept in the folder `dir`. Before the first one. */
void operations_keep_notes(struct operations *all, struct str dir);
/* Returns when none is left that has not ended: after `patience_ms` by cancelling them. Blocks; for the end of
 * the server, when nothing new can begin. NULL is fine. */
void operations_drain(struct operations *all, int64_t patience_ms);
void operations_close(struct operations *all);   /* NULL is fine */

/* A queued operation, with a reference for the caller. */
struct operation *operation_new(struct operations *all, const char *name, struct str target, struct str user_id);
void operation_ref(struct operation *op);
void operation_unref(struct operation *op);
/* The one with that id, with a reference for the caller; NULL: unknown, or ended too long ago. */
struct operation *operation_find(struct operations *all, struct str id);
struct str operation_id(const struct operation *op);

void operation_begin(struct operation *op);
/* Adds a line of progress: the `progress` of a deploy_caller. Line breaks and other controls become spaces,
 * what is too long is cut. */
void operation_line(void *op, struct str line);
/* It has ended: with `err` if that is set, else with `reply` (borrowed; NULL is an empty object). */
void operation_finish(struct operation *op, const json_t *reply, const struct err *err);
/* One of an earlier server that it did not finish. Texts are copied. */
struct operation_past {
    struct str id, name, target, user_id;
    int64_t create_ns, start_ns;
    bool is_done;   /* it was committed; else nothing of it is left */
};
void operation_add_past(struct operations *all, const struct operation_past *past);
/* Asks it to end early. False if it has ended already. */
bool operation_cancel(struct operation *op);
atomic_bool *operation_cancel_flag(struct operation *op);   /* true once it has been asked to */

/* New references: an operation with its lines and its end, and all of them without, newest first. */
json_t *operation_json(struct operation *op);
json_t *operations_json(struct operations *all);

/* A reader's place. Zeroed: the oldest line there is. */
struct operation_place {
    uint64_t line;   /* lines before it, lost ones included */
    uint64_t byte;   /* the same in bytes */
};
/* Adds to `out` what comes next, as lines of JSON, up to some 16 KiB: {"dropped":N} where lines were lost,
 * {"line":"..."}, and once all lines are out and the operation has ended {"status":200,"reply":...} or
 * {"status":N,"error":{"message":...,"code":N}}; then true. Nothing is added when there is nothing new. */
bool operation_read(struct operation *op, struct operation_place *at, struct buf *out);

/* Called, on any thread and with a lock held, whenever there is more to read. Must only pass it on. */
struct operation_listener {
    void (*fn)(void *arg);
    void *arg;
    struct operation_listener *next;
};
void operation_listen(struct operation *op, struct operation_listener *l);
/* After it has returned, `l` is not called any more. */
void operation_unlisten(struct operation *op, struct operation_listener *l);

#endif
