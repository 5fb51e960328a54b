/* A silent cell: its ingress is tried, and others are asked: the other replicas whether they hear it or reach its
 * ingress, and some cells whether they reach it (control.md 2.5). The same questions of other replicas are answered. */
#include <stdlib.h>

#include "control/command/doubt_message.h"
#include "control/fabric/fleet/fleet_private.h"
#include "server/base/clock.h"
#include "server/client.h"

enum { PROBE_MS = 1500 };

/* --- words to others */

static void send_message(struct fleet *fleet, const struct buffer *subject, const struct buffer *body)
{
	if (!subject->failed && !body->failed)
		bus_send(fleet->bus, buffer_text(subject), NULL, 0, buffer_text(body)); /* lost: asked again */
}

static void send_view(struct fleet *fleet, const char *asker, uint32_t number, const char *cell, bool is_alive)
{
	struct buffer subject = {0}, body = {0};
	struct doubt_answer answer = {.number = number, .is_alive = is_alive};
	buffer_printf(&subject, DOUBT_VIEW_SUBJECT "%s.%s", asker, fleet->self);
	snprintf(answer.cell, sizeof(answer.cell), "%s", cell);
	doubt_answer_print(&answer, &body);
	send_message(fleet, &subject, &body);
	buffer_free(&subject);
	buffer_free(&body);
}

/* --- its ingress: any answer at all shows that it lives */

struct probe {
	struct fleet *fleet;
	uint32_t slot;
	struct client_call *call;
	uint32_t number;           /* of another replica's question */
	char asker[ID_LENGTH + 1]; /* "": we ask ourselves */
};

static void probe_free(struct probe *probe)
{
	watched_of(probe->fleet, probe->slot)->probe = NULL;
	client_call_close(probe->call);
	free(probe);
}

static void end_probe(struct probe *probe, bool is_alive)
{
	struct fleet *fleet = probe->fleet;
	const struct cell_record *cell = cells_at(fleet->uses.cells, probe->slot);
	if (probe->asker[0] == 0)
		monitor_probed(fleet->monitor, probe->slot, is_alive, clock_boot_ms());
	else if (cell != NULL)
		send_view(fleet, probe->asker, probe->number, cell->external_id, is_alive);
	probe_free(probe);
}

static void on_probe_head(void *state, struct client_call *call, const struct client_response *response)
{
	(void)call, (void)response;
	end_probe(state, true);
}

static void on_probe_failed(void *state, struct client_call *call, enum status why)
{
	struct probe *probe = state;
	(void)call;
	if (why == STATUS_FORBIDDEN && probe->asker[0] != 0)
		probe_free(probe); /* it was not tried: that is no word */
	else
		end_probe(probe, false);
}

static void on_probe_event(void *state, struct client_call *call)
{
	(void)state, (void)call; /* the head is all that counts */
}

static const struct client_events probe_events = {.on_head = on_probe_head,
	.on_readable = on_probe_event,
	.on_writable = on_probe_event,
	.on_failed = on_probe_failed};

static const char *ingress_of(const struct cell_record *cell)
{
	return cell->definition == NULL ? NULL : cell->definition->ingress;
}

/* For `asker`, or (NULL) for ourselves. False: it has none, or cannot be tried now. */
static bool start_probe(struct fleet *fleet, const struct cell_record *cell, const struct doubt_question *asker)
{
	const struct address_rules rules = {fleet->probe_networks, fleet->probe_network_count};
	struct buffer text = {0};
	struct url url;
	struct probe *probe = ingress_of(cell) == NULL ? NULL : calloc(1, sizeof(*probe));
	bool is_started = false;
	if (probe != NULL)
		buffer_printf(&text, "%s/health", ingress_of(cell));
	if (probe != NULL && !text.failed && url_parse(buffer_text(&text), &url) == STATUS_OK) {
		const struct client_request request = {
			.tenant = TEXT("fabric"), .url = &url, .method = TEXT("GET"), .rules = &rules, .read_ms = PROBE_MS};
		*probe = (struct probe){.fleet = fleet, .slot = cell->slot};
		if (asker != NULL) {
			probe->number = asker->number;
			memcpy(probe->asker, asker->from, sizeof(probe->asker));
		}
		is_started = client_call_start(state_worker(fleet->uses.state), &request, &probe_events, probe, &probe->call) ==
					 STATUS_OK;
	}
	if (is_started)
		watched_of(fleet, cell->slot)->probe = probe;
	else
		free(probe);
	buffer_free(&text);
	return is_started;
}

/* --- our questions */

static void ask_others(struct fleet *fleet, const struct cell_record *cell, const struct monitor_question *question)
{
	struct doubt_question asked = {.number = question->number};
	struct buffer body = {0};
	const char *ingress = ingress_of(cell);
	memcpy(asked.from, fleet->self, sizeof(asked.from));
	snprintf(asked.cell, sizeof(asked.cell), "%s", cell->external_id);
	asked.url = ingress == NULL ? TEXT_NONE : text_of(ingress);
	doubt_question_print(&asked, &body);
	if (!body.failed)
		bus_send(fleet->bus, TEXT(DOUBT_SUBJECT), NULL, 0, buffer_text(&body));
	for (unsigned i = 0; i < question->count && ingress != NULL; i++) {
		const struct cell_record *other = cells_at(fleet->uses.cells, question->cells[i]);
		struct buffer subject = {0};
		if (other == NULL)
			continue;
		buffer_printf(&subject, DOUBT_PROBE_SUBJECT "%s", other->external_id);
		send_message(fleet, &subject, &body);
		buffer_free(&subject);
	}
	buffer_free(&body);
}

