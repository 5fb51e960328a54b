/* Placers of several replicas on one store: clients ask all of them at once for the last slots of small cells, while
 * commits wait, fail or lose their answer, replicas end and begin anew, operators cordon, shrink and remove cells, and
 * participants go. An account made from the committed records alone says whether a slot was ever given away twice.
 *
 * CELLD_SIMULATED_RESERVATIONS: so many bookings instead of a few thousand, over several worlds; each has a seed of its
 * own, CELLD_SIMULATION_SEED and what follows, and prints what happened. */
#include "tests/place_fixture.h"

#include <inttypes.h>

#include "control/fabric/cells.h"
#include "control/fabric/place/placer_private.h"
#include "tests/place_ledger.h"
#include "tests/simulated_store.h"

enum { CLIENTS_MAX = 400, GROUP_MAX = 4, TRIES_MAX = 6, REPLICAS_MAX = 5, GOING_MAX = 64 };

struct replica {
	struct state state; /* first */
	struct cells *cells;
	struct placer *placer;
};

/* One who asks, again and again. */
struct client {
	struct world *world;
	struct replica *replica; /* that was asked; NULL: none now */
	struct place_request *requests[GROUP_MAX];
	size_t count;
	int64_t demand[GROUP_MAX][2];
	char id[32]; /* of the participant, "tenant/name"; "": nothing is wanted */
	char chosen[GROUP_MAX][24];
	unsigned tries;
	bool is_unsure; /* an earlier try may have been booked */
};

struct world {
	struct ledger ledger;
	struct replica replicas[REPLICAS_MAX];
	struct client clients[CLIENTS_MAX];
	size_t replica_count, client_count;
	int cell_count, size; /* size: VPAs of a cell, about */
	int64_t next_participant;
	unsigned crash_sides, operator_sides, release_sides;
	unsigned burst; /* so many ask at once, at most */
	uint64_t asked, placed, full, unsure, given_up, overtaken, refused, crashes, operations, lies, steps;
};

static unsigned roll(uint64_t sides)
{
	return (unsigned)simulated_roll(sides);
}

static struct replica *any_replica(struct world *world)
{
	return &world->replicas[roll(world->replica_count)];
}

/* --- replicas */

static void replica_open(struct replica *replica)
{
	simulated_open(&replica->state);
	assert_int_equal(cells_open(&replica->state, &replica->cells), STATUS_OK);
	assert_int_equal(placer_open(&replica->state, replica->cells, &replica->placer), STATUS_OK);
	simulated_load(&replica->state);
}

static void replica_close(struct replica *replica)
{
	simulated_kill(&replica->state);
	placer_free(replica->placer);
	cells_free(replica->cells);
}

/* Whoever waits for it hears nothing any more. */
static void crash(struct world *world, struct replica *replica)
{
	world->crashes++;
	replica_close(replica);
	for (size_t i = 0; i < world->client_count; i++) {
		if (world->clients[i].replica == replica) {
			world->clients[i].replica = NULL;
			world->clients[i].is_unsure = true;
		}
	}
	replica_open(replica);
}

/* --- clients */

static const char *const type_names[] = {"cfm.connector", "cfm.credentialservice", "cfm.dataplane", "cfm.issuer"};

static void forget(struct client *client)
{
	for (size_t i = 0; i < client->count; i++)
		place_request_free(client->requests[i]);
	client->count = 0;
	client->tries = 0;
	client->id[0] = 0;
	client->is_unsure = false;
}

static void want(struct client *client)
{
	static const char *const wishes[] = {"", "",
		",\"affinity\":[{\"to\":\"participant:self\",\"topologyKey\":\"cell\",\"hard\":true}]",
		",\"antiAffinity\":[{\"to\":\"participant:self\",\"topologyKey\":\"cell\",\"hard\":true}]"};
	char text[512];
	int64_t number = client->world->next_participant++;
	const char *wish = wishes[roll(4)];
	client->count = 1 + roll(GROUP_MAX);
	snprintf(
		client->id, sizeof(client->id), "t%u/p%lld-%td", roll(20), (long long)number, client - client->world->clients);
	for (size_t i = 0; i < client->count; i++) {
		client->demand[i][0] = (int64_t)roll(3) * 100;
		client->demand[i][1] = (int64_t)roll(2) * 64;
		snprintf(text, sizeof(text),
			"{\"type\":\"%s\",\"vpaId\":\"v%lld-%zu\",\"participant\":\"p%lld\",\"tenant\":\"%.*s\",\"demand\":{"
			"\"cpuMilli\":%lld,\"memMiB\":%lld}%s}",
			type_names[roll(4)], (long long)number, i, (long long)number, (int)strcspn(client->id, "/"), client->id,
			(long long)client->demand[i][0], (long long)client->demand[i][1], wish);
		client->requests[i] = place_ask(text);
	}
}

