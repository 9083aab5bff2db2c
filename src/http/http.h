/* http/http.h: everything HTTP that other modules use.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_H
#define HTTP_H

#include "http_loop.h"
#include "http_server.h"
#include "http_url.h"
#include "http_multipart.h"
#include "http_client.h"
#include "http_static.h"
#include "http_proxy.h"

#endif
