/* What a request for placement says, as place/ reads it. */
#pragma once

#include "control/command/fields.h"
#include "control/fabric/place/attributes.h"
#include "control/fabric/place/place.h"

/* What a topologyKey divides cells by: "cell", or one of their attributes. */
#define PLACE_KEY_LIST(X)                                                                                              \
	X(CELL, "cell", PLACE_ATTRIBUTE_COUNT)                                                                             \
	X(REGION, "region", PLACE_REGION)                                                                                  \
	X(PROVIDER, "provider", PLACE_PROVIDER)                                                                            \
	X(ZONE, "zone", PLACE_ZONE)                                                                                        \
	X(SITE, "site", PLACE_SITE)                                                                                        \
	X(POWER_DOMAIN, "powerDomain", PLACE_POWER_DOMAIN)
enum place_key {
#define PLACE_KEY_MEMBER(name, text, attribute) PLACE_KEY_##name,
	PLACE_KEY_LIST(PLACE_KEY_MEMBER)
#undef PLACE_KEY_MEMBER
		PLACE_KEY_COUNT
};

enum place_class { PLACE_PINNED, PLACE_LEASED, PLACE_REPLICATED };
enum place_strategy { PLACE_SPREAD, PLACE_PACK, PLACE_BALANCED };

/* One attribute asked for; the text is "key=value" for labels. */
struct want {
	enum place_attribute kind;
	char *text;
	uint64_t hash;
};
struct wants {
	struct want *items;
	size_t count;
};

struct toleration {
	char *key, *value; /* value NULL: whatever it is */
};

/* Whose VPAs a term is about. Standbys are chosen when VPAs may fail over; until then there are none. */
enum place_whose { PLACE_OF_PARTICIPANT, PLACE_OF_TENANT, PLACE_OF_STANDBY };

/* Where the VPAs of some types are. */
struct affinity {
	enum place_whose whose;
	unsigned types; /* bit per enum vpa_type */
	enum place_key key;
	bool is_hard, is_anti;
};

struct spread {
	enum place_key key;
	int64_t max_skew;
	bool is_hard; /* DoNotSchedule */
};

/* How much what cells say of themselves counts: "cost", "external.<name>". */
struct weigh {
	char *name;
	uint64_t hash;
	int weight;
};

struct place_request {
	int references;
	char *vpa_id, *participant, *tenant, *cell, *current; /* NULL: not said */
	uint64_t vpa_hash, participant_hash, tenant_hash;     /* 0: not said */
	enum vpa_type type;
	enum place_class class;
	enum place_strategy strategy;
	unsigned components; /* that the cell must have enabled */
	/* any of each, one of these: location and residency; all of: */
	struct wants regions, providers, zones, sites, types, jurisdictions;
	struct wants compliance, labels, profiles;
	struct wants forbidden; /* labels it must not have */
	int64_t min_protocol, standby;
	struct toleration *tolerations;
	size_t toleration_count;
	struct wants preferred_labels, preferred_regions, near; /* near: a site and a zone */
	struct affinity *affinities;
	size_t affinity_count;
	struct spread *spreads;
	size_t spread_count;
	struct weigh *weights;
	size_t weight_count;
	int64_t demand[CELL_RESOURCE_COUNT];
	char *text;
};

/* --- request_terms.c: readers of members, for the table */
enum status request_read_tolerations(const struct json *value, const char *path, void *target, struct buffer *error);
enum status request_read_affinity(const struct json *value, const char *path, void *target, struct buffer *error);
enum status request_read_anti_affinity(const struct json *value, const char *path, void *target, struct buffer *error);
enum status request_read_spread(const struct json *value, const char *path, void *target, struct buffer *error);
enum status request_read_weights(const struct json *value, const char *path, void *target, struct buffer *error);

/* Stable across processes and machines: ties are broken by it. */
uint64_t place_hash(struct text text);
enum place_attribute place_key_attribute(enum place_key key);
