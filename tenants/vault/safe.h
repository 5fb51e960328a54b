/* A safe: the keys and secrets of one ctx, sealed, as they are in its file. Private to this folder.
 *
 * File, version 1, integers big endian:
 *   "celldvlt" u32 version
 *   data key:  sealed with the master key (nonce 12, key 32, tag 16), bound to "data-key" and the ctx
 *   u32 number of entries, each:
 *     u8 kind, u32 version, u16 alias length, alias, u32 sealed length, sealed bytes (nonce, ciphertext, tag), bound to
 *     ctx, alias, kind and version
 *   sealed nothing (nonce 12, tag 16) with the data key, bound to all bytes before: no entry can be taken out or put
 * back */
#pragma once

#include <sys/queue.h>

#include "server/base/text.h"
#include "tenants/vault/seal.h"

enum entry_kind { ENTRY_ES256 = 1, ENTRY_EDDSA = 2, ENTRY_SECRET = 3 };
enum {
	SAFE_CTX_MAX = 128,
	SAFE_ALIAS_MAX = 256,
	SAFE_VALUE_MAX = 64 * 1024,
	SAFE_ENTRIES_MAX = 10000,
	SAFE_FILE_MAX = 32 * 1024 * 1024,
};

struct entry {
	enum entry_kind kind;
	uint32_t version;
	size_t alias_length, sealed_length;
	char bytes[]; /* alias, sealed bytes */
};

struct safe {
	char ctx[SAFE_CTX_MAX + 1];
	uint8_t data_key[SEAL_KEY + SEAL_EXTRA]; /* sealed */
	struct entry **entries;
	size_t count, room, file_bytes;
	struct safe *next;       /* of its hash bucket */
	TAILQ_ENTRY(safe) usage; /* least recently used first */
};

enum status safe_new(struct text ctx, const uint8_t master[SEAL_KEY], struct safe **safe) MUST_CHECK;
/* IO: damaged, tampered with, of another ctx or another master key. */
enum status safe_parse(
	struct text file, struct text ctx, const uint8_t master[SEAL_KEY], struct safe **safe) MUST_CHECK;
enum status safe_print(const struct safe *safe, const uint8_t master[SEAL_KEY], struct buffer *into) MUST_CHECK;
void safe_free(struct safe *safe);

struct entry *safe_find(const struct safe *safe, struct text alias);
/* Adds or replaces (then with the next version). */
enum status safe_put(struct safe *safe, const uint8_t master[SEAL_KEY], struct text alias, enum entry_kind kind,
	struct text value) MUST_CHECK;
/* Opens an entry into an empty buffer, in one allocation: the caller wipes it. */
enum status safe_open(const struct safe *safe, const uint8_t master[SEAL_KEY], const struct entry *entry,
	struct buffer *value) MUST_CHECK;
void safe_remove(struct safe *safe, struct entry *entry);
