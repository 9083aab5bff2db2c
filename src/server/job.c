/* server/job.c: the table of scheduled jobs: what the site declares, when it is due, what runs.
 *
 * 1. A job is in the table as long as the newest site declares it; a run keeps its job, the declaration it began with, and
 *    the slot of that version.
 * 2. `active` counts queued and running runs; each has a record in the history that has not ended.
 * 3. At most one further run waits (overlap "queue"): a job that is slower than its schedule must not pile up.
 * SPDX-License-Identifier: Apache-2.0 */
#include "job.h"
#include "server_int.h"

#include <stdlib.h>

enum { GRACE_S = 60, PARALLEL_MAX = 8, CLOCK_BACK_S = 60 };

/* What one version of an app declares. */
struct defs {
    int refs; /* (L) */
    struct arena arena;
    struct app_slot *slot;
    struct app_job_list list;
};

struct job {
    int refs; /* (L) table and runs */
    struct arena arena;
    struct str app_id, path, name, dir;
    struct str schedule;       /* with its zone: what `base_s` goes with; in the arena of `defs` */
    struct defs *defs;
    const struct app_job *def; /* in `defs` */
    bool is_scheduled, is_gone;
    uint64_t seen;             /* by which look at the site */
    int64_t next_s;            /* 0: never */
    struct job_history history;
    int active;
    bool is_waiting;           /* inv. 3 */
    int64_t waiting_due_s;
    struct run *runs;
};

struct run {
    struct run *next;
    struct job_table *table;
    struct job *job;
    struct defs *defs;
    const struct app_job *def;
    char id[40];
    enum job_trigger trigger;
    atomic_bool cancel;
};

struct job_table {
    struct server *server;
    struct jobs_lane *lane;
    pthread_mutex_t lock; /* (L) */
    bool is_stopping;
    uint64_t site_number, looks;
    struct arena arena;   /* of `jobs` */
    struct {
        struct job **items;
        size_t len, cap;
    } jobs;
};

/* --- plans ---------------------------------------------------------------------------------------- */

static int64_t next_after(const struct app_job *job, int64_t s)
{
    int64_t next;
    return cron_next(&job->cron, s, star_zone_offset, job->zone, &next) ? next : 0;
}

struct job_plan job_plan_at(const struct app_job *job, int64_t base_s, int64_t now_s)
{
    struct job_plan p = {.next_s = next_after(job, now_s)};
    int64_t on_time = next_after(job, MAX(base_s, now_s - GRACE_S)), missed = next_after(job, base_s);
    if (on_time > 0 && on_time <= now_s) {
        p.due_s = on_time;
    } else if (missed > 0 && missed <= now_s) {
        p.is_missed = !job->catch_up;
        p.is_late = job->catch_up;
        p.due_s = job->catch_up ? missed : 0;
    }
    return p;
}

/* --- life ----------------------------------------------------------------------------------------- */

static void defs_unref(struct defs *d)
{
    if (!d || --d->refs > 0)
        return;
    app_slot_unref(d->slot);
    arena_release(&d->arena);
    free(d);
}

static void job_unref(struct job *job)
{
    if (--job->refs > 0)
        return;
    defs_unref(job->defs);
    arena_release(&job->arena);
    free(job);
}

static void save(struct job *job)
{
    scoped_err err = {0};
    if (!job->is_gone && !job_history_save(job->dir, job->schedule, &job->history, &err))
        log_warn("the history of a job cannot be written", LOG_STR("dir", job->dir), LOG_ERR(&err));
}

static void audit(struct server *s, const struct run *run, const char *status, struct str detail)
{
    scoped_arena a = {0};
    store_audit_add_wait(s->store, &(struct store_audit_event){
                                       .rid = str_printf(&a, "job_%s", run->id),
                                       .app_id = run->job->app_id,
                                       .user_id = run->trigger == JOB_BY_HAND ? STR("admin") : STR("scheduler"),
                                       .event_type = STR("system"),
                                       .operation = STR("run_job"),
                                       .target = str_printf(&a, STR_FMT " " STR_FMT, STR_ARG(run->job->path),
                                                            STR_ARG(run->job->name)),
                                       .status = str_from(status),
                                       .detail = detail,
                                   });
}

