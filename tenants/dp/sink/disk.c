/* Disk threads: one queue, two takers, so that one slow fsync does not hold up everybody. */
#include "tenants/dp/sink/disk.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { THREADS = 2 };

struct disk {
	pthread_mutex_t lock;
	pthread_cond_t has_work, is_idle;
	pthread_t threads[THREADS];
	unsigned thread_count, working;
	struct disk_job *jobs, **jobs_end;
	bool is_closing, has_begun;
};

static void on_done(struct task *task)
{
	struct disk_job *job = (struct disk_job *)task;
	job->done(job);
}

static void run_job(struct disk_job *job)
{
	job->run(job);
	worker_post(job->worker, &job->task);
}

static void *run_thread(void *context)
{
	struct disk *disk = context;
	pthread_mutex_lock(&disk->lock);
	for (;;) {
		struct disk_job *job = disk->jobs;
		if (job != NULL) {
			disk->jobs = job->next;
			if (disk->jobs == NULL)
				disk->jobs_end = &disk->jobs;
			disk->working++;
			pthread_mutex_unlock(&disk->lock);
			run_job(job);
			pthread_mutex_lock(&disk->lock);
			disk->working--;
		} else if (disk->is_closing) {
			break;
		} else {
			if (disk->working == 0)
				pthread_cond_broadcast(&disk->is_idle);
			pthread_cond_wait(&disk->has_work, &disk->lock);
		}
	}
	pthread_mutex_unlock(&disk->lock);
	return NULL;
}

struct disk *disk_new(void)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	if (disk == NULL)
		return NULL;
	pthread_mutex_init(&disk->lock, NULL);
	pthread_cond_init(&disk->has_work, NULL);
	pthread_cond_init(&disk->is_idle, NULL);
	disk->jobs_end = &disk->jobs;
	return disk;
}

/* Signals are the main thread's. */
static void begin(struct disk *disk)
{
	sigset_t all, before;
	disk->has_begun = true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (
		disk->thread_count < THREADS && pthread_create(&disk->threads[disk->thread_count], NULL, run_thread, disk) == 0)
		disk->thread_count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void disk_submit(struct disk *disk, struct disk_job *job, struct worker *worker)
{
	job->task.run = on_done;
	job->disk = disk;
	job->worker = worker;
	job->next = NULL;
	pthread_mutex_lock(&disk->lock);
	if (!disk->has_begun)
		begin(disk);
	bool has_threads = disk->thread_count > 0;
	if (has_threads) {
		*disk->jobs_end = job;
		disk->jobs_end = &job->next;
		pthread_cond_signal(&disk->has_work);
	}
	pthread_mutex_unlock(&disk->lock);
	if (!has_threads)
		run_job(job);
}

void disk_drain(struct disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	while (disk->thread_count > 0 && (disk->jobs != NULL || disk->working > 0))
		pthread_cond_wait(&disk->is_idle, &disk->lock);
	pthread_mutex_unlock(&disk->lock);
}

void disk_free(struct disk *disk)
{
	if (disk == NULL)
		return;
	pthread_mutex_lock(&disk->lock);
	disk->is_closing = true;
	pthread_cond_broadcast(&disk->has_work);
	pthread_mutex_unlock(&disk->lock);
	for (unsigned i = 0; i < disk->thread_count; i++)
		pthread_join(disk->threads[i], NULL);
	pthread_mutex_destroy(&disk->lock);
	pthread_cond_destroy(&disk->has_work);
	pthread_cond_destroy(&disk->is_idle);
	free(disk);
}
