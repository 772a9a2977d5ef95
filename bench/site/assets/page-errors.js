// What a picture errs by, computed from the pixels: |SR - GT|, the mean of the three channels.

/** Dark to light in both lightness and colour, so that it reads in grey too. */
const RAMP = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

/** The colour of a share of the scale, as three whole numbers; what is beyond 1 is the last. */
function rampColour(share) {
  const place = Math.min(1, Math.max(0, share)) * (RAMP.length - 1);
  const index = Math.min(RAMP.length - 2, Math.floor(place));
  const part = place - index;
  return RAMP[index].map((from, c) => Math.round(from + part * (RAMP[index + 1][c] - from)));
}

/** The image of an address, decoded. */
async function decoded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

/** The 8-bit RGBA samples of an image. */
function samples(image) {
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

/** |SR - GT| of every pixel, and their mean and largest. */
function errorsOf(sr, gt) {
  const values = new Float32Array(gt.length / 4);
  let total = 0;
  let largest = 0;
  for (let i = 0, pixel = 0; i < gt.length; i += 4, pixel += 1) {
    const sum =
      Math.abs(sr[i] - gt[i]) + Math.abs(sr[i + 1] - gt[i + 1]) + Math.abs(sr[i + 2] - gt[i + 2]);
    values[pixel] = sum / 3;
    total += sum / 3;
    largest = Math.max(largest, sum / 3);
  }
  return { values, mean: total / values.length, largest };
}

/** What a share of the values exceeds, to the next whole number. */
function exceededBy(values, share) {
  const counts = new Uint32Array(257);
  for (const value of values) counts[Math.ceil(value)] += 1;
  let left = share * values.length;
  let level = 256;
  while (level > 0 && counts[level] <= left) {
    left -= counts[level];
    level -= 1;
  }
  return level;
}

/** Paints errors into a canvas of their size; those of `limit` and above have the last colour. */
function paintErrors(canvas, values, limit) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const picture = context.createImageData(canvas.width, canvas.height);
  const colours = Array.from({ length: 1024 }, (_, i) => rampColour(i / 1023));
  for (let pixel = 0; pixel < values.length; pixel += 1) {
    const share = Math.min(1, values[pixel] / limit);
    picture.data.set(colours[Math.round(share * 1023)], 4 * pixel);
    picture.data[4 * pixel + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

/** The scale of the maps: 0 at its left, the limit at its right. */
function paintRamp(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    context.fillStyle = `rgb(${rampColour(x / (canvas.width - 1)).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}
