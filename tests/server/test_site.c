/* tests/server/test_site.c: which app answers at which host and path.
 * SPDX-License-Identifier: Apache-2.0 */
#include "site.h"

#include "store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Slots of pretence: only their entry and their count matter here. */
struct app_slot {
    int refs;
    struct store_brief entry;
};
static int slots_alive;

struct app_slot *app_slot_new(const struct app_env *env, const struct store_brief *entry)
{
    struct app_slot *slot = xcalloc(1, sizeof *slot);
    slot->refs = 1;
    slot->entry = *entry;
    slots_alive++;
    return slot;
}

void app_slot_unref(struct app_slot *slot)
{
    if (--slot->refs > 0)
        return;
    slots_alive--;
    free(slot);
}

const struct store_brief *app_slot_entry(const struct app_slot *slot)
{
    return &slot->entry;
}

static void add(struct site *site, const char *domain, const char *path)
{
    struct str id = str_printf(site_arena(site), "%s:%s", domain, path);
    struct store_brief entry = {.id = id, .domain = str_from(domain), .path = str_from(path)};
    site_add(site, &(struct site_app){
                       .domain = entry.domain, .path = entry.path, .slot = app_slot_new(NULL, &entry)});
}

static struct site *make(const char *default_domain, bool fallback)
{
    struct site *site = site_new(str_from(default_domain), fallback);
    add(site, "", "/a");
    add(site, "", "/a/b/c");
    add(site, "", "/Case");
    add(site, "x.com", "/");
    add(site, "x.com", "/shop");
    add(site, "x.com", "/_cl_stage");
    add(site, "stage.localhost", "/a");
    site_seal(site);
    return site;
}

static const struct {
    const char *name, *host, *path, *app; /* NULL: none */
} matches[] = {
    {"the path itself", "localhost", "/a", ":/a"},
    {"below the path", "localhost", "/a/x", ":/a"},
    {"a name that only starts so", "localhost", "/ab", NULL},
    {"the longest path wins", "localhost", "/a/b/c/d", ":/a/b/c"},
    {"between two paths", "localhost", "/a/b", ":/a"},
    {"paths have their case", "localhost", "/case", NULL},
    {"no app at the root", "localhost", "/", NULL},
    {"hosts have no case", "LOCALHOST", "/a", ":/a"},
    {"a dot at the end of the host", "localhost.", "/a", ":/a"},
    {"by the loopback address", "127.0.0.1", "/a", ":/a"},
    {"by the loopback address of IPv6", "::1", "/a", ":/a"},
    {"another domain", "x.com", "/", "x.com:/"},
    {"everything below the root", "x.com", "/what/ever", "x.com:/"},
    {"more than the root", "x.com", "/shop/1", "x.com:/shop"},
    {"a stage beside the root", "x.com", "/_cl_stage/x", "x.com:/_cl_stage"},
    {"a preview is not the root's", "x.com", "/_cl_preview_0123", NULL},
    {"a subdomain is another domain", "sub.x.com", "/", NULL},
    {"an unknown domain", "nowhere.com", "/a", NULL},
    {"a staging domain", "stage.localhost", "/a/x", "stage.localhost:/a"},
    {"a very deep path", "localhost",
     "/a/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8", ":/a"},
    {"an empty host", "", "/a", NULL},
};

static void apps_are_found_by_domain_and_longest_path(void **state)
{
    struct site *site = make("localhost", false);
    for (size_t i = 0; i < ARRAY_LEN(matches); i++) {
        const struct site_app *app = site_match(site, str_from(matches[i].host), str_from(matches[i].path));
        struct str id = app ? app_slot_entry(app->slot)->id : (struct str){0};
        if (matches[i].app ? !str_eq_z(id, matches[i].app) : app != NULL)
            fail_msg("%s: wanted %s, got %.*s", matches[i].name, matches[i].app ? matches[i].app : "none",
                     STR_ARG(id));
    }
    site_unref(site);
    assert_int_equal(slots_alive, 0);
}

static void a_host_of_any_length_is_safe(void **state)
{
    struct site *site = make("localhost", true);
    char host[1024];
    memset(host, 'a', sizeof host);
    for (size_t n = 0; n < sizeof host; n += n < 260 ? 1 : 100) {
        const struct site_app *app = site_match(site, str_of(host, n), STR("/a"));
        assert_true(n == 0 || n > 253 ? !app : app != NULL);
    }
    site_unref(site);
}

static void unknown_domains_may_fall_back(void **state)
{
    struct site *site = make("localhost", true);
    assert_non_null(site_match(site, STR("nowhere.com"), STR("/a")));
    assert_non_null(site_match(site, STR("10.0.0.7"), STR("/a")));
    assert_null(site_match(site, STR("nowhere.com"), STR("/shop")));
    assert_true(site_has_domain(site, STR("X.com.")));
    assert_true(site_has_domain(site, STR("127.0.0.1")));
    assert_false(site_has_domain(site, STR("nowhere.com")));
    site_unref(site);
}

static void a_default_domain_may_be_an_address(void **state)
{
    struct site *site = make("127.0.0.1", false);
    assert_non_null(site_match(site, STR("127.0.0.1"), STR("/a")));
    assert_true(site_has_domain(site, STR("127.0.0.1")));
    site_unref(site);
}

static void sites_are_listed_found_and_shared(void **state)
{
    struct site *site = make("localhost", false);
    assert_int_equal(site_len(site), 7);
    assert_true(str_eq(app_slot_entry(site_at(site, 4)->slot)->id, STR("x.com:/shop")));
    assert_ptr_equal(site_find(site, STR("x.com:/shop")), site_at(site, 4));
    assert_null(site_find(site, STR("none")));
    struct site *mine = site_ref(site);
    site_unref(site);
    assert_int_equal(slots_alive, 7);
    site_unref(mine);
    assert_int_equal(slots_alive, 0);
    site_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apps_are_found_by_domain_and_longest_path),
        cmocka_unit_test(a_host_of_any_length_is_safe),
        cmocka_unit_test(unknown_domains_may_fall_back),
        cmocka_unit_test(a_default_domain_may_be_an_address),
        cmocka_unit_test(sites_are_listed_found_and_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
