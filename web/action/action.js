// Sends the form without leaving the page, and puts what comes back where it belongs. Without this script the buttons
// post the form, and the answer is a page.
//
// The form's own properties are not used: a param called "action" or "elements" would hide them.
"use strict";
(() => {
  const main = document.querySelector("main");
  const form = document.getElementById("action_form");
  const message = document.getElementById("ActionMessage");
  const result = document.getElementById("action_result");
  const stop = document.getElementById("action_stop");
  const buttons = document.querySelectorAll("#action_form button[type=submit]");
  let running = null;

  function say(text, kind) {
    const box = document.createElement("div");
    box.setAttribute("role", "status");
    box.className = "status " + kind;
    box.textContent = text;
    message.replaceChildren(box);
    return box;
  }

  function setBusy(isBusy) {
    for (const b of buttons)
      b.disabled = isBusy;
    stop.hidden = !isBusy;
    main.setAttribute("aria-busy", String(isBusy));
  }

  // Elements with hx-swap-oob replace the inside of the one of the same id; the rest is the message.
  function apply(html) {
    const page = new DOMParser().parseFromString(html, "text/html");
    for (const part of page.querySelectorAll("[hx-swap-oob]")) {
      const target = document.getElementById(part.id);
      part.remove();
      if (target)
        target.replaceChildren(...part.childNodes);
    }
    message.replaceChildren(...page.body.childNodes);
    const lines = result.querySelector("pre.report");
    if (lines)
      lines.scrollTop = lines.scrollHeight;
    let first = null;
    for (const e of document.querySelectorAll("#action_form output.error")) {
      const control = document.getElementById(e.id.slice(0, -"_error".length));
      if (!control)
        continue;
      control.removeAttribute("aria-invalid");
      if (!e.textContent)
        continue;
      control.setAttribute("aria-invalid", "true");
      first = first || control;
    }
    if (first)
      first.focus();
    else
      message.scrollIntoView({block: "nearest"});
  }

  // What is entered, as the query of an address; but files and passwords.
  function entered() {
    const query = new URLSearchParams();
    for (const e of document.querySelectorAll("#action_form [name]"))
      if (e.type === "checkbox")
        query.append(e.name, String(e.checked));
      else if (e.type !== "password" && e.type !== "file" && e.value)
        query.append(e.name, e.value);
    const text = String(query);
    return text && text.length <= 4000 ? "?" + text : "";
  }

  function bodyOf(data) {
    return document.querySelector("#action_form input[type=file]") ? data : new URLSearchParams(data);
  }

  // Reads an answer; lines of a command that still runs are shown as they come. They are escaped text, so the element
  // that they are in ends at the first "<".
  async function read(reply) {
    const start = /<pre class="report"[^>]*>/;
    const names = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&#34;": '"', "&#39;": "'"};
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "", from = 0, live = null;
    for (;;) {
      const {done, value} = await reader.read();
      if (done)
        return text;
      text += value;
      const found = live ? null : start.exec(text);
      if (found) {
        live = document.createElement("pre");
        live.className = "report";
        result.replaceChildren(live);
        from = found.index + found[0].length;
      }
      if (!live)
        continue;
      let part = text.slice(from);
      const end = part.search(/<|&[#a-z0-9]*$/);   // a reference may be cut
      part = end < 0 ? part : part.slice(0, end);
      from += part.length;
      const isAtEnd = live.scrollTop + live.clientHeight >= live.scrollHeight - 4;
      live.append(part.replace(/&(?:amp|lt|gt|#34|#39);/g, m => names[m]));
      if (isAtEnd)
        live.scrollTop = live.scrollHeight;
    }
  }

  async function send(url, what, button) {
    const began = Date.now();
    const abort = running = new AbortController();
    const time = document.createElement("span");
    time.setAttribute("aria-hidden", "true");   // not to be read out each second
    say(what + "...", "busy").append(time);
    const clock = setInterval(() => {
      time.textContent = Math.round((Date.now() - began) / 1000) + " s";
    }, 1000);
    setBusy(true);
    try {
      const reply = await fetch(url, {
        method: "POST", body: bodyOf(new FormData(form)), headers: {"HX-Request": "true", "Accept": "text/html"},
        signal: abort.signal,
      });
      const text = await read(reply);
      clearInterval(clock);
      if (reply.redirected)   // to a sign-in page: what was entered is there again afterwards
        location.assign(main.dataset.url + entered());
      else if (reply.ok && (reply.headers.get("Content-Type") || "").startsWith("text/html"))
        apply(text);
      else
        say(text.trim() || "The server answered " + reply.status, "bad");
      // Replaced rather than pushed: going back leaves the page, and does not step through runs.
      if (reply.ok && reply.headers.get("HX-Push-Url"))
        history.replaceState(null, "", reply.headers.get("HX-Push-Url"));
    } catch (e) {
      clearInterval(clock);
      say(abort.signal.aborted ? "Stopped" : "The server could not be reached, or you have been signed out: reload the page", "bad");
    } finally {
      running = null;
      setBusy(false);
      if (button && document.activeElement === document.body)   // it was lost when the button was disabled
        button.focus({preventScroll: true});
    }
  }

  document.addEventListener("submit", event => {
    event.preventDefault();
    if (running)
      return;
    const by = event.submitter;
    const isRun = !by || !by.hasAttribute("formaction");
    if (isRun)
      result.replaceChildren();
    send(isRun ? main.dataset.url : by.formAction, isRun ? "Running" : by.textContent === "Suggest" ? "Asking" : "Checking", by);
  });
  stop.addEventListener("click", () => running && running.abort());

  // Other actions begin with what was entered here.
  for (const link of document.querySelectorAll("nav a"))
    link.addEventListener("click", () => link.search = entered());
})();
