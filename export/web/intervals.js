/**
 * Intervals and probabilities of an age: section 7 of the specification.
 *
 * @typedef {object} Calibration the property `halnet.calibration` of a model file
 * @property {number} temperature divides the log probabilities
 * @property {number[]} quantiles of the scaled errors, at the levels 1 %, 2 %, ...
 * @property {number[]} [age_factors] how large errors are at the ages 5, 15, 25, ...
 * @property {number[]} [scale] four coefficients of the scale of the errors
 */
import { HalnetError } from "./errors.js";

const OLDEST = 100; // years
const STEPS = 10; // in a year, at which the ends of an interval are searched

/**
 * Return the lowest and the highest age of the interval that contains the true age with the
 * probability `level`, in years.
 * @param {Calibration} calibration
 * @param {number} age years
 * @param {number} stddev years
 * @param {number} level such as 0.9
 * @returns {[number, number]}
 */
export function interval(calibration, age, stddev, level) {
  const { quantiles, age_factors: factors } = calibration;
  const number = Math.ceil(Number((100 * level).toFixed(6)));
  if (!(number >= 1 && number <= quantiles.length)) {
    throw new HalnetError(
      `level: expected a number above 0 and up to ${quantiles.length / 100}, found ${level}`,
    );
  }
  const width = quantiles[number - 1] * errorScale(calibration, age, stddev);
  if (!factors?.length) return [limit(age - width), limit(age + width)];
  const grid = Array.from({ length: OLDEST * STEPS + 1 }, (_, step) => step / STEPS);
  const margins = grid.map((years) => width * factorAt(factors, years) - Math.abs(years - age));
  const low = firstAllowed(margins, grid, age);
  const high = firstAllowed(margins.reverse(), grid.reverse(), age);
  return [limit(low), limit(high)];
}

/**
 * Return the probability that a person is `years` old or older.
 * @param {Calibration} calibration
 * @param {ArrayLike<number>} probabilities 101, for the ages 0 to 100
 * @param {number} years a whole number from 0 to 100
 * @returns {number} from 0 to 1
 */
export function probabilityAtLeast(calibration, probabilities, years) {
  if (!(Number.isInteger(years) && years >= 0 && years <= OLDEST)) {
    throw new HalnetError(`age: expected a whole number from 0 to ${OLDEST}, found ${years}`);
  }
  let older = 0;
  let all = 0;
  for (let k = 0; k < probabilities.length; k++) {
    const weight = Math.max(probabilities[k], 1e-12) ** (1 / calibration.temperature);
    all += weight;
    if (k >= years) older += weight;
  }
  return older / all;
}

function errorScale({ scale }, age, stddev) {
  const plain = Math.max(stddev, 0.001);
  if (!scale?.length) return plain;
  const x = Math.min(Math.max(age, 5), 90) / 50 - 1;
  return Math.exp(
    scale[0] * Math.log(plain) + scale[1] * x + scale[2] * x ** 2 + scale[3] * x ** 3,
  );
}

/** Return the factor at an age; between the ages 5, 15, 25, ... it is linear. */
function factorAt(factors, years) {
  const place = Math.min(Math.max((years - 5) / 10, 0), factors.length - 1);
  const index = Math.min(Math.floor(place), factors.length - 2);
  return factors[index] + (place - index) * (factors[index + 1] - factors[index]);
}

/** Return the first age of the grid whose margin is not negative, interpolated. */
function firstAllowed(margins, grid, age) {
  const index = margins.findIndex((margin) => margin >= 0);
  if (index < 0) return age;
  if (index === 0) return grid[0];
  const share = margins[index] / Math.max(margins[index] - margins[index - 1], 1e-12);
  return grid[index] + share * (grid[index - 1] - grid[index]);
}

function limit(years) {
  return Math.min(Math.max(years, 0), OLDEST);
}
