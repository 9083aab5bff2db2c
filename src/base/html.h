/* base/html.h: text made safe for HTML, and pages filled from templates.
 *
 * A template has {{name}} where a value goes; there is nothing else to it: rows and choices are made by filling a
 * smaller template and giving the result to a larger one as a raw value.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_HTML_H
#define BASE_HTML_H

#include "buf.h"

/* Adds `s` escaped for text and for attributes in quotes of either kind; a NUL byte, which HTML forbids, becomes
 * U+FFFD. Not for unquoted attributes, script or style. False if it did not fit. */
bool html_escape(struct buf *b, struct str s);

struct html_value {
    const char *name;
    struct str text;   /* escaped, unless is_raw */
    bool is_raw;       /* `text` is HTML of ours */
};

/* Adds `template` with each {{x}} replaced by the value called x. Templates are ours: a name that is not among the
 * values is a bug, and so is a "{{" without its end. False if it did not fit. */
bool html_fill(struct buf *b, struct str template, const struct html_value *values, size_t n);

#endif
