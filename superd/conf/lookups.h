// SPDX-License-Identifier: MIT
#pragma once
// What definitions are resolved against besides themselves: each question is asked once per load, and can be asked
// again in a later one, to see whether the result still holds.

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace superd::conf {

class Lookups {
  public:
    /// Builds a question of some kind from its words.
    static std::string question(std::initializer_list<std::string_view> words) {
        std::string all;
        for (const std::string_view word : words) all.append(word).append(1, '\0');  // no path or name contains it
        return all;
    }
    /// The answer to a question, which names its kind and everything that `look` depends on. `look` may ask other
    /// questions, outlives its origin, and returns something comparable.
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

    /// A definition means what is in this file: whoever asks for it says so here, each time.
    void rely_on(const std::string& path) { files_.insert(path); }
    const std::set<std::string>& files() const { return files_; }

    /// Asks everything that `other` has asked. True: all answers are the same.
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
    std::set<std::string> files_;
};

}  // namespace superd::conf
