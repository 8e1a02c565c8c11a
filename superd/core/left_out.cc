// SPDX-License-Identifier: MIT
#include "core/left_out.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <utility>

#include "base/text.h"

namespace superd::core {

std::vector<std::string> left_out(const std::vector<const conf::Service*>& services) {
    constexpr std::size_t kNamed = 3;
    std::map<std::pair<std::string, std::string>, std::vector<std::string>> by_key;
    for (const conf::Service* service : services) {
        for (const conf::LeftOut& one : conf::left_out(*service)) by_key[{one.key, one.why}].push_back(service->name);
    }
    std::vector<std::string> lines;
    for (auto& [what, names] : by_key) {
        const std::size_t more = names.size() > kNamed ? names.size() - kNamed : 0;
        names.resize(names.size() - more);
        lines.push_back(fmt::format("{} is left out for {}{}: {}", what.first, fmt::join(names, ", "),
                                    more > 0 ? fmt::format(" and {} more", more) : "", what.second));
    }
    return lines;
}

}  // namespace superd::core
