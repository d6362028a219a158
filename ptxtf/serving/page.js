"use strict";

/* What comes from files or the server is put in as text, never as HTML. */

const find = (selector) => document.querySelector(selector);
const [drop, input, status, problem, result] = [".drop", "#file", "#status", "#problem", "#result"].map(find);
const maxMib = Number(drop.dataset.maxMib);
let current = new AbortController();

input.addEventListener("change", () => {
  take([...input.files]);
  input.value = ""; // so that the same file may be chosen again
});

/* The whole window takes what is dropped: a miss would make the browser leave the page. */
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    const isOver = kind === "dragover" || kind === "dragenter" || (kind === "dragleave" && event.relatedTarget !== null);
    document.body.classList.toggle("is-over", isOver);
    if (kind === "drop") take([...event.dataTransfer.files]);
  });
}

find("#opacity").addEventListener("input", (event) => fade(event.target.value));

function fade(percent) {
  result.style.setProperty("--opacity", percent / 100);
  find("output").textContent = `${percent} %`;
}

async function take(files) {
  if (!files.length) return;
  current.abort(); // the newest counts
  const mine = (current = new AbortController());
  try {
    if (files.length > 1) throw new Error(`Please give one file at a time; these were ${files.length}.`);
    if (files[0].size > maxMib * 2 ** 20) throw new Error(`This file is larger than ${maxMib} MiB.`);
    say(`Examining ${files[0].name} …`);
    const found = await examine(files[0], mine.signal);
    await load(found);
    if (mine !== current) return;
    show(found);
    say("");
  } catch (error) {
    if (mine === current) say("", error.message);
  }
}

function say(text, wrong = "") {
  status.textContent = text;
  document.body.classList.toggle("is-busy", Boolean(text));
  problem.textContent = wrong;
  problem.hidden = !wrong;
  if (wrong) reveal(false); // nobody is to take the last file's findings for this one's
}

function reveal(isThere) {
  result.hidden = !isThere;
  document.body.classList.toggle("has-result", isThere);
}

async function examine(file, signal) {
  const label = new URLSearchParams({ name: file.name });
  let response, answer;
  try {
    response = await fetch(`examine?${label}`, { method: "POST", body: file, signal });
    answer = await response.json();
  } catch {
    throw new Error("The server did not answer. Is it still running, and can the file be read?");
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function load(found) {
  const [image, layer] = [find("#image"), find("#layer")];
  image.src = found.image;
  layer.src = found.layer;
  await Promise.all([image.decode(), layer.decode()]);
}

function show(found) {
  const image = find("#image");
  result.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  image.alt = `radiograph ${found.image_id}`;
  find("#sentence").textContent = found.sentence;
  find("#image_id").textContent = found.image_id;
  find("thead").replaceChildren(row("th", found.columns));
  find("tbody").replaceChildren(...found.rows.map((cells) => row("td", cells)));
  find("#zip").href = found.zip;
  find("#files").replaceChildren(...found.files.map(entry));
  reveal(true);
  find("#sentence").focus({ preventScroll: true });
}

function row(kind, texts) {
  const line = document.createElement("tr");
  line.append(...texts.map((text) => element(kind, text)));
  return line;
}

function entry(file) {
  const [item, link] = [document.createElement("li"), element("a", file.name)];
  link.href = file.address;
  link.download = "";
  item.append(link, element("span", size(file.bytes), "note"));
  return item;
}

function element(kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = className;
  return made;
}

function size(bytes) {
  return bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
