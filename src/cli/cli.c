/* cli/cli.c: the root of the commands, and one run from the command line to the exit code.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "cli_int.h"
#include "http.h"
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct flag root_flags[] = {
    {"config-file", "c", FLAG_STR, NULL, "path of the configuration file; also from CL_CONFIG_FILE"},
    {"as", NULL, FLAG_STR, NULL, "run as <provider>:<username>, within that user's permissions; also from OPENRUN_AS_USER"},
    {"verbose", "V", FLAG_BOOL, NULL, "print the progress of long commands as plain lines", .goes_anywhere = true},
    {"version", "v", FLAG_BOOL, NULL, "print the version"},
    FLAG_END,
};

static const struct command *const root_commands[] = {
    &cmd_server,      &cmd_app,  &cmd_apply,   &cmd_plan, &cmd_diff, &cmd_export,     &cmd_pretty_print, &cmd_sync,     &cmd_service,
    &cmd_provider,    &cmd_binding, &cmd_replication, &cmd_secret, &cmd_param,     &cmd_version,  &cmd_app_webhook,
    &cmd_preview,     &cmd_account, &cmd_user, &cmd_password,   &cmd_starlark,     &cmd_operation, &cmd_container, &cmd_volume,
    &cmd_spec,        &cmd_job,
    NULL,
};

const struct command cmd_root = {
    .name = "openrun",
    .summary = "deploy web apps and serve them",
    .about = "   One program is both the server and its client. Start with:\n\n"
             "   openrun server start\n"
             "   openrun app create --approve <folder or git URL> /myapp\n",
    .flags = root_flags,
    .subs = root_commands,
};

static bool is_character_device(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
}

static bool wants_colour(void)
{
    const char *term = getenv("TERM");
    return is_character_device(STDOUT_FILENO) && is_character_device(STDERR_FILENO) && !getenv("NO_COLOR") &&
           !(term && strcmp(term, "dumb") == 0);
}

bool cli_find_home(struct cli *c, struct err *err)
{
    const struct flag_value *file = args_global(c->args, "config-file");
    const char *flag = file->form ? str_z(c->arena, file->text) : NULL;
    return home_find_here(c->arena, flag, &c->home, err) && home_export(&c->home, err);
}

static bool prepare(struct cli *c, struct err *err)
{
    const struct flag_value *as = args_global(c->args, "as");
    c->is_verbose = args_global(c->args, "verbose")->is_on;
    c->as_user = as->form ? as->text : str_from(getenv("OPENRUN_AS_USER"));
    return cli_find_home(c, err) && client_config_load(c->arena, &c->home, c->err, &c->config, err);
}

static bool run_command(struct cli *c, struct err *err)
{
    const struct args *args = c->args;
    if (args->wants_help || args->cmd->subs) {
        if (args->depth == 1 && !args->wants_help && args_global(args, "version")->is_on)
            fprintf(c->out, "OpenRun version %s build %s\n", server_version, server_commit);
        else
            print_help(c->out, args);
        return true;
    }
    if (!args->cmd->exec)
        return err_set(err, ERR_UNSUPPORTED, "\"" STR_FMT "\" is not available in this version yet",
                       STR_ARG(args_path(c->arena, args)));
    return (args->cmd->needs_no_config || prepare(c, err)) && args->cmd->exec(c, err);
}

/* A full disk or a closed pipe shows only when standard output is flushed. */
static bool finish_output(struct cli *c, struct err *err)
{
    errno = 0;
    if (fflush(c->out) == 0 && !ferror(c->out))
        return true;
    if (errno == EPIPE) {
        c->exit_code = 1; /* the reader has had enough: nobody to tell */
        return true;
    }
    return err_set_errno(err, errno ? errno : EIO, "writing the output");
}

static bool wants_completion(int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            return false;
    return argc > 1 && strcmp(argv[argc - 1], "--generate-bash-completion") == 0;
}

int cli_run(int argc, char *const *argv, FILE *out, FILE *err_out)
{
    scoped_arena arena = {0};
    scoped_err err = {0};
    struct args args;
    struct cli c = {.arena = &arena, .root = &cmd_root, .args = &args, .out = out, .err = err_out,
                    .has_colour = wants_colour()};
    bool ok;
    if (wants_completion(argc, argv)) {
        print_completions(c.out, &cmd_root, argc - 1, argv);
        ok = true;
    } else {
        ok = args_parse(&arena, &cmd_root, argc, argv, &args, &err) && run_command(&c, &err);
    }
    if (!ok)
        fflush(c.out); /* what was printed stands before the error */
    ok = ok && finish_output(&c, &err);
    http_client_close(c.http);
    if (!ok)
        say_error(&c, &err);
    return ok || c.exit_code != 0 ? c.exit_code : 1;
}

int cli_main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    return cli_run(argc, argv, stdout, stderr);
}
