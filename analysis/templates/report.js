"use strict";
// Draws every figure in the colours of the page, again when light turns to dark, and moves a line along with the sound.
(() => {
  const boxes = [...document.querySelectorAll(".plot")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isTouch = matchMedia("(pointer: coarse)").matches;

  function inColour(text) {
    const style = getComputedStyle(document.documentElement);
    return text.replace(/"var\(--(ink|faint|paper)\)"/g, (_, name) => JSON.stringify(style.getPropertyValue("--" + name).trim()));
  }

  async function draw(box) {
    const figure = JSON.parse(inColour(box.nextElementSibling.textContent));
    // On a touch screen a finger on a figure scrolls the page.
    if (isTouch) figure.layout.dragmode = false;
    await Plotly.react(box, figure.data, figure.layout, { responsive: true, displayModeBar: false });
    box.dataset.drawn = "true";
  }

  async function drawAll() {
    for (const box of boxes) {
      await draw(box);
      await new Promise((next) => setTimeout(next)); // the page stays answerable
    }
    document.body.dataset.drawn = String(boxes.length);
  }

  for (const box of boxes) {
    const sound = box.parentElement.querySelector("audio");
    if (!sound) continue;
    const move = () => {
      const x = box._fullLayout.xaxis.range[0] + sound.currentTime;
      Plotly.relayout(box, { shapes: [{ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: "#ff5c33", width: 2 } }] });
    };
    const follow = () => { move(); if (!sound.paused) requestAnimationFrame(follow); };
    sound.addEventListener("play", follow);
    sound.addEventListener("seeked", move);
  }
  dark.addEventListener("change", drawAll);
  drawAll();
})();
