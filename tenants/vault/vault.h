/* Keys and secrets by (ctx, alias). Private keys never leave the vault: it signs. Asynchronous: the work happens on the
 * vault's own thread and answers are posted to the caller's worker.
 *
 * File vault: one file per ctx under <directory>, mode 0600, each entry AES-256-GCM with the ctx's data key (96-bit
 * random nonce, AAD = ctx, alias, kind, version), the data key wrapped by a master key file (created mode 0400 on first
 * start). Deleting a ctx destroys its data key: crypto-erase. Files are replaced by write, fsync, rename, fsync of the
 * directory. */
#pragma once

#include "server/base/config.h"
#include "server/base/secret.h"
#include "server/base/text.h"
#include "server/worker.h"
#include "tenants/jose/jwk.h"

struct vault;

/* Section "vault". */
struct vault_settings {
	char *directory;       /* default: <state directory>/vault */
	char *master_key_file; /* default: <directory>/master.key */
};
extern const struct setting vault_settings_table[];
extern const size_t vault_settings_count;

enum status vault_open(const struct vault_settings *settings, struct vault **vault, struct buffer *error) MUST_CHECK;
void vault_close(struct vault *vault);

/* Each `done` runs exactly once on `worker`; NULL: on the vault's thread. Secrets and texts given to it are borrowed
 * for the call. Callers are on `worker` themselves. UNAVAILABLE: 4,096 jobs wait already. Only when out of memory, or
 * for texts over 1 MiB, `done` (NO_MEMORY) runs before the call returns. vault_close finishes what waits: call it while
 * the workers still run. ctx: a name (id.h) of at most 128 bytes; alias: 1..256 printable ASCII bytes without spaces;
 * secrets: at most 64 KiB. IO: the ctx's file is damaged, or not of this ctx or master key. */
typedef void vault_done(void *context, enum status status, struct text result);

/* result: the public JWK as JSON text, kid included. CONFLICT when the alias exists. kid = "<ctx>#<alias>-<8 hex>". */
void vault_key_create(struct vault *vault, struct text ctx, struct text alias, enum key_kind kind,
	struct worker *worker, vault_done *done, void *context);
/* The same with a private key from elsewhere: PKCS#8, unencrypted, PEM or DER. INVALID: it is none of a known kind. */
void vault_key_import(struct vault *vault, struct text ctx, struct text alias, struct text private,
	struct worker *worker, vault_done *done, void *context);
/* result: the public JWK of a key, without kid. NOT_FOUND: there is no key under this alias. */
void vault_key_public(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context);
/* result: the raw JWS signature bytes (ES256: r||s, EdDSA: 64 bytes). */
void vault_sign(struct vault *vault, struct text ctx, struct text alias, struct text bytes, struct worker *worker,
	vault_done *done, void *context);
void vault_secret_put(struct vault *vault, struct text ctx, struct text alias, struct text value, struct worker *worker,
	vault_done *done, void *context);
/* result: the value. */
void vault_secret_get(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context);
void vault_delete(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context);
/* Destroys all that belongs to the ctx. OK also when there was nothing. */
void vault_forget(struct vault *vault, struct text ctx, struct worker *worker, vault_done *done, void *context);
