/* A configuration that came before its participant: agents of a fabric work side by side, and one that configures may
 * be faster than the one that creates (cfm.md 9). It waits here until the participant is made, and is then the
 * participant's own, in the same transaction.
 *
 * Record: EARLY_CONFIG (ctx "", id: "<ctx>.config") {"at": ms, "entries": {}, "privateEntries": [names]}; the private
 * values are in the vault under the name "early.<ctx>", for what lies under the ctx itself is forgotten when the
 * participant is made. One that nobody comes for goes after a day. On a worker. */
#pragma once

#include "server/base/id.h"
#include "server/base/json.h"
#include "tenants/store/store.h"
#include "tenants/vault/vault.h"

enum { EARLY_LOOKED_AT = 16, EARLY_NAME_ROOM = ID_LENGTH + 8 };

struct early_config {
	int64_t revision; /* REVISION_ABSENT: there is none */
	struct json *config;
	size_t old_count; /* others that nobody came for */
	char old[EARLY_LOOKED_AT][ID_LENGTH + 1];
};
void early_config_free(struct early_config *early); /* NULL is fine */

/* `early` is the callee's; NULL unless OK. Runs on `worker`, once. */
typedef void early_done(void *context, enum status status, struct early_config *early);
void early_config_read(struct store *store, struct text ctx, struct worker *worker, early_done *done, void *context);
/* For whoever makes the participant: reads it, and gives its private values to the ctx. */
void early_config_take(
	struct store *store, struct vault *vault, struct text ctx, struct worker *worker, early_done *done, void *context);

/* Where its private values are. */
struct text early_config_vault(struct text ctx, char room[EARLY_NAME_ROOM]);
/* Keeps `config` while there is no such participant; `early` is what was read: CONFLICT when either has changed since.
 * What is too old goes. False: out of memory. */
bool early_config_put(
	struct transaction *transaction, struct text ctx, const struct early_config *early, const struct json *config);
/* Adds to the transaction that makes the participant: the configuration with what came early over `entries` (NULL:
 * none; then without an early one there is no configuration). `early` NULL: the transaction is a CONFLICT when there is
 * one. False: out of memory. */
bool early_config_adopt(
	struct transaction *transaction, struct text ctx, const struct early_config *early, const struct json *entries);
bool early_config_drop(struct transaction *transaction, struct text ctx);
/* After the commit of one of these: its private values go; those of what was too old. */
void early_config_forget(struct vault *vault, struct text ctx);
void early_config_forget_old(struct vault *vault, const struct early_config *early);
