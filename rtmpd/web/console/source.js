// Media Source Extensions, as far as the live player and that of recordings need the same.

// Phones of one maker have only the second; it hands over buffers when they are wanted, which here is always.
export const Source = globalThis.MediaSource ?? globalThis.ManagedMediaSource;

/**
 * Have a video show what buffers hold.
 *
 * @param {HTMLVideoElement} video
 * @param {AbortSignal} signal
 * @returns {Promise<MediaSource>} open, without buffers
 * @throws the signal's reason
 */
export async function attach(video, signal) {
  signal.throwIfAborted();
  const source = new Source();
  const opened = new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
  const given = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const object = URL.createObjectURL(source);
  video.disableRemotePlayback = true; // ManagedMediaSource opens only so
  video.src = object;
  try {
    await Promise.race([opened, given]);
  } finally {
    URL.revokeObjectURL(object);
  }
  return source;
}