void doubts_ask(void *context, uint32_t slot, const struct monitor_question *question)
{
	struct fleet *fleet = context;
	const struct cell_record *cell = cells_at(fleet->uses.cells, slot);
	if (cell != NULL && fleet->bus != NULL)
		ask_others(fleet, cell, question);
	if (watched_of(fleet, slot)->probe == NULL && (cell == NULL || !start_probe(fleet, cell, NULL)))
		monitor_probed(fleet->monitor, slot, false, clock_boot_ms());
}

/* --- their answers */

/* The last token of an answer's subject: who speaks, as the broker has checked. */
static struct text speaker(const struct bus_message *message)
{
	size_t begin = message->subject.length;
	while (begin > 0 && message->subject.bytes[begin - 1] != '.')
		begin--;
	return text_slice(message->subject, begin, message->subject.length);
}

/* NULL: it makes no sense, or is about nobody we know. */
static const struct cell_record *read_answer(
	const struct fleet *fleet, const struct bus_message *message, struct doubt_answer *answer)
{
	if (doubt_answer_parse(message->body, answer) != STATUS_OK)
		return NULL;
	return cells_find_external(fleet->uses.cells, text_of(answer->cell));
}

static void on_word(void *context, const struct bus_message *message)
{
	struct fleet *fleet = context;
	struct doubt_answer answer;
	const struct cell_record *cell = read_answer(fleet, message, &answer);
	const struct cell_record *by = cells_find_external(fleet->uses.cells, speaker(message));
	if (cell != NULL && by != NULL)
		monitor_told_by_cell(fleet->monitor, cell->slot, answer.number, by->slot, answer.is_alive, clock_boot_ms());
}

static void on_view(void *context, const struct bus_message *message)
{
	struct fleet *fleet = context;
	struct doubt_answer answer;
	const struct cell_record *cell = read_answer(fleet, message, &answer);
	struct text by = speaker(message);
	if (cell != NULL && id_is_valid(by))
		monitor_told_by_replica(
			fleet->monitor, cell->slot, answer.number, text_hash(by), answer.is_alive, clock_boot_ms());
}

/* --- questions of other replicas */

static void answer_question(struct fleet *fleet, const struct doubt_question *question)
{
	const struct cell_record *cell = cells_find_external(fleet->uses.cells, text_of(question->cell));
	if (cell == NULL)
		return;
	enum health_reach view = monitor_view(fleet->monitor, cell->slot, clock_boot_ms());
	if (view == REACH_YES || (view == REACH_NO && ingress_of(cell) == NULL))
		send_view(fleet, question->from, question->number, question->cell, view == REACH_YES);
	else if (view == REACH_NO && watched_of(fleet, cell->slot)->probe == NULL)
		(void)start_probe(fleet, cell, question); /* who cannot try says nothing */
}

static void on_doubt(void *context, const struct bus_message *message)
{
	struct fleet *fleet = context;
	struct doubt_question question;
	if (doubt_question_parse(message->body, &question) != STATUS_OK)
		return;
	if (strcmp(question.from, fleet->self) != 0)
		answer_question(fleet, &question);
	doubt_question_free(&question);
}

/* --- life */

static struct bus_subscription *subscribe_own(
	struct fleet *fleet, const char *prefix, void (*on_message)(void *context, const struct bus_message *message))
{
	struct buffer subject = {0};
	buffer_printf(&subject, "%s%s.*", prefix, fleet->self);
	struct bus_subscription *made =
		subject.failed ? NULL : bus_subscribe(fleet->bus, buffer_text(&subject), on_message, fleet);
	buffer_free(&subject);
	return made;
}

void doubts_start(struct fleet *fleet)
{
	fleet->doubts = bus_subscribe(fleet->bus, TEXT(DOUBT_SUBJECT), on_doubt, fleet);
	fleet->views = subscribe_own(fleet, DOUBT_VIEW_SUBJECT, on_view);
	fleet->words = subscribe_own(fleet, DOUBT_WORD_SUBJECT, on_word);
}

void doubts_stop(struct fleet *fleet)
{
	struct bus_subscription **const subscriptions[] = {&fleet->doubts, &fleet->views, &fleet->words};
	for (size_t i = 0; i < sizeof(subscriptions) / sizeof(subscriptions[0]); i++) {
		if (*subscriptions[i] != NULL)
			bus_unsubscribe(*subscriptions[i]);
		*subscriptions[i] = NULL;
	}
	for (uint32_t i = 0; i < fleet->watched_count; i++) {
		if (fleet->watched[i].probe != NULL)
			probe_free(fleet->watched[i].probe);
	}
}
