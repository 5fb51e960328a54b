/* A control plane registered for a participant (dps.md 1.3, 2.3): where callbacks go, and by which authorization
 * profile the two prove who they are (dps.md 4.4). Snapshots of records, immutable, shared by reference count. */
#pragma once

#include <stdatomic.h>

#include "server/base/json.h"
#include "tenants/jose/jwk.h"
#include "tenants/participant.h"

#define AUTHORIZATION_LIST(X)                                                                                          \
	X(NONE, "")                                                                                                        \
	X(CLIENT_CREDENTIALS, "oauth2_client_credentials")                                                                 \
	X(TOKEN_EXCHANGE, "oauth2_token_exchange")
enum authorization_type {
#define AUTHORIZATION_MEMBER(name, text) AUTHORIZATION_##name,
	AUTHORIZATION_LIST(AUTHORIZATION_MEMBER)
#undef AUTHORIZATION_MEMBER
		AUTHORIZATION_COUNT
};

enum { CONTROL_PLANE_KEYS = 16, CONTROL_PLANE_ID_MAX = 128 };

/* Texts may be NULL but for id and endpoint. */
struct control_plane {
	atomic_uint references;
	char *id, *endpoint; /* the base before /transfers, without a trailing '/' */
	enum authorization_type authorization;
	char *token_endpoint, *client_id;  /* where we get the tokens for callbacks; the secret is in the vault */
	char *issuer;                      /* TOKEN_EXCHANGE */
	char *resource, *audience, *scope; /* of the exchange */
	char *jwks_uri;                    /* keys its own tokens are checked with; or these: */
	struct key *keys[CONTROL_PLANE_KEYS];
	size_t key_count;
	int64_t revision;
};

/* A ControlPlaneRegistrationMessage, or the record made of one. `secret`: clientSecret, borrowed from body; TEXT_NONE
 * when there is none. `error` gets one line that names the member. */
enum status control_plane_parse(
	const struct json *body, struct control_plane **plane, struct text *secret, struct buffer *error) MUST_CHECK;
/* The record: without the secret. */
void control_plane_print(const struct json *body, const struct control_plane *plane, struct buffer *into);
/* What a registration needs beyond its form: the secret, https unless the participant allows clear URLs, keys to check
 * its tokens with if we insist on them (the protocol does not). INVALID names the member. */
enum status control_plane_check(const struct control_plane *plane, struct text secret, bool allows_clear,
	bool needs_keys, struct buffer *error) MUST_CHECK;
void control_plane_ref(struct control_plane *plane);
void control_plane_unref(void *plane);

/* All of one participant. */
struct control_planes {
	char ctx[ID_LENGTH + 1];
	size_t count;
	struct control_plane *items[];
};
/* The list with `plane` instead of the one with its id (plane NULL: without the one with this id). References of the
 * others are taken; the caller's of `plane` moves on success. *next NULL: none is left. */
enum status control_planes_change(const struct control_planes *old, struct text ctx, struct text id,
	struct control_plane *plane, struct control_planes **next) MUST_CHECK;
void control_planes_free(void *planes);
/* NULL is fine; NULL: there is none. */
struct control_plane *control_planes_find(const struct control_planes *planes, struct text id);
/* The vault alias of the client secret. */
void control_plane_alias(struct text id, char into[CONTROL_PLANE_ID_MAX + 32]);
