/* Handing over notifications: notify, and send, which waits for outcomes. */
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* Most tokens in one call of the daemon. */
#define NOTIFY_TOKENS_MAX 10000
#define SEND_TOKENS_MAX 1000
/* Most bytes of XML in one call, about. */
#define XML_MAX ((size_t)16 * 1024 * 1024)
/* At least what XML has around one text, and around all of them. */
#define XML_OF_TEXT 48
#define XML_OF_CALL 8192

/* A notify or send under way. */
struct delivery {
    apnsd_client *client;
    const char *app;
    const char *method;
    const char *const *tokens; /* those that are not accepted yet */
    size_t count;
    const char *const *payloads;
    int payload_for_each;
    int plain; /* one token and one payload go out without arrays */
    int waits; /* for outcomes */
    size_t tokens_max;
    size_t chunk; /* number of the next call */
    struct apnsd_options options;
    struct apnsd_failure *failure;
};

/* The tokens or payloads of a call: one text, or an array of them. */
static xmlrpc_value *texts_value(xmlrpc_env *env, const char *name, const char *const *texts, size_t count, int plain,
                                 xmlrpc_value *make(xmlrpc_env *, const char *, size_t, const char *))
{
    if (plain) {
        return make(env, name, APNSD_NO_INDEX, texts[0]);
    }
    xmlrpc_value *values = apnsd_array_value(env);
    for (size_t i = 0; i < count && !env->fault_occurred; i++) {
        apnsd_append(env, values, make(env, name, i, texts[i]));
    }
    return values;
}

static xmlrpc_value *options_value(xmlrpc_env *env, const struct delivery *delivery, const char *request_id)
{
    const struct apnsd_options *given = &delivery->options;
    xmlrpc_value *options = apnsd_struct_value(env);
    apnsd_set_text(env, options, "request_id", request_id);
    apnsd_set_expiration(env, options, given->expiration);
    apnsd_set_number(env, options, "priority", given->priority);
    apnsd_set_text(env, options, "collapse_id", given->collapse_id);
    apnsd_set_text(env, options, "push_type", given->push_type);
    apnsd_set_text(env, options, "topic", given->topic);
    if (delivery->waits) {
        apnsd_set(env, options, "timeout", apnsd_seconds_value(env, "timeout", given->timeout, APNSD_SEND_TIMEOUT));
    }
    return options;
}

/* How many bytes of XML a text comes to, at most; NULL is refused later. */
static size_t xml_size(const char *text)
{
    size_t size = XML_OF_TEXT;
    for (; text != NULL && *text != '\0'; text++) {
        /* "&amp;" or what is like it, or the JSON escapes of a character beyond U+FFFD */
        size += strchr("&<>\r", *text) != NULL ? 6 : (unsigned char)*text >= 0xEF ? 9 : 1;
    }
    return size;
}

/* How many of the tokens go out in the next call: one at least. */
static size_t chunk_size(const struct delivery *delivery)
{
    size_t count = 0, size = XML_OF_CALL + (delivery->payload_for_each ? 0 : xml_size(delivery->payloads[0]));
    while (count < delivery->count && count < delivery->tokens_max) {
        size += xml_size(delivery->tokens[count]);
        size += delivery->payload_for_each ? xml_size(delivery->payloads[count]) : 0;
        if (size > XML_MAX && count > 0) {
            break;
        }
        count++;
    }
    return count;
}

/* Refuses what cannot be sent of later calls, before the first one. */
static enum apnsd_error judge_texts(struct delivery *delivery)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    for (size_t i = 0; i < delivery->count && !env.fault_occurred; i++) {
        apnsd_release(apnsd_text_value(&env, "token", i, delivery->tokens[i]));
        if (delivery->payload_for_each) {
            apnsd_release(apnsd_json_value(&env, "payload", i, delivery->payloads[i]));
        }
    }
    enum apnsd_error error = env.fault_occurred ? apnsd_fail_build(delivery->failure, &env) : APNSD_OK;
    xmlrpc_env_clean(&env);
    return error;
}

