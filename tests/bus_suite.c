/* The bus against a real server; e2e/test_bus.py starts one, gives NATS_URL, and breaks it (the named steps wait on a
 * pipe). Runs as: bus_suite STEP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control/bus/bus.h"
#include "server/base/clock.h"
#include "server/worker_pool.h"

static struct worker_pool *pool;
static struct bus *bus;

/* --- running something on the worker and waiting for its end */

struct job {
	struct task task;
	void (*run)(struct job *job);
	sem_t done;
	enum status status;
	uint64_t number;
	char text[512];
	const char *subject, *body, *id;
	int64_t expected;
	bool is_duplicate;
};

static void run_job(struct task *task)
{
	struct job *job = (struct job *)task;
	job->run(job);
}

static void do_job(struct job *job, void (*run)(struct job *job))
{
	sem_init(&job->done, 0, 0);
	job->run = run;
	job->task.run = run_job;
	worker_post(worker_pool_at(pool, 0), &job->task);
	while (sem_wait(&job->done) != 0)
		continue;
	sem_destroy(&job->done);
}

static void keep(struct job *job, struct text text)
{
	snprintf(job->text, sizeof(job->text), "%.*s", TEXT_ARGUMENTS(text));
}

static void on_published(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct job *job = context;
	job->status = status;
	job->number = sequence;
	job->is_duplicate = is_duplicate;
	sem_post(&job->done);
}

static void publish(struct job *job)
{
	bus_publish(bus, text_of(job->subject), job->id == NULL ? TEXT_NONE : text_of(job->id), NULL, 0, text_of(job->body),
		on_published, job);
}

static void on_ensured(void *context, enum status status, struct text error)
{
	struct job *job = context;
	job->status = status;
	keep(job, error);
	sem_post(&job->done);
}

static void ensure_stream(struct job *job)
{
	bus_stream_ensure(bus, text_of(job->subject), text_of(job->body), on_ensured, job);
}

static void ensure_bucket(struct job *job)
{
	bus_bucket_ensure(bus, text_of(job->subject), on_ensured, job);
}

static void on_api(void *context, enum status status, struct text json)
{
	struct job *job = context;
	job->status = status;
	keep(job, json);
	sem_post(&job->done);
}

static void call_api(struct job *job)
{
	bus_api(bus, text_of(job->subject), TEXT(""), on_api, job);
}

static void on_put(void *context, enum status status, uint64_t revision)
{
	struct job *job = context;
	job->status = status;
	job->number = revision;
	sem_post(&job->done);
}

static void put(struct job *job)
{
	bus_bucket_put(bus, TEXT("things"), text_of(job->id), text_of(job->body), job->expected, on_put, job);
}

/* As other programs do it. */
static void purge(struct job *job)
{
	const struct bus_header headers[] = {{TEXT("KV-Operation"), TEXT("PURGE")}, {TEXT("Nats-Rollup"), TEXT("sub")}};
	char subject[64];
	snprintf(subject, sizeof(subject), "$KV.things.%s", job->id);
	bus_publish(bus, text_of(subject), TEXT_NONE, headers, 2, TEXT(""), on_published, job);
}

static void on_got(void *context, enum status status, struct text value, uint64_t revision)
{
	struct job *job = context;
	job->status = status;
	job->number = revision;
	keep(job, value);
	sem_post(&job->done);
}

static void get(struct job *job)
{
	bus_bucket_get(bus, TEXT("things"), text_of(job->id), on_got, job);
}

static void on_answer(void *context, enum status status, const struct bus_message *message)
{
	struct job *job = context;
	job->status = status;
	if (message != NULL)
		keep(job, message->body);
	sem_post(&job->done);
}

static void ask(struct job *job)
{
	bus_request(bus, text_of(job->subject), NULL, 0, text_of(job->body), 1000, on_answer, job);
}

