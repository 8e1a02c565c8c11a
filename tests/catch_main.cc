// SPDX-License-Identifier: MIT
// The main of every Catch2 test program; Catch2 3 has it in a library instead.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