/* One call of the daemon, with so many of the tokens. */
static enum apnsd_error deliver_chunk(struct delivery *delivery, size_t count, xmlrpc_value **result)
{
    char request_id[sizeof delivery->failure->request_id + 24];
    const char *name = delivery->failure->request_id;
    if (delivery->chunk > 0) {
        snprintf(request_id, sizeof request_id, "%s-%lu", name, (unsigned long)delivery->chunk);
        name = request_id;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *params = apnsd_array_value(&env);
    size_t payload_count = delivery->payload_for_each ? count : 1;
    apnsd_append(&env, params, apnsd_text_value(&env, "app", APNSD_NO_INDEX, delivery->app));
    apnsd_append(&env, params,
                 texts_value(&env, "token", delivery->tokens, count, delivery->plain, apnsd_text_value));
    apnsd_append(&env, params,
                 texts_value(&env, "payload", delivery->payloads, payload_count, !delivery->payload_for_each,
                             apnsd_json_value));
    apnsd_append(&env, params, options_value(&env, delivery, name));
    double wait = !delivery->waits ? 0 : delivery->options.timeout > 0 ? delivery->options.timeout : APNSD_SEND_TIMEOUT;
    enum apnsd_error error = apnsd_call_for_app(delivery->client, delivery->app, delivery->method, &env, params, wait,
                                                result, delivery->failure);
    xmlrpc_env_clean(&env);
    return error;
}

/* Appends what one call answered to what all of them did. */
static enum apnsd_error collect(xmlrpc_value *all, xmlrpc_value *rows, size_t count, struct apnsd_failure *failure)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    int size = xmlrpc_array_size(&env, rows);
    if (!env.fault_occurred && (size_t)size != count) {
        xmlrpc_env_set_fault_formatted(&env, XMLRPC_PARSE_ERROR, "%d outcomes for %lu tokens", size,
                                       (unsigned long)count);
    }
    for (unsigned int i = 0; i < count && !env.fault_occurred; i++) {
        xmlrpc_value *row = NULL;
        xmlrpc_array_read_item(&env, rows, i, &row);
        apnsd_append(&env, all, row);
    }
    enum apnsd_error error = env.fault_occurred ? apnsd_fail_answer(failure, &env) : APNSD_OK;
    xmlrpc_env_clean(&env);
    apnsd_release(rows);
    return error;
}

/* All calls; what they answered goes into `results`, if that is wanted. */
static enum apnsd_error deliver(struct delivery *delivery, xmlrpc_value *results)
{
    while (delivery->count > 0) {
        size_t count = chunk_size(delivery);
        xmlrpc_value *answer = NULL;
        enum apnsd_error error = APNSD_OK;
        if (delivery->chunk == 0 && count < delivery->count) {
            error = judge_texts(delivery);
        }
        if (error == APNSD_OK) {
            error = deliver_chunk(delivery, count, &answer);
        }
        if (error != APNSD_OK) {
            return error;
        }
        delivery->failure->accepted += count;
        if (results == NULL) {
            apnsd_release(answer);
        } else if ((error = collect(results, answer, count, delivery->failure)) != APNSD_OK) {
            return error;
        }
        delivery->tokens += count;
        delivery->payloads += delivery->payload_for_each ? count : 0;
        delivery->count -= count;
        delivery->chunk++;
    }
    return APNSD_OK;
}

/* Judges what can be judged here, of a delivery whose failure is empty. */
static enum apnsd_error judge(const struct delivery *delivery, size_t payload_count)
{
    struct apnsd_failure *failure = delivery->failure;
    if (delivery->client == NULL || delivery->app == NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "client and app are needed, not NULL");
    }
    if (delivery->count > 0 && (delivery->tokens == NULL || delivery->payloads == NULL)) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "tokens and payloads are needed, not NULL");
    }
    if (payload_count != 1 && payload_count != delivery->count) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0,
                          "one payload or as many as tokens are needed: there are %lu for %lu tokens",
                          (unsigned long)payload_count, (unsigned long)delivery->count);
    }
    return APNSD_OK;
}

