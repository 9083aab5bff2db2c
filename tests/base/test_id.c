/* tests/base/test_id.c: ids, encodings, digests.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void ksuids_have_their_published_form(void **state)
{
    static const struct { const char *hex, *text; } cases[] = {
        {"0000000000000000000000000000000000000000", "000000000000000000000000000"},
        {"ffffffffffffffffffffffffffffffffffffffff", "aWgEPTl1tmebfsQzFP4bxwgy80V"},
        {"0669f7efb5a1cd34b5f99d1154fb6853345c9735", "0ujtsYcgvSTl8PAuAdqWYSMnLOv"},
    };
    scoped_arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str bytes;
        assert_true(hex_decode(&a, str_from(cases[i].hex), &bytes));
        char text[KSUID_LEN];
        ksuid_encode((const unsigned char *)bytes.ptr, text);
        if (!str_eq_z(str_of(text, KSUID_LEN), cases[i].text))
            fail_msg("%s: got %.27s", cases[i].hex, text);
        unsigned char back[KSUID_BYTES];
        assert_true(ksuid_decode(str_of(text, KSUID_LEN), back));
        assert_memory_equal(back, bytes.ptr, KSUID_BYTES);
    }
    unsigned char bytes[KSUID_BYTES];
    assert_false(ksuid_decode(STR("aWgEPTl1tmebfsQzFP4bxwgy80W"), bytes)); /* 2^160 */
    assert_false(ksuid_decode(STR("short"), bytes));
    assert_false(ksuid_decode(STR("0000000000000000000000000-0"), bytes));
}

static void ids_are_new_each_time_and_carry_the_time(void **state)
{
    scoped_arena a = {0};
    struct str one = id_ksuid(&a), two = id_ksuid(&a);
    assert_false(str_eq(one, two));
    unsigned char bytes[KSUID_BYTES];
    assert_true(ksuid_decode(one, bytes));
    int64_t s = 1400000000 + ((int64_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]);
    assert_in_range(wall_ns() / 1000000000 - s, 0, 60);
    struct str id = id_new(&a, "app_prd_");
    assert_int_equal(id.len, 8 + KSUID_LEN);
    assert_true(str_starts(id, STR("app_prd_")) && str_eq(id, str_lower(&a, id)));
}

static void base64_round_trips_and_is_strict(void **state)
{
    static const struct { const char *bytes, *std, *url, *b32; } cases[] = {
        {"", "", "", ""}, {"f", "Zg==", "Zg", "MY"}, {"fo", "Zm8=", "Zm8", "MZXQ"},
        {"foo", "Zm9v", "Zm9v", "MZXW6"}, {"foob", "Zm9vYg==", "Zm9vYg", "MZXW6YQ"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE", "MZXW6YTB"}, {"foobar", "Zm9vYmFy", "Zm9vYmFy", "MZXW6YTBOI"},
        {"\xfb\xff", "+/8=", "-_8", "7P7Q"},
    };
    scoped_arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str bytes = str_from(cases[i].bytes), back = {0};
        if (!str_eq_z(base64_encode(&a, bytes), cases[i].std) || !str_eq_z(base64url_encode(&a, bytes), cases[i].url) ||
            !str_eq_z(base32_encode(&a, bytes), cases[i].b32))
            fail_msg("encoding %s", cases[i].std);
        if (!base64_decode(&a, str_from(cases[i].std), &back) || !str_eq(back, bytes) ||
            !base64url_decode(&a, str_from(cases[i].url), &back) || !str_eq(back, bytes))
            fail_msg("decoding %s", cases[i].std);
    }
    struct str out = STR("left alone");
    static const char *const bad[] = {"Zg", "Zg=", "Z", "Zh==", "Zm9v ", "Zm\n9", "-_8=", "====", "=", "Zg==Zg==", "Z===", "Zm9="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (base64_decode(&a, str_from(bad[i]), &out))
            fail_msg("accepted %s", bad[i]);
    assert_true(base64url_decode(&a, STR("-_8="), &out));
    assert_false(base64url_decode(&a, STR("+/8"), &out));
    assert_false(base64url_decode(&a, STR("Zg="), &out));
    assert_true(hex_decode(&a, STR("00fFA5"), &out) && str_eq(out, STR("\x00\xff\xa5")));
    assert_false(hex_decode(&a, STR("0"), &out));
    assert_false(hex_decode(&a, STR("0g"), &out));
}

static void random_text_covers_its_alphabet(void **state)
{
    scoped_arena a = {0};
    struct str text = random_text(&a, 20000, STR("abcdefghijklmnopqrstuvwxyz01234"));
    size_t counts[256] = {0};
    for (size_t i = 0; i < text.len; i++)
        counts[(unsigned char)text.ptr[i]]++;
    for (const char *c = "abcdefghijklmnopqrstuvwxyz01234"; *c; c++)
        assert_in_range(counts[(unsigned char)*c], 400, 900); /* mean 645, ten deviations are 250 */
    assert_int_equal(random_hex(&a, 16).len, 32);
    assert_int_equal(random_base64url(&a, 24).len, 32);
}

static void digests_match_the_standards(void **state)
{
    scoped_arena a = {0};
    assert_true(str_eq(sha256_hex(&a, STR("abc")),
                       STR("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")));
    assert_true(str_eq(sha256_hex(&a, (struct str){0}),
                       STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")));
    struct sha256 h;
    unsigned char digest[SHA256_LEN], whole[SHA256_LEN];
    sha256_init(&h);
    sha256_add(&h, "a", 1);
    sha256_add(&h, "", 0);
    sha256_add(&h, "bc", 2);
    sha256_end(&h, digest);
    sha256(STR("abc"), whole);
    assert_memory_equal(digest, whole, SHA256_LEN);
    sha256_release(&h);
    hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), digest); /* RFC 4231 §4.3 */
    assert_true(str_eq(str_hex(&a, digest, sizeof digest),
                       STR("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")));
    hmac_sha256((struct str){0}, (struct str){0}, digest);
    assert_true(str_starts(str_hex(&a, digest, sizeof digest), STR("b613679a0814d9ec772f95d778c35fc5")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ksuids_have_their_published_form),
        cmocka_unit_test(ids_are_new_each_time_and_carry_the_time),
        cmocka_unit_test(base64_round_trips_and_is_strict),
        cmocka_unit_test(random_text_covers_its_alphabet),
        cmocka_unit_test(digests_match_the_standards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
