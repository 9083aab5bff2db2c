/* server/hook.c: what a call of a webhook proves and says.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hook.h"

#include "http.h"

enum { NAME_SHOWN_MAX = 200 };

/* --- the proof ------------------------------------------------------------------------------------ */

static bool is_hmac(struct str given, struct str secret, struct str body)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char mac[SHA256_LEN];
    char want[SHA256_LEN * 2], got[SHA256_LEN * 2];
    if (given.len != sizeof got)
        return false;
    hmac_sha256(secret, body, mac);
    for (size_t i = 0; i < SHA256_LEN; i++) {
        want[2 * i] = digits[mac[i] >> 4];
        want[2 * i + 1] = digits[mac[i] & 15];
    }
    for (size_t i = 0; i < sizeof got; i++)
        got[i] = given.ptr[i] >= 'A' && given.ptr[i] <= 'F' ? (char)(given.ptr[i] | 0x20) : given.ptr[i];
    return str_eq_secret(str_of(want, sizeof want), str_of(got, sizeof got));
}

bool hook_is_authentic(const struct hook_fields *f, struct str secret, struct str body)
{
    struct str scheme, token;
    if (str_is_empty(secret))
        return false;
    if (f->authorization.ptr)
        return str_cut(f->authorization, ' ', &scheme, &token) && str_eq_nocase(scheme, STR("Bearer")) &&
               str_eq_secret(str_trim(token), secret);
    if (f->github_signature.ptr)
        return str_starts(f->github_signature, STR("sha256=")) &&
               is_hmac(str_from_off(f->github_signature, strlen("sha256=")), secret, body);
    if (f->gitea_signature.ptr)
        return is_hmac(f->gitea_signature, secret, body);
    return f->gitlab_token.ptr && str_eq_secret(f->gitlab_token, secret);
}

/* --- the payload ---------------------------------------------------------------------------------- */

static enum hook_verdict say(struct arena *a, enum hook_verdict verdict, struct str *why, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static enum hook_verdict say(struct arena *a, enum hook_verdict verdict, struct str *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    *why = str_vprintf(a, fmt, ap);
    va_end(ap);
    return verdict;
}

/* GitHub sends JSON or, as its form proposes, a field "payload" of JSON. */
static bool payload_text(struct arena *a, const struct hook_fields *f, struct str body, struct str *out)
{
    struct http_pairs pairs = {0};
    scoped_err ignored = {0};
    *out = body;
    if (!str_starts(f->content_type, STR("application/x-www-form-urlencoded")))
        return true;
    return http_query_parse(a, body, &pairs, &ignored) && http_pairs_get(&pairs, STR("payload"), out);
}

static bool is_push_event(struct str event)
{
    return str_is_empty(event) || str_eq(event, STR("push")) || str_eq(event, STR("Push Hook"));
}

/* GitHub says "deleted", the others that the branch is now at no commit. */
static bool is_deletion(const json_t *payload)
{
    struct str after = json_get_str(payload, "after", (struct str){0});
    bool is_zero = after.len >= 40;
    for (size_t i = 0; i < after.len; i++)
        is_zero &= after.ptr[i] == '0';
    return is_zero || json_get_bool(payload, "deleted", false);
}

static struct str shown(struct str s)
{
    return str_slice(s, 0, NAME_SHOWN_MAX);
}

static enum hook_verdict judge_push(struct arena *a, const json_t *payload, struct str branch, struct str *why)
{
    struct str ref = json_get_str(payload, "ref", (struct str){0});
    if (str_is_empty(ref))
        return say(a, HOOK_IGNORE, why, "no ref in it, so it is not a push");
    if (!str_starts(ref, STR("refs/heads/")))
        return say(a, HOOK_IGNORE, why, STR_FMT " is not a branch", STR_ARG(shown(ref)));
    struct str found = str_from_off(ref, strlen("refs/heads/"));
    if (str_starts(branch, STR("refs/heads/")))
        branch = str_from_off(branch, strlen("refs/heads/"));
    if (str_is_empty(branch))
        return say(a, HOOK_IGNORE, why, "found branch " STR_FMT ", but a commit is pinned", STR_ARG(shown(found)));
    if (!str_eq(found, branch))
        return say(a, HOOK_IGNORE, why, "branch mismatch, found " STR_FMT ", expected " STR_FMT, STR_ARG(shown(found)),
                   STR_ARG(branch));
    if (is_deletion(payload))
        return say(a, HOOK_IGNORE, why, "branch " STR_FMT " was deleted", STR_ARG(branch));
    return HOOK_RUN;
}

enum hook_verdict hook_judge(struct arena *a, const struct hook_fields *f, struct str body, enum hook_kind kind,
                             struct str branch, struct str *why)
{
    struct str text;
    scoped_err err = {0};
    if (str_eq_nocase(f->event, STR("ping")))
        return say(a, HOOK_IGNORE, why, "ping");
    if (kind == HOOK_ANY)
        return HOOK_RUN;
    if (!is_push_event(f->event))
        return say(a, HOOK_IGNORE, why, "event " STR_FMT " is not a push", STR_ARG(shown(f->event)));
    if (kind == HOOK_MAYBE && str_is_empty(f->event) && str_is_empty(str_trim(body)))
        return HOOK_RUN;
    if (!payload_text(a, f, body, &text))
        return say(a, HOOK_BAD, why, "the form has no field payload");
    scoped_json *payload = json_parse_object(text, &err);
    if (!payload)
        return say(a, HOOK_BAD, why, "the body is not a JSON object: %s", err_msg(&err));
    bool says_nothing = kind == HOOK_MAYBE && str_is_empty(f->event) && !json_get(payload, "ref");
    return says_nothing ? HOOK_RUN : judge_push(a, payload, branch, why);
}
