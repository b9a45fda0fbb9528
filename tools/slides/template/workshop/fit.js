// Before reveal.js starts: on every page the largest letters that fit; then outputs, and only outputs, are cut.
(() => {
  const CODE = [28, 26, 24, 22, 21, 20, 19, 18], BODY = [32, 30, 28, 27, 26, 25, 24]; // px
  const UNITS = ".answer li, .answer tr, .answer p, .answer pre, .answer .highlight";
  const NOTE = "… cut here: the whole output is in the notebook";

  const broad = (page) =>
    [...page.querySelectorAll("pre")].some((text) => text.scrollWidth > text.clientWidth + 1);
  const overflows = (page) => {
    const limit = page.getBoundingClientRect();
    return [...page.querySelectorAll(":scope > *:not(aside), :scope > * *")].some((element) => {
      const box = element.getBoundingClientRect();
      return box.height > 0 && (box.bottom > limit.bottom - 39 || box.right > limit.right - 29);
    });
  };
  const pictureTooSmall = (page) =>
    [...page.querySelectorAll(".picture")].some((picture) => picture.clientHeight < 240);
  const tooMuch = (page) => overflows(page) || broad(page) || pictureTooSmall(page);

  const cutOnce = (page) => {
    const text = [...page.querySelectorAll(".text pre")].sort((a, b) => b.clientHeight - a.clientHeight)[0];
    const lines = text ? text.textContent.trimEnd().split("\n") : [];
    if (lines.length > 4) {
      const keep = lines.filter((line) => line !== NOTE);
      keep.splice(Math.ceil(keep.length * 0.6), 1, NOTE); // the end of an output often holds the result
      text.textContent = keep.join("\n");
      return true;
    }
    const long = [...page.querySelectorAll(".answer ol, .answer ul, .answer tbody")]
      .filter((list) => list.children.length > 5)
      .sort((a, b) => b.children.length - a.children.length)[0]; // what comes after a list often is the result
    const unit = long ? long.lastElementChild : [...page.querySelectorAll(UNITS)].pop();
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
    const fits = (code, body) => {
      page.style.setProperty("--code", `${code}px`);
      page.style.setProperty("--body", `${body}px`);
      return !tooMuch(page);
    };
    const settle = () => CODE.some((code) => BODY.some((body) => (body > 25 || code < 21) && fits(code, body)));
    if (!settle()) {
      page.classList.add("wrapped");
      settle();
    }
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
