/* tests/server/test_hook.c: who is let in by a webhook, and which calls concern it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hook.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECRET "cl_tkn_secret"
#define BODY "{\"ref\":\"refs/heads/main\"}"

static struct str mac_of(struct arena *a, const char *secret, const char *body, bool upper)
{
    unsigned char mac[SHA256_LEN];
    hmac_sha256(str_from(secret), str_from(body), mac);
    struct str out = {0};
    for (size_t i = 0; i < SHA256_LEN; i++)
        out = str_printf(a, upper ? STR_FMT "%02X" : STR_FMT "%02x", STR_ARG(out), mac[i]);
    return out;
}

static struct str opt(const char *z)
{
    return z ? str_from(z) : (struct str){0};
}

static void a_call_proves_itself_in_one_of_five_ways(void **state)
{
    /* %s in a signature is the right HMAC, %U the same in capitals. */
    static const struct {
        const char *name, *authorization, *github, *gitea, *gitlab;
        bool ok;
    } cases[] = {
        {"nothing is no proof", NULL, NULL, NULL, NULL, false},
        {"a bearer token", "Bearer " SECRET, NULL, NULL, NULL, true},
        {"the scheme in any case", "bearer " SECRET, NULL, NULL, NULL, true},
        {"a wrong token", "Bearer nope", NULL, NULL, NULL, false},
        {"a prefix of the token", "Bearer cl_tkn_secre", NULL, NULL, NULL, false},
        {"a longer token", "Bearer " SECRET "x", NULL, NULL, NULL, false},
        {"an empty token", "Bearer ", NULL, NULL, NULL, false},
        {"a token without scheme", SECRET, NULL, NULL, NULL, false},
        {"another scheme", "Basic " SECRET, NULL, NULL, NULL, false},
        {"a wrong token beside a right signature", "Bearer nope", "sha256=%s", "%s", SECRET, false},
        {"an empty authorization beside a right token", "", NULL, NULL, SECRET, false},
        {"GitHub's signature", NULL, "sha256=%s", NULL, NULL, true},
        {"GitHub's signature in capitals", NULL, "sha256=%U", NULL, NULL, true},
        {"GitHub's signature without prefix", NULL, "%s", NULL, NULL, false},
        {"a signature of another kind", NULL, "sha1=%s", NULL, NULL, false},
        {"a signature and more", NULL, "sha256=%s0", NULL, NULL, false},
        {"an empty signature", NULL, "sha256=", NULL, NULL, false},
        {"a signature that is not hex", NULL,
         "sha256=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", NULL, NULL, false},
        {"Gitea's signature", NULL, NULL, "%s", NULL, true},
        {"Gitea's signature with GitHub's prefix", NULL, NULL, "sha256=%s", NULL, false},
        {"a wrong signature of GitHub's beside a right one of Gitea's", NULL, "sha256=00", "%s", NULL, false},
        {"GitLab's token", NULL, NULL, NULL, SECRET, true},
        {"a wrong token of GitLab's", NULL, NULL, NULL, "nope", false},
        {"an empty token of GitLab's", NULL, NULL, NULL, "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct str values[] = {opt(cases[i].github), opt(cases[i].gitea)};
        for (size_t k = 0; k < ARRAY_LEN(values); k++) {
            size_t at = str_chr(values[k], '%');
            if (at != STR_NPOS)
                values[k] = str_printf(&a, "%.*s" STR_FMT STR_FMT, (int)at, values[k].ptr,
                                       STR_ARG(mac_of(&a, SECRET, BODY, values[k].ptr[at + 1] == 'U')),
                                       STR_ARG(str_from_off(values[k], at + 2)));
        }
        struct hook_fields f = {.authorization = opt(cases[i].authorization), .github_signature = values[0],
                                .gitea_signature = values[1], .gitlab_token = opt(cases[i].gitlab)};
        if (hook_is_authentic(&f, STR(SECRET), STR(BODY)) != cases[i].ok)
            fail_msg("%s: wanted %d", cases[i].name, cases[i].ok);
        assert_false(hook_is_authentic(&f, STR(""), STR(BODY)));
    }
}

