/* The digest thread, and each worker's view of it. A job goes from its worker through the thread's queue and back by
 * worker_post: whoever has it owns it. */
#include "tenants/dp/source/digests.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"

enum {
	PLACES_OF_LANE = 1024,
	PLACES_OF_THREAD = 4096,
	JOBS_OF_TENANT = 8, /* of each worker */
	JOBS_MAX = 64,
	PIECE = 256 * 1024,
	TURN_BYTES = 16 * 1024 * 1024,
	NICENESS = 10, /* bytes that leave come first */
	FILES_OPEN = 64
};

struct job {
	struct task task;         /* first */
	struct digest_lane *lane; /* the worker's: NULL when it has gone */
	struct worker *worker;
	struct job *next_in_lane, *next_in_queue;
	struct digest_waiter *waiters; /* the worker's */
	struct open_file wanted;
	struct digest_key key; /* texts behind this, file above */
	/* the thread's */
	const struct open_file *file;
	struct running_digest *running;
	int64_t offset;
	/* the result */
	enum status status;
	uint8_t digest[HASH_BYTES_MAX];
};

struct digest_lane {
	struct digests *digests;
	struct worker *worker;
	struct digest_table *known;
	struct job *jobs; /* under way */
	unsigned job_count;
};

struct digests {
	int root;
	pthread_t thread;
	pthread_mutex_t lock; /* of all that follows; held for a few instructions */
	pthread_cond_t wake;
	bool is_running, is_stopping;
	unsigned lanes;
	struct job *first, **end;
};

/* --- the thread */

/* What the thread alone has. */
struct bench {
	struct open_files *files;
	struct digest_table *known;
	uint8_t piece[PIECE];
};

static enum status begin(const struct bench *bench, struct job *job)
{
	enum status status = open_file_get(bench->files, job->key.ctx, job->key.path, clock_monotonic_ms(), &job->file);
	if (status != STATUS_OK) {
		job->file = NULL;
		return status;
	}
	if (!open_file_equals(job->file, job->key.file))
		return STATUS_CONFLICT;
	return running_digest_new(job->key.kind, &job->running);
}

/* A turn's worth; OK with offset < size: more to come. */
static enum status read_on(struct bench *bench, struct job *job)
{
	int64_t until = job->offset + TURN_BYTES;
	while (job->offset < job->file->size && job->offset < until) {
		ssize_t count = pread(job->file->descriptor, bench->piece, PIECE, job->offset);
		if (count <= 0)
			return STATUS_IO;
		enum status status = running_digest_add(job->running, bench->piece, (size_t)count);
		if (status != STATUS_OK)
			return status;
		job->offset += count;
	}
	return job->offset > job->file->size ? STATUS_CONFLICT : STATUS_OK; /* it has grown */
}

/* True: the job is over, one way or the other. */
static bool work(struct bench *bench, struct job *job)
{
	if (job->file == NULL && digest_table_find(bench->known, &job->key, job->digest)) {
		job->status = STATUS_OK;
		return true;
	}
	job->status = job->file == NULL ? begin(bench, job) : STATUS_OK;
	if (job->status == STATUS_OK)
		job->status = read_on(bench, job);
	if (job->status == STATUS_OK && job->offset < job->file->size)
		return false;
	/* of what was read before a change and after it nothing is said */
	if (job->status == STATUS_OK && !open_file_is_same(job->file))
		job->status = STATUS_CONFLICT;
	if (job->status == STATUS_OK)
		job->status = running_digest_end(job->running, job->digest);
	if (job->status == STATUS_OK)
		digest_table_put(bench->known, &job->key, job->digest);
	return true;
}

static void put_down(const struct bench *bench, struct job *job)
{
	running_digest_free(job->running);
	job->running = NULL;
	if (job->file != NULL)
		open_file_release(bench->files, job->file);
	job->file = NULL;
}

