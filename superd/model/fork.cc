// SPDX-License-Identifier: MIT
#include "model/fork.h"

namespace superd::model {

void Fork::ready(std::size_t listener) {
    for (int i = 0; i < kBatch; ++i) {
        auto client = host_.take(listener);
        if (!client) return;
        host_.serve(std::move(*client));
    }
}

}  // namespace superd::model
