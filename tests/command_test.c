/* Commands as messages, the cell's judgement, and both ends together over a network that loses, doubles and reorders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "control/fabric/command_queue.h"

/* --- messages */

static const char golden[] =
	"{\"v\":1,\"cmdId\":\"c1\",\"cell\":\"eu-1\",\"cellEpoch\":7,\"term\":3,\"seq\":10442,\"vpa\":\"v\","
	"\"vpaEpoch\":12,\"op\":\"vpa.prepare\",\"args\":{\"type\":\"cfm.dataplane\"}}";

static void test_golden(void **state)
{
	(void)state;
	struct command command;
	const char *why = NULL;
	assert_int_equal(command_parse(text_of(golden), &command, &why), STATUS_OK);
	assert_int_equal(command.cell_epoch, 7);
	assert_int_equal(command.term, 3);
	assert_int_equal(command.seq, 10442);
	assert_int_equal(command.vpa_epoch, 12);
	assert_int_equal(command.op, COMMAND_VPA_PREPARE);
	struct buffer printed = {0};
	command_print(&printed, &command, TEXT("{\"type\":\"cfm.dataplane\"}"));
	assert_string_equal(printed.bytes, golden);
	command_free(&command);
	buffer_free(&printed);
	static const char answer_golden[] =
		"{\"v\":1,\"cmdId\":\"c1\",\"cell\":\"eu-1\",\"cellEpoch\":7,\"seq\":10442,\"status\":"
		"\"rejected\",\"code\":\"STALE_EPOCH\"}";
	struct command_answer answer;
	assert_int_equal(command_answer_parse(text_of(answer_golden), &answer), STATUS_OK);
	assert_int_equal(answer.status, COMMAND_STATUS_REJECTED);
	command_answer_print(&printed, &answer);
	assert_string_equal(printed.bytes, answer_golden);
	command_answer_free(&answer);
	buffer_free(&printed);
	static const char again_golden[] =
		"{\"v\":1,\"cmdId\":\"c1\",\"cell\":\"eu-1\",\"cellEpoch\":7,\"seq\":10442,\"status\":\"done\",\"code\":\"\","
		"\"appliedSeq\":10443}";
	assert_int_equal(command_answer_parse(text_of(again_golden), &answer), STATUS_OK);
	assert_int_equal(answer.applied_seq, 10443);
	command_answer_print(&printed, &answer);
	assert_string_equal(printed.bytes, again_golden);
	command_answer_free(&answer);
	buffer_free(&printed);
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to, *why; /* replaced in the golden message */
	} cases[] = {{"{", "[", "not JSON"}, {"\"v\":1", "\"v\":2", "v: 1 is known"},
		{"\"cmdId\":\"c1\"", "\"cmdId\":\"\"", "cmdId: is missing"},
		{"\"cmdId\":\"c1\"", "\"cmdId\":5", "cmdId: is missing"}, {"\"eu-1\"", "null", "cell: is missing"},
		{"\"seq\":10442", "\"seq\":-1", "seq: is missing"}, {"\"seq\":10442", "\"seq\":0", "seq: is missing"},
		{"\"term\":3", "\"term\":\"3\"", "term: is missing"}, {"vpa.prepare", "vpa.explode", "op: is not known"},
		{"{\"type\":\"cfm.dataplane\"}", "[]", "args: is missing"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		const char *at = strstr(golden, cases[i].from), *why = NULL;
		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - golden), golden, cases[i].to, at + strlen(cases[i].from));
		struct command command;
		assert_int_equal(command_parse(text_of(text), &command, &why), STATUS_INVALID);
		assert_string_equal(why, cases[i].why);
	}
}

