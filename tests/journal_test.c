/* Decisions are made again from what was stored with them: the same verdict, points and counts, whatever happened to
 * the cells before and after; and no bytes do harm. */
#include "tests/place_fixture.h"

#include "control/fabric/place/bytes.h"
#include "control/fabric/place/recall.h"
#include "control/fabric/place/snapshot.h"
#include "server/base/id.h"
#include "tests/state_fixture.h"

enum { CELLS = 70, DECISIONS = 1512, PROCESS = 77, COMMIT_EVERY = 9, GROUP = 4 };
#define CP "{\"type\":\"cfm.connector\""

/* --- a world in which everything happens */

struct made {
	const struct place_request *requests[GROUP];
	size_t count;
	enum status status;
	uint32_t slots[GROUP];
	struct buffer told; /* of each decision: version, counts, what was chosen */
	uint64_t version;
	int record; /* -1: its commit was refused */
};
static struct {
	struct place_snapshot *snapshot;
	struct journal *journal;
	struct made made[DECISIONS];
	uint64_t random;
	int records;
	char bases[DECISIONS / COMMIT_EVERY + 2][ID_LENGTH + 1];
} world;

static uint32_t roll(uint32_t sides)
{
	world.random = world.random * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(world.random >> 33) % sides;
}

/* Several have the same time, as those of one commit have. */
static void name_record(int number, char into[ID_LENGTH + 1])
{
	snprintf(into, ID_LENGTH + 1, "%012x%020x", number / 3, 7919 * number % 1009);
}

static void put_some_cell(uint32_t slot)
{
	char id[16], more[512];
	struct place_standing standing = PLACE_OPEN;
	snprintf(id, sizeof(id), "c%u", slot);
	int length = snprintf(more, sizeof(more),
		"\"topology\":{\"zone\":\"z%u\"},\"labels\":{\"l\":\"%u\"},\"jurisdictions\":[\"EU\"],\"scores\":{\"cost\":%u}",
		slot % 5, slot % 3, slot * 7 % 1000);
	if (roll(5) == 0)
		length += snprintf(more + length, sizeof(more) - (size_t)length,
			",\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoPlace\"}]");
	assert_true(length < (int)sizeof(more));
	standing.is_open = roll(8) != 0;
	standing.is_degraded = roll(4) == 0;
	standing.ready = roll(10) == 0 ? ~(1U << VPA_DATAPLANE) : ~0U;
	standing.load = (int)roll(1002) - 1;
	standing.used[PLACE_VPAS] = roll(60);
	place_cell(world.snapshot, slot, id, 60 + (int)roll(3) * 20, more, standing);
}

static struct place_request *some_request(int number)
{
	static const char *const wants[] = {"", ",\"spread\":[{\"topologyKey\":\"zone\"}]",
		",\"spread\":[{\"topologyKey\":\"cell\",\"maxSkew\":1,\"when\":\"DoNotSchedule\"}]",
		",\"affinity\":[{\"to\":\"participant:self\",\"topologyKey\":\"zone\",\"hard\":true}]",
		",\"antiAffinity\":[{\"to\":\"participant:self\",\"topologyKey\":\"cell\",\"hard\":true}]",
		",\"affinity\":[{\"to\":\"tenant:self\",\"topologyKey\":\"zone\",\"hard\":false}]",
		",\"prefer\":{\"labels\":{\"l\":\"1\"}},\"weights\":{\"cost\":3}", ",\"strategy\":\"pack\"",
		",\"tolerations\":[{\"key\":\"k\"}]", ",\"require\":{\"labels\":{\"l\":\"9\"}}",
		",\"require\":{\"jurisdictions\":[\"EU\"],\"labels\":{\"l\":\"2\"}}"};
	char text[512];
	/* tenant 0 is everywhere */
	snprintf(text, sizeof(text),
		"%s,\"vpaId\":\"v%d\",\"participant\":\"p%u\",\"tenant\":\"t%u\",\"demand\":{\"memMiB\":%u}%s}",
		roll(2) == 0 ? CP : "{\"type\":\"cfm.dataplane\"", number, roll(120), roll(2) == 0 ? 0 : roll(30), roll(5),
		wants[roll(sizeof(wants) / sizeof(wants[0]))]);
	return place_ask(text);
}

