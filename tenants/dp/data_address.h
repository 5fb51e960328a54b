/* A DSP DataAddress (dps.md 1.5): where data is fetched from or sent to, and with what. Read leniently, printed
 * strictly. Owned by whoever parsed it. */
#pragma once

#include "server/base/json.h"

struct data_address;

/* {"@type","endpointType","endpoint","endpointProperties":[{"@type","name","value"}]}: the types may be missing, the
 * properties may be missing or empty, unknown members are ignored, of two properties with one name the first counts.
 * At most 64 properties, 16 KiB a value. `error` gets one line that names the member. */
enum status data_address_parse(const struct json *body, struct data_address **address, struct buffer *error) MUST_CHECK;
struct data_address *data_address_new(struct text endpoint_type, struct text endpoint); /* NULL: out of memory */
bool data_address_add(struct data_address *address, struct text name, struct text value);
/* Replaces the values of all properties of this name, in whatever spelling; adds one when there is none. */
bool data_address_set(struct data_address *address, const char *name, struct text value);
struct text data_address_type(const struct data_address *address);
/* TEXT_NONE when absent */
struct text data_address_endpoint(const struct data_address *address);
/* By its name, or by one of its legacy spellings (edc: and tractusx: namespaces). */
struct text data_address_property(const struct data_address *address, const char *name);
bool data_address_has_secrets(const struct data_address *address);
/* With every @type, never an empty list. with_secrets false: without authorization and refreshToken: what may be
 * stored in a record. */
void data_address_print(const struct data_address *address, bool with_secrets, struct buffer *into);
/* Wipes. NULL is fine. */
void data_address_free(struct data_address *address);
