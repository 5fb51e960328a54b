/* text_hash: SipHash-1-3 under a random key of the process. */
#include <endian.h>
#include <string.h>

#include "server/base/id.h"
#include "server/base/text.h"

static uint64_t key[2];

/* Before main, so that no call has to ask whether the key is there. */
__attribute__((constructor)) static void make_key(void)
{
	random_bytes(key, sizeof(key));
}

static inline uint64_t rotate(uint64_t word, int bits)
{
	return word << bits | word >> (64 - bits);
}

struct lanes {
	uint64_t a, b, c, d;
};

static inline void mix(struct lanes *v)
{
	v->a += v->b;
	v->c += v->d;
	v->b = rotate(v->b, 13) ^ v->a;
	v->d = rotate(v->d, 16) ^ v->c;
	v->a = rotate(v->a, 32);
	v->c += v->b;
	v->a += v->d;
	v->b = rotate(v->b, 17) ^ v->c;
	v->d = rotate(v->d, 21) ^ v->a;
	v->c = rotate(v->c, 32);
}

uint64_t text_hash(struct text text)
{
	struct lanes v = {
		key[0] ^ 0x736f6d6570736575u,
		key[1] ^ 0x646f72616e646f6du,
		key[0] ^ 0x6c7967656e657261u,
		key[1] ^ 0x7465646279746573u,
	};
	size_t whole = text.length & ~(size_t)7;
	uint64_t word;
	for (size_t i = 0; i < whole; i += 8) {
		memcpy(&word, text.bytes + i, 8);
		v.d ^= word;
		mix(&v);
		v.a ^= word;
	}
	word = (uint64_t)text.length << 56;
	if (whole > 0 && whole < text.length) { /* the last eight bytes without those that were seen */
		uint64_t last;
		memcpy(&last, text.bytes + text.length - 8, 8);
		word |= le64toh(last) >> (8 * (8 - (text.length - whole)));
	}
	for (size_t i = 0; whole == 0 && i < text.length; i++)
		word |= (uint64_t)(unsigned char)text.bytes[i] << (8 * i);
	v.d ^= word;
	mix(&v);
	v.a ^= word;
	v.c ^= 0xff;
	mix(&v);
	mix(&v);
	mix(&v);
	return v.a ^ v.b ^ v.c ^ v.d;
}
