/* base/embed.h: files that the build puts into the binary (tools/embed makes the tables).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

#include "str.h"

/* One embedded file. A table of them is sorted by name. */
struct embedded_file {
    struct str name;   /* relative to the folder embedded, '/'-separated */
    struct str data;   /* followed by a NUL byte */
};

/* What is in the file `name` of a table, which must have it. */
static inline struct str embed_data(const struct embedded_file *files, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(files[i].name, name))
            return files[i].data;
    BUG("no file " STR_FMT " is embedded", STR_ARG(name));
}

#endif
