/* container/container.h: containers of apps: engines, images, volumes, and the life of each container.
 *
 *     ctr_manager ── the engine, worker threads, one timer thread, the table of services
 *        ├ ctr_engine   docker or podman, by unix socket where it answers, else by program
 *        └ ctr_service  the container of one app version: start, readiness, idle stop, wake, drain
 *     ctr_task        single commands, each in a container of its own
 *     ctr_file, ctr_ident, ctr_options: pure: Containerfiles, names and hashes, options and volumes
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINER_H
#define CONTAINER_H

#include "ctr_ident.h"
#include "ctr_file.h"
#include "ctr_infer.h"
#include "ctr_options.h"
#include "ctr_engine.h"
#include "ctr_service.h"
#include "ctr_task.h"

#endif
