// loaded before a program: reports the memory that it took at most, in kilobytes, on its standard error
process.on('exit', () => process.stderr.write(`peak ${process.resourceUsage().maxRSS}\n`))
