/* Who may call the management APIs: bearer JWTs signed by the cell's own key or by a key of the identity provider, with
 * scopes <api>[:<resource>|:*]:<action> (cfm.md 6.5): read < write < admin, a wider scope satisfies a narrower one,
 * <api>:admin reaches every participant, otherwise sub must be the ctx of the path. */
#pragma once

#include "server/base/config.h"
#include "server/exchange.h"
#include "tenants/jose/jws.h"
#include "tenants/provider.h"
#include "tenants/scope.h"

/* Section "access". */
struct access_settings {
	struct provider_settings provider; /* issuer: not the cell's own, "urn:celld:cell" */
	char *key_file; /* the cell's own signing key (PEM or DER PKCS#8, created mode 0400 on first start); default <state
					   directory>/cell.key */
};
extern const struct setting access_settings_table[];
extern const size_t access_settings_count;

struct access;
/* The pool's workers are who calls access_allow. pool NULL: for tools, which mint tokens: then the key file must be
 * there already, and nobody may read while access_reload runs. Settings are copied. */
enum status access_open(const struct access_settings *settings, struct worker_pool *pool, struct access **access,
	struct buffer *error) MUST_CHECK;
/* Before the workers start: who is a participant. Callers other than <api>:admin must be one (cfm.md 6.5): 401. Not
 * set: all are. */
void access_know_participants(
	struct access *access, bool (*is_participant)(void *context, struct text sub), void *context);
/* Reads jwks_file again (or fetches again, later), on the thread that opened; on failure the keys of before stay. */
enum status access_reload(struct access *access, struct buffer *error) MUST_CHECK;
/* After the workers have stopped. */
void access_close(struct access *access);

/* Checks the bearer token of the Authorization header, or without one of X-Api-Key. resource absent: only
 * <api>:<action> or <api>:*:<action> will do. ctx absent: only <api>:admin will do. On failure it has answered (401/403
 * in the bodies of cfm.md 6.3) and returns false. */
bool access_allow(struct access *access, struct exchange *exchange, struct text api, struct text resource,
	enum access_action action, struct text ctx);
/* A token of the cell's own key or of the identity provider: its claims, for who decides by more than scopes.
 * UNAUTHORIZED, INVALID: it is not one, or no longer good. jws_free what is OK. */
enum status access_verify(struct access *access, struct text token, struct jws *jws) MUST_CHECK;
/* The one token of "Authorization: Bearer"; TEXT_NONE: none, or several. */
struct text access_bearer(const struct exchange *exchange);
/* The first half of it, for a call whose ctx stands in its body: a good token with this scope, whoever it is of. Before
 * the body is read; access_allow follows with the ctx. */
bool access_allow_scope(
	struct access *access, struct exchange *exchange, struct text api, struct text resource, enum access_action action);
/* Mints a token with the cell's own key: for cellctl and the demo. lifetime_s: 1 .. 366 days; subject may not be empty.
 */
enum status access_token(struct access *access, struct text subject, struct text scopes, int64_t lifetime_s,
	struct buffer *token) MUST_CHECK;
