// What a browser has to be told before it takes a fragmented MP4: the codecs of its init section, as RFC 6381 has them.
// Layouts: ISO/IEC 14496-12 (boxes), -14 (esds), -15 (avcC, hvcC); AV1 and VP9 in ISOBMFF.

const SAMPLE_ENTRY_BYTES = { vide: 78, soun: 28 }; // before the boxes inside

/**
 * Find the init section: everything up to the end of the moov box.
 *
 * @param {Uint8Array} data from the start of the file
 * @returns {Uint8Array|null} null: more is needed
 */
export function initSection(data) {
  for (const box of boxes(data)) {
    if (box.type === "moov") return box.end <= data.length ? data.subarray(0, box.end) : null;
  }
  return null;
}

/**
 * Name the content of an init section.
 *
 * @param {Uint8Array} init as `initSection` finds it
 * @returns {{mime: string, codecs: string[]}} the type that a SourceBuffer is asked for
 */
export function contentOf(init) {
  const codecs = [];
  let hasVideo = false;
  for (const track of children(find(init, ["moov"]), "trak")) {
    const handler = find(track, ["mdia", "hdlr"]);
    const kind = text(handler, 8);
    const skipped = SAMPLE_ENTRY_BYTES[kind];
    const table = find(track, ["mdia", "minf", "stbl", "stsd"]);
    if (!skipped || !table) continue;
    hasVideo ||= kind === "vide";
    for (const entry of boxes(table.subarray(8)))
      codecs.push(codecOf(entry.type, table.subarray(8 + entry.start + 8 + skipped, 8 + entry.end)));
  }
  return { mime: `${hasVideo ? "video" : "audio"}/mp4; codecs="${codecs.join(", ")}"`, codecs };
}

/**
 * Say when a media segment begins.
 *
 * @param {Uint8Array} init of its tracks, as `initSection` finds it
 * @param {Uint8Array} segment its first moof, whatever follows
 * @returns {number} seconds: the earliest decoding time of its tracks
 */
export function startOf(init, segment) {
  const scales = new Map();
  for (const track of children(find(init, ["moov"]), "trak"))
    scales.set(afterTimes(find(track, ["tkhd"])), afterTimes(find(track, ["mdia", "mdhd"])));
  const starts = Array.from(children(find(segment, ["moof"]), "traf"), (fragment) => {
    const time = viewOf(find(fragment, ["tfdt"]));
    const units = time.getUint8(0) ? Number(time.getBigUint64(4)) : time.getUint32(4);
    return units / scales.get(viewOf(find(fragment, ["tfhd"])).getUint32(4));
  });
  return Math.min(...starts);
}

/** What follows the times of creation and change, which version 1 has with 64 bits: a track's number, a timescale. */
const afterTimes = (box) => viewOf(box).getUint32(box[0] ? 20 : 12);

const CODECS = {
  avc1: (inside) => `avc1.${hex(find(inside, ["avcC"]).subarray(1, 4))}`,
  hvc1: (inside) => `hvc1.${hevc(find(inside, ["hvcC"]))}`,
  hev1: (inside) => `hev1.${hevc(find(inside, ["hvcC"]))}`,
  av01: (inside) => `av01.${av1(find(inside, ["av1C"]))}`,
  vp09: (inside) => `vp09.${vp9(find(inside, ["vpcC"]))}`,
  mp4a: (inside) => mpeg4Audio(find(inside, ["esds"])),
  Opus: () => "opus",
  fLaC: () => "flac",
  ".mp3": () => "mp3",
};

function codecOf(type, inside) {
  try {
    return CODECS[type]?.(inside) ?? type; // ac-3, ec-3 and whatever else is named as its entry is
  } catch {
    return type; // a configuration that is cut short: the browser says that it does not know it
  }
}

function hevc(config) {
  const space = ["", "A", "B", "C"][config[1] >> 6];
  const view = viewOf(config);
  // The compatibility flags are written with their bits in reverse order.
  let flags = 0;
  for (let bit = 0, left = view.getUint32(2); bit < 32; bit++, left >>>= 1) flags = ((flags << 1) | (left & 1)) >>> 0;
  const constraints = Array.from(config.subarray(6, 12));
  while (constraints.length && constraints.at(-1) === 0) constraints.pop();
  const tier = config[1] & 0x20 ? "H" : "L";
  const parts = [`${space}${config[1] & 0x1f}`, flags.toString(16).toUpperCase(), `${tier}${config[12]}`];
  return [...parts, ...constraints.map((each) => each.toString(16).toUpperCase())].join(".");
}

function av1(config) {
  const depth = config[2] & 0x40 ? (config[2] & 0x20 ? 12 : 10) : 8;
  return `${config[1] >> 5}.${digits(config[1] & 0x1f)}${config[2] & 0x80 ? "H" : "M"}.${digits(depth)}`;
}

const vp9 = (config) => [config[4], config[5], config[6] >> 4].map(digits).join(".");

// esds: descriptors in each other, each with a tag and a length of one to four bytes.
function mpeg4Audio(esds) {
  let at = 4;
  const open = () => {
    const tag = esds[at++];
    while (esds[at++] & 0x80);
    return tag;
  };
  open(); // ES descriptor
  const flags = esds[at + 2];
  at += 3 + (flags & 0x80 ? 2 : 0) + (flags & 0x20 ? 2 : 0);
  if (flags & 0x40) at += 1 + esds[at];
  open(); // decoder configuration
  const objectType = esds[at];
  if (objectType !== 0x40) return `mp4a.${objectType.toString(16).toUpperCase()}`;
  at += 13;
  open(); // decoder specific information: AudioSpecificConfig
  const audioType = esds[at] >> 3;
  return `mp4a.40.${audioType === 31 ? 32 + ((esds[at] & 7) << 3) + (esds[at + 1] >> 5) : audioType}`;
}

function* boxes(data) {
  const view = viewOf(data);
  for (let start = 0; start + 8 <= data.length;) {
    const size = view.getUint32(start);
    if (size < 8) return; // 0 (up to the end) and 1 (64 bits) are no sizes of anything in an init section
    yield { type: text(data, start + 4), start, end: start + size };
    start += size;
  }
}

function* children(data, type) {
  for (const box of boxes(data)) if (box.type === type) yield data.subarray(box.start + 8, box.end);
}

function find(data, path) {
  let found = data;
  for (const type of path) {
    found = found && children(found, type).next().value;
  }
  return found;
}

const viewOf = (data) => new DataView(data.buffer, data.byteOffset, data.byteLength);
const text = (data, at) => String.fromCharCode(...data.subarray(at, at + 4));
const hex = (data) => Array.from(data, (each) => each.toString(16).padStart(2, "0")).join("");
const digits = (value) => String(value).padStart(2, "0");
