// Elements made of text, never of markup: every value goes into a text node or an attribute.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; `on` holds listeners, other properties are attributes, and children are nodes or texts. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function s(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A table whose rows are kept by key from one drawing to the next, so that focus and selection stay. */
export class Table {
  #rows = new Map();
  #body = h("tbody");

  /** `columns` are their titles; those that begin with `<` are to the left. One that `isLong` scrolls within the page. */
  constructor(label, columns, { isLong = false } = {}) {
    const head = columns.map((title) => h("th", { scope: "col", class: title.startsWith("<") ? "left" : undefined }, title.replace(/^</, "")));
    this.left = columns.map((title) => title.startsWith("<"));
    const table = h("table", {}, h("thead", {}, h("tr", {}, head)), this.#body);
    this.element = h("div", { class: isLong ? "scroll long" : "scroll", role: "region", tabindex: "0", "aria-label": label }, table);
  }

  /** Draws these rows: `[key, cells]`, where a cell is a text, or `{text, class}`, or a node that is kept while the row is. */
  draw(rows) {
    const drawn = new Map();
    for (const [key, cells] of rows) {
      const row = this.#rows.get(key) ?? this.#made(cells);
      cells.forEach((cell, place) => draw(row.children[place], cell, this.left[place]));
      drawn.set(key, row);
    }
    this.#rows = drawn;
    const wanted = [...drawn.values()];
    const isSame = wanted.length === this.#body.children.length && wanted.every((row, place) => this.#body.children[place] === row);
    if (!isSame) this.#arrange(wanted);
  }

  #made(cells) {
    return h("tr", {}, cells.map((cell) => h("td", {}, typeof cell === "function" ? cell() : "")));
  }

  #arrange(wanted) {
    const focused = document.activeElement, top = this.element.scrollTop, seen = this.#firstSeen(wanted, top), from = seen?.offsetTop;
    this.#body.replaceChildren(...wanted);
    if (focused && this.#body.contains(focused)) focused.focus({ preventScroll: true });
    if (seen) this.element.scrollTop = top + seen.offsetTop - from;
  }

  /** The row that is to stay where it is, though others come above it: none while the table shows its begin. */
  #firstSeen(wanted, top) {
    return top > 0 ? wanted.find((row) => row.parentElement === this.#body && row.offsetTop >= top) : undefined;
  }
}

function draw(element, cell, isLeft) {
  if (typeof cell === "function") return; // made once, for the row's key
  const { text, class: name = "" } = typeof cell === "object" ? cell : { text: cell };
  const classes = [name, isLeft ? "left" : ""].join(" ").trim();
  if (element.className !== classes) element.className = classes;
  if (element.textContent !== text) element.textContent = text;
}
