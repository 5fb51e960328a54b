/* Admission of requests by their tenant's limits. */
#include "router/gate.h"

#include <stdlib.h>
#include <string.h>

#include "router/loan.h"

enum {
	BUCKETS = 4096,
	CONNECTION_BUCKETS = 16,
	IDLE_KEPT = 1024,
	IDLE_MS = 10000,
	LEASES_A_SECOND = 20,
	/* so long a worker counts as a sender after its last exchange: requests one after the other change nothing */
	REST_MS = 100
};

struct seat {
	struct seat *next;
	const void *connection;
	unsigned streams;
};

/* One tenant on one worker. */
struct account {
	struct account *chain;
	struct accounts *home;
	struct gate *gate;
	struct share *share;
	int64_t seen; /* the revision of the configuration these limits are of */
	struct tenant_limits limits;
	int64_t requests; /* leased and not used */
	struct loan streams, connections;
	int64_t seen_senders;
	bool is_sender, is_resting;
	struct account *resting_next; /* senders without an exchange, perhaps */
	uint64_t used_ms;
	struct seat *seats[CONNECTION_BUCKETS];
};

struct accounts {
	struct worker *worker;
	const struct tenant_settings *defaults;
	struct account *buckets[BUCKETS];
	size_t count;
	struct seat *free_seats;
	struct account *resting;
	struct timer *rest; /* ticks while some rest */
};

/* --- gates */

struct gate *gate_new(const struct participant *participant)
{
	struct gate *gate = aligned_alloc(_Alignof(struct gate), sizeof(*gate));
	if (gate == NULL)
		return NULL;
	memset(gate, 0, sizeof(*gate));
	memcpy(gate->ctx, participant->ctx, sizeof(gate->ctx));
	atomic_init(&gate->participant, participant);
	atomic_init(&gate->references, 1);
	return gate;
}

void gate_ref(struct gate *gate)
{
	atomic_fetch_add_explicit(&gate->references, 1, memory_order_relaxed);
}

void gate_unref(void *object)
{
	struct gate *gate = object;
	if (gate != NULL && atomic_fetch_sub_explicit(&gate->references, 1, memory_order_acq_rel) == 1)
		free(gate);
}

/* --- reserves */

static int64_t lease_requests(struct gate *gate, int64_t limit, uint64_t now_ms)
{
	uint64_t before = atomic_load_explicit(&gate->refilled_ms, memory_order_relaxed);
	if (now_ms > before && atomic_compare_exchange_strong_explicit(
							   &gate->refilled_ms, &before, now_ms, memory_order_relaxed, memory_order_relaxed)) {
		uint64_t passed = now_ms - before > 1000 ? 1000 : now_ms - before;
		/* fractions of a request are kept as thousandths */
		int64_t add = limit * (int64_t)passed;
		int64_t have = atomic_fetch_add_explicit(&gate->requests, add, memory_order_relaxed) + add;
		if (have > limit * 1000)
			atomic_fetch_sub_explicit(&gate->requests, have - limit * 1000, memory_order_relaxed);
	}
	int64_t wanted = limit / LEASES_A_SECOND > 0 ? limit / LEASES_A_SECOND : 1;
	int64_t have = atomic_load_explicit(&gate->requests, memory_order_relaxed);
	while (have >= 1000) {
		int64_t take = have / 1000 < wanted ? have / 1000 : wanted;
		if (atomic_compare_exchange_weak_explicit(
				&gate->requests, &have, have - take * 1000, memory_order_relaxed, memory_order_relaxed))
			return take;
	}
	return 0;
}

/* --- accounts */

static void end_sending(struct account *account)
{
	if (account->is_sender)
		atomic_fetch_sub_explicit(&account->gate->senders, 1, memory_order_relaxed);
	account->is_sender = false;
}

static void on_rest(void *context)
{
	struct accounts *accounts = context;
	uint64_t now_ms = worker_now_ms(accounts->worker);
	for (struct account **at = &accounts->resting, *account; (account = *at) != NULL;) {
		if (account->streams.used == 0 && now_ms - account->used_ms < REST_MS) {
			at = &account->resting_next;
			continue;
		}
		*at = account->resting_next;
		account->is_resting = false;
		if (account->streams.used == 0)
			end_sending(account);
	}
	if (accounts->resting != NULL)
		timer_set(accounts->rest, REST_MS);
}