/* --- runs ----------------------------------------------------------------------------------------- */

static struct run *fire(struct job_table *t, struct job *job, int64_t due_s, enum job_trigger trigger);

/* Queued -> running; false when it is not to happen any more. */
static bool begin(struct run *run)
{
    struct job_table *t = run->table;
    pthread_mutex_lock(&t->lock);
    struct job_record *r = job_history_find(&run->job->history, str_from(run->id));
    bool goes_on = !t->is_stopping && !run->job->is_gone && !atomic_load(&run->cancel);
    if (goes_on) {
        r->status = JOB_RUNNING;
        r->start_ns = wall_ns();
        save(run->job);
    }
    pthread_mutex_unlock(&t->lock);
    return goes_on;
}

static void leave(struct job *job, struct run *run)
{
    struct run **at = &job->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    job->active--;
}

static void finish(struct run *run, const struct job_outcome *outcome)
{
    struct job_table *t = run->table;
    struct job *job = run->job;
    pthread_mutex_lock(&t->lock);
    struct job_record *r = job_history_find(&job->history, str_from(run->id));
    r->status = outcome->status;
    r->code = outcome->code;
    r->end_ns = wall_ns();
    memcpy(r->error, outcome->error, sizeof r->error);
    leave(job, run);
    save(job);
    if (job->is_waiting && job->active == 0) {
        job->is_waiting = false;
        if (!t->is_stopping && !job->is_gone)
            fire(t, job, job->waiting_due_s, JOB_BY_SCHEDULE);
    }
    defs_unref(run->defs);
    job_unref(job);
    pthread_mutex_unlock(&t->lock);
    free(run);
}

static void perform(struct run *run, struct job_outcome *outcome)
{
    struct server *s = run->table->server;
    scoped_arena a = {0};
    struct job_log log;
    audit(s, run, "Started", str_printf(&a, "run %s", run->id));
    log_info("job started", LOG_STR("app", run->job->app_id), LOG_STR("job", run->job->name), LOG_Z("run", run->id));
    job_log_open(&log, run->job->dir, run->id);
    job_perform(s, run->defs->slot, run->def, &run->cancel, &log, outcome);
    if (outcome->error[0])
        job_log_note(&log, outcome->error);
    job_log_close(&log);
    log_info("job ended", LOG_STR("app", run->job->app_id), LOG_STR("job", run->job->name), LOG_Z("run", run->id),
             LOG_Z("status", job_status_name(outcome->status)), LOG_Z("error", outcome->error));
    audit(s, run, outcome->status == JOB_SUCCESS ? "Success" : "Failed",
          str_printf(&a, "run %s: %s%s%s", run->id, job_status_name(outcome->status), outcome->error[0] ? ": " : "",
                     outcome->error));
}

static void run_main(void *arg)
{
    struct run *run = arg;
    struct job_outcome outcome = {.status = JOB_CANCELLED};
    if (begin(run))
        perform(run, &outcome);
    pthread_mutex_lock(&run->table->lock);
    bool is_stopping = run->table->is_stopping;
    pthread_mutex_unlock(&run->table->lock);
    if (is_stopping && outcome.status == JOB_CANCELLED) {
        outcome.status = JOB_INTERRUPTED;
        snprintf(outcome.error, sizeof outcome.error, "the server was stopped while it ran");
    }
    finish(run, &outcome);
}

