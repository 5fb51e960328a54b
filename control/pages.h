/* What the admin listener of each program shows. */
#pragma once

#include "server/exchange.h"

/* GET or HEAD? Else it has answered 405. */
bool pages_is_read(struct exchange *exchange);
/* Prometheus text of all that is counted. */
void pages_metrics(struct exchange *exchange);
/* rest: "/live", "/startup" (this loop turns) or "/ready" (new work may come). unready: why not, NULL: it may. */
void pages_health(struct exchange *exchange, struct text rest, bool is_draining, const char *unready);
