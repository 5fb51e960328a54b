/* A letter: its record, and the queue it stands in. */
#include <pthread.h>
#include <stdlib.h>

#include "control/fabric/letters_private.h"
#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/log.h"

/* --- the record */

/* This process. */
static char sender[ID_LENGTH + 1];
static pthread_once_t sender_once = PTHREAD_ONCE_INIT;

static void sender_make(void)
{
	id_random(sender);
}

static void print_trace(struct buffer *record, const struct trace *trace)
{
	struct json *object = trace == NULL ? NULL : trace_json(trace);
	if (object == NULL)
		return; /* at worst out of memory: the letter matters more */
	buffer_append(record, TEXT(",\"trace\":"));
	json_print(object, record);
	json_free(object);
}

bool letters_add(struct transaction *transaction, struct text id, struct text subject, struct text body)
{
	return letters_add_traced(transaction, id, subject, body, NULL);
}

bool letters_add_traced(
	struct transaction *transaction, struct text id, struct text subject, struct text body, const struct trace *trace)
{
	pthread_once(&sender_once, sender_make);
	struct buffer record = {0};
	buffer_append(&record, TEXT("{\"subject\":"));
	buffer_append_json(&record, subject);
	buffer_append(&record, TEXT(",\"by\":"));
	buffer_append_json(&record, text_of(sender));
	buffer_append(&record, TEXT(",\"body\":"));
	buffer_append_json(&record, body);
	print_trace(&record, trace);
	buffer_append_byte(&record, '}');
	bool is_added = !record.failed && state_put(transaction, RECORD_LETTER, id, buffer_text(&record), REVISION_ABSENT);
	buffer_free(&record);
	return is_added;
}

struct letter *letter_read(const struct record *record)
{
	struct letter *letter = calloc(1, sizeof(*letter) + record->id.length + 1);
	if (letter == NULL)
		return NULL;
	memcpy(letter->id, record->id.bytes, record->id.length);
	if (json_parse(record->body, NULL, &letter->body) == STATUS_OK &&
		json_member_text(letter->body, "subject").length > 0 && json_member_text(letter->body, "body").bytes != NULL)
		return letter;
	LOG(ERROR, "letter.unreadable", log_text("letter", record->id));
	letter_discard(letter);
	return NULL;
}

bool letter_is_own(const struct letter *letter)
{
	pthread_once(&sender_once, sender_make);
	return text_equals(json_member_text(letter->body, "by"), text_of(sender));
}

void letter_discard(struct letter *letter)
{
	json_free(letter->body);
	free(letter);
}

/* --- the queue */

void letter_queue_add(struct letter_queue *queue, struct letter *letter)
{
	if (queue->first == NULL)
		queue->last = &queue->first;
	letter->next = NULL;
	*queue->last = letter;
	queue->last = &letter->next;
}

void letter_queue_remove(struct letter_queue *queue, struct letter *letter)
{
	struct letter **at = &queue->first;
	while (*at != NULL && *at != letter)
		at = &(*at)->next;
	if (*at == NULL)
		return;
	*at = letter->next;
	if (letter->next == NULL)
		queue->last = at;
}
