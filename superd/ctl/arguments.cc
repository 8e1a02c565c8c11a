// SPDX-License-Identifier: MIT
#include "ctl/arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/text.h"

namespace superd::ctl {

Option& Option::type(const char* name) {
    option_->type_name(name);
    return *this;
}

Option& Option::one_of(std::vector<std::string> values) {
    option_->check(CLI::IsMember(std::move(values)));
    return *this;
}

Option& Option::required() {
    option_->required();
    return *this;
}

Option& Option::needs(const Option& other) {
    option_->needs(other.option_);
    return *this;
}

Option& Option::excludes(const Option& other) {
    option_->excludes(other.option_);
    return *this;
}

Option& Option::one_each() {
    option_->allow_extra_args(false);
    return *this;
}

Option& Option::takes(int least, int most) {
    option_->expected(least, most);
    return *this;
}

Option& Option::hidden() {
    option_->group("");
    return *this;
}

bool Option::given() const {
    return option_->count() > 0;
}

Option Verb::option(const char* name, std::string& into, const char* help) {
    return Option(app_->add_option(name, into, help));
}

Option Verb::option(const char* name, int& into, const char* help) {
    return Option(app_->add_option(name, into, help));
}

Option Verb::option(const char* name, std::vector<std::string>& into, const char* help) {
    return Option(app_->add_option(name, into, help));
}

Option Verb::flag(const char* name, bool& into, const char* help) {
    return Option(app_->add_flag(name, into, help));
}

Verb& Verb::footer(const char* text) {
    app_->footer(text);
    return *this;
}

void Verb::run_then(std::function<std::optional<Wrong>()> action) {
    app_->callback([action = std::move(action)] {
        if (const auto wrong = action()) throw CLI::ValidationError(wrong->option, wrong->why);
    });
}

Arguments::Arguments(const char* description, const char* program, const char* version)
    : Verb(nullptr), own_(std::make_unique<CLI::App>(description, program)) {
    app_ = own_.get();
    app_->set_version_flag("--version", version);
    app_->get_formatter()->column_width(36);
}

Arguments::~Arguments() = default;

Verb Arguments::verb(const char* name, const char* help) {
    app_->require_subcommand(1);
    app_->fallthrough();
    return Verb(app_->add_subcommand(name, help));
}

/// If CLI11 does not know the given verb, it only says that one is missing.
std::optional<std::string> Arguments::unknown_verb(int argc, char** argv) const {
    const auto verbs = app_->get_subcommands([](const CLI::App*) { return true; });
    std::vector<std::string> names;
    for (const CLI::App* verb : verbs) names.push_back(verb->get_name());
    for (int i = 1; i < argc && !names.empty(); ++i) {
        const std::string word = argv[i];
        if (word == "--control") ++i;
        if (word.starts_with("-")) continue;
        if (std::ranges::find(names, word) != names.end()) return std::nullopt;
        const auto meant = closest(word, names);
        return fmt::format("no verb \"{}\"{}", escape(word),
                           meant ? fmt::format(" (did you mean \"{}\"?)", *meant)
                                 : fmt::format("; {} --help lists them", app_->get_name()));
    }
    return std::nullopt;
}

std::optional<int> Arguments::parse(int argc, char** argv) {
    try {
        app_->parse(argc, argv);
        return std::nullopt;
    } catch (const CLI::ParseError& error) {
        const bool asked = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
        if (const auto why = asked ? std::nullopt : unknown_verb(argc, argv))
            fmt::print(stderr, "{}: {}\n", app_->get_name(), *why);
        else
            app_->exit(error);
        return asked ? 0 : 2;
    }
}

}  // namespace superd::ctl
