/* An agent made of the executor, for tests with a real broker: executor_agent URL TYPE... serves these activity types
 * until SIGTERM. What an activity does is said in the shared data: "script": {"<activity id>": ["retry", "complete",
 * ...]}, one for each attempt, the last for all that follow; nothing: complete. Parked messages are printed. */
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/orchestration/executor.h"
#include "server/worker_pool.h"

enum { TYPES_MAX = 16, PARALLEL = 16 };

struct agent {
	struct task end; /* first */
	sem_t ended;
	struct bus *bus;
	struct worker *worker;
	char **types;
	int count;
	struct executor *executors[TYPES_MAX];
	bool is_ending;
};

static struct text script_of(const struct activity *activity)
{
	char *id = text_copy(activity_id(activity));
	const struct json *one = id != NULL ? json_first(json_member(activity_value(activity, "script"), id)) : NULL;
	for (unsigned attempt = 1; attempt < activity_attempt(activity) && json_next(one) != NULL; attempt++)
		one = json_next(one);
	free(id);
	return one != NULL ? json_text(one) : TEXT("complete");
}

static struct json *text_node(const char *text)
{
	struct json *holder = json_object_new(), *node = NULL;
	if (json_add_text(holder, "t", text_of(text)))
		node = json_copy(json_member(holder, "t"));
	json_free(holder);
	return node;
}

static void run(void *context, struct activity *activity)
{
	static const struct {
		const char *name;
		enum activity_outcome outcome;
	} outcomes[] = {{"complete", ACTIVITY_COMPLETE}, {"schedule", ACTIVITY_SCHEDULE}, {"retry", ACTIVITY_RETRY},
		{"fatal", ACTIVITY_FATAL}};
	struct text script = script_of(activity);
	struct buffer name = {0};
	(void)context;
	buffer_append(&name, activity_id(activity));
	printf("run %s %u %.*s\n", name.bytes, activity_attempt(activity), TEXT_ARGUMENTS(script));
	fflush(stdout);
	if (text_equals(script, TEXT("crash")))
		_exit(9);
	if (!activity_set_output(activity, name.bytes, text_node("done")) ||
		!activity_set_value(activity, name.bytes, text_node("seen")))
		abort();
	buffer_free(&name);
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		if (text_equals(script, text_of(outcomes[i].name)))
			activity_finish(activity, outcomes[i].outcome, 50, "the script says so");
	}
	/* "hang": never */
}

/* A hanging run ends with its process alone. */
static void abandon(void *context, struct activity *activity)
{
	const struct agent *agent = context;
	if (agent->is_ending)
		activity_finish(activity, ACTIVITY_RETRY, 0, NULL);
}

static void park(void *context, const struct bus_message *message, const char *why,
	void (*done)(void *ticket, bool is_kept), void *ticket)
{
	(void)context;
	printf("parked %.*s: %s\n", TEXT_ARGUMENTS(message->subject), why);
	fflush(stdout);
	done(ticket, true);
}

static enum status on_start(void *context, struct worker *worker)
{
	struct agent *agent = context;
	for (int i = 0; i < agent->count; i++) {
		agent->executors[i] = executor_open(agent->bus, worker,
			&(struct executor_settings){.type = text_of(agent->types[i]),
				.parallel = PARALLEL,
				.failures_max = 3,
				.run_ms = 1000,
				.beat_ms = 200,
				.retry_ms = 20,
				.retry_max_ms = 100},
			&(struct executor_processor){.run = run, .abandon = abandon, .park = park, .context = agent});
		if (agent->executors[i] == NULL)
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

static void on_end(struct task *task)
{
	struct agent *agent = (struct agent *)task;
	agent->is_ending = true;
	for (int i = 0; i < agent->count; i++)
		executor_close(agent->executors[i]);
	sem_post(&agent->ended);
}

int main(int count, char **arguments)
{
	struct agent agent = {.types = arguments + 2, .count = count - 2};
	struct buffer error = {0};
	struct bus_settings settings = {0};
	struct setting_section section = {"nats", bus_settings_table, bus_settings_count, &settings};
	sigset_t signals;
	int number;
	if (count < 3 || count - 2 > TYPES_MAX) {
		fputs("usage: executor_agent URL TYPE...\n", stderr);
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	struct buffer config = {0};
	buffer_printf(&config, "{\"nats\":{\"urls\":[\"%s\"],\"reconnect_ms\":50}}", arguments[1]);
	struct worker_pool *pool = worker_pool_new(1);
	if (pool == NULL || config_parse("arguments", buffer_text(&config), &section, 1, &error) != STATUS_OK ||
		bus_open(&settings, worker_pool_at(pool, 0), &agent.bus, &error) != STATUS_OK) {
		fprintf(stderr, "%s\n", error.bytes != NULL ? error.bytes : "out of memory");
		return 1;
	}
	worker_pool_on_start(pool, on_start, &agent);
	agent.end.run = on_end;
	sem_init(&agent.ended, 0, 0);
	if (worker_pool_start(pool) != STATUS_OK)
		return 1;
	puts("ready");
	fflush(stdout);
	sigwait(&signals, &number);
	worker_post(worker_pool_at(pool, 0), &agent.end);
	sem_wait(&agent.ended);
	bus_close(agent.bus);
	worker_pool_stop(pool);
	worker_pool_free(pool);
	config_free(&section, 1);
	buffer_free(&config);
	return 0;
}
