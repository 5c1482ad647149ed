// The steps of the way from a photo to ages, each from the golden values of the step before.
// test_steps.py calls these functions in a browser and compares what they return.
import { align, similarity } from "/halnet_web/alignment.js";
import { Predictor } from "/halnet_web/halnet.js";
import { interval, probabilityAtLeast } from "/halnet_web/intervals.js";
import { readPhoto } from "/halnet_web/photos.js";
import * as yunet from "/halnet_web/yunet.js";
import * as ort from "/halnet_web/ort.wasm.min.mjs";

const predictor = Predictor.open("/halnet_web/");

async function bytes(address) {
  return (await fetch(address)).arrayBuffer();
}

/** Return a golden photo: the folder, its entry in golden.json, and functions that read files. */
async function open(folder, index) {
  const golden = await (await fetch(`${folder}/golden.json`)).json();
  const photo = golden.photos[index];
  const read = (kind) => bytes(`${folder}/${photo.files[kind].name}`);
  const decode = async (kind) => (await readPhoto(new Blob([await read(kind)]))).pixels;
  return { golden, photo, read, decode };
}

function withoutAlpha({ width, height, data }) {
  return { width, height, values: Array.from(data).filter((_, place) => place % 4 < 3) };
}

export async function detectorInput(folder, index) {
  const { decode } = await open(folder, index);
  return withoutAlpha(yunet.shrink(await decode("photo")));
}

export async function detectorOutputs(folder, index) {
  const { decode } = await open(folder, index);
  await predictor; // which loads the runtime
  const session = await ort.InferenceSession.create("/halnet_web/yunet.onnx");
  const outputs = await new yunet.YuNet(ort, session).compute(await decode("detector_input"));
  return Object.fromEntries(Object.entries(outputs).map(([name, found]) => [name, [...found]]));
}

export async function found(folder, index) {
  const { photo, read } = await open(folder, index);
  const data = await read("detector_outputs");
  const outputs = {};
  for (const [name, { offset, shape }] of Object.entries(photo.detector_outputs)) {
    outputs[name] = new Float32Array(data, offset, shape[1] * shape[2]);
  }
  const size = photo.detector_input;
  const faces = yunet.readOutputs(outputs, yunet.padded(size.width));
  return yunet.possibleFaces(yunet.suppress(faces), size);
}

export async function overlapping(boxes) {
  const faces = boxes.map((box, k) => ({ box, landmarks: [], score: 1 - k / 100 }));
  return yunet.suppress(faces).map(({ score }) => Math.round(100 * (1 - score)));
}

export async function matrices(folder, index) {
  const { photo } = await open(folder, index);
  return photo.faces.map(({ landmarks }) => similarity(landmarks));
}

export async function crops(folder, index) {
  const { photo, decode } = await open(folder, index);
  const pixels = await decode("photo");
  return photo.faces.map(({ landmarks }) => [...align(pixels, landmarks)]);
}

export async function model(folder, index) {
  const { read } = await open(folder, index);
  const ages = await (await predictor).predictCrops(new Uint8Array(await read("crops")));
  return ages.map(({ age, stddev, probabilities }) => ({
    age,
    stddev,
    probabilities: [...probabilities],
  }));
}

export async function calibrated(folder, index) {
  const { golden, photo } = await open(folder, index);
  const { calibration } = golden.model;
  return photo.faces.map(({ age, stddev, probabilities, intervals, at_least: atLeast }) => ({
    intervals: Object.keys(intervals).map((level) =>
      interval(calibration, age, stddev, Number(level)),
    ),
    atLeast: Object.keys(atLeast).map((years) =>
      probabilityAtLeast(calibration, probabilities, Number(years)),
    ),
  }));
}

/** Return intervals at a level, and the probabilities of being 21, by other calibrations. */
export function calibratedBy(calibration, cases, level) {
  return cases.map(([age, stddev, row]) => [
    ...interval(calibration, age, stddev, level),
    probabilityAtLeast(calibration, row, 21),
  ]);
}

export async function wholeWay(folder, index) {
  const { read } = await open(folder, index);
  return plain(await (await predictor).predict(new Blob([await read("photo")])));
}

export async function predictFile(address) {
  return plain(await (await predictor).predict(new Blob([await bytes(address)])));
}

function plain(faces) {
  return faces.map((face) => ({ ...face, probabilities: [...face.probabilities] }));
}

/** Return the faces of the same photo in each form that a page may have it in. */
export async function formsOfAPhoto(address) {
  const blob = new Blob([await bytes(address)]);
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const offscreen = new OffscreenCanvas(canvas.width, canvas.height);
  offscreen.getContext("2d").drawImage(image, 0, 0);
  const forms = {
    Blob: blob,
    File: new File([blob], "photo.jpg"),
    HTMLImageElement: image,
    HTMLCanvasElement: canvas,
    OffscreenCanvas: offscreen,
    ImageBitmap: await createImageBitmap(image),
    ImageData: context.getImageData(0, 0, canvas.width, canvas.height),
  };
  const ages = {};
  const opened = await predictor;
  for (const [name, photo] of Object.entries(forms)) {
    ages[name] = (await opened.predict(photo)).map(({ age }) => age);
  }
  return ages;
}

/** Return the message of the error that something raises, or null. */
async function message(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

export async function wrongUses(portrait, otherOrigin) {
  const opened = await predictor;
  const [ages] = await opened.predict(new Blob([await bytes(portrait)]));
  const foreign = new Image();
  foreign.src = otherOrigin;
  await foreign.decode();
  const uses = {
    provider: () => Predictor.open("/halnet_web/", { provider: "cuda" }),
    "no threads": () => Predictor.open("/halnet_web/", { threads: 0 }),
    "many threads": () => Predictor.open("/halnet_web/", { threads: 1000 }),
    "half a thread": () => Predictor.open("/halnet_web/", { threads: 1.5 }),
    "no isolation": () => Predictor.open("/halnet_web/", { threads: 2 }),
    folder: () => Predictor.open("/nothing/"),
    path: () => opened.predict("photo.jpg"),
    "no photo": () => opened.predict(undefined),
    "no image yet": () => opened.predict(new Image()),
    "no video yet": () => opened.predict(document.createElement("video")),
    "other site": () => opened.predict(foreign),
    crops: () => opened.predictCrops(new Uint8Array(1000)),
    "crops of another kind": () => opened.predictCrops(new Float32Array(224 * 224 * 3)),
    level: () => ages.interval(1),
    "no level": () => ages.interval(0),
    years: () => ages.probability(101),
    "half a year": () => ages.probability(17.5),
  };
  const found = {};
  for (const [name, work] of Object.entries(uses)) found[name] = await message(work);
  return found;
}

/** Return what a predictor does after it was closed, and while it works. */
export async function closing(portrait) {
  const blob = new Blob([await bytes(portrait)]);
  const own = await Predictor.open("/halnet_web/");
  const [first, second] = await Promise.all([own.predict(blob), own.predict(blob)]);
  const none = await own.predictCrops(new Uint8Array(0));
  await own.close();
  return [first[0].age, second[0].age, none.length, await message(() => own.predict(blob))];
}

export function sha256Of(texts) {
  return import("/halnet_web/model_file.js").then(({ sha256 }) =>
    texts.map((text) => sha256(new TextEncoder().encode(text))),
  );
}

export function cores() {
  return navigator.hardwareConcurrency;
}

export async function fingerprints() {
  return (await import("/halnet_web/model_file.js")).FINGERPRINTS;
}
