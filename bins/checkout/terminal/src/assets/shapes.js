// Plain outlines of what is sold, in the product's own colour. All are drawn in a square of 48.

const SVG = "http://www.w3.org/2000/svg";

// [filled path, path drawn over it in the ground's colour or as a line]
const SHAPES = {
  round: ["M24 12c9 0 15 6 15 14s-6 15-15 15S9 34 9 26s6-14 15-14z", "M24 12c0-4 2-6 5-7"],
  pear: ["M24 9c4 0 6 3 7 8s7 8 7 15-6 10-14 10-14-3-14-10 6-10 7-15 3-8 7-8z", "M24 9c0-3 1-4 3-5"],
  crescent: ["M9 17c4 13 14 19 27 17 3-.5 4 3 1 5C22 46 5 36 5 18c0-3 3-4 4-1z", "M7 14l-1-5"],
  bunch: ["M18 15a6 6 0 1 1 .1 0zM30 15a6 6 0 1 1 .1 0zM24 25a6 6 0 1 1 .1 0zM14 27a6 6 0 1 1 .1 0zM34 27a6 6 0 1 1 .1 0zM20 38a6 6 0 1 1 .1 0zM30 37a6 6 0 1 1 .1 0z", ""],
  root: ["M33 9c6 5 6 11 0 17S14 42 9 40 15 22 20 16s9-11 13-7z", "M34 10l6-5M36 12l6-1"],
  leaf: ["M24 43C10 40 6 30 9 21s9-16 15-17c6 1 12 8 15 17s-1 19-15 22z", "M24 41V16M24 30l-7-6M24 30l7-6"],
  mushroom: ["M5 25C5 14 13 7 24 7s19 7 19 18zM18 27h12l2 12c0 4-16 4-16 0z", ""],
  tub: ["M8 15h32l-3 26H11zM6 9h36v4H6z", "M14 25h20"],
  bag: ["M11 12h26l3 28c0 3-32 3-32 0zM13 6h22l1 4H12z", "M17 26h14"],
  loaf: ["M7 38V25c-4-4-2-13 6-13h22c8 0 10 9 6 13v13z", "M17 19l4 5M25 19l4 5M33 19l3 4"],
  carton: ["M13 18l5-9h12l5 9v25H13zM18 4h12v3H18z", "M13 18h22"],
  box: ["M8 11h32v31H8z", "M8 19h32M19 28h10"],
  bottle: ["M20 4h8v9c0 4 6 5 6 11v16c0 4-20 4-20 0V24c0-6 6-7 6-11z", "M14 27h20M14 35h20"],
  jar: ["M12 13h24c3 3 3 5 3 8v18c0 5-30 5-30 0V21c0-3 0-5 3-8zM13 5h22v6H13z", "M9 24h30M9 35h30"],
  can: ["M12 9c0-5 24-5 24 0v30c0 5-24 5-24 0z", "M12 16h24M12 34h24"],
  bar: ["M12 6h24v36H12z", "M24 6v36M12 18h24M12 30h24"],
  tube: ["M12 6h24l-4 29H16zM18 37h12v6H18z", "M15 13h18"],
  roll: ["M13 8c0-4 22-4 22 0v32c0 4-22 4-22 0z", "M20 8c0-2 8-2 8 0s-8 2-8 0M13 8v32"],
};

function path(d, attributes) {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("d", d);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function drawing(shape) {
  const [body, line] = SHAPES[shape] ?? SHAPES.box;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 48 48");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path(body, { fill: "currentColor" }));
  const over = { fill: "none", stroke: "var(--paper)", "stroke-width": 2, "stroke-linecap": "round" };
  // Stalks lie outside the body and need its colour; what lies on the body needs the ground's.
  const outside = ["round", "pear", "crescent", "root"].includes(shape);
  if (line) svg.append(path(line, outside ? { ...over, stroke: "currentColor", "stroke-width": 3 } : over));
  return svg;
}
