// SPDX-License-Identifier: MIT
// A client's way through the entrance: judged as the peer that it is, then as the client that it turns out to be.
#include <poll.h>
#include <sys/socket.h>

#include "intake/intake.h"

namespace superd::intake {

using admit::Refusal;

void Intake::come(model::Client client, const conf::ProxyProtocol& rules, bool despite_all) {
    if (!rules.on) return know(std::move(client), despite_all);
    const auto source = source_of(client);
    if (HeaderStage::trusts(rules, client.peer, client.local.family() == AF_UNIX))
        return enter(std::move(client), {header_, source, true, despite_all});
    touch(client, source);
    has_failed(std::move(client), source, Refusal::stranger, true, ": not in proxy_protocol.from");
}

void Intake::enter(model::Client client, const Entrance::Entry& entry) {
    const Instant time = host_.now();
    wake_by(time + entry.stage.timeout());  // first, since memory may run out on its way
    entrance_.enter(std::move(client), entry, time);
}

void Intake::know(model::Client client, bool despite_all) {
    Stage* const handshake = host_.handshake();
    if (handshake == nullptr) return client.introduction ? introduced(std::move(client)) : arrive(std::move(client));
    if (!client.introduction) client.introduction = model::Introduction{model::credentials_of(client)};
    if (!may_begin(client)) return;
    const auto source = source_of(client);
    // Those without a source would share its bound.
    const bool free = client.introduction->is_proxy || source.kind == admit::SourceKey::Kind::none;
    enter(std::move(client), {*handshake, source, free, despite_all});
}

bool Intake::may_begin(model::Client& client) {
    const auto source = source_of(client);
    touch(client, source);
    const admit::Debt* owes = debt_of(client.peer, source);
    const auto against = judgement(client.peer, source, owes, client.introduction->is_proxy);
    if (against && !(may_wait(*against, client.kind) && held_.has_place(source))) {
        turn_away(std::move(client), source, *against, owes, true);
        return false;
    }
    if (!client.introduction->is_proxy && !admission_.may_shake(source, host_.now(), entrance_.of_source(source))) {
        let_go(std::move(client), Refusal::per_source_rate, false, ": of handshakes that came to nothing", true);
        return false;
    }
    const auto full = overload();
    if (!full || queues()) return true;
    let_go(std::move(client), *full, false, {}, true);
    return false;
}

void Intake::introduced(model::Client client) {
    const auto full = overload();
    if (!full || queues()) return introduced_.push_back(std::move(client));
    if (judge(client)) let_go(std::move(client), *full, false);
}

void Intake::has_passed(model::Client client, Stage::Id from) {
    from == Stage::kHeader ? know(std::move(client), false) : introduced(std::move(client));
}

void Intake::has_failed(model::Client client, const admit::SourceKey& source, Refusal why, bool its_fault,
                        std::string_view more) {
    const bool innocent = why == Refusal::gone || why == Refusal::no_descriptors || why == Refusal::tls;
    const bool shook = why == Refusal::gone || why == Refusal::handshake || why == Refusal::handshake_timeout;
    if (shook && client.introduction && !client.introduction->is_proxy) admission_.unfinished(source, host_.now());
    if (its_fault && !innocent) penalise(client.peer, source, admit::Offence::refused);
    let_go(std::move(client), why, true, more);
}

std::size_t Intake::end_secured(Secured which, std::string_view more) {
    const auto ends = [which](const model::Client& client) {
        if (!client.introduction || !client.connection) return false;
        pollfd look{client.connection.get(), 0, 0};
        return which == Secured::all || (poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0);
    };
    std::list<model::Client> ended = held_.take_if(ends);
    for (std::list<model::Client>* const line : {&introduced_, &stalled_})
        for (auto at = line->begin(); at != line->end();) {
            const auto one = at++;
            if (ends(*one)) ended.splice(ended.end(), *line, one);
        }
    for (model::Client& client : ended) let_go(std::move(client), Refusal::tls, true, more);
    return ended.size();
}

}  // namespace superd::intake
