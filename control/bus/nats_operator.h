/* A NATS operator of one's own, in a folder: keys, JWTs and a server's configuration in operator mode with the accounts
 * in memory. Who holds signing.nk can let users in without a word to the server; operator.nk and account.nk are needed
 * only to make it anew, and can be kept elsewhere.
 *
 *   operator.nk account.nk system.nk signing.nk   seeds, mode 0400
 *   account.jwt                                   of the fabric's account: cells.account_file of cfmd
 *   nats.conf                                     for nats-server -c */
#pragma once

#include "control/bus/nats_jwt.h"

struct nats_operator_settings {
	const char *folder; /* must exist */
	struct text name;   /* of the operator, for people */
	uint16_t port;      /* that the server listens on */
};
/* Never over existing files: CONFLICT. `error` gets one line. */
enum status nats_operator_make(
	const struct nats_operator_settings *settings, int64_t wall_ms, struct buffer *error) MUST_CHECK;
