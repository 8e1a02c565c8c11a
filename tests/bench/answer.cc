// SPDX-License-Identifier: MIT
// The smallest handler: answers one line and exits. Static, so that its own start costs as little as possible.

#include <unistd.h>

int main() {
    static const char line[] = "answer\n";
    return write(1, line, sizeof line - 1) == static_cast<ssize_t>(sizeof line - 1) ? 0 : 1;
}
