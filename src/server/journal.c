/* server/journal.c: notes of the operations that run, files named by their ids, for the next server to find (recover.c).
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <fcntl.h>

struct str journal_path(struct arena *a, struct str dir, struct str id)
{
    return path_join(a, dir, str_cat(a, id, STR(".json")));
}

void journal_begin(struct str dir, struct str id, const json_t *note)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_fd int fd = fs_open(journal_path(&a, dir, id), O_WRONLY | O_CREAT | O_TRUNC, 0600, &err);
    if (fd < 0 || !fs_write_fd(fd, json_text(&a, note, JSON_STYLE_COMPACT), &err))
        log_warn("no note of an operation", LOG_STR("operation", id), LOG_ERR(&err));
}

void journal_end(struct str dir, struct str id)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    if (!fs_remove(journal_path(&a, dir, id), &err))
        log_warn("the note of an operation that has ended", LOG_STR("operation", id), LOG_ERR(&err));
}
