// SPDX-License-Identifier: MIT
// Fetches the page that is shown once a second, and carries over what differs: what has the focus, is selected or is
// scrolled stays so. Parts with data-keep are left alone.
"use strict";
(() => {
    const place = document.getElementById("live");
    const button = document.createElement("button");
    const word = document.createElement("span");
    word.setAttribute("role", "status");
    place.replaceChildren(word, button);
    button.type = "button";

    let paused = false, pending = null, timer = 0;
    const say = (text, kind) => {
        if (word.textContent !== text) word.textContent = text;
        place.className = kind;
    };

    const source = new URL(location.href);
    for (const name of ["client", "via"]) source.searchParams.delete(name);
    source.hash = "";

    const carry = (from, to) => {
        if (to.nodeType === Node.ELEMENT_NODE && to.hasAttribute("data-keep")) return;
        if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) return void to.replaceWith(from);
        if (to.nodeType !== Node.ELEMENT_NODE) {
            if (to.nodeValue !== from.nodeValue) to.nodeValue = from.nodeValue;
            return;
        }
        for (const {name} of [...to.attributes]) if (!from.hasAttribute(name)) to.removeAttribute(name);
        for (const {name, value} of from.attributes)
            if (to.getAttribute(name) !== value) to.setAttribute(name, value);
        const now = [...to.childNodes], then = [...from.childNodes];
        then.forEach((child, i) => i < now.length ? carry(child, now[i]) : to.append(child));
        now.slice(then.length).forEach(child => child.remove());
    };

    const look = async () => {
        pending = new AbortController();
        const patience = setTimeout(() => pending.abort(), 15000);
        try {
            const answer = await fetch(source, {signal: pending.signal, headers: {Accept: "text/html"}});
            const page = new DOMParser().parseFromString(await answer.text(), "text/html");
            const main = page.getElementById("main");
            if (!paused && main) carry(main, document.getElementById("main"));
            if (!paused) say(answer.status === 503 ? "superd does not answer" : "Live", answer.status === 503 ? "bad" : "good");
        } catch {
            if (!paused) say("Not reached; trying again", "bad");
        } finally {
            clearTimeout(patience);
            pending = null;
        }
    };

    const next = () => {
        clearTimeout(timer);
        if (!paused && !document.hidden) timer = setTimeout(async () => { await look(); next(); }, 1000);
    };

    const set = to => {
        paused = to;
        button.textContent = paused ? "Resume updates" : "Pause updates";
        if (paused) say("Paused", "off");
        if (paused && pending) pending.abort();
        next();
    };
    button.addEventListener("click", () => set(!paused));
    document.addEventListener("visibilitychange", next);
    say("Live", "good");
    set(false);
})();