static void look(struct job *job)
{
	struct buffer line = {0};
	bus_line(bus, &line);
	job->status = bus_is_up(bus) ? STATUS_OK : STATUS_UNAVAILABLE;
	job->number = bus_round_trip_us(bus);
	keep(job, buffer_text(&line));
	buffer_free(&line);
	sem_post(&job->done);
}

static void nap(void)
{
	nanosleep(&(struct timespec){0, 5 * 1000 * 1000}, NULL);
}

static bool wait_state(bool is_up)
{
	for (uint64_t end = clock_monotonic_ms() + 20000; clock_monotonic_ms() < end; nap()) {
		struct job job = {0};
		do_job(&job, look);
		if ((job.status == STATUS_OK) == is_up)
			return true;
	}
	return false;
}

/* --- what comes */

enum { SEEN_MAX = 4096 };
static atomic_uint seen_count;
static unsigned seen[SEEN_MAX];
static atomic_int refuse_first;

static void on_message(void *context, const struct bus_message *message)
{
	(void)context;
	struct bus_delivery delivery;
	uint64_t number = 0;
	assert_int_equal(bus_delivery_parse(message->reply, &delivery), STATUS_OK);
	assert_int_equal(text_to_unsigned(message->body, 1000000, &number), STATUS_OK);
	if (atomic_load(&refuse_first) > 0 && delivery.deliveries == 1) {
		atomic_fetch_sub(&refuse_first, 1);
		bus_answer(bus, message->reply, BUS_NAK, 10);
		return;
	}
	unsigned at = atomic_load(&seen_count);
	if (at < SEEN_MAX)
		seen[at] = (unsigned)number;
	atomic_store(&seen_count, at + 1);
	bus_answer(bus, message->reply, BUS_ACK, 0); /* lost when the bus ends just now */
}

static struct bus_consumer *consumer;

static void consume(struct job *job)
{
	const struct bus_consumer_settings settings = {.stream = TEXT("work"),
		.durable = TEXT("worker"),
		.config = TEXT("{\"ack_policy\":\"explicit\",\"filter_subject\":\"work.a\",\"ack_wait\":1000000000}"),
		.batch = 8,
		.is_queue = true,
		.waits_for_stream = true};
	consumer = bus_consume(bus, &settings, on_message, NULL);
	job->status = consumer == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	sem_post(&job->done);
}

static void close_consumer(struct job *job)
{
	bus_consumer_close(consumer);
	consumer = NULL;
	sem_post(&job->done);
}

static bool wait_seen(unsigned count)
{
	for (uint64_t end = clock_monotonic_ms() + 30000; clock_monotonic_ms() < end; nap()) {
		if (atomic_load(&seen_count) >= count)
			return true;
	}
	return false;
}

static const char work_stream[] =
	"{\"name\":\"work\",\"subjects\":[\"work.*\"],\"retention\":\"workqueue\",\"storage\":\"file\"}";

static void make_work_stream(void)
{
	struct job job = {.subject = "work", .body = work_stream};
	do_job(&job, ensure_stream);
	assert_int_equal(job.status, STATUS_OK);
}

static void publish_numbers(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		char body[16];
		snprintf(body, sizeof(body), "%u", i);
		struct job job = {.subject = "work.a", .body = body};
		do_job(&job, publish);
		assert_int_equal(job.status, STATUS_OK);
	}
}

/* --- tests */

static struct bus *open_bus(void)
{
	static char *urls[1];
	urls[0] = getenv("NATS_URL"); /* NOLINT(concurrency-mt-unsafe) */
	const struct bus_settings settings = {
		.urls = {urls, 1}, .inbox = (char[]){"_INBOX"}, .pending_max = 1000, .reconnect_ms = 20};
	struct buffer error = {0};
	struct bus *made = NULL;
	return bus_open(&settings, worker_pool_at(pool, 0), &made, &error) == STATUS_OK ? made : NULL;
}

