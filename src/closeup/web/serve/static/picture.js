// Photos and close-ups as the service saw them.
const SVG = "http://www.w3.org/2000/svg";
const LONG = 640; // a photo whose longer side is shorter is shown larger than it is,
const MOST = 4; // up to so many times

export function load(image, url) {
  return new Promise((done) => {
    image.onload = () => done(true);
    image.onerror = () => done(false);
    image.src = url;
  });
}

// Whether the browser shows the photo as the service read it, so that boxes can be drawn on it. Chromium
// ignores the EXIF orientation of a WebP, and counts fewer pixels if a JPEG's EXIF gives another resolution.
export async function sameAs(file, { naturalWidth: width, naturalHeight: height }, objects) {
  const head = new Uint8Array(await file.slice(0, 21).arrayBuffer());
  const hasExif = String.fromCharCode(...head.slice(8, 16)) === "WEBPVP8X" && Boolean(head[20] & 8);
  if (hasExif || objects.some(({ box }) => box[2] > width + 1 || box[3] > height + 1)) return false;
  const pixels = await createImageBitmap(file).catch(() => null);
  const same = pixels?.width === width && pixels.height === height;
  pixels?.close();
  return same;
}

// The square that the model classified, as crops.cut cuts it.
function squareOf([x1, y1, x2, y2], width, height, pad) {
  const span = (low, high, limit) => {
    const first = Math.min(Math.floor(low), limit - 1);
    return [first, Math.min(Math.max(Math.ceil(high), first + 1), limit)];
  };
  const extend = ([low, high], size, limit) => [
    Math.min(Math.max(Math.floor((low + high - size) / 2), 0), limit - size), size];
  const across = span(x1, x2, width);
  const down = span(y1, y2, height);
  const longer = Math.max(across[1] - across[0], down[1] - down[0]);
  const wanted = Math.max(longer, Math.round(longer * (1 + 2 * pad)));
  const [left, wide] = extend(across, Math.min(wanted, width), width);
  const [top, high] = extend(down, Math.min(wanted, height), height);
  return { left, top, wide, high, side: Math.min(wanted, Math.max(width, height)) };
}

export function paintCloseup(canvas, image, box, pad) {
  const { left, top, wide, high, side } = squareOf(box, image.naturalWidth, image.naturalHeight, pad);
  const scale = canvas.width / side;
  const paint = canvas.getContext("2d");
  paint.imageSmoothingQuality = "high";
  paint.drawImage(image, left, top, wide, high, (side - wide) / 2 * scale, (side - high) / 2 * scale,
    wide * scale, high * scale);
  canvas.hidden = false;
}

export function drawBoxes(svg, image, objects) {
  const { naturalWidth: width, naturalHeight: height } = image;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  objects.forEach(({ box: [x1, y1, x2, y2] }, place) => {
    for (const kind of ["halo", "line"]) {
      const rect = document.createElementNS(SVG, "rect");
      Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: kind })
        .forEach(([name, value]) => rect.setAttribute(name, value));
      svg.append(rect);
    }
    if (objects.length > 1) {
      const number = document.createElementNS(SVG, "text");
      const size = Math.max(width, height) / 22;
      Object.entries({ x: x1 + size / 4, y: y1 + size, "font-size": size })
        .forEach(([name, value]) => number.setAttribute(name, value));
      number.textContent = place + 1;
      svg.append(number);
    }
  });
}

// Shows the photo as large as fits, a small one enlarged; the boxes are drawn at the size it is shown in.
export function fit(frame, { naturalWidth: width, naturalHeight: height }) {
  const scale = Math.min(MOST, Math.max(1, LONG / Math.max(width, height)));
  frame.style.setProperty("--most", `${Math.round(width * scale)}px`);
  frame.style.setProperty("--shape", width / height);
}
