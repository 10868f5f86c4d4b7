/*
 * libapnsd: the client of apnsd, a push-notification daemon.
 *
 * Every function that calls the daemon returns APNSD_OK or an error, and says more in the struct apnsd_failure that its
 * last argument points to (which may be NULL). Texts are UTF-8, times are Unix time, durations are in seconds. Structs
 * of which the library returns arrays stay as they are until the soname changes.
 *
 * A client may be used by several threads at once; their calls go out one after another, over one connection. Threads
 * that should not wait for each other take a client each. After a fork, the child opens one of its own.
 */
#ifndef APNSD_H
#define APNSD_H

#include <stddef.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* What became of a call. */
enum apnsd_error {
    APNSD_OK = 0,
    APNSD_UNKNOWN_APP,         /* 404: no such app, and the client has no settings for it */
    APNSD_INVALID_ENVIRONMENT, /* 401: no such environment */
    APNSD_SERVER_TIMEOUT,      /* 500, or no code for HTTP 429 and 503: not accepted, try later: the app is paused, the
                                  disk is full, ... */
    APNSD_INVALID_ARGUMENTS,   /* 8002, or no code where the library refuses and for HTTP 413 and its like: the call
                                  cannot work as it is */
    APNSD_NOT_CONFIGURED,      /* apnsd_provision without settings, for an app that never had any; or the daemon does
                                  not serve the user of the URL */
    APNSD_CONNECTION_FAILED,   /* no answer: nobody listens, the connection broke twice, the time was up, or what
                                  answers is no XML-RPC server, or hostile */
    APNSD_OUT_OF_MEMORY,
    APNSD_ERROR                /* any other fault */
};

/* The name of an error, as the clients in other languages call it: "UnknownAppID". Never NULL. */
const char *apnsd_error_name(enum apnsd_error error);

/* What a call says beside its error. Each call writes it anew. */
struct apnsd_failure {
    enum apnsd_error error;
    int code;             /* of the daemon's fault; 0 if it did not answer with one */
    size_t accepted;      /* of apnsd_notify_many and apnsd_send: how many tokens, from the first on, were accepted
                             nevertheless. Indexes in the text count from the first one that was not. */
    char request_id[256]; /* of a notify, send or feedback: with it the same call can be made again; what was accepted
                             is not sent twice, and feedback gives the same tokens. Empty otherwise. */
    char text[1024];      /* what is wrong and what to do; empty after success */
    size_t reserved[16];  /* 0: room for what later versions say */
};

/* A connection to a daemon, and the settings of the apps that were provisioned through it. */
typedef struct apnsd_client apnsd_client;

/*
 * Makes a client. It connects when it is first called upon.
 *
 * url: http://host:port/ or https://..., with user:password@ where the daemon wants it, or unix:/path of its socket.
 * NULL: the environment variable APNSD_URL, or http://127.0.0.1:7077/ where that is not set, or empty. The certificate
 * of https is verified by the system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR in the environment.
 * timeout: how long a call may take, at most 86400; 0 for 20 seconds. The timeouts of send and provision come on top,
 * and so does the wait for other threads' calls of this client. Lists that go out in several calls have it for each.
 *
 * Returns NULL on failure: APNSD_INVALID_ARGUMENTS, APNSD_OUT_OF_MEMORY, APNSD_ERROR.
 */
apnsd_client *apnsd_open(const char *url, double timeout, struct apnsd_failure *failure);

/* Closes the connection and frees the client. No call may be under way. NULL is allowed. */
void apnsd_close(apnsd_client *client);

/* What an app is provisioned with. NULL, 0 or (expiration) -1 is: not given. Begin with APNSD_SETTINGS_INIT. */
struct apnsd_settings {
    size_t size;                  /* set by APNSD_SETTINGS_INIT: programs built with older versions go on working */
    const char *certificate;      /* passed on as it is: PEM or .p8 text, base64, or a path on the daemon's machine */
    const char *certificate_file; /* instead: a file on this machine, read each time the app is provisioned */
    const char *environment;      /* production, sandbox, or another that the daemon's configuration names */
    double timeout;               /* for connection attempts of the daemon; 15 seconds if not given */
    const char *topic;            /* the app's bundle id; needed with a .p8 key */
    const char *key_id;           /* of a .p8 key */
    const char *team_id;          /* of a .p8 key */
    const char *passphrase;       /* of the private key */
    int connections;              /* how many connections the daemon holds for the app (HTTP/2) */
    int force;                    /* not 0: also where the certificate ends earlier than the present one */
    time_t expiration;            /* the rest are defaults for the app's notifications: see struct apnsd_options */
    int priority;
    const char *collapse_id;
    const char *push_type;
};

#define APNSD_SETTINGS_INIT \
    { sizeof(struct apnsd_settings), NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 0, 0, -1, 0, NULL, NULL }

/*
 * Provisions an app, and remembers its settings (copied): when the daemon does not know the app in a later notify, send
 * or feedback, the app is provisioned again and that call repeated, once. The daemon ignores what it has already.
 * Settings that are refused (APNSD_INVALID_ARGUMENTS, APNSD_INVALID_ENVIRONMENT) do not replace those that the client
 * has for the app; all else is remembered whatever the outcome. settings NULL: those that the client has.
 */
