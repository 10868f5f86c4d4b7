/*
 * Plays calls for clients/behaviour.py: one JSON object per line of input, one per line of output.
 */
#define _GNU_SOURCE
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "apnsd.h"

static apnsd_client *client;

static const char *text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static json_t *time_value(time_t time)
{
    char shown[sizeof "2026-01-02T03:04:05Z"];
    struct tm utc;
    gmtime_r(&time, &utc);
    strftime(shown, sizeof shown, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(shown);
}

static json_t *returned(json_t *value)
{
    return json_pack("{so}", "returned", value);
}

static json_t *raised(const struct apnsd_failure *failure)
{
    json_t *answer = json_pack("{ss, ss, sI}", "raised", apnsd_error_name(failure->error), "text", failure->text,
                               "accepted", (json_int_t)failure->accepted);
    json_object_set_new(answer, "code", failure->code != 0 ? json_integer(failure->code) : json_null());
    if (failure->request_id[0] != '\0') {
        json_object_set_new(answer, "request_id", json_string(failure->request_id));
    }
    return answer;
}

/* Values of what was not given. */
static time_t expiration_of(const json_t *given)
{
    const json_t *value = json_object_get(given, "expiration");
    return value != NULL ? (time_t)json_integer_value(value) : (time_t)-1;
}

static int number_of(const json_t *given, const char *name)
{
    return (int)json_integer_value(json_object_get(given, name));
}

static struct apnsd_settings settings_of(const json_t *given)
{
    struct apnsd_settings settings = APNSD_SETTINGS_INIT;
    settings.certificate = text(given, "certificate");
    settings.certificate_file = text(given, "certificate_file");
    settings.environment = text(given, "environment");
    settings.timeout = json_number_value(json_object_get(given, "timeout"));
    settings.topic = text(given, "topic");
    settings.key_id = text(given, "key_id");
    settings.team_id = text(given, "team_id");
    settings.passphrase = text(given, "passphrase");
    settings.connections = number_of(given, "connections");
    settings.force = json_is_true(json_object_get(given, "force"));
    settings.expiration = expiration_of(given);
    settings.priority = number_of(given, "priority");
    settings.collapse_id = text(given, "collapse_id");
    settings.push_type = text(given, "push_type");
    return settings;
}

static struct apnsd_options options_of(const json_t *given)
{
    struct apnsd_options options = APNSD_OPTIONS_INIT;
    options.expiration = expiration_of(given);
    options.priority = number_of(given, "priority");
    options.collapse_id = text(given, "collapse_id");
    options.push_type = text(given, "push_type");
    options.topic = text(given, "topic");
    options.request_id = text(given, "request_id");
    options.timeout = json_number_value(json_object_get(given, "timeout"));
    return options;
}

/* The apps are provisioned as a program does when it starts: a failure does not stop it. */
static json_t *open_client(const json_t *command)
{
    struct apnsd_failure failure;
    apnsd_close(client);
    client = apnsd_open(text(command, "url"), json_number_value(json_object_get(command, "timeout")), &failure);
    if (client == NULL) {
        return raised(&failure);
    }
    const char *app;
    json_t *given;
    json_object_foreach(json_object_get(command, "apps"), app, given) {
        struct apnsd_settings settings = settings_of(given);
        apnsd_provision(client, app, &settings, NULL);
    }
    return returned(json_null());
}

static json_t *provision(const json_t *command)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = settings_of(command);
    const struct apnsd_settings *given = json_object_size(command) > 2 ? &settings : NULL;
    if (apnsd_provision(client, text(command, "app"), given, &failure) != APNSD_OK) {
        return raised(&failure);
    }
    return returned(json_null());
}

/* The strings of an array, or the JSON of its elements; one element makes a list too. Freed with free_texts. */
static char **texts_of(json_t *value, size_t *count, int as_json)
{
    *count = json_is_array(value) ? json_array_size(value) : 1;
    char **texts = calloc(*count + 1, sizeof *texts);
    for (size_t i = 0; i < *count; i++) {
        json_t *element = json_is_array(value) ? json_array_get(value, i) : value;
        texts[i] = as_json ? json_dumps(element, JSON_COMPACT) : strdup(json_string_value(element));
    }
    return texts;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(texts[i]);
    }
    free(texts);
}

