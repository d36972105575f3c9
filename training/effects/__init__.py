"""What activations add: causal effects per outlet, ppg and activation, with intervals and their limits."""
