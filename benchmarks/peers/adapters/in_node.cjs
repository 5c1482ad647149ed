// Peers in Node: one script for both, which runs in the folder that npm installed them into.
//
//     node in_node.cjs PEER
//
// It keeps to the same protocol as in_python.py: a first line that describes the peer, then a line of
// JSON for each path on standard input. The time of a photo begins with the bytes of its file. It
// contains decoding (sharp), the copy into a tensor, and what the package does.

const fs = require('fs');
const path = require('path');
const readline = require('readline');
const { pathToFileURL, fileURLToPath } = require('url');

const modules = path.resolve('node_modules');
const need = require('module').createRequire(path.join(modules, 'from-here.js'));
const folder = (name) => path.join(modules, name);
const wasmFolder = path.join(folder('@tensorflow/tfjs-backend-wasm'), 'wasm-out') + path.sep;

const write = (value) => fs.writeSync(1, `${JSON.stringify(value)}\n`);
console.log = console.info = console.debug = console.error; // what packages print goes to the log

// Human, with what it has on by default for faces, but for iris and emotion, which no age needs.
async function openHuman() {
  const { Human } = need(path.join(folder('@vladmandic/human'), 'dist', 'human.node-wasm.js'));
  const download = globalThis.fetch; // it cannot read local files, but Human loads its models by it
  globalThis.fetch = async (url, ...rest) => (String(url).startsWith('file:')
    ? new Response(fs.readFileSync(fileURLToPath(url)))
    : download(url, ...rest));
  const off = { enabled: false };
  const human = new Human({
    backend: 'wasm',
    wasmPath: wasmFolder,
    modelBasePath: `${pathToFileURL(path.join(folder('@vladmandic/human'), 'models')).href}/`,
    cacheSensitivity: 0, // no photo follows from the one before it
    filter: off,
    face: { enabled: true, detector: { maxDetected: 100 }, iris: off, emotion: off },
    body: off,
    hand: off,
    gesture: off,
  });
  await human.load();
  const predict = async (tensor) => {
    const result = await human.detect(tensor);
    if (result.error) throw new Error(result.error);
    // Human leaves out an age that it rounds to 0.0 years.
    return result.face.map((face) => ({ age: face.age ?? 0, box: face.box }));
  };
  return { tf: human.tf, predict };
}

// face-api, as its README uses it: SSD MobileNetV1, 68 landmarks, age and gender.
async function openFaceApi() {
  const tf = need('@tensorflow/tfjs');
  need('@tensorflow/tfjs-backend-wasm').setWasmPaths(wasmFolder);
  await tf.setBackend('wasm');
  await tf.ready();
  const faceapi = need(path.join(folder('@vladmandic/face-api'), 'dist', 'face-api.node-wasm.js'));
  const { ssdMobilenetv1, faceLandmark68Net, ageGenderNet } = faceapi.nets;
  for (const net of [ssdMobilenetv1, faceLandmark68Net, ageGenderNet]) {
    await net.loadFromDisk(path.join(folder('@vladmandic/face-api'), 'model'));
  }
  const predict = async (tensor) => {
    const found = await faceapi.detectAllFaces(tensor).withFaceLandmarks().withAgeAndGender();
    return found.map(({ age, detection: { box } }) => (
      { age, box: [box.x, box.y, box.width, box.height] }));
  };
  return { tf, predict };
}

const PEERS = {
  human: { open: openHuman, name: '@vladmandic/human' },
  'face-api': { open: openFaceApi, name: '@vladmandic/face-api' },
};

async function main() {
  const peer = PEERS[process.argv[2]];
  const sharp = need('sharp');
  const { tf, predict } = await peer.open();
  const about = JSON.parse(fs.readFileSync(path.join(folder(peer.name), 'package.json'), 'utf8'));
  const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
  const threads = await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT');
  write({
    version: about.version,
    engine: `TensorFlow.js ${tf.version_core ?? tf.version.tfjs} ${tf.getBackend()}, `
      + `${simd ? 'SIMD' : 'no SIMD'}, ${threads ? 'several threads' : '1 thread'}, `
      + `Node ${process.versions.node}`,
  });
  for await (const photo of readline.createInterface({ input: process.stdin })) {
    const data = fs.readFileSync(photo);
    const start = performance.now();
    try {
      const upright = sharp(data).rotate().removeAlpha().toColourspace('srgb');
      const { data: pixels, info } = await upright.raw().toBuffer({ resolveWithObject: true });
      const tensor = tf.tensor3d(new Uint8Array(pixels), [info.height, info.width, 3], 'int32');
      const faces = await predict(tensor);
      tf.dispose(tensor);
      write({ photo, seconds: (performance.now() - start) / 1000, faces });
    } catch (error) {
      write({ photo, error: String(error) });
    }
  }
  process.exit(0); // the threads of sharp would keep the process alive
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
