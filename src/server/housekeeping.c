/* server/housekeeping.c: what the server does once after its start, and now and then while it runs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

enum {
    CERTS_CHECK_SECS = 60,
    UNDO_AGAIN_SECS = 10, /* after the start: what was under way to the engine when the last server died has arrived */
    KEYS_SWEEP_SECS = 60,
    RETAIN_SECS = 3600,
};

static void sweep_job(void *arg)
{
    struct server *s = arg;
    scoped_err err = {0};
    int64_t removed = 0;
    scoped_store_tx *tx = store_begin(s->store, &err);
    if (!tx || !store_key_sweep(tx, &removed, &err) || !store_commit(&tx, &err))
        log_warn("sweeping expired keys", LOG_ERR(&err));
}

static void care_job(void *arg)
{
    struct server *s = arg;
    scoped_err err = {0};
    struct db_care_options options = {
        .vacuum_pages = config_int(&s->config, "metadata.sqlite_vacuum_pages"),
        .truncate_every = config_int(&s->config, "metadata.sqlite_truncate_checkpoint_every"),
    };
    if (!store_care(s->store, &options, &err))
        log_warn("database maintenance", LOG_ERR(&err));
}

static void leftovers_job(void *arg)
{
    leftovers_sweep(arg);
}

static void retain_job(void *arg)
{
    struct server *s = arg;
    scoped_err err = {0};
    int64_t removed = 0;
    if (!store_audit_retain(s->store, config_int(&s->config, "system.http_event_retention_days"),
                            config_int(&s->config, "system.non_http_event_retention_days"), &removed, &err))
        log_warn("removing old audit events", LOG_ERR(&err));
}

/* Containers of operations that are undone. */
static void undo_job(void *arg)
{
    struct server *s = arg;
    scoped_err err = {0};
    if (s->undone_since && !ctr_manager_end_since(s->containers, s->undone_since, &err))
        log_warn("containers of operations that are undone", LOG_ERR(&err));
}

/* What a server that was killed in the middle of an operation left. */
static void clean_job(void *arg)
{
    struct server *s = arg;
    deploy_clean(s->deploy);
    leftovers_clean(s);
    undo_job(s);
    ctr_manager_clean_tasks(s->containers);
}

static void check_certs(struct server *s)
{
    uint64_t print = certs_fingerprint(&s->certs_config);
    if (print == s->certs_print)
        return;
    scoped_err err = {0};
    struct certs *certs;
    if (!certs_load(&s->certs_config, &certs, &err)) {
        log_warn("certificates not reloaded", LOG_ERR(&err));
        return;
    }
    s->certs_print = certs_fingerprint(&s->certs_config);
    publish_certs(s, certs);
    log_info("certificates reloaded");
}

void housekeeping_start(struct server *s)
{
    if (!jobs_submit(s->jobs, clean_job, s))
        log_warn("no thread to clean up with");
}

void housekeeping_turn(struct server *s, int64_t second)
{
    int64_t care_secs = config_int(&s->config, "metadata.sqlite_maintenance_interval_secs");
    bool ok = true;
    if (s->undone_since && second == UNDO_AGAIN_SECS)
        ok &= jobs_submit(s->jobs, undo_job, s);
    if (second % KEYS_SWEEP_SECS == 0)
        ok &= jobs_submit(s->jobs, sweep_job, s);
    if (care_secs > 0 && second % care_secs == 0)
        ok &= jobs_submit(s->jobs, care_job, s);
    int64_t leftovers_secs = config_int(&s->config, "system.stale_container_cleanup_interval_mins") * 60;
    if (leftovers_secs > 0 && second % leftovers_secs == 0)
        ok &= jobs_submit(s->jobs, leftovers_job, s);
    if (second % RETAIN_SECS == 0)
        ok &= jobs_submit(s->jobs, retain_job, s);
    if (second % CERTS_CHECK_SECS == 0)
        check_certs(s);
    if (!ok)
        log_warn("housekeeping skipped: the job queue is full");
}