static void enqueue(struct digests *digests, struct job *job)
{
	job->next_in_queue = NULL;
	*digests->end = job;
	digests->end = &job->next_in_queue;
}

/* NULL: stop. */
static struct job *dequeue(struct digests *digests, struct job *unfinished)
{
	pthread_mutex_lock(&digests->lock);
	if (unfinished != NULL)
		enqueue(digests, unfinished);
	while (digests->first == NULL && !digests->is_stopping)
		pthread_cond_wait(&digests->wake, &digests->lock);
	struct job *job = digests->is_stopping ? NULL : digests->first;
	if (job != NULL) {
		digests->first = job->next_in_queue;
		if (digests->first == NULL)
			digests->end = &digests->first;
	}
	pthread_mutex_unlock(&digests->lock);
	return job;
}

static void *run(void *context)
{
	struct digests *digests = context;
	struct bench *bench = calloc(1, sizeof(*bench));
	setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
	if (bench != NULL) {
		bench->files = open_files_new(digests->root, FILES_OPEN);
		bench->known = digest_table_new(PLACES_OF_THREAD);
	}
	bool is_able = bench != NULL && bench->files != NULL && bench->known != NULL;
	struct job *job = NULL, *unfinished = NULL;
	while ((job = dequeue(digests, unfinished)) != NULL) {
		if (!is_able)
			job->status = STATUS_NO_MEMORY;
		unfinished = is_able && !work(bench, job) ? job : NULL;
		if (unfinished != NULL)
			continue;
		if (is_able)
			put_down(bench, job);
		worker_post(job->worker, &job->task);
	}
	for (job = digests->first; job != NULL && is_able; job = job->next_in_queue)
		put_down(bench, job);
	if (bench != NULL) {
		open_files_free(bench->files);
		digest_table_free(bench->known);
	}
	free(bench);
	return NULL;
}

/* --- opening and closing */

struct digests *digests_new(int root)
{
	struct digests *digests = calloc(1, sizeof(*digests));
	if (digests == NULL)
		return NULL;
	digests->root = root;
	digests->end = &digests->first;
	pthread_mutex_init(&digests->lock, NULL);
	pthread_cond_init(&digests->wake, NULL);
	return digests;
}

void digests_free(struct digests *digests)
{
	if (digests == NULL)
		return;
	pthread_mutex_destroy(&digests->lock);
	pthread_cond_destroy(&digests->wake);
	free(digests);
}

struct digest_lane *digest_lane_open(struct digests *digests, struct worker *worker)
{
	struct digest_lane *lane = calloc(1, sizeof(*lane));
	if (lane == NULL || (lane->known = digest_table_new(PLACES_OF_LANE)) == NULL) {
		free(lane);
		return NULL;
	}
	lane->digests = digests;
	lane->worker = worker;
	pthread_mutex_lock(&digests->lock);
	digests->lanes++;
	pthread_mutex_unlock(&digests->lock);
	return lane;
}

/* Nobody is left to ask, so what is queued is nobody's. */
static void stop(struct digests *digests)
{
	pthread_mutex_lock(&digests->lock);
	digests->is_stopping = true;
	pthread_cond_signal(&digests->wake);
	pthread_mutex_unlock(&digests->lock);
	if (digests->is_running)
		pthread_join(digests->thread, NULL);
	digests->is_running = false;
	while (digests->first != NULL) {
		struct job *job = digests->first;
		digests->first = job->next_in_queue;
		free(job);
	}
	digests->end = &digests->first;
}

void digest_lane_close(struct digest_lane *lane)
{
	if (lane == NULL)
		return;
	for (struct job *job = lane->jobs; job != NULL; job = job->next_in_lane)
		job->lane = NULL;
	struct digests *digests = lane->digests;
	pthread_mutex_lock(&digests->lock);
	bool is_last = --digests->lanes == 0;
	pthread_mutex_unlock(&digests->lock);
	if (is_last)
		stop(digests);
	digest_table_free(lane->known);
	free(lane);
}

