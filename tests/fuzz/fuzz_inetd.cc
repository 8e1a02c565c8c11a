// SPDX-License-Identifier: MIT
// inetd.conf, from its text to the definitions.
#include "fit_imported.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace superd::ctl;
    fit_imported(import_inetd("inetd.conf", {reinterpret_cast<const char*>(data), size}));
    return 0;
}
