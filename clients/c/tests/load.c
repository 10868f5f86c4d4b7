/* Many threads, and long lists. */
#include <pthread.h>

#include "test.h"

#define THREADS 8
#define CALLS 20

struct worker {
    pthread_t thread;
    apnsd_client *client;
    unsigned number;
    char first[TOKEN_SIZE];
};

static void *notify_often(void *context)
{
    struct worker *worker = context;
    struct apnsd_failure failure;
    char token[TOKEN_SIZE];
    for (unsigned i = 0; i < CALLS; i++) {
        make_token(token, "e1", worker->number * 256 + i);
        CHECK_OK(apnsd_notify(worker->client, "threads", token, HELLO, NULL, &failure));
        CHECK_ERROR(apnsd_notify(worker->client, "threads", "no token", HELLO, NULL, &failure),
                    APNSD_INVALID_ARGUMENTS);
    }
    return NULL;
}

static void notify_in_threads(apnsd_client *shared, unsigned first)
{
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].client = shared != NULL ? shared : open_with_app("url", "threads");
        workers[i].number = first + i;
        CHECK(pthread_create(&workers[i].thread, NULL, notify_often, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        char token[TOKEN_SIZE];
        pthread_join(workers[i].thread, NULL);
        CHECK(world_arrivals(make_token(token, "e1", (first + i) * 256 + CALLS - 1)) == 1);
        if (shared == NULL) {
            apnsd_close(workers[i].client);
        }
    }
}

static void threads_share_a_client(void)
{
    apnsd_client *client = open_with_app("url", "threads");
    notify_in_threads(client, 0);
    apnsd_close(client);
}

static void threads_have_clients(void)
{
    notify_in_threads(NULL, THREADS);
}

/* So many tokens in one allocation, to be freed with free(). */
static const char **make_tokens(const char *prefix, size_t count)
{
    const char **tokens = malloc(count * (sizeof *tokens + TOKEN_SIZE));
    char *place = (char *)(tokens + count);
    for (size_t i = 0; i < count; i++) {
        tokens[i] = make_token(place + i * TOKEN_SIZE, prefix, (unsigned)i);
    }
    return tokens;
}

/* A hundred thousand tokens, or what the environment variable TOKENS says where those would take too long. */
static size_t very_many(void)
{
    const char *wanted = getenv("TOKENS");
    return wanted != NULL ? strtoul(wanted, NULL, 10) : 100000;
}

/* 5,000 dead tokens are more XML than xmlrpc-c reads where nobody tells it otherwise. */
static void long_lists_are_read(void)
{
    const size_t many = very_many() / 20;
    struct apnsd_failure failure;
    struct apnsd_result *results;
    struct apnsd_dead_token *dead;
    struct apnsd_rejection *rejections;
    char cursor[APNSD_CURSOR_SIZE] = "";
    size_t count, all = 0;
    const char *const payload = HELLO;
    const char **tokens = make_tokens("dead1", many);
    apnsd_client *client = open_with_app("url", "long");
    CHECK_OK(apnsd_send(client, "long", tokens, many, &payload, 1, NULL, &results, &failure));
    CHECK(failure.accepted == many);
    for (size_t i = 0; i < many; i++) {
        CHECK_TEXT(results[i].token, tokens[i]);
        CHECK_TEXT(results[i].reason, "Unregistered");
    }
    apnsd_free(results);
    CHECK_OK(apnsd_feedback(client, "long", NULL, &dead, &count, &failure));
    CHECK(count >= many);
    apnsd_free(dead);
    do {
        CHECK_OK(apnsd_rejections(client, "long", cursor, &rejections, &count, &failure));
        apnsd_free(rejections);
        all += count;
    } while (count > 0);
    CHECK(all == many);
    free(tokens);
    apnsd_close(client);
}

/* The app is removed before all have arrived. */
static void very_many_tokens_are_accepted(void)
{
    const size_t many = very_many();
    struct apnsd_failure failure;
    struct apnsd_options options = APNSD_OPTIONS_INIT;
    const char *const payload = HELLO;
    const char **tokens = make_tokens("e3", many);
    apnsd_client *client = open_with_app("proxy_url", "many");
    options.request_id = "many";
    world_do("lose_answers 1");
    CHECK_OK(apnsd_notify_many(client, "many", tokens, many, &payload, 1, &options, &failure));
    CHECK(failure.accepted == many);
    CHECK_TEXT(failure.request_id, "many");
    tokens[many - 1] = "no token";
    CHECK_ERROR(apnsd_notify_many(client, "many", tokens, many, &payload, 1, &options, &failure),
                APNSD_INVALID_ARGUMENTS);
    CHECK(failure.accepted == many - 10000);
    CHECK_HAS(failure.text, "9999");
    CHECK_OK(apnsd_deprovision(client, "many", &failure));
    free(tokens);
    apnsd_close(client);
}

const struct test load_tests[] = {
    {"threads share a client", threads_share_a_client},
    {"threads have clients of their own", threads_have_clients},
    {"long lists are read", long_lists_are_read},
    {"very many tokens are accepted", very_many_tokens_are_accepted},
};
const size_t load_test_count = TEST_COUNT(load_tests);
