/* Joining over HTTPS, with libcurl on its own thread. */
#include "control/cell/join_call.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "control/bus/join_request.h"
#include "server/base/secret.h"
#include "tenants/jose/jws.h"

enum { ANSWER_MAX = 64 * 1024, TIMEOUT_S = 10 };

struct join_call {
	struct worker *worker;
	char *url, *ca_file;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_asked; /* under the lock */
	atomic_bool is_ended;
	bool is_started; /* the thread is there */
	/* The worker's while nothing is under way, the thread's while something is. */
	bool is_busy;
	char *cell_id, *incarnation, *definition, *token;
	const struct nkey *nkey;
	int64_t epoch, last_epoch;
	void (*done)(void *context, int http_status, struct text body);
	void *context;
	long http_status;
	struct buffer answer;
	struct task task;
};

static void forget(struct join_call *call)
{
	if (call->token != NULL)
		wipe(call->token, strlen(call->token));
	free(call->cell_id);
	free(call->incarnation);
	free(call->definition);
	free(call->token);
	call->cell_id = call->incarnation = call->definition = call->token = NULL;
}

/* --- on the thread */

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	struct buffer *into = context;
	if (into->length + size * count > ANSWER_MAX)
		return 0;
	buffer_append(into, (struct text){bytes, size * count});
	return into->failed ? 0 : size * count;
}

/* Not 0: stop, the cell ends. */
static int on_progress(void *context, curl_off_t to_get, curl_off_t got, curl_off_t to_send, curl_off_t sent)
{
	const struct join_call *call = context;
	(void)to_get, (void)got, (void)to_send, (void)sent;
	return atomic_load(&call->is_ended);
}

/* post NULL: a GET. False: `answer` says in one line why. */
static bool perform(struct join_call *call, const char *url, const struct buffer *post)
{
	char error[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	buffer_clear(&call->answer);
	call->http_status = 0;
	CURLcode code = CURLE_OUT_OF_MEMORY;
	if (curl != NULL && headers != NULL) {
		curl_easy_setopt(curl, CURLOPT_URL, url);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, &call->answer);
		curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
		curl_easy_setopt(curl, CURLOPT_XFERINFODATA, call);
		if (call->ca_file != NULL)
			curl_easy_setopt(curl, CURLOPT_CAINFO, call->ca_file);
		if (post != NULL) {
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post->bytes);
			curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)post->length);
		}
		code = curl_easy_perform(curl);
		if (code == CURLE_OK)
			curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &call->http_status);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	if (code == CURLE_OK)
		return true;
	buffer_clear(&call->answer);
	buffer_append(&call->answer, text_of(error[0] != 0 ? error : curl_easy_strerror(code)));
	return false;
}

/* The nonce of the answer, or NULL: it has none. Owned. */
static char *read_nonce(const struct buffer *answer)
{
	struct json *root = NULL;
	char *nonce = NULL;
	if (json_parse(buffer_text(answer), NULL, &root) == STATUS_OK && json_member_text(root, "nonce").length > 0)
		nonce = text_copy(json_member_text(root, "nonce"));
	json_free(root);
	return nonce;
}

static bool append_signature(const struct join_call *call, const char *nonce, struct buffer *body)
{
	uint8_t signature[NKEY_SIGNATURE_BYTES];
	char encoded[NKEY_SIGNATURE_BYTES * 4 / 3 + 4];
	struct buffer text = {0};
	join_signed_text(
		text_of(call->cell_id), text_of(call->incarnation), text_of(nkey_public(call->nkey)), text_of(nonce), &text);
	bool is_signed = !text.failed && nkey_sign(call->nkey, buffer_text(&text), signature) == STATUS_OK;
	buffer_free(&text);
	if (!is_signed)
		return false;
	size_t length = base64url_encode((struct text){(const char *)signature, sizeof(signature)}, encoded);
	buffer_printf(body, ",\"signature\":\"%.*s\"", (int)length, encoded);
	return true;
}

static bool build_body(const struct join_call *call, const char *nonce, struct buffer *body)
{
	buffer_printf(body,
		"{\"cellId\":\"%s\",\"nkey\":\"%s\",\"incarnation\":\"%s\",\"protocolVersions\":[%d],\"epoch\":%lld,"
		"\"lastEpoch\":%lld,\"definition\":%s,\"nonce\":",
		call->cell_id, nkey_public(call->nkey), call->incarnation, JOIN_PROTOCOL, (long long)call->epoch,
		(long long)call->last_epoch, call->definition);
	buffer_append_json(body, text_of(nonce));
	if (call->token[0] != 0) {
		buffer_append(body, TEXT(",\"token\":"));
		buffer_append_json(body, text_of(call->token));
	}
	bool is_built = append_signature(call, nonce, body);
	buffer_append_byte(body, '}');
	return is_built && !body->failed;
}

