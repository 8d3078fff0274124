const data = JSON.parse(document.getElementById("data").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// A method text that may break where its options begin.
const breakable = (label) => label.replace(/(?=\[)|(?<=[,=])(?=\S)/g, "\u200b");

const shareName = (share) => `${Number((100 * share).toPrecision(4))} %`;

// What a slider says of where it stands.
const tell = (slider) => {
  const stop = String(JSON.parse(slider.dataset.stops)[Number(slider.value)]);
  slider.nextElementSibling.textContent = stop;
  slider.setAttribute("aria-valuetext", stop);
};
