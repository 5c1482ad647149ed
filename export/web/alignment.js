/**
 * Aligned crops: sections 2 and 5 of the specification.
 *
 * @typedef {object} Pixels a picture, such as an ImageData
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray} data red, green, blue and a value that is not used, row by row
 *
 * @typedef {[number, number][]} Landmarks x and y of the left eye, the right eye, the nose tip and
 *   the left and right corner of the mouth, in pixels; "left" is the left side of the picture
 * @typedef {number[][]} Matrix 2 x 3: maps a place (x, y, 1) to another one
 */

export const CROP_SIZE = 224; // pixels: width and height of a crop
const TEMPLATE = [[84, 96], [140, 96], [112, 128], [89, 161], [135, 161]];

/**
 * Return a smaller picture. Each of its pixels is the mean of the area under it.
 * @param {Pixels} picture
 * @param {number} width at most that of the picture
 * @param {number} height at most that of the picture
 * @returns {Pixels}
 */
export function areaMean(picture, width, height) {
  const length = 4 * picture.width;
  const rows = shares(picture.height, height);
  const columns = shares(picture.width, width);
  // An assignment to this kind of array rounds, of two equally near numbers to the even one.
  const data = new Uint8ClampedArray(4 * width * height);
  const sums = new Float64Array(length); // of one row of the result, before the columns are joined
  let place = 0;
  for (const { first, weights } of rows) {
    sums.fill(0);
    let at = first * length;
    for (const weight of weights) {
      for (let i = 0; i < length; i++) sums[i] += weight * picture.data[at++];
    }
    for (const { first: start, weights: across } of columns) {
      let [red, green, blue] = [0, 0, 0];
      let from = 4 * start;
      for (const weight of across) {
        red += weight * sums[from];
        green += weight * sums[from + 1];
        blue += weight * sums[from + 2];
        from += 4;
      }
      data[place++] = red;
      data[place++] = green;
      data[place++] = blue;
      data[place++] = 255;
    }
  }
  return { width, height, data };
}

/** Return which old pixels each new one covers, and how much of the mean each of them is. */
function shares(old, count) {
  return Array.from({ length: count }, (_, index) => {
    const start = index * (old / count);
    const end = (index + 1) * (old / count);
    const first = Math.floor(start);
    const last = Math.min(Math.ceil(end), old);
    const weights = [];
    for (let k = first; k < last; k++) {
      const covered = Math.min(end, k + 1) - Math.max(start, k);
      weights.push(Math.max(covered, 0) * (count / old));
    }
    return { first, weights };
  });
}

/**
 * Return the similarity transform that moves landmarks to where the crop has them.
 * @param {Landmarks} landmarks
 * @returns {Matrix} from the picture to the crop
 */
export function similarity(landmarks) {
  const [px, py] = centre(landmarks);
  const [qx, qy] = centre(TEMPLATE);
  let [real, imaginary, squares] = [0, 0, 0];
  landmarks.forEach(([x, y], k) => {
    const [u, v, s, t] = [x - px, y - py, TEMPLATE[k][0] - qx, TEMPLATE[k][1] - qy];
    real += u * s + v * t;
    imaginary += u * t - v * s;
    squares += u * u + v * v;
  });
  const [a, b] = [real / squares, imaginary / squares];
  return [
    [a, -b, qx - (a * px - b * py)],
    [b, a, qy - (b * px + a * py)],
  ];
}

function centre(places) {
  return [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
}

/**
 * Return the crop of a face: 224 x 224 x 3 values, red, green and blue, row by row.
 * @param {Pixels} picture
 * @param {Landmarks} landmarks in pixels of the picture, rounded to 32 bits
 * @returns {Uint8ClampedArray}
 */
export function align(picture, landmarks) {
  let matrix = similarity(landmarks);
  const times = Math.floor(1 / Math.hypot(matrix[0][0], matrix[1][0]));
  if (times >= 2) {
    const { width, height } = picture;
    const across = Math.max(1, Math.floor(width / times));
    const down = Math.max(1, Math.floor(height / times));
    picture = areaMean(picture, across, down);
    const [dx, dy] = [width / across, height / down];
    matrix = matrix.map(([a, b, t]) => [
      a * dx,
      b * dy,
      t + a * (0.5 * dx - 0.5) + b * (0.5 * dy - 0.5),
    ]);
  }
  return warp(picture, matrix, CROP_SIZE);
}

/**
 * Return size x size x 3 values of a picture that was moved by a matrix, with black around it.
 * @param {Pixels} picture
 * @param {Matrix} matrix from the picture to the result
 * @param {number} size
 * @returns {Uint8ClampedArray}
 */
export function warp(picture, matrix, size) {
  const { width, height, data } = picture;
  const [[a, b, s], [c, d, t]] = matrix;
  const area = a * d - b * c;
  const result = new Uint8ClampedArray(3 * size * size);
  const colours = [0, 0, 0];
  const add = (x, y, weight) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const at = 4 * (y * width + x);
    for (let k = 0; k < 3; k++) colours[k] += weight * data[at + k];
  };
  let place = 0;
  for (let v = 0; v < size; v++) {
    for (let u = 0; u < size; u++) {
      const x = (d * (u - s) - b * (v - t)) / area;
      const y = (a * (v - t) - c * (u - s)) / area;
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [right, below] = [x - left, y - top];
      colours.fill(0);
      add(left, top, (1 - right) * (1 - below));
      add(left + 1, top, right * (1 - below));
      add(left, top + 1, (1 - right) * below);
      add(left + 1, top + 1, right * below);
      for (let k = 0; k < 3; k++) result[place++] = colours[k];
    }
  }
  return result;
}
