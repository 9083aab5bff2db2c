/* cli/cli.h: the command line: parse, call the management API of the server, print.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_H
#define CLI_H

/* Runs the program with main()'s arguments and gives the exit code: 0 on success, 1 on every failure.
 * Ends the process with 130 on SIGINT while a client command runs. Once per process. */
int cli_main(int argc, char **argv);

#endif
