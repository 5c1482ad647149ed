/**
 * YuNet, the face detector: section 3 of the specification.
 *
 * @typedef {import("./alignment.js").Pixels} Pixels
 * @typedef {import("./alignment.js").Landmarks} Landmarks
 *
 * @typedef {object} DetectedFace
 * @property {[number, number, number, number]} box x and y of the left top corner, width, height
 * @property {Landmarks} landmarks
 * @property {number} score from 0 to 1
 */
import { areaMean } from "./alignment.js";

const SIDE = 640; // pixels: the longer side of a picture in which faces are searched
const STRIDES = [8, 16, 32]; // pixels between the places at which each group of outputs looks
const MIN_SCORE = Math.fround(0.6);
const MAX_OVERLAP = 0.3;
const HUGE = 1e6; // pixels: no place of a face

/** Finds the faces of a picture. */
export class YuNet {
  /**
   * @param {any} ort the module onnxruntime-web
   * @param {any} session an InferenceSession of YuNet whose sizes are free
   */
  constructor(ort, session) {
    this.ort = ort;
    this.session = session;
  }

  /**
   * Return the 12 outputs of YuNet by name, for a picture of at most 640 x 640 pixels.
   * @param {Pixels} picture
   * @returns {Promise<Record<string, Float32Array>>}
   */
  async compute(picture) {
    const [width, height] = [padded(picture.width), padded(picture.height)];
    const planes = new Float32Array(3 * width * height);
    let from = 0;
    for (let y = 0; y < picture.height; y++) {
      for (let x = 0; x < picture.width; x++, from += 4) {
        const at = y * width + x;
        for (let k = 0; k < 3; k++) planes[(2 - k) * width * height + at] = picture.data[from + k];
      }
    }
    const input = new this.ort.Tensor("float32", planes, [1, 3, height, width]);
    const outputs = await this.session.run({ input });
    const found = {};
    for (const [name, tensor] of Object.entries(outputs)) found[name] = await tensor.getData();
    return found;
  }

  /**
   * Return the faces of a picture of at most 640 x 640 pixels, the largest box first.
   * @param {Pixels} picture
   * @returns {Promise<DetectedFace[]>}
   */
  async find(picture) {
    const outputs = await this.compute(picture);
    return possibleFaces(suppress(readOutputs(outputs, padded(picture.width))), picture);
  }
}

/** Return the width or height of a picture after it is filled up with black. */
export function padded(side) {
  return Math.max(64, 32 * Math.ceil(side / 32));
}

/**
 * Return a picture whose longer side has at most 640 pixels.
 * @param {Pixels} picture
 * @returns {Pixels}
 */
export function shrink(picture) {
  const factor = SIDE / Math.max(picture.width, picture.height);
  if (factor >= 1) return picture;
  const [width, height] = [picture.width, picture.height].map((side) =>
    Math.max(1, roundEven(side * factor)),
  );
  return areaMean(picture, width, height);
}

/**
 * Return the faces that the outputs state.
 * @param {Record<string, ArrayLike<number>>} outputs
 * @param {number} width of the picture after it was filled up
 * @returns {DetectedFace[]}
 */
export function readOutputs(outputs, width) {
  const faces = [];
  for (const stride of STRIDES) {
    const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map(
      (name) => outputs[`${name}_${stride}`],
    );
    const columns = width / stride;
    for (let n = 0; n < cls.length; n++) {
      const score = Math.fround(Math.sqrt(Math.fround(share(cls[n]) * share(obj[n]))));
      if (!(score >= MIN_SCORE)) continue;
      const [column, row] = [n % columns, Math.floor(n / columns)];
      const [x, y, w, h] = bbox.slice(4 * n, 4 * n + 4);
      const [across, down] = [stride * Math.exp(w), stride * Math.exp(h)];
      const box = [stride * (column + x) - across / 2, stride * (row + y) - down / 2, across, down];
      const landmarks = [0, 1, 2, 3, 4].map((k) => [
        Math.fround(stride * (kps[10 * n + 2 * k] + column)),
        Math.fround(stride * (kps[10 * n + 2 * k + 1] + row)),
      ]);
      if ([...box, ...landmarks.flat()].every((value) => Math.abs(value) < HUGE)) {
        faces.push({ box: box.map(Math.fround), landmarks, score });
      }
    }
  }
  return faces;
}

/**
 * Return the faces that overlap with no face of a higher score, the highest score first.
 * @param {DetectedFace[]} faces
 * @returns {DetectedFace[]}
 */
export function suppress(faces) {
  const kept = [];
  for (const face of [...faces].sort((first, second) => second.score - first.score)) {
    if (kept.every((other) => overlap(face.box, other.box) <= MAX_OVERLAP)) kept.push(face);
  }
  return kept;
}

/** Return the intersection over union of two boxes, in whole pixels. */
function overlap(first, second) {
  const [ax, ay, aw, ah] = first.map(Math.trunc);
  const [bx, by, bw, bh] = second.map(Math.trunc);
  const across = Math.max(Math.min(ax + aw, bx + bw) - Math.max(ax, bx), 0);
  const down = Math.max(Math.min(ay + ah, by + bh) - Math.max(ay, by), 0);
  const all = aw * ah + bw * bh;
  return all ? (across * down) / (all - across * down) : 1;
}

/**
 * Return those faces that a picture of this size can show, the largest box first.
 * @param {DetectedFace[]} faces
 * @param {{width: number, height: number}} size in pixels
 * @returns {DetectedFace[]}
 */
export function possibleFaces(faces, { width, height }) {
  return faces
    .filter(({ box: [x, y, w, h], landmarks }) => {
      const across = Math.min(x + w, width) - Math.max(x, 0);
      const down = Math.min(y + h, height) - Math.max(y, 0);
      if (Math.min(w, h, across, down) <= 0 || across * down < 0.5 * w * h) return false;
      const [first] = landmarks;
      if (landmarks.every(([px, py]) => px === first[0] && py === first[1])) return false;
      const places = landmarks.map(([px, py]) => [px / width, py / height]);
      const isCentral = [0, 1].every((axis) => {
        const mean = places.reduce((sum, place) => sum + place[axis], 0) / places.length;
        return mean >= 0 && mean <= 1;
      });
      return isCentral && places.flat().every((place) => place >= -1 && place <= 2);
    })
    .sort((first, second) => second.box[2] * second.box[3] - first.box[2] * first.box[3]);
}

/**
 * Return a face in a picture that is so many times as wide and as high.
 * @param {DetectedFace} face
 * @param {number} across
 * @param {number} down
 * @returns {DetectedFace}
 */
export function scaled({ box: [x, y, w, h], landmarks, score }, across, down) {
  return {
    box: [x * across, y * down, w * across, h * down],
    landmarks: landmarks.map(([px, py]) => [Math.fround(px * across), Math.fround(py * down)]),
    score,
  };
}

function share(value) {
  return Math.min(Math.max(value, 0), 1);
}

/** Return the nearest whole number; of two equally near ones, the even one. */
function roundEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}
