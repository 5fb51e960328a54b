/* Ed25519 points: OpenSSL takes any 32 bytes for a public key, so the check is ours (RFC 8032 section 5.1.3). */
#include "tenants/jose/curve_point.h"

#include <openssl/bn.h>
#include <stddef.h>

/* y of the points of order 1, 2, 4 and 8, big endian hex; each x sign belongs to the same class. */
static const char *const small_orders[] = {
	"0",
	"1",
	"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
	"7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
	"05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
};
static const char prime_hex[] = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
static const char d_hex[] = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";

static bool is_small_order(const BIGNUM *y)
{
	BIGNUM *small = NULL;
	bool found = false;
	for (size_t i = 0; i < sizeof(small_orders) / sizeof(small_orders[0]) && !found; i++)
		found = BN_hex2bn(&small, small_orders[i]) == 0 || BN_cmp(y, small) == 0;
	BN_free(small);
	return found;
}

/* x^2 = (y^2 - 1) / (d y^2 + 1) has a root: the product of both sides of the fraction is a square. */
static bool has_root(const BIGNUM *y, const BIGNUM *prime, const BIGNUM *d, BN_CTX *scratch)
{
	BIGNUM *square = BN_CTX_get(scratch), *over = BN_CTX_get(scratch), *under = BN_CTX_get(scratch);
	return under != NULL && BN_mod_sqr(square, y, prime, scratch) && BN_sub(over, square, BN_value_one()) &&
		   BN_mod_mul(under, d, square, prime, scratch) && BN_add_word(under, 1) &&
		   BN_mod_mul(over, over, under, prime, scratch) && BN_kronecker(over, prime, scratch) == 1;
}

bool ed25519_point_is_good(const uint8_t encoded[32])
{
	uint8_t bytes[32];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = encoded[31 - i];
	bytes[0] &= 0x7f; /* the sign of x */
	BN_CTX *scratch = BN_CTX_new();
	BIGNUM *y = BN_bin2bn(bytes, sizeof(bytes), NULL), *prime = NULL, *d = NULL;
	if (scratch != NULL)
		BN_CTX_start(scratch);
	bool good = scratch != NULL && y != NULL && BN_hex2bn(&prime, prime_hex) > 0 && BN_hex2bn(&d, d_hex) > 0 &&
				BN_cmp(y, prime) < 0 && !is_small_order(y) && has_root(y, prime, d, scratch);
	if (scratch != NULL)
		BN_CTX_end(scratch);
	BN_free(y);
	BN_free(prime);
	BN_free(d);
	BN_CTX_free(scratch);
	return good;
}
