/* Making the values of a call. What cannot be sent is a fault XMLRPC_TYPE_ERROR that says what and why. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void refuse(xmlrpc_env *env, const char *name, size_t index, const char *problem)
{
    if (index == APNSD_NO_INDEX) {
        xmlrpc_env_set_fault_formatted(env, XMLRPC_TYPE_ERROR, "%s: %s", name, problem);
    } else {
        xmlrpc_env_set_fault_formatted(env, XMLRPC_TYPE_ERROR, "%s %lu: %s", name, (unsigned long)index, problem);
    }
}

/* XML cannot carry control characters, and xmlrpc-c would send them all the same. */
static int has_control_character(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 && strchr("\t\n\r", *text) == NULL) {
            return 1;
        }
    }
    return 0;
}

xmlrpc_value *apnsd_text_value(xmlrpc_env *env, const char *name, size_t index, const char *text)
{
    if (env->fault_occurred) {
        return NULL;
    }
    if (text == NULL) {
        refuse(env, name, index, "a text is needed, not NULL");
        return NULL;
    }
    if (has_control_character(text)) {
        refuse(env, name, index, "control characters cannot be sent");
        return NULL;
    }
    xmlrpc_value *value = xmlrpc_string_new_lp_cr(env, strlen(text), text);
    if (!env->fault_occurred) {
        return value;
    }
    if (env->fault_code == XMLRPC_INVALID_UTF8_ERROR) {
        xmlrpc_env_clean(env);
        xmlrpc_env_init(env);
        refuse(env, name, index, "UTF-8 is needed, without characters beyond U+FFFD");
    }
    return NULL;
}

/* The code point that a well-formed sequence of four bytes stands for, or 0. */
static uint32_t beyond_16_bits(const unsigned char *bytes)
{
    if ((bytes[0] & 0xF8) != 0xF0) {
        return 0;
    }
    uint32_t code = bytes[0] & 0x07U;
    for (int i = 1; i < 4; i++) {
        if ((bytes[i] & 0xC0) != 0x80) {
            return 0;
        }
        code = code << 6 | (bytes[i] & 0x3FU);
    }
    return code >= 0x10000 && code <= 0x10FFFF ? code : 0;
}

static char *write_escape(char *to, uint32_t unit)
{
    static const char DIGITS[] = "0123456789abcdef";
    *to++ = '\\';
    *to++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4) {
        *to++ = DIGITS[unit >> shift & 0xF];
    }
    return to;
}

/*
 * xmlrpc-c takes no characters beyond U+FFFD (emoji are), JSON can write them as \uXXXX. They can stand in strings of
 * JSON only, so that the text says the same afterwards. `to` has room for three bytes for each one of `json`.
 */
static void escape(const char *json, char *to)
{
    const unsigned char *from = (const unsigned char *)json;
    while (*from != '\0') {
        uint32_t code = beyond_16_bits(from);
        if (code != 0) {
            to = write_escape(to, 0xD800 + ((code - 0x10000) >> 10));
            to = write_escape(to, 0xDC00 + ((code - 0x10000) & 0x3FF));
            from += 4;
        } else if (from[0] == 0xEF && from[1] == 0xBF && (from[2] == 0xBE || from[2] == 0xBF)) {
            to = write_escape(to, 0xFF00U | (from[2] == 0xBE ? 0xFE : 0xFF));
            from += 3;
        } else {
            if (from[0] == '\\' && from[1] != '\0') { /* an escape of the caller; what follows is its own */
                *to++ = (char)*from++;
            }
            *to++ = (char)*from++;
        }
    }
    *to = '\0';
}

xmlrpc_value *apnsd_json_value(xmlrpc_env *env, const char *name, size_t index, const char *json)
{
    if (env->fault_occurred || json == NULL || strpbrk(json, "\xEF\xF0\xF1\xF2\xF3\xF4") == NULL) {
        return apnsd_text_value(env, name, index, json);
    }
    char *escaped = malloc(3 * strlen(json) + 1);
    if (escaped == NULL) {
        xmlrpc_env_set_fault(env, XMLRPC_INTERNAL_ERROR, "no memory for a payload");
        return NULL;
    }
    escape(json, escaped);
    xmlrpc_value *value = apnsd_text_value(env, name, index, escaped);
    free(escaped);
    return value;
}

xmlrpc_value *apnsd_seconds_value(xmlrpc_env *env, const char *name, double seconds, double otherwise)
{
    if (env->fault_occurred) {
        return NULL;
    }
    if (!(seconds >= 0 && seconds <= APNSD_TIMEOUT_MAX)) {
        refuse(env, name, APNSD_NO_INDEX, "a number of seconds is needed, at most 86400");
        return NULL;
    }
    /* Not 0 as in `seconds != 0`: what is as good as nothing counts as not given. */
    return xmlrpc_double_new(env, seconds > 0 ? seconds : otherwise);
}

xmlrpc_value *apnsd_array_value(xmlrpc_env *env)
{
    return env->fault_occurred ? NULL : xmlrpc_array_new(env);
}

xmlrpc_value *apnsd_struct_value(xmlrpc_env *env)
{
    return env->fault_occurred ? NULL : xmlrpc_struct_new(env);
}

void apnsd_append(xmlrpc_env *env, xmlrpc_value *array, xmlrpc_value *value)
{
    if (!env->fault_occurred) {
        xmlrpc_array_append_item(env, array, value);
    }
    apnsd_release(value);
}

void apnsd_set(xmlrpc_env *env, xmlrpc_value *structure, const char *name, xmlrpc_value *value)
{
    if (!env->fault_occurred) {
        xmlrpc_struct_set_value(env, structure, name, value);
    }
    apnsd_release(value);
}

void apnsd_set_text(xmlrpc_env *env, xmlrpc_value *structure, const char *name, const char *text)
{
    if (text != NULL) {
        apnsd_set(env, structure, name, apnsd_text_value(env, name, APNSD_NO_INDEX, text));
    }
}

void apnsd_set_number(xmlrpc_env *env, xmlrpc_value *structure, const char *name, int number)
{
    if (number != 0 && !env->fault_occurred) {
        apnsd_set(env, structure, name, xmlrpc_int_new(env, number));
    }
}

void apnsd_set_expiration(xmlrpc_env *env, xmlrpc_value *structure, time_t expiration)
{
    if (expiration != (time_t)-1 && !env->fault_occurred) {
        apnsd_set(env, structure, "expiration", xmlrpc_i8_new(env, (xmlrpc_int64)expiration));
    }
}

void apnsd_release(xmlrpc_value *value)
{
    if (value != NULL) {
        xmlrpc_DECREF(value);
    }
}

int apnsd_copy_sized(void *copy, size_t size, const void *given)
{
    size_t given_size;
    memcpy(&given_size, given, sizeof given_size);
    if (given_size < sizeof given_size || given_size > 4096) {
        return 0; /* never initialised */
    }
    for (size_t i = size; i < given_size; i++) {
        if (((const unsigned char *)given)[i] != 0) {
            return 0; /* something that this version of the library does not know */
        }
    }
    memset(copy, 0, size);
    memcpy(copy, given, given_size < size ? given_size : size);
    return 1;
}
