/**
 * HAL-Net in a browser: finds the faces in a photo and estimates their ages.
 *
 *     import { Predictor } from "./halnet_web/halnet.js";
 *     const predictor = await Predictor.open("./halnet_web/");
 *     for (const face of await predictor.predict(file)) console.log(face.age, face.interval(0.9));
 *
 * The files beside this one do all of the work. No photo leaves the browser. Faces that are turned
 * by more than about 45 degrees are not looked for (section 4 of the specification).
 *
 * @typedef {import("./photos.js").Photo} Photo
 * @typedef {import("./model_file.js").Metadata} Metadata
 *
 * @typedef {object} Options
 * @property {"wasm" | "webgpu"} [provider] what computes the networks; "wasm", the default, is the
 *   processor
 * @property {number} [threads] of "wasm"; the default is one for each core, at most 4, where the
 *   page is cross-origin isolated, and 1 elsewhere
 */
import { CROP_SIZE, align } from "./alignment.js";
import { HalnetError } from "./errors.js";
import { interval, probabilityAtLeast } from "./intervals.js";
import { readMetadata, sha256 } from "./model_file.js";
import { readPhoto } from "./photos.js";
import { YuNet, possibleFaces, scaled, shrink } from "./yunet.js";

export { HalnetError };

const CONTENTS = "halnet.json"; // lists the other files, with their SHA-256
const FORMAT = 1; // version of that list
const MOST_THREADS = 4; // by default; networks of this size gain nothing from more
// The files of onnxruntime-web that each provider needs.
const RUNTIMES = {
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"],
  webgpu: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"],
};
// A program of WebAssembly with one SIMD operation.
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
];
const CURE = "copy the whole folder that halnet export wrote to the server again";

/** The age of a face as a distribution over the years from 0 to 100. */
export class Ages {
  #calibration;

  constructor(age, stddev, probabilities, calibration) {
    /** @type {number} years, the mean of the distribution */
    this.age = age;
    /** @type {number} years, the standard deviation of the distribution */
    this.stddev = stddev;
    /** @type {Float32Array} 101, one for each year from 0 to 100 */
    this.probabilities = probabilities;
    this.#calibration = calibration;
  }

