/* Tenants, their connections and their requests. A connection is what the client pools under a tenant's name of its
 * own, so that each carries exactly its streams; shared ones go by one name for all. */
#include "bench/cellbench/load.h"

#include <event2/event.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "server/client.h"
#include "server/worker_pool.h"

enum { SCRATCH = 256 * 1024, PAUSE_MS = 10 };

struct tenant;

/* One stream: at most one request at a time. */
struct stream {
	struct tenant *tenant;
	struct client_call *call;
	struct stream *next_free;
	char pool[48]; /* the name its connection is pooled under */
	uint64_t due_ns;
	bool has_failed;
};

struct tenant {
	const struct tenant_load *load;
	struct tenant_result *result;
	struct thread *thread;
	struct stream *streams, *free;
	uint64_t next_due_ns; /* open loop */
	struct header header;
};

/* One worker's share of the tenants. */
struct thread {
	struct load *load;
	struct worker *worker;
	struct tenant **tenants;
	size_t tenant_count;
	struct task turn; /* open loops look at the clock in every turn ... */
	int alarm;        /* ... or sleep until something is due; -1: they do not */
	struct event *alarm_event;
	uint64_t alarm_ns; /* when it goes off; 0: it is not set */
	struct timer *pause;
	uint64_t seed;
	bool is_open, is_stopping, is_pausing;
	uint8_t *scratch;
};

struct load {
	const struct scenario *scenario;
	struct tenant *tenants;
	struct tenant_result *results;
	struct thread *threads;
	struct network all[2];
	atomic_bool measures;
	_Atomic uint64_t started_ns; /* of the window; 0: not yet */
};

static const struct client_events events;
static void pump(struct tenant *tenant, uint64_t now_ns);
static void set_alarm(struct thread *thread);

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* --- when requests are due */

static double uniform(struct thread *thread)
{
	thread->seed ^= thread->seed << 13;
	thread->seed ^= thread->seed >> 7;
	thread->seed ^= thread->seed << 17;
	return ((double)(thread->seed >> 11) + 1) / 9007199254740993.0;
}

static uint64_t gap(struct tenant *tenant)
{
	double mean = 1e9 / tenant->load->rate;
	return (uint64_t)(tenant->load->is_poisson ? -log(uniform(tenant->thread)) * mean : mean);
}

/* --- one request */

static bool counts(const struct stream *stream)
{
	const struct load *load = stream->tenant->thread->load;
	return atomic_load_explicit(&load->measures, memory_order_relaxed) &&
		   stream->due_ns >= atomic_load_explicit(&load->started_ns, memory_order_relaxed);
}

static void end(struct stream *stream, bool is_good)
{
	struct tenant *tenant = stream->tenant;
	uint64_t now_ns = now();
	client_call_close(stream->call);
	stream->call = NULL;
	stream->next_free = tenant->free;
	tenant->free = stream;
	if (counts(stream)) {
		if (is_good)
			histogram_add(&tenant->result->latency, now_ns - stream->due_ns);
		else
			tenant->result->failed++;
	}
	if (is_good) {
		pump(tenant, now_ns);
		set_alarm(tenant->thread);
		return;
	}
	/* a server that refuses everything is not asked again in the same turn */
	struct thread *thread = tenant->thread;
	if (!thread->is_pausing)
		timer_set(thread->pause, PAUSE_MS);
	thread->is_pausing = true;
}

static void on_readable(void *state, struct client_call *call)
{
	struct stream *stream = state;
	struct thread *thread = stream->tenant->thread;
	for (;;) {
		size_t count = 0;
		enum body_state result = client_call_read(call, thread->scratch, SCRATCH, &count);
		if (atomic_load_explicit(&thread->load->measures, memory_order_relaxed))
			stream->tenant->result->bytes += count;
		if (result == BODY_LATER)
			return;
		if (result != BODY_MORE) {
			end(stream, result == BODY_END && !stream->has_failed);
			return;
		}
	}
}

static void on_head(void *state, struct client_call *call, const struct client_response *response)
{
	struct stream *stream = state;
	stream->has_failed = response->status >= 400;
	if (counts(stream))
		histogram_add(&stream->tenant->result->first_byte, now() - stream->due_ns);
	on_readable(state, call);
}

static void on_writable(void *state, struct client_call *call)
{
	(void)state, (void)call;
}

