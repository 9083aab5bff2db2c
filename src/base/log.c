/* base/log.c: events to lines, and the process-wide logger.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include "buf.h"
#include "fs.h"
#include "timefmt.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
    VALUE_MAX = 16 * 1024, /* bytes of a field that get into the log */
    LINE_MAX_BYTES = 1 << 20,
};

/* The one global of the code base. Events hold `lock` shared; opening and closing hold it alone. */
static struct {
    pthread_rwlock_t lock;
    struct log_file *file, *console; /* NULL: none */
    bool is_open;
    atomic_int level;
} logger = {.lock = PTHREAD_RWLOCK_INITIALIZER, .level = LOG_LEVEL_WARN};

static const char *const level_names[] = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"};

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

bool log_level_parse(struct str s, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (str_eq_nocase(s, str_from(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&logger.level, (int)level, memory_order_relaxed);
}

/* "server/site.c", from what the compiler was given: "../src/server/site.c". */
static const char *short_file(const char *file)
{
    const char *src = strstr(file, "src/");
    return src ? src + 4 : file;
}

static struct str value_text(const struct log_field *f)
{
    return str_slice(f->s, 0, VALUE_MAX);
}

static void add_number(struct buf *b, double f, bool json)
{
    if (isfinite(f))
        buf_printf(b, "%.10g", f);
    else
        buf_add_z(b, json ? "null" : "nan");
}

static void json_line(struct buf *b, enum log_level level, const char *file, int line, const char *msg,
                      const struct log_field *fields, size_t n)
{
    buf_printf(b, "{\"level\":\"%s\",\"caller\":\"%s:%d\"", level_names[level], short_file(file), line);
    for (size_t i = 0; i < n; i++) {
        const struct log_field *f = &fields[i];
        if (!f->key)
            continue;
        buf_add_z(b, ",\"");
        buf_add_json(b, str_from(f->key));
        buf_add_z(b, "\":");
        switch (f->kind) {
        case LOG_F_STR:
            buf_add_char(b, '"');
            buf_add_json(b, value_text(f));
            buf_add_char(b, '"');
            break;
        case LOG_F_INT: buf_printf(b, "%lld", (long long)f->i); break;
        case LOG_F_NUM: add_number(b, f->f, true); break;
        case LOG_F_BOOL: buf_add_z(b, f->i ? "true" : "false"); break;
        }
    }
    char now[TIME_TEXT_MAX];
    time_format_rfc3339(now, wall_ns());
    buf_printf(b, ",\"time\":\"%s\",\"message\":\"", now);
    buf_add_json(b, str_slice(str_from(msg), 0, VALUE_MAX));
    buf_add_z(b, "\"}\n");
}

/* Text that a terminal shows as it is; anything else is quoted and escaped, since it may be hostile. */
static void add_plain(struct buf *b, struct str s)
{
    bool plain = s.len > 0;
    for (size_t i = 0; i < s.len && plain; i++)
        plain = s.ptr[i] > ' ' && s.ptr[i] < 0x7f && s.ptr[i] != '"' && s.ptr[i] != '\\';
    if (plain) {
        buf_add_str(b, s);
        return;
    }
    buf_add_char(b, '"');
    buf_add_json(b, s);
    buf_add_char(b, '"');
}

static void human_line(struct buf *b, enum log_level level, const char *msg, const struct log_field *fields, size_t n)
{
    char now[TIME_TEXT_MAX];
    time_format_rfc3339(now, wall_ns());
    buf_printf(b, "%s %-5s ", now, level_names[level]);
    buf_add_json(b, str_slice(str_from(msg), 0, VALUE_MAX));
    for (size_t i = 0; i < n; i++) {
        const struct log_field *f = &fields[i];
        if (!f->key)
            continue;
        buf_printf(b, " %s=", f->key);
        switch (f->kind) {
        case LOG_F_STR: add_plain(b, value_text(f)); break;
        case LOG_F_INT: buf_printf(b, "%lld", (long long)f->i); break;
        case LOG_F_NUM: add_number(b, f->f, false); break;
        case LOG_F_BOOL: buf_add_z(b, f->i ? "true" : "false"); break;
        }
    }
    buf_add_char(b, '\n');
}

void log_event(enum log_level level, const char *file, int line, const char *msg, const struct log_field *fields,
               size_t n)
{
    scoped_buf json = BUF_INIT(LINE_MAX_BYTES), human = BUF_INIT(LINE_MAX_BYTES);
    pthread_rwlock_rdlock(&logger.lock);
    /* A line that does not fit its buffer would be broken JSON: then nothing of it is written. */
    if (logger.file) {
        json_line(&json, level, file, line, msg, fields, n);
        if (!json.is_full)
            log_file_write(logger.file, buf_str(&json));
    }
    if (logger.console || !logger.is_open) {
        human_line(&human, level, msg, fields, n);
        if (human.is_full)
            buf_clear(&human);
        if (logger.console)
            log_file_write(logger.console, buf_str(&human));
        else
            fwrite(buf_z(&human), 1, human.len, stderr);
    }
    pthread_rwlock_unlock(&logger.lock);
}

/* Puts a new state in place and ends the old one, outside the lock. */
static void replace(struct log_file *file, struct log_file *console, bool is_open, enum log_level level)
{
    pthread_rwlock_wrlock(&logger.lock);
    struct log_file *old_file = logger.file, *old_console = logger.console;
    logger.file = file;
    logger.console = console;
    logger.is_open = is_open;
    pthread_rwlock_unlock(&logger.lock);
    log_set_level(level);
    log_file_close(old_file);
    log_file_close(old_console);
}

bool log_open(const struct log_opts *opts, struct err *err)
{
    struct log_file *file = NULL;
    if (opts->path.len > 0) {
        file = log_file_open(opts->path, &opts->file, err);
        if (!file)
            return false;
    }
    struct log_file *console = opts->console ? log_file_open_fd(STDERR_FILENO, opts->file.queue_max) : NULL;
    replace(file, console, true, opts->level);
    return true;
}

void log_close(void)
{
    replace(NULL, NULL, false, LOG_LEVEL_WARN);
}

void log_flush(void)
{
    pthread_rwlock_rdlock(&logger.lock);
    if (logger.file)
        log_file_flush(logger.file);
    if (logger.console)
        log_file_flush(logger.console);
    pthread_rwlock_unlock(&logger.lock);
}
