/* Private keys as PKCS#8, DER and PEM. */
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "server/base/secret.h"
#include "tenants/jose/key_private.h"

/* PKCS#8 as key_to_private_der writes it, around the private bytes: OpenSSL's general decoder takes ten times as long
 * as a signature, and the vault decodes for each. */
static const uint8_t ed_head[] = {
	0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
static const uint8_t ec_head[] = {0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce,
	0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01,
	0x01, 0x04, 0x20};
static const uint8_t ec_middle[] = {0xa1, 0x44, 0x03, 0x42, 0x00};

static EVP_PKEY *ec_pair(const uint8_t *number, const uint8_t *point)
{
	char group[] = "prime256v1";
	uint8_t native[COORDINATE_BYTES];
	for (size_t i = 0; i < sizeof(native); i++)
		native[i] = number[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? sizeof(native) - 1 - i : i];
	OSSL_PARAM members[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof(native)),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point, POINT_BYTES),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY *pair = NULL;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
		EVP_PKEY_fromdata(context, &pair, EVP_PKEY_KEYPAIR, members) != 1)
		pair = NULL;
	EVP_PKEY_CTX_free(context);
	wipe(native, sizeof(native));
	return pair;
}

/* NULL: not that form, which says nothing yet. */
static EVP_PKEY *pair_from_own_der(struct text der)
{
	const uint8_t *at = (const uint8_t *)der.bytes;
	if (der.length == sizeof(ed_head) + COORDINATE_BYTES && memcmp(at, ed_head, sizeof(ed_head)) == 0)
		return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, at + sizeof(ed_head), COORDINATE_BYTES);
	if (der.length != sizeof(ec_head) + COORDINATE_BYTES + sizeof(ec_middle) + POINT_BYTES ||
		memcmp(at, ec_head, sizeof(ec_head)) != 0)
		return NULL;
	const uint8_t *middle = at + sizeof(ec_head) + COORDINATE_BYTES;
	if (memcmp(middle, ec_middle, sizeof(ec_middle)) != 0)
		return NULL;
	return ec_pair(at + sizeof(ec_head), middle + sizeof(ec_middle));
}

enum status key_from_private_der(struct text der, struct text kid, struct key **key)
{
	const unsigned char *at = (const unsigned char *)der.bytes;
	if (der.length == 0 || der.length > INT_MAX)
		return STATUS_INVALID;
	EVP_PKEY *own = pair_from_own_der(der);
	if (own != NULL)
		return key_new(own, true, kid, key);
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.length);
	bool whole = info != NULL && at == (const unsigned char *)der.bytes + der.length;
	EVP_PKEY *pair = whole ? EVP_PKCS82PKEY(info) : NULL;
	PKCS8_PRIV_KEY_INFO_free(info);
	return key_new(pair, true, kid, key);
}

/* Encrypted files are refused rather than asked about. */
static int no_passphrase(char *into, int room, int writing, void *context)
{
	(void)into, (void)room, (void)writing, (void)context;
	return -1;
}

enum status key_from_private_pem(struct text pem, struct text kid, struct key **key)
{
	BIO *source = pem.length > 0 && pem.length <= INT_MAX ? BIO_new_mem_buf(pem.bytes, (int)pem.length) : NULL;
	EVP_PKEY *pair = source == NULL ? NULL : PEM_read_bio_PrivateKey(source, NULL, no_passphrase, NULL);
	BIO_free(source);
	return key_new(pair, true, kid, key);
}

enum status key_to_private_der(const struct key *key, struct buffer *into)
{
	unsigned char *der = NULL;
	if (key->signer == NULL)
		return STATUS_INVALID;
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->pair);
	int length = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	PKCS8_PRIV_KEY_INFO_free(info);
	if (length <= 0) {
		ERR_clear_error();
		return STATUS_NO_MEMORY;
	}
	buffer_append(into, (struct text){(const char *)der, (size_t)length});
	OPENSSL_clear_free(der, (size_t)length);
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
