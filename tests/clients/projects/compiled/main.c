#include <stdio.h>
#include "version.h"
int main(void) { return printf("hello %s on %s\n", VERSION, ARCH) < 0; }
