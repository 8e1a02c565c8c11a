// SPDX-License-Identifier: MIT
// superctl recipe: definitions for well-known programs, as files in share/superd/recipes.

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/text.h"
#include "conf/surroundings.h"
#include "ctl/asking.h"
#include "ctl/output.h"
#include "ctl/table.h"
#include "ctl/verbs.h"
#include "sys/file.h"

namespace superd::ctl {

namespace {

constexpr std::size_t kLargest = std::size_t{1} << 20;
constexpr std::string_view kSuffix = ".toml";

std::string recipe_folder() {
    return conf::installation_prefix() + "/share/superd/recipes";
}

struct Recipe {
    std::string name, package, what, text;
};

/// Its first line is "# package PACKAGE: WHAT".
Result<Recipe> read_recipe(const std::string& name) {
    const std::string path = fmt::format("{}/{}{}", recipe_folder(), name, kSuffix);
    const auto file = sys::read_file(path, kLargest);
    if (!file) return fail(fmt::format("{}: {}", path, file.error().text));
    std::string_view line = std::string_view(file->text).substr(0, file->text.find('\n'));
    constexpr std::string_view begin = "# package ";
    const std::size_t colon = line.find(": ");
    if (!line.starts_with(begin) || colon == std::string_view::npos)
        return fail(fmt::format("{}: does not begin with \"{}NAME: WHAT\"", path, begin));
    return Recipe{name, std::string(line.substr(begin.size(), colon - begin.size())),
                  std::string(line.substr(colon + 2)), file->text};
}

Result<std::vector<std::string>> recipe_names() {
    const auto files = sys::list_directory(recipe_folder());
    if (!files) return fail(fmt::format("{}: {}", recipe_folder(), files.error().text));
    std::vector<std::string> names;
    for (const std::string& file : *files)
        if (file.ends_with(kSuffix) && !file.starts_with("."))
            names.push_back(file.substr(0, file.size() - kSuffix.size()));
    return names;
}

void list_recipes(Command& command) {
    const auto names = recipe_names();
    if (!names) return failed(command, names.error().text);
    std::vector<Row> rows;
    Json list = Json::array();
    for (const std::string& name : *names) {
        const auto recipe = read_recipe(name);
        if (!recipe) return failed(command, recipe.error().text);
        rows.push_back({recipe->name, recipe->package, recipe->what});
        list.push_back({{"name", recipe->name}, {"package", recipe->package}, {"what", recipe->what}});
    }
    if (command.json) return print_json({{"version", 1}, {"ok", true}, {"recipes", list}});
    fmt::print("{}",
               format_table({{"RECIPE"}, {"PACKAGE", false, 0, 1}, {"WHAT", false, 20}}, rows, Terminal::of_stdout()));
}

/// The path of the file.
Result<std::string> write_recipe(const Recipe& recipe, const std::string& folder) {
    const std::string file = recipe.name + std::string(kSuffix), path = fmt::format("{}/{}", folder, file);
    if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("create " + folder, errno);
    const auto done = write_file(folder, file, recipe.text, false);
    if (!done && done.error().code == EEXIST) return fail(path + " exists, and is not replaced");
    if (!done) return fail(done.error().text);
    return path;
}

void show_recipe(Command& command, const std::string& name, const std::optional<std::string>& output) {
    const auto names = recipe_names();
    if (!names) return failed(command, names.error().text);
    // Not only for the hint: a name is never a path.
    if (std::ranges::find(*names, name) == names->end()) {
        const auto meant = closest(name, *names);
        return failed(command, fmt::format("no recipe \"{}\"{}", escape(name),
                                           meant ? fmt::format(" (did you mean \"{}\"?)", *meant)
                                                 : "; superctl recipe lists them"));
    }
    const auto recipe = read_recipe(name);
    if (!recipe) return failed(command, recipe.error().text);
    Json answer{
        {"version", 1},
        {"ok", true},
        {"recipe", {{"name", name}, {"package", recipe->package}, {"what", recipe->what}, {"toml", recipe->text}}}};
    if (output) {
        const auto path = write_recipe(*recipe, *output);
        if (!path) return failed(command, escape(path.error().text));
        if (!command.json) return fmt::print("{} written\n", escape(*path));
        answer["recipe"]["path"] = *path;
    }
    if (command.json) return print_json(answer);
    fmt::print("{}", recipe->text);
}

}  // namespace

void add_recipe_verb(Command& command) {
    struct Given {
        std::string name, output;
    };
    auto given = std::make_shared<Given>();
    Verb verb = command.arguments.verb("recipe", "list or print definitions for well-known programs");
    Option name = verb.option("name", given->name, "the recipe to print; without it, all are listed").type("NAME");
    Option output =
        verb.option("--output", given->output, "write DIR/NAME.toml instead of stdout").type("DIR").needs(name);
    verb.act([&command, given, name, output] {
        if (!name.given()) return list_recipes(command);
        show_recipe(command, given->name, output.given() ? std::optional(given->output) : std::nullopt);
    });
}

}  // namespace superd::ctl
