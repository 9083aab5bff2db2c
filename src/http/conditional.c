/* http/conditional.c: conditional requests (RFC 9110 section 13).
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_static.h"
#include "http_url.h"

/* entity-tag = [ "W/" ] opaque-tag. Cuts off "W/". */
static struct str opaque_tag(struct str tag, bool *is_weak)
{
    *is_weak = str_starts(tag, STR("W/"));
    return *is_weak ? str_from_off(tag, 2) : tag;
}

/* True if the list (or "*") has the tag; strong comparison needs both to be strong (section 8.8.3.2). */
static bool has_tag(struct str list, struct str etag, bool strong)
{
    if (str_eq(str_trim(list), STR("*")))
        return true; /* the content exists */
    bool ours_weak, theirs_weak;
    struct str ours = opaque_tag(etag, &ours_weak), member;
    if (ours.len == 0 || (strong && ours_weak))
        return false;
    while (http_list_next(&list, &member)) {
        struct str theirs = opaque_tag(member, &theirs_weak);
        if (str_eq(theirs, ours) && !(strong && theirs_weak))
            return true;
    }
    return false;
}

int http_conditions_check(const struct http_conditions *c, struct str etag, int64_t mtime_s)
{
    int64_t since;
    if (c->if_match.ptr) {
        if (!has_tag(c->if_match, etag, true))
            return 412;
    } else if (c->if_unmodified_since.ptr && mtime_s != 0 && http_date_parse(c->if_unmodified_since, &since)) {
        if (mtime_s > since)
            return 412;
    }
    if (c->if_none_match.ptr) {
        if (has_tag(c->if_none_match, etag, false))
            return c->is_get_or_head ? 304 : 412;
    } else if (c->if_modified_since.ptr && c->is_get_or_head && mtime_s != 0
               && http_date_parse(c->if_modified_since, &since)) {
        if (mtime_s <= since)
            return 304;
    }
    return 0;
}

bool http_if_range_holds(struct str if_range, struct str etag, int64_t mtime_s)
{
    if (!if_range.ptr)
        return true;
    if_range = str_trim(if_range);
    if (str_starts(if_range, STR("\"")) || str_starts(if_range, STR("W/")))
        return etag.len > 0 && str_eq(if_range, etag) && !str_starts(etag, STR("W/"));
    int64_t date;
    return mtime_s != 0 && http_date_parse(if_range, &date) && date == mtime_s;
}
