// SPDX-License-Identifier: MIT
// A service definition: TOML, keys, and how they combine. Its errors must be safe to show on a terminal.
#include <cstdlib>

#include "base/text.h"
#include "conf/exposure.h"
#include "conf/read.h"
#include "conf/validate.h"
#include "fuzz.h"
#include "proc/syscall_filter.h"

namespace {

bool is_unsafe(const std::string& shown) {
    if (superd::find_invalid_utf8(shown)) return true;
    for (const char c : shown) {
        if (c != '\n' && c != '\t' && static_cast<unsigned char>(c) < 0x20) return true;
    }
    return false;
}

}  // namespace

FUZZ(definition)(const std::uint8_t* data, std::size_t size) {
    using namespace superd;
    const conf::toml::Source source("a.toml", std::string(reinterpret_cast<const char*>(data), size));
    conf::Surroundings from;
    from.environment = {"PATH=/usr/bin:/bin"};
    from.confinement.emplace();  // looking takes a process
    from.confinement->filter = from.confinement->privileged = true;
    conf::Diagnostics errors;
    auto tree = conf::toml::parse(source);
    conf::Draft draft;
    if (tree) {
        draft.file = "a.toml";
        draft.service.name = "a";
        conf::read(*tree, conf::Scope::service, draft, errors);
        conf::Lookups lookups;
        conf::validate(draft, {from, lookups, {}, true, true, nullptr}, errors);
    } else {
        errors.push_back(tree.error());
    }
    conf::sort(errors);
    const std::string shown = conf::format(errors);
    if (is_unsafe(shown)) abort();
    // Without errors it is complete.
    if (errors.empty()) {
        if (is_unsafe(conf::equivalent_unit(draft.service)) || conf::exposure(draft.service).tenths > 100) abort();
        if (proc::syscall_filter(draft.service.sandbox).size() > BPF_MAXINSNS) abort();
    }
    if (errors.empty() && (draft.service.listen.empty() || draft.service.handler.path.empty())) abort();
    return 0;
}