static void join(struct join_call *call)
{
	struct buffer url = {0}, body = {0};
	buffer_printf(&url, "%s/api/celld/v1/join/nonce?cellId=%s", call->url, call->cell_id);
	bool has_answer = !url.failed && perform(call, url.bytes, NULL) && call->http_status == 200;
	char *nonce = has_answer ? read_nonce(&call->answer) : NULL;
	buffer_clear(&url);
	buffer_printf(&url, "%s/api/celld/v1/join", call->url);
	if (nonce != NULL && !url.failed && build_body(call, nonce, &body)) {
		perform(call, url.bytes, &body);
	} else if (has_answer) {
		call->http_status = 0;
		buffer_clear(&call->answer);
		buffer_append(&call->answer, TEXT("the manager's answer has no nonce"));
	}
	free(nonce);
	buffer_wipe(&body); /* the token */
	buffer_free(&url);
}

static void on_answer(struct task *task);

static void *run(void *context)
{
	struct join_call *call = context;
	pthread_mutex_lock(&call->lock);
	while (!atomic_load(&call->is_ended)) {
		if (!call->is_asked) {
			pthread_cond_wait(&call->changed, &call->lock);
			continue;
		}
		call->is_asked = false;
		pthread_mutex_unlock(&call->lock);
		join(call);
		call->task = (struct task){.run = on_answer};
		pthread_mutex_lock(&call->lock);
		if (!atomic_load(&call->is_ended))
			worker_post(call->worker, &call->task);
	}
	pthread_mutex_unlock(&call->lock);
	return NULL;
}

/* --- on the worker */

static void on_answer(struct task *task)
{
	struct join_call *call = (struct join_call *)(void *)((char *)task - offsetof(struct join_call, task));
	struct buffer answer = call->answer;
	int http_status = (int)call->http_status;
	call->answer = (struct buffer){0};
	forget(call);
	call->is_busy = false;
	call->done(call->context, http_status, buffer_text(&answer));
	buffer_free(&answer);
}

enum status join_call_open(const char *url, const char *ca_file, struct worker *worker, struct join_call **call)
{
	struct join_call *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->worker = worker;
	made->url = text_copy(text_of(url));
	made->ca_file = ca_file == NULL ? NULL : text_copy(text_of(ca_file));
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->changed, NULL);
	while (made->url != NULL && made->url[0] != 0 && made->url[strlen(made->url) - 1] == '/')
		made->url[strlen(made->url) - 1] = 0;
	made->is_started = made->url != NULL && (ca_file == NULL || made->ca_file != NULL) &&
					   pthread_create(&made->thread, NULL, run, made) == 0;
	if (!made->is_started) {
		join_call_close(made);
		return STATUS_NO_MEMORY;
	}
	*call = made;
	return STATUS_OK;
}

void join_call_close(struct join_call *call)
{
	if (call == NULL)
		return;
	pthread_mutex_lock(&call->lock);
	atomic_store(&call->is_ended, true);
	pthread_cond_signal(&call->changed);
	pthread_mutex_unlock(&call->lock);
	if (call->is_started)
		pthread_join(call->thread, NULL);
	forget(call);
	buffer_free(&call->answer);
	pthread_cond_destroy(&call->changed);
	pthread_mutex_destroy(&call->lock);
	free(call->url);
	free(call->ca_file);
	free(call);
}

bool join_call_ask(struct join_call *call, const struct join_ask *ask,
	void (*done)(void *context, int http_status, struct text body), void *context)
{
	if (call->is_busy)
		return false;
	call->cell_id = text_copy(ask->cell_id);
	call->incarnation = text_copy(ask->incarnation);
	call->definition = text_copy(ask->definition);
	call->token = text_copy(ask->token.length == 0 ? TEXT("") : ask->token);
	if (call->cell_id == NULL || call->incarnation == NULL || call->definition == NULL || call->token == NULL) {
		forget(call);
		return false;
	}
	call->nkey = ask->nkey;
	call->epoch = ask->epoch;
	call->last_epoch = ask->last_epoch;
	call->done = done;
	call->context = context;
	call->is_busy = true;
	pthread_mutex_lock(&call->lock);
	call->is_asked = true;
	pthread_cond_signal(&call->changed);
	pthread_mutex_unlock(&call->lock);
	return true;
}
