// SPDX-License-Identifier: MIT
// superctl security: what the handlers of each service could do.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "conf/surroundings.h"
#include "control/security.h"
#include "ctl/asking.h"

namespace superd::ctl {
namespace {

Colour colour_of_rating(const std::string& rating) {
    if (rating == "PERFECT" || rating == "SAFE" || rating == "OK") return Colour::good;
    return rating == "MEDIUM" ? Colour::plain : rating == "EXPOSED" ? Colour::notice : Colour::bad;
}

std::string exposure_of(const Json& object) {
    return fmt::format("{:.1f}", number_of(object, "exposure"));
}

std::string show_rated(const Json& answer, const Terminal& terminal) {
    const std::vector<Column> columns = {
        {"NAME", false, 10}, {"EXPOSURE", true}, {"RATING"}, {"PRESET"}, {"LEFT OUT", false, 8}};
    std::vector<Row> rows;
    for (const Json& service : array_of(answer, "services")) {
        std::string missing;
        for (const Json& one : array_of(service, "left_out"))
            missing += (missing.empty() ? "" : ", ") + std::string(short_key(text_of(one, "key")));
        const std::string rating = text_of(service, "rating");
        rows.push_back({text_of(service, "name"), exposure_of(service), Cell(rating, colour_of_rating(rating)),
                        text_of(service, "preset"), missing.empty() ? "-" : missing});
    }
    return rows.empty() ? "no services\n" : format_table(columns, rows, terminal);
}

/// The worst first; of what is well, only that it is.
std::string show_rating(const Json& answer, const Terminal& terminal) {
    const Json& services = array_of(answer, "services");
    if (services.empty()) return "";
    const Json& service = services[0];
    std::vector<const Json*> lines;
    for (const Json& line : array_of(service, "lines")) lines.push_back(&line);
    std::ranges::stable_sort(lines, std::greater<>(), [](const Json* line) { return number_of(*line, "exposure"); });
    const std::vector<Column> columns = {
        {"EXPOSURE", true}, {"SETTING", false, 20}, {"THE HANDLER", false, 20}, {"MENDED BY", false, 20}};
    std::vector<Row> rows;
    for (const Json* line : lines) {
        const bool bad = number_of(*line, "exposure") > 0;
        rows.push_back({bad ? exposure_of(*line) : std::string("-"), text_of(*line, "setting"),
                        Cell(text_of(*line, "text"), bad ? Colour::notice : Colour::good),
                        bad ? text_of(*line, "mend") : std::string()});
    }
    std::string out = rows.empty() ? "" : format_table(columns, rows, terminal) + "\n";
    for (const Json& one : array_of(service, "left_out"))
        out += fmt::format("{} is left out on this machine: {}\n", escape(text_of(one, "key")),
                           escape(text_of(one, "why")));
    if (service.value("landlock", Json()) == true)
        out += "paths are confined by Landlock, which leaves open chmod, chown, times and attributes of files\n";
    const std::string rating = text_of(service, "rating");
    return out +
           fmt::format("{}: preset {}, exposure {} of 10.0, ", escape(text_of(service, "name")),
                       escape(text_of(service, "preset")), exposure_of(service)) +
           painted(escape(rating), colour_of_rating(rating), terminal.colour) + "\n";
}

struct SecurityWords {
    std::string service;
    bool unit = false, offline = false;
    conf::Places places;
};

void show_ratings(Command& command, const SecurityWords& words, bool config_given) {
    const Show show = [&](const Json& answer) {
        const Json& services = array_of(answer, "services");
        if (words.unit) return services.empty() ? std::string() : text_of(services[0], "unit");
        const Terminal terminal = Terminal::of_stdout();
        return words.service.empty() ? show_rated(answer, terminal) : show_rating(answer, terminal);
    };
    if (!words.offline) {
        ask_and_show(command, "security", words.service.empty() ? Json::object() : Json{{"service", words.service}},
                     show);
        return;
    }
    conf::Places places = words.places;
    places.config_given = config_given;
    const auto catalog = conf::load(conf::surroundings(places));
    if (!catalog) return show_answer(command, refusal_of(catalog.error()), show);
    const auto rated = control::security(*catalog, words.service);
    if (!rated) return failed(command, fmt::format("no service \"{}\"", escape(words.service)));
    Json answer{{"version", control::kVersion}, {"ok", true}};
    answer.update(Json::parse(rated->text()));
    show_answer(command, answer, show);
}

}  // namespace

void add_security_verb(Command& command) {
    Verb verb = command.arguments.verb("security", "how exposed services are, or one line by line, and what mends it");
    verb.footer("Exposure is from 0.0 to 10.0, as in systemd-analyze security.");
    const auto words = std::make_shared<SecurityWords>();
    const Option name = verb.option("NAME", words->service, "a service");
    verb.flag("--unit", words->unit, "print the service as a systemd unit instead").needs(name);
    const Option offline = verb.flag("--offline", words->offline, "rate the definitions on disk, without a daemon");
    verb.option("--conf-dir", words->places.conf_dir, "their folder").type("DIR").needs(offline);
    const Option config =
        verb.option("--config", words->places.config, "settings and [defaults]").type("FILE").needs(offline);
    verb.act([&command, words, config] { show_ratings(command, *words, config.given()); });
}

}  // namespace superd::ctl
