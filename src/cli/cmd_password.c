/* cli/cmd_password.c: `openrun password`: makes the administrator's password hash. Needs no server.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

enum { RANDOM_LEN = 16 };

static bool check_flags(const struct args *args, struct err *err)
{
    bool random = args_is_on(args, "random"), prompt = args_is_on(args, "prompt"), value = args_has(args, "value");
    if (random && prompt)
        return err_set(err, ERR_INVALID, "cannot specify both --random and --prompt");
    if (random && value)
        return err_set(err, ERR_INVALID, "cannot specify both --random and --value");
    if (prompt && value)
        return err_set(err, ERR_INVALID, "cannot specify both --prompt and --value");
    return true;
}

static bool run_password(struct cli *c, struct err *err)
{
    struct str password = args_text(c->args, "value"), hash;
    bool is_random = !args_has(c->args, "value") && !args_is_on(c->args, "prompt");
    if (!want_words(c, 0, "expected no args", err) || !check_flags(c->args, err))
        return false;
    if (is_random)
        password = password_random(c->arena, RANDOM_LEN);
    else if (args_is_on(c->args, "prompt") && !prompt_password(c, &password, err))
        return false;
    if (!bcrypt_hash(c->arena, password, BCRYPT_COST, &hash, err))
        return false;
    if (is_random)
        fprintf(c->err, "Generated password is: " STR_FMT "\n\n", STR_ARG(password));
    fprintf(c->out,
            "# Auto generated password hash, add to openrun.toml\n"
            "[security]\n"
            "admin_password_bcrypt = \"" STR_FMT "\"\n",
            STR_ARG(hash));
    return true;
}

static const struct flag flags[] = {
    {"random", "r", FLAG_BOOL, NULL, "generate a random password (what happens without a flag)"},
    {"prompt", "p", FLAG_BOOL, NULL, "ask for the password; read two lines from standard input if it is no terminal"},
    {"value", "v", FLAG_STR, NULL, "use this password; it will be in the shell's history"},
    FLAG_END,
};

const struct command cmd_password = {
    .name = "password",
    .summary = "make a password hash for the administrator",
    .about = "   Prints lines for openrun.toml on standard output; a generated password goes to standard error.\n",
    .flags = flags,
    .exec = run_password,
    .needs_no_config = true,
};
