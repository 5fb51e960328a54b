/* Letters: one lane a subject, one letter of it under way at a time, so that order needs no more than that. */
#include "control/fabric/letters_private.h"

#include <stdlib.h>

#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/map.h"

enum { PAUSE_MS = 100, PAUSE_MAX_MS = 10000, ADOPT_MS = 5000, TICK_MS = 1000 };

struct lane {
	struct lane *next;
	struct letters *letters;
	struct letter_queue queue;
	struct timer *timer;
	uint64_t pause_ms; /* 0: the last one went well */
	enum status status;
	char subject[];
};

struct letters {
	struct state *state;
	struct bus *bus;
	struct map *by_id;
	struct lane *lanes; /* a handful: one for each subject */
	struct letter_queue others, sent;
	struct timer *tick;
	struct task start;
	bool is_running; /* the worker has begun: what comes now is news */
	bool is_held;
};

/* --- sending */

static void lane_send(struct lane *lane);

/* What the bus or the store does with a letter; it may end after the letter's record has gone. */
struct errand {
	struct letters *letters;
	struct letter *letter;
};

static struct errand *errand_new(struct letters *letters, struct letter *letter)
{
	struct errand *errand = malloc(sizeof(*errand));
	if (errand != NULL) {
		*errand = (struct errand){letters, letter};
		letter->is_under_way = true;
	}
	return errand;
}

static struct letter *errand_end(struct errand *errand)
{
	struct letter *letter = errand->letter;
	letter->is_under_way = false;
	free(errand);
	return letter;
}

static void letter_gone(struct letters *letters, struct text id)
{
	struct letter *letter = map_find(letters->by_id, id);
	struct map *next;
	if (letter == NULL || map_remove(letters->by_id, id, &next) != STATUS_OK)
		return; /* out of memory: it is deleted once more at the next tick */
	map_retire(letters->by_id);
	letters->by_id = next;
	letter->is_gone = true;
	if (letter->is_under_way && letter->lane != NULL)
		return; /* it keeps its place in the lane until the bus has answered */
	letter_queue_remove(letter->lane != NULL ? &letter->lane->queue : &letters->others, letter);
	letter_queue_remove(&letters->sent, letter);
	if (!letter->is_under_way)
		letter_discard(letter);
}

static void on_deleted(void *context, enum status status, int64_t revision)
{
	struct errand *errand = context;
	struct letters *letters = errand->letters;
	struct letter *letter = errand_end(errand);
	(void)revision;
	if (letter->is_gone)
		letter_discard(letter);
	else if (status == STATUS_NOT_FOUND)
		letter_gone(letters, text_of(letter->id));
	else if (status != STATUS_OK) /* it is tried again at the next tick */
		LOG(WARNING, "letter.kept", log_text("letter", text_of(letter->id)),
			log_text("why", text_of(status_text(status))));
}

/* A letter the stream has: its record goes. */
static void letter_delete(struct letters *letters, struct letter *letter)
{
	struct transaction *transaction = transaction_new();
	struct errand *errand = NULL;
	if (transaction != NULL && state_delete(transaction, RECORD_LETTER, text_of(letter->id), REVISION_ANY))
		errand = errand_new(letters, letter);
	if (errand == NULL) {
		transaction_free(transaction);
		return;
	}
	state_submit(letters->state, transaction, on_deleted, errand);
}

static void lane_pause(struct lane *lane, enum status status)
{
	lane->status = status;
	lane->pause_ms = lane->pause_ms == 0 ? PAUSE_MS : lane->pause_ms * 2;
	if (lane->pause_ms > PAUSE_MAX_MS)
		lane->pause_ms = PAUSE_MAX_MS;
	timer_set(lane->timer, lane->pause_ms);
}

static void on_published(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct errand *errand = context;
	struct letters *letters = errand->letters;
	struct letter *letter = errand_end(errand);
	struct lane *lane = letter->lane;
	(void)sequence, (void)is_duplicate;
	if (status != STATUS_OK && !letter->is_gone) {
		if (lane->pause_ms == 0)
			LOG(WARNING, "letter.waits", log_text("subject", text_of(lane->subject)),
				log_text("letter", text_of(letter->id)), log_text("why", text_of(status_text(status))));
		lane_pause(lane, status);
		return;
	}
	letter_queue_remove(&lane->queue, letter);
	letter->lane = NULL;
	lane->pause_ms = 0;
	lane->status = STATUS_OK;
	if (letter->is_gone) {
		letter_discard(letter);
	} else {
		letter_queue_add(&letters->sent, letter);
		letter_delete(letters, letter);
	}
	lane_send(lane);
}

static void lane_send(struct lane *lane)
{
	struct letter *letter = lane->queue.first;
	if (letter == NULL || letter->is_under_way || lane->letters->is_held)
		return;
	struct errand *errand = errand_new(lane->letters, letter);
	if (errand == NULL) {
		lane_pause(lane, STATUS_NO_MEMORY);
		return;
	}
	const struct trace trace = trace_read(json_member(letter->body, "trace"));
	const struct bus_header headers[] = {{TEXT("traceparent"), trace.parent}, {TEXT("tracestate"), trace.state}};
	size_t header_count = (size_t)(trace.parent.length > 0) + (trace.state.length > 0);
	bus_publish(lane->letters->bus, text_of(lane->subject), text_of(letter->id), headers, header_count,
		json_member_text(letter->body, "body"), on_published, errand);
}

static void on_lane_timer(void *context)
{
	lane_send(context);
}

