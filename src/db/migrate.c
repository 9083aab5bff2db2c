/* db/migrate.c: makes a new database or steps an older one up, in one transaction.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db_int.h"

/* `sql` with $datetime, $blob and $json in the words of the driver. */
static const char *in_words(struct arena *a, const struct db_driver *d, const char *sql)
{
    const struct { struct str name; const char *word; } words[] = {
        {STR("$datetime"), d->word_datetime}, {STR("$blob"), d->word_blob}, {STR("$json"), d->word_json},
    };
    scoped_buf b = BUF_INIT(64 << 10);
    for (struct str rest = str_from(sql); rest.len > 0;) {
        size_t used = 0;
        for (size_t i = 0; i < ARRAY_LEN(words) && used == 0; i++)
            if (str_starts(rest, words[i].name)) {
                buf_add_z(&b, words[i].word);
                used = words[i].name.len;
            }
        if (used == 0) {
            buf_add_char(&b, rest.ptr[0]);
            used = 1;
        }
        rest = str_from_off(rest, used);
    }
    assert(!b.is_full);
    return str_z(a, buf_str(&b));
}

static bool table_exists(struct db_tx *tx, const char *table, bool *exists, struct err *err)
{
    int64_t n;
    return db_query_int(tx, tx->conn->db->driver->sql_table_exists, DB_ARGS(DB_TEXT(str_from(table))), &n, exists,
                        err);
}

static bool write_version(struct db_tx *tx, struct arena *a, const struct db_schema *s, struct err *err)
{
    const char *del = str_z(a, str_printf(a, "DELETE FROM %s", s->version_table));
    const char *ins = str_z(a, str_printf(a, "INSERT INTO %s (version, last_upgraded) VALUES (?, ?)",
                                              s->version_table));
    return db_exec(tx, del, DB_NO_ARGS, NULL, err) &&
           db_exec(tx, ins, DB_ARGS(DB_INT(s->version), DB_TIME(wall_ns())), NULL, err);
}

static bool create(struct db_tx *tx, struct arena *a, const struct db_schema *s, struct err *err)
{
    const struct db_driver *d = tx->conn->db->driver;
    const char *version = str_z(a, str_printf(a, "CREATE TABLE IF NOT EXISTS %s (version int, last_upgraded "
                                                    "$datetime)", s->version_table));
    if (!db_exec(tx, in_words(a, d, version), DB_NO_ARGS, NULL, err))
        return false;
    for (size_t i = 0; i < s->n_create; i++)
        if (!db_exec(tx, in_words(a, d, s->create[i]), DB_NO_ARGS, NULL, err))
            return false;
    return write_version(tx, a, s, err);
}

static bool step_up(struct db_tx *tx, struct arena *a, const struct db_schema *s, int64_t from, struct err *err)
{
    struct db *db = tx->conn->db;
    int64_t oldest = s->n_steps > 0 ? s->steps[0].to - 1 : s->version;
    if (from < oldest)
        return err_set(err, ERR_UNSUPPORTED,
                       "%.*s has version %lld, too old to be upgraded: start a release that brings it to "
                       "version %lld first", STR_ARG(db->path), (long long)from, (long long)oldest);
    for (size_t i = 0; i < s->n_steps; i++)
        if (s->steps[i].to > from && !s->steps[i].run(tx, err))
            return err_wrap(err, "upgrading %.*s to version %d", STR_ARG(db->path), s->steps[i].to);
    return write_version(tx, a, s, err);
}

/* *version is 0 for a new database. */
static bool read_version(struct db_tx *tx, struct arena *a, const struct db_schema *s, int64_t *version,
                         struct err *err)
{
    bool exists, found;
    if (!table_exists(tx, s->version_table, &exists, err))
        return false;
    if (!exists) {
        *version = 0;
        return true;
    }
    const char *sql = str_z(a, str_printf(a, "SELECT version FROM %s", s->version_table));
    if (!db_query_int(tx, sql, DB_NO_ARGS, version, &found, err))
        return false;
    if (!found)
        *version = 0;
    return true;
}

static bool check(const struct db *db, const struct db_schema *s, const struct db_migrate_options *o,
                  int64_t version, struct err *err)
{
    if (version > s->version && !o->ignore_higher_version)
        return err_set(err, ERR_UNSUPPORTED,
                       "%.*s has version %lld, newer than version %d that this program knows: run the newer release, or "
                       "set metadata.ignore_higher_version to use it anyway",
                       STR_ARG(db->path), (long long)version, s->version);
    if (version > 0 && version < s->version && !o->auto_upgrade)
        return err_set(err, ERR_UNSUPPORTED,
                       "%.*s has version %lld and needs an upgrade to version %d: set metadata.auto_upgrade, after a backup",
                       STR_ARG(db->path), (long long)version, s->version);
    return true;
}

bool db_migrate(struct db *db, const struct db_schema *s, const struct db_migrate_options *o, struct err *err)
{
    scoped_arena a = {0};
    scoped_db_tx *tx = db_begin(db, err);
    int64_t version;
    if (!tx || !read_version(tx, &a, s, &version, err) || !check(db, s, o, version, err))
        return false;
    if (version >= s->version)
        return true; /* nothing to do: the scope ends the transaction */
    bool is_ok = version <= 0 ? create(tx, &a, s, err) : step_up(tx, &a, s, version, err);
    return is_ok && db_commit(&tx, err);
}
