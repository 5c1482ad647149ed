// The example page: a photo or the camera in, boxes and ages out. Nothing is sent anywhere.
import { HalnetError, Predictor } from "./halnet.js";

const LEVEL = 0.9; // of the interval
const LEGAL_AGE = 18; // years
const MOST_FACES = 20; // whose ages are listed

const find = (id) => document.getElementById(id);
const [file, camera, status, problem] = ["file", "camera", "status", "problem"].map(find);
const [stage, view, photo, video] = ["stage", "view", "photo", "video"].map(find);

let predictor;
let work = 0; // the number of the newest work; older work shows nothing any more

function say(text) {
  status.textContent = text;
  problem.hidden = true;
}

/** Show why something did not work. A fault of this page is shown too. */
function complain(error) {
  status.textContent = "";
  problem.hidden = false;
  const text = error instanceof HalnetError ? error.message : `unexpected error: ${error}`;
  const startsWithFile = /^\S+\.\w+: /.test(text); // its name keeps its first letter
  const sentence = startsWithFile ? text : text[0].toUpperCase() + text.slice(1);
  problem.textContent = sentence.replace(/\.?$/, ".");
}

function number(value, digits) {
  return value.toFixed(digits);
}

/** Show faces over a picture of this size, and their ages beside it. */
function show(faces, width, height) {
  find("boxes").replaceChildren(
    ...faces.map(({ age, box: [x, y, w, h] }) => {
      const frame = document.createElement("div");
      frame.className = y < 0.08 * height ? "box top" : "box"; // where its label fits
      frame.style.left = `${(100 * x) / width}%`;
      frame.style.top = `${(100 * y) / height}%`;
      frame.style.width = `${(100 * w) / width}%`;
      frame.style.height = `${(100 * h) / height}%`;
      const label = document.createElement("span");
      label.textContent = number(age, 0);
      frame.append(label);
      return frame;
    }),
  );
  find("faces").replaceChildren(...faces.slice(0, MOST_FACES).map(describe));
}

function describe(face) {
  const item = document.createElement("li");
  const age = document.createElement("strong");
  age.textContent = number(face.age, 1);
  const unit = document.createElement("small");
  unit.textContent = " years";
  age.append(unit);
  const list = document.createElement("dl");
  const [low, high] = face.interval(LEVEL);
  for (const [name, value] of [
    ["90 % interval", `${number(low, 1)} to ${number(high, 1)}`],
    [`${LEGAL_AGE} or older`, `${number(100 * face.probability(LEGAL_AGE), 1)} %`],
    ["face detection", `${number(100 * face.score, 0)} %`],
  ]) {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, text.textContent] = [name, value];
    list.append(term, text);
  }
  item.append(age, list);
  return item;
}

/** Show a photo or the video in the stage, without the faces of what was there before. */
function present(element) {
  stage.classList.remove("empty");
  find("hint").hidden = true;
  view.hidden = false;
  for (const other of [photo, video]) other.hidden = other !== element;
  show([], 1, 1);
}

/** Empty the stage. */
function clear() {
  stage.classList.add("empty");
  find("hint").hidden = false;
  view.hidden = true;
  show([], 1, 1);
}

function summarise(faces, milliseconds) {
  const count = faces.length === 1 ? "1 face" : `${faces.length} faces`;
  return `${faces.length ? count : "No face was found"} in ${number(milliseconds, 0)} ms`;
}

async function predictFile(blob) {
  stopCamera();
  const own = ++work;
  clear();
  say("Reading the photo …");
  try {
    const start = performance.now();
    const faces = await predictor.predict(blob);
    const milliseconds = performance.now() - start;
    if (own !== work) return;
    URL.revokeObjectURL(photo.src);
    photo.src = URL.createObjectURL(blob);
    await photo.decode();
    if (own !== work) return;
    present(photo);
    show(faces, photo.naturalWidth, photo.naturalHeight);
    say(summarise(faces, milliseconds));
  } catch (error) {
    if (own === work) complain(error);
  }
}

async function startCamera() {
  const own = ++work;
  clear();
  say("Waiting for the camera …");
  try {
    const stream = await openCamera();
    if (own !== work) {
      stopStream(stream);
      return;
    }
    video.srcObject = stream;
    stream.getVideoTracks()[0].addEventListener("ended", stopCamera);
    camera.textContent = "Stop the camera";
    await video.play();
    present(video);
    await watch(own);
  } catch (error) {
    if (own !== work) return;
    stopCamera();
    complain(error);
  }
}

/** Show the faces of one frame after another, until there is other work. */
async function watch(own) {
  while (own === work) {
    const start = performance.now();
    const faces = await predictor.predict(video);
    const milliseconds = performance.now() - start;
    if (own !== work) return;
    show(faces, video.videoWidth, video.videoHeight);
    say(summarise(faces, milliseconds));
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
}

async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new HalnetError("browsers give a camera only to pages on https or localhost");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
  } catch (error) {
    const reasons = {
      NotFoundError: "no camera was found; connect one, or choose a photo",
      NotAllowedError:
        "the camera was refused; allow it beside the address of this page, or choose a photo",
      NotReadableError: "the camera cannot be read; close other programs that use it",
    };
    throw new HalnetError(reasons[error.name] ?? `the camera cannot be opened (${error.name})`);
  }
}

function stopStream(stream) {
  for (const track of stream.getTracks()) track.stop();
}

function stopCamera() {
  if (!video.srcObject) return;
  work++;
  stopStream(video.srcObject);
  video.srcObject = null;
  camera.textContent = "Use the camera";
  clear();
  say("Ready");
}

function acceptDrops() {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  addEventListener("dragleave", () => stage.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("over");
    const dropped = event.dataTransfer?.files[0];
    if (dropped) predictFile(dropped);
  });
}

async function start() {
  // ?threads=2 and ?provider=webgpu are passed on to the predictor.
  const asked = new URLSearchParams(location.search);
  const text = asked.get("threads") ?? undefined;
  const threads = /^\d+$/.test(text) ? Number(text) : text; // the predictor refuses other text
  const provider = asked.get("provider") ?? "wasm";
  predictor = await Predictor.open(new URL(".", import.meta.url), { provider, threads });
  const { precision, licence, terms } = predictor.metadata;
  const processor = provider === "wasm" ? `WebAssembly, threads: ${predictor.threads}` : "WebGPU";
  find("model").textContent =
    `Model in ${precision.toUpperCase()} (${processor}). Licence of its weights: ` +
    `${licence || "not stated"}. Terms of the training photos: ${terms || "not stated"}.`;
  file.addEventListener("change", () => {
    const chosen = file.files[0];
    file.value = ""; // so that the same photo can be chosen again
    if (chosen) predictFile(chosen);
  });
  camera.addEventListener("click", () => (video.srcObject ? stopCamera() : startCamera()));
  acceptDrops();
  file.disabled = camera.disabled = false;
  say("Ready");
}

start().catch(complain);
