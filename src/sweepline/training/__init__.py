"""One run, done right: config, data, model, optimizer, loop, METRIC lines. Knows nothing of sweeps; runs alone."""
