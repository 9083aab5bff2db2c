/* base/base.h: what every module stands on; includes the parts of base in reading order.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_H
#define BASE_H

#include "util.h"
#include "str.h"
#include "arena.h"
#include "slab.h"
#include "err.h"
#include "buf.h"
#include "vec.h"
#include "map.h"
#include "embed.h"
#include "html.h"
#include "id.h"
#include "timefmt.h"
#include "json.h"
#include "toml.h"
#include "fs.h"
#include "log.h"
#include "proc.h"
#include "jobs.h"
#include "home.h"
#include "bcrypt.h"
#include "cron.h"

#endif
