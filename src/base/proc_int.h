/* base/proc_int.h: between proc.c and proc_tree.c.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PROC_INT_H
#define BASE_PROC_INT_H

#include "proc.h"

#include <sys/types.h>

/* SIGKILL to the descendants of `leader` that are not in its process group. True if there was one. */
bool proc_kill_outsiders(pid_t leader);

#endif
