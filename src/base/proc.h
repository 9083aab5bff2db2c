/* base/proc.h: running another program, never through a shell.
 *
 * proc_run() blocks: it is for job threads. The child leads a process group of its own; a deadline, a cancel
 * or a callback that says stop ends the whole group: SIGTERM, and SIGKILL once the grace is over. Descendants that
 * have left the group get SIGKILL first, and the rest then a moment to clean up after them. The
 * child has default signals, no descriptor of ours but its three, and /dev/null for stdin unless told.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include "arena.h"
#include "buf.h"
#include "err.h"
#include "vec.h"

#include <stdatomic.h>

enum proc_stream { PROC_STDOUT, PROC_STDERR };

struct proc_spec {
    struct str_list argv;      /* [0] is looked up in PATH unless it has a '/' */
    struct str_list env;       /* "NAME=value", added to our environment, replacing same names */
    bool env_only;             /* `env` is the whole environment instead */
    struct str cwd;            /* empty: ours */
    struct str stdin_data;     /* written to its stdin, then closed; empty: /dev/null */
    bool merge_stderr;         /* stderr is written where stdout goes, in order */

    /* Output as it comes, on the calling thread. False ends the program as cancelled. */
    bool (*on_output)(void *arg, enum proc_stream stream, struct str chunk);
    void *arg;
    struct buf *out;           /* collects stdout up to its ceiling; NULL: not kept */
    struct buf *err_out;       /* collects stderr; unused with merge_stderr */
    bool keep_tail;            /* a full buffer drops its oldest bytes instead of the newest (is_full says so) */

    int64_t timeout_ms;        /* for the whole run; 0 is none */
    int64_t idle_timeout_ms;   /* since the last output; 0 is none */
    int64_t grace_ms;          /* between SIGTERM and SIGKILL; 0 is 5000 */
    atomic_bool *cancel;       /* looked at every 50 ms; NULL: none */
    int cancel_fd;             /* ends the program at once when it becomes readable; 0: none */
};

struct proc_result {
    int exit_code;             /* 0..255; -1 when a signal ended it */
    int signal;                /* 0 when it exited */
    bool timed_out, cancelled; /* why we ended it; at most one is set */
    int64_t took_ms;
};

/* Runs to the end. True when the program ran, whatever its exit: see *res. False when it could not be started. */
bool proc_run(const struct proc_spec *spec, struct proc_result *res, struct err *err);
/* Runs and wants exit code 0: anything else is an error that names the program, how it ended, and the last
 * lines of its stderr (ERR_CANCELLED, ERR_TIMEOUT, ERR_UPSTREAM). Arguments never get into the message. */
bool proc_run_ok(const struct proc_spec *spec, struct err *err);

/* Full path of `name` in PATH (or itself, if it has a '/'): a regular file that we may execute. */
bool proc_find(struct arena *a, struct str name, struct str *path, struct err *err);

#endif
