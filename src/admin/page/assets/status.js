// Keeps the status page up to date: takes over, from each server-sent event, what has changed in the part that moves.
// Elements that stay keep their focus and what is selected in them.
"use strict";
(() => {
  const live = document.getElementById("live");
  const connection = document.getElementById("connection");
  // Without user and password, which the address of the page may have; with the apps that it asks for.
  const address = new URL("status/events" + location.search, location.origin + location.pathname);
  const AGAIN_AFTER_MS = 15000;
  let source = null;
  let again = 0;

  function say(state, words) {
    connection.dataset.state = state;
    connection.textContent = words;
  }

  function isSame(present, next) {
    return present.nodeType === next.nodeType && present.nodeName === next.nodeName
      && (present.nodeType !== Node.ELEMENT_NODE || present.dataset.key === next.dataset.key);
  }

  function takeOver(present, next) {
    if (present.nodeType !== Node.ELEMENT_NODE) {
      if (present.nodeValue !== next.nodeValue) present.nodeValue = next.nodeValue;
      return;
    }
    for (const { name } of [...present.attributes]) {
      if (!next.hasAttribute(name)) present.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (present.getAttribute(name) !== value) present.setAttribute(name, value);
    }
    takeOverChildren(present, next);
  }

  function takeOverChildren(present, next) {
    let child = present.firstChild;
    for (const wanted of [...next.childNodes]) {
      if (child !== null && isSame(child, wanted)) {
        takeOver(child, wanted);
        child = child.nextSibling;
      } else if (child !== null) {
        const stale = child;
        child = child.nextSibling;
        stale.replaceWith(wanted);
      } else {
        present.append(wanted);
      }
    }
    while (child !== null) {
      const stale = child;
      child = child.nextSibling;
      stale.remove();
    }
  }

  function show(html) {
    takeOverChildren(live, new DOMParser().parseFromString(html, "text/html").body);
    document.title = live.querySelector("[data-title]").dataset.title;
    say("live", "Live");
  }

  function close() {
    clearTimeout(again);
    if (source !== null) source.close();
    source = null;
  }

  function open() {
    close();
    source = new EventSource(address);
    source.addEventListener("status", event => show(event.data));
    source.addEventListener("error", () => {
      say("lost", "Not connected, trying again");
      // The browser tries again by itself unless it was refused.
      if (source !== null && source.readyState === EventSource.CLOSED) again = setTimeout(open, AGAIN_AFTER_MS);
    });
  }

  // A page that nobody looks at takes nobody's place.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  say("lost", "Connecting");
  if (!document.hidden) open();
})();
