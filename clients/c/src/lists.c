/* Answers that are lists, as arrays of structs in one allocation with their texts; feedback and rejections. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Room for an element of any list. */
union row {
    struct apnsd_result result;
    struct apnsd_dead_token dead_token;
    struct apnsd_rejection rejection;
};

const char *apnsd_copied_text(struct apnsd_texts *texts, const xmlrpc_value *value)
{
    const char *text = NULL;
    size_t length = 0;
    xmlrpc_read_string_lp(texts->env, value, &length, &text);
    if (texts->env->fault_occurred) {
        return NULL;
    }
    char *copy = NULL;
    if (texts->place != NULL) {
        copy = texts->place + texts->used;
        memcpy(copy, text, length + 1);
    }
    texts->used += length + 1;
    free((void *)text);
    return copy;
}

/* A member to be released, or NULL. */
static xmlrpc_value *member(struct apnsd_texts *texts, xmlrpc_value *row, const char *name)
{
    xmlrpc_value *value = NULL;
    if (!texts->env->fault_occurred) {
        xmlrpc_struct_find_value(texts->env, row, name, &value);
    }
    return texts->env->fault_occurred ? NULL : value;
}

const char *apnsd_row_text(struct apnsd_texts *texts, xmlrpc_value *row, const char *name)
{
    xmlrpc_value *value = member(texts, row, name);
    const char *text = value == NULL ? NULL : apnsd_copied_text(texts, value);
    apnsd_release(value);
    return text;
}

const char *apnsd_row_needed_text(struct apnsd_texts *texts, xmlrpc_value *row, const char *name)
{
    size_t before = texts->used;
    const char *text = apnsd_row_text(texts, row, name);
    if (!texts->env->fault_occurred && texts->used == before) {
        xmlrpc_env_set_fault_formatted(texts->env, XMLRPC_PARSE_ERROR, "%s is missing", name);
    }
    return text;
}

int apnsd_row_number(struct apnsd_texts *texts, xmlrpc_value *row, const char *name)
{
    int number = 0;
    xmlrpc_value *value = member(texts, row, name);
    if (value != NULL && xmlrpc_value_type(value) == XMLRPC_TYPE_BOOL) {
        xmlrpc_read_bool(texts->env, value, &number);
    } else if (value != NULL) {
        xmlrpc_read_int(texts->env, value, &number);
    }
    apnsd_release(value);
    return number;
}

time_t apnsd_row_time(struct apnsd_texts *texts, xmlrpc_value *row, const char *name)
{
    time_t time = 0;
    xmlrpc_value *value = member(texts, row, name);
    if (value != NULL) {
        xmlrpc_read_datetime_sec(texts->env, value, &time);
    }
    apnsd_release(value);
    return time;
}

/* Reads all elements; into `rows` if that is not NULL. */
static void read_rows(struct apnsd_texts *texts, xmlrpc_value *array, size_t count, size_t row_size,
                      apnsd_read_row *read, char *rows)
{
    for (size_t i = 0; i < count && !texts->env->fault_occurred; i++) {
        union row unused;
        xmlrpc_value *value = NULL;
        xmlrpc_array_read_item(texts->env, array, (unsigned int)i, &value);
        if (!texts->env->fault_occurred) {
            read(texts, value, rows == NULL ? (void *)&unused : rows + i * row_size);
            xmlrpc_DECREF(value);
        }
    }
}

enum apnsd_error apnsd_list_read(xmlrpc_value *array, size_t row_size, apnsd_read_row *read, void **list, size_t *count,
                                 struct apnsd_failure *failure)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    struct apnsd_texts texts = {.env = &env};
    char *rows = NULL;
    int size = xmlrpc_array_size(&env, array);
    size_t rows_size = env.fault_occurred ? 0 : (size_t)size * row_size;
    read_rows(&texts, array, env.fault_occurred ? 0 : (size_t)size, row_size, read, NULL);
    if (!env.fault_occurred && size > 0) {
        rows = malloc(rows_size + texts.used);
        if (rows == NULL) {
            xmlrpc_env_clean(&env);
            return apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "no memory for a list of %d", size);
        }
        texts.place = rows + rows_size;
        texts.used = 0;
        read_rows(&texts, array, (size_t)size, row_size, read, rows);
    }
    enum apnsd_error error = APNSD_OK;
    if (env.fault_occurred) {
        error = apnsd_fail_answer(failure, &env);
        free(rows);
    } else {
        *list = rows;
        *count = (size_t)size;
    }
    xmlrpc_env_clean(&env);
    return error;
}

void apnsd_free(void *list)
{
    free(list);
}

