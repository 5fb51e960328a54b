/* What a type of sink is: where the bytes of a push go that this cell receives. One struct of functions; to add one:
 * write it, and list it in sink.c. */
#pragma once

#include "tenants/dp/pull.h"
#include "tenants/dp/sink/sink_driver.h"

/* One object on its way into a sink. The receiver's (ingest.c); the driver reads what stands before its own. */
struct intake {
	const struct sink_driver *driver;
	const void *sink;  /* built from the dataset's record; NULL: the default one */
	struct pull *pull; /* whose flow, tenant and worker; until close */
	struct text name;  /* "a/b": relative, decoded, without "." and ".." */
	struct text content_type;
	int64_t first; /* of the bytes that come: offset in the object; 0 begins it afresh */
	int64_t end;   /* behind the last of them; -1: not known */
	int64_t total; /* of the object; -1: not known */
	/* How far it has come is asked, nothing is written: `opened` is the answer. */
	bool is_question;
	/* A segment of it: what came stays for the next one if this breaks off. Else the whole: it does not. */
	bool is_segment;
	void *driver_state;
	const struct intake_events *events;
};

/* Called by the driver on the pull's worker, never inside its functions. */
struct intake_events {
	/* OK: write may begin. CONFLICT: `offset` bytes are there, and `first` is another; or someone else is writing.
	 * PROTOCOL: such segments
	 * are not for this sink. TOO_LARGE, REFUSED (no room), NOT_FOUND (a name that cannot be), UNAVAILABLE, ... */
	void (*opened)(struct intake *intake, enum status status, int64_t offset);
	/* The bytes of the last write are taken. */
	void (*written)(struct intake *intake, enum status status, size_t length);
	/* What finish asked for is so. */
	void (*finished)(struct intake *intake, enum status status);
};

/* The sink of the pull's dataset, or the default: files below received/<flow>/. */
void intake_choose(struct intake *intake);
