/* source/source_int.h: what the files of this module share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SOURCE_SOURCE_INT_H
#define SOURCE_SOURCE_INT_H

#include "fs.h"
#include "id.h"
#include "source.h"

/* Writes one file under `dir`, as src_files_extract() does. *sha, unless NULL, becomes the hash of what was written: a
 * file on a disk may have changed since it was hashed. */
bool src_file_extract(const struct src_file *f, struct str dir, struct arena *a, struct str *sha, struct err *err);

#define SRC_IGNORE_FILE ".openrunignore"
struct ignore;
/* The patterns of the folder's .openrunignore; *out is NULL without one. Fails naming a line that is malformed. */
bool ignore_read(struct arena *a, struct str dir, struct ignore **out, struct err *err);
/* Whether what is at `path` (relative) is left out. `g` may be NULL. */
bool ignore_has(const struct ignore *g, struct str path, bool is_folder);

#endif
