stale();