static void test_judge(void **state)
{
	(void)state;
	static const struct {
		const char *cell;
		int64_t cell_epoch, term, seq, vpa_epoch;
		bool is_known;
		enum command_verdict verdict;
	} cases[] = {
		/* the cell: "eu-1", epoch 7, term 3, floor 50; the target: seq 100, epoch 5 */
		{"eu-1", 7, 3, 101, 5, true, COMMAND_VERDICT_APPLY},
		{"eu-1", 7, 4, 101, 6, true, COMMAND_VERDICT_APPLY},
		{"eu-2", 7, 3, 101, 5, true, COMMAND_VERDICT_FOREIGN},
		{"eu-1", 7, 3, 100, 5, true, COMMAND_VERDICT_APPLIED},
		{"eu-1", 6, 2, 99, 1, true, COMMAND_VERDICT_APPLIED},
		{"eu-1", 7, 2, 101, 5, true, COMMAND_VERDICT_STALE_TERM},
		{"eu-1", 6, 3, 101, 5, true, COMMAND_VERDICT_STALE_CELL},
		{"eu-1", 8, 3, 101, 5, true, COMMAND_VERDICT_STALE_CELL},
		{"eu-1", 7, 3, 101, 4, true, COMMAND_VERDICT_STALE_VPA},
		{"eu-1", 7, 3, 51, 1, false, COMMAND_VERDICT_APPLY},
		{"eu-1", 7, 3, 50, 1, false, COMMAND_VERDICT_APPLIED},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct command_cell cell = {TEXT("eu-1"), 7, 3, 50};
		const struct command_target target = {cases[i].is_known, 100, 5};
		const struct command command = {.cell = text_of(cases[i].cell),
			.cell_epoch = cases[i].cell_epoch,
			.term = cases[i].term,
			.seq = cases[i].seq,
			.vpa_epoch = cases[i].vpa_epoch};
		assert_int_equal(command_judge(&cell, &target, &command), cases[i].verdict);
	}
}

/* --- the queue alone */

struct sent {
	char ids[16][8];
	size_t count;
};

static void note(void *context, const struct queued_command *item)
{
	struct sent *sent = context;
	snprintf(sent->ids[sent->count++], 8, "%.*s", TEXT_ARGUMENTS(item->id));
}

struct names {
	char ids[COMMAND_QUEUE_WINDOW * 2][8];
	size_t count;
};

static void collect(void *context, const struct queued_command *item)
{
	struct names *names = context;
	snprintf(names->ids[names->count++], 8, "%.*s", TEXT_ARGUMENTS(item->id));
}

static void add(struct command_queue *queue, const char *id, const char *vpa, int64_t seq)
{
	const struct queued_command item = {
		.id = text_of(id), .cell = TEXT("c"), .vpa = text_of(vpa), .args = TEXT("{}"), .seq = seq};
	assert_int_equal(command_queue_add(queue, &item, 1000), STATUS_OK);
}

static void test_lanes(void **state)
{
	(void)state;
	struct command_queue *queue = command_queue_new();
	add(queue, "a2", "a", 2);
	add(queue, "a1", "a", 1); /* the order is that of seq */
	add(queue, "b3", "b", 3);
	struct sent sent = {.count = 0};
	command_queue_due(queue, 1000, 16, note, &sent);
	assert_int_equal(sent.count, 2);
	assert_string_equal(sent.ids[0][0] == 'a' ? sent.ids[0] : sent.ids[1], "a1");
	sent.count = 0;
	command_queue_due(queue, 1999, 16, note, &sent);
	assert_int_equal(sent.count, 0);
	command_queue_due(queue, 2000, 16, note, &sent); /* both again after a second, */
	assert_int_equal(sent.count, 2);
	sent.count = 0;
	command_queue_due(queue, 3999, 16, note, &sent); /* then after two */
	assert_int_equal(sent.count, 0);
	assert_true(command_queue_drop(queue, TEXT("a1"), 3999));
	assert_false(command_queue_drop(queue, TEXT("a1"), 3999));
	command_queue_due(queue, 3999, 16, note, &sent);
	assert_int_equal(sent.count, 1);
	assert_string_equal(sent.ids[0], "a2");
	assert_int_equal(command_queue_fail(queue, TEXT("a2"), 4000), 1);
	assert_int_equal(command_queue_fail(queue, TEXT("a2"), 4000), 1); /* the same answer again */
	sent.count = 0;
	command_queue_due(queue, 4999, 16, note, &sent); /* b3, due at 4000; a2 at 5000 */
	assert_int_equal(sent.count, 1);
	command_queue_due(queue, 5000, 16, note, &sent);
	assert_int_equal(sent.count, 2);
	assert_string_equal(sent.ids[1], "a2");
	assert_int_equal(command_queue_fail(queue, TEXT("a2"), 5000), 2);
	sent.count = 0;
	command_queue_due(queue, 6999, 16, note, &sent); /* b3 is at the cell until 8999; a2 is due at 7000 */
	assert_int_equal(sent.count, 0);
	command_queue_hurry(queue, TEXT("c"), 6999);
	command_queue_due(queue, 6999, 16, note, &sent);
	assert_int_equal(sent.count, 2);
	assert_int_equal(command_queue_count(queue), 2);
	command_queue_free(queue);
}

