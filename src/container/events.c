/* container/events.c: the engine's event stream, so that a container that ends, is paused or removed by anybody is
 * noticed when it happens and not by the request that fails.
 *
 * One thread per manager follows the stream of our home's containers. When it breaks (the engine restarts) it is
 * opened again after a growing pause, and every container that counts as ready is looked at, since what happened
 * meanwhile is lost. Without a socket the program's `events` command gives the stream. It matters: the address of
 * a container that has ended may be another's, or lead out of this machine, a moment later.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "timefmt.h"
#include "service_int.h"

enum { PAUSE_MIN_MS = 500, PAUSE_MAX_MS = 30000, STEADY_MS = 10000 };

/* --- Lines of the stream ---------------------------------------------------------------------------- */

static bool kind_of(struct str action, enum ctr_event_kind *kind)
{
    static const struct {
        const char *word;
        enum ctr_event_kind kind;
    } kinds[] = {
        {"die", CTR_EVENT_DIED},      {"died", CTR_EVENT_DIED},       {"destroy", CTR_EVENT_REMOVED},
        {"remove", CTR_EVENT_REMOVED}, {"pause", CTR_EVENT_PAUSED},   {"unpause", CTR_EVENT_UNPAUSED},
        {"start", CTR_EVENT_STARTED},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_eq_z(action, kinds[i].word)) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

/* Text from docker and from podman's API, a number from podman's program. */
static int exit_code_of(const json_t *event, const json_t *attributes)
{
    int64_t code = 0;
    str_to_i64(json_get_str(attributes, "exitCode", json_get_str(attributes, "containerExitCode", STR("0"))), &code);
    code = json_get_int(event, "ContainerExitCode", code);
    return code > 0 && code <= 255 ? (int)code : 0;
}

bool ctr_event_parse(struct arena *a, struct str line, struct ctr_event *out)
{
    scoped_err ignored = {0};
    scoped_json *j = json_parse(line, &ignored);
    /* The API's form, docker's program's too; else podman's program's: {"Name": ..., "Status": ..., "Time": RFC 3339}. */
    struct str action = json_get_str(j, "Action", json_get_str(j, "status", json_get_str(j, "Status", (struct str){0})));
    const json_t *attributes = json_get(json_get(j, "Actor"), "Attributes");
    struct str name = json_get_str(attributes, "name", json_get_str(j, "Name", (struct str){0}));
    int64_t second = json_get_int(j, "time", 0), at_ns;
    if (!kind_of(action, &out->kind) || name.len == 0)
        return false;
    out->name = str_dup(a, name);
    out->exit_code = exit_code_of(j, attributes);
    /* Only seconds: as late as it can have been. */
    bool fits = second > 0 && second < INT64_MAX / 1000000000 - 1;
    out->at_ns = json_get_int(j, "timeNano", fits ? (second + 1) * 1000000000 - 1 : INT64_MAX);
    if (time_parse(json_get_str(j, "Time", (struct str){0}), &at_ns) && at_ns != TIME_NONE)
        out->at_ns = at_ns;
    return true;
}

void ctr_events_feed(struct ctr_event_feed *f, struct str part)
{
    while (part.len > 0) {
        size_t end = str_chr(part, '\n');
        if (!buf_add_str(&f->line, str_slice(part, 0, MIN(end, part.len))))
            f->is_long = true;
        if (end == STR_NPOS)
            return;
        scoped_arena a = {0};
        struct ctr_event event;
        if (!f->is_long && ctr_event_parse(&a, buf_str(&f->line), &event))
            f->fn(f->arg, &event);
        buf_clear(&f->line);
        f->is_long = false;
        part = str_from_off(part, end + 1);
    }
}

/* --- Following it ----------------------------------------------------------------------------------- */

struct follow {
    struct ctr_manager *m;
    bool was_open;   /* this time */
    bool is_again;   /* not for the first time: things may have been missed */
};

static void on_event(void *arg, const struct ctr_event *event)
{
    struct follow *f = arg;
    struct ctr_manager *m = f->m;
    pthread_mutex_lock(&m->lock);
    if (event) {
        struct ctr_service *svc = svc_find(m, event->name);
        if (svc)
            svc_event(svc, event);
    } else {
        f->was_open = true;
        for (struct ctr_service *svc = m->services; svc && f->is_again; svc = svc->next)
            svc_look(svc);
        f->is_again = true;
    }
    pthread_mutex_unlock(&m->lock);
}

void *svc_events_thread(void *arg)
{
    struct ctr_manager *m = arg;
    struct follow f = {.m = m};
    int64_t pause = PAUSE_MIN_MS;
    pthread_mutex_lock(&m->lock);
    while (!m->is_closing) {
        scoped_err err = {0};
        f.was_open = false;
        int64_t began = clock_ms();
        pthread_mutex_unlock(&m->lock);
        ctr_engine_events(m->engine, STR(CTR_LABEL_HOME), str_from(m->home), on_event, &f, m->events_stop, &err);
        pthread_mutex_lock(&m->lock);
        if (m->is_closing)
            break;
        f.was_open &= clock_ms() - began >= STEADY_MS; /* a program counts as open when it is started, even in vain */
        if (f.was_open)
            pause = PAUSE_MIN_MS;
        if (f.was_open || pause == PAUSE_MIN_MS * 2)
            log_warn("the container engine's events are cut off", LOG_ERR(&err));
        int64_t until = clock_ms() + pause;
        while (!m->is_closing && clock_ms() < until)
            svc_wait(m, &m->events_cond, until);
        pause = MIN(pause * 2, (int64_t)PAUSE_MAX_MS);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}
