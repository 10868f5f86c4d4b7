/* The apps of a client: what they are provisioned with, remembered and passed to the daemon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Largest file that can be a certificate with its chain and key, in bytes. */
#define FILE_BYTES_MAX ((size_t)1024 * 1024)

/* The texts of struct apnsd_settings. */
static const size_t TEXTS[] = {
    offsetof(struct apnsd_settings, certificate), offsetof(struct apnsd_settings, certificate_file),
    offsetof(struct apnsd_settings, environment), offsetof(struct apnsd_settings, topic),
    offsetof(struct apnsd_settings, key_id),      offsetof(struct apnsd_settings, team_id),
    offsetof(struct apnsd_settings, passphrase),  offsetof(struct apnsd_settings, collapse_id),
    offsetof(struct apnsd_settings, push_type),
};
#define TEXT_COUNT (sizeof TEXTS / sizeof TEXTS[0])

static const char **text_of(struct apnsd_settings *settings, size_t index)
{
    return (const char **)(void *)((char *)settings + TEXTS[index]);
}

/* Copies a text to `*place` and moves that on. */
static char *put(char **place, const char *text)
{
    char *copy = *place;
    size_t size = strlen(text) + 1;
    memcpy(copy, text, size);
    *place += size;
    return copy;
}

/* A copy of an app's settings, or NULL without memory. */
static struct apnsd_app *copy_app(const char *id, struct apnsd_settings settings)
{
    size_t size = sizeof(struct apnsd_app) + strlen(id) + 1;
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        const char *text = *text_of(&settings, i);
        size += text == NULL ? 0 : strlen(text) + 1;
    }
    struct apnsd_app *app = malloc(size);
    if (app == NULL) {
        return NULL;
    }
    char *place = (char *)(app + 1);
    app->next = NULL;
    app->id = put(&place, id);
    app->settings = settings;
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        const char **text = text_of(&app->settings, i);
        if (*text != NULL) {
            *text = put(&place, *text);
        }
    }
    return app;
}

struct apnsd_app *apnsd_app_find(const apnsd_client *client, const char *app)
{
    struct apnsd_app *known = client->apps;
    while (known != NULL && strcmp(known->id, app) != 0) {
        known = known->next;
    }
    return known;
}

static void forget(apnsd_client *client, const char *id)
{
    struct apnsd_app **link = &client->apps;
    while (*link != NULL && strcmp((*link)->id, id) != 0) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        struct apnsd_app *app = *link;
        *link = app->next;
        free(app);
    }
}

void apnsd_apps_free(apnsd_client *client)
{
    while (client->apps != NULL) {
        struct apnsd_app *app = client->apps;
        client->apps = app->next;
        free(app);
    }
}

/* Puts an app's settings in the place of those that the client has for it. */
static void keep(apnsd_client *client, struct apnsd_app *app)
{
    forget(client, app->id);
    struct apnsd_app **link = &client->apps;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = app;
}

/* Makes an app of its settings; what they lack is told. */
static enum apnsd_error make_app(const char *id, const struct apnsd_settings *given, struct apnsd_app **app,
                                 struct apnsd_failure *failure)
{
    struct apnsd_settings settings;
    if (!apnsd_copy_sized(&settings, sizeof settings, given)) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0,
                          "settings: begin with APNSD_SETTINGS_INIT, of a header no newer than the library");
    }
    if (settings.certificate != NULL && settings.certificate_file != NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0,
                          "settings: either certificate or certificate_file, not both");
    }
    if (settings.certificate == NULL && settings.certificate_file == NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0,
                          "settings: one of certificate and certificate_file is needed");
    }
    if (settings.environment == NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "settings: environment is needed");
    }
    *app = copy_app(id, settings);
    return *app != NULL ? APNSD_OK
                        : apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "no memory for the settings of an app");
}

/* Reads a file that a program holds open to its end; the caller frees. NULL with errno set on failure. */
static char *read_open_file(FILE *file, size_t *size)
{
    char *content = malloc(FILE_BYTES_MAX + 1);
    if (content == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    *size = fread(content, 1, FILE_BYTES_MAX, file);
    if (!ferror(file) && feof(file)) {
        content[*size] = '\0';
        return content;
    }
    if (!ferror(file)) {
        errno = EFBIG;
    }
    int problem = errno;
    free(content);
    errno = problem;
    return NULL;
}

static int is_plain(char byte)
{
    return (byte >= 0x20 && byte < 0x7F) || memchr("\t\n\r", byte, 3) != NULL;
}

/* ASCII goes out as a string; all else (.p12) as base64, of which the daemon finds out what it is. */
static xmlrpc_value *content_value(xmlrpc_env *env, const char *content, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!is_plain(content[i])) {
            return xmlrpc_base64_new(env, size, (const unsigned char *)content);
        }
    }
    return apnsd_text_value(env, "certificate_file", APNSD_NO_INDEX, content);
}

static xmlrpc_value *file_value(xmlrpc_env *env, const char *path)
{
    if (env->fault_occurred) {
        return NULL;
    }
    size_t size = 0;
    FILE *file = fopen(path, "rb");
    char *content = file == NULL ? NULL : read_open_file(file, &size);
    int problem = errno;
    if (file != NULL) {
        fclose(file);
    }
    if (content == NULL) {
        char text[128] = "";
        if (strerror_r(problem, text, sizeof text) != 0) {
            text[0] = '\0';
        }
        int code = problem == ENOMEM ? XMLRPC_INTERNAL_ERROR : XMLRPC_TYPE_ERROR;
        xmlrpc_env_set_fault_formatted(env, code, "certificate_file %s cannot be read: %s", path, text);
        return NULL;
    }
    xmlrpc_value *value = content_value(env, content, size);
    free(content);
    return value;
}

