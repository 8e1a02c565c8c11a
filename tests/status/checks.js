// SPDX-License-Identifier: MIT
// What a page must have so that everybody can use it, after WCAG 2.2 AA. The body of a function that returns a line for each breach.
const breaches = [];
const fault = (what, of) => breaches.push(of ? `${what}: ${of.outerHTML.slice(0, 120)}` : what);
const all = selector => [...document.querySelectorAll(selector)];
const shown = of => of.checkVisibility ? of.checkVisibility() : of.offsetParent !== null;
const text = of => (of.getAttribute("aria-label") || of.textContent).trim();

if (!/^[a-z]{2}/.test(document.documentElement.lang)) fault("no language");
if (!document.title.trim()) fault("no title");
if (!document.querySelector("meta[name=viewport]")) fault("no viewport");
if (document.querySelector("meta[http-equiv=refresh]")) fault("reloads by itself");
for (const part of ["header", "main", "footer"]) if (all(part).length !== 1) fault(`not one ${part}`);
const skip = document.querySelector("body > a[href='#main']");
if (document.body.firstElementChild !== skip) fault("no way past the header");

const levels = all("h1, h2, h3, h4, h5, h6").filter(shown).map(h => Number(h.tagName[1]));
if (levels.filter(level => level === 1).length !== 1 || levels[0] !== 1) fault("not one first heading");
levels.reduce((before, level) => { if (level > before + 1) fault(`a heading skips from ${before} to ${level}`); return level; });

const ids = all("[id]").map(of => of.id);
if (new Set(ids).size !== ids.length) fault("an id twice");
for (const of of all("[aria-describedby], label[for]")) {
    const id = of.getAttribute("aria-describedby") || of.htmlFor;
    if (!document.getElementById(id)) fault("refers to nothing", of);
}
for (const of of all("input")) if (!of.labels.length || !text(of.labels[0])) fault("no label", of);
for (const of of all("a, button")) if (shown(of) && !text(of)) fault("no name", of);
for (const of of all("svg")) if (of.getAttribute("aria-hidden") !== "true" && !(of.getAttribute("role") === "img" && text(of))) fault("no alternative", of);
for (const of of all("nav, [role=region]")) if (!of.getAttribute("aria-label")) fault("no name", of);
for (const table of all("table")) {
    const columns = table.querySelectorAll("thead th[scope=col]").length;
    for (const row of table.querySelectorAll("tbody tr")) {
        if (row.children.length !== columns) fault("cells without a column", row);
        if (!row.querySelector("th[scope=row]")) fault("no header", row);
    }
    if (!table.closest("[role=region][aria-label][tabindex='0']")) fault("cannot be scrolled by keys", table);
}
for (const of of all("dl > div")) if (!of.querySelector("dt") || !of.querySelector("dd")) fault("half a pair", of);
for (const of of all("a, button, input")) {
    const box = of.getBoundingClientRect();
    const inline = of.tagName === "A";  // in text, where lines decide
    if (shown(of) && !inline && (box.width < 24 || box.height < 24)) fault("too small a target", of);
}

const parts = colour => colour.match(/[\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = of => {
    for (let at = of; at; at = at.parentElement) {
        const colour = parts(getComputedStyle(at).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
};
const contrast = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode());) {
    const of = node.parentElement;
    if (!node.nodeValue.trim() || !shown(of) || of.closest("noscript")) continue;
    const ratio = contrast(parts(getComputedStyle(of).color), ground(of));
    if (ratio < 4.5) fault(`contrast ${ratio.toFixed(2)}`, of);
}
for (const of of all("svg path, svg .used")) {
    const style = getComputedStyle(of), colour = of.tagName === "path" ? style.stroke : style.fill;
    if (shown(of) && contrast(parts(colour), ground(of.closest("svg").parentElement)) < 3) fault("a faint drawing", of);
}
for (const of of all("input, button"))
    if (shown(of) && contrast(parts(getComputedStyle(of).borderTopColor), ground(of.parentElement)) < 3) fault("a faint edge", of);
if (document.documentElement.scrollWidth > innerWidth) fault(`wider than the window: ${document.documentElement.scrollWidth}`);
return breaches;
