/* TLS: certificate and key, a context for each worker, tickets that every worker opens. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/secret.h"
#include "server/listener.h"

struct tls_material {
	STACK_OF(X509) * chain; /* the leaf first */
	EVP_PKEY *key;
	STACK_OF(X509) * client_authorities;
};

/* --- certificate and key */

static enum status complain(struct buffer *error, const char *key, const char *file, const char *what)
{
	buffer_printf(error, "server.%s: %s: %s", key, file, what);
	ERR_clear_error();
	return STATUS_INVALID;
}

static enum status read_certificates(const char *key, const char *file, STACK_OF(X509) * *chain, struct buffer *error)
{
	BIO *input = BIO_new_file(file, "r");
	if (input == NULL)
		return complain(error, key, file, "cannot be read");
	STACK_OF(X509) *read = sk_X509_new_null();
	for (X509 *one; read != NULL && (one = PEM_read_bio_X509(input, NULL, NULL, NULL)) != NULL;) {
		if (sk_X509_push(read, one) == 0)
			X509_free(one);
	}
	BIO_free(input);
	ERR_clear_error();
	if (read == NULL || sk_X509_num(read) == 0) {
		sk_X509_pop_free(read, X509_free);
		return complain(error, key, file, "holds no PEM certificate");
	}
	*chain = read;
	return STATUS_OK;
}

static enum status read_key(const char *file, EVP_PKEY **key, struct buffer *error)
{
	BIO *input = BIO_new_file(file, "r");
	if (input == NULL)
		return complain(error, "key_file", file, "cannot be read");
	/* an encrypted key must not ask at the terminal */
	*key = PEM_read_bio_PrivateKey(input, NULL, NULL, (void *)(uintptr_t) "");
	BIO_free(input);
	return *key == NULL ? complain(error, "key_file", file, "holds no unencrypted PEM private key") : STATUS_OK;
}

void tls_material_free(struct tls_material *material)
{
	if (material == NULL)
		return;
	sk_X509_pop_free(material->chain, X509_free);
	sk_X509_pop_free(material->client_authorities, X509_free);
	EVP_PKEY_free(material->key);
	free(material);
}

enum status tls_material_load(
	const struct server_settings *settings, struct tls_material **material, struct buffer *error)
{
	struct tls_material *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = STATUS_OK;
	if (settings->certificate_file == NULL || settings->key_file == NULL) {
		buffer_printf(error, "server.certificate_file and server.key_file are needed by a listener with protocol tls");
		status = STATUS_INVALID;
	}
	if (status == STATUS_OK)
		status = read_certificates("certificate_file", settings->certificate_file, &made->chain, error);
	if (status == STATUS_OK)
		status = read_key(settings->key_file, &made->key, error);
	if (status == STATUS_OK && X509_check_private_key(sk_X509_value(made->chain, 0), made->key) != 1)
		status = complain(error, "key_file", settings->key_file, "is not the key of the certificate");
	if (status == STATUS_OK && X509_cmp_current_time(X509_get0_notAfter(sk_X509_value(made->chain, 0))) < 0)
		status = complain(error, "certificate_file", settings->certificate_file, "has expired");
	if (status == STATUS_OK && settings->client_ca_file != NULL)
		status = read_certificates("client_ca_file", settings->client_ca_file, &made->client_authorities, error);
	if (status != STATUS_OK) {
		tls_material_free(made);
		return status;
	}
	*material = made;
	return STATUS_OK;
}

/* --- tickets: the same keys on every worker, a new one at half of the lifetime, the one before still opens */

enum { NAME_SIZE = 16, TICKET_KEY_SIZE = 32 };
struct ticket_key {
	uint8_t name[NAME_SIZE], cipher[TICKET_KEY_SIZE], hmac[TICKET_KEY_SIZE];
	uint64_t made_ms; /* 0: none */
};
struct ticket_keys {
	pthread_mutex_t lock; /* held for a copy, once a full handshake */
	struct ticket_key current, previous;
	uint64_t lifetime_ms;
};

static void ticket_key_make(struct ticket_key *key, uint64_t now_ms)
{
	random_bytes(key->name, sizeof(key->name));
	random_bytes(key->cipher, sizeof(key->cipher));
	random_bytes(key->hmac, sizeof(key->hmac));
	key->made_ms = now_ms;
}

struct ticket_keys *ticket_keys_new(int64_t lifetime_ms)
{
	struct ticket_keys *keys = calloc(1, sizeof(*keys));
	if (keys == NULL)
		return NULL;
	pthread_mutex_init(&keys->lock, NULL);
	keys->lifetime_ms = (uint64_t)lifetime_ms;
	ticket_key_make(&keys->current, clock_monotonic_ms() + 1);
	return keys;
}

void ticket_keys_free(struct ticket_keys *keys)
{
	if (keys == NULL)
		return;
	pthread_mutex_destroy(&keys->lock);
	wipe(keys, sizeof(*keys));
	free(keys);
}

static struct ticket_key ticket_key_newest(struct ticket_keys *keys)
{
	uint64_t now_ms = clock_monotonic_ms();
	pthread_mutex_lock(&keys->lock);
	if (now_ms > keys->current.made_ms && now_ms - keys->current.made_ms >= keys->lifetime_ms / 2) {
		keys->previous = keys->current;
		ticket_key_make(&keys->current, now_ms);
	}
	struct ticket_key key = keys->current;
	pthread_mutex_unlock(&keys->lock);
	return key;
}