/* Begins a run. NULL when nothing can be begun. (L) */
static struct run *fire(struct job_table *t, struct job *job, int64_t due_s, enum job_trigger trigger)
{
    struct job_record *r = job_history_add(&job->history, job->dir);
    if (!r)
        return NULL;
    r->trigger = trigger;
    r->due_s = due_s;
    struct run *run = xcalloc(1, sizeof *run);
    *run = (struct run){
        .next = job->runs, .table = t, .job = job, .defs = job->defs, .def = job->def, .trigger = trigger};
    memcpy(run->id, r->id, sizeof run->id);
    atomic_init(&run->cancel, false);
    job->runs = run;
    job->active++;
    job->refs++;
    run->defs->refs++;
    bool ok = jobs_lane_submit(t->lane, run_main, run);
    if (!ok) {
        r->status = JOB_FAILED;
        r->end_ns = wall_ns();
        snprintf(r->error, sizeof r->error, "the server is stopping or overloaded");
        leave(job, run);
        run->defs->refs--;
        job->refs--;
        free(run);
    }
    save(job);
    return ok ? run : NULL;
}

static bool may_overlap(const struct job *job)
{
    return job->active == 0 || (job->def->overlap == APP_OVERLAP_PARALLEL && job->active < PARALLEL_MAX);
}

/* A run is due. (L) */
static void on_due(struct job_table *t, struct job *job, const struct job_plan *plan)
{
    if (may_overlap(job)) {
        fire(t, job, plan->due_s, plan->is_late ? JOB_CATCH_UP : JOB_BY_SCHEDULE);
        return;
    }
    if (job->def->overlap == APP_OVERLAP_QUEUE && !job->is_waiting) {
        job->is_waiting = true;
        job->waiting_due_s = plan->due_s;
        return;
    }
    job->history.skipped++;
    log_info("job skipped: its last run has not ended", LOG_STR("app", job->app_id), LOG_STR("job", job->name));
}

static void look_at(struct job_table *t, struct job *job, int64_t now)
{
    if (now < job->history.base_s - CLOCK_BACK_S) { /* the clock went back */
        job->history.base_s = now;
        job->next_s = next_after(job->def, now);
    }
    if (job->next_s == 0 || now < job->next_s)
        return;
    struct job_plan plan = job_plan_at(job->def, job->history.base_s, now);
    job->history.base_s = now;
    job->next_s = plan.next_s;
    if (plan.due_s)
        on_due(t, job, &plan);
    if (plan.is_missed)
        log_info("a run of a job was missed", LOG_STR("app", job->app_id), LOG_STR("job", job->name));
}

/* --- the site ------------------------------------------------------------------------------------- */

static struct job *job_new(struct job_table *t, const struct store_brief *app, struct str name)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->refs = 1;
    job->app_id = str_dup(&job->arena, app->id);
    job->path = store_path_domain(&job->arena, app->path, app->domain);
    job->name = str_dup(&job->arena, name);
    job->dir = path_join(&job->arena, t->server->home->dir, STR("run/jobs"), app->id, name);
    return job;
}

/* Takes the declaration of the newest version. (L) */
static void declare(struct job *job, struct defs *defs, const struct app_job *def, bool is_scheduled, int64_t now)
{
    bool is_new = !job->defs;
    struct str schedule =
        str_printf(&defs->arena, STR_FMT " " STR_FMT, STR_ARG(def->schedule), STR_ARG(def->time_zone));
    bool is_known = is_new ? job_history_load(job->dir, schedule, now, &job->history) : str_eq(schedule, job->schedule);
    if (!is_known)
        job->history.base_s = now;
    defs->refs++;
    defs_unref(job->defs);
    job->defs = defs;
    job->def = def;
    job->schedule = schedule;
    job->is_scheduled = is_scheduled;
    job->next_s = is_scheduled ? next_after(def, job->history.base_s) : 0;
    if (!is_known && is_scheduled)
        save(job); /* from when on it counts */
}

static struct str key_of(struct arena *a, struct str app_id, struct str name)
{
    return str_printf(a, STR_FMT "/" STR_FMT, STR_ARG(app_id), STR_ARG(name));
}

