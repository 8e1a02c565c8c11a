// SPDX-License-Identifier: MIT
// Requests and their answers, without a socket.
#include "control/request.h"

#include <nlohmann/json.hpp>

#include "catch.h"
#include "control/metrics.h"
#include "unit/control/operations.h"

namespace superd::control::requests_tests {

using nlohmann::json;

namespace {

json ask(Pretended& superd, const std::string& line, Rights rights = Rights::command) {
    const Answer got = answer(superd, line, rights);
    CHECK(got.line.find('\n') == got.line.size() - 1);
    return json::parse(got.line);
}

}  // namespace

TEST_CASE("an answer has the version and says whether the request succeeded") {
    Pretended superd;
    const json status = ask(superd, R"({"version":1,"verb":"status"})");
    CHECK(status["version"] == 1);
    CHECK(status["ok"] == true);
    CHECK(status["services"][0]["name"] == "echo");
    CHECK(status["services"][0]["handler_seconds"]["count"] == 1);
    CHECK(status["services"][0]["accept_to_exec_seconds"]["median"].is_null());
}

TEST_CASE("bytes that are not UTF-8 leave superd as UTF-8") {
    Pretended superd;
    CHECK(ask(superd, R"({"version":1,"verb":"list"})")["services"][0]["description"] == "\"quoted\" \xef\xbf\xbd");
}

TEST_CASE("a reader cannot change anything") {
    for (const char* verb : {"reload", "pause", "resume", "drain", "kill", "upgrade", "stop"}) {
        Pretended superd;
        const std::string line =
            std::string(R"({"version":1,"service":"echo","target":"echo","verb":")") + verb + "\"}";
        CHECK(ask(superd, line, Rights::look)["ok"] == false);
        CHECK(ask(superd, line, Rights::none)["ok"] == false);
        CHECK(superd.done.empty());
        CHECK(superd.held.empty());
        CHECK(ask(superd, line)["ok"] == true);
    }
    Pretended superd;
    for (const char* verb : {"status", "list", "processes", "plan", "metrics", "security"}) {
        const std::string line = std::string(R"({"version":1,"verb":")") + verb + "\"}";
        CHECK(ask(superd, line, Rights::look)["ok"] == true);
        CHECK(ask(superd, line, Rights::none)["ok"] == false);
    }
}

TEST_CASE("drain is of one service or of superd itself") {
    Pretended superd;
    CHECK(ask(superd, R"({"version":1,"verb":"drain","all":true})", Rights::look)["ok"] == false);
    CHECK(superd.done.empty());
    superd.catalog.shutdown.drain = std::chrono::seconds(30);
    const auto answer = ask(superd, R"({"version":1,"verb":"drain","all":true})");
    CHECK(answer["seconds"] == 30.0);
    CHECK(superd.done == "drain-all ");
    CHECK(ask(superd, R"({"version":1,"verb":"drain","all":true,"service":"echo"})")["ok"] == false);
    CHECK(ask(superd, R"({"version":1,"verb":"drain","all":1})")["ok"] == false);
    CHECK(superd.done == "drain-all ");
    CHECK(superd.held.empty());
}

TEST_CASE("a reader's plan looks up no names") {
    Pretended superd;
    const std::string line = R"({"version":1,"verb":"plan"})";
    CHECK(ask(superd, line)["ok"] == true);
    CHECK(superd.looked_up);
    CHECK(ask(superd, line, Rights::look)["ok"] == true);
    CHECK_FALSE(superd.looked_up);
}

TEST_CASE("a signal is a name, with or without SIG, or a number; and nothing else") {
    Pretended superd;
    for (const char* signal : {"\"HUP\"", "\"SIGHUP\"", "\"1\"", "1"}) {
        superd.done.clear();
        CHECK(ask(superd, std::string(R"({"version":1,"verb":"kill","target":"echo","signal":)") + signal +
                              "}")["signal"] == 1);
        CHECK(superd.done == "kill echo 1 ");
    }
    superd.done.clear();
    for (const char* signal :
         {"\"HUPP\"", "0", "-1", "65", "1e30", "99999999999999999999", "true", "[]", "\"\"", "1.5"})
        CHECK(ask(superd, std::string(R"({"version":1,"verb":"kill","target":"echo","signal":)") + signal +
                              "}")["ok"] == false);
    CHECK(superd.done.empty());
}

TEST_CASE("a refused reload reports every error with its place") {
    Pretended superd;
    superd.refuses = true;
    const json refused = ask(superd, R"({"version":1,"verb":"reload"})");
    CHECK(refused["ok"] == false);
    CHECK(refused["errors"][0]["line"] == 3);
    CHECK(refused["errors"][0]["text"] ==
          "conf.d/echo.toml:3:9: error: model: no\n    3 | model = 1\n      |         ^\n");
}

TEST_CASE("every shape of broken request is refused") {
    Pretended superd;
    for (const char* line :
         {"", "{", "1", "\"status\"", "{}", R"({"version":1})", R"({"version":"1","verb":"status"})",
          R"({"version":1,"verb":"nosuch"})", R"({"version":1,"verb":null})", R"({"version":1,"verb":"pause"})",
          R"({"version":1,"verb":"pause","service":""})", R"({"version":1,"verb":"explain","service":"echo"})",
          R"({"version":1,"verb":"metrics","format":"xml"})", R"({"version":1,"verb":"status"} x)"})
        CHECK(ask(superd, line)["ok"] == false);
    CHECK(superd.done.empty());
}

TEST_CASE("the first step of the worst outcome is the verdict") {
    using Outcome = intake::Explanation::Outcome;
    intake::Explanation explanation{{{"state", Outcome::served, "listening"},
                                     {"per_source", Outcome::held, "4 of 4"},
                                     {"instances", Outcome::waits, "9 of 9"},
                                     {"rate", Outcome::waits, "in 1s"},
                                     {"access", Outcome::refused, "deny"}}};
    CHECK(explanation.verdict() == "refused: access (deny)");
    explanation.steps.resize(4);
    CHECK(explanation.verdict() == "waits: instances (9 of 9)");
    explanation.steps.resize(2);
    CHECK(explanation.outcome() == Outcome::held);
    explanation.steps.resize(1);
    CHECK(explanation.verdict() == "served");
}

TEST_CASE("the two formats of metrics differ in how counters are declared") {
    const Pretended superd;
    const std::string prometheus = metrics_text(superd, MetricsFormat::prometheus);
    const std::string openmetrics = metrics_text(superd, MetricsFormat::openmetrics);
    CHECK(prometheus.find("# TYPE superd_refused_total counter\n") != std::string::npos);
    CHECK(openmetrics.find("# TYPE superd_refused counter\n") != std::string::npos);
    CHECK(openmetrics.find("# UNIT superd_handler_seconds seconds\n") != std::string::npos);
    CHECK(prometheus.ends_with("# EOF\n"));
    CHECK(openmetrics.find("superd_handler_seconds_bucket{service=\"echo\",le=\"0.0025\"} 0\n") != std::string::npos);
    CHECK(openmetrics.find("superd_handler_seconds_bucket{service=\"echo\",le=\"0.005\"} 1\n") != std::string::npos);
}

}  // namespace superd::control::requests_tests
