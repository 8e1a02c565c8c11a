// SPDX-License-Identifier: MIT
// A worker of a superd pool, in C++: services/lib/worker.h does the rest. The same program serves one connection under
// model = "fork" and accepts connections itself under handoff = "listen"; with --threads N it does so in N threads.
#include "lib/worker.h"

#include <array>
#include <string>

#include "lib/stream.h"

namespace {

void hello(worker::Connection client) {
    std::array<char, 4096> buffer;
    std::string line;
    while (const std::size_t got = worker::read_some(client.in, buffer)) {
        line.append(buffer.data(), got);
        for (auto end = line.find('\n'); end != std::string::npos; end = line.find('\n')) {
            if (!worker::write_all(client.out, "hello " + line.substr(0, end + 1))) return;
            line.erase(0, end + 1);
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    worker::Service service;
    service.summary = "Greets each line.";
    service.connection = hello;
    return worker::run(argc, argv, service);
}