struct accounts *accounts_new(struct worker *worker, const struct tenant_settings *defaults)
{
	struct accounts *accounts = calloc(1, sizeof(*accounts));
	if (accounts == NULL)
		return NULL;
	accounts->worker = worker;
	accounts->defaults = defaults;
	accounts->rest = timer_new(worker, on_rest, accounts);
	if (accounts->rest == NULL) {
		free(accounts);
		return NULL;
	}
	return accounts;
}

static struct account **bucket_of(struct accounts *accounts, const struct gate *gate)
{
	uintptr_t address = (uintptr_t)gate;
	return &accounts->buckets[(address >> 6 ^ address >> 18) % BUCKETS];
}

static void account_free(struct account *account)
{
	end_sending(account);
	loan_end(&account->streams, &account->gate->streams);
	loan_end(&account->connections, &account->gate->connections);
	share_unref(account->share);
	gate_unref(account->gate);
	account->home->count--;
	free(account);
}

/* Drops what nobody used lately. */
static void sweep(struct accounts *accounts, uint64_t now_ms)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct account **at = &accounts->buckets[i];
		while (*at != NULL) {
			struct account *account = *at;
			if (account->streams.used > 0 || account->is_resting || now_ms - account->used_ms < IDLE_MS) {
				at = &account->chain;
				continue;
			}
			*at = account->chain;
			account_free(account);
		}
	}
}

void accounts_free(struct accounts *accounts)
{
	if (accounts == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (accounts->buckets[i] != NULL) {
			struct account *account = accounts->buckets[i];
			accounts->buckets[i] = account->chain;
			account_free(account);
		}
	}
	while (accounts->free_seats != NULL) {
		struct seat *next = accounts->free_seats->next;
		free(accounts->free_seats);
		accounts->free_seats = next;
	}
	timer_free(accounts->rest);
	free(accounts);
}

static void take_limits(struct account *account, const struct participant *participant)
{
	const struct tenant_settings *defaults = account->home->defaults;
	const struct tenant_limits *own = &participant->limits;
	account->seen = participant->config_revision;
	account->limits = (struct tenant_limits){
		.requests_per_second = own->requests_per_second > 0 ? own->requests_per_second : defaults->requests_per_second,
		.bytes_per_second = own->bytes_per_second > 0 ? own->bytes_per_second : defaults->bytes_per_second,
		.streams = own->streams > 0 ? own->streams : defaults->streams,
		.connections = own->connections > 0 ? own->connections : defaults->connections,
		.weight = own->weight > 0 ? own->weight : defaults->weight,
	};
}

/* The cap is the process's: workers on which the tenant sends divide it. */
static struct share_limits share_limits_of(struct account *account)
{
	int64_t senders = atomic_load_explicit(&account->gate->senders, memory_order_relaxed);
	int64_t bytes = account->limits.bytes_per_second;
	account->seen_senders = senders;
	if (bytes > 0 && senders > 1)
		bytes = bytes / senders > 0 ? bytes / senders : 1;
	return (struct share_limits){.weight = (uint32_t)account->limits.weight, .bytes_per_second = (uint64_t)bytes};
}

static void begin_sending(struct account *account)
{
	if (account->limits.bytes_per_second == 0)
		return;
	if (!account->is_sender)
		atomic_fetch_add_explicit(&account->gate->senders, 1, memory_order_relaxed);
	account->is_sender = true;
	if (atomic_load_explicit(&account->gate->senders, memory_order_relaxed) != account->seen_senders) {
		struct share_limits limits = share_limits_of(account);
		share_change(account->share, &limits);
	}
}

/* A sender without an exchange is one for a while. */
static void rest(struct account *account)
{
	struct accounts *home = account->home;
	if (!account->is_sender || account->is_resting || account->streams.used > 0)
		return;
	if (home->resting == NULL)
		timer_set(home->rest, REST_MS);
	account->is_resting = true;
	account->resting_next = home->resting;
	home->resting = account;
}