/* The jobs of one app into the table. (L) */
static void declare_all(struct job_table *t, struct map *known, struct app_slot *slot, int64_t now)
{
    const struct store_brief *app = app_slot_entry(slot);
    scoped_arena a = {0};
    scoped_err err = {0};
    struct defs *defs = xcalloc(1, sizeof *defs);
    defs->refs = 1;
    defs->slot = app_slot_ref(slot);
    if (!app_jobs_parse(&defs->arena, app->jobs, &defs->list, &err))
        log_warn("the jobs of an app are malformed and do not run", LOG_STR("app", app->id), LOG_ERR(&err));
    vec_foreach(def, &defs->list)
    {
        struct job *job = map_get(known, key_of(&a, app->id, def->name));
        if (!job) {
            job = job_new(t, app, def->name);
            *vec_push(&t->arena, &t->jobs) = job;
        }
        declare(job, defs, def, !app->is_dev, now);
        job->seen = t->looks;
    }
    defs_unref(defs);
}

/* Takes out what no app declares any more; runs of apps that are gone end. (L) */
static void drop_unseen(struct job_table *t, const struct site *site)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->jobs.len; i++) {
        struct job *job = t->jobs.items[i];
        if (job->seen == t->looks) {
            t->jobs.items[kept++] = job;
            continue;
        }
        job->is_gone = !site_find(site, job->app_id);
        job->is_waiting = false;
        for (struct run *run = job->runs; run && job->is_gone; run = run->next)
            atomic_store(&run->cancel, true);
        job_unref(job);
    }
    t->jobs.len = kept;
}

/* Folders of apps that are gone. */
static void remove_folders(struct job_table *t, const struct site *site)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct fs_items all = {0};
    if (!fs_list(&a, path_join(&a, t->server->home->dir, STR("run/jobs")), SIZE_MAX, &all, &err))
        log_warn("looking for the runs of deleted apps", LOG_ERR(&err));
    vec_foreach(dir, &all)
    {
        bool is_gone = dir->info.kind == FS_DIR && !site_find(site, dir->name);
        if (is_gone && !fs_remove_tree(dir->path, &err))
            log_warn("removing the runs of a deleted app", LOG_STR("dir", dir->path), LOG_ERR(&err));
    }
}

static void take_site(struct job_table *t, const struct site *site, uint64_t number)
{
    scoped_arena a = {0};
    struct map known;
    map_init(&known, &a);
    pthread_mutex_lock(&t->lock);
    if (number <= t->site_number || t->is_stopping) {
        pthread_mutex_unlock(&t->lock);
        return;
    }
    t->site_number = number;
    t->looks++;
    for (size_t i = 0; i < t->jobs.len; i++)
        map_set(&known, key_of(&a, t->jobs.items[i]->app_id, t->jobs.items[i]->name), t->jobs.items[i]);
    int64_t now = wall_ns() / 1000000000;
    for (size_t i = 0; i < site_len(site); i++) {
        struct app_slot *slot = site_at(site, i)->slot;
        const struct store_brief *app = app_slot_entry(slot);
        if (!str_is_empty(app->jobs) && str_is_empty(app->main_app))
            declare_all(t, &known, slot, now);
    }
    drop_unseen(t, site);
    remove_folders(t, site);
    pthread_mutex_unlock(&t->lock);
}

/* The table is that of the newest site afterwards. `waits`: also of one that is being published now. */
static void refresh(struct job_table *t, bool waits)
{
    struct server *s = t->server;
    if (waits)
        pthread_mutex_lock(&s->publish_lock);
    else if (pthread_mutex_trylock(&s->publish_lock) != 0)
        return;
    struct site *site = s->site ? site_ref(s->site) : NULL;
    uint64_t number = s->site_number;
    pthread_mutex_unlock(&s->publish_lock);
    if (site)
        take_site(t, site, number);
    site_unref(site);
}

static bool is_declared(void *arg, struct str app_id, struct str name)
{
    const struct job_table *t = arg;
    for (size_t i = 0; i < t->jobs.len; i++)
        if (str_eq(t->jobs.items[i]->app_id, app_id) && str_eq(t->jobs.items[i]->name, name))
            return true;
    return false;
}

void job_table_sweep(struct job_table *t, int64_t now_ns)
{
    scoped_arena a = {0};
    refresh(t, true);
    pthread_mutex_lock(&t->lock);
    if (!t->is_stopping && t->site_number > 0)
        job_history_sweep(path_join(&a, t->server->home->dir, STR("run/jobs")), is_declared, t, now_ns);
    pthread_mutex_unlock(&t->lock);
}

