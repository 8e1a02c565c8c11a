// SPDX-License-Identifier: MIT
#pragma once
// superd's counters for Prometheus.

#include <string>

#include "core/operations.h"

namespace superd::control {

/// They differ in one thing: OpenMetrics 1.0 names a counter without _total where it says what it is, Prometheus'
/// text format (0.0.4), by which promtool checks, with it. Prometheus reads both; both end with "# EOF".
enum class MetricsFormat { prometheus, openmetrics };

std::string metrics_text(const core::Operations& superd, MetricsFormat format);

}  // namespace superd::control
