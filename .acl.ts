process.env.REDIS_URL = 'redis://127.0.0.1:1'
const { groups } = await import('./functions/fan-out/consumers.ts')
const { accessOf } = await import('millrace/operate')
for (const g of groups) { const a = accessOf(g); console.log(g.group, '\nP', a.poller, '\nC', a.claimer) }
process.exit(0)
