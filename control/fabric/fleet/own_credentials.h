/* The manager's own NATS credentials, in operator mode: it holds the signing key, so it issues them to itself. A key
 * and credentials as files in its state directory (cfmd.nk, mode 0400; cfmd.nk.creds, 0600), renewed at two thirds of
 * their life; the bus then connects anew. */
#pragma once

#include "control/bus/bus.h"
#include "control/fabric/fleet/credentials.h"
#include "control/fabric/fleet/settings.h"

struct own_credentials;
/* Before bus_open. *own NULL: no key is there to sign with, or the bus has a method of its own. Else the bus's
 * settings, which are borrowed, get method and credentials_file. */
enum status own_credentials_open(const struct fleet_settings *settings, struct bus_settings *bus_settings,
	struct own_credentials **own, struct buffer *error) MUST_CHECK;
/* On the bus's worker, now and then; NULL is fine. */
void own_credentials_tick(struct own_credentials *own, struct bus *bus, int64_t wall_ms);
void own_credentials_free(struct own_credentials *own);
