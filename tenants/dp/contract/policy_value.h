/* Values of ODRL constraints: spans, numbers and amounts of bytes (points in time: server/base/timestamp.h). Pure
 * functions over a peer's bytes. */
#pragma once

#include "server/base/text.h"

/* xsd:duration with days and below ("P30D", "PT12H", "P1DT0.5S"), or a number with one of s, m, h, d ("30d"); at most
 * 100 years. A month or a year has no fixed length: INVALID. */
enum status span_parse(struct text text, int64_t *ms) MUST_CHECK;
/* A whole number of at most 2^53; "10.0" is one. */
enum status count_parse(struct text text, uint64_t *count) MUST_CHECK;
/* "1.5 GB", "10MiB", "4096": a decimal number and a unit, rounded down to bytes. A unit apart (`unit`; absent: the
 * text's own, else bytes) may be an IRI that ends in its name, as those of QUDT. */
enum status bytes_parse(struct text text, struct text unit, uint64_t *bytes) MUST_CHECK;
