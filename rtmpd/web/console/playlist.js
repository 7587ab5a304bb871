// HLS playlists, as far as recordings have them (RFC 8216): one rendition, from its first segment on.

/**
 * Read a playlist.
 *
 * @param {string} text
 * @returns {{segments: {uri: string, map: string, run: number, start_s: number, end_s: number}[], isComplete: boolean}}
 *   `map`: URI of the init section, none for MPEG-TS; `run`: number of the first segment whose timestamps go on to this
 *   one; times are those of the recording
 */
export function readPlaylist(text) {
  const segments = [];
  let map = "";
  let run = 0;
  let duration_s = 0;
  let start_s = 0;
  for (const line of text.split("\n")) {
    if (line === "#EXT-X-DISCONTINUITY") {
      run = segments.length;
    } else if (line.startsWith("#EXT-X-MAP:")) {
      map = /URI="([^"]*)"/.exec(line)[1];
      run = segments.length;
    } else if (line.startsWith("#EXTINF:")) {
      duration_s = Number.parseFloat(line.slice("#EXTINF:".length));
    } else if (line && !line.startsWith("#")) {
      segments.push({ uri: line, map, run, start_s, end_s: start_s + duration_s });
      start_s += duration_s;
    }
  }
  return { segments, isComplete: text.includes("\n#EXT-X-ENDLIST") };
}
