// Line charts as inline SVG. Data go in as numbers and text nodes only.
"use strict";

const charts = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 440, HEIGHT = 200, LEFT = 42, RIGHT = 12, TOP = 14, BOTTOM = 30;

  function element(name, attributes, ...children) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    for (const child of children) node.append(child);
    return node;
  }

  // Steps of 1, 2 or 5 times a power of ten: at most `most` of them between low and high.
  function ticks(low, high, most) {
    const raw = (high - low) / most, power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].map(factor => factor * power).find(candidate => candidate >= raw);
    const list = [];
    for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) list.push(tick);
    return list;
  }

  const isNumber = value => typeof value === "number" && isFinite(value);
  const short = value => String(Number(value.toPrecision(3)));

  // Breaks the line where a value is undefined.
  function path(points) {
    let text = "", pen = "M";
    for (const point of points) {
      if (point === null) { pen = "M"; continue; }
      text += `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
      pen = "L";
    }
    return text;
  }

  // options: {title, description, points: [{x, y, low, high, alarm, text}], bound, boundText, range: [low, high] | null}
  return function chart(options) {
    const values = options.points.flatMap(p => [p.y, p.low, p.high]).concat([options.bound]).filter(isNumber);
    let [low, high] = options.range || [0, Math.max(1, ...values) * 1.08];
    if (options.zoom && values.length) {
      low = Math.min(...values); high = Math.max(...values);
      const margin = Math.max((high - low) * 0.1, 0.01);
      low = Math.max(options.range[0], low - margin); high = Math.min(options.range[1], high + margin);
    }
    const n = options.points.length;
    const x = i => LEFT + (n < 2 ? 0.5 : i / (n - 1)) * (WIDTH - LEFT - RIGHT);
    const y = value => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    const svg = element("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "chart"},
      element("title", {}, options.title), element("desc", {}, options.description));

    for (const tick of ticks(low, high, 4)) {
      svg.append(element("line", {class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick)}),
        element("text", {class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end"}, short(tick)));
    }
    const every = Math.max(1, Math.ceil(n / 6));
    options.points.forEach((point, i) => {
      if (i % every === 0) svg.append(element("text",
        {class: "tick", x: x(i), y: HEIGHT - 12, "text-anchor": "middle"}, String(point.x)));
    });

    const band = options.points.map((p, i) => ({i, p})).filter(({p}) => isNumber(p.low) && isNumber(p.high));
    if (band.length > 1) {
      const upper = band.map(({i, p}) => [x(i), y(p.high)]), lower = band.map(({i, p}) => [x(i), y(p.low)]).reverse();
      svg.append(element("path", {class: "band", d: path(upper.concat(lower)) + "Z"}));
    }
    if (isNumber(options.bound)) {
      svg.append(element("line", {class: "bound", x1: LEFT, x2: WIDTH - RIGHT, y1: y(options.bound), y2: y(options.bound)}),
        element("text", {class: "bound-text", x: LEFT + 6, y: y(options.bound) - 5}, options.boundText));
    }
    svg.append(element("path", {class: "line",
      d: path(options.points.map((p, i) => isNumber(p.y) ? [x(i), y(p.y)] : null))}));
    options.points.forEach((point, i) => {
      if (!isNumber(point.y)) return;
      svg.append(element("circle", {class: point.alarm ? "point alarm" : "point", cx: x(i), cy: y(point.y),
        r: point.alarm ? 4.5 : 2.5}, element("title", {}, point.text)));
    });
    return svg;
  };
})();
