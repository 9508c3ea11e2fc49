// Draws the page's stacks. The data stand in #stacks; names are only ever put into the page as text.
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("stacks").textContent);
  const place = document.getElementById("chart");
  const details = document.getElementById("details");
  const found = document.getElementById("found");
  const term = document.getElementById("term");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const total = data.v || 1;

  // Hue by kind, lightness by name: the same function has the same colour in every graph. All are light enough for
  // dark text on them.
  const hues = { kernel: [211, 62], jit: [112, 42], inlined: [174, 45], nameless: [216, 8] };
  function colour(frame) {
    if (frame.highlight) return "#f08cf0";
    const name = frame.data.n;
    let hash = 0;
    for (let at = 0; at < name.length; at++) hash = (hash * 31 + name.charCodeAt(at)) % 9973;
    const hue = hues[frame.data.l] || [24 + hash % 24, 82];
    return "hsl(" + hue[0] + "," + hue[1] + "%," + (66 + hash % 14) + "%)";
  }

  function share(count) {
    return (100 * count / total).toFixed(2) + " %";
  }

  function label(frame) {
    return frame.data.n + " (" + share(frame.data.v) + ", " + frame.data.v + " samples)";
  }

  function width() {
    return Math.max(200, place.clientWidth);
  }

  for (const shown of ["chart", "controls", "found", "details", "keys"]) document.getElementById(shown).hidden = false;
  const chart = flamegraph.default()
    .width(width())
    .cellHeight(20)
    .minFrameSize(0.5)
    .transitionDuration(still ? 0 : 200)
    .sort(true)
    .label(label)
    .setColorMapper(colour)
    .setDetailsHandler(function (text) { if (text) details.textContent = text; })
    .setSearchMatch(function (frame, wanted) { return frame.data.n.toLowerCase().includes(wanted); })
    .setSearchHandler(function (results, sum) {
      found.textContent = results.length + " frames, " + share(sum) + " of the samples";
    })
    .onClick(function (frame) { go(frame); });
  d3.select(place).datum(data).call(chart);

  // The frame that the arrow keys are at.
  let current = null;
  function mark() {
    d3.select(place).selectAll("g.frame").classed("current", function (frame) { return frame === current; });
  }
  function go(frame) {
    if (!frame) return;
    current = frame;
    details.textContent = label(frame);
    mark();
  }
  function root() {
    return d3.select(place).select("g.frame").empty() ? null : top(d3.select(place).select("g.frame").datum());
  }
  function top(frame) {
    while (frame.parent) frame = frame.parent;
    return frame;
  }
  function beside(frame, step) {
    if (!frame.parent) return null;
    const row = frame.parent.children.filter(function (one) { return one.x1 > one.x0; });
    return row[row.indexOf(frame) + step];
  }
  function widest(frame) {
    return (frame.children || []).reduce(function (best, one) { return !best || one.data.v > best.data.v ? one : best; }, null);
  }
  const moves = {
    ArrowUp: widest,
    ArrowDown: function (frame) { return frame.parent; },
    ArrowLeft: function (frame) { return beside(frame, -1); },
    ArrowRight: function (frame) { return beside(frame, 1); },
  };

  place.addEventListener("keydown", function (event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = current || root();
    if (moves[event.key]) go(current ? moves[event.key](at) : at);
    else if (event.key === "Enter" && at) chart.zoomTo(at);
    else if (event.key === "Escape") reset();
    else return;
    event.preventDefault();
    mark();
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "/" || event.target === term || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    term.focus();
  });

  function reset() {
    chart.resetZoom();
    current = null;
    mark();
  }
  document.getElementById("reset").addEventListener("click", reset);
  document.getElementById("controls").addEventListener("submit", function (event) { event.preventDefault(); });

  let waiting = 0;
  function find() {
    const wanted = term.value.trim().toLowerCase();
    if (wanted) {
      chart.search(wanted);
    } else {
      chart.clear();
      found.textContent = "";
    }
    mark();
  }
  term.addEventListener("input", function () {
    clearTimeout(waiting);
    waiting = setTimeout(find, 150);
  });

  let resizing = 0;
  window.addEventListener("resize", function () {
    clearTimeout(resizing);
    resizing = setTimeout(function () { chart.width(width()).update(); mark(); }, 100);
  });
})();
