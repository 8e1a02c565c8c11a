// SPDX-License-Identifier: MIT
// superd-status: what superd is doing, as a live page, as JSON, and as two probes. superd-status(8)

#include <charconv>
#include <cmath>

#include "status/page.h"
#include "status/state.h"
#include "web/server.h"

namespace status {
extern const char kStyle[], kScript[], kIcon[];  // the files, by the build

namespace {

constexpr const char* kHtml = "text/html; charset=utf-8";
constexpr std::size_t kLongestText = 200;  // of an argument

/// Questions about clients each cost superd something: so many a second, and a few at once.
class Budget {
  public:
    bool take() {
        const web::Instant time = web::Clock::now();
        left_ = std::min(kBurst, left_ + kEach * std::chrono::duration<double>(time - last_).count());
        last_ = time;
        if (left_ < 1) return false;
        left_ -= 1;
        return true;
    }

  private:
    static constexpr double kEach = 10, kBurst = 20;
    double left_ = kBurst;
    web::Instant last_ = web::Clock::now();
};

class Status {
  public:
    explicit Status(const web::Options& options) : control_(options.control), server_(options, control_, true) {}

    int run() {
        return server_.run([this](web::Exchange& exchange) { serve(exchange); }, [this] { return state_.tick(); });
    }

  private:
    void serve(web::Exchange& exchange) {
        const std::string& path = exchange.path();
        if (path == "/style.css") return server_.answer(exchange, style_);
        if (path == "/live.js") return server_.answer(exchange, script_);
        if (path == "/icon.svg") return server_.answer(exchange, icon_);
        const bool service = path.starts_with(kService);
        if (!service && path != "/" && path != "/status.json" && path != "/livez" && path != "/readyz")
            return server_.answer(exchange,
                                  web::Response(404, kHtml, message_page("Not found", "There is no such page.")));
        // Once is enough: what came of it is what there is.
        if (!exchange.has_waited() && !state_.look([this, &exchange] { server_.wake(exchange); }))
            return server_.wait(exchange);
        if (service) return one(exchange, path.substr(kService.size()));
        if (path == "/") return all(exchange);
        if (path == "/status.json") return json(exchange);
        probe(exchange, path == "/readyz");
    }

    unsigned code() const { return state_.trouble().empty() ? 200 : 503; }

    void all(web::Exchange& exchange) {
        const std::string find = exchange.argument("find").substr(0, kLongestText), number = exchange.argument("page");
        std::size_t page = 0;
        std::from_chars(number.data(), number.data() + number.size(), page);
        if (!find.empty() || page != 0)
            return server_.answer(exchange, web::Response(code(), kHtml, overview(state_, find, page)));
        if (!overview_ || overview_->version != state_.version())
            overview_.emplace(state_.version(), web::Response(code(), kHtml, overview(state_, "", 0)));
        server_.answer(exchange, overview_->response);
    }

    void json(web::Exchange& exchange) {
        if (!json_ || json_->version != state_.version())
            json_.emplace(state_.version(), web::Response(code(), "application/json", as_json()));
        server_.answer(exchange, json_->response);
    }

    std::string as_json() const {
        web::Json out{{"version", 1}, {"ok", state_.trouble().empty()}};
        if (!state_.trouble().empty()) out["error"] = state_.trouble();
        if (!state_.status().is_null()) {
            out["age_seconds"] = std::chrono::duration<double>(web::Clock::now() - state_.seen()).count();
            for (const char* name : {"superd", "services"}) out[name] = state_.status().value(name, web::Json());
            for (const char* name : {"processes", "total"}) out[name] = state_.processes().value(name, web::Json());
            web::Json& history =
                out["history"] = {{"slot_seconds", History::kSlot.count()}, {"services", web::Json::object()}};
            for (const web::Json& service : out["services"]) {
                const std::string name = web::text_of(service, "name");
                if (const History* of_it = state_.history(name)) history["services"][name] = series(*of_it);
            }
        }
        return out.dump(-1, ' ', false, web::Json::error_handler_t::replace) + "\n";
    }

    static web::Json series(const History& history) {
        const auto array = [](const std::vector<std::optional<double>>& values) {
            web::Json all = web::Json::array();
            for (const auto& value : values) all.push_back(value ? web::Json(*value) : web::Json());
            return all;
        };
        return {{"clients_per_second", array(history.clients_per_second())},
                {"handler_seconds", array(history.handler_seconds())}};
    }

    void one(web::Exchange& exchange, const std::string& name) {
        const web::Json* service = state_.service(name);
        if (service == nullptr) {
            const bool known = state_.trouble().empty();
            const std::string text = known ? "superd has no service of this name." : state_.trouble();
            return server_.answer(exchange, web::Response(known ? 404 : 503, kHtml, message_page("Not found", text)));
        }
        Question question{exchange.argument("client").substr(0, kLongestText),
                          exchange.argument("via").substr(0, kLongestText), std::move(exchange.found)};
        if (!question.client.empty() && !question.answer) {
            if (control_.has_room() && budget_.take()) return explain(exchange, name, question);
            question.answer = std::unexpected("Too many ask at once. Try again.");
        }
        server_.answer(exchange, web::Response(code(), kHtml, service_page(state_, *service, question)));
    }

    void explain(web::Exchange& exchange, const std::string& name, const Question& question) {
        server_.wait(exchange);
        web::Json asked{{"verb", "explain"}, {"service", name}, {"client", question.client}};
        if (!question.via.empty()) asked["via"] = question.via;
        control_.ask(std::move(asked), [this, &exchange](web::Answer answer) {
            exchange.found = std::move(answer);
            server_.wake(exchange);
        });
    }

    /// For a manager of containers, or a load balancer.
    void probe(web::Exchange& exchange, bool ready) {
        std::string why = state_.trouble();
        if (ready && why.empty()) why = not_ready();
        server_.answer(exchange,
                       web::plain(why.empty() ? 200 : 503, why.empty() ? ready ? "ready" : "superd answers" : why));
    }

    std::string not_ready() const {
        const web::Json& superd = web::object_of(state_.status(), "superd");
        if (web::flag_of(superd, "stopping") || web::flag_of(superd, "draining")) return "superd is draining";
        for (const web::Json& service : web::array_of(state_.status(), "services")) {
            if (!web::flag_of(service, "enabled")) continue;
            for (const web::Json& listener : web::array_of(service, "listeners"))
                if (web::flag_of(listener, "awaited"))
                    return "the service " + web::text_of(service, "name") + " waits for " +
                           web::text_of(listener, "address");
        }
        return "";
    }

    struct Made {
        Made(unsigned long number, web::Response made) : version(number), response(std::move(made)) {}
        unsigned long version;
        web::Response response;
    };

    static constexpr std::string_view kService = "/service/";
    web::Control control_;
    web::Server server_;
    State state_{control_};
    Budget budget_;
    web::Response style_{200, "text/css; charset=utf-8", kStyle};
    web::Response script_{200, "text/javascript; charset=utf-8", kScript};
    web::Response icon_{200, "image/svg+xml", kIcon};
    std::optional<Made> overview_, json_;  ///< of the present version
};

}  // namespace
}  // namespace status

int main(int argc, char** argv) {
    const auto options = web::parse_options(
        argc, argv, {.summary = "Shows what superd is doing: /, /status.json, /livez, /readyz.", .checks_host = true});
    if (!options) return options.error();
    return status::Status(*options).run();
}