static struct lane *lane_of(struct letters *letters, struct text subject)
{
	struct lane *lane = letters->lanes;
	while (lane != NULL && !text_equals(text_of(lane->subject), subject))
		lane = lane->next;
	if (lane != NULL)
		return lane;
	lane = calloc(1, sizeof(*lane) + subject.length + 1);
	if (lane == NULL)
		return NULL;
	memcpy(lane->subject, subject.bytes, subject.length);
	lane->letters = letters;
	lane->timer = timer_new(state_worker(letters->state), on_lane_timer, lane);
	if (lane->timer == NULL) {
		free(lane);
		return NULL;
	}
	lane->next = letters->lanes;
	letters->lanes = lane;
	return lane;
}

/* Ours to send from now on. False: out of memory, to be tried again. */
static bool letter_take(struct letters *letters, struct letter *letter)
{
	letter->lane = lane_of(letters, json_member_text(letter->body, "subject"));
	if (letter->lane == NULL)
		return false;
	letter_queue_add(&letter->lane->queue, letter);
	return true;
}

/* --- records */

static void on_record(void *context, const struct record *record)
{
	struct letters *letters = context;
	if (record->body.bytes == NULL) {
		letter_gone(letters, record->id);
		return;
	}
	if (map_find(letters->by_id, record->id) != NULL)
		return; /* never changed; told again by the store's overlap of load and changes */
	struct letter *letter = letter_read(record);
	if (letter == NULL)
		return;
	if (map_load(letters->by_id, record->id, letter) != STATUS_OK) {
		LOG(ERROR, "letter.unreadable", log_text("letter", record->id), log_text("why", TEXT("out of memory")));
		letter_discard(letter);
		return;
	}
	bool is_own = letter_is_own(letter);
	/* Those that were there before us: their writer may be ourselves, before a restart. */
	if ((is_own || !letters->is_running) && letter_take(letters, letter))
		return;
	letter->since_ms = letters->is_running ? worker_now_ms(state_worker(letters->state)) : 0;
	letter_queue_add(&letters->others, letter);
}

static void send_all(struct letters *letters)
{
	for (struct lane *lane = letters->lanes; lane != NULL; lane = lane->next) {
		if (lane->pause_ms == 0)
			lane_send(lane);
	}
}

static void on_batch(void *context)
{
	struct letters *letters = context;
	if (letters->is_running)
		send_all(letters);
}

/* --- the clock's part */

static void on_tick(void *context)
{
	struct letters *letters = context;
	uint64_t now = worker_now_ms(state_worker(letters->state));
	for (struct letter *letter = letters->others.first, *next; letter != NULL; letter = next) {
		next = letter->next;
		if (now - letter->since_ms < ADOPT_MS)
			continue;
		letter_queue_remove(&letters->others, letter);
		if (!letter_take(letters, letter))
			letter_queue_add(&letters->others, letter);
		if (letter->lane == NULL)
			break;
	}
	for (struct letter *letter = letters->sent.first; letter != NULL; letter = letter->next) {
		if (!letter->is_under_way)
			letter_delete(letters, letter);
	}
	send_all(letters);
	timer_set(letters->tick, TICK_MS);
}

static void on_bus(void *context, bool is_up)
{
	struct letters *letters = context;
	for (struct lane *lane = is_up ? letters->lanes : NULL; lane != NULL; lane = lane->next) {
		lane->pause_ms = 0;
		timer_cancel(lane->timer);
		lane_send(lane);
	}
}

void letters_hold(struct letters *letters, bool is_held)
{
	letters->is_held = is_held;
	for (struct lane *lane = letters->lanes; lane != NULL && !is_held && letters->is_running; lane = lane->next)
		lane_send(lane);
}

static void on_start(struct task *task)
{
	struct letters *letters = (struct letters *)((char *)task - offsetof(struct letters, start));
	letters->is_running = true;
	on_tick(letters);
}

enum status letters_open(struct state *state, struct bus *bus, struct letters **letters)
{
	struct letters *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->state = state;
	made->bus = bus;
	made->start.run = on_start;
	made->by_id = map_new();
	made->tick = timer_new(state_worker(state), on_tick, made);
	if (made->by_id == NULL || made->tick == NULL) {
		map_free(made->by_id);
		timer_free(made->tick);
		free(made);
		return STATUS_NO_MEMORY;
	}
	bus_on_state(bus, on_bus, made);
	state_watch(state, RECORD_LETTER, on_record, on_batch, made);
	worker_post(state_worker(state), &made->start);
	*letters = made;
	return STATUS_OK;
}

static bool free_one(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	letter_discard(value);
	return true;
}

void letters_free(struct letters *letters)
{
	if (letters == NULL)
		return;
	map_each(letters->by_id, free_one, NULL);
	map_free(letters->by_id);
	while (letters->lanes != NULL) {
		struct lane *lane = letters->lanes;
		letters->lanes = lane->next;
		timer_free(lane->timer);
		free(lane);
	}
	timer_free(letters->tick);
	free(letters);
}

/* --- for people */

size_t letters_waiting(const struct letters *letters)
{
	return map_count(letters->by_id);
}

void letters_line(const struct letters *letters, struct buffer *into)
{
	if (map_count(letters->by_id) == 0) {
		buffer_append(into, TEXT("no letters wait"));
		return;
	}
	buffer_printf(into, "%zu letters wait", map_count(letters->by_id));
	if (letters->is_held) {
		buffer_append(into, TEXT("; none is sent while the database is behind its cells"));
		return;
	}
	for (const struct lane *lane = letters->lanes; lane != NULL; lane = lane->next) {
		if (lane->status == STATUS_OK)
			continue;
		buffer_printf(into, ": %s: %s", lane->subject, status_text(lane->status));
		break;
	}
}
