/* base/err.c: building error messages. Messages are cut at 64 KiB: log tails travel in them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ERR_MSG_MAX = 64 * 1024 };

static char *format(const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    size_t len = n < 0 ? 0 : MIN((size_t)n, (size_t)ERR_MSG_MAX);
    char *msg = xmalloc(len + 1);
    msg[0] = '\0';
    if (n > 0)
        vsnprintf(msg, len + 1, fmt, again);
    va_end(again);
    return msg;
}

static void set_joined(struct err *e, const char *a, const char *sep, const char *b)
{
    size_t la = strlen(a), ls = strlen(sep), lb = strlen(b);
    char *msg = xmalloc(la + ls + lb + 1);
    memcpy(msg, a, la);
    memcpy(msg + la, sep, ls);
    memcpy(msg + la + ls, b, lb + 1);
    free(e->msg);
    e->msg = msg;
}

bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *msg = format(fmt, ap); /* before the free: arguments may point into the old message */
    va_end(ap);
    free(e->msg);
    e->code = code;
    e->msg = msg;
    return false;
}

bool err_set_errno(struct err *e, int errnum, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    scoped_free char *what = format(fmt, ap);
    va_end(ap);
    e->code = errnum == ENOENT                        ? ERR_NOT_FOUND
              : errnum == EACCES || errnum == EPERM ? ERR_FORBIDDEN
                                                      : ERR_INTERNAL;
    char text[256];
    set_joined(e, what, ": ", strerror_r(errnum, text, sizeof text));
    return false;
}

bool err_wrap(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    scoped_free char *what = format(fmt, ap);
    va_end(ap);
    if (e->code == ERR_OK)
        e->code = ERR_INTERNAL;
    set_joined(e, what, ": ", err_msg(e));
    return false;
}

bool err_append(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    scoped_free char *more = format(fmt, ap);
    va_end(ap);
    if (e->code == ERR_OK)
        e->code = ERR_INTERNAL;
    set_joined(e, err_msg(e), "", more);
    return false;
}

bool err_move(struct err *to, struct err *from)
{
    if (to != from) {
        free(to->msg);
        *to = *from;
        *from = (struct err){0};
    }
    return false;
}

const char *err_msg(const struct err *e)
{
    return e->msg ? e->msg : "";
}

void err_release(struct err *e)
{
    free(e->msg);
    *e = (struct err){0};
}
