/* A pull consumer: consumer.c reads it, consumer_make.c has the broker know it. */
#pragma once

#include "control/bus/bus_private.h"

enum { CONSUMER_RETRY_MS = 1000, NAME_MAX_LENGTH = 128 };

enum consumer_state { CONSUMER_WAITING, CONSUMER_MAKING, CONSUMER_PULLING };

struct bus_consumer {
	struct bus *bus;
	struct bus_consumer *next;
	struct bus_subscription *subscription;
	void (*on_message)(void *context, const struct bus_message *message);
	void *context;
	char *stream, *durable, *config;
	char name[NAME_MAX_LENGTH]; /* as the broker knows it */
	struct buffer inbox;
	unsigned batch;
	bool is_found_only, is_reader_only, is_queue, waits_for_stream, is_acknowledged, is_complaining;
	/* in use by whom: the list, an API call, a callback */
	bool is_closed;
	unsigned calls;
	enum consumer_state state;
	unsigned wanted, unanswered; /* of the running pull; delivered and not answered */
	uint64_t until_ms;           /* WAITING: when to try; PULLING: when the pull is taken for lost */
	uint64_t moved_ms;           /* something was delivered or answered */
	uint32_t pull;
	uint64_t gone_past; /* what the broker thinks this consumer has seen of the stream */
};

/* Frees it when it is closed and no call or callback uses it. */
void consumer_release(struct bus_consumer *consumer);
/* Nothing is done with it for so long; then it is made. */
void consumer_wait(struct bus_consumer *consumer, uint64_t ms);
/* It is there: asks for the next messages. */
void consumer_pull(struct bus_consumer *consumer);
/* Finds it, or has it made, as its settings say; then pulls, or waits and tries again. */
void consumer_make(struct bus_consumer *consumer);
