/* What the files of the membership share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "control/cell/figures.h"
#include "control/cell/join_call.h"
#include "control/cell/membership.h"
#include "control/cell/pulse.h"
#include "control/command/cell_definition.h"
#include "server/base/json.h"

enum { MEMBERSHIP_OBSERVERS_MAX = 4 };
#define MEMBERSHIP_EPOCH_ID "membership"

/* name, words for people */
#define MEMBERSHIP_STATE_LIST(X)                                                                                       \
	X(ASKING, "asking to join")                                                                                        \
	X(PENDING, "waits for an operator's approval")                                                                     \
	X(JOINED, "joined")                                                                                                \
	X(FENCED, "fenced: another process of this cell has joined")
enum membership_state {
#define STATE_MEMBER(name, text) STATE_##name,
	MEMBERSHIP_STATE_LIST(STATE_MEMBER)
#undef STATE_MEMBER
};
struct membership_observer {
	void (*changed)(void *context, struct bus *bus, struct text cell_id, int64_t epoch);
	void *context;
};

struct membership {
	const struct membership_settings *settings;
	struct bus_settings *bus_settings;
	struct membership_uses uses;
	struct worker *worker;
	struct nkey *nkey;
	struct cell_definition *definition;
	struct figures *figures;
	struct join_call *call;
	struct bus *bus; /* NULL: not joined yet */
	struct timer *asking, *beating;
	char incarnation[ID_LENGTH + 1];
	char *credentials_file; /* written when the manager issues any */
	char *why;              /* the last refusal */
	enum membership_state state;
	int64_t last_epoch; /* the highest this cell ever had */
	int64_t epoch;      /* of this process; 0: not joined yet */
	int64_t term;
	uint64_t asked_ms;
	int64_t renew_ms; /* wall clock; 0: never */
	struct pulse pulse;
	bool has_own_urls, has_own_method, is_renewing, was_lapsed, is_leaving;
	bool is_held;        /* the manager waits for its operator */
	const char *refusal; /* why the manager grants nothing, for people; NULL: it does */
	char mode[24];       /* as the manager says */
	atomic_bool is_fenced;
	pthread_mutex_t line_lock;
	char line[512]; /* for whoever asks, under the lock */
	struct membership_observer observers[MEMBERSHIP_OBSERVERS_MAX];
	size_t observer_count;
};

struct text membership_cell_id(const struct membership *membership);
/* Tells the observers. */
void membership_tell(struct membership *membership, int64_t epoch);
/* For good. */
void membership_fence(struct membership *membership);
/* The line for people is made anew. */
void membership_publish(struct membership *membership);

/* join.c: asks the manager, now; by itself again until it is in. */
void membership_ask(void *membership);
/* Credentials out of a welcome or a renewal; true: they are in force with the next connecting. */
bool membership_take_credentials(struct membership *membership, const struct json *answer);

/* beats.c: the timer of heartbeats and renewals. */
void membership_beat(void *membership);
/* The broker is there, or away. */
void membership_bus_changed(void *membership, bool is_up);
