// SPDX-License-Identifier: MIT
// superd's own counters over HTTP, for Prometheus: GET /metrics. Each scrape is one question to superd's control
// socket, whose path comes from --control PATH or SUPERD_CONTROL (pass_environment = ["SUPERD_CONTROL"]). [control]
// readers must let the user of this program read there.

#include <stdio.h>

#include "web/control.h"
#include "web/options.h"
#include "web/server.h"

namespace {

void ask(web::Control& control, web::Server& server, web::Exchange& exchange, bool openmetrics) {
    if (!control.has_room()) return server.answer(exchange, web::plain(503, "too many ask at once"));
    server.wait(exchange);
    control.ask({{"verb", "metrics"}, {"format", openmetrics ? "openmetrics" : "prometheus"}},
                [&server, &exchange](web::Answer answer) {
                    exchange.found = std::move(answer);
                    server.wake(exchange);
                });
}

void serve(web::Control& control, web::Server& server, web::Exchange& exchange) {
    if (exchange.path() != "/metrics")
        return server.answer(exchange, web::plain(404, "superd's metrics are at /metrics"));
    const bool openmetrics = exchange.field("Accept").find("application/openmetrics-text") != std::string::npos;
    if (!exchange.found) return ask(control, server, exchange, openmetrics);
    if (!*exchange.found) {
        fprintf(stderr, "%s\n", exchange.found->error().c_str());
        return server.answer(exchange, web::plain(503, exchange.found->error()));
    }
    const char* const type = openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                         : "text/plain; version=0.0.4; charset=utf-8";
    server.answer(exchange, web::Response(200, type, web::text_of(**exchange.found, "text")));
}

}  // namespace

int main(int argc, char** argv) {
    const auto options = web::parse_options(
        argc, argv, {.summary = "Serves superd's metrics to Prometheus: GET /metrics.", .checks_host = false});
    if (!options) return options.error();
    web::Control control(options->control);
    web::Server server(*options, control, false);
    return server.run([&](web::Exchange& exchange) { serve(control, server, exchange); });
}
