/* The log: whole lines of valid JSON whatever stands in them, from any thread, and what is lost is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/json.h"
#include "server/base/log_line.h"

/* All lines of all threads fit into one ring: a thread may get that of one that has ended. */
enum { THREADS = 4, LINES = 1500, FLOOD = 60000 };

/* What comes out of a pipe until its end, read by a thread once it may. */
struct reader {
	int descriptors[2];
	pthread_t thread;
	struct buffer seen;
};

static void *read_all(void *context)
{
	struct reader *reader = context;
	char block[65536];
	ssize_t count;
	while ((count = read(reader->descriptors[0], block, sizeof(block))) > 0)
		buffer_append(&reader->seen, (struct text){block, (size_t)count});
	return NULL;
}

static void reader_open(struct reader *reader)
{
	*reader = (struct reader){0};
	assert_int_equal(pipe(reader->descriptors), 0);
	assert_int_equal(log_open(reader->descriptors[1], LOG_INFO), STATUS_OK);
}

static void reader_start(struct reader *reader)
{
	assert_int_equal(pthread_create(&reader->thread, NULL, read_all, reader), 0);
}

static void reader_finish(struct reader *reader)
{
	log_close();
	close(reader->descriptors[1]);
	pthread_join(reader->thread, NULL);
	close(reader->descriptors[0]);
	assert_false(reader->seen.failed);
}

static bool next_line(struct text *rest, struct text *line)
{
	size_t end = text_find(*rest, '\n');
	if (end == rest->length)
		return false;
	*line = text_slice(*rest, 0, end);
	*rest = text_slice(*rest, end + 1, rest->length);
	return true;
}

static struct json *parse(struct text line)
{
	struct json *root = NULL;
	if (json_parse(line, NULL, &root) != STATUS_OK)
		fail_msg("not JSON: %.*s", TEXT_ARGUMENTS(line));
	assert_int_equal(json_member_text(root, "time").length, 24);
	return root;
}

/* A line without its time. */
static struct text after_time(struct text line)
{
	const char prefix[] = "{\"time\":\"2000-01-01T00:00:00.000Z\",";
	return text_slice(line, sizeof(prefix) - 1, line.length);
}

static void fields_are_written(void **state)
{
	(void)state;
	static const char *const expected[] = {
		"\"level\":\"info\",\"event\":\"a.b\",\"text\":\"t\",\"number\":-5,\"yes\":true,\"no\":false}",
		"\"level\":\"error\",\"event\":\"a.b\",\"most\":9223372036854775807,\"least\":-9223372036854775808}",
		"\"level\":\"warning\",\"event\":\"a.b\",\"empty\":\"\"}",
		"\"level\":\"info\",\"event\":\"a.b\",\"odd\":\"a\\\"b\\\\c\\nd\\u0000e\\u007f\xc3\xa9\\u00ff\"}",
	};
	struct reader reader;
	reader_open(&reader);
	reader_start(&reader);
	LOG(DEBUG, "not.seen", log_bool("seen", false));
	LOG(INFO, "a.b", log_text("text", TEXT("t")), log_number("number", -5), log_bool("yes", true),
		log_bool("no", false));
	LOG(ERROR, "a.b", log_number("most", INT64_MAX), log_number("least", INT64_MIN));
	LOG(WARNING, "a.b", log_text("absent", TEXT_NONE), log_text("empty", TEXT("")));
	LOG(INFO, "a.b", log_text("odd", ((struct text){"a\"b\\c\nd\0e\x7f\xc3\xa9\xff", 13})));
	reader_finish(&reader);
	struct text rest = buffer_text(&reader.seen), line = TEXT_NONE;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_true(next_line(&rest, &line));
		if (!text_equals(after_time(line), text_of(expected[i])))
			fail_msg("line %zu: %.*s", i, TEXT_ARGUMENTS(line));
	}
	assert_int_equal(rest.length, 0);
	buffer_free(&reader.seen);
}

/* Values are cut, fields that do not fit are left out whole: the line stays valid, the small ones stay in it. */
static void long_values_leave_valid_lines(void **state)
{
	(void)state;
	static const char bytes[] = {'x', '\n', '"', '\x80'};
	static char names[40][12];
	char value[5000];
	struct reader reader;
	reader_open(&reader);
	reader_start(&reader);
	for (size_t kind = 0; kind < sizeof(bytes); kind++) {
		for (size_t length = 100; length <= sizeof(value); length *= 7) {
			struct log_field fields[40];
			memset(value, bytes[kind], sizeof(value));
			for (int i = 0; i < 40; i++) {
				snprintf(names[i], sizeof(names[i]), ",\"f%d\":", i);
				fields[i] = i % 2 == 0 ? log_text("", ((struct text){value, length})) : log_number("", i);
				fields[i].name = text_of(names[i]);
			}
			log_write(LOG_INFO, "a.b", fields, 40);
		}
	}
	reader_finish(&reader);
	struct text rest = buffer_text(&reader.seen), line;
	size_t count = 0;
	for (; next_line(&rest, &line); count++) {
		int64_t number;
		struct json *root = parse(line);
		assert_true(line.length < 8192);
		struct text first = json_member_text(root, "f0");
		assert_true(first.length == 3 || (first.length >= 100 && first.length <= 2048)); /* "...": it was all escapes */
		assert_true(json_integer(json_member(root, "f1"), &number) && number == 1);
		assert_non_null(json_member_text(root, "f2").bytes);
		json_free(root);
	}
	assert_int_equal(count, 4 * 3);
	buffer_free(&reader.seen);
}

