// SPDX-License-Identifier: MIT
// Linked into handlers that are built with AddressSanitizer. At their end it looks for leaks, for which it stops the
// process with a SIGSTOP of its own; the SIGCONT that follows superd's SIGTERM takes that one away, and it then waits for
// ever. Tests that start a handler themselves ask for leaks by ASAN_OPTIONS.
extern "C" const char* __asan_default_options();

extern "C" const char* __asan_default_options() {
    return "detect_leaks=0";
}
