// SPDX-License-Identifier: MIT
#pragma once
// superd's reports as JSON: the shapes that contrib/man/control-protocol.md documents.

#include "base/json.h"
#include "core/report.h"
#include "intake/explanation.h"

namespace superd::control {

constexpr int kVersion = 1;

JsonText to_json(const core::DaemonReport& report);
JsonText to_json(const core::ServiceReport& report);
JsonText to_json(const core::ProcessReport& report);
JsonText to_json(const intake::Explanation& explanation);
JsonText to_json(const std::vector<conf::PlanItem>& items);
JsonText to_json(const std::vector<core::Complaint>& complaints);
JsonText to_json(const std::vector<conf::LeftOut>& left_out);

}  // namespace superd::control