static void something_happens(int number)
{
	uint32_t slot = roll(CELLS);
	const struct made *other = &world.made[roll((uint32_t)number + 1)];
	switch (roll(12)) {
	case 0:
		put_some_cell(slot);
		break;
	case 1:
		place_snapshot_measure(world.snapshot, slot, NULL, roll(3) == 0 ? 1U : ~0U, (int)roll(1001));
		break;
	case 2:
		if (roll(10) == 0)
			place_snapshot_remove(world.snapshot, slot);
		break;
	case 3:
		if (other->status == STATUS_OK)
			assert_int_equal(place_snapshot_book(world.snapshot, other->slots[0], other->requests[0], -1), STATUS_OK);
		break;
	case 4:
		if (roll(20) == 0) { /* a cell that was never there, with an attribute that was never there */
			char id[16], more[64];
			snprintf(id, sizeof(id), "new%d", number);
			snprintf(more, sizeof(more), "\"labels\":{\"new\":\"%d\"}", number);
			place_cell(world.snapshot, CELLS + roll(100), id, 50, more, PLACE_OPEN);
		}
		break;
	default:
		break;
	}
}

/* What was decided since the last is stored, or refused: then the journal comes again with the next. */
static void commit(int first, int count, bool is_stored)
{
	struct buffer body = {0};
	char id[ID_LENGTH + 1];
	name_record(world.records, id);
	buffer_append(&body, TEXT("{\"at\":1,"));
	journal_print(world.journal, PROCESS, id, true, &body);
	buffer_append(&body, TEXT("\"decisions\":[]}"));
	assert_false(body.failed);
	for (int i = first; i < first + count; i++)
		world.made[i].record = is_stored ? world.records : -1;
	const char *base = strstr(body.bytes, "\"base\":\"");
	if (base != NULL && base < strstr(body.bytes, "\"decisions\""))
		memcpy(world.bases[world.records], base + 8, ID_LENGTH);
	if (is_stored)
		fixture_put(RECORD_DECISION, id, body.bytes);
	journal_end(world.journal, is_stored);
	world.records += is_stored;
	buffer_free(&body);
}

static void decide(struct place_snapshot *snapshot, struct made *made)
{
	const struct place_telling telling = {.explain = &made->told, .is_brief = true};
	made->status = place_group(snapshot, made->requests, made->count, made->slots, &telling);
	assert_true(made->status == STATUS_OK || made->status == STATUS_NOT_FOUND);
}

static void make_world(void)
{
	memset(&world, 0, sizeof(world));
	world.random = 20261126;
	world.snapshot = place_snapshot_new();
	world.journal = journal_new();
	fixture_state();
	place_snapshot_tell(world.snapshot, world.journal);
	for (uint32_t slot = 0; slot < CELLS; slot++)
		put_some_cell(slot);
	for (int i = 0; i < DECISIONS; i++) {
		struct made *made = &world.made[i];
		made->count = roll(3) == 0 ? 1 + roll(GROUP) : 1;
		for (size_t at = 0; at < made->count; at++)
			made->requests[at] = some_request(i);
		journal_decide(world.journal, world.snapshot, made->requests, made->count);
		made->version = place_snapshot_version(world.snapshot);
		decide(world.snapshot, made);
		something_happens(i);
		if (i % COMMIT_EVERY == COMMIT_EVERY - 1)
			commit(i + 1 - COMMIT_EVERY, COMMIT_EVERY, roll(10) != 0);
	}
}

static void made_free(struct made *made)
{
	for (size_t i = 0; i < made->count; i++)
		place_request_free((struct place_request *)(uintptr_t)made->requests[i]);
	buffer_free(&made->told);
}

static void end_world(void)
{
	for (int i = 0; i < DECISIONS; i++)
		made_free(&world.made[i]);
	place_snapshot_free(world.snapshot);
	journal_free(world.journal);
	fixture_clear();
}