static void read_dead_token(struct apnsd_texts *texts, xmlrpc_value *value, void *row)
{
    struct apnsd_dead_token *dead = row;
    xmlrpc_value *time = NULL, *token = NULL;
    xmlrpc_array_read_item(texts->env, value, 0, &time);
    if (!texts->env->fault_occurred) {
        xmlrpc_read_datetime_sec(texts->env, time, &dead->timestamp);
        xmlrpc_DECREF(time);
    }
    if (!texts->env->fault_occurred) {
        xmlrpc_array_read_item(texts->env, value, 1, &token);
    }
    if (!texts->env->fault_occurred) {
        dead->token = apnsd_copied_text(texts, token);
        xmlrpc_DECREF(token);
    }
}

enum apnsd_error apnsd_feedback(apnsd_client *client, const char *app, const char *request_id,
                                struct apnsd_dead_token **tokens, size_t *count, struct apnsd_failure *failure)
{
    struct apnsd_failure own;
    failure = apnsd_failure_begin_named(failure, &own, request_id);
    if (client == NULL || app == NULL || tokens == NULL || count == NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "client, app, tokens and count are needed, not NULL");
    }
    *tokens = NULL;
    *count = 0;
    if (apnsd_failure_name(failure, request_id) != APNSD_OK) {
        return failure->error;
    }
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *params = apnsd_array_value(&env), *options = apnsd_struct_value(&env), *answer = NULL;
    apnsd_append(&env, params, apnsd_text_value(&env, "app", APNSD_NO_INDEX, app));
    apnsd_set_text(&env, options, "request_id", failure->request_id);
    apnsd_append(&env, params, options);
    pthread_mutex_lock(&client->mutex);
    enum apnsd_error error = apnsd_call_for_app(client, app, "feedback", &env, params, 0, &answer, failure);
    pthread_mutex_unlock(&client->mutex);
    if (error == APNSD_OK) {
        void *list = NULL;
        error = apnsd_list_read(answer, sizeof **tokens, read_dead_token, &list, count, failure);
        *tokens = list;
        xmlrpc_DECREF(answer);
    }
    xmlrpc_env_clean(&env);
    return error;
}

static void read_rejection(struct apnsd_texts *texts, xmlrpc_value *value, void *row)
{
    struct apnsd_rejection *rejection = row;
    rejection->timestamp = apnsd_row_time(texts, value, "timestamp");
    rejection->token = apnsd_row_needed_text(texts, value, "token");
    rejection->reason = apnsd_row_needed_text(texts, value, "reason");
    rejection->status = apnsd_row_number(texts, value, "status");
    rejection->text = apnsd_row_needed_text(texts, value, "text");
}

/* Takes the rejections and the next cursor out of an answer. */
static enum apnsd_error read_page(xmlrpc_value *answer, char cursor[APNSD_CURSOR_SIZE], void **list, size_t *count,
                                  struct apnsd_failure *failure)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *rejections = NULL, *next = NULL;
    const char *text = NULL;
    xmlrpc_struct_read_value(&env, answer, "rejections", &rejections);
    if (!env.fault_occurred) {
        xmlrpc_struct_read_value(&env, answer, "cursor", &next);
    }
    if (!env.fault_occurred) {
        xmlrpc_read_string(&env, next, &text);
    }
    if (!env.fault_occurred && strlen(text) >= APNSD_CURSOR_SIZE) {
        xmlrpc_env_set_fault(&env, XMLRPC_PARSE_ERROR, "the cursor is too long");
    }
    enum apnsd_error error = env.fault_occurred ? apnsd_fail_answer(failure, &env)
                                                : apnsd_list_read(rejections, sizeof(struct apnsd_rejection),
                                                                  read_rejection, list, count, failure);
    if (error == APNSD_OK) {
        strcpy(cursor, text);
    }
    free((void *)text);
    apnsd_release(next);
    apnsd_release(rejections);
    xmlrpc_env_clean(&env);
    return error;
}

enum apnsd_error apnsd_rejections(apnsd_client *client, const char *app, char cursor[APNSD_CURSOR_SIZE],
                                  struct apnsd_rejection **rejections, size_t *count, struct apnsd_failure *failure)
{
    struct apnsd_failure own;
    failure = apnsd_failure_begin(failure, &own);
    if (client == NULL || app == NULL || cursor == NULL || rejections == NULL || count == NULL) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0,
                          "client, app, cursor, rejections and count are needed, not NULL");
    }
    *rejections = NULL;
    *count = 0;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *params = apnsd_array_value(&env), *answer = NULL;
    apnsd_append(&env, params, apnsd_text_value(&env, "app", APNSD_NO_INDEX, app));
    apnsd_append(&env, params, apnsd_text_value(&env, "cursor", APNSD_NO_INDEX, cursor[0] != '\0' ? cursor : "0"));
    pthread_mutex_lock(&client->mutex);
    apnsd_call_begin(client);
    enum apnsd_error error = apnsd_call(client, "apnsd.rejections", &env, params, 0, &answer, failure);
    pthread_mutex_unlock(&client->mutex);
    if (error == APNSD_OK) {
        void *list = NULL;
        error = read_page(answer, cursor, &list, count, failure);
        *rejections = list;
        xmlrpc_DECREF(answer);
    }
    xmlrpc_env_clean(&env);
    return error;
}
