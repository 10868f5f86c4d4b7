/* A call of the daemon, and what its faults mean. */
#include <string.h>

#include "internal.h"

/* What libxmlrpc_client puts before the text of a fault that the server answered. */
static const char PREFIX[] = "RPC failed at server.  ";

static enum apnsd_error error_of_code(int code)
{
    switch (code) {
    case 404:
        return APNSD_UNKNOWN_APP;
    case 401:
        return APNSD_INVALID_ENVIRONMENT;
    case 500:
        return APNSD_SERVER_TIMEOUT;
    case 8002:
        return APNSD_INVALID_ARGUMENTS;
    default:
        return APNSD_ERROR;
    }
}

/* Most apps that a text lists: more help nobody. */
#define SHOWN_APPS_MAX 5

/* Adds to the daemon's word that it does not know an app what there is to be done, and which apps the client has. */
static void explain_unknown(const apnsd_client *client, const char *id, struct apnsd_failure *failure)
{
    size_t count = 0;
    for (const struct apnsd_app *app = client->apps; app != NULL; app = app->next) {
        count++;
    }
    apnsd_fail_more(failure, " This client has no settings for `%s`: register it with apnsd_provision.", id);
    if (count > 0 && count <= SHOWN_APPS_MAX) {
        for (const struct apnsd_app *app = client->apps; app != NULL; app = app->next) {
            apnsd_fail_more(failure, "%s `%s`", app == client->apps ? " It has settings for" : ",", app->id);
        }
        apnsd_fail_more(failure, ".");
    }
}

static enum apnsd_error fail_call(struct apnsd_failure *failure, const xmlrpc_env *env)
{
    const char *text = env->fault_string;
    int code = env->fault_code;
    if (strncmp(text, PREFIX, sizeof PREFIX - 1) == 0) {
        return apnsd_fail(failure, error_of_code(code), code, "%s", text + sizeof PREFIX - 1);
    }
    if (code <= APNSD_TRANSPORT_FAULT(APNSD_OK)) {
        return apnsd_fail(failure, APNSD_TRANSPORT_ERROR(code), 0, "%s", text);
    }
    if (code == XMLRPC_INTERNAL_ERROR) {
        return apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "%s", text);
    }
    return apnsd_fail_answer(failure, env);
}

void apnsd_call_begin(apnsd_client *client)
{
    client->deadline = apnsd_now() + client->timeout;
}

static enum apnsd_error call(apnsd_client *client, const char *method, xmlrpc_value *params, double wait,
                             xmlrpc_value **result, struct apnsd_failure *failure)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *answer = NULL;
    enum apnsd_error error = APNSD_OK;
    client->deadline += wait;
    apnsd_transport_set_deadline(client->transport, client->deadline);
    xmlrpc_client_call2(&env, client->rpc, client->server, method, params, &answer);
    if (env.fault_occurred) {
        error = fail_call(failure, &env);
    } else if (result != NULL) {
        *result = answer;
    } else {
        xmlrpc_DECREF(answer);
    }
    xmlrpc_env_clean(&env);
    return error;
}

enum apnsd_error apnsd_call(apnsd_client *client, const char *method, const xmlrpc_env *env, xmlrpc_value *params,
                            double wait, xmlrpc_value **result, struct apnsd_failure *failure)
{
    enum apnsd_error error = env->fault_occurred ? apnsd_fail_build(failure, env)
                                                 : call(client, method, params, wait, result, failure);
    apnsd_release(params);
    return error;
}

enum apnsd_error apnsd_call_for_app(apnsd_client *client, const char *app, const char *method, const xmlrpc_env *env,
                                    xmlrpc_value *params, double wait, xmlrpc_value **result,
                                    struct apnsd_failure *failure)
{
    apnsd_call_begin(client);
    enum apnsd_error error = env->fault_occurred ? apnsd_fail_build(failure, env)
                                                 : call(client, method, params, wait, result, failure);
    if (error == APNSD_UNKNOWN_APP) {
        const struct apnsd_app *known = apnsd_app_find(client, app);
        if (known == NULL) {
            explain_unknown(client, app, failure);
        } else {
            error = apnsd_app_provision(client, known, failure);
            if (error == APNSD_OK) {
                error = call(client, method, params, wait, result, failure);
            }
        }
    }
    if (error == APNSD_OK) {
        apnsd_fail(failure, APNSD_OK, 0, "%s", ""); /* forget what was recovered from */
    }
    apnsd_release(params);
    return error;
}
