/* Tallies: pulls of one flow, added up. */
#include "tenants/dp/contract/tally.h"

#include <stdlib.h>
#include <string.h>

struct tally *tally_new(const struct tally_names *names, int64_t now_ms)
{
	struct tally *tally = calloc(1, sizeof(*tally));
	if (tally == NULL)
		return NULL;
	const struct {
		char **into;
		struct text text;
	} copies[] = {{&tally->ctx, names->ctx}, {&tally->flow, names->flow}, {&tally->agreement, names->agreement},
		{&tally->dataset, names->dataset}, {&tally->consumer, names->consumer}, {&tally->provider, names->provider},
		{&tally->region, names->region}, {&tally->flags, names->flags}};
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
		*copies[i].into = text_copy(copies[i].text);
		if (*copies[i].into == NULL) {
			tally_free(tally);
			return NULL;
		}
	}
	tally->first_ms = tally->last_ms = now_ms;
	tally->ranges = (struct span_set){.spans = tally->spans, .room = TALLY_RANGES_MAX};
	return tally;
}

void tally_free(struct tally *tally)
{
	if (tally == NULL)
		return;
	free(tally->ctx);
	free(tally->flow);
	free(tally->agreement);
	free(tally->dataset);
	free(tally->consumer);
	free(tally->provider);
	free(tally->region);
	free(tally->flags);
	free(tally);
}

static void copy(struct text text, char *into, size_t room)
{
	if (text.length > 0 && text.length <= room)
		memcpy(into, text.bytes, text.length);
	into[text.length <= room ? text.length : 0] = 0;
}

/* A tag of a source may hold bytes that a receipt's text must not. */
static bool is_plain(struct text tag)
{
	for (size_t i = 0; i < tag.length; i++) {
		if (tag.bytes[i] < 0x20 || tag.bytes[i] > 0x7e)
			return false;
	}
	return true;
}

/* TALLY_ENTITIES_MAX: there is no room for one more, or it cannot be listed. */
static unsigned find_entity(struct tally *tally, struct text tag, struct text digest)
{
	if (tag.length == 0 || tag.length > ENTITY_TAG_MAX)
		return TALLY_ENTITIES_MAX;
	for (unsigned i = 0; i < tally->entity_count; i++) {
		const char *known = tally->entities[i].tag; /* there are no NULs in it, and room for a whole tag */
		if (memcmp(known, tag.bytes, tag.length) == 0 && known[tag.length] == 0) {
			if (tally->entities[i].digest[0] == 0 && digest.length > 0)
				copy(digest, tally->entities[i].digest, ENTITY_DIGEST_MAX);
			return i;
		}
	}
	if (tally->entity_count == TALLY_ENTITIES_MAX || !is_plain(tag))
		return TALLY_ENTITIES_MAX;
	copy(tag, tally->entities[tally->entity_count].tag, ENTITY_TAG_MAX);
	copy(digest, tally->entities[tally->entity_count].digest, ENTITY_DIGEST_MAX);
	return tally->entity_count++;
}

void tally_add(struct tally *tally, struct text tag, struct text digest, uint64_t first, uint64_t length)
{
	bool is_kept = false, is_range = first + length > first;
	unsigned entity = is_range ? find_entity(tally, tag, digest) : TALLY_ENTITIES_MAX;
	if (length == 0)
		return;
	if (entity < TALLY_ENTITIES_MAX)
		tally->totals.of[BOOK_REPEATED] += span_set_add(&tally->ranges, entity, first, first + length, &is_kept);
	if (!is_kept)
		tally->unlisted += length;
}

void tally_merge(struct tally *tally, const struct tally *other)
{
	book_totals_add(&tally->totals, &other->totals);
	tally->unlisted += other->unlisted;
	tally->first_ms = other->first_ms < tally->first_ms ? other->first_ms : tally->first_ms;
	tally->last_ms = other->last_ms > tally->last_ms ? other->last_ms : tally->last_ms;
	for (size_t i = 0; i < other->ranges.count; i++) {
		const struct span *span = &other->ranges.spans[i];
		const struct tally_entity *entity = &other->entities[span->entity];
		tally_add(tally, text_of(entity->tag), text_of(entity->digest), span->first, span->end - span->first);
	}
}
