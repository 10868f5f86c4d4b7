/* What goes over the wire, and what becomes of strange answers: against a server that answers by heart. */
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

/* The last two calls of a server. */
static char requests[2][16 * 1024 * 1024];

/* Answers calls, each on a connection of its own. */
struct server {
    pthread_t thread;
    int listener;
    int calls; /* how many to answer */
    const char *answer;
    char *request; /* the last one */
    int connections[2];
    char url[64];
};

static size_t body_begin(const char *request)
{
    const char *end = strstr(request, "\r\n\r\n");
    return end == NULL ? 0 : (size_t)(end - request) + 4;
}

static void read_request(struct server *server, int connection)
{
    size_t size = 0, wanted = 0;
    while (wanted == 0 || size < wanted) {
        ssize_t count = read(connection, server->request + size, sizeof requests[0] - 1 - size);
        CHECK(count > 0);
        size += (size_t)count;
        server->request[size] = '\0';
        size_t begin = body_begin(server->request);
        const char *length = strstr(server->request, "Content-Length: ");
        if (begin != 0 && length != NULL) {
            wanted = begin + strtoul(length + strlen("Content-Length: "), NULL, 10);
        }
    }
}

static void *serve(void *context)
{
    struct server *server = context;
    for (int i = 0; i < server->calls; i++) {
        int connection = accept(server->listener, NULL, NULL);
        CHECK(connection >= 0);
        server->request = requests[i % 2];
        read_request(server, connection);
        size_t size = strlen(server->answer);
        ssize_t sent = send(connection, server->answer, size, MSG_NOSIGNAL);
        CHECK(sent == (ssize_t)size || size > 65536); /* the client need not read a very long one */
        close(connection);
    }
    return NULL;
}

static void start_with(struct server *server, void *serve_it(void *), const char *answer, int calls)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    server->calls = calls;
    server->answer = answer;
    CHECK(bind(server->listener, (struct sockaddr *)&address, size) == 0);
    CHECK(listen(server->listener, 8) == 0);
    CHECK(getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(server->url, sizeof server->url, "http://me:se%%20cret@127.0.0.1:%d/", ntohs(address.sin_port));
    CHECK(pthread_create(&server->thread, NULL, serve_it, server) == 0);
}

static void start(struct server *server, const char *answer, int calls)
{
    start_with(server, serve, answer, calls);
}

/* A server that still waits for a call fails. */
static void stop(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
}

#define XML(content) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<?xml version=\"1.0\"?>" content
#define ANSWER(value) XML("<methodResponse><params><param><value>" value "</value></param></params></methodResponse>")
#define FAULT(code, text) \
    XML("<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>" code \
        "</int></value></member><member><name>faultString</name><value><string>" text \
        "</string></value></member></struct></value></fault></methodResponse>")

/* What one notify comes to that is answered so, so often. */
static struct apnsd_failure notify_answered(const char *answer, int calls)
{
    struct server server;
    struct apnsd_failure failure;
    start(&server, answer, calls);
    apnsd_client *client = apnsd_open(server.url, 0, &failure);
    CHECK(client != NULL);
    apnsd_notify(client, "myapp", "aa", HELLO, NULL, &failure);
    apnsd_close(client);
    stop(&server);
    return failure;
}

static void check_answered(const char *answer, int calls, const char *error, const char *words)
{
    struct apnsd_failure failure = notify_answered(answer, calls);
    CHECK_TEXT(apnsd_error_name(failure.error), error);
    CHECK_HAS(failure.text, words);
    CHECK(strstr(failure.text, "cret") == NULL);
}

