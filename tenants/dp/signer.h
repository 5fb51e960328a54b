/* Signs JWTs with a participant's key: the one his key mapping names (key_mapping.h), else his data plane key, which is
 * made when there is none. Keys stay in the vault; their public halves are records. */
#pragma once

#include "tenants/dp/dp.h"

/* The alias of the key in the vault, and the id of its record. */
#define SIGNER_ALIAS TEXT("dataplane")

/* token: "header.claims.signature", borrowed for the call; absent unless OK. NOT_FOUND: there is no such participant.
 * UNAVAILABLE: the vault or the store is. */
typedef void signed_done(void *context, enum status status, struct text token);
/* On `worker`. claims: a JSON object, copied. `done` runs once on `worker`; before this returns only for NOT_FOUND and
 * NO_MEMORY. Nothing takes it back: whoever may go away keeps the context alive until then. */
void signer_sign(
	struct dp *dp, struct worker *worker, struct text ctx, struct text claims, signed_done *done, void *context);
/* The same for somebody who looks the key up in this participant's DID document: its kid is "<did>#<fragment>". */
void signer_prove(
	struct dp *dp, struct worker *worker, struct text ctx, struct text claims, signed_done *done, void *context);