static void a_published_signature_is_right(void **state)
{
    /* The example of GitHub's documentation. */
    struct hook_fields f = {.github_signature = STR(
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")};
    assert_true(hook_is_authentic(&f, STR("It's a Secret to Everybody"), STR("Hello, World!")));
    assert_false(hook_is_authentic(&f, STR("It's a Secret to Everybody"), STR("Hello, World")));
}

static void calls_are_judged(void **state)
{
    static const struct {
        const char *name, *event, *type, *body;
        enum hook_kind kind;
        const char *branch;
        enum hook_verdict verdict;
        const char *why;
    } cases[] = {
        {"a push", "push", NULL, BODY, HOOK_PUSH, "main", HOOK_RUN, ""},
        {"a push of GitLab's", "Push Hook", NULL, BODY, HOOK_PUSH, "main", HOOK_RUN, ""},
        {"a push without event", NULL, NULL, BODY, HOOK_PUSH, "main", HOOK_RUN, ""},
        {"the branch as a full ref", "push", NULL, BODY, HOOK_PUSH, "refs/heads/main", HOOK_RUN, ""},
        {"a branch with slashes", "push", NULL, "{\"ref\":\"refs/heads/a/b\"}", HOOK_PUSH, "a/b", HOOK_RUN, ""},
        {"another branch", "push", NULL, BODY, HOOK_PUSH, "dev", HOOK_IGNORE, "branch mismatch, found main, expected dev"},
        {"a pinned commit", "push", NULL, BODY, HOOK_PUSH, "", HOOK_IGNORE, "a commit is pinned"},
        {"a tag of the branch's name", "push", NULL, "{\"ref\":\"refs/tags/main\"}", HOOK_PUSH, "main", HOOK_IGNORE,
         "refs/tags/main is not a branch"},
        {"a short ref", "push", NULL, "{\"ref\":\"main\"}", HOOK_PUSH, "main", HOOK_IGNORE, "is not a branch"},
        {"a ref that is no text", "push", NULL, "{\"ref\":1}", HOOK_PUSH, "main", HOOK_IGNORE, "no ref"},
        {"no ref", "push", NULL, "{}", HOOK_PUSH, "main", HOOK_IGNORE, "no ref"},
        {"a deleted branch", "push", NULL, "{\"ref\":\"refs/heads/main\",\"deleted\":true}", HOOK_PUSH, "main",
         HOOK_IGNORE, "was deleted"},
        {"a branch at no commit", "push", NULL,
         "{\"ref\":\"refs/heads/main\",\"after\":\"0000000000000000000000000000000000000000\"}", HOOK_PUSH, "main",
         HOOK_IGNORE, "was deleted"},
        {"a ping", "ping", NULL, "{\"zen\":\"x\"}", HOOK_PUSH, "main", HOOK_IGNORE, "ping"},
        {"a ping for a promotion", "ping", NULL, "", HOOK_ANY, "", HOOK_IGNORE, "ping"},
        {"another event", "issues", NULL, BODY, HOOK_PUSH, "main", HOOK_IGNORE, "issues is not a push"},
        {"any event for a promotion", "release", NULL, "{}", HOOK_ANY, "", HOOK_RUN, ""},
        {"no body for a promotion", NULL, NULL, "", HOOK_ANY, "", HOOK_RUN, ""},
        {"no body", NULL, NULL, "", HOOK_PUSH, "main", HOOK_BAD, "not a JSON object"},
        {"no JSON", "push", NULL, "hello", HOOK_PUSH, "main", HOOK_BAD, "not a JSON object"},
        {"an array", "push", NULL, "[]", HOOK_PUSH, "main", HOOK_BAD, "not a JSON object"},
        {"a script that says nothing", NULL, NULL, " \n", HOOK_MAYBE, "main", HOOK_RUN, ""},
        {"a script that says something else", NULL, NULL, "{\"by\":\"cron\"}", HOOK_MAYBE, "main", HOOK_RUN, ""},
        {"a script that names another branch", NULL, NULL, BODY, HOOK_MAYBE, "dev", HOOK_IGNORE, "branch mismatch"},
        {"a forge that says nothing", "push", NULL, "", HOOK_MAYBE, "main", HOOK_BAD, "not a JSON object"},
        {"a form", "push", "application/x-www-form-urlencoded", "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D",
         HOOK_PUSH, "main", HOOK_RUN, ""},
        {"a form without payload", "push", "application/x-www-form-urlencoded", "x=1", HOOK_PUSH, "main", HOOK_BAD,
         "no field payload"},
        {"a form with broken escapes", "push", "application/x-www-form-urlencoded", "payload=%zz", HOOK_PUSH, "main",
         HOOK_BAD, "no field payload"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct str why = {0};
        struct hook_fields f = {.event = opt(cases[i].event), .content_type = opt(cases[i].type)};
        enum hook_verdict got = hook_judge(&a, &f, str_from(cases[i].body), cases[i].kind, str_from(cases[i].branch), &why);
        if (got != cases[i].verdict || str_find(why, str_from(cases[i].why)) == STR_NPOS)
            fail_msg("%s: wanted %d \"%s\", got %d \"" STR_FMT "\"", cases[i].name, cases[i].verdict, cases[i].why, got,
                     STR_ARG(why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_proves_itself_in_one_of_five_ways),
        cmocka_unit_test(a_published_signature_is_right),
        cmocka_unit_test(calls_are_judged),
    };
    return cmocka_run_group_tests_name("server/hook", tests, NULL, NULL);
}