/* How long after `now` the one command of a lane is sent again. */
static uint64_t pause_until_sent(struct command_queue *queue, uint64_t now)
{
	for (uint64_t pause = 0; pause < 60000; pause++) {
		struct names sent = {.count = 0};
		command_queue_due(queue, now + pause, 1000, collect, &sent);
		if (sent.count > 0)
			return pause;
	}
	return UINT64_MAX;
}

static void test_retries_grow(void **state)
{
	static const uint64_t pauses[] = {500, 1000, 2000, 4000, 8000, 8000, 8000};
	uint64_t seen[2][sizeof(pauses) / sizeof(pauses[0])];
	(void)state;
	for (int run = 0; run < 2; run++) {
		struct command_queue *queue = command_queue_new();
		uint64_t now = 1000;
		add(queue, "a1", "a", 1);
		assert_int_equal(pause_until_sent(queue, now), 0);
		for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
			command_queue_retry(queue, TEXT("a1"), now);
			command_queue_retry(queue, TEXT("a1"), now); /* the same answer again */
			seen[run][i] = pause_until_sent(queue, now);
			assert_in_range(seen[run][i], pauses[i] * 4 / 5, pauses[i] * 6 / 5);
			now += seen[run][i];
		}
		command_queue_retry(queue, TEXT("a1"), now);
		command_queue_does(queue, TEXT("other"), now); /* another cell */
		command_queue_does(queue, TEXT("c"), now);     /* it does something again */
		uint64_t pause = pause_until_sent(queue, now);
		assert_in_range(pause, 400, 600);
		command_queue_retry(queue, TEXT("a1"), now + pause);
		assert_in_range(pause_until_sent(queue, now + pause), 400, 600); /* from the start */
		command_queue_retry(queue, TEXT("a1"), now + 2 * pause + 200);
		command_queue_hurry(queue, TEXT("c"), now + 2 * pause + 200); /* it has joined anew */
		assert_int_equal(pause_until_sent(queue, now + 2 * pause + 200), 0);
		command_queue_free(queue);
	}
	assert_memory_equal(seen[0], seen[1], sizeof(seen[0])); /* no random */
}

/* A cell without its database for a minute: how often it is asked, and that all is done soon after. */
static void test_a_cell_that_cannot_for_a_minute(void **state)
{
	enum { LANES = 1000 };
	struct command_queue *queue = command_queue_new();
	char name[8];
	size_t asked = 0, worst = 0;
	(void)state;
	for (int i = 0; i < LANES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		add(queue, name, name, 1 + i);
	}
	uint64_t now = 1000;
	for (size_t last_second = 0; now < 61000; now += 20) {
		struct names due = {.count = 0};
		command_queue_due(queue, now, COMMAND_QUEUE_WINDOW, collect, &due);
		for (size_t i = 0; i < due.count; i++)
			command_queue_retry(queue, text_of(due.ids[i]), now);
		asked += due.count;
		if (now % 1000 == 0) {
			size_t in_second = asked - last_second;
			last_second = asked;
			if (now > 30000)
				worst = in_second > worst ? in_second : worst;
		}
	}
	assert_in_range(asked, LANES, 15 * LANES); /* twice a second were 120 for each */
	assert_in_range(worst, 1, LANES / 2);      /* spread over the pause */
	for (uint64_t back = now; command_queue_count(queue) > 0; now += 20) {
		struct names due = {.count = 0};
		command_queue_due(queue, now, COMMAND_QUEUE_WINDOW, collect, &due);
		for (size_t i = 0; i < due.count; i++) {
			command_queue_does(queue, TEXT("c"), now);
			assert_true(command_queue_drop(queue, text_of(due.ids[i]), now));
		}
		assert_true(now < back + 2000);
	}
	command_queue_free(queue);
}

