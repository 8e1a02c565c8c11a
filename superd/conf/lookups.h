// SPDX-License-Identifier: MIT
#pragma once
// What definitions are resolved against beside themselves: each question is asked once in a load, and can be asked
// again in a later one, to see whether what was resolved still holds.

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace superd::conf {

class Lookups {
  public:
    /// A question of some kind about these.
    static std::string question(std::initializer_list<std::string_view> words) {
        std::string all;
        for (const std::string_view word : words) all.append(word).append(1, '\0');  // which is in no path or name
        return all;
    }
    /// The answer to a question, which says its kind and all that `look` goes by. `look` may ask others, outlives what
    /// it was made from, and gives something that compares.
    template <class Answer>
    const Answer& ask(std::string question, std::function<Answer(Lookups&)> look) {
        if (const auto known = known_.find(question); known != known_.end())
            return static_cast<const Known<Answer>&>(*known->second).answer;
        auto known = std::make_unique<Known<Answer>>(look(*this), look);
        const Answer& answer = known->answer;
        known_.emplace(std::move(question), std::move(known));
        return answer;
    }

    std::size_t size() const { return known_.size(); }

    /// Asks all that another has asked. True: every answer is what it was.
    bool as_before(const Lookups& other) {
        bool same = true;
        for (const auto& [question, known] : other.known_) same = same && known->is_same(*this, question);
        return same;
    }

  private:
    struct Any {
        virtual ~Any() = default;
        virtual bool is_same(Lookups& now, const std::string& question) const = 0;
    };
    template <class Answer>
    struct Known final : Any {
        Known(Answer found, std::function<Answer(Lookups&)> how) : answer(std::move(found)), look(std::move(how)) {}
        bool is_same(Lookups& now, const std::string& question) const override {
            return now.ask<Answer>(question, look) == answer;
        }
        Answer answer;
        std::function<Answer(Lookups&)> look;
    };

    std::map<std::string, std::unique_ptr<Any>, std::less<>> known_;
};

}  // namespace superd::conf
