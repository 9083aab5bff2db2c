/* container/leftover.c: containers that a server which died had started for a change that did not come about.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "service_int.h"

/* Lists tell whole seconds, inspecting tells fractions. */
static bool was_made_since(struct ctr_manager *m, struct arena *a, const struct ctr_info *info, int64_t since_ns)
{
    const int64_t second_ns = 1000000000;
    struct ctr_info exact;
    int64_t made;
    scoped_err ignored = {0};
    return time_parse(info->created_at, &made) && made >= since_ns - since_ns % second_ns &&
           ctr_container_inspect(m->engine, a, info->name, 0, &exact, &ignored) && time_parse(exact.created_at, &made) &&
           made >= since_ns;
}

bool ctr_manager_end_since(struct ctr_manager *m, int64_t since_ns, struct err *err)
{
    scoped_arena a = {0};
    struct ctr_info_list list;
    struct str home = str_from(m->home);
    if (ctr_engine_kind(m->engine) == CTR_OFF)
        return true;
    if (!ctr_container_list(m->engine, &a, STR(CTR_LABEL_HOME), home, true, &list, err))
        return false;
    for (size_t i = 0; i < list.len; i++) {
        const struct ctr_info *info = &list.items[i];
        scoped_err own = {0};
        if (!str_eq(ctr_kv_text(&info->labels, CTR_LABEL_HOME), home) || !str_starts(info->name, STR("clc-")) ||
            !was_made_since(m, &a, info, since_ns) || !svc_claim(m, info->name))
            continue;
        bool ok = ctr_container_remove(m->engine, info->name, &own);
        svc_claim_end(m);
        if (ok)
            log_info("removed the container of an operation that was cut short", LOG_STR("container", info->name));
        else
            log_warn("removing the container of an operation that was cut short", LOG_STR("container", info->name),
                     LOG_ERR(&own));
    }
    return true;
}
