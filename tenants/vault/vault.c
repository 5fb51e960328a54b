/* The vault's thread: takes jobs from a bounded queue, one at a time, and posts each answer to the worker that asked.
 */
#include "tenants/vault/vault.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "server/base/secret.h"
#include "tenants/vault/file_vault.h"

enum { QUEUE_MAX = 4096, BYTES_MAX = 1024 * 1024 };

const struct setting vault_settings_table[] = {
	{.key = "directory",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct vault_settings, directory),
		.help = "folder of the file vault; default: <state directory>/vault"},
	{.key = "master_key_file",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct vault_settings, master_key_file),
		.help = "file of 32 random bytes, mode 0400, made on first start; default: <vault directory>/master.key"},
};
const size_t vault_settings_count = sizeof(vault_settings_table) / sizeof(vault_settings_table[0]);

struct job {
	struct task task; /* first: the answer on its way to the worker */
	STAILQ_ENTRY(job) queued;
	void (*work)(struct job *job);
	struct vault *vault;
	struct worker *worker;
	vault_done *done;
	void *context;
	enum key_kind kind;
	struct text ctx, alias; /* in `names` */
	struct secret *bytes;   /* what to sign, or the secret's value */
	enum status status;
	struct buffer result;
	char names[];
};

struct vault {
	struct file_vault *files;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	STAILQ_HEAD(job_queue, job) queue;
	size_t queued;
	bool stopping;
};

static void job_finish(struct job *job)
{
	job->done(job->context, job->status, job->status == STATUS_OK ? buffer_text(&job->result) : TEXT_NONE);
	buffer_wipe(&job->result);
	secret_free(job->bytes);
	free(job);
}

static void on_answer(struct task *task)
{
	job_finish((struct job *)task);
}

static void job_answer(struct job *job)
{
	if (job->worker == NULL) {
		job_finish(job);
		return;
	}
	job->task.run = on_answer;
	worker_post(job->worker, &job->task);
}

/* The next job, or NULL when the vault closes and nothing is left. */
static struct job *take_job(struct vault *vault)
{
	pthread_mutex_lock(&vault->lock);
	while (STAILQ_EMPTY(&vault->queue) && !vault->stopping)
		pthread_cond_wait(&vault->wake, &vault->lock);
	struct job *job = STAILQ_FIRST(&vault->queue);
	if (job != NULL) {
		STAILQ_REMOVE_HEAD(&vault->queue, queued);
		vault->queued--;
	}
	pthread_mutex_unlock(&vault->lock);
	return job;
}

static void *run(void *context)
{
	for (struct job *job; (job = take_job(context)) != NULL;) {
		job->work(job);
		job_answer(job);
	}
	return NULL;
}

static enum status start_thread(struct vault *vault)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	int failure = pthread_create(&vault->thread, NULL, run, vault);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failure == 0 ? STATUS_OK : STATUS_UNAVAILABLE;
}

static enum status open_files(const struct vault_settings *settings, struct file_vault **files, struct buffer *error)
{
	struct buffer path = {.bytes = NULL};
	if (settings->directory == NULL) {
		buffer_append(error, TEXT("vault.directory: not set"));
		return STATUS_INVALID;
	}
	if (settings->master_key_file == NULL)
		buffer_printf(&path, "%s/master.key", settings->directory);
	else
		buffer_append(&path, text_of(settings->master_key_file));
	enum status status =
		path.failed ? STATUS_NO_MEMORY : file_vault_open(settings->directory, path.bytes, files, error);
	buffer_free(&path);
	return status;
}

enum status vault_open(const struct vault_settings *settings, struct vault **vault, struct buffer *error)
{
	struct vault *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	STAILQ_INIT(&made->queue);
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->wake, NULL);
	enum status status = open_files(settings, &made->files, error);
	if (status == STATUS_OK)
		status = start_thread(made);
	if (status == STATUS_OK) {
		*vault = made;
		return STATUS_OK;
	}
	file_vault_close(made->files);
	pthread_cond_destroy(&made->wake);
	pthread_mutex_destroy(&made->lock);
	free(made);
	return status;
}

void vault_close(struct vault *vault)
{
	if (vault == NULL)
		return;
	pthread_mutex_lock(&vault->lock);
	vault->stopping = true;
	pthread_cond_signal(&vault->wake);
	pthread_mutex_unlock(&vault->lock);
	pthread_join(vault->thread, NULL);
	file_vault_close(vault->files);
	pthread_cond_destroy(&vault->wake);
	pthread_mutex_destroy(&vault->lock);
	free(vault);
}

static void work_key_create(struct job *job)
{
	job->status = file_vault_key_create(job->vault->files, job->ctx, job->alias, job->kind, &job->result);
}

