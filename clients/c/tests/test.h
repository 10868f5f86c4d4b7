/* What the tests share. */
#ifndef APNSD_TEST_H
#define APNSD_TEST_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apnsd.h"
#include "internal.h"

/* Ends the program with the place and both values where they differ. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fail(__FILE__, __LINE__, #condition); \
        } \
    } while (0)
#define CHECK_TEXT(actual, expected) check_text(__FILE__, __LINE__, actual, expected)
#define CHECK_HAS(actual, words) check_has(__FILE__, __LINE__, actual, words)
/* A call that must go well, or with this error; `failure` is that of the caller. */
#define CHECK_OK(call) check_error(__FILE__, __LINE__, #call, call, APNSD_OK, &failure)
#define CHECK_ERROR(call, error) check_error(__FILE__, __LINE__, #call, call, error, &failure)

void fail(const char *file, int line, const char *what);
void check_text(const char *file, int line, const char *actual, const char *expected);
void check_has(const char *file, int line, const char *actual, const char *words);
void check_error(const char *file, int line, const char *call, enum apnsd_error actual, enum apnsd_error expected,
                 const struct apnsd_failure *failure);

/* A test; its name is a sentence. */
struct test {
    const char *name;
    void (*run)(void);
};
#define TEST_COUNT(tests) (sizeof(tests) / sizeof(tests)[0])

extern const struct test unit_tests[], http_tests[], world_tests[], load_tests[], memory_tests[];
extern const size_t unit_test_count, http_test_count, world_test_count, load_test_count, memory_test_count;

/* world.c: the daemon and the simulator, as clients/world.py offers them. */

/* The notification that the tests send. */
#define HELLO "{\"aps\":{\"alert\":\"Hello\"}}"
#define TOKEN_SIZE 65

void world_begin(void);
/* Something of the world: "url", "proxy_url", "certificate", ... */
const char *world_get(const char *name);
/* A command; its answer is for the caller to release. */
json_t *world_ask(const char *command);
void world_do(const char *command);
/* Waits until a token has arrived, and tells how often. */
size_t world_arrivals(const char *token);
/* Opens a client of the daemon behind `url_name`, with an app in the environment sandbox. */
apnsd_client *open_with_app(const char *url_name, const char *app);
struct apnsd_settings good_settings(void);
/* Writes a token of 64 hex digits that begins with `prefix` and ends with `number`. */
const char *make_token(char token[TOKEN_SIZE], const char *prefix, unsigned number);

/* memory.c: allocations of the library that fail. */

/* The allocation after so many others fails. */
void memory_fail_after(long count);
/* No more failures; whether there was one. */
int memory_stop_failing(void);

#endif
