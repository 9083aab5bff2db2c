/* starlark/options.c: the two dialects that OpenRun uses.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

const struct star_options star_options_app = {.while_loops = true, .recursion = true};
const struct star_options star_options_config = {.no_load = true};
