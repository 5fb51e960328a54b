/* Where OpenSSL's memory comes from: malloc, but for connections themselves. */
#pragma once

#include <openssl/ssl.h>

#include "server/drawer.h"

/* SSL_new, the object itself in the drawer (which may be NULL). */
SSL *tls_new_in(SSL_CTX *context, struct drawer *drawer);