static bool build(void *context, const struct cell_record *const *choices, struct transaction *transaction)
{
	struct client *client = context;
	struct buffer body = {0};
	if (roll(500) == 0) {
		client->world->given_up++;
		return false;
	}
	buffer_append(&body, TEXT("{\"vpas\":["));
	for (size_t i = 0; i < client->count; i++) {
		snprintf(client->chosen[i], sizeof(client->chosen[i]), "%s", choices[i]->id);
		buffer_printf(&body,
			"%s{\"type\":\"%s\",\"cellId\":\"%s\",\"state\":\"active\",\"celld\":{\"demand\":{\"cpuMilli\":%lld,"
			"\"memMiB\":"
			"%lld}}}",
			i == 0 ? "" : ",", vpa_type_name(place_request_type(client->requests[i])), choices[i]->id,
			(long long)client->demand[i][0], (long long)client->demand[i][1]);
	}
	buffer_append(&body, TEXT("]}"));
	assert_false(body.failed);
	bool is_put =
		state_put(transaction, RECORD_PARTICIPANT_PROFILE, text_of(client->id), buffer_text(&body), REVISION_ABSENT);
	buffer_free(&body);
	return is_put;
}

/* Is what a client was told what is booked? */
static bool is_booked(struct client *client)
{
	const struct ledger_participant *participant = *ledger_find(&client->world->ledger, client->id);
	char cell[32];
	if (participant == NULL || participant->count != client->count)
		return false;
	for (size_t i = 0; i < client->count; i++) {
		const struct ledger_vpa *vpa = &participant->vpas[i];
		snprintf(cell, sizeof(cell), "cell-%d-%d", vpa->slot, vpa->generation);
		if (strcmp(cell, client->chosen[i]) != 0)
			return false;
	}
	return true;
}

static void done(void *context, enum status status, struct text decision, struct text explain, struct text line)
{
	struct client *client = context;
	struct world *world = client->world;
	(void)decision, (void)explain;
	client->replica = NULL;
	if (status == STATUS_OK) {
		world->placed++;
		world->lies += !is_booked(client);
	} else if (status == STATUS_NOT_FOUND && line.length > 0) {
		world->full++;
	} else if (status == STATUS_UNAVAILABLE) {
		world->unsure++;
		client->is_unsure = true;
		if (client->tries < TRIES_MAX)
			return; /* it asks again */
	} else if (status == STATUS_REFUSED) {
		world->overtaken++;
	} else if (status != STATUS_INTERNAL) {
		world->refused++;
		world->lies += !client->is_unsure; /* a participant that nobody has asked for before is refused to nobody */
	}
	world->lies += status != STATUS_OK && !client->is_unsure && *ledger_find(&world->ledger, client->id) != NULL;
	forget(client);
}

static void ask(struct world *world)
{
	struct client *client = &world->clients[roll(world->client_count)];
	if (client->replica != NULL)
		return;
	if (client->is_unsure && (client->tries >= TRIES_MAX || roll(4) == 0))
		forget(client);
	if (client->id[0] == 0)
		want(client);
	client->tries++;
	client->replica = any_replica(world);
	world->asked += client->count;
	placer_place(client->replica->placer, &(struct placement){(const struct place_request *const *)client->requests,
											  client->count, roll(4) == 0 ? 1 + roll(500) : 0, build, done, client});
}

/* --- participants go */

static void written(void *context, enum status status, int64_t revision)
{
	(void)context, (void)status, (void)revision;
}

