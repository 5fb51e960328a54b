/* One call of the signaling API (dps.md 2.1): private to its files. From the route to the caller's right, to the body,
 * to the verb; freed when both the exchange and what it waits for are over. */
#pragma once

#include "server/answer.h"
#include "tenants/dp/data_address.h"
#include "tenants/dp/signaling/agreement_fetch.h"
#include "tenants/dp/signaling/caller.h"
#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/signaling/signaling_message.h"

struct signal;

struct signaling_route {
	const char *method, *resource;
	unsigned segments; /* behind the ctx */
	bool has_body;
	struct caller_need need;
	void (*run)(struct signal *signal, struct text body);
};

struct signal {
	struct dp_worker *home;
	struct exchange *exchange; /* NULL: the caller has gone */
	bool is_pending;           /* store, vault or signer will call back */
	const struct signaling_route *route;
	enum signaling_verb verb;
	char ctx[ID_LENGTH + 1];
	char *id;            /* third segment, of a flow or a control plane; of a new flow: its processId */
	char *control_plane; /* the caller, when it is one; else the only one there is; NULL: none */
	bool is_control_plane;
	char *public_url;
	struct text body; /* the exchange's */
	struct caller caller;
	struct jwks_waiter waiter;
	struct agreement_waiter agreement_waiter;
	bool has_asked; /* for the agreement: the message is looked at once more, and no further question asked */

	struct signaling_message message;
	struct data_address *address; /* received */
	enum flow_event event;
	enum flow_state state; /* what is answered: the one that the message led to, even if more has happened since */
	unsigned attempts;
	struct transaction *transaction;
	struct buffer offer;         /* a DataAddress with its secrets */
	struct control_plane *plane; /* to be registered */
	struct buffer record;
};

/* On a worker, until it returns to its loop; NULL: answered 404. */
const struct participant *signal_participant(struct signal *signal);
/* Ends waiting; false when the caller has gone and the call with it. */
bool signal_resumes(struct signal *signal);
/* detail NULL: none. */
void signal_refuse(struct signal *signal, int status, const char *detail);
void signal_refuse_status(struct signal *signal, enum status status);

static inline struct text signal_field(const struct signal *signal, enum message_field field)
{
	return message_text(&signal->message, field);
}

/* signaling_draft.c: what a repeated message is known by, "verb id"; an id under another verb is another message.
 * False: the message has no id. */
bool signal_message_key(const struct signal *signal, struct buffer *key);
/* signaling_address.c: reads the message's address into signal->address. Is one there exactly where it belongs, and is
 * it one that this participant may use? False: answered 400. */
bool signal_check_address(struct signal *signal, const struct participant *participant, const struct flow_terms *terms);
/* signaling_agreement.c: a flow with these terms (role, agreement, counter_party, control_plane) may begin. False: it
 * was refused, or its agreement is asked for first and signal_begin comes after that. */
bool signal_has_agreement(struct signal *signal, const struct flow_terms *terms);
/* A flow whose agreement cannot be kept does not start. True: refused. */
bool signal_refuse_agreement(struct signal *signal, struct text agreement);
/* signaling_flows.c: obeys the message that was parsed, by what is there now. */
void signal_begin(struct signal *signal);
void signal_create(struct signal *signal, struct text body);
void signal_move(struct signal *signal, struct text body);
void signal_status(struct signal *signal, struct text body);
/* signaling_planes.c */
void signal_register(struct signal *signal, struct text body);
void signal_unregister(struct signal *signal, struct text body);
