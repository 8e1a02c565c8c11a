// SPDX-License-Identifier: MIT
#pragma once
// superd's reports as JSON: the shapes that contrib/man/control-protocol.md documents.

#include <nlohmann/json.hpp>

#include "core/report.h"
#include "intake/explanation.h"

namespace superd::control {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;

Json to_json(const core::DaemonReport& report);
Json to_json(const core::ServiceReport& report);
Json to_json(const core::ProcessReport& report);
Json to_json(const intake::Explanation& explanation);
Json to_json(const std::vector<conf::PlanItem>& items);
Json to_json(const std::vector<core::Complaint>& complaints);
Json to_json(const std::vector<conf::LeftOut>& left_out);

}  // namespace superd::control