/* Through a replica that knows of it; at times through two at once. */
static void release_one(struct world *world, const struct ledger_participant *participant)
{
	struct replica *replica = any_replica(world);
	if (replica->state.known < participant->revision || replica->state.submitted_count >= GOING_MAX)
		return;
	struct transaction *transaction = transaction_new();
	assert_true(state_delete(transaction, RECORD_PARTICIPANT_PROFILE, text_of(participant->id), participant->revision));
	for (size_t i = 0; i < participant->count; i++) {
		const struct ledger_vpa *vpa = &participant->vpas[i];
		int64_t demand[CELL_RESOURCE_COUNT] = {vpa->demand[0], vpa->demand[1]};
		char id[32];
		snprintf(id, sizeof(id), "cell-%d-%d", vpa->slot, vpa->generation);
		const struct cell_record *cell = cells_find(replica->cells, text_of(id));
		if (cell != NULL)
			assert_true(placer_release(replica->placer, cell, (enum vpa_type)vpa->type, demand, transaction));
	}
	state_submit(&replica->state, transaction, written, NULL);
}

/* The id ends with its client's number. */
static bool is_wanted(const struct world *world, const char *id)
{
	return strcmp(world->clients[atoi(strrchr(id, '-') + 1)].id, id) == 0;
}

static void release(struct world *world)
{
	if (world->ledger.count == 0)
		return;
	const struct ledger_participant *participant = world->ledger.all[roll(world->ledger.count)];
	if (is_wanted(world, participant->id))
		return; /* its client does not know yet */
	release_one(world, participant);
	if (roll(5) == 0)
		release_one(world, participant);
}

/* --- operators */

static void define_cell(struct world *world, struct replica *replica, const char *id, int64_t expected)
{
	char body[1024];
	struct transaction *transaction = transaction_new();
	int most = 1 + world->size / 2 + (int)roll((unsigned)world->size);
	bool is_open = roll(6) != 0;
	snprintf(body, sizeof(body),
		"{\"externalId\":\"%s\",\"version\":0,\"state\":\"%s\",\"stateTimestamp\":\"2026-01-01T00:00:00Z\","
		"\"properties\":{\"celld.definition\":{\"cellId\":\"%s\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r\","
		"\"provider\":\"p\",\"capacity\":{\"maxVPAs\":%d,\"perType\":{\"cfm.dataplane\":%d},\"resources\":{"
		"\"cpuMilli\":%d}}}},\"celld\":{\"mode\":\"%s\",\"epoch\":1}}",
		id, is_open ? "active" : "locked", id, most, most / 2, most * 120, is_open ? "ready" : "cordoned");
	assert_true(state_put(transaction, RECORD_CELL, text_of(id), text_of(body), expected));
	state_submit(&replica->state, transaction, written, NULL);
}

static void operate(struct world *world)
{
	struct replica *replica = any_replica(world);
	int slot = (int)roll((unsigned)world->cell_count);
	const struct ledger_cell *booked = &world->ledger.cells[slot];
	char id[32];
	world->operations++;
	snprintf(id, sizeof(id), "cell-%d-%d", slot, booked->generation + !booked->is_there);
	const struct cell_record *cell = cells_find(replica->cells, text_of(id));
	if (!booked->is_there) {
		define_cell(world, replica, id, REVISION_ABSENT);
	} else if (cell != NULL && roll(12) != 0) {
		define_cell(world, replica, id, cell->revision);
	} else if (cell != NULL) {
		struct transaction *transaction = transaction_new();
		assert_true(state_delete(transaction, RECORD_CELL, text_of(id), cell->revision));
		state_submit(&replica->state, transaction, written, NULL);
	}
}

/* --- the world */

static void step(struct world *world, bool is_ending)
{
	unsigned luck = roll(100);
	world->steps++;
	simulated.now_ms += roll(4);
	if (luck < 45)
		simulated_turns(&any_replica(world)->state, 1 + roll(40));
	else if (luck < 75)
		simulated_store_step(&any_replica(world)->state);
	for (unsigned i = luck < 75 || is_ending ? 0 : 1 + roll(world->burst); i > 0; i--)
		ask(world);
	for (unsigned i = roll(world->release_sides) != 0 ? 0 : 1 + roll(1 + world->burst / 2); i > 0; i--)
		release(world);
	if (!is_ending && roll(world->crash_sides) == 0)
		crash(world, any_replica(world));
	if (!is_ending && roll(world->operator_sides) == 0)
		operate(world);
}

