/* The lease of leadership. */
#include "control/fabric/lease.h"

#include <stdlib.h>

#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/log.h"

enum { TTL_MS = 5000, RENEW_MS = 1500, MARGIN_MS = 500, STAGGER_MS = 400, OBSERVERS_MAX = 4 };

struct observer {
	void (*changed)(void *context, bool leads);
	void *context;
};

struct lease {
	struct state *state;
	char *name;
	uint64_t (*clock)(void);
	char self[ID_LENGTH + 1];
	uint64_t stagger_ms; /* so that not all try at once */
	/* the record, as last seen */
	int64_t revision, term, count;
	bool is_ours, is_free; /* free: nobody holds it */
	uint64_t seen_ms;
	/* what we did */
	uint64_t submitted_ms, until_ms, commit_ms;
	int64_t floor; /* terms up to it are others' */
	bool is_busy, is_held, is_released;
	struct observer observers[OBSERVERS_MAX];
	size_t observer_count;
};

static void say(struct lease *lease, bool is_held)
{
	if (lease->is_held == is_held)
		return;
	lease->is_held = is_held;
	LOG(INFO, "fabric.lease", log_text("name", text_of(lease->name)), log_bool("held", is_held),
		log_number("term", lease->term));
	for (size_t i = 0; i < lease->observer_count; i++)
		lease->observers[i].changed(lease->observers[i].context, is_held);
}

static void on_record(void *context, const struct record *record)
{
	struct lease *lease = context;
	struct json *root = NULL;
	if (!text_equals(record->id, text_of(lease->name)))
		return;
	lease->seen_ms = lease->clock();
	lease->revision = record->body.bytes == NULL ? REVISION_ABSENT : record->revision;
	lease->is_ours = false;
	lease->is_free = true;
	if (record->body.bytes == NULL || json_parse(record->body, NULL, &root) != STATUS_OK)
		return;
	struct text holder = json_member_text(root, "holder");
	lease->is_ours = text_equals(holder, text_of(lease->self));
	lease->is_free = holder.length == 0;
	if (!json_integer(json_member(root, "term"), &lease->term) ||
		!json_integer(json_member(root, "count"), &lease->count))
		lease->is_free = true;
	json_free(root);
	if (!lease->is_ours)
		say(lease, false);
}

enum status lease_open(struct state *state, const char *name, uint64_t (*clock)(void), struct lease **lease)
{
	struct lease *made = calloc(1, sizeof(*made));
	uint8_t random;
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->name = text_copy(text_of(name));
	if (made->name == NULL) {
		free(made);
		return STATUS_NO_MEMORY;
	}
	id_random(made->self);
	random_bytes(&random, sizeof(random));
	made->state = state;
	made->clock = clock;
	made->is_free = true;
	made->stagger_ms = (uint64_t)random * STAGGER_MS / 256;
	state_watch(state, RECORD_LEASE, on_record, NULL, made);
	*lease = made;
	return STATUS_OK;
}

void lease_observe(struct lease *lease, void (*changed)(void *context, bool leads), void *context)
{
	if (lease->observer_count == OBSERVERS_MAX)
		abort();
	lease->observers[lease->observer_count++] = (struct observer){changed, context};
}

static void on_put(void *context, enum status status, int64_t revision)
{
	struct lease *lease = context;
	(void)revision; /* the record was seen before */
	lease->is_busy = false;
	lease->commit_ms = lease->clock() - lease->submitted_ms;
	if (status != STATUS_OK || !lease->is_ours || lease->is_released || lease->term <= lease->floor)
		return;
	lease->until_ms = lease->submitted_ms + TTL_MS - MARGIN_MS;
	if (lease->clock() < lease->until_ms)
		say(lease, true);
}

static void put(struct lease *lease, const char *holder, int64_t term)
{
	struct transaction *transaction = transaction_new();
	struct buffer body = {0};
	buffer_printf(&body, "{\"holder\":\"%s\",\"term\":%lld,\"count\":%lld}", holder, (long long)term,
		(long long)lease->count + 1);
	bool is_made = transaction != NULL && !body.failed &&
				   state_put(transaction, RECORD_LEASE, text_of(lease->name), buffer_text(&body), lease->revision);
	buffer_free(&body);
	if (!is_made) {
		transaction_free(transaction);
		return;
	}
	lease->submitted_ms = lease->clock();
	lease->is_busy = true;
	state_submit(lease->state, transaction, on_put, lease);
}

void lease_tick(struct lease *lease)
{
	uint64_t now = lease->clock();
	if (lease->is_held && now >= lease->until_ms)
		say(lease, false);
	if (lease->is_busy || lease->is_released)
		return;
	/* a term is one holding: who has let it end begins another, as somebody else may have wanted to know */
	if (lease->is_held) {
		if (now - lease->submitted_ms >= RENEW_MS)
			put(lease, lease->self, lease->term);
	} else if (lease->is_free || lease->is_ours || now - lease->seen_ms >= TTL_MS + lease->stagger_ms) {
		put(lease, lease->self, (lease->term > lease->floor ? lease->term : lease->floor) + 1);
	}
}

void lease_raise(struct lease *lease, int64_t term)
{
	lease->floor = term > lease->floor ? term : lease->floor;
	if (lease->term <= lease->floor)
		say(lease, false);
}

uint64_t lease_commit_ms(const struct lease *lease)
{
	return lease->is_busy ? lease->clock() - lease->submitted_ms : lease->commit_ms;
}

void lease_release(struct lease *lease)
{
	bool was_held = lease->is_held;
	lease->is_released = true;
	say(lease, false);
	if (was_held)
		put(lease, "", lease->term);
}

bool lease_is_held(const struct lease *lease)
{
	return lease->is_held && lease->clock() < lease->until_ms;
}

int64_t lease_term(const struct lease *lease)
{
	return lease->term;
}

void lease_free(struct lease *lease)
{
	if (lease == NULL)
		return;
	free(lease->name);
	free(lease);
}
