/* container/image.c: makes sure that an image is there: pulled or built once, however many ask for it.
 *
 * Whoever finds nobody building the image takes a slot for it; the others wait for its outcome and share it.
 * Slots beyond the ceiling of concurrent builds wait for their turn.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "service_int.h"
#include "timefmt.h"

#include <stdlib.h>

struct build_slot {
    struct build_slot *next;
    struct str image; /* of the builder's service, which outlives the slot's place in the list */
    int refs;
    bool is_done, ok;
    struct err err; /* when !ok */
};

static void slot_unref(struct build_slot *s)
{
    if (--s->refs > 0)
        return;
    err_release(&s->err);
    free(s);
}

static bool is_cancelled(struct ctr_service *svc)
{
    return svc->m->is_closing || atomic_load(&svc->cancel);
}

static bool fail_cancelled(struct ctr_service *svc, struct err *err)
{
    return err_set(err, ERR_CANCELLED, "making image " STR_FMT " was cancelled", STR_ARG(svc->run.image));
}

static struct build_slot *slot_find(const struct ctr_manager *m, struct str image)
{
    struct build_slot *s = m->slots;
    while (s && !str_eq(s->image, image))
        s = s->next;
    return s;
}

/* What is done from now on; with the lock, which is let go of meanwhile. */
static void tell_unlocked(struct ctr_manager *m, const struct image_phase *phase, const char *name)
{
    pthread_mutex_unlock(&m->lock);
    phase->fn(phase->arg, name);
    pthread_mutex_lock(&m->lock);
}

/* Waits for somebody else's build of the same image. */
static bool slot_follow(struct ctr_service *svc, struct build_slot *s, const struct image_phase *phase, struct err *err)
{
    s->refs++;
    if (!s->is_done)
        tell_unlocked(svc->m, phase, svc->is_external_image ? "waiting for the image" : "waiting for the build");
    while (!s->is_done && !is_cancelled(svc))
        svc_wait(svc->m, &svc->m->changed, clock_ms() + 100);
    bool ok = s->is_done ? s->ok : fail_cancelled(svc, err);
    if (s->is_done && !ok)
        err_set(err, s->err.code, "%s", err_msg(&s->err));
    slot_unref(s);
    return ok;
}

/* Waits for a turn among the concurrent builds. */
static bool turn_take(struct ctr_service *svc, const struct image_phase *phase, struct err *err)
{
    struct ctr_manager *m = svc->m;
    int64_t until = clock_ms() + m->build_wait_secs * 1000LL;
    if (m->building >= m->max_builds)
        tell_unlocked(m, phase, "waiting for other builds");
    while (m->building >= m->max_builds) {
        if (is_cancelled(svc))
            return fail_cancelled(svc, err);
        if (clock_ms() >= until)
            return err_set(err, ERR_TIMEOUT,
                           "error acquiring build lock: image " STR_FMT " has waited %d s for its turn, and %d other build%s "
                           "still going on; try again later, or raise system.max_build_wait_secs (%d) or "
                           "system.max_concurrent_builds (%d) and restart the server",
                           STR_ARG(svc->run.image), m->build_wait_secs, m->building, m->building == 1 ? " is" : "s are",
                           m->build_wait_secs, m->max_builds);
        svc_wait(m, &m->changed, MIN(until, clock_ms() + 100));
    }
    m->building++;
    return true;
}

/* Where the output of a build goes. */
struct output {
    struct ctr_service *svc;
    struct build_log *log;
};

static void on_build_line(void *arg, struct str line)
{
    const struct output *o = arg;
    svc_log_line(o->svc, line);
    build_log_line(o->log, line);
}

static void log_begin(struct output *o, struct arena *a)
{
    char now[TIME_TEXT_MAX];
    size_t n = time_format_rfc3339_nano(now, wall_ns() / 1000000000 * 1000000000);
    build_log_line(o->log, str_printf(a, CTR_PHASE_MARK "building image " STR_FMT ", " STR_FMT,
                                      STR_ARG(o->svc->run.image), STR_ARG(str_of(now, n))));
}

/* An error repeats the last lines of the output: its first line says what happened. */
static void log_end(struct output *o, struct arena *a, bool ok, int64_t took_ms, const struct err *err)
{
    struct str first;
    str_cut(str_from(ok ? "built" : err_msg(err)), '\n', &first, NULL);
    build_log_line(o->log, str_printf(a, CTR_PHASE_MARK STR_FMT " after %lld.%lld s", STR_ARG(str_trim_right(first, ':')),
                                      (long long)took_ms / 1000, (long long)took_ms % 1000 / 100));
    build_log_close(o->svc->m, o->log);
}

/* Who has both should know which one counts. */
static void tell_other_file(struct output *o, struct arena *a, struct str dir)
{
    if (str_eq(o->svc->build_file, STR("Containerfile")) &&
        fs_exists(str_printf(a, STR_FMT "/Dockerfile", STR_ARG(dir))))
        on_build_line(o, STR("There are a Containerfile and a Dockerfile: the Containerfile is used."));
}

