/* store/check.c: what must hold between the tables, whoever wrote them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

enum { SHOWN_MAX = 100 }; /* problems of one kind */

/* Each row that `sql` (two text columns) gives is a problem. */
static const struct {
    const char *sql;
    const char *before, *between, *after;
} checks[] = {
    {"SELECT version, appid FROM app_versions v WHERE NOT EXISTS (SELECT 1 FROM apps WHERE id = v.appid) "
     "ORDER BY appid, version",
     "version ", " is of an app that does not exist, ", ": nothing uses it, and nothing need be done"},
    {"SELECT DISTINCT version, appid FROM app_files f WHERE NOT EXISTS (SELECT 1 FROM app_versions v WHERE "
     "v.appid = "
     "f.appid AND v.version = f.version) ORDER BY appid, version",
     "files of version ", " of app ", " without that version: nothing uses them, and nothing need be done"},
    {"SELECT name, appid FROM app_files f WHERE NOT EXISTS (SELECT 1 FROM files WHERE sha = f.sha) ORDER BY "
     "appid, name",
     "file ", " of app ", " has lost its content: reload the app with --force-reload, and promote it"},
    {"SELECT sha, compression_type FROM files f WHERE NOT EXISTS (SELECT 1 FROM app_files a WHERE a.sha = "
     "f.sha) "
     "ORDER BY sha",
     "content ", " (", ") is used by no version: \"openrun server check --fix\" removes it"},
};

bool store_check(struct store_tx *tx, struct arena *a, struct str_list *problems, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        scoped_db_rows *r = db_query(tx->db, checks[i].sql, DB_NO_ARGS, err);
        if (!r)
            return false;
        for (size_t n = 0; n < SHOWN_MAX && db_next(r); n++)
            str_list_add(a, problems,
                         str_printf(a, "%s" STR_FMT "%s" STR_FMT "%s", checks[i].before,
                                    STR_ARG(db_text(r, 0, a)), checks[i].between, STR_ARG(db_text(r, 1, a)),
                                    checks[i].after));
        if (!db_end(&r, err))
            return false;
    }
    return true;
}
