/* The JWTs of NATS' operator mode: who may connect (user), on whose behalf (account), vouched for by whom (operator).
 * Signed offline: the server needs no word of a new user. Claims of version 2. */
#pragma once

#include "control/bus/nkey.h"

enum { NATS_JWT_MAX = 16 * 1024, NATS_SUBJECTS_MAX = 96 };

/* Subjects that a user may use; wildcards allowed. Copied at adding. */
struct nats_subjects {
	char *items[NATS_SUBJECTS_MAX];
	size_t count;
	bool failed; /* out of memory or room: the token is not made */
};
void nats_subjects_add(struct nats_subjects *subjects, const char *format, ...) __attribute__((format(printf, 2, 3)));
void nats_subjects_free(struct nats_subjects *subjects);

struct nats_user {
	const char *public; /* "U..." */
	struct text name;
	struct text account;         /* "A...": of the user, when a signing key signs */
	int64_t issued_s, expires_s; /* expires_s 0: never */
	/* None of both: everything within the account. */
	const struct nats_subjects *publish, *subscribe;
};
enum status nats_jwt_user(const struct nkey *signer, const struct nats_user *user, struct buffer *jwt) MUST_CHECK;
/* With JetStream and without limits; `signer` ("A...", may be NULL) may sign for its users besides itself. */
enum status nats_jwt_account(const struct nkey *operator, const char * account, struct text name, const char *signer,
	bool has_jetstream, int64_t issued_s, struct buffer *jwt) MUST_CHECK;
/* Signed by itself. */
enum status nats_jwt_operator(const struct nkey *operator, struct text name, const char *system_account,
	int64_t issued_s, struct buffer *jwt) MUST_CHECK;
/* The account an account's JWT is of. INVALID: it is none, or `signer` is neither the account nor one of its signing
 * keys. */
enum status nats_jwt_account_read(struct text jwt, const char *signer, struct buffer *account) MUST_CHECK;
/* The user a JWT is of and when it ends (0: never); its signature is the server's business. */
enum status nats_jwt_user_read(struct text jwt, struct buffer *public, int64_t *expires_s) MUST_CHECK;

/* The file that clients of NATS read: JWT and seed. A secret. */
enum status nats_credentials_print(struct text jwt, const struct nkey *user, struct buffer *into) MUST_CHECK;
