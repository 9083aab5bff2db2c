/* tests/source/test_giturl.c: which sources are git's, and how they split into repository and folder.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_is_git(void **state)
{
    static const struct {
        const char *name, *source;
        bool want;
    } cases[] = {
        {"nothing", "", false},
        {"the dash of no source", "-", false},
        {"an absolute path", "/srv/app", false},
        {"a relative path", "./a.b/c/d", false},
        {"a home path", "~/a.b/c/d", false},
        {"a plain word", "app", false},
        {"a relative path of words", "apps/one/two", false},
        {"host, org and repo", "github.com/org/repo", true},
        {"host and org alone", "github.com/org", false},
        {"the short ssh form", "git@github.com:org/repo", true},
        {"http", "http://x", true},
        {"https", "https://x/y/z", true},
        {"ssh", "ssh://git@host/org/repo", true},
        {"the git protocol", "git://host:9418/repo", true},
        {"a file url", "file:///srv/repo", true},
        {"a bare repository's path", "/srv/repo.git", true},
        {"a bare repository's path and folder", "/srv/repo.git//app", true},
        {"the inside of a working copy", "/srv/repo/.git", false},
        {"a folder in something named .git", "/srv/repo.git/app", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (src_is_git(str_from(cases[i].source)) != cases[i].want)
            fail_msg("%s: %s should be %d", cases[i].name, cases[i].source, cases[i].want);
}

static void test_split(void **state)
{
    static const struct {
        const char *name, *source, *ssh_user, *repo, *folder;
    } cases[] = {
        {"org and repo", "github.com/org/repo", "", "https://github.com/org/repo", ""},
        {"a slash at the end", "github.com/org/repo/", "", "https://github.com/org/repo", ""},
        {"a folder", "github.com/org/repo/a/b/", "", "https://github.com/org/repo", "a/b"},
        {"a .git suffix", "https://github.com/org/repo.git", "", "https://github.com/org/repo.git", ""},
        {"a folder behind .git", "https://h.com/g/sub/repo.git/a", "", "https://h.com/g/sub/repo.git", "a"},
        {"a nested group", "gitlab.com/g/sub/repo//folder/x", "", "https://gitlab.com/g/sub/repo",
         "folder/x"},
        {"a double slash and no folder", "gitlab.com/g/sub/repo//", "", "https://gitlab.com/g/sub/repo", ""},
        {"http with a port", "http://127.0.0.1:8080/org/repo/f", "", "http://127.0.0.1:8080/org/repo", "f"},
        {"one segment with .git", "http://h:1/repo.git/f", "", "http://h:1/repo.git", "f"},
        {"one segment with a double slash", "http://h:1/repo//f", "", "http://h:1/repo", "f"},
        {"user, query and fragment go", "https://u:p@h.com/o/r/f?q=1#x", "", "https://h.com/o/r", "f"},
        {"the short ssh form", "git@github.com:org/repo", "", "git@github.com:org/repo", ""},
        {"the short ssh form with .git", "git@github.com:org/repo.git/a/b", "", "git@github.com:org/repo.git",
         "a/b"},
        {"the short ssh form with a folder", "git@github.com:org/repo/a", "", "git@github.com:org/repo", "a"},
        {"the short ssh form, nested", "git@h.com:g/sub/repo//a", "", "git@h.com:g/sub/repo", "a"},
        {"ssh keeps user and port", "ssh://me@h.com:2222/org/repo/a", "", "ssh://me@h.com:2222/org/repo",
         "a"},
        {"ssh drops a password", "ssh://me:pw@h.com/org/repo", "", "ssh://me@h.com/org/repo", ""},
        {"ssh without user", "ssh://h.com/org/repo", "", "ssh://h.com/org/repo", ""},
        {"the git protocol is all repository", "git://h:9418/a/b/c", "", "git://h:9418/a/b/c", ""},
        {"the git protocol with a folder", "git://h:9418/a/b//c", "", "git://h:9418/a/b", "c"},
        {"the git protocol with .git", "git://h/a.git/c", "", "git://h/a.git", "c"},
        {"a file url", "file:///srv/git/repo", "", "file:///srv/git/repo", ""},
        {"a file url with a folder", "file:///srv/git/repo//a", "", "file:///srv/git/repo", "a"},
        {"a file url on localhost", "file://localhost/srv/repo", "", "file:///srv/repo", ""},
        {"an absolute path", "/srv/repo.git//a//b", "", "file:///srv/repo.git", "a/b"},
        {"a key turns http to ssh", "https://github.com/org/repo/f", "git", "git@github.com:org/repo.git",
         "f"},
        {"a key keeps one .git", "github.com/org/repo.git", "git", "git@github.com:org/repo.git", ""},
        {"a key drops the http port", "https://h.com:8443/o/r", "me", "me@h.com:o/r.git", ""},
        {"a key leaves ssh forms", "git@h.com:o/r", "me", "git@h.com:o/r", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct src_giturl u = {0};
        if (!src_giturl_parse(&a, str_from(cases[i].source), str_from(cases[i].ssh_user), &u, &err))
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        if (!str_eq_z(u.repo, cases[i].repo) || !str_eq_z(u.folder, cases[i].folder))
            fail_msg("%s: got [" STR_FMT "] [" STR_FMT "]", cases[i].name, STR_ARG(u.repo),
                     STR_ARG(u.folder));
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *name, *source, *err;
    } cases[] = {
        {"nothing", "", "it is empty"},
        {"no repository", "https://github.com/org", "expected host/org/repo"},
        {"a host alone", "https://github.com", "expected host/org/repo"},
        {"no repository before the double slash", "https://github.com//f", "names no repository"},
        {"no host", "https:///org/repo", "host is not valid"},
        {"a host that looks like an option", "ssh://-oProxyCommand=x/o/r", "host is not valid"},
        {"a short form that looks like an option", "git@-oProxyCommand=x:o/r", "host is not valid"},
        {"a user that looks like an option", "ssh://-oX@h/o/r", "user is not valid"},
        {"a short form without colon", "git@github.com/org/repo", "git@host:org/repo"},
        {"dots in the folder", "github.com/org/repo/../x", "not allowed"},
        {"dots in the repository", "github.com/../repo", "not allowed"},
        {"a newline", "github.com/org/repo\n", "control characters"},
        {"a file url with a host", "file://srv/repo", "file:///absolute"},
        {"a password is not shown", "https://u:hunter2@h.com/o", "invalid github url: https://h.com/o:"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct src_giturl u = {0};
        if (src_giturl_parse(&a, str_from(cases[i].source), STR(""), &u, &err))
            fail_msg("%s: accepted as [" STR_FMT "] [" STR_FMT "]", cases[i].name, STR_ARG(u.repo),
                     STR_ARG(u.folder));
        if (!strstr(err_msg(&err), cases[i].err) || strstr(err_msg(&err), "hunter2"))
            fail_msg("%s: got \"%s\"", cases[i].name, err_msg(&err));
    }
}

/* What is shown; `password` says that it may not be stored. */
static void test_shown(void **state)
{
    static const struct {
        const char *name, *source, *shown;
        bool password;
    } cases[] = {
        {"nothing to hide", "https://h.com:8443/o/r#folder", "https://h.com:8443/o/r#folder", false},
        {"a user", "https://me@h.com/o/r", "https://h.com/o/r", false},
        {"a user and no password", "https://me:@h.com/o/r", "https://h.com/o/r", false},
        {"a password", "https://me:hunter2@h.com:8443/o/r//f#g", "https://h.com:8443/o/r//f#g", true},
        {"a password alone", "http://:hunter2@h.com/o/r", "http://h.com/o/r", true},
        {"a password with @", "https://me:hunter2@x@h.com/o/r", "https://h.com/o/r", true},
        {"a password with a slash", "https://me:hun/ter2@h.com/o/r", "https://h.com/o/r", true},
        {"a token in the query", "https://h.com/o/r?token=hunter2#f", "https://h.com/o/r#f", false},
        {"a query beside an @", "https://h.com:80/a@b/r?x=1", "https://h.com:80/a@b/r", false},
        {"an @ in the path", "https://h.com:80/o/r@2", "https://h.com:80/o/r@2", false},
        {"an address of IPv6", "https://[::1]:80/o/r@2", "https://[::1]:80/o/r@2", false},
        {"a question mark in the fragment", "https://h.com/o/r#f?x", "https://h.com/o/r#f?x", false},
        {"no scheme", "me:hunter2@h.com/o/r", "h.com/o/r", true},
        {"no scheme and nothing to hide", "h.com/o/r", "h.com/o/r", false},
        {"ssh keeps its user", "ssh://git@h.com:22/o/r", "ssh://git@h.com:22/o/r", false},
        {"ssh with a password", "ssh://git:hunter2@h.com/o/r", "ssh://git@h.com/o/r", true},
        {"the short ssh form", "git@h.com:o/r", "git@h.com:o/r", false},
        {"the git protocol", "git://me:hunter2@h.com/o/r", "git://h.com/o/r", true},
        {"a file url", "file:///srv/a@b.git", "file:///srv/a@b.git", false},
        {"a folder", "/srv/a:b@c?d", "/srv/a:b@c?d", false},
        {"a bare repository", "/srv/a:b@c.git", "/srv/a:b@c.git", false},
        {"no source", "-", "-", false},
        {"a scheme alone", "https://", "https://", false},
        {"an @ alone", "https://@", "https://", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct str source = str_from(cases[i].source), shown = src_shown(&a, source), plain = {0};
        if (!str_eq_z(shown, cases[i].shown))
            fail_msg("%s: got [" STR_FMT "]", cases[i].name, STR_ARG(shown));
        if (src_check_plain(&a, source, &plain, &err) == cases[i].password)
            fail_msg("%s: it may%s be stored", cases[i].name, cases[i].password ? " not" : "");
        if (cases[i].password ? !strstr(err_msg(&err), "[git_auth.NAME]") || strstr(err_msg(&err), "hunter2")
                              : !str_eq_z(plain, cases[i].shown))
            fail_msg("%s: got [" STR_FMT "] \"%s\"", cases[i].name, STR_ARG(plain), err_msg(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_git),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
