// SPDX-License-Identifier: MIT
#include "ctl/top.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "ctl/client.h"
#include "ctl/screen.h"
#include "ctl/show.h"
#include "ctl/table.h"
#include "ctl/usage.h"

namespace superd::ctl {
namespace {

constexpr Duration kEach = std::chrono::seconds(1);

struct Connection {
    std::string service, kind, peer;
    pid_t pid = 0;
    double age = 0;
    std::optional<Usage> usage = {};
    double cpu() const { return usage ? usage->cpu : -1; }
    double memory() const { return usage ? usage->memory : -1; }
};

struct Order {
    char key;
    const char* name;
    bool (*before)(const Connection&, const Connection&);
};
constexpr Order kOrders[] = {
    {'c', "CPU", [](const Connection& a, const Connection& b) { return a.cpu() > b.cpu(); }},
    {'m', "memory", [](const Connection& a, const Connection& b) { return a.memory() > b.memory(); }},
    {'a', "age", [](const Connection& a, const Connection& b) { return a.age > b.age; }},
    {'n', "name", [](const Connection& a, const Connection& b) { return a.service < b.service; }},
    {'p', "pid", [](const Connection& a, const Connection& b) { return a.pid < b.pid; }},
};

class Top {
  public:
    explicit Top(std::string path) : path_(std::move(path)) {}

    int run() {
        look();
        if (!trouble_.empty()) return give_up(trouble_);
        if (auto opened = screen_.open(); !opened) return give_up(opened.error().text);
        Instant next = now() + kEach;
        for (;;) {
            draw();
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now()).count();
            const auto event = screen_.wait(static_cast<int>(std::clamp<long>(left, 0, 1000)));
            if (event == Screen::Event::leave) return 0;
            if (!act(event)) return 0;
            if (now() < next) continue;
            look();
            next = now() + kEach;
        }
    }

  private:
    static constexpr int kPatience = 2;  ///< seconds; keys are not read meanwhile
    /// Below this width the table of services may have to be cut, which would break colours.
    static constexpr std::size_t kNarrow = 72;

    int give_up(const std::string& why) {
        fmt::print(stderr, "superctl: {}\n", why);
        return 1;
    }

    void look() {
        auto client = Client::connect(path_, kPatience);
        auto status = client ? client->ask("status") : std::unexpected(client.error());
        auto processes = status ? client->ask("processes") : std::unexpected(status.error());
        trouble_.clear();
        for (const auto* answer : {&status, &processes}) {
            if (!*answer)
                trouble_ = answer->error().text;
            else if (answer->value().value("ok", Json()) != true)
                trouble_ = text_of(**answer, "error");
        }
        if (!trouble_.empty()) return;  // keep what was seen last
        status_ = std::move(*status);
        connections_.clear();
        std::set<pid_t> pids;
        for (const Json& process : array_of(*processes, "processes")) {
            Connection connection{text_of(process, "service"), text_of(process, "kind"), text_of(process, "peer")};
            if (connection.kind == "parked" || connection.kind == "holder" || connection.kind == "launcher") continue;
            connection.pid = static_cast<pid_t>(number_of(process, "pid"));
            connection.age = number_of(process, "age_seconds");
            connection.usage = usage_.look(connection.pid);
            pids.insert(connection.pid);
            connections_.push_back(std::move(connection));
        }
        usage_.keep(pids);
        const auto listed = array_of(*processes, "processes").size();
        more_ = std::max(number_of(*processes, "total") - static_cast<double>(listed), 0.0);
        sort();
    }

    void sort() {
        std::ranges::sort(connections_, {}, &Connection::pid);
        std::ranges::stable_sort(connections_, order_->before);
    }

    std::size_t selected() const {
        const auto at = std::ranges::find(connections_, selected_, &Connection::pid);
        return at == connections_.end() ? 0 : static_cast<std::size_t>(at - connections_.begin());
    }
    void select(std::size_t index) {
        if (!connections_.empty()) selected_ = connections_[std::min(index, connections_.size() - 1)].pid;
    }

    /// False: the user quits.
    bool act(Screen::Event event) {
        const std::size_t at = selected();
        switch (event) {
            case Screen::Event::up:
                select(at == 0 ? 0 : at - 1);
                return true;
            case Screen::Event::down:
                select(at + 1);
                return true;
            case Screen::Event::page_up:
                select(at < page_ ? 0 : at - page_);
                return true;
            case Screen::Event::page_down:
                select(at + page_);
                return true;
            case Screen::Event::key:
                return press(screen_.key());
            default:
                return true;
        }
    }