void job_table_tick(void *arg)
{
    struct job_table *t = arg;
    refresh(t, false);
    int64_t now = wall_ns() / 1000000000;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; !t->is_stopping && i < t->jobs.len; i++)
        if (t->jobs.items[i]->is_scheduled)
            look_at(t, t->jobs.items[i], now);
    pthread_mutex_unlock(&t->lock);
}

/* --- opening and closing -------------------------------------------------------------------------- */

struct job_table *job_table_open(struct server *s)
{
    struct job_table *t = xcalloc(1, sizeof *t);
    int64_t limit = config_int(&s->config, "system.max_concurrent_jobs");
    t->server = s;
    t->lane = jobs_lane_new(s->task_jobs, (unsigned)MIN(MAX(limit, (int64_t)1), (int64_t)64));
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void job_table_stop(struct job_table *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->is_stopping = true;
    for (size_t i = 0; i < t->jobs.len; i++)
        for (struct run *run = t->jobs.items[i]->runs; run; run = run->next)
            atomic_store(&run->cancel, true);
    pthread_mutex_unlock(&t->lock);
}

void job_table_close(struct job_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->jobs.len; i++)
        job_unref(t->jobs.items[i]);
    pthread_mutex_destroy(&t->lock);
    arena_release(&t->arena);
    free(t);
}

/* --- what is asked -------------------------------------------------------------------------------- */

