/* Are the stored decisions those that the audit tells of (place/decision_seal.h)? Pure functions on texts: first all
 * records of decisions are read, then the entries that wait, then those of the chain, so that whatever stands in the
 * chain already had its records when these were read. */
#pragma once

#include "control/fabric/place/decision_seal.h"
#include "server/base/id.h"

enum { DECISION_ID_MAX = 64 };

/* What is stored of one commit. */
struct decision_batch {
	char first[ID_LENGTH + 1]; /* its first record */
	char digest[DIGEST_HEX + 1];
	unsigned records;
	int64_t entry; /* sequence of the entry that tells of it; 0: none; -1: it still waits */
	const char *why;
};

/* One that is not as it was decided. */
struct decision_fault {
	char first[DECISION_ID_MAX + 1], last[DECISION_ID_MAX + 1]; /* decisions; last "": not known */
	int64_t entry;                                              /* of the audit; 0: none */
	const char *why;                                            /* the end of a sentence; NULL: there is no fault */
};

struct decision_check {
	struct decision_batch *batches; /* in the order of their ids */
	size_t count, room;
	char open[ID_LENGTH + 1]; /* the first record of the commit that is being read; "": none */
	struct decision_seal seal;
	int64_t sealed;                 /* entries up to this one were there before the first record was read */
	char oldest[ID_LENGTH + 1];     /* that an entry tells of; "": none */
	char horizon[ID_LENGTH + 1];    /* records up to it were let go; "": none were */
	struct decision_fault missing;  /* the youngest whose records are not there */
	size_t whole, dropped, outside; /* commits: as they were decided; no longer kept (beside a missing one, at most so
									   many); records from before the audit told of any */
	struct decision_fault fault;    /* the first, after the end */
	bool has_failed;                /* out of memory: nothing is known */
};
void decision_check_begin(struct decision_check *check, int64_t sealed);
/* In the order of their ids. */
void decision_check_record(struct decision_check *check, struct text id, struct text body);
/* After the last record: an entry's body; sequence 0: it waits. Entries of other things are passed over. */
void decision_check_entry(struct decision_check *check, int64_t sequence, struct text body);
/* After the last entry. */
void decision_check_end(struct decision_check *check);
void decision_check_free(struct decision_check *check);
