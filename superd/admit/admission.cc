// SPDX-License-Identifier: MIT
#include "admit/admission.h"

#include <cassert>

namespace superd::admit {

Charge::~Charge() {
    if (admission_ != nullptr) --admission_->in_use_;
}

Admission::~Admission() {
    assert(in_use_ == 0);
}

Charge Admission::charge() {
    ++in_use_;
    return Charge(this);
}

}  // namespace superd::admit
