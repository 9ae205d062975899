import { build } from 'esbuild'
import { readFile } from 'node:fs/promises'
const root='/work/wt-needs'
const yaml=await readFile(root+'/infra/bundle.yml','utf8')
const external=[...yaml.matchAll(/^ {2}- '?([^'\s]+)/gm)].map(([,n])=>n)
const [, target] = /^target: (\S+)$/m.exec(yaml)
async function run(name, code, more=['ioredis','@upstash/redis']){
  const r=await build({stdin:{contents:code,resolveDir:root},bundle:true,platform:'node',format:'esm',minify:true,target,external:[...external,...more],write:false,metafile:true,legalComments:'none',logLevel:'error'})
  const out=Object.values(r.metafile.outputs)[0]
  const total=r.outputFiles[0].contents.length
  console.log('==',name,total)
  if(process.argv[2]===name||process.argv[2]==='all'){
    const rows=Object.entries(out.inputs).map(([k,v])=>[v.bytesInOutput,k]).sort((a,b)=>b[0]-a[0])
    for(const [b,k] of rows) if(b>0) console.log(String(b).padStart(7),k)
  }
  return total
}
const P="export {createPoller, defineConsumer, defineEvent, on} from 'millrace';"
await run('poller+connect', P+"export {connect} from 'millrace/connect'")
await run('poller+ioredis', P+"export {connectIoredis} from 'millrace/ioredis'")
await run('claimer+ioredis', "export {createClaimer, defineConsumer, defineEvent, on} from 'millrace';export {connectIoredis} from 'millrace/ioredis'")
await run('poller', P)
await run('ioredis', "export {connectIoredis} from 'millrace/ioredis'")
await run('upstash', "export {connectUpstash} from 'millrace/upstash'")
await run('connect', "export {connect} from 'millrace/connect'")
