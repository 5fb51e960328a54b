/* What the files of the bus know of each other. */
#pragma once

#include <stdio.h>

#include "control/bus/bus.h"
#include "control/bus/link.h"

enum { SUBJECT_MAX = 512 };

struct bus_consumer **bus_consumers(struct bus *bus);
struct bus_direct **bus_directs(struct bus *bus);
/* Appends "<inbox>.<kind>.<number>": a reply subject of this bus alone. */
void bus_inbox(struct bus *bus, const char *kind, uint32_t number, struct buffer *into);
/* Core publish with a reply subject of the caller's own subscription. */
bool bus_send_asking(struct bus *bus, struct text subject, struct text reply, struct text body);

/* bucket.c: another server, or another stream of that name (NULL: of any), may permit other questions. */
void directs_forget(struct bus *bus, const char *stream);

/* consumer.c */
void consumers_state(struct bus *bus, bool is_up);
/* The stream has just been made: whoever waits for it, or keeps a consumer of it, need not wait longer. */
void consumers_stream(struct bus *bus, struct text stream);
void consumers_tick(struct bus *bus, uint64_t now_ms);
/* A message of this consumer has been answered. */
void consumers_answered(struct bus *bus, struct text stream, struct text name);
void consumers_end(struct bus *bus);