static void on_failed(void *state, struct client_call *call, enum status why)
{
	(void)call, (void)why;
	end(state, false);
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

static void start(struct stream *stream, uint64_t due_ns)
{
	struct tenant *tenant = stream->tenant;
	const struct scenario *scenario = tenant->thread->load->scenario;
	const struct address_rules rules = {tenant->thread->load->all, 2};
	const struct client_request request = {.tenant = text_of(stream->pool),
		.url = &tenant->load->url,
		.method = TEXT("GET"),
		.headers = &tenant->header,
		.header_count = tenant->load->authorization != NULL ? 1 : 0,
		.rules = &rules,
		.version = scenario->is_http2 ? HTTP_2 : HTTP_1,
		.ca_file = scenario->ca_file == NULL ? TEXT_NONE : text_of(scenario->ca_file)};
	stream->due_ns = due_ns;
	stream->has_failed = false;
	if (client_call_start(tenant->thread->worker, &request, &events, stream, &stream->call) == STATUS_OK)
		return;
	stream->call = NULL;
	tenant->result->failed++;
	stream->next_free = tenant->free;
	tenant->free = stream;
}

/* Starts what is due and has a free stream. */
static void pump(struct tenant *tenant, uint64_t now_ns)
{
	bool is_open = tenant->load->rate > 0;
	while (!tenant->thread->is_stopping && tenant->free != NULL && (!is_open || tenant->next_due_ns <= now_ns)) {
		struct stream *stream = tenant->free;
		tenant->free = stream->next_free;
		uint64_t due_ns = is_open ? tenant->next_due_ns : now_ns;
		if (is_open)
			tenant->next_due_ns += gap(tenant);
		start(stream, due_ns);
		if (stream->call == NULL)
			break;
	}
}

/* --- threads */

static void pump_open_loops(struct thread *thread)
{
	uint64_t now_ns = now();
	for (size_t i = 0; i < thread->tenant_count; i++) {
		if (thread->tenants[i]->load->rate > 0)
			pump(thread->tenants[i], now_ns);
	}
}

/* For the first request that is due and has a free stream. */
static void set_alarm(struct thread *thread)
{
	uint64_t first_ns = UINT64_MAX;
	for (size_t i = 0; thread->alarm >= 0 && i < thread->tenant_count; i++) {
		const struct tenant *tenant = thread->tenants[i];
		if (tenant->load->rate > 0 && tenant->free != NULL && tenant->next_due_ns < first_ns)
			first_ns = tenant->next_due_ns;
	}
	if (first_ns == UINT64_MAX || first_ns == thread->alarm_ns)
		return;
	const struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(first_ns / 1000000000), .tv_nsec = (long)(first_ns % 1000000000)}};
	if (timerfd_settime(thread->alarm, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		thread->alarm_ns = first_ns;
}

static void on_alarm(evutil_socket_t descriptor, short what, void *context)
{
	struct thread *thread = context;
	uint64_t count;
	(void)what;
	if (read(descriptor, &count, sizeof(count)) < 0 || thread->is_stopping)
		return;
	thread->alarm_ns = 0;
	pump_open_loops(thread);
	set_alarm(thread);
}

static void on_turn(struct task *task)
{
	struct thread *thread = (struct thread *)(void *)((char *)task - offsetof(struct thread, turn));
	if (thread->is_stopping)
		return;
	pump_open_loops(thread);
	worker_post(thread->worker, &thread->turn);
}

static bool open_alarm(struct thread *thread)
{
	thread->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	thread->alarm_event = thread->alarm < 0 ? NULL
											: event_new(worker_loop(thread->worker), thread->alarm,
												  EV_READ | EV_PERSIST, on_alarm, thread);
	return thread->alarm_event != NULL && event_add(thread->alarm_event, NULL) == 0;
}

static void on_pause(void *context)
{
	struct thread *thread = context;
	thread->is_pausing = false;
	for (size_t i = 0; i < thread->tenant_count; i++)
		pump(thread->tenants[i], now());
}

static enum status on_start(void *context, struct worker *worker)
{
	struct load *load = context;
	struct thread *thread = &load->threads[worker_index(worker)];
	uint64_t now_ns = now();
	thread->worker = worker;
	thread->seed = UINT64_C(0x9e3779b97f4a7c15) * (worker_index(worker) + 1); /* the same arrivals in every run */
	thread->scratch = malloc(SCRATCH);
	thread->pause = timer_new(worker, on_pause, thread);
	if (thread->scratch == NULL || thread->pause == NULL)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < thread->tenant_count; i++) {
		struct tenant *tenant = thread->tenants[i];
		tenant->thread = thread;
		thread->is_open = thread->is_open || tenant->load->rate > 0;
		if (tenant->load->rate > 0)
			tenant->next_due_ns = now_ns + gap(tenant) * (i % 16) / 16; /* not all at once */
	}
	if (thread->is_open && load->scenario->sleeps && !open_alarm(thread))
		return STATUS_UNAVAILABLE;
	if (thread->is_open && !load->scenario->sleeps)
		worker_post(worker, &thread->turn);
	set_alarm(thread);
	timer_set(thread->pause, 1); /* the first requests: when the client of this worker is there */
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	struct load *load = context;
	struct thread *thread = &load->threads[worker_index(worker)];
	uint64_t now_ns = now();
	thread->is_stopping = true;
	for (size_t i = 0; i < thread->tenant_count; i++) {
		struct tenant *tenant = thread->tenants[i];
		for (; tenant->load->rate > 0 && tenant->next_due_ns < now_ns; tenant->next_due_ns += gap(tenant))
			tenant->result->late++;
		for (unsigned k = 0; k < tenant->load->connections * tenant->load->streams; k++) {
			if (tenant->streams[k].call != NULL)
				client_call_close(tenant->streams[k].call);
			tenant->streams[k].call = NULL;
		}
	}
	if (thread->alarm_event != NULL)
		event_free(thread->alarm_event);
	if (thread->alarm >= 0)
		close(thread->alarm);
	timer_free(thread->pause);
	free(thread->scratch);
}

