// SPDX-License-Identifier: MIT
#pragma once
// Takes over the whole terminal, and gives it back as it was, whichever way the program ends.

#include <termios.h>

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace superd::ctl {

class Screen {
  public:
    enum class Event { none, key, up, down, page_up, page_down, resized, leave };

    /// Errors: stdin or stdout is not a terminal.
    Screen() = default;
    Result<void> open();
    ~Screen();
    Screen(const Screen&) = delete;

    std::size_t width() const { return width_; }
    std::size_t height() const { return height_; }
    /// Shows these lines from the top and clears the rest. Each already fits within width().
    void draw(const std::vector<std::string>& lines);
    /// Waits for a key or a signal, at most that long. `key()` is the character of Event::key. Signals that end
    /// programs, Ctrl-C and the loss of the terminal are Event::leave.
    Event wait(int milliseconds);
    char key() const { return key_; }

  private:
    void measure();
    Event next_key();

    bool open_ = false;
    termios before_{};
    sys::Fd signals_;
    std::size_t width_ = 80, height_ = 24;
    std::string typed_;
    char key_ = 0;
};

}  // namespace superd::ctl
