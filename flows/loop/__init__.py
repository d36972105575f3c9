"""The closed loop on the simulated market: plan, execute, observe, measure, learn, and plan again."""
