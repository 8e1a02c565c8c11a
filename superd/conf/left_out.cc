// SPDX-License-Identifier: MIT
#include "conf/left_out.h"

#include "conf/service.h"

namespace superd::conf {

std::vector<LeftOut> left_out(const Service& service) {
    std::vector<LeftOut> all;
    if (service.sandbox.is_kept()) all = service.sandbox->left_out;
    if (service.resources.is_kept())
        all.insert(all.end(), service.resources->left_out.begin(), service.resources->left_out.end());
    return all;
}

}  // namespace superd::conf
