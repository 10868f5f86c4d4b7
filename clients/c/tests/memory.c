/* Want of memory: every allocation of the library fails once. The linker puts these functions in place of malloc. */
#include "test.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static long left = -1; /* allocations until the one that fails; -1: none fails */

static int fails(void)
{
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void memory_fail_after(long count)
{
    left = count;
}

int memory_stop_failing(void)
{
    int failed = left == -1;
    left = -1;
    return failed;
}

/* Whether everything went well, or memory was said to be missing. */
static int ended_well(enum apnsd_error error, const struct apnsd_failure *failure)
{
    CHECK(error == failure->error);
    if (error != APNSD_OK) {
        CHECK_TEXT(apnsd_error_name(error), "OutOfMemory");
        CHECK_HAS(failure->text, "memory");
    }
    return error == APNSD_OK;
}

/* All that allocates, in a row; stops where memory is missing. */
static void use_everything(void)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = good_settings();
    const char *const tokens[] = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    const char *const payloads[] = {"{\"aps\":{\"alert\":\"\xF0\x9F\x8E\x89\"}}"};
    struct apnsd_result *results = NULL;
    struct apnsd_rejection *rejections = NULL;
    struct apnsd_dead_token *dead = NULL;
    size_t count;
    char cursor[APNSD_CURSOR_SIZE] = "";
    settings.topic = "com.example.app";
    apnsd_client *client = apnsd_open(world_get("url"), 0, &failure);
    if (client == NULL) {
        CHECK(!ended_well(failure.error, &failure));
        return;
    }
    if (ended_well(apnsd_provision(client, "memory", &settings, &failure), &failure) &&
        ended_well(apnsd_notify(client, "memory", tokens[0], payloads[0], NULL, &failure), &failure) &&
        ended_well(apnsd_send(client, "memory", tokens, 1, payloads, 1, NULL, &results, &failure), &failure) &&
        ended_well(apnsd_rejections(client, "memory", cursor, &rejections, &count, &failure), &failure)) {
        ended_well(apnsd_feedback(client, "memory", NULL, &dead, &count, &failure), &failure);
    }
    apnsd_free(results);
    apnsd_free(rejections);
    apnsd_free(dead);
    apnsd_close(client);
}

static void every_allocation_may_fail(void)
{
    long allocations = 0;
    do {
        memory_fail_after(allocations++);
        use_everything();
    } while (memory_stop_failing());
    CHECK(allocations > 8);
}

const struct test memory_tests[] = {
    {"want of memory is told and leaks nothing", every_allocation_may_fail},
};
const size_t memory_test_count = TEST_COUNT(memory_tests);
