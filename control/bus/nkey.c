/* NATS keys over the Ed25519 keys of tenants/jose. */
#include "control/bus/nkey.h"

#include <stdlib.h>
#include <unistd.h>

#include "server/base/json.h"
#include "server/base/secret.h"
#include "tenants/jose/jws.h"
#include "tenants/vault/safe_file.h"

enum {
	KEY_BYTES = 32,
	CHECKSUM_BYTES = 2,
	PUBLIC_BYTES = 1 + KEY_BYTES + CHECKSUM_BYTES,
	SEED_BYTES = 2 + KEY_BYTES + CHECKSUM_BYTES,
	SEED_MARK = 18, /* 'S' */
	FILE_MAX = NKEY_SEED_LENGTH + 2,
};

struct nkey {
	enum nkey_kind kind;
	struct key *pair;
	char public[NKEY_PUBLIC_LENGTH + 1];
};

static const uint8_t numbers[] = {
#define NKEY_NUMBER(name, number, letter) number,
	NKEY_LIST(NKEY_NUMBER)
#undef NKEY_NUMBER
};
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* PKCS#8 of an Ed25519 key, in front of its 32 bytes (RFC 8410). */
static const uint8_t der_head[] = {
	0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

/* --- the coding */

/* CRC-16/XMODEM, little endian behind what it covers. */
static uint16_t checksum(const uint8_t *bytes, size_t length)
{
	unsigned sum = 0;
	for (size_t i = 0; i < length; i++) {
		sum ^= (unsigned)bytes[i] << 8;
		for (int bit = 0; bit < 8; bit++)
			sum = (sum << 1 ^ ((sum & 0x8000) != 0 ? 0x1021u : 0)) & 0xffff;
	}
	return (uint16_t)sum;
}

static size_t encode(const uint8_t *bytes, size_t length, char *into)
{
	unsigned held = 0, bits = 0;
	size_t count = 0;
	for (size_t i = 0; i < length; i++) {
		held = held << 8 | bytes[i];
		for (bits += 8; bits >= 5; bits -= 5)
			into[count++] = digits[held >> (bits - 5) & 31];
		held &= (1u << bits) - 1;
	}
	if (bits > 0)
		into[count++] = digits[held << (5 - bits) & 31];
	into[count] = 0;
	return count;
}

/* Exactly `length` bytes, no padding, no bits left over. */
static bool decode(struct text text, uint8_t *into, size_t length)
{
	unsigned held = 0, bits = 0;
	size_t count = 0;
	if (text.length != (length * 8 + 4) / 5)
		return false;
	for (size_t i = 0; i < text.length; i++) {
		const char *digit = text.bytes[i] == 0 ? NULL : strchr(digits, text.bytes[i]);
		if (digit == NULL)
			return false;
		held = held << 5 | (unsigned)(digit - digits);
		bits += 5;
		if (bits >= 8 && count < length) {
			bits -= 8;
			into[count++] = (uint8_t)(held >> bits);
		}
		held &= (1u << bits) - 1;
	}
	return count == length && held == 0;
}

static void append_checksum(uint8_t *bytes, size_t length)
{
	uint16_t sum = checksum(bytes, length);
	bytes[length] = (uint8_t)sum;
	bytes[length + 1] = (uint8_t)(sum >> 8);
}

static bool decode_checked(struct text text, uint8_t *into, size_t length)
{
	if (!decode(text, into, length))
		return false;
	uint16_t sum = checksum(into, length - CHECKSUM_BYTES);
	return into[length - 2] == (uint8_t)sum && into[length - 1] == (uint8_t)(sum >> 8);
}

/* --- keys */

/* The 32 bytes of the public half, out of its JWK. */
static enum status public_bytes(const struct key *pair, uint8_t into[KEY_BYTES])
{
	struct buffer jwk = {0};
	struct json *root = NULL;
	size_t length = 0;
	enum status status = key_to_public_jwk(pair, &jwk);
	if (status == STATUS_OK)
		status = json_parse(buffer_text(&jwk), NULL, &root);
	if (status == STATUS_OK)
		status = base64url_decode(json_member_text(root, "x"), into, KEY_BYTES, &length);
	json_free(root);
	buffer_free(&jwk);
	return status == STATUS_OK && length != KEY_BYTES ? STATUS_INVALID : status;
}

/* Takes `pair` over, also on failure. */
static enum status nkey_new(struct key *pair, enum nkey_kind kind, struct nkey **nkey)
{
	uint8_t bytes[PUBLIC_BYTES] = {(uint8_t)(numbers[kind] << 3)};
	enum status status = public_bytes(pair, bytes + 1);
	struct nkey *made = status == STATUS_OK ? calloc(1, sizeof(*made)) : NULL;
	if (made == NULL) {
		key_free(pair);
		return status == STATUS_OK ? STATUS_NO_MEMORY : status;
	}
	append_checksum(bytes, 1 + KEY_BYTES);
	encode(bytes, sizeof(bytes), made->public);
	made->kind = kind;
	made->pair = pair;
	*nkey = made;
	return STATUS_OK;
}

enum status nkey_generate(enum nkey_kind kind, struct nkey **nkey)
{
	struct key *pair;
	enum status status = key_generate(KEY_EDDSA, TEXT_NONE, &pair);
	return status == STATUS_OK ? nkey_new(pair, kind, nkey) : status;
}

enum status nkey_from_seed(struct text seed, enum nkey_kind kind, struct nkey **nkey)
{
	uint8_t bytes[SEED_BYTES], der[sizeof(der_head) + KEY_BYTES];
	struct key *pair = NULL;
	enum status status = STATUS_INVALID;
	if (decode_checked(seed, bytes, sizeof(bytes)) && bytes[0] == (SEED_MARK << 3 | numbers[kind] >> 2) &&
		bytes[1] == (uint8_t)(numbers[kind] << 6)) {
		memcpy(der, der_head, sizeof(der_head));
		memcpy(der + sizeof(der_head), bytes + 2, KEY_BYTES);
		status = key_from_private_der((struct text){(const char *)der, sizeof(der)}, TEXT_NONE, &pair);
		wipe(der, sizeof(der));
	}
	wipe(bytes, sizeof(bytes));
	return status == STATUS_OK ? nkey_new(pair, kind, nkey) : status;
}

enum status nkey_from_public(struct text public, enum nkey_kind kind, struct nkey **nkey)
{
	uint8_t bytes[PUBLIC_BYTES];
	char x[KEY_BYTES * 4 / 3 + 4];
	struct buffer jwk = {0};
	struct key *pair = NULL;
	if (!decode_checked(public, bytes, sizeof(bytes)) || bytes[0] != (uint8_t)(numbers[kind] << 3))
		return STATUS_INVALID;
	size_t length = base64url_encode((struct text){(const char *)bytes + 1, KEY_BYTES}, x);
	buffer_printf(&jwk, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%.*s\"}", (int)length, x);
	enum status status = key_from_public_jwk(buffer_text(&jwk), &pair);
	buffer_free(&jwk);
	return status == STATUS_OK ? nkey_new(pair, kind, nkey) : status;
}

void nkey_free(struct nkey *nkey)
{
	if (nkey == NULL)
		return;
	key_free(nkey->pair);
	free(nkey);
}

const char *nkey_public(const struct nkey *nkey)
{
	return nkey->public;
}

enum status nkey_seed(const struct nkey *nkey, struct buffer *into)
{
	uint8_t bytes[SEED_BYTES] = {
		(uint8_t)(SEED_MARK << 3 | numbers[nkey->kind] >> 2), (uint8_t)(numbers[nkey->kind] << 6)};
	char seed[NKEY_SEED_LENGTH + 1];
	struct buffer der = {0};
	enum status status = key_to_private_der(nkey->pair, &der);
	if (status == STATUS_OK && der.length != sizeof(der_head) + KEY_BYTES)
		status = STATUS_INTERNAL;
	if (status == STATUS_OK) {
		memcpy(bytes + 2, der.bytes + sizeof(der_head), KEY_BYTES);
		append_checksum(bytes, 2 + KEY_BYTES);
		buffer_append(into, (struct text){seed, encode(bytes, sizeof(bytes), seed)});
		wipe(seed, sizeof(seed));
	}
	wipe(bytes, sizeof(bytes));
	buffer_wipe(&der);
	return status == STATUS_OK && into->failed ? STATUS_NO_MEMORY : status;
}

enum status nkey_sign(const struct nkey *nkey, struct text bytes, uint8_t signature[NKEY_SIGNATURE_BYTES])
{
	return key_sign(nkey->pair, bytes, signature);
}

enum status nkey_verify(const struct nkey *nkey, struct text bytes, struct text signature)
{
	return key_verify(nkey->pair, bytes, signature);
}

/* --- the file */

static enum status create_file(int folder, const char *name, enum nkey_kind kind)
{
	struct nkey *nkey = NULL;
	struct buffer seed = {0};
	enum status status = nkey_generate(kind, &nkey);
	if (status == STATUS_OK)
		status = nkey_seed(nkey, &seed);
	buffer_append_byte(&seed, '\n');
	if (status == STATUS_OK)
		status = seed.failed ? STATUS_NO_MEMORY : safe_file_create(folder, name, 0400, buffer_text(&seed));
	buffer_wipe(&seed);
	nkey_free(nkey);
	return status == STATUS_CONFLICT ? STATUS_OK : status; /* another start was faster */
}

static enum status read_file(const char *file, enum nkey_kind kind, bool create, struct buffer *content)
{
	int folder;
	const char *name;
	enum status status = safe_file_split(file, &folder, &name);
	if (status != STATUS_OK)
		return status;
	status = safe_file_read(folder, name, FILE_MAX, true, content);
	if (status == STATUS_NOT_FOUND && create) {
		status = create_file(folder, name, kind);
		if (status == STATUS_OK)
			status = safe_file_read(folder, name, FILE_MAX, true, content);
	}
	close(folder);
	return status;
}

enum status nkey_open(const char *file, enum nkey_kind kind, bool create, struct nkey **nkey, struct buffer *error)
{
	struct buffer content = {0};
	enum status status = read_file(file, kind, create, &content);
	struct text seed = buffer_text(&content);
	while (seed.length > 0 && (seed.bytes[seed.length - 1] == '\n' || seed.bytes[seed.length - 1] == '\r'))
		seed.length--;
	if (status == STATUS_OK)
		status = nkey_from_seed(seed, kind, nkey);
	buffer_wipe(&content);
	if (status == STATUS_FORBIDDEN)
		buffer_printf(error, "%s must be readable by its owner alone (mode 0400)", file);
	else if (status == STATUS_INVALID || status == STATUS_TOO_LARGE)
		buffer_printf(error, "%s holds no seed of the right kind", file);
	else if (status != STATUS_OK)
		buffer_printf(error, "%s: %s", file, status_text(status));
	return status;
}
