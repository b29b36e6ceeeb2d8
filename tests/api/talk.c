/* talk PATH TEXT: send the text to a unix socket, print what comes back. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char buffer[4096];
    ssize_t count;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) return perror(argv[1]), 1;
    write(fd, argv[2], strlen(argv[2]));
    while ((count = read(fd, buffer, sizeof buffer)) > 0) write(1, buffer, count);
    return 0;
}