/* --- asking */

bool digest_lane_find(const struct digest_lane *lane, const struct digest_key *key, uint8_t into[HASH_BYTES_MAX])
{
	return digest_table_find(lane->known, key, into);
}

static void on_done(struct task *task)
{
	struct job *job = (struct job *)task;
	struct digest_lane *lane = job->lane;
	if (lane != NULL) {
		struct job **link = &lane->jobs;
		while (*link != job)
			link = &(*link)->next_in_lane;
		*link = job->next_in_lane;
		lane->job_count--;
		if (job->status == STATUS_OK)
			digest_table_put(lane->known, &job->key, job->digest);
	}
	while (lane != NULL && job->waiters != NULL) {
		struct digest_waiter *waiter = job->waiters;
		digest_waiter_leave(waiter);
		waiter->ready(waiter, job->status == STATUS_OK ? job->digest : NULL);
	}
	free(job);
}

static struct job *job_new(struct digest_lane *lane, const struct digest_key *key)
{
	struct job *job = calloc(1, sizeof(*job) + key->ctx.length + key->path.length);
	if (job == NULL)
		return NULL;
	char *text = (char *)(job + 1);
	memcpy(text, key->ctx.bytes, key->ctx.length);
	memcpy(text + key->ctx.length, key->path.bytes, key->path.length);
	job->task.run = on_done;
	job->lane = lane;
	job->worker = lane->worker;
	job->wanted = *key->file;
	job->key = *key;
	job->key.ctx = (struct text){text, key->ctx.length};
	job->key.path = (struct text){text + key->ctx.length, key->path.length};
	job->key.file = &job->wanted;
	return job;
}

static enum status submit(struct digests *digests, struct job *job)
{
	pthread_mutex_lock(&digests->lock);
	if (!digests->is_running && !digests->is_stopping)
		digests->is_running = pthread_create(&digests->thread, NULL, run, digests) == 0;
	bool is_running = digests->is_running;
	if (is_running) {
		enqueue(digests, job);
		pthread_cond_signal(&digests->wake);
	}
	pthread_mutex_unlock(&digests->lock);
	if (!is_running)
		LOG(ERROR, "dp.digests", log_text("error", TEXT("the thread does not start")));
	return is_running ? STATUS_OK : STATUS_UNAVAILABLE;
}

static void join(struct job *job, struct digest_waiter *waiter)
{
	waiter->next = job->waiters;
	waiter->previous = &job->waiters;
	if (job->waiters != NULL)
		job->waiters->previous = &waiter->next;
	job->waiters = waiter;
}

enum status digest_lane_wait(struct digest_lane *lane, const struct digest_key *key, struct digest_waiter *waiter)
{
	unsigned of_tenant = 0;
	for (struct job *job = lane->jobs; job != NULL; job = job->next_in_lane) {
		if (digest_key_equals(&job->key, key)) {
			join(job, waiter);
			return STATUS_OK;
		}
		of_tenant += text_equals(job->key.ctx, key->ctx);
	}
	if (of_tenant >= JOBS_OF_TENANT || lane->job_count >= JOBS_MAX)
		return STATUS_REFUSED;
	struct job *job = job_new(lane, key);
	if (job == NULL)
		return STATUS_NO_MEMORY;
	/* it cannot come back before this turn is over */
	join(job, waiter);
	job->next_in_lane = lane->jobs;
	lane->jobs = job;
	lane->job_count++;
	enum status status = submit(lane->digests, job);
	if (status != STATUS_OK) {
		lane->jobs = job->next_in_lane;
		lane->job_count--;
		digest_waiter_leave(waiter);
		free(job);
	}
	return status;
}

void digest_waiter_leave(struct digest_waiter *waiter)
{
	if (waiter->previous == NULL)
		return;
	*waiter->previous = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	waiter->previous = NULL;
}
