/* What callers are told when a call fails. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

const char *apnsd_error_name(enum apnsd_error error)
{
    switch (error) {
    case APNSD_OK:
        return "OK";
    case APNSD_UNKNOWN_APP:
        return "UnknownAppID";
    case APNSD_INVALID_ENVIRONMENT:
        return "InvalidEnvironment";
    case APNSD_SERVER_TIMEOUT:
        return "ServerTimeout";
    case APNSD_INVALID_ARGUMENTS:
        return "InvalidArguments";
    case APNSD_NOT_CONFIGURED:
        return "NotConfigured";
    case APNSD_CONNECTION_FAILED:
        return "ConnectionFailed";
    case APNSD_OUT_OF_MEMORY:
        return "OutOfMemory";
    case APNSD_ERROR:
        break;
    }
    return "ApnsdError";
}

struct apnsd_failure *apnsd_failure_begin(struct apnsd_failure *given, struct apnsd_failure *own)
{
    struct apnsd_failure *failure = given != NULL ? given : own;
    memset(failure, 0, sizeof *failure);
    return failure;
}

struct apnsd_failure *apnsd_failure_begin_named(struct apnsd_failure *given, struct apnsd_failure *own,
                                                const char *request_id)
{
    char copy[sizeof own->request_id] = "";
    if (request_id != NULL && strlen(request_id) < sizeof copy) {
        strcpy(copy, request_id);
    }
    struct apnsd_failure *failure = apnsd_failure_begin(given, own);
    memcpy(failure->request_id, copy, sizeof copy);
    return failure;
}

/* Makes up a name for a call that nobody else has. */
static enum apnsd_error make_request_id(struct apnsd_failure *failure)
{
    unsigned char random[16];
    if (getentropy(random, sizeof random) != 0) {
        return apnsd_fail(failure, APNSD_ERROR, 0, "the system has no random numbers: give a request_id");
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(failure->request_id + 2 * i, 3, "%02x", random[i]);
    }
    return APNSD_OK;
}

enum apnsd_error apnsd_failure_name(struct apnsd_failure *failure, const char *request_id)
{
    if (request_id == NULL) {
        return make_request_id(failure);
    }
    return failure->request_id[0] != '\0'
               ? APNSD_OK
               : apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "request_id: 1 to 255 bytes are needed");
}

/* Takes away the beginning of a character whose rest did not fit. */
static void cut_at_character(char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) {
        start--;
    }
    if (start > 0 && ((unsigned char)text[start - 1] & 0x80) != 0) {
        text[start - 1] = '\0';
    }
}

/* Writes the text from there on, as much as there is room for. */
static void write_text(struct apnsd_failure *failure, size_t begin, const char *format, va_list arguments)
{
    int length = vsnprintf(failure->text + begin, sizeof failure->text - begin, format, arguments);
    if (length < 0) {
        failure->text[begin] = '\0';
    } else if (begin + (size_t)length >= sizeof failure->text) {
        cut_at_character(failure->text, sizeof failure->text - 1);
    }
}

enum apnsd_error apnsd_fail(struct apnsd_failure *failure, enum apnsd_error error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_text(failure, 0, format, arguments);
    va_end(arguments);
    failure->error = error;
    failure->code = code;
    return error;
}

void apnsd_fail_more(struct apnsd_failure *failure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_text(failure, strlen(failure->text), format, arguments);
    va_end(arguments);
}

enum apnsd_error apnsd_fail_build(struct apnsd_failure *failure, const xmlrpc_env *env)
{
    if (env->fault_code == XMLRPC_TYPE_ERROR) {
        return apnsd_fail(failure, APNSD_INVALID_ARGUMENTS, 0, "%s", env->fault_string);
    }
    /* All else that can go wrong in xmlrpc-c there is want of memory, for which it has no code of its own. */
    return apnsd_fail(failure, APNSD_OUT_OF_MEMORY, 0, "the call could not be built: %s", env->fault_string);
}

enum apnsd_error apnsd_fail_answer(struct apnsd_failure *failure, const xmlrpc_env *env)
{
    return apnsd_fail(failure, APNSD_CONNECTION_FAILED, 0,
                      "the answer is not one of apnsd: %s; " APNSD_URL_QUESTION, env->fault_string);
}
