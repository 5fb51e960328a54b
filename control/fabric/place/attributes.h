/* What cells have, interned: each (kind, text) that any cell has is one set of cells, so that a constraint is a few
 * words of AND and OR. */
#pragma once

#include "server/base/text.h"

#define PLACE_ATTRIBUTE_LIST(X)                                                                                        \
	X(REGION, "region")                                                                                                \
	X(PROVIDER, "provider")                                                                                            \
	X(ZONE, "zone")                                                                                                    \
	X(SITE, "site")                                                                                                    \
	X(POWER_DOMAIN, "powerDomain")                                                                                     \
	X(TYPE, "type")                                                                                                    \
	X(JURISDICTION, "jurisdiction")                                                                                    \
	X(COMPLIANCE, "compliance")                                                                                        \
	X(LABEL, "label")                                                                                                  \
	X(TAINT, "taint")                                                                                                  \
	X(PROFILE, "profile")
enum place_attribute {
#define PLACE_ATTRIBUTE_MEMBER(name, text) PLACE_##name,
	PLACE_ATTRIBUTE_LIST(PLACE_ATTRIBUTE_MEMBER)
#undef PLACE_ATTRIBUTE_MEMBER
		PLACE_ATTRIBUTE_COUNT
};

struct attribute {
	enum place_attribute kind;
	uint64_t hash;
	char *text;
	uint64_t *bits; /* the cells that have it */
};

enum { ATTRIBUTE_NONE = UINT16_MAX };

struct attributes {
	struct attribute *items;
	uint32_t count, room;
	uint16_t *table; /* open addressing: index + 1; 0: free */
	uint32_t table_room;
	uint32_t words;
};

/* Key and value of a label or taint are one text: "key=value". */
uint64_t attribute_hash(enum place_attribute kind, struct text text);
/* ATTRIBUTE_NONE: no cell ever had it. */
uint16_t attributes_find(
	const struct attributes *attributes, enum place_attribute kind, struct text text, uint64_t hash);
/* Finds or adds; ATTRIBUTE_NONE: out of memory, or more than 65,534 different ones. */
uint16_t attributes_intern(struct attributes *attributes, enum place_attribute kind, struct text text);
/* Sets of that many words. */
bool attributes_widen(struct attributes *attributes, uint32_t words);
void attributes_free(struct attributes *attributes);