/* A cell's lanes beyond the window wait for the answers to the others, in turn, and those of other cells do not. */
static void test_window(void **state)
{
	(void)state;
	struct command_queue *queue = command_queue_new();
	char name[8], other[8];
	for (int i = 0; i < COMMAND_QUEUE_WINDOW + 5; i++) {
		snprintf(name, sizeof(name), "%d", i);
		add(queue, name, name, 1 + i);
	}
	struct names sent = {.count = 0};
	command_queue_due(queue, 1000, 1000, collect, &sent);
	assert_int_equal(sent.count, COMMAND_QUEUE_WINDOW);
	assert_int_equal(command_queue_next_ms(queue), 2000);
	const struct queued_command stranger = {
		.id = TEXT("s"), .cell = TEXT("d"), .vpa = TEXT("0"), .args = TEXT("{}"), .seq = 9999};
	assert_int_equal(command_queue_add(queue, &stranger, 1000), STATUS_OK);
	struct names next = {.count = 0};
	command_queue_due(queue, 1000, 1000, collect, &next);
	assert_int_equal(next.count, 1);
	assert_string_equal(next.ids[0], "s");
	/* an answer, a retry and a refusal of the bus each let one more go; nobody is sent twice before its time */
	assert_true(command_queue_drop(queue, text_of(sent.ids[0]), 1001));
	command_queue_put_off(queue, text_of(sent.ids[1]), 1001, 5000);
	assert_int_equal(command_queue_fail(queue, text_of(sent.ids[2]), 1001), 1);
	next.count = 0;
	command_queue_due(queue, 1001, 1000, collect, &next);
	assert_int_equal(next.count, 3);
	for (size_t i = 0; i < sent.count; i++) {
		for (size_t j = 0; j < next.count; j++)
			assert_string_not_equal(sent.ids[i], next.ids[j]);
	}
	/* one that waits is forgotten meanwhile; the last of those that wait goes when there is room */
	int gone = 0;
	for (int i = 0; i < COMMAND_QUEUE_WINDOW + 5 && gone == 0; i++) {
		bool was_sent = false;
		snprintf(other, sizeof(other), "%d", i);
		for (size_t j = 0; j < sent.count; j++)
			was_sent |= strcmp(sent.ids[j], other) == 0;
		for (size_t j = 0; j < next.count; j++)
			was_sent |= strcmp(next.ids[j], other) == 0;
		gone = was_sent ? 0 : command_queue_drop(queue, text_of(other), 1001);
	}
	assert_int_equal(gone, 1);
	command_queue_hurry(queue, TEXT("c"), 1001);
	size_t before = command_queue_count(queue);
	for (uint64_t now = 1001; command_queue_count(queue) > 0; now += 500) {
		struct names due = {.count = 0};
		command_queue_due(queue, now, 1000, collect, &due);
		assert_true(due.count <= COMMAND_QUEUE_WINDOW + 1);
		for (size_t i = 0; i < due.count; i++)
			assert_true(command_queue_drop(queue, text_of(due.ids[i]), now));
		assert_true(now < 20000);
	}
	assert_int_equal(before, COMMAND_QUEUE_WINDOW + 5 + 1 - 2);
	assert_int_equal(command_queue_next_ms(queue), UINT64_MAX);
	command_queue_free(queue);
}

/* --- everything together: the records of the fabric and of the cells are what survives a crash; a message may be lost,
 * doubled, kept for long; a cell may end between its commit and its answer; the fabric may end at any time. Every
 * command must be applied exactly once, and those of a VPA in their order. */

enum { CELLS = 3, VPAS = 7, FLYING_MAX = 400 };

struct flying {
	bool is_answer;
	char text[512];
};