struct answer {
	enum status status;
	struct place_snapshot *snapshot;
};

static void on_recalled(void *context, enum status status, struct place_snapshot *snapshot)
{
	*(struct answer *)context = (struct answer){status, snapshot};
}

static struct answer ask(int64_t process, uint64_t version, const struct made *made)
{
	struct answer answer = {STATUS_INTERNAL, NULL};
	char id[ID_LENGTH + 1];
	name_record(made->record, id);
	const char *base = world.bases[made->record];
	const struct recall_wish wish = {
		process, version, made->requests, made->count, text_of(id), base[0] == 0 ? TEXT_NONE : text_of(base)};
	recall(&fixture.states[0], &wish, on_recalled, &answer);
	fixture_run();
	return answer;
}

/* On what is recalled: word for word the same. */
static void decide_again(const struct made *made, struct place_snapshot *snapshot)
{
	struct made again = *made;
	again.told = (struct buffer){0};
	decide(snapshot, &again);
	assert_string_equal(again.told.bytes, made->told.bytes);
	assert_int_equal(again.status, made->status);
	for (size_t i = 0; again.status == STATUS_OK && i < again.count; i++)
		assert_int_equal(again.slots[i], made->slots[i]);
	buffer_free(&again.told);
	place_snapshot_free(snapshot);
}

static void what_was_decided_is_decided_again_elsewhere(void **state)
{
	unsigned again = 0, none = 0;
	(void)state;
	make_world();
	for (int i = 0; i < DECISIONS; i++) {
		const struct made *made = &world.made[i];
		if (made->record < 0)
			continue;
		struct answer answer = ask(PROCESS, made->version, made);
		if (answer.status != STATUS_OK)
			fail_msg("decision %d: %s", i, status_text(answer.status));
		decide_again(made, answer.snapshot);
		none += made->status != STATUS_OK;
		again++;
	}
	assert_true(again > DECISIONS * 3 / 4);
	assert_true(none > 10);
	assert_true(world.bases[world.records - 1][0] != 0); /* several images were stored */
	end_world();
}

static void what_is_not_stored_is_not_made_up(void **state)
{
	const struct made *made = &world.made[DECISIONS / 2];
	char id[ID_LENGTH + 1];
	(void)state;
	make_world();
	while (made->record < 1)
		made++;
	assert_int_equal(ask(PROCESS + 1, made->version, made).status, STATUS_NOT_FOUND);
	assert_int_equal(ask(PROCESS, UINT64_MAX / 4, made).status, STATUS_NOT_FOUND);
	/* each record in turn is gone, or says something else: then it is told, or was not needed */
	static const char *const bodies[] = {"", "{}", "{\"process\":77,\"journal\":[]}",
		"{\"process\":77,\"journal\":[1]}",
		"{\"process\":77,\"journal\":[{\"image\":\"AQ\",\"at\":1},{\"changes\":\"!\",\"from\":0,\"to\":1}]}"};
	unsigned missed = 0;
	for (int i = 0; i < world.records; i++) {
		name_record(i, id);
		char *kept = strdup(fixture_body(RECORD_DECISION, id));
		fixture_put(RECORD_DECISION, id, bodies[i % 5]);
		struct answer answer = ask(PROCESS, made->version, made);
		assert_true(answer.status == STATUS_OK || answer.status == STATUS_NOT_FOUND);
		missed += answer.status == STATUS_NOT_FOUND;
		if (answer.status == STATUS_OK)
			decide_again(made, answer.snapshot);
		fixture_put(RECORD_DECISION, id, kept);
		free(kept);
	}
	assert_in_range(missed, 1, 40); /* only those from its image on */
	fixture.is_down = true;
	assert_int_equal(ask(PROCESS, made->version, made).status, STATUS_UNAVAILABLE);
	end_world();
}

/* --- bytes */

static void parse_image(const char *bytes, size_t length, enum status *status)
{
	struct place_snapshot *snapshot = NULL;
	char *copy = malloc(length + 1); /* so that reading beyond is seen */
	memcpy(copy, bytes, length);
	*status = image_parse((struct text){copy, length}, &snapshot);
	if (*status == STATUS_OK)
		place_snapshot_free(snapshot);
	free(copy);
}

