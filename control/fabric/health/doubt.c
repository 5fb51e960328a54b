/* Voices on a silent cell. */
#include "control/fabric/health/doubt.h"

static enum doubt_word word_of(const struct doubt_voice *voice, uint64_t now_ms)
{
	bool counts = voice->is_used && now_ms - voice->said_ms <= DOUBT_WORD_MS;
	return counts ? (enum doubt_word)voice->word : WORD_NONE;
}

static void say(struct doubt_voice *voice, bool is_alive, uint64_t now_ms)
{
	voice->word = is_alive ? WORD_ALIVE : WORD_SILENT;
	voice->said_ms = now_ms;
	voice->is_awaited = false;
	voice->is_used = true;
}

/* --- questions */

static bool is_asked(const struct doubt *doubt, uint32_t slot)
{
	for (size_t i = 0; i < DOUBT_CELLS; i++) {
		if (doubt->cells[i].is_used && doubt->cells[i].who == slot)
			return true;
	}
	return false;
}

/* False: nobody else may be asked. */
static bool fill(struct doubt *doubt, struct doubt_voice *voice, uint32_t slots,
	bool (*is_fit)(const void *context, uint32_t slot), const void *context)
{
	uint32_t tries = slots < DOUBT_TRIES ? slots : DOUBT_TRIES;
	for (uint32_t i = 0; i < tries; i++) {
		uint32_t slot = (doubt->next + i) % slots;
		if (slot == doubt->slot || is_asked(doubt, slot) || !is_fit(context, slot))
			continue;
		*voice = (struct doubt_voice){.who = slot, .is_used = true};
		doubt->next = slot + 1;
		return true;
	}
	return false;
}

unsigned doubt_ask(struct doubt *doubt, uint32_t question, uint32_t slots,
	bool (*is_fit)(const void *context, uint32_t slot), const void *context, uint32_t cells[DOUBT_CELLS])
{
	unsigned count = 0;
	if (doubt->question == 0) /* not everybody's doubts begin with the same cells */
		doubt->next = doubt->slot + 1;
	doubt->question = question;
	for (size_t i = 0; i < DOUBT_CELLS; i++) {
		struct doubt_voice *voice = &doubt->cells[i];
		if (voice->is_used && (voice->is_awaited || !is_fit(context, (uint32_t)voice->who)))
			voice->is_used = false;
		if (!voice->is_used && !fill(doubt, voice, slots, is_fit, context))
			continue;
		voice->is_awaited = true;
		cells[count++] = (uint32_t)voice->who;
	}
	return count;
}

/* --- answers */

void doubt_probed(struct doubt *doubt, bool is_alive, uint64_t now_ms)
{
	say(&doubt->probe, is_alive, now_ms);
}

bool doubt_hear_cell(struct doubt *doubt, uint32_t question, uint32_t slot, bool is_alive, uint64_t now_ms)
{
	for (size_t i = 0; i < DOUBT_CELLS && question == doubt->question; i++) {
		struct doubt_voice *voice = &doubt->cells[i];
		if (!voice->is_used || !voice->is_awaited || voice->who != slot)
			continue;
		say(voice, is_alive, now_ms);
		return true;
	}
	return false;
}

bool doubt_hear_replica(struct doubt *doubt, uint32_t question, uint64_t replica, bool is_alive, uint64_t now_ms)
{
	struct doubt_voice *free_voice = NULL;
	for (size_t i = 0; i < DOUBT_REPLICAS && question == doubt->question; i++) {
		struct doubt_voice *voice = &doubt->replicas[i];
		if (voice->is_used && voice->who == replica) {
			say(voice, is_alive, now_ms);
			return true;
		}
		if (free_voice == NULL && word_of(voice, now_ms) == WORD_NONE)
			free_voice = voice;
	}
	if (free_voice == NULL)
		return false;
	free_voice->who = replica;
	say(free_voice, is_alive, now_ms);
	return true;
}

/* --- judgement */

struct doubt_tally doubt_tally(const struct doubt *doubt, uint64_t now_ms)
{
	struct doubt_tally tally = {0};
	for (size_t i = 0; i < DOUBT_REPLICAS; i++) {
		enum doubt_word word = word_of(&doubt->replicas[i], now_ms);
		tally.replicas_silent += word == WORD_SILENT;
		tally.replicas_alive += word == WORD_ALIVE;
	}
	for (size_t i = 0; i < DOUBT_CELLS; i++) {
		enum doubt_word word = word_of(&doubt->cells[i], now_ms);
		tally.cells_asked += doubt->cells[i].is_used;
		tally.cells_silent += word == WORD_SILENT;
		tally.cells_alive += word == WORD_ALIVE;
	}
	return tally;
}

enum health_reach doubt_reach(const struct doubt *doubt, uint64_t now_ms)
{
	struct doubt_tally tally = doubt_tally(doubt, now_ms);
	enum doubt_word own = word_of(&doubt->probe, now_ms);
	if (own == WORD_ALIVE || tally.replicas_alive + tally.cells_alive > 0)
		return REACH_YES;
	return own == WORD_SILENT ? REACH_NO : REACH_UNKNOWN;
}

bool doubt_is_agreed(const struct doubt *doubt, uint64_t now_ms)
{
	struct doubt_tally tally = doubt_tally(doubt, now_ms);
	return doubt_reach(doubt, now_ms) == REACH_NO && tally.replicas_silent + tally.cells_silent > 0;
}
