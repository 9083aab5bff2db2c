/* source/source_int.h: what the files of this module share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SOURCE_SOURCE_INT_H
#define SOURCE_SOURCE_INT_H

#include "fs.h"
#include "id.h"
#include "source.h"

/* `source` as it may be shown: without what stands between "://" and "@". A slice or in `a`. */
struct str src_shown(struct arena *a, struct str source);

#endif
