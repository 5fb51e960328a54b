/* One management call, from its body to its answer: private to this folder. */
#pragma once

#include <string.h>

#include "tenants/cp/early_config.h"
#include "tenants/cp/management.h"

#define MANAGEMENT_CONTEXT "[\"https://w3id.org/edc/connector/management/v2\"]"

struct management {
	struct store *store;
	struct vault *vault;
	struct registry *registry;
	struct access *access;
};

enum { CALL_ATTEMPTS_MAX = 5 }; /* while others are faster */

struct call;
struct endpoint {
	const char *method;
	unsigned segments; /* behind /participants: ctx, tail, id */
	bool has_body;
	const char *tail;     /* NULL: none */
	const char *resource; /* NULL: management-api:admin is needed; else management-api:<resource>:write of this ctx */
	void (*run)(struct call *call, struct text body);
};

/* Freed when both the exchange and what it waits for are over. */
struct call {
	struct store *store;
	struct vault *vault;
	struct registry *registry;
	struct worker *worker;
	struct exchange *exchange; /* NULL: the caller has gone */
	const struct endpoint *endpoint;
	char ctx[ID_LENGTH + 1];
	struct text id; /* the exchange's; absent: none in this path */
	bool is_pending;
	int status; /* of the answer when all goes well */
	struct buffer answer;
	struct json *body;
	struct json *secrets;       /* {name: text, or null to delete} */
	const struct json *secret;  /* the next that goes to the vault */
	struct early_config *early; /* what came before the participant; NULL: not looked for */
	bool is_early;              /* the participant has yet to come */
	int64_t created_ms;         /* of a participant on its way */
	unsigned attempts;
};

/* Errors are arrays of {message, type, path, invalidValue} (cfm.md 6.3); path may be NULL. */
void call_refuse(struct call *call, int status, const char *type, const char *message, const char *path);
void call_refuse_status(struct call *call, enum status status);
/* Ends waiting; false when the caller has gone and the call with it. */
bool call_resumes(struct call *call);
/* What came back decides: on to `next`, or refused; nothing when the caller has gone. */
void call_go_on(struct call *call, enum status status, void (*next)(struct call *call));
/* Answers with call->status and call->answer. */
void call_finish(struct call *call);
void call_submit(struct call *call, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision));
/* The same for call_submit, with call_finish as the next. */
void call_on_stored(void *context, enum status status, int64_t revision);
/* The body as an object in call->body; else it has answered. */
bool call_parse(struct call *call, struct text body);
/* Of call->ctx; NULL: it has answered. */
const struct participant *call_participant(struct call *call);

static inline bool json_name_is(const struct json *member, const char *name)
{
	return strcmp(json_name(member), name) == 0;
}

/* The participant's record {identity, state, properties, createdAt}; members that `change` lacks stay as `before`
 * (NULL: none) has them. False: out of memory. */
bool participant_print_record(
	const struct json *change, const struct json *before, int64_t created_ms, struct buffer *into);

/* participants.c */
void participant_create(struct call *call, struct text body);
void participants_list(struct call *call, struct text body);
void participant_show(struct call *call, struct text body);
void participant_replace(struct call *call, struct text body);
void participant_delete(struct call *call, struct text body);

/* data_planes.c */
void data_plane_put(struct call *call, struct text body);
void data_plane_delete(struct call *call, struct text body);

/* management_config.c */
void config_change(struct call *call, struct text body);
void config_show(struct call *call, struct text body);
