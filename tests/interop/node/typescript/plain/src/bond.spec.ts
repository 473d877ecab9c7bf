this is no TypeScript, and it is not compiled
