// SPDX-License-Identifier: MIT
#pragma once
// Parts that pages are made of.

#include <optional>
#include <string>
#include <vector>

#include "web/control.h"

namespace status {

using Series = std::vector<std::optional<double>>;

/// The whole document around its main part.
std::string document(const std::string& title, const std::string& main);

/// A line over time with its title, which also says what it shows in words.
std::string chart(const std::string& title, const Series& series, std::string (*form)(double));
/// A small one inside of a table, for the eye alone.
std::string sparkline(const Series& series);
/// How much of a limit is used. Empty if there is none.
std::string bar(double used, double limit);
/// A service's state, as text and colour.
std::string badge(const web::Json& service);
/// "denied 2, gone 1": the counts that are not 0; empty if all are.
std::string counts(const web::Json& counts);
/// The last value of a series; 0 if there is none.
double last_of(const Series& series);

/// Rows of a table. A cell is HTML; `rank`: 0 is always shown, 1 unless the window is narrow, 2 if it is wide.
struct Column {
    const char* title;
    bool number = false;
    int rank = 0;
};
class Table {
  public:
    /// `label`: its name for those who cannot see where it stands. `kind`: its class.
    Table(std::string label, const char* kind, std::vector<Column> columns);
    /// One cell for each column. The first names the row.
    void add(const std::vector<std::string>& cells);
    bool empty() const { return rows_ == 0; }
    std::string html() const;

  private:
    std::string label_;
    const char* kind_;
    std::vector<Column> columns_;
    std::string body_;
    std::size_t rows_ = 0;
};

/// A list of names and values.
class Facts {
  public:
    void add(const char* name, const std::string& html);
    std::string html(const char* kind) const;

  private:
    std::string body_;
};

}  // namespace status