static int start(void **state)
{
	(void)state;
	pool = worker_pool_new(1);
	if (pool == NULL || worker_pool_start(pool) != STATUS_OK || (bus = open_bus()) == NULL)
		return -1;
	atomic_store(&seen_count, 0);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	bus_close(bus);
	worker_pool_stop(pool);
	worker_pool_free(pool);
	return 0;
}

static void test_streams(void **state)
{
	(void)state;
	assert_true(wait_state(true));
	struct job job = {.subject = "work.a", .body = "0"};
	do_job(&job, publish);
	assert_int_equal(job.status, STATUS_UNAVAILABLE); /* nobody listens */
	make_work_stream();
	make_work_stream();
	job = (struct job){
		.subject = "work", .body = "{\"name\":\"work\",\"subjects\":[\"work.*\"],\"retention\":\"limits\"}"};
	do_job(&job, ensure_stream);
	assert_int_equal(job.status, STATUS_CONFLICT);
	assert_non_null(strstr(job.text, "workqueue"));
	job = (struct job){
		.subject = "other", .body = "{\"name\":\"other\",\"subjects\":[\"work.>\"],\"retention\":\"limits\"}"};
	do_job(&job, ensure_stream);
	assert_int_equal(job.status, STATUS_CONFLICT); /* overlapping subjects: 10065 */
	assert_non_null(strstr(job.text, "overlap"));
	job = (struct job){.subject = "work.b", .body = "x", .id = "one"};
	do_job(&job, publish);
	assert_int_equal(job.status, STATUS_OK);
	assert_false(job.is_duplicate);
	do_job(&job, publish);
	assert_int_equal(job.status, STATUS_OK);
	assert_true(job.is_duplicate);
}

static void test_consumer(void **state)
{
	(void)state;
	assert_true(wait_state(true));
	struct job job = {0};
	do_job(&job, consume); /* before there is a stream */
	make_work_stream();
	atomic_store(&refuse_first, 1);
	publish_numbers(0, 100);
	assert_true(wait_seen(100));
	bool is_seen[100] = {false};
	for (unsigned i = 0; i < 100; i++) {
		assert_false(is_seen[seen[i]]);
		is_seen[seen[i]] = true;
	}
	do_job(&job, close_consumer);
}

static void test_bucket(void **state)
{
	(void)state;
	assert_true(wait_state(true));
	struct job job = {.subject = "things"};
	do_job(&job, ensure_bucket);
	assert_int_equal(job.status, STATUS_OK);
	job = (struct job){.id = "a"};
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_NOT_FOUND);
	job = (struct job){.id = "a", .body = "{\"x\":\"\xc3\xa4\"}", .expected = 0};
	do_job(&job, put);
	assert_int_equal(job.status, STATUS_OK);
	uint64_t first = job.number;
	do_job(&job, put);
	assert_int_equal(job.status, STATUS_CONFLICT);
	job = (struct job){.id = "a"};
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_OK);
	assert_int_equal(job.number, first);
	assert_string_equal(job.text, "{\"x\":\"\xc3\xa4\"}");
	job = (struct job){.id = "a", .body = "2", .expected = (int64_t)first};
	do_job(&job, put);
	assert_int_equal(job.status, STATUS_OK);
	job = (struct job){.id = "a"};
	do_job(&job, purge);
	assert_int_equal(job.status, STATUS_OK);
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_NOT_FOUND);
}