static bool ticket_key_find(struct ticket_keys *keys, const uint8_t *name, struct ticket_key *found)
{
	uint64_t now_ms = clock_monotonic_ms();
	pthread_mutex_lock(&keys->lock);
	const struct ticket_key *key = NULL;
	if (memcmp(keys->current.name, name, NAME_SIZE) == 0)
		key = &keys->current;
	else if (keys->previous.made_ms != 0 && memcmp(keys->previous.name, name, NAME_SIZE) == 0)
		key = &keys->previous;
	if (key != NULL && (now_ms < key->made_ms || now_ms - key->made_ms < keys->lifetime_ms))
		*found = *key;
	else
		key = NULL;
	pthread_mutex_unlock(&keys->lock);
	return key != NULL;
}

static int ticket_index = -1, cipher_index = -1;
static pthread_once_t ticket_once = PTHREAD_ONCE_INIT;

static void on_context_free(void *context, void *cipher, CRYPTO_EX_DATA *data, int index, long number, void *pointer)
{
	(void)context, (void)data, (void)index, (void)number, (void)pointer;
	EVP_CIPHER_free(cipher);
}

static void make_ticket_index(void)
{
	ticket_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	cipher_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

/* The tickets' cipher, of the worker's own library: one that is looked up by each ticket is looked up in what all
 * workers lock. */
static bool set_ticket_cipher(OSSL_LIB_CTX *library, SSL_CTX *context)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(library, "AES-256-CBC", NULL);
	if (cipher != NULL && SSL_CTX_set_ex_data(context, cipher_index, cipher) == 1)
		return true;
	EVP_CIPHER_free(cipher);
	return false;
}

static int on_ticket(
	SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_new)
{
	const SSL_CTX *context = SSL_get_SSL_CTX(ssl);
	struct ticket_keys *keys = SSL_CTX_get_ex_data(context, ticket_index);
	const EVP_CIPHER *wrap = SSL_CTX_get_ex_data(context, cipher_index);
	struct ticket_key key;
	if (is_new) {
		key = ticket_key_newest(keys);
		memcpy(name, key.name, NAME_SIZE);
		random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(wrap));
	} else if (!ticket_key_find(keys, name, &key)) {
		return 0; /* a full handshake */
	}
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.hmac, sizeof(key.hmac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_end(),
	};
	int done = EVP_MAC_CTX_set_params(mac, parameters) == 1 &&
			   (is_new ? EVP_EncryptInit_ex(cipher, wrap, NULL, key.cipher, iv)
					   : EVP_DecryptInit_ex(cipher, wrap, NULL, key.cipher, iv)) == 1;
	wipe(&key, sizeof(key));
	return done ? 1 : -1;
}

/* --- contexts */

static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_length,
	const unsigned char *offered, unsigned offered_length, void *context)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	(void)ssl, (void)context;
	if (SSL_select_next_proto((unsigned char **)(uintptr_t)chosen, chosen_length, ours, sizeof(ours) - 1, offered,
			offered_length) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static bool use_material(SSL_CTX *context, const struct tls_material *material)
{
	if (SSL_CTX_use_certificate(context, sk_X509_value(material->chain, 0)) != 1 ||
		SSL_CTX_use_PrivateKey(context, material->key) != 1)
		return false;
	for (int i = 1; i < sk_X509_num(material->chain); i++) {
		if (SSL_CTX_add1_chain_cert(context, sk_X509_value(material->chain, i)) != 1)
			return false;
	}
	X509_STORE *store = SSL_CTX_get_cert_store(context);
	for (int i = 0; material->client_authorities != NULL && i < sk_X509_num(material->client_authorities); i++) {
		X509 *authority = sk_X509_value(material->client_authorities, i);
		if (X509_STORE_add_cert(store, authority) != 1 || SSL_CTX_add_client_CA(context, authority) != 1)
			return false;
	}
	return true;
}

enum status tls_context_build(
	OSSL_LIB_CTX *library, const struct tls_material *material, struct ticket_keys *tickets, SSL_CTX **context)
{
	SSL_CTX *made = SSL_CTX_new_ex(library, NULL, TLS_server_method());
	if (made == NULL)
		return STATUS_NO_MEMORY;
	pthread_once(&ticket_once, make_ticket_index); /* workers build theirs at the same time */
	SSL_CTX_set_options(made, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
								  SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
							   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_early_data(made, 0);
	SSL_CTX_set_num_tickets(made, 1);
	SSL_CTX_set_read_ahead(made, 1);
	static const unsigned char id[] = "celld";
	bool is_set = SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION) == 1 &&
				  SSL_CTX_set_ciphersuites(
					  made, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == 1 &&
				  SSL_CTX_set_cipher_list(made,
					  "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
					  "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305") == 1 &&
				  SSL_CTX_set1_groups_list(made, "X25519:P-256:P-384") == 1 &&
				  SSL_CTX_set_session_id_context(made, id, sizeof(id) - 1) == 1 &&
				  SSL_CTX_set_ex_data(made, ticket_index, tickets) == 1 && set_ticket_cipher(library, made) &&
				  SSL_CTX_set_tlsext_ticket_key_evp_cb(made, on_ticket) == 1 && use_material(made, material);
	SSL_CTX_set_alpn_select_cb(made, choose_protocol, NULL);
	if (!is_set) {
		SSL_CTX_free(made);
		ERR_clear_error();
		return STATUS_INVALID;
	}
	*context = made;
	return STATUS_OK;
}

void tls_set_client_certificates(SSL *ssl, int wanted)
{
	static const int modes[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
	SSL_set_verify(ssl, modes[wanted], NULL);
	if (modes[wanted] == SSL_VERIFY_NONE)
		return;
	/* A resumed session is not asked for its certificate again: not after another listener, which asked for none, gave
	 * the ticket, and not after the authorities have changed. */
	SSL_set_options(ssl, SSL_OP_NO_TICKET);
	SSL_set_num_tickets(ssl, 0);
}
