/*
 * The transport below libxmlrpc_client: HTTP by libcurl. It is our own because that of xmlrpc-c cannot tell a
 * connection that broke from one that was never made, or from time that was up, has one timeout for all calls, takes
 * proxies from the environment, and does not show what a server says beside an HTTP status.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <curl/curl.h>
#include <xmlrpc-c/transport.h>

#include "internal.h"

/* Most bytes of headers in an answer. */
#define HEADERS_MAX ((size_t)64 * 1024)
#define UNIX_SCHEME "unix:"

struct xmlrpc_client_transport {
    CURL *curl;
    struct curl_slist *headers;
    char *where; /* the URL without user, password and query, for messages */
    double deadline; /* for the next call, by apnsd_now() */
    char problem[CURL_ERROR_SIZE];
    /* Of the call under way: */
    const char *body;
    size_t body_size, body_sent;
    int is_repeated; /* it was made again on another connection */
    xmlrpc_mem_block *answer;
    size_t headers_size; /* of the answer so far */
    int too_large;       /* is the answer */
};

double apnsd_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void apnsd_transport_set_deadline(xmlrpc_client_transport *transport, double deadline)
{
    transport->deadline = deadline;
}

int apnsd_transport_repeated(const xmlrpc_client_transport *transport)
{
    return transport->is_repeated;
}