/* Fills in the rest of a delivery. `given` is the caller's failure, in which his request id may still stand. */
static enum apnsd_error prepare(struct delivery *delivery, size_t payload_count, const struct apnsd_options *options,
                                struct apnsd_failure *given, struct apnsd_failure *own)
{
    static const struct apnsd_options NONE = APNSD_OPTIONS_INIT;
    int is_sized = apnsd_copy_sized(&delivery->options, sizeof delivery->options, options != NULL ? options : &NONE);
    const char *request_id = is_sized ? delivery->options.request_id : NULL;
    delivery->payload_for_each = payload_count != 1;
    delivery->failure = apnsd_failure_begin_named(given, own, request_id);
    if (judge(delivery, payload_count) != APNSD_OK) {
        return delivery->failure->error;
    }
    if (!is_sized) {
        return apnsd_fail(delivery->failure, APNSD_INVALID_ARGUMENTS, 0,
                          "options: begin with APNSD_OPTIONS_INIT, of a header no newer than the library");
    }
    return apnsd_failure_name(delivery->failure, request_id);
}

static enum apnsd_error notify(struct delivery *delivery, size_t payload_count, const struct apnsd_options *options,
                               struct apnsd_failure *failure)
{
    struct apnsd_failure own;
    delivery->method = "notify";
    delivery->tokens_max = NOTIFY_TOKENS_MAX;
    enum apnsd_error error = prepare(delivery, payload_count, options, failure, &own);
    if (error == APNSD_OK) {
        pthread_mutex_lock(&delivery->client->mutex);
        error = deliver(delivery, NULL);
        pthread_mutex_unlock(&delivery->client->mutex);
    }
    return error;
}

enum apnsd_error apnsd_notify(apnsd_client *client, const char *app, const char *token, const char *payload,
                              const struct apnsd_options *options, struct apnsd_failure *failure)
{
    struct delivery delivery = {
        .client = client, .app = app, .tokens = &token, .count = 1, .payloads = &payload, .plain = 1};
    return notify(&delivery, 1, options, failure);
}

enum apnsd_error apnsd_notify_many(apnsd_client *client, const char *app, const char *const *tokens, size_t count,
                                   const char *const *payloads, size_t payload_count,
                                   const struct apnsd_options *options, struct apnsd_failure *failure)
{
    struct delivery delivery = {.client = client, .app = app, .tokens = tokens, .count = count, .payloads = payloads};
    return notify(&delivery, payload_count, options, failure);
}

static void read_result(struct apnsd_texts *texts, xmlrpc_value *value, void *row)
{
    struct apnsd_result *result = row;
    result->token = apnsd_row_needed_text(texts, value, "token");
    result->id = apnsd_row_text(texts, value, "id");
    result->outcome = apnsd_row_needed_text(texts, value, "outcome");
    result->status = apnsd_row_number(texts, value, "status");
    result->reason = apnsd_row_text(texts, value, "reason");
    result->timestamp = apnsd_row_time(texts, value, "timestamp");
    result->retry = apnsd_row_number(texts, value, "retry");
    result->cause = apnsd_row_text(texts, value, "cause");
}

enum apnsd_error apnsd_send(apnsd_client *client, const char *app, const char *const *tokens, size_t count,
                            const char *const *payloads, size_t payload_count, const struct apnsd_options *options,
                            struct apnsd_result **results, struct apnsd_failure *failure)
{
    struct apnsd_failure own;
    struct delivery delivery = {.client = client, .app = app, .method = "apnsd.send", .tokens = tokens, .count = count,
                                .payloads = payloads, .waits = 1, .tokens_max = SEND_TOKENS_MAX};
    enum apnsd_error error = prepare(&delivery, payload_count, options, failure, &own);
    if (results == NULL) {
        return apnsd_fail(delivery.failure, APNSD_INVALID_ARGUMENTS, 0, "results is needed, not NULL");
    }
    *results = NULL;
    if (error != APNSD_OK) {
        return error;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *rows = apnsd_array_value(&env);
    if (env.fault_occurred) {
        error = apnsd_fail_build(delivery.failure, &env);
    } else {
        pthread_mutex_lock(&client->mutex);
        error = deliver(&delivery, rows);
        pthread_mutex_unlock(&client->mutex);
    }
    if (error == APNSD_OK) {
        size_t read = 0;
        void *list = NULL;
        error = apnsd_list_read(rows, sizeof **results, read_result, &list, &read, delivery.failure);
        *results = list;
    }
    apnsd_release(rows);
    xmlrpc_env_clean(&env);
    return error;
}
