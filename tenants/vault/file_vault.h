/* The vault in files: what the vault's thread does. Not thread-safe. Private to this folder. */
#pragma once

#include "server/base/text.h"
#include "tenants/jose/jwk.h"

struct file_vault;

/* Creates the folder (0700) and the master key (0400) when they are not there; one process at a time. `error`: one
 * line. */
enum status file_vault_open(
	const char *directory, const char *master_key_file, struct file_vault **vault, struct buffer *error) MUST_CHECK;
void file_vault_close(struct file_vault *vault);

/* `result` is empty before; it may hold a secret after. */
enum status file_vault_key_create(
	struct file_vault *vault, struct text ctx, struct text alias, enum key_kind kind, struct buffer *result) MUST_CHECK;
/* A private key from elsewhere, PEM or DER. */
enum status file_vault_key_import(struct file_vault *vault, struct text ctx, struct text alias, struct text private,
	struct buffer *result) MUST_CHECK;
enum status file_vault_key_public(
	struct file_vault *vault, struct text ctx, struct text alias, struct buffer *result) MUST_CHECK;
enum status file_vault_sign(
	struct file_vault *vault, struct text ctx, struct text alias, struct text bytes, struct buffer *result) MUST_CHECK;
enum status file_vault_put(struct file_vault *vault, struct text ctx, struct text alias, struct text value) MUST_CHECK;
enum status file_vault_get(
	struct file_vault *vault, struct text ctx, struct text alias, struct buffer *result) MUST_CHECK;
enum status file_vault_delete(struct file_vault *vault, struct text ctx, struct text alias) MUST_CHECK;
enum status file_vault_forget(struct file_vault *vault, struct text ctx) MUST_CHECK;
