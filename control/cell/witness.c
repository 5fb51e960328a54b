/* Questions about other cells, and what their ingresses answer. */
#include "control/cell/witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/command/doubt_message.h"
#include "server/client.h"

enum { TRIES_MAX = 8, TRY_MS = 1500 };

/* An ingress that is tried. */
struct
try {
	struct witness *witness; /* NULL: free */
	struct client_call *call;
	uint32_t number;
	char asker[ID_LENGTH + 1], cell[DOUBT_CELL_MAX + 1];
};

struct witness {
	struct worker *worker;
	struct network *networks;
	size_t network_count;
	struct bus *bus; /* NULL: not joined */
	struct bus_subscription *questions;
	char cell_id[DOUBT_CELL_MAX + 1];
	struct try tries[TRIES_MAX];
};

/* --- answers */

static void send_word(const struct try *try, bool is_alive)
{
	const struct witness *witness = try->witness;
	struct doubt_answer answer = {.number = try->number, .is_alive = is_alive};
	struct buffer subject = {0}, body = {0};
	memcpy(answer.cell, try->cell, sizeof(answer.cell));
	buffer_printf(&subject, DOUBT_WORD_SUBJECT "%s.%s", try->asker, witness->cell_id);
	doubt_answer_print(&answer, &body);
	if (!subject.failed && !body.failed)
		bus_send(witness->bus, buffer_text(&subject), NULL, 0, buffer_text(&body));
	buffer_free(&subject);
	buffer_free(&body);
}

static void end_try(struct try *try)
{
	client_call_close(try->call);
	*try = (struct try){.witness = NULL};
}

static void on_head(void *state, struct client_call *call, const struct client_response *response)
{
	(void)call, (void)response; /* any answer at all shows that it lives */
	send_word(state, true);
	end_try(state);
}

static void on_failed(void *state, struct client_call *call, enum status why)
{
	(void)call;
	if (why != STATUS_FORBIDDEN) /* else it was not tried: that is no word */
		send_word(state, false);
	end_try(state);
}

static void on_event(void *state, struct client_call *call)
{
	(void)state, (void)call; /* the head is all that counts */
}

static const struct client_events events = {
	.on_head = on_head, .on_readable = on_event, .on_writable = on_event, .on_failed = on_failed};

/* --- questions */

static struct try *find_free(struct witness *witness)
{
	for (size_t i = 0; i < TRIES_MAX; i++) {
		if (witness->tries[i].witness == NULL)
			return &witness->tries[i];
	}
	return NULL;
}

/* Who asks more than we can do is not answered: somebody else is asked next. */
static void start_try(struct witness *witness, const struct doubt_question *question)
{
	const struct address_rules rules = {witness->networks, witness->network_count};
	struct try *try = find_free(witness);
	struct buffer text = {0};
	struct url url;
	buffer_printf(&text, "%.*s/health", TEXT_ARGUMENTS(question->url));
	if (try != NULL && !text.failed && url_parse(buffer_text(&text), &url) == STATUS_OK) {
		const struct client_request request = {
			.tenant = TEXT("fabric"), .url = &url, .method = TEXT("GET"), .rules = &rules, .read_ms = TRY_MS};
		*try = (struct try){.witness = witness, .number = question->number};
		memcpy(try->asker, question->from, sizeof(try->asker));
		memcpy(try->cell, question->cell, sizeof(try->cell));
		if (client_call_start(witness->worker, &request, &events, try, &try->call) != STATUS_OK)
			try->witness = NULL;
	}
	buffer_free(&text);
}

static void on_question(void *context, const struct bus_message *message)
{
	struct witness *witness = context;
	struct doubt_question question;
	if (doubt_question_parse(message->body, &question) != STATUS_OK)
		return;
	if (question.url.length > 0 && strcmp(question.cell, witness->cell_id) != 0)
		start_try(witness, &question);
	doubt_question_free(&question);
}

/* --- life */

enum status witness_open(
	struct worker *worker, const struct setting_texts *networks, struct witness **witness, struct buffer *error)
{
	static char any4[] = "0.0.0.0/0", any6[] = "::/0", *anywhere[] = {any4, any6};
	const struct setting_texts texts = networks->count > 0 ? *networks : (struct setting_texts){anywhere, 2};
	struct witness *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->worker = worker;
	made->networks = calloc(texts.count, sizeof(*made->networks));
	enum status status = made->networks == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	for (size_t i = 0; i < texts.count && status == STATUS_OK; i++) {
		status = network_parse(text_of(texts.items[i]), &made->networks[made->network_count++]);
		if (status != STATUS_OK)
			buffer_printf(error, "fabric.probe_networks: %s is no network in CIDR form", texts.items[i]);
	}
	if (status != STATUS_OK) {
		witness_free(made);
		return status;
	}
	*witness = made;
	return STATUS_OK;
}

void witness_join(struct witness *witness, struct bus *bus, struct text cell_id)
{
	struct buffer subject = {0};
	if (witness->questions != NULL)
		return;
	witness->bus = bus;
	snprintf(witness->cell_id, sizeof(witness->cell_id), "%.*s", TEXT_ARGUMENTS(cell_id));
	buffer_printf(&subject, DOUBT_PROBE_SUBJECT "%s", witness->cell_id);
	if (!subject.failed)
		witness->questions = bus_subscribe(bus, buffer_text(&subject), on_question, witness);
	buffer_free(&subject);
}

void witness_leave(struct witness *witness)
{
	if (witness->questions != NULL)
		bus_unsubscribe(witness->questions);
	witness->questions = NULL;
	for (size_t i = 0; i < TRIES_MAX; i++) {
		if (witness->tries[i].witness != NULL)
			end_try(&witness->tries[i]);
	}
	witness->bus = NULL;
}

void witness_free(struct witness *witness)
{
	if (witness == NULL)
		return;
	free(witness->networks);
	free(witness);
}
