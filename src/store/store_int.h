/* store/store_int.h: what the parts of store/ share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_INT_H
#define STORE_INT_H

#include "store.h"

struct audit;

struct store {
    struct db *metadata, *audit_db;
    struct audit *audit;
};

struct store_tx {
    struct store *store;
    struct db_tx *db;
};

extern const struct db_schema store_schema, store_audit_schema;

/* The JSON of a column: a new reference, an empty object for an empty or NULL column. `what` names the row
 * in the message. */
json_t *store_column_json(const struct db_rows *rows, int col, struct err *err);
/* As text for a column; in `a`. */
struct str store_json_text(struct arena *a, json_t *taken);
/* ERR_NOT_FOUND unless `is_ok` and `found`; the usual end of a function that reads one row. */
bool store_found(bool is_ok, bool found, struct err *err, const char *fmt, ...) PRINTF_LIKE(4, 5);

json_t *store_sync_metadata_json(const struct store_sync *s);
json_t *store_sync_status_json(const struct store_sync *s);
bool store_sync_read_json(struct arena *a, const json_t *metadata, const json_t *status, struct store_sync *s,
                          struct err *err);

struct audit *audit_open(struct db *db);
void audit_close(struct audit *a);

#endif
