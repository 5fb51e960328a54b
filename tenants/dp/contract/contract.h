/* The contract at a pull: whether it is allowed, how far it may go, and what is booked of it. All of it on the pull's
 * worker; the counters that workers share are touched once a credit, or once a request of an agreement that counts
 * them. */
#pragma once

#include "tenants/dp/pull.h"

/* Judges and enters a new pull; anything but NONE: it is refused, and booked so. */
enum policy_reason contract_enter(struct pull *pull);
/* The head is complete: the body is read through the quota from here on. */
void contract_respond(struct pull *pull);
/* Bytes of the body have been produced. */
void contract_count(struct pull *pull, size_t bytes);
/* What the kernel has sent since the last time. */
void contract_count_sending(struct dp_worker *home);
/* Once, when the pull is over. */
void contract_leave(struct pull *pull, enum status outcome);
/* Is the pull still allowed? Renews what it was granted. */
bool contract_renew(struct pull *pull, int64_t now_ms);
/* Stops the live pulls that are no longer allowed. */
void contract_check(struct dp_worker *home, struct agreement *agreement);
/* From the store's thread: the same on every worker. */
void contract_check_everywhere(struct dp *dp, struct agreement *agreement);
