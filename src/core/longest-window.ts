/** For so long a server keeps an event, or what is known of it: 366 days. */
export const LONGEST_WINDOW_MS = 366 * 86_400_000
