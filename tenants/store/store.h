/* The record of the cell: documents keyed by (ctx, kind, id), each with a revision, in SQLite (one file, the default)
 * or PostgreSQL. Small and asynchronous: changes are submitted as a transaction, committed by the store's own thread
 * (several waiting transactions share one commit), told to the listener in commit order, and completed on the caller's
 * worker.
 *
 * The store's thread is the only writer of everything in memory that is made from records: the listener is called with
 * each record at load (on the loading thread), after each commit of this process, and after commits of other processes
 * on the same database, always in revision order. A process that could not look for so long that deletions it has not
 * heard of are forgotten ends (SIGTERM): what it has in memory cannot be mended. A transaction is completed only after
 * a worker_pool_barrier behind its listener calls: whoever asked may rely on every worker seeing the change. */
#pragma once

#include "server/base/config.h"
#include "server/base/text.h"
#include "server/worker.h"

struct store;

/* kind: the name stored, and whether it is loaded. What a row of it holds is said in the room that owns it. A kind that
 * is read on demand may have very many records: no listener is told of them, neither at load nor of changes; store_list
 * reads them; deleted, they leave no trace, and deleting one that is not there is fine. A kind that passes is loaded
 * and told of, but deleted it leaves no trace either, since it has many records with ids that never come back: other
 * processes on the database hear of what is put, not of what is deleted, and must see by themselves that a record is
 * over. */
#define RECORD_LIST(X)                                                                                                 \
	X(PARTICIPANT, "participant", LOADED)                                                                              \
	X(PARTICIPANT_CONFIG, "participant_config", LOADED)                                                                \
	X(EARLY_CONFIG, "early_config", ON_DEMAND)                                                                         \
	X(KEY, "key", LOADED)                                                                                              \
	X(DATASET, "dataset", LOADED)                                                                                      \
	X(FLOW, "flow", LOADED)                                                                                            \
	X(REVOCATION, "revocation", LOADED)                                                                                \
	X(CONTROL_PLANE, "control_plane", LOADED)                                                                          \
	X(OUTBOX, "outbox", LOADED)                                                                                        \
	X(AGREEMENT, "agreement", LOADED)                                                                                  \
	X(TRANSFER_TYPES, "transfer_types", LOADED)                                                                        \
	X(KEY_MAPPING, "key_mapping", LOADED)                                                                              \
	X(RENEWAL, "renewal", LOADED)                                                                                      \
	X(BOOK, "book", LOADED)                                                                                            \
	X(RECEIPT, "receipt", ON_DEMAND)                                                                                   \
	X(PUSH, "push", LOADED)                                                                                            \
	X(TOKEN, "token", PASSING)                                                                                         \
	X(DATA_PLANE, "data_plane", LOADED)                                                                                \
	X(CELL_STATE, "cell_state", LOADED)                                                                                \
	X(BRAKE, "brake", LOADED)                                                                                          \
	X(VPA, "vpa", LOADED)                                                                                              \
	X(TENANT, "tenant", LOADED)                                                                                        \
	X(CELL, "cell", LOADED)                                                                                            \
	X(CELL_NAME, "cell_name", LOADED)                                                                                  \
	X(CELL_CAPACITY, "cell_capacity", LOADED)                                                                          \
	X(JOIN_TOKEN, "join_token", LOADED)                                                                                \
	X(DATASPACE_PROFILE, "dataspace_profile", LOADED)                                                                  \
	X(PARTICIPANT_PROFILE, "participant_profile", LOADED)                                                              \
	X(DECISION, "decision", ON_DEMAND)                                                                                 \
	X(COMMAND, "command", LOADED)                                                                                      \
	X(PARKED, "parked", LOADED)                                                                                        \
	X(LETTER, "letter", LOADED)                                                                                        \
	X(ACTIVITY_DEFINITION, "activity_definition", LOADED)                                                              \
	X(ORCHESTRATION_DEFINITION, "orchestration_definition", LOADED)                                                    \
	X(ORCHESTRATION, "orchestration", LOADED)                                                                          \
	X(LEASE, "lease", LOADED)                                                                                          \
	X(AUDIT, "audit", ON_DEMAND)                                                                                       \
	X(AUDIT_CHAIN, "audit_chain", LOADED)

