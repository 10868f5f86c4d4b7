/* What the files of the library share. */
#ifndef APNSD_INTERNAL_H
#define APNSD_INTERNAL_H

#include <pthread.h>

#include <xmlrpc-c/base.h>
#include <xmlrpc-c/client.h>

#include "apnsd.h"

/* The settings of an app that was provisioned; texts are in the same allocation. */
struct apnsd_app {
    struct apnsd_app *next;
    char *id;
    struct apnsd_settings settings;
};

struct apnsd_client {
    pthread_mutex_t mutex; /* held during a call; guards all below */
    xmlrpc_client_transport *transport;
    xmlrpc_client *rpc;
    xmlrpc_server_info *server;
    struct apnsd_app *apps;
    double timeout;  /* how long a call may take, in seconds */
    double deadline; /* when the present one has to be over, by apnsd_now() */
};

/* Seconds that the daemon waits where the caller does not say. */
#define APNSD_SEND_TIMEOUT 10.0
#define APNSD_PROVISION_TIMEOUT 15.0
/* Longest duration that can be given, in seconds: a day. */
#define APNSD_TIMEOUT_MAX 86400.0
/* Longest answer, in bytes. */
#define APNSD_ANSWER_MAX ((size_t)64 * 1024 * 1024)

/* failure.c */

/* Empties the caller's failure; where there is none, `own` is it. */
struct apnsd_failure *apnsd_failure_begin(struct apnsd_failure *given, struct apnsd_failure *own);
/*
 * The same for a call with a name. `request_id`, which may stand in the caller's failure, is kept there; NULL: there is
 * none yet.
 */
struct apnsd_failure *apnsd_failure_begin_named(struct apnsd_failure *given, struct apnsd_failure *own,
                                                const char *request_id);