/* --- the whole */

static enum status open_tenant(struct load *load, size_t index)
{
	struct tenant *tenant = &load->tenants[index];
	struct thread *thread = &load->threads[index % load->scenario->threads];
	const struct tenant_load *wanted = &load->scenario->tenants[index];
	size_t count = (size_t)wanted->connections * wanted->streams;
	tenant->load = wanted;
	tenant->result = &load->results[index];
	if (wanted->authorization != NULL)
		tenant->header = (struct header){TEXT("authorization"), text_of(wanted->authorization)};
	tenant->streams = calloc(count, sizeof(tenant->streams[0]));
	struct tenant **more = realloc(thread->tenants, (thread->tenant_count + 1) * sizeof(struct tenant *));
	if (more != NULL)
		thread->tenants = more;
	if (tenant->streams == NULL || more == NULL)
		return STATUS_NO_MEMORY;
	thread->tenants[thread->tenant_count++] = tenant;
	for (size_t i = count; i-- > 0;) {
		struct stream *stream = &tenant->streams[i];
		struct buffer pool = {0};
		stream->tenant = tenant;
		buffer_printf(&pool, "%zu/%zu", load->scenario->is_shared ? 0 : index, i / wanted->streams);
		if (pool.failed || pool.length >= sizeof(stream->pool)) {
			buffer_free(&pool);
			return STATUS_NO_MEMORY;
		}
		memcpy(stream->pool, pool.bytes, pool.length + 1);
		buffer_free(&pool);
		stream->next_free = tenant->free;
		tenant->free = stream;
	}
	return STATUS_OK;
}

enum status load_open(struct worker_pool *pool, const struct scenario *scenario, struct load **load)
{
	struct load *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->scenario = scenario;
	made->tenants = calloc(scenario->tenant_count, sizeof(made->tenants[0]));
	made->results = calloc(scenario->tenant_count, sizeof(made->results[0]));
	made->threads = calloc(scenario->threads, sizeof(made->threads[0]));
	enum status status = network_parse(TEXT("0.0.0.0/0"), &made->all[0]);
	if (status == STATUS_OK)
		status = network_parse(TEXT("::/0"), &made->all[1]);
	if (made->tenants == NULL || made->results == NULL || made->threads == NULL)
		status = STATUS_NO_MEMORY;
	for (unsigned i = 0; i < scenario->threads && status == STATUS_OK; i++) {
		made->threads[i].load = made;
		made->threads[i].turn.run = on_turn;
		made->threads[i].alarm = -1;
	}
	for (size_t i = 0; i < scenario->tenant_count && status == STATUS_OK; i++)
		status = open_tenant(made, i);
	if (status != STATUS_OK) {
		load_free(made);
		return status;
	}
	worker_pool_on_start(pool, on_start, made);
	worker_pool_on_stop(pool, on_stop, made);
	*load = made;
	return STATUS_OK;
}

void load_measure(struct load *load, bool measures)
{
	if (measures)
		atomic_store(&load->started_ns, now());
	atomic_store(&load->measures, measures);
}

const struct tenant_result *load_result(const struct load *load, size_t tenant)
{
	return &load->results[tenant];
}

void load_free(struct load *load)
{
	if (load == NULL)
		return;
	for (size_t i = 0; load->tenants != NULL && i < load->scenario->tenant_count; i++)
		free(load->tenants[i].streams);
	for (unsigned i = 0; load->threads != NULL && i < load->scenario->threads; i++)
		free(load->threads[i].tenants);
	free(load->threads);
	free(load->tenants);
	free(load->results);
	free(load);
}
