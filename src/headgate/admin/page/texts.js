// How numbers read.

/** A rate or a count. */
export function amount(value) {
  if (value === null || value === undefined) return "-";
  if (value === 0) return "0";
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
}

/** A duration in seconds. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "-";
  if (seconds === Infinity) return "> 60 s";
  if (seconds >= 1) return `${Number(seconds.toFixed(2))} s`;
  return seconds === 0 ? "0" : `${Number((seconds * 1000).toPrecision(3))} ms`;
}

/** How long something runs already. */
export function age(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

/** Bytes of memory. */
export function mebibytes(bytes) {
  return bytes === null || bytes === undefined ? "-" : `${Math.round(bytes / 2 ** 20)} MiB`;
}
