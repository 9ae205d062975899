import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

/** Colours a text where standard output shows colours; pad it first. */
export function paint(format: Format, text: string): string {
  return styleText(format, text, { stream: process.stdout })
}

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
