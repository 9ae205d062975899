import { DUE, STATE, WAITING } from './kit.ts'

export const FAULTS: Record<string, (proxy: any, raw: any) => Promise<void>> = {
  cutAfter: async (proxy) => void (await proxy.cutAfter('')),
  cutBefore: async (proxy) => void (await proxy.cutBefore('')),
  destroy: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.xgroup('DESTROY', 'orders', 'billing'); h.release() },
  destroyAndPoll: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.xgroup('DESTROY', 'orders', 'billing'); await (raw.again as any)(); h.release() },
  oom: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.config('SET', 'maxmemory', '1'); h.release() },
  delDue: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del(DUE); h.release() },
  delWaiting: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del(WAITING); h.release() },
  delState: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del(STATE); h.release() },
  delAll: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del(STATE, DUE, WAITING); h.release() },
  typeDue: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del(DUE); await raw.set(DUE, 'x'); h.release() },
  typeWaiting: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del(WAITING); await raw.set(WAITING, 'x'); h.release() },
  typeState: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del(STATE); await raw.set(STATE, 'x'); h.release() },
  leaseGone: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del('{orders}:billing:slot:claimer-0', '{orders}:billing:slot:claimer-1'); h.release() },
  otherClaimer: async (proxy, raw) => { const h = await proxy.pauseOn(''); await (raw.claims as any)(); h.release() },
  scriptFlush: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.script('FLUSH'); h.release() },
  takesSlot: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.del('{orders}:billing:slot:claimer-0'); await (raw.claims as any)(); h.release() },
  trim: async (proxy, raw) => { const h = await proxy.pauseOn(''); await raw.xtrim('orders', 'MAXLEN', 0); h.release() },
}
