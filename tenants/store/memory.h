/* What a server holds, as far as its connection has told us: the revisions of present records, so that it need not be
 * asked what we know. Private to this folder.
 *
 * Only kinds that are loaded and do not pass are remembered: of these every change of every process is told, under the
 * lock of the counter the memory is what is stored. A record is known by a keyed fingerprint of 64 bits. Two that share
 * one confuse nothing that is compared by revision, which no two writes share: at worst a record that is present is not
 * remembered. So what is remembered may be relied on, and what is not must be asked for, or left to the database to
 * refuse. */
#pragma once

#include "tenants/store/backend.h"

struct memory_slot {
	uint64_t fingerprint;
	int64_t revision; /* 0: the slot is free */
};

/* All-zero is a valid empty one. */
struct memory {
	struct memory_slot *slots; /* open addressing */
	size_t count, room;
};

/* Keyed; id absent is a key of its own. */
uint64_t record_hash(struct text ctx, enum record_kind kind, struct text id);

/* What was told: in the order of revisions. */
void memory_note(struct memory *memory, const struct record *record);
/* 0: not remembered. */
int64_t memory_revision(const struct memory *memory, struct text ctx, enum record_kind kind, struct text id);
/* Nothing is remembered any more. */
void memory_clear(struct memory *memory);
