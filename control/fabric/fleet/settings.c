/* Section "cells" of cfmd. */
#include "control/fabric/fleet/settings.h"

#define SETTING(member, kind_, ...)                                                                                    \
	{                                                                                                                  \
		.key = #member, .kind = kind_, .offset = offsetof(struct fleet_settings, member), __VA_ARGS__                  \
	}
const struct setting fleet_settings_table[] = {
	SETTING(signing_key_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "seed of a signing key of the NATS account: cells get credentials of their own; cellctl fabric init "
				"makes it"),
	SETTING(account_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "JWT of that account; needed with signing_key_file"),
	SETTING(own_key_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "seed of cfmd's own key on the broker, made when it is missing; default: <state directory>/cfmd.nk"),
	SETTING(nats_urls, SETTING_TEXTS, .help = "where cells find the broker; none: nats.urls"),
	SETTING(activities, SETTING_TEXTS,
		.help = "activity types that cells serve themselves, each with --<cellId> behind it; none: edcv-activity, "
				"siglet-activity"),
	SETTING(auto_approve, SETTING_TEXTS,
		.help = "cellIds that join without an operator's approval; a * at the end stands for anything"),
	SETTING(probe_networks, SETTING_TEXTS,
		.help = "where the ingress of a silent cell may be tried, besides public addresses; none: anywhere"),
	SETTING(credentials_ms, SETTING_MILLISECONDS, .preset = "24 h", .minimum = 1000, .maximum = (int64_t)366 * 86400000,
		.help = "how long a cell's credentials last; they are renewed at two thirds of it"),
	SETTING(away_credentials_ms, SETTING_MILLISECONDS, .preset = "720 h", .minimum = 1000,
		.maximum = (int64_t)366 * 86400000, .help = "the same of cells whose connectivity is intermittent"),
	SETTING(heartbeat_ms, SETTING_MILLISECONDS, .preset = "2 s", .minimum = 100, .maximum = 60000,
		.help = "between a cell's heartbeats; more when there are very many cells"),
	SETTING(away_heartbeat_ms, SETTING_MILLISECONDS, .preset = "10 s", .minimum = 100, .maximum = 3600000,
		.help = "the same of cells whose connectivity is intermittent"),
	SETTING(grace_ms, SETTING_MILLISECONDS, .preset = "60 s", .minimum = 0, .maximum = 3600000,
		.help = "after a start or a change of leader no cell is judged by its silence for so long"),
	SETTING(margin_ms, SETTING_MILLISECONDS, .preset = "1 s", .minimum = 0, .maximum = 60000,
		.help = "what a cell takes off the end of its lease"),
	SETTING(fail_over_ms, SETTING_MILLISECONDS, .preset = "20 s", .minimum = 0, .maximum = 3600000,
		.help = "a cell is eligible for fail-over when it has been unreachable for so long"),
	SETTING(fail_over_rate, SETTING_INTEGER, .preset = "100", .minimum = 1, .maximum = 1000000,
		.help = "VPAs a second that may be failed over: after a cell the next one is eligible so much later"),
};
#undef SETTING
const size_t fleet_settings_count = sizeof(fleet_settings_table) / sizeof(fleet_settings_table[0]);
