/* base/json.h: jansson with slices, arenas and errors.
 *
 * A json_t is reference-counted (json_decref, or `scoped_json`). Functions that give "a new reference" say
 * so; json_set_* steal nothing but what they make themselves. Strings got from a json_t are borrowed from it.
 * Objects keep insertion order.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "arena.h"
#include "buf.h"
#include "err.h"
#include "map.h"
#include "vec.h"

#include <jansson.h>

void json_cleanup(json_t **j);
#define scoped_json CLEANUP(json_cleanup) json_t

/* Reads one JSON text of any type; a new reference. NULL with "line L, column C: what" (ERR_INVALID) on a
 * syntax error, a duplicate member, invalid UTF-8, a NUL character in a string, nesting over 2048 levels
 * or anything after the value. */
json_t *json_parse(struct str text, struct err *err);
/* The same, and the value must be an object. */
json_t *json_parse_object(struct str text, struct err *err);

/* How to write: compact in insertion order when 0. */
enum json_style {
    JSON_STYLE_COMPACT = 0,
    JSON_STYLE_INDENT = 1,  /* 2 spaces a level */
    JSON_STYLE_SORTED = 2,  /* members in byte order of their names */
};
/* `j` as text, UTF-8, nothing escaped but what RFC 8259 §7 demands. */
struct str json_text(struct arena *a, const json_t *j, unsigned style);
bool json_text_to(struct buf *b, const json_t *j, unsigned style);

/* Lenient getters: the member, or `otherwise` when it is absent or of another type (`obj` may be NULL or no
 * object). Integers come from integers only, also not from 1.0. */
struct str json_get_str(const json_t *obj, const char *key, struct str otherwise);
bool json_get_bool(const json_t *obj, const char *key, bool otherwise);
int64_t json_get_int(const json_t *obj, const char *key, int64_t otherwise);
double json_get_num(const json_t *obj, const char *key, double otherwise); /* integers too */
json_t *json_get(const json_t *obj, const char *key);                      /* borrowed; NULL if absent or null */
/* The strings of a list; what is not a string is left out, an absent list is empty. */
struct str_list json_get_list(struct arena *a, const json_t *obj, const char *key);

/* Strict readers, for what users send: an absent or null member leaves *out alone; another type fails with
 * "<key> must be a string, not a number". With `need` an absent one fails too: "<key> is required". */
bool json_read_str(const json_t *obj, const char *key, bool need, struct str *out, struct err *err);
bool json_read_bool(const json_t *obj, const char *key, bool need, bool *out, struct err *err);
bool json_read_int(const json_t *obj, const char *key, bool need, int64_t *out, struct err *err);
bool json_read_list(struct arena *a, const json_t *obj, const char *key, bool need, struct str_list *out,
                    struct err *err);
/* An object of strings, as a map of `struct str *`. */
bool json_read_map(struct arena *a, const json_t *obj, const char *key, bool need, struct map *out,
                   struct err *err);

/* The content of a JSON string (empty for anything else); keys as slices come from json_object_iter_key. */
struct str json_str(const json_t *j);

/* New references. Text that is not UTF-8 has each bad byte replaced by U+FFFD. */
json_t *json_from_str(struct str s);
json_t *json_from_list(const struct str_list *l);
json_t *json_from_map(const struct map *m); /* values are `struct str *` */

/* Sets a member of `obj`, replacing. */
void json_set_str(json_t *obj, const char *key, struct str s);
void json_set_z(json_t *obj, const char *key, const char *z);
void json_set_int(json_t *obj, const char *key, int64_t n);
void json_set_bool(json_t *obj, const char *key, bool b);
void json_set_list(json_t *obj, const char *key, const struct str_list *l);
/* A member with a slice for a name (not UTF-8: replaced as above); takes over the reference to `value`. */
void json_set_key(json_t *obj, struct str key, json_t *value);

#endif