/* Makes up a name where `request_id` was NULL, and refuses one that was not kept. */
enum apnsd_error apnsd_failure_name(struct apnsd_failure *failure, const char *request_id);
/* Fills in what is wrong, and returns the error. */
enum apnsd_error apnsd_fail(struct apnsd_failure *failure, enum apnsd_error error, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds to the text. */
void apnsd_fail_more(struct apnsd_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What to look at where something else than the daemon answers. */
#define APNSD_URL_QUESTION "is this the URL of apnsd?"
/* The failure of making values for a call, which `env` holds. */
enum apnsd_error apnsd_fail_build(struct apnsd_failure *failure, const xmlrpc_env *env);
/* The failure of reading an answer. */
enum apnsd_error apnsd_fail_answer(struct apnsd_failure *failure, const xmlrpc_env *env);

/* values.c: making values. They do nothing where `env` holds a fault already: one look at it in the end will do. */

/* A text; `name` and `index` (if it is in a list, else APNSD_NO_INDEX) say which for a fault. */
#define APNSD_NO_INDEX ((size_t)-1)
xmlrpc_value *apnsd_text_value(xmlrpc_env *env, const char *name, size_t index, const char *text);
/* The same for JSON text, with what xmlrpc-c does not carry escaped as JSON does it. */
xmlrpc_value *apnsd_json_value(xmlrpc_env *env, const char *name, size_t index, const char *json);
/* A duration in seconds, or `otherwise` where it is 0. */
xmlrpc_value *apnsd_seconds_value(xmlrpc_env *env, const char *name, double seconds, double otherwise);
xmlrpc_value *apnsd_array_value(xmlrpc_env *env);
xmlrpc_value *apnsd_struct_value(xmlrpc_env *env);
/* These take over `value`. */
void apnsd_append(xmlrpc_env *env, xmlrpc_value *array, xmlrpc_value *value);
void apnsd_set(xmlrpc_env *env, xmlrpc_value *structure, const char *name, xmlrpc_value *value);
/* These set a member if there is something to set. */
void apnsd_set_text(xmlrpc_env *env, xmlrpc_value *structure, const char *name, const char *text);
void apnsd_set_number(xmlrpc_env *env, xmlrpc_value *structure, const char *name, int number);
void apnsd_set_expiration(xmlrpc_env *env, xmlrpc_value *structure, time_t expiration);
/* Frees a value, if there is one. */
void apnsd_release(xmlrpc_value *value);
/* Copies a struct of the caller that begins with its size into one of `size` bytes; 0 if that is not what it is. */
int apnsd_copy_sized(void *copy, size_t size, const void *given);

/* http.c: the transport below libxmlrpc_client. */

extern const struct xmlrpc_client_transport_ops apnsd_transport_ops;
/* NULL on failure. */
xmlrpc_client_transport *apnsd_transport_new(const char *url, struct apnsd_failure *failure);
void apnsd_transport_free(xmlrpc_client_transport *transport);
/* Seconds of a clock that nobody sets. */
double apnsd_now(void);
/* When the next call has to be over, by that clock. */
void apnsd_transport_set_deadline(xmlrpc_client_transport *transport, double deadline);
/* Whether the last call was made again, because its connection broke. */
int apnsd_transport_repeated(const xmlrpc_client_transport *transport);

/* answer.c */

/* The code of a transport's fault, and what it comes to for the caller; xmlrpc-c's own codes are all above. */
#define APNSD_TRANSPORT_FAULT(error) (-10000 - (int)(error))
#define APNSD_TRANSPORT_ERROR(code) ((enum apnsd_error)(-10000 - (code)))
/* Sets a fault with this code. */
void apnsd_transport_fail(xmlrpc_env *env, enum apnsd_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets a fault where an answer from `where` is not one to be parsed. */
void apnsd_answer_judge(xmlrpc_env *env, const char *where, long status, const xmlrpc_mem_block *answer);
/* What is wrong with the XML of an answer, so that it is not to be parsed; NULL if nothing is. */
const char *apnsd_answer_problem(const char *xml, size_t size);

/* call.c */

/* Begins what has to be over in time: one call, or several where an app is provisioned again. The client is locked. */
void apnsd_call_begin(apnsd_client *client);
/*
 * Calls the daemon, which may wait for `wait` seconds before it answers: that comes on top. `result` may be NULL. The
 * client is locked, and `env` tells whether making `params`, which this takes over, went well.
 */
enum apnsd_error apnsd_call(apnsd_client *client, const char *method, const xmlrpc_env *env, xmlrpc_value *params,
                            double wait, xmlrpc_value **result, struct apnsd_failure *failure);
/* The same, from its beginning, for a verb that provisions its app again, once, where the daemon does not know it. */
enum apnsd_error apnsd_call_for_app(apnsd_client *client, const char *app, const char *method, const xmlrpc_env *env,
                                    xmlrpc_value *params, double wait, xmlrpc_value **result,
                                    struct apnsd_failure *failure);

/* apps.c */

/* The settings of an app, or NULL. */
struct apnsd_app *apnsd_app_find(const apnsd_client *client, const char *app);
/* Provisions an app from its settings. */
enum apnsd_error apnsd_app_provision(apnsd_client *client, const struct apnsd_app *app, struct apnsd_failure *failure);
void apnsd_apps_free(apnsd_client *client);

/* lists.c: turning answers into arrays, in one allocation with their texts. */

/* Where the texts of a list go; only their size is counted while there is no place. */
struct apnsd_texts {
    xmlrpc_env *env;
    char *place;
    size_t used;
};
/* Reads an element of an answer's array into an element of ours. */
typedef void apnsd_read_row(struct apnsd_texts *texts, xmlrpc_value *value, void *row);
/* A text, number or time of a struct; NULL or 0 where it has no such member. */
const char *apnsd_row_text(struct apnsd_texts *texts, xmlrpc_value *row, const char *name);
/* A text that every row has: its absence is a fault. */
const char *apnsd_row_needed_text(struct apnsd_texts *texts, xmlrpc_value *row, const char *name);
int apnsd_row_number(struct apnsd_texts *texts, xmlrpc_value *row, const char *name);
time_t apnsd_row_time(struct apnsd_texts *texts, xmlrpc_value *row, const char *name);
/* Copies the text of a value. */
const char *apnsd_copied_text(struct apnsd_texts *texts, const xmlrpc_value *value);
/* Reads a whole array. An empty one is NULL. */
enum apnsd_error apnsd_list_read(xmlrpc_value *array, size_t row_size, apnsd_read_row *read, void **list, size_t *count,
                                 struct apnsd_failure *failure);

#endif