static bool build_from_source(struct ctr_service *svc, struct output *out, const struct image_phase *phase,
                              struct arena *a, struct err *err)
{
    struct str dir;
    phase->fn(phase->arg, "getting the source");
    if (!svc->source.fetch(svc->source.arg, a, &dir, err))
        return err_wrap(err, "getting the source of image " STR_FMT, STR_ARG(svc->run.image));
    phase->fn(phase->arg, "building the image");
    tell_other_file(out, a, dir);
    struct ctr_kv_list labels = {0}; /* by which a prune knows its own */
    ctr_kv_set(a, &labels, STR(CTR_LABEL_IMAGE_HOME), str_from(svc->m->home));
    ctr_kv_set(a, &labels, STR(CTR_LABEL_IMAGE_APP_ID), svc->app_id);
    struct ctr_build b = {.image = svc->run.image,
                          .dir = dir,
                          .file = svc->build_file,
                          .target = svc->build_target,
                          .args = &svc->build_args,
                          .labels = &labels,
                          .on_line = on_build_line,
                          .line_arg = out,
                          .cancel = &svc->cancel};
    bool ok = ctr_image_build(svc->m->engine, &b, err);
    if (svc->source.drop)
        svc->source.drop(svc->source.arg, dir);
    return ok;
}

static bool build(struct ctr_service *svc, const struct image_phase *phase, struct arena *a, struct err *err)
{
    struct ctr_engine *e = svc->m->engine;
    bool exists = false;
    /* Another server, or a build that ended while we waited, may have made it. */
    if (!ctr_image_inspect(e, a, svc->run.image, &exists, NULL, err) || exists)
        return exists;
    if (svc->is_external_image) {
        phase->fn(phase->arg, "pulling the image");
        return ctr_image_pull(e, a, svc->run.image, NULL, NULL, &svc->cancel, err);
    }
    if (!svc->source.fetch)
        return err_set(err, ERR_INTERNAL,
                       "image " STR_FMT " is missing and there is no source to build it from",
                       STR_ARG(svc->run.image));
    struct output out = {svc, build_log_open(svc->m, svc->app_id)};
    int64_t begin = clock_ms();
    log_begin(&out, a);
    bool ok = build_from_source(svc, &out, phase, a, err);
    int64_t took = clock_ms() - begin;
    log_end(&out, a, ok, took, err);
    if (ok)
        log_info("image built", LOG_STR("image", svc->run.image), LOG_INT("build_ms", took));
    return ok;
}

static void slot_close(struct ctr_manager *m, struct build_slot *slot)
{
    struct build_slot **at = &m->slots;
    while (*at != slot)
        at = &(*at)->next;
    *at = slot->next;
    slot->is_done = true;
    slot_unref(slot);
    pthread_cond_broadcast(&m->changed);
}

/* --- What removes images, and what relies on them --- */

bool svc_images_hold(struct ctr_service *svc, struct err *err)
{
    struct ctr_manager *m = svc->m;
    pthread_mutex_lock(&m->lock);
    while (m->is_removing_image && !is_cancelled(svc))
        svc_wait(m, &m->changed, clock_ms() + 100);
    bool ok = !m->is_removing_image || fail_cancelled(svc, err);
    m->image_holds += ok;
    pthread_mutex_unlock(&m->lock);
    return ok;
}

void svc_images_release(struct ctr_manager *m)
{
    pthread_mutex_lock(&m->lock);
    m->image_holds--;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

bool svc_is_image_loaded(const struct ctr_manager *m, struct str image)
{
    image = str_starts(image, STR("localhost/")) ? str_from_off(image, strlen("localhost/")) : image;
    for (const struct ctr_service *svc = m->services; svc; svc = svc->next)
        if (str_eq(svc->run.image, image))
            return true;
    return false;
}

bool svc_image_remove_begin(struct ctr_manager *m, struct str image, struct err *err)
{
    int64_t until = clock_ms() + m->image_wait_ms;
    pthread_mutex_lock(&m->lock);
    while (!m->is_closing && (m->image_holds > 0 || m->is_removing_image) && clock_ms() < until)
        svc_wait(m, &m->changed, until);
    bool ok = false;
    if (m->is_closing)
        err_set(err, ERR_CANCELLED, "the server is stopping");
    else if (m->image_holds > 0 || m->is_removing_image)
        err_set(err, ERR_CONFLICT, "an image is being built or a container made: this one is left for the next time");
    else if (svc_is_image_loaded(m, image))
        err_set(err, ERR_CONFLICT, "an app that has just been loaded uses it");
    else
        ok = m->is_removing_image = true;
    pthread_mutex_unlock(&m->lock);
    return ok;
}

void svc_image_remove_end(struct ctr_manager *m)
{
    pthread_mutex_lock(&m->lock);
    m->is_removing_image = false;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

bool svc_image_ensure(struct ctr_service *svc, const struct image_phase *phase, struct arena *a, struct err *err)
{
    struct ctr_manager *m = svc->m;
    pthread_mutex_lock(&m->lock);
    struct build_slot *slot = slot_find(m, svc->run.image);
    if (slot) {
        bool ok = slot_follow(svc, slot, phase, err);
        pthread_mutex_unlock(&m->lock);
        return ok;
    }
    slot = xcalloc(1, sizeof *slot);
    slot->image = svc->run.image;
    slot->refs = 1;
    slot->next = m->slots;
    m->slots = slot;
    bool ok = turn_take(svc, phase, &slot->err);
    bool has_turn = ok;
    if (ok) {
        pthread_mutex_unlock(&m->lock);
        ok = build(svc, phase, a, &slot->err);
        pthread_mutex_lock(&m->lock);
    }
    m->building -= has_turn;
    slot->ok = ok;
    if (!ok)
        err_set(err, slot->err.code, "%s", err_msg(&slot->err));
    slot_close(m, slot);
    pthread_mutex_unlock(&m->lock);
    return ok;
}
