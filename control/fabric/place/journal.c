/* The journal: its segments, from a change to the commit that takes it. */
#include "control/fabric/place/journal.h"

#include <stdlib.h>

#include "control/fabric/place/bytes.h"
#include "control/fabric/place/snapshot.h"
#include "server/base/id.h"
#include "tenants/jose/jws.h"

enum {
	QUIET_BYTES = 16384, /* so long, or as long as an image, without a decision: then rather another image */
	IMAGE_EVERY = 8,     /* changes so many times as long as an image */
	KEPT_MAX = 8 << 20,  /* while nothing can be stored */
};

/* An image at a version, or changes. */
struct segment {
	struct segment *next;
	bool is_image, is_printed;
	uint64_t from, to;
	struct buffer bytes;
};

struct journal {
	struct segment *first, **end;
	size_t kept;         /* bytes of them */
	struct buffer open;  /* changes since the last of them */
	uint64_t from, to;   /* versions of what is open */
	int64_t slot;        /* of the last change there */
	size_t decided;      /* how long it was at the last decision */
	uint64_t decided_to; /* and its version */
	size_t image_length, since_image;
	bool is_broken;
	char base[ID_LENGTH + 1], next_base[ID_LENGTH + 1]; /* "": none */
};

struct journal *journal_new(void)
{
	struct journal *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	made->end = &made->first;
	made->is_broken = true;
	return made;
}

static void drop(struct journal *journal, bool only_printed)
{
	struct segment **at = &journal->first;
	while (*at != NULL) {
		struct segment *segment = *at;
		if (only_printed && !segment->is_printed) {
			at = &segment->next;
			continue;
		}
		*at = segment->next;
		journal->kept -= segment->bytes.length;
		buffer_free(&segment->bytes);
		free(segment);
	}
	journal->end = at;
}

void journal_free(struct journal *journal)
{
	if (journal == NULL)
		return;
	drop(journal, false);
	buffer_free(&journal->open);
	free(journal);
}

/* Takes the bytes. False: out of memory, or there are too many: then all are gone. */
static bool add(struct journal *journal, bool is_image, uint64_t from, uint64_t to, struct buffer *bytes)
{
	struct segment *made = calloc(1, sizeof(*made));
	if (made == NULL || bytes->failed || journal->kept + bytes->length > KEPT_MAX) {
		free(made);
		buffer_free(bytes);
		drop(journal, false);
		return false;
	}
	*made = (struct segment){.is_image = is_image, .from = from, .to = to, .bytes = *bytes};
	*bytes = (struct buffer){0};
	journal->kept += made->bytes.length;
	*journal->end = made;
	journal->end = &made->next;
	return true;
}

/* What is open becomes a segment. */
static void shut(struct journal *journal)
{
	if (journal->open.length > 0 && !add(journal, false, journal->from, journal->to, &journal->open))
		journal->is_broken = true;
	buffer_clear(&journal->open);
	journal->from = journal->decided_to = journal->to;
	journal->decided = 0;
	journal->slot = 0;
}

void journal_break(struct journal *journal)
{
	if (journal == NULL || journal->is_broken)
		return;
	shut(journal);
	journal->is_broken = true;
}

static void put_head(struct journal *journal, enum journal_change kind, unsigned which)
{
	buffer_append_byte(&journal->open, (char)(kind | which << JOURNAL_SHIFT));
}

void journal_note(
	struct journal *journal, enum journal_change kind, unsigned which, const int64_t *numbers, size_t count)
{
	if (journal == NULL || journal->is_broken)
		return;
	put_head(journal, kind, which);
	for (size_t i = 0; i < count; i++)
		bytes_put_signed(&journal->open, i == 0 ? numbers[0] - journal->slot : numbers[i]);
	journal->slot = count > 0 ? numbers[0] : journal->slot;
	journal->to++;
	size_t quiet = journal->open.length - journal->decided;
	if (quiet <= QUIET_BYTES || quiet <= journal->image_length)
		return;
	/* nobody will ask for what lies behind the last decision */
	journal->open.length = journal->decided;
	journal->to = journal->decided_to;
	journal_break(journal);
}

/* --- decisions */

/* Does it ask where the tenant's VPAs are, however many they are? */
static bool asks_for_tenant(const struct place_request *request)
{
	for (size_t i = 0; i < request->affinity_count; i++) {
		if (request->affinities[i].whose == PLACE_OF_TENANT)
			return true;
	}
	return false;
}

bool journal_is_overlap(const struct journal_target *asked, uint32_t lodgings)
{
	/* what the group adds may be new lodgings, or be among those that there are */
	bool is_enough = lodgings > OVERLAP_LODGINGS || lodgings + asked->count <= OVERLAP_LODGINGS;
	for (size_t i = 0; i < asked->count && is_enough; i++)
		is_enough =
			asked->requests[i]->tenant_hash == asked->requests[0]->tenant_hash && !asks_for_tenant(asked->requests[i]);
	return is_enough;
}

static void put_whose(struct journal *journal, unsigned which, uint64_t who, uint32_t count)
{
	put_head(journal, JOURNAL_HOLD, which);
	bytes_put(&journal->open, who & JOURNAL_HASH);
	bytes_put(&journal->open, count);
}

