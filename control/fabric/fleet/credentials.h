/* Short-lived NATS credentials, in operator mode: signed here, believed by the broker without a word to it. What each
 * kind of user may do is a table. Without a signing key nothing is issued, and cells are told apart by their epochs
 * alone. */
#pragma once

#include "control/bus/nats_jwt.h"
#include "server/base/config.h"

enum credentials_role {
	ROLE_MANAGER, /* cfmd itself: all of the account */
	ROLE_CELL,    /* its own subjects */
	ROLE_AGENT,   /* of provisioning activities, as the existing ones are: the stream and the bucket of the managers */
};

struct credentials_settings {
	char *signing_key_file, *account_file; /* NULL: nothing is issued */
	/* Types that a cell serves itself, each with "--<cellId>" behind it; none: the usual ones. */
	struct setting_texts activities;
};

struct credentials;
/* *credentials NULL: none are issued. INVALID: one file without the other, or not of each other. */
enum status credentials_open(
	const struct credentials_settings *settings, struct credentials **credentials, struct buffer *error) MUST_CHECK;
void credentials_free(struct credentials *credentials);

/* `name`: of the cell (its cellId), else for people. lifetime_ms 0: for ever. *expires_ms: 0 then. */
enum status credentials_issue(const struct credentials *credentials, enum credentials_role role, struct text name,
	const char *user, int64_t wall_ms, int64_t lifetime_ms, struct buffer *jwt, int64_t *expires_ms) MUST_CHECK;

/* The activities that cells serve; 0 for NULL. */
size_t credentials_activities(const struct credentials *credentials);
const char *credentials_activity(const struct credentials *credentials, size_t index);
