/* Places of requests under way; the free ones are a list. */
#include "control/bus/waits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_COUNT = 64, COUNT_MAX = 1 << 20 };

struct waiting {
	uint32_t generation, next_free;
	bool is_used;
	uint64_t deadline_ms; /* 0: was not sent */
	wait_done *done;
	void *context;
};

void waits_init(struct waits *waits)
{
	*waits = (struct waits){.free_place = NO_PLACE};
}

void waits_free(struct waits *waits)
{
	free(waits->places);
}

static bool grow(struct waits *waits)
{
	uint32_t count = waits->place_count == 0 ? FIRST_COUNT : waits->place_count * 2;
	struct waiting *places = count > COUNT_MAX ? NULL : realloc(waits->places, count * sizeof(*places));
	if (places == NULL)
		return false;
	for (uint32_t i = waits->place_count; i < count; i++) {
		places[i] = (struct waiting){.next_free = waits->free_place};
		waits->free_place = i;
	}
	waits->places = places;
	waits->place_count = count;
	return true;
}

uint32_t waits_add(struct waits *waits, uint64_t deadline_ms, wait_done *done, void *context)
{
	if (waits->free_place == NO_PLACE && !grow(waits))
		return NO_PLACE;
	uint32_t place = waits->free_place;
	struct waiting *waiting = &waits->places[place];
	waits->free_place = waiting->next_free;
	waits->used++;
	*waiting = (struct waiting){.generation = waiting->generation,
		.is_used = true,
		.deadline_ms = deadline_ms,
		.done = done,
		.context = context};
	return place;
}

void waits_give_up(struct waits *waits, uint32_t place)
{
	waits->places[place].deadline_ms = 0;
}

struct text waits_reply(const struct waits *waits, uint32_t place, const char *inbox, char room[REPLY_MAX])
{
	int length = snprintf(room, REPLY_MAX, "%s.r.%u.%u", inbox, place, waits->places[place].generation);
	return (struct text){room, (size_t)length};
}

static void end_wait(struct waits *waits, uint32_t place, enum status status, const struct bus_message *message)
{
	struct waiting waiting = waits->places[place];
	waits->places[place].is_used = false;
	waits->places[place].generation++;
	waits->places[place].next_free = waits->free_place;
	waits->free_place = place;
	waits->used--;
	waiting.done(waiting.context, status, message);
}

void waits_answer(struct waits *waits, const char *inbox, const struct bus_message *message)
{
	struct text name = text_slice(message->subject, strlen(inbox) + 3, message->subject.length); /* behind ".r." */
	struct text part = text_slice(name, 0, text_find(name, '.'));
	uint64_t place, generation;
	if (text_to_unsigned(part, UINT32_MAX, &place) != STATUS_OK ||
		text_to_unsigned(text_slice(name, part.length + 1, name.length), UINT32_MAX, &generation) != STATUS_OK ||
		place >= waits->place_count || !waits->places[place].is_used || waits->places[place].generation != generation)
		return; /* too late */
	if (message->status == 503 && message->body.length == 0)
		end_wait(waits, (uint32_t)place, STATUS_UNAVAILABLE, NULL);
	else
		end_wait(waits, (uint32_t)place, STATUS_OK, message);
}

void waits_tick(struct waits *waits, uint64_t now_ms)
{
	for (uint32_t i = 0; i < waits->place_count && waits->used > 0; i++) {
		if (waits->places[i].is_used && waits->places[i].deadline_ms <= now_ms)
			end_wait(waits, i, waits->places[i].deadline_ms == 0 ? STATUS_UNAVAILABLE : STATUS_TIMEOUT, NULL);
	}
}

void waits_end(struct waits *waits, enum status status)
{
	for (uint32_t i = 0; i < waits->place_count; i++) {
		if (waits->places[i].is_used)
			end_wait(waits, i, status, NULL);
	}
}
