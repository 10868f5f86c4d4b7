/*
 * Judging answers: by their HTTP status, and by a look at the XML before xmlrpc-c parses it. That trusts its server:
 * elements deep inside each other use up its stack, entities its memory, members of one struct its time, and an <i8>
 * that is no number makes it read from nowhere.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* As much of a server's text as a failure shows. */
#define SHOWN_BYTES_MAX 300
/* Most elements inside each other. */
#define DEPTH_MAX 64
/* Most members of a struct: xmlrpc-c compares each with all before it. */
#define MEMBERS_MAX 64
/* Most digits of a number; each with so many fits into 64 bits. */
#define DIGITS_MAX 18

struct scan {
    const char *at, *end;
    size_t depth;
    size_t members[DEPTH_MAX + 1]; /* of the element that is open at each depth */
};

static int begins(const struct scan *scan, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(scan->end - scan->at) >= size && memcmp(scan->at, text, size) == 0;
}

/* Moves on behind the next `text`. */
static const char *skip_past(struct scan *scan, const char *text)
{
    while ((scan->at = memchr(scan->at, text[0], (size_t)(scan->end - scan->at))) != NULL) {
        if (begins(scan, text)) {
            scan->at += strlen(text);
            return NULL;
        }
        scan->at++;
    }
    return "it breaks off";
}

static int is_named(const char *name, size_t length, const char *expected)
{
    return length == strlen(expected) && memcmp(name, expected, length) == 0;
}

static int is_number(const char *name, size_t length)
{
    static const char *const NUMBERS[] = {"i1", "i2", "i4", "i8", "int"};
    if (length > 3 && memcmp(name, "ex", 2) == 0) { /* "ex:i8" and "ex.i8" are other names of the same */
        name += 3;
        length -= 3;
    }
    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        if (is_named(name, length, NUMBERS[i])) {
            return 1;
        }
    }
    return 0;
}

/* Whether the text up to the next tag is digits, and the tag ends an element. */
static int has_digits(const struct scan *begin)
{
    struct scan scan = *begin;
    scan.at += begins(&scan, "-");
    const char *first = scan.at;
    while (scan.at < scan.end && *scan.at >= '0' && *scan.at <= '9') {
        scan.at++;
    }
    return scan.at > first && scan.at - first <= DIGITS_MAX && begins(&scan, "</");
}

/* What is wrong with an element whose name comes next; moves on to its content. */
static const char *open_element(struct scan *scan)
{
    const char *name = scan->at;
    if (skip_past(scan, ">") != NULL) {
        return "it breaks off";
    }
    size_t size = (size_t)(scan->at - 1 - name), length = 0;
    if (memchr(name, '"', size) != NULL || memchr(name, '\'', size) != NULL) {
        return "an element has attributes";
    }
    while (length < size && strchr(" \t\r\n/", name[length]) == NULL) {
        length++;
    }
    if (is_named(name, length, "member") && ++scan->members[scan->depth] > MEMBERS_MAX) {
        return "a struct has too many members";
    }
    int is_empty = size > 0 && name[size - 1] == '/';
    if (is_number(name, length) && (is_empty || !has_digits(scan))) {
        return "a number is none";
    }
    if (!is_empty) {
        if (scan->depth == DEPTH_MAX) {
            return "elements are too deep inside each other";
        }
        scan->members[++scan->depth] = 0;
    }
    return NULL;
}

/* The same for anything that begins with "<". */
static const char *take_markup(struct scan *scan)
{
    if (begins(scan, "<!--")) {
        scan->at += 4;
        return skip_past(scan, "-->");
    }
    if (begins(scan, "<![CDATA[")) {
        return skip_past(scan, "]]>");
    }
    if (begins(scan, "<!")) {
        return "it has a DOCTYPE";
    }
    if (begins(scan, "<?")) {
        return skip_past(scan, "?>");
    }
    if (begins(scan, "</")) {
        scan->depth -= scan->depth > 0;
        return skip_past(scan, ">");
    }
    scan->at++;
    return open_element(scan);
}

const char *apnsd_answer_problem(const char *xml, size_t size)
{
    struct scan scan = {.at = xml, .end = xml + size};
    if (memchr(xml, '\0', size) != NULL) { /* also in all that is UTF-16 */
        return "it has a zero byte";
    }
    const char *problem = NULL;
    while (problem == NULL && (scan.at = memchr(scan.at, '<', (size_t)(scan.end - scan.at))) != NULL) {
        problem = take_markup(&scan);
    }
    return problem;
}

void apnsd_transport_fail(xmlrpc_env *env, enum apnsd_error error, const char *format, ...)
{
    char text[sizeof((struct apnsd_failure *)NULL)->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    xmlrpc_env_set_fault(env, APNSD_TRANSPORT_FAULT(error), text);
}

/* What an HTTP status that is no success comes to. */
static enum apnsd_error error_of_status(long status)
{
    switch (status) {
    case 401:
    case 403:
        return APNSD_NOT_CONFIGURED;
    case 429:
    case 503:
        return APNSD_SERVER_TIMEOUT;
    case 404:
    case 405:
    case 408:
        return APNSD_CONNECTION_FAILED;
    default:
        return status >= 400 && status < 500 ? APNSD_INVALID_ARGUMENTS : APNSD_CONNECTION_FAILED;
    }
}

/* An answer that is no answer to XML-RPC: its status, and the beginning of its text on one line. */
static void explain_status(xmlrpc_env *env, const char *where, long status, const xmlrpc_mem_block *answer)
{
    char shown[SHOWN_BYTES_MAX + 1];
    size_t size = xmlrpc_mem_block_size(answer);
    size = size < SHOWN_BYTES_MAX ? size : SHOWN_BYTES_MAX;
    memcpy(shown, xmlrpc_mem_block_contents(answer), size);
    for (size_t i = 0; i < size; i++) {
        if (shown[i] < 0x20 || shown[i] > 0x7E) {
            shown[i] = ' ';
        }
    }
    while (size > 0 && shown[size - 1] == ' ') {
        size--;
    }
    shown[size] = '\0';
    enum apnsd_error error = error_of_status(status);
    int is_of_daemon = error != APNSD_CONNECTION_FAILED || status == 408 || status >= 500;
    apnsd_transport_fail(env, error, "%s answered HTTP %ld%s%s%s", where, status, size > 0 ? ": " : "", shown,
                         is_of_daemon ? "" : "; " APNSD_URL_QUESTION);
}

void apnsd_answer_judge(xmlrpc_env *env, const char *where, long status, const xmlrpc_mem_block *answer)
{
    if (status != 200) {
        explain_status(env, where, status, answer);
        return;
    }
    const char *problem = apnsd_answer_problem(xmlrpc_mem_block_contents(answer), xmlrpc_mem_block_size(answer));
    if (problem != NULL) {
        xmlrpc_env_set_fault(env, XMLRPC_PARSE_ERROR, problem);
    }
}
