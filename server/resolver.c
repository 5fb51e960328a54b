/* The resolver's threads, cache and flights. */
#include "server/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"

enum { BUCKETS = 256, CACHED_NAMES = 4096, THREADS_MAX = 16 };

struct resolver_request {
	struct task task;
	struct resolver_request *next, **at; /* in its flight, or in `posted` */
	struct resolver *resolver;
	struct worker *worker;
	void (*done)(void *context, const struct resolver_answer *answer);
	void *context;
	bool cancelled;
	struct resolver_answer answer;
};

/* A name: in flight (queued or being looked up) or answered. */
struct entry {
	struct entry *next;       /* in its bucket */
	struct entry *queue_next; /* names waiting for a thread */
	struct resolver_request *waiting;
	bool in_flight;
	uint64_t good_until_ms;
	struct resolver_answer answer;
	char name[256];
};

struct resolver {
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct resolver_options options;
	unsigned references; /* the owner and each thread */
	bool stopping;
	struct entry *buckets[BUCKETS];
	unsigned entries, queued;
	struct entry *queue_first, **queue_end;
	struct resolver_request *posted;
};

static void lookup_system(const char *name, struct resolver_answer *answer)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int error = getaddrinfo(name, NULL, &hints, &list);
	if (error != 0) {
		answer->status = error == EAI_NONAME ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE;
		return;
	}
	answer->status = STATUS_OK;
	for (const struct addrinfo *item = list; item != NULL; item = item->ai_next) {
		if ((item->ai_family != AF_INET && item->ai_family != AF_INET6) ||
			item->ai_addrlen > sizeof(union resolver_address))
			continue;
		if (answer->count == RESOLVER_ADDRESSES) {
			answer->status = STATUS_TOO_LARGE;
			break;
		}
		memcpy(&answer->addresses[answer->count++], item->ai_addr, item->ai_addrlen);
	}
	if (answer->count == 0)
		answer->status = STATUS_NOT_FOUND;
	freeaddrinfo(list);
}

bool resolver_literal(struct text host, struct resolver_answer *answer)
{
	char name[64];
	if (host.length == 0 || host.length >= sizeof(name))
		return false;
	memcpy(name, host.bytes, host.length);
	name[host.length] = '\0';
	union resolver_address *address = &answer->addresses[0];
	*address = (union resolver_address){0};
	if (inet_pton(AF_INET, name, &address->v4.sin_addr) == 1)
		address->v4.sin_family = AF_INET;
	else if (inet_pton(AF_INET6, name, &address->v6.sin6_addr) == 1)
		address->v6.sin6_family = AF_INET6;
	else
		return false;
	answer->status = STATUS_OK;
	answer->count = 1;
	return true;
}

static void request_unlink(struct resolver_request *request)
{
	*request->at = request->next;
	if (request->next != NULL)
		request->next->at = request->at;
}

static void request_link(struct resolver_request *request, struct resolver_request **list)
{
	request->next = *list;
	request->at = list;
	if (*list != NULL)
		(*list)->at = &request->next;
	*list = request;
}

static void deliver(struct task *task)
{
	struct resolver_request *request = (struct resolver_request *)(void *)task;
	struct resolver *resolver = request->resolver;
	pthread_mutex_lock(&resolver->mutex);
	request_unlink(request);
	pthread_mutex_unlock(&resolver->mutex);
	if (!request->cancelled)
		request->done(request->context, &request->answer);
	free(request);
}

/* With the mutex held. */
static void post(struct resolver *resolver, struct resolver_request *request, const struct resolver_answer *answer)
{
	request->answer = *answer;
	request_link(request, &resolver->posted);
	worker_post(request->worker, &request->task);
}

static struct entry **entry_find(struct resolver *resolver, struct text name)
{
	struct entry **at = &resolver->buckets[text_hash(name) % BUCKETS];
	while (*at != NULL && !text_equals(text_of((*at)->name), name))
		at = &(*at)->next;
	return at;
}

/* Drops what is stale; when nothing is, whatever is not in flight. */
static void make_room(struct resolver *resolver, uint64_t now_ms)
{
	for (int pass = 0; pass < 2 && resolver->entries >= CACHED_NAMES; pass++)
		for (size_t bucket = 0; bucket < BUCKETS; bucket++)
			for (struct entry **at = &resolver->buckets[bucket]; *at != NULL;) {
				struct entry *entry = *at;
				if (entry->in_flight || (pass == 0 && entry->good_until_ms > now_ms)) {
					at = &entry->next;
					continue;
				}
				*at = entry->next;
				free(entry);
				resolver->entries--;
			}
}

static void references_drop(struct resolver *resolver)
{
	pthread_mutex_lock(&resolver->mutex);
	bool last = --resolver->references == 0;
	pthread_mutex_unlock(&resolver->mutex);
	if (!last)
		return;
	for (size_t bucket = 0; bucket < BUCKETS; bucket++)
		for (struct entry *entry = resolver->buckets[bucket], *next; entry != NULL; entry = next) {
			next = entry->next;
			free(entry);
		}
	pthread_cond_destroy(&resolver->wake);
	pthread_mutex_destroy(&resolver->mutex);
	free(resolver);
}