/*
 * When a reused connection breaks, libcurl repeats a call by itself, and our own repetition would be a third try. So a
 * body, once begun, cannot begin again, and gets no other connection.
 */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    const xmlrpc_client_transport *transport = context;
    (void)purpose;
    if (transport->body_sent > 0) {
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int begin_again(void *context, curl_off_t offset, int origin)
{
    const xmlrpc_client_transport *transport = context;
    return transport->body_sent == 0 && offset == 0 && origin == SEEK_SET ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

static size_t give(char *to, size_t size, size_t count, void *context)
{
    xmlrpc_client_transport *transport = context;
    size_t rest = transport->body_size - transport->body_sent;
    size_t given = size * count < rest ? size * count : rest;
    memcpy(to, transport->body + transport->body_sent, given);
    transport->body_sent += given;
    return given;
}

static size_t take(char *from, size_t size, size_t count, void *context)
{
    xmlrpc_client_transport *transport = context;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    size_t given = size * count;
    if (xmlrpc_mem_block_size(transport->answer) + given > APNSD_ANSWER_MAX) {
        transport->too_large = 1;
        return 0;
    }
    xmlrpc_mem_block_append(&env, transport->answer, from, given);
    size_t taken = env.fault_occurred ? 0 : given;
    xmlrpc_env_clean(&env);
    return taken;
}

/* Headers are of no interest, but that they end. */
static size_t take_header(char *from, size_t size, size_t count, void *context)
{
    xmlrpc_client_transport *transport = context;
    (void)from;
    transport->headers_size += size * count;
    transport->too_large = transport->headers_size > HEADERS_MAX;
    return transport->too_large ? 0 : size * count;
}

/*
 * Performs the request with SIGPIPE blocked: a daemon that goes away must not end the application, and in a program
 * with threads the signal's disposition is not ours to change.
 */
static CURLcode perform(CURL *curl)
{
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    int was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    CURLcode outcome = curl_easy_perform(curl);
    sigpending(&pending);
    if (!was_pending && sigismember(&pending, SIGPIPE)) {
        const struct timespec at_once = {0, 0}; /* another thread may have taken it */
        sigtimedwait(&pipe, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return outcome;
}

/* One attempt; `fresh`: not over the connection that is there. */
static CURLcode attempt(xmlrpc_client_transport *transport, int fresh)
{
    long rest_ms = (long)((transport->deadline - apnsd_now()) * 1000);
    transport->body_sent = 0;
    transport->problem[0] = '\0';
    transport->headers_size = 0;
    transport->too_large = 0;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_mem_block_resize(&env, transport->answer, 0);
    xmlrpc_env_clean(&env);
    CURLcode outcome = curl_easy_setopt(transport->curl, CURLOPT_TIMEOUT_MS, rest_ms > 0 ? rest_ms : 1L);
    if (outcome == CURLE_OK) {
        outcome = curl_easy_setopt(transport->curl, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
    }
    if (outcome == CURLE_OK) {
        outcome = curl_easy_setopt(transport->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transport->body_size);
    }
    return outcome == CURLE_OK ? perform(transport->curl) : outcome;
}

/* Whether the call may have begun, so that it is worth a repetition. */
static int broke(const xmlrpc_client_transport *transport, CURLcode outcome)
{
    return (outcome == CURLE_COULDNT_CONNECT && transport->body_sent > 0) || outcome == CURLE_GOT_NOTHING ||
           outcome == CURLE_SEND_ERROR || outcome == CURLE_RECV_ERROR || outcome == CURLE_PARTIAL_FILE ||
           outcome == CURLE_SEND_FAIL_REWIND;
}

/* Whether something else than the daemon is behind it: no TLS, or not the one that is meant, or no HTTP. */
static int is_strange(const xmlrpc_client_transport *transport, CURLcode outcome)
{
    curl_off_t first_byte = 0;
    curl_easy_getinfo(transport->curl, CURLINFO_STARTTRANSFER_TIME_T, &first_byte);
    return outcome == CURLE_SSL_CONNECT_ERROR || outcome == CURLE_PEER_FAILED_VERIFICATION ||
           outcome == CURLE_WEIRD_SERVER_REPLY || outcome == CURLE_UNSUPPORTED_PROTOCOL || first_byte > 0;
}

static void explain(xmlrpc_env *env, const xmlrpc_client_transport *transport, CURLcode outcome)
{
    const char *problem = transport->problem[0] != '\0' ? transport->problem : curl_easy_strerror(outcome);
    int strange = is_strange(transport, outcome);
    if (transport->too_large) {
        apnsd_transport_fail(env, APNSD_CONNECTION_FAILED, "the answer of %s is too large; " APNSD_URL_QUESTION,
                             transport->where);
    } else if (outcome == CURLE_WRITE_ERROR || (outcome == CURLE_OUT_OF_MEMORY && !strange)) {
        apnsd_transport_fail(env, APNSD_OUT_OF_MEMORY, "no memory for a call of %s", transport->where);
    } else if (outcome == CURLE_OUT_OF_MEMORY) { /* libcurl's word for a line without an end */
        apnsd_transport_fail(env, APNSD_CONNECTION_FAILED,
                             "%s answers with too long a line, or memory is missing; " APNSD_URL_QUESTION,
                             transport->where);
    } else if (outcome == CURLE_OPERATION_TIMEDOUT) {
        apnsd_transport_fail(env, APNSD_CONNECTION_FAILED, "%s did not answer in time: %s", transport->where, problem);
    } else if (broke(transport, outcome)) {
        apnsd_transport_fail(env, APNSD_CONNECTION_FAILED, "the connection to %s broke twice: %s", transport->where,
                             problem);
    } else {
        apnsd_transport_fail(env, APNSD_CONNECTION_FAILED, "%s cannot be reached: %s; %s", transport->where, problem,
                             strange ? APNSD_URL_QUESTION : "is apnsd running there?");
    }
}

/* Whether the connection that is there has said more than it was asked: it would be taken for this call's answer. */
static int has_unread(const xmlrpc_client_transport *transport)
{
    curl_socket_t connection = CURL_SOCKET_BAD;
    char byte;
    return curl_easy_getinfo(transport->curl, CURLINFO_ACTIVESOCKET, &connection) == CURLE_OK &&
           connection != CURL_SOCKET_BAD && recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void call(xmlrpc_env *const env, xmlrpc_client_transport *const transport,
                 const xmlrpc_server_info *const server, xmlrpc_mem_block *const body, xmlrpc_mem_block **const answer)
{
    (void)server; /* the URL is the transport's */
    transport->answer = xmlrpc_mem_block_new(env, 0);
    if (env->fault_occurred) {
        return;
    }
    transport->body = xmlrpc_mem_block_contents(body);
    transport->body_size = xmlrpc_mem_block_size(body);
    CURLcode outcome = attempt(transport, has_unread(transport));
    transport->is_repeated = broke(transport, outcome);
    if (transport->is_repeated) {
        outcome = attempt(transport, 1);
    }
    if (outcome != CURLE_OK) {
        explain(env, transport, outcome);
    } else {
        long status = 0;
        curl_easy_getinfo(transport->curl, CURLINFO_RESPONSE_CODE, &status);
        apnsd_answer_judge(env, transport->where, status, transport->answer);
    }
    if (env->fault_occurred) {
        xmlrpc_mem_block_free(transport->answer);
    } else {
        *answer = transport->answer;
    }
    transport->answer = NULL;
}

const struct xmlrpc_client_transport_ops apnsd_transport_ops = {.call = call};

/* The URL for messages. */
static enum apnsd_error show_url(xmlrpc_client_transport *transport, const char *shown, struct apnsd_failure *failure)
{
    transport->where = malloc(strlen(shown) + 1);
    if (transport->where == NULL) {
        return apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "no memory for a URL");
    }
    strcpy(transport->where, shown);
    return APNSD_OK;
}

/* The path in unix:/path, or NULL for another URL. */
static const char *socket_path(const char *url)
{
    return strncmp(url, UNIX_SCHEME "/", strlen(UNIX_SCHEME "/")) == 0 ? url + strlen(UNIX_SCHEME) : NULL;
}

static enum apnsd_error read_url(xmlrpc_client_transport *transport, const char *url, struct apnsd_failure *failure)
{
    if (socket_path(url) != NULL) {
        return show_url(transport, url, failure);
    }
    char *shown = NULL, *scheme = NULL;
    enum apnsd_error error = APNSD_OK;
    CURLU *parts = curl_url();
    CURLUcode problem = parts == NULL ? CURLUE_OUT_OF_MEMORY : curl_url_set(parts, CURLUPART_URL, url, 0);
    if (problem == CURLUE_OK) {
        problem = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
    }
    if (problem == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
        problem = CURLUE_UNSUPPORTED_SCHEME;
    }
    if (problem == CURLUE_OK) {
        curl_url_set(parts, CURLUPART_USER, NULL, 0);
        curl_url_set(parts, CURLUPART_PASSWORD, NULL, 0);
        curl_url_set(parts, CURLUPART_QUERY, NULL, 0);
        curl_url_set(parts, CURLUPART_FRAGMENT, NULL, 0);
        problem = curl_url_get(parts, CURLUPART_URL, &shown, 0);
    }
    if (problem == CURLUE_OK) {
        error = show_url(transport, shown, failure);
    } else if (problem == CURLUE_OUT_OF_MEMORY) {
        error = apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "no memory for a URL");
    } else {
        error = apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0,
                           "url: http://host:port/, https://host:port/ or unix:/path is needed");
    }
    curl_free(shown);
    curl_free(scheme);
    curl_url_cleanup(parts);
    return error;
}

static CURLcode set_options(xmlrpc_client_transport *transport, const char *url)
{
    CURL *curl = transport->curl;
    CURLcode outcome = CURLE_OK;
#define SET(option, value) outcome = outcome == CURLE_OK ? curl_easy_setopt(curl, option, value) : outcome
    SET(CURLOPT_URL, socket_path(url) != NULL ? "http://localhost/" : url);
    SET(CURLOPT_UNIX_SOCKET_PATH, socket_path(url));
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_MAXCONNECTS, 1L);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_HTTPHEADER, transport->headers);
    SET(CURLOPT_USERAGENT, "libapnsd/" APNSD_VERSION);
    SET(CURLOPT_ERRORBUFFER, transport->problem);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, transport);
    SET(CURLOPT_SEEKFUNCTION, begin_again);
    SET(CURLOPT_SEEKDATA, transport);
    SET(CURLOPT_READFUNCTION, give);
    SET(CURLOPT_READDATA, transport);
    SET(CURLOPT_WRITEFUNCTION, take);
    SET(CURLOPT_WRITEDATA, transport);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, transport);
    /* As programs on OpenSSL do; libcurl by itself does not look at them. */
    const char *file = getenv("SSL_CERT_FILE"), *directory = getenv("SSL_CERT_DIR");
    if (file != NULL) {
        SET(CURLOPT_CAINFO, file);
    }
    if (directory != NULL) {
        SET(CURLOPT_CAPATH, directory);
    }
