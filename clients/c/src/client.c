/* Opening and closing a client. */
#include <stdlib.h>

#include <curl/curl.h>

#include "internal.h"

/* Where a daemon listens that was not told otherwise. */
static const char DEFAULT_URL[] = "http://127.0.0.1:7077/";
static const double DEFAULT_TIMEOUT = 20;

static pthread_once_t set_up_once = PTHREAD_ONCE_INIT;
static int is_set_up;

/* What libcurl and xmlrpc-c need once in a process. The process has a limit for the size of answers, of 512 KiB. */
static void set_up(void)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_client_setup_global_const(&env);
    if (xmlrpc_limit_get(XMLRPC_XML_SIZE_LIMIT_ID) < APNSD_ANSWER_MAX) {
        xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, APNSD_ANSWER_MAX);
    }
    is_set_up = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && !env.fault_occurred;
    xmlrpc_env_clean(&env);
}

/* What is left of opening once the transport is there. */
static int open_rpc(apnsd_client *client, const char *url)
{
    struct xmlrpc_clientparms parameters = {.transportOpsP = &apnsd_transport_ops, .transportP = client->transport};
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_client_create(&env, XMLRPC_CLIENT_NO_FLAGS, "libapnsd", APNSD_VERSION, &parameters,
                         XMLRPC_CPSIZE(transportP), &client->rpc);
    if (!env.fault_occurred) {
        client->server = xmlrpc_server_info_new(&env, url);
    }
    int opened = !env.fault_occurred;
    xmlrpc_env_clean(&env);
    return opened && pthread_mutex_init(&client->mutex, NULL) == 0;
}

static void free_parts(apnsd_client *client)
{
    if (client->server != NULL) {
        xmlrpc_server_info_free(client->server);
    }
    if (client->rpc != NULL) {
        xmlrpc_client_destroy(client->rpc);
    }
    apnsd_transport_free(client->transport);
    free(client);
}

apnsd_client *apnsd_open(const char *url, double timeout, struct apnsd_failure *failure)
{
    struct apnsd_failure own;
    failure = apnsd_failure_begin(failure, &own);
    if (!(timeout >= 0 && timeout <= APNSD_TIMEOUT_MAX)) {
        apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "timeout: a number of seconds is needed, at most 86400");
        return NULL;
    }
    const char *otherwise = getenv("APNSD_URL");
    if (url == NULL) {
        url = otherwise != NULL && otherwise[0] != '\0' ? otherwise : DEFAULT_URL;
    }
    if (pthread_once(&set_up_once, set_up) != 0 || !is_set_up) {
        apnsd_fail(failure, APNSD_ERROR, 0, "libcurl or xmlrpc-c could not be set up");
        return NULL;
    }
    apnsd_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "no memory for a client");
        return NULL;
    }
    client->timeout = timeout > 0 ? timeout : DEFAULT_TIMEOUT;
    client->transport = apnsd_transport_new(url, failure);
    if (client->transport != NULL && open_rpc(client, url)) {
        return client;
    }
    if (client->transport != NULL) {
        apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "no memory for a client");
    }
    free_parts(client);
    return NULL;
}

void apnsd_close(apnsd_client *client)
{
    if (client != NULL) {
        pthread_mutex_destroy(&client->mutex);
        apnsd_apps_free(client);
        free_parts(client);
    }
}
