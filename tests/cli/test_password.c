/* tests/cli/test_password.c: password hashes and generated passwords.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_hash_verifies_its_password_only(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str hash, again;
    assert_true(bcrypt_hash(&a, STR("correct horse"), 4, &hash, &err));
    assert_true(str_starts(hash, STR("$2a$04$")));
    assert_true(bcrypt_is_hash(hash));
    assert_true(bcrypt_verify(STR("correct horse"), hash));
    assert_false(bcrypt_verify(STR("correct horsf"), hash));
    assert_false(bcrypt_verify(STR(""), hash));
    assert_true(bcrypt_hash(&a, STR("correct horse"), 4, &again, &err));
    assert_false(str_eq(hash, again)); /* fresh salt */
}

static void known_hashes_verify(void **state)
{
    /* Of OpenBSD's and of other implementations, the same algorithm under three names. */
    static const char *const hashes[] = {
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    };
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++)
        if (!bcrypt_verify(STR("U*U"), str_from(hashes[i])) || bcrypt_verify(STR("U*V"), str_from(hashes[i])))
            fail_msg("%s", hashes[i]);
}

static void other_hashes_never_verify(void **state)
{
    static const char *const hashes[] = {
        "", "U*U", "$1$abc$xyz", "$5$rounds=5$salt$hash", "*0",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWx",
        "$2a$xx$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2z$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJK:yOeW",
    };
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++)
        if (bcrypt_is_hash(str_from(hashes[i])) && strstr(hashes[i], "xx") == NULL)
            fail_msg("taken for a hash: %s", hashes[i]);
        else if (bcrypt_verify(STR("U*U"), str_from(hashes[i])))
            fail_msg("verified: %s", hashes[i]);
}

static void passwords_that_bcrypt_would_cut_are_refused(void **state)
{
    scoped_arena a = {0};
    char text[BCRYPT_PASSWORD_MAX + 1];
    memset(text, 'x', sizeof text);
    const struct { struct str password; const char *error; } cases[] = {
        {str_of(text, 72), NULL},
        {str_of(text, 73), "password is 73 bytes long: bcrypt takes at most 72"},
        {STR(""), "must specify a password value"},
        {STR("a\0b"), "password must not contain a NUL byte"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct str hash = {0};
        bool ok = bcrypt_hash(&a, cases[i].password, 4, &hash, &err);
        assert_true(ok == (cases[i].error == NULL));
        assert_string_equal(err_msg(&err), cases[i].error ? cases[i].error : "");
    }
}

static void generated_passwords_use_the_whole_alphabet(void **state)
{
    scoped_arena a = {0};
    bool seen[256] = {false};
    size_t kinds = 0;
    struct str p = password_random(&a, 20000);
    assert_int_equal(p.len, 20000);
    for (size_t i = 0; i < p.len; i++) {
        unsigned char ch = (unsigned char)p.ptr[i];
        kinds += !seen[ch];
        seen[ch] = true;
    }
    assert_int_equal(kinds, 79);
    assert_false(seen['!'] || seen['"'] || seen['\''] || seen['\\'] || seen[' ']);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_verifies_its_password_only),
        cmocka_unit_test(known_hashes_verify),
        cmocka_unit_test(other_hashes_never_verify),
        cmocka_unit_test(passwords_that_bcrypt_would_cut_are_refused),
        cmocka_unit_test(generated_passwords_use_the_whole_alphabet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