struct simulation {
	uint64_t random, now_ms;
	struct command_queue *queue;
	/* the fabric's records: seq of each command that has no answer yet, by id = seq */
	int64_t next_seq, target;
	unsigned char *is_open; /* by seq */
	unsigned *lane_of;      /* by seq: cell * VPAS + vpa */
	int64_t term;
	/* the cells' records */
	int64_t cell_epoch[CELLS], cell_term[CELLS], last_seq[CELLS * VPAS], applied[CELLS * VPAS], open;
	struct flying *flying;
	size_t flying_count;
	uint64_t faults;
};

static uint64_t roll(struct simulation *simulation, uint64_t sides)
{
	uint64_t *x = &simulation->random;
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x % sides;
}

static void fly(struct simulation *simulation, bool is_answer, const struct buffer *message)
{
	uint64_t luck = roll(simulation, 10);
	unsigned copies = luck == 0 ? 0 : luck == 1 ? 2 : 1;
	simulation->faults += copies != 1;
	for (unsigned i = 0; i < copies && simulation->flying_count < FLYING_MAX; i++) {
		struct flying *one = &simulation->flying[simulation->flying_count++];
		one->is_answer = is_answer;
		snprintf(one->text, sizeof(one->text), "%s", message->bytes);
	}
}

static void cell_name(unsigned cell, char into[16])
{
	snprintf(into, 16, "cell%u", cell);
}

static void send_command(void *context, const struct queued_command *item)
{
	struct simulation *simulation = context;
	struct buffer message = {0};
	const struct command command = {.id = item->id,
		.cell = item->cell,
		.vpa = item->vpa,
		.cell_epoch = simulation->cell_epoch[item->cell.bytes[4] - '0'],
		.term = simulation->term,
		.seq = item->seq,
		.vpa_epoch = item->vpa_epoch,
		.op = item->op};
	command_print(&message, &command, item->args);
	fly(simulation, false, &message);
	buffer_free(&message);
}

static void remember(struct simulation *simulation, int64_t seq)
{
	char cell[16], vpa[16], id[24];
	unsigned lane = simulation->lane_of[seq];
	cell_name(lane / VPAS, cell);
	snprintf(vpa, sizeof(vpa), "v%u", lane % VPAS);
	snprintf(id, sizeof(id), "%lld", (long long)seq);
	const struct queued_command item = {.id = text_of(id),
		.cell = text_of(cell),
		.vpa = text_of(vpa),
		.args = TEXT("{}"),
		.seq = seq,
		.op = COMMAND_VPA_PREPARE};
	assert_int_equal(command_queue_add(simulation->queue, &item, simulation->now_ms), STATUS_OK);
}

static void order(struct simulation *simulation)
{
	int64_t seq = ++simulation->next_seq;
	simulation->lane_of[seq] = (unsigned)roll(simulation, CELLS * VPAS);
	simulation->is_open[seq] = 1;
	simulation->open++;
	remember(simulation, seq);
}

static void cell_takes(struct simulation *simulation, const char *text)
{
	struct command command;
	const char *why;
	assert_int_equal(command_parse(text_of(text), &command, &why), STATUS_OK);
	unsigned number = (unsigned)(command.cell.bytes[4] - '0'),
			 lane = number * VPAS + (unsigned)(command.vpa.bytes[1] - '0');
	const struct command_cell cell = {command.cell, simulation->cell_epoch[number], simulation->cell_term[number], 0};
	const struct command_target target = {simulation->last_seq[lane] > 0, simulation->last_seq[lane], 0};
	enum command_verdict verdict = command_judge(&cell, &target, &command);
	if (verdict == COMMAND_VERDICT_APPLY) {
		/* the effect and the memory of it are one commit */
		assert_int_equal(simulation->lane_of[command.seq], lane);
		assert_true(command.seq > simulation->last_seq[lane]);
		simulation->last_seq[lane] = command.seq;
		simulation->cell_term[number] = command.term;
		simulation->applied[lane]++;
	}
	bool is_done = verdict == COMMAND_VERDICT_APPLY || verdict == COMMAND_VERDICT_APPLIED;
	const struct command_answer answer = {.id = command.id,
		.cell = command.cell,
		.code = text_of(command_verdict_code(verdict)),
		.cell_epoch = simulation->cell_epoch[number],
		.seq = command.seq,
		.status = is_done ? COMMAND_STATUS_DONE : COMMAND_STATUS_RETRY};
	struct buffer message = {0};
	command_answer_print(&message, &answer);
	if (roll(simulation, 20) != 0) /* else it dies before it has said so */
		fly(simulation, true, &message);
	else
		simulation->faults++;
	buffer_free(&message);
	command_free(&command);
}

