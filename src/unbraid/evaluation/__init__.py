"""How good are the modes, and the policy in each: agreement, intervals, baselines."""