static bool find(struct job_table *t, struct str app_id, struct str name, struct job **out, struct err *err)
{
    for (size_t i = 0; i < t->jobs.len; i++) {
        struct job *job = t->jobs.items[i];
        if (str_eq(job->app_id, app_id) && str_eq(job->name, name)) {
            *out = job;
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the app has no job \"" STR_FMT "\": see openrun job list",
                   STR_ARG(str_slice(name, 0, 100)));
}

static json_t *time_json(int64_t s)
{
    char text[TIME_TEXT_MAX];
    return json_from_str(s > 0 ? str_of(text, time_format_rfc3339(text, s * 1000000000)) : (struct str){0});
}

static json_t *job_json(const struct job *job)
{
    const struct app_job *d = job->def;
    const struct job_history *h = &job->history;
    json_t *j = json_object();
    json_set_str(j, "app_id", job->app_id);
    json_set_str(j, "app_path", job->path);
    json_set_str(j, "name", job->name);
    json_set_str(j, "schedule", d->schedule);
    json_set_str(j, "time_zone", str_is_empty(d->time_zone) ? STR("UTC") : d->time_zone);
    json_set_list(j, "command", &d->command);
    json_set_str(j, "method", d->command.len > 0 ? (struct str){0} : d->method);
    json_set_str(j, "path", d->path);
    json_set_int(j, "timeout", d->timeout_secs);
    json_set_z(j, "overlap", app_overlap_name(d->overlap));
    json_set_bool(j, "catch_up", d->catch_up);
    json_object_set_new(j, "next_run", time_json(job->next_s));
    json_set_int(j, "active", job->active + job->is_waiting);
    json_set_int(j, "skipped", h->skipped);
    json_object_set_new(j, "last_run", h->len > 0 ? job_record_json(&h->runs[h->len - 1]) : json_null());
    return j;
}

static int order(const void *x, const void *y)
{
    const struct job *a = *(struct job *const *)x, *b = *(struct job *const *)y;
    int c = str_cmp(a->path, b->path);
    return c ? c : str_cmp(a->name, b->name);
}

json_t *job_table_list(struct job_table *t, job_pick_fn *pick, void *arg)
{
    json_t *list = json_array();
    refresh(t, true);
    pthread_mutex_lock(&t->lock);
    if (t->jobs.len > 1)
        qsort(t->jobs.items, t->jobs.len, sizeof t->jobs.items[0], order);
    for (size_t i = 0; i < t->jobs.len; i++)
        if (pick(arg, app_slot_entry(t->jobs.items[i]->defs->slot)))
            json_array_append_new(list, job_json(t->jobs.items[i]));
    pthread_mutex_unlock(&t->lock);
    return list;
}

bool job_table_runs(struct job_table *t, struct str app_id, struct str name, json_t **out, struct err *err)
{
    struct job *job;
    json_t *list = NULL;
    refresh(t, true);
    pthread_mutex_lock(&t->lock);
    if (find(t, app_id, name, &job, err)) {
        list = json_array();
        for (size_t i = job->history.len; i-- > 0;)
            json_array_append_new(list, job_record_json(&job->history.runs[i]));
    }
    pthread_mutex_unlock(&t->lock);
    if (list)
        *out = list;
    return list != NULL;
}

bool job_table_run(struct job_table *t, struct arena *a, struct str app_id, struct str name, struct str *run_id,
                   struct err *err)
{
    struct job *job;
    refresh(t, true);
    pthread_mutex_lock(&t->lock);
    bool ok = find(t, app_id, name, &job, err);
    if (ok && !may_overlap(job))
        ok = err_set(err, ERR_CONFLICT,
                     "job " STR_FMT " is running: wait for it, cancel it (openrun job cancel), or declare it with "
                     "overlap=\"parallel\"",
                     STR_ARG(name));
    struct run *run = ok ? fire(t, job, 0, JOB_BY_HAND) : NULL;
    if (run)
        *run_id = str_dup(a, str_from(run->id));
    else if (ok)
        ok = err_set(err, ERR_UNAVAILABLE, "the server is stopping or overloaded: try again");
    pthread_mutex_unlock(&t->lock);
    return ok;
}

bool job_table_cancel(struct job_table *t, struct str app_id, struct str name, int *n, struct err *err)
{
    struct job *job;
    refresh(t, true);
    pthread_mutex_lock(&t->lock);
    bool ok = find(t, app_id, name, &job, err);
    if (ok) {
        *n = job->active + job->is_waiting;
        job->is_waiting = false;
        for (struct run *run = job->runs; run; run = run->next)
            atomic_store(&run->cancel, true);
    }
    pthread_mutex_unlock(&t->lock);
    return ok;
}

/* The last lines of `text`. */
static struct str last_lines(struct str text, int n)
{
    size_t from = text.len;
    if (from > 0 && text.ptr[from - 1] == '\n')
        from--;
    for (; from > 0; from--)
        if (text.ptr[from - 1] == '\n' && --n == 0)
            break;
    return str_from_off(text, from);
}

bool job_table_log(struct job_table *t, struct arena *a, struct str app_id, struct str name, struct str run_id,
                   int64_t from, int tail, json_t **out, struct err *err)
{
    struct job *job;
    struct job_record record = {0};
    struct str dir = {0};
    refresh(t, true);
    pthread_mutex_lock(&t->lock);
    bool ok = find(t, app_id, name, &job, err);
    if (ok) {
        struct job_history *h = &job->history;
        const struct job_record *r =
            str_is_empty(run_id) ? (h->len > 0 ? &h->runs[h->len - 1] : NULL) : job_history_find(h, run_id);
        dir = str_dup(a, job->dir);
        ok = r || err_set(err, ERR_NOT_FOUND, str_is_empty(run_id) ? "job " STR_FMT " has not run yet"
                                                                   : "job " STR_FMT " has no such run, or no longer",
                          STR_ARG(name));
        if (r)
            record = *r;
    }
    pthread_mutex_unlock(&t->lock);
    struct str text = {0};
    int64_t end = from;
    if (!ok || !job_log_read(a, dir, record.id, MAX(from, (int64_t)0), &text, &end, err))
        return false;
    json_t *j = json_object();
    json_object_set_new(j, "run", job_record_json(&record));
    json_set_str(j, "logs", tail > 0 && from == 0 ? last_lines(text, tail) : text);
    json_set_int(j, "next", end);
    json_set_bool(j, "is_over", job_has_ended(record.status));
    *out = j;
    return true;
}
