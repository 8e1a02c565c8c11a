// SPDX-License-Identifier: MIT
#include "status/html.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "status/text.h"

namespace status {
namespace {

std::string host_name() {
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

double most_of(const Series& series) {
    double most = 0;
    for (const auto& value : series) most = std::max(most, value.value_or(0));
    return most;
}

/// Lines through the values that there are, in a box of this size; a gap stays one.
std::string lines(const Series& series, double width, double height) {
    const double most = most_of(series),
                 step = width / static_cast<double>(std::max<std::size_t>(series.size() - 1, 1));
    std::string path;
    bool drawing = false;
    for (std::size_t i = 0; i < series.size(); ++i) {
        if (!series[i]) {
            drawing = false;
            continue;
        }
        const double x = step * static_cast<double>(i);
        const double y = height - 1 - (most > 0 ? *series[i] / most * (height - 2) : 0);
        // A slot is as wide as a step, so that a value between gaps is seen.
        path += drawing ? fmt::format("L{:.1f} {:.1f}", x, y) : fmt::format("M{:.1f} {:.1f}H{:.1f}", x - step, y, x);
        drawing = true;
    }
    return path;
}

const char* rank_class(int rank) {
    return rank == 0 ? "" : rank == 1 ? " mid" : " wide";
}

}  // namespace

std::string document(const std::string& title, const std::string& main) {
    const std::string host = escape(host_name());
    return fmt::format(
        R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{0}{1}</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/style.css">
<script src="/live.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header><a class="brand" href="/">superd</a> <span class="host">{2}</span>
<div id="live"><noscript><span>Reload the page for new figures.</span></noscript></div></header>
<main id="main" tabindex="-1">
{3}</main>
<footer><p>Read only. <a href="/status.json">As JSON</a></p></footer>
</body>
</html>
)",
        title, host.empty() ? "" : " on " + host, host, main);
}

std::string chart(const std::string& title, const Series& series, std::string (*form)(double)) {
    constexpr double kWidth = 300, kHeight = 60;
    std::string words = "nothing yet";
    if (std::ranges::any_of(series, [](const auto& value) { return value.has_value(); }))
        words = (series.back() ? fmt::format("now {}, ", form(*series.back())) : "") + "most " + form(most_of(series));
    return fmt::format(
        "<figure><figcaption>{0}: <span>{1}</span></figcaption><svg class=\"chart\" role=\"img\" aria-label=\"{0} in "
        "the last "
        "five minutes: {1}\" viewBox=\"0 0 {2} {3}\" preserveAspectRatio=\"none\"><path d=\"{4}\"/></svg></figure>\n",
        title, words, kWidth, kHeight, lines(series, kWidth, kHeight));
}

std::string sparkline(const Series& series) {
    return fmt::format(
        "<svg class=\"spark\" aria-hidden=\"true\" viewBox=\"0 0 60 16\" preserveAspectRatio=\"none\"><path "
        "d=\"{}\"/></svg>",
        lines(series, 60, 16));
}

std::string bar(double used, double limit) {
    if (limit <= 0) return "";
    const double part = std::clamp(used / limit, 0.0, 1.0);
    return fmt::format(
        "<svg class=\"bar{}\" aria-hidden=\"true\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\"><rect "
        "class=\"all\" "
        "width=\"100\" height=\"4\"/><rect class=\"used\" width=\"{:.1f}\" height=\"4\"/></svg>",
        part >= 1 ? " full" : "", part * 100);
}

std::string badge(const web::Json& service) {
    const std::string state = web::text_of(service, "state");
    const bool bad = state == "backoff" || state == "waiting";
    return fmt::format("<span class=\"state {}\">{}</span>",
                       state == "listening"  ? "good"
                       : bad                 ? "bad"
                       : state == "disabled" ? "off"
                                             : "notice",
                       escape(state));
}

std::string counts(const web::Json& counts) {
    std::string text;
    for (const auto& [name, value] : counts.items())
        if (value.is_number() && value.get<double>() > 0)
            text += fmt::format("{}{}&nbsp;{:.0f}", text.empty() ? "" : ", ", escape(name), value.get<double>());
    return text;
}

double last_of(const Series& series) {
    return series.empty() ? 0 : series.back().value_or(0);
}

Table::Table(std::string label, const char* kind, std::vector<Column> columns)
    : label_(std::move(label)), kind_(kind), columns_(std::move(columns)) {}

void Table::add(const std::vector<std::string>& cells) {
    body_ += "<tr>";
    for (std::size_t i = 0; i < columns_.size() && i < cells.size(); ++i) {
        const std::string kind = fmt::format("{}{}", columns_[i].number ? "number" : "", rank_class(columns_[i].rank));
        const std::string cell = cells[i].empty() ? "–" : cells[i];
        body_ += i == 0 ? fmt::format("<th scope=\"row\" class=\"{}\">{}</th>", kind, cell)
                        : fmt::format("<td class=\"{}\">{}</td>", kind, cell);
    }
    body_ += "</tr>\n";
    ++rows_;
}

std::string Table::html() const {
    std::string head;
    for (const Column& column : columns_)
        head += fmt::format("<th scope=\"col\" class=\"{}{}\">{}</th>", column.number ? "number" : "",
                            rank_class(column.rank), column.title);
    // It can be scrolled by keys too.
    return fmt::format(
        "<div class=\"scroll {}\" role=\"region\" aria-label=\"{}\" "
        "tabindex=\"0\"><table>\n<thead><tr>{}</tr></thead>\n"
        "<tbody>\n{}</tbody>\n</table></div>\n",
        kind_, label_, head, body_);
}

void Facts::add(const char* name, const std::string& html) {
    body_ += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", name, html.empty() ? "–" : html);
}

std::string Facts::html(const char* kind) const {
    return fmt::format("<dl class=\"{}\">\n{}</dl>\n", kind, body_);
}

}  // namespace status