static void a_call_is_xml_rpc(void)
{
    static const char EXPECTED[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n"
        "<methodCall>\r\n<methodName>notify</methodName>\r\n<params>\r\n"
        "<param><value><string>a&lt;b</string></value></param>\r\n"
        "<param><value><array><data>\r\n<value><string>01</string></value>\r\n<value><string>02</string></value>\r\n"
        "</data></array></value></param>\r\n"
        "<param><value><string>{\"aps\":{\"alert\":\"Hello\"}}</string></value></param>\r\n"
        "<param><value><struct>\r\n"
        "<member><name>request_id</name>\r\n<value><string>r</string></value></member>\r\n"
        "<member><name>expiration</name>\r\n<value><i8>4294967295</i8></value></member>\r\n"
        "<member><name>priority</name>\r\n<value><i4>5</i4></value></member>\r\n"
        "<member><name>collapse_id</name>\r\n<value><string>c</string></value></member>\r\n"
        "<member><name>push_type</name>\r\n<value><string>alert</string></value></member>\r\n"
        "<member><name>topic</name>\r\n<value><string>t</string></value></member>\r\n"
        "</struct></value></param>\r\n</params>\r\n</methodCall>\r\n";
    struct server server;
    struct apnsd_failure failure;
    struct apnsd_options options = {sizeof options, (time_t)4294967295, 5, "c", "alert", "t", "r", 0};
    const char *const tokens[] = {"01", "02"};
    const char *const payload = HELLO;
    start(&server, ANSWER("<nil/>"), 1);
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    apnsd_client *client = apnsd_open(server.url, 0, &failure);
    CHECK_OK(apnsd_notify_many(client, "a<b", tokens, 2, &payload, 1, &options, &failure));
    unsetenv("http_proxy");
    apnsd_close(client);
    stop(&server);
    CHECK_TEXT(failure.request_id, "r");
    CHECK(failure.accepted == 2);
    CHECK_TEXT(server.request + body_begin(server.request), EXPECTED);
    CHECK(strncmp(server.request, "POST / HTTP/1.1\r\n", 17) == 0);
    CHECK_HAS(server.request, "\r\nAuthorization: Basic bWU6c2UgY3JldA==\r\n");
    CHECK_HAS(server.request, "\r\nContent-Type: text/xml\r\n");
    CHECK(strstr(server.request, "Expect:") == NULL);
}

static void faults_become_errors(void)
{
    struct apnsd_failure failure = notify_answered(FAULT("404", "no such app"), 1);
    CHECK(failure.error == APNSD_UNKNOWN_APP && failure.code == 404);
    CHECK_TEXT(failure.text, "no such app This client has no settings for `myapp`: register it with apnsd_provision.");
    CHECK(strlen(failure.request_id) == 32);
    failure = notify_answered(FAULT("401", "e"), 1);
    CHECK(failure.error == APNSD_INVALID_ENVIRONMENT && failure.code == 401);
    failure = notify_answered(FAULT("500", "e"), 1);
    CHECK(failure.error == APNSD_SERVER_TIMEOUT && failure.code == 500);
    failure = notify_answered(FAULT("8002", "e"), 1);
    CHECK(failure.error == APNSD_INVALID_ARGUMENTS && failure.code == 8002);
    failure = notify_answered(FAULT("8001", "e"), 1);
    CHECK(failure.error == APNSD_ERROR && failure.code == 8001);
}

static void other_statuses_are_told(void)
{
    check_answered("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 19\r\n\r\nat most\n64 MiB fit\n", 1,
                   "InvalidArguments", "answered HTTP 413: at most 64 MiB fit");
    check_answered("HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nWrong token.", 1, "NotConfigured",
                   "answered HTTP 401: Wrong token.");
    check_answered("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 1,
                   "ConnectionFailed", "answered HTTP 302; is this the URL of apnsd?");
    static const struct {
        const char *status, *error;
        int has_question;
    } STATUSES[] = {
        {"400", "InvalidArguments", 0}, {"403", "NotConfigured", 0},    {"404", "ConnectionFailed", 1},
        {"405", "ConnectionFailed", 1}, {"408", "ConnectionFailed", 0}, {"429", "ServerTimeout", 0},
        {"500", "ConnectionFailed", 0}, {"503", "ServerTimeout", 0},    {"204", "ConnectionFailed", 1},
    };
    for (size_t i = 0; i < TEST_COUNT(STATUSES); i++) {
        char answer[64];
        snprintf(answer, sizeof answer, "HTTP/1.1 %s Why\r\nContent-Length: 0\r\n\r\n", STATUSES[i].status);
        struct apnsd_failure failure = notify_answered(answer, 1);
        CHECK_TEXT(apnsd_error_name(failure.error), STATUSES[i].error);
        CHECK((strchr(failure.text, '?') != NULL) == STATUSES[i].has_question && failure.code == 0);
    }
}

static void other_servers_are_told(void)
{
    check_answered(XML("<html/>"), 1, "ConnectionFailed", "the answer is not one of apnsd");
    check_answered(XML("<methodResponse>"), 1, "ConnectionFailed", "the answer is not one of apnsd");
    check_answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1, "ConnectionFailed", APNSD_URL_QUESTION);
    check_answered("SSH-2.0-OpenSSH\r\n", 1, "ConnectionFailed", "is this the URL of apnsd?");
}

