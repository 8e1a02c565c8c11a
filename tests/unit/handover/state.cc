// SPDX-License-Identifier: MIT
#include "core/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "catch.h"
#include "handover/text.h"
#include "unit/model/fake_host.h"

namespace superd::handover::state_tests {

using Json = nlohmann::json;
using core::State;

namespace {

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// With something in every kind of field.
State example() {
    State state;
    state.proof = "abc";
    state.binary = "/usr/sbin/superd";
    state.folder = "/caf\xe9";  // no UTF-8
    state.nofile_soft = 1024;
    state.nofile_hard = ~std::uint64_t{0};
    state.begun = Instant(Duration(17));
    state.upgrades = 3;
    state.log_lost = 8;
    state.names = {{"user \xff", true, {1, 2, "\xff", "/", "/bin/sh"}, {3}, 4}};
    state.descriptors = {{5, 7, 9, false}};

    conf::Service service;
    service.name = "web";
    service.listen = {{.transport = conf::Transport::tcp, .host = "::1", .port = 80, .path = {}, .name = {}}};
    service.model = conf::Model::prefork;
    service.handler.argv = {"cat", std::string("\xff\0\x80", 3)};
    service.handler.identity = sys::Identity{1, 2, {3, 4}, "daemon"};
    service.handler.rlimits = {{7, 1, ~rlim_t{0}}};
    service.max_lifetime = std::chrono::seconds(5);
    service.socket->v6only = false;
    service.limits->rate = conf::Rate{std::chrono::seconds(2), 3};
    service.limits->max_load = 0.1;
    service.access->allow = {*sys::parse_prefix("10.0.0.0/8")};
    service.access->times = {{2, 3, 4}};
    service.sandbox = conf::sandbox_of(conf::Preset::strict);
    service.sandbox->ambient_capabilities = ~std::uint64_t{0};
    service.sandbox->read_only_paths = {{"/caf\xe9", true}};
    service.sandbox->left_out = {{"private_tmp", "superd may not mount"}};
    state.catalog.services["web"] = service;
    state.catalog.control.readers = {100};

    core::ServiceState& running = state.services.emplace_back();
    running.name = "web";
    running.wish = 1;
    running.stats.accepted = 12;
    running.stats.handler_time.add(std::chrono::milliseconds(3));
    running.errors.partial = "half a l\xefne";
    running.errors.full_at = Instant(Duration(77));
    running.errors.dropped = {5, Instant(Duration(1)), Instant(Duration(2))};
    running.cannot_start = "no handler can be started: \xc3\xa4";
    running.intake.admission.sources = {{{admit::SourceKey::Kind::ipv4, {10, 1}}, Instant(Duration(99))}};
    intake::EntrantState& entrant = running.intake.entrants.emplace_back();
    entrant.memory = std::string("\r\n\0\xff", 4);
    entrant.ticket = 17;
    entrant.client.variables = std::string("A=\xff\0", 4);
    entrant.client.introduction.emplace().credentials.emplace(1, 2, 3);
    running.intake.next_ticket = 18;
    core::GenerationState& generation = running.current.emplace();
    generation.definition = service;
    generation.wake_at = Instant(Duration(5));
    generation.model.text = R"({"target":3,"what":[null]})";
    core::ChildState& child = generation.children.emplace_back();
    child.pid = 42;
    child.record.peer = *sys::Address::inet("192.0.2.1", 99);
    child.place.emplace();
    child.relay.emplace().as.emplace(1, 2);
    child.session.emplace().as.emplace(3, 4);
    child.session->record.queue = {"a\xff", ""};
    child.session->record.due = Instant(Duration(8));
    running.sessions.emplace().waiting.emplace_back().peer = *sys::Address::inet("192.0.2.2", 9);
    running.sessions->counts.gave_way = 6;
    child.record.reports = {1, 2, 3};
    child.record.given = {*sys::Address::inet("::1", 80), conf::SocketType::seqpacket, {17, ~ino_t{0}}};
    state.ports.push_back(
        {"key",
         service.listen[0],
         net::Listener::Kept{
             .fd = 5, .where = service.listen[0], .options = {}, .passed_name = {}, .path = {}, .settings = {}},
         {Instant(Duration(6)), {Duration(7), 8}},
         {"shut down", "cannot", true, true, {Duration(9), 10}, Instant(Duration(11)), Instant(Duration(12))},
         "web",
         0});
    return state;
}

}  // namespace

TEST_CASE("what is read back of a state is what was written") {
    const State before = example();
    const auto after = handover::read_state(handover::write_state(before));
    REQUIRE(after);
    CHECK(handover::write_state(*after) == handover::write_state(before));
    CHECK(after->catalog == before.catalog);
    CHECK(after->folder == before.folder);
    CHECK(after->services.at(0).current->model.text == before.services[0].current->model.text);
    CHECK(after->nofile_hard == ~std::uint64_t{0});
    const auto& child = after->services.at(0).current->children.at(0);
    CHECK(child.record.peer == before.services[0].current->children[0].record.peer);
    CHECK(child.relay->as->second == 2);
    CHECK(child.session->as->second == 4);
    CHECK(child.session->record.queue == std::deque<std::string>{"a\xff", ""});
    CHECK(child.session->record.due == Instant(Duration(8)));
    CHECK(after->services[0].sessions->waiting.at(0).peer.port() == 9);
    CHECK(after->services[0].sessions->counts.gave_way == 6);
    CHECK(child.record.given.inodes == before.services[0].current->children[0].record.given.inodes);
    CHECK(child.record.given.type == conf::SocketType::seqpacket);
    CHECK(after->services[0].errors.partial == before.services[0].errors.partial);
    CHECK(after->services[0].cannot_start == before.services[0].cannot_start);
    CHECK(after->services[0].stats.handler_time.count() == 1);
    CHECK(after->services[0].errors.dropped.count == 5);
    const auto& entrant = after->services[0].intake.entrants.at(0);
    CHECK(entrant.memory == before.services[0].intake.entrants[0].memory);
    CHECK(entrant.client.variables == std::string("A=\xff\0", 4));
    CHECK(entrant.client.introduction->credentials == model::Credentials{1, 2, 3});
    CHECK(after->names.at(0).user.name == "\xff");
    CHECK(after->log_lost == 8);
    CHECK(after->ports.at(0).condition.trouble == "shut down");
    CHECK(after->ports.at(0).condition.renewals.tries == 10);
    CHECK(after->ports.at(0).condition.renew_at == Instant(Duration(12)));
}

TEST_CASE("a state that is cut off, of another shape or out of range is refused") {
    const std::string whole = handover::write_state(example());
    for (std::size_t size = 0; size < whole.size(); size += 53) CHECK_FALSE(handover::read_state(whole.substr(0, size)));
    const auto with = [&](const std::string& old, const std::string& next) {
        std::string text = whole;
        const auto at = text.find(old);
        REQUIRE(at != std::string::npos);
        return handover::read_state(text.replace(at, old.size(), next));
    };
    CHECK_FALSE(with("\"abc\"", "7"));
    CHECK_FALSE(with(fmt::format("{}", ~std::uint64_t{0}), "18446744073709551616"));
    CHECK_FALSE(with("\"begun\":17", "\"begun\":17.5"));
    CHECK_FALSE(with("\"wish\":1", "\"wish\":2147483648"));
    CHECK_FALSE(with("\"wish\":1", "\"wish\":null"));
    CHECK_FALSE(with("\"transport\":0", "\"transport\":7"));
    CHECK_FALSE(with("\"current\":[", "\"current\":[{},"));
    CHECK_FALSE(with("/caf", "/\xe2\x82\xac"));  // a code point that is no byte
    const auto wrong = with("\"accepted\":12", "\"accepted\":-1");
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().text.find("state.services[0].stats.accepted") != std::string::npos);
    const auto other = with(fmt::format("\"superd\":{}", handover::kStateVersion), "\"superd\":1");
    REQUIRE_FALSE(other);
    CHECK(other.error().text.find("version 1") != std::string::npos);
}

