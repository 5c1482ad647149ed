/**
 * Photos: from what a page has of a photo to its pixels, as section 1 of the specification says,
 * except that the browser decodes, and always as large as the photo is (up to MAX_DECODED pixels).
 *
 * @typedef {import("./alignment.js").Pixels} Pixels
 * @typedef {Blob | HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas |
 *   ImageBitmap | ImageData} Photo
 *
 * @typedef {object} Decoded
 * @property {Pixels} pixels
 * @property {number} width of the whole photo, in pixels
 * @property {number} height of the whole photo, in pixels
 */
import { HalnetError } from "./errors.js";

const MAX_PIXELS = 100_000_000; // of a photo
// Photos with more pixels are decoded to fewer. The canvas of some phones cannot be larger.
const MAX_DECODED = 16_777_216;
// The formats of HEIC and AVIF files, after the bytes "ftyp".
const HEIC = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"];

/**
 * Return the upright pixels of a photo.
 * @param {Photo} photo
 * @returns {Promise<Decoded>}
 * @throws {HalnetError} if it is damaged, too large, not decodable here or not loaded yet
 */
export async function readPhoto(photo) {
  if (photo instanceof Blob) return readBlob(photo);
  const [width, height] = sizeOf(photo);
  checkSize(width, height);
  if (photo instanceof ImageData) return { pixels: photo, width, height };
  return { pixels: draw(photo, ...limitSize(width, height)), width, height };
}

/** Return the width and the height of a photo that the page shows, in pixels. */
function sizeOf(photo) {
  if (photo instanceof HTMLImageElement) return [photo.naturalWidth, photo.naturalHeight];
  if (photo instanceof HTMLVideoElement) {
    const isLoaded = photo.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    return isLoaded ? [photo.videoWidth, photo.videoHeight] : [0, 0];
  }
  const { width, height } = Object(photo);
  if (typeof width === "number" && typeof height === "number") return [width, height];
  throw new HalnetError(
    "expected a photo as a Blob, an image, a video, a canvas, an ImageBitmap or an ImageData, " +
      `found ${Object.prototype.toString.call(photo).slice(8, -1)}`,
  );
}

async function readBlob(blob) {
  const [width, height] = await readSize(blob);
  checkSize(width, height);
  const [across, down] = limitSize(width, height);
  const options = { colorSpaceConversion: "none" };
  if (across < width) {
    Object.assign(options, { resizeWidth: across, resizeHeight: down, resizeQuality: "medium" });
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, options);
  } catch {
    throw await undecodable(blob);
  }
  try {
    return { pixels: draw(bitmap, across, down), width, height };
  } finally {
    bitmap.close();
  }
}

/** Return the width and the height of an upright photo file, without its pixels. */
async function readSize(blob) {
  const address = URL.createObjectURL(blob);
  const image = new Image();
  try {
    await new Promise((resolve, reject) => {
      [image.onload, image.onerror] = [resolve, reject];
      image.src = address;
    });
    return [image.naturalWidth, image.naturalHeight];
  } catch {
    throw await undecodable(blob);
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Return the error that says why a browser cannot decode a photo file. */
async function undecodable(blob) {
  const start = new TextDecoder("latin1").decode(await blob.slice(4, 12).arrayBuffer());
  if (start.startsWith("ftyp") && HEIC.includes(start.slice(4))) {
    return new HalnetError(
      "this browser cannot open HEIC photos; save the photo as JPEG, or choose the format " +
        "“most compatible” in the settings of the camera",
    );
  }
  return new HalnetError(
    "expected a JPEG, PNG or WebP photo, found a file that is damaged, cut off or something else",
  );
}

function checkSize(width, height) {
  if (!(width > 0 && height > 0)) {
    throw new HalnetError("expected a photo with pixels, found none; wait until it is loaded");
  }
  if (width * height > MAX_PIXELS) {
    throw new HalnetError(
      `expected a photo of at most ${MAX_PIXELS / 1e6} megapixels, found ` +
        `${Math.round((width * height) / 1e6)}; make the photo smaller`,
    );
  }
}

/** Return the width and the height to which a photo is decoded. */
function limitSize(width, height) {
  const factor = Math.sqrt(MAX_DECODED / (width * height));
  if (factor >= 1) return [width, height];
  return [width, height].map((side) => Math.max(1, Math.floor(side * factor)));
}

/** Return the pixels of something that can be drawn. */
function draw(source, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (!context) throw new HalnetError("this browser has no memory for the photo; close other tabs");
  context.drawImage(source, 0, 0, width, height);
  try {
    return context.getImageData(0, 0, width, height);
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== "SecurityError") throw error;
    throw new HalnetError(
      "the photo comes from another site, which does not allow this page to read its pixels; " +
        "choose a copy of the file",
    );
  }
}
