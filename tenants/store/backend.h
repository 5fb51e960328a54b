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

/* Tells of a record that was written or found; texts are borrowed. False: out of memory, what is under way must end
 * NO_MEMORY. */
typedef bool record_visit(void *context, const struct record *record);

/* The verdict on a put or delete: is the stored state what it expects? revision: of the record, when present;
 * has_owner: the ctx has a participant record. */
enum status change_judge(const struct change *change, bool is_present, int64_t revision, bool has_owner) MUST_CHECK;

/* The changes of one transaction. */
struct changes {
	const struct change *items;
	size_t count;
};

struct backend {
	/* Opens and migrates. */
	enum status (*open)(const struct store_settings *settings, void **database, struct buffer *error);
	void (*close)(void *database);
	/* All present records of the kinds that are loaded, in the order kind, then revision; *revision: the newest,
	 * tombstones included. */
	enum status (*load)(void *database, record_visit *visit, void *context, int64_t *revision);
	/* begin (takes the one write lock of all processes), poll, then for each transaction apply (all or nothing), then
	 * commit or roll back everything. apply: CONFLICT, NOT_FOUND and INVALID are verdicts on one transaction; after any
	 * other failure only rollback may follow. A begin or commit that fails leaves nothing open. */
	enum status (*begin)(void *database);
	/* May be NULL. After begin and poll: everything that will be applied, so that it can be looked up together.
	 * INVALID: somebody's bytes are refused, and only rollback may follow; begun anew with one transaction it is its
	 * verdict. */
	enum status (*gather)(void *database, const struct changes *all, size_t count);
	enum status (*apply)(void *database, const struct change *changes, size_t count, record_visit *visit, void *context,
		int64_t *revision);
	/* INVALID as for gather; nothing is left open. */
	enum status (*commit)(void *database);
	void (*rollback)(void *database);
	/* Records of other processes newer than `after`, tombstones with absent body; in or outside a begin. Cheap when
	 * there are none. */
	enum status (*poll)(void *database, int64_t after, record_visit *visit, void *context, int64_t *revision);
	/* Between begin and commit: tombstones that lie more than `keep` revisions behind go, some of them. A process whose
	 * newest revision is older than what went can no longer be told of what was deleted: its poll is STOPPED. */
	enum status (*prune)(void *database, int64_t keep);
	/* As store_list. */
	enum status (*list)(void *database, struct text ctx, enum record_kind kind, struct text after, size_t limit,
		record_visit *visit, void *context);
	/* As store_read; ids: a JSON array of texts, NUL-terminated. */
	enum status (*read)(
		void *database, struct text ctx, enum record_kind kind, struct text ids, record_visit *visit, void *context);
	bool (*is_healthy)(const void *database);
};
extern const struct backend backend_sqlite, backend_postgres;