enum apnsd_error apnsd_provision(apnsd_client *client, const char *app, const struct apnsd_settings *settings,
                                 struct apnsd_failure *failure);

/* Removes an app from the daemon, and its settings from the client. What waits for it is not sent any more. */
enum apnsd_error apnsd_deprovision(apnsd_client *client, const char *app, struct apnsd_failure *failure);

/* How notifications are to be delivered. NULL, 0 or (expiration) -1 is: not given. Begin with APNSD_OPTIONS_INIT. */
struct apnsd_options {
    size_t size;             /* set by APNSD_OPTIONS_INIT */
    time_t expiration;       /* until when delivery is tried; 0: once */
    int priority;            /* 10, 5 or 1 */
    const char *collapse_id; /* a later notification with the same one replaces this one on the device */
    const char *push_type;   /* alert, background, voip, ... */
    const char *topic;       /* instead of the app's */
    const char *request_id;  /* names the call: made again with the same id within 15 minutes, it has no second effect.
                                If not given, one is made up. */
    double timeout;          /* apnsd_send: how long the daemon waits for outcomes, at most 60; 10 if not given */
};

#define APNSD_OPTIONS_INIT { sizeof(struct apnsd_options), -1, 0, NULL, NULL, NULL, NULL, 0 }

/*
 * Hands over a notification for one token (hex or base64). The payload is JSON text: {"aps":{"alert":"Hello"}}. Once
 * this succeeded the notification is on the daemon's disk, and is delivered or listed by apnsd_rejections.
 * options may be NULL.
 */
enum apnsd_error apnsd_notify(apnsd_client *client, const char *app, const char *token, const char *payload,
                              const struct apnsd_options *options, struct apnsd_failure *failure);

/*
 * Hands over notifications for any number of tokens. payload_count is 1, for the same payload to all, or count.
 * Tokens go out in calls of at most 10,000 and about 16 MiB, each of which is accepted as a whole or not at all.
 */
enum apnsd_error apnsd_notify_many(apnsd_client *client, const char *app, const char *const *tokens, size_t count,
                                   const char *const *payloads, size_t payload_count,
                                   const struct apnsd_options *options, struct apnsd_failure *failure);

/* What became of the notification for one token. What there is not is NULL or 0. */
struct apnsd_result {
    const char *token;   /* in lowercase hex */
    const char *id;      /* apns-id, where it was accepted by this very call */
    const char *outcome; /* accepted (the provider accepted it), presumed (it was sent to the binary gateway, which is
                            silent about what it accepts), rejected, expired, queued (no outcome yet) or repeated (a
                            call with this request id was accepted before, nothing was sent for this one) */
    int status;          /* the provider's number for the reason */
    const char *reason;  /* why it was rejected, or has to be tried again */
    time_t timestamp;    /* since when the token is dead */
    int retry;           /* 1: queued, and was tried in vain */
    const char *cause;   /* queued: what stands in the way */
};

/*
 * apnsd_notify_many that waits for the outcomes: *results is an array of count entries in the order of the tokens, to
 * be freed with apnsd_free; NULL on failure. Tokens go out in calls of at most 1,000, one after another.
 */
enum apnsd_error apnsd_send(apnsd_client *client, const char *app, const char *const *tokens, size_t count,
                            const char *const *payloads, size_t payload_count, const struct apnsd_options *options,
                            struct apnsd_result **results, struct apnsd_failure *failure);

/* A device that does not have the app any more. */
struct apnsd_dead_token {
    time_t timestamp;  /* since when, UTC */
    const char *token; /* in lowercase hex */
};

/*
 * The tokens that the provider reported dead and that were not handed out before: an array of *count entries, to be
 * freed with apnsd_free. Each is handed out once as long as the daemon lives; what was handed out within a second or
 * two before a crash may come again. Forget those that did not register again after their timestamp.
 *
 * request_id: names the call: made again with the same id, because its answer was lost, it is given the same tokens and
 * those that are new. NULL: one is made up, which failure has.
 */
enum apnsd_error apnsd_feedback(apnsd_client *client, const char *app, const char *request_id,
                                struct apnsd_dead_token **tokens, size_t *count, struct apnsd_failure *failure);

/* A notification that will not be delivered. */
struct apnsd_rejection {
    time_t timestamp;   /* when, UTC */
    const char *token;  /* in lowercase hex */
    const char *reason; /* BadDeviceToken, Expired, ... */
    int status;         /* the provider's number for the reason, or 0 */
    const char *text;   /* the reason in words */
};

/* Size of a cursor with its final zero. */
#define APNSD_CURSOR_SIZE 32

/*
 * Notifications that will not be delivered, oldest first: an array of *count entries, to be freed with apnsd_free.
 * cursor says where to begin and is set to where to go on: begin with an empty string, call until *count is 0, and keep
 * the cursor for the next time.
 */
enum apnsd_error apnsd_rejections(apnsd_client *client, const char *app, char cursor[APNSD_CURSOR_SIZE],
                                  struct apnsd_rejection **rejections, size_t *count, struct apnsd_failure *failure);

/* Frees an array that one of the functions above returned, with all its texts. NULL is allowed. */
void apnsd_free(void *list);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