enum record_kind {
#define RECORD_MEMBER(name, text, loading) RECORD_##name,
	RECORD_LIST(RECORD_MEMBER)
#undef RECORD_MEMBER
		RECORD_KIND_COUNT
};
const char *record_kind_name(enum record_kind kind);
bool record_kind_is_loaded(enum record_kind kind);
bool record_kind_passes(enum record_kind kind);

struct record {
	struct text ctx; /* 32 hex, or "" for what belongs to the cell itself */
	enum record_kind kind;
	struct text id;
	int64_t revision; /* of the last change; grows over the whole store */
	struct text body; /* JSON; absent: the record was deleted */
};

struct store_listener {
	/* Texts are borrowed for the call. */
	void (*on_record)(void *context, const struct record *record);
	/* After the last record of a load, a commit or a foreign change: publish what was built. */
	void (*on_batch)(void *context);
	void *context;
};

enum { REVISION_ANY = -1, REVISION_ABSENT = 0 };

/* A transaction: built on any thread, then owned by the store once submitted. */
struct transaction;
struct transaction *transaction_new(void);
void transaction_free(struct transaction *transaction); /* only when not submitted */
/* `expected`: REVISION_ANY, REVISION_ABSENT (must not exist) or the exact revision; else the whole transaction is
 * CONFLICT (NOT_FOUND when the record to delete or to match is absent). What is put into a ctx, other than the
 * participant itself, needs the ctx's participant record, else NOT_FOUND: nothing comes back after a delete. INVALID:
 * the database refuses these bytes. Copies. False when out of memory. */
bool transaction_put(struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id,
	struct text body, int64_t expected);
bool transaction_delete(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected);
/* Changes nothing: the transaction holds only while this record has that revision (or is REVISION_ABSENT). */
bool transaction_expect(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected);
/* Deletes every record of the ctx, of all kinds. */
bool transaction_delete_ctx(struct transaction *transaction, struct text ctx);

/* Section "store". */
enum store_backend { STORE_SQLITE, STORE_POSTGRES };
struct store_settings {
	int backend;
	char *file;            /* SQLite; default: <state directory>/cell.db */
	char *connection_file; /* PostgreSQL: a file (mode 0600) holding the libpq connection string, so that no password is
							  in argv or config */
	int64_t queued_transactions; /* bound: 4,096; over it submissions end UNAVAILABLE */
	int64_t poll_ms;             /* SQLite: how often to look for other processes' commits: 200 */
	int64_t tombstones;          /* how many revisions long a deleted record is remembered; 0: the default, 1,000,000 */
	int64_t statement_ms;        /* PostgreSQL statement timeout, and the wait for another process's lock: 5 s */
};
extern const struct setting store_settings_table[];
extern const size_t store_settings_count;

/* Opens, migrates (numbered, under a lock; a schema newer than this binary is refused), does not start the thread.
 * `pool` is for completions; may be NULL in tests (then completions run on the store's thread). */
enum status store_open(const struct store_settings *settings, struct worker_pool *pool, struct store **store,
	struct buffer *error) MUST_CHECK;
/* At most 8 listeners, added before store_load. */
void store_listen(struct store *store, const struct store_listener *listener);
/* Reads what is loaded on the calling thread, in the order kind, then revision; then starts the store's thread. */
enum status store_load(struct store *store, struct buffer *error) MUST_CHECK;
/* From any thread. `done` runs on `worker` (NULL: on the store's thread) exactly once. revision: of this commit. */
void store_submit(struct store *store, struct transaction *transaction, struct worker *worker,
	void (*done)(void *context, enum status status, int64_t revision), void *context);
/* From any thread: the records of one kind of a ctx whose ids come after `after` (absent: all), in the order the
 * database gives ids, at most `limit`. `done` runs on `worker` (NULL: on the store's thread) exactly once; the records
 * are borrowed for the call. What was submitted before by the same thread is seen. */
void store_list(struct store *store, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context);
/* As store_list: those of one kind of a ctx that have these ids, as many as there are, in no order. */
void store_read(struct store *store, struct text ctx, enum record_kind kind, const struct text *ids, size_t count,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context);
/* False while the database cannot be reached (readiness of the management side; the data path does not care). */
bool store_is_healthy(const struct store *store);
/* Finishes what is queued and stops the thread; whoever asks from then on is told UNAVAILABLE. For who ends the store
 * while workers run, whose turns may still ask it. From one thread, not a worker's. */
void store_finish(struct store *store);
/* Finishes it, closes, frees. */
void store_close(struct store *store);
