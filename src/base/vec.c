/* base/vec.c: lists of slices.
 * SPDX-License-Identifier: Apache-2.0 */
#include "vec.h"

bool str_list_has(const struct str_list *l, struct str s)
{
    for (size_t i = 0; i < l->len; i++)
        if (str_eq(l->items[i], s))
            return true;
    return false;
}

bool str_list_eq(const struct str_list *x, const struct str_list *y)
{
    if (x->len != y->len)
        return false;
    for (size_t i = 0; i < x->len; i++)
        if (!str_eq(x->items[i], y->items[i]))
            return false;
    return true;
}
