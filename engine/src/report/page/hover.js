// Values under the pointer. Without it, the page loses nothing but that: titles and tables say the same.
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
    const { data, cursor, tip } = chart;
    if (!data || !data.x.length) return;
    const index = nearest(data.x, x);
    cursor.hidden = false;
    cursor.style.left = data.x[index] + "%";
    tip.hidden = !here;
    if (!here) return;
    tip.replaceChildren();
    const time = document.createElement("b");
    time.textContent = data.at[index];
    tip.append(time);
    for (const series of data.series) {
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
    chart.area.addEventListener("pointerleave", () => {
      for (const { cursor, tip } of charts) cursor.hidden = tip.hidden = true;
    });
  }
})();
