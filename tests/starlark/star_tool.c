/* tests/starlark/star_tool.c: the starlark command alone, for tests and benchmarks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

int main(int argc, char **argv)
{
    return star_tool_main(argc, argv);
}
