// Owns the way of a whole log into a file: the token goes in a header, so a plain link does not do.
import { access } from '$lib/api/access.svelte';

interface Picker {
  showSaveFilePicker?: (options: { suggestedName: string }) => Promise<{ createWritable(): Promise<WritableStream> }>;
}

/** Saves the log of an attempt. Returns why it did not; null when it did, or the person thought otherwise. */
export async function download(attemptId: string, name: string): Promise<string | null> {
  try {
    // Where the browser can, the log goes straight to the disk; the file is chosen first, while the click still counts.
    const picker = (window as Picker).showSaveFilePicker;
    const file = picker ? await picker.call(window, { suggestedName: name }) : null;
    const response = await fetch(`/logs/${attemptId}`, {
      headers: { authorization: access.authorization },
      credentials: 'omit',
      cache: 'no-store',
    });
    if (!response.ok || !response.body) return await reason(response);
    if (file) await response.body.pipeTo(await file.createWritable());
    else save(await response.blob(), name);
    return null;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return null;
    return 'The log broke off before its end.';
  }
}

async function reason(response: Response): Promise<string> {
  if (response.status === 410) return 'This log was forgotten to make room for newer ones.';
  const body = (await response.json().catch(() => null)) as { errors?: { message?: string }[] } | null;
  return body?.errors?.[0]?.message ?? `The daemon answered with status ${String(response.status)}.`;
}

function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => {
    URL.revokeObjectURL(link.href);
  }, 60_000);
}