  /**
   * Return the lowest and the highest age, in years. The share `level` of such intervals contains
   * the true age.
   * @param {number} [level] above 0 and up to 0.99
   * @returns {[number, number]}
   */
  interval(level = 0.9) {
    return interval(this.#calibration, this.age, this.stddev, level);
  }

  /**
   * Return the probability that the person is so old or older.
   * @param {number} atLeast a whole number of years from 0 to 100
   * @returns {number} from 0 to 1
   */
  probability(atLeast) {
    return probabilityAtLeast(this.#calibration, this.probabilities, atLeast);
  }
}

/** A face in a photo, with its age. All places are in pixels of the whole upright photo. */
export class Face extends Ages {
  constructor(ages, found, calibration) {
    super(ages.age, ages.stddev, ages.probabilities, calibration);
    /** @type {[number, number, number, number]} x and y of the left top corner, width, height */
    this.box = found.box;
    /** @type {[number, number][]} eyes, nose tip and corners of the mouth, from left to right */
    this.landmarks = found.landmarks;
    /** @type {number} confidence of the detection, from 0 to 1 */
    this.score = found.score;
  }
}

/** Finds faces and estimates ages. `Predictor.open` makes one. */
export class Predictor {
  #ort;
  #model;
  #detector;
  #queue = Promise.resolve(); // the sessions compute one photo at a time

  /** @private */
  constructor(ort, model, detector, metadata, provider, threads) {
    this.#ort = ort;
    this.#model = model;
    this.#detector = detector;
    /** @type {Metadata} of the model */
    this.metadata = metadata;
    /** @type {"wasm" | "webgpu"} what computes the networks */
    this.provider = provider;
    /** @type {number} of "wasm" */
    this.threads = threads;
  }

  /**
   * Load the model of a folder that `halnet export --format web` wrote.
   * @param {string | URL} folder its address, relative to the page
   * @param {Options} [options]
   * @returns {Promise<Predictor>}
   * @throws {HalnetError} if a file is missing, is not the one that was exported, or is a model
   *   that needs other crops, or if this browser cannot run it as asked
   */
  static async open(folder, { provider = "wasm", threads } = {}) {
    checkBrowser(provider);
    const count = countThreads(threads);
    const base = new URL(folder, document.baseURI);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    const contents = await readContents(base);
    const [model, detector] = await Promise.all(
      [contents.model, contents.detector].map((name) => fetchChecked(base, name, contents)),
    );
    const metadata = readMetadata(model, contents.model);
    const ort = await loadRuntime(base, provider, count, contents);
    const open = (data) => ort.InferenceSession.create(data, { executionProviders: [provider] });
    const sessions = [];
    try {
      for (const data of [model, detector]) sessions.push(await open(data));
    } catch (error) {
      await checkRuntime(base, provider, contents);
      throw new HalnetError(`onnxruntime-web cannot load the model with ${provider}: ${error}`);
    }
    const yunet = new YuNet(ort, sessions[1]);
    return new Predictor(ort, sessions[0], yunet, metadata, provider, count);
  }

  /**
   * Return the faces in a photo, the largest first.
   * @param {Photo} photo
   * @returns {Promise<Face[]>}
   * @throws {HalnetError} if the photo cannot be read
   */
  async predict(photo) {
    const { pixels, width } = await readPhoto(photo);
    const scale = width / pixels.width; // above 1 for a photo that was decoded smaller
    return this.#inTurn(async () => {
      const small = shrink(pixels);
      const back = [pixels.width / small.width, pixels.height / small.height];
      const found = (await this.#detector.find(small)).map((face) => scaled(face, ...back));
      const faces = possibleFaces(found, pixels).map((face) => scaled(face, scale, scale));
      const crops = faces.map(({ landmarks }) => align(pixels, toDecoded(landmarks, scale)));
      const ages = await this.#run(crops);
      return faces.map((face, k) => new Face(ages[k], face, this.metadata.calibration));
    });
  }

  /**
   * Return the ages of aligned crops, as `align` of alignment.js makes them.
   * @param {Uint8Array | Uint8ClampedArray} crops N x 224 x 224 x 3, red, green and blue
   * @returns {Promise<Ages[]>}
   */
  async predictCrops(crops) {
    const size = 3 * CROP_SIZE ** 2;
    if (!ArrayBuffer.isView(crops) || crops.BYTES_PER_ELEMENT !== 1 || crops.length % size) {
      throw new HalnetError(
        `expected crops of ${CROP_SIZE} x ${CROP_SIZE} x 3 bytes, found ${crops?.length} values`,
      );
    }
    const parts = Array.from({ length: crops.length / size }, (_, k) =>
      crops.subarray(k * size, (k + 1) * size),
    );
    return this.#inTurn(() => this.#run(parts));
  }

  /** Free the memory of the networks. The predictor cannot be used any more. */
  async close() {
    await this.#inTurn(async () => {
      await Promise.all([this.#model.release(), this.#detector.session.release()]);
    });
    this.#model = undefined;
  }

  /** Do some work after all that was requested before. */
  #inTurn(work) {
    const done = this.#queue.then(() => {
      if (!this.#model) throw new HalnetError("the predictor was closed; open another one");
      return work();
    });
    this.#queue = done.catch(() => {});
    return done;
  }

  /** Return the ages of crops. A model with a fixed number of crops runs several times. */
  async #run(crops) {
    const fixed = this.#model.inputMetadata?.[0]?.shape?.[0];
    const count = typeof fixed === "number" && fixed > 0 ? fixed : Math.max(1, crops.length);
    const found = [];
    for (let start = 0; start < crops.length; start += count) {
      const data = new Uint8Array(count * 3 * CROP_SIZE ** 2);
      const batch = crops.slice(start, start + count);
      batch.forEach((crop, k) => data.set(crop, k * crop.length));
      const image = new this.#ort.Tensor("uint8", data, [count, CROP_SIZE, CROP_SIZE, 3]);
      const outputs = await this.#model.run({ image });
      const [age, stddev, probabilities] = await Promise.all(
        ["age", "stddev", "probabilities"].map((name) => outputs[name].getData()),
      );
      const { calibration } = this.metadata;
      batch.forEach((_, k) => {
        const row = probabilities.slice(101 * k, 101 * (k + 1));
        found.push(new Ages(age[k], stddev[k], row, calibration));
      });
    }
    return found;
  }
}

/** Return landmarks of the whole photo in pixels of what was decoded. */
function toDecoded(landmarks, scale) {
  return landmarks.map((place) => place.map((at) => Math.fround((at + 0.5) / scale - 0.5)));
}