static void fabric_hears(struct simulation *simulation, const char *text)
{
	struct command_answer answer;
	assert_int_equal(command_answer_parse(text_of(text), &answer), STATUS_OK);
	if (answer.status == COMMAND_STATUS_DONE && simulation->is_open[answer.seq]) {
		simulation->is_open[answer.seq] = 0;
		simulation->open--;
		command_queue_drop(simulation->queue, answer.id, simulation->now_ms);
	}
	command_answer_free(&answer);
}

static void crash(struct simulation *simulation, uint64_t kind)
{
	simulation->faults++;
	if (kind == 0) { /* the fabric: everything but its records is gone; another leads */
		command_queue_free(simulation->queue);
		simulation->queue = command_queue_new();
		simulation->term++;
		for (int64_t seq = 1; seq <= simulation->next_seq; seq++) {
			if (simulation->is_open[seq])
				remember(simulation, seq);
		}
	} else if (kind <= CELLS) {
		simulation->cell_epoch[kind - 1]++; /* a cell joins again */
	} else {
		simulation->flying_count = 0; /* the broker loses its store */
	}
}

static void step(struct simulation *simulation)
{
	simulation->now_ms += 20;
	for (unsigned i = 0; i < 3 && simulation->open < 60 && simulation->next_seq < simulation->target; i++)
		order(simulation);
	command_queue_due(simulation->queue, simulation->now_ms, 30, send_command, simulation);
	for (unsigned i = 0; i < 40 && simulation->flying_count > 0; i++) {
		size_t at = roll(simulation, simulation->flying_count); /* any of them: reordered, late */
		struct flying one = simulation->flying[at];
		simulation->flying[at] = simulation->flying[--simulation->flying_count];
		if (one.is_answer)
			fabric_hears(simulation, one.text);
		else
			cell_takes(simulation, one.text);
	}
	if (roll(simulation, 200) == 0)
		crash(simulation, roll(simulation, 2 + CELLS));
}

static void test_simulation(void **state)
{
	(void)state;
	const char *count = getenv("CELLD_SIMULATED_COMMANDS"); /* NOLINT(concurrency-mt-unsafe) */
	struct simulation simulation = {
		.random = 88172645463325252ULL, .term = 1, .target = count == NULL ? 5000 : atoll(count)};
	simulation.is_open = calloc((size_t)simulation.target + 1, 1);
	simulation.lane_of = calloc((size_t)simulation.target + 1, sizeof(unsigned));
	simulation.flying = calloc(FLYING_MAX, sizeof(struct flying));
	simulation.queue = command_queue_new();
	while (simulation.next_seq < simulation.target || simulation.open > 0)
		step(&simulation);
	int64_t applied = 0, expected[CELLS * VPAS] = {0};
	for (int64_t seq = 1; seq <= simulation.target; seq++)
		expected[simulation.lane_of[seq]]++;
	for (unsigned i = 0; i < CELLS * VPAS; i++) {
		assert_int_equal(simulation.applied[i], expected[i]);
		applied += simulation.applied[i];
	}
	assert_int_equal(applied, simulation.target);
	if (count != NULL)
		print_message("%lld commands, %llu faults\n", (long long)applied, (unsigned long long)simulation.faults);
	command_queue_free(simulation.queue);
	free(simulation.is_open);
	free(simulation.lane_of);
	free(simulation.flying);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_judge), cmocka_unit_test(test_lanes), cmocka_unit_test(test_retries_grow),
		cmocka_unit_test(test_a_cell_that_cannot_for_a_minute), cmocka_unit_test(test_window),
		cmocka_unit_test(test_simulation)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
