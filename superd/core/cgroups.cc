// SPDX-License-Identifier: MIT
#include "core/cgroups.h"

#include <fmt/format.h>

#include "core/service_cgroup.h"

namespace superd::core {
namespace {

constexpr const char* kSelf = "superd";    ///< superd's own leaf
constexpr const char* kOthers = "others";  ///< for whoever else is found in superd's group
constexpr std::string_view kService = "s-";
/// Processes may start others while they are being moved.
constexpr int kRounds = 8;

}  // namespace

void Cgroups::begin(const sys::Delegation& given) {
    given_ = given;
    if (given.folder.empty()) {
        log.write(Level::info, fmt::format("handlers have no cgroups of their own: {}", given.missing));
        return;
    }
    auto root = sys::Cgroup::open(given.folder);
    if (!root) {
        log.write(Level::warning, fmt::format("handlers have no cgroups of their own: {}", root.error().text));
        return;
    }
    root_ = std::move(*root);
    if (!enter()) {
        root_ = {};
        return;
    }
    turn_on("memory");
    turn_on("pids");
    log.write(Level::info, fmt::format("services have cgroups of their own in {}", given.folder));
}

void Cgroups::take_up(const std::string& folder) {
    if (folder.empty()) return begin(sys::find_delegation());
    given_ = sys::look_at_delegation(folder);
    auto root = sys::Cgroup::open(folder);
    if (!root) {
        log.write(Level::error, fmt::format("handlers have no cgroups of their own any more: {}", root.error().text));
        return;
    }
    root_ = std::move(*root);
    restore();
}

/// A group with controllers turned on for those below has no processes itself.
bool Cgroups::enter() {
    const auto moved = [this](const char* name, pid_t pid) -> Result<void> {
        const auto leaf = root_.child(name, true);
        return leaf ? leaf->take(pid) : std::unexpected(leaf.error());
    };
    if (auto done = moved(kSelf, 0); !done) {
        log.write(Level::warning, fmt::format("handlers have no cgroups of their own: {}", done.error().text));
        given_ = {"", done.error().text, {}};
        return false;
    }
    for (int round = 0; round < kRounds; ++round) {
        const auto procs = root_.members();
        if (procs.empty()) break;
        for (const pid_t pid : procs) (void)moved(kOthers, pid);  // it may be gone, or be a kernel thread
    }
    return true;
}

void Cgroups::turn_on(const char* controller) {
    if (!given_.controllers.contains(controller)) return;
    on_.insert(controller);
    if (auto done = root_.write("cgroup.subtree_control", fmt::format("+{}", controller)); !done)
        log.write(Level::warning, fmt::format("the {} controller cannot be used: {}", controller, done.error().text));
}

sys::Delegation Cgroups::look() const {
    return root_ ? sys::look_at_delegation(root_.folder()) : given_;
}

void Cgroups::restore() {
    if (!root_) return;
    given_ = look();
    on_.insert({"memory", "pids"});
    for (const std::string& controller : std::set<std::string>(on_)) turn_on(controller.c_str());
    for (ServiceCgroup* group : std::set<ServiceCgroup*>(groups)) group->restore();
}

void Cgroups::want(const conf::Resources& resources) {
    if (!root_) return;
    if ((resources.cpu_max || resources.cpu_weight) && !on_.contains("cpu")) turn_on("cpu");
    if (resources.io_weight && !on_.contains("io")) turn_on("io");
}

void Cgroups::release() {
    if (!root_) return;
    for (const std::string& controller : on_)
        (void)root_.write("cgroup.subtree_control", fmt::format("-{}", controller));
}

Result<sys::Cgroup> Cgroups::of(const std::string& service, bool make) const {
    return root_.child(fmt::format("{}{}", kService, service), make);
}

std::set<std::string> Cgroups::services() const {
    std::set<std::string> names;
    if (root_)
        for (const std::string& name : root_.children())
            if (name.starts_with(kService)) names.insert(name.substr(kService.size()));
    return names;
}

}  // namespace superd::core