static void an_image_is_whole_or_none(void **state)
{
	struct buffer image = {0}, again = {0};
	struct place_snapshot *snapshot = NULL;
	enum status status;
	(void)state;
	make_world();
	image_print(world.snapshot, &image);
	assert_int_equal(image_parse(buffer_text(&image), &snapshot), STATUS_OK);
	image_print(snapshot, &again);
	assert_int_equal(again.length, image.length);
	assert_memory_equal(again.bytes, image.bytes, image.length);
	place_snapshot_free(snapshot);
	for (size_t length = 0; length < image.length; length += length < 300 ? 1 : 97) {
		parse_image(image.bytes, length, &status);
		assert_int_equal(status, STATUS_INVALID);
	}
	buffer_append_byte(&image, 0);
	parse_image(image.bytes, image.length, &status);
	assert_int_equal(status, STATUS_INVALID);
	image.length--;
	for (size_t i = 0; i < image.length; i += i < 200 ? 1 : 41) { /* whatever it is then, it is read to the end */
		for (int bit = 0; bit < 8; bit += 3) {
			image.bytes[i] = (char)(image.bytes[i] ^ 1 << bit);
			parse_image(image.bytes, image.length, &status);
			image.bytes[i] = (char)(image.bytes[i] ^ 1 << bit);
		}
	}
	buffer_free(&image);
	buffer_free(&again);
	end_world();
}

/* Changes of a snapshot of one cell, at version 10. */
static const struct {
	const char *name, *bytes;
	size_t length;
	uint64_t from, to, target;
	enum status status;
	uint64_t version;
} changes[] = {
	{"nothing", "", 0, 10, 10, 10, STATUS_OK, 10},
	{"a room", "\0\0\1", 3, 10, 11, 11, STATUS_OK, 11},
	{"a room, known already", "\0\0\1", 3, 9, 10, 10, STATUS_OK, 10},
	{"not so far", "\0\0\1\0\0\1", 6, 10, 12, 11, STATUS_OK, 11},
	{"some known already", "\0\0\1\0\0\1", 6, 9, 11, 11, STATUS_OK, 11},
	{"one is missing before", "\0\0\1", 3, 11, 12, 12, STATUS_INVALID, 10},
	{"more than are said", "\0\0\1\0\0\1", 6, 10, 11, 12, STATUS_INVALID, 10},
	{"fewer than are said", "\0\0\1", 3, 10, 12, 12, STATUS_INVALID, 10},
	{"cut", "\0\0", 2, 10, 11, 11, STATUS_INVALID, 10},
	{"cut in a number", "\0\0\x81", 3, 10, 11, 11, STATUS_INVALID, 10},
	{"a slot that is not there", "\0\x80\2\1", 4, 10, 11, 11, STATUS_INVALID, 10},
	{"a negative slot", "\0\1\1", 3, 10, 11, 11, STATUS_INVALID, 10},
	{"a dimension that is not there", "\xf8\0\1", 3, 10, 11, 11, STATUS_INVALID, 10},
	{"a room that is too large", "\0\0\xfe\xff\xff\xff\x1f", 7, 10, 11, 11, STATUS_INVALID, 10},
	{"rooms", "\1\0\2\4", 4, 10, 11, 11, STATUS_OK, 11},
	{"a load", "\2\0\2", 3, 10, 11, 11, STATUS_OK, 11},
	{"a load above 1000", "\2\0\xd2\x0f", 4, 10, 11, 11, STATUS_INVALID, 10},
	{"a set", "\x0b\0\2", 3, 10, 11, 11, STATUS_OK, 11},
	{"a set that is not there", "\x43\0\2", 3, 10, 11, 11, STATUS_INVALID, 10},
	{"a value that is none", "\x0b\0\4", 3, 10, 11, 11, STATUS_INVALID, 10},
	{"an attribute that is not there", "\4\0\x80\1\2", 5, 10, 11, 11, STATUS_INVALID, 10},
	{"an opinion that is not there", "\5\0\0\2", 4, 10, 11, 11, STATUS_INVALID, 10},
	{"a slot after another", "\0\2\1\0\1\1", 6, 10, 12, 12, STATUS_OK, 12},
	{"a slot before the first", "\0\2\1\0\3\1", 6, 10, 12, 12, STATUS_INVALID, 10},
	{"a VPA comes", "\6", 1, 10, 11, 11, STATUS_OK, 11},
	{"a VPA with a sketch", "\xff\0", 2, 10, 11, 11, STATUS_OK, 11},
	{"lodgings", "\x0e\1\1\0\x10", 5, 10, 10, 10, STATUS_OK, 10},
	{"lodgings of a tenant", "\x16\1\1\0\x10", 5, 10, 10, 10, STATUS_OK, 10},
	{"what is beside a tenant", "\x1e\1\1\7", 4, 10, 10, 10, STATUS_OK, 10},
	{"a tenant with many", "\x1e\1\0", 3, 10, 10, 10, STATUS_OK, 10},
	{"a tenant with more", "\x1e\1\x41\7", 4, 10, 10, 10, STATUS_INVALID, 10},
	{"a decision", "\x26", 1, 10, 10, 10, STATUS_OK, 10},
	{"lodgings of whom?", "\x2e\1\1\0\x10", 5, 10, 10, 10, STATUS_INVALID, 10},
	{"lodgings of too long a hash", "\x0e\xff\xff\x7f\1\0\x10", 7, 10, 10, 10, STATUS_INVALID, 10},
	{"lodgings of no number", "\x0e\1\1\0\0", 5, 10, 10, 10, STATUS_INVALID, 10},
	{"lodgings of no type", "\x0e\1\1\0\x1f", 5, 10, 10, 10, STATUS_INVALID, 10},
	{"lodgings where nothing is", "\x0e\1\1\x40\x10", 5, 10, 10, 10, STATUS_INVALID, 10},
	{"lodgings that are cut", "\x0e\1\2\0\x10", 5, 10, 10, 10, STATUS_INVALID, 10},
};

