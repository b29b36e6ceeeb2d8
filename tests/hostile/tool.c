/* What a shell is too slow or too limited for. Built static by the tests and put into their images.
 *   tool swap A B    exchange two names for ever (renameat2)
 *   tool deep N      make N directories, each in the one before
 *   tool grow        allocate and touch memory until killed
 *   tool wait        do nothing until killed */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc > 3 && !strcmp(argv[1], "swap"))
        for (;;) renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE);
    if (argc > 2 && !strcmp(argv[1], "deep")) {
        for (int i = atoi(argv[2]); i > 0; i--)
            if (mkdir("d", 0700) || chdir("d")) return 1;
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "grow"))
        for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    if (argc > 1 && !strcmp(argv[1], "wait"))
        for (;;) pause();
    return 2;
}
