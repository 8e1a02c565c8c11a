// SPDX-License-Identifier: MIT
#include "proxy/connection.h"

namespace proxy {

void Queue::push(Connection& connection, Instant since) {
    if (connection.queue != nullptr) connection.queue->remove(connection);
    connection.queue = this;
    connection.since = since;
    // Mostly the latest; a client that waits once more came before others.
    Connection* before = last_;
    while (before != nullptr && before->since > since) before = before->before;
    connection.before = before;
    connection.after = before != nullptr ? before->after : first_;
    (connection.before != nullptr ? connection.before->after : first_) = &connection;
    (connection.after != nullptr ? connection.after->before : last_) = &connection;
    ++size_;
}

void Queue::remove(Connection& connection) {
    (connection.before != nullptr ? connection.before->after : first_) = connection.after;
    (connection.after != nullptr ? connection.after->before : last_) = connection.before;
    connection.before = connection.after = nullptr;
    connection.queue = nullptr;
    --size_;
}

}  // namespace proxy
