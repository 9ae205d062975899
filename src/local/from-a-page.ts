import type { IncomingMessage } from 'node:http'

/** What a browser says of a page that makes it ask; no SDK, no command line and no fetch of Node.js sends any of it. */
const OF_PAGES = ['origin', 'referer', 'sec-fetch-site', 'sec-fetch-dest', 'sec-fetch-user'] as const

/** The names of this machine for itself. Another one that leads here was rebound by whoever owns it. */
const OUR_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i

/** Whether a request was made by a web page, by its headers: nobody asked the developer whose browser sent it. */
export function isFromWebPage({ headersDistinct, url }: IncomingMessage): boolean {
  // a target that is a whole URL, as proxies have it, names a host as well
  const hosts = [...(headersDistinct.host ?? []), ...(/^\w+:\/\/([^/?#]*)/.exec(url ?? '')?.slice(1) ?? [])]
  return OF_PAGES.some((name) => headersDistinct[name] !== undefined) || !hosts.every((host) => OUR_HOST.test(host))
}