static void *thread_run(void *context)
{
	struct resolver *resolver = context;
	pthread_mutex_lock(&resolver->mutex);
	while (!resolver->stopping) {
		struct entry *entry = resolver->queue_first;
		if (entry == NULL) {
			pthread_cond_wait(&resolver->wake, &resolver->mutex);
			continue;
		}
		resolver->queue_first = entry->queue_next;
		if (resolver->queue_first == NULL)
			resolver->queue_end = &resolver->queue_first;
		resolver->queued--;
		pthread_mutex_unlock(&resolver->mutex);

		struct resolver_answer answer = {.status = STATUS_UNAVAILABLE};
		resolver->options.lookup(entry->name, &answer);

		pthread_mutex_lock(&resolver->mutex);
		uint64_t ttl = answer.status == STATUS_OK ? resolver->options.ttl_ms : resolver->options.negative_ttl_ms;
		entry->answer = answer;
		entry->good_until_ms = clock_monotonic_ms() + ttl;
		entry->in_flight = false;
		while (entry->waiting != NULL) {
			struct resolver_request *request = entry->waiting;
			request_unlink(request);
			post(resolver, request, &answer);
		}
	}
	pthread_mutex_unlock(&resolver->mutex);
	references_drop(resolver);
	return NULL;
}

enum status resolver_open(const struct resolver_options *options, struct resolver **made)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	if (resolver == NULL)
		return STATUS_NO_MEMORY;
	pthread_mutex_init(&resolver->mutex, NULL);
	pthread_cond_init(&resolver->wake, NULL);
	resolver->options = *options;
	if (resolver->options.lookup == NULL)
		resolver->options.lookup = lookup_system;
	resolver->queue_end = &resolver->queue_first;
	resolver->references = 1;
	unsigned threads = options->threads < 1 ? 1 : options->threads > THREADS_MAX ? THREADS_MAX : options->threads;
	for (unsigned started = 0; started < threads; started++) {
		pthread_t thread;
		pthread_mutex_lock(&resolver->mutex);
		resolver->references++;
		pthread_mutex_unlock(&resolver->mutex);
		if (pthread_create(&thread, NULL, thread_run, resolver) != 0) {
			pthread_mutex_lock(&resolver->mutex);
			resolver->references--;
			pthread_mutex_unlock(&resolver->mutex);
			resolver_close(resolver);
			return STATUS_NO_MEMORY;
		}
		/* A look-up may hang for as long as the system's resolver likes: nobody waits for the thread. */
		pthread_detach(thread);
	}
	*made = resolver;
	return STATUS_OK;
}

void resolver_close(struct resolver *resolver)
{
	if (resolver == NULL)
		return;
	resolver_forget(resolver, NULL);
	pthread_mutex_lock(&resolver->mutex);
	resolver->stopping = true;
	pthread_cond_broadcast(&resolver->wake);
	pthread_mutex_unlock(&resolver->mutex);
	references_drop(resolver);
}

struct resolver_request *resolver_ask(struct resolver *resolver, struct worker *worker, struct text name,
	void (*done)(void *context, const struct resolver_answer *answer), void *context)
{
	struct resolver_request *request = calloc(1, sizeof(*request));
	if (request == NULL)
		return NULL;
	*request = (struct resolver_request){
		.task.run = deliver, .resolver = resolver, .worker = worker, .done = done, .context = context};
	uint64_t now_ms = clock_monotonic_ms();
	const struct resolver_answer refused = {.status = STATUS_REFUSED}, no_name = {.status = STATUS_NOT_FOUND};

	pthread_mutex_lock(&resolver->mutex);
	struct entry *entry = *entry_find(resolver, name);
	if (name.length >= sizeof(entry->name) || memchr(name.bytes, '\0', name.length) != NULL) {
		post(resolver, request, &no_name);
	} else if (entry != NULL && entry->in_flight) {
		request_link(request, &entry->waiting);
	} else if (entry != NULL && entry->good_until_ms > now_ms) {
		post(resolver, request, &entry->answer);
	} else if (resolver->queued >= resolver->options.queue) {
		post(resolver, request, &refused);
	} else {
		if (entry == NULL) {
			make_room(resolver, now_ms);
			entry = calloc(1, sizeof(*entry));
			if (entry != NULL) {
				memcpy(entry->name, name.bytes, name.length);
				struct entry **at = entry_find(resolver, name);
				*at = entry;
				resolver->entries++;
			}
		}
		if (entry == NULL) {
			post(resolver, request, &refused);
		} else {
			entry->in_flight = true;
			entry->queue_next = NULL;
			*resolver->queue_end = entry;
			resolver->queue_end = &entry->queue_next;
			resolver->queued++;
			request_link(request, &entry->waiting);
			pthread_cond_signal(&resolver->wake);
		}
	}
	pthread_mutex_unlock(&resolver->mutex);
	return request;
}

void resolver_cancel(struct resolver_request *request)
{
	if (request != NULL)
		request->cancelled = true;
}

static void forget(struct resolver_request **list, const struct worker *worker)
{
	for (struct resolver_request *request = *list, *next; request != NULL; request = next) {
		next = request->next;
		if (worker != NULL && request->worker != worker)
			continue;
		request_unlink(request);
		free(request);
	}
}

void resolver_forget(struct resolver *resolver, struct worker *worker)
{
	pthread_mutex_lock(&resolver->mutex);
	for (size_t bucket = 0; bucket < BUCKETS; bucket++)
		for (struct entry *entry = resolver->buckets[bucket]; entry != NULL; entry = entry->next)
			forget(&entry->waiting, worker);
	forget(&resolver->posted, worker);
	pthread_mutex_unlock(&resolver->mutex);
}
