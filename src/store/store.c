/* store/store.c: opening both databases, transactions, upkeep.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#include <stdio.h>
#include <stdlib.h>

static bool open_one(struct str connection, const char *label, bool has_fault_points, const struct db_schema *schema,
                     const struct store_options *o, struct db **out, struct err *err)
{
    const struct db_options options = {
        .label = label,
        .journal_size_limit = o->journal_size_limit,
        .has_fault_points = has_fault_points,
    };
    const struct db_migrate_options migrate = {
        .auto_upgrade = o->auto_upgrade,
        .ignore_higher_version = o->ignore_higher_version,
    };
    return db_open(connection, &options, out, err) && db_migrate(*out, schema, &migrate, err);
}

bool store_open(const struct store_options *o, struct store **out, struct err *err)
{
    struct store *s = xcalloc(1, sizeof *s);
    /* Audit rows come from their own thread at any time: as fault points they would make the count random. */
    if (!open_one(o->metadata_connection, "metadata", true, &store_schema, o, &s->metadata, err) ||
        !open_one(o->audit_connection, "audit", false, &store_audit_schema, o, &s->audit_db, err)) {
        store_close(s);
        return false;
    }
    s->audit = audit_open(s->audit_db);
    *out = s;
    return true;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    audit_close(s->audit);
    db_close(s->audit_db);
    db_close(s->metadata);
    free(s);
}

bool store_care(struct store *s, const struct db_care_options *options, struct err *err)
{
    return db_care(s->metadata, options, err) && db_care(s->audit_db, options, err);
}

void store_slim(struct store *s)
{
    db_slim(s->metadata);
    db_slim(s->audit_db);
}

void store_health(struct store *s, struct db_health *metadata, struct db_health *audit)
{
    if (metadata)
        db_health(s->metadata, metadata);
    if (audit)
        db_health(s->audit_db, audit);
}

/* --- transactions --- */

static struct store_tx *tx_new(struct store *s, struct db_tx *db)
{
    if (!db)
        return NULL;
    struct store_tx *tx = xmalloc(sizeof *tx);
    *tx = (struct store_tx){.store = s, .db = db};
    return tx;
}

struct store_tx *store_begin(struct store *s, struct err *err)
{
    return tx_new(s, db_begin(s->metadata, err));
}

struct store_tx *store_read(struct store *s, struct err *err)
{
    return tx_new(s, db_read(s->metadata, err));
}

bool store_commit(struct store_tx **txp, struct err *err)
{
    struct store_tx *tx = *txp;
    *txp = NULL;
    bool is_ok = db_commit(&tx->db, err);
    free(tx);
    return is_ok;
}

void store_rollback(struct store_tx **txp)
{
    struct store_tx *tx = *txp;
    *txp = NULL;
    if (!tx)
        return;
    db_rollback(&tx->db);
    free(tx);
}

/* --- what the tables' code shares --- */

json_t *store_column_json(const struct db_rows *rows, int col, struct err *err)
{
    struct str text = str_trim(db_peek(rows, col));
    if (str_is_empty(text) || str_eq(text, STR("null")))
        return json_object();
    if (text.len > STORE_JSON_MAX) {
        err_set(err, ERR_TOO_LARGE, "%zu bytes of JSON in one column", text.len);
        return NULL;
    }
    json_error_t where;
    /* Not json_parse(): a NUL character in some commit message must not make an app unreadable. */
    json_t *j = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, &where);
    if (j && !json_is_object(j)) {
        json_decref(j);
        j = NULL;
        snprintf(where.text, sizeof where.text, "not an object");
    }
    if (!j)
        err_set(err, ERR_INTERNAL, "damaged JSON in the database: %s", where.text);
    return j;
}

struct str store_json_text(struct arena *a, json_t *taken)
{
    struct str text = json_text(a, taken, JSON_STYLE_COMPACT);
    json_decref(taken);
    return text;
}

bool store_found(bool is_ok, bool found, struct err *err, const char *fmt, ...)
{
    if (!is_ok || found)
        return is_ok;
    scoped_arena scratch = {0};
    va_list ap;
    va_start(ap, fmt);
    struct str text = str_vprintf(&scratch, fmt, ap);
    va_end(ap);
    return err_set(err, ERR_NOT_FOUND, "%.*s", STR_ARG(text));
}
