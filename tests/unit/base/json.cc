// SPDX-License-Identifier: MIT
#include "base/json.h"

#include <limits>

#include "catch.h"

namespace superd::json_tests {

TEST_CASE("what is written is JSON, in the order in which it came") {
    JsonText list = JsonText::array();
    list.push_back(1);
    list.push_back(JsonText());
    JsonText all{{"text", "a \"quote\"\n"},
                 {"bytes", std::string("\xff\x00", 2)},
                 {"yes", true},
                 {"half", 0.5},
                 {"least", std::numeric_limits<std::int64_t>::min()},
                 {"most", std::numeric_limits<std::uint64_t>::max()},
                 {"none", std::optional<int>()},
                 {"one", std::optional<int>(1)},
                 {"list", std::move(list)},
                 {"names", std::vector<std::string>{"b", "a"}},
                 {"inner", {{"z", 1}, {"a", {{"deep", JsonText::object()}}}}}};
    CHECK(all.text() ==
          R"({"text":"a \"quote\"\n","bytes":")"
          "\xef\xbf\xbd"
          R"(\u0000","yes":true,"half":0.5,"least":-9223372036854775808,"most":18446744073709551615,"none":null,)"
          R"("one":1,"list":[1,null],"names":["b","a"],"inner":{"z":1,"a":{"deep":{}}}})");
}

TEST_CASE("a member and another object's members are added") {
    JsonText all = JsonText::object();
    all.add(JsonText::object());
    CHECK(all.text() == "{}");
    all.add("one", 1);
    all.add(JsonText::object());
    all.add(JsonText{{"two", 2}, {"}", "{"}});
    CHECK(all.text() == R"({"one":1,"two":2,"}":"{"})");
}

TEST_CASE("the members of an object are read, and what is inside them is not") {
    const auto read =
        read_json(R"( {"text":"\u00e4","yes":true,"none":null,"less":-7,"more":9223372036854775808,"half":0.5,)"
                  R"("list":[1,{"text":2}],"object":{"yes":false,"list":[]},"twice":1,"twice":2} )");
    REQUIRE(read);
    const bool same = *read == JsonMembers{{"text", "ä"},
                                           {"yes", true},
                                           {"none", std::monostate()},
                                           {"less", std::int64_t{-7}},
                                           {"more", OtherJson()},
                                           {"half", OtherJson()},
                                           {"list", OtherJson()},
                                           {"object", OtherJson()},
                                           {"twice", std::int64_t{2}}};
    CHECK(same);
    const auto none = read_json("{}");
    CHECK((none && none->empty()));
}

TEST_CASE("what is not one object is not read") {
    const std::string deep(30'000, '[');
    for (const std::string& text :
         {std::string(), std::string("1"), std::string("null"), std::string("\"{}\""), std::string("[{}]"),
          std::string("{"), std::string("{}{}"), std::string("{} x"), std::string("{\"a\":}"),
          std::string("{\"a\":\"\xff\"}"), std::string("{\"a\":1e999}"), "{\"a\":" + deep, deep})
        CHECK_FALSE(read_json(text));
    CHECK(read_json("{\"a\":" + deep + std::string(30'000, ']') + "}"));
}

}  // namespace superd::json_tests
