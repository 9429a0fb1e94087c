// What is wrong with the page as it is drawn now: an empty list, or sentences. Evaluated in the page.
(() => {
  const problems = [];
  const name = (el) => el.tagName.toLowerCase() + (el.className && typeof el.className === "string" ? "." + el.className.trim().replaceAll(" ", ".") : "");
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) problems.push(`the page is ${document.documentElement.scrollWidth} px wide in ${width}`);
  const scrolls = (el) => el.closest(".scroll, pre, .unseen, thead");
  for (const el of document.querySelectorAll("body *")) {
    const box = el.getBoundingClientRect();
    if (!scrolls(el) && box.width > 0 && (box.right > width + 2 || box.left < -2) && !el.closest("svg, .lanes, .x"))
      problems.push(`${name(el)} reaches from ${box.left} to ${box.right} in ${width}`);
  }
  // Charts are drawn.
  let paths = 0;
  for (const svg of document.querySelectorAll(".chart svg")) {
    const box = svg.getBoundingClientRect();
    if (box.width < 150 || box.height < 80) problems.push(`a chart of ${box.width} by ${box.height}`);
    if (!svg.getAttribute("aria-labelledby")) problems.push("a chart without a label");
    const drawn = [...svg.querySelectorAll("path")].filter((path) => path.getBBox().width > 0 || path.getTotalLength() > 0);
    paths += drawn.length;
    if (!drawn.length) problems.push("a chart without a line");
  }
  for (const parts of document.querySelectorAll(".parts"))
    if (![...parts.children].some((part) => part.getBoundingClientRect().width > 1)) problems.push("an empty strip");
  for (const area of document.querySelectorAll(".chart .area"))
    if (area.tabIndex !== 0 || !area.getAttribute("aria-label")) problems.push("a chart that cannot be reached by keys");
  // Lettering stands out from what it stands on: 4.5 to 1, large lettering 3 to 1.
  // A canvas, since computed colours may be of any colour space.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const light = ([r, g, b]) => {
    const part = (c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const over = (top, below) => top.map((c, i) => (i < 3 ? c * top[3] + below[i] * (1 - top[3]) : 1));
  const ground = (el) => {
    const layers = [];
    for (let at = el; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const seen = new Set();
  for (const el of document.querySelectorAll("body *")) {
    const own = [...el.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const style = getComputedStyle(el);
    // Stripes stand behind their lettering as an image: they are looked at by people.
    if (!own || el.closest("svg, script, style, .part, .unseen") || style.visibility === "hidden" || el.offsetParent === null || parseFloat(style.fontSize) === 0) continue;
    const [one, two] = [light(over(rgb(style.color), ground(el))), light(ground(el))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (two + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.5 && style.fontWeight >= 700);
    const key = name(el) + style.color;
    if (contrast < (large ? 3 : 4.5) && !seen.has(key)) {
      seen.add(key);
      problems.push(`${name(el)}, ${el.textContent.trim().slice(0, 20)}: contrast ${contrast.toFixed(2)}`);
    }
  }
  return { problems, charts: document.querySelectorAll(".chart").length, paths, ground: light(rgb(getComputedStyle(document.body).backgroundColor)) };
})()
