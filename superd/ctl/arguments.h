// SPDX-License-Identifier: MIT
#pragma once
// The command line of a program. Only arguments.cc includes CLI11, which reads it: it is expensive to compile.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace superd::ctl {

/// One option, flag or operand. A handle; the Arguments own it.
class Option {
  public:
    explicit Option(CLI::Option* option) : option_(option) {}
    /// The placeholder for its value in the help: "FILE".
    Option& type(const char* name);
    Option& one_of(std::vector<std::string> values);
    Option& required();
    /// Is allowed only together with `other`.
    Option& needs(const Option& other);
    /// Is not allowed together with `other`.
    Option& excludes(const Option& other);
    /// A list that takes one value each time it is given.
    Option& one_each();
    /// How many values it takes.
    Option& takes(int least, int most);
    /// Leaves it out of the help.
    Option& hidden();
    /// After parse(): was it on the command line?
    bool given() const;

  private:
    CLI::Option* option_;
};

/// The arguments of a program, or of one of its verbs. A handle; the Arguments own it. The variables that receive the
/// values must live until parse() has returned.
class Verb {
  public:
    explicit Verb(CLI::App* app) : app_(app) {}
    Option option(const char* name, std::string& into, const char* help = "");
    Option option(const char* name, int& into, const char* help = "");
    Option option(const char* name, std::vector<std::string>& into, const char* help = "");
    Option flag(const char* name, bool& into, const char* help = "");
    /// A sentence below the help.
    Verb& footer(const char* text);
    /// Which option was used wrongly, and why.
    struct Wrong {
        const char* option;
        const char* why;
    };
    /// `action` runs once the whole command line has been read. It returns nothing, or std::optional<Wrong>.
    template <class Action>
    void act(Action action) {
        if constexpr (std::is_void_v<std::invoke_result_t<Action>>)
            run_then([action] { return action(), std::nullopt; });
        else
            run_then(action);
    }

  protected:
    void run_then(std::function<std::optional<Wrong>()> action);

    CLI::App* app_;
};

class Arguments : public Verb {
  public:
    Arguments(const char* description, const char* program, const char* version);
    ~Arguments();
    Arguments(const Arguments&) = delete;

    /// From then on a verb is required. The program's own options may also follow it.
    Verb verb(const char* name, const char* help);
    /// nullopt: the program continues. Otherwise its exit status; help, version or error have been printed: 0, 2.
    std::optional<int> parse(int argc, char** argv);

  private:
    std::optional<std::string> unknown_verb(int argc, char** argv) const;

    std::unique_ptr<CLI::App> own_;
};

}  // namespace superd::ctl
