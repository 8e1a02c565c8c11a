// SPDX-License-Identifier: MIT
#include "model/model.h"

#include "model/delayed.h"
#include "model/fork.h"
#include "model/iterative.h"
#include "model/prefork.h"
#include "model/workers.h"

namespace superd::model {

std::unique_ptr<Model> make_model(Host& host, const conf::Service& definition) {
    switch (definition.model) {
        case conf::Model::fork:
            return std::make_unique<Fork>(host);
        case conf::Model::iterative:
            return std::make_unique<Iterative>(host, definition.handoff);
        case conf::Model::delayed:
            if (definition.handoff == conf::Handoff::listen) return std::make_unique<Workers>(host, definition);
            return std::make_unique<Delayed>(host, definition.delay);
        case conf::Model::prefork:
            if (definition.handoff == conf::Handoff::listen) return std::make_unique<Workers>(host, definition);
            return std::make_unique<PreforkConnection>(host, definition.prefork);
    }
    return nullptr;
}

}  // namespace superd::model