static void work_key_import(struct job *job)
{
	job->status =
		file_vault_key_import(job->vault->files, job->ctx, job->alias, secret_expose(job->bytes), &job->result);
}

static void work_key_public(struct job *job)
{
	job->status = file_vault_key_public(job->vault->files, job->ctx, job->alias, &job->result);
}

static void work_sign(struct job *job)
{
	job->status = file_vault_sign(job->vault->files, job->ctx, job->alias, secret_expose(job->bytes), &job->result);
}

static void work_put(struct job *job)
{
	job->status = file_vault_put(job->vault->files, job->ctx, job->alias, secret_expose(job->bytes));
}

static void work_get(struct job *job)
{
	job->status = file_vault_get(job->vault->files, job->ctx, job->alias, &job->result);
}

static void work_delete(struct job *job)
{
	job->status = file_vault_delete(job->vault->files, job->ctx, job->alias);
}

static void work_forget(struct job *job)
{
	job->status = file_vault_forget(job->vault->files, job->ctx);
}

/* What a caller asks for; copied into a job. */
struct request {
	void (*work)(struct job *job);
	struct text ctx, alias, bytes;
	enum key_kind kind;
	struct worker *worker;
	vault_done *done;
	void *context;
};

static struct job *job_new(struct vault *vault, const struct request *request)
{
	if (request->ctx.length > BYTES_MAX || request->alias.length > BYTES_MAX || request->bytes.length > BYTES_MAX)
		return NULL;
	struct job *job = calloc(1, sizeof(*job) + request->ctx.length + request->alias.length);
	if (job == NULL)
		return NULL;
	job->work = request->work;
	job->vault = vault;
	job->worker = request->worker;
	job->done = request->done;
	job->context = request->context;
	job->kind = request->kind;
	job->ctx = (struct text){job->names, request->ctx.length};
	job->alias = (struct text){job->names + request->ctx.length, request->alias.length};
	if (request->ctx.length > 0)
		memcpy(job->names, request->ctx.bytes, request->ctx.length);
	if (request->alias.length > 0)
		memcpy(job->names + request->ctx.length, request->alias.bytes, request->alias.length);
	job->bytes = secret_new(request->bytes);
	if (job->bytes == NULL) {
		free(job);
		return NULL;
	}
	return job;
}

static bool enqueue(struct vault *vault, struct job *job)
{
	pthread_mutex_lock(&vault->lock);
	bool room = vault->queued < QUEUE_MAX && !vault->stopping;
	if (room) {
		STAILQ_INSERT_TAIL(&vault->queue, job, queued);
		vault->queued++;
		pthread_cond_signal(&vault->wake);
	}
	pthread_mutex_unlock(&vault->lock);
	return room;
}

static void submit(struct vault *vault, const struct request *request)
{
	struct job *job = job_new(vault, request);
	if (job == NULL) {
		request->done(request->context, STATUS_NO_MEMORY, TEXT_NONE);
		return;
	}
	if (enqueue(vault, job))
		return;
	job->status = STATUS_UNAVAILABLE;
	job_answer(job);
}

void vault_key_create(struct vault *vault, struct text ctx, struct text alias, enum key_kind kind,
	struct worker *worker, vault_done *done, void *context)
{
	submit(vault, &(struct request){work_key_create, ctx, alias, TEXT_NONE, kind, worker, done, context});
}

void vault_key_import(struct vault *vault, struct text ctx, struct text alias, struct text private,
	struct worker *worker, vault_done *done, void *context)
{
	submit(vault, &(struct request){work_key_import, ctx, alias, private, KEY_ES256, worker, done, context});
}

void vault_key_public(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context)
{
	submit(vault, &(struct request){work_key_public, ctx, alias, TEXT_NONE, KEY_ES256, worker, done, context});
}

void vault_sign(struct vault *vault, struct text ctx, struct text alias, struct text bytes, struct worker *worker,
	vault_done *done, void *context)
{
	submit(vault, &(struct request){work_sign, ctx, alias, bytes, KEY_ES256, worker, done, context});
}

void vault_secret_put(struct vault *vault, struct text ctx, struct text alias, struct text value, struct worker *worker,
	vault_done *done, void *context)
{
	submit(vault, &(struct request){work_put, ctx, alias, value, KEY_ES256, worker, done, context});
}

void vault_secret_get(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context)
{
	submit(vault, &(struct request){work_get, ctx, alias, TEXT_NONE, KEY_ES256, worker, done, context});
}

void vault_delete(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context)
{
	submit(vault, &(struct request){work_delete, ctx, alias, TEXT_NONE, KEY_ES256, worker, done, context});
}

void vault_forget(struct vault *vault, struct text ctx, struct worker *worker, vault_done *done, void *context)
{
	submit(vault, &(struct request){work_forget, ctx, TEXT_NONE, TEXT_NONE, KEY_ES256, worker, done, context});
}
