// SPDX-License-Identifier: MIT
#include "status/text.h"

#include "catch.h"

namespace status::text_tests {

TEST_CASE("What others say stays text in a page") {
    CHECK(escape("<a href=\"x\" id='y'>&amp;") == "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;");
    CHECK(escape("plain, größer, 日本, 🙂") == "plain, größer, 日本, 🙂");
    CHECK(escape("") == "");
}

TEST_CASE("Control characters, bytes that are not UTF-8 and marks of direction are replaced") {
    const std::string r = "\xef\xbf\xbd";
    CHECK(escape(std::string("a\0b\n\x1b[2J\x7f", 9)) == "a" + r + "b" + r + r + "[2J" + r);
    CHECK(escape("\xff<") == r + "&lt;");
    CHECK(escape("\xe6\x97") == r + r);                  // cut short
    CHECK(escape("\xc0\xbc") == r + r);                  // a "<" in two bytes
    CHECK(escape("\xed\xa0\x80") == r + r + r);          // a surrogate
    CHECK(escape("\xf4\x90\x80\x80") == r + r + r + r);  // past U+10FFFF
    CHECK(escape("\xc2\x9b") == r);
    CHECK(escape("a\xe2\x80\xae"
                 "b\xe2\x81\xa6") == "a" + r + "b" + r);
    CHECK(escape("\xc3<script>") == r + "&lt;script&gt;");
}

TEST_CASE("A name becomes one segment of a path") {
    CHECK(percent_encode("a-b_c.d~9") == "a-b_c.d~9");
    CHECK(percent_encode("../a b@%\"?#") == "..%2Fa%20b%40%25%22%3F%23");
}

TEST_CASE("Figures are short") {
    CHECK(brief_rate(0) == "0");
    CHECK(brief_rate(0.01) == "<0.1");
    CHECK(brief_rate(2.34) == "2.3");
    CHECK(brief_rate(1234.5) == "1234");
    CHECK(brief_duration(0.034) == "34ms");
    CHECK(brief_duration(7500) == "2h05m");
    CHECK(brief_size(1536) == "1.5K");
    CHECK(counted(1, "source") == "1 source");
    CHECK(counted(2, "source") == "2 sources");
}

}  // namespace status::text_tests
