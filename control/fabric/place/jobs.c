/* Placements on their way, and the queue of those not yet decided. */
#include <stdlib.h>

#include "control/fabric/place/placer_private.h"
#include "control/fabric/place/request.h"

static void job_free(struct job *job)
{
	for (size_t i = 0; job->requests != NULL && i < job->placement.count; i++)
		place_request_free(job->requests[i]);
	free(job->requests);
	free(job->slots);
	buffer_free(&job->explain);
	buffer_free(&job->line);
	free(job);
}

struct job *job_new(const struct placement *placement)
{
	struct job *job = calloc(1, sizeof(*job));
	if (job == NULL)
		return NULL;
	job->placement = *placement;
	job->requests = calloc(placement->count, sizeof(struct place_request *));
	job->slots = calloc(placement->count, sizeof(*job->slots));
	if (job->requests == NULL || job->slots == NULL) {
		job_free(job);
		return NULL;
	}
	for (size_t i = 0; i < placement->count; i++)
		job->requests[i] = place_request_ref((struct place_request *)(uintptr_t)placement->requests[i]);
	return job;
}

void job_end(struct job *job, enum status status)
{
	bool is_told = status == STATUS_OK || status == STATUS_NOT_FOUND;
	job->placement.done(job->placement.context, status, text_of(job->decision),
		is_told ? buffer_text(&job->explain) : TEXT_NONE, is_told ? buffer_text(&job->line) : TEXT_NONE);
	job_free(job);
}

void job_queue_add(struct placer *placer, struct job *job)
{
	job->next = NULL;
	*placer->queue_end = job;
	placer->queue_end = &job->next;
	placer->queued++;
}

void job_queue_add_first(struct placer *placer, struct job *job)
{
	job->next = placer->queue;
	placer->queue = job;
	if (job->next == NULL)
		placer->queue_end = &job->next;
	placer->queued++;
}

struct job *job_queue_take(struct placer *placer)
{
	struct job *job = placer->queue;
	placer->queue = job->next;
	if (placer->queue == NULL)
		placer->queue_end = &placer->queue;
	job->next = NULL;
	placer->queued--;
	return job;
}

void jobs_free(struct job *jobs)
{
	while (jobs != NULL) {
		struct job *next = jobs->next;
		job_free(jobs);
		jobs = next;
	}
}

void job_queue_put_back(struct placer *placer, struct job *jobs)
{
	struct job **end = &jobs;
	if (jobs == NULL)
		return;
	for (; *end != NULL; end = &(*end)->next)
		placer->queued++;
	*end = placer->queue;
	if (placer->queue == NULL)
		placer->queue_end = end;
	placer->queue = jobs;
}
