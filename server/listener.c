/* Listeners: one socket a worker with SO_REUSEPORT, accepting in bounded batches. */
#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/socket_queue.h"
#include "server/worker_pool.h"

enum { BACKLOG = 4096, ACCEPT_BATCH = 64, ACCEPT_AGAIN_MS = 100, LISTENERS_MAX = 32 };

static enum status complain(struct buffer *error, const struct listener_settings *settings, const char *what)
{
	buffer_printf(error, "server.listeners: %s port %lld: %s", settings->address, (long long)settings->port, what);
	return STATUS_INVALID;
}

static bool parse_address(const char *text, unsigned port, struct sockaddr_storage *address, socklen_t *length)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		memcpy(address, &v4, sizeof(v4));
		*length = sizeof(v4);
	} else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
		memcpy(address, &v6, sizeof(v6));
		*length = sizeof(v6);
	} else {
		return false;
	}
	return true;
}

/* Its connections inherit this. */
static void tune(int descriptor)
{
	const int yes = 1;
	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	socket_queue_begin(descriptor);
}

static int open_inet(const struct sockaddr_storage *address, socklen_t length, bool share)
{
	int yes = 1, no = 0;
	int descriptor = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -1;
	setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (share) {
		setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
		tune(descriptor);
	}
	if (address->ss_family == AF_INET6)
		setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(descriptor, (const struct sockaddr *)address, length) != 0) {
		int error = errno;
		close(descriptor);
		errno = error;
		return -1;
	}
	return descriptor;
}

static unsigned bound_port(int descriptor)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = {.v6 = {.sin6_family = AF_UNSPEC}};
	socklen_t length = sizeof(address);
	if (getsockname(descriptor, &address.any, &length) != 0)
		return 0;
	return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

/* Without SO_REUSEPORT first: a port that another process shares out is taken. */
static bool is_free(const struct sockaddr_storage *address, socklen_t length)
{
	int probe = open_inet(address, length, false);
	if (probe >= 0)
		close(probe);
	return probe >= 0;
}

static enum status open_tcp(struct listener *listener, unsigned workers, struct buffer *error)
{
	const struct listener_settings *settings = listener->settings;
	struct sockaddr_storage address;
	socklen_t length;
	if (!parse_address(settings->address, (unsigned)settings->port, &address, &length))
		return complain(error, settings, "is no IP address");
	if (settings->port != 0 && !is_free(&address, length))
		return complain(error, settings, strerrordesc_np(errno));
	for (unsigned i = 0; i < workers; i++) {
		if (i == 1) /* port 0: the others share the number that the first got */
			parse_address(settings->address, listener->port, &address, &length);
		listener->descriptors[i] = open_inet(&address, length, true);
		if (listener->descriptors[i] < 0 || listen(listener->descriptors[i], BACKLOG) != 0)
			return complain(error, settings, strerrordesc_np(errno));
		listener->port = bound_port(listener->descriptors[0]);
	}
	return STATUS_OK;
}

static enum status open_unix(struct listener *listener, unsigned workers, struct buffer *error)
{
	const struct listener_settings *settings = listener->settings;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = settings->address + 5;
	if (settings->role != LISTENER_ADMIN || strlen(path) >= sizeof(address.sun_path))
		return complain(error, settings, "a unix socket is for the admin role, its path below 108 bytes");
	memcpy(address.sun_path, path, strlen(path));
	struct stat found;
	if (lstat(path, &found) == 0 && S_ISSOCK(found.st_mode))
		unlink(path);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (descriptor < 0 || bind(descriptor, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
		listen(descriptor, BACKLOG) != 0) {
		enum status status = complain(error, settings, strerrordesc_np(errno));
		if (descriptor >= 0)
			close(descriptor);
		return status;
	}
	listener->is_unix = true;
	for (unsigned i = 0; i < workers; i++)
		listener->descriptors[i] = descriptor;
	return STATUS_OK;
}

enum status listener_open(struct listener *listener, unsigned workers, struct buffer *error)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		listener->descriptors[i] = -1;
	bool is_unix = strncmp(listener->settings->address, "unix:", 5) == 0;
	return is_unix ? open_unix(listener, workers, error) : open_tcp(listener, workers, error);
}

void listener_close(struct listener *listener, unsigned workers)
{
	for (unsigned i = 0; i < (listener->is_unix ? 1 : workers); i++) {
		if (listener->descriptors[i] >= 0)
			close(listener->descriptors[i]);
		listener->descriptors[i] = -1;
	}
	if (listener->is_unix)
		unlink(listener->settings->address + 5);
}

/* --- accepting */

static void print_peer(const struct sockaddr_storage *address, char peer[46])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	peer[0] = 0;
	if (address->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, peer, 46);
	else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], peer, 46);
	else if (address->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &v6->sin6_addr, peer, 46);
	else
		memcpy(peer, "unix", 5);
}

/* No descriptors: waiting connections stay in the backlog until some are free again. */
static void pause_accepting(struct engine *engine)
{
	LOG(WARNING, "listener.paused", log_text("error", text_of(strerrordesc_np(errno))));
	listeners_stop(engine);
	timer_set(engine->accept_again, ACCEPT_AGAIN_MS);
}

static void on_acceptable(evutil_socket_t descriptor, short what, void *context)
{
	const struct listener *listener = context;
	struct engine *engine = server_engine(listener->server, worker_current());
	(void)what;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage address = {0};
		socklen_t length = sizeof(address);
		char peer[46];
		int accepted = accept4(descriptor, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (accepted < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				pause_accepting(engine);
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return;
		}
		print_peer(&address, peer);
		connection_accept(engine, listener, accepted, peer, (const struct sockaddr *)&address);
	}
}

void listeners_start(struct engine *engine)
{
	size_t count;
	struct listener *listeners = server_listeners(engine->server, &count);
	if (engine->is_accepting || engine->is_draining)
		return;
	engine->is_accepting = true;
	for (size_t i = 0; i < count; i++) {
		if (engine->accept_events[i] == NULL)
			engine->accept_events[i] =
				event_new(worker_loop(engine->worker), listeners[i].descriptors[worker_index(engine->worker)],
					EV_READ | EV_PERSIST, on_acceptable, &listeners[i]);
		if (engine->accept_events[i] != NULL)
			event_add(engine->accept_events[i], NULL);
	}
}

void listeners_stop(struct engine *engine)
{
	engine->is_accepting = false;
	for (size_t i = 0; i < LISTENERS_MAX; i++) {
		if (engine->accept_events[i] != NULL)
			event_del(engine->accept_events[i]);
	}
}

void listeners_release(struct engine *engine)
{
	for (size_t i = 0; i < LISTENERS_MAX; i++) {
		if (engine->accept_events[i] != NULL)
			event_free(engine->accept_events[i]);
		engine->accept_events[i] = NULL;
	}
}
