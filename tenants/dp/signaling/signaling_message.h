/* Messages of Data Plane Signaling 1.0 from control planes (dps.md section 1): read leniently, by one table of member
 * names. Pure functions over a peer's bytes. */
#pragma once

#include "server/base/json.h"

/* verb, path segment, is it about a flow that exists? */
#define SIGNALING_VERB_LIST(X)                                                                                         \
	X(PREPARE, "prepare", false)                                                                                       \
	X(START, "start", false)                                                                                           \
	X(STARTED, "started", true)                                                                                        \
	X(SUSPEND, "suspend", true)                                                                                        \
	X(RESUME, "resume", true)                                                                                          \
	X(TERMINATE, "terminate", true)                                                                                    \
	X(COMPLETED, "completed", true)
enum signaling_verb {
#define SIGNALING_VERB_MEMBER(name, segment, has_flow) SIGNALING_##name,
	SIGNALING_VERB_LIST(SIGNALING_VERB_MEMBER)
#undef SIGNALING_VERB_MEMBER
		SIGNALING_VERB_COUNT
};
/* False: there is no such verb, or it is not one for (`has_flow`) a flow that exists. */
bool signaling_verb_parse(struct text segment, bool has_flow, enum signaling_verb *verb);

struct text signaling_verb_name(enum signaling_verb verb);

/* What a member may hold. */
enum message_kind {
	MESSAGE_ID,     /* 1 to 512 visible ASCII characters */
	MESSAGE_NAME,   /* 1 to 128 of A-Z a-z 0-9 - _ . : (it stands in paths) */
	MESSAGE_TEXT,   /* at most 1,024 bytes */
	MESSAGE_OBJECT, /* at most 32 KiB as JSON */
	MESSAGE_TEXTS,  /* array of texts */
};
#define MESSAGE_BIT(verb) (1U << SIGNALING_##verb)
#define MESSAGE_NEW (MESSAGE_BIT(PREPARE) | MESSAGE_BIT(START))
#define MESSAGE_ALL ((1U << SIGNALING_VERB_COUNT) - 1)
#define MESSAGE_WITH_ADDRESS (MESSAGE_BIT(START) | MESSAGE_BIT(STARTED) | MESSAGE_BIT(RESUME))
/* field, wire name, alias, kind, verbs that need it, verbs that know it */
#define MESSAGE_FIELD_LIST(X)                                                                                          \
	X(ID, "messageId", NULL, MESSAGE_ID, 0, MESSAGE_ALL)                                                               \
	X(PARTICIPANT, "participantId", NULL, MESSAGE_ID, MESSAGE_NEW, MESSAGE_NEW)                                        \
	X(COUNTER_PARTY, "counterPartyId", NULL, MESSAGE_ID, MESSAGE_NEW, MESSAGE_NEW)                                     \
	X(DATASPACE, "dataspaceContext", NULL, MESSAGE_ID, MESSAGE_NEW, MESSAGE_NEW)                                       \
	X(PROCESS, "processId", "dataFlowId", MESSAGE_NAME, MESSAGE_NEW, MESSAGE_NEW)                                      \
	X(AGREEMENT, "agreementId", NULL, MESSAGE_ID, MESSAGE_NEW, MESSAGE_NEW)                                            \
	X(DATASET, "datasetId", NULL, MESSAGE_ID, MESSAGE_NEW, MESSAGE_NEW)                                                \
	X(PROFILE, "profile", "transferType", MESSAGE_ID, MESSAGE_NEW, MESSAGE_NEW)                                        \
	X(CLAIMS, "claims", NULL, MESSAGE_OBJECT, MESSAGE_NEW, MESSAGE_NEW)                                                \
	X(LABELS, "labels", NULL, MESSAGE_TEXTS, 0, MESSAGE_NEW)                                                           \
	X(METADATA, "metadata", NULL, MESSAGE_OBJECT, 0, MESSAGE_NEW)                                                      \
	X(REASON, "reason", NULL, MESSAGE_TEXT, 0, MESSAGE_BIT(SUSPEND) | MESSAGE_BIT(TERMINATE))                          \
	X(ADDRESS, "dataAddress", NULL, MESSAGE_OBJECT, 0, MESSAGE_WITH_ADDRESS)
enum message_field {
#define MESSAGE_FIELD_MEMBER(name, wire, alias, kind, needed, known) MESSAGE_FIELD_##name,
	MESSAGE_FIELD_LIST(MESSAGE_FIELD_MEMBER)
#undef MESSAGE_FIELD_MEMBER
		MESSAGE_FIELD_COUNT
};

/* Everything borrowed from `root`. */
struct signaling_message {
	struct json *root;
	const struct json *fields[MESSAGE_FIELD_COUNT]; /* NULL: absent */
};

/* Unknown members, and members the verb does not know, are ignored; so is null for what is optional. An empty body
 * stands for {} where a flow exists already. `error` gets one line that names the member. */
enum status signaling_message_parse(
	enum signaling_verb verb, struct text body, struct signaling_message *message, struct buffer *error) MUST_CHECK;
void signaling_message_free(struct signaling_message *message);
/* TEXT_NONE when absent. */
struct text message_text(const struct signaling_message *message, enum message_field field);
