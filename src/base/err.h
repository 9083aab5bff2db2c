/* base/err.h: errors as values: a code for the machine and a message for the person.
 *
 * A function that can fail takes a `struct err *` last and returns false (or NULL). Success leaves the
 * err alone. A message says what was wrong, where, and what to do; each layer may put in front, once,
 * what it was doing: `return err_wrap(err, "reading %s", path)`. Codes carry the HTTP status that the
 * management API answers with, so nothing translates them twice.
 *
 *     scoped_err err = {0};
 *     if (!thing_do(..., &err))
 *         log_error(err_msg(&err));
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "str.h"

enum err_code {
    ERR_OK = 0,
    ERR_INVALID = 400,      /* bad input: the caller must change something */
    ERR_UNAUTHORIZED = 401,
    ERR_FORBIDDEN = 403,
    ERR_NOT_FOUND = 404,
    ERR_CONFLICT = 409,     /* exists already, stale version, being changed */
    ERR_TOO_LARGE = 413,
    ERR_CANCELLED = 499,    /* the caller gave up */
    ERR_INTERNAL = 500,     /* the world failed us: I/O, a broken file, a refused syscall */
    ERR_UNSUPPORTED = 501,
    ERR_UPSTREAM = 502,     /* another program or server answered badly or not at all */
    ERR_UNAVAILABLE = 503,  /* try again later */
    ERR_TIMEOUT = 504,
};

struct err {
    enum err_code code; /* ERR_OK: no error */
    char *msg;          /* owned; NULL when no error */
};

/* Sets code and message, replacing an earlier error. Returns false, so a guard is one statement. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same with ": <strerror(errnum)>" at the end, and the code that fits `errnum`
 * (ENOENT is NOT_FOUND, EACCES FORBIDDEN, else INTERNAL). */
bool err_set_errno(struct err *e, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "<text>: " in front of the message. Returns false. */
bool err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Adds `<text>` to the end of the message. Returns false. */
bool err_append(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Moves *from into *to (released first); *from is clear afterwards. Returns false. */
bool err_move(struct err *to, struct err *from);
/* The message, "" when there is no error. Valid until the err changes. */
const char *err_msg(const struct err *e);
static inline bool err_is_set(const struct err *e)
{
    return e->code != ERR_OK;
}
/* Frees the message; the err is clear and usable again. */
void err_release(struct err *e);

#define scoped_err CLEANUP(err_release) struct err

#endif