/* A bucket of somebody else's, which may not be asked directly. */
static void test_bucket_without_direct_answers(void **state)
{
	(void)state;
	assert_true(wait_state(true));
	struct job job = {.subject = "STREAM.DELETE.KV_things"};
	do_job(&job, call_api);
	job = (struct job){.id = "a"};
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_NOT_FOUND); /* no bucket at all */
	job = (struct job){.subject = "KV_things",
		.body = "{\"name\":\"KV_things\",\"subjects\":[\"$KV.things.>\"],\"retention\":\"limits\","
				"\"max_msgs_per_subject\":1,\"allow_rollup_hdrs\":true}"};
	do_job(&job, ensure_stream);
	assert_int_equal(job.status, STATUS_OK);
	job = (struct job){.id = "a"};
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_NOT_FOUND);
	job = (struct job){.id = "a", .body = "{\"x\":\"\xc3\xa4\"}", .expected = 0};
	do_job(&job, put);
	assert_int_equal(job.status, STATUS_OK);
	uint64_t first = job.number;
	job = (struct job){.id = "a"};
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_OK);
	assert_int_equal(job.number, first);
	assert_string_equal(job.text, "{\"x\":\"\xc3\xa4\"}");
	job = (struct job){.id = "b"};
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_NOT_FOUND);
	job = (struct job){.id = "> *"}; /* no subject is so called */
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_NOT_FOUND);
	job = (struct job){.id = "a"};
	do_job(&job, purge);
	assert_int_equal(job.status, STATUS_OK);
	do_job(&job, get);
	assert_int_equal(job.status, STATUS_NOT_FOUND);
}

/* Buckets that are made again and again, over another connection, while their values are asked for: 2.9.10 dies when it
 * is asked through its API of a stream that has no store yet. The connection is never lost. */
enum { ROUNDS = 500, QUESTIONS = 8 };
static struct hammer {
	struct task task;
	sem_t done;
	unsigned round, waiting, found, downs;
	struct bus *maker;
	char bucket[32]; /* another one each time: a server may still listen for one that is gone */
	enum status worst;
} hammer;

static void on_hammer_deleted(void *context, enum status status, struct text json);

static void hammer_ended(enum status status)
{
	struct buffer subject = {0};
	if (status != STATUS_OK && status != STATUS_NOT_FOUND && status != STATUS_UNAVAILABLE)
		hammer.worst = status;
	buffer_printf(&subject, "STREAM.DELETE.KV_%s", hammer.bucket);
	if (--hammer.waiting == 0)
		bus_api(hammer.maker, buffer_text(&subject), TEXT(""), on_hammer_deleted, NULL);
	buffer_free(&subject);
}

static void on_hammer_value(void *context, enum status status, struct text value, uint64_t revision)
{
	(void)context, (void)revision;
	hammer.found += status == STATUS_OK && value.length > 0;
	hammer_ended(status);
}

static void on_hammer_put(void *context, enum status status, uint64_t revision)
{
	(void)context, (void)revision;
	hammer_ended(status);
}

static void on_hammer_made(void *context, enum status status, struct text error)
{
	(void)context, (void)error;
	bus_bucket_put(hammer.maker, text_of(hammer.bucket), TEXT("a"), TEXT("1"), BUS_REVISION_ANY, on_hammer_put, NULL);
	for (unsigned i = 0; i < QUESTIONS; i++)
		bus_bucket_get(bus, text_of(hammer.bucket), TEXT("a"), on_hammer_value, NULL);
	hammer.waiting += 1 + QUESTIONS;
	hammer_ended(status);
}

/* All in one turn, so that the questions fall into the making. */
static void hammer_begin(void)
{
	hammer.waiting = 1 + QUESTIONS;
	snprintf(hammer.bucket, sizeof(hammer.bucket), "things%u", hammer.round);
	bus_bucket_ensure(hammer.maker, text_of(hammer.bucket), on_hammer_made, NULL);
	for (unsigned i = 0; i < QUESTIONS; i++)
		bus_bucket_get(bus, text_of(hammer.bucket), TEXT("a"), on_hammer_value, NULL);
}

static void on_hammer_deleted(void *context, enum status status, struct text json)
{
	(void)context, (void)status, (void)json;
	if (++hammer.round < ROUNDS && hammer.downs == 0)
		hammer_begin();
	else
		sem_post(&hammer.done);
}

static void on_hammer_state(void *context, bool is_up)
{
	(void)context;
	hammer.downs += !is_up;
}

static void hammer_start(struct task *task)
{
	if (!bus_is_up(hammer.maker)) {
		worker_post(worker_pool_at(pool, 0), task);
		return;
	}
	bus_on_state(bus, on_hammer_state, NULL);
	hammer_begin();
}

