/* base/jsonscan.h: members of a JSON object read where they stand in the text, without a tree.
 *
 *     struct json_scan s;
 *     struct str key, value;
 *     json_scan_open(&s, text);
 *     while (json_scan_next(&s, &key, &value))
 *         ...                                  // `value` is the member's text: `"x"`, `[1, 2]`, `{...}`
 *     if (!json_scan_end(&s)) ...              // it was not one whole JSON object
 *
 * For the few places where thousands of rows are looked at for one or two members, or passed on as they are.
 * The syntax is checked as strictly as json_parse() does (RFC 8259), but for duplicate members and UTF-8;
 * nesting is limited to JSON_SCAN_DEPTH. Nothing is allocated.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_JSONSCAN_H
#define BASE_JSONSCAN_H

#include "str.h"

enum { JSON_SCAN_DEPTH = 64 };

struct json_scan {
    const char *at, *end;
    bool has_begun;   /* a member was read: a comma comes before the next */
    bool has_ended;   /* the closing brace was read */
    bool is_bad;
    bool has_null;    /* a null was seen, at any depth */
};

void json_scan_open(struct json_scan *s, struct str text);
/* The next member: its name without the quotes, as it is written (escapes are not decoded), and its value's
 * text. False at the end, or where the text is no JSON. */
bool json_scan_next(struct json_scan *s, struct str *key, struct str *value);
/* True once the object has been read to its end and nothing comes after it. */
bool json_scan_end(struct json_scan *s);
/* The content of a value that is a string without escapes; false for every other one. */
bool json_scan_plain(struct str value, struct str *out);

#endif
