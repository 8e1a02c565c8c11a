// SPDX-License-Identifier: MIT
// IPAddressAllow and IPAddressDeny, systemd.resource-control(5).
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ctl/import/access.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

using unit::Assignment;
using unit::Unit;

/// "a-b.slice" is inside "a.slice", and all are inside "-.slice".
std::vector<std::string> with_parents(std::string slice) {
    std::vector<std::string> out{slice};
    std::string stem = slice.substr(0, slice.rfind('.'));
    for (std::size_t dash = stem.rfind('-'); dash != std::string::npos && dash > 0; dash = stem.rfind('-')) {
        stem.erase(dash);
        out.push_back(stem + ".slice");
    }
    if (stem != "-") out.emplace_back("-.slice");
    return out;
}

class Lists {
  public:
    Lists(const Units& units, const Listing& listing, Import& import) : units_(units), import_(import) {
        add(listing.unit, listing.section);
        const Assignment* named = listing.unit.last(listing.section, "Slice");
        const unit::Specifiers specifiers(listing.name);
        std::string slice = "system.slice";
        if (const std::size_t at = listing.name.find('@'); at != std::string::npos)
            slice = fmt::format("system-{}.slice", listing.name.substr(0, at));
        if (named != nullptr) slice = specifiers.expand(named->value).value_or(named->value);
        for (const std::string& one : with_parents(slice)) {
            const Unit unit(units_, one, import_.notes);
            add(unit, "Slice");
        }
    }

    /// Allow comes before deny; a client in neither list is let in.
    AccessList result() {
        AccessList out{"IPAddressDeny", at_, {}, true, std::move(lost_in_), std::move(lost_out_)};
        out.add(allow_, true);
        out.add(deny_, false);
        return out;
    }
    bool denies() const { return !deny_.empty() || !lost_out_.empty(); }
    bool allows() const { return !allow_.empty() || !lost_in_.empty(); }
    const Origin& at() const { return at_; }

  private:
    void add(const Unit& unit, std::string_view section) {
        read(unit, section, "IPAddressAllow", allow_, lost_in_);
        read(unit, section, "IPAddressDeny", deny_, lost_out_);
    }

    void read(const Unit& unit, std::string_view section, std::string_view key, std::vector<sys::Prefix>& out,
              std::vector<std::string>& lost) {
        static const std::map<std::string_view, std::vector<std::string>> known{
            {"any", {"0.0.0.0/0", "::/0"}},
            {"localhost", {"127.0.0.0/8", "::1"}},
            {"link-local", {"169.254.0.0/16", "fe80::/64"}},
            {"multicast", {"224.0.0.0/4", "ff00::/8"}}};
        for (const Assignment* one : unit.all(section, key)) {
            at_ = one->at;
            const auto words = unit::words_of(one->value);
            if (!words) lost.push_back(one->value);
            for (const std::string& word : words.value_or(std::vector<std::string>{})) {
                const auto group = known.find(word);
                for (const std::string& text : group != known.end() ? group->second : std::vector<std::string>{word}) {
                    const auto prefix = sys::parse_prefix(text);
                    if (prefix) {
                        out.push_back(*prefix);
                    } else {
                        lost.push_back(text);
                    }
                }
            }
        }
    }

    const Units& units_;
    Import& import_;
    Origin at_;
    std::vector<sys::Prefix> allow_, deny_;
    std::vector<std::string> lost_in_, lost_out_;
};

}  // namespace

void map_access(const Units& units, const Listing& socket, const Listing& service, Imported& out, Import& import) {
    std::vector<AccessList> lists;
    for (const Listing& one : {socket, service}) {
        Lists found(units, one, import);
        if (found.denies()) {
            lists.push_back(found.result());
        } else if (found.allows()) {
            import.note(found.at(), out.name, Fate::changed,
                        "IPAddressAllow without IPAddressDeny denies nobody: left out");
        }
    }
    set_access(import, out, lists);
}

}  // namespace superd::ctl::systemd
