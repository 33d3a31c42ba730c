// Draws the plots of the page from the JSON in it. What is drawn was decided before: here are only units and colours.
(() => {
  "use strict";
  const plots = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const drawn = []; // for whoever tests the page
  window.spateReport = { plots: drawn, errors: [] };
  window.addEventListener("error", (e) => window.spateReport.errors.push(String(e.message)));

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const trim = (v, digits) => Number(v.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });

  // Text of a value in its unit; short for axes.
  const text = (unit, v, digits) => {
    if (v == null) return "–";
    const scaled = (steps) => {
      for (const [size, name] of steps) if (Math.abs(v) >= size) return trim(v / size, digits) + name;
      return trim(v, digits) + steps[steps.length - 1][1];
    };
    switch (unit) {
      case "µs": return v === 0 ? "0" : scaled([[1e6, " s"], [1e3, " ms"], [1, " µs"]]);
      case "s": return v === 0 ? "0" : scaled([[1, " s"], [1e-3, " ms"], [1e-6, " µs"]]);
      case "bytes": return v === 0 ? "0" : scaled([[2 ** 30, " GiB"], [2 ** 20, " MiB"], [1024, " KiB"], [1, " B"]]);
      case "bytes/s": return v === 0 ? "0" : scaled([[1e9, " GB/s"], [1e6, " MB/s"], [1e3, " kB/s"], [1, " B/s"]]);
      case "records/s": return v === 0 ? "0" : scaled([[1e6, "M/s"], [1e3, "k/s"], [1, "/s"]]);
      case "cores": return trim(v, digits);
      default: return v === 0 ? "0" : scaled([[1e6, "M"], [1e3, "k"], [1, ""]]);
    }
  };
  const clock = (s) => {
    const whole = Math.floor(s + 1e-9), minutes = Math.floor(whole / 60), part = s - whole;
    if (minutes === 0) return trim(s, 4) + " s";
    return minutes + ":" + String(whole % 60).padStart(2, "0") + (part > 0.05 ? part.toFixed(1).slice(1) : "");
  };
  // Nines of a percentile: 0 is 0 %, 1 is 90 %, 2 is 99 %.
  const percent = (nines) => {
    const digits = Math.max(0, Math.ceil(nines) - 2);
    return (100 * (1 - 10 ** -nines)).toFixed(Math.min(digits + (nines % 1 ? 1 : 0), 8)) + " %";
  };
  const place = { seconds: clock, nines: percent, rate: (v) => text("records/s", v, 3) };

  // Ranges leave room above, and begin at zero where the axis has one.
  const linear = (u, min, max) => [0, max > 0 ? max * 1.08 : 1];
  const logarithmic = (u, min, max) => {
    if (min == null || max == null) return [1, 10];
    return uPlot.rangeLog(min, max === min ? max * 2 : max, 10, false);
  };
  const ranges = {
    seconds: (u, min, max) => [0, max > 0 ? max : 1],
    nines: (u, min, max) => [min, max > min ? max : min + 1],
    rate: linear,
  };

  const shade = (spans) => (u) => {
    const ctx = u.ctx;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    for (const s of spans || []) {
      const from = u.valToPos(s.from, "x", true), to = u.valToPos(s.to, "x", true);
      ctx.fillStyle = colour("--span");
      ctx.fillRect(from, u.bbox.top, to - from, u.bbox.height);
      ctx.fillStyle = colour("--quiet");
      ctx.font = 11 * devicePixelRatio + "px system-ui, sans-serif";
      ctx.textAlign = "left";
      ctx.textBaseline = "top";
      if (to - from > ctx.measureText(s.label).width + 8 * devicePixelRatio) {
        ctx.fillText(s.label, from + 4 * devicePixelRatio, u.bbox.top + 4 * devicePixelRatio);
      }
    }
    ctx.restore();
  };

  const dashes = [[], [8, 5], [2, 4], [12, 4, 2, 4]];
  const draw = (p) => {
    const box = document.getElementById("plot-" + p.id);
    box.replaceChildren();
    const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--grid"), width: 1 },
      ticks: { stroke: () => colour("--grid"), width: 1 }, font: "12px system-ui, sans-serif" };
    const x = { ...axis, values: (u, at) => at.map((v) => place[p.x](v)), space: p.x === "seconds" ? 60 : 70 };
    if (p.x === "nines") {
      x.splits = (u) => Array.from({ length: Math.floor(u.scales.x.max) + 1 }, (_, n) => n).filter((n) => n >= u.scales.x.min);
    }
    const y = { ...axis, size: 76, values: (u, at) => at.map((v) => (v == null ? "" : text(p.unit, v, 4))) };
    if (p.unit === "bytes") y.incrs = Array.from({ length: 50 }, (_, n) => 2 ** n);
    if (p.unit === "") y.incrs = Array.from({ length: 40 }, (_, n) => [1, 2, 5][n % 3] * 10 ** Math.floor(n / 3));
    const few = p.at.length <= 40;
    const opts = {
      width: Math.max(box.clientWidth, 200), height: 280, padding: [12, 16, 0, 0],
      scales: { x: { time: false, range: ranges[p.x] },
        y: { distr: p.log ? 3 : 1, range: p.log ? logarithmic : linear } },
      axes: [x, y],
      legend: { markers: { dash: (u, i) => ["solid", "dashed", "dotted", "double"][(p.series[i - 1] || {}).dash || 0] } },
      cursor: { sync: p.x === "seconds" ? { key: "seconds" } : undefined, points: { size: 7 } },
      series: [{ label: { seconds: "at", nines: "percentile", rate: "rate" }[p.x], value: (u, v) => (v == null ? "–" : place[p.x](v)) },
        ...p.series.map((s) => ({ label: s.label, stroke: () => colour("--c" + (s.colour % 8)), width: s.dash === 2 ? 1.5 : 2,
          dash: dashes[s.dash || 0], spanGaps: true, points: p.apart ? { show: true, size: 8 } : { show: few && !s.dash, size: 5 },
          ...(p.apart ? { paths: () => null } : {}),
          value: (u, v) => text(p.unit, v, 4) }))],
      hooks: { drawClear: [shade(p.spans)] },
    };
    // A logarithmic axis has no zero: such values are left out.
    const data = [p.at, ...p.series.map((s) => s.values.map((v) => (p.log && !(v > 0) ? null : v)))];
    const u = new uPlot(opts, data, box);
    drawn.push({ id: p.id, plot: u });
    return { box, u };
  };

  let current = [];
  const drawAll = () => {
    current.forEach(({ u }) => u.destroy());
    drawn.length = 0;
    current = plots.map(draw);
  };
  const button = document.getElementById("theme");
  const setTheme = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    drawAll();
  };
  button.addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
  let due = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(() => current.forEach(({ box, u }) => u.setSize({ width: Math.max(box.clientWidth, 200), height: 280 })));
  });
})();
