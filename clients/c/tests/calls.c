/* Each function against the daemon, and a daemon that comes and goes. */
#include <unistd.h>

#include "test.h"

/* Hands over one notification that must arrive once. */
static void check_arrives(apnsd_client *client, const char *app, const char *prefix)
{
    struct apnsd_failure failure;
    char token[TOKEN_SIZE];
    CHECK_OK(apnsd_notify(client, app, make_token(token, prefix, 0), HELLO, NULL, &failure));
    CHECK(failure.accepted == 1 && strlen(failure.request_id) == 32 && failure.text[0] == '\0');
    CHECK(world_arrivals(token) == 1);
}

static void a_notification_arrives(void)
{
    apnsd_client *client = open_with_app("url", "one");
    check_arrives(client, "one", "c1");
    apnsd_close(client);
}

static void characters_arrive(void)
{
    struct apnsd_failure failure;
    char token[TOKEN_SIZE];
    apnsd_client *client = open_with_app("url", "characters");
    const char *payload = "{\"aps\":{\"alert\":\"<&>\xC3\xA9\xF0\x9F\x8E\x89\"},\"n\":null,\"big\":9007199254740993}";
    CHECK_OK(apnsd_notify(client, "characters", make_token(token, "c2", 0), payload, NULL, &failure));
    CHECK(world_arrivals(token) == 1);
    json_t *arrived = world_ask("arrived"), *sent = json_loads(payload, 0, NULL);
    json_t *last = json_array_get(arrived, json_array_size(arrived) - 1);
    CHECK(json_equal(json_object_get(last, "payload"), sent));
    json_decref(sent);
    json_decref(arrived);
    CHECK_ERROR(apnsd_notify(client, "characters", token, "{\"aps\":", NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK(failure.code == 8002);
    apnsd_close(client);
}

static void send_tells_outcomes(void)
{
    struct apnsd_failure failure;
    struct apnsd_result *results;
    char good[TOKEN_SIZE], bad[TOKEN_SIZE], dead[TOKEN_SIZE];
    const char *const tokens[] = {make_token(good, "c3", 0), make_token(bad, "bad8", 3), make_token(dead, "dead", 3)};
    const char *const payloads[] = {HELLO, "{\"aps\":{\"badge\":1}}", "{\"aps\":{\"badge\":2}}"};
    apnsd_client *client = open_with_app("url", "send");
    CHECK_OK(apnsd_send(client, "send", tokens, 3, payloads, 3, NULL, &results, &failure));
    CHECK_TEXT(results[0].token, good);
    CHECK_TEXT(results[0].outcome, "accepted");
    CHECK(strlen(results[0].id) == 36 && results[0].status == 0 && results[0].timestamp == 0 && !results[0].retry);
    CHECK(results[0].reason == NULL && results[0].cause == NULL);
    CHECK_TEXT(results[1].outcome, "rejected");
    CHECK_TEXT(results[1].reason, "BadDeviceToken");
    CHECK(results[1].status == 400);
    CHECK_TEXT(results[2].reason, "Unregistered");
    CHECK(results[2].status == 410 && labs((long)(results[2].timestamp - time(NULL))) < 3600);
    apnsd_free(results);
    CHECK_OK(apnsd_send(client, "send", NULL, 0, NULL, 0, NULL, &results, &failure));
    CHECK(results == NULL);
    apnsd_close(client);
}

/* The simulator answers an error that the daemon tries again later: the outcome is open until the time is up. */
static void send_may_wait_longer_than_other_calls(void)
{
    struct apnsd_failure failure;
    struct apnsd_options options = APNSD_OPTIONS_INIT;
    struct apnsd_settings settings = good_settings();
    struct apnsd_result *results;
    char token[TOKEN_SIZE];
    const char *const tokens[] = {make_token(token, "bad1", 0)}, *const payload = HELLO;
    apnsd_client *client = apnsd_open(world_get("url"), 0.25, &failure);
    options.timeout = 0.5;
    CHECK_OK(apnsd_provision(client, "patient", &settings, &failure));
    CHECK_OK(apnsd_send(client, "patient", tokens, 1, &payload, 1, &options, &results, &failure));
    CHECK_TEXT(results[0].outcome, "queued");
    CHECK_TEXT(results[0].reason, "InternalServerError");
    CHECK(results[0].retry == 1);
    apnsd_free(results);
    CHECK_OK(apnsd_deprovision(client, "patient", &failure));
    apnsd_close(client);
}

static void feedback_and_rejections_are_listed(void)
{
    struct apnsd_failure failure;
    struct apnsd_result *results;
    struct apnsd_dead_token *dead;
    struct apnsd_rejection *rejections;
    size_t count;
    char cursor[APNSD_CURSOR_SIZE] = "", begin[APNSD_CURSOR_SIZE] = "x", token[TOKEN_SIZE];
    const char *const tokens[] = {make_token(token, "dead", 4)}, *const payload = HELLO;
    apnsd_client *client = open_with_app("url", "lists");
    CHECK_OK(apnsd_send(client, "lists", tokens, 1, &payload, 1, NULL, &results, &failure));
    apnsd_free(results);
    CHECK_OK(apnsd_feedback(client, "lists", NULL, &dead, &count, &failure));
    size_t found = count;
    for (size_t i = 0; i < count; i++) { /* apps on the same certificate see each other's */
        if (strcmp(dead[i].token, token) == 0 && labs((long)(dead[i].timestamp - time(NULL))) < 3600) {
            found = i;
        }
    }
    CHECK(found < count);
    apnsd_free(dead);
    CHECK_OK(apnsd_feedback(client, "lists", NULL, &dead, &count, &failure));
    CHECK(dead == NULL && count == 0);

    CHECK_OK(apnsd_rejections(client, "lists", cursor, &rejections, &count, &failure));
    CHECK(count == 1);
    CHECK_TEXT(rejections[0].token, token);
    CHECK_TEXT(rejections[0].reason, "Unregistered");
    CHECK(rejections[0].status == 410 && rejections[0].text[0] != '\0');
    CHECK(labs((long)(rejections[0].timestamp - time(NULL))) < 3600);
    apnsd_free(rejections);
    CHECK_OK(apnsd_rejections(client, "lists", cursor, &rejections, &count, &failure));
    CHECK(rejections == NULL && count == 0 && cursor[0] != '\0');
    CHECK_ERROR(apnsd_rejections(client, "lists", begin, &rejections, &count, &failure), APNSD_INVALID_ARGUMENTS);
    apnsd_close(client);
}

static void credentials_of_each_kind_are_taken(void)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = good_settings();
    char command[512], path[64];
    apnsd_client *client = apnsd_open(world_get("url"), 0, &failure);
    snprintf(path, sizeof path, "/tmp/apnsd-test-%ld.p12", (long)getpid());
    snprintf(command, sizeof command, "openssl pkcs12 -export -in %s -out %s -passout pass:secret",
             world_get("certificate"), path);
    CHECK(system(command) == 0);
    settings.certificate_file = path;
    settings.passphrase = "wrong";
    CHECK_ERROR(apnsd_provision(client, "p12", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK(failure.code == 8002);
    settings.passphrase = "secret";
    CHECK_OK(apnsd_provision(client, "p12", &settings, &failure));
    check_arrives(client, "p12", "c5");
    remove(path);

    settings = good_settings();
    settings.certificate_file = world_get("key");
    settings.key_id = "SIMULATOR1";
    settings.team_id = "SIMTEAM001";
    settings.topic = "com.example.keyed";
    settings.timeout = 0.5;
    settings.connections = 2;
    settings.force = 1;
    settings.expiration = 0;
    settings.priority = 5;
    settings.collapse_id = "c";
    settings.push_type = "alert";
    CHECK_OK(apnsd_provision(client, "p8", &settings, &failure));
    check_arrives(client, "p8", "c6");
    apnsd_close(client);
}

/* The only payload of the second call is the last one, and no JSON. */
static void payloads_stay_with_their_tokens(void)
{
    enum { COUNT = 10001 };
    struct apnsd_failure failure;
    char token[TOKEN_SIZE];
    const char **tokens = malloc(COUNT * sizeof *tokens), **payloads = malloc(COUNT * sizeof *payloads);
    make_token(token, "bad8", 0);
    for (size_t i = 0; i < COUNT; i++) {
        tokens[i] = token;
        payloads[i] = HELLO;
    }
    payloads[COUNT - 1] = "no JSON";
    apnsd_client *client = open_with_app("url", "each");
    CHECK_ERROR(apnsd_notify_many(client, "each", tokens, COUNT, payloads, COUNT, NULL, &failure),
                APNSD_INVALID_ARGUMENTS);
    CHECK(failure.code == 8002 && failure.accepted == COUNT - 1);
    CHECK_OK(apnsd_deprovision(client, "each", &failure));
    free(tokens);
    free(payloads);
    apnsd_close(client);
}

static void a_deprovisioned_app_is_forgotten(void)
{
    struct apnsd_failure failure;
    apnsd_client *client = open_with_app("url", "gone");
    struct apnsd_settings settings = good_settings();
    settings.priority = 5;
    CHECK_OK(apnsd_provision(client, "gone", &settings, &failure));
    CHECK_OK(apnsd_provision(client, "gone", NULL, &failure));
    CHECK_OK(apnsd_deprovision(client, "gone", &failure));
    CHECK_ERROR(apnsd_notify(client, "gone", "aa", HELLO, NULL, &failure), APNSD_UNKNOWN_APP);
    CHECK_ERROR(apnsd_deprovision(client, "gone", &failure), APNSD_UNKNOWN_APP);
    CHECK_ERROR(apnsd_provision(client, "gone", NULL, &failure), APNSD_NOT_CONFIGURED);
    apnsd_close(client);

    client = open_with_app("proxy_url", "gone");
    world_do("lose_answers 1");
    CHECK_OK(apnsd_deprovision(client, "gone", &failure));
    CHECK(failure.code == 0 && failure.text[0] == '\0');
    CHECK_ERROR(apnsd_deprovision(client, "gone", &failure), APNSD_UNKNOWN_APP);
    apnsd_close(client);
}

static void check_refused(apnsd_client *client, const char *app, struct apnsd_settings settings, const char *error)
{
    struct apnsd_failure failure;
    apnsd_provision(client, app, &settings, &failure);
    CHECK_TEXT(apnsd_error_name(failure.error), error);
}

static void refused_settings_replace_none_that_work(void)
{
    struct apnsd_failure failure;
    struct apnsd_settings bad_path = good_settings(), bad_environment = good_settings(), second = good_settings();
    bad_path.certificate_file = "/nowhere.pem";
    bad_environment.environment = "nowhere";
    second.certificate_file = world_get("second_certificate");

    apnsd_client *another = apnsd_open(world_get("url"), 0, &failure);
    check_refused(another, "refused", bad_environment, "InvalidEnvironment");
    CHECK_ERROR(apnsd_notify(another, "refused", "aa", HELLO, NULL, &failure), APNSD_INVALID_ENVIRONMENT);

    apnsd_client *client = open_with_app("url", "refused");
    check_refused(client, "refused", bad_path, "InvalidArguments");
    bad_path.certificate_file = world_get("expired_certificate");
    check_refused(client, "refused", bad_path, "InvalidArguments");
    check_refused(client, "refused", bad_environment, "InvalidEnvironment");
    CHECK_OK(apnsd_deprovision(another, "refused", &failure));
    apnsd_close(another);
    check_arrives(client, "refused", "d1");

    world_do("stop");
    check_refused(client, "refused", second, "ConnectionFailed");
    world_do("start");
    CHECK_OK(apnsd_provision(client, "refused", NULL, &failure));
    check_arrives(client, "refused", "d2");
    json_t *arrived = world_ask("arrived"), *last = json_array_get(arrived, json_array_size(arrived) - 1);
    CHECK_TEXT(json_string_value(json_object_get(last, "subject")),
               "Apple Production IOS Push Services: com.example.app");
    json_decref(arrived);
    apnsd_close(client);
}

static void an_app_without_settings_is_told(void)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = good_settings();
    apnsd_client *client = apnsd_open(world_get("url"), 0, &failure);
    CHECK_ERROR(apnsd_notify(client, "on", "aa", HELLO, NULL, &failure), APNSD_UNKNOWN_APP);
    CHECK_TEXT(failure.text, "The app_id specified has not been provisioned. This client has no settings for `on`: "
                             "register it with apnsd_provision.");
    const char *const apps[] = {"one", "two", "three", "four", "five"};
    for (size_t i = 0; i < TEST_COUNT(apps); i++) {
        CHECK_OK(apnsd_provision(client, apps[i], &settings, &failure));
    }
    CHECK_ERROR(apnsd_notify(client, "on", "aa", HELLO, NULL, &failure), APNSD_UNKNOWN_APP);
    CHECK_HAS(failure.text, "apnsd_provision. It has settings for `one`, `two`, `three`, `four`, `five`.");
    CHECK_OK(apnsd_provision(client, "six", &settings, &failure));
    CHECK_ERROR(apnsd_notify(client, "on", "aa", HELLO, NULL, &failure), APNSD_UNKNOWN_APP);
    CHECK(strstr(failure.text, "It has") == NULL && failure.code == 404);
    apnsd_close(client);
}

static void lost_answers_send_nothing_twice(void)
{
    struct apnsd_failure failure;
    struct apnsd_options options = APNSD_OPTIONS_INIT;
    char token[TOKEN_SIZE];
    json_t *before = world_ask("connections");
    apnsd_client *client = open_with_app("proxy_url", "lost");
    check_arrives(client, "lost", "c7");
    world_do("lose_answers 1");
    check_arrives(client, "lost", "c8");
    json_t *after = world_ask("connections");
    CHECK(json_integer_value(after) - json_integer_value(before) == 2);
    json_decref(before);
    json_decref(after);

    world_do("lose_answers 2");
    make_token(token, "c9", 0);
    CHECK_ERROR(apnsd_notify(client, "lost", token, HELLO, NULL, &failure), APNSD_CONNECTION_FAILED);
    CHECK_HAS(failure.text, "broke twice");
    options.request_id = failure.request_id;
    CHECK_OK(apnsd_notify(client, "lost", token, HELLO, &options, &failure));
    CHECK(world_arrivals(token) == 1);
    apnsd_close(client);
}

static void lost_feedback_is_given_again(void)
{
    struct apnsd_failure failure;
    struct apnsd_result *results;
    struct apnsd_dead_token *dead;
    char token[TOKEN_SIZE];
    const char *const tokens[] = {make_token(token, "dead", 5)}, *const payload = HELLO;
    size_t count;
    apnsd_client *client = open_with_app("proxy_url", "again");
    CHECK_OK(apnsd_feedback(client, "again", NULL, &dead, &count, &failure));
    CHECK(strlen(failure.request_id) == 32);
    apnsd_free(dead);
    CHECK_OK(apnsd_send(client, "again", tokens, 1, &payload, 1, NULL, &results, &failure));
    apnsd_free(results);
    world_do("lose_answers 2");
    CHECK_ERROR(apnsd_feedback(client, "again", NULL, &dead, &count, &failure), APNSD_CONNECTION_FAILED);
    CHECK_OK(apnsd_feedback(client, "again", failure.request_id, &dead, &count, &failure));
    CHECK(count == 1 && strlen(failure.request_id) == 32);
    CHECK_TEXT(dead[0].token, token);
    apnsd_free(dead);
    CHECK_OK(apnsd_feedback(client, "again", NULL, &dead, &count, &failure));
    CHECK(count == 0);
    CHECK_ERROR(apnsd_feedback(client, "again", "", &dead, &count, &failure), APNSD_INVALID_ARGUMENTS);
    apnsd_close(client);
}

static void a_daemon_may_be_down(void)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = good_settings();
    world_do("kill");
    world_do("forget");
    apnsd_client *client = apnsd_open(world_get("url"), 0, &failure);
    CHECK_ERROR(apnsd_provision(client, "down", &settings, &failure), APNSD_CONNECTION_FAILED);
    CHECK_HAS(failure.text, "cannot be reached");
    CHECK_ERROR(apnsd_notify(client, "down", "aa", HELLO, NULL, &failure), APNSD_CONNECTION_FAILED);
    world_do("start");
    check_arrives(client, "down", "ca");
    apnsd_close(client);
}

static void a_daemon_may_be_slow(void)
{
    struct apnsd_failure failure;
    struct apnsd_options options = APNSD_OPTIONS_INIT;
    struct apnsd_settings settings = good_settings();
    char token[TOKEN_SIZE];
    apnsd_client *client = apnsd_open(world_get("url"), 0.5, &failure);
    CHECK_OK(apnsd_provision(client, "slow", &settings, &failure));
    world_do("freeze");
    make_token(token, "cb", 0);
    CHECK_ERROR(apnsd_notify(client, "slow", token, HELLO, NULL, &failure), APNSD_CONNECTION_FAILED);
    CHECK_HAS(failure.text, "did not answer in time");
    world_do("thaw");
    options.request_id = failure.request_id;
    apnsd_close(client);
    client = open_with_app("url", "slow");
    CHECK_OK(apnsd_notify(client, "slow", token, HELLO, &options, &failure));
    CHECK(world_arrivals(token) == 1);
    apnsd_close(client);
}

static void a_daemon_may_forget(void)
{
    struct apnsd_failure failure;
    struct apnsd_dead_token *dead;
    struct apnsd_result *results;
    size_t count;
    char token[TOKEN_SIZE];
    const char *const tokens[] = {make_token(token, "cd", 0)}, *const payload = HELLO;
    apnsd_client *client = open_with_app("url", "forgotten");
    check_arrives(client, "forgotten", "cc");
    world_do("restart");
    CHECK_OK(apnsd_feedback(client, "forgotten", NULL, &dead, &count, &failure));
    apnsd_free(dead);
    world_do("kill");
    world_do("forget");
    world_do("start");
    CHECK_OK(apnsd_send(client, "forgotten", tokens, 1, &payload, 1, NULL, &results, &failure));
    CHECK_TEXT(results[0].outcome, "accepted");
    CHECK(failure.code == 0 && failure.text[0] == '\0');
    apnsd_free(results);
    CHECK_ERROR(apnsd_notify(client, "another", token, HELLO, NULL, &failure), APNSD_UNKNOWN_APP);
    CHECK(failure.code == 404);
    apnsd_close(client);
}

const struct test world_tests[] = {
    {"a notification arrives", a_notification_arrives},
    {"what JSON can say arrives as it is", characters_arrive},
    {"send tells what became of each token", send_tells_outcomes},
    {"send may wait longer than other calls", send_may_wait_longer_than_other_calls},
    {"dead tokens and rejections are listed", feedback_and_rejections_are_listed},
    {"credentials of each kind are taken", credentials_of_each_kind_are_taken},
    {"payloads stay with their tokens", payloads_stay_with_their_tokens},
    {"a deprovisioned app is forgotten", a_deprovisioned_app_is_forgotten},
    {"settings that are refused replace none that work", refused_settings_replace_none_that_work},
    {"an app without settings is told, with those that have some", an_app_without_settings_is_told},
    {"lost answers send nothing twice", lost_answers_send_nothing_twice},
    {"feedback whose answer is lost is given again", lost_feedback_is_given_again},
    {"a daemon that was down is found when it is up", a_daemon_may_be_down},
    {"a daemon that is slow is told, and the call can be made again", a_daemon_may_be_slow},
    {"a daemon that forgot its apps is given them again", a_daemon_may_forget},
};
const size_t world_test_count = TEST_COUNT(world_tests);
