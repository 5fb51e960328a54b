/* A participant context as the cell knows it: an immutable snapshot of its records. */
#pragma once

#include <stdatomic.h>

#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/text.h"
#include "server/url.h"

/* name, number in EDC, spelling */
#define PARTICIPANT_STATE_LIST(X)                                                                                      \
	X(CREATED, 100, "CREATED")                                                                                         \
	X(ACTIVATED, 200, "ACTIVATED")                                                                                     \
	X(DEACTIVATED, 300, "DEACTIVATED")
enum participant_state {
#define PARTICIPANT_STATE_MEMBER(name, number, text) PARTICIPANT_##name,
	PARTICIPANT_STATE_LIST(PARTICIPANT_STATE_MEMBER)
#undef PARTICIPANT_STATE_MEMBER
};
const char *participant_state_name(enum participant_state state);
bool participant_state_parse(struct text text, enum participant_state *state);

/* The types of virtual participant agent, as bits. */
#define VPA_LIST(X)                                                                                                    \
	X(CONNECTOR, "cfm.connector")                                                                                      \
	X(CREDENTIALSERVICE, "cfm.credentialservice")                                                                      \
	X(DATAPLANE, "cfm.dataplane")                                                                                      \
	X(ISSUER, "cfm.issuer")
enum vpa_type {
#define VPA_MEMBER(name, text) VPA_##name,
	VPA_LIST(VPA_MEMBER)
#undef VPA_MEMBER
		VPA_TYPE_COUNT
};
const char *vpa_type_name(enum vpa_type type);
bool vpa_type_parse(struct text text, enum vpa_type *type);

/* Per-tenant limits, read from the participant's configuration entries; 0 = the cell's default (section "tenant"). */
struct tenant_limits {
	int64_t requests_per_second, bytes_per_second, streams, connections;
	int64_t weight;
};

/* Data Plane Signaling, from the entries celld.dps.*. */
struct signaling_rules {
	bool allows_clear;  /* http:// endpoints, and did:web over http */
	bool needs_renewal; /* the address of an http-pull flow must be renewable */
	char *profiles;     /* comma list of the accepted ones; NULL: the usual ones */
	char *participants; /* comma list of names this participant goes by besides its identity; NULL: none */
};

struct participant {
	char ctx[ID_LENGTH + 1];
	enum participant_state state;
	unsigned vpas;           /* bit per enum vpa_type */
	char *identity;          /* DID */
	int64_t revision;        /* of the participant record: what a conditional put expects */
	int64_t config_revision; /* 0: no configuration record */
	int64_t created_ms;
	struct tenant_limits limits;
	struct network *allowed_networks; /* what its sources may reach besides public addresses */
	size_t allowed_network_count;
	char **hosts; /* extra host names that lead to this tenant */
	size_t host_count;
	struct signaling_rules signaling;
	char *region;      /* where its data lies (celld.region); NULL: not said */
	struct key **keys; /* public keys its own tokens are checked with */
	size_t key_count;
	char *body;   /* the participant record as stored: properties etc. (kept off the data path) */
	char *config; /* the configuration record, or NULL; private entries are vault references, never values */
};
/* Does its configuration list this transfer profile? */
bool participant_has_profile(const struct participant *participant, struct text profile);
/* Is this its identity, or one of its other names? */
bool participant_is_named(const struct participant *participant, struct text name);
struct address_rules participant_address_rules(const struct participant *participant);