/* The fifth argument of provision. */
static xmlrpc_value *options_value(xmlrpc_env *env, const struct apnsd_settings *settings)
{
    xmlrpc_value *options = apnsd_struct_value(env);
    apnsd_set_text(env, options, "topic", settings->topic);
    apnsd_set_text(env, options, "key_id", settings->key_id);
    apnsd_set_text(env, options, "team_id", settings->team_id);
    apnsd_set_text(env, options, "passphrase", settings->passphrase);
    apnsd_set_number(env, options, "connections", settings->connections);
    if (settings->force != 0 && !env->fault_occurred) {
        apnsd_set(env, options, "force", xmlrpc_bool_new(env, 1));
    }
    apnsd_set_expiration(env, options, settings->expiration);
    apnsd_set_number(env, options, "priority", settings->priority);
    apnsd_set_text(env, options, "collapse_id", settings->collapse_id);
    apnsd_set_text(env, options, "push_type", settings->push_type);
    return options;
}

enum apnsd_error apnsd_app_provision(apnsd_client *client, const struct apnsd_app *app, struct apnsd_failure *failure)
{
    const struct apnsd_settings *settings = &app->settings;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *params = apnsd_array_value(&env);
    apnsd_append(&env, params, apnsd_text_value(&env, "app", APNSD_NO_INDEX, app->id));
    apnsd_append(&env, params,
                 settings->certificate_file != NULL
                     ? file_value(&env, settings->certificate_file)
                     : apnsd_text_value(&env, "certificate", APNSD_NO_INDEX, settings->certificate));
    apnsd_append(&env, params, apnsd_text_value(&env, "environment", APNSD_NO_INDEX, settings->environment));
    apnsd_append(&env, params, apnsd_seconds_value(&env, "timeout", settings->timeout, APNSD_PROVISION_TIMEOUT));
    apnsd_append(&env, params, options_value(&env, settings));
    double wait = settings->timeout > 0 ? settings->timeout : APNSD_PROVISION_TIMEOUT;
    enum apnsd_error error = apnsd_call(client, "provision", &env, params, wait, NULL, failure);
    xmlrpc_env_clean(&env);
    return error;
}

/* Provisions an app with settings that may be new, and keeps them, but what is refused replaces nothing. */
static enum apnsd_error adopt(apnsd_client *client, struct apnsd_app *app, struct apnsd_failure *failure)
{
    enum apnsd_error error = apnsd_app_provision(client, app, failure);
    int refused = error == APNSD_INVALID_ARGUMENTS || error == APNSD_INVALID_ENVIRONMENT;
    if (refused && apnsd_app_find(client, app->id) != NULL) {
        free(app);
    } else {
        keep(client, app);
    }
    return error;
}

/* Provisions an app with the settings that the client has. */
static enum apnsd_error provision_again(apnsd_client *client, const char *id, struct apnsd_failure *failure)
{
    const struct apnsd_app *app = apnsd_app_find(client, id);
    return app != NULL ? apnsd_app_provision(client, app, failure)
                       : apnsd_fail(failure, APNSD_NOT_CONFIGURED, 0,
                                    "the client has no settings for this app: give them to apnsd_provision");
}

enum apnsd_error apnsd_provision(apnsd_client *client, const char *app, const struct apnsd_settings *settings,
                                 struct apnsd_failure *failure)
{
    struct apnsd_failure own;
    failure = apnsd_failure_begin(failure, &own);
    if (client == NULL || app == NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "client and app are needed, not NULL");
    }
    struct apnsd_app *made = NULL;
    enum apnsd_error error = settings == NULL ? APNSD_OK : make_app(app, settings, &made, failure);
    if (error == APNSD_OK) {
        pthread_mutex_lock(&client->mutex);
        apnsd_call_begin(client);
        error = made == NULL ? provision_again(client, app, failure) : adopt(client, made, failure);
        pthread_mutex_unlock(&client->mutex);
    }
    return error;
}

enum apnsd_error apnsd_deprovision(apnsd_client *client, const char *app, struct apnsd_failure *failure)
{
    struct apnsd_failure own;
    failure = apnsd_failure_begin(failure, &own);
    if (client == NULL || app == NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "client and app are needed, not NULL");
    }
    pthread_mutex_lock(&client->mutex);
    apnsd_call_begin(client);
    forget(client, app);
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *params = apnsd_array_value(&env);
    apnsd_append(&env, params, apnsd_text_value(&env, "app", APNSD_NO_INDEX, app));
    enum apnsd_error error = apnsd_call(client, "apnsd.deprovision", &env, params, 0, NULL, failure);
    if (error == APNSD_UNKNOWN_APP && apnsd_transport_repeated(client->transport)) {
        apnsd_failure_begin(failure, &own); /* the call whose answer was lost removed it */
        error = APNSD_OK;
    }
    xmlrpc_env_clean(&env);
    pthread_mutex_unlock(&client->mutex);
    return error;
}
