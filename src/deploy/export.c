/* deploy/export.c: apps as a declarative file.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"
