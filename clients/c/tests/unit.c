/* What needs no daemon: arguments, values, texts. */
#include "test.h"

/* The text that a JSON text is sent as, or NULL with a fault. */
static void check_json(const char *json, const char *sent)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    const char *text = NULL;
    xmlrpc_value *value = apnsd_json_value(&env, "payload", APNSD_NO_INDEX, json);
    CHECK(!env.fault_occurred);
    xmlrpc_read_string(&env, value, &text);
    CHECK_TEXT(text, sent);
    free((void *)text);
    xmlrpc_DECREF(value);
    xmlrpc_env_clean(&env);
}

static void json_is_escaped(void)
{
    check_json("\"a\xC3\xA9\xE6\x97\xA5\"", "\"a\xC3\xA9\xE6\x97\xA5\"");
    check_json("\"\xF0\x9F\x8E\x89!\"", "\"\\ud83c\\udf89!\"");
    check_json("\"\xF0\x90\x80\x80\"", "\"\\ud800\\udc00\"");
    check_json("\"\xF4\x8F\xBF\xBF\"", "\"\\udbff\\udfff\"");
    check_json("\"\xEF\xBF\xBE\xEF\xBF\xBF\xEF\xBF\xBD\"", "\"\\ufffe\\uffff\xEF\xBF\xBD\"");
    check_json("\"\\\\\xF0\x9F\x8E\x89\"", "\"\\\\\\ud83c\\udf89\"");
    check_json("{\r\n\t}", "{\r\n\t}");
}

static void check_refused(const char *text, const char *problem)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    CHECK(apnsd_json_value(&env, "payload", 7, text) == NULL);
    CHECK(env.fault_code == XMLRPC_TYPE_ERROR);
    CHECK_TEXT(env.fault_string, problem);
    xmlrpc_env_clean(&env);
}

static void what_xml_cannot_carry_is_refused(void)
{
    check_refused(NULL, "payload 7: a text is needed, not NULL");
    check_refused("a\x01", "payload 7: control characters cannot be sent");
    const char *not_utf8 = "payload 7: UTF-8 is needed, without characters beyond U+FFFD";
    check_refused("\xFF", not_utf8);
    check_refused("\xC0\x80", not_utf8);
    check_refused("\xED\xA0\x80", not_utf8);
    check_refused("\xF0\x9F\x8E", not_utf8);
    check_refused("\xF0\x80\x80\x80", not_utf8);
    check_refused("\"\\\xEF\xBF\xBE\"", not_utf8);
    check_refused("\"\\\\\\\xF0\x9F\x8E\x89\"", not_utf8);
    check_refused("\xF4\x90\x80\x80", not_utf8);
}

static void structs_grow(void)
{
    struct {
        size_t size;
        int number, added;
    } old = {sizeof(size_t) + sizeof(int), 5, 7 /* not there, as its size says */}, copy;
    CHECK(apnsd_copy_sized(&copy, sizeof copy, &old));
    CHECK(copy.number == 5 && copy.added == 0);

    struct {
        size_t size;
        int number, added, unknown[4];
    } newer = {sizeof newer, 5, 6, {0}};
    CHECK(apnsd_copy_sized(&copy, sizeof copy, &newer));
    CHECK(copy.number == 5 && copy.added == 6);
    newer.unknown[3] = 1;
    CHECK(!apnsd_copy_sized(&copy, sizeof copy, &newer));
    newer.size = 0;
    CHECK(!apnsd_copy_sized(&copy, sizeof copy, &newer));
}

static void long_texts_are_cut(void)
{
    struct apnsd_failure failure;
    char text[2000];
    for (size_t i = 0; i < sizeof text - 2; i += 2) {
        memcpy(text + i, "\xC3\xA9", 2);
    }
    text[sizeof text - 2] = '\0';
    apnsd_fail(&failure, APNSD_ERROR, 1, "%s", text);
    CHECK(strlen(failure.text) == 1022);
    CHECK(memcmp(failure.text, text, 1022) == 0);
    apnsd_fail_more(&failure, "%s", text);
    CHECK(strlen(failure.text) == 1022);
    apnsd_fail(&failure, APNSD_ERROR, 1, "%s", "one");
    apnsd_fail_more(&failure, " %s", text);
    CHECK(strlen(failure.text) == 1022 && strncmp(failure.text, "one \xC3\xA9", 6) == 0);
}