static void world_open(struct world *world, uint64_t seed)
{
	memset(world, 0, sizeof(*world));
	simulated.random = seed * 0x9e3779b97f4a7c15U ^ 88172645463325252U;
	for (int i = 0; i < 8; i++)
		(void)roll(2);
	simulated.on_change = ledger_change;
	simulated.on_commit = ledger_check;
	simulated.context = &world->ledger;
	simulated.fault_sides = 10 + roll(90);
	world->replica_count = 2 + roll(REPLICAS_MAX - 1);
	world->client_count = 20 + roll(CLIENTS_MAX - 20);
	world->burst = roll(3) == 0 ? 1 + roll(8) : 1 + roll(150);
	world->cell_count = 1 + (int)roll(8);
	world->size = 2 + (int)roll(25 + 4 * world->burst);
	world->crash_sides = 500 + roll(5000);
	world->operator_sides = 100 + roll(2000);
	world->release_sides = 2 + roll(4);
	for (size_t i = 0; i < world->client_count; i++)
		world->clients[i].world = world;
	for (size_t i = 0; i < world->replica_count; i++)
		replica_open(&world->replicas[i]);
	for (int i = 0; i < world->cell_count; i++) {
		char id[32];
		snprintf(id, sizeof(id), "cell-%d-1", i);
		define_cell(world, &world->replicas[0], id, REVISION_ABSENT);
	}
}

static bool is_at_rest(const struct world *world)
{
	bool is_quiet = true;
	for (size_t i = 0; i < world->replica_count; i++) {
		const struct replica *replica = &world->replicas[i];
		is_quiet = is_quiet && simulated_is_quiet(&replica->state) && replica->placer->unfolded == 0 &&
				   replica->placer->batch == NULL && replica->placer->queue == NULL && replica->placer->waiting == NULL;
	}
	for (size_t i = 0; i < world->client_count; i++)
		is_quiet = is_quiet && world->clients[i].replica == NULL;
	return is_quiet;
}

/* Every replica thinks of every cell what the account says, in its snapshot too. */
static void compare(struct world *world)
{
	for (size_t i = 0; i < world->replica_count; i++) {
		struct replica *replica = &world->replicas[i];
		for (int slot = 0; slot < world->cell_count; slot++) {
			const struct ledger_cell *booked = &world->ledger.cells[slot];
			char id[32];
			snprintf(id, sizeof(id), "cell-%d-%d", slot, booked->generation);
			const struct cell_record *cell = cells_find(replica->cells, text_of(id));
			assert_true((cell != NULL) == booked->is_there);
			if (cell == NULL)
				continue;
			const int64_t *per_type;
			assert_int_equal(placer_used(replica->placer, cell, &per_type), booked->live[0]);
			assert_memory_equal(per_type, booked->live + 1, LEDGER_TYPES * sizeof(int64_t));
			for (int dimension = 0; dimension < LEDGER_DIMENSIONS; dimension++) {
				if (place_snapshot_allowed(placer_snapshot(replica->placer), cell->slot, dimension) >= 0)
					assert_int_equal(place_snapshot_used(placer_snapshot(replica->placer), cell->slot, dimension),
						booked->live[dimension]);
			}
		}
	}
}

static void print_world(const struct world *world, uint64_t seed, uint64_t bookings)
{
	const struct ledger *ledger = &world->ledger;
	uint64_t doubles = ledger->over + ledger->twice, others = ledger_wrongs(ledger) - doubles + world->lies;
	print_message("seed %" PRIu64
				  ": %zu replicas, %zu clients, %d cells of about %d, %u at once; VPAs: asked for %" PRIu64
				  ", booked %" PRIu64 ", gone %" PRIu64 "; placements: %" PRIu64 " placed, %" PRIu64 " full, %" PRIu64
				  " overtaken, %" PRIu64 " unsure, %" PRIu64 " there already; commits %" PRIu64 ", refused %" PRIu64
				  ", failed %" PRIu64 ", answers lost %" PRIu64 "; crashes %" PRIu64 ", operations %" PRIu64
				  ": double bookings %" PRIu64 ", other wrongs %" PRIu64 "\n",
		seed, world->replica_count, world->client_count, world->cell_count, world->size, world->burst, world->asked,
		bookings, ledger->releases, world->placed, world->full, world->overtaken, world->unsure, world->refused,
		simulated.commits, simulated.conflicts, simulated.failures, simulated.lost_answers, world->crashes,
		world->operations, doubles, others);
}