static json_t *results_value(const struct apnsd_result *results, size_t count)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct apnsd_result *result = &results[i];
        json_t *row = json_pack("{ss, s:s*, ss, s:s*, sb, s:s*}", "token", result->token, "id", result->id, "outcome",
                                result->outcome, "reason", result->reason, "retry", result->retry, "cause",
                                result->cause);
        if (result->status != 0) {
            json_object_set_new(row, "status", json_integer(result->status));
        }
        if (result->timestamp != 0) {
            json_object_set_new(row, "timestamp", time_value(result->timestamp));
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *notify_or_send(const json_t *command, int sends)
{
    struct apnsd_failure failure;
    struct apnsd_options options = options_of(json_object_get(command, "options"));
    json_t *given = json_object_get(command, "tokens");
    size_t count, payload_count;
    char **tokens = texts_of(given, &count, 0);
    char **payloads = texts_of(json_object_get(command, "notifications"), &payload_count, 1);
    struct apnsd_result *results = NULL;
    enum apnsd_error error;
    if (sends) {
        error = apnsd_send(client, text(command, "app"), (const char *const *)tokens, count,
                           (const char *const *)payloads, payload_count, &options, &results, &failure);
    } else if (json_is_string(given) && payload_count == 1) {
        error = apnsd_notify(client, text(command, "app"), tokens[0], payloads[0], &options, &failure);
    } else {
        error = apnsd_notify_many(client, text(command, "app"), (const char *const *)tokens, count,
                                  (const char *const *)payloads, payload_count, &options, &failure);
    }
    json_t *answer = error != APNSD_OK ? raised(&failure)
                                       : returned(sends ? results_value(results, count) : json_null());
    apnsd_free(results);
    free_texts(tokens, count);
    free_texts(payloads, payload_count);
    return answer;
}

static json_t *feedback(const json_t *command)
{
    struct apnsd_failure failure;
    struct apnsd_dead_token *tokens;
    size_t count;
    if (apnsd_feedback(client, text(command, "app"), text(json_object_get(command, "options"), "request_id"),
                       &tokens, &count, &failure) != APNSD_OK) {
        return raised(&failure);
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(rows, json_pack("[os]", time_value(tokens[i].timestamp), tokens[i].token));
    }
    apnsd_free(tokens);
    return returned(rows);
}

static json_t *rejections(const json_t *command)
{
    struct apnsd_failure failure;
    struct apnsd_rejection *rejected;
    size_t count;
    const char *from = text(command, "cursor");
    char cursor[APNSD_CURSOR_SIZE] = "";
    if (from != NULL) {
        strncpy(cursor, from, sizeof cursor - 1);
    }
    if (apnsd_rejections(client, text(command, "app"), cursor, &rejected, &count, &failure) != APNSD_OK) {
        return raised(&failure);
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(rows, json_pack("{so, ss, ss, si, ss}", "timestamp", time_value(rejected[i].timestamp),
                                              "token", rejected[i].token, "reason", rejected[i].reason, "status",
                                              rejected[i].status, "text", rejected[i].text));
    }
    apnsd_free(rejected);
    return returned(json_pack("{so, ss}", "rejections", rows, "cursor", cursor));
}

static json_t *deprovision(const json_t *command)
{
    struct apnsd_failure failure;
    if (apnsd_deprovision(client, text(command, "app"), &failure) != APNSD_OK) {
        return raised(&failure);
    }
    return returned(json_null());
}

static json_t *play(const json_t *command)
{
    const char *verb = text(command, "do");
    if (strcmp(verb, "open") == 0) {
        return open_client(command);
    } else if (strcmp(verb, "provision") == 0) {
        return provision(command);
    } else if (strcmp(verb, "notify") == 0) {
        return notify_or_send(command, 0);
    } else if (strcmp(verb, "send") == 0) {
        return notify_or_send(command, 1);
    } else if (strcmp(verb, "feedback") == 0) {
        return feedback(command);
    } else if (strcmp(verb, "rejections") == 0) {
        return rejections(command);
    } else if (strcmp(verb, "deprovision") == 0) {
        return deprovision(command);
    }
    return json_pack("{ss}", "missing", verb);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) != -1) {
        json_t *command = json_loads(line, 0, NULL);
        if (command == NULL) {
            fprintf(stderr, "not JSON: %s", line);
            return 1;
        }
        json_t *answer = play(command);
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(answer);
        json_decref(command);
    }
    free(line);
    apnsd_close(client);
    return 0;
}
