/* What a snapshot was when a decision was made, so that the decision can be made again by another process: images of
 * the snapshot's cells, the changes after each, and of each decision where its participant and its tenant were. Kept in
 * memory until a commit has taken them; they stand in the records of decisions (placer.h):
 *
 *   "process": whose snapshot; "base": the record with the last image that was stored before (absent: none);
 *   "journal": [{"image": <base64url>, "at": version} | {"changes": <base64url>, "from": version, "to": version}]
 *
 * An image holds no lodgings, of which there may be a million: a change of them counts as a version, and what a
 * decision can look at is written before it. Images come when cells are new or have become others, or when the changes
 * since the last one are several times as long. Numbers and texts are as bytes.h has them. On the fabric's worker. */
#pragma once

#include "control/fabric/place/place.h"

struct journal;
struct journal *journal_new(void); /* NULL: out of memory */
void journal_free(struct journal *journal);

/* --- what the setters tell (history.c), each one version; journal NULL: nobody keeps one */
enum journal_change {
	JOURNAL_ROOM,      /* a dimension's free room, by how much */
	JOURNAL_ROOMS,     /* free and allowed */
	JOURNAL_LOAD,      /* measured */
	JOURNAL_SET,       /* a cell comes into a set, or goes */
	JOURNAL_ATTRIBUTE, /* the same of an attribute */
	JOURNAL_OPINION,   /* what a cell says of itself */
	JOURNAL_HOLD,      /* a VPA comes or goes, and the cell's sketch stays */
	JOURNAL_SKETCH     /* a VPA comes or goes, and one bit of the sketch becomes the other */
};
/* The first byte: kind, and above it the dimension, set or bit. Then numbers, all signed: first the cell's slot, less
 * that of the change before. JOURNAL_HOLD with something above it is no change, and no version, but belongs to the
 * decision that follows. Its numbers have no sign: some bits of the hash of whose VPAs it tells, how many lodgings
 * those are, and of a participant (or of a tenant when the decision asks) where: of each its slot, and 16 times number
 * plus type. Of another tenant all that matters is which hashes of tenants are on its cells; of one with more than
 * OVERLAP_LODGINGS (score.c) not even that: 0 lodgings. The last one says that this was all, and it was decided. */
enum { JOURNAL_SHIFT = 3, JOURNAL_HASH = (1 << 20) - 1 };
enum { JOURNAL_PARTICIPANT = 1, JOURNAL_TENANT, JOURNAL_OVERLAP, JOURNAL_DECISION };
void journal_note(
	struct journal *journal, enum journal_change kind, unsigned which, const int64_t *numbers, size_t count);
/* What follows is of no use behind the last image: the next decision needs another one. */
void journal_break(struct journal *journal);

/* --- the placer */
/* Before a decision: an image when one is needed, and where the requests' participants and tenants are. */
void journal_decide(struct journal *journal, const struct place_snapshot *snapshot,
	const struct place_request *const *requests, size_t count);
/* The members "process", "base" and (first of its commit) "journal" of the record of that id, with a comma behind. */
void journal_print(struct journal *journal, int64_t process, const char *record, bool is_first, struct buffer *into);
/* What was printed since the last end is stored, or is not and will be printed again. */
void journal_end(struct journal *journal, bool is_stored);

/* --- image.c */
void image_print(const struct place_snapshot *snapshot, struct buffer *into);
/* A snapshot of these cells where nobody lives; only decisions may be made on it. INVALID: no image. */
enum status image_parse(struct text image, struct place_snapshot **snapshot) MUST_CHECK;

/* --- journal_read.c */
struct journal_target {
	uint64_t version;
	const struct place_request *const *requests; /* that were decided of */
	size_t count;
	bool is_met; /* all that the decision looked at was there; false at first */
};
/* Of a tenant with so many lodgings these requests look at no more than what else is on its cells (score.c). */
bool journal_is_overlap(const struct journal_target *asked, uint32_t lodgings);
/* Takes the snapshot from its version up to the target, as far as these changes go: those that it has already are
 * passed over. At the target the lodgings that are written there of the requests' participants and tenants are entered.
 * INVALID: no such bytes, or something is missing between. */
enum status journal_apply(struct place_snapshot *snapshot, struct text changes, uint64_t from, uint64_t to,
	struct journal_target *target) MUST_CHECK;
