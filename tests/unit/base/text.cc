// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "base/text.h"

namespace superd::text_tests {

TEST_CASE("splitting keeps empty parts") {
    CHECK(split("a::b", ':') == std::vector<std::string_view>{"a", "", "b"});
    CHECK(split("", ':') == std::vector<std::string_view>{""});
    CHECK(split(":", ':') == std::vector<std::string_view>{"", ""});
}

TEST_CASE("sizes are powers of 1024") {
    CHECK(parse_size("64K") == 65536U);
    CHECK(parse_size("1M") == 1048576U);
    CHECK(parse_size("1G") == 1073741824U);
    CHECK(parse_size("1T") == 1099511627776U);
    CHECK(parse_size("512") == 512U);
    CHECK(parse_size("0") == 0U);
    CHECK(parse_size("8191P") == std::nullopt);
    CHECK(parse_size("8388607T") == 8388607ULL << 40);
    for (const char* text : {"", "K", "-1K", "1k", "1KB", "1.5M", "1 K", " 1K", "8388608T", "99999999999999999999"}) {
        INFO(text);
        CHECK(parse_size(text) == std::nullopt);
    }
}

TEST_CASE("a size is written out in the largest unit that divides it") {
    CHECK(format_size(65536) == "64K");
    CHECK(format_size(1048576) == "1M");
    CHECK(format_size(1000) == "1000");
    CHECK(format_size(0) == "0");
}

TEST_CASE("bytes that are not UTF-8 are found") {
    CHECK(find_invalid_utf8("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80") == std::nullopt);
    CHECK(find_invalid_utf8("ab\xff") == 2U);
    CHECK(find_invalid_utf8("\xc3") == 0U);              // cut short
    CHECK(find_invalid_utf8("\xc0\xaf") == 0U);          // overlong
    CHECK(find_invalid_utf8("\xe0\x80\xaf") == 0U);      // overlong
    CHECK(find_invalid_utf8("\xf0\x80\x80\xaf") == 0U);  // overlong
    CHECK(find_invalid_utf8("\xed\xa0\x80") == 0U);      // surrogate
    CHECK(find_invalid_utf8("\xf4\x90\x80\x80") == 0U);  // past U+10FFFF
    CHECK(find_invalid_utf8("a\x80") == 1U);
}

TEST_CASE("characters are counted, not bytes") {
    CHECK(count_characters("a\xc3\xa4\xe2\x82\xac") == 3);
    CHECK(count_characters("\xff\xff") == 2);
    CHECK(count_characters("") == 0);
}

TEST_CASE("nothing that a terminal would obey is shown unescaped") {
    CHECK(escape("a\x1b[31m") == "a\\x1b[31m");
    CHECK(escape("a\nb\tc\r") == "a\\nb\\tc\\r");
    CHECK(escape(std::string_view("\0", 1)) == "\\x00");
    CHECK(escape("\x7f") == "\\x7f");
    CHECK(escape("\xc2\x9b") == "\\x9b");        // C1: CSI
    CHECK(escape("\xe2\x80\xae") == "\\u202e");  // right-to-left override
    CHECK(escape("\xff") == "\\xff");
    CHECK(escape("\xc3\xa4 \xe2\x82\xac") == "\xc3\xa4 \xe2\x82\xac");
}

TEST_CASE("edit distance counts a swap of neighbours as one") {
    CHECK(edit_distance("fork", "fork") == 0);
    CHECK(edit_distance("frok", "fork") == 1);
    CHECK(edit_distance("", "abc") == 3);
    CHECK(edit_distance("kitten", "sitting") == 3);
}

TEST_CASE("a near word is taken as a slip, a distant one is not") {
    const std::vector<std::string> words{"fork", "prefork", "iterative", "delayed"};
    CHECK(closest("frok", words) == "fork");
    CHECK(closest("Delay", words) == "delayed");
    CHECK(closest("FORK", words) == "fork");
    CHECK(closest("banana", words) == std::nullopt);
    CHECK(closest("", words) == std::nullopt);
    CHECK(closest("xy", {"a", "b"}) == std::nullopt);
    CHECK(closest(std::string(1000, 'f'), words) == std::nullopt);
}

TEST_CASE("things are counted as people say it") {
    CHECK(counted(1, "error") == "1 error");
    CHECK(counted(0, "error") == "0 errors");
    CHECK(counted(2, "address") == "2 addresses");
}

}  // namespace superd::text_tests
