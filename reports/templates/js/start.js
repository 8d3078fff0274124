const draw = () => {
  const there = (element) => element.offsetParent !== null;
  all("[data-chart]").filter(there).forEach(drawChart);
  all("[data-maps]").filter(there).forEach(drawMaps);
  all("[data-pictures]").filter(there).forEach(drawGallery);
  hideAllCut();
};

all("[data-stack]").forEach(fillStack);
all("[data-ramp]").forEach((ramp) => { ramp.style.background = `linear-gradient(90deg, ${data.scale.join()})`; });
all("[data-pictures]").forEach(startGallery);
startTables();
startCards();
startPointing();
startView();
// What was folded has its width only now.
document.addEventListener("toggle", draw, true);
dark.addEventListener("change", draw);
let waiting = 0;
let before = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === before) return;
  before = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(draw, 150);
});
