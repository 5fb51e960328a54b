/* Settings of the fleet. */
#pragma once

#include "server/base/config.h"

/* Section "cells". */
struct fleet_settings {
	char *signing_key_file, *account_file; /* NATS operator mode; NULL: credentials are not issued */
	char *own_key_file; /* of cfmd as a user of the broker; its credentials lie beside it, with .creds behind */
	struct setting_texts nats_urls; /* what cells are told; none: the manager's own */
	struct setting_texts activities;
	struct setting_texts auto_approve;   /* cellIds let in without an operator; "*" at the end: whatever follows */
	struct setting_texts probe_networks; /* where cells' ingresses may be */
	int64_t credentials_ms, away_credentials_ms;
	int64_t heartbeat_ms, away_heartbeat_ms, grace_ms, margin_ms, fail_over_ms;
	int64_t fail_over_rate; /* VPAs a second */
};
extern const struct setting fleet_settings_table[];
extern const size_t fleet_settings_count;
