/* base/fs_int.h: shared by the file parts of base.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FS_INT_H
#define BASE_FS_INT_H

#include "fs.h"

#include <limits.h>
#include <sys/stat.h>

/* `path` NUL-terminated in `out`; refuses an inner NUL and what the kernel would find too long. */
bool fs_path_z(struct str path, char out[PATH_MAX], struct err *err);
struct fs_info fs_info_from(const struct stat *st);

#endif
