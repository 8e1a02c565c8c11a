// SPDX-License-Identifier: MIT
#include "control/security.h"

#include "conf/exposure.h"
#include "conf/sandbox_machine.h"

namespace superd::control {
namespace {

/// 7 is 0.7.
double rated(int tenths) {
    return tenths / 10.0;
}

JsonText summary(const conf::Service& service, const conf::Exposure& exposure) {
    return {{"name", service.name},
            {"preset", conf::name_of(service.sandbox->preset)},
            {"exposure", rated(exposure.tenths)},
            {"rating", exposure.rating},
            {"landlock", conf::uses_landlock(service.sandbox)},
            {"left_out", to_json(conf::left_out(service))}};
}

JsonText details(const conf::Service& service) {
    const conf::Exposure exposure = conf::exposure(service);
    JsonText out = summary(service, exposure);
    JsonText lines = JsonText::array();
    for (const conf::ExposureLine& one : exposure.lines)
        lines.push_back(
            {{"setting", one.setting}, {"text", one.says}, {"exposure", rated(one.tenths)}, {"mend", one.mend}});
    out.add("lines", lines);
    out.add("unit", conf::equivalent_unit(service));
    return out;
}

}  // namespace

std::optional<JsonText> security(const conf::Catalog& catalog, const std::string& service) {
    JsonText all = JsonText::array();
    if (!service.empty()) {
        const auto found = catalog.services.find(service);
        if (found == catalog.services.end()) return std::nullopt;
        all.push_back(details(found->second));
        return JsonText{{"services", std::move(all)}};
    }
    for (const auto& [name, one] : catalog.services) all.push_back(summary(one, conf::exposure(one)));
    return JsonText{{"services", std::move(all)}};
}

}  // namespace superd::control
