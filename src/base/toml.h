/* base/toml.h: reads TOML 1.0 (toml.io/en/v1.0.0) into a tree.
 *
 * The tree lives in the arena; strings may point into the input, which must live as long. Tables keep the
 * order of the file. Every value knows where it began, so that whoever uses it can point there too.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TOML_H
#define BASE_TOML_H

#include "arena.h"
#include "err.h"
#include "json.h"
#include "map.h"
#include "vec.h"

enum toml_kind {
    TOML_STRING,
    TOML_INT,
    TOML_FLOAT,
    TOML_BOOL,
    TOML_OFFSET_DATETIME, /* the four kinds of time are kept as written, checked */
    TOML_LOCAL_DATETIME,
    TOML_LOCAL_DATE,
    TOML_LOCAL_TIME,
    TOML_ARRAY,
    TOML_TABLE,
};

struct toml_value {
    enum toml_kind kind;
    uint8_t origin;          /* parser's own: how a table or array came to be, and so who may add to it */
    uint32_t line, column;   /* from 1; column counts bytes */
    union {
        struct str s;        /* STRING and the times */
        int64_t i;
        double f;
        bool b;
        struct {
            struct toml_value **items;
            size_t len, cap;
        } array;
        struct map table;    /* name -> struct toml_value * */
    };
};

enum { TOML_INPUT_MAX = 16 << 20, TOML_DEPTH_MAX = 128 };

/* Reads a document; *root is a TOML_TABLE. Fails with ERR_INVALID "line L, column C: what is wrong" on
 * anything that TOML 1.0 forbids, input over TOML_INPUT_MAX and nesting over TOML_DEPTH_MAX. */
bool toml_parse(struct arena *a, struct str text, struct toml_value *root, struct err *err);
/* Reads a single value as it would stand after `key =`: `"x"`, `5`, `[1, 2]`, `{a = 1}`. White space, line
 * breaks and comments may be around it. */
bool toml_parse_value(struct arena *a, struct str text, struct toml_value *out, struct err *err);

/* The member `key` of a table, or NULL (also when `table` is NULL or no table). */
struct toml_value *toml_get(const struct toml_value *table, struct str key);

/* Typed members. An absent one leaves *out alone and is fine; another type fails with
 * "line L, column C: <key> must be a string, not an integer". A float may be written as an integer. */
bool toml_read_str(const struct toml_value *table, const char *key, struct str *out, struct err *err);
bool toml_read_int(const struct toml_value *table, const char *key, int64_t *out, struct err *err);
bool toml_read_num(const struct toml_value *table, const char *key, double *out, struct err *err);
bool toml_read_bool(const struct toml_value *table, const char *key, bool *out, struct err *err);
bool toml_read_list(struct arena *a, const struct toml_value *table, const char *key, struct str_list *out,
                    struct err *err);
bool toml_read_map(struct arena *a, const struct toml_value *table, const char *key, struct map *out,
                   struct err *err);  /* of strings: name -> struct str * */
bool toml_read_table(const struct toml_value *table, const char *key, const struct toml_value **out,
                     struct err *err);

/* "a string", "an integer", ... for messages. */
const char *toml_kind_name(enum toml_kind kind);
/* Fails with ERR_INVALID "line L, column C: <text>", the place being where `v` began. */
bool toml_fail(const struct toml_value *v, struct err *err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A new reference; times are strings, inf and nan become the strings "inf", "-inf", "nan". */
json_t *toml_to_json(const struct toml_value *v);

#endif
