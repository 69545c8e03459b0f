// Differences of texts line by line, and of documents as a merge patch (RFC 7396).

import { h } from "./elements.js";

const MOST_LINES = 2000;

/** `[sign, line]` of each line: "+" is new, "-" is gone, " " is in both. */
export function lines(before, after) {
  const one = before === "" ? [] : before.split("\n"), other = after === "" ? [] : after.split("\n");
  let begin = 0, end = 0;
  while (begin < Math.min(one.length, other.length) && one[begin] === other[begin]) begin++;
  while (end < Math.min(one.length, other.length) - begin && one.at(-1 - end) === other.at(-1 - end)) end++;
  const gone = one.slice(begin, one.length - end), come = other.slice(begin, other.length - end);
  const middle = gone.length * come.length > MOST_LINES ** 2 ? [...gone.map((line) => ["-", line]), ...come.map((line) => ["+", line])] : longest(gone, come);
  return [...one.slice(0, begin).map((line) => [" ", line]), ...middle, ...one.slice(one.length - end).map((line) => [" ", line])];
}

/** By the longest common subsequence. */
function longest(gone, come) {
  const width = come.length + 1, lengths = new Uint16Array((gone.length + 1) * width);
  for (let i = gone.length - 1; i >= 0; i--) {
    for (let j = come.length - 1; j >= 0; j--) {
      lengths[i * width + j] = gone[i] === come[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const found = [];
  let i = 0, j = 0;
  while (i < gone.length || j < come.length) {
    if (i < gone.length && j < come.length && gone[i] === come[j]) found.push([" ", gone[i++]]), j++;
    else if (j >= come.length || (i < gone.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) found.push(["-", gone[i++]]);
    else found.push(["+", come[j++]]);
  }
  return found;
}

/** A document as text; nothing where there is none. */
export function text(document) {
  return document === null || document === undefined ? "" : JSON.stringify(document, null, 2);
}

/** Two documents, line by line. */
export function drawn(before, after) {
  const classes = { "+": "added", "-": "removed", " ": "" };
  const all = lines(text(before), text(after)).map(([sign, line]) => h("span", { class: classes[sign] }, `${sign} ${line}\n`));
  return h("pre", { tabindex: "0", "aria-label": "Differences", class: "differences" }, all);
}

/** The merge patch that makes `after` of `before`; undefined where nothing differs. */
export function patch(before, after) {
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(before) || !isObject(after)) return JSON.stringify(before) === JSON.stringify(after) ? undefined : after;
  const found = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (!Object.hasOwn(after, key)) found[key] = null;
    else if (!Object.hasOwn(before, key)) found[key] = after[key];
    else {
      const inner = patch(before[key], after[key]);
      if (inner !== undefined) found[key] = inner;
    }
  }
  return Object.keys(found).length ? found : undefined;
}
