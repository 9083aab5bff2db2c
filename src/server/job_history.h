/* server/job_history.h: what is kept of the runs of a scheduled job: a list of the last ones, and what each has written.
 *
 *     $OPENRUN_HOME/run/jobs/<app id>/<job>/history.json     <run id>.log
 *
 * Files are for the server's user only. Nothing here takes a lock: a history belongs to whoever holds its job.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_JOB_HISTORY_H
#define SERVER_JOB_HISTORY_H

#include "base.h"

enum {
    JOB_RUNS_KEPT = 20,
    JOB_LOG_HEAD = 512 << 10, /* of a run's output: its beginning, */
    JOB_LOG_TAIL = 256 << 10, /* and its end, once it has ended */
};

/*   QUEUED ──> RUNNING ──> SUCCESS | FAILED | TIMED_OUT | CANCELLED
 *   a server that starts finds either of the first two: INTERRUPTED */
enum job_status {
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_SUCCESS,
    JOB_FAILED,
    JOB_TIMED_OUT,
    JOB_CANCELLED,
    JOB_INTERRUPTED,
};
const char *job_status_name(enum job_status s);
static inline bool job_has_ended(enum job_status s)
{
    return s > JOB_RUNNING;
}

enum job_trigger { JOB_BY_SCHEDULE, JOB_BY_HAND, JOB_CATCH_UP };

struct job_record {
    char id[40];
    enum job_status status;
    enum job_trigger trigger;
    int64_t due_s;            /* when it was to begin; 0: by hand */
    int64_t start_ns, end_ns; /* wall clock; 0: not yet */
    int code;                 /* exit code or status of the response; 0: none */
    char error[400];          /* why it failed */
};

struct job_history {
    int64_t base_s;           /* everything due until then has been dealt with */
    int64_t skipped;          /* runs that were due while the last one had not ended */
    struct job_record runs[JOB_RUNS_KEPT]; /* [len], oldest first */
    size_t len;
};

/* Reads what there is in `dir`. Runs that had not ended are interrupted ones. Without a file, or one for another
 * schedule, it begins at `now_s`, and false is returned; a file that makes no sense counts as none, with a warning. */
bool job_history_load(struct str dir, struct str schedule, int64_t now_s, struct job_history *out);
/* Replaces the file in one step. */
bool job_history_save(struct str dir, struct str schedule, const struct job_history *h, struct err *err);
/* A new record at the end; the oldest that has ended goes, with its log. NULL when all are still running. */
struct job_record *job_history_add(struct job_history *h, struct str dir);
struct job_record *job_history_find(struct job_history *h, struct str id);
json_t *job_record_json(const struct job_record *r);

/* Of the folders of an app's jobs, `root`/<app id>/<job>, those that nobody declares go: a month after their last run, and
 * the oldest beyond JOB_LEFT_MAX at once. */
enum { JOB_LEFT_MAX = 20, JOB_LEFT_DAYS = 30 };
typedef bool job_declared_fn(void *arg, struct str app_id, struct str name);
void job_history_sweep(struct str root, job_declared_fn *is_declared, void *arg, int64_t now_ns);

/* A run's output on its way to the disk: as it comes up to JOB_LOG_HEAD, then only the end of it, at the end. */
struct job_log {
    int fd; /* -1: it could not be opened, and output is dropped */
    size_t written;
    bool is_in_line; /* the last byte was no line feed */
    uint64_t left_out;
    struct buf tail;
};
void job_log_open(struct job_log *log, struct str dir, const char *id);
void job_log_write(struct job_log *log, struct str text);
/* A line of our own. */
void job_log_note(struct job_log *log, const char *note);
void job_log_close(struct job_log *log);
/* What is in it from `from` on, at most 1 MiB, and where it ends. A log that is not there is empty. */
bool job_log_read(struct arena *a, struct str dir, const char *id, int64_t from, struct str *out, int64_t *end,
                  struct err *err);

#endif