#undef SET
    return outcome;
}

/* Not to wait for "100 Continue", and what the body is. */
static struct curl_slist *make_headers(void)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: text/xml");
    struct curl_slist *all = headers == NULL ? NULL : curl_slist_append(headers, "Expect:");
    if (all == NULL) {
        curl_slist_free_all(headers);
    }
    return all;
}

xmlrpc_client_transport *apnsd_transport_new(const char *url, struct apnsd_failure *failure)
{
    xmlrpc_client_transport *transport = calloc(1, sizeof *transport);
    if (transport == NULL) {
        apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "no memory for a client");
        return NULL;
    }
    if (read_url(transport, url, failure) == APNSD_OK) {
        transport->curl = curl_easy_init();
        transport->headers = make_headers();
        CURLcode outcome = transport->curl != NULL && transport->headers != NULL ? set_options(transport, url)
                                                                                 : CURLE_OUT_OF_MEMORY;
        if (outcome == CURLE_OK) {
            return transport;
        }
        apnsd_fail(failure, outcome == CURLE_OUT_OF_MEMORY ? APNSD_OUT_OF_MEMORY : APNSD_ERROR, 0,
                   "libcurl cannot be used: %s", curl_easy_strerror(outcome));
    }
    apnsd_transport_free(transport);
    return NULL;
}

void apnsd_transport_free(xmlrpc_client_transport *transport)
{
    if (transport != NULL) {
        curl_easy_cleanup(transport->curl);
        curl_slist_free_all(transport->headers);
        free(transport->where);
        free(transport);
    }
}
