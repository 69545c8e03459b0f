// A flame graph: how long which calls were seen, each above its caller. Drawn from stacks, as SVG.

import { s } from "./elements.js";
import { duration } from "./texts.js";

const WIDTH = 1200, ROW = 18, CHARACTER = 7, MOST_BOXES = 3000;

/** The SVG of `{frames, stacks}`; what is too narrow to be seen is left out. */
export function flames({ frames, stacks }) {
  const root = { name: "all", file: "", line: 0, seconds: 0, children: new Map() };
  for (const [places, seconds] of stacks) {
    let node = root;
    node.seconds += seconds;
    for (const place of places) {
      const [name, file, line] = frames[place];
      if (!node.children.has(place)) node.children.set(place, { name, file, line, seconds: 0, children: new Map() });
      node = node.children.get(place);
      node.seconds += seconds;
    }
  }
  const boxes = [];
  lay(root, 0, 0, root.seconds || 1, boxes);
  const height = ROW * (1 + Math.max(0, ...boxes.map(({ level }) => level)));
  const drawn = boxes.map((box) => drawnBox(box, height, root.seconds || 1));
  return s("svg", { class: "flames", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": "Flame graph" }, drawn);
}

function lay(node, left, level, whole, boxes) {
  const width = (WIDTH * node.seconds) / whole;
  if (width < 1 || boxes.length >= MOST_BOXES) return;
  boxes.push({ node, left, width, level });
  for (const child of [...node.children.values()].sort((one, other) => (one.name < other.name ? -1 : 1))) {
    lay(child, left, level + 1, whole, boxes);
    left += (WIDTH * child.seconds) / whole;
  }
}

function drawnBox({ node, left, width, level }, height, whole) {
  const where = node.file ? ` (${node.file}:${node.line})` : "";
  const told = `${node.name}${where}: ${duration(node.seconds)}, ${((100 * node.seconds) / whole).toFixed(1)} %`;
  const top = height - ROW * (level + 1), room = Math.floor((width - 6) / CHARACTER);
  const text = room < 3 ? null : s("text", { x: left + 3, y: top + 13 }, node.name.length <= room ? node.name : `${node.name.slice(0, room - 1)}…`);
  return s("g", {}, s("title", {}, told), s("rect", { class: node.file ? "call" : "group", x: left, y: top, width: Math.max(width - 0.5, 0.1), height: ROW - 1 }), text);
}
