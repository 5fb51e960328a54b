/* What the transactions of one commit read and write, gathered so that PostgreSQL is asked once, for what is not known,
 * and told once: the last version of each record is written at the end. Private to this folder. Texts are the changes',
 * who outlive the commit. */
#pragma once

#include "tenants/store/memory.h"

struct batch_known {
	struct text ctx, id; /* id absent: does the ctx have its participant? */
	enum record_kind kind;
	bool is_asked;    /* the server must say */
	bool is_new;      /* taken for absent: the database refuses its row when it is not */
	bool is_dropped;  /* may go without a row that could be refused */
	int64_t revision; /* 0: there is none */
	uint32_t write;   /* the last one, + 1; 0: none */
};
struct batch_write {
	struct text body; /* absent: a tombstone */
	uint32_t known;
	int64_t revision;
	bool is_drop; /* the row goes, and leaves no trace */
};
struct batch_undo {
	uint32_t known, write;
	int64_t revision;
};

struct batch {
	bool is_gathered; /* what the transactions want is known here */
	struct batch_known *known;
	uint32_t known_count, known_room;
	uint32_t *table; /* open addressing: index + 1 */
	uint32_t table_room;
	struct batch_write *writes;
	uint32_t write_count, write_room;
	struct batch_undo *undo; /* of the transaction being applied */
	uint32_t undo_count, undo_room, undo_writes;
};

/* Can these be judged and written together? Not what deletes a ctx or a participant. */
bool batch_takes(const struct changes *changes);
/* Adds what they want to know, and what of it is remembered. is_doubtful: nothing is taken for absent. False: out of
 * memory. */
bool batch_gather(struct batch *batch, const struct changes *changes, const struct memory *memory, bool is_doubtful);

/* For applying, of what was gathered. False: out of memory. */
void batch_save(struct batch *batch);
void batch_undo(struct batch *batch);
void batch_judge(struct batch *batch, const struct change *change, struct found *found);
bool batch_write(struct batch *batch, const struct record *record);
bool batch_remove(struct batch *batch, struct text ctx, enum record_kind kind, struct text id);

/* Is it the last write of its record? */
static inline bool batch_is_last(const struct batch *batch, uint32_t write)
{
	return batch->known[batch->writes[write].known].write == write + 1;
}
void batch_clear(struct batch *batch);
void batch_free(struct batch *batch);

/* Arrays in PostgreSQL's binary form. */
void array_begin(struct buffer *into, uint32_t element_type, uint32_t count);
void array_text(struct buffer *into, struct text text); /* absent: NULL */
void array_number(struct buffer *into, int64_t number);
enum { ARRAY_TEXT = 25, ARRAY_BIGINT = 20 };
/* Rows for COPY, of the same elements. */
void copy_begin(struct buffer *into);
void copy_row(struct buffer *into, uint16_t columns);
void copy_end(struct buffer *into);