static void put_lodgings(struct journal *journal, unsigned which, uint64_t who, const struct held *held, uint32_t count)
{
	put_whose(journal, which, who, count);
	for (uint32_t i = 0; i < count; i++) {
		bytes_put(&journal->open, held[i].slot);
		bytes_put(&journal->open, (uint64_t)held[i].count << 4 | held[i].type);
	}
}

/* Of a decision that looks no further than at how its tenant's cells overlap, only that is told. */
static void put_tenant(
	struct journal *journal, const struct place_snapshot *snapshot, uint64_t who, const struct journal_target *asked)
{
	uint32_t count, together = 0;
	const struct held *held = lodgings_of(&snapshot->tenancies, who, &count);
	if (count == 0)
		return;
	if (!journal_is_overlap(asked, count)) {
		put_lodgings(journal, JOURNAL_TENANT, who, held, count);
		return;
	}
	put_whose(journal, JOURNAL_OVERLAP, who, count > OVERLAP_LODGINGS ? 0 : count);
	for (uint32_t i = 0; count <= OVERLAP_LODGINGS && i < count; i++)
		together |= snapshot->sketch[held[i].slot];
	if (count <= OVERLAP_LODGINGS)
		bytes_put(&journal->open, together);
}

static void put_participant(struct journal *journal, const struct place_snapshot *snapshot, uint64_t who)
{
	uint32_t count;
	const struct held *held = lodgings_of(&snapshot->participants, who, &count);
	if (count > 0)
		put_lodgings(journal, JOURNAL_PARTICIPANT, who, held, count);
}

static bool is_another(const struct place_request *const *requests, size_t at)
{
	return at == 0 || requests[at]->participant_hash != requests[at - 1]->participant_hash ||
		   requests[at]->tenant_hash != requests[at - 1]->tenant_hash || requests[at]->affinity_count > 0 ||
		   requests[at]->spread_count > 0;
}

static void begin_anew(struct journal *journal, const struct place_snapshot *snapshot)
{
	struct buffer image = {0};
	image_print(snapshot, &image);
	size_t length = image.length;
	journal->from = journal->to = journal->decided_to = snapshot->version;
	if (!add(journal, true, snapshot->version, snapshot->version, &image))
		return;
	journal->image_length = length;
	journal->since_image = 0;
	journal->is_broken = false;
}

void journal_decide(struct journal *journal, const struct place_snapshot *snapshot,
	const struct place_request *const *requests, size_t count)
{
	const struct journal_target asked = {.requests = requests, .count = count};
	size_t since = journal->since_image + journal->open.length;
	if (since > QUIET_BYTES && since > journal->image_length * IMAGE_EVERY)
		journal_break(journal);
	if (journal->is_broken)
		begin_anew(journal, snapshot);
	for (size_t i = 0; i < count && !journal->is_broken; i++) {
		if (!is_another(requests, i))
			continue;
		if (requests[i]->affinity_count > 0 || requests[i]->spread_count > 0)
			put_participant(journal, snapshot, requests[i]->participant_hash);
		put_tenant(journal, snapshot, requests[i]->tenant_hash, &asked);
	}
	if (!journal->is_broken)
		put_head(journal, JOURNAL_HOLD, JOURNAL_DECISION);
	journal->decided = journal->open.length;
	journal->decided_to = journal->to;
}

/* --- records */

static void print_bytes(struct buffer *into, const struct buffer *bytes)
{
	if (!buffer_reserve(into, bytes->length * 4 / 3 + 4))
		return;
	into->length += base64url_encode(buffer_text(bytes), into->bytes + into->length);
	buffer_append(into, TEXT("\""));
}

static void print_segment(const struct segment *segment, struct buffer *into)
{
	buffer_append(into, segment->is_image ? TEXT("{\"image\":\"") : TEXT("{\"changes\":\""));
	print_bytes(into, &segment->bytes);
	if (segment->is_image)
		buffer_printf(into, ",\"at\":%llu}", (unsigned long long)segment->from);
	else
		buffer_printf(
			into, ",\"from\":%llu,\"to\":%llu}", (unsigned long long)segment->from, (unsigned long long)segment->to);
}

void journal_print(struct journal *journal, int64_t process, const char *record, bool is_first, struct buffer *into)
{
	buffer_printf(into, "\"process\":%lld,", (long long)process);
	if (journal->base[0] != 0)
		buffer_printf(into, "\"base\":\"%s\",", journal->base);
	if (!is_first)
		return;
	journal->since_image += journal->open.length;
	shut(journal);
	const char *between = "\"journal\":[";
	for (struct segment *segment = journal->first; segment != NULL; segment = segment->next) {
		buffer_append(into, text_of(between));
		print_segment(segment, into);
		segment->is_printed = true;
		if (segment->is_image)
			memcpy(journal->next_base, record, ID_LENGTH + 1);
		between = ",";
	}
	if (journal->first != NULL)
		buffer_append(into, TEXT("],"));
}

void journal_end(struct journal *journal, bool is_stored)
{
	if (is_stored) {
		drop(journal, true);
		if (journal->next_base[0] != 0)
			memcpy(journal->base, journal->next_base, sizeof(journal->base));
	}
	for (struct segment *segment = journal->first; segment != NULL; segment = segment->next)
		segment->is_printed = false;
	journal->next_base[0] = 0;
}
