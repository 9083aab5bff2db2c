/* deploy/dev.c: a dev app whose source has changed: evaluated anew and put in service, without a change to the metadata.
 *
 * When it fails to load, a slot that is not loaded takes the place of the old one: requests are told why, and the
 * next change, or the next request a few seconds later, tries again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

bool deploy_dev_reload(struct deploy *d, const struct deploy_caller *who, struct str path, char *seen, struct err *err)
{
    scoped_op op;
    struct deploy_opts o = {.app = path};
    op_open(&op, d, who, &o, "dev_reload");
    if (!op_select(&op, path, err))
        return false;
    if (op.units.len != 1 || !op.units.items[0]->main.app->is_dev)
        return true; /* it has gone meanwhile */
    struct entry *e = &op.units.items[0]->main;
    /* A container of another making is up before the old one's requests go to it. */
    bool ok = check_load(&op, e, err) && check_awake_container(&op, e, err);
    if (!ok && err->code == ERR_CANCELLED)
        return false;
    scoped_err own = {0};
    struct deploy_published what = {.loaded = &e->loaded, .n_loaded = e->loaded ? 1 : 0};
    str_list_add(&op.arena, &what.ids, e->app->id);
    if (!d->config.publish(d->config.arg, &what, ok ? err : &own))
        return false;
    op.is_committed = true; /* its container stays */
    struct app_progress progress = {.cancel = who->cancel};
    return ok && app_dev_refresh(e->loaded, &progress, seen, err);
}
