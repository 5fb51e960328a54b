/* The one result type of everything that can fail. */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))

/* name, text for people */
#define STATUS_LIST(X)                                                                                                 \
	X(OK, "ok")                                                                                                        \
	X(INVALID, "invalid input")                                                                                        \
	X(TOO_LARGE, "larger than its limit")                                                                              \
	X(NOT_FOUND, "not found")                                                                                          \
	X(CONFLICT, "conflict with the stored state")                                                                      \
	X(UNAUTHORIZED, "no valid credential")                                                                             \
	X(FORBIDDEN, "not allowed")                                                                                        \
	X(REFUSED, "refused by a limit")                                                                                   \
	X(TIMEOUT, "timed out")                                                                                            \
	X(UNAVAILABLE, "not available")                                                                                    \
	X(CLOSED, "closed by the other side")                                                                              \
	X(STOPPED, "stopped by the operator or the contract")                                                              \
	X(PROTOCOL, "protocol violated by the other side")                                                                 \
	X(IO, "input or output failed")                                                                                    \
	X(NO_MEMORY, "out of memory")                                                                                      \
	X(INTERNAL, "internal error")

enum status {
#define STATUS_MEMBER(name, text) STATUS_##name,
	STATUS_LIST(STATUS_MEMBER)
#undef STATUS_MEMBER
};

/* Static text for people; never NULL. */
const char *status_text(enum status status);
/* The lower-case name, for logs and metrics ("not_found"); static. */
const char *status_name(enum status status);
