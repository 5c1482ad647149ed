/**
 * Model files: their SHA-256 and their metadata, section 6 of the specification.
 *
 * @typedef {import("./intervals.js").Calibration} Calibration
 *
 * @typedef {object} Metadata
 * @property {Calibration} calibration
 * @property {string} precision fp32, fp16 or int8
 * @property {string} licence of the weights
 * @property {string} terms what the licences of the training photos allow
 */
import { HalnetError } from "./errors.js";

// Of the crops that this code makes. A model with another fingerprint needs other crops.
export const FINGERPRINTS = ["a3eb3c5b8787235a", "60964a9c2dd01642"];
const FORMATS = ["1", "2"];
const CALIBRATIONS = ["scaled stddev", "scaled by age"];
const CURE = "export the checkpoint again with halnet export --format web";
const [METADATA, KEY, VALUE] = [14, 1, 2]; // numbers of fields [onnx.proto]

/**
 * Return the metadata of an ONNX file that halnet wrote.
 * @param {Uint8Array} data
 * @param {string} name for messages
 * @returns {Metadata}
 * @throws {HalnetError} if it is no such file, or if the model needs other crops
 */
export function readMetadata(data, name) {
  const texts = readProperties(data, name);
  const version = texts.get("halnet.format_version");
  if (version === undefined) {
    throw new HalnetError(`${name}: expected a HAL-Net model, found no halnet metadata; ${CURE}`);
  }
  if (!FORMATS.includes(version)) {
    throw new HalnetError(`${name}: expected metadata of format 2, found ${version}; ${CURE}`);
  }
  const input = new TextEncoder().encode(texts.get("halnet.input") ?? "");
  const stated = texts.get("halnet.input_fingerprint") ?? "no";
  if (!FINGERPRINTS.includes(stated) || sha256(input).slice(0, 16) !== stated) {
    throw new HalnetError(
      `${name}: expected a model with the input fingerprint ${FINGERPRINTS.join(" or ")}, found ` +
        `${stated}: it needs other crops than this page makes, and would give wrong ages; ${CURE}`,
    );
  }
  const calibration = readCalibration(texts.get("halnet.calibration"), name);
  return {
    calibration,
    precision: texts.get("halnet.precision") ?? "",
    licence: texts.get("halnet.licence") ?? "",
    terms: texts.get("halnet.terms") ?? "",
  };
}

function readCalibration(text, name) {
  try {
    const values = JSON.parse(text ?? "");
    const lists = [values.quantiles, values.age_factors ?? [], values.scale ?? []];
    const numbers = [values.temperature, ...lists.flat()];
    const isKnown = CALIBRATIONS.includes(values.kind ?? CALIBRATIONS[0]);
    if (isKnown && values.quantiles.length && numbers.every(Number.isFinite)) return values;
  } catch {
    // the message below says so
  }
  throw new HalnetError(`${name}: its calibration is missing, damaged or not known; ${CURE}`);
}

/**
 * Return the texts in the metadata of an ONNX file by their names.
 * @param {Uint8Array} data
 * @param {string} name for messages
 * @returns {Map<string, string>}
 */
export function readProperties(data, name) {
  const texts = new Map();
  try {
    for (const [number, content] of fields(data)) {
      if (number !== METADATA || typeof content === "number") continue;
      const entry = new Map(fields(content));
      const [key, value] = [KEY, VALUE].map((k) => new TextDecoder().decode(entry.get(k)));
      texts.set(key, value);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new HalnetError(`${name}: expected an ONNX file, found another or a cut one; ${CURE}`);
  }
  return texts;
}

/** Yield the number and the content of each field of a message of protocol buffers. */
function* fields(data) {
  let at = 0;
  const varint = () => {
    let [value, factor] = [0, 1];
    for (;;) {
      if (at >= data.length || factor > 2 ** 63) throw new RangeError("cut off");
      const byte = data[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
  };
  while (at < data.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) {
      yield [Math.floor(tag / 8), varint()];
      continue;
    }
    const length = { 1: () => 8, 2: varint, 5: () => 4 }[kind]?.();
    if (length === undefined || at + length > data.length) throw new RangeError("damaged");
    yield [Math.floor(tag / 8), data.subarray(at, at + length)];
    at += length;
  }
}

const PRIMES = firstPrimes(64);
const ROUND_CONSTANTS = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

/**
 * Return the SHA-256 of bytes in hexadecimal digits [FIPS 180-4].
 *
 * Browsers have a function for this, but not for pages that come by http from another machine.
 * @param {Uint8Array} data
 * @returns {string}
 */
export function sha256(data) {
  const state = START.slice();
  const whole = data.length - (data.length % 64);
  const words = new Int32Array(64);
  for (let at = 0; at < whole; at += 64) addBlock(state, data, at, words);
  const rest = data.length - whole;
  const end = new Uint8Array(rest < 56 ? 64 : 128);
  end.set(data.subarray(whole));
  end[rest] = 128;
  new DataView(end.buffer).setBigUint64(end.length - 8, 8n * BigInt(data.length));
  for (let at = 0; at < end.length; at += 64) addBlock(state, end, at, words);
  return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

function addBlock(state, data, at, words) {
  for (let i = 0; i < 16; i++, at += 4) {
    words[i] = (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3];
  }
  for (let i = 16; i < 64; i++) {
    const [x, y] = [words[i - 15], words[i - 2]];
    const early = turn(x, 7) ^ turn(x, 18) ^ (x >>> 3);
    const late = turn(y, 17) ^ turn(y, 19) ^ (y >>> 10);
    words[i] = (words[i - 16] + early + words[i - 7] + late) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const choice = (e & f) ^ (~e & g);
    const high = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
    const first = (h + high + choice + ROUND_CONSTANTS[i] + words[i]) | 0;
    const majority = (a & b) ^ (a & c) ^ (b & c);
    const second = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + majority) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + first) | 0;
    d = c;
    c = b;
    b = a;
    a = (first + second) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

function turn(word, bits) {
  return (word >>> bits) | (word << (32 - bits));
}

function firstPrimes(count) {
  const found = [];
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime)) found.push(n);
  return found;
}

/** Return the first 32 bits of the fraction of a number. */
function fraction(value) {
  return Math.floor((value % 1) * 2 ** 32) | 0;
}
