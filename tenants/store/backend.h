/* What a database implements for the store: private to this folder. All calls come from one thread at a time. */
#pragma once

#include "tenants/store/store.h"

enum change_kind { CHANGE_PUT, CHANGE_DELETE, CHANGE_DELETE_CTX, CHANGE_EXPECT };

/* One wish of a transaction; texts are the transaction's. */
struct change {
	enum change_kind kind;
	enum record_kind record;
	struct text ctx, id, body;
	int64_t expected;
};

/* The changes of one transaction. */
struct changes {
	const struct change *items;
	size_t count;
};

/* What is stored of the record of a change. */
struct found {
	int64_t revision; /* 0: it is not present */
	bool has_owner;   /* the ctx has a participant record */
};

/* False: no kind of this program. */
bool record_kind_find(struct text name, enum record_kind *kind);

/* Tells of a record that was written or found; texts are borrowed. False: out of memory, what is under way must end
 * NO_MEMORY. */
typedef bool record_visit(void *context, const struct record *record);

struct backend {
	/* Opens and migrates. */
	enum status (*open)(const struct store_settings *settings, void **database, struct buffer *error);
	void (*close)(void *database);
	/* All present records of the kinds that are loaded, in the order kind, then revision; *revision: the newest,
	 * tombstones included. */
	enum status (*load)(void *database, record_visit *visit, void *context, int64_t *revision);
	/* May be NULL. The listeners were told of this record, by a load, a commit or a poll: it is what is stored. */
	void (*told)(void *database, const struct record *record);

	/* begin (takes the one write lock of all processes), poll, gather, then each transaction is applied (apply.h), then
	 * commit or roll back everything. A begin or commit that fails leaves nothing open. */
	enum status (*begin)(void *database);
	/* May be NULL. Everything that will be applied, so that it can be looked up together. INVALID: somebody's bytes are
	 * refused, and only rollback may follow; begun anew with one transaction it is its verdict. */
	enum status (*gather)(void *database, const struct changes *all, size_t count);
	/* INVALID as for gather. CONFLICT: what was taken for granted without a look is not so; begun anew with the same
	 * it will look. */
	enum status (*commit)(void *database);
	void (*rollback)(void *database);
	/* Records of other processes newer than `after`, tombstones with absent body; in or outside a begin. Cheap when
	 * there are none. */
	enum status (*poll)(void *database, int64_t after, record_visit *visit, void *context, int64_t *revision);
	/* Between begin and commit: tombstones that lie more than `keep` revisions behind go, some of them. A process whose
	 * newest revision is older than what went can no longer be told of what was deleted: its poll is STOPPED. */
	enum status (*prune)(void *database, int64_t keep);

	/* For applying one transaction. save: what follows can be undone until release. A release that fails, and any
	 * failure but INVALID of the others, leave only rollback. */
	enum status (*save)(void *database);
	enum status (*release)(void *database, bool is_undone);
	enum status (*find)(void *database, const struct change *change, struct found *found);
	/* Over what there is; body absent: a tombstone. Gives it its revision. */
	enum status (*write)(void *database, struct record *record);
	/* The row goes, and leaves no trace; id absent: all of the kind. Fine when there is none. */
	enum status (*drop)(void *database, struct text ctx, enum record_kind kind, struct text id);
	/* All that is present. */
	enum status (*of_ctx)(void *database, struct text ctx, record_visit *visit, void *context);

	/* As store_list. */
	enum status (*list)(void *database, struct text ctx, enum record_kind kind, struct text after, size_t limit,
		record_visit *visit, void *context);
	/* As store_read; ids: a JSON array of texts, NUL-terminated. */
	enum status (*read)(
		void *database, struct text ctx, enum record_kind kind, struct text ids, record_visit *visit, void *context);
	bool (*is_healthy)(const void *database);
};
extern const struct backend backend_sqlite, backend_postgres;
