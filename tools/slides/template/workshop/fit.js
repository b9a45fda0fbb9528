// Before reveal.js starts: on every page the largest letters that fit; then outputs, and only outputs, are cut.
(() => {
  const SIZES = [[32, 26], [30, 24], [28, 22], [26, 20], [24, 20], [24, 18]]; // body, code in px
  const UNITS = ".answer li, .answer tr, .answer p, .answer pre, .answer .highlight";
  const NOTE = "… cut here: the whole output is in the notebook";

  const overflows = (page) => {
    const limit = page.getBoundingClientRect();
    const bottom = limit.bottom - 40, right = limit.right - 30;
    return [...page.querySelectorAll(":scope > *:not(aside), :scope > * *")].some((element) => {
      const box = element.getBoundingClientRect();
      const broad = element.tagName === "PRE" && element.scrollWidth > element.clientWidth + 1;
      return box.height > 0 && (broad || box.bottom > bottom + 0.5 || box.right > right + 0.5);
    });
  };
  const pictureTooSmall = (page) =>
    [...page.querySelectorAll(".picture")].some((picture) => picture.clientHeight < 240);
  const tooMuch = (page) => overflows(page) || pictureTooSmall(page);

  const cutOnce = (page) => {
    const text = [...page.querySelectorAll(".text pre")].sort((a, b) => b.clientHeight - a.clientHeight)[0];
    const lines = text ? text.textContent.trimEnd().split("\n") : [];
    if (lines.length > 4) {
      const keep = lines.filter((line) => line !== NOTE);
      keep.splice(Math.ceil(keep.length * 0.6), 1, NOTE); // the end of an output often holds the result
      text.textContent = keep.join("\n");
      return true;
    }
    const unit = [...page.querySelectorAll(UNITS)].pop();
    if (!unit) return false;
    const answer = unit.closest(".answer"), parent = unit.parentElement;
    unit.remove();
    if (!parent.children.length && parent !== answer) parent.remove();
    if (!page.querySelector(".cut")) {
      answer.insertAdjacentHTML("afterend", `<p class="cut">${NOTE}</p>`);
    }
    return true;
  };

  document.body.classList.add("fitting");
  const style = document.createElement("style");
  style.textContent = ".fitting .reveal .slides, .fitting .reveal .slides section { display: block !important; " +
    "position: static !important; transform: none !important; visibility: visible !important; opacity: 1 !important; " +
    "zoom: 1 !important } .fitting .slides { width: 1280px }";
  document.head.append(style);
  for (const page of document.querySelectorAll(".page")) {
    for (const [body, code] of SIZES) {
      page.style.setProperty("--body", `${body}px`);
      page.style.setProperty("--code", `${code}px`);
      if (!tooMuch(page)) break;
    }
    if (tooMuch(page)) page.classList.add("wrapped");
    for (let left = 400; left && tooMuch(page) && cutOnce(page); left--);
  }
  document.body.classList.remove("fitting");
  style.remove();
  Reveal.initialize({
    width: 1280, height: 720, margin: 0, minScale: 0.2, maxScale: 4, center: false, hash: true, controls: false,
    progress: true, slideNumber: "c/t", transition: "none", backgroundTransition: "none", display: "block",
    plugins: [RevealNotes],
  });
})();
