/* container/ctr_task.h: single commands: each runs to its end in a container of its own, made from the image of an
 * app, and nothing of it is left afterwards.
 *
 * What a server that was killed left behind is removed by the next one (ctr_manager_clean_tasks). These containers have
 * labels of their own (CTR_LABEL_TASK_HOME): sweeps, listings and drains of apps never see them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CTR_TASK_H
#define CTR_TASK_H

#include "ctr_service.h"

/* Runs `run` for the app `app_id`: as ctr_container_task(), under a name and labels of its own (those of `run` and its
 * port do not count). Blocking; for job threads. */
bool ctr_manager_task(struct ctr_manager *m, struct str app_id, const struct ctr_run *run, const struct ctr_task_io *io,
                      struct ctr_task_end *end, struct err *err);
/* Removes containers of commands of this home that no call is running. Blocking; the sweep does it too. */
void ctr_manager_clean_tasks(struct ctr_manager *m);

/* Makes the service's image if it is missing, without a container; builds it once however many ask. Blocking. */
bool ctr_service_make_image(struct ctr_service *svc, struct err *err);

#endif
