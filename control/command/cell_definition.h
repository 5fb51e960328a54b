/* The definition of a cell: the operator's JSON (control.md 2.2.1) with exactly its names. Strict: an unknown member, a
 * wrong kind or a value out of its bounds is refused with one line that names the member ("capacity.maxVPAs: ..."). */
#pragma once

#include "server/base/json.h"
#include "tenants/participant.h"

/* capacity.resources */
#define CELL_RESOURCE_LIST(X)                                                                                          \
	X(CPU_MILLI, "cpuMilli")                                                                                           \
	X(MEM_MIB, "memMiB")                                                                                               \
	X(REQUESTS_PER_SEC, "requestsPerSec")                                                                              \
	X(TRANSFER_MBPS, "transferMbps")                                                                                   \
	X(CONNECTIONS, "connections")
enum cell_resource {
#define CELL_RESOURCE_MEMBER(name, text) CELL_RESOURCE_##name,
	CELL_RESOURCE_LIST(CELL_RESOURCE_MEMBER)
#undef CELL_RESOURCE_MEMBER
		CELL_RESOURCE_COUNT
};

struct cell_label {
	char *key, *value;
};
struct cell_attestation {
	char *id;
	int64_t valid_until_ms; /* INT64_MAX: not said */
};
struct cell_taint {
	char *key, *value; /* effect: NoPlace, the only one */
};
/* What a cell says of itself for placements that ask for it: "cost" (1000: the dearest) or "external.<name>" (1000: the
 * best); 0 ... 1000 (control.md 2.7.3). */
struct cell_score {
	char *name;
	int64_t value;
};
enum { CELL_SCORES_MAX = 16 };
/* Is it "cost" or "external.<name>"? */
bool cell_score_name_is_valid(struct text name);

/* Owned; immutable. Texts are never NULL where the member is required, else NULL when absent. */
struct cell_definition {
	char *cell_id, *name, *type, *region, *provider; /* type: kubernetes | edge | standalone | ... (a name) */
	int64_t max_vpas;
	int64_t max_per_type[VPA_TYPE_COUNT];    /* -1: not said */
	int64_t resources[CELL_RESOURCE_COUNT];  /* -1: not said */
	int64_t overcommit[CELL_RESOURCE_COUNT]; /* percent, 100 when not said */
	int64_t failover_reserve_pct;            /* 0 when not said */
	struct cell_label *labels;
	size_t label_count;
	char *zone, *power_domain, *site;
	char **jurisdictions;
	size_t jurisdiction_count;
	struct cell_attestation *compliance;
	size_t compliance_count;
	struct cell_taint *taints;
	size_t taint_count;
	struct cell_score *scores;
	size_t score_count;
	unsigned components; /* bit per enum vpa_type; all when not said */
	char *ingress;       /* endpoints.ingress: base URL of its public listener, or NULL */
	bool is_intermittent;
	char *failover_group;
	int64_t protocol; /* versions.protocol; 0 when not said */
	char *text;       /* the JSON as it is stored and shown: currentVPAs left out */
};

/* An array of types of VPA, as bits; INVALID with the line that begins with `path`. */
enum status cell_types_read(
	const struct json *value, const char *path, unsigned *types, struct buffer *error) MUST_CHECK;
/* *warning (may stay empty): a currentVPAs that was sent and is not ours to take (control.md 2.2.1). */
enum status cell_definition_parse(const struct json *object, struct cell_definition **definition, struct buffer *error,
	struct buffer *warning) MUST_CHECK;
void cell_definition_free(struct cell_definition *definition);
