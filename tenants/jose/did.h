/* Decentralized identifiers of the method web: from an identifier to the URL of its document, and from the document to
 * its keys. Pure functions on a peer's bytes. */
#pragma once

#include "tenants/jose/jwk.h"

enum { DID_LENGTH_MAX = 1024, DID_DOCUMENT_MAX = 64 * 1024 };

/* did:web, reading of an identifier: the host may carry a port behind "%3A", ':' separates path segments, no path means
 * /.well-known. `clear`: http instead of https. INVALID: another method, an empty or a dot segment, escapes that would
 * change the path's shape. Appends to `url`. */
enum status did_web_url(struct text did, bool clear, struct buffer *url) MUST_CHECK;
/* Escapes ("%3A", "%3a") compare without case, all else exactly. */
bool did_equals(struct text a, struct text b);

/* The verification methods of a document that this cell can use. */
struct did_document;
/* INVALID: not a document of `did`, two methods of one id. Methods of other types, of other controllers, and with keys
 * of kinds unknown here are left out; at most 64 methods are read. */
enum status did_document_parse(struct text json, struct text did, struct did_document **document) MUST_CHECK;
size_t did_document_count(const struct did_document *document);
/* `kid` as a JWS header has it: the whole id ("did:web:x#key"), or its fragment, with or without what stands before '#'
 * as long as that is no other DID. Borrowed; NULL: there is none. */
const struct key *did_document_find(const struct did_document *document, struct text kid);
void did_document_free(struct did_document *document); /* NULL is fine */

/* The document of a participant: each key under its own fragment, for authentication and assertion. */
enum status did_document_print(struct text did, struct key *const *keys, size_t count, struct buffer *into) MUST_CHECK;
