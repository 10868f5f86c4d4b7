/* Sends one notification: push CERTIFICATE.pem TOKEN. The daemon is the one of APNSD_URL, or http://127.0.0.1:7077/. */
#include <apnsd.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s CERTIFICATE.pem TOKEN\n", argv[0]);
        return 2;
    }
    const char *certificate_file = argv[1], *token = argv[2];

    struct apnsd_failure failure;
    apnsd_client *client = apnsd_open(NULL, 0, &failure);
    if (client == NULL) {
        fprintf(stderr, "%s: %s\n", apnsd_error_name(failure.error), failure.text);
        return 1;
    }
    struct apnsd_settings settings = APNSD_SETTINGS_INIT;
    settings.certificate_file = certificate_file;
    settings.environment = "sandbox";
    if (apnsd_provision(client, "myapp", &settings, &failure) != APNSD_OK) {
        fprintf(stderr, "not provisioned: %s\n", failure.text); /* the daemon may have the app from before: go on */
    }
    if (apnsd_notify(client, "myapp", token, "{\"aps\":{\"alert\":\"Hello\"}}", NULL, &failure) != APNSD_OK) {
        fprintf(stderr, "not sent: %s\n", failure.text);
    }
    apnsd_close(client);

    return failure.error == APNSD_OK ? 0 : 1;
}