static void null_is_refused(void)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = APNSD_SETTINGS_INIT;
    struct apnsd_result *results;
    struct apnsd_dead_token *tokens;
    struct apnsd_rejection *rejections;
    size_t count;
    char cursor[APNSD_CURSOR_SIZE] = "";
    const char *const texts[] = {NULL};
    apnsd_client *client = apnsd_open("http://127.0.0.1:1/", 0, &failure);
    CHECK(client != NULL);
    apnsd_close(NULL);
    apnsd_free(NULL);
    CHECK_ERROR(apnsd_provision(NULL, "a", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_provision(client, NULL, &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_deprovision(client, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_notify(NULL, "a", "b", HELLO, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_notify(client, NULL, "b", HELLO, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_notify(client, "a", NULL, HELLO, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_notify(client, "a", "b", NULL, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "payload: a text is needed, not NULL");
    CHECK_ERROR(apnsd_notify_many(client, "a", NULL, 1, texts, 1, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_notify_many(client, "a", texts, 1, NULL, 1, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_notify_many(client, "a", texts, 1, texts, 1, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "token 0: a text is needed, not NULL");
    CHECK_ERROR(apnsd_send(client, "a", texts, 1, texts, 1, NULL, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_send(NULL, "a", texts, 1, texts, 1, NULL, &results, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK(results == NULL);
    CHECK_ERROR(apnsd_feedback(client, NULL, NULL, &tokens, &count, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_feedback(client, "a", NULL, NULL, &count, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_rejections(client, "a", NULL, &rejections, &count, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_ERROR(apnsd_rejections(client, NULL, cursor, &rejections, &count, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK(apnsd_notify(client, "a", "b", NULL, NULL, NULL) == APNSD_INVALID_ARGUMENTS);
    apnsd_close(client);
}

static void bad_arguments_are_named(void)
{
    struct apnsd_failure failure;
    struct apnsd_settings settings = APNSD_SETTINGS_INIT;
    struct apnsd_options options = APNSD_OPTIONS_INIT;
    const char *const tokens[] = {"a", "b", "c"};
    const char *const payloads[] = {HELLO, HELLO};
    apnsd_client *client = apnsd_open("http://127.0.0.1:1/", 0, &failure);
    CHECK(client != NULL);
    CHECK_ERROR(apnsd_provision(client, "a", NULL, &failure), APNSD_NOT_CONFIGURED);
    CHECK_HAS(failure.text, "no settings for this app");
    CHECK_ERROR(apnsd_provision(client, "a", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "settings: one of certificate and certificate_file is needed");
    settings.certificate = settings.certificate_file = "x";
    CHECK_ERROR(apnsd_provision(client, "a", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "settings: either certificate or certificate_file, not both");
    settings.certificate_file = NULL;
    CHECK_ERROR(apnsd_provision(client, "a", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "settings: environment is needed");
    settings.environment = "sandbox";
    settings.timeout = -1;
    CHECK_ERROR(apnsd_provision(client, "a", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "timeout: a number of seconds is needed, at most 86400");
    settings.certificate = NULL;
    settings.certificate_file = "/";
    CHECK_ERROR(apnsd_provision(client, "a", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "certificate_file / cannot be read: Is a directory");
    settings.size = 0;
    CHECK_ERROR(apnsd_provision(client, "a", &settings, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_HAS(failure.text, "APNSD_SETTINGS_INIT");
    options.size = 0;
    CHECK_ERROR(apnsd_notify(client, "a", "b", HELLO, &options, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_HAS(failure.text, "APNSD_OPTIONS_INIT");
    options.size = sizeof options;
    options.request_id = "";
    CHECK_ERROR(apnsd_notify(client, "a", "b", HELLO, &options, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_HAS(failure.text, "request_id: 1 to 255 bytes");
    CHECK_ERROR(apnsd_notify_many(client, "a", tokens, 3, payloads, 2, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_TEXT(failure.text, "one payload or as many as tokens are needed: there are 2 for 3 tokens");
    CHECK_OK(apnsd_notify_many(client, "a", NULL, 0, NULL, 0, NULL, &failure));
    apnsd_close(client);
}

static void urls_are_judged(void)
{
    struct apnsd_failure failure;
    const char *const bad[] = {"", "localhost:7077", "ftp://localhost/", "unix:apnsd.sock", "http://"};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        CHECK(apnsd_open(bad[i], 0, &failure) == NULL);
        CHECK_TEXT(apnsd_error_name(failure.error), "InvalidArguments");
        CHECK_TEXT(failure.text, "url: http://host:port/, https://host:port/ or unix:/path is needed");
    }
    CHECK(apnsd_open("http://localhost/", -1, &failure) == NULL);
    CHECK_HAS(failure.text, "timeout");
    CHECK(apnsd_open("", 0, NULL) == NULL);
    setenv("APNSD_URL", "", 1);
    apnsd_client *client = apnsd_open(NULL, 0, &failure);
    CHECK(client != NULL);
    apnsd_close(client);
    setenv("APNSD_URL", "localhost", 1);
    CHECK(apnsd_open(NULL, 0, &failure) == NULL);
    unsetenv("APNSD_URL");
}

const struct test unit_tests[] = {
    {"JSON is sent as it is, but for characters that xmlrpc-c does not carry", json_is_escaped},
    {"what XML cannot carry is refused", what_xml_cannot_carry_is_refused},
    {"structs of older and newer headers are understood", structs_grow},
    {"a text that is too long ends with a whole character", long_texts_are_cut},
    {"NULL is refused", null_is_refused},
    {"bad arguments are named", bad_arguments_are_named},
    {"URLs are judged when a client is opened", urls_are_judged},
};
const size_t unit_test_count = TEST_COUNT(unit_tests);
