p='dist/group/memory/memory-gates.js'
s=open(p).read()
i=s.index("const hasPassed = answer")
s=s[:i]+"if(process.env.GLOG){const l=rates[0]&&this.__l(rates[0].key);console.log('GATE',(this.#now%1e7).toFixed(0),id.slice(-8),isKnown,answer[0],(Number(answer.slice(1))-this.#now).toFixed(0),'most',this.#most,'line',(l.line-this.#now).toFixed(0),'free',(l.free-this.#now).toFixed(0),'q',l.queue.before(id),l.queue.toString().length)};"+s[i:]
s=s.replace("    answer() {","    __l(k){return this.#limits.of(k)}\n    answer() {",1)
open(p,'w').write(s)
