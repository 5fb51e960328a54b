/* bare_loop MODE CERTIFICATE KEY FILE: the same bytes as a large pull through nothing but system calls and OpenSSL;
 * prints CPU-seconds per GiB of the sending process. What a server pays beyond this is its own.
 *
 *   file-tls     the mapped file, one SSL_write a record of 16 KiB
 *   file-clear   sendfile of up to 512 KiB
 *   file-frames  the mapped file, one sendmsg of up to 16 frames of 16 KiB with their heads
 *   proxy-tls    recv of up to 256 KiB from a source, one SSL_write a record
 *   proxy-clear  recv of up to 256 KiB from a source, one send
 *
 * Sender on core 0; source and consumer (it discards ciphertext) on core 1. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 256 * 1024, PIECE = 512 * 1024, RECORD = 16384, HEAD = 9, FRAMES = 16, ROUNDS = 16 };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void pin(unsigned core)
{
	cpu_set_t cores;
	CPU_ZERO(&cores);
	CPU_SET((long)core < sysconf(_SC_NPROCESSORS_ONLN) ? core : 0U, &cores);
	sched_setaffinity(0, sizeof(cores), &cores);
}

/* A connected pair over loopback TCP: [0] accepted, [1] connected. */
static void connect_pair(int pair[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
	if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0 ||
		getsockname(listener, (struct sockaddr *)&address, &length) != 0)
		die("listen");
	pair[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(pair[1], (struct sockaddr *)&address, length) != 0)
		die("connect");
	pair[0] = accept(listener, NULL, NULL);
	if (pair[0] < 0)
		die("accept");
	close(listener);
	setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

/* Runs `work` in a child on core 1. */
static pid_t run_child(
	void (*work)(int descriptor, const void *argument), int descriptor, int other, const void *argument)
{
	pid_t child = fork();
	if (child != 0) {
		close(descriptor);
		return child;
	}
	close(other);
	pin(1);
	work(descriptor, argument);
	exit(0);
}

struct content {
	const uint8_t *bytes;
	size_t length;
};

static void send_all(int descriptor, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(descriptor, bytes, length, MSG_NOSIGNAL);
		if (sent <= 0)
			die("send");
		bytes += sent;
		length -= (size_t)sent;
	}
}

static void be_source(int descriptor, const void *argument)
{
	const struct content *content = argument;
	for (int i = 0; i < ROUNDS; i++)
		send_all(descriptor, content->bytes, content->length);
}

static void be_consumer(int descriptor, const void *argument)
{
	bool is_tls = *(const bool *)argument;
	if (is_tls) {
		SSL *ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
		if (ssl == NULL || SSL_set_fd(ssl, descriptor) != 1 || SSL_connect(ssl) != 1)
			die("handshake");
	}
	while (recv(descriptor, NULL, BLOCK * 4, MSG_TRUNC) > 0)
		;
}

static void forward(SSL *ssl, int descriptor, const uint8_t *bytes, size_t length)
{
	if (ssl == NULL) {
		send_all(descriptor, bytes, length);
		return;
	}
	for (size_t at = 0; at < length; at += RECORD) {
		size_t part = length - at < RECORD ? length - at : RECORD;
		if (SSL_write(ssl, bytes + at, (int)part) != (int)part)
			die("SSL_write");
	}
}

static void send_file(int descriptor, int file, size_t length)
{
	for (off_t at = 0; (size_t)at < length;) {
		size_t left = length - (size_t)at;
		if (sendfile(descriptor, file, &at, left < PIECE ? left : PIECE) <= 0)
			die("sendfile");
	}
}

static void send_pieces(int descriptor, struct iovec *pieces, unsigned count)
{
	while (count > 0) {
		const struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
		ssize_t sent = sendmsg(descriptor, &message, MSG_NOSIGNAL);
		if (sent <= 0)
			die("sendmsg");
		for (; count > 0 && (size_t)sent >= pieces->iov_len; pieces++, count--)
			sent -= (ssize_t)pieces->iov_len;
		if (count > 0) {
			pieces->iov_base = (char *)pieces->iov_base + sent;
			pieces->iov_len -= (size_t)sent;
		}
	}
}

static void send_frames(int descriptor, const struct content *content)
{
	static uint8_t head[HEAD];
	for (size_t at = 0; at < content->length;) {
		struct iovec pieces[2 * FRAMES];
		unsigned count = 0;
		while (count < 2 * FRAMES && at < content->length) {
			size_t part = content->length - at < RECORD ? content->length - at : RECORD;
			pieces[count++] = (struct iovec){head, HEAD};
			pieces[count++] = (struct iovec){(void *)(uintptr_t)(content->bytes + at), part};
			at += part;
		}
		send_pieces(descriptor, pieces, count);
	}
}

static SSL *accept_tls(int descriptor, const char *certificate, const char *key)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	if (context == NULL || SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") != 1 ||
		SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		die("certificate");
	SSL *ssl = SSL_new(context);
	if (ssl == NULL || SSL_set_fd(ssl, descriptor) != 1 || SSL_accept(ssl) != 1)
		die("handshake");
	return ssl;
}

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void relay(SSL *ssl, int source, int consumer, size_t total)
{
	uint8_t *block = malloc(BLOCK);
	if (block == NULL)
		die("malloc");
	while (total > 0) {
		ssize_t count = recv(source, block, BLOCK, 0);
		if (count <= 0)
			die("recv");
		forward(ssl, consumer, block, (size_t)count);
		total -= (size_t)count;
	}
	free(block);
}

int main(int count, char **arguments)
{
	struct stat stat;
	struct content content;
	int consumer[2], source[2] = {-1, -1};
	if (count != 5) {
		fprintf(stderr, "bare_loop file-tls|file-clear|file-frames|proxy-tls|proxy-clear CERTIFICATE KEY FILE\n");
		return 2;
	}
	bool is_tls = strstr(arguments[1], "-tls") != NULL, is_file = strncmp(arguments[1], "file-", 5) == 0;
	int file = open(arguments[4], O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &stat) != 0)
		die(arguments[4]);
	content.length = (size_t)stat.st_size;
	content.bytes = mmap(NULL, content.length, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	if (content.bytes == MAP_FAILED)
		die("mmap");
	connect_pair(consumer);
	run_child(be_consumer, consumer[1], consumer[0], &is_tls);
	if (!is_file) {
		connect_pair(source);
		run_child(be_source, source[1], source[0], &content);
	}
	pin(0);
	SSL *ssl = is_tls ? accept_tls(consumer[0], arguments[2], arguments[3]) : NULL;
	double before = cpu_seconds(), total = (double)content.length * ROUNDS;
	for (int i = 0; is_file && i < ROUNDS; i++) {
		if (is_tls)
			forward(ssl, consumer[0], content.bytes, content.length);
		else if (strcmp(arguments[1], "file-frames") == 0)
			send_frames(consumer[0], &content);
		else
			send_file(consumer[0], file, content.length);
	}
	if (!is_file)
		relay(ssl, source[0], consumer[0], content.length * ROUNDS);
	printf("%.6f\n", (cpu_seconds() - before) / (total / (1 << 30)));
	close(consumer[0]);
	while (wait(NULL) > 0)
		;
	return 0;
}