static void changes_are_read_strictly(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct place_snapshot *snapshot = place_snapshot_new();
		place_cell(snapshot, 0, "a", 1000, "", PLACE_OPEN);
		snapshot->is_walking = true;
		snapshot->version = 10;
		struct journal_target target = {changes[i].target, NULL, 0, false};
		char *copy = malloc(changes[i].length + 1);
		memcpy(copy, changes[i].bytes, changes[i].length);
		enum status status =
			journal_apply(snapshot, (struct text){copy, changes[i].length}, changes[i].from, changes[i].to, &target);
		if (status != changes[i].status || (status == STATUS_OK && snapshot->version != changes[i].version))
			fail_msg("%s: %s, version %d", changes[i].name, status_text(status), (int)snapshot->version);
		free(copy);
		place_snapshot_free(snapshot);
	}
}

/* Nobody decides for a long time: what is measured meanwhile is not kept, and the next decision has its own image. */
static void what_nobody_asks_for_is_not_kept(void **state)
{
	struct buffer body = {0};
	char id[ID_LENGTH + 1];
	(void)state;
	make_world();
	commit(DECISIONS, 0, true);
	for (int i = 0; i < 1000000; i++)
		snapshot_set_load(world.snapshot, (uint32_t)i % CELLS, (int16_t)(i % 1000));
	name_record(world.records, id);
	journal_decide(world.journal, world.snapshot, world.made[0].requests, 1);
	journal_print(world.journal, PROCESS, id, true, &body);
	assert_in_range(body.length, 1000, 64 * 1024);
	assert_non_null(strstr(body.bytes, "\"image\""));
	buffer_free(&body);
	end_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_decided_is_decided_again_elsewhere),
		cmocka_unit_test(what_is_not_stored_is_not_made_up),
		cmocka_unit_test(an_image_is_whole_or_none),
		cmocka_unit_test(changes_are_read_strictly),
		cmocka_unit_test(what_nobody_asks_for_is_not_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
