// SPDX-License-Identifier: MIT
#include "conf/consultations.h"

#include <vector>

namespace superd::conf {

void Consultations::settle() {
    if (asked_.empty()) return;
    std::vector<sys::Consultation*> all;
    for (auto& [question, one] : asked_) all.push_back(&one);
    sys::Consultation::hear_all(all, *until_);
    for (auto& [question, one] : asked_) answer(question, one.answer());
    asked_.clear();
}

}  // namespace superd::conf
