"use strict";
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const list = document.getElementById("cards");
  const large = document.getElementById("large");
  const slider = form.elements.quality;
  const cards = [...list.children].map((node) => ({
    node, of: JSON.parse(node.dataset.of), places: JSON.parse(node.dataset.places),
  }));

  const value = (name) => form.elements[name]?.value ?? "";
  const visible = () => cards.map((card) => card.node).filter((node) => !node.hidden);

  function fits(card) {
    const own = card.of[value("source")] ?? {};
    const flag = value("flag");
    const least = Number(value("quality"));
    return (!value("set") || value("set") in card.places)
      && (!value("class") || card.node.dataset.class === value("class"))
      && (!value("kind") || own.kind === value("kind"))
      && (!flag || (flag === "-" ? !own.flag : own.flag === flag.slice(1)))
      && (!least || (own.quality ?? -1) >= least);
  }

  function show() {
    const set = value("set");
    for (const card of cards) card.node.hidden = !fits(card);
    if (set) cards.sort((a, b) => (a.places[set] ?? Infinity) - (b.places[set] ?? Infinity));
    list.append(...cards.map((card) => card.node));
    if (slider) slider.nextElementSibling.textContent = Number(slider.value).toFixed(2);
    document.getElementById("count").textContent = `${visible().length} of ${cards.length} images`;
  }

  function choose(name, wanted) {
    if (form.elements[name]) form.elements[name].value = wanted;
  }

  function beside(node, step) {
    const nodes = visible();
    return nodes[Math.min(nodes.length - 1, Math.max(0, nodes.indexOf(node) + step))];
  }

  let opened = null;
  function open(node) {
    opened = node;
    const copy = node.cloneNode(true);
    copy.removeAttribute("tabindex");
    large.lastElementChild.replaceChildren(copy);
    if (!large.open) large.showModal();
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  list.addEventListener("click", (event) => {
    const node = event.target.closest(".card");
    if (node) open(node);
  });
  list.addEventListener("keydown", (event) => {
    const node = event.target.closest(".card");
    const to = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!node || (to === undefined && event.key !== "Enter")) return;
    event.preventDefault();
    if (to === undefined) open(node);
    else beside(node, to).focus();
  });
  large.addEventListener("keydown", (event) => {
    const to = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (to !== undefined) open(beside(opened, to));
  });
  large.addEventListener("click", (event) => {
    const step = { before: -1, after: 1 }[event.target.name];
    if (step) open(beside(opened, step));
    else if (event.target.name === "close" || event.target === large) large.close();
  });
  large.addEventListener("close", () => opened?.focus());
  for (const link of document.querySelectorAll("a[data-set]"))
    link.addEventListener("click", () => { form.reset(); choose("set", link.dataset.set); setTimeout(show); });
  for (const button of document.querySelectorAll("button[data-class]"))
    button.addEventListener("click", () => {
      form.reset();
      choose("set", "");
      choose("class", button.dataset.class);
      setTimeout(show);
      document.getElementById("images").scrollIntoView();
    });
  show();
})();