static struct account *account_get(struct accounts *accounts, struct gate *gate, const struct participant *participant)
{
	struct account **at = bucket_of(accounts, gate), *account = *at;
	while (account != NULL && account->gate != gate)
		account = account->chain;
	if (account != NULL) {
		if (account->seen != participant->config_revision) {
			take_limits(account, participant);
			struct share_limits limits = share_limits_of(account);
			share_change(account->share, &limits);
		}
		return account;
	}
	if (accounts->count >= IDLE_KEPT)
		sweep(accounts, worker_now_ms(accounts->worker));
	account = calloc(1, sizeof(*account));
	if (account == NULL)
		return NULL;
	account->home = accounts;
	account->gate = gate;
	take_limits(account, participant);
	struct share_limits limits = share_limits_of(account);
	account->share = share_new(accounts->worker, &limits);
	if (account->share == NULL) {
		free(account);
		return NULL;
	}
	gate_ref(gate);
	account->chain = *at;
	*at = account;
	accounts->count++;
	return account;
}

/* --- seats: distinct connections with open exchanges */

static struct seat **find_seat(struct account *account, const void *connection)
{
	uintptr_t address = (uintptr_t)connection;
	struct seat **at = &account->seats[(address >> 6 ^ address >> 12) % CONNECTION_BUCKETS];
	while (*at != NULL && (*at)->connection != connection)
		at = &(*at)->next;
	return at;
}

static enum admission sit(struct account *account, const void *connection)
{
	struct accounts *home = account->home;
	/* an open connection has a stream: the lower limit holds both */
	if (account->limits.connections >= account->limits.streams)
		return ADMITTED;
	struct seat **at = find_seat(account, connection);
	if (*at != NULL) {
		(*at)->streams++;
		return ADMITTED;
	}
	if (!loan_take(&account->connections, &account->gate->connections, account->limits.connections))
		return REFUSED_CONNECTIONS;
	struct seat *seat = home->free_seats;
	if (seat != NULL)
		home->free_seats = seat->next;
	else
		seat = malloc(sizeof(*seat));
	if (seat == NULL) {
		loan_return(&account->connections, &account->gate->connections, account->limits.connections);
		return REFUSED_MEMORY;
	}
	*seat = (struct seat){.connection = connection, .streams = 1};
	*at = seat;
	return ADMITTED;
}

static void stand_up(struct account *account, const void *connection)
{
	struct seat **at = find_seat(account, connection), *seat = *at;
	if (seat == NULL || --seat->streams > 0)
		return;
	*at = seat->next;
	seat->next = account->home->free_seats;
	account->home->free_seats = seat;
	loan_return(&account->connections, &account->gate->connections, account->limits.connections);
}

static void on_leave(struct exchange *exchange)
{
	struct account *account = exchange->leave_state;
	stand_up(account, exchange->connection);
	account->used_ms = worker_now_ms(account->home->worker);
	loan_return(&account->streams, &account->gate->streams, account->limits.streams);
	rest(account);
}

enum admission accounts_admit(
	struct accounts *accounts, struct gate *gate, const struct participant *participant, struct exchange *exchange)
{
	struct account *account = account_get(accounts, gate, participant);
	if (account == NULL)
		return REFUSED_MEMORY;
	account->used_ms = worker_now_ms(accounts->worker);
	exchange->tenant = (struct text){account->gate->ctx, ID_LENGTH};
	if (account->requests == 0)
		account->requests = lease_requests(gate, account->limits.requests_per_second, account->used_ms);
	if (account->requests == 0)
		return REFUSED_RATE;
	if (!loan_take(&account->streams, &gate->streams, account->limits.streams))
		return REFUSED_STREAMS;
	enum admission seated = sit(account, exchange->connection);
	if (seated != ADMITTED) {
		loan_return(&account->streams, &gate->streams, account->limits.streams);
		return seated;
	}
	account->requests--;
	begin_sending(account);
	exchange->share = account->share;
	exchange->on_leave = on_leave;
	exchange->leave_state = account;
	return ADMITTED;
}
