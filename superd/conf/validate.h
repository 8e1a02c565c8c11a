// SPDX-License-Identifier: MIT
#pragma once
// What a key means together with the others and on this machine: the second half of making a Service.

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "conf/catalog.h"
#include "conf/lookups.h"
#include "conf/read.h"

namespace superd::conf {

/// What a draft is resolved against.
class Consultations;

struct Context {
    const Surroundings& from;
    Lookups& lookups;
    std::vector<std::string> handler_path;  ///< folders
    bool complete = true;                   ///< false: a file could not be read, and may hold what is missing
    bool handler_path_known = true;
    const toml::Source* defaults = nullptr;  ///< the file with [defaults], if any
    Consultations* consultations = nullptr;  ///< nullptr: other programs are asked one by one
};

/// Resolves what read() left: listen, handoff, prefork, [socket], limits, the handler.
void validate(Draft& draft, const Context& context, Diagnostics& errors);

/// A value from the service's own files; nullptr: not given, invalid, or a default, which need not suit every service.
const toml::Value* own(const Draft& draft, const Context& context, std::string_view name);

/// Reports "NAME WHY" for each of these that is in the service's own files.
void reject_own(Draft& draft, const Context& context, std::initializer_list<const char*> names, std::string_view why,
                Diagnostics& errors);

/// [socket]: which options its listeners can take, and whether superd may set them.
void resolve_socket(Draft& draft, const Context& context, Diagnostics& errors);

/// Limits and access: which of them can be enforced for these sockets, under this model.
void resolve_limits(Draft& draft, const Context& context, Diagnostics& errors);

/// [resources]: which of them superd's own cgroup allows.
void resolve_resources(Draft& draft, const Context& context, Diagnostics& errors);
/// [penalty], and what it means together with [limits]. After resolve_limits().
void resolve_penalty(Draft& draft, const Context& context, Diagnostics& errors);

/// [proxy_protocol], and what it means for [access]. Before resolve_limits(), which looks at access.on_deny.
void resolve_proxy_protocol(Draft& draft, const Context& context, Diagnostics& errors);

/// The handler: identity, folders, program, environment, resource limits.
void resolve_handler(Draft& draft, const Context& context, Diagnostics& errors);

/// [tls], after the handler: its files, and who has them.
void resolve_tls(Draft& draft, const Context& context, Diagnostics& errors);

/// [sandbox], after the handler: what it asks for, and what of that is to be had here.
void resolve_sandbox(Draft& draft, const Context& context, Diagnostics& errors);

}  // namespace superd::conf