    bool press(char key) {
        said_.clear();
        if (asking_ != 0) {
            if (key == 'y' || key == 'Y') end(asking_);
            asking_ = 0;
            return true;
        }
        if (key == 'q') return false;
        if (key == 'k' && !connections_.empty()) {
            select(selected());
            asking_ = selected_;
        }
        for (const Order& order : kOrders) {
            if (key != order.key) continue;
            order_ = &order;
            sort();
        }
        return true;
    }

    void end(pid_t pid) {
        const auto answer = ask(path_, "kill", {{"target", fmt::format("{}", pid)}});
        if (!answer)
            said_ = answer.error().text;
        else if (answer->value("ok", Json()) != true)
            said_ = text_of(*answer, "error");
        else
            said_ = fmt::format("{} was asked to leave", pid);
    }

    std::string bottom() const {
        if (asking_ != 0) {
            const auto at = std::ranges::find(connections_, asking_, &Connection::pid);
            if (at != connections_.end())
                return fmt::format("End {} {} of {}{}? y/n", at->kind, at->pid, at->service,
                                   at->peer.empty() ? "" : ", client " + escape(at->peer));
            return fmt::format("End {}? y/n", asking_);
        }
        if (!trouble_.empty()) return trouble_;
        if (!said_.empty()) return escape(said_);
        const std::string more = more_ > 0 ? fmt::format("{:.0f} more processes  ", more_) : "";
        return more + "q quit  ↑↓ select  k end handler  sort: c CPU  m memory  a age  n name  p pid";
    }

    void draw() {
        const Terminal terminal{true, screen_.width()};
        const Terminal plain{false, screen_.width()};
        const std::size_t height = screen_.height();
        std::vector<std::string> lines;
        const auto part = [&](const std::string& text) {
            std::vector<std::string> out;
            for (const std::string_view line : split(text, '\n')) out.emplace_back(line);
            if (!out.empty() && out.back().empty()) out.pop_back();
            return out;
        };
        // The first line, the services (their title and up to half of the rest), the connections.
        const bool narrow = screen_.width() < kNarrow;
        auto services = part(show_status(status_, narrow ? plain : terminal));
        if (services.empty()) services.emplace_back();
        const std::size_t head = std::min(services.size(), std::max<std::size_t>(3, height / 2));
        const std::size_t hidden = services.size() - head;
        services.resize(head);
        if (hidden > 0) services.back() = cut(fmt::format("… {} more services", hidden + 1), screen_.width());
        if (narrow)  // otherwise the table fits by itself, and its colours take no width
            for (std::string& line : services) line = cut(line, screen_.width());
        lines = services;
        lines.emplace_back();
        auto rows = part(format_table({{"SERVICE", false, 7},
                                       {"KIND", false, 0, 2},
                                       {"PID", true},
                                       {"PEER", false, 9},
                                       {"AGE", true},
                                       {"CPU%", true},
                                       {"MEMORY", true}},
                                      connection_rows(), plain));
        for (std::string& line : rows) line = cut(line, screen_.width());
        const std::size_t room = height > lines.size() + 2 ? height - lines.size() - 2 : 0;
        page_ = std::max<std::size_t>(room, 1);
        const std::size_t at = selected();
        first_ = std::clamp(first_, at >= page_ ? at - page_ + 1 : 0, at);
        lines.push_back(painted(rows[0], Colour::dim, true));
        for (std::size_t i = first_; i + 1 < rows.size() && i < first_ + room; ++i)
            lines.push_back(i == at ? fmt::format("\x1b[7m{}", rows[i + 1]) : rows[i + 1]);
        lines.resize(height > 0 ? height - 1 : 0);
        lines.push_back(painted(cut(bottom(), screen_.width()),
                                asking_ != 0 || !trouble_.empty() ? Colour::bad : Colour::dim, true));
        screen_.draw(lines);
    }

    std::vector<Row> connection_rows() const {
        std::vector<Row> rows;
        for (const Connection& c : connections_)
            rows.push_back({c.service, c.kind, fmt::format("{}", c.pid), c.peer.empty() ? "-" : c.peer,
                            brief_duration(c.age), c.usage ? fmt::format("{:.1f}", c.usage->cpu) : "-",
                            c.usage ? brief_size(c.usage->memory) : "-"});
        return rows;
    }

    std::string path_;
    Screen screen_;
    UsageOf usage_;
    Json status_;
    std::vector<Connection> connections_;
    double more_ = 0;  ///< processes that superd has not listed
    const Order* order_ = &kOrders[0];
    pid_t selected_ = 0, asking_ = 0;
    std::size_t first_ = 0, page_ = 1;
    std::string trouble_, said_;
};

}  // namespace

int top(const std::string& control_path) {
    return Top(control_path).run();
}

}  // namespace superd::ctl
