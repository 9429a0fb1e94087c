// Values under the pointer, and by the arrow keys on a chart that has the focus. Without it, the page loses nothing but that: titles and tables say the same.
"use strict";
(() => {
  const charts = [...document.querySelectorAll(".chart")].map((chart) => ({
    area: chart.querySelector(".area"),
    cursor: chart.querySelector(".cursor"),
    tip: chart.querySelector(".tip"),
    data: JSON.parse(chart.querySelector(".data").textContent),
  }));

  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] <= x) low = middle; else high = middle;
    }
    return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
  };

  const show = (chart, x, here) => {
    const { data } = chart;
    if (data && data.x.length) showAt(chart, nearest(data.x, x), here);
  };

  const showAt = (chart, index, here) => {
    const { data, cursor, tip } = chart;
    chart.index = index;
    cursor.hidden = false;
    cursor.style.left = data.x[index] + "%";
    tip.hidden = !here;
    if (!here) return;
    tip.replaceChildren();
    const time = document.createElement("b");
    time.textContent = data.at[index];
    tip.append(time);
    for (const series of data.series) {
      if (series.shown[index] === null) continue;
      const line = document.createElement("span");
      line.textContent = series.name + " " + series.shown[index];
      tip.append(line);
    }
    tip.style.left = data.x[index] + "%";
    tip.classList.toggle("left", data.x[index] > 60);
  };

  for (const chart of charts) {
    chart.area.addEventListener("pointermove", (event) => {
      const box = chart.area.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 100;
      for (const each of charts) show(each, x, each === chart);
    });
    const hide = () => {
      for (const { cursor, tip } of charts) cursor.hidden = tip.hidden = true;
    };
    chart.area.addEventListener("pointerleave", hide);
    chart.area.addEventListener("blur", hide);
    chart.area.addEventListener("keydown", (event) => {
      const { data } = chart;
      if (!data || !data.x.length) return;
      const last = data.x.length - 1, now = chart.index ?? -1;
      const to = { ArrowRight: now + 1, ArrowLeft: now - 1, PageDown: now + 10, PageUp: now - 10, Home: 0, End: last };
      if (event.key === "Escape") hide();
      if (!(event.key in to)) return;
      event.preventDefault();
      const index = Math.min(Math.max(to[event.key], 0), last);
      for (const each of charts) if (each !== chart) show(each, data.x[index], false);
      showAt(chart, index, true);
    });
  }
})();