static void test_buckets_that_come_and_go(void **state)
{
	(void)state;
	hammer = (struct hammer){.task = {.run = hammer_start}, .maker = open_bus()};
	assert_non_null(hammer.maker);
	sem_init(&hammer.done, 0, 0);
	assert_true(wait_state(true));
	worker_post(worker_pool_at(pool, 0), &hammer.task);
	while (sem_wait(&hammer.done) != 0)
		continue;
	sem_destroy(&hammer.done);
	bus_close(hammer.maker);
	assert_int_equal(hammer.downs, 0);
	assert_int_equal(hammer.round, ROUNDS);
	assert_int_equal(hammer.worst, STATUS_OK);
	assert_true(hammer.found > 0);
}

static void test_requests(void **state)
{
	(void)state;
	assert_true(wait_state(true));
	struct job job = {.subject = "nobody.home", .body = "?"};
	do_job(&job, ask);
	assert_int_equal(job.status, STATUS_UNAVAILABLE);
	for (uint64_t end = clock_monotonic_ms() + 10000; clock_monotonic_ms() < end && job.number == 0; nap())
		do_job(&job, look);
	assert_true(job.number > 0); /* the round trip is measured */
	assert_non_null(strstr(job.text, "connected to nats://"));
}

/* The server is killed and started, with and without its store, under messages; every number that was acknowledged
 * before a wipe or published after it is seen. */
static void test_broken(void **state)
{
	(void)state;
	assert_true(wait_state(true));
	make_work_stream();
	struct job job = {0};
	do_job(&job, consume);
	publish_numbers(0, 10);
	assert_true(wait_seen(10));
	const unsigned rounds = 4;
	for (unsigned i = 0; i < rounds; i++) {
		puts("break"); /* the other end kills the server, */
		fflush(stdout);
		assert_true(wait_state(false));
		job = (struct job){.subject = "work.a", .body = "0"};
		do_job(&job, publish);
		assert_int_equal(job.status, STATUS_UNAVAILABLE);
		do_job(&job, look);
		assert_non_null(strstr(job.text, "no connection for"));
		puts("mend"); /* and starts it, once with the stream emptied under its consumer, the last time with an empty
						 store */
		fflush(stdout);
		assert_true(wait_state(true));
		make_work_stream();
		publish_numbers(10 * (i + 1), 10 * (i + 2));
		assert_true(wait_seen(10 * (i + 2)));
	}
}

/* The server is not there at first. */
static void test_late(void **state)
{
	(void)state;
	struct job job = {0};
	do_job(&job, look);
	assert_int_equal(job.status, STATUS_UNAVAILABLE);
	do_job(&job, consume);
	puts("mend");
	fflush(stdout);
	assert_true(wait_state(true));
	make_work_stream();
	publish_numbers(0, 3);
	assert_true(wait_seen(3));
}

int main(int count, char **arguments)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test_setup_teardown(test_streams, start, stop),
		cmocka_unit_test_setup_teardown(test_consumer, start, stop),
		cmocka_unit_test_setup_teardown(test_bucket, start, stop),
		cmocka_unit_test_setup_teardown(test_bucket_without_direct_answers, start, stop),
		cmocka_unit_test_setup_teardown(test_buckets_that_come_and_go, start, stop),
		cmocka_unit_test_setup_teardown(test_requests, start, stop),
	};
	const struct CMUnitTest broken[] = {cmocka_unit_test_setup_teardown(test_broken, start, stop)};
	const struct CMUnitTest late[] = {cmocka_unit_test_setup_teardown(test_late, start, stop)};
	if (count == 2 && strcmp(arguments[1], "broken") == 0)
		return cmocka_run_group_tests(broken, NULL, NULL);
	if (count == 2 && strcmp(arguments[1], "late") == 0)
		return cmocka_run_group_tests(late, NULL, NULL);
	return cmocka_run_group_tests(all, NULL, NULL);
}
