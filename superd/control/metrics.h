// SPDX-License-Identifier: MIT
#pragma once
// superd's counters for Prometheus.

#include <string>

#include "core/operations.h"

namespace superd::control {

/// The formats differ in one thing: where OpenMetrics 1.0 describes a counter, it leaves out _total; Prometheus' text
/// format (0.0.4), which promtool checks, has it. Prometheus reads both; both end with "# EOF".
enum class MetricsFormat { prometheus, openmetrics };

std::string metrics_text(const core::Operations& superd, MetricsFormat format);

}  // namespace superd::control