static void world_close(struct world *world)
{
	for (size_t i = 0; i < world->replica_count; i++)
		replica_close(&world->replicas[i]);
	for (size_t i = 0; i < world->client_count; i++)
		forget(&world->clients[i]);
	ledger_clear(&world->ledger);
	simulated_clear();
}

/* Until so many are booked; then everybody goes, and all is as it was. */
static void world_run(struct world *world, uint64_t bookings)
{
	while (world->ledger.bookings < bookings && world->steps < bookings * 1000)
		step(world, false);
	assert_true(world->ledger.bookings >= bookings);
}

static void world_end(struct world *world)
{
	uint64_t end = world->steps + 10000000;
	while (world->steps < end && !(is_at_rest(world) && world->ledger.count == 0)) {
		step(world, true);
		for (size_t i = 0; i < world->client_count; i++) {
			if (world->clients[i].replica == NULL)
				forget(&world->clients[i]);
		}
	}
	assert_true(is_at_rest(world));
	assert_int_equal(world->ledger.count, 0);
	for (int slot = 0; slot < world->cell_count; slot++)
		assert_true(!world->ledger.cells[slot].is_there || world->ledger.cells[slot].booked[0] == 0);
}

static int64_t from_environment(const char *name, int64_t otherwise)
{
	const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe) */
	return value == NULL ? otherwise : atoll(value);
}

static void no_slot_is_booked_twice(void **state)
{
	enum { WORLDS = 8 };
	bool is_told = getenv("CELLD_SIMULATED_RESERVATIONS") != NULL; /* NOLINT(concurrency-mt-unsafe) */
	uint64_t bookings = (uint64_t)from_environment("CELLD_SIMULATED_RESERVATIONS", 2400) / WORLDS;
	uint64_t seed = (uint64_t)from_environment("CELLD_SIMULATION_SEED", 1);
	struct world *world = calloc(1, sizeof(*world));
	(void)state;
	for (uint64_t i = 0; i < WORLDS; i++) {
		world_open(world, seed + i);
		world_run(world, bookings);
		uint64_t booked = world->ledger.bookings;
		world_end(world);
		compare(world);
		if (is_told)
			print_world(world, seed + i, booked);
		assert_int_equal(ledger_wrongs(&world->ledger), 0);
		assert_int_equal(world->lies, 0);
		world_close(world);
	}
	free(world);
}

/* The same on a store that does not look at what it promises to look at: the account sees it. */
static void a_broken_store_is_found_out(void **state)
{
	uint64_t over = 0, unbalanced = 0, on_closed = 0;
	struct world *world = calloc(1, sizeof(*world));
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		world_open(world, seed);
		simulated.forgets_capacity = seed % 2 == 0;
		simulated.forgets_cells = seed % 2 != 0;
		world->operator_sides = 20;
		world_run(world, 300);
		over += world->ledger.over;
		unbalanced += world->ledger.unbalanced;
		on_closed += world->ledger.on_closed + world->ledger.orphans;
		world_close(world);
	}
	assert_true(over > 0 && unbalanced > 0);
	assert_true(on_closed > 0);
	free(world);
}

/* The same seed is the same history. */
static void a_seed_is_a_history(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	uint64_t histories[2][4];
	(void)state;
	for (int i = 0; i < 2; i++) {
		world_open(world, 7);
		world_run(world, 300);
		memcpy(histories[i], (uint64_t[]){simulated.random, (uint64_t)simulated.revision, world->steps, world->placed},
			sizeof(histories[i]));
		world_close(world);
	}
	assert_memory_equal(histories[0], histories[1], sizeof(histories[0]));
	free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_slot_is_booked_twice),
		cmocka_unit_test(a_broken_store_is_found_out),
		cmocka_unit_test(a_seed_is_a_history),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
