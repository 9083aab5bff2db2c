/* base/log.h: the server log, and the rotating log file under it (access.log is one too).
 *
 *     log_info("app loaded", LOG_STR("app", app->path), LOG_INT("ms", ms), LOG_ERR(&err));
 *
 * One JSON object per line: level, caller, the fields, time, message. Any thread may log at any time, and
 * never waits for a disk or a terminal: lines go to a bounded queue with a writer thread behind it; what does not
 * fit is dropped, counted and reported. The process-wide logger is the one global of the code base; before
 * log_open() (and after log_close()) warnings and errors go straight to stderr.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "err.h"
#include "str.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_TRACE,
};

/* ---- A rotating file ---- */

struct log_file;
struct log_file_opts {
    int64_t max_size;    /* bytes; a write that would cross it rotates first; <= 0 never rotates */
    int max_backups;     /* newest rotated files kept; <= 0 keeps all */
    size_t queue_max;    /* bytes that may wait for the writer; 0 is 4 MiB */
};
/* Opens (appends to, creates with mode 0644) `path` and starts its writer. A rotated file is renamed to
 * `<stem>-<YYYY-MM-DDTHH-MM-SS.mmm>.<ext>`, UTC. NULL and err if it cannot be opened. */
struct log_file *log_file_open(struct str path, const struct log_file_opts *opts, struct err *err);
/* A writer over a descriptor that it does not own (stderr); never rotates. */
struct log_file *log_file_open_fd(int fd, size_t queue_max);
/* Queues whole lines, each with its '\n'; never blocks on the disk. */
void log_file_write(struct log_file *f, struct str lines);
/* Waits until everything queued so far is with the kernel. Blocks. */
void log_file_flush(struct log_file *f);
/* Lines lost since open: queue full, or the disk refused them. */
uint64_t log_file_dropped(const struct log_file *f);
/* Writes what is queued, ends the thread, closes. Nobody may be writing any more. NULL is fine. */
void log_file_close(struct log_file *f);

/* ---- The process-wide logger ---- */

struct log_opts {
    enum log_level level;
    struct str path;              /* the file; empty for none */
    struct log_file_opts file;
    bool console;                 /* also a copy for people on stderr */
};
/* Starts, or replaces, the logger. A failure leaves the old one. */
bool log_open(const struct log_opts *opts, struct err *err);
/* Writes out what is queued and ends it. */
void log_close(void);
void log_flush(void);
void log_set_level(enum log_level level);
/* "ERROR", "warn" ... in any case. False, leaving *out alone, for anything else. */
bool log_level_parse(struct str s, enum log_level *out);
const char *log_level_name(enum log_level level);
bool log_is_on(enum log_level level);

struct log_field {
    const char *key;
    enum { LOG_F_STR, LOG_F_INT, LOG_F_NUM, LOG_F_BOOL } kind;
    struct str s;
    int64_t i;
    double f;
};
#define LOG_STR(k, v)  ((struct log_field){.key = (k), .kind = LOG_F_STR, .s = (v)})
#define LOG_Z(k, v)    ((struct log_field){.key = (k), .kind = LOG_F_STR, .s = str_from(v)})
#define LOG_INT(k, v)  ((struct log_field){.key = (k), .kind = LOG_F_INT, .i = (int64_t)(v)})
#define LOG_NUM(k, v)  ((struct log_field){.key = (k), .kind = LOG_F_NUM, .f = (double)(v)})
#define LOG_BOOL(k, v) ((struct log_field){.key = (k), .kind = LOG_F_BOOL, .i = (v) ? 1 : 0})
#define LOG_ERR(e)     LOG_Z("error", err_msg(e))

/* The message is a `const char *`; arguments are not evaluated when the level is off. */
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_LEVEL_TRACE, __VA_ARGS__)

/* The list starts with an empty field so that a message alone is valid too. */
#define log_at(level, msg, ...)                                                                         \
    (log_is_on(level) ? log_event((level), __FILE__, __LINE__, (msg),                                   \
                                  (const struct log_field[]){{.key = NULL}, ##__VA_ARGS__},             \
                                  sizeof((const struct log_field[]){{.key = NULL}, ##__VA_ARGS__}) /    \
                                      sizeof(struct log_field))                                         \
                      : (void)0)
void log_event(enum log_level level, const char *file, int line, const char *msg,
               const struct log_field *fields, size_t n);

#endif
