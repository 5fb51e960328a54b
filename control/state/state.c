/* Records of the store become turns of one worker. */
#include "control/state/state.h"
#include "server/worker_pool.h"

#include <pthread.h>
#include <stdlib.h>

enum { WATCHERS_MAX = 32 };

struct watcher {
	enum record_kind kind;
	void (*on_record)(void *context, const struct record *record);
	void (*on_batch)(void *context);
	void *context;
};

/* A record on its way to the worker, its texts behind it. */
struct news {
	struct news *next;
	struct record record;
	char bytes[];
};

/* What one commit, or one look at what others committed, has changed: told in one turn, as nobody may see half of it.
 */
struct batch {
	struct task task;
	struct state *state;
	struct news *first, **end;
};

struct state {
	struct store *store;
	struct worker_pool *pool;
	pthread_t loader; /* the thread that opened: what it hears is the load, before any worker runs */
	struct watcher watchers[WATCHERS_MAX];
	size_t count;
	int64_t revision;    /* the newest that was told */
	struct batch *batch; /* being heard; the store's thread alone */
	bool is_watched[RECORD_KIND_COUNT];
};

static void tell(struct state *state, const struct record *record)
{
	if (record->revision > state->revision)
		state->revision = record->revision;
	for (size_t i = 0; i < state->count; i++) {
		if (state->watchers[i].kind == record->kind)
			state->watchers[i].on_record(state->watchers[i].context, record);
	}
}

static void tell_end(struct state *state)
{
	for (size_t i = 0; i < state->count; i++) {
		if (state->watchers[i].on_batch != NULL)
			state->watchers[i].on_batch(state->watchers[i].context);
	}
}

static void run(struct task *task)
{
	struct batch *batch = (struct batch *)task;
	for (struct news *news = batch->first, *next; news != NULL; news = next) {
		next = news->next;
		tell(batch->state, &news->record);
		free(news);
	}
	tell_end(batch->state);
	free(batch);
}

static char *keep(char *into, struct text *text)
{
	if (text->bytes == NULL)
		return into;
	memcpy(into, text->bytes, text->length);
	into[text->length] = 0;
	text->bytes = into;
	return into + text->length + 1;
}

static void gather(struct state *state, const struct record *record)
{
	struct news *news = malloc(sizeof(*news) + record->id.length + record->body.length + 2);
	if (state->batch == NULL && (state->batch = calloc(1, sizeof(*state->batch))) != NULL)
		*state->batch = (struct batch){.task = {.run = run}, .state = state, .end = &state->batch->first};
	if (news == NULL || state->batch == NULL)
		abort(); /* an index that has missed a change would decide wrongly for ever */
	news->next = NULL;
	news->record = *record;
	news->record.ctx = TEXT("");
	keep(keep(news->bytes, &news->record.id), &news->record.body);
	*state->batch->end = news;
	state->batch->end = &news->next;
}

static void on_record(void *context, const struct record *record)
{
	struct state *state = context;
	if (record->ctx.length != 0 || !state->is_watched[record->kind])
		return;
	if (pthread_equal(pthread_self(), state->loader))
		tell(state, record);
	else
		gather(state, record);
}

static void on_batch(void *context)
{
	struct state *state = context;
	struct batch *batch = state->batch;
	state->batch = NULL;
	if (pthread_equal(pthread_self(), state->loader))
		tell_end(state);
	else if (batch != NULL)
		worker_post(state_worker(state), &batch->task);
}

enum status state_open(struct store *store, struct worker_pool *pool, struct state **state)
{
	struct state *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->store = store;
	made->pool = pool;
	made->loader = pthread_self();
	store_listen(store, &(struct store_listener){on_record, on_batch, made});
	*state = made;
	return STATUS_OK;
}

void state_free(struct state *state)
{
	free(state);
}

void state_watch(struct state *state, enum record_kind kind,
	void (*on_record_)(void *context, const struct record *record), void (*on_batch_)(void *context), void *context)
{
	if (state->count == WATCHERS_MAX)
		abort();
	state->is_watched[kind] = true;
	state->watchers[state->count++] = (struct watcher){kind, on_record_, on_batch_, context};
}

bool state_put(
	struct transaction *transaction, enum record_kind kind, struct text id, struct text body, int64_t expected)
{
	return transaction_put(transaction, TEXT(""), kind, id, body, expected);
}

bool state_delete(struct transaction *transaction, enum record_kind kind, struct text id, int64_t expected)
{
	return transaction_delete(transaction, TEXT(""), kind, id, expected);
}

void state_submit(struct state *state, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision), void *context)
{
	store_submit(state->store, transaction, state_worker(state), done, context);
}

int64_t state_revision(const struct state *state)
{
	return state->revision;
}

struct store *state_store(struct state *state)
{
	return state->store;
}

struct worker *state_worker(struct state *state)
{
	return worker_pool_at(state->pool, 0);
}
