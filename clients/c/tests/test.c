/* The tests, in a row; words on the command line choose those that have them in their name. */
#include "test.h"

static int run(const char *words, const struct test *tests, size_t count)
{
    int chosen = 0;
    for (size_t i = 0; i < count; i++) {
        if (words == NULL || strstr(tests[i].name, words) != NULL) {
            fprintf(stderr, "%s\n", tests[i].name);
            tests[i].run();
            chosen++;
        }
    }
    return chosen;
}

int main(int argc, char **argv)
{
    const char *words = argc > 1 ? argv[1] : NULL;
    world_begin();
    int chosen = run(words, unit_tests, unit_test_count);
    chosen += run(words, http_tests, http_test_count);
    chosen += run(words, world_tests, world_test_count);
    chosen += run(words, memory_tests, memory_test_count);
    chosen += run(words, load_tests, load_test_count);
    fprintf(stderr, "%d tests passed\n", chosen);
    return chosen > 0 ? 0 : 1;
}
