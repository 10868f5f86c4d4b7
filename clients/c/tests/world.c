/*
 * The tests' end of clients/world.py, whose input is our output and whose output is our input. Also what all tests need
 * to judge.
 */
#include "test.h"

static json_t *world;

void fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    exit(1);
}

void check_text(const char *file, int line, const char *actual, const char *expected)
{
    if (actual == NULL || strcmp(actual, expected) != 0) {
        fprintf(stderr, "%s\n  is not\n%s\n", actual == NULL ? "NULL" : actual, expected);
        fail(file, line, "another text");
    }
}

void check_has(const char *file, int line, const char *actual, const char *words)
{
    if (strstr(actual, words) == NULL) {
        fprintf(stderr, "%s\n  does not have\n%s\n", actual, words);
        fail(file, line, "words are missing");
    }
}

void check_error(const char *file, int line, const char *call, enum apnsd_error actual, enum apnsd_error expected,
                 const struct apnsd_failure *failure)
{
    if (actual != expected || failure->error != expected) {
        fprintf(stderr, "%s, not %s: %d %s\n", apnsd_error_name(actual), apnsd_error_name(expected), failure->code,
                failure->text);
        fail(file, line, call);
    }
}

/* A line that the world wrote. */
static json_t *read_line(void)
{
    char *line = NULL;
    size_t size = 0;
    if (getline(&line, &size, stdin) == -1) {
        fail(__FILE__, __LINE__, "the world has ended");
    }
    json_t *answer = json_loads(line, JSON_DECODE_ANY, NULL);
    free(line);
    CHECK(answer != NULL);
    return answer;
}

static void end(void)
{
    json_decref(world);
}

void world_begin(void)
{
    world = read_line();
    atexit(end);
}

const char *world_get(const char *name)
{
    const char *value = json_string_value(json_object_get(world, name));
    CHECK(value != NULL);
    return value;
}

json_t *world_ask(const char *command)
{
    printf("%s\n", command);
    fflush(stdout);
    return read_line();
}

void world_do(const char *command)
{
    json_decref(world_ask(command));
}

static size_t count_token(const json_t *arrived, const char *token)
{
    size_t count = 0, index;
    json_t *entry;
    json_array_foreach(arrived, index, entry) {
        count += strcmp(json_string_value(json_object_get(entry, "token")), token) == 0;
    }
    return count;
}

size_t world_arrivals(const char *token)
{
    char command[64];
    json_t *arrived = world_ask("arrived");
    while (count_token(arrived, token) == 0) {
        snprintf(command, sizeof command, "wait_arrived %lu", (unsigned long)json_array_size(arrived) + 1);
        json_decref(arrived);
        arrived = world_ask(command);
    }
    size_t count = count_token(arrived, token);
    json_decref(arrived);
    return count;
}

struct apnsd_settings good_settings(void)
{
    struct apnsd_settings settings = APNSD_SETTINGS_INIT;
    settings.certificate_file = world_get("certificate");
    settings.environment = "sandbox";
    return settings;
}

apnsd_client *open_with_app(const char *url_name, const char *app)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = good_settings();
    apnsd_client *client = apnsd_open(world_get(url_name), 0, &failure);
    CHECK(client != NULL);
    CHECK_OK(apnsd_provision(client, app, &settings, &failure));
    return client;
}

const char *make_token(char token[TOKEN_SIZE], const char *prefix, unsigned number)
{
    memset(token, '0', TOKEN_SIZE - 1);
    memcpy(token, prefix, strlen(prefix));
    snprintf(token + TOKEN_SIZE - 9, 9, "%08x", number);
    return token;
}