static void *write_lines(void *context)
{
	for (int i = 0; i < LINES; i++)
		LOG(INFO, "thread.line", log_number("thread", (intptr_t)context), log_number("line", i));
	return NULL;
}

static void lines_of_threads_stay_whole_and_ordered(void **state)
{
	(void)state;
	struct reader reader;
	pthread_t threads[THREADS];
	int64_t next[THREADS] = {0}, thread, number;
	uint64_t lost = log_dropped();
	reader_open(&reader);
	reader_start(&reader);
	for (intptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	reader_finish(&reader);
	struct text rest = buffer_text(&reader.seen), line;
	while (next_line(&rest, &line)) {
		struct json *root = parse(line);
		assert_true(json_integer(json_member(root, "thread"), &thread) && thread >= 0 && thread < THREADS);
		assert_true(json_integer(json_member(root, "line"), &number));
		assert_int_equal(number, next[thread]++);
		json_free(root);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(next[i], LINES);
	assert_int_equal(log_dropped(), lost);
	buffer_free(&reader.seen);
}

/* A line that would not fit before the ring's end is built elsewhere: both kinds are whole, whatever their lengths. */
static void lines_stay_whole_round_the_ring(void **state)
{
	(void)state;
	enum { ROUNDS = 6, LINES_A_ROUND = 900 };
	static char value[1024];
	int64_t next = 0, number;
	memset(value, 'v', sizeof(value));
	for (int round = 0; round < ROUNDS; round++) {
		struct reader reader;
		reader_open(&reader);
		reader_start(&reader);
		for (int i = 0; i < LINES_A_ROUND; i++) {
			struct log_line line;
			log_line_begin(&line, LOG_INFO, TEXT("a.b"));
			log_line_text(&line, TEXT(",\"value\":"), (struct text){value, (size_t)(round * LINES_A_ROUND + i) % 700});
			log_line_number(&line, TEXT(",\"line\":"), round * LINES_A_ROUND + i);
			log_line_plain(&line, TEXT(",\"absent\":"), TEXT_NONE);
			log_line_end(&line);
		}
		reader_finish(&reader);
		struct text rest = buffer_text(&reader.seen), line;
		while (next_line(&rest, &line)) {
			struct json *root = parse(line);
			assert_true(json_integer(json_member(root, "line"), &number));
			assert_int_equal(number, next++);
			assert_int_equal(json_member_text(root, "value").length, (size_t)number % 700);
			assert_null(json_member(root, "absent"));
			json_free(root);
		}
		assert_int_equal(next, (round + 1) * LINES_A_ROUND);
		buffer_free(&reader.seen);
	}
}

/* Nobody reads: the ring fills, writers are not held up; the next lines say how many are missing. */
static void what_does_not_fit_is_counted(void **state)
{
	(void)state;
	struct reader reader;
	int64_t last = -1, said = 0, number;
	size_t seen = 0;
	uint64_t before = log_dropped();
	char value[200];
	memset(value, 'v', sizeof(value));
	reader_open(&reader);
	for (int i = 0; i < FLOOD; i++)
		LOG(INFO, "flood", log_number("line", i), log_text("value", ((struct text){value, sizeof(value)})));
	uint64_t lost = log_dropped() - before;
	assert_true(lost > FLOOD / 4 && lost < FLOOD);
	reader_start(&reader);
	reader_finish(&reader);
	struct text rest = buffer_text(&reader.seen), line;
	while (next_line(&rest, &line)) {
		struct json *root = parse(line);
		if (text_equals(json_member_text(root, "event"), TEXT("log.dropped"))) {
			assert_true(json_integer(json_member(root, "lines"), &number));
			said += number;
		} else {
			assert_true(json_integer(json_member(root, "line"), &number) && number > last);
			last = number;
			seen++;
		}
		json_free(root);
	}
	assert_int_equal(seen + lost, FLOOD);
	assert_int_equal(said, lost);
	buffer_free(&reader.seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_written),
		cmocka_unit_test(long_values_leave_valid_lines),
		cmocka_unit_test(lines_of_threads_stay_whole_and_ordered),
		cmocka_unit_test(lines_stay_whole_round_the_ring),
		cmocka_unit_test(what_does_not_fit_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