function checkBrowser(provider) {
  if (!Object.hasOwn(RUNTIMES, provider)) {
    throw new HalnetError(
      `provider ${provider}: expected one of ${Object.keys(RUNTIMES).join(", ")}`,
    );
  }
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(Uint8Array.from(SIMD))) {
    throw new HalnetError(
      "this browser has no WebAssembly with SIMD, which the model needs; use a browser of 2023 " +
        "or later",
    );
  }
  if (provider === "webgpu" && !navigator.gpu) {
    throw new HalnetError(
      "this browser has no WebGPU on this page; use the provider wasm, or another browser by " +
        "https",
    );
  }
}

function countThreads(threads) {
  const isolated = globalThis.crossOriginIsolated === true;
  const cores = navigator.hardwareConcurrency || 1;
  if (threads === undefined) return isolated ? Math.min(MOST_THREADS, cores) : 1;
  if (!(Number.isInteger(threads) && threads >= 1 && threads <= cores)) {
    throw new HalnetError(
      `threads: expected a whole number from 1 to ${cores}, as many as there are cores, found ` +
        (typeof threads === "number" ? threads : JSON.stringify(threads)),
    );
  }
  if (threads > 1 && !isolated) {
    throw new HalnetError(
      `threads: ${threads} need a page that is cross-origin isolated, which this one is not; let ` +
        "the server send the headers Cross-Origin-Opener-Policy: same-origin and " +
        "Cross-Origin-Embedder-Policy: require-corp, or use 1 thread",
    );
  }
  return threads;
}

async function readContents(base) {
  const data = await fetchFile(base, CONTENTS);
  let contents;
  try {
    contents = JSON.parse(new TextDecoder().decode(data));
  } catch {
    throw new HalnetError(`${CONTENTS}: the file is damaged; ${CURE}`);
  }
  if (contents?.format !== FORMAT) {
    throw new HalnetError(
      `${CONTENTS}: expected format ${FORMAT} of the list of files, found ${contents?.format}; ` +
        CURE,
    );
  }
  return contents;
}

/** Return the content of a file, after its SHA-256 was checked. */
async function fetchChecked(base, name, contents) {
  const data = await fetchFile(base, name);
  const expected = String(contents.files?.[name]?.sha256);
  const found = sha256(data);
  if (found !== expected) {
    throw new HalnetError(
      `${name}: expected the SHA-256 ${expected.slice(0, 12)}..., found ` +
        `${found.slice(0, 12)}...: the file is damaged, or it belongs to another export; ${CURE}`,
    );
  }
  return data;
}

async function fetchFile(base, name, cure = CURE) {
  let response;
  try {
    response = await fetch(new URL(name, base));
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch {
    throw new HalnetError(`${name}: the server cannot be reached; try again later`);
  }
  throw new HalnetError(`${name}: the server has no such file (${response.status}); ${cure}`);
}

/** Return the module onnxruntime-web, which takes its files from the folder. */
async function loadRuntime(base, provider, threads, contents) {
  const [script, program] = RUNTIMES[provider];
  let ort;
  try {
    ort = await import(new URL(script, base).href);
  } catch (error) {
    await checkRuntime(base, provider, contents);
    throw new HalnetError(
      `${script}: cannot be loaded (${error.message}); let the server send .mjs files as ` +
        "text/javascript",
    );
  }
  const [mjs, wasm] = ["mjs", "wasm"].map((suffix) => new URL(`${program}.${suffix}`, base).href);
  ort.env.wasm.wasmPaths = { mjs, wasm };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return ort;
}

/**
 * After a failure, find out whether a file of onnxruntime-web is the cause, which its own messages
 * do not name.
 * @throws {HalnetError} if one is missing or is not the one that was exported
 */
async function checkRuntime(base, provider, contents) {
  const [script, program] = RUNTIMES[provider];
  const names = [script, `${program}.mjs`, `${program}.wasm`];
  for (const name of names) {
    if (provider === "wasm") {
      await fetchChecked(base, name, contents);
    } else {
      const copied = `${names[0]}, ${names[1]} and ${names[2]}`;
      const from = `the npm package onnxruntime-web ${contents.onnxruntime_web}`;
      await fetchFile(base, name, `copy ${copied} from ${from} into the folder`);
    }
  }
}