TEST_CASE("what a state has beside is passed over, and what it lacks keeps its default") {
    const auto empty = handover::read_state(R"({"superd":5,"state":{"next year's":[1],"proof":"x",
        "services":[{"name":"web","wish":2,"current":[{"definition":{"name":"web","limits":{"burst":{}}}}]}]}})");
    REQUIRE(empty);
    CHECK(empty->proof == "x");
    CHECK(empty->pid_file == -1);
    const core::ServiceState& web = empty->services.at(0);
    CHECK(web.wish == 2);
    CHECK(web.errors.read == -1);
    CHECK(web.current->model.text == "{}");
    CHECK(web.current->definition.limits->instances == conf::Limits().instances);
    CHECK(web.current->definition.stderr_rate == conf::Service().stderr_rate);
}

TEST_CASE("whatever a state is made of, it is read or refused") {
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    CHECK_FALSE(handover::read_state(deep));
    CHECK_FALSE(handover::read_state(R"({"superd":5,"state":{"unknown":)" + deep + "}}"));
    std::string many = R"({"superd":5,"state":{"services":[0)";
    for (int i = 0; i < 100'000; ++i) many += ",0";
    CHECK_FALSE(handover::read_state(many + "]}}"));
    for (const char* text :
         {"", "null", "[]", "5", "\"superd\"", "{}", R"({"superd":"5"})", R"({"superd":5.0,"state":{}})",
          R"({"superd":-5,"state":{}})", R"({"superd":5,"state":[]})", R"({"superd":5,"state":null})",
          R"({"superd":2,"state":[]})", R"({"superd":5,"state":{"descriptors":{}}})",
          R"({"superd":5,"state":{"catalog":{"services":[]}}})"})
        CHECK_FALSE(handover::read_state(text));
}

namespace {

std::string lines_that_differ(const std::string& kept, const std::string& now) {
    const auto lines = [](const std::string& text) {
        std::vector<std::string> all;
        std::string type;
        std::istringstream in(text);
        for (std::string line; std::getline(in, line);) {
            if (!line.starts_with(' ')) type = line;
            all.push_back(type + ":" + (line == type ? "" : line));
        }
        std::ranges::sort(all);
        return all;
    };
    const auto before = lines(kept), after = lines(now);
    std::vector<std::string> gone, come;
    std::ranges::set_difference(before, after, std::back_inserter(gone));
    std::ranges::set_difference(after, before, std::back_inserter(come));
    std::string all;
    for (const std::string& line : gone) all += "  - " + line + "\n";
    for (const std::string& line : come) all += "  + " + line + "\n";
    return all;
}

}  // namespace

TEST_CASE("no field of the state is added, lost or changed unnoticed") {
    std::string now = handover::describe_state();
    for (const conf::Model model : {conf::Model::iterative, conf::Model::delayed, conf::Model::prefork})
        for (const conf::Handoff handoff : {conf::Handoff::connection, conf::Handoff::listen}) {
            conf::Service definition;
            definition.model = model;
            definition.handoff = handoff;
            model::FakeHost host;
            auto archive = sys::Archive::describing();
            model::make_model(host, definition)->pass(archive);
            now += fmt::format("\n{}, {}\n{}", conf::name_of(model), conf::name_of(handoff), archive.description());
        }
    const std::string file = SUPERD_UNIT_DATA "/handover/fields.txt";
    if (getenv("SUPERD_WRITE_FIELDS") != nullptr) std::ofstream(file) << now;
    const std::string kept = read_file(file);
    if (kept != now)
        FAIL("the state has other fields than "
             << file << " says:\n"
             << lines_that_differ(kept, now)
             << "A new field needs a default that is right for a state without it. One that means something else, or "
                "has "
                "another type, needs another name.\nThen: SUPERD_WRITE_FIELDS=1 unit-handover, and commit the file.");
}

/// Does `whole` have all that `part` has? It may have more fields. The items of a list are in any order.
static bool holds(const Json& whole, const Json& part) {
    if (whole.type() != part.type() || whole.size() < part.size()) return false;
    if (part.is_object()) {
        for (const auto& [key, value] : part.items())
            if (!whole.contains(key) || !holds(whole[key], value)) return false;
        return true;
    }
    if (!part.is_array()) return whole == part;
    for (const Json& one : part)
        if (std::none_of(whole.begin(), whole.end(), [&](const Json& other) { return holds(other, one); }))
            return false;
    return whole.size() == part.size();
}

TEST_CASE("the state that superd 0.1.0 has written is read: every model, sockets, children, counts") {
    const auto state = handover::read_state(read_file(SUPERD_UNIT_DATA "/handover/0.1.0.json"));
    if (!state) FAIL(state.error().text);
    CHECK(state->proof == "1f939d687444ab2a85eaf744cf2d2b6e");
    CHECK(state->binary == "/tmp/superd/sbin/superd");
    CHECK(state->nofile_hard == 20000);
    CHECK(state->pid_file == 136);
    CHECK(state->control->socket.fd == 137);
    CHECK(state->control->socket.options.mode == 0600);
    CHECK(state->descriptors.size() == 26);
    CHECK(state->descriptors[0].inode == 25484527);
    CHECK(state->catalog.services.size() == 7);
    const conf::Service& parked = state->catalog.services.at("parked");
    CHECK(parked.model == conf::Model::prefork);
    CHECK(parked.handler.identity->user == "nobody");
    CHECK(parked.prefork->max_spare == 2);
    CHECK(parked.stderr_rate == conf::Service().stderr_rate);  // 0.1.0 has none
    REQUIRE(state->ports.size() == 7);
    CHECK(state->ports[3].socket->given);
    CHECK(state->ports[3].socket->settings.empty());
    CHECK(state->ports[4].owner == "waits");
    CHECK_FALSE(state->ports[4].socket);
    CHECK(state->ports[4].waiting.backoff.tries == 6);
    std::map<std::string, const core::ServiceState*> services;
    for (const core::ServiceState& service : state->services) services[service.name] = &service;
    CHECK(services.size() == 7);
    const auto& held = services.at("fork")->intake.held;
    REQUIRE(held.size() == 1);
    CHECK(held[0].client.connection == 8);
    CHECK(held[0].client.peer.host() == "127.0.0.1");
    CHECK(services.at("fork")->stats.started == 2);
    CHECK(services.at("fork")->current->children.size() == 2);
    CHECK(services.at("fork")->current->model.text == "{}");
    const core::ChildState& datagram = services.at("datagram")->current->children.at(0);
    CHECK(datagram.relay->answers == 158);
    CHECK(datagram.record.serial == 1);
    CHECK(datagram.place->kind == admit::SourceKey::Kind::ipv4);
    const core::ChildState& owner = services.at("iterative")->current->children.at(0);
    CHECK(owner.record.kind == core::ChildRecord::Kind::owner);
    CHECK(owner.record.first.starts_with("5:hello"));
    CHECK(services.at("iterative")->current->model.text ==
          R"({"running":24426,"throttled":false,"backoff":{"step":0,"tries":0}})");
    CHECK(services.at("delayed")->current->model.text == R"({"fresh":24401,"begun":true,"inherited":false})");
    CHECK(services.at("parked")->current->model.text.ends_with(R"("parked":[24406]})"));
    const core::GenerationState& workers = *services.at("workers")->current;
    CHECK(workers.children.at(1).record.reports.clients == 1);
    CHECK(workers.children.at(1).pair == 150);
    // And each model knows it by these names.
    for (const auto& [name, service] : services) {
        const core::GenerationState& generation = *service->current;
        model::FakeHost host;
        const auto model = model::make_model(host, generation.definition);
        sys::Archive read(generation.model.text), written;
        model->pass(read);
        model->pass(written);
        CHECK(read.fault() == "");
        CHECK(holds(Json::parse(std::move(written).text()), Json::parse(generation.model.text)));
    }
    for (std::string text = read_file(SUPERD_UNIT_DATA "/handover/0.1.0.json"); text.size() > 200;) {
        text.resize(text.size() - 199);
        CHECK_FALSE(handover::read_state(text));
    }
}

TEST_CASE("a state of 0.1.0 in which a model remembers too little or too much is refused") {
    const std::string whole = read_file(SUPERD_UNIT_DATA "/handover/0.1.0.json");
    for (const auto& [old, next] : {std::pair{"[24426,0,0,0]", "[24426,0,0]"},
                                    {"[24426,0,0,0]", "[24426,0,0,0,1]"},
                                    {"[24401,1,0]", "[]"},
                                    {"[24401,1,0]", "[1.5,1,0]"},
                                    {",1,24406]", ",1073741824,24406]"},
                                    {",2,24416,24302,", ",200000000,24416,24302,"}}) {
        std::string text = whole;
        const auto at = text.find(old);
        REQUIRE(at != std::string::npos);
        CHECK_FALSE(handover::read_state(text.replace(at, std::string_view(old).size(), next)));
    }
}

}  // namespace superd::handover::state_tests
