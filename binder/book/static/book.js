"use strict";

// From file:// a page cannot fetch others to quote from them: results are titles only.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// A word that links to the glossary shows its meaning: to a mouse that rests on it, to the keyboard's focus, and to a
// finger, whose second tap follows the link.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.createElement("div");
  box.id = "meaning";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  document.body.append(box);
  let word = null, timer, touched = false;

  const hide = () => {
    clearTimeout(timer);
    word?.removeAttribute("aria-describedby");
    word = null;
    box.hidden = true;
  };
  const show = (link) => {
    hide();
    word = link;
    const { title, html } = GLOSSARY[link.hash.slice(1)];
    box.innerHTML = `<p><a href="${link.href}"></a></p>${html}`;
    box.querySelector("a").textContent = title;
    word.setAttribute("aria-describedby", box.id);
    box.hidden = false;
    // Below the word, or above it where there is no room; in the page, so that it scrolls along.
    const at = link.getClientRects()[0], page = document.documentElement;
    const left = Math.min(at.left, page.clientWidth - box.offsetWidth - 8);
    const below = at.bottom + box.offsetHeight + 8 < page.clientHeight || at.top < box.offsetHeight + 8;
    box.style.left = `${Math.max(left, 8) + scrollX}px`;
    box.style.top = `${(below ? at.bottom + 4 : at.top - box.offsetHeight - 4) + scrollY}px`;
  };
  const later = (what, milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(what, milliseconds);
  };

  for (const link of document.querySelectorAll(".bd-article a.reference.internal")) {
    if (!(link.hash.slice(1) in GLOSSARY)) continue;
    link.classList.add("glossary");
    link.addEventListener("pointerdown", (event) => (touched = event.pointerType !== "mouse"));
    link.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && later(() => show(link), 150));
    link.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && later(hide, 300));
    link.addEventListener("focus", () => touched || show(link));
    link.addEventListener("blur", () => later(hide, 300));
    link.addEventListener("click", (event) => {
      if (touched && word !== link) {
        event.preventDefault();
        show(link);
      }
    });
  }
  // The meaning has links of its own: it stays while the mouse or the focus is in it.
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("focusin", () => clearTimeout(timer));
  box.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && later(hide, 300));
  document.addEventListener("pointerdown", (event) => box.contains(event.target) || event.target.closest(".glossary") || hide());
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
});