/* Begins a delivery of two tokens in two calls, as the payloads are large; what cannot be sent is the last one. */
static void a_call_has_16_mib(void)
{
    enum { SIZE = 9 * 1024 * 1024 / 6 };
    struct server server;
    struct apnsd_failure failure;
    struct apnsd_options options = APNSD_OPTIONS_INIT;
    char *payload = malloc(SIZE + 1);
    const char *const tokens[] = {"01", "02"}, *const bad_tokens[] = {"01", "\x01"};
    const char *const payloads[] = {payload, payload}, *const bad_payloads[] = {payload, "\xFF"};
    memset(payload, '&', SIZE);
    payload[SIZE] = '\0';
    options.request_id = "r";
    start(&server, ANSWER("<nil/>"), 2);
    apnsd_client *client = apnsd_open(server.url, 0, &failure);
    CHECK_ERROR(apnsd_notify_many(client, "a", bad_tokens, 2, payloads, 2, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK_HAS(failure.text, "token 1: ");
    CHECK_ERROR(apnsd_notify_many(client, "a", tokens, 2, bad_payloads, 2, NULL, &failure), APNSD_INVALID_ARGUMENTS);
    CHECK(failure.accepted == 0);
    CHECK_HAS(failure.text, "payload 1: ");
    CHECK_OK(apnsd_notify_many(client, "a", tokens, 2, payloads, 2, &options, &failure));
    CHECK(failure.accepted == 2);
    CHECK_TEXT(failure.request_id, "r");
    apnsd_close(client);
    stop(&server);
    CHECK_HAS(requests[1], "<name>request_id</name>\r\n<value><string>r-1</string>");
    CHECK_HAS(requests[0], "<name>request_id</name>\r\n<value><string>r</string>");
    free(payload);
}

/* xmlrpc-c would crash, or be busy for very long. */
static void hostile_answers_are_not_parsed(void)
{
    static const char *const NUMBERS[] = {"12q", "", "-", "0x10", "9223372036854775808", "1<!---->2", " 1", "&#49;q"};
    static const char *const NAMES[] = {"i8", "ex:i8", "ex.i8", "int"};
    char answer[512];
    for (size_t i = 0; i < TEST_COUNT(NUMBERS) * TEST_COUNT(NAMES); i++) {
        const char *number = NUMBERS[i / TEST_COUNT(NAMES)], *name = NAMES[i % TEST_COUNT(NAMES)];
        snprintf(answer, sizeof answer, ANSWER("<%s>%s</%s>"), name, number, name);
        check_answered(answer, 1, "ConnectionFailed", "the answer is not one of apnsd: a number is none");
    }
    check_answered(ANSWER("<i8/>"), 1, "ConnectionFailed", "a number is none");
    check_answered(ANSWER("<i8 a=\"b\">1</i8>"), 1, "ConnectionFailed", "an element has attributes");
    check_answered(XML("<!DOCTYPE a [<!ENTITY a \"a\">]><methodResponse>&a;</methodResponse>"), 1, "ConnectionFailed",
                   "the answer is not one of apnsd: it has a DOCTYPE");
    check_answered(XML("<methodResponse"), 1, "ConnectionFailed", "it breaks off");
    check_answered(ANSWER("<!-- > --><string><![CDATA[<i8>]]></string>"), 1, "OK", "");
}

/* The words of the judgement on `count` times a text, with others around them. */
static void check_repeated(const char *begin, const char *text, size_t count, const char *end, const char *problem)
{
    size_t step = strlen(text), size = strlen(begin);
    char *xml = malloc(size + step * count + strlen(end) + 1);
    memcpy(xml, begin, size);
    for (size_t i = 0; i < count; i++) {
        memcpy(xml + size, text, step);
        size += step;
    }
    strcpy(xml + size, end);
    const char *found = apnsd_answer_problem(xml, size + strlen(end));
    CHECK((found == NULL) == (problem == NULL));
    if (problem != NULL) {
        CHECK_TEXT(found, problem);
    }
    free(xml);
}

static void answers_have_bounds(void)
{
    const char *const too_deep = "elements are too deep inside each other";
    check_repeated("", "<a>", 64, "", NULL);
    check_repeated("", "<a>", 65, "", too_deep);
    check_repeated("", "<a>", 60000, "", too_deep);
    check_repeated("", "<a></a >", 1000, "", NULL);
    check_repeated("<struct>", "<member></member>", 64, "</struct>", NULL);
    check_repeated("<struct>", "<member></member>", 65, "</struct>", "a struct has too many members");
    check_repeated("", "<struct><member/><member/></struct>", 1000, "", NULL);
    CHECK_TEXT(apnsd_answer_problem("\0<", 2), "it has a zero byte");
}

static void answers_end(void)
{
    enum { SIZE = 1024 * 1024 };
    const char *const begins[] = {"HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\n"};
    const char *const fills[] = {"y", "y", "X: yyyy\r\n"};
    const char *const words[] = {"too long a line", "too long a line", "is too large"};
    char *answer = malloc(SIZE);
    for (size_t i = 0; i < TEST_COUNT(begins); i++) {
        size_t size = strlen(begins[i]);
        strcpy(answer, begins[i]);
        while (size + strlen(fills[i]) < SIZE) {
            strcpy(answer + size, fills[i]);
            size += strlen(fills[i]);
        }
        check_answered(answer, 1, "ConnectionFailed", words[i]);
    }
    free(answer);
}

/* Where the test and its server wait for each other. */
static pthread_barrier_t meeting;

/* Answers a call, and once more when that has been read; then another call on another connection. */
static void *serve_once_too_often(void *context)
{
    static const char FIRST[] = "HTTP/1.1 200 OK\r\nContent-Length: 86\r\n\r\n<methodResponse><params><param><value>"
                                "<nil/></value></param></params></methodResponse>";
    struct server *server = context;
    server->request = requests[0];
    for (int i = 0; i < 2; i++) {
        int connection = accept(server->listener, NULL, NULL);
        CHECK(connection >= 0);
        read_request(server, connection);
        CHECK(send(connection, FIRST, sizeof FIRST - 1, MSG_NOSIGNAL) == sizeof FIRST - 1);
        if (i == 0) {
            static const char MORE[] = "HTTP/1.1 503 Why\r\nContent-Length: 0\r\n\r\n";
            pthread_barrier_wait(&meeting);
            CHECK(send(connection, MORE, sizeof MORE - 1, MSG_NOSIGNAL) == sizeof MORE - 1);
            pthread_barrier_wait(&meeting);
        }
        server->connections[i] = connection;
    }
    return NULL;
}

static void an_answer_belongs_to_its_call(void)
{
    struct server server;
    struct apnsd_failure failure;
    pthread_barrier_init(&meeting, NULL, 2);
    start_with(&server, serve_once_too_often, NULL, 2);
    apnsd_client *client = apnsd_open(server.url, 0, &failure);
    CHECK_OK(apnsd_notify(client, "myapp", "aa", HELLO, NULL, &failure));
    pthread_barrier_wait(&meeting);
    pthread_barrier_wait(&meeting);
    CHECK_OK(apnsd_notify(client, "myapp", "aa", HELLO, NULL, &failure));
    apnsd_close(client);
    stop(&server);
    close(server.connections[0]);
    close(server.connections[1]);
    pthread_barrier_destroy(&meeting);
}

static void broken_answers_are_asked_for_twice(void)
{
    check_answered("", 2, "ConnectionFailed", "broke twice");
    check_answered("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<", 2, "ConnectionFailed", "broke twice");
}

/* Lists that are not what they should be, each in the place of an answer. */
static void strange_lists_are_told(void)
{
    static const char *const LISTS[] = {
        ANSWER("<nil/>"),
        ANSWER("<array><data><value><int>1</int></value></data></array>"),
        ANSWER("<array><data><value><array><data></data></array></value></data></array>"),
        ANSWER("<array><data><value><array><data><value><int>1</int></value></data></array></value></data></array>"),
        ANSWER("<struct></struct>"),
        ANSWER("<array><data><value><struct></struct></value></data></array>"),
        ANSWER("<struct><member><name>cursor</name><value><string>1</string></value></member><member><name>rejections"
               "</name><value><array><data><value><struct></struct></value></data></array></value></member></struct>"),
    };
    const char *const token = "aa", *const payload = HELLO;
    for (size_t i = 0; i < TEST_COUNT(LISTS); i++) {
        struct server server;
        struct apnsd_failure failure;
        struct apnsd_dead_token *dead;
        struct apnsd_rejection *rejections;
        struct apnsd_result *results;
        char cursor[APNSD_CURSOR_SIZE] = "";
        size_t count;
        start(&server, LISTS[i], 3);
        apnsd_client *client = apnsd_open(server.url, 0, &failure);
        CHECK_ERROR(apnsd_feedback(client, "a", NULL, &dead, &count, &failure), APNSD_CONNECTION_FAILED);
        CHECK_ERROR(apnsd_rejections(client, "a", cursor, &rejections, &count, &failure), APNSD_CONNECTION_FAILED);
        CHECK_ERROR(apnsd_send(client, "a", &token, 1, &payload, 1, NULL, &results, &failure), APNSD_CONNECTION_FAILED);
        CHECK(dead == NULL && rejections == NULL && results == NULL && count == 0);
        apnsd_close(client);
        stop(&server);
    }
}

const struct test http_tests[] = {
    {"a call is XML-RPC, with the user of the URL and without a proxy", a_call_is_xml_rpc},
    {"faults become errors by their code", faults_become_errors},
    {"another HTTP status is told with its text", other_statuses_are_told},
    {"what is no XML-RPC server is told", other_servers_are_told},
    {"a call has 16 MiB at most, and all of them are judged before the first", a_call_has_16_mib},
    {"a hostile answer is not parsed", hostile_answers_are_not_parsed},
    {"an answer is judged by its depth and its members", answers_have_bounds},
    {"headers without an end are told, and not asked for twice", answers_end},
    {"an answer too many is not that of the next call", an_answer_belongs_to_its_call},
    {"an answer that breaks off is asked for twice", broken_answers_are_asked_for_twice},
    {"lists that are not what they should be are told", strange_lists_are_told},
};
const size_t http_test_count = TEST_COUNT(http_tests);
