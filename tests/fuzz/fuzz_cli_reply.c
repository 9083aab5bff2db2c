/* tests/fuzz/fuzz_cli_reply.c: replies of a server that may say anything, printed in every format.
 * The sources are included: linking the whole of cli would bring the server.
 * links: base
 * SPDX-License-Identifier: Apache-2.0 */
#include "../../src/cli/args.c"
#include "../../src/cli/listings.c"
#include "../../src/cli/output.c"
#include "../../src/cli/record.c"
#include "../../src/cli/result.c"
#include "../../src/cli/suggest.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct listing *const listings[] = {&listing_apps, &listing_versions, &listing_files};
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_json *reply = json_parse(str_of(data, size), &err);
    if (!reply)
        return 0;
    char *text = NULL;
    size_t len = 0;
    struct cli c = {.arena = &a, .out = open_memstream(&text, &len)};
    for (size_t i = 0; i < ARRAY_LEN(listings); i++)
        for (int f = FORMAT_TABLE; f <= FORMAT_JSONL_PRETTY; f++)
            if (f != FORMAT_CSV)
                print_list(&c, listings[i], reply, (enum format)f, false);
    print_created(&c, reply, true);
    print_approve_result(&c, reply);
    print_paths(&c, "Paths", reply);
    print_dry_run(&c, reply);
    fclose(c.out);
    if (memchr(text, '\x1b', len)) /* what reaches a terminal; CSV is for programs, as it came */
        abort();
    free(text);
    c.out = open_memstream(&text, &len);
    for (size_t i = 0; i < ARRAY_LEN(listings); i++)
        print_list(&c, listings[i], reply, FORMAT_CSV, true);
    fclose(c.out);
    free(text);
    return 0;
}
